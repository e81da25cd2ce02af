"""`policy diff`: what a change means, and which way."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings

from decide.decide_strategies import NAMES, expressions
from rollback_console.cli.main import run
from rollback_console.decide.condition import evaluate
from rollback_console.model.rules import Expression
from rollback_console.policy.diff import EASIER, HARDER, Change, diff, implication
from rollback_console.policy.load import parse_policy

DOCS = Path(__file__).parents[2] / "docs" / "policies.md"
BASE = """\
schema: rollback-console/policy/v1
name: ranking
version: 7
mode: observe
owners: [team-ranking]
links: {dashboard: "https://grafana.example/d"}
deployments:
  - {name: a, environment: production, tier: critical, model: {name: a, alias: champion}, labels: {deployment: a}}
  - {name: b, environment: production, model: {name: b, alias: champion}, labels: {deployment: b}}
signals:
  conversion:
    area: business
    worse: lower
    value: sum by (deployment) (rate(orders_total[$window]))
    window: 10m
    breach: {degraded_by: 8%, baseline: {kind: last_week}}
  error_rate:
    worse: higher
    value: sum by (deployment) (rate(errors_total[$window])) / sum by (deployment) (rate(requests_total[$window]))
    window: 5m
    breach: {above: 2%}
    blind: healthy
  latency: {worse: higher, value: latency_ms, window: 5m, breach: {above: 500}, unit: ms}
trigger:
  when: conversion and any 1 of [error_rate, latency]
  dwell: 10m
  hold: 5m
recovery:
  - {path: version, driver: mlflow-alias, verify: {for: 10m, within: 30m}}
runbook: model-version-rollback.md
"""


def changes(*edits: tuple[str, str], raised: bool = True) -> tuple[Change, ...]:
    text = BASE.replace("version: 7", "version: 8") if raised else BASE
    for old, new in edits:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return diff(parse_policy(BASE.encode(), "a"), parse_policy(text.encode(), "b"))


def _blank(found: re.Match[str]) -> str:
    return " " * len(found[0])


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("degraded_by: 8%", "degraded_by: 5%",
         "conversion counts as degraded at -5 % instead of at -8 %: fires more easily"),
        ("degraded_by: 8%", "degraded_by: 12%",
         "conversion counts as degraded at -12 % instead of at -8 %: fires less easily"),
        ("above: 2%", "above: 1.5%",
         "error_rate counts as degraded above 1.5 % instead of above 2 %: fires more easily"),
        ("above: 500}", "above: 500.001}",
         "latency counts as degraded above 500.001 ms instead of above 500 ms: fires less easily"),
        ("{kind: last_week}", "{kind: fixed, value: 3}",
         "conversion counts as degraded at -8 % of 3 instead of at -8 % of the same time last week"),
        ("worse: higher, value: latency_ms, window: 5m, breach: {above: 500}",
         "worse: lower, value: latency_ms, window: 5m, breach: {below: 500}",
         "latency counts as degraded below 500 ms instead of above 500 ms"),
        ("  dwell: 10m", "  dwell: 5m", "dwell 5m instead of 10m: fires sooner"),
        ("  dwell: 10m", "  dwell: 1h", "dwell 1h instead of 10m: fires later"),
        ("  hold: 5m", "  hold: 0", "hold 0s instead of 5m: stays fired for less time"),
        ("conversion and any", "conversion or any",
         "condition `conversion or any 1 of [error_rate, latency]` instead of"
         " `conversion and any 1 of [error_rate, latency]`: fires more easily"),
        ("and any 1 of", "and any 2 of",
         "condition `conversion and any 2 of [error_rate, latency]` instead of"
         " `conversion and any 1 of [error_rate, latency]`: fires less easily"),
        ("    blind: healthy", "    blind: {last: 5m}", "error_rate: blind last 5m instead of healthy"),
        ("mode: observe", "mode: advise", "mode advise instead of observe"),
        ("tier: critical", "tier: high", "production/a: tier high instead of critical"),
        ("  - {name: b, environment: production, model: {name: b, alias: champion}, labels: {deployment: b}}\n", "",
         "deployments removed: production/b"),
        ("[team-ranking]", "[team-ranking, ana]", "owners added: ana"),
        ("for: 10m, within", "for: 5m, within", "path version: verify for 5m instead of 10m: recovered is said sooner"),
        ("runbook: model-version-rollback.md\n", "", "runbook none instead of model-version-rollback.md"),
        ("latency_ms,", "max by (deployment) (latency_ms),",
         "latency: value `max by (deployment) (latency_ms)` instead of `latency_ms`"),
        ("window: 10m", "window: 20m", "conversion: window 20m instead of 10m"),
        ("name: ranking", "name: rankers", "name rankers instead of ranking"),
    ],
)  # fmt: skip
def test_each_change_is_said_once(old: str, new: str, said: str) -> None:
    found = [change.text for change in changes((old, new))]
    assert said in found
    assert len(found) == 1


def test_what_means_the_same_is_no_change() -> None:
    assert changes() == ()
    assert changes(("conversion and any 1 of [error_rate, latency]", "(latency or error_rate) and conversion")) == ()
    assert changes(("  dwell: 10m", "  dwell: 600s"), ("above: 2%", "above: 2.0%"),
                   ("owners: [team-ranking]", "owners:\n  - team-ranking   # us"),
                   ("rate(errors_total[$window])) / sum by", "rate(errors_total[5m]))  /  sum by")) == ()  # fmt: skip


def test_signals_and_deployments_that_come_and_go() -> None:
    row = "  - {name: b, environment: production, model: {name: b, alias: champion}, labels: {deployment: b}}\n"
    more = "".join(
        row.replace("name: b", f"name: c{k}").replace("deployment: b", f"deployment: c{k}") for k in range(12)
    )
    latency = "  latency: {worse: higher, value: latency_ms, window: 5m, breach: {above: 500}, unit: ms}\n"
    found = [
        change.text
        for change in changes(
            (row, row + more),
            (latency, latency.replace("latency:", "slow:", 1)),
            ("[error_rate, latency]", "[error_rate, slow]"),
        )
    ]
    assert "signal added: slow, degraded above 500 ms" in found
    assert "signal removed: latency" in found
    names = ", ".join(f"production/c{k}" for k in range(8))
    assert f"deployments added: {names} and 4 others" in found


def test_a_change_of_many_deployments_is_one_change() -> None:
    text = BASE.replace("alias: champion", "alias: live").replace("version: 7", "version: 8")
    (change,) = diff(parse_policy(BASE.encode(), "a"), parse_policy(text.encode(), "b"))
    assert change.text == "production/a, production/b: alias live instead of champion"


def test_expected_changes_and_days() -> None:
    row = '\n  expected: [{why: fair, from: "2026-11-20T10:00Z", to: "2026-11-21T10:00Z"}'
    row += ', {why: work, every: "Sun 02:00-04:00"}]'
    (change,) = changes(("  hold: 5m", "  hold: 5m" + row))
    assert change.text == (
        "expected why fair, start 2026-11-20 10:00Z, end 2026-11-21 10:00Z,"
        " why work, weekly days Sun, start 2h, length 2h, timezone UTC instead of none"
    )


def test_a_version_that_was_not_raised_is_said() -> None:
    found = [change.text for change in changes(("  hold: 5m", "  hold: 9m"), raised=False)]
    assert found[-1] == "the version is 7 in both: raise it with every change"
    assert len(found) == 2


@settings(max_examples=200, deadline=None)
@given(expressions, expressions)
def test_which_way_a_condition_changed_is_what_all_combinations_say(one: Expression, two: Expression) -> None:
    """Against `decide`'s own evaluation."""
    rows = [dict(zip(NAMES, row, strict=True)) for row in itertools.product((False, True), repeat=len(NAMES))]
    held = [(evaluate(one, row), evaluate(two, row)) for row in rows]
    wider, narrower = (False, True) in held, (True, False) in held
    expected = "" if wider and narrower else EASIER if wider else HARDER if narrower else "same"
    assert implication(one, two) == expected


POLICIES = [text for text in re.findall(r"```yaml\n(.*?)```", DOCS.read_text(), re.S) if "/policy/v1" in text]
POLICIES.append((Path(__file__).parent / "every_key.yaml").read_text())
_NUMBER = re.compile(r"(?<=[ {,])([0-9]+)(%|m|h|d)(?=[ },\n])")
NUMBERS = [
    (which, found.span(1))
    for which, text in enumerate(POLICIES)
    for found in _NUMBER.finditer(re.sub("#.*", _blank, text))
]


@pytest.mark.parametrize(("which", "span"), NUMBERS)
def test_every_number_of_a_policy_counts(which: int, span: tuple[int, int]) -> None:
    """No number of a policy is overlooked, and none is said twice: one more of any is one change."""
    text = POLICIES[which]
    start, end = span
    more = text[:start] + str(int(text[start:end]) + 1) + text[end:]
    seen = [change.text for change in diff(parse_policy(text.encode(), "a"), parse_policy(more.encode(), "b"))]
    assert len(seen) == 2, (text[start - 20 : end + 5], seen)
    assert "in both: raise it with every change" in seen[1]
    assert "(" not in seen[0].split("`")[0], "in words, not as a value of this program"


def test_there_are_many_numbers() -> None:
    assert len(NUMBERS) >= 30


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two, bad = tmp_path / "a.yaml", tmp_path / "b.yaml", tmp_path / "bad.yaml"
    one.write_text(BASE)
    two.write_text(BASE.replace("degraded_by: 8%", "degraded_by: 5%").replace("version: 7", "version: 8"))
    bad.write_text(BASE.replace("  dwell: 10m", "  dwell: ten"))
    assert run(["policy", "diff", str(one), str(one)]) == 0
    assert capsys.readouterr().out == "They mean the same.\n"
    assert run(["policy", "diff", str(one), str(two)]) == 1
    assert capsys.readouterr().out == "conversion counts as degraded at -5 % instead of at -8 %: fires more easily\n"
    assert run(["policy", "diff", str(one), str(two), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["same"] is False
    assert found["changes"] == [{
        "where": "signals.conversion.breach", "before": "at -8 %", "after": "at -5 %", "effect": "fires more easily",
        "text": "conversion counts as degraded at -5 % instead of at -8 %: fires more easily",
    }]  # fmt: skip
    assert run(["policy", "diff", str(bad), str(tmp_path / "none.yaml")]) == 2
    said = capsys.readouterr().err
    assert "bad.yaml:" in said
    assert "none.yaml:1:1: cannot be read" in said
