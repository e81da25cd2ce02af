"""Alert rule unit tests in promtool's own format: promtool agrees with them, and the engine by imported rules does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from promtool_units import UnitTests, data_of, disagreements, expanded, read_tests

from decide.promtool_oracle import ask
from servers.prometheus import Prometheus

FILE = Path(__file__).parent / "rules" / "models_test.yml"
BY = ("deployment",)
TESTS: UnitTests = read_tests(FILE, BY)
GROUPS = list(range(len(TESTS.groups)))


def test_promtools_notation() -> None:
    assert expanded("1+2x3 4x2 _ _x2 5-1x1 NaN")[:-1] == [1, 3, 5, 7, 4, 4, 4, None, None, None, 5, 4]


@pytest.mark.real
def test_promtool_agrees_with_every_one() -> None:
    code, words = ask([FILE])
    assert code == 0, words


@pytest.mark.real
@pytest.mark.parametrize("number", GROUPS)
def test_the_engine_agrees_with_every_one(number: int, prometheus_server: Callable[..., Prometheus]) -> None:
    group = TESTS.groups[number]
    said, count = disagreements(prometheus_server(openmetrics=data_of(group)), TESTS, group, BY)
    assert said == []
    assert count >= 2


def test_there_are_enough_of_them() -> None:
    assert sum(len(group.expected) for group in TESTS.groups) >= 30
    assert len({each.alert for group in TESTS.groups for each in group.expected}) >= 15
