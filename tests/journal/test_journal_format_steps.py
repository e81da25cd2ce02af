"""The steps of docs/journal-format.md, followed by somebody who has the document alone, name the entry that we name."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from journal_tools import CHAIN, device, new_journal, resealed

from rollback_console.errors import InputError
from rollback_console.journal import chain
from rollback_console.journal.against import Against, Witness
from rollback_console.journal.chain import Row
from rollback_console.journal.device import DeviceKey, public_key, signed_by
from rollback_console.journal.export import jsonl, read_jsonl
from rollback_console.journal.kinds import Note
from rollback_console.journal.persons import _fact
from rollback_console.journal.verify import Verification, verify


def _first_bad(rows: list[Row], key: Ed25519PublicKey) -> int | None:
    """`first_bad_seq` by the document's steps alone, for rows in the order of `seq` whose first is sound."""
    n, p, bad_before, highest, numbers = 1, "", False, 0, list[int]()
    for row in rows:
        fits = chain.row_hash(row) == row.hash
        signed = signed_by(key, row.hash, row.signature)
        if fits and signed and (row.seq, row.prev, row.chain) == (n, p, CHAIN):
            n, p, bad_before, highest = row.seq + 1, row.hash, False, max(highest, row.seq)
            continue
        follows = bad_before and row.seq == highest + 1
        elsewhere = row.chain != CHAIN or row.seq < n or (row.seq > n and not follows)
        forked = row.seq == n and row.prev != p and not bad_before
        if not (fits and signed) or elsewhere or forked:
            numbers.append(n)
        fits_anew = signed_by(key, chain.row_hash(row), row.signature)
        p = row.hash if signed or not fits_anew else chain.row_hash(row)
        n = row.seq + 1 if fits and signed else max(row.seq, n) + 1
        bad_before, highest = True, max(highest, row.seq)
    return min(numbers, default=None)


def test_the_documents_steps_name_the_same_first_bad_number(tmp_path: Path) -> None:
    """Rows removed, put in twice, exchanged, renumbered, changed, signed anew: up to three times, after the first."""
    with new_journal(tmp_path / "journal.db") as journal:
        for number in range(14):
            journal.append(Note(text=f"line {number}"))
        sound = list(journal.rows())
    key, stranger, random = public_key(device().public_openssh()), DeviceKey.from_seed(b"another"), Random(7)
    seen = set[int | None]()
    for _ in range(400):
        rows = list(sound)
        for _ in range(random.randrange(4)):
            at, other = random.randrange(1, len(rows)), random.randrange(1, len(rows))
            row = rows[at]
            match random.randrange(8):
                case 0:
                    del rows[at]
                case 1:
                    rows[at:] = [row, *(each._replace(seq=each.seq + 1) for each in rows[at:])]
                case 2:
                    rows[at], rows[other] = rows[other]._replace(seq=row.seq), row._replace(seq=rows[other].seq)
                case 3:
                    rows[at] = row._replace(seq=40 + at)
                case 4:
                    rows[at] = row._replace(operator="eve")
                case 5:
                    rows[at] = resealed(row._replace(operator="eve"), random.choice((device(), stranger)))
                case 6:
                    rows[at] = row._replace(hash="ab" * 32)
                case 7:
                    rows = [*rows[:1], *(each._replace(seq=number) for number, each in enumerate(rows[1:], 2))]
            rows = sorted({each.seq: each for each in rows}.values(), key=lambda each: each.seq)  # as a table has them
        seen.add(expected := _first_bad(rows, key))
        found = verify(rows)
        assert found.first_bad_seq == expected, found.problems
    assert seen >= {None, *range(2, 14)}


def _notes(path: Path, lines: int = 8) -> list[Row]:
    with new_journal(path) as journal:
        for number in range(lines):
            journal.append(Note(text=f"line {number}"))
        return list(journal.rows())


def _said(found: Verification) -> list[tuple[int | None, str | None]]:
    return [(problem.seq, problem.what) for problem in found.problems]


def test_the_documents_examples_in_a_line(tmp_path: Path) -> None:
    rows, other = _notes(tmp_path / "journal.db"), DeviceKey.from_seed(b"another")
    away = resealed(rows[4]._replace(chain="ff" * 16), device())  # the device's, of another chain
    body = '{"a":1.0}'
    for tampered, said in (
        ([*rows[:4], rows[3], *rows[4:]], [(5, "inserted")]),  # line 4 twice; the next is without fault
        ([*rows[:4], rows[4]._replace(chain="ff" * 16), *rows[5:]], [(5, "changed")]),
        ([*rows[:4], away, *rows[5:]], [(5, "replaced")]),
        ([*rows[:4], resealed(away, other), *rows[5:]], [(5, "re-signed")]),
        ([*rows[:3], rows[4]._replace(operator="eve"), *rows[5:]], [(4, "removed"), (4, "changed")]),
        ([*rows[:3], resealed(rows[4]._replace(body=body), device()), *rows[5:]], [(4, "removed"), (4, "changed")]),
        ([*rows[:-2], rows[-1]._replace(seq=rows[-2].seq)], [(rows[-2].seq, "removed")]),  # moved up, and the last
        ([*rows[:-1], rows[-1]._replace(operator="eve")], [(rows[-1].seq, "changed")]),  # bad, and the last
        ([*rows[:-1], rows[-1]._replace(seq=2.0)], [(rows[-1].seq, "changed")]),  # type: ignore[arg-type]
        ([], [(1, "removed")]),
        ([resealed(rows[0]._replace(chain="ff" * 16), device())], [(1, "replaced")]),
        (
            [resealed(rows[0]._replace(body=rows[0].body.replace("ssh-ed25519 ", "ssh-rsa ")), device())],
            [(1, "changed")],
        ),
    ):
        assert _said(verify(tampered)) == said


def test_what_against_says_of_a_file_that_is_bad_itself(tmp_path: Path) -> None:
    rows = _notes(tmp_path / "journal.db")
    end = len(rows)

    def held(tampered: list[Row], *seen: Witness) -> list[tuple[int | None, str | None]]:
        return _said(verify(tampered, against=Against(seen)))

    saw = {row.seq: Witness(CHAIN, row.seq, row.hash, "a hub") for row in rows}
    assert held([*rows[:4], rows[4]._replace(hash="ab" * 32), *rows[5:]], *saw.values()) == [(5, "changed")]
    assert held([*rows[:4], *rows[5:]], *saw.values()) == [(5, "removed")]  # a number that is missing: nothing more
    assert held([*rows[:2], *rows[3:-1]], saw[end]) == [(3, "removed"), (end, "truncated")]
    assert held(rows, Witness("", 4, "ab" * 32, "paper")) == [(4, "forked")]
    assert held(rows, Witness("ff" * 16, 4, rows[3].hash, "a hub")) == [(1, "replaced")]
    assert held(rows[:3], Witness("ff" * 16, 9, "ab" * 32, "a hub")) == [(1, "replaced")]


def test_what_json_lines_may_look_like(tmp_path: Path) -> None:
    rows = _notes(tmp_path / "journal.db")
    lines = list(jsonl(rows))
    path = tmp_path / "export.jsonl"

    def read(text: str) -> list[tuple[int | None, str | None]]:
        path.write_bytes(text.encode())
        return _said(verify(read_jsonl(path)))

    assert read("".join(lines).replace("\n", "\r\n")) == []
    at = f'"at":"{rows[1].at}"'
    for same in (f'"at":"00{rows[1].at}"', f'"at":{rows[1].at}', f'"at":"1",{at}'):
        assert at in lines[1]
        assert read("".join([lines[0], lines[1].replace(at, same), *lines[2:]])) == []
    for seq in ("2.0", "true", '"2"'):
        assert read("".join([lines[0], lines[1].replace('"seq":2', f'"seq":{seq}'), *lines[2:]])) == [(2, "changed")]
    assert read("".join([lines[0], lines[1].replace('"seq":2', '"seq":-2'), *lines[2:]])) == [(2, "reordered")]
    for bad in ("\n", "{\n", lines[1].replace('"kind"', '"sort"'), lines[1].replace('"signature":"', '"signature":"!')):
        with pytest.raises(InputError):
            read("".join([lines[0], bad, *lines[1:]]))


def test_how_a_persons_facts_are_compared() -> None:
    name = {"until": "until"}
    for inside, signed in ((0.0625, 0.062), (0.1875, 0.188), (2.0005, 2.001), (3.0, 3), (None, None)):
        assert _fact({"until": inside}, name["until"], "") == signed
