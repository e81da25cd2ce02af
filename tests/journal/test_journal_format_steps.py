"""The steps of docs/journal-format.md, followed by somebody who has the document alone, name the entry that we name."""

from __future__ import annotations

from pathlib import Path
from random import Random

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from journal_tools import CHAIN, device, new_journal, resealed

from rollback_console.journal import chain
from rollback_console.journal.chain import Row
from rollback_console.journal.device import DeviceKey, public_key, signed_by
from rollback_console.journal.kinds import Note
from rollback_console.journal.verify import verify


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
