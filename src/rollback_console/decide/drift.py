"""How far a distribution has moved: two histograms of one quantity (a feature, the model's scores), compared.

For attribution only: inputs that drifted before the outputs degraded say that the model was fed something else. Drift
alone never triggers anything: a model may well serve drifted inputs correctly, and a Monday differs from a Sunday.

Two numbers, because each alone misleads. The population stability index says how *large* a shift is, whatever the
traffic; chi-square says whether it is more than chance. Drift is both: large enough to matter and too large for chance.
Sources: PSI: Siddiqi 2006, "Credit Risk Scorecards", and its usual reading (below 0.1 none, 0.1 to 0.25 moderate, above
large); its bias by chance, (B - 1)(1/n + 1/m): Yurdakul 2018, "Statistical properties of population stability index".
Two-sample chi-square: Press et al., "Numerical Recipes", 14.3; its tail by Wilson and Hilferty 1931.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from rollback_console.model.observation import CHANCE, LARGE, MODERATE, Drift

__all__ = ["CHANCE", "LARGE", "MODERATE", "Drift", "compare", "differences"]

_LEAST_EXPECTED = 5.0  # events a bucket must expect to be compared by itself; smaller ones join their neighbour
_LEAST = 50.0  # observations on each side below which nothing is said


def differences(bounds: Sequence[float], cumulative: Sequence[float]) -> tuple[float, ...]:
    """Counts by bucket from Prometheus' cumulative ones (`le`). Increases are extrapolated bucket by bucket and may
    cross by a hair: what would be negative is 0.

    Raises ValueError where the two differ in length, or the bounds do not rise.
    """
    if len(bounds) != len(cumulative):
        raise ValueError(f"{len(bounds)} bounds, {len(cumulative)} counts")
    if any(high <= low for low, high in itertools.pairwise(bounds)):
        raise ValueError("bucket bounds must rise")
    counts, below = [], 0.0
    for count in cumulative:
        counts.append(max(0.0, count - below))
        below = max(below, count)
    return tuple(counts)


def compare(bounds: Sequence[float], before: Sequence[float], now: Sequence[float]) -> Drift | None:
    """Compare two histograms over the same buckets. `bounds`: upper bounds, rising, the last may be infinite; `before`,
    `now`: counts by bucket (see `differences`), not cumulative.

    None where either side holds too few to say anything (50), or all of both lies in one bucket.
    Raises ValueError for lengths that differ, counts that are negative or not finite.
    """
    if not len(bounds) == len(before) == len(now):
        raise ValueError(f"{len(bounds)} bounds, {len(before)} counts before, {len(now)} counts now")
    if any(not math.isfinite(count) or count < 0.0 for count in (*before, *now)):
        raise ValueError("counts must be finite and not negative")
    n, m = math.fsum(before), math.fsum(now)
    if n < _LEAST or m < _LEAST:
        return None
    tops, one, two = _joined(bounds, before, now)
    if len(tops) < 2:
        return None
    shares = [
        ((a + 0.5) / (n + 0.5 * len(tops)), (b + 0.5) / (m + 0.5 * len(tops))) for a, b in zip(one, two, strict=True)
    ]
    index = math.fsum((q - p) * math.log(q / p) for p, q in shares)
    chance = (len(tops) - 1) * (1.0 / n + 1.0 / m)
    ratio = math.sqrt(m / n)
    chi_square = math.fsum((ratio * a - b / ratio) ** 2 / (a + b) for a, b in zip(one, two, strict=True))
    most = max(range(len(tops)), key=lambda k: abs(two[k] / m - one[k] / n))
    return Drift(
        max(0.0, index - chance), _deviations(chi_square, len(tops) - 1), n, m, len(tops),
        (tops[most], one[most] / n, two[most] / m),
    )  # fmt: skip


def _joined(
    bounds: Sequence[float], before: Sequence[float], now: Sequence[float]
) -> tuple[list[float], list[float], list[float]]:
    """Neighbouring buckets joined until each expects enough on both sides: chi-square holds for those only."""
    n, m = math.fsum(before), math.fsum(now)
    least = _LEAST_EXPECTED * (n + m) / min(n, m)  # of both together, so that the smaller side expects five
    tops: list[float] = []
    one: list[float] = []
    two: list[float] = []
    a = b = 0.0
    for top, count, other in zip(bounds, before, now, strict=True):
        a, b = a + count, b + other
        if a + b >= least:
            tops.append(top)
            one.append(a)
            two.append(b)
            a = b = 0.0
    if a + b > 0.0 and tops:  # what is left at the upper end joins the last
        tops[-1], one[-1], two[-1] = bounds[-1], one[-1] + a, two[-1] + b
    return tops, one, two


def _deviations(chi_square: float, freedom: int) -> float:
    """Chi-square with `freedom` degrees of freedom as standard normal deviations (Wilson and Hilferty's cube root)."""
    spread = 2.0 / (9.0 * freedom)
    return (math.cbrt(chi_square / freedom) - (1.0 - spread)) / math.sqrt(spread)
