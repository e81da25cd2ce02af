"""Whatever is changed in whatever column of whatever entry is found, and the first bad entry is named."""

from __future__ import annotations

import itertools
import json
import random
import sqlite3
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hub_receipts import HUB, receipts_for
from journal_tools import (
    BLOB,
    CAMPAIGN,
    CHAIN,
    DEPLOYMENT,
    SAMPLES,
    copy,
    device,
    full_journal,
    new_journal,
    put,
    resealed,
    stored,
    unguarded,
)

from rollback_console.journal import against as against_module
from rollback_console.journal import device as device_module
from rollback_console.journal import diagnose as diagnose_module
from rollback_console.journal import verify as verify_module
from rollback_console.journal.against import Against, load
from rollback_console.journal.chain import COLUMNS, Row
from rollback_console.journal.device import DeviceKey
from rollback_console.journal.sources import rows_of
from rollback_console.journal.verify import Verification, verify

COUNT = 10_000 if CAMPAIGN else 300
ENTRIES = 2_000
OTHER = DeviceKey.from_seed(b"a thief")
Dice = random.Random


class Tampered(NamedTuple):
    """What verification must say: the first bad number, one of these words; and what it needs to be asked with."""

    first: int
    words: str
    asked: str = ""


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return full_journal(tmp_path_factory.mktemp("tamper") / "journal.db")


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ENTRIES of every kind, signed by the same device."""
    path = tmp_path_factory.mktemp("tamper") / "large.db"
    people = itertools.cycle(("ada", "grace", ""))
    bodies = itertools.islice(itertools.cycle(SAMPLES), ENTRIES - 1)
    items = []
    for number, body in enumerate(bodies):
        who = next(people)
        items.append((body, DEPLOYMENT if number % 3 else "", "ada" if getattr(body, "person", None) else who))
    with new_journal(path) as journal:
        journal.append_all(items, [BLOB])
    return path


@pytest.fixture
def remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ed25519 is a pure function: what it said of a (key, hash, signature) is remembered from one tampering to the
    next, or 10,000 walks of 2,000 entries would check 20 million signatures, nearly all of them the same."""
    real = device_module.signed_by

    @lru_cache(maxsize=200_000)
    def by_raw(raw: bytes, hash_: str, signature: bytes) -> bool:
        return real(Ed25519PublicKey.from_public_bytes(raw), hash_, signature)

    def signed_by(key: Ed25519PublicKey, hash_: str, signature: bytes) -> bool:
        return by_raw(key.public_bytes_raw(), hash_, signature)

    for module in (verify_module, diagnose_module, against_module):
        monkeypatch.setattr(module, "signed_by", signed_by)


def _flipped(value: object, dice: Dice) -> object:
    """The value with one byte of it changed, still of its type (an empty text grows by one)."""
    if isinstance(value, int):
        return value ^ (1 << dice.randrange(40))
    raw = bytearray(value if isinstance(value, bytes) else str(value).encode())
    if not raw:
        return chr(dice.randrange(32, 127))
    place = dice.randrange(len(raw))
    raw[place] ^= 1 << dice.randrange(8)
    if isinstance(value, bytes):
        return bytes(raw)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return bytes(raw)  # stored as text all the same, below


def flip_a_column(connection: sqlite3.Connection, rows: list[Row], dice: Dice) -> Tampered:
    row = dice.choice(rows)
    column = dice.choice([name for name in COLUMNS if name != "seq"])
    value = _flipped(getattr(row, column), dice)
    text = isinstance(value, bytes) and column != "signature"
    connection.execute(
        f"UPDATE entries SET {column} = {'CAST(? AS TEXT)' if text else '?'} WHERE seq = ?", (value, row.seq)
    )
    return Tampered(row.seq, "changed, re-signed" if column == "signature" else "changed")


def renumber(connection: sqlite3.Connection, rows: list[Row], dice: Dice) -> Tampered:
    row = dice.choice(rows)
    connection.execute("UPDATE entries SET seq = ? WHERE seq = ?", (len(rows) + dice.randrange(1, 1000), row.seq))
    return Tampered(row.seq, "reordered, removed")


def remove(connection: sqlite3.Connection, rows: list[Row], dice: Dice) -> Tampered:
    first = dice.randrange(len(rows) - 1)
    last = dice.randrange(first, len(rows) - 1)
    connection.execute("DELETE FROM entries WHERE seq BETWEEN ? AND ?", (rows[first].seq, rows[last].seq))
    return Tampered(rows[first].seq, "removed")


def remove_and_close_the_gap(connection: sqlite3.Connection, rows: list[Row], dice: Dice) -> Tampered:
    first = dice.randrange(1, len(rows) - 1)
    last = dice.randrange(first, min(first + 3, len(rows) - 1))
    connection.execute("DELETE FROM entries")
    for number, row in enumerate(rows[:first] + rows[last + 1 :], 1):
        put(connection, row._replace(seq=number))
    return Tampered(rows[first].seq, "removed")


def insert(connection: sqlite3.Connection, rows: list[Row], dice: Dice) -> Tampered:
    """A forged entry, its hash right, signed by another key or with a signature copied; or a true entry a second time;
    the rest moved up."""
    place = dice.randrange(1, len(rows))
    model = dice.choice([row for row in rows[1:] if row.seq not in (place, place + 1)])  # a twin would be no forgery
    forged = resealed(model._replace(seq=place + 1, prev=rows[place - 1].hash), OTHER)
    forged = dice.choice((forged, forged._replace(signature=model.signature), model))
    connection.execute("DELETE FROM entries")
    for number, row in enumerate([*rows[:place], forged, *rows[place:]], 1):
        put(connection, row._replace(seq=number))
    return Tampered(place + 1, "inserted")


def reorder(connection: sqlite3.Connection, rows: list[Row], dice: Dice) -> Tampered:
    one, other = sorted(dice.sample(rows[1:], 2), key=lambda row: row.seq)
    put(connection, one._replace(seq=other.seq))
    put(connection, other._replace(seq=one.seq))
    return Tampered(one.seq, "reordered" if other.seq - one.seq < 500 else "reordered, changed")


def rewrite_by_another_key(connection: sqlite3.Connection, rows: list[Row], dice: Dice) -> Tampered:
    """One entry's body changed, and from there on the whole chain made to fit, signed by a thief's key."""
    place = dice.randrange(1, len(rows))
    _rewrite(connection, rows, place, OTHER)
    return Tampered(rows[place].seq, "re-signed")


def _rewrite(connection: sqlite3.Connection, rows: list[Row], place: int, key: DeviceKey) -> None:
    prev = rows[place - 1].hash
    for row in rows[place:]:
        body = '{"text":"nothing happened","v":1}' if row.seq == rows[place].seq else row.body
        forged = resealed(row._replace(body=body, prev=prev), key)
        put(connection, forged)
        prev = forged.hash


def exchange_contents(connection: sqlite3.Connection, rows: list[Row], dice: Dice) -> Tampered:
    """One entry's body, kind and people taken from another, its hash made to fit, its signature left."""
    row, other = dice.sample(rows[1:], 2)
    changed = row._replace(kind=other.kind, body=other.body, deployment=other.deployment, operator=other.operator)
    if changed == row:
        changed = changed._replace(operator="mallory")
    put(connection, resealed(changed, OTHER)._replace(signature=row.signature))
    return Tampered(row.seq, "re-signed")


def cut_the_tail(connection: sqlite3.Connection, rows: list[Row], dice: Dice) -> Tampered:
    """Nothing is wrong with what is left: only the hub's receipt for the last entry, or another copy, shows it."""
    last = dice.randrange(1, len(rows))
    connection.execute("DELETE FROM entries WHERE seq > ?", (last,))
    return Tampered(last + 1, "truncated", dice.choice(("receipt", "receipts", "copy")))


def swap_the_file_for_a_fork(connection: sqlite3.Connection, rows: list[Row], dice: Dice) -> Tampered:
    """Another history by the very same device, as after a restored backup: it verifies, the other copy shows it."""
    place = dice.randrange(1, len(rows))
    _rewrite(connection, rows, place, device())
    return Tampered(rows[place].seq, "forked", "copy")


def swap_the_file_for_a_thiefs(connection: sqlite3.Connection, rows: list[Row], dice: Dice) -> Tampered:
    """The whole made anew by another key, under the same chain's name or another: who knows the device, or has the
    receipts, sees it."""
    own = dice.random() < 0.5
    name = rows[0].chain if own else "f" * 32
    prev = ""
    for row in rows:
        if row.seq == 1:
            body = row.body.replace(device().public_openssh(), OTHER.public_openssh()).replace(row.chain, name)
            row = row._replace(body=body)
        forged = resealed(row._replace(chain=name, prev=prev), OTHER)
        put(connection, forged)
        prev = forged.hash
    if own:
        return Tampered(1, "replaced, forked", dice.choice(("device", "receipts")))
    return Tampered(1, "replaced", dice.choice(("device", "receipt", "receipts", "copy")))


TAMPERINGS: tuple[Callable[[sqlite3.Connection, list[Row], Dice], Tampered], ...] = (
    flip_a_column, flip_a_column, flip_a_column, renumber, remove, remove_and_close_the_gap, insert, reorder,
    rewrite_by_another_key, exchange_contents, cut_the_tail, swap_the_file_for_a_fork, swap_the_file_for_a_thiefs,
)  # fmt: skip


def _asked(path: Path, asked: str, rows: list[Row], receipts: Path) -> Verification:
    """As the command does it: `--device`, `--against` a receipt or a folder of them, or another copy."""
    if asked == "device":
        return verify(path, devices=[device().public_openssh()])
    if asked == "copy":
        return verify(path, against=Against(copies=[("the backup", rows)]))
    if asked:
        names = [str(receipts / "newest.json" if asked == "receipt" else receipts)]
        seen, unchecked = load(names, [HUB.vkey], rows_of)
        assert not unchecked
        return verify(path, against=seen)
    return verify(path)


def test_every_tampering_is_found_and_the_first_bad_entry_named(large: Path, tmp_path: Path, remembered: None) -> None:
    """Each tampering is one of TAMPERINGS at a random place, of random extent."""
    assert verify(large).ok
    connection = sqlite3.connect(large)
    rows = stored(connection)
    connection.close()
    assert len(rows) == ENTRIES
    receipts = written_receipts(tmp_path / "receipts", rows)
    words = Counter[str]()
    for number in range(COUNT):
        dice = random.Random(number)
        tamper = TAMPERINGS[number % len(TAMPERINGS)]
        connection = unguarded(copy(large, tmp_path / "t.db"))
        expected = tamper(connection, rows, dice)
        connection.close()
        found = _asked(tmp_path / "t.db", expected.asked, rows, receipts)
        assert not found.ok, (number, tamper.__name__)
        assert found.first_bad_seq == expected.first, (number, tamper.__name__, expected, found.problems[:3])
        said = next(problem for problem in found.problems if problem.seq == expected.first)
        assert said.message
        assert expected.first == 1 or said.what in expected.words.split(", "), (number, tamper.__name__, expected, said)
        words[str(said.what)] += 1
    assert set(words) == {"changed", "removed", "inserted", "reordered", "re-signed", "truncated", "forked", "replaced"}


def written_receipts(folder: Path, rows: list[Row]) -> Path:
    """The hub's receipts for the first, some, and the last entry of the journal."""
    folder.mkdir()
    heads = [rows[0], *rows[99::300], rows[-1]]
    for number, receipt in enumerate(receipts_for(heads)):
        (folder / f"{number:03}.json").write_text(json.dumps(receipt.to_json()))
    (folder / "newest.json").write_text(json.dumps(receipt.to_json()))
    return folder


@pytest.mark.parametrize("column", COLUMNS)
def test_each_column_of_each_entry_is_covered(original: Path, tmp_path: Path, column: str) -> None:
    with_rows = sqlite3.connect(original)
    rows = stored(with_rows)
    with_rows.close()
    for row in rows[:: 1 if CAMPAIGN else 3]:
        connection = unguarded(copy(original, tmp_path / "t.db"))
        value = 999 if column == "seq" else _flipped(getattr(row, column), random.Random(row.seq))
        text = isinstance(value, bytes) and column != "signature"
        connection.execute(
            f"UPDATE entries SET {column} = {'CAST(? AS TEXT)' if text else '?'} WHERE seq = ?", (value, row.seq)
        )
        connection.close()
        found = verify(tmp_path / "t.db")
        # The last entry moved to a later number looks like one that is missing, and it is.
        assert (found.ok, found.first_bad_seq) == (False, row.seq), (column, found.problems)


def test_a_flipped_byte_anywhere_in_the_file_changes_no_entry_unseen(original: Path, tmp_path: Path) -> None:
    """Bytes of free space, blobs and the cache may flip; as long as it verifies, entries read as they were."""
    raw = original.read_bytes()
    connection = sqlite3.connect(original)
    before = stored(connection)
    connection.close()
    found_bad = 0
    for number in range(COUNT):
        dice = random.Random(number)
        changed = bytearray(raw)
        changed[dice.randrange(len(raw))] ^= 1 << dice.randrange(8)
        (tmp_path / "t.db").write_bytes(changed)
        found = verify(tmp_path / "t.db")
        if not found.ok:
            found_bad += 1
            continue
        connection = sqlite3.connect(tmp_path / "t.db")
        after = stored(connection)
        connection.close()
        assert after == before[: len(after)], number
        assert len(after) == found.entries
    assert found_bad > COUNT // 10


def test_what_is_wrong_is_said(original: Path, tmp_path: Path) -> None:
    def problems(change: str) -> str:
        connection = unguarded(copy(original, tmp_path / "t.db"))
        connection.executescript(change)
        connection.close()
        found = verify(tmp_path / "t.db")
        assert not found.ok
        return f"{found.first_bad_seq}: {found.problems[0].message}"

    assert "5: its operator was changed after it was signed (signed: 'ada')" in problems(
        "UPDATE entries SET operator = 'grace' WHERE seq = 5"
    )
    assert "its kind was changed" in problems("UPDATE entries SET kind = 'refusal' WHERE seq = 18")
    assert "its deployment was changed" in problems("UPDATE entries SET deployment = 'x/y' WHERE seq = 5")
    assert "its prev was changed" in problems("UPDATE entries SET prev = '' WHERE seq = 5")
    assert "its chain was changed" in problems("UPDATE entries SET chain = 'x' WHERE seq = 5")
    assert "its hash was changed" in problems("UPDATE entries SET hash = upper(hash) WHERE seq = 5")
    assert "its signature is not the device's" in problems("UPDATE entries SET signature = zeroblob(64) WHERE seq = 5")
    assert "no longer canonical JSON" in problems("UPDATE entries SET body = body || ' ' WHERE seq = 5")
    assert "one of at, mono" in problems("UPDATE entries SET at = at + 1 WHERE seq = 5")
    assert "6: missing: it was removed" in problems("DELETE FROM entries WHERE seq = 6")
    assert "entry 9 under another number" in problems(
        "DELETE FROM entries WHERE seq = 6; UPDATE entries SET seq = 6 WHERE seq = 9"
    )
    assert "does not say whose journal" in problems("UPDATE entries SET body = '{}' WHERE seq = 1")
    assert "1: there is no entry" in problems("DELETE FROM entries")
    assert "no signature covers: extra" in problems("ALTER TABLE entries ADD COLUMN extra TEXT")
    assert "no table `entries`" in problems("ALTER TABLE entries RENAME TO e; CREATE VIEW entries AS SELECT * FROM e")
    assert "is not what its digest says" in problems("UPDATE blobs SET data = zeroblob(10)")


def test_lines_in_another_order_are_told_once(original: Path) -> None:
    """Rows of an export keep their numbers wherever they stand: what was moved is said, and not all that follows."""
    connection = sqlite3.connect(original)
    rows = stored(connection)
    connection.close()
    forged = resealed(rows[20]._replace(seq=10, prev=rows[8].hash), OTHER)

    def said(lines: list[Row]) -> list[tuple[int | None, str | None]]:
        return [(problem.seq, problem.what) for problem in verify(lines).problems]

    assert said([*rows[:9], rows[10], rows[9], *rows[11:]]) == [(10, "reordered")]
    assert said([*rows[:9], rows[19], *rows[10:19], rows[9], *rows[20:]]) == [(10, "reordered"), (20, "reordered")]
    assert said([*rows[:9], *rows[10:], rows[9]]) == [(10, "reordered")]
    assert said([*rows[:10], *rows[9:]]) == [(11, "inserted")]
    assert said([rows[0], *rows]) == [(2, "inserted")]
    assert said([*rows[:9], forged, *rows[9:]]) == [(10, "inserted")]
    assert said([*rows[:9], *rows[12:]]) == [(10, "removed")]


def test_removed_guards_are_said(original: Path, tmp_path: Path) -> None:
    unguarded(copy(original, tmp_path / "t.db")).close()
    found = verify(tmp_path / "t.db")
    assert found.ok
    assert "append-only guards" in found.warnings[0].message


def test_a_dropped_blob_is_a_warning_and_names_its_entries(original: Path, tmp_path: Path) -> None:
    connection = sqlite3.connect(copy(original, tmp_path / "t.db"))
    connection.execute("DELETE FROM blobs")
    connection.commit()
    connection.close()
    found = verify(tmp_path / "t.db")
    assert (found.ok, found.blobs_missing) == (True, 1)
    assert (found.warnings[0].seq, "retention" in found.warnings[0].message) == (3, True)


def test_a_whole_file_exchanged_is_seen_by_who_knows_the_device_or_the_chain(original: Path, tmp_path: Path) -> None:
    """A thief who makes a whole journal anew with a key of their own passes a walk that asks for nothing."""
    connection = unguarded(copy(original, tmp_path / "t.db"))
    rows = stored(connection)
    rows[0] = rows[0]._replace(body=rows[0].body.replace(device().public_openssh(), OTHER.public_openssh()))
    prev = ""
    for row in rows:
        forged = resealed(row._replace(prev=prev), OTHER)
        put(connection, forged)
        prev = forged.hash
    connection.close()
    assert verify(tmp_path / "t.db").ok
    found = verify(tmp_path / "t.db", devices=[device().public_openssh() + " with a comment"])
    assert (found.ok, found.first_bad_seq) == (False, 1)
    assert verify(original, devices=[OTHER.public_openssh(), device().public_openssh() + " comment"]).ok
    assert verify(original, chain=CHAIN).ok
    found = verify(original, chain="another")
    assert (found.ok, found.first_bad_seq) == (False, 1)


def test_a_cut_off_end_is_what_no_walk_can_see(original: Path, tmp_path: Path) -> None:
    """Documented, and the reason why a head must be held by somebody else: this test keeps the claim honest."""
    connection = unguarded(copy(original, tmp_path / "t.db"))
    connection.execute("DELETE FROM entries WHERE seq > 10")
    connection.close()
    found = verify(tmp_path / "t.db")
    assert (found.ok, found.head[0]) == (True, 10)
