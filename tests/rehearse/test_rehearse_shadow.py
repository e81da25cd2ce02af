"""An incident of a journal relived up to the decision: what is shown, what is not, and what is said beside it."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from rollback_console.cli.drilling import headless_drill
from rollback_console.clock import VirtualClock
from rollback_console.errors import Refused
from rollback_console.journal.device import DeviceKey
from rollback_console.journal.kinds import Judged
from rollback_console.journal.store import Journal
from rollback_console.model.identity import DeploymentId
from rollback_console.model.snapshot import Snapshot
from rollback_console.rehearse.demo import demo_setup
from rollback_console.rehearse.drill_clock import DrillClock
from rollback_console.rehearse.scenario import find
from rollback_console.rehearse.shadow import Shadow, ShadowCommands, chosen
from rollback_console.review.replay import Replay

CHECKOUT = DeploymentId("production", "checkout-ranker")


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The journal of an incident: the demo, played by the perfect operator."""
    path = tmp_path_factory.mktemp("lived") / "journal.db"
    asyncio.run(headless_drill(find("demo"), "perfect", 7, path))
    return path


@asynccontextmanager
async def reliving(
    path: Path, pick: Callable[[Replay], Any] = lambda replay: chosen(replay, None)
) -> AsyncIterator[tuple[Shadow, ShadowCommands, list[Snapshot]]]:
    replay, shown = Replay.open(path), list[Snapshot]()
    shadow = Shadow(replay, pick(replay), "jo", lambda start: DrillClock(start, 0.0))
    commands = await shadow.start(shown.append)
    try:
        yield shadow, commands, shown
    finally:
        await commands.close()


async def to_the_decision(shadow: Shadow) -> list[str]:
    """Jump until there is nothing more to come; what was said on the way."""
    said = []
    while shadow.clock.now() < shadow.decides_at - 0.01:
        said.append(await shadow.jump())
    with pytest.raises(Refused, match="somebody decided"):
        await shadow.jump()
    return said


async def test_it_goes_up_to_the_decision_and_shows_nothing_of_it(lived: Path) -> None:
    async with reliving(lived) as (shadow, _, shown):
        first = shown[-1]
        assert (first.band, first.simulated, first.speed) == ("REHEARSAL · SHADOW", True, 0.0)
        said = await to_the_decision(shadow)
        assert any("checkout-ranker is fired" in each for each in said)
        last = shown[-1]
        assert last.at == pytest.approx(shadow.decides_at, abs=1.0)
        assert all(not snapshot.executions for snapshot in shown)
        assert not any(item.kind in ("request", "intent") for snapshot in shown for item in snapshot.timeline)
        assert last.view(CHECKOUT) is not None
        assert last.drill is not None
        assert last.drill.asks == "What would you do?"
        assert "What would you do" in last.drill.hint
        with pytest.raises(Refused, match="somebody decided"):
            shadow.set_speed(10.0)


async def test_the_same_decision_is_said_to_be_the_same(lived: Path) -> None:
    async with reliving(lived) as (shadow, commands, shown):
        await to_the_decision(shadow)
        await commands.focus(CHECKOUT)
        shadow.looked(CHECKOUT, "why")
        over: list[object] = []
        shadow.on_over = over.append
        shadow.end("production/checkout-ranker 7", "it is v8's doing")
        result = shadow.result
        assert result is not None
        assert over == [result]
        assert (result.decision, result.then) == ("production/checkout-ranker v7", "production/checkout-ranker v7")
        assert result.same
        assert result.well
        assert result.evidence_used == (f"{CHECKOUT}: opened", f"{CHECKOUT}: why")
        assert result.decided_then_s is not None
        assert result.decided_then_s - 2.0 <= result.decided_s <= result.decided_then_s
        text = report_of(shown[-1])
        assert "= THE SAME" in text
        assert "production/checkout-ranker back to v7" in text
        assert "it came out as: done" in text
        assert "nobody has judged it yet" in text
        assert result.detail()["mode"] == "shadow"


async def test_another_decision_stands_beside_what_was_done(lived: Path) -> None:
    async with reliving(lived) as (shadow, _, shown):
        shadow.end("leave", "it heals")
        assert shadow.result is not None
        assert not shadow.result.same
        assert not shadow.result.well
        assert "≠ OTHERWISE" in report_of(shown[-1])
        shadow.end("production/checkout-ranker v7", "again")
        assert shadow.result.decision == "leave", "one decides once"


async def test_otherwise_is_well_where_what_was_done_was_judged_wrong(lived: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copy(lived, tmp_path / "judged.db"))
    replay = Replay.open(copy)
    incident = chosen(replay, None).incident.id
    replay.close()
    setup = demo_setup(7)
    with Journal.open(copy, device=DeviceKey.from_seed(setup.device_seed), clock=VirtualClock(1_790_000_000.0),
                      rehearsal=True) as journal:  # fmt: skip
        journal.append(Judged(subject=incident, right="wrong", root_cause="upstream", lessons=["ask the owner first"]))
    async with reliving(copy) as (shadow, _, shown):
        shadow.end("leave", "it heals")
        assert shadow.result is not None
        assert shadow.result.well
        text = report_of(shown[-1])
        assert "judged: upstream; the rollback was wrong" in text
        assert "ask the owner first" in text


async def test_an_incident_that_nobody_acted_on_is_left(lived: Path) -> None:
    def upstream(replay: Replay) -> object:
        from rollback_console.review.episodes import episodes

        return next(each for each in episodes(replay.index) if each.decided_at is None)

    async with reliving(lived, upstream) as (shadow, _, shown):
        shadow.end("LEAVE", "nothing to mend")
        assert shadow.result is not None
        assert (shadow.result.then, shadow.result.same) == ("leave", True)
        assert "nothing was rolled back" in report_of(shown[-1])


@pytest.mark.parametrize(
    ("said", "why"),
    [("", "say leave"), ("roll it back", "say leave"), ("staging/nothing v7", "is not in this fleet")],
)
async def test_what_is_no_decision_is_refused(lived: Path, said: str, why: str) -> None:
    async with reliving(lived) as (shadow, _, _):
        with pytest.raises(Refused, match=why):
            shadow.end(said, "because")
        assert shadow.result is None


async def test_nothing_is_done_in_a_shadow(lived: Path) -> None:
    before = digest(lived)
    async with reliving(lived) as (_, commands, _):
        for refused in (commands.plan(CHECKOUT), commands.note("x"), commands.start_walk("x", CHECKOUT)):
            with pytest.raises(Refused, match="nothing is touched"):
                await refused
    assert digest(lived) == before


async def test_an_incident_that_is_not_there(lived: Path) -> None:
    replay = Replay.open(lived)
    with pytest.raises(Refused, match="no incident inc-none"):
        chosen(replay, "inc-none")
    name = chosen(replay, None).incident.id
    assert chosen(replay, name).incident.id == name
    replay.close()


async def test_time_goes_by_itself_and_one_evaluation_at_a_time(lived: Path) -> None:
    async with reliving(lived) as (shadow, _, shown):
        before = shadow.clock.now()
        await shadow.step()
        assert shadow.clock.now() == pytest.approx(before + 15.0, abs=0.5)
        shadow.begin()
        assert shown[-1].speed == 1.0


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def report_of(snapshot: Snapshot) -> str:
    assert snapshot.drill is not None
    assert snapshot.drill.report is not None
    return "\n".join("".join(text for text, _ in line) for line in snapshot.drill.report.lines(200))
