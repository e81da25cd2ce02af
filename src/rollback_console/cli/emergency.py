"""`--emergency PATH`: an act goes on with an emergency journal where the journal cannot be written. Break-glass."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rollback_console.cli.common import warn
from rollback_console.errors import JournalError, UsageError
from rollback_console.version import __version__

if TYPE_CHECKING:
    from rollback_console.engine.acts import Acts
    from rollback_console.engine.loop import Engine

_F = TypeVar("_F", bound=Callable[..., Any])


def emergency_option(function: _F) -> _F:
    """`--emergency PATH`, as `emergency: str | None`. `compose.console` heeds it."""
    return click.option(
        "--emergency",
        metavar="PATH",
        help="Break-glass: where the journal cannot be written, go on with one at PATH (`-`: standard output).",
    )(function)


async def stand_in_if_needed(acts: Acts, engine: Engine, place: str, reason: str) -> None:
    """Go on with an emergency journal at `place` if the journal cannot be written now; else nothing is broken."""
    if not reason.strip():
        raise UsageError("an emergency journal needs a reason", "say in one line why it cannot wait: --reason TEXT")
    problem = await _problem(engine)
    if not problem:
        warn("the journal can be written: no emergency journal was begun")
        return
    if engine.writer is not None:
        engine.writer.problem = problem
    path = await acts.break_glass(reason, place)
    after = "keep what was printed" if path == "-" else f"afterwards: rollback-console journal merge {path}"
    warn(f"EMERGENCY JOURNAL {path}: the journal cannot be written ({problem}); {after}")


async def _problem(engine: Engine) -> str:
    """Why the journal cannot be written now, or "": an entry is tried that says who asks."""
    import os
    import socket

    from rollback_console.journal.kinds import Session

    writer = engine.writer
    if writer is None:
        return engine.options.journal_problem
    body = Session(
        event="opened", pid=os.getpid(), host=socket.gethostname(), command=engine.options.command,
        program=f"rollback-console {__version__}",
    )  # fmt: skip
    try:
        await writer.run(lambda: writer.journal.append(body))
    except JournalError as error:
        return str(error)
    return ""
