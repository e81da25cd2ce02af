"""A runbook's checks: placeholders as a policy fills them, few safe lines, errors as words. Alerts by their name."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from engine_tools import START, Flaky, fleet_rule, relative

from rollback_console.clock import WallClock
from rollback_console.engine.checks import SHOWN, filled, run_check
from rollback_console.engine.locate import alerting
from rollback_console.errors import UsageError
from rollback_console.model.identity import DeploymentId
from rollback_console.model.observation import Series
from rollback_console.model.rules import BaselineKind
from rollback_console.model.text import plain
from servers.prometheus import Prometheus

RULE = fleet_rule("ranker", (relative("orders", BaselineKind.LAST_WEEK),), labels={"model": 'r"a\\nk', "team": "x"})
UP = "up{$selector}"
ASKED = 'up{model="r\\"a\\\\nk",team="x"}'


def one(value: float, **labels: str) -> Series:
    return Series(tuple(sorted(labels.items())), ((START, value),))


def metrics(promql: str, *series: Series) -> Flaky:
    return Flaky({promql: series})


def test_placeholders_are_filled_as_a_policy_fills_them() -> None:
    assert filled(UP, RULE) == ASKED
    assert filled('x{d="$deployment"}[$window]', RULE) == 'x{d="ranker"}[1m]'
    assert filled("rate(x[$window])", None) == "rate(x[5m])"
    assert filled("x{$selector}", None) == "x{$selector}"
    assert filled("$windows", RULE) == "$windows"


async def test_a_line_says_what_tells_its_series_apart() -> None:
    own = dict(RULE.deployment.labels)
    backend = metrics(
        ASKED, one(3.0, version="8", zone="b", **own), one(0.012345678, version="7", **own), one(math.nan, **own),
        one(1.0, __name__="up", **own),
    )  # fmt: skip
    answer = await run_check(backend, UP, RULE, START)
    assert answer.at == START
    assert answer.query == ASKED
    assert answer.problem == ""
    assert set(answer.lines) == {"version 8, zone b: 3", "version 7: 0.0123457", "not a number", "up: 1"}


async def test_many_series_are_counted_and_none_is_no_problem() -> None:
    backend = metrics("up", *(one(float(i), pod=f"p{i:05}") for i in range(5000)))
    answer = await run_check(backend, "up", RULE, START)
    assert len(answer.lines) == SHOWN + 1
    assert answer.lines[0] == "pod p00000: 0"
    assert answer.lines[-1] == "and 4,992 more"
    empty = await run_check(metrics("up"), "up", None, START)
    assert empty.lines == ()
    assert empty.problem == ""


@pytest.mark.parametrize(
    "bad",
    ["a\x1b[2J\x1b]0;owned\x07b", "[/red] [@click=app.quit]x[/]", "a\u202egnp\u2066", "x" * 10_000,
     "one\ntwo\r\n\u2028", "模型 🚀 e" + "\u0301" * 40, "a\ud800b", ""],
)  # fmt: skip
async def test_hostile_labels_come_out_safe_and_bounded(bad: str) -> None:
    backend = metrics("up", *(one(1.0, **{bad or "l": bad, "__name__": bad, f"n{i}": bad}) for i in range(20)))
    answer = await run_check(backend, "up", RULE, START)
    assert len(answer.lines) == SHOWN + 1
    for text in answer.lines:
        assert text == plain(text, 400)
        assert len(text) <= 220


async def test_what_goes_wrong_is_said_in_words() -> None:
    backend = metrics("up")
    backend.silent.add("up")
    assert "does not answer" in (await run_check(backend, "up", RULE, START)).problem
    assert "nothing was evaluated" in (await run_check(backend, "up", RULE, None)).problem
    assert "one deployment" in (await run_check(backend, UP, None, START)).problem
    assert "longer" in (await run_check(backend, "x" * 30_000, RULE, START)).problem


async def test_a_backend_without_rules_knows_no_alert() -> None:
    with pytest.raises(UsageError, match="there is no deployment HighErrorRate"):
        await alerting("HighErrorRate", metrics("up"), (RULE,), ())


RULES = """
groups:
- name: serving
  rules:
  - alert: HighErrorRate
    expr: errors > 5
  - alert: SlowToFire
    expr: errors > 5
    for: 1h
  - alert: Nobody
    expr: vector(1)
  - alert: Quiet
    expr: errors > 500
"""


@pytest.mark.real
async def test_a_real_prometheus_is_asked_whom_an_alert_is_about(
    prometheus_server: Callable[..., Prometheus], tmp_path: Path
) -> None:
    from random import Random

    from rollback_console.observe.prometheus import PrometheusBackend

    rules_file = tmp_path / "rules.yml"
    rules_file.write_text(RULES.replace("errors >", 'label_replace(vector(9), "deployment", "b", "", "") >'))
    server = prometheus_server(rule_files=[rules_file])
    server.wait_for('ALERTS{alertname="SlowToFire"}')
    server.wait_for('ALERTS{alertname="HighErrorRate", alertstate="firing"}')
    server.wait_for('ALERTS{alertname="Nobody"}')
    backend = PrometheusBackend(server.url, auth=None, headers={}, clock=WallClock(), random=Random(1))
    fleet = tuple(fleet_rule(each, RULE.signals) for each in ("a", "b"))
    twin = replace(
        fleet[1], deployment=replace(fleet[1].deployment, id=DeploymentId("staging", "b"))
    )  # the same labels: an alert is about both
    try:
        here = DeploymentId("production", "b")
        assert await alerting("HighErrorRate", backend, fleet, ()) == here
        assert await alerting("SlowToFire", backend, fleet, ()) == here
        most_urgent_first = (DeploymentId("production", "a"), twin.deployment.id, here)
        assert await alerting("HighErrorRate", backend, (*fleet, twin), most_urgent_first) == twin.deployment.id
        for name, why in (
            ("Nobody", "name no deployment of this fleet"),
            ("Quiet", "the alert Quiet is inactive"),
            ("NoSuchAlert", "there is no deployment NoSuchAlert in this fleet, and no alerting rule of that name"),
        ):
            for rules in (fleet, fleet[:1]):
                with pytest.raises(UsageError, match=why):
                    await alerting(name, backend, rules, ())
        answer = await run_check(backend, "count by (alertname) (ALERTS)", fleet[0], time.time())
        assert "alertname HighErrorRate: 1" in answer.lines
        wrong = await run_check(backend, "sum(((", fleet[0], time.time())
        assert "parse" in wrong.problem or "refuses" in wrong.problem
        assert backend.health().state.value == "ok"  # a query that is wrong is no outage
    finally:
        await backend.close()
