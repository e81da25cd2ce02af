"""`rollback-console report postmortem`: a draft with all that the journal knows of an incident."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rollback_console.cli.common import config_option, emit_json, emit_lines, find_journal, journal_option, json_option
from rollback_console.errors import Refused

if TYPE_CHECKING:
    from rollback_console.review.postmortem import Checked


@click.command("postmortem", epilog="Example: rollback-console report postmortem inc-2b1b65ea --output postmortem.md")
@click.argument("incident", metavar="INCIDENT")
@click.option("--format", "form", type=click.Choice(("md",)), default="md", help="Markdown.")
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="A new file (else printed)."
)
@config_option
@journal_option
@json_option
def command(
    incident: str, form: str, output: Path | None, config: Path | None, journal: Path | None, as_json: bool
) -> None:
    """What the journal knows of an incident, and apart from it what a person must fill in.

    Verified first, and said so at the top. The same journal gives the same bytes. INCIDENT: its id, or a deployment's
    name for its last one. Exit 1 where the journal does not verify. JSON: {incident, verified, headline, markdown}.
    """
    path = find_journal(journal, config)
    checked, name, text = draft(path, incident)
    if output is not None:
        write_new(output, text)
    if as_json:
        emit_json({"incident": name, "verified": checked.ok, "headline": checked.headline, "markdown": text})
    elif output is not None:
        emit_lines([f"the draft of {name} is in {output}; its last section asks for what only a person knows"])
    else:
        emit_lines(text.splitlines())
    if not checked.ok:
        click.get_current_context().exit(1)


def draft(path: Path, incident: str) -> tuple[Checked, str, str]:
    """Whether the journal at `path` may be believed, the incident's id, and the draft."""
    from rollback_console.review.case import case_in
    from rollback_console.review.postmortem import Checked, postmortem
    from rollback_console.review.readable import readable
    from rollback_console.review.replay_verifying import check

    with readable(path) as chains:
        found = check(path)
        made = f", {found.decisions:,} decisions made again, the same" if found.decisions else ""
        differing = tuple(f"entry {each.seq} {each.deployment}: {each.text}" for each in found.differences)
        headline = found.words + (made if found.verified else "")
        checked = Checked(found.verified, headline, found.problems, differing)
        case = case_in(chains, incident)
    return checked, case.incident.id, postmortem(case, checked)


def write_new(path: Path, text: str) -> None:
    """A new file. Raises Refused where one is: somebody may have filled it in."""
    try:
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except FileExistsError:
        raise Refused(f"{path} exists", "name a new file: somebody may have filled that one in") from None
