"""Where it comes from: through the whole engine, from recorded series to the sentence."""

from __future__ import annotations

from engine_tools import START, STEP, VERSIONS, Flaky, Stream, bounded, engine_on, fleet_rule, labelled, ticks

from rollback_console.engine.loop import Engine
from rollback_console.model.incident import AttributionKind, Incident
from rollback_console.model.observation import Blind
from rollback_console.model.rules import BlindPolicy
from rollback_console.model.verdict import TriggerState

ERRORS, LATENCY = "max by (deployment) (errors)", "max by (deployment) (latency)"
SIGNALS = (bounded("errors"), bounded("latency"))
FAULT = 60  # the tick at which it begins
ALL = range(-2000, 120)


def points(first: int, last: int, value: float) -> list[tuple[float, float]]:
    return [(START + k * STEP, value) for k in range(first, last)]


def healthy(*names: str) -> dict[str, list[tuple[float, float]]]:
    return {name: points(ALL[0], ALL[-1], 1.0) for name in names}


def fleet(names: dict[str, tuple[str, ...]]) -> Stream:
    """Deployments with what each depends on; all healthy, all serving version 1 for hours."""
    stream = Stream(tuple(fleet_rule(name, SIGNALS, depends_on=on) for name, on in names.items()), ticks=110)
    for promql in (ERRORS, LATENCY):
        stream.series[promql] = [labelled(promql, name, found) for name, found in healthy(*names).items()]
    stream.series[VERSIONS] = [
        labelled(VERSIONS, name, points(ALL[0], ALL[-1], 1.0), job="serving", version="1") for name in names
    ]
    return stream


def degrade(stream: Stream, name: str, at: int, promql: str = ERRORS) -> None:
    _replace(stream, promql, name, points(ALL[0], at, 1.0) + points(at, ALL[-1], 9.0))


def fall_silent(stream: Stream, name: str, at: int) -> None:
    for promql in (ERRORS, LATENCY):
        _replace(stream, promql, name, points(ALL[0], at, 1.0))


def _replace(stream: Stream, promql: str, name: str, found: list[tuple[float, float]]) -> None:
    kept = [one for one in stream.series[promql] if ("deployment", name) not in one.labels]
    stream.series[promql] = [*kept, labelled(promql, name, found)]


def release(stream: Stream, name: str, at: int, *, visible: bool = True, overlap: int = 0) -> None:
    """Version 2 takes the place of version 1 at tick `at`; `visible`: and is reported by its serving."""
    kept = [one for one in stream.series[VERSIONS] if ("deployment", name) not in one.labels]
    kept.append(labelled(VERSIONS, name, points(ALL[0], at + overlap, 1.0), job="serving", version="1"))
    if visible:
        kept.append(labelled(VERSIONS, name, points(at, ALL[-1], 1.0), job="serving", version="2"))
    stream.series[VERSIONS] = kept


async def watched(stream: Stream, until: int = FAULT + 15, metrics: Flaky | None = None) -> Engine:
    engine = engine_on(stream, START + 20 * STEP, metrics=metrics)
    await engine.start()
    await ticks(engine, 21, until)
    return engine


async def only(engine: Engine) -> Incident:
    assert len(engine.incidents) == 1, [incident.sentence for incident in engine.incidents]
    return engine.incidents[0]


async def test_a_fault_through_one_feature_view_is_one_incident_and_no_rollback_is_advised() -> None:
    """Issue line 9: fourteen deployments through one feature view, none of them released."""
    names = {f"hit-{n:02d}": ("feature-view/user-activity", f"feature-view/own-{n}") for n in range(14)}
    names |= {f"well-{n}": ("feature-view/other",) for n in range(6)}
    stream = fleet(names)
    for number in range(14):
        degrade(stream, f"hit-{number:02d}", FAULT + number % 5)
    engine = await watched(stream)
    incident = await only(engine)
    assert len(incident.members) == 14
    assert all(member.name.startswith("hit-") for member in incident.members)
    assert all(engine.board.by_id()[member].state is TriggerState.FIRED for member in incident.members)
    assert incident.attribution.kind is AttributionKind.UPSTREAM
    assert [advice.path for advice in incident.recommendations] == [None] * 14
    assert [advice.to_version for advice in incident.recommendations] == [None] * 14
    assert incident.sentence == (
        "upstream: no release here in the last 2 days, and 13 others on feature-view/user-activity degraded within 1m; "
        "rolling back will not help"
    )
    assert {advice.runbook for advice in incident.recommendations} == {"upstream-fault"}
    snapshot = engine.snapshot()
    assert {view.incident for view in snapshot.deployments[:14]} == {incident.id}, "they stand together"


async def test_the_incident_stays_one_while_its_members_clear_and_while_the_backend_is_down() -> None:
    """Nothing is shared but the moment and the signal, and then the signal is gone: still one, with its name."""
    stream = fleet({f"d{number}": () for number in range(5)})
    for number in range(5):
        _replace(
            stream, ERRORS, f"d{number}",
            points(ALL[0], FAULT, 1.0) + points(FAULT, FAULT + 20, 9.0) + points(FAULT + 20, ALL[-1], 1.0),
        )  # fmt: skip
    metrics = stream.metrics()
    engine = await watched(stream, FAULT + 10, metrics)
    first = await only(engine)
    assert first.attribution.kind is AttributionKind.INFRASTRUCTURE
    metrics.silent = set(stream.series)
    await ticks(engine, FAULT + 11, FAULT + 15)
    assert (await only(engine)) == first, "what fired is known to be bad; the outage is no reason to forget it"
    metrics.silent = set()
    await ticks(engine, FAULT + 16, FAULT + 21)
    assert {verdict.state for verdict in engine.board.verdicts.values()} == {TriggerState.CLEARING}
    assert (await only(engine)).id == first.id
    assert (await only(engine)).members == first.members
    await ticks(engine, FAULT + 22, FAULT + 30)
    assert engine.incidents == ()


async def test_a_release_that_kills_its_own_exporter_fires_as_blind_and_is_named() -> None:
    stream = fleet({"ranker": (), "other": (), "third": ()})
    release(stream, "ranker", FAULT)
    fall_silent(stream, "ranker", FAULT + 1)
    engine = await watched(stream)
    verdict = engine.board.verdicts[0]
    assert verdict.state is TriggerState.BLIND
    assert verdict.fired_as_blind
    assert verdict.alarming
    incident = await only(engine)
    assert incident.attribution.kind is AttributionKind.RELEASE
    assert incident.sentence == "release: ranker fell silent 15s after v2 began to serve in place of v1"
    assert incident.recommendations[0].path is None, "what cannot be seen cannot be judged"
    assert "look at serving by hand" in incident.recommendations[0].sentence


async def test_a_release_is_known_by_the_pointer_where_serving_fell_silent_with_its_exporter() -> None:
    """`model_info` died with the exporter: nobody ever reported version 2. The registry's pointer moved."""
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from engine_tools import new_journal

    from rollback_console.journal.kinds import PointerMoved

    stream = fleet({"ranker": (), "other": (), "third": ()})
    release(stream, "ranker", FAULT, visible=False)
    fall_silent(stream, "ranker", FAULT)
    with TemporaryDirectory() as folder, new_journal(Path(folder) / "j.db") as journal:
        engine = engine_on(stream, START + 20 * STEP, journal=journal)
        await engine.start()
        await ticks(engine, 21, FAULT + 1)
        moved = PointerMoved(
            at=START + FAULT * STEP + 20, model="model-ranker", alias="champion", before="1", after="2"
        )
        journal.append(moved, deployment="production/ranker")
        await ticks(engine, FAULT + 2, FAULT + 15)
        incident = await only(engine)
        assert incident.attribution.kind is AttributionKind.RELEASE
        assert "fell silent" in incident.sentence
        assert "v2 began to serve in place of v1" in incident.sentence
        await engine.close()


async def test_a_release_and_an_unrelated_upstream_fault_stay_two_incidents() -> None:
    names = {f"hit-{n}": ("feature-view/a",) for n in range(3)} | {"released": ("feature-view/a",), "well": ()}
    stream = fleet(names)
    release(stream, "released", FAULT - 4)
    for each in ("hit-0", "hit-1", "hit-2", "released"):
        degrade(stream, each, FAULT)
    engine = await watched(stream)
    kinds = {incident.attribution.kind: incident for incident in engine.incidents}
    assert set(kinds) == {AttributionKind.RELEASE, AttributionKind.UPSTREAM}
    assert [member.name for member in kinds[AttributionKind.RELEASE].members] == ["released"]
    advice = kinds[AttributionKind.RELEASE].recommendations[0]
    assert (advice.path, advice.to_version) == ("version", "1")
    assert "degraded 1m after v2 began to serve" in kinds[AttributionKind.RELEASE].sentence
    assert len(kinds[AttributionKind.UPSTREAM].members) == 3


async def test_an_innocent_release_of_one_reader_does_not_take_the_blame_for_a_feature_view() -> None:
    names = {f"hit-{n}": ("feature-view/a",) for n in range(3)} | {"released": ("feature-view/a",), "well": ()}
    stream = fleet(names)
    release(stream, "released", FAULT - 30)
    for number, each in enumerate(("hit-0", "hit-1", "hit-2", "released")):
        degrade(stream, each, FAULT + number % 2)
    incident = await only(await watched(stream))
    assert incident.attribution.kind is AttributionKind.UPSTREAM
    assert len(incident.members) == 4
    assert [advice.path for advice in incident.recommendations] == [None] * 4
    assert any("released's release of v2 7m45s before is not to blame" in r for r in incident.attribution.reasons)


async def test_who_depends_on_a_released_deployment_is_part_of_its_incident() -> None:
    stream = fleet({"embedder": (), "ranker": ("deployment/embedder",), "ads": ("deployment/embedder",), "x": ()})
    release(stream, "embedder", FAULT - 1)
    for each in ("embedder", "ranker", "ads"):
        degrade(stream, each, FAULT)
    incident = await only(await watched(stream))
    assert incident.attribution.kind is AttributionKind.RELEASE
    by_name = {advice.deployment.name: advice for advice in incident.recommendations}
    assert by_name["embedder"].path == "version"
    assert by_name["ranker"].path is None
    assert "embedder" in by_name["ranker"].sentence


async def test_a_roll_out_in_which_two_versions_serve_at_once_is_one_release() -> None:
    stream = fleet({"ranker": (), "other": ()})
    release(stream, "ranker", FAULT - 8, overlap=6)
    degrade(stream, "ranker", FAULT - 4)
    engine = await watched(stream)
    assert [(r.before, r.after) for r in engine.releases()] == [("1", "2")]
    incident = await only(engine)
    assert incident.sentence == "release: ranker degraded 1m after v2 began to serve in place of v1"
    assert incident.recommendations[0].to_version == "1"


async def test_a_backend_that_is_down_for_everybody_is_one_telemetry_incident() -> None:
    stream = fleet({f"d{number}": (f"feature-view/{number % 3}",) for number in range(9)})
    degrade(stream, "d4", FAULT - 20)
    metrics = stream.metrics()
    engine = await watched(stream, FAULT, metrics)
    before = await only(engine)
    metrics.silent = set(stream.series)
    await ticks(engine, FAULT + 1, FAULT + 10)
    by_kind = {incident.attribution.kind: incident for incident in engine.incidents}
    telemetry = by_kind.pop(AttributionKind.TELEMETRY)
    assert len(telemetry.members) == 8
    assert telemetry.sentence.startswith("telemetry: the metric backend is down")
    assert telemetry.attribution.reasons == ("the metric backend does not answer: 8 of 9 deployments cannot be judged",)
    assert list(by_kind.values()) == [before], "d4 fired before, and that it did is still known"
    assert all(advice.path is None for advice in telemetry.recommendations)
    frozen = engine.board.verdicts[4]
    assert frozen.state is TriggerState.FIRED
    assert frozen.blind


async def test_one_deployment_silent_while_others_report() -> None:
    stream = fleet({f"d{number}": () for number in range(4)})
    fall_silent(stream, "d2", FAULT)
    engine = await watched(stream, FAULT + 4)
    assert engine.incidents == (), "not before blindness has lasted its own dwell"
    await ticks(engine, FAULT + 5, FAULT + 7)
    incident = await only(engine)
    assert incident.attribution.kind is AttributionKind.TELEMETRY
    assert incident.sentence == "telemetry: d2 went silent (no data) while 3 others report"


async def test_all_that_fall_silent_at_once_are_one_incident() -> None:
    stream = fleet({f"d{number}": (f"own/{number}",) for number in range(6)})
    for number in range(6):
        fall_silent(stream, f"d{number}", FAULT)
    incident = await only(await watched(stream))
    assert len(incident.members) == 6
    assert incident.sentence == "telemetry: 6 deployments went silent (no data) and nobody else reports"


async def test_a_signal_blind_for_long_does_not_hide_todays_release() -> None:
    """Onset is the first breach: a release an hour after a signal went blind explains what degrades then."""
    from rollback_console.model.rules import BlindPolicyKind

    stream = fleet({"ranker": (), "other": ()})
    signals = (bounded("errors"), bounded("latency", blind=BlindPolicy(BlindPolicyKind.FREEZE)))
    stream.rules = tuple(fleet_rule(rule.deployment.id.name, signals) for rule in stream.rules)
    _replace(stream, LATENCY, "ranker", points(ALL[0], FAULT - 700, 1.0))
    release(stream, "ranker", FAULT - 2)
    degrade(stream, "ranker", FAULT)
    engine = await watched(stream)
    assert engine.board.verdicts[0].signals[1].blind is Blind.NO_DATA
    incident = await only(engine)
    assert incident.sentence == "release: ranker degraded 30s after v2 began to serve in place of v1"
