"""One signal of one deployment as the book of baselines holds it."""

from __future__ import annotations

from rollback_console.decide.baselines import Hours, Level, Profile
from rollback_console.decide.calendar import DAY_S, HOUR_S, Calendar, calendar_of
from rollback_console.decide.dispersion import Block
from rollback_console.engine.hourbook import Column, Trailing
from rollback_console.model.observation import Norm
from rollback_console.model.rules import Baseline, BaselineKind, EvidenceRule, SignalRule
from rollback_console.model.value import dataclass

HISTORY_S = 28 * DAY_S  # behind the noise of a signal whose baseline names no history of its own
_OWN_HISTORY = (BaselineKind.SEASONAL,)


@dataclass(frozen=True, slots=True)
class InForce:
    """What holds during one hour, as known at another. `p`: a baseline that stands for the hour; None: it glides with
    the profile."""

    hour: float
    known_hour: float
    profile: Profile
    level: Level
    norm: Norm
    p: float | None


class Place:
    """One signal of one deployment, and what was learned of it."""

    __slots__ = (
        "baseline", "calendar", "history_s", "index", "last", "n", "name", "noise", "past", "profiles", "queries",
        "rule", "signal", "wanted", "x",
    )  # fmt: skip

    def __init__(
        self, index: int, name: str, signal: SignalRule, baseline: Baseline, rule: EvidenceRule, x: Column, n: Column
    ) -> None:
        self.index, self.name, self.signal, self.baseline, self.rule = index, name, signal, baseline, rule
        self.x, self.n = x, n
        self.queries: tuple[Trailing, Trailing] = ((signal.x or "", 0.0), (signal.n or "", rule.maturity_s))
        self.calendar: Calendar = calendar_of(baseline)
        self.history_s = baseline.history_s if baseline.kind in _OWN_HISTORY else HISTORY_S
        self.profiles: dict[float, Profile | None] = {}
        self.noise: dict[float, tuple[Block, ...]] = {}
        self.wanted: set[float] = set()  # hours whose noise somebody asked for in vain
        self.past: dict[float, tuple[float, ...]] = {}  # excursions, by anchor; only for an adaptive dwell
        self.last: InForce | None = None

    def hours(self) -> Hours | None:
        x, n = self.x.values.get(self.index), self.n.values.get(self.index)
        if x is None or n is None:
            return None
        start = max(self.x.first, self.n.first)
        before_x, before_n = round((start - self.x.first) / HOUR_S), round((start - self.n.first) / HOUR_S)
        return Hours(start, x[before_x:] if before_x else x, n[before_n:] if before_n else n)

    @property
    def read_until(self) -> float:
        return min(self.x.high, self.n.high)


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be learned of a place from single windows as of `anchor`: its noise from those of the hours `noisy`,
    its excursions from those of `past`; None: not that."""

    place: Place
    anchor: float
    noisy: tuple[float, ...] | None
    past: tuple[float, ...] | None

    @property
    def hours(self) -> tuple[float, ...]:
        return (self.noisy or ()) + (self.past or ())
