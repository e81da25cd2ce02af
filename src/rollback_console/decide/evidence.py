"""Evidence: how strongly x events out of n, minute after minute, contradict "healthy".

A mixture Shiryaev-Roberts e-detector. Each alternative k (a drop of 3 %, ..., 60 %; or a rise) multiplies likelihood
ratios from every possible start, so that the expected sum grows by one a minute while all is well: the mean time
between false alarms is at least the budget. Sources: Ville 1939; Lorden 1971; Shin, Ramdas & Rinaldo 2024
(doi 10.51387/23-NEJSDS51). Every safeguard below only lowers the statistic, so that the bound survives it.

- *margin*: against pb = (1 -+ m) p, not p. *Winsorised* toward health: one absurd minute says no more than a bad one.
- *phi*: the log likelihood ratio divided by the noise's dispersion. *Cap*: (h - 1.7) / D a minute, so that no burst
  shorter than the dwell D fires.
- *Spans*: at marks, every 12 h of the clock, starts older than the mark before are forgotten. What is known at a time
  therefore hangs on no more than the last 24 h, exactly: a cold start that has read these is in the very same state as
  a console that never slept. The evidence is kept as two sums: starts since the last mark, and of the span before.

After a deployment the start is known, for a day: the plain product from there, full at E >= 1,000.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from math import exp, inf, log, log1p, sqrt

from rollback_console.model.observation import Norm
from rollback_console.model.rules import EvidenceRule, Worse
from rollback_console.model.verdict import EvidenceMemory

# Drops as fractions of the baseline; rises as factors of it. As many of one as of the other: `Norm.phi` fits both.
ALTERNATIVES: Mapping[Worse, tuple[float, ...]] = {
    Worse.LOWER: (0.03, 0.05, 0.08, 0.12, 0.20, 0.35, 0.60),
    Worse.HIGHER: (1.1, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0),
}
COUNT = 7
AGREES = 0.7  # of the way from rest to the bar: then one signal backs another
REST = 1.7  # where log evidence idles on healthy streams
SPAN_S = 43_200.0  # between two marks
_RELEASE = 1000.0
RELEASE_BAR = log(_RELEASE)  # of the product from a known start
RELEASE_S = 86_400.0  # how long a start is known
_USUAL_BAR = log(129_600.0)  # of one false alarm in 90 days
RECOVERED = log(20.0)  # the recovery meter's bar, counted from an action ...
RECOVERED_ALONE = log(1000.0)  # ... and where a degradation ends, or comes back, by itself at a time nobody knows
CALM_S = 600.0  # below half of the bar for so long: no longer suspected
_HEADROOM = exp(3.0)  # times the bar: evidence beyond is not kept, and need not be lost again
_MOST = 600.0  # a log likelihood ratio without a cap, within what a float can hold
_WINSOR = 1.5  # standard deviations beyond an alternative's mean
_RARE = 0.02  # events a window: what is rarer by its baseline counts as this, else winsorising would hide any rise
_LEAST = 1e-9
_NOTHING = (0.0,) * COUNT
_SCALES = {  # per alternative: itself, ln of what it multiplies a rate by, the root of that
    Worse.LOWER: tuple((each, log(1.0 - each), sqrt(1.0 - each)) for each in ALTERNATIVES[Worse.LOWER]),
    Worse.HIGHER: tuple((each, log(each), sqrt(each)) for each in ALTERNATIVES[Worse.HIGHER]),
}
EMPTY = EvidenceMemory()

Triples = tuple[tuple[float, float, float], ...]
Ratios = tuple[tuple[float, float, float, float], ...]


def bar(rule: EvidenceRule) -> float:
    """h: what log evidence must reach, ln of the false-alarm budget in minutes."""
    return log(rule.budget_s / 60.0)


def cap_of(rule: EvidenceRule, minutes: float = 1.0) -> float:
    """The most that one window of `minutes` may add to log evidence, so that nothing shorter than the dwell is full.

    A budget stricter than one alarm in 90 days (a share of a large rotation's) raises the bar, not the cap: it takes
    longer than the dwell in the same measure. Bursts have a tail of their own: two outages in a row, which one
    deployment sees once in years, a thousand of them see every month.
    """
    dwell = rule.dwell_s / 60.0 / minutes
    return max(min(bar(rule), _USUAL_BAR) - REST, _LEAST) / dwell if dwell > 0.0 else _MOST


def log_m(memory: EvidenceMemory) -> float:
    """The log of the mean evidence over the alternatives; -inf where empty."""
    return _log_mean(memory.sums)


def log_release(memory: EvidenceMemory) -> float:
    """The log evidence of the product from a known start; -inf where no start is known."""
    return _log_mean(memory.release_sums)


def _log_mean(sums: Sequence[float]) -> float:
    total = sum(sums)
    mean = total / COUNT  # may be 0 where the total is not: the smallest numbers there are
    return log(mean) if mean > 0.0 else -inf


def meter(memory: EvidenceMemory, rule: EvidenceRule) -> tuple[float, float]:
    """(log evidence, its bar) of the fuller of the two tests: the detector, or the known start after a deployment.
    After a recovery, while the evidence from before it wears off: of the meter that tells whether it is back."""
    if memory.recovered:
        return memory.meter, RECOVERED_ALONE
    h, found = bar(rule), log_m(memory)
    release = log_release(memory) if memory.release_sums else -inf
    return (release, RELEASE_BAR) if release / RELEASE_BAR > found / h else (found, h)


def agrees(memory: EvidenceMemory, rule: EvidenceRule) -> bool:
    """Does this signal back another: seven tenths of the way from rest to its bar."""
    h = bar(rule)
    if memory.recovered:
        return False
    return log_m(memory) >= REST + AGREES * (h - REST) or log_release(memory) >= AGREES * RELEASE_BAR


def suspected(memory: EvidenceMemory) -> bool:
    """Was half of the bar reached, and it has neither been calm nor recovered since."""
    return memory.onset is not None and not memory.recovered


@lru_cache(maxsize=8192)
def _ratios(worse: Worse, pb: float) -> Ratios:
    """Per alternative: ln(p1/pb) - ln((1-p1)/(1-pb)), the latter, p1, its square root. A rise that would pass one
    shrinks what is left instead: 1 - p1 = (1 - pb) / factor."""
    root, odds = sqrt(pb), pb / (1.0 - pb)
    found = []
    for each, hit, scale in _SCALES[worse]:
        if worse is Worse.LOWER or each * pb <= 1.0 - (1.0 - pb) / each:
            factor = each if worse is Worse.HIGHER else 1.0 - each
            miss = log1p((1.0 - factor) * odds)
            found.append((hit - miss, miss, factor * pb, scale * root))
        else:
            p1 = 1.0 - (1.0 - pb) / each
            found.append((log(p1 / pb) + log(each), -log(each), p1, sqrt(p1)))
    return tuple(found)


def bounded(worse: Worse, p: float, margin: float) -> float:
    """pb: the baseline with its margin, beyond which a rate counts as degraded; kept inside (0, 1)."""
    return min(max(p * (1.0 - margin if worse is Worse.LOWER else 1.0 + margin), _LEAST), 1.0 - _LEAST)


def steps(worse: Worse, x: float, n: float, p: float, norm: Norm, winsor: float = _WINSOR) -> list[float]:
    """l_k: the log likelihood ratios of one window, divided by phi, winsorised, not yet capped."""
    phis = norm.phi if len(norm.phi) == COUNT else (norm.phi or (1.0,)) * COUNT
    if norm.control is not None:
        raw = _beside(worse, x, n, norm.margin, norm.control, winsor)
        return [each / phi for each, phi in zip(raw, phis, strict=True)]
    pb = bounded(worse, p, norm.margin)
    if worse is Worse.HIGHER and 0.0 < pb * n < _RARE:
        pb = min(_RARE / n, 0.5)
    return _against(worse, 0.0 if x < 0.0 else min(x, n), n, _ratios(worse, pb), phis, winsor * sqrt(n))


def _against(worse: Worse, x: float, n: float, ratios: Ratios, phis: tuple[float, ...], reach: float) -> list[float]:
    """As `steps`, against a baseline."""
    found = []
    if worse is Worse.LOWER:
        for (hit, miss, p1, root), phi in zip(ratios, phis, strict=True):
            least = n * p1 - reach * root
            found.append(((x if x > least else least) * hit + n * miss) / phi)
    else:
        for (hit, miss, p1, root), phi in zip(ratios, phis, strict=True):
            most = n * p1 + reach * root
            found.append(((x if x < most else most) * hit + n * miss) / phi)
    return found


def _beside(
    worse: Worse, x: float, n: float, margin: float, control: tuple[float, float], winsor: float
) -> list[float]:
    """As `steps`, with a control arm: conditioned on x1 + x2, so that what both share cancels."""
    x2, n2 = control
    lower = worse is Worse.LOWER
    own = n * (1.0 - margin if lower else 1.0 + margin)
    theta = own / (own + n2)
    found = []
    for each in ALTERNATIVES[worse]:
        weighted = own * (1.0 - each if lower else each)
        other = weighted / (weighted + n2)
        mean = (x + x2) * other
        reach = winsor * sqrt(mean * (1.0 - other))
        y = max(x, mean - reach) if lower else min(x, mean + reach)
        found.append(y * log(other / theta) + x2 * log((1.0 - other) / (1.0 - theta)))
    return found


def advance(
    rule: EvidenceRule,
    worse: Worse,
    memory: EvidenceMemory,
    at: float,
    x: float,
    n: float,
    p: float,
    norm: Norm,
    *,
    minutes: float = 1.0,
) -> EvidenceMemory:
    """The memory after one window of `minutes` ending at `at` (Unix seconds, later than `memory.at`): x events out of n
    against the baseline p. No trials change nothing."""
    if not n > 0.0 or (norm.control is not None and not norm.control[1] > 0.0):
        return memory
    budget = rule.budget_s / 60.0
    dwell = rule.dwell_s / 60.0 / minutes
    cap = cap_of(rule, minutes)
    free = steps(worse, x, n, p, norm)
    start = at - 60.0 * minutes - rule.maturity_s
    sums, walks, since, tally = _mixed(_turned(memory, at), free, cap, budget * _HEADROOM, minutes, start)
    expected = n * p if norm.control is None else n * norm.control[0] / norm.control[1]
    missing = expected - x if worse is Worse.LOWER else x - expected
    tally = (tally[0] + missing, tally[1] + expected, tally[2] + missing, tally[3] + expected)
    total = sum(sums)
    full, half = total >= COUNT * budget, total >= COUNT * sqrt(budget)
    known = memory.released_at is not None and at - memory.released_at <= RELEASE_S
    release: tuple[float, ...] = ()
    if known:
        release = _known_start(memory, start, free, dwell)
        product = sum(release)
        full, half = full or product >= COUNT * _RELEASE, half or product >= COUNT * sqrt(_RELEASE)
    full_since = (at if memory.full_since is None else memory.full_since) if full and not memory.recovered else None
    calm = None if half or memory.onset is None else at if memory.calm_since is None else memory.calm_since
    found = EvidenceMemory(
        at, sums, full_since, calm, memory.onset, memory.frozen_at, walks, since, tally, memory.version,
        memory.released_at if known else None, release, memory.acted_at, memory.seen, memory.drop, memory.meter,
        memory.recovered,
    )  # fmt: skip
    if not half and memory.onset is None:
        return found
    if calm is not None and at - calm >= CALM_S:
        return replace(
            found, calm_since=None, onset=None, frozen_at=None, seen=(0.0, 0.0), drop=None, meter=0.0, recovered=False
        )
    gone = _for_recovery(worse, x, n, p, norm, memory.drop)
    lead = max(range(len(walks) - COUNT, len(walks)), key=walks.__getitem__) if half else -1
    return _suspicion(found, memory, lead, start, (missing, expected), gone, full)


def _suspicion(
    found: EvidenceMemory,
    before: EvidenceMemory,
    lead: int,
    start: float,
    last: tuple[float, float],
    gone: float,
    full: bool,
) -> EvidenceMemory:
    """`found` with what is known of a degradation that is suspected: since when, how large, and whether it is gone, or
    back. `lead`: the leading log, -1 where evidence is below half of the bar; the last window began at `start`, missed
    and was expected to hold `last`, and adds `gone` to the meter for "it is gone"."""
    onset, seen, drop, acted = before.onset, before.seen, before.drop, found.acted_at is not None
    added = (seen[0] + last[0], seen[1] + last[1])
    if before.recovered:
        meter = max(0.0, before.meter - gone)
        if meter == 0.0:
            onset, added = start, last
        back = meter >= RECOVERED_ALONE
        return replace(
            found, onset=onset, seen=added, meter=0.0 if back else meter, recovered=not back,
            frozen_at=found.at if back else None, full_since=found.at if back and full else None,
        )  # fmt: skip
    meter = before.meter + gone if acted else max(0.0, before.meter + gone)
    if drop is not None and meter >= (RECOVERED if acted else RECOVERED_ALONE):
        return replace(found, onset=start, seen=last, meter=0.0, recovered=True, frozen_at=None, full_since=None)
    if lead < 0 or before.full_since is not None or (acted and onset is not None):
        seen = added  # onset and size are settled once evidence was full
    else:  # ... and known better while it grows
        offset = 0 if lead < COUNT else 2
        onset, missing, expected = found.since[lead]
        seen = (found.tally[offset] - missing, found.tally[offset + 1] - expected)
        drop = seen[0] / seen[1] if seen[1] > 0.0 and seen[0] > 0.0 else None
    frozen = found.at if found.frozen_at is None else found.frozen_at
    return replace(found, onset=onset, frozen_at=frozen, seen=seen, drop=drop, meter=meter)


# (recent sums, older sums, walks, since, tally): what one step begins with
_Turned = tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...], Triples, tuple[float, float, float, float]]


def _mixed(
    turned: _Turned, free: Sequence[float], cap: float, top: float, minutes: float, start: float
) -> tuple[tuple[float, ...], tuple[float, ...], Triples, tuple[float, float, float, float]]:
    """(sums, walks, since, tally) after a window that began at `start` and says `free`: every start so far, and a new
    one a minute, times the likelihood ratio; an excursion that is at nothing begins anew."""
    recent, older, walks, since, tally = turned
    began = (start, tally[0], tally[1])
    grown, aged, far, anew = [], [], [], []
    for each, had, old, walk, was in zip(
        free, recent, older or _NOTHING, walks or _NOTHING, since or (began,) * COUNT, strict=False
    ):
        gain = exp(each if each < cap else cap)
        had = (minutes + had) * gain
        grown.append(had if had < top else top)
        old *= gain
        aged.append(old if old < top else top)
        anew.append(was if walk else began)
        walk += each
        far.append(walk if walk > 0.0 else 0.0)
    sums = (*grown, *aged) if older else tuple(grown)
    if len(walks) <= COUNT:
        return sums, tuple(far), tuple(anew), tally
    # Those of the span before the mark are kept until they are the same.
    before = [max(0.0, walk + each) for walk, each in zip(walks[COUNT:], free, strict=True)]
    if before == far:
        return sums, tuple(far), tuple(anew), tally
    began = (start, tally[2], tally[3])
    anew += [was if walk else began for walk, was in zip(walks[COUNT:], since[COUNT:], strict=True)]
    return sums, (*far, *before), tuple(anew), tally


def _turned(memory: EvidenceMemory, at: float) -> _Turned:
    """What the step at `at` begins with: at a mark the recent sums become the older ones."""
    sums, tally = memory.sums, memory.tally
    marks = 0 if memory.at is None else at // SPAN_S - memory.at // SPAN_S
    if not sums or marks > 1:
        return _NOTHING, (), (), (), (0.0, 0.0, 0.0, 0.0)
    if marks == 0:
        return sums[:COUNT], sums[COUNT:], memory.walks, memory.since, tally
    walks, since = _NOTHING + memory.walks[:COUNT], memory.since[:COUNT] * 2
    return _NOTHING, sums[:COUNT], walks, since, (0.0, 0.0, tally[0], tally[1])


def _known_start(memory: EvidenceMemory, start: float, free: Sequence[float], dwell: float) -> tuple[float, ...]:
    """The products from the minute of deployment, out of windows that began (at `start`) no earlier; capped so that
    they, too, take a dwell to be full."""
    if memory.released_at is None or start < memory.released_at:
        return memory.release_sums
    cap = RELEASE_BAR / dwell if dwell > 0.0 else _MOST
    before = memory.release_sums or (1.0,) * COUNT
    top = _RELEASE * _HEADROOM
    return tuple([min(had * exp(min(each, cap)), top) for had, each in zip(before, free, strict=True)])


def _for_recovery(worse: Worse, x: float, n: float, p: float, norm: Norm, drop: float | None) -> float:
    """The log likelihood ratio of "healthy again" against "half of the degradation is still there"."""
    if drop is None:
        return 0.0
    if norm.control is not None:
        p = norm.control[0] / norm.control[1]
    healthy = min(max(p, _LEAST), 1.0 - _LEAST)
    half = min(max(healthy * (1.0 - drop / 2 if worse is Worse.LOWER else 1.0 + drop / 2), _LEAST), 1.0 - _LEAST)
    x = min(max(x, 0.0), n)
    ratio = x * log(healthy / half) + (n - x) * log((1.0 - healthy) / (1.0 - half))
    return ratio / max(norm.phi, default=1.0)


def released(memory: EvidenceMemory, at: float, version: str | None) -> EvidenceMemory:
    """The memory, knowing what serves at `at`: where another version than before serves alone, a start is known."""
    if version is None or version == memory.version or " + " in version:
        return memory
    if memory.version is None:
        return replace(memory, version=version)
    return replace(memory, version=version, released_at=at, release_sums=())


def after_action(memory: EvidenceMemory, at: float, drop: float | None) -> EvidenceMemory:
    """The memory when an action's cool-down begins: evidence emptied, and the recovery meter set against the `drop` (a
    fraction of the baseline) that was acted on. What was suspected is so until it is calm or has recovered."""
    known = suspected(memory)
    return EvidenceMemory(
        memory.at,
        onset=memory.onset if known else None,
        frozen_at=memory.frozen_at if known else None,
        version=memory.version,
        acted_at=at,
        seen=memory.seen if known else (0.0, 0.0),
        drop=drop if known and drop is not None and drop > 0.0 else None,
        arms=memory.arms,
    )


def degradation(memory: EvidenceMemory, worse: Worse, p: float, norm: Norm) -> tuple[float, float, float] | None:
    """(estimate, low, high) of the degradation since its onset, in percent of the baseline, positive on the worse side;
    None while none is suspected. A 95 % interval by the normal approximation, widened by phi, as if the onset were
    known: it does not count that the onset was chosen for being bad."""
    missing, expected = memory.seen
    if not suspected(memory) or expected <= 0.0:
        return None
    share = missing / expected
    level = 1.0 - share if worse is Worse.LOWER else 1.0 + share  # the rate now, of the baseline
    noise = max(level, 1.0 / expected) * max(1.0 - p * level, 0.0) * _phi_at(worse, share, norm) / expected
    if norm.control is not None and norm.control[0] > 0.0:
        noise *= 1.0 + expected / norm.control[0]  # the control's own noise
    reach = 1.96 * sqrt(noise)
    return 100.0 * share, 100.0 * (share - reach), 100.0 * (share + reach)


def _phi_at(worse: Worse, share: float, norm: Norm) -> float:
    """The dispersion where a degradation (a fraction) of this size is looked for: the nearest alternative's."""
    if len(norm.phi) < 2:
        return norm.phi[0] if norm.phi else 1.0
    sizes = [each if worse is Worse.LOWER else each - 1.0 for each in ALTERNATIVES[worse]]
    return norm.phi[min(range(COUNT), key=lambda k: abs(sizes[k] - share))]


def eta_s(
    rule: EvidenceRule, worse: Worse, memory: EvidenceMemory, n: float, p: float, norm: Norm, minutes: float = 1.0
) -> float | None:
    """Seconds until evidence is full if the degradation stays as estimated and n trials a window go on; 0 where it is
    full, None where it will not be."""
    if memory.full_since is not None:
        return 0.0
    found = degradation(memory, worse, p, norm)
    if found is None or not n > 0.0:
        return None
    share = found[0] / 100.0
    if norm.control is not None:
        p = norm.control[0] / norm.control[1] if norm.control[1] > 0.0 else p
    x = n * p * (1.0 - share if worse is Worse.LOWER else 1.0 + share)
    h = bar(rule)
    dwell = rule.dwell_s / 60.0 / minutes
    cap = cap_of(rule, minutes)
    gains = [min(each, cap) for each in steps(worse, x, n, p, norm)]
    waits = _waits(memory.sums, gains, h)
    known = [min(each, RELEASE_BAR / dwell if dwell > 0.0 else inf) for each in gains]
    waits += _waits(memory.release_sums, known, RELEASE_BAR)
    return min(waits) * 60.0 * minutes if waits else None


def _waits(sums: Sequence[float], gains: Sequence[float], goal: float) -> list[float]:
    """Windows until each sum alone would carry the mean over its bar."""
    return [
        max(0.0, goal + log(COUNT) - log(had)) / gain
        for number, had in enumerate(sums)
        if had > 0.0 and (gain := gains[number % COUNT]) > _LEAST
    ]
