"""The split that a control is meant to get: as written, or as it got in the week before today began."""

from __future__ import annotations

from dataclasses import replace

import pytest
from engine_tools import Flaky, fleet_rule, labelled

from rollback_console.clock import VirtualClock
from rollback_console.engine.beside import Beside
from rollback_console.engine.loop import Engine
from rollback_console.engine.options import Options
from rollback_console.model.observation import Blind
from rollback_console.model.rules import Baseline, BaselineKind, Breach, EvidenceRule, SignalRule, Uses, Worse

DAY, HOUR = 86_400.0, 3_600.0
MIDNIGHT = 1_763_942_400.0
WEEK, COUNT = "sum_over_time((n[1h]\n)[7d:1h])", "count_over_time((n[1h]\n)[7d:1h])"


def signal(share: float | None = None) -> SignalRule:
    return SignalRule(
        "conversion", "Conversion", "business", Worse.LOWER, Breach(), 60.0, x="x", n="n", x_hour="x[1h]",
        n_hour="n[1h]", baseline=Baseline(BaselineKind.CONTROL, control="canary", share=share), evidence=EvidenceRule(),
    )  # fmt: skip


def backend(hours: float, control: float = 2_000.0) -> Flaky:
    asked = MIDNIGHT - HOUR
    both = (("d0", 6_000.0), ("canary", control))
    now = [(MIDNIGHT + 60.0 * k, 100.0) for k in range(61)]
    return Flaky(
        {
            WEEK: [labelled(WEEK, name, [(asked, trials)]) for name, trials in both],
            COUNT: [labelled(COUNT, name, [(asked, hours)]) for name, _ in both],
            "x": [labelled("x", name, now) for name, _ in both],
            "n": [labelled("n", name, now) for name, _ in both],
        },
        lookback_s=60.0,
    )


async def split(metrics: Flaky, each: SignalRule, at: float = MIDNIGHT + HOUR) -> float | None:
    beside = Beside((fleet_rule("d0", [each], serving=None),), metrics)
    await beside.prepare(at, at)
    found = beside.norm(0, 0, at)
    assert not isinstance(found, Blind)
    assert found[1].control == (100.0, 100.0)
    return found[1].split


@pytest.mark.parametrize(("hours", "expected"), [(168.0, 0.25), (24.0, 0.25), (23.0, None)])
async def test_it_is_learned_from_the_week_before_today_if_that_is_a_day_at_least(
    hours: float, expected: float | None
) -> None:
    assert await split(backend(hours), signal()) == expected


async def test_what_is_written_counts_and_nothing_is_asked_for_it() -> None:
    metrics = backend(168.0)
    assert await split(metrics, signal(0.1)) == 0.1
    assert {promql for promql, _, _ in metrics.ranges} == {"x", "n"}


async def test_where_it_cannot_be_read_nothing_is_expected() -> None:
    metrics = backend(168.0)
    metrics.silent.add(COUNT)
    assert await split(metrics, signal()) is None
    assert await split(backend(168.0, control=0.0), signal()) is None
    assert await split(backend(168.0), replace(signal(), n_hour=None)) is None


async def test_a_cold_console_holds_the_same_tally_and_says_the_same_of_a_mismatch() -> None:
    """Two thirds of the visits land in the control from the fortieth hour on."""
    begin = MIDNIGHT - 40 * HOUR
    times = [begin + 60.0 * k for k in range(round(41 * HOUR / 60))]
    columns = {
        name: [(at, 1_000.0 if at < MIDNIGHT else odd) for at in times]
        for name, odd in (("d0", 667.0), ("canary", 1_333.0))
    }
    series = {
        "n": [labelled("n", name, points) for name, points in columns.items()],
        "x": [labelled("x", name, [(at, 0.03 * n) for at, n in points]) for name, points in columns.items()],
    }
    rules = (fleet_rule("d0", [signal(0.5)], Uses("conversion"), serving=None),)
    options = Options(step_s=60.0, delay_s=0.0, lookback_s=DAY, debug=True)

    def engine(at: float) -> Engine:
        return Engine(rules, Flaky(series, lookback_s=60.0), None, VirtualClock(at), options, inline=True)

    always = engine(begin + HOUR)
    await always.start()
    at = begin + HOUR
    while at < MIDNIGHT + 0.5 * HOUR:
        at += 60.0
        always.clock._now = at  # type: ignore[attr-defined]
        await always.step(at)
    opened = engine(at)
    await opened.start()
    assert opened.board.memories == always.board.memories
    note = opened.board.verdicts[0].signals[0].note
    assert note == always.board.verdicts[0].signals[0].note
    assert note.startswith("sample ratio mismatch: ")
    assert "expected 50 %" in note
