"""What a verification found: problems in a word of a closed set and a sentence, the first bad number, warnings."""

from __future__ import annotations

from rollback_console.journal.chain import Row
from rollback_console.journal.diagnose import Diagnosis, Expected, Suspicion, What
from rollback_console.model.value import dataclass

MOST = 100  # findings kept of each sort; the rest are counted


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong: the entry's number (None: the file as a whole), and what, in a sentence and (for problems) in
    one word of `diagnose.What`."""

    seq: int | None
    message: str
    what: What | None = None

    def __str__(self) -> str:
        if self.seq is None:
            return self.message
        return f"entry {self.seq}: {self.what}: {self.message}" if self.what else f"entry {self.seq}: {self.message}"


class Findings:
    """Collects them; what is said of an entry is said again, and better, when the next one tells more."""

    def __init__(self) -> None:
        self.problems: list[Finding] = []
        self.warnings: list[Finding] = []
        self.suppressed = 0
        self.first_bad: int | None = None
        self._suspicion: Suspicion | None = None
        self._gaps: list[tuple[int, int, int]] = []  # numbers missing, first and last; the problem that says so

    def problem(self, seq: int | None, message: str, what: What) -> None:
        """Something is wrong. A number counts for `first_bad`."""
        if seq is not None:
            self.first_bad = seq if self.first_bad is None else min(self.first_bad, seq)
        if len(self.problems) < MOST:
            self.problems.append(Finding(seq, message, what))
        else:
            self.suppressed += 1

    def warn(self, seq: int | None, message: str) -> None:
        """Something to know that does not make it bad."""
        if len(self.warnings) < MOST:
            self.warnings.append(Finding(seq, message))

    def sound(self, row: Row) -> None:
        """The entry is what was signed, in its place: nothing more will be learnt about the one before."""
        if self._suspicion is not None:
            told = self._suspicion.told_by(row, row.seq)
            if told is not None:
                self._say_again(told)
            self._suspicion = None

    def entry(self, row: Row, expected: Expected, diagnosis: Diagnosis) -> None:
        """The entry did not verify. Says so, unless it is but the consequence of what was said before; and moves on."""
        numbered = isinstance(row.seq, int)
        number = diagnosis.signed_as or (row.seq if numbered else 0)
        shift = number - row.seq if numbered else 0
        told = self._suspicion.told_by(row, number) if self._suspicion and numbered else None
        if told is not None:
            self._say_again(told)
            expected.seq = row.seq
        follows = shift != 0 and shift == expected.shift and row.prev == expected.prev
        before = len(self.problems)
        if self._came_back(number) or told is not None or follows:
            self.suppressed += 1
        else:
            for what, message in diagnosis.faults:
                self._fault(diagnosis.seq, row, what, message)
        self._suspicion = None
        if len(self.problems) > before and numbered and row.seq <= expected.seq:
            signed_as = diagnosis.signed_as or (row.seq if diagnosis.as_signed else 0)
            self._suspicion = Suspicion(len(self.problems) - 1, expected.seq, expected.prev, row.hash, signed_as)
        expected.shift = shift
        expected.doubtful = True
        if diagnosis.as_signed:
            expected.seq = row.seq  # lines in another order keep their numbers: go on from this one
        expected.move_on(row, diagnosis.believed_hash)

    def _came_back(self, number: int) -> bool:
        """Is this one of the numbers that were said to be missing: then they were moved."""
        for at, (first, last, place) in enumerate(self._gaps):
            if first <= number <= last:
                moved = f"entry {number} stands elsewhere: not removed, but moved"
                self.problems[place] = Finding(self.problems[place].seq, moved, "reordered")
                del self._gaps[at]
                return True
        return False

    def _fault(self, seq: int, row: Row, what: What, message: str) -> None:
        if what == "removed" and len(self.problems) < MOST:
            self._gaps.append((seq, row.seq - 1, len(self.problems)))
        self.problem(seq, message, what)

    def _say_again(self, told: tuple[What, str]) -> None:
        assert self._suspicion is not None  # noqa: S101 - the caller looked
        place = self._suspicion.place
        self.problems[place] = Finding(self.problems[place].seq, told[1], told[0])

    def end(self) -> None:
        """Nothing follows."""
        if self._suspicion and (told := self._suspicion.told_by_the_end()):
            self._say_again(told)
        self._suspicion = None
