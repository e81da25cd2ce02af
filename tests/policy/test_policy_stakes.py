"""What is at stake, in a policy: a loss budget, bounds by the impact, a false rollback's cost; bounds that clear
elsewhere than they fire, and signals that fire whatever else is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rollback_console.decide.judge import FRESH, decide
from rollback_console.model.observation import Observation, Reading
from rollback_console.model.rules import Curve, Or, Tiered, Uses
from rollback_console.model.verdict import TriggerState
from rollback_console.policy.diff import diff
from rollback_console.policy.explain import explain
from rollback_console.policy.load import LoadedPolicy, load_policy, parse_policy
from rollback_console.policy.schema import schema

HEAD = """schema: rollback-console/policy/v1
name: p
version: 1
deployments: [{name: a, environment: production, model: {name: m, alias: c}}]
recovery: [{path: version, driver: mlflow-alias}]
"""
CONVERSION = "conversion: {area: business, worse: lower, x: a, n: b, baseline: {kind: seasonal}, maturity: 3m}"
PRICED = "impact: {revenue_per_minute: {value: revenue, unit: EUR}"


def load(tmp_path: Path, *, signals: str = "", trigger: str = "{}", impact: str = "}", name: str = "p") -> LoadedPolicy:
    path = tmp_path / f"{name}.yaml"
    lines = "".join(f"  {each}\n" for each in (CONVERSION, *filter(None, signals.split("\n"))))
    path.write_text(f"{HEAD}signals:\n{lines}trigger: {trigger}\n{PRICED}{impact}\n")
    return load_policy(path)


def test_a_loss_budget_stands_in_the_trigger_and_in_words(tmp_path: Path) -> None:
    loaded = load(tmp_path, trigger="{loss_budget: 5000}")
    assert loaded.rules[0].trigger.loss_budget == 5_000.0
    assert not loaded.warnings
    text = "\n".join(explain(loaded))
    assert "alone it must stay full for 30m (default risk normal), or until 5,000 EUR are lost meanwhile" in text
    changes = diff(load(tmp_path, name="q"), loaded)
    assert "loss budget 5000 instead of none" in [change.text for change in changes]
    dearer = load(tmp_path, trigger="{loss_budget: 9000}", name="q")
    assert "loss budget 9000 instead of 5000: fires later" in [change.text for change in diff(loaded, dearer)]


def test_what_a_false_rollback_costs_has_a_default_that_is_said(tmp_path: Path) -> None:
    usual = load(tmp_path, trigger="{dwell: adaptive}")
    assert usual.rules[0].impact.false_rollback is None
    assert "A rollback that was not needed costs 10k EUR, as much as a minute" in "\n".join(explain(usual))
    own = load(tmp_path, trigger="{dwell: adaptive}", impact=", false_rollback: 500}", name="q")
    assert own.rules[0].impact.false_rollback == 500.0
    assert "A rollback that was not needed costs 500 EUR (written)." in explain(own)
    assert "false rollback 500 instead of none" in "\n".join(change.text for change in diff(usual, own))
    assert "not needed" not in "\n".join(explain(load(tmp_path, name="r")))


def test_a_bound_by_the_impact(tmp_path: Path) -> None:
    errors = "errors: {worse: higher, value: e, breach: {above: {by: impact, points: {1000: 2%, 0: 5%}}}}"
    loaded = load(tmp_path, signals=errors)
    breach = loaded.rules[0].signals[1].breach
    assert breach.curve == Curve("impact", ((0.0, 0.05), (1_000.0, 0.02)))
    assert breach.above == 0.05
    assert "above what varies: 5 % at 0, 2 % at 1,000 of revenue lost a minute" in "\n".join(explain(loaded))
    flat = load(tmp_path, signals=errors.replace("2%", "5%"), name="q")
    assert diff(loaded, flat)[0].where == "signals.errors.breach"


def test_a_loss_budget_where_nothing_is_judged_by_evidence_is_unused() -> None:
    text = HEAD + "signals: {c: {area: business, worse: lower, value: c, breach: {below: 1}}}\n"
    loaded = parse_policy((text + "trigger: {loss_budget: 5}\n" + PRICED + "}\n").encode(), "f")
    assert [each.path for each in loaded.warnings] == ["trigger.loss_budget"]


def test_a_critical_signal_fires_whatever_else_is_written(tmp_path: Path) -> None:
    errors = "errors: {worse: higher, value: e, breach: {above: 2%}, critical: true}"
    signals = errors + "\nslow: {worse: higher, value: s, breach: {above: 1}}"
    loaded = load(tmp_path, signals=signals, trigger='{when: "conversion and slow"}')
    trigger = loaded.rules[0].trigger
    assert trigger.text == "errors or conversion and slow"
    assert isinstance(trigger.when, Or)
    assert trigger.when.items[0] == Uses("errors")
    assert "The condition is `errors or conversion and slow`" in "\n".join(explain(loaded))
    own = load(tmp_path, signals=signals, trigger='{when: "errors or slow"}', name="q")
    assert own.rules[0].trigger.text == "errors or slow", "it stands there already"
    default = load(tmp_path, signals=signals, name="r")
    assert isinstance(default.rules[0].trigger.when, Tiered)
    assert [signal.sufficient_alone for signal in default.rules[0].signals] == [False, True, False]


@pytest.mark.parametrize(
    ("breach", "values", "words"),
    [
        ("{above: 2%, clear: 1%}", (0.03, 0.015, 0.009), "above 2 %, once it fired until 1 %"),
        ("{below: 20, clear: 30}", (10.0, 25.0, 31.0), "below 20, once it fired until 30"),
        ("{degraded_by: 50%, clear: 10%, baseline: {kind: fixed, value: 100}}", (40.0, 80.0, 95.0),
         "once it fired until 10 %"),
    ],
)  # fmt: skip
def test_what_fired_is_over_only_where_it_clears(breach: str, values: tuple[float, float, float], words: str) -> None:
    worse = "higher" if "above" in breach else "lower"
    text = f"{HEAD}signals: {{s: {{worse: {worse}, value: s, breach: {breach}}}}}\ntrigger: {{dwell: 1m}}\n"
    loaded = parse_policy(text.encode(), "f")
    (rule,) = loaded.rules
    assert words in "\n".join(explain(loaded))
    bad, between, good = values

    def states(*seen: float) -> list[TriggerState]:
        found, memory = [], FRESH
        for k, value in enumerate(seen):
            verdict, memory = decide(
                rule, Observation(rule.deployment.id, 60.0 * k + 60.0, (Reading(value),), "1"), memory
            )
            found.append(verdict.state)
        return found

    fired, healthy, pending = TriggerState.FIRED, TriggerState.HEALTHY, TriggerState.PENDING
    assert states(between, bad, between, bad, bad) == [healthy, pending, healthy, pending, fired]
    assert states(bad, bad, between, between, good, between) == [pending, fired, fired, fired, healthy, healthy]
    without = parse_policy(text.replace(breach, breach.split(", clear")[0] + (
        ", baseline: {kind: fixed, value: 100}}" if "degraded" in breach else "}")).encode(), "f")  # fmt: skip
    (change, *_) = diff(without, loaded)
    assert "once it fired until" in change.after


def test_the_schema_knows_the_words() -> None:
    found = json.dumps(schema("policy"))
    for word in ("loss_budget", "false_rollback", "critical", "clear", '"impact"'):
        assert word in found
