"""Histograms and gauges of a real Prometheus: buckets that moved, a native histogram's query, a usual order learned."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest
from engine_tools import fleet_rule

from rollback_console.clock import WallClock
from rollback_console.engine.sampler import Sampler
from rollback_console.engine.seasonal import SeasonalBook
from rollback_console.model.observation import Blind
from rollback_console.model.rules import DeploymentRule, SignalRule, Uses
from rollback_console.observe.prometheus import PrometheusBackend
from rollback_console.policy.load import parse_policy
from servers.prometheus import Prometheus, Sample, make_openmetrics

DAY, HOUR, SCRAPE = 86_400.0, 3_600.0, 60.0
NOON = 1_763_942_400.0 + 12 * HOUR
EDGES = ("0.2", "0.4", "0.6", "0.8", "+Inf")
POLICY = """
schema: rollback-console/policy/v1
name: p
version: 1
deployments:
  - {name: d0, environment: production, model: {name: m, alias: champion}}
  - {name: d1, environment: production, model: {name: m, alias: champion}}
signals:
  depth: {kind: gauge, worse: higher, value: max by (deployment) (queue_depth), baseline: {kind: seasonal, history: 3d}}
  score: {kind: distribution, area: inputs, buckets: score_bucket, baseline: {kind: last_week}}
  then: {kind: distribution, area: inputs, buckets: score_bucket, baseline: {kind: period, period:
    {from: 2025-11-22T12:00Z, to: 2025-11-22T18:00Z, why: calm}}}
  native: {kind: distribution, histogram: feature, edges: [1, 2, 5], baseline: {kind: last_week}}
  worth: {kind: value_per_order, buckets: score_bucket, baseline: {kind: seasonal, history: 3d}}
  churn: {kind: slow, worse: higher, x: 'sum by (deployment) (increase(gone_total[$window]))',
    n: 'sum by (deployment) (increase(score_bucket{le="+Inf"}[$window]))', maturity: 1d, baseline: {kind: last_week}}
"""


def history() -> str:
    """Nine days of two deployments; the scores of d0 move down two hours before noon."""
    draw = random.Random(3)
    buckets: list[Sample] = []
    depth: list[Sample] = []
    gone: list[Sample] = []
    for name in ("d0", "d1"):
        sums, lost = [0.0] * 5, 0.0
        for k in range(round(9 * DAY / SCRAPE) + 1):
            at = NOON - 9 * DAY + k * SCRAPE
            moved = name == "d0" and at > NOON - 2 * HOUR
            shares = (0.5, 0.3, 0.1, 0.06, 0.04) if moved else (0.1, 0.2, 0.3, 0.25, 0.15)
            below = 0.0
            for bucket, share in enumerate(shares):
                below += max(0, round(draw.gauss(30 * share, math.sqrt(30 * share))))
                sums[bucket] += below
            lost += 1
            if draw.random() > 0.01:
                buckets += [({"deployment": name, "le": le}, at, sums[i]) for i, le in enumerate(EDGES)]
                depth.append(({"deployment": name}, at, 20.0 * math.exp(draw.gauss(0, 0.1))))
                gone.append(({"deployment": name}, at, lost))
    types = {"score_bucket": "gauge", "gone_total": "counter"}
    return make_openmetrics({"score_bucket": buckets, "queue_depth": depth, "gone_total": gone}, types)


def named(rule: DeploymentRule, name: str) -> SignalRule:
    return next(signal for signal in rule.signals if signal.name == name)


@pytest.mark.real
async def test_a_real_prometheus_answers_what_these_kinds_ask(prometheus_server: Callable[..., Prometheus]) -> None:
    server = prometheus_server(openmetrics=history())
    backend = PrometheusBackend(
        server.url, auth=None, headers={}, clock=WallClock(), random=random.Random(1), timeout_s=30.0
    )
    written = parse_policy(POLICY.encode(), "f").rules
    signals = written[0].signals
    rules = tuple(fleet_rule(name, signals, Uses("depth"), serving=None) for name in ("d0", "d1"))
    book = SeasonalBook(rules, backend)
    sampler = Sampler(rules, backend, book)
    try:
        answers = await sampler.answers_at(NOON)
        assert not any(answer.failed for answer in answers)
        tick = await sampler.assemble(NOON, answers, {})
        readings = [dict(zip([s.name for s in signals], o.readings, strict=True)) for o in tick.observations]
        moved, calm = readings
        for kind in ("score", "then"):
            assert moved[kind].drift is not None
            assert moved[kind].drift.drifted
            assert abs((moved[kind].drift.since or 0.0) - (NOON - 2 * HOUR)) <= HOUR
            assert calm[kind].drift is not None
            assert not calm[kind].drift.drifted
        assert moved["native"].blind is Blind.NO_DATA, "the query is understood, and nothing is there"
        assert calm["worth"].norm is not None
        assert calm["worth"].norm.bound == 0.6, "half of the scores lie up to there"
        assert calm["worth"].value == pytest.approx(0.4, abs=0.25)
        assert calm["worth"].baseline == pytest.approx(0.4, abs=0.03)
        assert calm["depth"].norm is not None
        assert calm["depth"].norm.bound == pytest.approx(20.0 * math.exp(0.1645), rel=0.05)
        assert calm["depth"].baseline == pytest.approx(20.0, rel=0.05)
        assert calm["churn"].value == pytest.approx(1 / 30, rel=0.1)
    finally:
        await backend.close()
