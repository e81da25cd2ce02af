"""The book of baselines: what history says of each signal that is judged by evidence, kept ready for the sampler."""

from __future__ import annotations

from typing import Protocol

from rollback_console.model.observation import Blind, Norm


class Book(Protocol):
    """What the sampler asks of whoever knows the baselines of signals that are judged by evidence.

    Everything it answers is a function of the backend's data and of the arguments: a console opened cold and one that
    watched all along are told the same numbers.
    """

    async def prepare(self, at: float, since: float | None = None) -> None:
        """Make ready for the evaluations from `since` (default: `at` alone) up to `at`, both Unix seconds, inclusive:
        read what is missing of history, learn what is due. Cheap where nothing is. A replay calls it once with its
        whole span, and with `since` at the oldest `frozen_at` that it carries. Never raises: what cannot be read
        leaves what was learned before, or `Blind.QUERY_FAILED`."""
        ...

    def norm(self, index: int, number: int, at: float, frozen_at: float | None = None) -> tuple[float, Norm] | Blind:
        """The baseline p (events a trial) and the norm for signal `number` of deployment `index` at the evaluation
        `at`: for the window that was asked `maturity_s` earlier. With `frozen_at` (an evaluation time, at most a week
        before `at`) the level of that moment stays. `Blind`: there is nothing to compare with, and why."""
        ...

    def behind(self, index: int, number: int, at: float) -> str:
        """How much history stands behind that baseline, in words; empty where it is as much as was asked for."""
        ...
