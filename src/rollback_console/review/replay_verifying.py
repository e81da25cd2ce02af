"""Is a source what was signed, and does each of its decisions come out again: in this process, or in one of its own
that tells how far it is, so that a screen answers keys meanwhile.

`python -m rollback_console.review.replay_verifying PATH` prints `{"done": 0.4}` again and again, then what was found.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from rollback_console.engine.declared import KINDS, Declared
from rollback_console.engine.record import Blobs, redecide
from rollback_console.errors import ConsoleError, OtherEngine
from rollback_console.journal.against import Against
from rollback_console.journal.entry import Entry
from rollback_console.journal.kinds import TransitionRecorded
from rollback_console.journal.merged import KIND as MERGE
from rollback_console.journal.merged import expanded
from rollback_console.journal.persons import People
from rollback_console.journal.verify import Verification, verify
from rollback_console.model.review import Checked, Difference
from rollback_console.model.rules import DeploymentRule
from rollback_console.model.text import plain
from rollback_console.review.sources import Part, open_source

_MOST = 500  # differences and problems that are told one by one
_WARNINGS = 20
_TOLD = 0.99  # as far as the walk itself goes


def check(path: Path, told: Callable[[float], None] = lambda _: None) -> Checked:
    """Verify what stands at `path`, and make its decisions again. `told` gets how far it is, from 0 to 1. Raises
    UsageError, InputError or JournalError where there is nothing to verify."""
    source = open_source(path)
    found = Checked(done=1.0, verified=True)
    try:
        for part in source.parts():
            found = _with(found, part, told)
        unread = tuple(source.problems)
    finally:
        source.close()
    if unread and found.verified:  # it holds together, and yet there is more in it than could be read
        found = replace(found, verified=False, problems=(*found.problems, *unread)[:_MOST])
    return found


def _with(found: Checked, part: Part, told: Callable[[float], None]) -> Checked:
    """One more chain."""
    deciding = Deciding()

    def walked(entries: int) -> None:
        told(min(_TOLD, (found.entries + entries) / max(1, found.entries + part.entries)))

    if part.why_not:
        bad = (*found.problems, part.why_not)
        return replace(found, verified=False, problems=bad, entries=found.entries + part.entries)
    against = Against() if part.witnesses else None
    if against is not None:
        against.ask(part.witnesses)
    one = verify(
        part.rows, recompute=deciding, blobs=part.blobs, others=part.others, against=against,
        people=People(parse=_keys_in), told=walked,
    )  # fmt: skip
    return _added(found, one, deciding)


def _added(found: Checked, one: Verification, deciding: Deciding) -> Checked:
    first = found.first_bad if found.first_bad is not None else one.first_bad_seq
    return Checked(
        done=1.0,
        verified=found.verified and one.ok,
        entries=found.entries + one.entries,
        first_bad=first,
        bad=(*found.bad, *(each.seq for each in one.problems if each.seq is not None))[:_MOST],
        problems=(*found.problems, *(plain(each, 300) for each in one.problems))[:_MOST],
        warnings=(*found.warnings, *(plain(each, 300) for each in one.warnings))[:_WARNINGS],
        decisions=found.decisions + one.decisions - len(deciding.differences) - deciding.untold,
        differences=(*found.differences, *deciding.differences)[:_MOST],
        untold=found.untold + one.not_recomputed + deciding.untold,
    )


class Deciding:
    """Makes each decision again as verification walks by; what differs is collected here, and is no doubt about what
    was signed."""

    def __init__(self) -> None:
        self.differences: list[Difference] = []
        self.untold = 0
        self._declared = Declared()

    def __call__(self, entry: Entry, blobs: Blobs) -> str | None:
        if entry.kind in KINDS:
            self._declared.take(entry)
        elif entry.kind == MERGE:
            for merged in expanded(entry, blobs, KINDS):
                self._declared.take(merged)
        else:
            self._decided(entry, blobs)
        return None

    def _decided(self, entry: Entry, blobs: Blobs) -> None:
        try:
            again = redecide(entry, blobs, _rules)
        except OtherEngine:
            again = None
        if again is None or (again.verdict is None and again.difference):
            self.untold += 1
            return
        text, body = again.difference, entry.parsed()
        if not text and isinstance(body, TransitionRecorded):
            text = self._declared.difference(entry.deployment, body.at, body.declared) or ""
        if text:
            where = plain(entry.deployment, 200)
            self.differences.append(Difference(-1, entry.seq, entry.at, where, True, plain(text, 300)))


@lru_cache(maxsize=64)
def _rules(data: bytes, digest: str) -> tuple[DeploymentRule, ...]:
    from rollback_console.policy.load import parse_policy

    return tuple(parse_policy(data, f"policy {digest[:12]}").rules)


def _keys_in(data: bytes) -> dict[str, dict[bytes, float | None]] | None:
    """Whose keys are whose by a recorded roster; None for one that this program cannot read."""
    from rollback_console.authorize.roster_view import from_roster
    from rollback_console.policy.load import parse_roster

    try:
        people = from_roster(parse_roster(data, "the recorded roster").roster).operators
    except ConsoleError:
        return None
    return {each.id: dict.fromkeys(each.blobs(), each.valid_until) for each in people}


# ── in a process of its own


async def checking(path: Path, told: Callable[[float], None]) -> Checked:
    """As `check`, in another process: `told` is called here, on this event loop. What keeps that process from telling
    is a problem like any other."""
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", __name__, str(path),
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            limit=64 << 20,
        )  # fmt: skip
    except OSError as error:
        return Checked(done=1.0, problems=(f"it could not be verified: no process could be begun ({error})",))
    assert process.stdout is not None  # noqa: S101 - it was asked for
    try:
        async for line in process.stdout:
            document = json.loads(line)
            if "done" in document and len(document) == 1:
                told(float(document["done"]))
            else:
                return _checked(document)
    except (ValueError, KeyError, TypeError) as error:
        return Checked(done=1.0, problems=(f"it could not be verified: {plain(error, 200)}",))
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
    return Checked(done=1.0, problems=("it could not be verified: the process that did it ended",))


def _checked(document: dict[str, Any]) -> Checked:
    """What `main` printed, as it was."""
    lists = {name: tuple(document[name]) for name in ("problems", "warnings", "bad")}
    found = tuple(Difference(**each) for each in document["differences"])
    return Checked(**{**document, **lists, "differences": found})


def main(words: list[str]) -> int:
    """The other process's whole program."""

    def told(done: float) -> None:
        print(json.dumps({"done": round(done, 4)}), flush=True)

    try:
        found = check(Path(words[0]), told)
    except ConsoleError as error:
        found = Checked(done=1.0, problems=(plain(error.message, 300),))
    except BrokenPipeError:
        return 0
    print(json.dumps(asdict(found)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
