"""One signal judged: a reading against its rule. Pure; the same bytes in, the same verdict out."""

from __future__ import annotations

from rollback_console.decide.aside import judge_aside
from rollback_console.decide.curves import bound_at
from rollback_console.model.observation import Blind, Reading
from rollback_console.model.rules import Baseline, BaselineKind, BlindPolicyKind, SignalRule, Worse
from rollback_console.model.verdict import SignalVerdict

# What a signal counts as in the trigger's condition: True, False, or None where it cannot be told.
Effective = bool | None
LastKnown = tuple[bool, float] | None


def limit_of(
    rule: SignalRule, baseline: float | None, at: float | None = None, n: float | None = None, loss: float = 0.0,
    fired: bool = False,
) -> float | None:  # fmt: skip
    """The value beyond which the signal counts as degraded, in its unit; None without a baseline where one is needed.
    `at` (Unix seconds), `n` (trials in its window) and `loss` (revenue a minute, as the other signals tell it) are
    asked where the bound varies. `fired`: its trigger has, so that it is over only where `clear` says.

    A relative margin is a fraction of the baseline's size, so that a negative baseline degrades in the right direction.
    """
    breach = rule.breach
    if breach.curve is not None:
        return None if at is None else bound_at(breach.curve, at, None if n is None else n * 60.0 / rule.window_s, loss)
    clear = breach.clear if fired else None
    if breach.above is not None:
        return breach.above if clear is None else clear
    if breach.below is not None:
        return breach.below if clear is None else clear
    if breach.degraded_by is None or baseline is None:
        return None
    distance = abs(baseline) * (breach.degraded_by if clear is None else clear)
    return baseline - distance if rule.worse is Worse.LOWER else baseline + distance


def by_impact(rule: SignalRule) -> bool:
    """Does its bound vary with what is lost, as the other signals tell it."""
    return rule.breach.curve is not None and rule.breach.curve.by == "impact"


def lingers(rule: SignalRule, verdict: SignalVerdict) -> bool:
    """Would it count as degraded still, had its trigger fired: between the bound that fires and the one that clears."""
    if rule.breach.clear is None or verdict.value is None:
        return False
    limit = limit_of(rule, verdict.baseline, fired=True)
    low = rule.breach.below is not None or (rule.breach.above is None and rule.worse is Worse.LOWER)
    return limit is not None and (verdict.value < limit if low else verdict.value > limit)


def judge(
    rule: SignalRule, reading: Reading, at: float | None = None, loss: float = 0.0, fired: bool = False
) -> SignalVerdict:
    """The verdict on one reading at `at` (Unix seconds) while `loss` is lost a minute (both asked where the bound
    varies); `fired`: its trigger has. Bounds are strict: a value at its limit is not degraded."""
    if rule.aside:
        return judge_aside(rule, reading, 0.0 if at is None else at)
    value, baseline = reading.value, reading.baseline
    if rule.baseline is not None and rule.baseline.kind is BaselineKind.FIXED:
        baseline = rule.baseline.value
    limit = limit_of(rule, baseline, at, reading.n, loss, fired)
    degradation = percent = None
    if value is not None and baseline is not None:
        degradation = baseline - value if rule.worse is Worse.LOWER else value - baseline
        if baseline:
            percent = 100.0 * degradation / abs(baseline)
    blind, note = reading.blind, ""
    breached: bool | None = None
    if value is None:
        blind = blind or Blind.NO_DATA
    elif rule.minimum is not None and (reading.n is None or reading.n < rule.minimum):
        note = f"too few: {reading.n or 0:.0f} of {rule.minimum:.0f}"
    elif limit is None:
        blind = reading.baseline_blind or Blind.NO_DATA
        note = f"no baseline: {blind}" if rule.breach.curve is None else "no bound: its traffic is not known"
    elif rule.breach.below is not None or (rule.breach.above is None and rule.worse is Worse.LOWER):
        breached = value < limit
    else:
        breached = value > limit
    return SignalVerdict(rule.name, value, baseline, limit, degradation, percent, breached, blind, reading.n, note)


def effective(rule: SignalRule, verdict: SignalVerdict, last: LastKnown, at: float) -> tuple[Effective, bool, bool]:
    """What the signal counts as: (condition, flagged blind, resets the dwell), by its policy for blindness.

    Too few trials, or a value with nothing to compare it with yet, is unknown but not blind: nothing is broken, there
    is only nothing to say. What stands aside counts for nothing, whatever it shows.
    """
    if verdict.aside:
        return False, False, False
    if verdict.breached is not None or verdict.blind is None:
        return verdict.breached, False, False
    kind = rule.blind.kind
    if kind is BlindPolicyKind.HEALTHY:
        return False, False, False
    if verdict.value is not None and verdict.blind is not Blind.QUERY_FAILED:
        return None, False, False
    if kind is BlindPolicyKind.BREACH:
        return True, True, False
    if kind is BlindPolicyKind.RESET:
        return None, True, True
    if kind is BlindPolicyKind.LAST and last is not None and at - last[1] <= rule.blind.last_s:
        return last[0], False, False
    return None, True, False


def remembered(rule: SignalRule, verdict: SignalVerdict, last: LastKnown, at: float) -> LastKnown:
    """What the next evaluation may still go by: only what a `last` policy can use, and no longer than it may, so that
    a memory holds nothing that a replay of that time would not know."""
    if rule.blind.kind is not BlindPolicyKind.LAST:
        return None
    if verdict.breached is not None:
        return verdict.breached, at
    return last if last is not None and at - last[1] <= rule.blind.last_s else None


def baseline_words(baseline: Baseline | None) -> str:
    """What a baseline is called in a sentence."""
    if baseline is None:
        return "its bound"
    return {
        BaselineKind.FIXED: "the fixed",
        BaselineKind.LAST_WEEK: "last week's",
        BaselineKind.VERSION: "the version before's",
        BaselineKind.SEASONAL: "the usual",
        BaselineKind.CONTROL: "the control's",
        BaselineKind.PERIOD: "the named period's",
    }[baseline.kind]
