"""Sending a journal to the hub, and believing nothing of what the hub answers that it cannot prove.

The queue is the journal itself with a cursor (`hubstate`): entries go up in order, in batches; what was sent and not
acknowledged is sent again, and the hub counts it once. An acknowledgement is a receipt: signed by the pinned key, its
proof leading from our entry to a root that continues every root held before. What does not add up is an alarm: a
sentence, kept with its evidence, and never a reason to stop working here.

One `Sync` serves one thread. It reads the journal through a connection of its own, for reading alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from rollback_console.clock import Clock
from rollback_console.errors import BackendError, BackendNonsense
from rollback_console.journal import chain as chains
from rollback_console.journal import merkle
from rollback_console.journal.chain import Row, nanoseconds
from rollback_console.journal.device import public_key, signed_by
from rollback_console.journal.hubstate import HubStore
from rollback_console.journal.receipt import Receipt, check
from rollback_console.journal.signednote import Checkpoint, open_note, parse_vkey
from rollback_console.journal.store import Journal
from rollback_console.journal.upstream import Head, HubRefused, Upstream, batches, entry_document
from rollback_console.model.text import plain
from rollback_console.model.times import written

MEET_S = 60.0  # how often an idle sync looks at the hub's tree and at its own chain there
_PAGE = 500
_DIGEST = re.compile(r'"([0-9a-f]{64})"')
_NAMED_WITHIN = 4_096  # a blob's head may name another (a tick's its layout)
_KNOWN = 50_000

Tell = Callable[[str, str], None]  # (what, detail): a line for the journal


class Halted(BackendNonsense):
    """The round cannot go on: what stands against it is kept as evidence. Tried again later, as if out of reach."""


@dataclass(slots=True)
class Round:
    """What one round did."""

    sent: int = 0
    duplicates: int = 0
    blobs: int = 0
    refused_blobs: int = 0
    receipt: Receipt | None = None


@dataclass(slots=True)
class _Book:
    """The journal as this round reads it."""

    journal: Journal
    chain: str
    device: str
    head: tuple[int, str] = (0, "")
    known_blobs: set[str] = field(default_factory=set)

    def row(self, seq: int) -> Row | None:
        return next(self.journal.rows(seq - 1), None) if 0 < seq <= self.head[0] else None

    def ours(self, row: Row) -> bool:
        """Is it an entry of this chain that this device signed."""
        if chains.malformed(row) or row.chain != self.chain:
            return False
        try:
            sound = chains.row_hash(row) == row.hash
        except ValueError:
            return False
        return sound and signed_by(public_key(self.device), row.hash, row.signature)


class Sync:
    """One journal and one hub, whose pinned verifier key is the store's. `tell` writes a line into the journal (by
    whoever records); `stop` is asked between two requests."""

    def __init__(
        self,
        journal: Path,
        upstream: Upstream,
        store: HubStore,
        clock: Clock,
        *,
        tell: Tell = lambda what, detail: None,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self.path = journal
        self._up = upstream
        self._store = store
        self._clock = clock
        self._tell = tell
        self._stop = stop
        self._met: tuple[str, float] | None = None  # the chain, and when its end at the hub was last looked at
        self._known_blobs: set[str] = set()
        self._forgotten = ""  # a checkpoint that its log does not continue
        self._log = store.facts().get("log", store.hub)  # the key its log is signed with now

    def round(self) -> Round:
        """Everything that waits, once. Raises BackendError where the hub does not answer, refuses, or was found out
        (Halted); JournalError where the journal or the state cannot be read. Nothing is lost by any of them."""
        done = Round()
        with Journal.open_read_only(self.path) as journal:
            book = _Book(journal, journal.chain, journal.device)
            if self._store.cursor(book.chain).closed:
                return done
            try:
                self._round(book, done)
            except BackendError as error:
                self._note_trouble(book, error)
                raise
        self._store.say(link="ok", problem="", contact_at=str(self._clock.now()))
        return done

    def _round(self, book: _Book, done: Round) -> None:
        if self._due(book.chain):
            self._meet(book)
        book.head = book.journal.head()
        receipt: Receipt | None = None
        while self._store.cursor(book.chain).seq < book.head[0] and not self._stop():
            before = self._store.cursor(book.chain).seq
            for lot in batches(self._waiting(book)):
                receipt = self._send(book, lot, done)
                if self._stop() or receipt is None:
                    break
            if self._store.cursor(book.chain).seq == before and receipt is None:
                self._meet(book)  # the hub's end moved under us: once more from there
                if self._store.cursor(book.chain).seq >= before:
                    raise Halted("the hub neither takes entries nor says why", "see the hub's log")
        if receipt is not None:
            done.receipt = receipt
            self._continues(Checkpoint.parse(open_note(receipt.checkpoint, [self._log])), receipt.checkpoint)
        self._send_blobs(book, done)
        self._show_forgotten()

    def _due(self, chain: str) -> bool:
        met = self._met
        return met is None or met[0] != chain or not 0 <= self._clock.now() - met[1] < MEET_S

    def _waiting(self, book: _Book) -> Iterator[Row]:
        for row in book.journal.rows(self._store.cursor(book.chain).seq):
            if row.seq > book.head[0]:
                return
            yield row

    # -- who is there, and how far our chain is

    def _meet(self, book: _Book) -> None:
        """Look at the hub before anything is sent: its key, its tree, the end of our chain there. Our own end is read
        after the hub's, so that another process's sync is never taken for somebody else's entries."""
        about = self._up.about()
        if about.key != self._log:
            self._another_key(book, about.key)
        head = self._up.head(book.chain)
        book.head = book.journal.head()
        self._judge_head(book, head)
        note = self._up.checkpoint()
        try:
            checkpoint = Checkpoint.parse(open_note(note, [self._log]))
        except ValueError as error:
            self._alarm(book, "checkpoint", f"the hub's checkpoint does not hold: {error}", {"checkpoint": note})
            raise Halted("the hub's checkpoint does not hold", "`rollback-console journal status` says more") from error
        if checkpoint.size:
            self._continues(checkpoint, note, book)
        self._met = (book.chain, self._clock.now())

    def _another_key(self, book: _Book, shown: str) -> None:
        """Not the log that was pinned. A hub that was put back from a backup says so by going on under another name,
        with the same key: it is believed from there on, and what it forgot is an alarm. All else is another hub."""
        held = self._store.checkpoint()
        if not _succeeds(self._log, shown):
            self._alarm(book, "key", f"another hub answers at this address: its key is {plain(shown, 120)}, not the "
                        "pinned one; nothing is sent to it", {"key": shown})  # fmt: skip
            raise Halted("another hub answers there than the one whose key is pinned",
                         "if its key was changed on purpose, enrol again with `hub join`")  # fmt: skip
        self._alarm(book, "restored hub", f"the hub says that it was put back from a backup: its log goes on as "
                    f"{plain(shown.partition('+')[0], 120)}, and what it had signed since the backup is gone there",
                    {"held": held[1] if held is not None else None, "key": shown})  # fmt: skip
        self._log = shown
        self._store.say(log=shown)
        self._store.forget_checkpoint()

    def _judge_head(self, book: _Book, head: Head) -> None:
        """Compare the end of our chain at the hub with ours, and with what the hub once acknowledged."""
        cursor = self._store.cursor(book.chain)
        if head.seq:
            ours = book.row(head.seq)
            if ours is None or ours.hash != head.hash:
                self._two_ends(book, head.seq, ours)
        last = self._store.last_receipt(book.chain)
        if head.seq < cursor.seq:
            gone = cursor.seq - head.seq
            self._alarm(
                book, "lost",
                f"the hub had acknowledged entry {cursor.seq:,} and now holds {head.seq:,}: it was put back from a "
                f"backup, or somebody cut it; {gone:,} entries go up again",
                {"receipt": last.to_json() if last is not None else None, "head": [head.seq, head.hash]},
            )  # fmt: skip
            self._store.set_back(book.chain, head.seq, head.hash)
        # Ahead of the cursor is as good: it was sent and its answer lost. It goes up again, for the receipt.
        if cursor.seq > book.head[0]:
            self._close(
                book, "restored",
                f"this journal ends at entry {book.head[0]:,} and a receipt proves that it had {cursor.seq:,}: it was "
                "put back from a backup, or its end was cut off",
                {"receipt": last.to_json() if last is not None else None},
            )  # fmt: skip

    def _two_ends(self, book: _Book, seq: int, ours: Row | None) -> None:
        """The hub says it holds an entry that is not ours. It has to show one that our key signed: else it lies."""
        shown = self._up.rows(book.chain, seq - 1, 1)
        theirs = shown[0] if shown else None
        detail = {
            "theirs": entry_document(theirs) if theirs is not None else None,
            "ours": entry_document(ours) if ours is not None else None,
            "chain": book.chain,
        }
        if theirs is None or theirs.seq != seq or not book.ours(theirs) or (ours is not None and theirs == ours):
            self._alarm(book, "forged", f"the hub says that entry {seq:,} of this chain is another, and shows none "
                        "that this device signed", detail)  # fmt: skip
            raise Halted("the hub shows entries of this chain that this device never signed",
                         "go on; ask whoever runs the hub")  # fmt: skip
        if ours is None:
            kind, why = "restored", (
                f"this journal ends at entry {book.head[0]:,} and the hub holds {seq:,}: it was put back from a "
                "backup, or its end was cut off"
            )  # fmt: skip
        elif not book.ours(ours):
            kind, why = "changed", f"entry {seq:,} of this journal was changed here after it was sent"
        else:
            kind, why = "copied", (
                f"entry {seq:,} exists twice, signed by this device's key both times: this machine is a copy, or has "
                "one, or the journal was put back from a backup"
            )  # fmt: skip
            with suppress(BackendError):  # refused, and kept there as evidence: the hub shows both ends to others
                self._up.put_entries(book.chain, [ours])
        if kind == "changed":
            self._alarm(book, kind, why, detail)
            raise Halted(why, "`rollback-console journal verify` says more; keep the file as it is")
        self._close(book, kind, why, detail)

    def _close(self, book: _Book, kind: str, why: str, detail: dict[str, Any]) -> NoReturn:
        """This chain has two ends: nothing more of it goes up, and a new one begins as soon as that holds up nobody."""
        self._alarm(book, kind, why, detail)
        self._store.close_chain(book.chain, f"{kind}: {why}")
        raise Halted(why, "nothing is lost: these entries are kept, and a new chain begins at the next start")

    # -- sending

    def _send(self, book: _Book, lot: list[Row], done: Round) -> Receipt | None:
        """One batch, acknowledged by a receipt that holds. None where the hub's end is elsewhere than we thought."""
        try:
            accepted = self._up.put_entries(book.chain, lot)
        except HubRefused as error:
            if error.status == 413 and len(lot) > 1:
                half = len(lot) // 2
                first = self._send(book, lot[:half], done)
                return self._send(book, lot[half:], done) if first is not None else None
            self._refused(book, lot, error)
            return None
        done.sent += accepted.accepted
        done.duplicates += accepted.duplicates
        self._believe(book, accepted.receipt, lot)
        return accepted.receipt

    def _refused(self, book: _Book, lot: list[Row], error: HubRefused) -> None:
        """A no to entries. Returns for a gap, from which there is a way; raises for all else."""
        if error.code == "gap":
            self._met = None
            return
        if error.code == "fork":
            seq = error.document.get("seq")
            seq = seq if type(seq) is int and seq > 0 else lot[0].seq
            self._two_ends(book, seq, book.row(seq))
        if error.code == "bad-entry":
            seq = error.document.get("seq")
            row = book.row(seq) if type(seq) is int else None
            if row is not None and not book.ours(row):
                self._alarm(book, "changed", f"entry {row.seq:,} of this journal is not as this device signed it: "
                            "`rollback-console journal verify` says more", {"ours": entry_document(row)})  # fmt: skip
                raise Halted(f"entry {row.seq:,} of this journal is not as it was signed", "run `journal verify`")
            if row is not None and row.seq == 1:
                raise Halted(
                    f"the hub does not take this chain with this device's token: {plain(error.message, 160)}",
                    "enrol this device: `rollback-console hub join URL --code CODE`",
                )
            self._alarm(book, "refused", f"the hub refuses an entry that is sound ({plain(error.message, 200)})",
                        error.document)  # fmt: skip
        raise error

    def _believe(self, book: _Book, receipt: Receipt, lot: list[Row]) -> None:
        """The receipt has to be of this chain, of our very entry, signed, and proven. Raises Halted."""
        try:
            if receipt.chain != book.chain:
                raise ValueError("it is of another chain")
            if receipt.seq < lot[-1].seq:
                raise ValueError(f"it is of entry {receipt.seq:,}, and {lot[-1].seq:,} was sent")
            ours = lot[-1] if receipt.seq == lot[-1].seq else self._ahead(book, receipt.seq)
            if ours is None or receipt.hash != ours.hash:
                raise ValueError(f"it is of another entry {receipt.seq:,} than ours")
            check(receipt, [self._log])
        except ValueError as error:
            self._alarm(book, "receipt", f"the hub's receipt for entry {lot[-1].seq:,} does not hold: {error}",
                        {"receipt": receipt.to_json(), "sent": lot[-1].hash})  # fmt: skip
            raise Halted(f"the hub's receipt does not hold ({error})",
                         "go on: the entries are kept here, and offered again") from error  # fmt: skip
        self._store.proven(receipt, nanoseconds(self._clock.now()))

    def _ahead(self, book: _Book, seq: int) -> Row | None:
        book.head = book.journal.head()  # another process of ours may have written and sent meanwhile
        return book.row(seq)

    # -- the hub's tree

    def _continues(self, checkpoint: Checkpoint, note: str, book: _Book | None = None) -> None:
        """The tree has to begin with every tree held before. Its newest form is held from here on, also after an alarm:
        what comes next has to continue what was signed last."""
        held = self._store.checkpoint()
        if held is None:
            self._store.hold(checkpoint, note)
            return
        before, old_note = held
        first, second = sorted((before, checkpoint), key=lambda each: each.size)
        try:
            if first.size == second.size:
                consistent = first.root == second.root
            else:
                proof = self._up.consistency(first.size, second.size)
                consistent = merkle.verify_consistency(first.size, second.size, first.root, second.root, proof)
        except HubRefused:
            consistent = False  # it cannot even name the tree that it signed
        if not consistent:
            self._alarm(
                book, "tree",
                f"the hub's log of {checkpoint.size:,} heads does not continue the one of {before.size:,} that it had "
                "signed: it was rolled back, or shows different people different logs",
                {"held": old_note, "shown": note},
            )  # fmt: skip
            self._store.hold(checkpoint, note)
            self._forgotten = old_note
        elif checkpoint.size > before.size:
            self._store.hold(checkpoint, note)

    def _show_forgotten(self) -> None:
        """The hub is shown what it signed and does not know any more: only after everything has gone up, because from
        then on it signs nothing, and so takes nothing, until its keeper has looked."""
        note, self._forgotten = self._forgotten, ""
        if note:
            with suppress(BackendError):
                self._up.show(note)

    # -- blobs

    def _send_blobs(self, book: _Book, done: Round) -> None:
        """What the entries that are up name by digest: asked for first, then sent. Entries never wait for blobs."""
        while not self._stop():
            cursor = self._store.cursor(book.chain)
            page: list[Row] = []
            for row in book.journal.rows(cursor.blob_seq):
                if row.seq > cursor.seq or len(page) == _PAGE:
                    break
                page.append(row)
            if not page:
                return
            named = dict.fromkeys(digest for row in page for digest in _DIGEST.findall(row.body))
            for digest in self._upload(book, list(named), done):
                self._known_blobs.add(digest)
            if len(self._known_blobs) > _KNOWN:
                self._known_blobs.clear()
            self._store.blobs_sent(book.chain, page[-1].seq)

    def _upload(self, book: _Book, digests: list[str], done: Round) -> list[str]:
        """Send those that the hub misses and we hold, and what their heads name. All that is then settled."""
        settled = []
        wanted = [digest for digest in digests if digest not in self._known_blobs]
        while wanted:
            asked, wanted = wanted[:1_000], wanted[1_000:]
            missing = self._up.missing(asked)
            for digest in asked:
                data = book.journal.get_blob(digest) if digest in missing else None
                if data is None:
                    settled.append(digest)
                    continue
                inner = _DIGEST.findall(data[:_NAMED_WITHIN].decode("latin-1"))
                wanted += [name for name in dict.fromkeys(inner)
                           if name not in self._known_blobs and name not in settled and name not in asked]  # fmt: skip
                try:
                    self._up.put_blob(digest, data)
                    done.blobs += 1
                except HubRefused as error:
                    if error.status not in (413, 422):
                        raise
                    done.refused_blobs += 1  # too large for this hub: the entry stands there with its digest
                settled.append(digest)
        return settled

    # -- saying

    def _alarm(self, book: _Book | None, kind: str, sentence: str, detail: dict[str, Any]) -> None:
        """Keep it as evidence, and say it in the journal, once."""
        chain = book.chain if book is not None else ""
        if self._store.keep_evidence(chain, kind, sentence, detail, nanoseconds(self._clock.now())):
            self._tell("hub alarm", f"{sentence} ({written(self._clock.now())})")

    def _note_trouble(self, book: _Book, error: BackendError) -> None:
        self._met = None
        if isinstance(error, HubRefused) and error.code == "rolled-back":
            self._alarm(book, "lost", "the hub says itself that its database is older than what it has signed, and "
                        "takes nothing until somebody has looked", error.document)  # fmt: skip
        reached = isinstance(error, HubRefused | Halted)
        self._store.say(link="refused" if reached else "offline", problem=plain(str(error), 400))


def _succeeds(before: str, now: str) -> bool:
    """Is `now` the key of the same hub's next log: the same Ed25519 key, under a name that says it was restored."""
    try:
        old, new = parse_vkey(before), parse_vkey(now)
    except ValueError:
        return False
    base, _, number = old.name.partition("/restored-")
    again, _, next_number = new.name.partition("/restored-")
    same = old.public.public_bytes_raw() == new.public.public_bytes_raw() and base == again
    return same and next_number.isdecimal() and int(next_number) > int(number or "1")
