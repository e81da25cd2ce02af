"""Judging one's own journal while it is reviewed: each act opens the console's desk on it, and closes it again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rollback_console.cli.common import find_config, find_journal
from rollback_console.errors import ConsoleError

if TYPE_CHECKING:
    from rollback_console.engine.acts import Acts
    from rollback_console.model.judgement import Docket, FollowUp, Judgement
    from rollback_console.model.message import Message


def own_judging(config: Path | None, journal: Path) -> OwnJudging | None:
    """Who judges the journal at `journal`; None where it is not the one that the settings name."""
    try:
        settings = find_config(config)
        if settings is None or find_journal(None, settings).resolve() != journal.resolve():
            return None
    except ConsoleError:
        return None
    return OwnJudging(settings, journal)


class OwnJudging:
    """Implements `commands.Judges`. Nothing is asked on the terminal: a screen is on it."""

    def __init__(self, settings: Path, journal: Path) -> None:
        self._settings, self._journal = settings, journal

    async def docket(self) -> Docket:
        async with self._desk() as acts:
            return await acts.docket()

    async def judge(self, judgement: Judgement) -> Judgement:
        async with self._desk() as acts:
            return await acts.judge(judgement)

    async def follow_up(self, subject: str, what: str, owner: str, due: str) -> FollowUp:
        async with self._desk() as acts:
            return await acts.follow_up(subject, what, owner, due)

    async def end_follow_up(self, follow_up: str, reason: str = "", *, dropped: bool = False) -> FollowUp:
        async with self._desk() as acts:
            return await acts.end_follow_up(follow_up, reason, dropped=dropped)

    async def drafts(self, incident: str) -> tuple[Message, ...]:
        async with self._desk() as acts:
            return await acts.drafts(incident)

    async def told(self, message: Message, how: str, to: str = "") -> None:
        async with self._desk() as acts:
            await acts.told(message, how, to)

    @asynccontextmanager
    async def _desk(self) -> AsyncIterator[Acts]:
        from rollback_console.cli.compose import desk

        async with desk(self._settings, self._journal, "review", ask=False) as acts:
            yield acts
