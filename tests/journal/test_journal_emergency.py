"""A journal that stands in for one that cannot be written: it says so, is read as one with it, is taken in later."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from journal_tools import DEPLOYMENT, START, device, full_journal, new_journal, resealed, stored, unguarded

from rollback_console.authorize.keys import PersonKey
from rollback_console.authorize.keys import verify as verify_person
from rollback_console.clock import VirtualClock
from rollback_console.engine.standin import Whoever, stand_in
from rollback_console.errors import InputError, JournalError, JournalUnwritable, Refused, UsageError
from rollback_console.journal.device import DeviceKey
from rollback_console.journal.emergency import PrintedJournal, StandIn, genesis_of, open_emergency, stands_in_of
from rollback_console.journal.export import read_jsonl
from rollback_console.journal.kinds import (
    EmergencyBegun,
    EmergencyMerged,
    ExecutionEnded,
    Intent,
    Note,
    Outcome,
    Requested,
    StandsIn,
)
from rollback_console.journal.merged import expanded, told
from rollback_console.journal.merging import merge
from rollback_console.journal.store import Journal
from rollback_console.journal.timeline import sentence
from rollback_console.journal.verify import verify

PLAN = b"the plan's bytes"
ANA = PersonKey.from_seed(1, "ana")
ACTS = ("request", "intent", "outcome", "execution")


def _acts(journal: Journal | StandIn) -> None:
    from rollback_console.journal.chain import digest

    digest_ = digest(PLAN)
    asked = Requested(execution="ex-1", plan=digest_, plan_blob=digest_, phrase="p v7", reason="r")
    journal.append_all([(asked, DEPLOYMENT, "ana")], [PLAN])
    journal.append(Intent(execution="ex-1", step="set", detail="champion to v7"), deployment=DEPLOYMENT, operator="ana")
    journal.append(Outcome(execution="ex-1", step="set", state="done", detail="it is"), deployment=DEPLOYMENT)
    journal.append(ExecutionEnded(execution="ex-1", state="done", detail="confirmed"), deployment=DEPLOYMENT)


def _stand_in(main: Journal, place: Path, folded: int = 0) -> StandIn:
    standing, where = stand_in(
        main, folded, VirtualClock(START + 60), Whoever("ana", ANA.sign), str(place), "the disk is full",
        "conversion falls, password=hunter22", rehearsal=True,
    )  # fmt: skip
    assert where == str(place)
    return standing


def test_its_first_entries_say_for_which_journal_and_why(tmp_path: Path) -> None:
    with new_journal(tmp_path / "main.db") as main:
        main.append(Note(text="before"))
        standing = _stand_in(main, tmp_path / "emergency.db")
        standing.close()
        head = main.head()
    with Journal.open_read_only(tmp_path / "emergency.db") as emergency:
        _, second = emergency.entries()
        assert stands_in_of(emergency) == StandsIn(chain=main.chain, seq=2, hash=head[1])
        body = second.parsed()
    assert emergency.chain != main.chain
    assert isinstance(body, EmergencyBegun)
    assert body.reason == "conversion falls, password=[redacted]"  # cleaned before it was signed
    assert body.person is not None
    assert verify_person(body.person) == ANA.blob
    said = json.loads(body.person.statement)
    assert (said["chain"], said["seq"], said["hash"], said["reason"]) == (main.chain, 2, head[1], body.reason)
    assert "BREAK-GLASS, signed by ana" in sentence(second)
    assert verify(tmp_path / "emergency.db").ok


def test_it_is_read_as_one_history_with_the_journal(tmp_path: Path) -> None:
    with new_journal(tmp_path / "main.db") as main:
        main.append(Note(text="before"))
        standing = _stand_in(main, tmp_path / "emergency.db", folded=2)
        _acts(standing)
        assert [entry.seq for entry in standing.entries()] == list(range(1, 9))
        assert [entry.kind for entry in standing.entries(after=4)] == list(ACTS)
        assert [entry.seq for entry in standing.entries(kinds=("note", "intent"), limit=5)] == [2, 6]
        assert standing.head()[0] == 8
        main.append(Note(text="somebody else could write again"))
        assert [entry.seq for entry in standing.entries()] == list(range(1, 9))
        digest = next(e.parsed() for e in standing.entries(kinds=("request",))).plan_blob  # type: ignore[union-attr]
        assert standing.get_blob(digest) == PLAN
        standing.close()


def test_a_journal_that_cannot_be_read_holds_nothing_up(tmp_path: Path) -> None:
    path = full_journal(tmp_path / "main.db")
    main = new_journal(path)
    head = main.head()
    with path.open("r+b") as file:
        file.seek(24)
        file.write(b"\xff" * 30_000)
    with pytest.raises(JournalError):
        main.append(Note(text="x"))
    standing = _stand_in(main, tmp_path / "emergency.db", folded=head[0])
    _acts(standing)
    assert [entry.kind for entry in standing.entries(after=head[0])][-4:] == list(ACTS)
    assert stands_in_of(standing.emergency) == StandsIn(chain=main.chain, seq=head[0], hash=head[1])
    standing.close()


def test_it_is_refused_without_a_reason_twice_or_where_another_journal_is(tmp_path: Path) -> None:
    full_journal(tmp_path / "other.db")
    with new_journal(tmp_path / "main.db") as main:
        who, clock = Whoever("ana", None), VirtualClock(START)
        with pytest.raises(Refused, match="needs a reason"):
            stand_in(main, 0, clock, who, str(tmp_path / "e.db"), "full", "  ", rehearsal=True)
        with pytest.raises(Refused, match="no emergency journal of this journal"):
            stand_in(main, 0, clock, who, str(tmp_path / "other.db"), "full", "why", rehearsal=True)
        with pytest.raises(JournalUnwritable, match="cannot be made"):
            stand_in(main, 0, clock, who, "/proc/nowhere/e.db", "full", "why", rehearsal=True)
        standing = _stand_in(main, tmp_path / "e.db")
        with pytest.raises(Refused, match="written already"):
            stand_in(standing, 0, clock, who, str(tmp_path / "f.db"), "full", "why", rehearsal=True)
        standing.close()
        again = _stand_in(main, tmp_path / "e.db")  # the console was left and started again, the disk still full
        assert again.emergency.count() == 3
        again.close()


def test_merged_it_is_evidence_and_its_acts_count(tmp_path: Path) -> None:
    with new_journal(tmp_path / "main.db") as main:
        standing = _stand_in(main, tmp_path / "emergency.db")
        _acts(standing)
        standing.close()
        entry = merge(main, tmp_path / "emergency.db", "the disk has space again", "ana")
        body = entry.parsed()
        assert isinstance(body, EmergencyMerged)
        assert (body.entries, body.fits, body.stands_in.seq) == (6, "at the head", 1)
        assert [e.kind for e in told(main, ACTS)] == list(ACTS)
        assert {e.seq for e in told(main, ACTS)} == {entry.seq}
        assert len(list(expanded(entry, main.get_blob))) == 6
        asked = next(told(main, ("request",))).parsed()
        assert isinstance(asked, Requested)
        assert main.get_blob(asked.plan_blob) == PLAN
        evidence = main.get_blob(body.blob)
        assert evidence is not None
        (tmp_path / "evidence.jsonl").write_bytes(evidence)
        with pytest.raises(Refused, match="taken in already"):
            merge(main, tmp_path / "emergency.db", "again", "ana")
    assert verify(tmp_path / "main.db").ok
    out = verify(read_jsonl(tmp_path / "evidence.jsonl"))
    assert (out.ok, out.entries, out.head) == (True, 6, (6, body.head))


def test_a_merge_says_whether_the_journal_went_on_or_is_another(tmp_path: Path) -> None:
    with new_journal(tmp_path / "main.db") as main:
        standing = _stand_in(main, tmp_path / "one.db")
        standing.close()
        main.append(Note(text="meanwhile"))
        body = merge(main, tmp_path / "one.db", "why", "").parsed()
        assert isinstance(body, EmergencyMerged)
        assert body.fits == "entries since"
        main.append(Note(text="lost with the disk"))
        standing = _stand_in(main, tmp_path / "two.db")
        standing.close()
    (tmp_path / "main.db").unlink()
    with new_journal(tmp_path / "main.db") as main:  # the same chain, put back from before
        body = merge(main, tmp_path / "two.db", "why", "").parsed()
        assert isinstance(body, EmergencyMerged)
        assert body.fits == "not in this journal"
    with Journal.open(tmp_path / "other.db", device=device(), clock=VirtualClock(START)) as other:
        with pytest.raises(Refused, match="stands in for the journal of chain"):
            merge(other, tmp_path / "two.db", "why", "")
        with pytest.raises(Refused, match="no emergency journal"):
            merge(other, tmp_path / "main.db", "why", "")
        with pytest.raises(UsageError, match="cannot be read"):
            merge(other, tmp_path / "nothing.db", "why", "")


def test_one_that_was_tampered_with_is_not_taken_in(tmp_path: Path) -> None:
    with new_journal(tmp_path / "main.db") as main:
        standing = _stand_in(main, tmp_path / "e.db")
        _acts(standing)
        standing.close()
        connection = unguarded(tmp_path / "e.db")
        row = stored(connection)[3]
        forged = resealed(row._replace(operator="eve"), DeviceKey.from_seed(b"eve"))
        connection.execute("UPDATE entries SET operator = ?, hash = ?, signature = ? WHERE seq = 4",
                           (forged.operator, forged.hash, forged.signature))  # fmt: skip
        connection.close()
        with pytest.raises(Refused, match="does not verify"):
            merge(main, tmp_path / "e.db", "why", "")
        assert main.count() == 1


def test_on_standard_output_every_entry_is_printed_before_it_counts(tmp_path: Path) -> None:
    out = io.StringIO()
    with new_journal(tmp_path / "main.db") as main:
        stands_in = StandsIn(chain=main.chain, seq=1, hash=main.head()[1])
        genesis = genesis_of(device(), stands_in, rehearsal=True)
        with PrintedJournal(device(), VirtualClock(START), genesis, out) as printed:
            lines = len(out.getvalue().splitlines())
            assert lines == 1
            _acts(printed)
            assert [e.kind for e in printed.entries()] == ["genesis", *ACTS]
        (tmp_path / "terminal.txt").write_text("plan  production/ranker\n" + out.getvalue() + "done\n")
        body = merge(main, tmp_path / "terminal.txt", "stdout was all there was", "ana").parsed()
        assert isinstance(body, EmergencyMerged)
        assert body.entries == 5
        asked = next(told(main, ("request",))).parsed()
        assert isinstance(asked, Requested)
        assert main.get_blob(asked.plan_blob) == PLAN
    assert verify(tmp_path / "main.db").ok
    (tmp_path / "empty.txt").write_text('{"nothing": 1}\n')
    with new_journal(tmp_path / "main.db") as main, pytest.raises(InputError, match="holds no entries"):
        merge(main, tmp_path / "empty.txt", "why", "")


def test_output_that_is_closed_records_nothing(tmp_path: Path) -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError(32, "Broken pipe")

    stands_in = StandsIn(chain="c", seq=1, hash="0" * 64)
    with pytest.raises(JournalUnwritable, match="cannot be printed"):
        PrintedJournal(device(), VirtualClock(START), genesis_of(device(), stands_in), Closed())


def test_an_ordinary_journal_stands_in_for_none(tmp_path: Path) -> None:
    with new_journal(tmp_path / "main.db") as main:
        assert stands_in_of(main) is None
        with pytest.raises(Refused, match="no emergency journal of this journal"):
            open_emergency(
                tmp_path / "main.db", device(), VirtualClock(START), StandsIn(chain="x", seq=1, hash="0" * 64),
                rehearsal=True,
            )  # fmt: skip
