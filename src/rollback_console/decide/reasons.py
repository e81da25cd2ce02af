"""Why: the reason tree of a verdict for machines, and the numbers behind it for people (`decide.change`: why not).

All of it is made from a rule and a verdict when somebody asks, never while judging: an explanation costs nothing until
it is read, and a verdict from a journal is explained like one of now.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite

from rollback_console.decide.condition import Support, evaluate
from rollback_console.decide.explain import (
    backs,
    signal_words,
    suspected,
)
from rollback_console.decide.impact import formula, total_words, waiting_words
from rollback_console.model.countdown import hold_words
from rollback_console.model.rules import (
    And,
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
from rollback_console.model.text import plain, span
from rollback_console.model.verdict import Alone, Reason, SignalVerdict, TriggerState, Verdict

MOST = 6  # sentences of a why, or of a why not
LONGEST = 240  # characters of one of them

Truth = bool | None
_FIRED = (TriggerState.FIRED, TriggerState.CLEARING)


# ── what counts


def counted(rule: DeploymentRule, verdict: Verdict) -> dict[str, Truth]:
    """What each signal counts as in the trigger: its own judgement, or what its policy makes of a blind one. What a
    `last` policy remembers is not in a verdict: it counts as unknown here."""
    found: dict[str, Truth] = {}
    for signal, judged in zip(rule.signals, verdict.signals, strict=True):
        truth = judged.breached
        if truth is None and judged.blind is not None and judged.value is None:
            truth = {BlindPolicyKind.HEALTHY: False, BlindPolicyKind.BREACH: True}.get(signal.blind.kind)
        found[signal.name] = truth
    return found


def stays(rule: DeploymentRule, verdict: Verdict) -> dict[str, Truth]:
    """As `counted`, for what keeps a trigger pending or fired: of a signal judged by evidence, that it is suspected."""
    known = counted(rule, verdict)
    return {judged.name: True if suspected(judged) else known[judged.name] for judged in verdict.signals}


def weighed(rule: DeploymentRule) -> bool:
    """Has evidence a part in the trigger, or who agrees with whom: its dwell is then in what it is judged by."""
    return isinstance(rule.trigger.when, Tiered) or any(signal.evidence is not None for signal in rule.signals)


def supports(rule: DeploymentRule, verdict: Verdict) -> dict[str, Support]:
    """What the tiered rule goes by. Since when evidence is full is not in a verdict: what has fired may stand alone,
    what has not may not yet."""
    known = counted(rule, verdict)
    return {
        signal.name: Support(
            known[signal.name],
            True if backs(judged) else known[signal.name],
            signal.sufficient_alone or verdict.state in _FIRED,
        )
        for signal, judged in zip(rule.signals, verdict.signals, strict=True)
    }


# ── the tree


def tree(rule: DeploymentRule, verdict: Verdict) -> Reason:
    """The verdict's reasons: state, then condition down to each signal's numbers, the clocks, what is blind, the cost.

    Raises ValueError when the verdict is not of this rule (another number of signals).
    """
    known, support = stays(rule, verdict), supports(rule, verdict)
    because = [_node(rule.trigger.when, rule, verdict, known, support, whole=True), *_others(rule, verdict)]
    because += list(_clocks(rule, verdict))
    if verdict.impact.parts:
        because.append(_impact(rule, verdict))
    return Reason("state", verdict.state.value, verdict.alarming, verdict.sentence, (), tuple(because))


def _node(
    expression: Expression,
    rule: DeploymentRule,
    verdict: Verdict,
    known: Mapping[str, Truth],
    support: Mapping[str, Support],
    *,
    whole: bool = False,
) -> Reason:
    """An expression and what it rests on. The truth of the whole is the verdict's own."""
    if isinstance(expression, Uses):
        return _signal(expression.signal, rule, verdict, known)
    holds = verdict.condition if whole else evaluate(expression, known, support)
    if isinstance(expression, Not):
        inner = _node(expression.item, rule, verdict, known, support)
        return Reason("not", "not", holds, "not", (), (inner,))
    if isinstance(expression, Weighted):
        below = tuple(_node(item, rule, verdict, known, support) for item, _ in expression.items)
        reached = sum(weight for (_, weight), node in zip(expression.items, below, strict=True) if node.holds)
        text = f"weight {reached:g} of {expression.bar:g}"
        return Reason(
            "weighted", "weight", holds, text, (("weight", float(reached), ""), ("bar", expression.bar, "")), below
        )
    below = tuple(_node(item, rule, verdict, known, support) for item in expression.items)
    true = sum(node.holds is True for node in below)
    if isinstance(expression, Tiered):
        names = [item.signal for item in expression.items]
        full = sum(judged.breached is True for judged in verdict.signals if judged.name in names)
        doubted = sum(suspected(judged) for judged in verdict.signals if judged.name in names)
        agree = sum(support[name].agrees is True for name in names if name in support) - full
        text = f"of {len(names)} signals {full} degraded, {doubted} suspected ({max(0, agree)} near enough to agree)"
        return Reason("tiered", "tiered", holds, text, (("degraded", float(true), ""),), below)
    needed = len(below) if isinstance(expression, And) else 1 if isinstance(expression, Or) else expression.k
    kind = "all" if isinstance(expression, And) else "any"
    numbers = (("true", float(true), ""), ("needed", float(needed), ""), ("of", float(len(below)), ""))
    return Reason(kind, kind, holds, f"{true} of {len(below)} hold, {needed} needed", numbers, below)


def _signal(name: str, rule: DeploymentRule, verdict: Verdict, known: Mapping[str, Truth]) -> Reason:
    for signal, judged in zip(rule.signals, verdict.signals, strict=True):
        if signal.name == name:
            words = signal_words(signal, judged, verdict.at)
            return Reason("signal", name, known[name], words, tuple(_numbers(signal, judged)))
    return Reason("signal", name, None, f"{plain(name, 40)}: the policy has no such signal")


def _numbers(rule: SignalRule, judged: SignalVerdict) -> Iterator[tuple[str, float, str]]:
    """A signal's numbers by name. A `%` unit's values are fractions of one, as everywhere in the model."""
    unit = rule.unit
    for name, value, what in (
        ("value", judged.value, unit),
        ("baseline", judged.baseline, unit),
        ("limit", judged.limit, unit),
        ("degradation_pct", judged.degradation_pct, "percent"),
        ("trials", judged.n, ""),
        ("least_trials", rule.minimum, ""),
        ("evidence", judged.evidence, "nats"),
        ("bar", judged.bar, "nats"),
        ("onset", judged.onset, "unix seconds"),
    ):
        if value is not None:
            yield name, value, what
    if judged.interval is not None:
        yield "degradation_pct_low", judged.interval[0], "percent"
        yield "degradation_pct_high", judged.interval[1], "percent"


def _others(rule: DeploymentRule, verdict: Verdict) -> list[Reason]:
    """Signals that the trigger does not use, where they are degraded all the same: seen, and not decisive."""
    used = _used(rule.trigger.when)
    known = stays(rule, verdict)
    return [
        _signal(judged.name, rule, verdict, known)
        for judged in verdict.signals
        if judged.breached and judged.name not in used
    ]


def _used(expression: Expression) -> set[str]:
    if isinstance(expression, Uses):
        return {expression.signal}
    if isinstance(expression, Not):
        return _used(expression.item)
    items: Sequence[Expression]
    items = [item for item, _ in expression.items] if isinstance(expression, Weighted) else expression.items
    return set().union(*map(_used, items))


def _clocks(rule: DeploymentRule, verdict: Verdict) -> Iterator[Reason]:
    trigger = rule.trigger
    for kind, left, whole in (
        ("dwell", verdict.dwell_remaining_s, trigger.dwell_s),
        ("hold", verdict.hold_remaining_s, trigger.hold_s),
        ("blind", verdict.blind_remaining_s, trigger.blind_dwell_s),
    ):
        if left is not None:
            stands = ", and the clock stands still" if verdict.frozen and kind != "blind" else ""
            numbers = (("remaining_s", left, "s"), ("length_s", whole, "s"))
            yield Reason(kind, kind, left <= 0, f"{span(left)} left of {span(whole)}{stands}", numbers)
    if verdict.alone is not None:
        yield _alone(verdict.alone)
    for name in verdict.blind:
        found = next((judged for judged in verdict.signals if judged.name == name), None)
        why = plain(found.note or found.blind or "blind", 60) if found is not None else "blind"
        yield Reason("blind", name, None, f"{plain(name, 40)}: {why}")
    if verdict.cooling:
        text = "after an action nothing automatic follows"
        yield Reason("cooling", "cooling", True, text, (("length_s", trigger.cool_down_s, "s"),))


def _alone(alone: Alone) -> Reason:
    """The hold of a signal with which nothing agrees, and what shortened it."""
    numbers = [("held_s", alone.held_s, "s"), ("length_s", alone.length_s, "s")]
    if alone.budget is not None and alone.loss_per_minute is not None:
        numbers.append(("loss", alone.loss_per_minute, f"{alone.unit}/min"))
        numbers.append(("loss_budget", alone.budget, alone.unit))
    return Reason("alone", alone.signal, alone.held_s >= alone.length_s, hold_words(alone), tuple(numbers))


def _impact(rule: DeploymentRule, verdict: Verdict) -> Reason:
    impact = verdict.impact
    parts = []
    for part in impact.parts:
        numbers = [("points", part.points, ""), ("most", part.most, "")]
        if part.value is not None:
            numbers.append(("value", part.value, part.unit))
        if part.interval is not None:
            numbers += [("low", part.interval[0], part.unit), ("high", part.interval[1], part.unit)]
        if part.total is not None:
            numbers.append(("total", part.total, part.unit.removesuffix("/min")))
        text = f"{plain(part.source, 160)}: {formula(rule.impact, part)}"
        parts.append(Reason("cost", part.name, None if part.value is None else part.value > 0, text, tuple(numbers)))
    words = "; ".join(filter(None, (f"score {impact.score:.0f} of 100", total_words(impact), waiting_words(impact))))
    return Reason("impact", "impact", impact.score > 0, words, (("score", impact.score, ""),), tuple(parts))


# ── for people


def why(rule: DeploymentRule, verdict: Verdict) -> tuple[str, ...]:
    """The numbers behind the sentence: what each deciding signal shows, how many the trigger needs, what it costs."""
    top = tree(rule, verdict)
    lines = [reason.text for reason in _leaves(top) if reason.holds is not False]
    lines = lines or [reason.text for reason in _leaves(top)]
    condition = top.because[0]
    if condition.kind in ("all", "any", "weighted", "tiered"):
        lines.append(f"the trigger: {condition.text}")
    lines += [reason.text for reason in top.because if reason.kind == "impact"]
    return tuple(plain(each, LONGEST) for each in dict.fromkeys(lines))[:MOST]


def _leaves(reason: Reason) -> Iterator[Reason]:
    if reason.kind == "signal":
        yield reason
    for below in reason.because:
        yield from _leaves(below)


def document(reason: Reason) -> dict[str, object]:
    """The tree as plain values for JSON: kind, name, holds, text, numbers (by name: value and unit), because."""
    return {
        "kind": reason.kind,
        "name": reason.name,
        "holds": reason.holds,
        "text": reason.text,
        "numbers": {name: {"value": value, "unit": unit} for name, value, unit in reason.numbers if isfinite(value)},
        "because": [document(below) for below in reason.because],
    }
