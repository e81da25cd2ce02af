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
from rollback_console.errors import BackendRefused
from rollback_console.model.identity import DeploymentId
from rollback_console.model.text import plain
from rollback_console.rehearse import noise
from rollback_console.rehearse.fleet import NORMAL, Effect, Fault, FaultKind, Flip, How, Shape, SimulatedDeployment

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
CONSOLE = "rollback-console"  # who moves a pointer, where it is the console


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
        *,
        noises: tuple[Noises, ...] = (),
        shape: Shape | None = None,
        shift_s: float = 0.0,
        reactions: Reactions | None = None,
    ) -> None:
        """`noises`: one a deployment, or none for the everyday ones. `shape`: the day's. `shift_s`: the world's own
        time of the week is so far ahead of the clock's. Raises ValueError for two deployments of one id, or one whose
        pointer has no history."""
        if len({deployment.id for deployment in deployments}) != len(deployments):
            raise ValueError("two deployments have the same id")
        self.seed = seed
        self.clock = clock
        self.deployments = deployments
        self.faults = faults
        self.slot_s = slot_s
        self.waiting: list[float] = []  # until when somebody waits for a slow backend
        self._noises = noises
        self._shape = shape
        self._shift_s = shift_s
        self._reactions = reactions
        self._history = sorted(history, key=lambda flip: flip.at)
        self._chunks: dict[tuple[int, int], dict[str, list[float]]] = {}
        self._latencies: dict[tuple[int, int], list[list[float]]] = {}
        self._unsafes: dict[tuple[int, int], list[float]] = {}
        self._streams = [_streams(seed, deployment) for deployment in deployments]
        self._sort_faults()
        self._fatal = {d.id for d in deployments if any(behaviour.kills_exporter for behaviour in d.behaviours)}
        self._phases = [0.06 * (noise.uniform(streams["shape"], 0) - 0.5) - 0.125 for streams in self._streams]
        self._numbers = {deployment.id: number for number, deployment in enumerate(deployments)}
        self._pointers: dict[tuple[str, str], list[Flip]] = {}  # derived from the history; dropped when it grows
        for deployment in deployments:
            if not self._flips(deployment):
                raise ValueError(f"nothing ever pointed {deployment.model}@{deployment.alias} anywhere")

    def _sort_faults(self) -> None:
        """Which fault concerns which deployment."""
        faults = self.faults
        self._felt = [tuple(fault for fault in faults if fault.hits(each)) for each in self.deployments]
        self._lost = [tuple(fault for fault in faults if fault.miscounts(each)) for each in self.deployments]
        self._mutes = {
            each.id: tuple(f for f in faults if f.kind is FaultKind.EXPORTER and f.target == str(each.id))
            for each in self.deployments
        }

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
        before = self.pointer(model, alias, now)
        self._history.append(Flip(now, model, alias, version, by))
        if by == CONSOLE and self._reactions is not None:
            self._history.extend(self._reactions.flips(self.deployments, self._history[-1], before))
        self._history.sort(key=lambda flip: flip.at)
        self._pointers.clear()
        moved = {index for index, deployment in enumerate(self.deployments) if deployment.model == model}
        self._forget(moved, now)

    def _forget(self, moved: set[int], since: float) -> None:
        """What was drawn of these deployments for a time after `since` is no longer so."""
        caches: tuple[dict[tuple[int, int], Any], ...] = (self._chunks, self._latencies, self._unsafes)
        for cache in caches:
            for place in [p for p in cache if p[0] in moved and (p[1] + 1) * CHUNK * self.slot_s > since]:
                del cache[place]

    def moving(self) -> bool:
        """The console is about to move a pointer: what waited for that begins. Is the answer to this write lost."""
        if self._reactions is None:
            return False
        begun, lost = self._reactions.breakages(self.clock.now())
        if begun:
            self.faults = (*self.faults, *begun)
            self._sort_faults()
            self._forget(set(range(len(self.deployments))), min(fault.starts_at for fault in begun))
        return lost

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
            effect = behaviour.felt(since, at)
        for fault in self._felt[self._numbers[deployment.id]]:
            if fault.active(at):
                effect = effect.joined(fault.felt(at))
        return effect

    def uncounted(self, deployment: SimulatedDeployment, at: float) -> Effect:
        """What of the deployment's events is lost on the way into the metrics: nothing that anybody truly feels."""
        effect = NORMAL
        for fault in self._lost[self._numbers[deployment.id]]:
            if fault.active(at):
                effect = effect.joined(fault.felt(at))
        return effect

    def exporter_alive(self, deployment: SimulatedDeployment, at: float) -> bool:
        """Does a scrape at `at` get an answer."""
        mutes = self._mutes[deployment.id]
        if self._noises and not self._noises[self._numbers[deployment.id]].seen(at + self._shift_s):
            return False
        if mutes and any(fault.active(at) for fault in mutes):
            return False
        if deployment.id not in self._fatal:
            return True
        version, since = self.serving(deployment, at)
        behaviour = deployment.behaviour(version)
        return behaviour is None or not behaviour.kills_exporter or at < behaviour.sets_in(since)

    def may_be_silent(self, deployment: SimulatedDeployment, start: float, end: float) -> bool:
        """Could a scrape between the two times go unanswered: lets the common case skip the question for each."""
        gaps = bool(self._noises) and self._noises[self._numbers[deployment.id]].has_gaps
        return (
            gaps
            or deployment.id in self._fatal
            or any(
                fault.starts_at <= end and (fault.ends_at is None or fault.ends_at > start)
                for fault in self._mutes[deployment.id]
            )
        )

    def trouble(self, kind: FaultKind) -> Fault | None:
        """What is wrong with the metric store, or the registry, now: where there are several, an outage first."""
        now = self.clock.now()
        found = [fault for fault in self.faults if fault.kind is kind and fault.active(now)]
        return min(found, key=lambda fault: fault.how is not How.OUT, default=None)

    @property
    def is_slow(self) -> bool:
        """May a backend ever take its time."""
        waits = (*self.faults, *(self._reactions.faults if self._reactions is not None else ()))
        return any(fault.how is How.SLOW for fault in waits)

    def may_break(self) -> frozenset[FaultKind]:
        """What breaks once the console moves a pointer."""
        return frozenset(fault.kind for fault in self._reactions.faults) if self._reactions is not None else frozenset()

    async def linger(self, seconds: float) -> None:
        """A slow backend takes its time, on the world's clock."""
        until = self.clock.now() + seconds
        self.waiting.append(until)
        try:
            await self.clock.sleep(seconds)
        finally:
            self.waiting.remove(until)

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
