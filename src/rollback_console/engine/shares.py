"""The shares of a rotation's weekly false alarms, by tier and by traffic (`decide.budget`).

Traffic is what history says of the week before last Monday (00:00 UTC, an hour of lag as everywhere): trials a minute
in the mean, to the nearest power of two. So it changes once a week and seldom then, and whoever looks, whenever they
began, is told the same shares: they hang on nothing but the backend's data and the policy. Each share goes with the
norm into the tick, so that a decision is made again with the very share that it was made with.

While the week is not read, the shares are by tier alone, which is what the policy's bytes say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, MutableMapping, Sequence
from dataclasses import dataclass, field

from rollback_console.decide.budget import claims_of, quantised, shares
from rollback_console.decide.calendar import DAY_S, HOUR_S, LAG_S, WEEK_S, hour_of
from rollback_console.decide.condition import signals_of
from rollback_console.engine.hourbook import Column, Trailing
from rollback_console.model.identity import DeploymentId
from rollback_console.model.rules import DeploymentRule, SignalRule

_MONDAY_S = 4 * DAY_S  # Unix time began on a Thursday
_KEPT = 3  # marks whose shares are kept
_SLICE = 20  # deployments added up between two chances for others to run

Given = dict[tuple[DeploymentId, str], float]  # by deployment and signal: the mean time between its false alarms


def mark_of(at: float) -> float:
    """The Monday, 00:00 UTC, from which on the shares in force at `at` hold."""
    return (at - _MONDAY_S) // WEEK_S * WEEK_S + _MONDAY_S


@dataclass(frozen=True, slots=True)
class _Stands:
    """The traffic of one signal: a column of the book's, and the number of its deployment there."""

    deployment: DeploymentId
    signal: str
    index: int
    column: Column


@dataclass(slots=True)
class _Rotation:
    """The deployments of one policy, and where the traffic of each signal stands that claims a share."""

    per_week: float
    rules: list[DeploymentRule] = field(default_factory=list)
    traffic: list[_Stands] = field(default_factory=list)
    given: dict[float, Given] = field(default_factory=dict)  # by mark


class Shares:
    """The shares of all rotations of a fleet. `columns` are the book's: the traffic of what it does not learn from is
    entered there, and read with the rest."""

    def __init__(self, rules: Sequence[DeploymentRule], columns: MutableMapping[Trailing, Column]) -> None:
        self._rules = tuple(rules)
        self._rotations: dict[tuple[str, str], _Rotation] = {}
        self._of: dict[int, _Rotation] = {}
        for index, rule in enumerate(self._rules):
            per_week = rule.trigger.false_alarms_a_week
            if per_week is not None:
                key = (rule.policy, rule.policy_digest)
                rotation = self._of[index] = self._rotations.setdefault(key, _Rotation(per_week))
                rotation.rules.append(rule)
                rotation.traffic += [
                    _Stands(rule.deployment.id, signal.name, index, _column(columns, signal, index))
                    for signal in _claiming(rule)
                ]

    def __bool__(self) -> bool:
        return bool(self._rotations)

    def wanted(self, at: float, since: float) -> Iterator[tuple[Column, float, float]]:
        """The hours (column, from, to) that the evaluations from `since` to `at` hang on."""
        low, high = mark_of(since) - LAG_S - WEEK_S, mark_of(at) - LAG_S
        for rotation in self._rotations.values():
            for column in {id(each.column): each.column for each in rotation.traffic}.values():
                yield column, low, high

    async def learn(self, at: float, since: float) -> None:
        """Divide anew where a mark's week has been read and was not yet."""
        marks = [mark_of(since)]
        while marks[-1] < mark_of(at):
            marks.append(marks[-1] + WEEK_S)
        for rotation in self._rotations.values():
            for mark in marks[-_KEPT:]:
                if mark not in rotation.given and _read(rotation, mark):
                    rotation.given[mark] = await _divided(rotation, mark)
            for old in sorted(rotation.given)[:-_KEPT]:
                del rotation.given[old]

    def budget_s(self, index: int, signal: SignalRule, at: float) -> float | None:
        """The mean time (seconds) between false alarms that a signal has to keep at `at`, its slices sharing one; None
        where nothing is divided, or the week is not read."""
        rotation = self._of.get(index)
        if rotation is None:
            return None
        given = rotation.given.get(mark_of(hour_of(at)))
        claimed = self._rules[index].deployment.id, signal.slice_of or signal.name
        return given.get(claimed) if given is not None else None


def _claiming(rule: DeploymentRule) -> list[SignalRule]:
    """The signals that claim a share: judged by evidence, used by the trigger, not a part of another."""
    used = signals_of(rule.trigger.when)
    return [
        each
        for each in rule.signals
        if each.evidence is not None and each.name in used and each.slice_of is None and each.n_hour is not None
    ]


def _column(columns: MutableMapping[Trailing, Column], signal: SignalRule, index: int) -> Column:
    late = signal.evidence.maturity_s if signal.evidence is not None else 0.0
    query = signal.n_hour or ""
    column = columns.setdefault((query, late), Column(query, late))
    column.scope.add(index)
    return column


def _read(rotation: _Rotation, mark: float) -> bool:
    low, high = mark - LAG_S - WEEK_S, mark - LAG_S
    columns = {id(each.column): each.column for each in rotation.traffic}.values()
    return all(not each.empty and each.low <= low and each.high >= high for each in columns)


async def _divided(rotation: _Rotation, mark: float) -> Given:
    trials: dict[tuple[DeploymentId, str], float] = {}
    for count, each in enumerate(rotation.traffic):
        if count % _SLICE == _SLICE - 1:
            await asyncio.sleep(0)
        seen = _mean(each.column, each.index, mark)
        if seen is not None:
            trials[each.deployment, each.signal] = quantised(seen)
    claims = claims_of(rotation.rules, trials)
    return {(each.deployment, each.signal): each.budget_s for each in shares(rotation.per_week, claims)}


def _mean(column: Column, index: int, mark: float) -> float | None:
    """Trials a minute in the week before a mark, over the hours that were seen; None where none was."""
    values = column.values.get(index)
    if values is None:
        return None
    first = round((mark - LAG_S - WEEK_S - column.first) / HOUR_S)
    seen = [each for each in values[max(0, first) : max(0, first + round(WEEK_S / HOUR_S))] if each >= 0.0]
    return sum(seen) / len(seen) / 60.0 if seen else None
