"""A signal that is judged by evidence, within its trigger: its step, its verdict, whom it backs, when it will be full.

A step is taken once a window, at evaluation times that are whole multiples of it; in between, what the last step left
is shown. So the detector's memory hangs on those times alone, however often is evaluated.
"""

from __future__ import annotations

from dataclasses import replace

from rollback_console.decide import evidence
from rollback_console.decide.arms import MISMATCH, added, mismatch
from rollback_console.decide.calendar import history_words
from rollback_console.decide.condition import Support, Truth
from rollback_console.decide.ranks import beyond
from rollback_console.model.observation import Blind, Norm, Reading
from rollback_console.model.rules import EvidenceRule, SignalKind, SignalRule, Worse
from rollback_console.model.value import dataclass
from rollback_console.model.verdict import EvidenceMemory, SignalVerdict

_TOLERANCE_S = 1e-6
_STANDS = 4  # windows from the last step on
ALONE_HOLD_S = EvidenceRule().alone_hold_s  # of a plain signal, which has no rule of its own for it
Held = tuple[float, float, bool] | None  # a plain signal's breach: since, seconds counted, was it known at the last


def due(window_s: float, at: float) -> bool:
    """Is a step taken at this evaluation."""
    return abs(at - round(at / window_s) * window_s) < _TOLERANCE_S


def baseline_of(rule: SignalRule, reading: Reading) -> float | None:
    """p: what the signal is compared with, a fixed one by the rule itself."""
    fixed = rule.baseline.value if rule.baseline is not None else None
    return fixed if fixed is not None else reading.baseline


@dataclass(frozen=True, slots=True)
class Trial:
    """What one window says to the detector: x events out of n where p of them are healthy, and which way is worse."""

    x: float
    n: float
    p: float
    worse: Worse


def trial_of(rule: SignalRule, reading: Reading) -> Trial | None:
    """What a reading says, where it says something and there is something to compare with. A gauge is one sample,
    beyond its bound or not; more of those is worse, whichever side that is."""
    norm = reading.norm
    if reading.blind is not None or norm is None:
        return None
    if rule.kind is SignalKind.GAUGE:
        if reading.value is None or norm.bound is None or norm.share is None:
            return None
        return Trial(*beyond((reading.value,), norm.bound, rule.worse), norm.share, Worse.HIGHER)
    p = baseline_of(rule, reading)
    if reading.x is None or reading.n is None or p is None:
        return None
    return Trial(reading.x, reading.n, p, rule.worse)


def shares_of(rule: SignalRule, reading: Reading) -> tuple[float, Worse] | None:
    """(the healthy share, which way is worse) as the detector knows it; None without a baseline."""
    if rule.kind is SignalKind.GAUGE:
        share = reading.norm.share if reading.norm is not None else None
        return None if share is None else (share, Worse.HIGHER)
    p = baseline_of(rule, reading)
    return None if p is None else (p, rule.worse)


def weigh(
    rule: SignalRule, reading: Reading, memory: EvidenceMemory | None, at: float, version: str | None, cooling: bool
) -> EvidenceMemory:
    """The detector's memory after the evaluation at `at`. A window that reaches back before an action or says nothing
    (blind, no trials, nothing to compare with) is no step."""
    found = memory or evidence.EMPTY
    judged = rule.evidence
    if judged is None or not due(rule.window_s, at):
        return found
    norm = reading.norm
    found = evidence.released(found, at, version)
    if cooling and found.acted_at is None:
        found = evidence.after_action(found, at, _drop(rule, found, reading))
    elif not cooling and found.acted_at is not None:
        found = replace(found, acted_at=None)
    trial = trial_of(rule, reading)
    if trial is None or norm is None:
        return found
    if found.acted_at is not None and at - rule.window_s - judged.maturity_s < found.acted_at:
        return found
    judged = in_force(judged, norm)
    arms = None
    if norm.control is not None and norm.split is not None:
        arms = added(found.arms, found.at, at, trial.n, norm.control[1])
    done = evidence.advance(
        judged, trial.worse, found, at, trial.x, trial.n, trial.p, norm, minutes=rule.window_s / 60.0
    )
    return done if arms is None or done is found else replace(done, arms=arms)


def in_force(judged: EvidenceRule, norm: Norm | None) -> EvidenceRule:
    """The rule with the dwell that an adaptive one came to, and with its share of the rotation's false alarms."""
    if norm is None or (norm.dwell_s is None and norm.budget_s is None):
        return judged
    dwell = judged.dwell_s if norm.dwell_s is None else norm.dwell_s
    budget = judged.budget_s if norm.budget_s is None else norm.budget_s
    return replace(judged, dwell_s=dwell, budget_s=budget)


def _drop(rule: SignalRule, memory: EvidenceMemory, reading: Reading) -> float | None:
    share, norm = shares_of(rule, reading), reading.norm
    if share is None or norm is None:
        return None
    found = evidence.degradation(memory, share[1], share[0], norm)
    return None if found is None else found[0] / 100.0


def verdict(
    rule: SignalRule, judged: EvidenceRule, reading: Reading, memory: EvidenceMemory, at: float
) -> SignalVerdict:
    """What evidence says of the signal at `at`. Breached: the bar is reached, and the last whole window was seen. Never
    below the minimum sample."""
    p, norm, value = baseline_of(rule, reading), reading.norm, reading.value
    limit = degradation = percent = interval = often = None
    if rule.kind is SignalKind.GAUGE:
        p = reading.baseline
        limit, often = _passed(reading, memory)
        if limit is None:
            p = None
    elif p is not None and norm is not None:
        limit = evidence.bounded(rule.worse, p, norm.margin)
        if evidence.suspected(memory) and (found := evidence.degradation(memory, rule.worse, p, norm)) is not None:
            percent, interval = found[0], (found[1], found[2])
            degradation = p * percent / 100.0
    if percent is None and value is not None and p is not None:
        degradation = p - value if rule.worse is Worse.LOWER else value - p
        percent = 100.0 * degradation / abs(p) if p else None
    blind, note, breached = reading.blind, "", None
    if value is None:
        blind = blind or Blind.NO_DATA
    elif rule.minimum is not None and (reading.n is None or reading.n < rule.minimum):
        note = f"too few: {reading.n or 0:.0f} of {rule.minimum:.0f}"
    elif p is None or norm is None:
        blind = reading.baseline_blind or Blind.NO_DATA
        note = f"no baseline: {blind}"
        if rule.kind is SignalKind.GAUGE and blind is Blind.NO_DATA:
            note = "no baseline: it takes a day of history"
    elif (split := mismatched(memory, norm)) is not None:
        note = f"{MISMATCH}: {split}"
    elif memory.full_since is None:
        breached = False
    elif memory.at is not None and at - memory.at < rule.window_s - _TOLERANCE_S:
        breached = True
    else:
        note = "evidence is full, and the last whole window is missing"
    if not note and blind is None and norm is not None and norm.hours is not None:
        note = history_words(norm.hours)
    logs, bar = evidence.meter(memory, in_force(judged, norm))
    return SignalVerdict(
        rule.name, value, p, limit, degradation, percent, breached, blind, reading.n, note,
        logs if memory.sums else None, bar, memory.onset if evidence.suspected(memory) else None, interval, often,
    )  # fmt: skip


def _passed(reading: Reading, memory: EvidenceMemory) -> tuple[float | None, tuple[float, float, float, float] | None]:
    """(a gauge's bound, how often it was passed since the onset: share, its 95 % interval, the usual share)."""
    norm = reading.norm
    if norm is None or norm.bound is None or norm.share is None:
        return None, None
    usual = norm.share
    found = evidence.degradation(memory, Worse.HIGHER, usual, norm) if evidence.suspected(memory) else None
    if found is None:
        return norm.bound, None
    middle, low, high = (min(max(usual * (1.0 + percent / 100.0), 0.0), 1.0) for percent in found)
    return norm.bound, (middle, low, high, usual)


def mismatched(memory: EvidenceMemory, norm: Norm) -> str | None:
    """In words, that the control gets another share of the trials than it was meant to; None where it does not."""
    if norm.control is None or norm.split is None:
        return None
    seen = mismatch(memory.arms, norm.split)
    if seen is None:
        return None
    told = f"{seen:.0%} of trials in the control, expected {norm.split:.0%}".replace("%", " %")
    return f"{told}: the comparison cannot be trusted"


def standing(rule: SignalRule, found: SignalVerdict, memory: EvidenceMemory, at: float) -> bool:
    """Does what the last step said still stand although nothing is seen now: a window or two may be missing, or empty,
    before the signal counts as blind."""
    return found.blind is not None and memory.at is not None and at - memory.at < _STANDS * rule.window_s - _TOLERANCE_S


def stays(found: SignalVerdict, counts: Truth, memory: EvidenceMemory) -> Truth:
    """Is the signal suspected, so that its trigger stays pending or fired: half of the bar was reached and it was not
    calm since. `counts`: what it counts as otherwise, where it cannot be judged."""
    if found.blind is not None or (found.breached is None and found.note.startswith(("too few", MISMATCH))):
        return counts
    return evidence.suspected(memory)


def support(
    rule: SignalRule, judged: EvidenceRule, counts: Truth, memory: EvidenceMemory, at: float, alone_hold_s: float
) -> Support:
    """What the tiered rule goes by. `judged`: the rule in force; `alone_hold_s`: how long it has to hold alone."""
    alone = rule.sufficient_alone or (
        memory.full_since is not None and at - memory.full_since >= alone_hold_s - _TOLERANCE_S
    )
    agrees: Truth = None if counts is None else counts or evidence.agrees(memory, judged)
    return Support(counts, agrees, alone)


def hold(held: Held, counts: Truth, at: float, last: float | None, *, reset: bool) -> Held:
    """A plain signal's own clock, where its trigger is judged by evidence: only time whose both ends were seen."""
    if counts is False or (counts is None and reset):
        return None
    if held is None:
        return (at, 0.0, True) if counts else None
    since, counted, known = held
    if counts is None:
        return since, counted, False
    return since, counted + (at - last if known and last is not None else 0.0), True


def plain_support(
    rule: SignalRule, counts: Truth, held: Held, dwell_s: float, alone_hold_s: float = ALONE_HOLD_S
) -> Support:
    """What the tiered rule goes by, of a signal with a plain bound: it backs another at once, is breached itself once
    it has held for the trigger's dwell, and may stand alone after `alone_hold_s`."""
    counted = held[1] if held is not None else 0.0
    stands: Truth = counted >= dwell_s - _TOLERANCE_S if counts else counts
    return Support(stands, counts, rule.sufficient_alone or counted >= alone_hold_s - _TOLERANCE_S)


def wait(rule: SignalRule, judged: EvidenceRule, reading: Reading, memory: EvidenceMemory) -> float | None:
    """Seconds, about, until evidence is full if the degradation stays; None: it will not be."""
    share, norm = shares_of(rule, reading), reading.norm
    n = 1.0 if rule.kind is SignalKind.GAUGE else reading.n
    if memory.full_since is not None:
        return 0.0
    if not evidence.suspected(memory) or share is None or norm is None or n is None:
        return None
    return evidence.eta_s(in_force(judged, norm), share[1], memory, n, share[0], norm, rule.window_s / 60.0)
