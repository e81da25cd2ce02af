"""One sentence for a person, with the numbers that decided."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rollback_console.decide.signals import baseline_words
from rollback_console.decide.trigger import blind_remaining, dwell_remaining, hold_remaining
from rollback_console.model.rules import DeploymentRule, SignalRule, Worse
from rollback_console.model.text import duration, number, span
from rollback_console.model.verdict import SignalVerdict, TriggerMemory, TriggerState

_NAMED = 3  # how many signals a sentence names before it counts


def signal_words(rule: SignalRule, verdict: SignalVerdict) -> str:
    """One signal in words: `conversion 2.91 % is 8.4 % below last week's 3.18 % (margin 5 %)`."""
    title = rule.title if rule.title[:2].isupper() else rule.title[:1].lower() + rule.title[1:]  # an acronym stays
    if verdict.blind is not None:
        return f"{title}: {verdict.note or verdict.blind}"
    if verdict.note:
        return f"{title} {verdict.note}"
    value, breach = number(verdict.value, rule.unit), rule.breach
    if breach.above is not None:
        return f"{title} {value} is {'above' if verdict.breached else 'not above'} {number(breach.above, rule.unit)}"
    if breach.below is not None:
        return f"{title} {value} is {'below' if verdict.breached else 'not below'} {number(breach.below, rule.unit)}"
    percent = verdict.degradation_pct
    if percent is None:  # a baseline of zero: any distance is infinite percent
        return f"{title} {value} against {baseline_words(rule.baseline)} {number(verdict.baseline, rule.unit)}"
    low = (rule.worse is Worse.LOWER) == (percent >= 0)
    margin = f"margin {100 * (breach.degraded_by or 0):.3g} %"
    base = f"{baseline_words(rule.baseline)} {number(verdict.baseline, rule.unit)}"
    return f"{title} {value} is {abs(percent):.1f} % {'below' if low else 'above'} {base} ({margin})"


def _list(words: Sequence[str]) -> str:
    shown = list(words[:_NAMED])
    if len(words) > _NAMED:
        shown.append(f"{len(words) - _NAMED} more")
    return ", ".join(shown)


def _pairs(rule: DeploymentRule, verdicts: Iterable[SignalVerdict]) -> list[tuple[SignalRule, SignalVerdict]]:
    return list(zip(rule.signals, verdicts, strict=True))


def sentence(
    rule: DeploymentRule,
    state: TriggerState,
    memory: TriggerMemory,
    condition: bool | None,
    signals: Sequence[SignalVerdict],
    blind: Sequence[str],
) -> str:
    """Why the deployment is in this state, at this evaluation."""
    pairs = _pairs(rule, signals)
    breached = [signal_words(s, v) for s, v in pairs if v.breached]
    unseen = [signal_words(s, v) for s, v in pairs if v.name in blind]
    few = [signal_words(s, v) for s, v in pairs if v.note and v.blind is None]
    if state is TriggerState.PENDING:
        left = duration(dwell_remaining(rule.trigger, memory) or 0.0)
        if condition is None:
            return f"cannot tell now ({_list(unseen or few)}): the dwell stands still with {left} left"
        return f"{_list(breached) or rule.trigger.text}; fires in {left} if it stays"
    if state is TriggerState.FIRED:
        if condition is None:
            return f"fired, and cannot tell now: {_list(unseen or few)}"
        return f"{_list(breached) or rule.trigger.text}; held for {span(rule.trigger.dwell_s)}"
    if state is TriggerState.CLEARING:
        left = duration(hold_remaining(rule.trigger, memory) or 0.0)
        if condition is None:
            return f"cannot tell now ({_list(unseen or few)}): the hold stands still with {left} left"
        return f"the condition is gone; clear in {left} if it stays away"
    if state is TriggerState.BLIND:
        left_blind = blind_remaining(rule.trigger, memory)
        tail = "has fired as blind" if left_blind is None else f"fires as blind in {duration(left_blind)}"
        if condition is False:  # what is seen settles it, whatever the blind signals are
            return f"{_list(unseen)}; what is seen does not trigger; {tail}"
        return f"cannot tell: {_list(unseen)}; {tail}"
    return _calm(state, pairs, breached, few)


def _calm(
    state: TriggerState, pairs: Sequence[tuple[SignalRule, SignalVerdict]], breached: list[str], few: list[str]
) -> str:
    cooling = "cooling after an action; " if state is TriggerState.COOLING else ""
    if breached:
        return f"{cooling}{_list(breached)}; not enough to trigger"
    silent = [signal_words(s, v) for s, v in pairs if v.blind is not None]
    if few or silent:
        inside = len(pairs) - len(few) - len(silent)
        return f"{cooling}{_list(few + silent)}; {inside} of {len(pairs)} signals are inside their margins"
    count = (
        "its signal is inside its margin" if len(pairs) == 1 else f"all {len(pairs)} signals are inside their margins"
    )
    return f"{cooling}{count}"
