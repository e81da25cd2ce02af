"""`rollback-console review`: a journal read afterwards, with no backend at all."""

from __future__ import annotations

import asyncio
import gc
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from rollback_console.model.text import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rollback_console.commands import Commands
    from rollback_console.model.review import Checked, Difference, Episode, Supposed
    from rollback_console.model.snapshot import Snapshot, TimelineItem
    from rollback_console.review.replay import Replay
    from rollback_console.review.scrub import Scrub


@click.command("review", epilog="Example: rollback-console review ./journal.db")
@click.argument("journal", required=False, type=click.Path(path_type=Path))
@click.option("--plain", "as_text", is_flag=True, help="Print incidents and timeline instead of opening the screen.")
@click.option("--what-if", "supposed", metavar="SETTINGS", help="Print what `dwell=2m, margin=3%` would have done.")
@click.option("--incident", metavar="ID", help="With --what-if: in this incident (default: the last).")
@click.option("--theme", type=click.Choice(["auto", "dark", "light", "mono"]), default="auto")
@config_option
@json_option
def command(
    journal: Path | None,
    as_text: bool,
    supposed: str | None,
    incident: str | None,
    theme: str,
    config: Path | None,
    as_json: bool,
) -> None:
    """Open a journal offline: its incidents, and its state at any moment. No backend, no configuration, no key.

    JOURNAL is a journal's file, a bundle (packed or unpacked), lines of an export, or what was downloaded from a hub.
    It is verified first, and every decision in it is made again; what cannot be believed is said.
    """
    path = journal or find_journal(None, config)
    if supposed is not None:
        _suppose(path, supposed, incident, as_json)
    elif incident is not None:
        raise UsageError("--incident goes with --what-if", "the screen opens any of them")
    elif as_json or as_text:
        _told(path, as_json)
    else:
        _open(path, theme, config)


def _open(path: Path, theme: str, config: Path | None) -> None:
    from rollback_console.review.sources import open_source

    source = open_source(path)  # what is no journal at all is said before a screen opens
    try:
        need_terminal("`--plain` prints the timeline, `--json` gives it to a script")
    except UsageError:
        source.close()
        raise
    from rollback_console.tui.review_app import ReviewApp

    waiting: list[asyncio.Task[None]] = []

    async def start(publish: Callable[[Snapshot], None]) -> Commands:
        from rollback_console.review.desk import ReviewCommands
        from rollback_console.review.scrub import Scrub

        scrub = Scrub(source, publish)
        scrub.begin()
        waiting.append(asyncio.create_task(_settle(scrub)))
        from rollback_console.cli.own_judging import own_judging

        commands = ReviewCommands(scrub)
        commands.judges = own_judging(config, path)
        return commands

    app = ReviewApp(start, theme=theme)
    app.run()
    if app.problem is not None:
        raise app.problem


async def _settle(scrub: Scrub) -> None:
    """Once all is read, it stays: the collector need not go through it while keys wait (as `common.settling`)."""
    await scrub.known()
    gc.collect()
    gc.freeze()


def _told(path: Path, as_json: bool) -> None:
    """Incidents, decisions and timeline as text, or for a script."""
    from rollback_console.review.episodes import episodes
    from rollback_console.review.replay import Replay

    with Replay.open(path) as replay:
        checked = _checked(path)
        found = episodes(replay.index)
        differing = {each.seq: each for each in checked.differences}
        if as_json:
            emit_json(_document(path, checked, found, list(_items(replay)), differing))
            return
        emit_lines(_headlines(checked))
        emit_lines(_episode_text(each, differing.values(), replay) for each in reversed(found))
        emit_lines(_item_text(each, differing) for each in _items(replay))


def _checked(path: Path) -> Checked:
    """Verified and decided again, with how far that is on a terminal's standard error."""
    from rollback_console.review.replay_verifying import check

    if not sys.stderr.isatty():
        return check(path)
    said = -1

    def told(done: float) -> None:
        nonlocal said
        if int(done * 100) > said:
            said = int(done * 100)
            print(f"\rverifying {said} %", end="", file=sys.stderr, flush=True)

    try:
        return check(path, told)
    finally:
        if said >= 0:
            print("\r" + " " * 20 + "\r", end="", file=sys.stderr, flush=True)


def _items(replay: Replay) -> Iterator[TimelineItem]:
    """Every entry as a line, ticks too; those of a merged emergency journal behind the entry that took it in."""
    from rollback_console.journal.timeline import item

    for place in range(len(replay.index)):
        entry = replay.index.entry(place)
        if entry is not None:
            yield item(entry)


def _headlines(checked: Checked) -> Iterator[str]:
    yield checked.words
    if not checked.verified:
        yield from (f"  problem: {problem}" for problem in checked.problems)
    yield from (f"  warning: {warning}" for warning in checked.warnings[:5])
    line = f"decisions made again: {checked.decisions:,} the same, {len(checked.differences):,} otherwise"
    yield line + (f", {checked.untold:,} cannot be" if checked.untold else "")
    for each in checked.differences:
        yield f"  differs: entry {each.seq} {each.deployment}: {each.text}"


def _episode_text(episode: Episode, differences: Any, replay: Replay) -> str:
    incident = episode.incident
    ended = rfc3339(episode.ends) if episode.ends is not None else "not recovered"
    members = ", ".join(str(each) for each in incident.members)
    first, last = replay.index.seqs[episode.first], replay.index.seqs[episode.last]
    differing = sum(1 for each in differences if first <= each.seq <= last)
    moved = f", rolled back to {episode.moved_to}" if episode.moved_to else ""
    flag = f", {differing} decisions differ" if differing else ""
    what = f"{incident.attribution.kind}{moved}{flag}"
    return f"incident {incident.id} {rfc3339(episode.begins)} to {ended}: {members}: {what}"


def _item_text(item: TimelineItem, differing: dict[int, Difference]) -> str:
    flag = "≠ " if item.kind == "transition" and item.seq in differing else ""
    return f"{rfc3339(item.at)} {item.seq:>5} {item.kind:<10} {item.deployment}  {flag}{item.text}"


def _document(
    path: Path,
    checked: Checked,
    found: tuple[Episode, ...],
    items: list[TimelineItem],
    differing: dict[int, Difference],
) -> dict[str, Any]:
    def line(item: TimelineItem) -> dict[str, Any]:
        facts = {
            "seq": item.seq, "at": rfc3339(item.at), "kind": item.kind, "deployment": item.deployment,
            "operator": item.operator, "text": item.text, "hash": item.hash,
        }  # fmt: skip
        if item.kind == "transition":
            facts["differs"] = item.seq in differing
        return facts

    return {
        "journal": str(path),
        "verified": checked.verified,
        "problems": list(checked.problems),
        "warnings": list(checked.warnings),
        "decisions": {
            "same": checked.decisions,
            "differ": [
                {"seq": each.seq, "at": rfc3339(each.at), "deployment": each.deployment, "what": each.text}
                for each in checked.differences
            ],
            "not_recomputed": checked.untold,
        },
        "incidents": [_episode_facts(each) for each in found],
        "timeline": [line(item) for item in items],
    }


def _episode_facts(episode: Episode) -> dict[str, Any]:
    incident = episode.incident

    def when(at: float | None) -> str | None:
        return rfc3339(at) if at is not None else None

    return {
        "id": incident.id, "members": [str(each) for each in incident.members], "first_breach": when(episode.begins),
        "fired": when(episode.fired_at), "rollback_asked": when(episode.decided_at),
        "recovered": when(episode.ends), "rolled_back_to": episode.moved_to or None,
        "attribution": str(incident.attribution.kind), "reasons": list(incident.attribution.reasons),
        "sentence": incident.sentence, "transitions": episode.transitions, "judged": episode.judged or None,
    }  # fmt: skip


def _suppose(path: Path, words: str, incident: str | None, as_json: bool) -> None:
    """Another setting in one incident, for each of its members."""
    from rollback_console.review.episodes import episodes, window
    from rollback_console.review.replay import Replay
    from rollback_console.review.whatif import suppose

    with Replay.open(path) as replay:
        found = episodes(replay.index)
        named = [each for each in found if incident is None or each.incident.id == incident]
        if not named:
            which = f"no incident {plain(incident, 60)}" if incident else "no incident"
            raise UsageError(f"{path} holds {which}", "`review --plain` lists them")
        episode = named[-1]
        results = [
            suppose(replay, str(each), window(replay.index, episode), words) for each in episode.incident.members
        ]
    if as_json:
        emit_json({"incident": episode.incident.id, "what_if": [_supposed_facts(each) for each in results]})
    else:
        emit_lines([f"incident {episode.incident.id}", *(line for each in results for line in _supposed_lines(each))])


def _supposed_facts(found: Supposed) -> dict[str, Any]:
    return {
        "deployment": str(found.deployment), "setting": dict(found.setting),
        "degraded_since": rfc3339(found.began) if found.began is not None else None,
        "fired": rfc3339(found.fired_at) if found.fired_at is not None else None,
        "would_fire": rfc3339(found.would_fire_at) if found.would_fire_at is not None else None,
        "certain": found.certain, "cost": found.cost, "would_cost": found.would_cost, "unit": found.unit,
        "notes": list(found.notes),
    }  # fmt: skip


def _supposed_lines(found: Supposed) -> Iterator[str]:
    def fires(at: float | None) -> str:
        return f"fires {rfc3339(at)}" if at is not None else "does not fire"

    def cost(amount: float | None) -> str:
        return f"{amount:,.0f} {found.unit}" if amount is not None else "a cost not known"

    words = ", ".join(f"{key}={value}" for key, value in found.setting)
    yield f"  {found.deployment} as recorded: {fires(found.fired_at)}, {cost(found.cost)} by then"
    sure = "" if found.certain else " (not certain)"
    yield f"  {found.deployment} with {words}: {fires(found.would_fire_at)}, {cost(found.would_cost)} by then{sure}"
    yield from (f"    {note}" for note in found.notes)
