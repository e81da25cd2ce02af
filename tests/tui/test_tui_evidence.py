"""The Deployment screen of what is judged by evidence: meters, estimates, onset, why and why not, and the cost."""

from __future__ import annotations

import dataclasses

import pytest
import tui_evidence_samples as samples
from golden import assert_golden, screen_text
from hypothesis import given
from hypothesis import strategies as st
from tui_detail_samples import opened, press, settle

from rollback_console.model.verdict import SignalVerdict, TriggerState
from rollback_console.tui.screens.deployment import DeploymentScreen
from rollback_console.tui.screens.fleet import FleetScreen
from rollback_console.tui.widgets.fleet_rows import clock_text
from rollback_console.tui.widgets.lines import Lines
from rollback_console.tui.widgets.plot import plot_lines
from rollback_console.tui.widgets.signals import facts_of, judgement, plot_data
from rollback_console.tui.widgets.state import meter


def here() -> DeploymentScreen:
    return DeploymentScreen(samples.ID)


@pytest.fixture(autouse=True)
def _glyphs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROLLBACK_CONSOLE_GLYPHS", "braille")


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (120, 40), (200, 60)])
async def test_evidence_at_each_size(size: tuple[int, int]) -> None:
    async with opened(here, samples.snapshot(), size=size) as (app, _, _):
        assert_golden(f"evidence_{size[0]}x{size[1]}", screen_text(app))


async def test_why_and_why_not_and_the_cost_with_its_formula() -> None:
    async with opened(here, samples.snapshot(), size=(80, 60)) as (app, pilot, _):
        await press(pilot, "w")
        await settle(pilot)
        assert_golden("evidence_why_80x60", screen_text(app))


async def test_w_on_the_fleet_opens_why() -> None:
    shown = samples.snapshot()
    alone = dataclasses.replace(shown, deployments=tuple(v for v in shown.deployments if v.id == samples.ID))
    async with opened(FleetScreen, alone) as (app, pilot, _):
        await press(pilot, "w")
        await settle(pilot, lambda: isinstance(app.screen, DeploymentScreen))
        await settle(pilot)
        assert isinstance(app.screen, DeploymentScreen)
        assert app.screen.section == 1
        assert "Why not ─" in app.screen.query_one("#left", Lines).text


async def test_an_estimate_reads_as_one_and_a_fired_one_has_none() -> None:
    async with opened(here, samples.snapshot()) as (app, _, _):
        head = app.screen.query_one("#head", Lines).text
        assert "◔ PENDING  ≈ 6 m if it stays  evidence ########-- 9.4/11.8" in head
    pending = samples.view().verdict
    assert pending is not None
    assert clock_text(pending, samples.AT) == "≈ 6 m"
    assert clock_text(dataclasses.replace(pending, eta_s=None), samples.AT) == ""
    fired = samples.snapshot(samples.view(TriggerState.FIRED, full=True))
    async with opened(here, fired) as (app, _, _):
        assert "≈" not in app.screen.query_one("#head", Lines).text


def test_a_judgement_by_evidence_is_a_glyph_and_a_word() -> None:
    words = [judgement(facts)[0] for facts in facts_of(samples.view(full=True))]
    assert words == ["✗ full", "● ok", "◔ suspected", "? no data"]


def test_the_band_goes_with_the_baseline_where_the_limit_is_a_margin_of_it() -> None:
    conversion, *_, latency = facts_of(samples.view())
    drawn = plot_data(conversion)
    assert drawn is not None
    assert drawn.limits[0] == pytest.approx((drawn.baselines[0] or 0.0) * 0.0295 / 0.0301)
    bound = plot_data(latency)
    assert bound is not None
    assert bound.limits == ()


@given(st.floats(-50.0, 50.0), st.floats(0.5, 20.0))
def test_a_meter_is_full_only_at_its_bar(evidence: float, bar: float) -> None:
    signal = SignalVerdict("s", 1.0, 1.0, None, None, None, False, None, evidence=evidence, bar=bar)
    cells = meter(signal).split(" ")[0]
    assert len(cells) == 10
    assert set(cells) <= {"#", "-"}
    assert (cells == "#" * 10) is (evidence / bar >= 1.0)
    assert cells == "".join(sorted(cells))  # from the left, without holes


def test_a_plot_shows_bad_from_the_onset_on_and_by_the_limit_of_its_time() -> None:
    conversion, value, *_ = facts_of(samples.view())
    drawn = plot_data(conversion, ((samples.ONSET, "onset"),))
    assert drawn is not None
    roles = [[span.style for span in row.spans] for row in plot_lines(drawn, 70, 9)]
    assert any("bad" in row for row in roles)
    early = next(row.plain.index("▲") for row in plot_lines(drawn, 70, 9) if "▲" in row.plain)
    for row in plot_lines(drawn, 70, 9):
        assert all(span.start >= early - 2 for span in row.spans if span.style == "bad")
    calm = plot_data(value)
    assert calm is not None
    assert all(span.style != "bad" for row in plot_lines(calm, 70, 9) for span in row.spans)
