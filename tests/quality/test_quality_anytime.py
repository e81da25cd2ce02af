"""Anytime validity, by simulation of the detector's own code: looking every minute costs nothing, and it is soon
enough."""

from __future__ import annotations

import math
import os
import statistics

import pytest

from quality.anytime import delay, ever, information, run_length
from quality.intervals import quantile
from rollback_console.model.rules import EvidenceRule

CAMPAIGN = bool(os.environ.get("ROLLBACK_CONSOLE_CAMPAIGN"))
STREAMS = 2000 if CAMPAIGN else 150
BOUND = 0.061 if CAMPAIGN else 0.05 + 2.5 * math.sqrt(0.05 * 0.95 / STREAMS)  # Ville's 1 in 20, and its sampling error
MINUTES = 1440 if CAMPAIGN else 480


@pytest.mark.parametrize("learned", [False, True])
def test_evidence_of_twenty_is_ever_seen_on_one_healthy_stream_in_twenty(learned: bool) -> None:
    hits = sum(ever(seed, minutes=MINUTES, learned=learned) for seed in range(STREAMS))
    assert hits / STREAMS <= BOUND


@pytest.mark.parametrize("dwell", [0.0, 5.0])
@pytest.mark.parametrize("budget", [100.0, 500.0] if CAMPAIGN else [100.0])
def test_the_mean_time_between_false_alarms_is_the_budget_or_more(budget: float, dwell: float) -> None:
    lengths = [run_length(seed, budget, dwell, most=20 if CAMPAIGN else 5) for seed in range(400 if CAMPAIGN else 60)]
    assert statistics.fmean(lengths) >= budget


@pytest.mark.parametrize("drop", [0.05, 0.12, 0.20, 0.35, 0.60] if CAMPAIGN else [0.12, 0.35])
def test_a_drop_is_seen_within_what_information_allows(drop: float) -> None:
    delays = [delay(seed, drop) for seed in range(400 if CAMPAIGN else 60)]
    needed = math.log(EvidenceRule().budget_s / 60.0) / information(drop)
    assert quantile(delays, 0.5).value <= needed + 2
    assert quantile(delays, 0.95).value <= 1.7 * needed + 4
