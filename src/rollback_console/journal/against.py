"""What others saw of a journal, to hold it against: a hub's receipts, heads written down elsewhere, other copies.

A chain cannot show by itself that its end was cut off, nor that it is another chain than it was. Somebody else's word
for "entry 4711 had this hash" shows both: every entry up to 4711 is bound by it.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain as chained
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from rollback_console.errors import InputError, UsageError
from rollback_console.journal import chain as chains
from rollback_console.journal.chain import Row
from rollback_console.journal.device import signed_by
from rollback_console.journal.diagnose import What
from rollback_console.journal.receipt import Receipt, check
from rollback_console.model.value import dataclass

_HEAD = re.compile(r"(\d{1,16})[: ]\s*([0-9a-f]{64})")
_LARGEST = 64_000_000  # bytes of a file of receipts
_SQLITE = b"SQLite format 3\0"
_HELP = "give a receipt or a folder of them, JOURNAL.hub, another copy of the journal, an export, or SEQ:HASH"

Say = Callable[[int | None, str, What], None]
Rows = Callable[[Path], Iterable[Row]]


@dataclass(frozen=True, slots=True)
class Witness:
    """Somebody's word that entry `seq` of `chain` ("" where they did not say) had this hash."""

    chain: str
    seq: int
    hash: str
    source: str


class Against:
    """Witnesses and copies, asked as a walk goes along. Memory grows with the witnesses, not with the journal."""

    def __init__(self, witnesses: Iterable[Witness] = (), copies: Sequence[tuple[str, Iterable[Row]]] = ()) -> None:
        self._witnesses: dict[int, list[Witness]] = {}
        self._copies = [_Copy(name, iter(rows)) for name, rows in copies]
        self.compared = 0
        self._last_good = 0
        self.ask(witnesses)

    def ask(self, witnesses: Iterable[Witness]) -> None:
        """More witnesses, before the walk begins."""
        for witness in witnesses:
            self._witnesses.setdefault(witness.seq, []).append(witness)

    def sound(self, row: Row, key: Ed25519PublicKey, say: Say) -> None:
        """`row` verified in its place: is it the one that others saw."""
        for witness in self._witnesses.pop(row.seq, ()):
            self._compare(row, witness, say)
        for copy in self._copies:
            copy.compare(row, key, say)

    def _compare(self, row: Row, witness: Witness, say: Say) -> None:
        if witness.chain and witness.chain != row.chain:
            say(1, f"{witness.source} is of the chain {witness.chain}, this is {row.chain}", "replaced")
            return
        self.compared += 1
        if witness.hash == row.hash:
            self._last_good = row.seq
            return
        since = f"entries up to {self._last_good} are what was witnessed, so" if self._last_good else "so"
        say(row.seq, f"{witness.source} saw another entry {row.seq} ({witness.hash[:16]}…): {since} this is another"
                     f" history of the chain, from {self._last_good + 1} on at the earliest", "forked")  # fmt: skip

    def end(self, chain: str, head: int, key: Ed25519PublicKey | None, say: Say) -> None:
        """The walk ended at entry `head`: is there anything that others saw beyond."""
        for witness in chained.from_iterable(self._witnesses[seq] for seq in sorted(self._witnesses)):
            if witness.chain and chain and witness.chain != chain:
                say(1, f"{witness.source} is of the chain {witness.chain}, this is {chain}", "replaced")
            elif witness.seq > head:
                self.compared += 1
                say(head + 1, f"the end was cut off: {witness.source} saw entry {witness.seq}", "truncated")
        for copy in self._copies:
            copy.end(head, key, say)
        self.compared += len(self._copies)


class _Copy:
    """Another copy of the journal, read in step with this one."""

    def __init__(self, name: str, rows: Iterator[Row]) -> None:
        self._name, self._rows = name, rows
        self._done = False

    def compare(self, row: Row, key: Ed25519PublicKey, say: Say) -> None:
        if self._done:
            return
        for other in self._rows:
            if isinstance(other.seq, int) and other.seq < row.seq:
                continue  # this one is missing here, and the walk says so
            if other.seq == row.seq and other.hash != row.hash:
                self._done = True
                self._differs(row, other, key, say)
            elif other.seq != row.seq:
                self._done = True
                say(None, f"the copy {self._name} has no entry {row.seq} in its place: verify it too", "damaged")
            return
        self._done = True  # the copy is shorter: it is older

    def _differs(self, row: Row, other: Row, key: Ed25519PublicKey, say: Say) -> None:
        if other.chain != row.chain:
            say(1, f"the copy {self._name} is of the chain {other.chain}, this is {row.chain}", "replaced")
        elif _signed(other, key):
            say(row.seq, f"the device signed another entry {row.seq} too, in {self._name}: two histories of one chain,"
                         " alike up to here", "forked")  # fmt: skip
        else:
            say(None, f"entry {row.seq} of the copy {self._name} is not as signed: verify it too", "damaged")

    def end(self, head: int, key: Ed25519PublicKey | None, say: Say) -> None:
        if self._done or key is None:
            return
        following = next((row for row in self._rows if not isinstance(row.seq, int) or row.seq > head), None)
        if following is not None and _signed(following, key):
            say(head + 1, f"the end was cut off: {self._name} goes on with entry {following.seq}", "truncated")


def _signed(row: Row, key: Ed25519PublicKey) -> bool:
    try:
        hashes = chains.malformed(row) is None and chains.row_hash(row) == row.hash
    except UnicodeEncodeError:
        return False
    return hashes and signed_by(key, row.hash, row.signature)


def load(words: Sequence[str], vkeys: Sequence[str], rows_of: Rows) -> tuple[Against, tuple[str, ...]]:
    """What `--against` names, each a file, a folder or SEQ:HASH: (to ask, warnings). `vkeys` are the hubs' keys that
    receipts must be signed by; without any they are believed unsigned, and a warning says so. `rows_of` opens a copy.

    Raises UsageError where there is nothing of that name, InputError where it is nothing to hold a journal against, or
    a receipt that does not hold.
    """
    witnesses: list[Witness] = []
    copies: list[tuple[str, Iterable[Row]]] = []
    receipts = 0
    for word in words:
        if match := _HEAD.fullmatch(word.strip()):
            witnesses.append(Witness("", int(match[1]), match[2], "the head given"))
            continue
        for path in _files(Path(word)):
            found = _receipts(path)
            if found is None:
                copies.append((str(path), rows_of(path)))
            for value in found or ():
                witness, is_receipt = _witness(value, path, vkeys)
                witnesses.append(witness)
                receipts += is_receipt
    unchecked = receipts and not vkeys
    warnings = (f"the signatures of {receipts} receipts were not checked: name the hub's key with --hub-key",)
    return Against(witnesses, copies), warnings if unchecked else ()


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        found = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
        if found:
            return found
        raise UsageError(f"--against {path}: there is no file in it", _HELP)
    if not path.is_file():
        raise UsageError(f"--against {path}: there is no such file", _HELP)
    return [path]


def _receipts(path: Path) -> list[Any] | None:
    """The JSON documents of a file of receipts or heads; None for a copy of a journal."""
    try:
        with path.open("rb") as file:
            start = file.read(16)
            if start == _SQLITE:
                return _of_hub_state(path)
            data = start + file.read(_LARGEST + 1)
    except OSError as error:
        raise UsageError(f"--against {path} cannot be read ({error.strerror})", _HELP) from error
    if data.lstrip()[:1] not in (b"{", b"[") or len(data) > _LARGEST:
        return None
    try:
        values = [json.loads(data)]
    except ValueError:
        try:
            values = [json.loads(line) for line in data.splitlines() if line.strip()]
        except ValueError as error:
            raise InputError(f"--against {path} is not JSON ({error})", _HELP) from error
    values = [item for value in values for item in (value if isinstance(value, list) else [value])]
    whole = len(values) > 1 and isinstance(values[0], dict) and values[0].get("seq") == 1 and "signature" in values[0]
    return None if whole else values  # an export from its first entry on is a copy


def _of_hub_state(path: Path) -> list[Any] | None:
    """The receipts of a console's JOURNAL.hub; None where the file is a journal."""
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        try:
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'receipts'").fetchone():
                return None
            return [json.loads(text) for (text,) in connection.execute("SELECT receipt FROM receipts ORDER BY seq")]
        finally:
            connection.close()
    except (sqlite3.Error, ValueError) as error:
        raise InputError(f"--against {path} cannot be read ({error})", _HELP) from error


def receipts_beside(journal: Path, chain: str, most: int = 50) -> list[tuple[str, Receipt]]:
    """(the hub's vkey, receipt) of this chain from JOURNAL.hub, the newest `most` of each hub, oldest first; none where
    there is no such file. Raises InputError when it cannot be read."""
    path = Path(f"{journal}.hub")
    if not path.is_file():
        return []
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        try:
            query = "SELECT hub, receipt FROM receipts WHERE chain = ? ORDER BY hub, seq"
            rows = connection.execute(query, (chain,)).fetchall()
        finally:
            connection.close()
        found = [(str(hub), Receipt.from_json(json.loads(text))) for hub, text in rows]
    except (sqlite3.Error, ValueError) as error:
        raise InputError(
            f"{path} cannot be read ({error})", "move it away: everything is offered to the hub again"
        ) from error
    hubs = dict.fromkeys(hub for hub, _ in found)
    return [pair for hub in hubs for pair in [pair for pair in found if pair[0] == hub][-most:]]


def _witness(value: Any, path: Path, vkeys: Sequence[str]) -> tuple[Witness, bool]:
    """One document: a receipt (and whether it is one), a line of an export, or what `journal status --json` prints."""
    if isinstance(value, dict) and "checkpoint" in value:
        return _checked(value, path, vkeys), True
    head = value.get("head", value) if isinstance(value, dict) else {}
    chain = value.get("chain", "") if isinstance(value, dict) else ""
    seq, hash_ = (head.get("seq"), head.get("hash")) if isinstance(head, dict) else (None, None)
    if type(seq) is not int or not isinstance(hash_, str) or not isinstance(chain, str):
        raise InputError(f"--against {path} holds something that is neither a receipt nor a head", _HELP)
    return Witness(chain, seq, hash_, str(path)), False


def _checked(value: Any, path: Path, vkeys: Sequence[str]) -> Witness:
    try:
        receipt = Receipt.from_json(value)
        if vkeys:
            check(receipt, vkeys)
    except ValueError as error:
        raise InputError(f"--against {path}: the receipt does not hold: {error}", "ask the hub for it again") from error
    origin = receipt.checkpoint.partition("\n")[0]
    return Witness(receipt.chain, receipt.seq, receipt.hash, f"the hub {origin}")
