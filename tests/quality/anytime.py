"""What is proved of evidence, measured on its very code: binomial minutes, a baseline that is known, or learned from
one hour."""

from __future__ import annotations

import math
from dataclasses import replace

from quality.intervals import NEVER
from quality.noises import DAY, MINUTE_S, RATE, START_S, generator
from rollback_console.decide.evidence import EMPTY, advance, log_m, log_release
from rollback_console.model.observation import Norm
from rollback_console.model.rules import EvidenceRule, Worse

VISITS = 2000
PLAIN = Norm(0.0, (1.0,))
HISTORY_MINUTES = 60  # of a baseline that is learned
WARM = 240  # healthy minutes before a degradation


def ever(seed: int, bar: float = 20.0, minutes: int = DAY, *, learned: bool = False) -> bool:
    """Does the evidence from a known start reach `bar` within `minutes` of a healthy stream. `learned`: its baseline
    comes from an hour of history, with the margin that this calls for (two standard errors)."""
    rng = generator("ever", seed, learned)
    p, norm = RATE, PLAIN
    if learned:
        n = int(rng.poisson(VISITS, HISTORY_MINUTES).sum())
        p = rng.binomial(n, RATE) / n
        norm = Norm(2 * math.sqrt(p * (1 - p) / n) / p, (1.0,))
    rule = EvidenceRule(dwell_s=0.0)
    memory = replace(EMPTY, version="v1", released_at=START_S)
    n_of = rng.poisson(VISITS, minutes)
    x_of = rng.binomial(n_of, RATE)
    for i, (x, n) in enumerate(zip(x_of.tolist(), n_of.tolist(), strict=True)):
        memory = advance(rule, Worse.LOWER, memory, START_S + MINUTE_S * (i + 1), x, n, p, norm)
        if log_release(memory) >= math.log(bar):
            return True
    return False


def run_length(seed: int, budget: float, dwell: float = 0.0, most: int = 20) -> float:
    """Minutes until the detector of that budget (minutes) fires on a healthy stream; `most` budgets at the most, so
    that a mean of these is a lower bound."""
    rng = generator("run length", seed, budget, dwell)
    rule = EvidenceRule(budget_s=60.0 * budget, dwell_s=60.0 * dwell)
    memory, h = EMPTY, math.log(budget)
    minutes = int(most * budget)
    n_of = rng.poisson(VISITS, minutes)
    x_of = rng.binomial(n_of, RATE)
    for i, (x, n) in enumerate(zip(x_of.tolist(), n_of.tolist(), strict=True)):
        memory = advance(rule, Worse.LOWER, memory, START_S + MINUTE_S * (i + 1), x, n, RATE, PLAIN)
        if log_m(memory) >= h:
            return float(i + 1)
    return float(minutes)


def information(drop: float) -> float:
    """KL: how much a minute of VISITS says for a drop of that share, against the baseline."""
    low = RATE * (1 - drop)
    return VISITS * (low * math.log(low / RATE) + (1 - low) * math.log((1 - low) / (1 - RATE)))


def delay(seed: int, drop: float, most: int = 4 * DAY) -> float:
    """Minutes from a drop of that share to firing, at the default budget, without a dwell; NEVER after `most`."""
    rng = generator("delay", seed, drop)
    rule = EvidenceRule(dwell_s=0.0)
    memory, h = EMPTY, math.log(rule.budget_s / 60.0)
    for i in range(-WARM, most):
        n = int(rng.poisson(VISITS))
        x = int(rng.binomial(n, RATE * (1 - drop if i >= 0 else 1)))
        memory = advance(rule, Worse.LOWER, memory, START_S + MINUTE_S * (WARM + i + 1), x, n, RATE, PLAIN)
        if i >= 0 and log_m(memory) >= h:
            return float(i + 1)
    return NEVER
