"""The book of learned baselines, as the sampler knows it; what is in it is loaded where something is learned at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from rollback_console.model.observation import Blind, Norm
from rollback_console.model.rules import BaselineKind, DeploymentRule, Stretch
from rollback_console.observe.protocol import MetricBackend

if TYPE_CHECKING:
    from rollback_console.decide.adaptive import Stakes
    from rollback_console.engine.progress import Progress
    from rollback_console.engine.shelf import Shelf


class LeftOut(Protocol):
    """Which stretches people took out of the baselines by hand, as each evaluation knew them (`engine.declared`).
    Deployments are named environment/name, times are Unix seconds. `revision` changes whenever an answer may."""

    revision: int

    def excluded(self, deployment: str, at: float) -> tuple[Stretch, ...]:
        """What the evaluation at `at` of a deployment leaves out."""
        ...

    def steady(self, deployment: str, at: float) -> tuple[float, float]:
        """(after, until): evaluations later than the one and not later than the other are told the same as `at`."""
        ...

    def moments(self) -> tuple[float, ...]:
        """When what is left out changed, for anybody, rising. Empty: nothing ever was."""
        ...


class Book(Protocol):
    """What the sampler asks of whoever knows the baselines of signals that are judged by evidence.

    Everything it answers is a function of the backend's data and of the arguments: a console opened cold and one that
    watched all along are told the same numbers.
    """

    def leave_out(self, left_out: LeftOut) -> None:
        """From here on, learn without what people excluded by hand, each evaluation as it knew that."""
        ...

    progress: Progress | None  # of what `prepare` is at, where that takes long

    async def prepare(self, at: float, since: float | None = None, *, learned: bool = True) -> None:
        """Make ready for the evaluations from `since` (default: `at` alone) up to `at`, both Unix seconds, inclusive:
        read what is missing of history, learn what is due. Cheap where nothing is. A replay calls it once with its
        whole span, and with `since` at the oldest `frozen_at` that it carries. Never raises: what cannot be read
        leaves what was learned before, or `Blind.QUERY_FAILED`. With `learned` False only what runs beside is read."""
        ...

    def norm(self, index: int, number: int, at: float, frozen_at: float | None = None) -> tuple[float, Norm] | Blind:
        """The baseline p (events a trial) and the norm for signal `number` of deployment `index` at the evaluation
        `at`: for the events of the window that ends there. With `frozen_at` (an evaluation time, at most a week
        before `at`) the level of that moment stays. `Blind`: there is nothing to compare with, and why.

        `seasonal`: the learned baseline. `last_week`: three hours around the same local time a week before. `fixed`:
        its value. `control`: its rate in the same window, and its counts in the norm. `version`: this signal's own
        level; who knows when the version before ended puts its rate in the place of p."""
        ...

    def dwell(self, index: int, number: int, at: float, frozen_at: float | None, stakes: Stakes) -> float | None:
        """What an adaptive dwell (seconds) comes to where so much is at stake, as of the same time as `norm`; None
        where the signal's is not adaptive, or its past excursions are unknown."""
        ...

    def share(self, index: int, number: int, at: float) -> float | None:
        """The mean time (seconds) between false alarms that the signal has to keep at `at`, as its share of what its
        rotation may have a week (`engine.shares`); None where nothing is divided. It is in the norm as well."""
        ...

    def may_stand_frozen(self, index: int, number: int, at: float) -> bool:
        """Could a suspicion of the week before `at` have frozen another level than the one in force: one that stood
        more than half a margin on its better side. Who begins to look at `at` cannot know."""
        ...

    def behind(self, index: int, number: int, at: float) -> str:
        """How much history stands behind that baseline, in words; empty where it is as much as was asked for."""
        ...


def book_of(rules: Sequence[DeploymentRule], metrics: MetricBackend, shelf: Shelf | None = None) -> Book | None:
    """The book that these rules need; None where all they compare with is plain. `shelf`: where it keeps between runs
    what it read and learned."""
    if not any(
        signal.evidence is not None or (signal.baseline is not None and signal.baseline.kind is BaselineKind.CONTROL)
        for rule in rules
        for signal in rule.signals
    ):
        return None
    from rollback_console.engine.seasonal import SeasonalBook

    return SeasonalBook(rules, metrics, shelf)
