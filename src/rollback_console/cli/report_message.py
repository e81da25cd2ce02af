"""`rollback-console report message`: what stakeholders are told of an incident, in one wording or another."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rollback_console.cli.common import config_option, emit_json, emit_lines, find_journal, journal_option, json_option
from rollback_console.errors import Refused
from rollback_console.model.message import AUDIENCES

if TYPE_CHECKING:
    from rollback_console.model.message import Message, Template


@click.command(
    "message", epilog="Example: rollback-console report message inc-2b1b65ea --template update --audience external"
)
@click.argument("incident", metavar="INCIDENT")
@click.option("--template", default="update", show_default=True, metavar="NAME", help="first-notice, update, resolved.")
@click.option("--audience", type=click.Choice(AUDIENCES), default="internal", show_default=True)
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Write it to a new file, and record that.",
)  # fmt: skip
@click.option("--sent-to", metavar="WHERE", help="Record that it was sent there, word for word.")
@config_option
@journal_option
@json_option
def command(
    incident: str, template: str, audience: str, output: Path | None, sent_to: str | None, config: Path | None,
    journal: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """A message to stakeholders: decision, scope, expected timeline and quantified risk.

    A draft is printed. With --output or --sent-to its very words go into the journal. The settings' `templates:` folder
    holds a team's own wording. JSON: {incident, template, audience, text}.
    """
    if output is not None and output.exists():
        raise Refused(f"{output} exists", "name a new file")
    path = find_journal(journal, config)
    message = draft(path, incident, template, audience, config)
    if output is not None or sent_to:
        asyncio.run(_record(config, journal, message, output, sent_to or ""))
    if as_json:
        emit_json(
            {"incident": message.incident, "template": message.template, "audience": message.audience,
             "text": message.text}
        )  # fmt: skip
    elif output is not None:
        emit_lines([f"written to {output}, and recorded"])
    else:
        emit_lines(message.text.rstrip("\n").splitlines())


def draft(path: Path, incident: str, template: str, audience: str, config: Path | None) -> Message:
    """The message, of the journal at `path` as it is now."""
    from rollback_console.review import messages
    from rollback_console.review.case import case_in
    from rollback_console.review.readable import readable

    chosen = messages.named(messages.with_own(messages.SHIPPED, own_templates(config)), template, audience)
    with readable(path) as chains:
        return messages.draft(case_in(chains, incident), chosen)


def own_templates(config: Path | None) -> tuple[Template, ...]:
    """The team's own wording; none without settings."""
    from rollback_console.cli.common import find_config

    settings = find_config(config)
    if settings is None:
        return ()
    from rollback_console.policy.load import load_settings

    return load_settings(settings).templates


async def _record(
    config: Path | None, journal: Path | None, message: Message, output: Path | None, sent_to: str
) -> None:
    """Into the journal, and into the file. The file is there first, under another name: what could not be written is
    not recorded as written, and what could not be recorded is not left lying about."""
    from rollback_console.cli.compose import desk

    async with desk(config, journal, "report") as acts:
        if output is None:
            await acts.told(message, "sent", sent_to)
            return
        waiting = output.with_name(f".{output.name}.part")
        waiting.write_text(message.text, encoding="utf-8", newline="\n")
        try:
            await acts.told(message, "sent" if sent_to else "written", sent_to or output.name)
            waiting.replace(output)
        finally:
            waiting.unlink(missing_ok=True)
