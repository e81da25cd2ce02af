"""A year of a simulated team, reviewed: opening it, scrubbing, searching, and the report of its rollback rate.

The journal is `tests/review/year.py`'s (800 deployments, 60 rollbacks, some 15,000 entries), made for the run. Beside
each figure stands what the machine takes anyway: a bare SQLite scan of the same file, and a key in an app with one
Static.
"""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

from tests.benchmarks.figures import Figure, median, percentile
from tests.benchmarks.terminal import CONSOLE, Pty, home, memory_mb

from review.year import DAYS, SMALL, write_year

_RIGHT, _LEFT = b"\x1b[C", b"\x1b[D"
_MOMENT = b" UTC"  # the scrubber's line, which tells the moment that is shown
_OPENS = 3.0  # times what an app with one Static takes to open
_ANSWERS_MS = 50.0  # a key's p99, as on the live screens
_KEYS = ("an evaluation on", "a change of state on", "a tenth of the year on", "a letter of a search")
_WORDS = (b"rollback", b"conversion", b"delivery", b"false", b"ex-", b"emil")


def review(quick: bool) -> list[Figure]:
    """Open the year, move through it, search it, and count it."""
    with home() as env:
        path = Path(env["TMPDIR"]) / "year.db"
        write_year(path, days=SMALL if quick else DAYS)
        scan, entries = _scan(path)
        floor_open, floor_keys = _floor(env, 60 if quick else 200)
        found = _screen(env, path, 40 if quick else 200)
        report = [_report(env, path) for _ in range(2 if quick else 5)]
    what, scanned = f"a journal of {entries:,} entries", "a bare scan of its rows"
    app, floor = "an app with one Static", (median(floor_keys) * 1000, percentile(floor_keys, 0.99) * 1000)
    figures = [
        Figure("review", f"{what} opened: its incidents on the screen", _ms(found["open"]), "ms", _OPENS,
               floor_open * 1000, app),
        Figure("review", f"{what} opened: verified, every decision made again", _ms(found["verified"]), "ms",
               floor=scan * 1000, floor_is=scanned, note="in a process of its own, beside whoever looks"),
    ]  # fmt: skip
    for name in _KEYS:
        taken = found[name]
        assert isinstance(taken, list)
        p50, p99 = median(taken) * 1000, percentile(taken, 0.99) * 1000
        note = (
            f"p50 {p50:.1f} ms of {len(taken)} keys, {p50 / floor[0]:.1f} times that of {app} just before; its p99:"
            f" {floor[1]:.1f} ms"
        )
        figures.append(Figure("review", f"{what}, {name}: a key's p99", p99, "ms", _ANSWERS_MS, note=note))
    figures.append(Figure("review", f"{what} open: resident memory", found["memory"], "MB"))  # type: ignore[arg-type]
    figures.append(
        Figure("review", f"{what}: `report rollback-rate`", median(report) * 1000, "ms", floor=scan * 1000,
               floor_is=scanned, note="most of it is the journal's verification")
    )  # fmt: skip
    return figures


def _ms(seconds: float | list[float]) -> float:
    assert isinstance(seconds, float)
    return seconds * 1000


def _scan(path: Path) -> tuple[float, int]:
    """Every row read by bare SQLite (seconds), and how many."""
    times = []
    count = 0
    for _ in range(5):
        began = time.perf_counter()
        connection = sqlite3.connect(path)
        count = sum(1 for _ in connection.execute("SELECT * FROM entries ORDER BY seq"))
        connection.close()
        times.append(time.perf_counter() - began)
    return median(times), count


def _floor(env: dict[str, str], presses: int) -> tuple[float, list[float]]:
    """An app with one Static: until it is on the screen, and its keys."""
    app = Pty([sys.executable, str(Path(__file__).parent / "programs" / "one_key.py")], env)
    try:
        app.wait(b"ranker-")
        opened = time.monotonic() - app.began
        return opened, [_paced(app, b"j" if number % 2 else b"k", "▌".encode()) for number in range(presses)]
    finally:
        app.stop()


def _screen(env: dict[str, str], path: Path, presses: int) -> dict[str, float | list[float]]:
    """The review screen on the journal, by keys: within the newest incident, then in the whole of it."""
    found: dict[str, float | list[float]] = {}
    with _reviewing(env, path) as console:
        found["open"] = time.monotonic() - console.began
        console.wait(b"verified:")
        found["verified"] = time.monotonic() - console.began
        time.sleep(1.0)
        console.press(b"\r", _MOMENT)
        time.sleep(1.0)
        found["an evaluation on"] = _along(console, presses)
    with _reviewing(env, path) as console:
        console.wait(b"verified:")
        time.sleep(1.0)
        console.send(b"k")  # the whole journal stands above the newest incident
        time.sleep(0.5)
        console.press(b"\r", _MOMENT)
        time.sleep(1.0)
        found["a tenth of the year on"] = _tenths(console, presses // 2)
        _paced(console, b"1", _MOMENT)
        found["a change of state on"] = list(_turns(console, min(presses // 2, 60)))
        found["a letter of a search"] = _search(console)
        found["memory"] = memory_mb(console.pid)[0]
    return found


@contextlib.contextmanager
def _reviewing(env: dict[str, str], path: Path) -> Iterator[Pty]:
    """The review, with the journal's incidents on the screen."""
    console = Pty([CONSOLE, "review", str(path)], env)
    try:
        console.wait(b"first breach")
        yield console
    finally:
        console.stop()


def _turns(console: Pty, presses: int) -> Iterator[float]:
    """From change to change. Where several fall on one evaluation, the moment stays as it is: no answer is due."""
    for _ in range(presses):
        with contextlib.suppress(TimeoutError):
            yield _paced(console, b"n", _MOMENT, 1.0)


def _tenths(console: Pty, presses: int) -> list[float]:
    """From one tenth of the journal to another, by digits."""
    pick, last, taken = Random(1), b"9", []
    for _ in range(presses):
        last = bytes([pick.choice([each for each in b"012345678" if bytes([each]) != last])])
        taken.append(_paced(console, last, _MOMENT))
    return taken


def _along(console: Pty, presses: int) -> list[float]:
    """Evaluation by evaluation, now and then back."""
    taken, place = [], 0
    for number in range(presses):
        back = place < -8 or (place < 0 and number % 3 == 0)
        place += 1 if back else -1
        taken.append(_paced(console, _RIGHT if back else _LEFT, _MOMENT))
    return taken


def _search(console: Pty) -> list[float]:
    """Words typed letter by letter into the timeline's search, and taken back."""
    taken = []
    for word in _WORDS:
        console.press(b"/", b" of ")
        time.sleep(0.3)
        taken += [_paced(console, bytes([letter]), bytes([letter]) + "█".encode()) for letter in word]
        console.send(b"\x1b")
        time.sleep(0.5)
        console.send(b"\x1b")
        time.sleep(0.5)
    return taken


def _paced(console: Pty, key: bytes, marker: bytes, seconds: float = 5.0) -> float:
    """A key's answer; the next is 50 ms after this one at the earliest."""
    took = console.press(key, marker, seconds)
    time.sleep(max(0.0, 0.05 - took))
    return took


def _report(env: dict[str, str], path: Path) -> float:
    began = time.monotonic()
    subprocess.run([CONSOLE, "report", "rollback-rate", "--journal", str(path), "--json"], env=env, check=True,
                   stdout=subprocess.DEVNULL)  # fmt: skip
    return time.monotonic() - began
