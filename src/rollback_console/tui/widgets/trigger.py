"""The trigger's logic as a small tree: each node with its truth now, and the clock that follows from it.

What is drawn is how the parts combine, three-valued as the vocabulary says (any(true, ?) is true, all(false, ?) is
false). The truth of the whole is never computed here: it is the verdict's own `condition`.
"""

from __future__ import annotations

from rich.text import Text

from rollback_console.model.countdown import hold_words
from rollback_console.model.rules import (
    And,
    AtLeast,
    BlindPolicyKind,
    DeploymentRule,
    Expression,
    Not,
    Or,
    SignalRule,
    Tiered,
    Uses,
    Weighted,
)
from rollback_console.model.text import duration, plain, span
from rollback_console.model.verdict import TriggerState, Verdict
from rollback_console.tui.widgets.lines import clip, heading, line, paragraph, utc
from rollback_console.tui.widgets.state import evidence_pair

Truth = bool | None

_WORD = {True: ("✗", "true", "bad"), False: ("●", "false", "ok"), None: ("?", "unknown", "blind")}


def truth_of(expression: Expression, leaves: dict[str, Truth]) -> Truth:
    """A node's truth from its leaves'; a leaf that is not there is unknown. Of the tiered rule the leaves tell only
    that nothing is degraded: who agrees and who has held alone is `decide`'s, and stands in the verdict's condition."""
    if isinstance(expression, Uses):
        return leaves.get(expression.signal)
    if isinstance(expression, Not):
        inner = truth_of(expression.item, leaves)
        return None if inner is None else not inner
    if isinstance(expression, Weighted):
        weighed = [(truth_of(item, leaves), weight) for item, weight in expression.items]
        sure_weight = sum(weight for truth, weight in weighed if truth is True)
        possible_weight = sum(weight for truth, weight in weighed if truth is not False)
        return True if sure_weight >= expression.bar else False if possible_weight < expression.bar else None
    parts = [truth_of(item, leaves) for item in expression.items]
    if isinstance(expression, Tiered):
        return False if all(part is False for part in parts) else None
    needed = len(parts) if isinstance(expression, And) else 1 if isinstance(expression, Or) else expression.k
    sure = sum(part is True for part in parts)
    possible = sum(part is not False for part in parts)
    return True if sure >= needed else False if possible < needed else None


def leaves_of(rule: DeploymentRule, verdict: Verdict | None) -> dict[str, Truth]:
    """What each signal counts as in the trigger now: its own judgement, or what its policy makes of a blind one.

    `last: ...` counts as unknown here: what it was last known to be is not on the screen.
    """
    judged = {signal.name: signal for signal in verdict.signals} if verdict else {}
    leaves: dict[str, Truth] = {}
    for signal in rule.signals:
        found = judged.get(signal.name)
        truth = found.breached if found else None
        if found is not None and truth is False and found.onset is not None:
            truth = True  # suspected: what keeps a trigger pending or fired that evidence has a part in
        if found is not None and truth is None and found.blind is not None:
            truth = {BlindPolicyKind.HEALTHY: False, BlindPolicyKind.BREACH: True}.get(signal.blind.kind)
        leaves[signal.name] = truth
    return leaves


def trigger_lines(
    rule: DeploymentRule, verdict: Verdict | None, expression: Expression | None, width: int
) -> list[Text]:
    """The rule as written, its tree, and its clocks."""
    rows = [heading("Trigger", width, f"policy {plain(rule.policy, 40)} {rule.policy_version} · {rule.mode}")]
    rows += paragraph(rule.trigger.text, width, "dim", first="when ")
    _tree(
        expression or rule.trigger.when,
        _Tree(rule, verdict, width, rows),
        "",
        "",
        verdict.condition if verdict else None,
    )
    rows += _clocks(rule, verdict, width)
    return rows


class _Tree:
    """What a walk over the tree carries along."""

    def __init__(self, rule: DeploymentRule, verdict: Verdict | None, width: int, rows: list[Text]) -> None:
        self.width, self.rows = width, rows
        self.signals: dict[str, SignalRule] = {signal.name: signal for signal in rule.signals}
        self.verdict = verdict
        self.leaves = leaves_of(rule, verdict)


def _children(expression: Expression) -> tuple[tuple[Expression, str], ...]:
    """What a node is made of, each with a word about its part in it."""
    if isinstance(expression, Uses):
        return ()
    if isinstance(expression, Not):
        return ((expression.item, ""),)
    if isinstance(expression, Weighted):
        return tuple((item, f"weighs {weight:g}") for item, weight in expression.items)
    return tuple((item, "") for item in expression.items)


def _tree(
    expression: Expression, tree: _Tree, lead: str, below: str, truth: Truth, depth: int = 0, part: str = ""
) -> None:
    glyph, word, role = _WORD[truth]
    title, note = _title(expression, tree)
    note = " · ".join(each for each in (part, note) if each)
    text = clip(f"{title}{'  ' + note if note else ''}", max(8, tree.width - len(lead) - len(word) - 3))
    tree.rows.append(line((lead, "dim"), (f"{glyph} {word}", role), f" {text}"))
    items = _children(expression)
    if items and depth > 12:  # deeper than a screen can indent; the rule as written stands above
        tree.rows.append(line((below + "└─ …", "dim")))
        return
    for index, (item, role_in_it) in enumerate(items):
        last = index == len(items) - 1
        inner = truth_of(item, tree.leaves)
        branch, under = ("└─", "  ") if last else ("├─", "│ ")
        _tree(item, tree, below + branch, below + under, inner, depth + 1, role_in_it)


def _title(expression: Expression, tree: _Tree) -> tuple[str, str]:
    if isinstance(expression, Uses):
        return _leaf(expression.signal, tree)
    if isinstance(expression, Not):
        return "not", ""
    count = len(expression.items)
    if isinstance(expression, Weighted):
        return f"weights of {expression.bar:g} or more, of {sum(weight for _, weight in expression.items):g}", ""
    if isinstance(expression, Tiered):
        return f"any of {count} that is sufficient alone, backed by another, or has held alone", ""
    if isinstance(expression, And):
        return f"all {count} of", ""
    needed = expression.k if isinstance(expression, AtLeast) else 1
    return f"any {needed} of {count}", ""


def _leaf(name: str, tree: _Tree) -> tuple[str, str]:
    rule = tree.signals.get(name)
    title = plain(rule.title if rule else name, 60)
    found = next((s for s in tree.verdict.signals if s.name == name), None) if tree.verdict else None
    if found is None:
        return title, "not evaluated yet"
    if found.blind is not None:
        counts = {
            BlindPolicyKind.HEALTHY: ", counts as healthy",
            BlindPolicyKind.BREACH: ", counts as degraded",
            BlindPolicyKind.RESET: ", dwell goes to zero",
            BlindPolicyKind.FREEZE: ", clocks stop",
            BlindPolicyKind.LAST: ", last known judgement counts for a while",
        }
        return title, str(found.blind) + (counts[rule.blind.kind] if rule else "")
    if pair := evidence_pair(found):
        return title, f"{'suspected, ' if found.onset is not None and not found.breached else ''}evidence {pair}"
    return title, plain(found.note, 80)


def _clocks(rule: DeploymentRule, verdict: Verdict | None, width: int) -> list[Text]:
    trigger = rule.trigger
    parts = [f"dwell {span(trigger.dwell_s)}", f"hold {span(trigger.hold_s)}", f"cool-down {span(trigger.cool_down_s)}"]
    parts.append(f"blind fires after {span(trigger.blind_dwell_s)}")
    rows = paragraph(" · ".join(parts), width, "dim", first="clocks ")
    if verdict is None:
        return rows
    if verdict.state is TriggerState.PENDING and verdict.dwell_remaining_s is not None:
        held = trigger.dwell_s - verdict.dwell_remaining_s
        stands = "; the clock is frozen: telemetry is blind" if verdict.frozen else ""
        rows += paragraph(
            f"held {duration(held)} of {duration(trigger.dwell_s)}{stands}", width, "warn", first="now    "
        )
    elif verdict.alone is not None:
        rows += paragraph(hold_words(verdict.alone), width, "warn", first="now    ")
    elif verdict.hold_remaining_s is not None:
        rows += paragraph(
            f"condition gone; ends in {duration(verdict.hold_remaining_s)} if it stays so", width, first="now    "
        )
    if verdict.blind_remaining_s is not None and not verdict.fired_as_blind:
        rows += paragraph(
            f"blind; fires as blind in {duration(verdict.blind_remaining_s)}", width, "blind", first="blind  "
        )
    if verdict.cooling:
        rows += paragraph(
            "cooling after an action: alarms go on, nothing automatic follows", width, "dim", first="now    "
        )
    if verdict.since is not None:
        rows += paragraph(f"{verdict.state} since {utc(verdict.since)} UTC", width, "dim", first="state  ")
    return rows
