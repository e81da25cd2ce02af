"""The book of baselines on a real Prometheus: counters with resets, gaps in scrapes, the hour's own queries."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from book_tools import DAY, HOUR, MONDAY, told, weighed
from engine_tools import fleet_rule

from rollback_console.clock import WallClock
from rollback_console.engine.seasonal import SeasonalBook
from rollback_console.model.rules import Baseline, BaselineKind
from rollback_console.observe.prometheus import PrometheusBackend
from servers.prometheus import Prometheus, Sample, make_openmetrics

SCRAPE = 30.0
DAYS = 9


def rate(at: float) -> float:
    return 0.03 * (1 + 0.12 * math.sin(2 * math.pi * at / DAY))


def counters() -> str:
    """Two deployments' visits and orders over nine days, restarted every 31 hours, one scrape in fifty lost."""
    draw = random.Random(4)
    visits: list[Sample] = []
    orders: list[Sample] = []
    for name in ("d0", "d1"):
        n = x = 0.0
        for k in range(round(DAYS * DAY / SCRAPE)):
            at = MONDAY - DAYS * DAY + k * SCRAPE
            if at % (31 * HOUR) == 0:
                n = x = 0.0
            seen = round(draw.gauss(500, 22))
            n, x = n + seen, x + max(0, round(draw.gauss(seen * rate(at), math.sqrt(seen * rate(at)))))
            if draw.random() > 0.02:
                visits.append(({"deployment": name}, at, n))
                orders.append(({"deployment": name}, at, x))
    return make_openmetrics({"visits_total": visits, "orders_total": orders})


@pytest.mark.real
async def test_counters_become_a_baseline(prometheus_server: Callable[..., Prometheus]) -> None:
    server = prometheus_server(openmetrics=counters())
    backend = PrometheusBackend(
        server.url, auth=None, headers={}, clock=WallClock(), random=random.Random(1), timeout_s=30.0
    )
    x, n = ("sum by (deployment) (increase(" + name + "_total[{}]))" for name in ("orders", "visits"))
    written = replace(
        weighed(baseline=Baseline(BaselineKind.SEASONAL, history_s=8 * DAY)),
        x=x.format("2m"), n=n.format("2m"), x_hour=x.format("1h"), n_hour=n.format("1h"), window_s=120.0,
    )  # fmt: skip
    summed = replace(
        written,
        x_hour=f"sum_over_time(({written.x})[1h:2m])",
        n_hour=f"sum_over_time(({written.n})[1h:2m])",
    )
    rules = [fleet_rule(name, [written, summed], serving=None) for name in ("d0", "d1")]
    try:
        at = MONDAY - 3 * HOUR
        p, norm = await told(book := SeasonalBook(rules, backend), at)
        assert p == pytest.approx(rate(at - 60), rel=0.02)
        assert norm.margin < 0.05
        assert max(norm.phi) < 2.0
        by_sums = book.norm(0, 1, at)
        assert isinstance(by_sums, tuple)
        assert by_sums[0] == pytest.approx(p, rel=0.01)
    finally:
        await backend.close()
