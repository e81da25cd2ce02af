"""`rollback-console review`: a journal read afterwards, with no backend at all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rollback_console.cli.common import (
    config_option,
    emit_json,
    emit_lines,
    find_journal,
    json_option,
    need_terminal,
    rfc3339,
)
from rollback_console.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rollback_console.actions import Commands
    from rollback_console.model.snapshot import Snapshot


@click.command("review", epilog="Example: rollback-console review ./journal.db")
@click.argument("journal", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--plain", "as_text", is_flag=True, help="Print the timeline instead of opening the screen.")
@config_option
@json_option
def command(journal: Path | None, as_text: bool, config: Path | None, as_json: bool) -> None:
    """Open a journal offline: verified first, then its timeline. No backend, no configuration, no key."""
    path = journal or find_journal(None, config)
    if not path.exists():
        raise UsageError(f"there is no journal at {path}", "name one: rollback-console review JOURNAL")
    from rollback_console.review.timeline import open_review

    review = open_review(path)
    if as_json:
        emit_json(
            {
                "journal": str(path),
                "verified": review.verified,
                "problems": list(review.problems),
                "timeline": [
                    {"seq": i.seq, "at": rfc3339(i.at), "kind": i.kind, "deployment": i.deployment,
                     "operator": i.operator, "text": i.text, "hash": i.hash}
                    for i in review.timeline
                ],
            }
        )  # fmt: skip
        return
    if as_text:
        emit_lines([review.headline])
        emit_lines(f"{rfc3339(i.at)} {i.seq:>5} {i.kind:<10} {i.deployment}  {i.text}" for i in review.timeline)
        return
    need_terminal("`--plain` prints the timeline, `--json` gives it to a script")
    from rollback_console.tui.app import ConsoleApp

    async def start(publish: Callable[[Snapshot], None]) -> Commands:
        from rollback_console.review.desk import ReviewCommands

        publish(review.snapshot)
        return ReviewCommands(review)

    app = ConsoleApp(start, title="rollback-console review", start_on="timeline")
    app.run()
    if app.problem is not None:
        raise app.problem
