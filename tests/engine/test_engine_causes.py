"""Whose fault is it: through the whole engine, from recorded metrics to the incident that the screen shows."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

from engine.engine_tools import (
    START,
    STEP,
    VERSIONS,
    Flaky,
    Points,
    Stream,
    bounded,
    cold,
    engine_on,
    fleet_rule,
    labelled,
    new_journal,
    ticks,
)
from rollback_console.engine.record import layout_bytes, pack, recompute, unpack
from rollback_console.journal.kinds import IncidentRecorded, TransitionRecorded
from rollback_console.model.incident import AttributionKind
from rollback_console.model.observation import Blind, Observation, Reading, Tick
from rollback_console.model.rules import DeploymentRule
from rollback_console.model.verdict import TriggerState

TICKS = 80
ONSET = 50
FEATURE = "feature-view/user-activity"
ERRORS = "max by (deployment) (errors)"


def fleet(
    count: int,
    sick: dict[str, int],
    *,
    depends: dict[str, str] | None = None,
    silent: dict[str, int] | None = None,
    released: dict[str, int] | None = None,
) -> Stream:
    """`count` deployments: from a tick on, `sick` degrade, `silent` lose their exporter, `released` change version."""
    names = [f"d{number:02}" for number in range(count)]
    signals = (bounded("errors"),)
    rules = tuple(
        fleet_rule(name, signals, depends_on=[depends[name]] if depends and name in depends else []) for name in names
    )
    stream = Stream(rules, ticks=TICKS)
    noise = random.Random(5)

    def points(name: str) -> Points:
        last = (silent or {}).get(name, TICKS + 1)
        bad = sick.get(name, TICKS + 1)
        return [
            (START + k * STEP, (9.0 if k >= bad else 1.0) + noise.uniform(-0.2, 0.2))
            for k in range(min(TICKS + 1, last))
        ]

    stream.series[ERRORS] = [labelled("errors", name, points(name)) for name in names]
    versions = []
    for name in names:
        change = (released or {}).get(name, TICKS + 1)
        last = (silent or {}).get(name, TICKS + 1)
        old = [(START + k * STEP, 1.0) for k in range(-400, min(change, last))]
        new = [(START + k * STEP, 1.0) for k in range(change, min(TICKS + 1, last))]
        versions.append(labelled(VERSIONS, name, old, job="serving", version="7"))
        if new:
            versions.append(labelled(VERSIONS, name, new, job="serving", version="8"))
    stream.series[VERSIONS] = versions
    return stream


async def test_one_feature_view_through_fourteen_deployments_is_one_upstream_incident() -> None:
    names = [f"d{number:02}" for number in range(14)]
    stream = fleet(20, {name: ONSET + k % 3 for k, name in enumerate(names)}, depends=dict.fromkeys(names, FEATURE))
    engine = await cold(stream, START + 60 * STEP)
    (incident,) = engine.incidents
    assert sorted(str(member.name) for member in incident.members) == names
    assert incident.attribution.kind is AttributionKind.UPSTREAM
    assert "13 others on feature-view/user-activity" in incident.sentence
    assert "rolling back will not help" in incident.sentence
    assert {each.path for each in incident.recommendations} == {None}
    assert all(each.runbook == "upstream-fault" for each in incident.recommendations)
    assert len(engine.snapshot().recommendations) == 14


async def test_a_release_that_kills_its_own_exporter_fires_as_blind() -> None:
    stream = fleet(6, {}, silent={"d03": ONSET}, released={"d03": ONSET - 2})
    engine = await cold(stream, START + (ONSET + 2) * STEP)
    assert not any(view.verdict.fired_as_blind for view in engine.snapshot().deployments if view.verdict)
    await ticks(engine, ONSET + 3, ONSET + 7)
    view = next(view for view in engine.snapshot().deployments if view.id.name == "d03")
    assert view.verdict is not None
    assert view.verdict.state is TriggerState.BLIND
    assert view.verdict.fired_as_blind
    assert "has fired as blind" in view.verdict.sentence
    (incident,) = engine.incidents
    assert incident.attribution.kind is AttributionKind.RELEASE
    assert "fell silent 30s after v8 began to serve in place of v7" in incident.sentence
    assert engine.snapshot().deployments[0].id.name == "d03", "the most urgent stands first"


async def test_a_release_and_an_upstream_fault_at_once_stay_two_incidents() -> None:
    upstream = [f"d{number:02}" for number in range(4)]
    stream = fleet(
        9, {**dict.fromkeys(upstream, ONSET), "d07": ONSET + 1}, depends=dict.fromkeys([*upstream, "d07"], FEATURE),
        released={"d07": ONSET - 4},
    )  # fmt: skip
    engine = await cold(stream, START + 60 * STEP)
    kinds = {str(incident.members[0].name): incident.attribution.kind for incident in engine.incidents}
    assert kinds == {"d00": AttributionKind.UPSTREAM, "d07": AttributionKind.RELEASE}
    release = next(i for i in engine.incidents if i.attribution.kind is AttributionKind.RELEASE)
    assert [(r.path, r.to_version) for r in release.recommendations] == [("version", "7")]


async def test_who_depends_on_the_release_belongs_to_its_incident_and_is_not_rolled_back() -> None:
    stream = fleet(
        6, {"d00": ONSET, "d01": ONSET + 1, "d02": ONSET + 2},
        depends={"d01": "deployment/d00", "d02": "deployment/d00"}, released={"d00": ONSET - 3},
    )  # fmt: skip
    engine = await cold(stream, START + 60 * STEP)
    (incident,) = engine.incidents
    assert incident.attribution.kind is AttributionKind.RELEASE
    paths = {str(r.deployment.name): r.path for r in incident.recommendations}
    assert paths == {"d00": "version", "d01": None, "d02": None}


async def test_a_version_long_healthy_that_goes_bad_is_not_rolled_back_first() -> None:
    engine = await cold(fleet(5, {"d02": ONSET}), START + 60 * STEP)
    (incident,) = engine.incidents
    assert incident.attribution.kind is AttributionKind.UNKNOWN
    assert "no release here in the last 2 days" in incident.sentence
    assert [r.path for r in incident.recommendations] == [None]


async def test_a_backend_that_is_down_for_everybody_is_one_telemetry_incident() -> None:
    stream = fleet(8, {})
    metrics = Flaky(stream.series)
    engine = engine_on(stream, START + 30 * STEP, metrics=metrics)
    await engine.start()
    metrics.silent = {ERRORS, VERSIONS}
    await ticks(engine, 31, 40)
    (incident,) = engine.incidents
    assert incident.attribution.kind is AttributionKind.TELEMETRY
    assert len(incident.members) == 8
    assert "the metric backend is down" in incident.sentence
    metrics.silent = set()
    await ticks(engine, 41, 42)
    assert not engine.incidents
    assert all(v.state is TriggerState.HEALTHY for v in engine.board.verdicts.values())


async def test_one_silent_deployment_while_others_report_is_told_apart() -> None:
    engine = await cold(fleet(8, {}, silent={"d05": ONSET}), START + 60 * STEP)
    (incident,) = engine.incidents
    assert incident.attribution.kind is AttributionKind.TELEMETRY
    assert "d05 went silent (no data) while 7 others report" in incident.sentence


async def test_incidents_are_journaled_once_each_and_every_transition_recomputes(tmp_path: Path) -> None:
    stream = fleet(5, {"d01": 40})
    stream.series[ERRORS][1] = labelled(
        "errors", "d01", [(START + k * STEP, 9.0 if 40 <= k < 55 else 1.0) for k in range(TICKS + 1)]
    )
    with new_journal(tmp_path / "journal.db") as journal:
        engine = engine_on(stream, START + 30 * STEP, journal=journal)
        await engine.start()
        await ticks(engine, 31, 47)
        await engine.close()
        again = engine_on(stream, START + 48 * STEP, journal=journal)  # a restart in mid-incident
        await again.start()
        await ticks(again, 49, 70)
        events = [
            (body.event, body.id)
            for entry in journal.entries(kinds=("incident",))
            if isinstance(body := entry.parsed(), IncidentRecorded)
        ]
        assert [event for event, _ in events] == ["opened", "closed"]
        assert len({name for _, name in events}) == 1
        moves = [
            (body.before, body.after)
            for entry in journal.entries(kinds=("transition",))
            if isinstance(body := entry.parsed(), TransitionRecorded)
        ]
        assert moves == [("healthy", "pending"), ("pending", "fired"), ("fired", "clearing"), ("clearing", "healthy")]
        assert journal.get_blob(stream.rules[0].policy_digest) is None

        def blob(digest: str) -> bytes | None:
            return b"policy" if digest == stream.rules[0].policy_digest else journal.get_blob(digest)

        entries = list(journal.entries(kinds=("transition",)))
        assert [recompute(entry, blob, lambda data, digest: stream.rules) for entry in entries] == [None] * 4
        other = fleet(5, {}).rules
        stricter = tuple(_stricter(rule) for rule in other)
        problems = [recompute(entry, blob, lambda data, digest: stricter) for entry in entries]
        assert any(problem is not None and "recorded" in problem for problem in problems)
        assert "gone" in str(recompute(entries[0], lambda digest: None, lambda data, digest: stream.rules))


def _stricter(rule: DeploymentRule) -> DeploymentRule:
    """The same rule with a planted difference."""
    return replace(rule, trigger=replace(rule.trigger, dwell_s=30.0))


def test_a_tick_survives_packing_exactly() -> None:
    stream = fleet(3, {})
    draw = random.Random(3)
    readings = [
        Reading(draw.gauss(0, 1e9), draw.random(), 12.0), Reading(None, 3.5, None, Blind.NOT_A_NUMBER),
        Reading(5e-324, None, 0.0, None, Blind.QUERY_FAILED),
    ]  # fmt: skip
    observations = tuple(
        Observation(rule.deployment.id, START, (readings[k],), version, revenue, 3.25)
        for k, (rule, version, revenue) in enumerate(
            zip(stream.rules, ("7", None, "v 8+9 ✓"), (None, 1.5, -0.0), strict=True)
        )
    )
    tick = Tick(START, observations)
    layout = layout_bytes(stream.rules)
    data = pack(tick, "f" * 64)
    assert unpack(data, lambda digest: layout if digest == "f" * 64 else None) == tick
    costly = replace(tick, observations=(replace(observations[0], market_per_minute=2.5), *observations[1:]))
    assert unpack(pack(costly, "f" * 64), lambda digest: layout) == costly
    for broken in (data[:-1], data + b"x", b"{}", data.replace(b'"readings":3', b'"readings":4')):
        try:
            unpack(broken, lambda digest: layout)
        except (ValueError, KeyError):
            continue
        raise AssertionError("a broken blob was read")
