"""Break-glass: a journal that stands in for one that cannot be written, and says so from its first entry on.

An act is never executed without its intent recorded. Where the journal cannot record it (a full disk, media that became
read-only, a damaged file), a person who may can decide to go on with another one: a file elsewhere, or standard output.
It is a chain of its own: its genesis names the journal it stands in for and the last head of it that was known, its
second entry who decided so, and why. Afterwards `journal.merged.merge` takes it into the journal as evidence.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import sqlite3
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from rollback_console.clock import Clock
from rollback_console.errors import JournalError, JournalUnwritable, Refused
from rollback_console.journal import chain as chains
from rollback_console.journal import database
from rollback_console.journal.chain import Row
from rollback_console.journal.create import INSERT, create, first_row
from rollback_console.journal.device import DeviceKey
from rollback_console.journal.entry import Entry, Recorder
from rollback_console.journal.export import jsonl
from rollback_console.journal.kinds import Body, EmergencyBegun, Genesis, StandsIn
from rollback_console.journal.store import Journal
from rollback_console.version import __version__

STDOUT = "-"  # the path that means standard output


def genesis_of(device: DeviceKey, stands_in: StandsIn, *, rehearsal: bool = False) -> Genesis:
    """The first entry of an emergency chain."""
    return Genesis(
        chain=secrets.token_hex(16), program=f"rollback-console {__version__}", device=device.public_openssh(),
        rehearsal=rehearsal, stands_in=stands_in,
    )  # fmt: skip


def open_emergency(
    path: Path, device: DeviceKey, clock: Clock, stands_in: StandsIn, *, rehearsal: bool = False
) -> Journal:
    """An emergency journal at `path` for appending: a new one, or the one that stands in for this journal already.

    Raises Refused when another journal is there, JournalUnwritable when it cannot be made either.
    """
    path = Path(path)
    try:
        if not os.path.lexists(path):
            create(path, device, clock, genesis_of(device, stands_in, rehearsal=rehearsal))
    except database.ERRORS as error:
        raise database.translate(error, path) from error
    except OSError as error:
        raise JournalUnwritable(
            f"the emergency journal {path} cannot be made ({error.strerror or error})",
            "name another place, or `-` for standard output on the command line",
        ) from error
    journal = Journal.open(path, device=device, clock=clock, rehearsal=rehearsal)
    known = stands_in_of(journal)
    if known is None or known.chain != stands_in.chain:
        journal.close()
        raise Refused(f"{path} is no emergency journal of this journal", "name a file that does not exist yet")
    return journal


def stands_in_of(journal: Recorder) -> StandsIn | None:
    """For which journal this one stands in; None for an ordinary one."""
    first = next(iter(journal.entries(limit=1)), None)
    body = first.parsed() if first is not None else None
    return body.stands_in if isinstance(body, Genesis) else None


def statement(stands_in: StandsIn, reason: str, at: float) -> bytes:
    """What the person who breaks the glass signs, RFC 8785 JSON."""
    return chains.canonical(
        {
            "schema": "rollback-console/break-glass/v1",
            "chain": stands_in.chain,
            "seq": stands_in.seq,
            "hash": stands_in.hash,
            "reason": reason,
            "at": round(at, 3),
        }
    )


class PrintedJournal(Journal):
    """An emergency journal in memory whose every entry is printed, as `journal export --format jsonl` prints it, before
    `append` returns. What is printed is the journal: keep it. Blobs are lines of their own (`blob`, `data`)."""

    def __init__(self, device: DeviceKey, clock: Clock, genesis: Genesis, out: TextIO) -> None:
        from rollback_console.journal.schema import migrate

        connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        connection.execute("BEGIN")
        migrate(connection)
        first = first_row(device, clock, genesis)
        connection.execute(INSERT, first)
        connection.execute("COMMIT")
        super().__init__(Path(STDOUT), connection, device, clock, database.BUSY_TIMEOUT_S)
        self._out = out
        self._begin(lambda: self._check_ours(genesis.rehearsal, genesis.chain))
        self._print([], [first])

    def append_all(self, items: Sequence[tuple[Body, str, str]], blobs: Sequence[bytes] = ()) -> tuple[Entry, ...]:
        """As `Journal.append_all`; printed when this returns. Raises JournalUnwritable where it could not be."""
        with self._lock:
            before = self.head()[0]
            entries = super().append_all(items, blobs)
            self._print(blobs, self.rows(before))
        return entries

    def put_blob(self, data: bytes) -> str:
        with self._lock:
            digest = super().put_blob(data)
            self._print([data], [])
        return digest

    def _print(self, blobs: Sequence[bytes], rows: Sequence[Row] | Iterator[Row]) -> None:
        try:
            for data in blobs:
                line = {"blob": chains.digest(data), "data": base64.b64encode(data).decode()}
                self._out.write(json.dumps(line, sort_keys=True, separators=(",", ":")) + "\n")
            self._out.writelines(jsonl(rows))
            self._out.flush()
        except OSError as error:
            raise JournalUnwritable(
                f"the emergency journal cannot be printed ({error.strerror or error})", "name a file instead"
            ) from error

    def _same_file(self) -> bool:
        return True  # there is none


def printed(device: DeviceKey, clock: Clock, stands_in: StandsIn, *, rehearsal: bool = False) -> PrintedJournal:
    """An emergency journal on standard output."""
    return PrintedJournal(device, clock, genesis_of(device, stands_in, rehearsal=rehearsal), sys.stdout)


class StandIn:
    """What a console goes on with: writes to the emergency journal, reads both. Implements `journal.entry.Recorder`.

    The emergency chain's entries are numbered on after the last known one of the journal, in reading alone: a fold sees
    one history. The journal itself is read as far as it can be, and never written.
    """

    def __init__(self, main: Recorder, emergency: Journal, known: int) -> None:
        self.main, self.emergency = main, emergency
        self.known = known  # the last entry of the journal that counts
        self.chain = emergency.chain

    def append(self, body: Body, *, deployment: str = "", operator: str = "") -> Entry:
        return self._moved(self.emergency.append(body, deployment=deployment, operator=operator))

    def append_all(self, items: Sequence[tuple[Body, str, str]], blobs: Sequence[bytes] = ()) -> tuple[Entry, ...]:
        return tuple(self._moved(entry) for entry in self.emergency.append_all(items, blobs))

    def put_live(self, data: bytes, at: float) -> None:
        self.emergency.put_live(data, at)

    def get_live(self) -> tuple[float, bytes] | None:
        return self.emergency.get_live()

    def put_blob(self, data: bytes) -> str:
        return self.emergency.put_blob(data)

    def get_blob(self, digest: str) -> bytes | None:
        found = self.emergency.get_blob(digest)
        if found is None:
            with suppress(JournalError):
                return self.main.get_blob(digest)
        return found

    def entries(self, after: int = 0, kinds: Sequence[str] = (), limit: int | None = None) -> Iterator[Entry]:
        """The journal's up to the last known one, as far as they can be read, then the emergency journal's."""
        count = 0
        if after < self.known:
            with suppress(JournalError):
                for entry in self.main.entries(after, kinds, limit):
                    if entry.seq > self.known:
                        break
                    yield entry
                    count += 1
        rest = None if limit is None else limit - count
        for entry in self.emergency.entries(max(0, after - self.known), kinds, rest):
            yield self._moved(entry)

    def head(self) -> tuple[int, str]:
        seq, hash_ = self.emergency.head()
        return self.known + seq, hash_

    def without_waiting(self, limit_s: float = 0.05) -> AbstractContextManager[None]:
        return self.emergency.without_waiting(limit_s)

    def close(self) -> None:
        self.emergency.close()

    def _moved(self, entry: Entry) -> Entry:
        return replace(entry, seq=self.known + entry.seq)


def begin(
    emergency: Journal,
    stands_in: StandsIn,
    *,
    problem: str,
    reason: str,
    operator: str,
    sign: Callable[[bytes], object] | None = None,
    at: float = 0.0,
) -> Entry:
    """Write who decided to go on without the journal, and why. `sign` is the person's key's (a `PersonSignature`)."""
    person = sign(statement(stands_in, reason, at)) if sign is not None else None
    body = EmergencyBegun.model_validate(
        {"stands_in": stands_in, "problem": problem, "reason": reason, "person": person}
    )
    return emergency.append(body, operator=operator)
