"""Signals that stand aside: shown, and evidence of where trouble comes from, but never a part of any trigger.

A *distribution* that drifted says that a model is fed something else, not that it serves badly (`decide.drift`). A
*slow* signal (daily actives, churn, chargebacks) is judged once its events have come in, days later: no reason to wake
anybody.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from math import exp
from statistics import median

from rollback_console.model.observation import Blind, Reading
from rollback_console.model.rules import BaselineKind, SignalKind, SignalRule, Worse
from rollback_console.model.text import number
from rollback_console.model.verdict import SignalVerdict

DAY_S, WEEK_S = 86_400.0, 604_800.0
PAST_DAYS = 28  # whose own changes say how far two values differ by chance
DRIFTS_AT = 0.1  # the stability index from which on a shift counts (`decide.drift`)
_LEAST_PAST = 10  # changes seen, below which no interval is told
_NORMAL = 1.4826  # times the median absolute deviation is a standard deviation (Huber 1981, "Robust Statistics", 5.1)
_LEAST_REACH = 0.001


def as_of(rule: SignalRule, at: float) -> float:
    """The end (a midnight UTC, Unix seconds) of the last window of a slow signal that is mature at `at`."""
    return (at - rule.maturity_s) // DAY_S * DAY_S


def lag_of(rule: SignalRule) -> float:
    """How much earlier the window lies that a slow one is compared with, in seconds: a week, or its own length where
    that is longer: windows that overlap hold the same people."""
    return max(WEEK_S, rule.window_s)


def reach_of(changes: Sequence[float]) -> float | None:
    """The half-width of a 95 % interval of a change, as a fraction, from past `changes` (logarithms of a value over the
    one compared with it); None where there are too few. Robust: an odd week widens it little."""
    if len(changes) < _LEAST_PAST:
        return None
    middle = median(changes)
    spread = _NORMAL * median([abs(each - middle) for each in changes])
    return max(exp(1.96 * spread) - 1.0, _LEAST_REACH)


def judge_aside(rule: SignalRule, reading: Reading, at: float) -> SignalVerdict:
    """What stands there for the signal at `at`: its number in words (the verdict's `note`). `breached`: it drifted, or
    its mature change is worse than chance and than its margin explain."""
    if rule.kind is SignalKind.DISTRIBUTION:
        return _drift(rule, reading)
    return _slow(rule, reading, at)


def _drift(rule: SignalRule, reading: Reading) -> SignalVerdict:
    found = reading.drift
    if found is None:
        blind, note = reading.blind, ""
        if blind is None:
            note = f"too few to compare: {reading.n or 0.0:.0f}"
        elif reading.baseline_blind is not None:
            note = f"nothing to compare it with: {blind}"
        return SignalVerdict(rule.name, None, None, None, None, None, None, blind, reading.n, note, aside=True)
    onset = found.since if found.drifted else None
    return SignalVerdict(
        rule.name, found.psi, None, DRIFTS_AT, None, None, found.drifted, None, found.m, found.words, onset=onset,
        aside=True,
    )  # fmt: skip


def _slow(rule: SignalRule, reading: Reading, at: float) -> SignalVerdict:
    value, base = reading.value, reading.baseline
    if rule.baseline is not None and rule.baseline.kind is BaselineKind.FIXED:
        base = rule.baseline.value
    day = datetime.fromtimestamp(as_of(rule, at) - 1.0, UTC)
    when = f"as of {day.day} {day:%b %Y}, mature"
    if value is None:
        blind = reading.blind or Blind.NO_DATA
        return SignalVerdict(
            rule.name, None, base, None, None, None, None, blind, reading.n, f"{blind} {when}", aside=True
        )
    if base is None or not base:
        note = f"{when}; nothing to compare it with: {reading.baseline_blind or Blind.NO_DATA}"
        return SignalVerdict(rule.name, value, base, None, None, None, None, None, reading.n, note, aside=True)
    change = (value - base) / abs(base)
    worse = -change if rule.worse is Worse.LOWER else change
    told = f"{when}: {number(value, rule.unit)} vs {number(base, rule.unit)}, {100 * change:+.1f} %"
    if rule.minimum is not None and (reading.n is None or reading.n < rule.minimum):
        note = f"{when}; too few: {reading.n or 0:.0f} of {rule.minimum:.0f}"
        return SignalVerdict(
            rule.name, value, base, None, worse * abs(base), 100 * worse, None, None, reading.n, note, aside=True
        )
    if reading.norm is None:
        return SignalVerdict(
            rule.name, value, base, None, worse * abs(base), 100 * worse, None, None, reading.n,
            f"{told}; too little history to say what is chance", aside=True,
        )  # fmt: skip
    reach = reading.norm.margin * (1.0 + abs(change))
    breached = worse - reach > (rule.breach.degraded_by or 0.0)
    ends = (100 * (worse - reach), 100 * (worse + reach))
    low, high = sorted((100 * (change - reach), 100 * (change + reach)))
    note = f"{told} [{low:+.1f}, {high:+.1f}]{'' if breached else ', within what is usual'}"
    return SignalVerdict(
        rule.name, value, base, None, worse * abs(base), 100 * worse, breached, None, reading.n, note, interval=ends,
        aside=True,
    )  # fmt: skip
