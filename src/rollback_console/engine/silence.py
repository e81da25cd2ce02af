"""Silence is evidence: while a recorder runs and nothing is written for a while, an entry says just that.

Without it, a quarter of an hour without entries is a quarter of an hour in which somebody may have cut entries out of a
copy, a process hung, or nothing happened. Seldom seen: a calm fleet's samples are recorded every five minutes, so it is
written where evaluations fail or take long. About 0.7 KB each, at most 96 a day with the default.
"""

from __future__ import annotations

from collections.abc import Callable

from rollback_console.clock import Clock
from rollback_console.engine.writer import Writer
from rollback_console.errors import JournalError
from rollback_console.journal.chain import nanoseconds
from rollback_console.journal.kinds import Checkpointed

_LOOKS = 6  # in the time that makes a silence


class Silence:
    """How long nothing was written to a journal, by whatever process, as this one sees it. Lives on the journal's
    thread."""

    def __init__(self, writer: Writer, clock: Clock, quiet_s: float, deployments: int) -> None:
        self._writer, self._clock, self._quiet_s, self._deployments = writer, clock, quiet_s, deployments
        self._head = (0, "")
        self._since = clock.monotonic()
        self._evaluations = 0

    def look(self) -> None:
        """Write a checkpoint if the head is what it was `quiet_s` seconds ago. Raises `JournalError`."""
        journal, now = self._writer.journal, self._clock.monotonic()
        head = journal.head()
        if head != self._head:
            self._moved(head, now)
        elif now - self._since >= self._quiet_s:
            body = Checkpointed(
                head_seq=head[0], head=head[1], quiet_s=round(now - self._since, 3),
                evaluations=self._writer.evaluations - self._evaluations, deployments=self._deployments,
                wall=str(nanoseconds(self._clock.now())), mono=str(nanoseconds(now)),
            )  # fmt: skip
            entry = journal.append(body)
            self._moved((entry.seq, entry.hash), now)

    def _moved(self, head: tuple[int, str], now: float) -> None:
        self._head, self._since, self._evaluations = head, now, self._writer.evaluations


async def keep_silence(
    writer: Writer, clock: Clock, quiet_s: float, deployments: int, recording: Callable[[], bool],
    tidy: Callable[[], None] = lambda: None,
) -> None:  # fmt: skip
    """Look now and then, as long as the console runs, and keep the journal tidy; only who records writes."""
    silence = Silence(writer, clock, quiet_s, deployments)
    while True:
        await clock.sleep(quiet_s / _LOOKS)
        if recording():
            try:
                await writer.run(silence.look)
                await writer.run(tidy)
            except JournalError as error:
                writer.problem = str(error)
