"""What would have to change: for a calm or a pending trigger to fire, for a fired one to clear.

Made from a rule and a verdict when somebody asks, as `decide.reasons` is; the numbers are those of its evaluation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rollback_console.decide.condition import Support
from rollback_console.decide.evidence import CALM_S
from rollback_console.decide.explain import (
    agreement,
    and_,
    degrades_below,
    evidence_number,
    nearness,
    title_of,
    verb,
)
from rollback_console.decide.reasons import LONGEST, MOST, Truth, counted, stays, supports, weighed
from rollback_console.decide.turns import Turn, turns
from rollback_console.model.countdown import minutes
from rollback_console.model.rules import DeploymentRule, SignalRule, Worse
from rollback_console.model.text import about, number, plain, span
from rollback_console.model.verdict import Alone, SignalVerdict, TriggerState, Verdict

_OPTIONS = 3  # ways to the other side that are told
_FIRED = (TriggerState.FIRED, TriggerState.CLEARING)


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
        words = [_turned(*signals[turn.signal], turn, verdict.alone) for turn in way]
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


def _turned(rule: SignalRule, judged: SignalVerdict, turn: Turn, alone: Alone | None = None) -> str:
    """What one signal would have to do, with the number it would have to pass and the one it is at. `alone`: whose hold
    runs, which the loss budget may have shortened."""
    title = title_of(rule)
    if turn.to == "alone" and rule.evidence is not None:
        keeps, held = verb(title, "keeps its", "keep their"), span(rule.evidence.alone_hold_s)
        if alone is not None and alone.signal == rule.name and alone.budget is not None:
            held = minutes(alone.length_s)
        return f"{title} {keeps} evidence full for {held} with nothing else agreeing"
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
