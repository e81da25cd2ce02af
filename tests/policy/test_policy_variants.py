"""A sweep's settings: each is the policy as it would be had it been written so."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollback_console.errors import UsageError
from rollback_console.policy.load import LoadedPolicy, parse_policy
from rollback_console.policy.variants import parse_sweep, variants

POLICY = """\
schema: rollback-console/policy/v1
name: swept
version: 1
deployments: [{name: a, environment: p, model: {name: m, alias: champion}}]
signals:
  orders: {worse: lower, value: orders, margin: 5%, baseline: {kind: last_week}}
  volume: {worse: lower, value: volume, breach: {degraded_by: 60%, baseline: {kind: last_week}}}
  errors: {worse: higher, value: errors, breach: {above: 2%}}
trigger: {when: orders or volume or errors, dwell: 5m}
"""


SWEPT = "what is swept is dwell, margin, budget or SIGNAL.margin"


def loaded(text: str = POLICY) -> LoadedPolicy:
    return parse_policy(text.encode(), "policy.yaml")


def test_a_setting_is_what_the_policy_would_be() -> None:
    policy = loaded()
    found = variants(policy, [parse_sweep("dwell=1m, 5m,15m")])
    assert [each.setting.text for each in found] == ["dwell=1m", "dwell=5m (as written)", "dwell=15m"]
    assert [each.rules[0].trigger.dwell_s for each in found] == [60.0, 300.0, 900.0]
    for each, written in zip(found, ("1m", "5m", "15m"), strict=True):
        assert each.rules[0].trigger == loaded(POLICY.replace("dwell: 5m", f"dwell: {written}")).rules[0].trigger
    assert [each.setting.caution for each in found] == [0, 1, 2]


def test_a_margin_goes_wherever_one_stands_and_nowhere_else() -> None:
    (written, found) = variants(loaded(), [parse_sweep("margin=7%")])
    assert written.setting.text == "(as written)"
    assert [each.breach.degraded_by for each in found.rules[0].signals] == [0.07, 0.07, None]
    assert found.rules[0].signals[2].breach.above == 0.02


def test_a_margin_of_one_signal_is_its_alone() -> None:
    _, found = variants(loaded(), [parse_sweep("volume.margin=30%")])
    assert found.setting.text == "volume.margin=30%"
    assert [each.breach.degraded_by for each in found.rules[0].signals] == [0.05, 0.3, None]
    both = variants(loaded(), [parse_sweep("orders.margin=2%,5%"), parse_sweep("volume.margin=30%,60%")])
    assert [each.setting.text for each in both] == [
        "orders.margin=2% volume.margin=30%", "orders.margin=2% volume.margin=60%",
        "orders.margin=5% volume.margin=30%", "orders.margin=5% volume.margin=60% (as written)",
    ]  # fmt: skip
    assert [each.setting.caution for each in both] == [0, 1, 1, 2]


@pytest.mark.parametrize(
    ("sweeps", "says"),
    [
        (["order.margin=1%,2%"], "policy.yaml has no signal 'order': did you mean orders.margin"),
        (["zzz.margin=1%,2%"], "policy.yaml has no signal 'zzz': it has orders, volume, errors"),
        (["errors.margin=1%,2%"], "changes nothing in policy.yaml: that signal has no margin"),
        (["margin=1%,2%", "orders.margin=1%"], "--sweep margin is of every signal, this one too: leave one out"),
    ],
)
def test_a_signal_that_cannot_be_swept_is_said(sweeps: list[str], says: str) -> None:
    with pytest.raises(UsageError) as error:
        variants(loaded(), [parse_sweep(each) for each in sweeps])
    assert says in str(error.value)


def test_every_combination_and_the_policy_as_it_stands_first() -> None:
    found = variants(loaded(), [parse_sweep("dwell=1m,2m"), parse_sweep("margin=1%,2%")])
    assert [each.setting.text for each in found] == [
        "(as written)", "dwell=1m margin=1%", "dwell=1m margin=2%", "dwell=2m margin=1%", "dwell=2m margin=2%",
    ]  # fmt: skip
    assert [each.setting.caution for each in found] == [0, 0, 1, 1, 2]
    assert len(variants(loaded(), [])) == 1


def test_a_policy_without_a_trigger_has_its_defaults_swept() -> None:
    text = POLICY.replace("trigger: {when: orders or volume or errors, dwell: 5m}\n", "")
    found = variants(loaded(text), [parse_sweep("dwell=1m,9m")])
    assert [each.rules[0].trigger.dwell_s for each in found][1:] == [60.0, 540.0]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("hold=1m,2m", f"--sweep hold=1m,2m: {SWEPT}: write --sweep dwell=1m,5m,15m"),
        ("dwell", f"--sweep dwell: {SWEPT}: write --sweep dwell=1m,5m,15m"),
        (".margin=1%", f"--sweep .margin=1%: {SWEPT}: write --sweep dwell=1m,5m,15m"),
        ("orders.margin=5", "--sweep orders.margin: '5' is not a percentage: write --sweep orders.margin=1%,2%,5%"),
        ("dwell=5", "--sweep dwell: 5 is not a duration: write --sweep dwell=1m,5m,15m"),
        ("dwell=1m,,2m", "--sweep dwell: '' is not a duration: write --sweep dwell=1m,5m,15m"),
        ("margin=5", "--sweep margin: '5' is not a percentage: write --sweep margin=1%,2%,5%"),
        ("budget=often", "--sweep budget: 'often' is not a duration: write --sweep budget=30d,90d,365d"),
    ],
)
def test_what_cannot_be_swept_is_said(text: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_sweep(text)
    assert str(caught.value).replace("'5' is not a duration", "5 is not a duration") == says


def test_what_the_policy_cannot_be_is_said_with_its_place() -> None:
    with pytest.raises(UsageError) as caught:
        variants(loaded(), [parse_sweep("margin=120%,5%")])
    assert "--sweep margin=120%: signals.orders.margin: nothing falls by more than 100%" in str(caught.value)
    with pytest.raises(UsageError, match="dwell stands there twice"):
        variants(loaded(), [parse_sweep("dwell=1m"), parse_sweep("dwell=2m")])
    many = [parse_sweep("dwell=" + ",".join(f"{k}m" for k in range(1, 11))), parse_sweep("margin=1%,2%,3%,4%,5%,6%,7%")]
    with pytest.raises(UsageError, match="70 settings, more than 64"):
        variants(loaded(), many)


def test_what_would_change_nothing_is_refused() -> None:
    text = POLICY.replace("orders: {worse: lower, value: orders, margin: 5%, baseline: {kind: last_week}}",
                          "orders: {worse: lower, value: orders, breach: {below: 3}}")  # fmt: skip
    text = text.replace("breach: {degraded_by: 60%, baseline: {kind: last_week}}", "breach: {below: 1}")
    with pytest.raises(UsageError, match=r"margin changes nothing in policy\.yaml: no signal has a margin"):
        variants(loaded(text), [parse_sweep("margin=1%,2%")])
    with pytest.raises(UsageError, match=r"budget changes nothing in policy\.yaml: no signal is judged by evidence"):
        variants(loaded(), [parse_sweep("budget=30d,90d")])


def test_the_file_itself_is_not_touched(tmp_path: Path) -> None:
    policy = loaded()
    before = policy.data
    variants(policy, [parse_sweep("dwell=1m,2m")])
    assert policy.data == before
    assert policy.rules == loaded().rules


EVIDENCE = """\
schema: rollback-console/policy/v1
name: swept
version: 1
deployments: [{name: a, environment: p, model: {name: m, alias: champion}}]
signals:
  conversion:
    worse: lower
    x: sum by (deployment) (increase(orders_total[$window]))
    n: sum by (deployment) (increase(visits_total[$window]))
    window: 1m
    baseline: {kind: fixed, value: 3%}
  errors: {worse: higher, value: errors, breach: {above: 2%}}
"""


def test_evidence_takes_every_setting() -> None:
    sweeps = [parse_sweep("dwell=2m,9m"), parse_sweep("margin=1%"), parse_sweep("budget=7d,30d")]
    found = [each.rules[0] for each in variants(loaded(EVIDENCE), sweeps)][1:]
    judged = [rule.signals[0].evidence for rule in found]
    assert [(e.dwell_s, e.margin, e.budget_s / 86_400) for e in judged if e is not None] == [
        (120.0, 0.01, 7.0), (120.0, 0.01, 30.0), (540.0, 0.01, 7.0), (540.0, 0.01, 30.0),
    ]  # fmt: skip
    assert all(rule.signals[1].breach.above == 0.02 for rule in found)


def test_a_budget_without_a_unit_is_so_many_a_week_for_all() -> None:
    found = variants(loaded(EVIDENCE), [parse_sweep("budget=2,0.5,90d")])
    judged = [each.rules[0].signals[0].evidence for each in found]
    assert [each.budget_s for each in judged if each is not None] == [302_400.0, 1_209_600.0, 90 * 86_400.0]
    assert [each.setting.text for each in found] == ["budget=2", "budget=0.5", "budget=90d (as written)"]
    assert [each.setting.caution for each in found] == [0, 1, 2]


def test_what_is_asked_is_the_same_for_every_setting() -> None:
    """So that data is read once."""
    from rollback_console.engine.queries import plan_queries

    for text in (POLICY, EVIDENCE):
        sweeps = [parse_sweep("dwell=2m,9m"), parse_sweep("margin=1%,3%")]
        plans = [plan_queries(each.rules) for each in variants(loaded(text), sweeps)]
        assert all(plan.queries == plans[0].queries for plan in plans)
