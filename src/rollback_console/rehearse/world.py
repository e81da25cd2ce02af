"""The simulated systems a rehearsal plays in. Everything is a function of the seed, the time and the pointer's history.

Any moment may be asked for, last week's included, in any order, with the same answer. A rollback changes what comes
after it (and after the serving lag), never what came before.
"""

from __future__ import annotations

import itertools
import marshal
import math
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from rollback_console.clock import Clock
from rollback_console.rehearse import noise
from rollback_console.rehearse.fleet import NORMAL, Effect, Fault, Flip, Shape, SimulatedDeployment
from rollback_console.rehearse.happenings import Happenings

if TYPE_CHECKING:
    from rollback_console.rehearse.noises import Noises
    from rollback_console.rehearse.reactions import Reactions

_DAY = 86_400.0
BUCKETS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, math.inf)
COUNTERS = ("visits_total", "orders_total", "requests_total", "errors_total", "revenue_total")
RARE = "unsafe_total"  # a counter too, drawn only where somebody asks for it
CHUNK = 60  # slots that are drawn together
_KEPT = 2_000  # chunks in memory, some 35 MB with their histograms
_SPREAD = 0.45  # sigma of the log-normal response times


class World(Happenings):
    """Deployments, faults and pointers under one clock. `slot_s` is the scrape interval and the grain of the noise."""

    def __init__(
        self,
        seed: int,
        clock: Clock,
        deployments: tuple[SimulatedDeployment, ...],
        history: tuple[Flip, ...],
        faults: tuple[Fault, ...] = (),
        slot_s: float = 15.0,
        *,
        noises: tuple[Noises, ...] = (),
        shape: Shape | None = None,
        shift_s: float = 0.0,
        reactions: Reactions | None = None,
    ) -> None:
        """`noises`: one a deployment, or none for the everyday ones. `shape`: the day's. `shift_s`: the world's own
        time of the week is so far ahead of the clock's. Raises ValueError for two deployments of one id, or one whose
        pointer has no history."""
        super().__init__(clock, deployments, history, faults, noises, shift_s, reactions)
        self.seed = seed
        self.slot_s = slot_s
        self._shape = shape
        self._chunks: dict[tuple[int, int], dict[str, list[float]]] = {}
        self._latencies: dict[tuple[int, int], list[list[float]]] = {}
        self._unsafes: dict[tuple[int, int], list[float]] = {}
        self._streams = [_streams(seed, deployment) for deployment in deployments]
        self._phases = [0.06 * (noise.uniform(streams["shape"], 0) - 0.5) - 0.125 for streams in self._streams]

    def _forget(self, moved: set[int], since: float) -> None:
        """What was drawn of these deployments for a time after `since` is no longer so."""
        caches: tuple[dict[tuple[int, int], Any], ...] = (self._chunks, self._latencies, self._unsafes)
        for cache in caches:
            for place in [p for p in cache if p[0] in moved and (p[1] + 1) * CHUNK * self.slot_s > since]:
                del cache[place]

    def feature_age(self, index: int, at: float) -> float:
        """Seconds since the deployment's features were refreshed: a saw-tooth, or growing through an outage."""
        deployment = self.deployments[index]
        stuck = [
            f for f in self.faults if f.active(at) and f.hits(deployment) and f.effect.feature_age
        ]  # fmt: skip
        period = 60.0
        phase = noise.uniform(self._streams[index]["age"], 0) * period
        if stuck:
            start = min(fault.starts_at for fault in stuck)
            return 5.0 + (start + phase) % period + (at - start)
        return 5.0 + (at + phase) % period

    # -- counters ------------------------------------------------------------------------------------------------

    def growth(self, index: int, metric: str, first: int, last: int) -> float:
        """How far a counter of deployment number `index` grows over the slots `first` <= slot < `last`. Always a whole
        number (revenue is in cents), so that sums are exact in whatever order they are made."""
        prefix = self._prefix(index, metric)
        chunk, start = divmod(first, CHUNK)
        end_chunk, end = divmod(last, CHUNK)
        if chunk == end_chunk:
            return prefix(chunk)[end] - prefix(chunk)[start]
        total = prefix(chunk)[CHUNK] - prefix(chunk)[start]
        for between in range(chunk + 1, end_chunk):
            total += prefix(between)[CHUNK]
        return total + (prefix(end_chunk)[end] if end else 0.0)

    def cumulative(self, index: int, metric: str, first: int, last: int) -> list[float]:
        """The counter at every slot's start from `first` to `last`, both included, counted from `first`."""
        prefix = self._prefix(index, metric)
        out: list[float] = []
        base = 0.0
        for chunk in range(first // CHUNK, last // CHUNK + 1):
            sums = prefix(chunk) if chunk * CHUNK < last else [0.0]
            start = max(0, first - chunk * CHUNK)
            base -= sums[start]
            out.extend([base + value for value in sums[start : min(CHUNK, last - chunk * CHUNK + 1)]])
            base += sums[-1]
        return out

    def _prefix(self, index: int, metric: str) -> Callable[[int], list[float]]:
        """Prefix sums of a counter by chunk; ``latency:N`` is bucket number N of the histogram (cumulative, as
        Prometheus' are)."""
        if metric.startswith("latency:"):
            bucket = int(metric.removeprefix("latency:"))
            return lambda chunk: self._latency(index, chunk)[bucket]
        if metric == RARE:
            return lambda chunk: self._unsafe(index, chunk)
        return lambda chunk: self._chunk(index, chunk)[metric]

    def fill(self, index: int, chunks: Iterable[int], latencies: bool) -> Iterator[None]:
        """Draw what a query will need, pausing after every chunk so that an event loop can breathe."""
        for chunk in chunks:
            if (index, chunk) not in self._chunks:
                self._chunk(index, chunk)
                yield
            if latencies and (index, chunk) not in self._latencies:
                self._latency(index, chunk)
                yield

    @property
    def kept_s(self) -> float:
        """So many seconds of all deployments' past are kept in memory, once drawn, and half as many again."""
        return 2 * _KEPT // 3 // max(1, len(self.deployments)) * CHUNK * self.slot_s

    def draw(self, low: float, high: float, *, latencies: bool) -> None:
        """Draw every counter, or every counter with its latencies, between two times (Unix seconds)."""
        chunks = range(int(low // self.slot_s) // CHUNK, int(high // self.slot_s) // CHUNK + 1)
        for index in range(len(self.deployments)):
            for _ in self.fill(index, chunks, latencies):
                pass

    def places(self) -> set[tuple[int, int]]:
        """What is drawn: (deployment number, chunk)."""
        return set(self._chunks)

    def drawn(self) -> bytes:
        """All that was drawn so far, for another process's `take`."""
        return marshal.dumps((self._chunks, self._latencies))

    def take(self, drawn: bytes) -> None:
        """Hold what another process drew for a world of this seed, fleet and history. Only for bytes of a child of our
        own: what they say is believed."""
        if drawn:
            chunks, latencies = marshal.loads(drawn)  # noqa: S302 - from our own child's pipe
            self._chunks.update(chunks)
            self._latencies.update(latencies)

    def expected_visits(self, index: int, at: float) -> float:
        """Visits a minute that this hour of this weekday brings, before noise."""
        at += self._shift_s
        hour = (at / _DAY) % 1.0
        weekday = int(at // _DAY + 3) % 7  # the epoch was a Thursday; 0 is Monday
        if self._shape is not None:
            middle, swing = 0.5 * (1.0 + self._shape.low), 0.5 * (1.0 - self._shape.low)
            shape = middle + swing * math.cos(2 * math.pi * (hour - self._shape.peak_s / _DAY))
            return self.deployments[index].visits_per_minute * shape * (self._shape.weekend if weekday >= 5 else 1.0)
        shape = 0.78 - 0.22 * math.cos(2 * math.pi * (hour + self._phases[index]))  # quietest at 3, busiest at 15 UTC
        return self.deployments[index].visits_per_minute * shape * (0.88 if weekday >= 5 else 1.0)

    def _chunk(self, index: int, chunk: int) -> dict[str, list[float]]:
        found = self._chunks.get((index, chunk))
        if found is None:
            _make_room(self._chunks)
            found = self._chunks[index, chunk] = self._draw(index, chunk)
        return found

    def _draw(self, index: int, chunk: int) -> dict[str, list[float]]:
        """Prefix sums of every counter over one chunk of slots."""
        deployment, streams = self.deployments[index], self._streams[index]
        out: dict[str, list[float]] = {name: [0.0] for name in COUNTERS}
        swells, gusts = noise.Drift(streams["swell"], 600.0), noise.Drift(streams["gust"], 60.0)
        moods = noise.Drift(streams["mood"], 1800.0)
        visits_sum, orders_sum, requests_sum, errors_sum, revenue_sum = (out[name] for name in COUNTERS)
        steady, lost = self._steady(index, chunk), self._miscounted(index, chunk)
        noises = self._noises[index] if self._noises else None
        for slot in range(chunk * CHUNK, (chunk + 1) * CHUNK):
            at = slot * self.slot_s
            effect = steady or self.effect(deployment, at)
            if noises is None:
                swell = math.exp(0.03 * swells.at(at) + 0.02 * gusts.at(at))
                mood = 1.0 + 0.003 * moods.at(at)
            else:
                swell, mood = noises.traffic(at + self._shift_s), noises.share(at + self._shift_s)
            mean = self.expected_visits(index, at) * self.slot_s / 60.0 * swell * effect.volume
            visits = noise.poisson(streams["visits"], slot, mean)
            requests = visits + noise.poisson(streams["requests"], slot, 0.6 * mean)
            orders = noise.binomial(streams["orders"], slot, visits, deployment.conversion * mood * effect.conversion)
            errors = noise.binomial(streams["errors"], slot, requests, deployment.error_rate + effect.errors)
            if lost:
                away = self.uncounted(deployment, at)
                visits = noise.binomial(streams["lost-visits"], slot, visits, away.volume)
                orders = noise.binomial(streams["lost-orders"], slot, orders, away.volume * away.conversion)
            spread = 1.0 + 0.6 * noise.normal(streams["value"], slot) / math.sqrt(max(orders, 1))
            revenue = round(100.0 * orders * deployment.order_value * effect.order_value * max(0.1, spread))
            visits_sum.append(visits_sum[-1] + visits)
            orders_sum.append(orders_sum[-1] + orders)
            requests_sum.append(requests_sum[-1] + requests)
            errors_sum.append(errors_sum[-1] + errors)
            revenue_sum.append(revenue_sum[-1] + revenue)
        return out

    def _miscounted(self, index: int, chunk: int) -> bool:
        """Are events lost on their way into the metrics, some time in a chunk."""
        low, high = chunk * CHUNK * self.slot_s, (chunk + 1) * CHUNK * self.slot_s
        return any(f.starts_at <= high and (f.ends_at is None or f.ends_at >= low) for f in self._lost[index])

    def _unsafe(self, index: int, chunk: int) -> list[float]:
        """Prefix sums of the requests that should not have been answered as they were."""
        found = self._unsafes.get((index, chunk))
        if found is not None:
            return found
        deployment, stream = self.deployments[index], self._streams[index]["unsafe"]
        requests, sums, steady = self._chunk(index, chunk)["requests_total"], [0.0], self._steady(index, chunk)
        for place in range(CHUNK):
            slot = chunk * CHUNK + place
            chance = deployment.unsafe_rate + (steady or self.effect(deployment, slot * self.slot_s)).unsafe
            count = int(requests[place + 1] - requests[place])
            sums.append(sums[-1] + noise.binomial(stream, slot, count, chance))
        _make_room(self._unsafes)
        self._unsafes[index, chunk] = sums
        return sums

    def _steady(self, index: int, chunk: int) -> Effect | None:
        """The effect all through a chunk, where no version misbehaves and no fault is felt; else None."""
        low, high = chunk * CHUNK * self.slot_s, (chunk + 1) * CHUNK * self.slot_s
        felt = any(f.starts_at <= high and (f.ends_at is None or f.ends_at >= low) for f in self._felt[index])
        return None if felt or self.deployments[index].behaviours else NORMAL

    def _latency(self, index: int, chunk: int) -> list[list[float]]:
        found = self._latencies.get((index, chunk))
        if found is not None:
            return found
        deployment, drift = self.deployments[index], noise.Drift(self._streams[index]["latency"], 120.0)
        requests = self._chunk(index, chunk)["requests_total"]
        sums: list[list[float]] = [[0.0] for _ in BUCKETS]
        scale = 1.0 / (_SPREAD * math.sqrt(2.0))
        logs, erf, steady = [math.log(bound) for bound in BUCKETS[:-1]], math.erf, self._steady(index, chunk)
        for place in range(CHUNK):
            at = (chunk * CHUNK + place) * self.slot_s
            median = deployment.latency_s * (steady or self.effect(deployment, at)).latency
            middle = math.log(median) + 0.04 * drift.at(at)
            count = requests[place + 1] - requests[place]
            for column, log in zip(sums, logs, strict=False):  # the last bucket has no bound
                share = 0.5 * (1.0 + erf((log - middle) * scale))
                column.append(column[-1] + round(count * share))
            sums[-1].append(sums[-1][-1] + count)
        _make_room(self._latencies)
        self._latencies[index, chunk] = sums
        return sums


def _make_room(cache: dict[tuple[int, int], Any]) -> None:
    """Forget the oldest chunks of a cache that is full; they can be drawn again, alike. A day at 60x must not grow."""
    if len(cache) >= _KEPT:
        for place in list(itertools.islice(cache, _KEPT // 8)):
            del cache[place]


def _streams(seed: int, deployment: SimulatedDeployment) -> dict[str, int]:
    names = (
        "age", "shape", "swell", "gust", "visits", "requests", "mood", "orders", "errors", "value", "latency", "unsafe",
        "lost-visits", "lost-orders",
    )  # fmt: skip
    return {name: noise.key(seed, deployment.id, name) for name in names}
