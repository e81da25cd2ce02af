"""Walk a journal's chain and signatures, and name the first entry that is not what was signed.

Streams: memory does not grow with the journal. Needs neither Textual nor pydantic, no configuration and no key but the
one in the first entry; a kind that this program has never heard of verifies like any other.

What no walk can see: entries cut off at the end (only what others saw shows that: `journal.against`), and a whole
journal made anew with another key (name the device you expect, or the chain).
"""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from rollback_console.errors import ConsoleError, JournalError, OtherEngine, UsageError
from rollback_console.journal import chain as chains
from rollback_console.journal import database
from rollback_console.journal.chain import Row
from rollback_console.journal.device import public_key, signed_by
from rollback_console.journal.diagnose import Expected, What, diagnose
from rollback_console.journal.findings import Finding, Findings
from rollback_console.journal.persons import People
from rollback_console.journal.segments import KIND as SEGMENT
from rollback_console.journal.segments import closed, file_digest
from rollback_console.journal.segments import opened as segments_of
from rollback_console.model.value import dataclass

if TYPE_CHECKING:
    from rollback_console.journal.against import Against
    from rollback_console.journal.entry import Entry

Blobs = Callable[[str], bytes | None]
Recompute = Callable[["Entry", Blobs], str | None]

_TOLD = 250  # entries between two words on how far the walk is
_REMEMBERED = 10_000  # digests of blobs already checked
_DECLARATIONS = ("exclusion", "expected", "merge")  # by hand; a decision says what it knew of them
# Where entries name blobs. A kind that is not here names none, or is newer than this program.
BLOB_FIELDS: dict[str, tuple[str, ...]] = {
    "tick": ("blob",),
    "policy": ("digest",),
    "transition": ("tick", "policy"),
    "request": ("plan_blob",),
    "walk": ("digest",),
    "merge": ("blob",),
}


@dataclass(frozen=True, slots=True)
class Verification:
    """What a walk found. `first_bad_seq` is the first number whose entry is not what was signed, or is missing.

    `warnings` do not make it bad: blobs that retention dropped, guards that somebody removed.
    """

    ok: bool
    entries: int
    first_bad_seq: int | None
    problems: tuple[Finding, ...]
    warnings: tuple[Finding, ...] = ()
    suppressed: int = 0  # problems beyond the first MOST
    chain: str = ""
    device: str = ""  # OpenSSH public key, as the first entry says it
    rehearsal: bool = False
    head: tuple[int, str] = (0, "")
    blobs_missing: int = 0
    decisions: int = 0  # transitions recomputed
    persons: int = 0  # signatures of people that were checked
    witnessed: int = 0  # receipts, heads and copies it was held against
    not_recomputed: int = 0  # transitions whose samples or policy are not here, or that another engine decided


def verify(
    source: Path | Iterable[Row],
    *,
    devices: Collection[str] | None = None,
    chain: str | None = None,
    recompute: Recompute | None = None,
    blobs: Blobs | None = None,
    against: Against | None = None,
    others: Callable[[], Iterable[str]] | None = None,
    people: People | None = None,
    told: Callable[[int], None] | None = None,
) -> Verification:
    """Verify a journal's file, or rows from elsewhere (`export.read_jsonl`).

    `devices`: public keys (OpenSSH lines) one of which must have signed; without it the first entry's is taken at its
    word. `chain`: the chain id it must be. `recompute` is called for every `transition` that verifies (and
    for what people declared, which later ones say they knew) and returns what
    is wrong with it, or None, or raises OtherEngine where it cannot tell; `blobs` serves it when `source` is rows.
    `people`: checks what people signed, with the roster; without it, signatures and statements alone are checked.
    `against`: what others saw of it; `others`, called after the walk: what else is wrong with a bundle. `told` is
    called every few hundred entries with how many were walked: a walk may take long. Raises UsageError when there is
    no such file; a file that is no journal is a problem, not an error.
    """
    walk = _Walk(devices, chain, recompute, against)
    walk.people, walk.told = people or walk.people, told
    if not isinstance(source, Path):
        walk.blobs = blobs
        for row in source:
            walk.step(row)
        for message in others() if others is not None else ():
            walk.problem(None, message, "bundle")
        return walk.result()
    if not source.is_file():
        raise UsageError(f"there is no journal at {source}", "check the path, or name one with --journal")
    opened: list[sqlite3.Connection] = []
    walk.blobs = _Blobs(opened)
    try:
        path = source
        try:
            found, own = segments_of(source)
            opened.append(own)
            for path in (segment.path for segment in found):
                opened.append(database.connect_read_only(path))
                _walk_file(walk, opened[-1], path)
            path, walk.file = source, source
            _walk_file(walk, own, source)
        except database.ERRORS as error:
            walk.problem(None, database.translate(error, path).message)
        except JournalError as error:
            walk.problem(None, str(error))
    finally:
        for connection in opened:
            connection.close()
    return walk.result()


def _walk_file(walk: _Walk, connection: sqlite3.Connection, path: Path) -> None:
    before = len(walk.found.problems)
    try:
        version = database.check_format(connection, path)
        _check_tables(walk, connection, path, version)
    except database.ERRORS as error:
        walk.problem(None, database.translate(error, path).message)
        return
    except JournalError as error:
        walk.problem(None, error.message)
        return
    if len(walk.found.problems) > before:
        return
    try:
        _walk_rows(walk, connection, path)
    except database.ERRORS as error:
        walk.bad(walk.expected.seq, f"it cannot be read ({error}); nothing after it was looked at", "damaged")
    except JournalError as error:
        walk.problem(None, str(error))


def _walk_rows(walk: _Walk, connection: sqlite3.Connection, path: Path) -> None:
    """All rows, a page at a time: a read transaction as long as the walk would hold up the writers."""
    query = f"{database.SELECT} WHERE seq > ? ORDER BY seq LIMIT ?"
    after, before = -(2**63), walk.entries
    while True:
        try:
            page = database.fetch(connection, path, query, (after, database.PAGE))
        except database.ERRORS:
            page = _one_readable(connection, query, after)
        for row in page:
            walk.step(Row._make(row))
        if page:
            if not isinstance(page[-1][1], int) or page[-1][1] <= after:
                walk.bad(walk.expected.seq, "the table's order is damaged", "damaged")
                return
            after = page[-1][1]
            continue
        ((stored,),) = database.fetch(connection, path, "SELECT count(*) FROM entries")
        if stored == walk.entries - before:
            return
        if not database.fetch(connection, path, "SELECT 1 FROM entries WHERE seq > ? LIMIT 1", (after,)):
            reached = f"{stored} entries are stored, {walk.entries - before} can be reached in order"
            walk.bad(walk.expected.seq, reached, "damaged")
            return


def _one_readable(connection: sqlite3.Connection, query: str, after: int) -> list[Any]:
    """A page failed: one row then, and if its text is not UTF-8, so that the bytes can be looked at all the same."""
    try:
        return connection.execute(query, (after, 1)).fetchall()
    except sqlite3.OperationalError as error:
        if "decode" not in str(error):
            raise
    connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
    try:
        return connection.execute(query, (after, 1)).fetchall()
    finally:
        connection.text_factory = str


def _check_tables(walk: _Walk, connection: sqlite3.Connection, path: Path, version: int) -> None:
    """Every column is covered, and nothing stands between the rows and who reads them."""
    kinds = dict(database.fetch(connection, path, "SELECT name, type FROM sqlite_master"))
    columns = {row[1] for row in database.fetch(connection, path, "PRAGMA table_xinfo(entries)")}
    if kinds.get("entries") != "table" or not columns >= set(chains.COLUMNS):
        walk.problem(None, "it has no table `entries` with the columns of a journal")
    elif extra := columns - set(chains.COLUMNS):
        walk.problem(None, f"entries has columns that no signature covers: {', '.join(sorted(extra))}")
    missing = [name for name in ("entries_no_update", "entries_no_delete", "entries_append") if name not in kinds]
    if missing:
        walk.warn(None, f"somebody removed the append-only guards {', '.join(missing)}")
    if version > database.SCHEMA_VERSION:
        walk.warn(None, f"it was made by a newer program (schema {version}); entries are verified all the same")


class _Blobs:
    """Blobs of a chain's open files: None where there is none, ValueError where the bytes are not the digest's."""

    def __init__(self, connections: list[sqlite3.Connection]) -> None:
        self._connections = connections

    def __call__(self, digest: str) -> bytes | None:
        from rollback_console.journal.blobs import unpack

        found = None
        for connection in self._connections:
            try:
                found = connection.execute("SELECT size, data FROM blobs WHERE digest = ?", (digest,)).fetchone()
            except database.ERRORS as error:
                raise ValueError(f"cannot be read ({error})") from error
            if found is not None:
                break
        if found is None:
            return None
        data = unpack(*found)
        if data is None or chains.digest(data) != digest:
            raise ValueError("is not what its digest says")
        return data


class _Walk:
    """The state of one walk: what the next entry must be, and what was found."""

    def __init__(
        self, devices: Collection[str] | None, chain: str | None, recompute: Recompute | None, against: Against | None
    ) -> None:
        self.expected = Expected(seq=1, prev="", chain=None)
        self.entries = 0
        self.found = Findings()
        self._asked_chain = chain
        self._against = against
        self.blobs: Blobs | None = None
        self._devices = {_bare(device) for device in devices} if devices is not None else None
        self._recompute = recompute
        self._key: Ed25519PublicKey | None = None
        self._device = ""
        self._rehearsal = False
        self._missing = 0
        self._decisions = 0
        self._not_recomputed = 0
        self._head = (0, "")
        self._checked: OrderedDict[str, bool] = OrderedDict()
        self.people = People()
        self.file: Path | None = None
        self.told: Callable[[int], None] | None = None
        self._digests: dict[str, tuple[int | None, Any]] = {}

    def step(self, row: Row) -> None:
        """One entry, the next in the table's order."""
        self.entries += 1
        if self.told is not None and self.entries % _TOLD == 0:
            self.told(self.entries)
        if self._key is None and not self._begin(row):
            return
        body = self._check(row)
        if body is None:
            return
        if row.kind in (SEGMENT, "retention") and isinstance(body, dict):
            self._segment(row, body)
        for message in self.people.problems(row, body, self._blob_or_none):
            self.bad(row.seq, message, "person")
        if self.blobs is not None and row.kind in BLOB_FIELDS:
            self._check_blobs(row, body)
        if self._recompute is not None and row.kind == "transition" and isinstance(body, dict):
            self._check_decision(row, body)
        elif self._recompute is not None and row.kind in _DECLARATIONS:
            from rollback_console.journal.reading import entry_of

            with suppress(ConsoleError):  # a merged journal that is none is named where its blob is checked
                self._recompute(entry_of(row), self._blob_or_none)  # what decisions after it say they knew

    def _segment(self, row: Row, body: dict[str, Any]) -> None:
        """Which digest each closed file has, by the entry after it, or by the retention that changed it last."""
        if row.kind == SEGMENT:
            self._digests[str(body.get("before"))] = (row.seq, body.get("digest"))
        else:
            files = body.get("files") or ()
            self._digests.update({str(each["name"]): (row.seq, each["digest"]) for each in files})

    def _check_digests(self) -> None:
        """Entries in a closed file are covered one by one; its digest covers the file as it was put away."""
        for segment in closed(self.file) if self.file is not None else ():
            seq, digest = self._digests.get(segment.path.name, (None, None))
            if digest is not None and file_digest(segment.path) != digest:
                self.warn(seq, f"the file {segment.path.name} is not as it was closed; its entries are checked each")

    def _begin(self, row: Row) -> bool:
        """The first row: whose key, which chain. False when it cannot say, and nothing can be verified with it."""
        try:
            if chains.malformed(row) or row.kind not in ("genesis", SEGMENT):
                raise ValueError("it is not a genesis entry")
            body = chains.parse_body(row.body)
            if row.kind == SEGMENT:
                if (body["last_seq"] + 1, body["last"]) != (row.seq, row.prev):
                    raise ValueError("it is not the first entry after the one that it names")
                self.expected.seq, self.expected.prev = row.seq, row.prev
                before = f"entries 1 to {row.seq - 1} are in files that are not here, the last of them {body['before']}"
                self.warn(row.seq, f"{before}: what is here is verified from {row.seq} on")
            self._device, self._rehearsal = str(body["device"]), body.get("rehearsal") is True
            self._key = public_key(self._device)
            if self._devices is not None and _bare(self._device) not in self._devices:
                self.bad(row.seq, "the journal was signed by another device than the ones named", "replaced")
            self.expected.chain = str(body["chain"])
            if self._asked_chain is not None and self.expected.chain != self._asked_chain:
                self.bad(row.seq, f"this is the chain {self.expected.chain}, not {self._asked_chain}", "replaced")
        except (ValueError, KeyError, TypeError, AttributeError, JournalError) as error:
            if self.found.first_bad is None:
                gone = isinstance(row.seq, int) and row.seq > 1
                why = f"the first entry does not say whose journal this is ({error}); nothing can be verified"
                self.bad(1, why, "removed" if gone else "changed")
            self._key = None
            return False
        return True

    def _check(self, row: Row) -> Any:
        """The body's value when the entry is what was signed, in its place; else None, and what is wrong is noted."""
        assert self._key is not None  # noqa: S101 - `step` saw to it
        expected = self.expected
        try:
            if (
                chains.malformed(row) is None
                and row.seq == expected.seq
                and row.prev == expected.prev
                and row.chain == expected.chain
                and chains.row_hash(row) == row.hash
                and signed_by(self._key, row.hash, row.signature)
            ):
                value = chains.parse_body(row.body)
                expected.move_on(row, row.hash)
                expected.doubtful = False
                self.found.sound(row)
                self._head = (row.seq, row.hash)
                if self._against is not None:
                    self._against.sound(row, self._key, self.found.problem)
                return value
        except ValueError:
            pass  # not UTF-8, or not canonical: `diagnose` says which
        self.found.entry(row, expected, diagnose(row, expected, self._key))
        return None

    def _check_blobs(self, row: Row, body: Any) -> None:
        assert self.blobs is not None  # noqa: S101 - the caller looked
        for field in BLOB_FIELDS[row.kind]:
            digest = body.get(field) if isinstance(body, dict) else None
            if not isinstance(digest, str) or digest in self._checked:
                continue
            self._checked[digest] = True
            if len(self._checked) > _REMEMBERED:
                self._checked.popitem(last=False)
            try:
                if self.blobs(digest) is None:
                    self._missing += 1
                    self.warn(row.seq, f"its {field}, blob {digest}, is not here (retention may have dropped it)")
            except ValueError as error:
                self.bad(row.seq, f"its {field}, blob {digest}, {error}", "blob")

    def _check_decision(self, row: Row, body: Any) -> None:
        from rollback_console.journal.reading import entry_of  # pydantic: only where decisions are recomputed

        assert self._recompute is not None  # noqa: S101 - the caller looked
        if any(self._blob_or_none(str(body.get(field))) is None for field in BLOB_FIELDS["transition"]):
            self._not_recomputed += 1  # which blob, and why, is said where blobs are checked
            return
        try:
            message = self._recompute(entry_of(row), self._blob_or_none)
        except OtherEngine as error:
            self._not_recomputed += 1
            self.warn(row.seq, f"its decision was {error.message}")
            return
        except ConsoleError as error:
            message = error.message
        self._decisions += 1
        if message:
            self.bad(row.seq, f"its decision does not recompute: {message}", "decision")

    def _blob_or_none(self, digest: str) -> bytes | None:
        try:
            return self.blobs(digest) if self.blobs is not None else None
        except ValueError:
            return None  # noted where the blob is checked

    def bad(self, seq: int, message: str, what: What = "changed") -> None:
        """An entry is bad: the lowest number is the first."""
        self.found.problem(seq, message, what)

    def problem(self, seq: int | None, message: str, what: What = "damaged") -> None:
        self.found.problem(seq, message, what)

    def warn(self, seq: int | None, message: str) -> None:
        self.found.warn(seq, message)

    def result(self) -> Verification:
        found = self.found
        if self.entries == 0 and not found.problems:
            self.bad(1, "there is no entry: a journal begins with its genesis", "removed")
        found.end()
        self._check_digests()
        if self._against is not None:
            last = self._head[0] if found.first_bad is None else self.expected.seq - 1
            self._against.end(self.expected.chain or "", last, self._key, found.problem)
        return Verification(
            ok=not found.problems, entries=self.entries, first_bad_seq=found.first_bad, problems=tuple(found.problems),
            warnings=tuple(found.warnings), suppressed=found.suppressed, chain=self.expected.chain or "",
            device=self._device, rehearsal=self._rehearsal, head=self._head, blobs_missing=self._missing,
            decisions=self._decisions, persons=self.people.checked, not_recomputed=self._not_recomputed,
            witnessed=self._against.compared if self._against is not None else 0,
        )  # fmt: skip


def _bare(openssh: str) -> str:
    """An OpenSSH line without its comment."""
    return " ".join(openssh.split()[:2])
