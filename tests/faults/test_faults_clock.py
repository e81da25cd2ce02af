"""The wall clock jumps while the console runs; a process sleeps for most of a minute; two people act at once."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from faults_bench import (
    FakeMlflow,
    FakePrometheus,
    Live,
    bodies,
    cold_states,
    environment,
    live_seat,
    running,
    transitions,
    unbroken,
    write_console,
)
from faults_pty import CONSOLE, Pty

from rollback_console.cli.compose import find_authority
from rollback_console.clock import WallClock
from rollback_console.errors import Refused
from rollback_console.journal.verify import verify
from rollback_console.model.identity import DeploymentId
from rollback_console.model.verdict import TriggerState
from servers.prometheus import Prometheus

RANKER = DeploymentId("production", "ranker")


class JumpingClock(WallClock):
    """The wall's, and as far off as it is told; what is monotonic stays so."""

    def __init__(self) -> None:
        self.off = 0.0

    def now(self) -> float:
        return super().now() + self.off


def _caught_up(console: Live, clock: JumpingClock) -> Callable[[], bool]:
    return lambda: abs(clock.now() - (console.snapshot.evaluated_at or 0.0)) < 3 and not console.snapshot.notice


def _no_negative_time(console: Live) -> None:
    for view in console.snapshot.deployments:
        verdict = view.verdict
        assert verdict is not None
        for left in (verdict.dwell_remaining_s, verdict.hold_remaining_s, verdict.blind_remaining_s):
            assert left is None or left >= 0, verdict
    assert "-0:" not in console.screen
    assert "-1:" not in console.screen


async def test_a_jump_within_the_dwell_counts_what_was_evaluated(
    tmp_path: Path, fakes: tuple[FakePrometheus, FakeMlflow], monkeypatch: pytest.MonkeyPatch
) -> None:
    prometheus, mlflow = fakes
    clock = JumpingClock()
    monkeypatch.setattr("rollback_console.clock.WallClock", lambda: clock)
    settings = write_console(tmp_path, prometheus.url, mlflow.url, dwell="2m", lookback="1h")
    async with running(settings, monkeypatch) as console:
        onset = int(clock.now()) + 1
        prometheus.metrics["error_ratio", "ranker"] = lambda at: 0.5 if at >= onset else 0.001
        await console.until(lambda: console.verdict().state is TriggerState.PENDING, 6)
        clock.off = 60.0
        await console.until(_caught_up(console, clock), 10)
        verdict = console.verdict()
        assert verdict.state is TriggerState.PENDING
        assert verdict.since == onset
        assert verdict.dwell_remaining_s == pytest.approx(120 - (verdict.at - onset), abs=0.01)
        clock.off = 150.0
        await console.until(lambda: console.verdict().state is TriggerState.FIRED, 10)
        assert console.verdict().since == onset + 120
        await console.acts.note("what time is it", RANKER)
        _no_negative_time(console)
    jumps = [body.seconds for _, body in bodies(tmp_path / "journal.db", "clock")]
    assert [round(seconds / 10) for seconds in jumps] == [6, 9]  # the journal says that the wall jumped, and how far
    assert unbroken(transitions(tmp_path / "journal.db", "ranker"))
    assert verify(tmp_path / "journal.db").ok


@pytest.mark.parametrize("seconds", [3600.0, -3600.0, -20.0])
async def test_a_jump_past_everything_known(
    seconds: float, tmp_path: Path, fakes: tuple[FakePrometheus, FakeMlflow], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Further than the look-back reaches, and back: it judges anew by the time there is now, as a console that opens
    there, and says so."""
    prometheus, mlflow = fakes
    clock = JumpingClock()
    monkeypatch.setattr("rollback_console.clock.WallClock", lambda: clock)
    settings = write_console(tmp_path, prometheus.url, mlflow.url, dwell="3s", hold="3s")
    bad: dict[str, list[tuple[float, float]]] = {"ranker": [], "feed": []}
    for name, spans in bad.items():
        prometheus.metrics["error_ratio", name] = lambda at, spans=spans: (
            0.5 if any(a <= at < b for a, b in spans) else 0.001
        )
    async with running(settings, monkeypatch, size=(80, 24)) as console:
        bad["feed"].append((int(clock.now()) + 1, int(clock.now()) + 8))
        await console.until(lambda: console.verdict("feed").state is TriggerState.FIRED, 10)
        clock.off = seconds
        await console.until(_caught_up(console, clock), 15)
        bad["ranker"].append((int(clock.now()) + 1, int(clock.now()) + 3_000))
        for _ in range(10):
            _no_negative_time(console)
            await asyncio.sleep(0.15)  # screens are drawn each second
        await console.until(lambda: console.verdict().state is TriggerState.FIRED, 12)
        clock.off = 0.0
        await console.until(_caught_up(console, clock), 15)
        await console.acts.note("back again", RANKER)
        await console.until(lambda: any(item.kind == "clock" for item in console.snapshot.timeline), 5)
        await console.until(lambda: console.verdict("feed").state is TriggerState.HEALTHY, 15)
        seen = {v.id.name: v.verdict.state for v in console.snapshot.deployments if v.verdict is not None}
        assert {name: state for name, (state, _) in (await cold_states(settings, tmp_path / "cold.db")).items()} == seen
    jumps = [round(body.seconds / 10) for _, body in bodies(tmp_path / "journal.db", "clock")]
    assert jumps == [seconds / 10, -seconds / 10]
    for name in ("ranker", "feed"):
        changes = transitions(tmp_path / "journal.db", name)
        assert changes[-1][1] == seen[name], (name, changes)  # the record ends where the screen does
    assert verify(tmp_path / "journal.db").ok


async def test_two_consoles_of_one_journal_act_at_once(
    tmp_path: Path, fakes: tuple[FakePrometheus, FakeMlflow], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the acts of the screens: one wins; the other is told who executes, and that stands in the journal."""
    prometheus, mlflow = fakes
    settings = write_console(tmp_path, prometheus.url, mlflow.url)
    async with running(settings, monkeypatch) as first:
        other = live_seat(settings, None, command="console")
        other.start(lambda _: None)
        try:
            await find_authority(other, ask=False)
            await first.until(lambda: other.engine.evaluated_at is not None, 10)
            plans = [await first.acts.plan(RANKER), await other.acts.plan(RANKER)]
            assert all(plan.executable for plan in plans)
            ended = await asyncio.gather(
                first.acts.execute(plans[0], "v8 hurts", first.acts.phrase(plans[0])),
                other.acts.execute(plans[1], "v8 hurts too", other.acts.phrase(plans[1])),
                return_exceptions=True,
            )
            assert sorted(type(each) is str for each in ended) == [False, True], ended
            refused = next(each for each in ended if not isinstance(each, str))
            winner = next(each for each in ended if isinstance(each, str))
            assert isinstance(refused, Refused)
            assert "oncall-1" in str(refused), refused
            assert winner in str(refused), refused
            await asyncio.wait_for((first.acts if winner == ended[0] else other.acts).wait(winner), 20)
        finally:
            await other.close()
    assert mlflow.sets == [("ranker", "7")]
    refusals = [body.rule for _, body in bodies(tmp_path / "journal.db", "refusal")]
    assert len(refusals) == 1
    assert winner in refusals[0]


@pytest.mark.real
def test_stopped_for_forty_seconds_on_a_real_prometheus(
    tmp_path: Path, fakes: tuple[FakePrometheus, FakeMlflow], prometheus_server: Callable[..., Prometheus]
) -> None:
    """A recording rule makes the fault begin while the process stands still; afterwards its record has no hole."""
    rules = tmp_path / "rules.yml"
    begins = int(time.time()) + 25
    rules.write_text(
        "groups:\n- name: g\n  interval: 1s\n  rules:\n"
        + "".join(
            f"  - {{record: {metric}, labels: {{deployment: {name}}}, expr: '{promql}'}}\n"
            for name in ("ranker", "feed", "search")
            for metric, promql in (
                ("error_ratio", f"vector(0.001) + (vector(time()) > bool {begins}) * {0.5 if name == 'ranker' else 0}"),
                ("volume", "vector(50)"),
                ("revenue", "vector(100)"),
            )
        )
    )
    server = prometheus_server(rule_files=[rules])
    server.wait_for("error_ratio")
    settings = write_console(tmp_path, server.url, fakes[1].url, timeout="5s", dwell="5s", lookback="5m")
    settings.write_text(settings.read_text().replace("delay: 0s", "delay: 2s"))
    with Pty([*CONSOLE, "--config", str(settings)], environment(tmp_path)) as console:
        console.until("healthy", 20)
        time.sleep(max(0.0, begins - 15 - time.time()))
        console.process.send_signal(signal.SIGSTOP)
        time.sleep(40)  # a closed lid: the server goes on, this process does not
        console.process.send_signal(signal.SIGCONT)
        console.until("FIRED", 15)
        time.sleep(2)
        console.send("q")
        assert console.wait() == 0
    changes = [change for change in transitions(tmp_path / "journal.db", "ranker") if change[2] > begins - 10]
    assert [(before, after) for before, after, _ in changes] == [("healthy", "pending"), ("pending", "fired")]
    assert abs(changes[0][2] - begins) <= 3
    assert changes[1][2] - changes[0][2] == 5
    gaps = [body.seconds for _, body in bodies(tmp_path / "journal.db", "clock")]
    assert gaps == []  # a stop moves no clock
    assert verify(tmp_path / "journal.db").ok
