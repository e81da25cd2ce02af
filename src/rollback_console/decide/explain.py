"""One sentence for a person, with the numbers that decided."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from rollback_console.decide.signals import baseline_words
from rollback_console.decide.trigger import blind_remaining
from rollback_console.model.rules import DeploymentRule, SignalRule, Worse
from rollback_console.model.text import number, span
from rollback_console.model.verdict import SignalVerdict, TriggerMemory, TriggerState, Verdict

_NAMED = 3  # how many signals a sentence names before it counts
# How a sentence ends while a clock runs. It names no countdown: the sentence is of its evaluation, the numbers are in
# the verdict's fields, and who shows them counts on.
_FIRES, _CLEARS, _FIRES_BLIND = "fires if it stays", "clears if it stays away", "fires as blind if it stays"


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


def in_absolute_times(verdict: Verdict, clock: Callable[[float], str]) -> str:
    """The verdict's sentence for text that is copied and read later: not "fires" but "fires at 10:31:04 UTC". `clock`
    puts Unix seconds into words. A clock that stands still has no time to name."""
    if verdict.frozen and verdict.state is not TriggerState.BLIND:
        return verdict.sentence
    for tail, left in (
        (_FIRES_BLIND, verdict.blind_remaining_s),
        (_FIRES, verdict.dwell_remaining_s),
        (_CLEARS, verdict.hold_remaining_s),
    ):
        if left is not None and verdict.sentence.endswith(tail):
            what, _, condition = tail.partition(" if ")
            return f"{verdict.sentence.removesuffix(tail)}{what} at {clock(verdict.at + left)} if {condition}"
    return verdict.sentence


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
        if condition is None:
            return f"cannot tell now ({_list(unseen or few)}): the dwell stands still"
        return f"{_list(breached) or rule.trigger.text}; {_FIRES}"
    if state is TriggerState.FIRED:
        if condition is None:
            return f"fired, and cannot tell now: {_list(unseen or few)}"
        return f"{_list(breached) or rule.trigger.text}; held for {span(rule.trigger.dwell_s)}"
    if state is TriggerState.CLEARING:
        if condition is None:
            return f"cannot tell now ({_list(unseen or few)}): the hold stands still"
        return f"the condition is gone; {_CLEARS}"
    if state is TriggerState.BLIND:
        if not blind:
            return f"cannot tell yet: {_list(few + [signal_words(s, v) for s, v in pairs if v.blind is not None])}"
        tail = "has fired as blind" if blind_remaining(rule.trigger, memory) is None else _FIRES_BLIND
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
