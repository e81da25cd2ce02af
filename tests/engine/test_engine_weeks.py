"""Where last week was left out, the newest week before that was not stands in its place: at a time, over a range."""

from __future__ import annotations

from dataclasses import replace

import pytest
from engine_tools import START, STEP, WEEK, Flaky, fleet_rule, labelled, relative

from rollback_console.engine.queries import Answer
from rollback_console.engine.sampler import Sampler
from rollback_console.model.rules import BaselineKind, DeploymentRule, Stretch

ORDERS = "max by (deployment) (orders)"


def _stretch(weeks: int, first: int = 10, last: int = 19) -> Stretch:
    """From the evaluation `first` to `last`, so many weeks ago."""
    return Stretch(START - weeks * WEEK + first * STEP, START - weeks * WEEK + last * STEP, "an incident")


def _rules(*stretches: Stretch) -> tuple[DeploymentRule, ...]:
    signal = relative("orders", BaselineKind.LAST_WEEK)
    assert signal.baseline is not None
    told = replace(signal, baseline=replace(signal.baseline, exclude=stretches))
    return fleet_rule("d0", [told]), fleet_rule("d1", [signal])


class _Backend(Flaky):
    """Each week's value is its number; the second week may not answer."""

    def __init__(self) -> None:
        points = [(START - k * WEEK + j * STEP, float(k)) for k in range(6, -1, -1) for j in range(30)]
        super().__init__({ORDERS: [labelled("orders", name, points) for name in ("d0", "d1")]})
        self.deaf_before = -1.0

    async def query(self, promql: str, at: float) -> tuple[object, ...]:  # type: ignore[override]
        self.silent = {promql} if promql == ORDERS and at < self.deaf_before else set()
        return await super().query(promql, at)

    async def query_range(self, promql: str, start: float, end: float, step: float) -> tuple[object, ...]:  # type: ignore[override]
        self.silent = {promql} if promql == ORDERS and start < self.deaf_before else set()
        return await super().query_range(promql, start, end, step)


async def _told(rules: tuple[DeploymentRule, ...], backend: _Backend) -> tuple[list[Answer], list[Answer]]:
    """Last week's query over thirty evaluations: as one range, and one by one."""
    sampler = Sampler(rules, backend)
    base = sampler.plan.columns[0].signals[0].base_value
    between = (await sampler.answers_between(START, START + 29 * STEP, STEP))[base]
    return between, [(await sampler.answers_at(START + k * STEP))[base] for k in range(30)]


@pytest.mark.parametrize("weeks", range(5))
async def test_the_newest_week_that_counts(weeks: int) -> None:
    between, one_by_one = await _told(_rules(*(_stretch(1 + k) for k in range(weeks))), _Backend())
    for answers in (between, one_by_one):
        for k, answer in enumerate(answers):
            touched = weeks and 10 < k <= 22  # windows of a minute that touch it
            wanted = None if touched and weeks == 4 else 1.0 + weeks if touched else 1.0
            assert answer.values.get(0) == wanted, k
            assert answer.values[1] == 1.0, "it is nobody else's"
            assert not answer.failed
            assert not answer.ambiguous


async def test_what_does_not_answer_fails_for_those_alone_who_need_it() -> None:
    backend = _Backend()
    backend.deaf_before = START - WEEK
    between, one_by_one = await _told(_rules(_stretch(1)), backend)
    for answers in (between, one_by_one):
        assert [k for k, answer in enumerate(answers) if answer.ambiguous] == list(range(11, 23))
        assert {frozenset(answer.ambiguous) for answer in answers} == {frozenset(), frozenset({0})}
        assert all(answer.values[1] == 1.0 and not answer.failed for answer in answers)
