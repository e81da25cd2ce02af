"""A deployment's state in words for the detail screens: glyph and word, and the clock that runs, to the second."""

from __future__ import annotations

import math

from rollback_console.model.countdown import eta_words, hold_clock
from rollback_console.model.snapshot import DeploymentView, Snapshot
from rollback_console.model.text import duration
from rollback_console.model.verdict import SignalVerdict, TriggerState, Verdict
from rollback_console.tui.themes import GLYPHS, WORDS


def state_word(verdict: Verdict | None) -> tuple[str, str, str]:
    """(glyph, word, role) of a state; before the first evaluation it reads `waiting`."""
    if verdict is None:
        return "…", "waiting", "dim"
    word = WORDS[verdict.state]
    if verdict.fired_as_blind:
        if verdict.state is TriggerState.BLIND:
            return f"{GLYPHS[TriggerState.FIRED]}?", word, f"state.{TriggerState.FIRED.value}"
        word += " AS BLIND"
    return GLYPHS[verdict.state], word, f"state.{verdict.state.value}"


def passed(verdict: Verdict, now: float, snapshot: Snapshot | None) -> float:
    """Seconds since the evaluation that a countdown may count: none when frozen, and none while nothing is
    evaluated any more (three steps without a new evaluation: what runs on then would be a guess)."""
    if verdict.frozen:
        return 0.0
    most = 3 * snapshot.step_s if snapshot is not None and snapshot.step_s > 0 else 0.0
    return min(max(0.0, now - verdict.at), most)


def clock_of(view: DeploymentView, now: float, snapshot: Snapshot | None) -> str:
    """The clock that runs for a deployment, as a phrase; "" where none runs."""
    verdict = view.verdict
    if verdict is None:
        return "no evaluation yet"
    gone = passed(verdict, now, snapshot)
    state = verdict.state
    if state is TriggerState.PENDING and verdict.dwell_remaining_s is not None:
        left = verdict.dwell_remaining_s - gone
        if verdict.frozen:
            return f"frozen at {duration(left)}: telemetry is blind"
        return eta_words(verdict, gone) if left > 0.5 else "fires at the next evaluation"
    if state is TriggerState.PENDING and verdict.condition is not None and not verdict.frozen:
        if verdict.alone is not None and verdict.alone.held_s > 0:
            return hold_clock(verdict.alone, gone)
        # judged by evidence, whose clock is no one's to see
        return eta_words(verdict, gone) or "suspected; would not fire as it is"
    if state is TriggerState.CLEARING and verdict.hold_remaining_s is not None:
        left = verdict.hold_remaining_s - gone
        if verdict.frozen:
            return f"hold frozen at {duration(left)}: telemetry is blind"
        return f"clears in {duration(left)}"
    if verdict.blind_remaining_s is not None and not verdict.fired_as_blind:
        left = verdict.blind_remaining_s - max(0.0, now - verdict.at)  # blindness itself goes on while nothing is seen
        return f"fires as blind in {duration(left)}"
    if verdict.since is not None and state is not TriggerState.HEALTHY:
        return f"for {duration(now - verdict.since)}"
    return ""


def dwell_bar(view: DeploymentView, now: float, snapshot: Snapshot | None, width: int = 12) -> str:
    """How much of the dwell has run, as a bar of `width` cells; of a trigger that waits for evidence the fullest meter;
    "" unless pending."""
    verdict = view.verdict
    if verdict is None or verdict.state is not TriggerState.PENDING:
        return ""
    if verdict.dwell_remaining_s is None:
        fullest = max((s for s in verdict.signals if s.onset is not None), key=fullness, default=None)
        return "" if fullest is None else f"evidence {meter(fullest)}"
    dwell = view.rule.trigger.dwell_s
    share = 1.0 if dwell <= 0 else 1 - (verdict.dwell_remaining_s - passed(verdict, now, snapshot)) / dwell
    full = round(min(1.0, max(0.0, share)) * width)
    return "▓" * full + "░" * (width - full)


def fullness(signal: SignalVerdict) -> float:
    """How far a signal's evidence is on its way to its bar, 0 to 1; 0 where it is not judged by evidence."""
    if signal.evidence is None or not signal.bar:
        return 0.0
    return min(1.0, max(0.0, signal.evidence / signal.bar))


def evidence_pair(signal: SignalVerdict) -> str:
    """`7.1/11.8`: evidence and the bar it must reach; "" where it is not judged by evidence."""
    if signal.evidence is None or not signal.bar:
        return ""
    shown = max(0.0, signal.evidence)
    if shown < signal.bar and f"{shown:.1f}" == f"{signal.bar:.1f}":
        shown = math.floor(shown * 10) / 10  # it reads as its bar only when that is reached
    return f"{shown:.1f}/{signal.bar:.1f}"


def meter(signal: SignalVerdict, width: int = 10) -> str:
    """The evidence meter, readable without colour: `######---- 7.1/11.8`. Full only when the bar is reached."""
    share = fullness(signal)
    full = width if share >= 1.0 else min(width - 1, round(share * width))
    return f"{'#' * full}{'-' * (width - full)} {evidence_pair(signal)}"
