"""Why, and why not: the reason tree of a verdict for machines, and for people what would have to change.

All of it is made from a rule and a verdict when somebody asks, never while judging: an explanation costs nothing until
it is read, and a verdict from a journal is explained like one of now.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite

from rollback_console.decide.condition import Support, evaluate
from rollback_console.decide.evidence import CALM_S
from rollback_console.decide.explain import (
    agreement,
    and_,
    backs,
    degrades_below,
    evidence_number,
    nearness,
    signal_words,
    suspected,
    title_of,
    verb,
)
from rollback_console.decide.impact import formula, total_words, waiting_words
from rollback_console.decide.turns import Turn, turns
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
    Worse,
)
from rollback_console.model.text import about, number, plain, span
from rollback_console.model.verdict import Reason, SignalVerdict, TriggerState, Verdict

MOST = 6  # sentences of a why, or of a why not
_OPTIONS = 3  # ways to the other side that are told
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
    for name in verdict.blind:
        found = next((judged for judged in verdict.signals if judged.name == name), None)
        why = plain(found.note or found.blind or "blind", 60) if found is not None else "blind"
        yield Reason("blind", name, None, f"{plain(name, 40)}: {why}")
    if verdict.cooling:
        text = "after an action nothing automatic follows"
        yield Reason("cooling", "cooling", True, text, (("length_s", trigger.cool_down_s, "s"),))


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


def why_not(rule: DeploymentRule, verdict: Verdict) -> tuple[str, ...]:
    """What would have to change: for a calm or a pending trigger to fire, for a fired one to clear. Each sentence is of
    the verdict's evaluation; the easiest way (the fewest signals) first."""
    lines = [plain(each, LONGEST) for each in _why_not(rule, verdict)]
    return tuple(dict.fromkeys(lines))[:MOST]


def _why_not(rule: DeploymentRule, verdict: Verdict) -> Iterator[str]:
    trigger, state = rule.trigger, verdict.state
    if verdict.condition is None:
        unseen = [title_of(signal) for signal, judged in _pairs(rule, verdict) if _unknown(judged)]
        yield f"can tell again once {and_(unseen)} can be judged" if unseen else "can tell at the next evaluation"
    if verdict.blind_remaining_s is not None:
        names = [title_of(signal) for signal, judged in _pairs(rule, verdict) if judged.name in verdict.blind]
        stay = verb(names[0], "stays", "stay") if len(names) == 1 else "stay"
        yield f"fires as blind if {and_(names)} {stay} unseen for {span(verdict.blind_remaining_s)} more"
    if state in _FIRED:
        yield from _clears(rule, verdict)
        return
    if state is TriggerState.PENDING:
        yield from _pending(rule, verdict)
        return
    yield from _options("fires if", rule, verdict, want=True, lasting=trigger.dwell_s)


def _pending(rule: DeploymentRule, verdict: Verdict) -> Iterator[str]:
    left, eta = verdict.dwell_remaining_s, verdict.eta_s
    if left is None:  # by evidence
        ways = list(_options("fires if", rule, verdict, want=True, lasting=rule.trigger.dwell_s))
        plain_dwell = f"fires once {_staying(rule, verdict)} for {span(rule.trigger.dwell_s)} in all"
        yield from ways or [plain_dwell]
        if eta is not None:
            yield f"{about(eta)} until it fires, if it stays as it is"
    else:
        lasting = f"for {span(left)} more" if left > 0 else "until the next evaluation"
        if not verdict.condition:
            yield f"fires if the condition is seen to hold {lasting}"
            return
        yield f"fires if {_staying(rule, verdict)} {lasting}"
    yield from _options("does not fire if", rule, verdict, want=False, unseen=False)


def _clears(rule: DeploymentRule, verdict: Verdict) -> Iterator[str]:
    trigger = rule.trigger
    if verdict.state is TriggerState.CLEARING:
        if verdict.hold_remaining_s is not None and verdict.condition is not None:
            yield f"clears if nothing of it comes back for {span(verdict.hold_remaining_s)} more"
        yield from _options("stays fired if", rule, verdict, want=True)
        return
    yield from _options("clears if", rule, verdict, want=False, lasting=trigger.hold_s)


def _options(
    lead: str, rule: DeploymentRule, verdict: Verdict, *, want: bool, lasting: float = 0.0, unseen: Truth = None
) -> Iterator[str]:
    """The ways to the other truth of the condition, each a sentence; it has to last so many seconds, but where evidence
    fires: that has its dwell inside. What cannot be judged now counts as `unseen`."""
    known = counted(rule, verdict) if want else stays(rule, verdict)
    known = {name: unseen if truth is None else truth for name, truth in known.items()}
    support = {
        name: Support(known[name], unseen if each.agrees is None else each.agrees, each.alone)
        for name, each in supports(rule, verdict).items()
    }
    ways = turns(rule.trigger.when, want, known, support)
    signals = {signal.name: (signal, judged) for signal, judged in _pairs(rule, verdict)}
    sensible = (
        way
        for way in ways
        if all(turn.signal in signals for turn in way)
        and not any(turn.to == "alone" and not _may_stand_alone(signals, turn.signal) for turn in way)
    )
    easiest = sorted(
        sensible,
        key=lambda way: (
            len(way),
            sum(1.0 if to == "alone" else -nearness(*signals[name]) for name, to in way),
            sum(to == "breach" for _, to in way),
        ),
    )
    told: dict[tuple[str, ...], tuple[Turn, ...]] = {}
    for way in easiest:  # that one agrees is easier than that it is degraded itself
        told.setdefault(tuple(sorted(turn.signal for turn in way)), way)
    for way in list(told.values())[:_OPTIONS]:
        words = [_turned(*signals[turn.signal], turn) for turn in way]
        weighs = [signals[turn.signal][0].evidence is not None for turn in way]
        tail = f", for {span(lasting)}" if lasting > 0 else ""
        if (
            want
            and weighed(rule)
            and not any(to == "breach" and not by for (_, to), by in zip(way, weighs, strict=True))
        ):
            tail = ""  # evidence has its dwell inside, and what only agrees needs none
        if not want and any(weighs):
            then = f", then {span(lasting)} more" if lasting > 0 else ""
            tail = f", and evidence is below half of its bar for {span(CALM_S)}{then}"
        if words:
            yield f"{lead} {and_(words)}{tail}"


def _may_stand_alone(signals: Mapping[str, tuple[SignalRule, SignalVerdict]], name: str) -> bool:
    """Only what is judged by evidence comes to stand alone by holding."""
    return name in signals and signals[name][0].evidence is not None


def _turned(rule: SignalRule, judged: SignalVerdict, turn: Turn) -> str:
    """What one signal would have to do, with the number it would have to pass and the one it is at."""
    title = title_of(rule)
    if turn.to == "alone" and rule.evidence is not None:
        keeps = verb(title, "keeps its", "keep their")
        return f"{title} {keeps} evidence full for {span(rule.evidence.alone_hold_s)} with nothing else agreeing"
    if rule.evidence is not None:
        return _by_evidence(rule, judged, turn)
    if turn.to == "calm" and judged.value is None:
        return f"{title} {verb(title, 'is', 'are')} seen to be well"
    seen = f" (now {number(judged.value, rule.unit)})" if judged.value is not None else ""
    first = f"{title} {verb(title, 'is', 'are')} seen again and " if judged.value is None else f"{title} "
    if judged.value is not None and rule.minimum is not None and (judged.n is None or judged.n < rule.minimum):
        first = f"{title} {verb(title, 'has', 'have')} at least {rule.minimum:,.0f} trials and "
    bad = turn.to != "calm"
    if judged.limit is None:
        more = f"by more than {100 * (rule.breach.degraded_by or 0):.3g} %"
        what = verb(title, "degrades", "degrade") if bad else verb(title, "is no longer off", "are no longer off")
        return f"{first}{what} {more}{seen}"
    limit = number(judged.limit, rule.unit)
    if not bad:
        back = verb(title, "comes", "come")
        return f"{first}{back} {'up' if degrades_below(rule) else 'down'} to {limit}{seen}"
    if degrades_below(rule):
        return f"{first}{verb(title, 'falls', 'fall')} below {limit}{seen}"
    return f"{first}{verb(title, 'passes', 'pass')} {limit}{seen}"


def _by_evidence(rule: SignalRule, judged: SignalVerdict, turn: Turn) -> str:
    title, now, bar = title_of(rule), evidence_number(judged), judged.bar or 0.0
    first = f"{title} {verb(title, 'is', 'are')} seen again and " if judged.value is None else f"{title} "
    if turn.to == "calm":
        level = judged.limit if judged.limit is not None else judged.baseline
        low = rule.worse is Worse.LOWER
        if level is None or judged.value is None:
            return f"{title} {verb(title, 'is', 'are')} seen to be well"
        inside = (judged.value >= level) is low
        what = verb(title, "stays", "stay") if inside else verb(title, "comes back", "come back")
        side = "above" if low else "below"
        return f"{title} {what} {side} {number(level, rule.unit)} (now {number(judged.value, rule.unit)})"
    if turn.to == "agree":
        return f"{first}{verb(title, 'agrees', 'agree')}: evidence of {agreement(judged) or bar:.1f} (now {now})"
    if judged.value is None:
        return f"{first}{verb(title, 'its', 'their')} evidence reaches {bar:.1f} (now {now})"
    return f"evidence on {title} reaches {bar:.1f} (now {now})"


def _staying(rule: DeploymentRule, verdict: Verdict) -> str:
    """What holds now, as what has to stay."""
    words = []
    for signal, judged in _pairs(rule, verdict):
        if not judged.breached:
            continue
        title = title_of(signal)
        stay = f"{title} {verb(title, 'stays', 'stay')}"
        if signal.evidence is not None or judged.limit is None:
            words.append(f"{stay} degraded")
            continue
        side = "below" if degrades_below(signal) else "above"
        words.append(f"{stay} {side} {number(judged.limit, signal.unit)} (now {number(judged.value, signal.unit)})")
    return and_(words) if words else "the condition stays"


def _pairs(rule: DeploymentRule, verdict: Verdict) -> list[tuple[SignalRule, SignalVerdict]]:
    return list(zip(rule.signals, verdict.signals, strict=True))


def _unknown(judged: SignalVerdict) -> bool:
    return judged.breached is None


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
