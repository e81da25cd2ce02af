"""The simulated world behind the very Protocols that the real backends stand behind."""

from __future__ import annotations

import asyncio
import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence

from rollback_console.errors import BackendRefused, BackendUnreachable
from rollback_console.model.observation import BackendHealth, BackendState, Series
from rollback_console.model.registry import ModelVersion, RegisteredModel
from rollback_console.model.text import plain
from rollback_console.rehearse.evaluate import Column, Labels, evaluate
from rollback_console.rehearse.fleet import Fault, FaultKind, How
from rollback_console.rehearse.promql import Node, parse, selectors
from rollback_console.rehearse.world import BUCKETS, CHUNK, CONSOLE, COUNTERS, RARE, World

_DAY = 86_400.0
_MAX_POINTS = 11_000  # Prometheus' own limit of points a series
PATIENCE_S = 10.0  # how long the console waits for an answer: what a settings file's `timeout:` is by default
GAUGES = ("model_info", "up", "feature_age_seconds")
METRICS = (*COUNTERS, RARE, "latency_seconds_bucket", "latency_seconds_count", *GAUGES)


class Names:
    """What a world's metrics and labels are called, where that is not as this program calls them."""

    def __init__(self, metrics: Mapping[str, str] | None = None, labels: Mapping[str, str] | None = None) -> None:
        """By the names of this program."""
        self._metrics, self._labels = dict(metrics or {}), dict(labels or {})
        self._own = {name: name for name in METRICS if name not in self._metrics}
        self._own |= {called: own for own, called in self._metrics.items()}

    def of(self, own: str) -> str:
        """What a metric is called."""
        return self._metrics.get(own, own)

    def own(self, called: str) -> str | None:
        """The metric that is called so, or None."""
        return self._own.get(called)

    def label(self, own: str) -> str:
        """What a label is called."""
        return self._labels.get(own, own)

    def labelled(self, labels: Labels, known_as: Labels) -> Labels:
        """Labels as they are called, with a deployment's own ones beside them or in their place."""
        return tuple(sorted(({self.label(key): value for key, value in labels} | dict(known_as)).items()))


class _Simulated:
    """One series: a deployment's metric, scraped at every slot's boundary."""

    def __init__(
        self, world: World, index: int, name: str, extra: Labels = (), counts: str | None = None,
        names: Names | None = None,
    ) -> None:  # fmt: skip
        """`counts`: the world's counter behind it, None for a gauge. `names`: what it and its labels are called."""
        self._world, self._index, self._name, self._counts = world, index, name, counts
        self._deployment = world.deployments[index]
        self._extra = dict(extra)
        self._unit = 0.01 if counts == "revenue_total" else 1.0
        self.counter = counts is not None
        labels: Labels = (*self._deployment.labels, *extra)
        if names is not None:
            name, labels = names.of(name), names.labelled(labels, self._deployment.known_as)
        self.labels: Labels = tuple(sorted((("__name__", name), *labels)))

    def at(self, times: Sequence[float]) -> Column:
        slot_s = self._world.slot_s
        slots = [math.floor(at / slot_s) for at in times]
        if self._name == "model_info" and len(slots) > 3:
            return self._served([slot * slot_s for slot in slots])
        midnight = self._midnight(slots[0])
        if self._counts is None or len(slots) < 4 or midnight != self._midnight(slots[-1]):
            return [self._sample(slot) for slot in slots]
        sums = self._world.cumulative(self._index, self._counts, midnight, slots[-1])
        alive = (self._world.exporter_alive(self._deployment, slot * slot_s) for slot in slots)
        return [sums[s - midnight] * self._unit if is_alive else None for s, is_alive in zip(slots, alive, strict=True)]

    def _served(self, times: Sequence[float]) -> Column:
        """1 where the version of this series serves: two days of it are asked for at every start."""
        services, wanted = self._world.services(self._deployment), self._extra["version"]
        starts = [since for since, _ in services]
        ours = [version == wanted for _, version in services]
        out: Column = [1.0 if ours[max(0, bisect_right(starts, at) - 1)] else None for at in times]
        if self._world.may_be_silent(self._deployment, times[0], times[-1]):
            alive = (self._world.exporter_alive(self._deployment, at) for at in times)
            return [value if is_alive else None for value, is_alive in zip(out, alive, strict=True)]
        return out

    def _midnight(self, slot: int) -> int:
        """The slot at which the service was last restarted: every midnight, UTC."""
        return int(slot * self._world.slot_s // _DAY * _DAY / self._world.slot_s)

    def sampled_at(self, times: Sequence[float]) -> Column:
        slot_s = self._world.slot_s
        slots = [math.floor(at / slot_s) for at in times]
        return [None if self._sample(slot) is None else slot * slot_s for slot in slots]

    def _sample(self, slot: int) -> float | None:
        at = slot * self._world.slot_s
        alive = self._world.exporter_alive(self._deployment, at)
        if self._name == "up":
            return 1.0 if alive else 0.0
        if not alive:
            return None
        if self._counts is not None:
            return self._world.growth(self._index, self._counts, self._midnight(slot), slot) * self._unit
        if self._name == "model_info":
            return 1.0 if self._world.serving(self._deployment, at)[0] == self._extra["version"] else None
        return self._world.feature_age(self._index, at)

    def counted(self, times: Sequence[float], window_s: float) -> Column:
        """Samples in the closed window, as of Prometheus 2.42."""
        slot_s = self._world.slot_s
        out: Column = []
        for at in times:
            slots = range(math.ceil((at - window_s) / slot_s - 1e-9), math.floor(at / slot_s + 1e-9) + 1)
            count = sum(self._there(slot * slot_s) for slot in slots)
            out.append(float(count) if count else None)
        return out

    def _there(self, at: float) -> bool:
        """Was this series scraped at a slot's boundary."""
        if self._name == "up":
            return True
        if self._name == "model_info" and self._world.serving(self._deployment, at)[0] != self._extra["version"]:
            return False
        return self._world.exporter_alive(self._deployment, at)

    def increase(self, times: Sequence[float], window_s: float) -> Column:
        """`extrapolatedRate` of Prometheus 2.42, over the samples in the closed window."""
        if self._counts is None:
            raise BackendRefused(f"{self._name} is not a counter", "use it without rate() and increase()")
        slot_s = self._world.slot_s
        silent = self._world.may_be_silent(self._deployment, times[0] - window_s, times[-1])
        slots = window_s / slot_s
        if not silent and slots >= 1 and slots.is_integer() and _on_grid(times, slot_s):
            return self._full(times, int(slots), self._counts)
        grow = self._grower(times, window_s, self._counts)
        alive_at = self._alive(times, window_s) if silent else {}
        out: Column = []
        for at in times:
            start = at - window_s
            first, last = math.ceil(start / slot_s - 1e-9), math.floor(at / slot_s + 1e-9)
            count = last - first + 1
            if silent:
                alive = [s for s in range(first, last + 1) if alive_at[s]]
                count = len(alive)
                first, last = (alive[0], alive[-1]) if alive else (first, last)
            if count < 2:
                out.append(None)
                continue
            sampled = (last - first) * slot_s
            average = sampled / (count - 1)
            before, after = first * slot_s - start, at - last * slot_s
            reach = sampled + (before if before < average * 1.1 else average / 2)
            reach += after if after < average * 1.1 else average / 2
            out.append(grow(first, last) * self._unit * reach / sampled)
        return out

    def _full(self, times: Sequence[float], slots: int, counts: str) -> Column:
        """Increases where a scrape stands at both ends of every window: nothing to extrapolate."""
        slot_s, unit = self._world.slot_s, self._unit
        low, high = int(times[0] // slot_s) - slots, int(times[-1] // slot_s)
        if len(times) == 1 or high - low > 2 * len(times) * slots:  # sums are whole numbers: the same either way
            ends = [int(at // slot_s) for at in times]
            return [self._world.growth(self._index, counts, end - slots, end) * unit for end in ends]
        sums = self._world.cumulative(self._index, counts, low, high)
        apart = (high - low - slots) // (len(times) - 1) if len(times) > 1 else 1
        return [(b - a) * unit for a, b in zip(sums[:-slots:apart], sums[slots::apart], strict=True)]

    def _alive(self, times: Sequence[float], window_s: float) -> dict[int, bool]:
        """Was it scraped, for every slot of every window."""
        slot_s = self._world.slot_s
        low, high = math.ceil((times[0] - window_s) / slot_s - 1e-9), math.floor(times[-1] / slot_s + 1e-9)
        return {s: self._world.exporter_alive(self._deployment, s * slot_s) for s in range(low, high + 1)}

    def _grower(self, times: Sequence[float], window_s: float, counts: str) -> Callable[[int, int], float]:
        """Growth between two slots: out of one running sum where windows overlap, else asked one by one."""
        world, index, slot_s = self._world, self._index, self._world.slot_s
        low, high = math.ceil((times[0] - window_s) / slot_s - 1e-9), math.floor(times[-1] / slot_s + 1e-9)
        if (high - low) * slot_s > 2 * len(times) * window_s:
            return lambda first, last: world.growth(index, counts, first, last)
        sums = world.cumulative(index, counts, low, high)
        return lambda first, last: sums[last - low] - sums[first - low]


class _Wrong:
    """A series whose numbers are wrong by a factor."""

    def __init__(self, source: _Simulated, factor: float) -> None:
        self._source, self._factor = source, factor
        self.labels, self.counter = source.labels, source.counter

    def at(self, times: Sequence[float]) -> Column:
        return [None if value is None else value * self._factor for value in self._source.at(times)]

    def sampled_at(self, times: Sequence[float]) -> Column:
        return self._source.sampled_at(times)

    def counted(self, times: Sequence[float], window_s: float) -> Column:
        return self._source.counted(times, window_s)

    def increase(self, times: Sequence[float], window_s: float) -> Column:
        return [None if value is None else value * self._factor for value in self._source.increase(times, window_s)]


def _on_grid(times: Sequence[float], slot_s: float) -> bool:
    """Are evenly spaced times all on slots' boundaries."""
    return not times[0] % slot_s and (len(times) < 2 or not (times[1] - times[0]) % slot_s)


class WorldMetrics:
    """`observe.protocol.MetricBackend` over a `World`: the metrics of a fleet of model services.

    Counters by `deployment`, `environment`, `job`: visits_total, orders_total, requests_total, errors_total,
    revenue_total, unsafe_total, latency_seconds_bucket{le}, latency_seconds_count. Gauges: model_info{version}, up,
    feature_age_seconds. Names outside this list are empty, as in Prometheus. A store that is slow, or whose answers are
    old or wrong, says nothing of it.
    """

    def __init__(self, world: World, names: Names | None = None) -> None:
        """`names`: what metrics and labels are called here."""
        self._world = world
        self._names = names or Names()
        self._wrong: Fault | None = None  # while a question is being answered
        self._parsed: dict[str, Node] = {}
        self._sources: dict[str, list[_Simulated]] = {}
        self._last_ok: float | None = None
        self._problem = ""

    async def query(self, promql: str, at: float) -> tuple[Series, ...]:
        return await self._ask(promql, [at])

    async def query_range(self, promql: str, start: float, end: float, step: float) -> tuple[Series, ...]:
        if step <= 0 or end < start:
            raise self._no(BackendRefused("a range that runs backwards, or without a step", "start <= end, step > 0"))
        count = math.floor((end - start) / step + 1e-9) + 1
        found: dict[Labels, list[tuple[float, float]]] = {}
        for first in range(0, count, _MAX_POINTS):
            times = [start + number * step for number in range(first, min(count, first + _MAX_POINTS))]
            for series in await self._ask(promql, times):
                found.setdefault(series.labels, []).extend(series.points)
        return tuple(Series(labels, tuple(points)) for labels, points in found.items())

    def health(self) -> BackendHealth:
        if self._problem:
            return BackendHealth("prometheus", BackendState.FAILING, None, self._last_ok, self._problem)
        state = BackendState.CONNECTING if self._last_ok is None else BackendState.OK
        return BackendHealth("prometheus", state, 0.0, self._last_ok, "simulated")

    async def close(self) -> None:
        self._sources.clear()

    def select(self, name: str, matchers: tuple[tuple[str, str, bool], ...]) -> Sequence[_Simulated | _Wrong]:
        """Series of that name whose labels match; a label that is not there matches the empty text."""
        found: list[_Simulated | _Wrong] = []
        own, wrong = self._names.own(name), self._wrong
        for source in self._named(own) if own is not None else ():
            known = dict(source.labels)
            if all((known.get(label, "") == value) is equal for label, value, equal in matchers):
                found.append(_Wrong(source, wrong.off_by) if wrong is not None and own in wrong.only else source)
        return found

    def of_deployment(self, name: str, index: int) -> Iterator[_Simulated]:
        """Every series of a metric (by this program's name) of deployment number `index`."""
        return self._of(name, index)

    def _no(self, error: BackendRefused | BackendUnreachable) -> BackendRefused | BackendUnreachable:
        self._problem = plain(error.message, 200)
        return error

    async def _ask(self, promql: str, times: list[float]) -> tuple[Series, ...]:
        trouble = self._world.trouble(FaultKind.METRICS)
        if trouble is not None and trouble.how is How.OUT:
            raise self._no(BackendUnreachable("the simulated metric store is out", "it is part of the rehearsal"))
        if trouble is not None and trouble.how is How.SLOW:
            await self._wait(trouble)
        try:
            node = self._parsed.get(promql) or parse(promql)
            self._parsed[promql] = node
            vector: dict[Labels, Column] = {}
            for first, piece in self._pieces(node, times):
                for _ in self._fill(node, piece):
                    await asyncio.sleep(0)
                for labels, column in self._answer(node, piece, trouble).items():
                    known = vector.setdefault(labels, [])
                    known.extend([None] * (first - len(known)))
                    known.extend(column)
        except BackendRefused:
            self._last_ok, self._problem = self._world.clock.now(), ""  # a no is an answer: it is there
            raise
        self._last_ok, self._problem = self._world.clock.now(), ""
        series = []
        for labels, column in vector.items():
            points = tuple((at, value) for at, value in zip(times, column, strict=False) if value is not None)
            if points:
                series.append(Series(labels, points))
        return tuple(series)

    def _pieces(self, node: Node, times: list[float]) -> Iterator[tuple[int, list[float]]]:
        """The times in pieces, each with its place, that need no more of the world than it keeps: what a longer one had
        drawn first would be forgotten before it is read, and drawn again."""
        world = self._world
        reach = max((each.window_s or 0.0 for each in selectors(node)), default=0.0)
        room = world.kept_s - reach
        if len(times) < 2 or times[-1] - times[0] <= room:
            yield 0, times
            return
        count = max(1, int(room / (times[1] - times[0])))
        for first in range(0, len(times), count):
            yield first, times[first : first + count]

    async def _wait(self, slow: Fault) -> None:
        """As long as the answer takes, or until the console gives up on it."""
        await self._world.linger(min(slow.delay_s, PATIENCE_S))
        if slow.delay_s > PATIENCE_S:
            what = f"the simulated metric store did not answer within {PATIENCE_S:.0f} s"
            raise self._no(BackendUnreachable(what, "it is part of the rehearsal"))

    def _answer(self, node: Node, times: list[float], trouble: Fault | None) -> dict[Labels, Column]:
        """What a question is answered with: the truth, what was true when the answers grew old, or wrong numbers."""
        if trouble is None or trouble.how is How.SLOW:
            return evaluate(node, times, self)
        if trouble.how is How.WRONG:
            self._wrong = trouble
            try:
                return evaluate(node, times, self)
            finally:
                self._wrong = None
        known = [at for at in times if at <= trouble.starts_at]
        late = len(times) - len(known)
        out = {labels: [*column] for labels, column in evaluate(node, known, self).items()} if known else {}
        if late:
            for labels, column in evaluate(node, [trouble.starts_at], self).items():
                out.setdefault(labels, [None] * len(known)).extend(column * late)
        return {labels: column + [None] * (len(times) - len(column)) for labels, column in out.items()}

    def _fill(self, node: Node, times: Sequence[float]) -> Iterator[None]:
        """Draw ahead of the evaluation, a chunk at a time: the evaluation itself does not wait."""
        grain = self._world.slot_s * CHUNK
        for selector in selectors(node):
            name = self._names.own(selector.name)
            latency = name == "latency_seconds_bucket"
            if selector.window_s is None or not (latency or name in COUNTERS):
                continue
            back = selector.offset_s
            chunks: set[int] = set()
            for at in times:
                chunks.update(range(int((at - back - selector.window_s) // grain), int((at - back) // grain) + 1))
            for index in range(len(self._world.deployments)):
                yield from self._world.fill(index, sorted(chunks), latency)

    def _named(self, name: str) -> Sequence[_Simulated]:
        found = self._sources.get(name)
        if found is None:
            found = [s for i in range(len(self._world.deployments)) for s in self._of(name, i)]
            self._sources[name] = found
        return found

    def _of(self, name: str, index: int) -> Iterator[_Simulated]:
        world, names = self._world, self._names
        if name in COUNTERS or name == RARE:
            yield _Simulated(world, index, name, counts=name, names=names)
        elif name == "latency_seconds_count":
            yield _Simulated(world, index, name, counts="requests_total", names=names)
        elif name == "latency_seconds_bucket":
            for bucket, bound in enumerate(BUCKETS):
                word = "+Inf" if math.isinf(bound) else f"{bound:g}"
                yield _Simulated(world, index, name, (("le", word),), f"latency:{bucket}", names)
        elif name == "model_info":
            deployment = world.deployments[index]
            for version in dict.fromkeys(v.version for v in reversed(deployment.versions)):
                extra = (("model", deployment.model), ("version", version))
                yield _Simulated(world, index, name, extra, names=names)
        elif name in GAUGES:
            yield _Simulated(world, index, name, names=names)


class WorldRegistry:
    """`observe.protocol.ModelRegistry` over a `World`, and the few writes that the alias driver needs.

    Tags written in a rehearsal live beside the world's own facts and die with it.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._tags: dict[tuple[str, str | None], dict[str, str]] = {}
        self._problem = ""
        self._last_ok: float | None = None
        self._facts = {(v.model, v.version): v for d in world.deployments for v in d.versions}
        for (model, version), fact in self._facts.items():
            self._tags[model, version] = dict(fact.tags)

    async def model(self, name: str) -> RegisteredModel | None:
        await self._up()
        return self._model(name)

    async def models(self) -> tuple[RegisteredModel, ...]:
        await self._up()
        found = (self._model(name) for name in sorted({model for model, _ in self._facts}))
        return tuple(model for model in found if model is not None)

    async def versions(self, model: str) -> tuple[ModelVersion, ...]:
        await self._up()
        return tuple(self._version(fact, whole=False) for fact in self._of(model))

    async def version(self, model: str, version: str) -> ModelVersion | None:
        await self._up()
        fact = self._facts.get((model, version))
        return None if fact is None else self._version(fact, whole=True)

    def health(self) -> BackendHealth:
        if self._problem:
            return BackendHealth("registry", BackendState.FAILING, None, self._last_ok, self._problem)
        state = BackendState.CONNECTING if self._last_ok is None else BackendState.OK
        return BackendHealth("registry", state, 0.0, self._last_ok, "simulated")

    async def close(self) -> None:
        return None

    async def read_pointer(self, model: str, alias: str) -> str | None:
        """Where the pointer stands now, or None where there is none."""
        await self._up()
        return self._world.pointer(model, alias)

    async def write_pointer(self, model: str, alias: str, version: str) -> None:
        """Set the pointer; the last writer wins, as in MLflow. Raises `BackendRefused` for an unknown version."""
        await self._up()
        lost = self._world.moving()  # what waited for this very write begins now
        if not lost:
            await self._up()
        self._world.flip(model, alias, version, by=CONSOLE)
        if lost:
            await self._up()

    async def read_tags(self, model: str, version: str | None = None) -> dict[str, str]:
        """Tags of a version, or of the model itself."""
        await self._up()
        return dict(self._tags.get((model, version), {}))

    async def write_tag(self, model: str, version: str | None, key: str, value: str) -> None:
        """Set one tag. Raises `BackendRefused` for an unknown model or version."""
        await self._up()
        self._known(model, version)
        self._tags.setdefault((model, version), {})[key] = value

    async def delete_tag(self, model: str, version: str | None, key: str) -> None:
        """Remove one tag; one that is not there is removed already."""
        await self._up()
        self._known(model, version)
        self._tags.get((model, version), {}).pop(key, None)

    async def _up(self) -> None:
        """Answer, if it is there: late where it is slow."""
        trouble = self._world.trouble(FaultKind.REGISTRY)
        if trouble is not None and trouble.how is How.SLOW:
            await self._world.linger(min(trouble.delay_s, PATIENCE_S))
        if trouble is not None and (trouble.how is How.OUT or trouble.delay_s > PATIENCE_S):
            slow = f"the simulated registry did not answer within {PATIENCE_S:.0f} s"
            self._problem = slow if trouble.how is How.SLOW else "the simulated registry is out"
            raise BackendUnreachable(self._problem, "it is part of the rehearsal")
        self._problem, self._last_ok = "", self._world.clock.now()

    def _known(self, model: str, version: str | None) -> None:
        if not self._of(model) or (version is not None and (model, version) not in self._facts):
            what = model if version is None else f"{model} v{version}"
            raise BackendRefused(f"the simulated registry has no {plain(what, 120)}", "see `versions`")

    def _of(self, model: str) -> list[ModelVersion]:
        now = self._world.clock.now()
        found = [f for (name, _), f in self._facts.items() if name == model and (f.created_at or 0.0) <= now]
        return sorted(found, key=lambda fact: (fact.created_at or 0.0, fact.version), reverse=True)

    def _model(self, name: str) -> RegisteredModel | None:
        if not self._of(name):
            return None
        aliases = sorted({flip.alias for flip in self._world.history if flip.model == name})
        pointers = ((alias, self._world.pointer(name, alias)) for alias in aliases)
        tags = tuple(sorted(self._tags.get((name, None), {}).items()))
        return RegisteredModel(name, tuple((a, v) for a, v in pointers if v is not None), tags)

    def _version(self, fact: ModelVersion, whole: bool) -> ModelVersion:
        return ModelVersion(
            model=fact.model,
            version=fact.version,
            status=fact.status,
            created_at=fact.created_at,
            run_id=fact.run_id,
            source=fact.source,
            description=fact.description,
            tags=tuple(sorted(self._tags[fact.model, fact.version].items())),
            run=fact.run if whole else None,
            signature=fact.signature if whole else "",
        )
