"""What one verdict says by itself of where its trouble comes from: unseen, unanswered, badly fed, no longer counted."""

from __future__ import annotations

from rollback_console.decide.arms import MISMATCH
from rollback_console.decide.explain import signal_words, title_of
from rollback_console.model.observation import Blind
from rollback_console.model.rules import DeploymentRule, SignalRule
from rollback_console.model.verdict import SignalVerdict, TriggerState, Verdict

INPUTS = "inputs"  # the area of signals that watch what a model is fed with; they explain, and alone they never act
_SOME = 10.0  # events that are expected: none of them by chance is one in 22,000


def silent(verdict: Verdict) -> bool:
    """Is it in trouble only for not being seen. What fired before it fell silent is not: it is known to be bad."""
    if verdict.state is TriggerState.BLIND:
        return True
    return verdict.state is TriggerState.PENDING and verdict.condition is None and verdict.fired_as_blind


def unanswered(verdict: Verdict) -> bool:
    """Silent, and because the backend answers none of its queries."""
    blind = [signal.blind for signal in verdict.signals if signal.blind is not None]
    return silent(verdict) and bool(blind) and all(kind is Blind.QUERY_FAILED for kind in blind)


def pairs(rule: DeploymentRule, verdict: Verdict) -> list[tuple[SignalRule, SignalVerdict]]:
    """Each signal's rule with what was found of it."""
    known = {signal.name: signal for signal in rule.signals}
    return [(known[found.name], found) for found in verdict.signals if found.name in known]


def inputs_words(rule: DeploymentRule, verdict: Verdict, onset: float | None = None) -> str:
    """Which of its inputs are bad now, with their numbers, or "". A drift that began after the trouble did (`onset`,
    Unix seconds), by more than the window that it is seen in, did not make it."""
    bad = [pair for pair in pairs(rule, verdict) if pair[0].area == INPUTS and pair[1].breached]
    if onset is not None:
        bad = [(s, v) for s, v in bad if not v.aside or v.onset is None or v.onset <= onset + s.window_s]
    return ", ".join(signal_words(signal, found) for signal, found in bad)


def mismatch_words(rule: DeploymentRule, verdict: Verdict) -> str:
    """Which of its comparisons cannot be trusted, for the control gets another share than it was meant to, or ""."""
    found = [pair for pair in pairs(rule, verdict) if pair[1].note.startswith(MISMATCH)]
    return ", ".join(f"{title_of(signal)}: {judged.note}" for signal, judged in found)


def not_counted(rule: DeploymentRule, verdict: Verdict) -> str:
    """In words, that events are no longer counted at all while trials are, and nothing else is bad: tracking was lost.
    Otherwise "". Where few are expected, none is no wonder."""
    bad = [(signal, found) for signal, found in pairs(rule, verdict) if found.breached and not found.aside]
    for signal, found in bad:
        if signal.area != "business" or found.value != 0.0 or (found.n or 0.0) * (found.baseline or 0.0) < _SOME:
            return ""
    return f"no {bad[0][0].name} at all is counted, out of {bad[0][1].n:,.0f}, and nothing else is bad" if bad else ""
