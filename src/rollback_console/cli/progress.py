"""How far a long command has come, and how long the rest will take: on stderr, never among the facts."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Any

import click

_FIRST_GUESS_S = 1.0  # of work, before a time left is told
_LINE_S = 30.0  # between two lines where no bar can be drawn


class NoBar:
    """Where nobody watches."""

    def come_to(self, done: int) -> None:
        """Nothing to draw."""


class _Pace:
    """The time left by the pace since the first came in: what was read and learned before it is done with, and says
    nothing of how long the rest will take."""

    def __init__(self, length: int) -> None:
        self._length = length
        self._began: tuple[float, int] | None = None  # when the first were done, and how many

    def left(self, done: int) -> str:
        now = time.monotonic()
        if self._began is None and done:
            self._began = now, done
        if self._began is None or done <= self._began[1] or now - self._began[0] < _FIRST_GUESS_S:
            return ""
        pace = (now - self._began[0]) / (done - self._began[1])
        seconds = round(pace * (self._length - done))
        return f"{seconds // 60}m {seconds % 60:02d}s left" if seconds >= 60 else f"{seconds}s left"


class Bar:
    """So many are done, drawn as a bar, and the time left."""

    def __init__(self, drawn: Any, length: int) -> None:
        self._drawn, self._pace = drawn, _Pace(length)
        self._done = 0

    def come_to(self, done: int) -> None:
        """So many are done."""
        self._drawn.update(done - self._done, self._pace.left(done))
        self._done = done


class _Lines:
    """The same as a line every now and then: a CI server's log, which gives up on what is silent for long."""

    def __init__(self, length: int, label: str) -> None:
        self._length, self._label, self._pace, self._said = length, label, _Pace(length), time.monotonic()

    def come_to(self, done: int) -> None:
        """So many are done."""
        left = self._pace.left(done)
        now = time.monotonic()
        if now - self._said >= _LINE_S and done < self._length:
            self._said = now
            with contextlib.suppress(OSError):
                click.echo(f"{self._label}: {done} of {self._length}" + (f", {left}" if left else ""), err=True)


@contextlib.contextmanager
def progress(length: int, label: str, *, as_json: bool, lines: bool = False) -> Iterator[Bar | NoBar | _Lines]:
    """A bar on stderr with the time left: only on a terminal, and not into the lines that are printed there. `lines`:
    elsewhere a line every half minute."""
    if not sys.stderr.isatty() or (as_json and sys.stdout.isatty()):
        yield _Lines(length, label) if lines and not sys.stderr.isatty() else NoBar()
        return
    with click.progressbar(
        length=length, label=label, file=sys.stderr, show_eta=False, update_min_steps=1 if lines else 20,
        item_show_func=lambda left: left,
    ) as drawn:  # fmt: skip
        yield Bar(drawn, length)
