"""`rollback-console baseline …` and `expect`: what a person declares by hand, and takes back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rollback_console.cli.common import (
    config_option,
    emit_json,
    emit_lines,
    find_journal,
    journal_option,
    json_option,
    rfc3339,
)
from rollback_console.errors import Refused, UsageError
from rollback_console.model.text import plain

if TYPE_CHECKING:
    from rollback_console.engine.acts import Acts
    from rollback_console.engine.declared import Declared
    from rollback_console.model.declared import Exclusion, Expectation

T = TypeVar("T")


@click.group("baseline", epilog="Example: rollback-console baseline list")
def command() -> None:
    """Stretches that a person takes out of every baseline: an incident, a holiday, a drill."""


@command.command(
    "exclude",
    epilog="Example: rollback-console baseline exclude production/checkout-ranker --from 2026-11-20T14:02Z "
    '--to 2026-11-20T15:10Z --reason "bad release of v8"',
)
@click.argument("deployment", required=False, metavar="[ENVIRONMENT/DEPLOYMENT]")
@click.option("--all", "everybody", is_flag=True, help="The whole fleet.")
@click.option("--from", "start", metavar="T", required=True, help="Its beginning: RFC 3339, Unix seconds, or 2h ago.")
@click.option("--to", "end", metavar="T", default="now", show_default=True, help="Its end, not included.")
@click.option("--reason", metavar="TEXT", required=True, help="Why, in one line.")
@config_option
@journal_option
@json_option
def exclude(
    deployment: str | None, everybody: bool, start: str, end: str, reason: str, config: Path | None,
    journal: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """No baseline learns from that stretch, from the next evaluation on. At most 60 days, nothing of the future."""
    if everybody == bool(deployment):
        raise UsageError("whose baselines?", "name one deployment, or say --all")
    low, high = _moment("--from", start), _moment("--to", end)

    async def do(acts: Acts) -> Exclusion:
        return await acts.exclude(low, high, acts.find(deployment) if deployment else None, reason)

    found = asyncio.run(_acting(config, journal, "baseline", do))
    if as_json:
        emit_json(exclusion_facts(found))
    else:
        emit_lines(
            ["excluded " + _exclusion_line(found), f"  back again: rollback-console baseline restore {found.id}"]
        )


@command.command("restore", epilog='Example: rollback-console baseline restore bl-3f2a9c0d --reason "wrong day"')
@click.argument("exclusion", metavar="ID")
@click.option("--reason", metavar="TEXT", required=True, help="Why, in one line.")
@config_option
@journal_option
@json_option
def restore(exclusion: str, reason: str, config: Path | None, journal: Path | None, as_json: bool) -> None:
    """Baselines learn from an excluded stretch again, from the next evaluation on."""
    found = asyncio.run(_acting(config, journal, "baseline", lambda acts: acts.restore(exclusion, reason)))
    if as_json:
        emit_json(exclusion_facts(found))
    else:
        emit_lines(["put back " + _exclusion_line(found)])


@command.command("list", epilog="Example: rollback-console baseline list --json")
@config_option
@journal_option
@json_option
def listed(config: Path | None, journal: Path | None, as_json: bool) -> None:
    """What was excluded by hand, those that were put back too. Needs no network and no key.

    JSON: [{id, from, to, deployments (null: all), reason, by, at, restored_at, restored_by}].
    """
    found = sorted(
        declared_in(find_journal(journal, config)).exclusions.values(), key=lambda each: (each.start, each.id)
    )
    if as_json:
        emit_json([exclusion_facts(each) for each in found])
    else:
        emit_lines([_exclusion_line(each) for each in found] or ["nothing was excluded by hand"])


@click.command(
    "expect",
    epilog='Example: rollback-console expect production/checkout-ranker --for 40m --reason "index rebuild"',
)
@click.argument("deployments", nargs=-1, metavar="[ENVIRONMENT/DEPLOYMENT]...")
@click.option("--for", "length", metavar="D", help="For so long from now: 40m, 2h.")
@click.option("--reason", metavar="TEXT", default="", help="Why, in one line.")
@click.option("--end", is_flag=True, help="It is over before its time.")
@click.option("--list", "listing", is_flag=True, help="The changes that go on now.")
@config_option
@journal_option
@json_option
def expect(
    deployments: tuple[str, ...], length: str | None, reason: str, end: bool, listing: bool, config: Path | None,
    journal: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """A change is expected (maintenance, an experiment): alarms and advice wait meanwhile, the state does not.

    At most 14 days. With --end: over now, for the deployments named or by its ID.
    JSON: [{id, deployments, until, reason, by, at, ended_at, ended_by}].
    """
    if sum((length is not None, end, listing)) != 1:
        raise UsageError("for how long?", "say --for 40m; or --end, or --list")
    if listing:
        _list_expected(find_journal(journal, config), as_json)
        return
    if not deployments:
        raise UsageError("of which deployment?", "name one or several")
    if not reason.strip():
        raise UsageError("it needs a reason", 'say why in one line: --reason "index rebuild"')
    seconds = _length(length) if length is not None else 0.0

    async def do(acts: Acts) -> list[Expectation]:
        if end:
            return await _end(acts, deployments, reason)
        return [await acts.expect([acts.find(name) for name in deployments], seconds, reason)]

    found = asyncio.run(_acting(config, journal, "expect", do))
    if as_json:
        emit_json([expectation_facts(each) for each in found])
    else:
        emit_lines([("over: " if end else "expected: ") + _expectation_line(each) for each in found])


async def _end(acts: Acts, named: Sequence[str], reason: str) -> list[Expectation]:
    """End what goes on with the deployments named, or under the ids named."""
    folded = acts.engine.folded
    going_on = folded.declared.going_on(acts.engine.clock.now()) if folded is not None else ()
    ids: dict[str, None] = {}
    for name in named:
        if name.startswith("ch-") and "/" not in name:
            ids[name] = None
            continue
        deployment = str(acts.find(name))
        mine = [each.id for each in going_on if deployment in each.deployments]
        if not mine:
            raise Refused(f"no change that somebody declared goes on with {deployment}", "see `expect --list`")
        ids.update(dict.fromkeys(mine))
    return [await acts.end_expected(each, reason) for each in ids]


def _list_expected(path: Path, as_json: bool) -> None:
    import time

    found = declared_in(path).going_on(time.time())
    if as_json:
        emit_json([expectation_facts(each) for each in found])
    else:
        emit_lines([_expectation_line(each) for each in found] or ["nothing is expected by hand now"])


async def _acting(config: Path | None, journal: Path | None, what: str, do: Callable[[Acts], Awaitable[T]]) -> T:
    from rollback_console.cli.compose import desk

    async with desk(config, journal, what) as acts:
        return await do(acts)


def declared_in(path: Path) -> Declared:
    """What the journal at `path` says was declared."""
    from rollback_console.engine.declared import KINDS, Declared
    from rollback_console.journal.merged import told
    from rollback_console.journal.store import Journal

    found = Declared()
    with Journal.open_read_only(path) as book:
        for entry in told(book, KINDS):
            found.take(entry)
    return found


def exclusion_facts(found: Exclusion) -> dict[str, Any]:
    """As JSON."""
    return {
        "id": found.id, "from": rfc3339(found.start), "to": rfc3339(found.end),
        "deployments": list(found.deployments) or None, "reason": found.reason, "by": found.by,
        "at": rfc3339(found.made_at), "restored_at": rfc3339(found.restored_at),
        "restored_by": found.restored_by or None,
    }  # fmt: skip


def expectation_facts(found: Expectation) -> dict[str, Any]:
    """As JSON."""
    return {
        "id": found.id, "deployments": list(found.deployments), "until": rfc3339(found.until), "reason": found.reason,
        "by": found.by, "at": rfc3339(found.made_at), "ended_at": rfc3339(found.ended_at),
        "ended_by": found.ended_by or None,
    }  # fmt: skip


def _exclusion_line(found: Exclusion) -> str:
    who = ", ".join(found.deployments) or "the whole fleet"
    back = f" (put back by {found.restored_by or 'somebody'})" if found.restored_at is not None else ""
    return (
        f"{found.id}  {_utc(found.start)} to {_utc(found.end)}  {who}  {found.by or 'somebody'}: {found.reason}{back}"
    )


def _expectation_line(found: Expectation) -> str:
    who = ", ".join(found.deployments)
    return f"{found.id}  until {_utc(found.until)}  {who}  {found.by or 'somebody'}: {found.reason}"


def _utc(at: float) -> str:
    from rollback_console.journal.timeline import clock_text

    return clock_text(at)


def _moment(option: str, text: str) -> float:
    """A time, `now`, or how long ago. Raises UsageError."""
    import time

    from rollback_console.model.times import NotATime, moment
    from rollback_console.policy.quantities import parse_duration

    word = text.strip()
    if word == "now":
        return time.time()
    with contextlib.suppress(ValueError):
        if not word.isdigit():
            return time.time() - parse_duration(word.removesuffix("ago").strip())
    try:
        return moment(word, dates=True)
    except NotATime as error:
        what = f"{option} {plain(text, 60)!r} {error.message}"
        raise UsageError(what, "give 2026-11-20T14:02:00Z, 2026-11-20, or 2h for two hours ago") from None


def _length(text: str) -> float:
    from rollback_console.policy.quantities import parse_duration

    try:
        return parse_duration(text)
    except ValueError:
        raise UsageError(f"--for {plain(text, 60)!r} is not a time", "give 40m, 2h or 1d") from None
