"""The screen under load: a key's answer, the processor's share, bytes to the terminal, memory."""

from __future__ import annotations

import contextlib
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from random import Random

from tests.benchmarks.figures import Figure, median, percentile
from tests.benchmarks.fleets import write_settings
from tests.benchmarks.terminal import CONSOLE, Pty, cpu_seconds, home, memory_mb

from servers.processes import Server

_ROOT = Path(__file__).resolve().parent.parent.parent
_CURSOR = "▌".encode()  # stands beside the selected row, and moves with it
_READY = b"ranker-"
_BAD = 5  # degraded deployments: then every evaluation is journaled


def keys(quick: bool) -> list[Figure]:
    """A key's answer while 1,000 x 6 are polled, decided and recorded every 2 s: the real program, journal on."""
    with home() as env:
        floor = _floor(env, 4 if quick else 15)
        with _polling(env, 1000) as console:
            latencies = _press(console, 8 if quick else 30)
    note = (
        f"{len(latencies)} presses of j and k, 50 ms apart; evaluations every 2 s, {_BAD} deployments degraded. "
        f"A one-Static app just before: {percentile(floor, 0.99) * 1000:.1f} ms"
    )
    what = "a key while 1,000 x 6 are polled"
    return [
        Figure("keys", f"{what}: p99", percentile(latencies, 0.99) * 1000, "ms", 50.0, note=note),
        Figure("keys", f"{what}: p95", percentile(latencies, 0.95) * 1000, "ms"),
        Figure("keys", f"{what}: p50", median(latencies) * 1000, "ms"),
    ]


def drill(quick: bool) -> list[Figure]:
    """A key's answer in a drill at 60x: four evaluations a second, each recorded."""
    with home() as env:
        floor = _floor(env, 4 if quick else 10)
        console = Pty([CONSOLE, "rehearse", "demo", "--speed", "60"], env)
        try:
            console.wait(b"nothing here is real")
            console.press(b"\r", b"oncall")  # keys act from here on: the first states are shown before keys load
            time.sleep(12.0)  # the best operator plays beside it, at a lower priority, and is done
            latencies = _press(console, 8 if quick else 30, rows=8)
        finally:
            console.stop()
    note = f"{len(latencies)} presses; a one-Static app just before: {percentile(floor, 0.99) * 1000:.1f} ms"
    return [
        Figure("drill", "a key in a drill at 60x: p99", percentile(latencies, 0.99) * 1000, "ms", 50.0, note=note),
        Figure("drill", "a key in a drill at 60x: p50", median(latencies) * 1000, "ms"),
    ]


def rows(quick: bool) -> list[Figure]:
    """1,000 live rows, all new each second, then none new: the screen alone."""
    seconds = 6.0 if quick else 20.0
    with home() as env:
        floor = _floor(env, seconds / 2)
        with _rows(env, 1000, 1.0) as console:
            time.sleep(3.0)
            cpu, sent = _share(console, seconds)
            latencies = _press(console, seconds)
        with _rows(env, 1000, 0.0) as console:
            time.sleep(3.0)
            idle, idle_sent = _share(console, seconds)
        paused, paused_sent = _paused(env, seconds)
    return [
        Figure("rows", "1,000 live rows: processor", cpu, "% of a core", 4.0),
        Figure(
            "rows", "1,000 live rows: a key's p95", percentile(latencies, 0.95) * 1000, "ms", 20.0,
            note=f"a one-Static app just before: {percentile(floor, 0.95) * 1000:.1f} ms",
        ),
        Figure("rows", "1,000 live rows: to the terminal", sent, "KiB/s", 16.0),
        Figure("rows", "idle, 1,000 rows: processor", idle, "% of a core", 1.0, note=f"{idle_sent:.2f} KiB/s"),
        Figure("rows", "idle, demo paused: processor", paused, "% of a core", 1.0, note=f"{paused_sent:.2f} KiB/s"),
    ]  # fmt: skip


def memory(quick: bool) -> list[Figure]:
    """Resident memory of the demo after a minute, and how it grows with the fleet."""
    with home() as env:
        demo = Pty([CONSOLE, "demo"], env)
        try:
            demo.wait(b"healthy")
            time.sleep(10 if quick else 60)
            resident, most = memory_mb(demo.pid)
        finally:
            demo.stop()
        grown = {}
        for deployments in (1000, 3000):
            with _polling(env, deployments) as console:
                time.sleep(10 if quick else 40)
                grown[deployments] = memory_mb(console.pid)[0]
    each = (grown[3000] - grown[1000]) / 2000 * 1024
    straight = grown[1000] - each * 1000 / 1024
    return [
        Figure("memory", "demo, 14 deployments: resident", resident, "MB", 90.0, note=f"at most {most:.0f} MB"),
        Figure("memory", "1,000 deployments: resident", grown[1000], "MB"),
        Figure("memory", "3,000 deployments: resident", grown[3000], "MB"),
        Figure("memory", "each deployment more", each, "KiB", note=f"a straight line meets 0 at {straight:.0f} MB"),
    ]


def _floor(env: dict[str, str], seconds: float) -> list[float]:
    """The same keys in an app with one Static: what the machine and Textual take whatever the console does."""
    app = Pty([sys.executable, str(Path(__file__).parent / "programs" / "one_key.py")], env)
    try:
        app.wait(_READY)
        return _press(app, seconds)
    finally:
        app.stop()


def _press(console: Pty, seconds: float, rows: int = 60) -> list[float]:
    """Press j and k every 50 ms; j more often, so that the list scrolls too, but never past `rows`: where a list ends
    a key changes nothing, and there is nothing to wait for."""
    found = []
    end = time.monotonic() + seconds
    pick = Random(1)
    depth = 0
    while time.monotonic() < end:
        down = depth < 1 or (depth < rows and pick.random() < 0.6)
        depth += 1 if down else -1
        took = console.press(b"j" if down else b"k", _CURSOR)
        found.append(took)
        time.sleep(max(0.0, 0.05 - took))
    return found


def _share(console: Pty, seconds: float) -> tuple[float, float]:
    """(% of one core, KiB/s to the terminal) over `seconds`."""
    began, used, sent = time.monotonic(), cpu_seconds(console.pid), console.written
    time.sleep(seconds)
    took = time.monotonic() - began
    return (cpu_seconds(console.pid) - used) / took * 100, (console.written - sent) / 1024 / took


def _paused(env: dict[str, str], seconds: float) -> tuple[float, float]:
    demo = Pty([CONSOLE, "demo"], env)
    try:
        demo.wait(b"oncall")  # keys act from here on: the first states are shown before keys and journal load
        demo.press(b" ", b"paused")
        time.sleep(8.0)  # the notice that says so goes away by itself
        return _share(demo, seconds)
    finally:
        demo.stop()


@contextlib.contextmanager
def _rows(env: dict[str, str], deployments: int, every: float) -> Iterator[Pty]:
    command = [sys.executable, "-m", "tests.benchmarks.programs.rows", str(deployments), str(every)]
    console = Pty(command, {**env, "PYTHONPATH": str(_ROOT)})
    try:
        console.wait(_READY)
        yield console
    finally:
        console.stop()


@contextlib.contextmanager
def _polling(env: dict[str, str], deployments: int) -> Iterator[Pty]:
    """The live console on a fake Prometheus that is a process of its own; past its first states."""
    folder = Path(env["TMPDIR"]) / f"polling-{deployments}"
    folder.mkdir()
    command = [sys.executable, "-m", "tests.benchmarks.programs.fake_prometheus"]
    server = Server(
        lambda port: [*command, str(port), str(deployments), str(_BAD)],
        folder / "fake.log",
        ready=_answers,
        env={"PYTHONPATH": str(_ROOT)},
    )
    try:
        console = Pty([CONSOLE, "--config", str(write_settings(folder, server.url, deployments))], env)
        try:
            console.wait(b"FIRED")
            time.sleep(5.0)
            yield console
        finally:
            console.stop()
    finally:
        server.stop()


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query?query=vector(1)", timeout=1).close()
        return True
    return False
