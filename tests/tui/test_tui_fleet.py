"""The fleet: pictures at three sizes, order, countdowns, filter, keys, the states in which there is nothing to show."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import show_sample
import tui_samples as samples
from golden import assert_golden, screen_text
from textual.geometry import Region
from textual.pilot import Pilot
from tui_samples import AT

from rollback_console.model.identity import DeploymentId
from rollback_console.model.incident import Incident
from rollback_console.model.plan import ExecutionState
from rollback_console.model.rules import Worse
from rollback_console.model.snapshot import Snapshot
from rollback_console.model.verdict import Impact, ImpactPart, TriggerState
from rollback_console.tui.app import ConsoleApp
from rollback_console.tui.screens.fleet import FleetScreen
from rollback_console.tui.themes import INKS, NAMES
from rollback_console.tui.widgets import fleet_rows
from rollback_console.tui.widgets.cells import fit_words, strip_of, width_of
from rollback_console.tui.widgets.fleet import FleetView
from rollback_console.tui.widgets.fleet_order import grouped, matches
from rollback_console.tui.widgets.linewise import changed
from rollback_console.tui.widgets.spark import gathered, spark

SIZES = [(60, 20), (80, 24), (120, 40)]
INK = INKS[NAMES["dark"]]


class Clock:
    """A monotonic clock turned by hand."""

    def __init__(self) -> None:
        self.t = 100.0

    def __call__(self) -> float:
        return self.t


def console(shown: Snapshot | None, commands: samples.FakeCommands | None = None, **more: object) -> ConsoleApp:
    more.setdefault("monotonic", Clock())
    return ConsoleApp(samples.starter(shown, commands), **more)  # type: ignore[arg-type]


async def settle(pilot: Pilot[None]) -> None:
    for _ in range(2):
        await pilot.pause()


def fleet_of(app: ConsoleApp) -> FleetScreen:
    screen = app.screen
    assert isinstance(screen, FleetScreen)
    return screen


@pytest.mark.parametrize("size", SIZES, ids=lambda s: f"{s[0]}x{s[1]}")
@pytest.mark.parametrize("what", ["incident", "few", "broken"])
async def test_pictures(what: str, size: tuple[int, int]) -> None:
    await picture(what, size)


@pytest.mark.parametrize("what", ["calm", "empty", "backfill", "rehearsal"])
async def test_pictures_of_other_states(what: str) -> None:
    await picture(what, (80, 24))


async def picture(what: str, size: tuple[int, int]) -> None:
    app = console(show_sample.SAMPLES[what]())
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        text = screen_text(app)
        assert all(width_of(line) <= size[0] for line in text.splitlines())
        assert_golden(f"fleet-{what}-{size[0]}x{size[1]}", text)


async def test_panels_in_two_columns_and_environments() -> None:
    views = tuple(
        samples.view(name, environment=environment)
        for environment in ("production", "staging")
        for name in samples.QUIET[:4]
    )
    app = console(samples.snapshot(deployments=views, incidents=()))
    async with app.run_test(size=(250, 22)) as pilot:
        await settle(pilot)
        assert_golden("fleet-two-columns-250x22", screen_text(app))
        await pilot.press("l", "j")
        assert fleet_of(app).fleet.selected == views[3].id
        await pilot.press("h")
        assert fleet_of(app).fleet.selected == views[2].id


async def test_incident_members_stand_together_in_the_given_order() -> None:
    lone = samples.view("lone", TriggerState.FIRED, breached=(0,), since=samples.AT)
    first, second, third = samples.fleet(0)[:3]
    shown = samples.snapshot(deployments=(second, lone, first, third))
    groups = [
        (i.id if i else None, [v.id.name for v in members]) for i, members in grouped(shown, [*shown.deployments])
    ]
    assert groups == [
        ("I-91c0", ["search-rank", "search-suggest"]),
        ("I-7f3a", ["checkout-ranker"]),
        (None, ["lone"]),
    ]


def test_a_closed_incident_groups_nothing() -> None:
    closed: tuple[Incident, ...] = tuple(dataclasses.replace(i, closed_at=samples.AT) for i in samples.INCIDENTS)
    shown = samples.snapshot(incidents=closed)
    assert [incident for incident, _ in grouped(shown, [*shown.deployments])] == [None]


@pytest.mark.parametrize(
    ("state", "left", "frozen", "later", "wanted"),
    [
        (TriggerState.PENDING, {"dwell": 161.0}, False, 0.0, "2:41"),
        (TriggerState.PENDING, {"dwell": 161.0}, False, 0.4, "2:41"),
        (TriggerState.PENDING, {"dwell": 161.0}, False, 1.0, "2:40"),
        (TriggerState.PENDING, {"dwell": 161.0}, False, 160.5, "0:01"),
        (TriggerState.PENDING, {"dwell": 161.0}, False, 161.0, "due"),
        (TriggerState.PENDING, {"dwell": 161.0}, True, 50.0, "frozen"),
        (TriggerState.CLEARING, {"hold": 3700.0}, False, 0.0, "1:01:40"),
        (TriggerState.CLEARING, {"hold": 60.0}, True, 0.0, "frozen"),
        (TriggerState.BLIND, {"blind_left": 236.0}, True, 6.0, "3:50"),
        (TriggerState.FIRED, {"since": samples.AT - 72}, False, 1.0, "for 1:13"),
        (TriggerState.FIRED, {"since": samples.AT - 7300}, False, 0.0, "for 2h01"),
        (TriggerState.FIRED, {"since": samples.AT - 900_000}, False, 0.0, "for 10 d"),
        (TriggerState.HEALTHY, {}, False, 0.0, ""),
    ],
)
def test_clock(state: TriggerState, left: dict[str, float], frozen: bool, later: float, wanted: str) -> None:
    view = samples.view("m", state, frozen=frozen, **left)  # type: ignore[arg-type]
    assert fleet_rows.clock_text(view.verdict, samples.AT + later) == wanted


async def test_the_countdown_ticks_between_polls_and_only_that_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    app = console(samples.snapshot(), monotonic=clock)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        fleet = fleet_of(app).fleet
        assert "2:41" in screen_text(app)
        refreshed: list[int] = []
        refresh = fleet.refresh

        def noting(*regions: Region, **more: bool) -> FleetView:
            refreshed.extend(region.y for region in regions)
            return refresh(*regions, **more)

        monkeypatch.setattr(fleet, "refresh", noting)
        clock.t += 1.0
        fleet.tick()
        lines = screen_text(app).splitlines()[3:]
        ticking = [i for i, line in enumerate(lines[:16]) if any(w in line for w in ("FIRED", "CLEARING", "BLIND"))]
        ticking.append(next(i for i, line in enumerate(lines) if "search-rank" in line))
        assert sorted(refreshed) == sorted(ticking)
        await settle(pilot)
        assert "2:40" in screen_text(app)
        assert "for 1:13" in screen_text(app)


async def test_simulated_time_runs_at_its_speed() -> None:
    clock = Clock()
    app = console(samples.snapshot(simulated=True, speed=10.0, band="REHEARSAL x10"), monotonic=clock)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        clock.t += 3.0
        assert app.now() == samples.AT + 30
        app._second()
        await settle(pilot)
        assert "2:11" in screen_text(app)


async def test_filter() -> None:
    app = console(samples.snapshot())
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        fleet = fleet_of(app).fleet
        for typed, found in (
            ("fraud", {"fraud-score"}),
            ("pending", {"search-rank", "search-suggest"}),
            ("pending suggest", {"search-suggest"}),
            ("I-7f3a", {"checkout-ranker"}),
            ("critical", {"checkout-ranker"}),
            ("v21", {"feed-order"}),
            ("snoozed", {"basket-next"}),
        ):
            fleet.set_filter(typed, typing=False)
            assert {v.id.name for v in fleet._views} == found
        fleet.clear_filter()
        await pilot.press("slash", *"blind", "space", *"em")
        await settle(pilot)
        assert {v.id.name for v in fleet._views} == {"search-embed"}
        assert "/ blind em█" in screen_text(app)
        await pilot.press("enter")
        await settle(pilot)
        assert isinstance(app.screen, FleetScreen), "enter ends the typing and opens nothing"
        assert "█" not in screen_text(app).splitlines()[2]
        await pilot.press("slash", *"xyz")
        await settle(pilot)
        assert "No deployment matches" in screen_text(app)
        await pilot.press("escape")
        assert fleet.shown == 15


def test_filter_words_are_all_needed() -> None:
    view = samples.fired()
    assert matches(view, ["fired", "checkout"])
    assert not matches(view, ["fired", "healthy"])


async def test_letters_of_a_filter_are_no_acts() -> None:
    commands = samples.FakeCommands()
    app = console(samples.snapshot(), commands)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("slash", *"rnbtzyq")
        await settle(pilot)
        assert isinstance(app.screen, FleetScreen)
        assert commands.asked == []
        assert fleet_of(app).fleet.filter == "rnbtzyq"
        await pilot.press("backspace", "ctrl+u")
        assert fleet_of(app).fleet.filter == ""


async def test_moving() -> None:
    app = console(samples.snapshot())
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        fleet = fleet_of(app).fleet
        names = [v.id.name for v in fleet._views]

        async def at(*keys: str) -> str:
            await pilot.press(*keys)
            assert fleet.selected is not None
            return fleet.selected.name

        assert fleet.selected == samples.fired().id
        assert await at("j", "j") == names[2]
        assert await at("k") == names[1]
        assert await at("G") == names[-1]
        await settle(pilot)
        assert names[-1] in screen_text(app)
        assert await at("j") == names[-1]
        assert await at("g") == names[0]
        await settle(pilot)
        assert "── RELEASE" in screen_text(app), "the first one's incident header comes into view with it"
        assert await at("end") == names[-1]
        assert await at("home") == names[0]
        assert await at("down", "up", "up") == names[0]
        assert await at("pagedown") != names[0]
        assert await at("pageup") == names[0]


async def test_the_choice_stays_on_its_deployment_when_the_order_changes() -> None:
    app = console(samples.snapshot())
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        fleet = fleet_of(app).fleet
        await pilot.press("j")
        chosen = fleet.selected
        app.publish(samples.snapshot(deployments=samples.fleet()[::-1]))
        await settle(pilot)
        assert fleet.selected == chosen
        app.publish(samples.snapshot(deployments=samples.fleet()[6:]))
        await settle(pilot)
        assert fleet.selected == samples.fleet()[6].id, "gone: the most urgent one instead"


async def test_until_chosen_by_hand_the_most_urgent_is_selected() -> None:
    calm = samples.fleet()[6:]
    app = console(samples.snapshot(deployments=calm, incidents=()))
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        assert fleet_of(app).fleet.selected == calm[0].id
        app.publish(samples.snapshot())
        await settle(pilot)
        assert fleet_of(app).fleet.selected == samples.fired().id


async def test_mouse() -> None:
    app = console(samples.snapshot(), samples.FakeCommands())
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        fleet = fleet_of(app).fleet
        opened: list[str] = []
        fleet_of(app).action_act = opened.append  # type: ignore[method-assign]
        await pilot.click(fleet, offset=(20, 3))
        assert fleet.selected == DeploymentId("production", "search-rank")
        assert opened == []
        await pilot.click(fleet, offset=(20, 3))
        await settle(pilot)
        assert opened == ["open"]
        await pilot.click(fleet, offset=(20, 0))
        assert opened == ["open"], "a header opens nothing"


async def test_five_thousand_rows() -> None:
    app = console(samples.snapshot(deployments=show_sample.many(5000), incidents=()))
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("G")
        await settle(pilot)
        assert "model-4999" in screen_text(app)
        fleet = fleet_of(app).fleet
        assert len(fleet._strips) < 200, "only what was seen is drawn"


async def test_resizing_and_themes_redraw_everything() -> None:
    app = console(samples.snapshot())
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        wide = screen_text(app)
        await pilot.resize_terminal(60, 20)
        await settle(pilot)
        assert all(width_of(line) <= 60 for line in screen_text(app).splitlines())
        await pilot.resize_terminal(80, 24)
        await settle(pilot)
        assert screen_text(app) == wide
        first = app.screen._compositor.render_strips()[4]
        await pilot.press("T")
        await settle(pilot)
        second = app.screen._compositor.render_strips()[4]
        assert first.text == second.text
        assert [s.style for s in first] != [s.style for s in second]


def test_the_versions_that_disagree_are_said() -> None:
    view = samples.view("m", version="8", registry="7")
    assert fleet_rows.version_text(view) == "v8≠v7"
    assert fleet_rows.version_text(samples.view("m", version="blue")) == "blue"
    assert fleet_rows.version_text(samples.view("m", version=None, registry=None)) == "–"
    narrow = fleet_rows.row(view, fleet_rows.Columns.of(50, 5), "", "", False, INK)
    assert any("≠" in text for text, _ in narrow)


def test_a_row_is_exactly_as_wide_as_it_is_told() -> None:
    for width, view in itertools.product(range(20, 240), samples.fleet(2)):
        columns = fleet_rows.Columns.of(width, 7)
        parts = fleet_rows.row(view, columns, "for 12:34", "zz until 10:45", True, INK)
        if width >= 34:
            assert sum(width_of(text) for text, _ in parts) + 1 == width
        if width >= 56:
            for line in range(4):
                panel = fleet_rows.panel(view, line, width - 2, "frozen", "", True, INK)
                assert sum(width_of(text) for text, _ in panel) <= width - 1


@pytest.mark.parametrize(
    ("pct", "worse", "wanted"),
    [
        (8.45, Worse.LOWER, "−8.4 %"),
        (8.45, Worse.HIGHER, "+8.4 %"),
        (375.0, Worse.HIGHER, "+375 %"),
        (-3.0, Worse.LOWER, "+3.0 %"),
        (0.0, Worse.LOWER, "0.0 %"),
        (1000.0, Worse.HIGHER, "×11"),
        (float("nan"), Worse.HIGHER, "1"),
    ],
)
def test_the_change_has_the_sign_of_the_change(pct: float, worse: Worse, wanted: str) -> None:
    rule = dataclasses.replace(samples.SIGNALS[1], worse=worse, unit="")
    judged = dataclasses.replace(samples.signals(samples.HEALTHY)[1], degradation_pct=pct, value=1.0)
    assert fleet_rows.change_text(judged, rule) == wanted


def test_spark_has_a_range_that_stands_still() -> None:
    styles = (INK.calm, INK.bad, INK.dim)
    parts = spark((3.0, None, 3.0, 2.0, float("nan"), 9e99), 8, 3.0, 2.5, Worse.LOWER, *styles)
    assert "".join(text for text, _ in parts) == "  ▅·▅▂·█"
    assert [style for text, style in parts if "▂" in text] == [INK.bad]
    calm = spark((3.0, 3.01, 2.99), 3, 3.0, 2.5, Worse.LOWER, *styles)
    assert {style for _, style in calm} == {INK.calm}
    assert "".join(text for text, _ in spark((), 4, None, None, Worse.LOWER, *styles)) == "    "


def test_only_cells_that_differ_are_sent() -> None:
    row = [("▌▲ FIRED  ", INK.bad), ("name ", INK.text), ("2:41", INK.warn), (" end", INK.dim)]
    before = strip_of(row, 30, INK.text)
    after = strip_of([*row[:2], ("2:40", INK.warn), row[3]], 30, INK.text)
    assert changed(before, before)[0] >= changed(before, before)[1]
    assert changed(before, after) == (15, 19)


def test_impact_is_short_in_a_row_and_whole_in_a_sentence() -> None:
    impact = Impact(41.0, (ImpactPart("users", 12_345.0, "users/min", 41.0, "x"),))
    assert fleet_rows.impact_text(Impact(0.0)) == ""
    assert fleet_rows.impact_text(impact) == "impact 41"
    assert fleet_rows.impact_sentence(impact) == "impact 41: users 12.3k/min"
    verdict = samples.fired().verdict
    assert verdict is not None
    assert fleet_rows.impact_text(verdict.impact) == "$412/m"


async def test_the_most_urgent_is_selected_until_the_operator_moves_and_then_the_same_deployment() -> None:
    app = console(samples.snapshot())
    calm = samples.fleet()[6:]
    late = samples.view("churn", TriggerState.FIRED, (0.0291, 0.019, 0.22), breached=(0, 1), since=AT, revision=9)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        screen = app.screen
        assert isinstance(screen, FleetScreen)
        assert screen.fleet.selected == samples.fired().id
        snoozed = samples.fired(snoozed_until=AT + 600, revision=2)
        app.publish(samples.snapshot(deployments=(snoozed, late, *calm), incidents=()))
        await settle(pilot)
        assert screen.fleet.selected == late.id  # somebody has said that the other one is known
        app.publish(samples.snapshot(deployments=calm, incidents=()))
        await settle(pilot)
        assert screen.fleet.selected == calm[0].id
        await pilot.press("j", "j")
        chosen = screen.fleet.selected
        assert chosen == calm[2].id
        app.publish(samples.snapshot(deployments=(samples.fired(), *reversed(calm))))
        await settle(pilot)
        assert screen.fleet.selected == chosen
        await pilot.press("slash", *"ads-ctr", "escape")
        await settle(pilot)
        assert screen.fleet.selected == chosen  # a look for something else, taken back
        await pilot.press("slash", *"ads-ctr", "enter", "escape")
        await settle(pilot)
        assert str(screen.fleet.selected) == "production/ads-ctr"


def test_what_does_not_fit_is_cut_between_words() -> None:
    impact = samples.fired().verdict.impact  # type: ignore[union-attr]  # it has one
    assert fleet_rows.impact_sentence(impact, 200).endswith("regulatory low")
    assert fleet_rows.impact_sentence(impact, 60) == "impact 78: revenue $412/min · users 2,100/min …"
    assert fleet_rows.impact_sentence(impact, 40) == "impact 78: revenue $412/min …"
    assert fleet_rows.impact_sentence(impact, 20) == "impact 78 …"
    assert fleet_rows.impact_text(impact, whole=True) == "$412/min"
    assert fit_words("conversion fell by a lot", 16) == "conversion …    "
    assert fit_words("pneumonoultramicroscopic words", 16) == "pneumonoultrami…"
    for width in range(12):
        assert len(fit_words("one two three four", width)) == width


def test_a_sparkline_shows_the_time_before_a_fall() -> None:
    fall = (*([3.18] * 30), *([2.91] * 10))
    assert gathered(fall, 8, Worse.LOWER) == [3.18] * 6 + [2.91] * 2
    assert gathered(fall, 28, Worse.LOWER) == [3.18] * 18 + [2.91] * 10
    assert gathered((*fall[:-1], None), 8, Worse.LOWER)[-1] is None  # missing now is missing
    assert gathered((), 8, Worse.LOWER) == gathered(fall, 0, Worse.LOWER) == []
    drawn = "".join(t for t, _ in spark(fall, 8, 3.18, 3.02, Worse.LOWER, INK.calm, INK.bad, INK.dim))
    assert drawn == "▅▅▅▅▅▅▃▃"
    bound = "".join(t for t, _ in spark((0.2, 0.5), 2, None, 0.4, Worse.HIGHER, INK.calm, INK.bad, INK.dim))
    assert bound == "▃▆"
    own = "".join(t for t, _ in spark((1.0, 3.0), 2, None, None, Worse.HIGHER, INK.calm, INK.bad, INK.dim))
    assert own == "▂▇"


@pytest.mark.parametrize("size", [*SIZES, (120, 14)], ids=lambda s: f"{s[0]}x{s[1]}")
async def test_what_is_executed_stands_in_its_row_and_gives_the_advice_s_place(size: tuple[int, int]) -> None:
    app = console(samples.snapshot(executions=(samples.execution(ExecutionState.VERIFYING),)))
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        text = screen_text(app)
        row = next(r for r in text.splitlines() if "checkout-" in r and "FIRED" in r)
        assert "⟳ v8→v7 verifying" in row
        assert "advice" not in text
        if size[0] == 60:
            assert_golden("fleet-executing-60x20", text)
        await pilot.press("a")
        for _ in range(4):
            await pilot.pause()
        assert type(app.screen).__name__ == "RollbackScreen"
        assert "VERIFYING" in screen_text(app)


async def test_abort_on_the_fleet_says_why_not() -> None:
    app = console(samples.snapshot())
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("a")
        await settle(pilot)
        assert "nothing is executing" in "".join(n.message for n in app._notifications)
        assert "a abort" not in screen_text(app)


async def test_fired_as_blind_is_blind_with_an_alarm() -> None:
    blind = samples.view("support-triage", TriggerState.BLIND, (None, None, None), since=AT - 700)
    assert blind.verdict is not None
    blind = dataclasses.replace(blind, verdict=dataclasses.replace(blind.verdict, fired_as_blind=True))
    calm = samples.view("calm")
    assert matches(blind, ["blind"])
    assert matches(blind, ["alarm"])
    assert not matches(calm, ["alarm"])
    app = console(samples.snapshot(deployments=(blind, calm), incidents=()))
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        text = screen_text(app)
        assert "▲? BLIND" in text
        assert "FIRED" not in text
        assert "? 1 blind, ▲ 1 of them" in text
        assert "▲ 1 alarm" in text


def test_an_incident_s_header_begins_with_its_cause_and_what_is_shared() -> None:
    members = [v for v in samples.fleet() if v.incident == "I-91c0"]
    incident = samples.INCIDENTS[1]
    for width in (58, 66, 80, 120, 200):
        text = "".join(t for t, _ in fleet_rows.incident_header(incident, members, width, INK))
        assert text.startswith("── UPSTREAM feature-view:sessions · 2 deployments")
        assert width_of(text) <= width
    assert text.endswith("rolling back will not help · I-91c0")
    assert "feature-view" not in "".join(t for t, _ in fleet_rows.incident_header(incident, members[:1], 58, INK))


def test_a_row_names_its_signal_where_there_is_room_and_says_until_when_it_sleeps() -> None:
    view = samples.fired(snoozed_until=AT + 600)
    wide = "".join(t for t, _ in fleet_rows.row(view, fleet_rows.Columns.of(100, 5), "", "", False, INK))
    assert "error rate    +375 %" in wide
    asleep = fleet_rows.asleep_text(view, AT)
    assert asleep == "zz until 14:12"
    assert fleet_rows.asleep_text(view, AT + 601) == ""
    for width, words in ((100, asleep), (60, asleep), (50, "zz 14:12"), (40, "zz 14:12")):
        row = "".join(t for t, _ in fleet_rows.row(view, fleet_rows.Columns.of(width, 5), "", asleep, False, INK))
        assert words in row, width


def test_what_serving_reported_last_is_said_as_that() -> None:
    view = dataclasses.replace(samples.view("m", version=None, registry="8"), last_version="7", last_seen_at=AT - 60)
    assert fleet_rows.version_text(view) == "v7?"


async def test_nothing_of_a_row_goes_under_a_scrollbar_that_came_later() -> None:
    app = console(samples.snapshot(deployments=samples.fleet(0)))
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        assert "$412/m" in screen_text(app)
        app.publish(samples.snapshot(deployments=samples.fleet(12)))
        for _ in range(4):
            await pilot.pause()
        assert fleet_of(app).fleet.show_vertical_scrollbar
        assert "$412/m" in screen_text(app)
