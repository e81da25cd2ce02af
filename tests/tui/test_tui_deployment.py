"""The Deployment screen: what it shows at each size, its clock, its sections, and what it makes of hostile text."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import tui_detail_samples as samples
import tui_samples as base
from golden import assert_golden, screen_text
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from tui_detail_samples import AT, ID, opened, press, publish, settle

from rollback_console.model.observation import Blind
from rollback_console.model.rules import And, AtLeast, BlindPolicy, BlindPolicyKind, Expression, Not, Or, Uses
from rollback_console.model.snapshot import DeploymentDetail
from rollback_console.model.verdict import TriggerState
from rollback_console.tui.screens.deployment import DeploymentScreen
from rollback_console.tui.screens.rollback import RollbackScreen
from rollback_console.tui.screens.runbook import RunbookScreen
from rollback_console.tui.widgets.changes import safe_url
from rollback_console.tui.widgets.lines import Lines, chop, fit, wrap
from rollback_console.tui.widgets.plot import PlotData, plot_lines, span_of
from rollback_console.tui.widgets.trigger import leaves_of, trigger_lines, truth_of

SIZES = ((60, 20), (80, 24), (120, 40))


def here() -> DeploymentScreen:
    return DeploymentScreen(ID)


@pytest.fixture(autouse=True)
def _glyphs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROLLBACK_CONSOLE_GLYPHS", "braille")


@pytest.mark.parametrize("size", SIZES)
async def test_the_screen_at_each_size(size: tuple[int, int]) -> None:
    async with opened(here, size=size) as (app, _, _):
        assert_golden(f"deployment_fired_{size[0]}x{size[1]}", screen_text(app))


@pytest.mark.parametrize(("key", "name"), [("2", "why"), ("3", "changed"), ("4", "versions")])
async def test_each_section_at_80x24(key: str, name: str) -> None:
    async with opened(here) as (app, pilot, _):
        await press(pilot, key)
        await settle(pilot)
        assert_golden(f"deployment_{name}_80x24", screen_text(app))


async def test_tab_goes_through_the_sections_and_back() -> None:
    async with opened(here) as (app, pilot, _):
        seen = []
        for key in ("tab", "tab", "tab", "tab", "shift+tab"):
            await press(pilot, key)
            seen.append(app.screen.section)  # type: ignore[attr-defined]  # the screen is ours
        assert seen == [1, 2, 3, 0, 3]


async def test_without_braille_the_plot_is_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROLLBACK_CONSOLE_GLYPHS", "ascii")
    async with opened(here) as (app, _, _):
        body = app.screen.query_one("#left", Lines).text
        assert "*" in body
        assert not any(0x2800 <= ord(c) < 0x2900 for c in body)


async def test_the_registry_and_serving_disagree() -> None:
    view = dataclasses.replace(samples.detailed_view(version="7"), registry_version="8")
    async with opened(here, samples.snapshot(view)) as (app, _, _):
        assert "the registry says v8, serving reports v7" in screen_text(app)


async def test_the_countdown_runs_each_second_between_evaluations() -> None:
    now = [0.0]
    async with opened(here, samples.snapshot(samples.pending_view()), clock=lambda: now[0]) as (app, _, _):
        assert "fires in 2:41" in screen_text(app)
        now[0] = 3.0
        app.screen.on_second()  # type: ignore[attr-defined]  # what the app's one-second timer calls
        assert "fires in 2:38" in app.screen.query_one("#head", Lines).text
        now[0] = 4_000.0  # no evaluation came any more: it does not run on into what nobody knows
        app.screen.on_second()  # type: ignore[attr-defined]
        assert "fires in 1:56" in app.screen.query_one("#head", Lines).text


async def test_a_frozen_countdown_stands_still_and_says_so() -> None:
    now = [0.0]
    shown = samples.snapshot(samples.pending_view(frozen=True))
    async with opened(here, shown, clock=lambda: now[0]) as (app, _, _):
        now[0] = 60.0
        app.screen.on_second()  # type: ignore[attr-defined]
        assert "frozen at 2:41: telemetry is blind" in app.screen.query_one("#head", Lines).text


async def test_the_engine_is_told_who_is_looked_at_and_when_nobody_is() -> None:
    async with opened(here) as (_, pilot, commands):
        assert ("focus", ID) in commands.asked
        await press(pilot, "escape")
        await settle(pilot, lambda: ("focus", None) in commands.asked)
        assert commands.asked[-1] == ("focus", None)


async def test_arrows_choose_the_signal_that_is_plotted() -> None:
    async with opened(here, size=(80, 40)) as (app, pilot, _):
        body = app.screen.query_one("#left", Lines)
        assert "▸ conversion" in body.text
        await press(pilot, "down")
        assert "▸ error rate" in body.text
        assert any(row.startswith("error rate ─") for row in body.text.split("\n"))
        await press(pilot, "k", "k", "k")
        assert "▸ conversion" in body.text


async def test_a_click_chooses_a_signal() -> None:
    async with opened(here, size=(80, 40)) as (app, pilot, _):
        body = app.screen.query_one("#left", Lines)
        await pilot.click(body, offset=(4, 3))
        await settle(pilot)
        assert "▸ p95 latency" in body.text


@pytest.mark.parametrize("make", [here, lambda: RollbackScreen(ID), lambda: RunbookScreen(ID, None)])
async def test_a_second_or_a_snapshot_between_pushing_and_composing_is_no_crash(make: Callable[[], Any]) -> None:
    async with opened(here) as (app, pilot, _):
        shown = app.snapshot
        assert shown is not None
        screen = make()
        waiting = app.push_screen(screen)
        assert not screen.query(Lines)
        app._second()
        screen.on_second()
        screen.on_snapshot(shown)
        await waiting
        await settle(pilot)
        assert app.screen is screen
        await app.pop_screen()
        screen.on_second()
        screen.on_snapshot(shown)
        await settle(pilot)


@pytest.mark.parametrize(
    ("detail", "words"),
    [
        (None, "asking the registry what changed"),
        (DeploymentDetail(ID, loading=True), "asking the registry what changed"),
        (DeploymentDetail(ID, problem="mlflow did not answer in 5 s"), "cannot tell what changed: mlflow did not"),
        (DeploymentDetail(ID, compared=("7", "8")), "knows no difference"),
        (DeploymentDetail(ID), "no two versions to compare"),
    ],
)
async def test_what_the_details_lack_is_said(detail: DeploymentDetail | None, words: str) -> None:
    shown = samples.snapshot(details=(detail,) if detail else ())
    async with opened(here, shown) as (app, pilot, _):
        await press(pilot, "3")
        await settle(pilot)
        assert words in " ".join(app.screen.query_one("#left", Lines).text.split())


async def test_a_deployment_that_left_the_fleet_is_no_crash() -> None:
    async with opened(here) as (app, pilot, _):
        await publish(app, pilot, base.snapshot(deployments=(), incidents=()))
        assert "not in the fleet any more" in screen_text(app)


async def test_a_deployment_before_its_first_evaluation() -> None:
    view = dataclasses.replace(samples.detailed_view(), verdict=None, traces=())
    async with opened(here, samples.snapshot(view, incidents=()), size=(120, 40)) as (app, _, _):
        text = screen_text(app)
        assert "waiting" in text
        assert "no evaluation yet" in text


@pytest.mark.parametrize("size", [(60, 20), (120, 40)])
@pytest.mark.parametrize("text", samples.HOSTILE, ids=samples.HOSTILE_NAMES)
async def test_hostile_text_in_every_field(text: str, size: tuple[int, int]) -> None:
    shown = samples.hostile_snapshot(text)
    where = shown.deployments[0].id
    async with opened(lambda: DeploymentScreen(where), shown, size=size) as (app, pilot, _):
        for key in "1234":
            await press(pilot, key)
            await settle(pilot)
            samples.assert_safe(app)


# ── plots


values = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True), st.floats(-10, 10))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(values, max_size=60), values, values, st.integers(20, 130), st.integers(5, 20),
    st.sampled_from(["braille", "blocks", "ascii"]), st.booleans(),
)  # fmt: skip
def test_any_numbers_draw_within_their_frame(
    series: list[float | None], baseline: float | None, limit: float | None, width: int, height: int, glyphs: str,
    higher: bool,
) -> None:  # fmt: skip
    data = PlotData(tuple(series), AT, AT + 600, (), baseline, limit, higher, "%", ((AT + 300, "v8"),))
    rows = plot_lines(data, width, height, glyph_set=glyphs)
    assert len(rows) in (1, height)
    assert all(row.cell_len <= width for row in rows)


def test_the_range_holds_baseline_and_limit_and_does_not_follow_noise() -> None:
    calm = tuple(0.03 + 0.00001 * (i % 3) for i in range(30))
    span = span_of(PlotData(calm, 0, 1, baseline=0.03, limit=0.0285))
    assert span is not None
    assert span[0] <= 0.0285 < 0.03 <= span[1]
    assert span == span_of(PlotData(calm[5:], 0, 1, baseline=0.03, limit=0.0285))


def test_a_gap_stays_a_gap_and_what_is_beyond_the_limit_is_marked() -> None:
    series = (*[0.03] * 20, *[None] * 10, *[0.02] * 10)
    rows = plot_lines(
        PlotData(series, AT, AT + 600, baseline=0.03, limit=0.028, worse_higher=False, unit="%"), 60, 10,
        glyph_set="ascii",
    )  # fmt: skip
    inside = rows[:-2]
    bottom = inside[-1].plain[10:50]
    assert "." in bottom
    assert "*" not in "".join(row.plain[10 + 21 : 10 + 29] for row in inside)
    bad = [span for row in inside for span in row.spans if span.style == "bad"]
    assert bad
    assert all(span.start >= 10 + 28 for span in bad)
    assert any("baseline" in row.plain for row in inside)
    assert any("limit" in row.plain for row in inside)


# ── the trigger's logic


def _expressions() -> st.SearchStrategy[Expression]:
    names = st.integers(0, 10_000).map(lambda i: Uses(f"s{i}"))
    return st.recursive(
        names,
        lambda inner: st.one_of(
            inner.map(Not),
            st.lists(inner, min_size=1, max_size=3).map(lambda items: And(tuple(items))),
            st.lists(inner, min_size=1, max_size=3).map(lambda items: Or(tuple(items))),
            st.tuples(st.integers(1, 3), st.lists(inner, min_size=1, max_size=3)).map(
                lambda pair: AtLeast(pair[0], tuple(pair[1]))
            ),
        ),
        max_leaves=6,
    )


def _rename(expression: Expression, names: itertools.count[int]) -> Expression:
    """Every leaf a signal of its own: then three-valued truth is exact, not only safe."""
    if isinstance(expression, Uses):
        return Uses(f"s{next(names)}")
    if isinstance(expression, Not):
        return Not(_rename(expression.item, names))
    items = tuple(_rename(item, names) for item in expression.items)
    if isinstance(expression, AtLeast):
        return AtLeast(expression.k, items)
    return type(expression)(items)


@settings(max_examples=120, deadline=None)
@given(_expressions(), st.lists(st.sampled_from([True, False, None]), min_size=20, max_size=20))
def test_a_node_is_unknown_exactly_when_its_unknowns_could_turn_it(
    expression: Expression, states: list[bool | None]
) -> None:
    expression = _rename(expression, itertools.count())
    leaves = {f"s{i}": state for i, state in enumerate(states)}
    unknown = [name for name, state in leaves.items() if state is None and f"'{name}'" in repr(expression)]
    outcomes = {
        truth_of(expression, leaves | dict(zip(unknown, chosen, strict=True)))
        for chosen in itertools.product((True, False), repeat=len(unknown))
    }
    wanted = outcomes.pop() if len(outcomes) == 1 else None
    assert truth_of(expression, leaves) is wanted


@pytest.mark.parametrize(
    ("kind", "counts"),
    [(BlindPolicyKind.HEALTHY, False), (BlindPolicyKind.BREACH, True), (BlindPolicyKind.FREEZE, None)],
)
def test_a_blind_signal_counts_as_its_policy_says(kind: BlindPolicyKind, counts: bool | None) -> None:
    view = samples.detailed_view(values=(None, 0.019, 0.22))
    signals = (dataclasses.replace(view.rule.signals[0], blind=BlindPolicy(kind)), *view.rule.signals[1:])
    rule = dataclasses.replace(view.rule, signals=signals)
    assert view.verdict is not None
    assert view.verdict.signals[0].blind is Blind.NO_DATA
    assert leaves_of(rule, view.verdict)["conversion"] is counts


def test_the_tree_shows_each_node_and_takes_the_whole_from_the_verdict() -> None:
    view = samples.pending_view(frozen=True)
    assert view.verdict is not None
    verdict = dataclasses.replace(view.verdict, condition=None)
    text = "\n".join(row.plain for row in trigger_lines(view.rule, verdict, None, 70))
    assert "? unknown all 2 of" in text  # although both parts are true: the verdict knows more
    assert "├─✗ true conversion" in text
    assert "└─● false p95 latency" in text
    assert "the clock is frozen" in text


@pytest.mark.parametrize("state", list(TriggerState))
async def test_every_state_has_its_word_and_its_clock(state: TriggerState) -> None:
    view = samples.detailed_view(dwell=60.0, hold=60.0, blind_left=120.0)
    assert view.verdict is not None
    view = dataclasses.replace(view, verdict=dataclasses.replace(view.verdict, state=state))
    async with opened(here, samples.snapshot(view)) as (app, _, _):
        text = screen_text(app)
        assert (state.value if state is TriggerState.HEALTHY else state.value.upper()) in text


# ── lines


texts = st.text(max_size=300) | st.sampled_from(samples.HOSTILE)


@settings(max_examples=150, deadline=None)
@given(texts, st.integers(4, 60))
def test_text_is_cut_and_wrapped_by_cells(text: str, width: int) -> None:
    assert cell_len(fit(text, width)) == width
    assert all(cell_len(piece) <= width for piece in wrap(text, width))
    assert "".join(chop(text, width)) == text


@pytest.mark.parametrize(
    ("url", "fine"),
    [
        ("https://grafana.example/d/x?var=1", True),
        ("http://localhost:3000/", True),
        ("file:///etc/passwd", False),
        ("https://x\x1b]8;;evil", False),
        ("https://bücher.example/", False),
        ("javascript:alert(1)", False),
        ("https://" + "a" * 3000, False),
    ],
)
def test_only_plain_web_addresses_become_links(url: str, fine: bool) -> None:
    assert (safe_url(url) is not None) is fine


def test_numbers_that_no_screen_can_hold_are_no_crash() -> None:
    assert plot_lines(PlotData((1e308, -1e308), 0, 1), 60, 8)[0].plain == "the values span more than can be drawn"
    assert plot_lines(PlotData((math.nan, None), 0, 1), 60, 8)[0].plain.startswith("no value")
