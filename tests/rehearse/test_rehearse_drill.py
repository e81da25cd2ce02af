"""A drill with a screen, without the screen: its clock, what is remembered, when it is over, what is told of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from rollback_console.cli.drill import last_begin
from rollback_console.cli.rehearsal import Rehearsal
from rollback_console.errors import Refused
from rollback_console.model.drill import CONFIRMATION, WHEN, Hint
from rollback_console.model.identity import DeploymentId
from rollback_console.model.snapshot import Snapshot
from rollback_console.rehearse.demo import demo_setup
from rollback_console.rehearse.desk import Act
from rollback_console.rehearse.drill import LiveDrill
from rollback_console.rehearse.drill_clock import DrillClock
from rollback_console.rehearse.drill_report import Past, from_document, report
from rollback_console.rehearse.scenario import Scenario, find
from rollback_console.rehearse.score import DrillResult
from rollback_console.rehearse.tutorial import HOUSE, KEYS, Tutor, reached
from rollback_console.rehearse.witness import Witness

START = 1_780_000_200.0
CHECKOUT = DeploymentId("production", "checkout-ranker")


# ── the clock


async def test_a_sleeper_wakes_when_the_clock_is_moved_on_and_at_its_own_moment() -> None:
    clock, woke = DrillClock(START, 0.0), []

    async def sleep(seconds: float) -> None:
        await clock.sleep(seconds)
        woke.append((seconds, clock.now() - START))

    tasks = [asyncio.create_task(sleep(seconds)) for seconds in (5.0, 12.0, 40.0)]
    await asyncio.sleep(0)
    await clock.move_to(START + 15.0)
    assert woke == [(5.0, 5.0), (12.0, 12.0)]
    assert clock.now() == START + 15.0
    await clock.move_to(START + 40.0)
    await asyncio.gather(*tasks)
    assert woke[-1] == (40.0, 40.0)


async def test_a_sleeper_knows_at_once_that_the_clock_runs_again() -> None:
    clock = DrillClock(START, 0.0)
    sleeping = asyncio.create_task(clock.sleep(60.0))
    await asyncio.sleep(0)
    clock.set_speed(60_000.0)
    await asyncio.wait_for(sleeping, 5.0)
    assert clock.now() >= START + 60.0


async def test_a_sleeper_that_is_cancelled_as_it_wakes_does_not_sleep_on() -> None:
    clock = DrillClock(START, 0.0)
    sleeping = asyncio.create_task(clock.sleep(60.0))
    await asyncio.sleep(0)
    clock.set_speed(1.0)
    clock.set_speed(0.0)
    sleeping.cancel()
    await asyncio.wait({sleeping}, timeout=5.0)
    assert sleeping.cancelled()


async def test_a_clock_is_moved_on_only_while_it_stands_and_never_back() -> None:
    clock = DrillClock(START, 1.0)
    with pytest.raises(ValueError, match="moved on"):
        await clock.move_to(START + 60.0)
    clock.set_speed(0.0)
    with pytest.raises(ValueError, match="not back"):
        await clock.move_to(START - 60.0)


# ── a drill


@asynccontextmanager
async def playing(
    tmp_path: Path, *, tutorial: bool = False, lasts_s: float = 3600.0
) -> AsyncIterator[tuple[LiveDrill, Witness, list[Snapshot]]]:
    """The demo as a drill with the engine's loop running, its clock standing; its Snapshots as a screen gets them."""
    clock, shown, ready = DrillClock(START, 0.0), list[Snapshot](), asyncio.Event()

    def publish(snapshot: Snapshot) -> None:
        shown.append(snapshot)
        if snapshot.evaluated_at is not None:
            ready.set()

    setup = demo_setup(7, START, clock)
    drill = LiveDrill(replace(find("demo"), lasts_s=lasts_s), setup, "jo", clock, tutorial=tutorial)
    played = Rehearsal(setup, tmp_path / "drill.db", command="rehearse")
    journal = played.journal()
    engine = played.engine(journal=journal, inline=True)
    acts = played.acts(engine, played.keys(engine), 5.0, set_speed=clock.set_speed)
    running = asyncio.create_task(engine.run(drill.tap(publish)))
    try:
        await ready.wait()
        yield drill, drill.commands(acts), shown
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await acts.close_acts()
        journal.close()


async def test_a_drill_is_played_by_jumps_to_its_end_and_its_report(tmp_path: Path) -> None:
    async with playing(tmp_path, tutorial=True) as (drill, commands, shown):
        assert shown[-1].drill is not None
        assert shown[-1].speed == 0.0
        said = ""
        while "checkout-ranker is fired" not in said:
            said = await drill.jump()
        assert said.split(" on: ")[0] == "1:30", "to the very evaluation, and no further"
        await commands.focus(CHECKOUT)
        drill.looked(CHECKOUT, "what changed")
        drill.looked(CHECKOUT, "what changed")
        plan = await commands.plan(CHECKOUT)
        drill.looked(CHECKOUT, CONFIRMATION)
        assert drill.view.hint == next(hint.say for hint in HOUSE if hint.when == "authorize")
        await commands.execute(plan, "v8 broke it", commands.phrase(plan))
        for _ in range(40):
            if drill.result is not None:
                break
            await drill.jump()
        result = drill.result
        assert result is not None
        assert result.passed, result.failed_because
        assert [act.act for act in commands.acts] == ["focus", "look", "plan", "look", "execute"]
        assert result.evidence_used[:2] == (f"{CHECKOUT}: opened", f"{CHECKOUT}: what changed")
        assert (result.noticed_s, result.operator) == (0.0, "jo")
        view = shown[-1].drill
        assert view is not None
        assert view.over
        assert view.report is not None
        assert "computing" in view.report.best
        drill.best = result
        drill.show()
        text = "\n".join("".join(part for part, _ in line) for line in drill.view.report.lines(76))  # type: ignore[union-attr]
        assert "✓ PASSED" in text
        assert "as much as the best drill" in text
        assert "this is the first one" in text
        assert all(len(line) <= 76 for line in text.splitlines())
        with pytest.raises(Refused, match="the drill is over"):
            await drill.jump()
        with pytest.raises(Refused, match="the drill is over"):
            await commands.execute(plan, "again", commands.phrase(plan))
        with pytest.raises(Refused, match="the drill is over"):
            commands.set_speed(2.0)


async def test_a_step_is_one_evaluation_and_the_clock_then_stands(tmp_path: Path) -> None:
    async with playing(tmp_path) as (drill, commands, shown):
        before = shown[-1].evaluated_at
        commands.set_speed(0.0)
        await drill.step()
        assert before is not None
        assert shown[-1].evaluated_at == before + 15.0
        assert drill.clock.speed == 0.0
        assert drill.clock.now() == pytest.approx(before + 15.0, abs=1.0)


async def test_a_drill_ends_at_its_limit_and_where_the_operator_ends_it(tmp_path: Path) -> None:
    async with playing(tmp_path, lasts_s=45.0) as (drill, _, _):
        while drill.result is None:
            await drill.step()
        assert drill.result.elapsed_s == 45.0
        assert drill.result.decision == "none"
        assert drill.result.failed_because == ("the release that did the damage was not rolled back",)


async def test_ending_it_by_hand_scores_it_as_it_stands_once(tmp_path: Path) -> None:
    async with playing(tmp_path) as (drill, commands, _):
        over: list[DrillResult] = []
        drill.on_over = over.append
        drill.end()
        drill.end()
        assert len(over) == 1
        assert not over[0].passed
        drill.looked(CHECKOUT, "why")
        assert commands.acts == [], "what is done after the end is not remembered"


async def test_time_begins_when_the_story_was_read(tmp_path: Path) -> None:
    async with playing(tmp_path) as (drill, _, shown):
        assert shown[-1].speed == 0.0
        drill.begin()
        assert drill.clock.speed == 1.0
        assert shown[-1].speed == 1.0


async def test_a_snapshot_that_is_shown_again_does_not_turn_the_clock_back(tmp_path: Path) -> None:
    async with playing(tmp_path) as (drill, _, shown):
        await drill.clock.move_to(drill.clock.now() + 10.0)
        drill.show()
        assert shown[-1].at == drill.clock.now()


# ── the witness


class Refusing:
    """A fake of Commands that plans nothing."""

    async def plan(self, deployment: DeploymentId, path: str | None = None, to: str | None = None) -> None:
        raise Refused("no", "ask somebody")

    def phrase(self, plan: object) -> str:
        return "as it is"


async def test_a_refusal_is_remembered_and_still_a_refusal() -> None:
    witness = Witness(Refusing(), lambda: 5.0)  # type: ignore[arg-type] # a fake has what it needs
    with pytest.raises(Refused):
        await witness.plan(CHECKOUT, to="6")
    assert witness.acts == [Act(5.0, "plan", CHECKOUT, "6", "no: ask somebody")]
    assert witness.phrase(None) == "as it is", "what tells nothing is passed on"


# ── the tutorial


def test_every_step_has_its_words_and_its_keys() -> None:
    assert tuple(hint.when for hint in HOUSE) == WHEN
    assert set(KEYS) == set(WHEN)
    assert all(len(keys) <= 76 for keys in KEYS.values()), "the keys stand on one line of 80 columns"


def test_a_scenarios_own_words_go_before_the_houses_and_no_step_is_gone_back_behind() -> None:
    empty = Snapshot(at=1.0, evaluated_at=1.0, step_s=15.0, band="REHEARSAL", deployments=())
    tutor = Tutor((Hint("plan", "Say the  number\naloud."),))
    assert tutor.see(empty, (), recovered=False, over=False)
    assert tutor.hint == HOUSE[0].say
    planned = [Act(1.0, "focus", CHECKOUT), Act(2.0, "plan", CHECKOUT, "7")]
    assert tutor.see(empty, planned, recovered=False, over=False)
    assert tutor.hint == "Say the number aloud."
    assert not tutor.see(empty, [], recovered=False, over=False)
    assert tutor.hint == "Say the number aloud."
    assert tutor.see(empty, planned, recovered=True, over=False)
    assert tutor.said == (HOUSE[0].say, "Say the number aloud.", tutor.hint)


def test_a_refused_plan_is_no_plan() -> None:
    empty = Snapshot(at=1.0, evaluated_at=1.0, step_s=15.0, band="REHEARSAL", deployments=())
    acts = [Act(1.0, "plan", CHECKOUT, "7", "no")]
    assert reached(empty, acts, recovered=False, over=False) == {"start"}


# ── the report


def result(**changes: object) -> DrillResult:
    """A sample: a good drill."""
    good = DrillResult(
        "demo", 7, "jo", True, "right", 12.0, 70.0, 101.0, 640.0, 12, 1, (), (), (), 900.0, authorized_s=90.0,
        cost=33_000.0, cost_unit="USD", unavoidable=20_000.0, cost_elsewhere=4_000.0,
        bands={"notice": 120.0, "decide": 60.0, "authorize": 360.0, "act": 480.0, "recover": 1800.0},
    )  # fmt: skip
    return replace(good, **changes)  # type: ignore[arg-type] # of its own fields


def told(**more: object) -> str:
    made = report("A title", "roll back x", more.pop("result", result()), **more)  # type: ignore[arg-type]
    return "\n".join("".join(text for text, _ in line) for line in made.lines(78))


def test_a_part_that_took_longer_than_its_band_is_late() -> None:
    line = next(line for line in told().splitlines() if line.startswith("decide"))
    assert line.split() == ["decide", "1:10", "1:00", "–", "late"]
    assert "within the 15:00 standard" in told()


def test_what_was_lost_is_beside_the_best_and_says_when_it_goes_on() -> None:
    text = told(best=result(cost=30_000.0))
    assert "3,000 USD more than the best (30,000 USD)" in text
    unmended = result(passed=False, decision="none", acted_s=None, recovered_s=None, cost=21_000.0)
    assert "and it goes on" in told(result=unmended, best=result())
    assert "the best drill lost 33,000 USD in all" in told(result=unmended, best=result())


def test_where_nothing_was_to_be_done_no_band_holds() -> None:
    left = result(acted_s=None, authorized_s=None, recovered_s=None, cost=0.0, unavoidable=0.0)
    text = told(result=left, hands_off=True)
    assert "never" not in text
    assert "nothing was to be rolled back" in text
    assert "nothing that you could have saved" in text
    assert "no money: what it harmed has no price" in told(result=result(cost=0.0, unavoidable=0.0))


def test_ones_own_past_stands_beside_it() -> None:
    past = (Past("2026-08-01", False, None, None, 0.0, "USD"), Past("2026-07-01", True, 130.0, 700.0, 41_000.0, "USD"))
    text = told(past=past)
    assert "2026-08-01  not passed, did not act" in text
    assert "2026-07-01  passed, acted after 2:10, recovered after 11:40, 41,000 USD" in text


def test_a_result_reads_back_from_its_document() -> None:
    assert from_document({**result().detail(), "journal": "elsewhere"}) == result()
    with pytest.raises(TypeError):
        from_document({"scenario": "demo"})


def test_a_scenario_without_hints_or_length_has_the_usual_ones() -> None:
    plain = Scenario(find("demo").listed, "", demo_setup)
    assert (plain.hints, plain.lasts_s) == ((), 3600.0)


def test_a_drill_begins_when_its_story_says() -> None:
    tuesday = 86_400.0 + 14 * 3_600.0  # at two in the afternoon
    for now in (1_795_183_351.0, 1_795_183_351.0 + 3.3 * 86_400.0):
        begins = time.gmtime(last_begin(now, tuesday))
        assert (begins.tm_wday, begins.tm_hour, begins.tm_min, begins.tm_sec) == (1, 14, 0, 0)
        assert now - 604_800.0 < last_begin(now, tuesday) <= now
    assert last_begin(123.0, None) == 123.0
    assert find("conversion-regression").begins_s == tuesday
