"""How much noisier than chance: the variance of blocks of minutes over the binomial's, and what self-recovered before.

Counts in real traffic are never binomial: their rate wanders, and the longer one adds up the more that shows. A
detector that looks for a small change adds up over long, so each alternative has its own dispersion phi_k, measured at
the block length that it needs, W_k = h phi_k / KL_k minutes.

The variance is an M-estimate (Huber's proposal 2: squares beyond 2.5 standard deviations count as 2.5), because a
handful of incidents in the history must not make the noise look larger than it is. Source: Huber 1981, "Robust
Statistics", 5.2.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from math import erf, exp, log, log1p, pi, sqrt

from rollback_console.decide.evidence import ALTERNATIVES, REST, bar, bounded, cap_of
from rollback_console.model.rules import EvidenceRule, Worse
from rollback_console.model.value import dataclass

SHORTEST, LONGEST = 1.0, 240.0  # minutes of a block
SHORT_MINUTES = (1.0, 5.0, 15.0)  # blocks measured on single windows; longer ones on hours
_CUT = 2.5
# E[min(Z^2, c^2)] of a standard normal Z: what the clipped mean must be multiplied with to be its variance
_CONSISTENT = (
    erf(_CUT / sqrt(2))
    - 2 * _CUT * exp(-_CUT * _CUT / 2) / sqrt(2 * pi)
    + _CUT * _CUT * (1 - erf(_CUT / sqrt(2)))
)  # fmt: skip
_LEAST_BLOCKS = 6  # fewer say nothing about a variance
# Of the excess over 1: margin, winsorising and cap hold the rest. On `mix` of docs/decision-quality.md all of it gave
# 0.2 false rollbacks in 30 days and -10 % seen in 210 min; four fifths of it 0.3, and 160 min.
COUNTED = 0.8
_SKEW = 2.5  # events by which a Poisson's four deviations reach further up, and less far down: (16 - 1) / 6
_QUIETER, _BUSIER = 0.5, 3.0  # how far traffic may scale the excess either way


@dataclass(frozen=True, slots=True)
class Block:
    """Blocks of `minutes`: `phi`, the variance of their residuals over the binomial's (may be below 1 by chance),
    measured on `count` of them at `per_minute` trials a minute."""

    minutes: float
    phi: float
    count: int
    per_minute: float


def variance_ratio(squares: Sequence[float]) -> float:
    """The robust variance of standardised residuals, given as their squares; 1 where they are as noisy as they should
    be. O(m log m) for m squares. Raises ValueError for none."""
    if not squares:
        raise ValueError("no residuals")
    ordered = sorted(squares)
    sums = list(accumulate(ordered, initial=0.0))
    count, found = len(ordered), sums[-1] / len(ordered)
    for _ in range(60):
        cut = found * _CUT * _CUT
        below = bisect_right(ordered, cut)
        after = (sums[below] + (count - below) * cut) / count / _CONSISTENT
        if abs(after - found) <= 1e-9 * found:
            break
        found = after
    return found


def measured(minutes: float, squares: Sequence[float], per_minute: float) -> tuple[Block, ...]:
    """The block of this length, or nothing where too few were seen."""
    if len(squares) < _LEAST_BLOCKS:
        return ()
    return (Block(minutes, variance_ratio(squares), len(squares), per_minute),)


def blocks_of(x: Sequence[float], expected: Sequence[float], width: int, p: float) -> list[float]:
    """Squared standardised residuals of blocks of `width` consecutive windows: events `x` against those `expected`
    (None or NaN where unseen), of a rate p. A block with less than half of its windows is left out."""
    found = []
    for start in range(0, len(x) - width + 1, width):
        events = mean = 0.0
        seen = 0
        for k in range(start, start + width):
            if x[k] >= 0.0 and expected[k] > 0.0:
                events, mean, seen = events + x[k], mean + expected[k], seen + 1
        if 2 * seen > width or seen == width:
            found.append((events - mean) ** 2 / (mean * (1.0 - p)))
    return found


def blocks_together(short: Sequence[Block], long: Sequence[Block]) -> tuple[Block, ...]:
    """The blocks of minutes, measured on a few hours, and those of hours, measured on weeks, as one measure of noise.

    A mean over an hour varies no more than one over a quarter of it, so of the excess over 1 that blocks of an hour
    show, a quarter at least is there in a quarter of an hour. Six hours tell little of a noise that takes half an hour
    to wander: two dozen blocks of them were off by a factor of three either way, and below this by chance alone.
    """
    if not long:
        return tuple(short)
    hour, found = long[0], []
    for block in short:
        least = 1.0 + _excess(hour, block.per_minute) * block.minutes / hour.minutes
        found.append(block if block.phi >= least else Block(block.minutes, least, block.count, block.per_minute))
    return (*found, *long)


def phi_at(blocks: Sequence[Block], minutes: float, per_minute: float | None = None) -> float:
    """The dispersion (at least 1) at a block length, between what was measured. `blocks`: shortest first; none: 1.

    A rate that wanders spreads counts in proportion to traffic: the excess over 1 is scaled to `per_minute` trials,
    within half and three times. Beyond the longest block measured it grows with the root of the length: for all one
    knows the noise is slower still.
    """
    if not blocks:
        return 1.0
    before = blocks[0]
    if minutes <= before.minutes:
        excess = _excess(before, per_minute)
    elif minutes >= blocks[-1].minutes:
        excess = _excess(blocks[-1], per_minute) * sqrt(minutes / blocks[-1].minutes)
    else:
        right = next(k for k, block in enumerate(blocks) if block.minutes >= minutes)
        left, after = blocks[right - 1], blocks[right]
        share = log(minutes / left.minutes) / log(after.minutes / left.minutes)
        excess = (1.0 - share) * _excess(left, per_minute) + share * _excess(after, per_minute)
    return 1.0 + excess


def _excess(block: Block, per_minute: float | None) -> float:
    excess = max(0.0, block.phi - 1.0)
    if per_minute is None or block.per_minute <= 0.0:
        return excess
    return excess * min(max(per_minute / block.per_minute, _QUIETER), _BUSIER)


def dispersion(
    worse: Worse, rule: EvidenceRule, p: float, margin: float, per_minute: float, blocks: Sequence[Block]
) -> tuple[float, ...]:
    """phi_k for each alternative of `decide.evidence`, at its own block length W_k = h phi_k / KL_k (minutes, at most
    240), with four fifths of the excess over 1 counted. `p`: events a trial; `per_minute`: trials a minute. The two
    depend on each other: from the binomial's W upward until they agree.

    No W_k is shorter than the minutes that the cap leaves to the fastest evidence: over so many it adds up, however
    much traffic there is. Without that, a rate that wanders was taken for a drop at 10,000 visits a minute and more.
    """
    h, pb = bar(rule), bounded(worse, p, margin)
    shortest = min(max((h - REST) / cap_of(rule), SHORTEST), LONGEST)
    found = []
    for each in ALTERNATIVES[worse]:
        p1 = (1.0 - each) * pb if worse is Worse.LOWER else min(each * pb, 1.0 - (1.0 - pb) / each)
        kl = per_minute * (p1 * log(p1 / pb) + (1.0 - p1) * log1p((pb - p1) / (1.0 - pb)))
        alone = h / kl if kl > 0.0 else LONGEST
        phi = 1.0
        for _ in range(8):
            after = phi_at(blocks, min(max(alone * phi, shortest), LONGEST), per_minute)
            if abs(after - phi) < 1e-3:
                break
            phi = after
        found.append(1.0 + COUNTED * (phi - 1.0))
    return tuple(found)


def excursions(
    x: Sequence[float], expected: Sequence[float], worse: Worse, step_s: float, *, longest_s: float = 3_600.0
) -> tuple[float, ...]:
    """How long past excursions lasted that recovered by themselves, in seconds, in their order: what an adaptive dwell
    should wait out.

    `x`: events of consecutive windows of `step_s`, `expected`: by the baseline (NaN where unseen: what was going on
    then is left out, for nobody saw its end). An excursion begins with a window that is worse by a fifth and by four
    standard deviations of the binomial (chance alone is that far off once in twenty days of minutes), goes on while
    windows are worse by a tenth and by two, and ends with two in a row that are not. A single window
    says nothing of how long things last, and is left out; one longer than `longest_s` is an incident, not a blip.
    """
    found: list[float] = []
    began: int | None = None
    last = 0
    sign = -1.0 if worse is Worse.LOWER else 1.0
    for k, (events, mean) in enumerate(zip(x, expected, strict=True)):
        if not (events >= 0.0 and mean > 0.0):
            began = None
            continue
        off = sign * (events - mean)
        if began is None:
            if off > 0.2 * mean and off > 4.0 * sqrt(mean) + sign * _SKEW:
                began = last = k
        elif off > max(0.1 * mean, 2.0 * sqrt(mean)):
            last = k
        elif k - last >= 2:
            lasted = (last - began + 1) * step_s
            if step_s < lasted <= longest_s:
                found.append(lasted)
            began = None
    return tuple(found)
