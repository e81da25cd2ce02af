"""The recorded backends: instant and range semantics, pointer history, failures."""

from __future__ import annotations

import pytest

from rollback_console.errors import BackendRefused, BackendUnreachable
from rollback_console.model.observation import BackendState, Series
from rollback_console.model.registry import ModelVersion, SourceRun
from rollback_console.observe.recorded import RecordedMetrics, RecordedRegistry

LABELS = (("deployment", "a"),)


async def test_instant_queries_take_the_newest_point_within_the_lookback() -> None:
    metrics = RecordedMetrics({"up": [Series(LABELS, ((160.0, 2.0), (100.0, 1.0)))]})
    assert await metrics.query("up", 99.9) == ()
    assert await metrics.query("up", 100.0) == (Series(LABELS, ((100.0, 1.0),)),)
    assert await metrics.query("up", 159.9) == (Series(LABELS, ((159.9, 1.0),)),)
    assert await metrics.query("up", 459.9) == (Series(LABELS, ((459.9, 2.0),)),)
    assert await metrics.query("up", 460.0) == ()
    assert await metrics.query("other", 100.0) == ()
    assert metrics.asked[0] == ("up", 99.9)


async def test_ranges_are_instant_queries_in_a_row() -> None:
    metrics = RecordedMetrics({"up": [Series(LABELS, ((100.0, 1.0), (1_000.0, 2.0)))]})
    (found,) = await metrics.query_range("up", 0.0, 1_200.0, 100.0)
    singles = [answer for n in range(13) for answer in await metrics.query("up", n * 100.0)]
    assert found.points == tuple(one.points[0] for one in singles)
    assert [at for at, _ in found.points] == [100.0, 200.0, 300.0, 1_000.0, 1_100.0, 1_200.0]
    assert await metrics.query_range("up", 5.0, 4.0, 1.0) == ()


async def test_a_failure_is_raised_and_shown() -> None:
    metrics = RecordedMetrics({})
    metrics.failure = BackendUnreachable("prometheus is away")
    for call in (metrics.query("up", 0.0), metrics.query_range("up", 0.0, 1.0, 1.0)):
        with pytest.raises(BackendUnreachable):
            await call
    assert metrics.health().state is BackendState.FAILING
    metrics.failure = None
    assert metrics.health().state is BackendState.OK


def filled() -> RecordedRegistry:
    registry = RecordedRegistry(now=50.0)
    for number in (1, 2, 10):
        registry.add(ModelVersion("ranker", str(number), "READY", run=SourceRun(f"run-{number}"), signature="{}"))
    registry.point("ranker", "champion", "10", by="ci")
    return registry


async def test_a_registry_with_pointers_and_their_history() -> None:
    registry = filled()
    assert [one.version for one in await registry.versions("ranker")] == ["10", "2", "1"]
    assert all(one.run is None for one in await registry.versions("ranker"))
    found = await registry.version("ranker", "2")
    assert found is not None
    assert found.run == SourceRun("run-2")
    registry.now = 60.0
    await registry.write_pointer("ranker", "champion", "2")
    assert await registry.read_pointer("ranker", "champion") == "2"
    assert [(move.at, move.before, move.after, move.by) for move in registry.moves] == [
        (50.0, None, "10", "ci"),
        (60.0, "10", "2", ""),
    ]
    model = await registry.model("ranker")
    assert model is not None
    assert model.pointer("champion") == "2"
    assert await registry.models() == (model,)
    assert await registry.model("nobody") is None
    assert await registry.read_pointer("nobody", "champion") is None
    assert await registry.versions("nobody") == ()
    registry.remove("ranker", "2")
    assert await registry.read_pointer("ranker", "champion") is None
    with pytest.raises(BackendRefused):
        await registry.write_pointer("ranker", "champion", "2")


async def test_its_tags_and_failures() -> None:
    registry = filled()
    for version in ("10", None):
        await registry.write_tag("ranker", version, "b", "2")
        await registry.write_tag("ranker", version, "a", "1")
        assert await registry.read_tags("ranker", version) == {"a": "1", "b": "2"}
        await registry.delete_tag("ranker", version, "a")
        await registry.delete_tag("ranker", version, "a")
        assert await registry.read_tags("ranker", version) == {"b": "2"}
    with pytest.raises(BackendRefused):
        await registry.read_tags("ranker", "99")
    with pytest.raises(BackendRefused):
        await registry.write_tag("nobody", None, "a", "b")
    registry.write_failure = BackendUnreachable("read only")
    with pytest.raises(BackendUnreachable):
        await registry.write_pointer("ranker", "champion", "1")
    assert await registry.read_pointer("ranker", "champion") == "10"
    registry.failure = BackendUnreachable("away")
    for call in (registry.model("ranker"), registry.models(), registry.version("ranker", "1")):
        with pytest.raises(BackendUnreachable):
            await call
    assert registry.health().state is BackendState.FAILING
