"""The alarm budget: false alarms per *rotation and week*, all deployments and signals together, divided into shares.

People can say how often a rotation may be called out for nothing. They cannot say it of six thousand signals one by
one, and a bound set signal by signal makes every new deployment one more source of pages. So the whole is divided: the
shares' rates sum to it however many there are, and a thousand more deployments mean higher bars, not more pages.

The division. The delay of a signal is about ln(1/r) phi / (n kl): r its share's rate of false alarms, n its trials a
minute, kl what one trial says, phi its dispersion. A late minute costs in proportion to tier x n. The least total cost
for a fixed sum of rates gives each share in proportion to tier x phi; what is binomial noise at little traffic is noise
in common at much, so that phi grows as 1 + n / n0. Hence the weight: tier x (1 + n / n0), bounded, since only the
logarithm of a share reaches the bar. (Lagrange on sum of c_i ln(1/r_i); the delay: Lorden 1971.)

The bound is for the evidence of each signal. A trigger that asks two signals to agree, or one to hold, calls less often
than its signals' budgets allow; plain thresholds (`breach:`) promise nothing and are outside the budget.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from statistics import NormalDist

from rollback_console.decide.condition import signals_of
from rollback_console.model.identity import DeploymentId
from rollback_console.model.rules import DeploymentRule, SignalRule
from rollback_console.model.value import dataclass

WEEK_S = 7 * 86_400.0
TIER_WEIGHTS: Mapping[str, float] = {"critical": 8.0, "high": 4.0, "normal": 2.0, "low": 1.0}
COMMON_NOISE = 1_000.0  # trials a minute at which a signal's common noise equals its binomial noise: n0 above
_USUAL_S = 90 * 86_400.0  # the budget that margins are measured out for
MOST_BY_TRAFFIC = 10.0  # traffic alone raises a share by no more than this


@dataclass(frozen=True, slots=True)
class Claim:
    """One signal of one deployment that is judged by evidence and so shares the budget. `trials`: its trials a minute
    (None: unknown, weighed as none). `slices`: into how many the signal is cut (cohorts, countries); all of them, the
    whole included, share this one claim."""

    deployment: DeploymentId
    signal: str
    tier: str
    trials: float | None = None
    slices: int = 1


@dataclass(frozen=True, slots=True)
class Share:
    """What one claim was given. `fraction` of the whole; `per_week`: its false alarms a week, all slices together;
    `budget_s`: the mean time between false alarms that each slice has to keep, for `EvidenceRule.budget_s`."""

    deployment: DeploymentId
    signal: str
    fraction: float
    per_week: float
    budget_s: float


def weight(claim: Claim) -> float:
    """What a claim weighs; an unknown tier weighs as `normal`."""
    traffic = 1.0 + max(0.0, claim.trials or 0.0) / COMMON_NOISE
    return TIER_WEIGHTS.get(claim.tier, TIER_WEIGHTS["normal"]) * min(traffic, MOST_BY_TRAFFIC)


def shares(per_week: float, claims: Sequence[Claim]) -> tuple[Share, ...]:
    """Divide `per_week` false alarms among the claims of one rotation, in their order.

    Raises ValueError for a budget that is not above 0, a claim made twice, or one without slices.
    """
    if not math.isfinite(per_week) or per_week <= 0.0:
        raise ValueError(f"a budget of {per_week} false alarms a week: it must be above 0")
    if len({(claim.deployment, claim.signal) for claim in claims}) != len(claims):
        raise ValueError("the same signal of the same deployment claims twice")
    if any(claim.slices < 1 for claim in claims):
        raise ValueError("a claim needs at least one slice")
    whole = math.fsum(weight(claim) for claim in claims)
    found = []
    for claim in claims:
        fraction = weight(claim) / whole
        rate = per_week * fraction
        found.append(Share(claim.deployment, claim.signal, fraction, rate, WEEK_S * claim.slices / rate))
    return tuple(found)


def quantised(trials: float) -> float:
    """Trials a minute to the nearest power of two, so that a share does not change with every change of traffic; what
    is below one trial a minute is none."""
    return 2.0 ** round(math.log2(trials)) if trials >= 1.0 else 0.0


def claims_of(
    rules: Iterable[DeploymentRule], trials: Mapping[tuple[DeploymentId, str], float] | None = None
) -> tuple[Claim, ...]:
    """The claims of a rotation's deployments: their signals that are judged by evidence and that their triggers use,
    each with its slices. `trials`: a minute, by deployment and signal, where known."""
    known = trials or {}
    found: list[Claim] = []
    for rule in rules:
        slices = Counter(signal.slice_of or signal.name for signal in _sharing(rule))
        name, tier = rule.deployment.id, rule.deployment.tier
        found.extend(Claim(name, signal, tier, known.get((name, signal)), count) for signal, count in slices.items())
    return tuple(found)


def _sharing(rule: DeploymentRule) -> list[SignalRule]:
    """What can page: judged by evidence, and used by the trigger."""
    used = signals_of(rule.trigger.when)
    return [signal for signal in rule.signals if signal.evidence is not None and signal.name in used]


def budgeted(
    rules: Sequence[DeploymentRule], per_week: float, trials: Mapping[tuple[DeploymentId, str], float] | None = None
) -> tuple[DeploymentRule, ...]:
    """The rules of one rotation with each evidence signal's `budget_s` from its share of `per_week` false alarms. What
    no trigger uses keeps its own. Errors as for `shares`."""
    given = {(share.deployment, share.signal): share.budget_s for share in shares(per_week, claims_of(rules, trials))}
    out = []
    for rule in rules:
        sharing = {signal.name for signal in _sharing(rule)}
        signals = tuple(
            replace(signal, evidence=replace(signal.evidence, budget_s=given[_claimed(rule, signal)]))
            if signal.evidence is not None and signal.name in sharing
            else signal
            for signal in rule.signals
        )
        out.append(replace(rule, signals=signals))
    return tuple(out)


def _claimed(rule: DeploymentRule, signal: SignalRule) -> tuple[DeploymentId, str]:
    return rule.deployment.id, signal.slice_of or signal.name


@lru_cache(maxsize=4096)
def caution(budget_s: float) -> float:
    """By how much margins have to be wider for this budget than for one false alarm in 90 days; at least 1.

    A bar is about chance from minute to minute. That the baseline itself is off, by a weekday that was learned twice,
    is a single draw a day, which no bar outweighs: of a thousand deployments a few are off by four standard errors. So
    what margins allow for errors of the baseline is taken at the quantile of one day in the budget, instead of at the
    same two standard errors for all.
    """
    return max(1.0, _deviations(budget_s) / _deviations(_USUAL_S))


def _deviations(budget_s: float) -> float:
    """The standard normal quantile that is passed on one day in the budget."""
    return NormalDist().inv_cdf(1.0 - min(0.5, max(1e-12, 86_400.0 / budget_s)))


def share_in_words(share: Share) -> str:
    """ "0.44 false alarms a week: one in 2 weeks" - for `policy explain`."""
    return f"{share.per_week:.2g} false alarms a week: one in {_long(WEEK_S / share.per_week)}"


def _long(seconds: float) -> str:
    """A long stretch with two digits: weeks and years, which durations elsewhere do not reach."""
    days = seconds / 86_400.0
    if days < 14:
        return f"{days:.2g} days" if days >= 1 else f"{days * 24:.2g} hours"
    if days < 730:
        return f"{days / 7:.0f} weeks"
    return f"{days / 365.25:.2g} years" if days < 36_525 else f"{days / 365.25:,.0f} years"
