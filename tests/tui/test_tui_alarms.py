"""Pointers that somebody else moved: under the fleet's title, on the detail screens, in the band, told once."""

from __future__ import annotations

import dataclasses

import pytest
import tui_detail_samples as detail
import tui_samples as samples
from golden import assert_golden, screen_text
from test_tui_hostile import HOSTILE
from test_tui_shell import console, settle
from tui_detail_samples import ID, assert_safe, opened

from rollback_console.model.plan import ExecutionState
from rollback_console.tui.notify import newly_moved
from rollback_console.tui.screens.deployment import DeploymentScreen
from rollback_console.tui.screens.rollback import RollbackScreen

FLIP = (
    f"somebody else moved champion of {ID} from v7 to v8 at 2026-11-20 14:02:20 UTC, 2m10s after execution X-1 had "
    "brought it there"
)
OTHER = "somebody else moved champion of production/checkout-ranker-2 from v3 to v4, after execution X-2 had ..."


async def test_one_line_under_the_title_and_counted_in_the_band() -> None:
    app = console(samples.snapshot())
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        assert "2 alarms" in screen_text(app)
        app.publish(samples.snapshot(alarms=(FLIP,)))
        await settle(pilot)
        assert_golden("fleet-flip-80x24", screen_text(app))
        app.publish(samples.snapshot(alarms=(FLIP, OTHER, FLIP + "3", FLIP + "4", FLIP + "5")))
        await settle(pilot)
        rows = screen_text(app).split("\n")
        assert rows[5].strip() == "▲ and 3 more: the timeline has them"
        assert "7 alarms" in rows[1]
        app.publish(samples.snapshot())
        await settle(pilot)
        assert "somebody else" not in screen_text(app)


async def test_the_detail_screens_say_their_own_in_full() -> None:
    for shown in (
        detail.snapshot(alarms=(FLIP, OTHER)),
        detail.snapshot(alarms=(FLIP, OTHER), executions=(detail.execution(ExecutionState.VERIFYING),)),
    ):
        for screen in (DeploymentScreen, RollbackScreen):
            async with opened(lambda screen=screen: screen(ID), shown) as (app, pilot, _):
                await detail.settle(pilot)
                text = " ".join(screen_text(app).split())
                assert FLIP in text, screen
                assert "checkout-ranker-2" not in text


def test_told_once_and_not_when_it_only_reads_otherwise() -> None:
    calm, flipped = samples.snapshot(), samples.snapshot(alarms=(FLIP,))
    assert newly_moved(calm, flipped) == [FLIP]
    assert newly_moved(flipped, flipped) == []
    assert newly_moved(flipped, samples.snapshot(alarms=(FLIP + " at last",))) == []
    assert newly_moved(flipped, calm) == []
    assert newly_moved(None, flipped) == []
    assert newly_moved(flipped, samples.snapshot(alarms=(OTHER, FLIP))) == [OTHER]


@pytest.mark.parametrize("bad", HOSTILE.values(), ids=HOSTILE.keys())
async def test_hostile_alarms(bad: str) -> None:
    app = console(samples.snapshot(alarms=(bad, f"{bad} {ID} {bad}")))
    async with app.run_test(size=(60, 20)) as pilot:
        await settle(pilot)
        assert_safe(app)
    shown = dataclasses.replace(detail.snapshot(), alarms=(f"{bad} {ID} {bad}",))
    async with opened(lambda: DeploymentScreen(ID), shown, size=(60, 20)) as (app, _, _):
        assert_safe(app)
