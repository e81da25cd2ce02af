"""`rollback-console judge`: what people make of an incident or a rollback afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import fields, replace
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
    warn,
)
from rollback_console.errors import UsageError
from rollback_console.model.judgement import COUNTS_AS, Docket, FollowUp, Judgement, Subject, WantedTag

if TYPE_CHECKING:
    from rollback_console.engine.acts import Acts

T = TypeVar("T")
_ANSWERS = ("root_cause", "counts_as", "expected", "actual", "gate", "published")  # options that stand as they are
_WORDS = {"too-tight": "too tight", "too-wide": "too wide"}


@click.command(
    "judge",
    epilog='Example: rollback-console judge inc-2b1b65ea --root-cause "performance degradation" --right',
)
@click.argument("subject", required=False, metavar="[SUBJECT]")
@click.option("--root-cause", metavar="WORDS", help="One of the five, or the team's own.")
@click.option("--right", "right", flag_value="right", help="The decision was right.")
@click.option("--wrong", "right", flag_value="wrong", help="It was not.")
@click.option("--cannot-tell", "right", flag_value="cannot tell", help="Nobody can say.")
@click.option("--counts-as", type=click.Choice(COUNTS_AS), help="How rates take it.")
@click.option("--expected", metavar="TEXT", help="What was expected of it.")
@click.option("--actual", metavar="TEXT", help="What came of it.")
@click.option("--deviation", "deviations", metavar="TEXT", multiple=True, help="From the plan, with the reason.")
@click.option("--margins", type=click.Choice(("held", "too-tight", "too-wide")), help="Did the margins hold?")
@click.option("--gate", metavar="WORDS", help="The validation gate that would have caught it.")
@click.option("--lesson", "lessons", metavar="TEXT", multiple=True, help="What was learned.")
@click.option("--published", metavar="URL", help="Where the analysis stands.")
@click.option("--supersedes", type=int, metavar="ENTRY", help="The judgement that this one replaces.")
@click.option("--follow-up", metavar="TEXT", help="Something to do; with --owner and --due.")
@click.option("--owner", metavar="NAME", help="Who does it.")
@click.option("--due", metavar="DAY", help="Until when: 2026-12-24.")
@click.option("--done", metavar="ID", help="A follow-up is done.")
@click.option("--drop", metavar="ID", help="A follow-up is dropped; with --reason.")
@click.option("--reason", metavar="TEXT", default="", help="Why it is dropped, or how it was done.")
@click.option("--tags", is_flag=True, help="Set the tags in the registry that are pending.")
@click.option("--show", is_flag=True, help="What was judged, superseded ones too.")
@click.option("--list", "listing", is_flag=True, help="What waits for judgement, and what is overdue.")
@config_option
@journal_option
@json_option
def command(**words: Any) -> None:
    """Judge an incident, an execution or a move (move:ENTRY): root cause, outcome, margins, lessons.

    Every judgement is signed; a later one supersedes an earlier one (--supersedes) and erases nothing. What it does not
    say stays as it was; "" clears it. --list and --show need no key and no network.

    JSON: the judgement with all its answers, seq, by, signed and tags_pending; a follow-up; with --list {waiting,
    overdue, open, tags_pending}; with --show {subject, kind, title, judgements, follow_ups, tags_pending}.
    """
    subject, config, journal, as_json = (words.pop(name) for name in ("subject", "config", "journal", "as_json"))
    if words["listing"] or words["show"]:
        path = find_journal(journal, config)
        if words["listing"]:
            _list(path, as_json)
        else:
            _show(path, _named(subject), as_json)
        return
    if words["done"] or words["drop"]:
        ended = _run(config, journal, lambda acts: _end(acts, words))
        _tell_follow_up(ended, as_json)
    elif words["tags"]:
        _tell_tags(_run(config, journal, lambda acts: acts.set_tags()), as_json)
    elif words["follow_up"] is not None:
        made = _run(config, journal, lambda acts: _follow_up(acts, _named(subject), words))
        _tell_follow_up(made, as_json)
    else:
        judgement, left = _run(config, journal, lambda acts: _judge(acts, _named(subject), words))
        _tell(judgement, left, as_json)


def _named(subject: str | None) -> str:
    if not subject:
        raise UsageError("what is judged?", "`rollback-console judge --list` names what waits")
    return subject


def _run(config: Path | None, journal: Path | None, do: Callable[[Acts], Awaitable[T]]) -> T:
    async def go() -> T:
        from rollback_console.cli.compose import desk

        async with desk(config, journal, "judge") as acts:
            return await do(acts)

    return asyncio.run(go())


async def _judge(acts: Acts, subject: str, words: Mapping[str, Any]) -> tuple[Judgement, tuple[WantedTag, ...]]:
    """The judgement that was written, and the tags that are still pending."""
    docket = await acts.docket()
    known = docket.subject(subject)
    before = docket.judgement(known.id) if known is not None else None
    seq = words["supersedes"]
    base = before if before is not None and before.seq == seq else Judgement(subject)
    said = replace(base, subject=subject, supersedes=seq or 0)
    answers: dict[str, Any] = {name: words[name] for name in (*_ANSWERS, "right") if words[name] is not None}
    if words["margins"] is not None:
        answers["margins"] = _WORDS.get(words["margins"], words["margins"])
    answers |= {name: tuple(words[name]) for name in ("deviations", "lessons") if words[name]}
    if not answers:
        raise UsageError(
            "nothing is said of it", "answer at least one question, such as --root-cause, --right, --lesson"
        )
    written = await acts.judge(replace(said, **answers))
    return written, tuple(tag for tag in (await acts.docket()).pending if tag.subject == written.subject)


async def _follow_up(acts: Acts, subject: str, words: Mapping[str, Any]) -> FollowUp:
    if not words["owner"] or not words["due"]:
        raise UsageError("a follow-up has an owner and a day", "give --owner NAME and --due 2026-12-24")
    return await acts.follow_up(subject, words["follow_up"], words["owner"], words["due"])


async def _end(acts: Acts, words: Mapping[str, Any]) -> FollowUp:
    name = words["done"] or words["drop"]
    return await acts.end_follow_up(name, words["reason"], dropped=bool(words["drop"]))


# -- what is printed --------------------------------------------------------------------------------------------------


def _read(path: Path) -> tuple[Docket, tuple[Judgement, ...], float]:
    """The docket, every judgement, and the journal's last time."""
    from rollback_console.review.docket import docket
    from rollback_console.review.judgements import every
    from rollback_console.review.readable import readable

    with readable(path) as chains:
        book = chains[0]
        seq, _ = book.head()
        at = max((entry.at for entry in book.entries(seq - 1)), default=0.0)
        return docket(book), every(book), at


def _list(path: Path, as_json: bool) -> None:
    import time

    found, _, last_at = _read(path)
    overdue = found.overdue(_day(max(time.time(), last_at)))
    waiting = [subject for name in found.waiting if (subject := found.subject(name)) is not None]
    if as_json:
        emit_json(
            {
                "waiting": [_subject_facts(each) for each in waiting],
                "overdue": [follow_up_facts(each) for each in overdue],
                "open": [follow_up_facts(each) for each in found.follow_ups if each.state == "open"],
                "tags_pending": [_tag_facts(each) for each in found.pending],
            }
        )
        return
    emit_lines([f"{len(waiting)} wait for judgement" + ("" if waiting else ": everything that is over was judged")])
    emit_lines(f"  {each.id:<16} {_utc(each.began_at)}  {each.title}{_belongs(each)}" for each in waiting)
    emit_lines([f"{len(overdue)} follow-ups are overdue"] if overdue else [])
    emit_lines(f"  {_follow_up_line(each)}" for each in overdue)
    if found.pending:
        emit_lines([f"{len(found.pending)} tags wait for the registry: rollback-console judge --tags"])


def _belongs(subject: Subject) -> str:
    return f" (of {subject.incident})" if subject.incident else ""


def _show(path: Path, name: str, as_json: bool) -> None:
    from rollback_console.engine.judging import find_subject

    found, every, _ = _read(path)
    subject = find_subject(found, name)
    mine = [each for each in every if each.subject == subject.id]
    follow_ups = [each for each in found.follow_ups if each.incident == subject.id]
    if as_json:
        emit_json(
            _subject_facts(subject)
            | {"judgements": [judgement_facts(each) for each in mine]}
            | {"follow_ups": [follow_up_facts(each) for each in follow_ups]}
            | {"tags_pending": [_tag_facts(each) for each in found.pending if each.subject == subject.id]}
        )
        return
    emit_lines([f"{subject.id}: {subject.title}{_belongs(subject)}"])
    if not mine:
        emit_lines(["not judged yet"])
    known = 0
    for each in mine:
        standing = "" if each is mine[-1] else " (superseded)"
        unseen = f" (made without knowing of entry {known})" if known and each.supersedes != known else ""
        emit_lines([f"entry {each.seq}, {_utc(each.at)}, {each.by or 'nobody named'}{standing}{unseen}"])
        emit_lines(f"  {line}" for line in judgement_lines(each))
        known = each.seq
    emit_lines(f"  {_follow_up_line(each)}" for each in follow_ups)


def judgement_lines(judgement: Judgement) -> list[str]:
    """What a judgement says, a line each."""
    told = [
        ("root cause", judgement.root_cause), ("the decision was", judgement.right),
        ("counts as", judgement.counts_as), ("expected", judgement.expected), ("actual", judgement.actual),
        *(("deviation", each) for each in judgement.deviations), ("margins", judgement.margins),
        ("gate that would have caught it", judgement.gate), *(("lesson", each) for each in judgement.lessons),
        ("published", judgement.published),
    ]  # fmt: skip
    return [f"{name}: {value}" for name, value in told if value]


def _tell(judgement: Judgement, left: tuple[WantedTag, ...], as_json: bool) -> None:
    if as_json:
        emit_json(judgement_facts(judgement) | {"tags_pending": [_tag_facts(each) for each in left]})
    else:
        signed = f"signed with {judgement.signed}" if judgement.signed else "not signed"
        emit_lines([f"judged {judgement.subject} in entry {judgement.seq}, {signed}"])
        emit_lines(f"  {line}" for line in judgement_lines(judgement))
    if left:
        warn(f"{len(left)} tags are not in the registry yet: `rollback-console judge --tags` sets them later")


def _tell_follow_up(follow_up: FollowUp, as_json: bool) -> None:
    if as_json:
        emit_json(follow_up_facts(follow_up))
    else:
        emit_lines([_follow_up_line(follow_up)])


def _tell_tags(done: tuple[tuple[WantedTag, str], ...], as_json: bool) -> None:
    if as_json:
        emit_json([_tag_facts(tag) | {"problem": problem or None} for tag, problem in done])
    else:
        emit_lines([f"{sum(not problem for _, problem in done)} of {len(done)} tags are set"])
        emit_lines(f"  {_tag_line(tag)}" + (f": {problem}" if problem else "") for tag, problem in done)
    if any(problem for _, problem in done):
        click.get_current_context().exit(3)


def judgement_facts(judgement: Judgement) -> dict[str, Any]:
    """As JSON: every field under its own name; what was not said is null or empty."""
    facts: dict[str, Any] = {each.name: getattr(judgement, each.name) for each in fields(judgement)}
    facts = {name: list(value) if isinstance(value, tuple) else value for name, value in facts.items()}
    return {name: None if value == "" else value for name, value in facts.items()} | {"at": rfc3339(judgement.at)}


def follow_up_facts(follow_up: FollowUp) -> dict[str, Any]:
    """As JSON."""
    facts: dict[str, Any] = {each.name: getattr(follow_up, each.name) for each in fields(follow_up)}
    facts = {name: None if value == "" else value for name, value in facts.items()}
    return facts | {"at": rfc3339(follow_up.at), "ended_at": rfc3339(follow_up.ended_at)}


def _subject_facts(subject: Subject) -> dict[str, Any]:
    return {
        "subject": subject.id, "kind": subject.kind, "title": subject.title,
        "deployments": [str(each) for each in subject.deployments], "began_at": rfc3339(subject.began_at),
        "ended_at": rfc3339(subject.ended_at), "incident": subject.incident or None,
    }  # fmt: skip


def _tag_facts(tag: WantedTag) -> dict[str, Any]:
    return {"model": tag.model, "version": tag.version, "key": tag.key, "value": tag.value, "subject": tag.subject}


def _tag_line(tag: WantedTag) -> str:
    return f"{tag.model} v{tag.version}: {tag.key} = {tag.value}"


def _follow_up_line(follow_up: FollowUp) -> str:
    ended = "" if follow_up.state == "open" else f" ({follow_up.state} by {follow_up.ended_by or 'somebody'})"
    return f"{follow_up.id}  {follow_up.due or '-'}  {follow_up.owner or '-'}: {follow_up.what}{ended}"


def _utc(at: float) -> str:
    from rollback_console.journal.timeline import clock_text

    return clock_text(at)


def _day(at: float) -> str:
    return _utc(at)[:10]
