"""The simulated systems a rehearsal plays in. Everything is a function of the seed, the time and the pointer's history.

Any moment may be asked for, last week's included, in any order, with the same answer. A rollback changes what comes
after it (and after the serving lag), never what came before.
"""

from __future__ import annotations

import itertools
import marshal
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from rollback_console.clock import Clock
from rollback_console.errors import BackendRefused
from rollback_console.model.identity import DeploymentId
from rollback_console.model.text import plain
from rollback_console.rehearse import noise
from rollback_console.rehearse.fleet import NORMAL, Effect, Fault, FaultKind, Flip, SimulatedDeployment

_DAY = 86_400.0
BUCKETS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, math.inf)
COUNTERS = ("visits_total", "orders_total", "requests_total", "errors_total", "revenue_total")
CHUNK = 60  # slots that are drawn together
_KEPT = 2_000  # chunks in memory, some 35 MB with their histograms
_SPREAD = 0.45  # sigma of the log-normal response times


class World:
    """Deployments, faults and pointers under one clock. `slot_s` is the scrape interval and the grain of the noise."""

    def __init__(
        self,
        seed: int,
        clock: Clock,
        deployments: tuple[SimulatedDeployment, ...],
        history: tuple[Flip, ...],
        faults: tuple[Fault, ...] = (),
        slot_s: float = 15.0,
    ) -> None:
        """Raises ValueError for two deployments of one id, or one whose pointer has no history."""
        if len({deployment.id for deployment in deployments}) != len(deployments):
            raise ValueError("two deployments have the same id")
        self.seed = seed
        self.clock = clock
        self.deployments = deployments
        self.faults = faults
        self.slot_s = slot_s
        self._history = sorted(history, key=lambda flip: flip.at)
        self._chunks: dict[tuple[int, int], dict[str, list[float]]] = {}
        self._latencies: dict[tuple[int, int], list[list[float]]] = {}
        self._streams = [_streams(seed, deployment) for deployment in deployments]
        self._felt = [tuple(fault for fault in faults if fault.hits(deployment)) for deployment in deployments]
        self._mutes = {
            deployment.id: tuple(f for f in faults if f.kind is FaultKind.EXPORTER and f.target == str(deployment.id))
            for deployment in deployments
        }
        self._fatal = {d.id for d in deployments if any(behaviour.kills_exporter for behaviour in d.behaviours)}
        self._phases = [0.06 * (noise.uniform(streams["shape"], 0) - 0.5) - 0.125 for streams in self._streams]
        self._numbers = {deployment.id: number for number, deployment in enumerate(deployments)}
        self._pointers: dict[tuple[str, str], list[Flip]] = {}  # derived from the history; dropped when it grows
        for deployment in deployments:
            if not self._flips(deployment):
                raise ValueError(f"nothing ever pointed {deployment.model}@{deployment.alias} anywhere")

    # -- pointers ------------------------------------------------------------------------------------------------

    @property
    def history(self) -> tuple[Flip, ...]:
        """Every pointer move, oldest first."""
        return tuple(self._history)

    def pointer(self, model: str, alias: str, at: float | None = None) -> str | None:
        """Where the registry's pointer stood at `at` (default: now)."""
        moment = self.clock.now() if at is None else at
        found = [f for f in self._history if f.model == model and f.alias == alias and f.at <= moment]
        return found[-1].version if found else None

    def flip(self, model: str, alias: str, version: str, by: str = "") -> None:
        """Move a pointer now. Raises `BackendRefused` where the model has no such version."""
        owners = [d for d in self.deployments if d.model == model]
        if not any(v.version == version for d in owners for v in d.versions):
            raise BackendRefused(
                f"the simulated registry has no version {plain(version, 40)} of {plain(model, 80)}",
                "name a version that `versions` lists",
            )
        now = self.clock.now()
        if self.pointer(model, alias, now) == version:
            return
        self._history.append(Flip(now, model, alias, version, by))
        self._history.sort(key=lambda flip: flip.at)
        self._pointers.clear()
        moved = {index for index, deployment in enumerate(self.deployments) if deployment.model == model}
        for place in [p for p in self._chunks if p[0] in moved and (p[1] + 1) * CHUNK * self.slot_s > now]:
            del self._chunks[place]
            self._latencies.pop(place, None)

    def serving(self, deployment: SimulatedDeployment, at: float) -> tuple[str, float]:
        """The version that truly serves at `at`, and since when: the registry's, `lag_s` late."""
        flips = self._flips(deployment)
        found = flips[0]
        for flip in flips[1:]:
            if flip.at + deployment.lag_s > at:
                break
            found = flip
        return found.version, found.at + deployment.lag_s

    def services(self, deployment: SimulatedDeployment) -> list[tuple[float, str]]:
        """Every version that served, with the time from which; oldest first. As `serving`, all at once."""
        return [(flip.at + deployment.lag_s, flip.version) for flip in self._flips(deployment)]

    def _flips(self, deployment: SimulatedDeployment) -> list[Flip]:
        name = (deployment.model, deployment.alias)
        found = self._pointers.get(name)
        if found is None:
            found = self._pointers[name] = [f for f in self._history if (f.model, f.alias) == name]
        return found

    def deployment(self, identity: DeploymentId) -> SimulatedDeployment:
        """By its id; raises KeyError."""
        for deployment in self.deployments:
            if deployment.id == identity:
                return deployment
        raise KeyError(str(identity))

    # -- what is true --------------------------------------------------------------------------------------------

    def effect(self, deployment: SimulatedDeployment, at: float) -> Effect:
        """Everything that moves the deployment from its normal self at `at`: its version, and the faults it feels."""
        effect = NORMAL
        version, since = self.serving(deployment, at) if deployment.behaviours else ("", at)
        behaviour = deployment.behaviour(version)
        if behaviour is not None:
            effect = behaviour.effect.scaled(_ramp(at - since - behaviour.after_s, behaviour.over_s))
        for fault in self._felt[self._numbers[deployment.id]]:
            if fault.active(at):
                effect = effect.joined(fault.effect.scaled(_ramp(at - fault.starts_at, fault.over_s)))
        return effect

    def exporter_alive(self, deployment: SimulatedDeployment, at: float) -> bool:
        """Does a scrape at `at` get an answer."""
        mutes = self._mutes[deployment.id]
        if mutes and any(fault.active(at) for fault in mutes):
            return False
        if deployment.id not in self._fatal:
            return True
        version, since = self.serving(deployment, at)
        behaviour = deployment.behaviour(version)
        return behaviour is None or not behaviour.kills_exporter or at < since + behaviour.after_s

    def may_be_silent(self, deployment: SimulatedDeployment, start: float, end: float) -> bool:
        """Could a scrape between the two times go unanswered: lets the common case skip the question for each."""
        return deployment.id in self._fatal or any(
            fault.starts_at <= end and (fault.ends_at is None or fault.ends_at > start)
            for fault in self._mutes[deployment.id]
        )

    def backend_down(self, kind: FaultKind) -> bool:
        """Is the metric store, or the registry, out now."""
        return any(fault.kind is kind and fault.active(self.clock.now()) for fault in self.faults)

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
        hour = (at / _DAY) % 1.0
        shape = 0.78 - 0.22 * math.cos(2 * math.pi * (hour + self._phases[index]))  # quietest at 3, busiest at 15 UTC
        weekday = int(at // _DAY + 3) % 7  # the epoch was a Thursday; 0 is Monday
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
        steady = self._steady(index, chunk)
        for slot in range(chunk * CHUNK, (chunk + 1) * CHUNK):
            at = slot * self.slot_s
            effect = steady or self.effect(deployment, at)
            swell = math.exp(0.03 * swells.at(at) + 0.02 * gusts.at(at))
            mean = self.expected_visits(index, at) * self.slot_s / 60.0 * swell * effect.volume
            visits = noise.poisson(streams["visits"], slot, mean)
            requests = visits + noise.poisson(streams["requests"], slot, 0.6 * mean)
            mood = 1.0 + 0.003 * moods.at(at)
            orders = noise.binomial(streams["orders"], slot, visits, deployment.conversion * mood * effect.conversion)
            errors = noise.binomial(streams["errors"], slot, requests, deployment.error_rate + effect.errors)
            spread = 1.0 + 0.6 * noise.normal(streams["value"], slot) / math.sqrt(max(orders, 1))
            revenue = round(100.0 * orders * deployment.order_value * effect.order_value * max(0.1, spread))
            visits_sum.append(visits_sum[-1] + visits)
            orders_sum.append(orders_sum[-1] + orders)
            requests_sum.append(requests_sum[-1] + requests)
            errors_sum.append(errors_sum[-1] + errors)
            revenue_sum.append(revenue_sum[-1] + revenue)
        return out

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


def _ramp(elapsed: float, over_s: float) -> float:
    """0 before, 1 after, straight between."""
    if elapsed < 0.0:
        return 0.0
    return 1.0 if over_s <= 0.0 else min(1.0, elapsed / over_s)


def _streams(seed: int, deployment: SimulatedDeployment) -> dict[str, int]:
    names = ("age", "shape", "swell", "gust", "visits", "requests", "mood", "orders", "errors", "value", "latency")
    return {name: noise.key(seed, deployment.id, name) for name in names}
