"""A drill as the screen shows it: its story, its hint, and what it was worth once it is over."""

from __future__ import annotations

from collections.abc import Iterator

from rollback_console.model.text import duration, plain
from rollback_console.model.value import dataclass

CONFIRMATION = "the confirmation"  # as a screen says that it shows it
Line = tuple[tuple[str, str], ...]  # (text, role) pairs that stand behind each other


WHEN = (
    "start", "pending", "fired", "blind", "focus", "walk", "plan", "authorize", "execute", "verify", "recovered",
    "over",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Hint:
    """What a scenario says to a newcomer once a step of `WHEN` is reached: why it is needed."""

    when: str
    say: str


@dataclass(frozen=True, slots=True)
class DrillTime:
    """One part of the answer: seconds from the first fire, what the scenario allows, and what the best drill took.
    None: it never came to that, or nothing is known of it."""

    name: str  # notice | decide | authorize | act | recover
    took_s: float | None
    band_s: float | None
    best_s: float | None = None

    @property
    def late(self) -> bool:
        """Did it take longer than its band."""
        return self.took_s is not None and self.band_s is not None and self.took_s > self.band_s


@dataclass(frozen=True, slots=True)
class DrillReport:
    """What one drill was worth, in words and numbers. `sections`: (title, lines), in their order; one without lines
    says that there was nothing."""

    scenario: str
    title: str
    operator: str
    seed: int
    passed: bool
    headline: str
    because: tuple[str, ...]
    times: tuple[DrillTime, ...]
    best: str  # who the best drill is by, or why there is none yet
    sections: tuple[tuple[str, tuple[str, ...]], ...] = ()
    mark: str = ""  # "": whether it passed
    beside: str = "best"  # what the last column is called

    def lines(self, width: int) -> Iterator[Line]:
        """The report as lines of at most `width` cells, each a row of (text, role); roles are those of the screens."""
        mark, role = ("✓ PASSED", "ok") if self.passed else ("✗ NOT PASSED", "bad")
        yield ((f"{self.mark or mark}  ", role), (plain(self.title, max(10, width - 16)), "title"))
        yield from _wrapped(self.headline, width, "bold")
        for reason in self.because:
            yield from _wrapped(reason, width, "bad", first="  ✗ ")
        yield ()
        yield from self._table(width)
        for title, said in self.sections:
            yield ()
            yield ((title, "head"),)
            for each in said or ("nothing",):
                yield from _wrapped(each, width, "" if said else "dim", first="  ")

    def _table(self, width: int) -> Iterator[Line]:
        yield ((f"{'':<12}{'you':>8}  {'band':>8}  {self.beside:>8}", "dim"),)
        for each in self.times:
            took, band, best = (_clock(value) for value in (each.took_s, each.band_s, each.best_s))
            word = "late" if each.late else "never" if each.took_s is None and each.band_s is not None else ""
            role = "bad" if word else "ok"
            yield (
                (f"{each.name:<12}", ""), (f"{took:>8}", role), (f"  {band:>8}", "dim"), (f"  {best:>8}", "dim"),
                (f"  {word}", role),
            )  # fmt: skip
        yield from _wrapped(self.best, width, "dim")


@dataclass(frozen=True, slots=True)
class DrillView:
    """The drill that goes on. `story`: what the operator is told first; `hint`: what the tutorial says now, "" where
    nobody is taught; `said`: the hints so far, the newest last; `report`: once it is `over`."""

    scenario: str
    title: str
    story: str
    klass: str = ""
    tutorial: bool = False
    hint: str = ""
    keys: str = ""  # by which keys the step goes
    said: tuple[str, ...] = ()
    over: bool = False
    report: DrillReport | None = None
    asks: str = ""  # what is asked instead of ending it: a decision, in one line
    choices: tuple[str, ...] = ()  # what could be answered


def _clock(seconds: float | None) -> str:
    return "–" if seconds is None else duration(seconds)


def _wrapped(text: str, width: int, role: str, first: str = "") -> Iterator[Line]:
    """`text`, made safe, over as many lines as it takes."""
    lead, room, current = first, max(12, width - len(first)), ""
    for word in plain(text, 2_000).split(" "):
        joined = f"{current} {word}" if current else word
        if len(joined) > room and current:
            yield ((lead, role), (current, role))
            lead, current = " " * len(first), word
        else:
            current = joined
    yield ((lead, role), (current, role))
