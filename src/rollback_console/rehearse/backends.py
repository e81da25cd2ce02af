"""The simulated world behind the very Protocols that the real backends stand behind."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Sequence

from rollback_console.errors import BackendRefused, BackendUnreachable
from rollback_console.model.observation import BackendHealth, BackendState, Series
from rollback_console.model.registry import ModelVersion, RegisteredModel
from rollback_console.model.text import plain
from rollback_console.rehearse.evaluate import Column, Labels, evaluate
from rollback_console.rehearse.fleet import Fault, FaultKind, How
from rollback_console.rehearse.happenings import CONSOLE
from rollback_console.rehearse.promql import Node, parse, selectors
from rollback_console.rehearse.series import GAUGES, Names, Simulated, Wrong
from rollback_console.rehearse.world import BUCKETS, CHUNK, COUNTERS, RARE, World

_MAX_POINTS = 11_000  # Prometheus' own limit of points a series
PATIENCE_S = 10.0  # how long the console waits for an answer: what a settings file's `timeout:` is by default


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
        self._sources: dict[str, list[Simulated]] = {}
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

    def select(self, name: str, matchers: tuple[tuple[str, str, bool], ...]) -> Sequence[Simulated | Wrong]:
        """Series of that name whose labels match; a label that is not there matches the empty text."""
        found: list[Simulated | Wrong] = []
        own, wrong = self._names.own(name), self._wrong
        for source in self._named(own) if own is not None else ():
            known = dict(source.labels)
            if all((known.get(label, "") == value) is equal for label, value, equal in matchers):
                found.append(Wrong(source, wrong.off_by) if wrong is not None and own in wrong.only else source)
        return found

    def of_deployment(self, name: str, index: int) -> Iterator[Simulated]:
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

    def _named(self, name: str) -> Sequence[Simulated]:
        found = self._sources.get(name)
        if found is None:
            found = [s for i in range(len(self._world.deployments)) for s in self._of(name, i)]
            self._sources[name] = found
        return found

    def _of(self, name: str, index: int) -> Iterator[Simulated]:
        world, names = self._world, self._names
        if name in COUNTERS or name == RARE:
            yield Simulated(world, index, name, counts=name, names=names)
        elif name == "latency_seconds_count":
            yield Simulated(world, index, name, counts="requests_total", names=names)
        elif name == "latency_seconds_bucket":
            for bucket, bound in enumerate(BUCKETS):
                word = "+Inf" if math.isinf(bound) else f"{bound:g}"
                yield Simulated(world, index, name, (("le", word),), f"latency:{bucket}", names)
        elif name == "model_info":
            deployment = world.deployments[index]
            for version in dict.fromkeys(v.version for v in reversed(deployment.versions)):
                extra = (("model", deployment.model), ("version", version))
                yield Simulated(world, index, name, extra, names=names)
        elif name in GAUGES:
            yield Simulated(world, index, name, names=names)


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
