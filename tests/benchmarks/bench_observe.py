"""Observing 1,000 deployments x 6 signals on a real Prometheus, against the same queries by bare HTTP."""

from __future__ import annotations

import asyncio
import http.client
import json
import tempfile
import time
import urllib.parse
from pathlib import Path
from random import Random

from tests.benchmarks.figures import Figure, median
from tests.benchmarks.fleets import QUERIES, SIGNALS, Values, name, rules

from rollback_console.clock import WallClock
from rollback_console.engine.sampler import Sampler
from rollback_console.observe.prometheus import PrometheusBackend
from servers.prometheus import Prometheus, make_openmetrics

DEPLOYMENTS = 1000
_STEP_S = 15.0
_STEPS = 60


def observe(quick: bool) -> list[Figure]:
    """One evaluation's observing: queries, JSON, split, assembled into a Tick."""
    end = time.time() // 3600 * 3600 - 3600
    times = [end - number * _STEP_S for number in range(_STEPS)]
    values = Values(DEPLOYMENTS, 0)
    history = make_openmetrics(
        {
            f"signal_{signal}": [
                ({"deployment": name(index)}, at, value)
                for at in times
                for index, value in enumerate(values.column(signal, at))
            ]
            for signal in range(SIGNALS)
        }
    )
    with tempfile.TemporaryDirectory(prefix="rollback-console-bench-") as folder:
        server = Prometheus(Path(folder) / "prometheus", openmetrics=history)
        try:
            return asyncio.run(_measure(server.url, server.port, times, 8 if quick else 40))
        finally:
            server.stop()


async def _measure(url: str, port: int, times: list[float], rounds: int) -> list[Figure]:
    backend = PrometheusBackend(
        url, auth=None, headers={}, clock=WallClock(), random=Random(1), queries_per_minute=1_000_000
    )
    sampler = Sampler(rules(DEPLOYMENTS), backend)
    assert len(sampler.plan.queries) == SIGNALS, sampler.plan.queries
    bare = http.client.HTTPConnection("127.0.0.1", port)

    def floor(at: float) -> float:
        began = time.perf_counter()
        for promql in QUERIES:
            bare.request("GET", "/api/v1/query?" + urllib.parse.urlencode({"query": promql, "time": f"{at:.3f}"}))
            found = json.loads(bare.getresponse().read())
            assert len(found["data"]["result"]) == DEPLOYMENTS
        return time.perf_counter() - began

    async def whole(at: float) -> float:
        began = time.perf_counter()
        tick = await sampler.assemble(at, await sampler.answers_at(at), {})
        took = time.perf_counter() - began
        assert all(reading.value is not None for seen in tick.observations for reading in seen.readings)
        return took

    async def asked(at: float) -> float:
        began = time.perf_counter()
        await asyncio.gather(*(backend.query(promql, at) for promql in QUERIES))
        return time.perf_counter() - began

    floors, wholes, askeds = [], [], []
    for turn in range(rounds + 3):
        at = times[turn % len(times)]
        for kind in range(3) if turn % 2 else reversed(range(3)):
            took = floor(at) if kind == 0 else await whole(at) if kind == 1 else await asked(at)
            if turn >= 3:  # connections and caches are warm from there
                (floors, wholes, askeds)[kind].append(took)
    await backend.close()
    bare.close()
    base = median(floors) * 1000
    words = "the same 6 queries, http.client + json.loads"
    return [
        Figure("observe", "observing 1,000 x 6, to a Tick", median(wholes) * 1000, "ms", 1.5, base, words),
        Figure("observe", "of that: queries answered and parsed", median(askeds) * 1000, "ms", None, base, words),
    ]
