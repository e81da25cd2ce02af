"""How far something long has come, in words with the time left."""

from __future__ import annotations

from rollback_console.model.text import span
from rollback_console.model.value import dataclass

_FIRST_GUESS_S = 2.0  # of work, before a time left is told


@dataclass(slots=True)
class Progress:
    """`done` of `total` pieces of the same work are done: deployments, evaluations, answers."""

    what: str  # "learning baselines"
    total: int
    done: int = 0


class Watched:
    """What somebody who looks now and then can say of it."""

    def __init__(self) -> None:
        self._seen: tuple[Progress, float, int] | None = None  # whose, since when, how much was done then

    def words(self, progress: Progress, now: float) -> str:
        """ "learning baselines: 312 of 1,000, 40 s left": by the pace since it was first looked at (`now`: monotonic
        seconds); no time while that is too short to tell."""
        if self._seen is None or self._seen[0] is not progress:
            self._seen = progress, now, progress.done
        _, since, before = self._seen
        said = f"{progress.what}: {progress.done:,} of {progress.total:,}"
        done, passed = progress.done - before, now - since
        if done <= 0 or passed < _FIRST_GUESS_S or progress.done >= progress.total:
            return said
        return f"{said}, {span(max(1.0, round(passed / done * (progress.total - progress.done))))} left"
