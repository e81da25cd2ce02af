"""What a share of the alarm budget can detect at a signal's traffic: "-30 % in 8m, -10 % in 40m, -3 % not in a day".
For whoever writes a policy, before anything goes wrong.

The delay of an e-detector is about (h + ln K) / E[l]: h the bar, K the number of alternatives (the evidence is their
mean, and one of them leads), E[l] what one window adds on average under the degradation, by the best alternative
(Lorden 1971). Where that is little, chance and the sum over all possible starts bring it sooner: the head start below
is ln(1 / (1 - e^-E[l])), what the sum adds, and 2.4 e^-E[l], fitted to simulated streams (the medians of these lie
within a quarter of it, from 5 minutes to 5 hours). Every safeguard of `decide.evidence` is in E[l]: the margin, the
dispersion, winsorising and the cap, by which no degradation is seen before its dwell. Counts are taken as normal. It is
the delay of full evidence, of which a person hears at once; where nothing else agrees an automatic action waits for
`alone_hold_s` on top.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rollback_console.decide.evidence import ALTERNATIVES, bar, bounded, cap_of
from rollback_console.model.observation import Norm
from rollback_console.model.rules import EvidenceRule, Worse
from rollback_console.model.text import span

DAY_S = 86_400.0
SIZES = {Worse.LOWER: (0.30, 0.10, 0.05, 0.03), Worse.HIGHER: (3.0, 1.5, 1.2, 1.1)}  # drops; factors of rises
_FITTED = 2.4  # see above
_WINSOR = 1.5  # as `decide.evidence`: standard deviations beyond an alternative's mean


@dataclass(frozen=True, slots=True)
class Detectable:
    """`size`: the degradation, as a change of the rate (-0.3: 30 % below, 0.5: half as much again). `delay_s`: until
    evidence is full, in the middle of cases; None where that takes longer than the horizon."""

    size: float
    delay_s: float | None


def detectability(
    rule: EvidenceRule,
    worse: Worse,
    p: float,
    n: float,
    norm: Norm,
    *,
    window_s: float = 60.0,
    sizes: Sequence[float] | None = None,
    horizon_s: float = DAY_S,
) -> tuple[Detectable, ...]:
    """What can be seen of a rate p with n trials a window. `sizes`: drops as fractions (0.3), or factors of a rise
    (1.5); by default `SIZES`. `norm`: margin and dispersion (its control is not looked at).

    Raises ValueError for a rate outside (0, 1).
    """
    if not 0.0 < p < 1.0:
        raise ValueError(f"a rate of {p} is not inside 0 and 1")
    out = []
    for size in SIZES[worse] if sizes is None else sizes:
        change = -size if worse is Worse.LOWER else size - 1.0
        delay = delay_of(rule, worse, p, n, norm, change, window_s=window_s)
        out.append(Detectable(change, delay if delay <= horizon_s else None))
    return tuple(out)


def delay_of(
    rule: EvidenceRule, worse: Worse, p: float, n: float, norm: Norm, change: float, *, window_s: float = 60.0
) -> float:
    """Seconds until evidence is full when the rate becomes p (1 + change); infinite where it never is."""
    if not n > 0.0:
        return math.inf
    minutes = window_s / 60.0
    h = bar(rule)
    dwell = rule.dwell_s / window_s
    cap = cap_of(rule, minutes)
    rate = min(max(p * (1.0 + change), 0.0), 1.0)
    alternatives = ALTERNATIVES[worse]
    gain = max(
        _gain(worse, p, n, norm.margin, each, _phi(norm, number), rate, cap) for number, each in enumerate(alternatives)
    )
    if gain <= 0.0:
        return math.inf
    ahead = -math.log(-math.expm1(-gain)) + _FITTED * math.exp(-gain)
    goal = h + math.log(len(alternatives)) - math.log(minutes)
    return max(math.ceil((goal - min(ahead, goal / 2)) / gain), dwell, 1.0) * window_s + rule.maturity_s


def _phi(norm: Norm, number: int) -> float:
    if not norm.phi:
        return 1.0
    return norm.phi[number] if len(norm.phi) > 1 else norm.phi[0]


def _gain(
    worse: Worse, p: float, n: float, margin: float, alternative: float, phi: float, rate: float, cap: float
) -> float:
    """E[l] of one alternative: what a window adds on average where the true rate is `rate`."""
    pb = bounded(worse, p, margin)
    lower = worse is Worse.LOWER
    p1 = (1.0 - alternative) * pb if lower else min(alternative * pb, 1.0 - (1.0 - pb) / alternative)
    a, b = math.log(p1 / pb), math.log1p((pb - p1) / (1.0 - pb))
    slope, level = (a - b) / phi, n * b / phi
    reach = _WINSOR * math.sqrt(n * p1)
    winsorised = level + slope * (n * p1 - reach if lower else n * p1 + reach)
    mean = level + slope * n * rate
    spread = abs(slope) * math.sqrt(n * rate * (1.0 - rate))
    return _capped(mean, spread, min(cap, winsorised))


def _capped(mean: float, spread: float, cap: float) -> float:
    """E[min(X, cap)] of a normal X."""
    if spread <= 0.0 or math.isinf(cap):
        return min(mean, cap)
    z = (mean - cap) / spread
    density = math.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
    above = 0.5 * math.erfc(-z / math.sqrt(2.0))
    return mean - (mean - cap) * above - spread * density


def in_words(found: Sequence[Detectable], horizon_s: float = DAY_S) -> str:
    """ "-30 % in 8m, -10 % in 40m, -5 % in 3h, -3 % not within a day"."""
    within = "a day" if horizon_s == DAY_S else span(horizon_s)
    return ", ".join(
        f"{100 * each.size:+.0f} % "
        + (f"in {_rough(each.delay_s)}" if each.delay_s is not None else f"not within {within}")
        for each in found
    )


def _rough(seconds: float) -> str:
    """To the minute below three hours, to the quarter of an hour above: it is an estimate."""
    grain = 60.0 if seconds < 3 * 3600.0 else 900.0
    return span(max(1.0, round(seconds / grain)) * grain)
