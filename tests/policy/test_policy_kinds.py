"""What each kind of signal becomes, how the words choose between evidence and a bound, and what `risk:` fills in."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollback_console.decide.budget import budgeted, claims_of
from rollback_console.model.rules import (
    AdaptiveDwell,
    BaselineKind,
    Breach,
    CostRule,
    Curve,
    DeploymentRule,
    EvidenceRule,
    ExpectedChange,
    SignalKind,
    SignalRule,
    Worse,
)  # fmt: skip
from rollback_console.policy.explain import explain
from rollback_console.policy.expression import parse, unparse
from rollback_console.policy.load import LoadedPolicy, parse_policy
from servers.prometheus import Prometheus, make_openmetrics

DAY = 86_400.0
COUNTED = (
    "worse: lower, x: 'sum by (deployment) (increase(a[$window]))', n: 'sum by (deployment) (increase(b[$window]))'"
)


def load(signals: str, rest: str = "", deployments: str = "") -> LoadedPolicy:
    deployments = deployments or "  - {name: a, environment: production, model: {name: m, alias: champion}}\n"
    text = (
        "schema: rollback-console/policy/v1\nname: p\nversion: 1\n"
        f"deployments:\n{deployments}signals:\n{signals}"
        f"recovery: [{{path: version, driver: mlflow-alias}}]\n{rest}"
    )
    return parse_policy(text.encode(), "f")


def only(signal: str, rest: str = "") -> SignalRule:
    return load(f"  s: {{{signal}}}\n", rest).rules[0].signals[0]


@pytest.mark.parametrize(
    ("signal", "judged"),
    [
        (f"{COUNTED}, baseline: {{kind: seasonal}}", True),
        (f"{COUNTED}, baseline: {{kind: seasonal}}, margin: 2%", True),
        (f"{COUNTED}, baseline: {{kind: last_week}}, margin: 2%", True),
        (f"{COUNTED}, baseline: {{kind: fixed, value: 3%}}", True),
        (f"{COUNTED}, baseline: {{kind: control, control: b}}", True),
        (f"{COUNTED}, baseline: {{kind: version}}", True),
        (f"kind: ratio, {COUNTED}, baseline: {{kind: seasonal}}", True),
        (f"kind: count, {COUNTED}, baseline: {{kind: seasonal}}", True),
        (f"{COUNTED}, baseline: {{kind: last_week}}, breach: {{degraded_by: 5%}}", False),
        (f"{COUNTED}, breach: {{below: 2%}}", False),
        ("worse: lower, value: v, baseline: {kind: last_week}, margin: 5%", False),
        ("worse: lower, value: v, breach: {degraded_by: 5%, baseline: {kind: version}}", False),
        ("kind: latency, buckets: r_seconds_bucket, target: 1s, baseline: {kind: seasonal}", True),
        ("kind: latency, buckets: r_seconds_bucket, target: 1s, breach: {above: 5%}", False),
        ("kind: volume, value: v, baseline: {kind: last_week}", False),
    ],
)
def test_counted_with_a_baseline_and_no_bound_is_judged_by_evidence(signal: str, judged: bool) -> None:
    rule = only(signal)
    assert (rule.evidence is not None) is judged
    assert (rule.breach == Breach()) is judged  # what evidence judges has no bound that anybody could mistake for it
    assert rule.window_s == (60.0 if judged else 300.0)
    assert ((rule.x_hour, rule.n_hour) != (None, None)) is judged


def test_a_latency_counts_what_its_buckets_hold_above_the_target() -> None:
    rule = only("kind: latency, buckets: 'r_seconds_bucket{code!~\"5..\"}', target: 250ms, baseline: {kind: seasonal}")
    every = 'sum by (deployment) (increase(r_seconds_bucket{code!~"5..",le="+Inf"}[1m]))'
    under = 'sum by (deployment) (increase(r_seconds_bucket{code!~"5..",le="0.25"}[1m]))'
    assert rule.n == every
    assert rule.x == f"clamp_min({every} - {under}, 0)"
    assert rule.x_hour == rule.x.replace("[1m]", "[1h]")
    assert (rule.worse, rule.unit, rule.value) == (Worse.HIGHER, "%", None)


@pytest.mark.parametrize(
    ("metric", "target", "bucket"),
    [
        ("r_seconds_bucket", "250ms", 'le="0.25"'),
        ("r_seconds_bucket", "1s", 'le=~"1([.]0)?"'),
        ("r_seconds_bucket", "2.5", 'le="2.5"'),
        ("r_duration_milliseconds_bucket", "250ms", 'le=~"250([.]0)?"'),
        ("r_latency_ms_bucket", "1.5", 'le="1.5"'),
        ("r_bucket", "40", 'le=~"40([.]0)?"'),
        ("r_latency_us_bucket", "2ms", 'le=~"2000([.]0)?"'),
    ],
)
def test_a_target_is_in_the_unit_of_its_metric(metric: str, target: str, bucket: str) -> None:
    rule = only(f"kind: latency, buckets: {metric}, target: {target}, baseline: {{kind: seasonal}}")
    assert rule.x is not None
    assert f"{metric}{{{bucket}}}" in rule.x


def test_orders_above_a_value_are_worse_when_fewer() -> None:
    rule = only(
        "kind: value_per_order, area: business, buckets: order_value_bucket, target: 40, baseline: {kind: version}"
    )
    assert (rule.worse, rule.area) == (Worse.LOWER, "business")
    assert rule.evidence is not None


def test_deployments_with_other_labels_are_asked_one_by_one() -> None:
    deployments = (
        "  - {name: a, environment: production, model: {name: m, alias: champion}}\n"
        "  - {name: b, environment: production, labels: {model: b}, model: {name: m, alias: champion}}\n"
    )
    baseline = "{kind: control, control: $deployment-c}"
    signal = f"  s: {{kind: latency, buckets: r_seconds_bucket, target: 1s, baseline: {baseline}}}\n"
    one, two = (rule.signals[0] for rule in load(signal, deployments=deployments).rules)
    assert one.n == 'sum (increase(r_seconds_bucket{deployment="a",le="+Inf"}[1m]))'
    assert two.n == 'sum (increase(r_seconds_bucket{model="b",le="+Inf"}[1m]))'
    assert one.n_hour == 'sum (increase(r_seconds_bucket{deployment="a",le="+Inf"}[1h]))'
    assert one.baseline is not None
    assert two.baseline is not None
    assert (one.baseline.kind, one.baseline.control, two.baseline.control) == (BaselineKind.CONTROL, "a-c", "b-c")


def test_a_volume_collapses_by_default() -> None:
    rule = only("kind: volume, value: v, baseline: {kind: last_week}")
    assert (rule.worse, rule.breach) == (Worse.LOWER, Breach(degraded_by=0.6))
    assert only("kind: volume, value: v, margin: 30%, baseline: {kind: last_week}").breach == Breach(degraded_by=0.3)
    assert only("kind: volume, value: v, breach: {below: 5}").breach == Breach(below=5.0)


BURN = (
    "  slo: {kind: burn_rate, objective: 99.9%, x: 'sum by (deployment) (increase(e[$window]))', "
    "n: 'sum by (deployment) (increase(r[$window]))'}\n"
)
OTHER = "  errors: {worse: higher, value: v, breach: {above: 1}}\n"


def test_a_burn_rate_is_plain_bounds_that_the_trigger_joins() -> None:
    rule = load(BURN).rules[0]
    assert [(s.name, s.window_s, s.breach.above) for s in rule.signals] == [
        ("slo_1h", 3_600, 0.0144), ("slo_5m", 300, 0.0144), ("slo_6h", 21_600, 0.006), ("slo_30m", 1_800, 0.006),
    ]  # fmt: skip
    assert rule.signals[0].title == "Slo over 1h"
    assert rule.signals[3].x == "sum by (deployment) (increase(e[30m]))"
    assert unparse(rule.trigger.when) == "slo_1h and slo_5m or slo_6h and slo_30m"
    assert rule.trigger.text == "slo"


BURNS = "(slo_1h and slo_5m or slo_6h and slo_30m)"
CONVERSION = f"  conversion: {{{COUNTED}, baseline: {{kind: seasonal}}}}\n"


@pytest.mark.parametrize(
    ("signals", "rest", "when"),
    [
        (BURN + OTHER, "", f"{BURNS} or any 2 of [{BURNS}, errors]"),
        (BURN + OTHER, "trigger: {when: slo and errors}\n", f"{BURNS} and errors"),
        (BURN + OTHER, "trigger: {when: 'weight(slo: 2, errors: 1) >= 2'}\n", f"weight({BURNS}: 2, errors: 1) >= 2"),
        (BURN + CONVERSION, "", f"tiered of [conversion] or {BURNS}"),
        (BURN.replace("}\n", ", burn: [{rate: 3, long: 1d, short: 2h}]}\n"), "", "slo_1d and slo_2h"),
    ],
)
def test_a_burn_rates_name_stands_for_its_windows(signals: str, rest: str, when: str) -> None:
    assert load(signals, rest).rules[0].trigger.when == parse(when)


SLICED = (
    "  conversion: {worse: lower, x: 'sum by (deployment) (rate(a{$slice}[$window]))', "
    "n: 'sum by (deployment) (rate(b{ok=\"1\",$slice}[$window]))', baseline: {kind: seasonal}, "
    "slices: {label: country, values: [DE, U S]}}\n"
)


def test_slices_are_signals_that_share_one_budget() -> None:
    whole, german, american = load(SLICED).rules[0].signals
    assert [each.name for each in (whole, german, american)] == ["conversion", "conversion_DE", "conversion_U_S"]
    assert (whole.slice_of, german.slice_of, american.title) == (None, "conversion", "Conversion (U S)")
    assert whole.x == "sum by (deployment) (rate(a{}[1m]))"
    assert whole.n == 'sum by (deployment) (rate(b{ok="1",}[1m]))'
    assert american.x == 'sum by (deployment) (rate(a{country="U S"}[1m]))'
    assert german.n_hour == 'sum by (deployment) (rate(b{ok="1",country="DE"}[1h]))'
    rates = [1 / each.evidence.budget_s for each in (whole, german, american) if each.evidence is not None]
    assert sum(rates) == pytest.approx(1 / (90 * DAY))


def test_a_slice_agrees_with_other_signals_and_not_with_its_whole() -> None:
    rule = load(SLICED + OTHER).rules[0]
    assert rule.trigger.when == parse(
        "tiered of [conversion, errors] or tiered of [conversion_DE, errors] or tiered of [conversion_U_S, errors]"
    )
    written = load(SLICED + OTHER, "trigger: {when: conversion and errors}\n").rules[0].trigger
    assert written.when == parse("(conversion or conversion_DE or conversion_U_S) and errors")
    assert written.text == "conversion and errors"


def test_slices_of_a_histogram_need_no_placeholder_and_a_rotation_gives_them_one_share() -> None:
    rules = load(
        "  latency: {kind: latency, buckets: r_seconds_bucket, target: 1s, baseline: {kind: version}, "
        "slices: {label: country, values: [DE]}}\n"
        "  conversion: {worse: lower, x: a, n: b, baseline: {kind: seasonal}}\n"
    ).rules
    assert rules[0].signals[0].n == 'sum by (deployment) (increase(r_seconds_bucket{le="+Inf"}[1m]))'
    assert rules[0].signals[1].n == 'sum by (deployment) (increase(r_seconds_bucket{country="DE",le="+Inf"}[1m]))'
    assert [claim.slices for claim in claims_of(rules)] == [2, 1]
    budgets = [each.evidence.budget_s for each in budgeted(rules, 1.0)[0].signals if each.evidence is not None]
    assert budgets[0] == budgets[1] == pytest.approx(2 * budgets[2])
    text = "\n".join(explain(load(SLICED)))
    assert "the same for each country of DE, U S, all sharing one budget" in text
    assert "shared by its slices" in text
    assert text.count("Conversion") == 1


def risks(rest: str = "", deployments: str = "") -> list[DeploymentRule]:
    signals = (
        f"  s: {{{COUNTED}, baseline: {{kind: seasonal}}}}\n  e: {{worse: higher, value: v, breach: {{above: 1}}}}\n"
    )
    return list(load(signals, rest, deployments).rules)


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ("", EvidenceRule(90 * DAY, 300, 1_800, least_margin=0.005)),
        ("risk: normal\n", EvidenceRule()),
        ("risk: high\n", EvidenceRule(180 * DAY, 600, 2_700, least_margin=0.02)),
        ("risk: low\n", EvidenceRule(30 * DAY, 180, 900, least_margin=0.005)),
        ("risk: low\ntrigger: {dwell: 7m}\n", EvidenceRule(30 * DAY, 420, 900)),
        ("trigger: {budget: {one_false_alarm_in: 7d}, alone_hold: 5m}\n", EvidenceRule(7 * DAY, 300, 300)),
        ("trigger: {dwell: adaptive}\n", EvidenceRule(adaptive=AdaptiveDwell(120, 1_800))),
        ("trigger: {dwell: {from: 6m, to: 9m}}\n", EvidenceRule(dwell_s=360, adaptive=AdaptiveDwell(360, 540))),
        (
            "trigger: {dwell: {adaptive: {from: 2m, to: 4m}}}\n",
            EvidenceRule(dwell_s=240, adaptive=AdaptiveDwell(120, 240)),
        ),
    ],
)
def test_what_is_not_written_is_chosen_by_risk(rest: str, expected: EvidenceRule) -> None:
    (rule,) = risks(rest)
    assert rule.signals[0].evidence == expected
    assert (rule.trigger.dwell_s, rule.trigger.adaptive) == (expected.dwell_s, expected.adaptive)


def test_deployments_of_one_risk_share_their_signals() -> None:
    deployments = "".join(
        f"  - {{name: d{k}, environment: production, {risk}model: {{name: m, alias: champion}}}}\n"
        for k, risk in enumerate(("", "risk: high, ", "", "risk: high, ", "risk: low, "))
    )
    rules = risks("risk: low\n", deployments)
    assert rules[0].signals is rules[2].signals is rules[4].signals  # the policy's own, and the same one written out
    assert rules[1].signals is rules[3].signals
    dwells = [rule.signals[0].evidence.dwell_s for rule in rules if rule.signals[0].evidence is not None]
    assert dwells == [180, 600, 180, 600, 180]


def said(loaded: LoadedPolicy) -> str:
    return "\n".join(explain(loaded, lambda rule, _: f"it finds much of {rule.deployment.id.name}"))


def test_explain_tells_each_number_and_where_it_comes_from() -> None:
    deployments = (
        "  - {name: a, environment: production, model: {name: m, alias: champion}}\n"
        "  - {name: b, environment: production, risk: high, model: {name: m, alias: champion}}\n"
    )
    signals = f"  s: {{{COUNTED}, baseline: {{kind: control, control: b}}, sufficient_alone: true}}\n"
    text = said(load(signals, "trigger: {dwell: 4m}\n", deployments))
    for words in (
        "production/a, default risk normal:",
        "production/b, risk high of the deployment:",
        "margin 1 %, at least 2 % (with a control; risk high of the deployment)",
        "dwell 4m: no shorter burst can fire (written)",
        "bar 12.47, the logarithm of one false alarm in 180d in minutes (risk high of the deployment)",
        "judged by evidence that it is below b, which runs beside it",
        "it needs nobody to agree",
        "It finds much of b.",
        "It fires as soon as the condition holds: evidence has its dwell in itself.",
    ):
        assert words in text
    assert "alone it must stay full" not in text


def test_explain_tells_what_is_adaptive_and_what_holds_back() -> None:
    rest = (
        "trigger: {dwell: adaptive, re_arm: 30m, loop_guard: 1, expected: "
        "[{from: 2026-11-27, to: 2026-11-27, why: Black Friday}, "
        "{every: 'daily 23:30-00:30', until: 2026-12-24, why: a job}]}\n"
    )
    loaded = load(f"  s: {{{COUNTED}, baseline: {{kind: seasonal}}, margin: 3%}}\n", rest)
    text = said(loaded)
    for words in (
        "margin 3 % (written), and what the baseline is uncertain by",
        "dwell 2m to 30m, by how long excursions lasted that passed by themselves, 5m until some are known (written)",
        "After it fired, no automatic action follows until it was healthy for 30m.",
        "No more than 1 automatic action a deployment in 24h.",
        "Expected: Black Friday, from 2026-11-27 00:00 UTC to 2026-11-28 00:00 UTC.",
        "Expected: a job, daily 23:30-00:30 UTC, until 2026-12-25 00:00 UTC.",
    ):
        assert words in text
    assert loaded.rules[0].trigger.expected[0] == ExpectedChange("Black Friday", 1_795_737_600.0, 1_795_824_000.0)


def doubts(signals: str, rest: str = "") -> list[str]:
    return [f"{w.path}: {w.message}" for w in load(signals, rest).warnings]


A_AND_B = OTHER + "  volume: {worse: lower, value: w, breach: {below: 1}}\n"


@pytest.mark.parametrize(
    ("when", "message"),
    [
        ("errors and not errors and volume", "this condition can never be true"),
        ("errors or not errors or volume", "this condition holds while no signal is degraded"),
        ("not errors and not volume", "this condition holds while no signal is degraded"),
        ("errors or (errors and volume)", "volume makes no difference to this condition"),
        ("errors or volume and not volume", "the part `volume and not volume` can never be true"),
        ("weight(errors: 3, volume: 1) >= 3", "volume makes no difference to this condition"),
    ],
)
def test_conditions_that_cannot_be_meant_are_doubted(when: str, message: str) -> None:
    assert f"trigger.when: {message}" in doubts(A_AND_B, f"trigger: {{when: '{when}'}}\n")


@pytest.mark.parametrize(
    "when", ["errors and volume", "errors or volume", "any 2 of [errors, volume]", "errors and not volume or volume",
             "weight(errors: 2, volume: 1) >= 3", "tiered of [errors, volume]"],
)  # fmt: skip
def test_conditions_that_can_be_meant_are_not(when: str) -> None:
    assert doubts(A_AND_B, f"trigger: {{when: '{when}'}}\n") == []


@pytest.mark.parametrize(
    ("signal", "rest", "message"),
    [
        (OTHER, "trigger: {dwell: 5m, hold: 1m}\n", "trigger.hold: is shorter than the dwell of 5m"),
        (
            OTHER, "trigger: {dwell: adaptive}\n",
            "trigger.dwell: nothing here is judged by evidence, which alone adapts its dwell",
        ),
        (OTHER, "trigger: {re_arm: 2h}\n", "trigger.re_arm: is longer than the cool-down of 1h"),
        (OTHER, "trigger: {loop_guard: 0}\n", "trigger.loop_guard: allows no automatic action at all"),
        (OTHER, "trigger: {budget: {one_false_alarm_in: 9d}}\n", "trigger.budget: nothing uses it yet"),
        (OTHER, "trigger: {alone_hold: 9m}\n", "trigger.alone_hold: nothing uses it yet"),
        (OTHER, "exclude: [{from: 2026-01-01, to: 2026-01-02, why: a drill}]\n", "exclude: nothing uses it yet"),
        (
            f"  s: {{{COUNTED}, baseline: {{kind: seasonal}}, window: 5m}}\n", "",
            "signals.s.window: a dwell of 5m spans one window of 5m",
        ),
        (
            f"  s: {{{COUNTED}, baseline: {{kind: seasonal}}, window: 5m}}\n",
            "trigger: {dwell: {from: 2m, to: 20m}}\n",
            "signals.s.window: a dwell of 2m spans no whole window of 5m",
        ),
        (
            f"  s: {{{COUNTED}, baseline: {{kind: seasonal}}, margin: 40%}}\n", "",
            "signals.s.margin: nothing smaller than 40% will ever be seen",
        ),
        (
            f"  s: {{{COUNTED}, baseline: {{kind: seasonal, history: 2d}}}}\n", "",
            "signals.s.baseline.history: is shorter than a week: no time of the week is seen twice",
        ),
        (
            f"  s: {{area: business, {COUNTED}, baseline: {{kind: seasonal}}}}\n", "",
            "signals.s: a business signal without maturity: late events read as a fall when traffic rises",
        ),
    ],
)  # fmt: skip
def test_numbers_that_work_against_each_other_are_doubted(signal: str, rest: str, message: str) -> None:
    assert doubts(signal, rest) == [message]


def value(server: Prometheus, promql: str, at: int) -> float | None:
    """The one value that a query gives; None where it gives nothing."""
    answer: Any = server.get("/api/v1/query", query=promql, time=at)
    result = answer["result"]
    assert len(result) < 2
    return float(result[0]["value"][1]) if result else None


@pytest.mark.real
def test_generated_queries_count_what_a_real_prometheus_holds(
    prometheus_server: Callable[..., Prometheus],
) -> None:
    """Of 100 requests in the last five minutes, 20 took longer than a quarter of a second."""
    now = int(time.time()) - 30
    rows = []
    for bound, more in (("0.1", 50.0), ("0.25", 80.0), ("1.0", 95.0), ("+Inf", 100.0)):
        labels = {"deployment": "kinds-a", "le": bound}
        rows += [(labels, float(now - 300 + 15 * k), 1_000.0 + more * k / 20) for k in range(21)]
    server = prometheus_server(openmetrics=make_openmetrics({"kinds_seconds_bucket": rows}))
    slow = only("kind: latency, buckets: kinds_seconds_bucket, target: 250ms, breach: {above: 5%}")
    dear = only("kind: value_per_order, buckets: kinds_seconds_bucket, target: 1, breach: {below: 5%}")
    assert slow.x is not None
    assert slow.n is not None
    assert dear.x is not None
    assert value(server, slow.n, now) == pytest.approx(100, rel=0.02)
    assert value(server, slow.x, now) == pytest.approx(20, rel=0.02)
    assert value(server, dear.x, now) == pytest.approx(5, rel=0.02)
    native = only("kind: latency, histogram: kinds_native_seconds, target: 250ms, breach: {above: 5%}")
    assert native.x is not None
    assert value(server, native.x, now) is None  # nothing there, and nothing wrong with the query


def test_every_part_of_the_impact_can_be_written() -> None:
    loaded = load(
        OTHER,
        "impact:\n"
        "  revenue_per_minute: {constant: 420, unit: EUR, full: 5000}\n"
        "  users_per_minute: {value: 'sum(rate(v{$selector}[5m]))'}\n"
        "  satisfaction: {value: 'sum(rate(tickets{d=\"$deployment\"}[5m])) * 60', unit: tickets, full: 40}\n"
        "  market: {tier: low}\n  regulatory: high\n",
    )
    impact = loaded.rules[0].impact
    assert (impact.revenue_per_minute, impact.revenue_constant, impact.unit) == (None, 420, "EUR")
    assert (impact.revenue_full, impact.users_full, impact.regulatory) == (5_000, 100_000, "high")
    assert impact.users_per_minute == 'sum(rate(v{deployment="a"}[5m]))'
    assert impact.satisfaction == CostRule('sum(rate(tickets{d="a"}[5m])) * 60', None, None, "tickets", 40)
    assert impact.market == CostRule(tier="low")
    text = said(loaded)
    for words in (
        "Revenue at risk is a share of 420 EUR a minute; 5,000 EUR a minute score all of its points.",
        "Satisfaction is asked per minute; 40 tickets a minute score all of its points.",
        "The market part is low.",
        "Regulatory exposure is high.",
    ):
        assert words in text


AGE = "  age: {area: inputs, worse: higher, value: max by (deployment) (age), breach: {above: 600}}\n"


def test_what_watches_inputs_explains_and_does_not_fire_alone() -> None:
    assert load(OTHER + AGE).rules[0].trigger.when == parse("errors")
    assert doubts(OTHER + AGE) == []
    assert load(AGE).rules[0].trigger.when == parse("age")
    assert doubts(AGE) == ["signals: what watches the inputs fires by itself"]
    assert doubts(OTHER + AGE, "trigger: {when: errors or age}\n") == [
        "trigger.when: what watches the inputs fires by itself"
    ]
    assert doubts(OTHER + AGE, "trigger: {when: errors and age}\n") == []


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.sampled_from(["critical", "high", "normal", "low"]), min_size=1, max_size=12),
    st.floats(0.01, 20),
    st.booleans(),
)
def test_false_alarms_a_week_are_shared_by_all_as_the_engine_would(tiers: list[str], weekly: float, more: bool) -> None:
    """However many deployments, signals and slices: the rates sum to what was written, by the engine's own division."""
    deployments = "".join(
        f"  - {{name: d{k}, environment: production, tier: {tier}, model: {{name: m, alias: champion}}}}\n"
        for k, tier in enumerate(tiers)
    )
    signals = SLICED + OTHER + (f"  s: {{{COUNTED}, baseline: {{kind: seasonal}}}}\n" if more else "")
    rules = load(signals, f"trigger: {{budget: {{false_alarms_a_week: {weekly!r}}}}}\n", deployments).rules
    budgets = [[each.evidence.budget_s for each in rule.signals if each.evidence is not None] for rule in rules]
    assert sum(7 * DAY / budget for one in budgets for budget in one) == pytest.approx(weekly)
    for rule, ours in zip(budgeted(rules, weekly), budgets, strict=True):
        theirs = [each.evidence.budget_s for each in rule.signals if each.evidence is not None]
        assert ours == pytest.approx(theirs)
    first = tiers.index(tiers[0]), len(tiers) - 1 - tiers[::-1].index(tiers[0])
    assert rules[first[0]].signals is rules[first[1]].signals  # of one tier: the very same


def test_explain_tells_a_share_of_the_week() -> None:
    deployments = "".join(
        f"  - {{name: d{k}, environment: production, tier: {tier}, model: {{name: m, alias: champion}}}}\n"
        for k, tier in enumerate(["critical", "low", "low"] + ["normal"] * 40)
    )
    signal = f"  s: {{{COUNTED}, baseline: {{kind: seasonal}}}}\n"
    text = said(load(signal, "trigger: {budget: {false_alarms_a_week: 1}}\n", deployments))
    assert "production/d0, tier critical, default risk normal:" in text
    assert "the logarithm of one false alarm in 79d in minutes (its share of 1 a week, by tier)" in text
    assert "production/d1, production/d2, tier low, default risk normal:" in text
    assert "one false alarm in 630d in minutes" in text


def test_a_bound_may_vary() -> None:
    night = "{by: hour_of_day, points: {'22:00': 5%, '08:00': 2%}, timezone: Europe/Berlin}"
    rule = only(f"worse: higher, value: v, breach: {{above: {night}}}")
    assert rule.breach == Breach(
        above=0.05, curve=Curve("hour_of_day", ((28_800.0, 0.02), (79_200.0, 0.05)), "Europe/Berlin")
    )
    assert rule.unit == "%"
    little = only(f"{COUNTED}, breach: {{below: {{by: traffic, points: {{100: 0.5%, 1000: 2%}}}}}}")
    assert little.breach == Breach(below=0.005, curve=Curve("traffic", ((100.0, 0.005), (1_000.0, 0.02))))
    text = said(load(f"  s: {{worse: higher, value: v, breach: {{above: {night}}}}}\n"))
    assert (
        "degraded when above what varies: 2 % at 08:00, 5 % at 22:00 in Europe/Berlin, straight lines between" in text
    )
    text = said(load(f"  s: {{{COUNTED}, breach: {{below: {{by: traffic, points: {{100: 0.5%, 1000: 2%}}}}}}}}\n"))
    assert "below what varies: 0.5 % at 100, 2 % at 1,000 trials a minute, straight lines between" in text


def test_last_week_knows_a_time_zone_where_evidence_judges() -> None:
    rule = only(f"{COUNTED}, baseline: {{kind: last_week, timezone: Asia/Tokyo, holidays: [01-01]}}, maturity: 3m")
    assert rule.baseline is not None
    assert (rule.baseline.timezone, rule.baseline.holidays) == ("Asia/Tokyo", ("01-01",))
    text = said(load(f"  s: {{{COUNTED}, baseline: {{kind: last_week, timezone: Asia/Tokyo}}, maturity: 3m}}\n"))
    assert (
        "x out of n over 1m, of trials 3m earlier; judged by evidence that it is below the same time last week in"
        in text
    )


NEW_KINDS = """
  depth: {kind: gauge, worse: higher, value: max by (deployment) (queue_depth), baseline: {kind: seasonal}}
  worth: {kind: value_per_order, area: business, buckets: order_value_bucket, baseline: {kind: seasonal}}
  score: {kind: distribution, area: inputs, buckets: 'score_bucket{job="x"}', baseline: {kind: version}}
  calm: {kind: distribution, buckets: score_bucket, window: 30m, baseline:
    {kind: period, period: {from: 2026-10-05, to: 2026-10-06, why: a usual week}}}
  native: {kind: distribution, histogram: feature, edges: [1, 2.5], baseline: {kind: last_week}}
  churn: {kind: slow, worse: higher, x: 'sum by (deployment) (increase(gone_total[$window]))', margin: 5%,
    n: 'sum by (deployment) (increase(users_total[$window]))', maturity: 3d, window: 7d, baseline: {kind: last_week}}
"""


def test_gauges_distributions_slow_signals_and_a_learned_value_become_rules() -> None:
    loaded = load(NEW_KINDS)
    rules = {signal.name: signal for signal in loaded.rules[0].signals}
    depth, worth, score, calm, native, churn = rules.values()
    assert depth.kind is SignalKind.GAUGE
    assert depth.evidence is not None
    assert (depth.value, depth.x, depth.window_s) == ("max by (deployment) (queue_depth)", None, 60.0)
    assert (worth.kind, worth.worse, worth.unit, worth.x) == (SignalKind.VALUE, Worse.LOWER, "%", None)
    assert worth.buckets == "sum by (deployment, le) (increase(order_value_bucket[1m]))"
    assert worth.buckets_hour == "sum by (deployment, le) (increase(order_value_bucket[1h]))"
    assert (score.kind, score.evidence, score.aside) == (SignalKind.DISTRIBUTION, None, True)
    assert score.buckets == 'sum by (deployment, le) (increase(score_bucket{job="x"}[1h]))'
    assert score.buckets_then == 'sum by (deployment, le) (increase(score_bucket{job="x"}[1d]))'
    assert calm.baseline is not None
    assert calm.baseline.period is not None
    assert calm.baseline.period.end - calm.baseline.period.start == 2 * DAY, "to is a whole day"
    assert calm.buckets_then == "sum by (deployment, le) (increase(score_bucket[2d]))"
    assert native.buckets is not None
    assert native.buckets.count('"le", "') == 3
    assert (churn.kind, churn.maturity_s, churn.window_s, churn.aside) == (SignalKind.SLOW, 3 * DAY, 7 * DAY, True)
    assert churn.breach.degraded_by == 0.05
    assert loaded.rules[0].trigger.text == "tiered of [depth, worth]", "what stands aside is no part of it"


def test_what_stands_aside_is_explained_so_and_gets_no_warning() -> None:
    loaded = load(NEW_KINDS)
    told = "\n".join(explain(loaded))
    assert "counted is how often it is above what one in twenty of its history passed at that hour" in told
    assert "compared with a period: a usual week; it explains where trouble comes from, and never triggers" in told
    assert "judged 3d later, when its events have come in, as degraded when it is above the same time last week" in told
    assert "x are the orders above the baseline's median, which is learned" in told
    assert not loaded.warnings


def test_deployments_with_labels_of_their_own_are_asked_one_by_one() -> None:
    deployments = (
        "  - {name: a, environment: production, model: {name: m, alias: champion}}\n"
        "  - {name: b, environment: production, model: {name: m, alias: champion}, labels: {app: b}}\n"
    )
    first, second = load(NEW_KINDS, deployments=deployments).rules
    assert first.signals[2].buckets == 'sum by (le) (increase(score_bucket{job="x",deployment="a"}[1h]))'
    assert second.signals[1].buckets_hour == 'sum by (le) (increase(order_value_bucket{app="b"}[1h]))'


def test_a_control_may_say_its_share_of_the_traffic() -> None:
    signal = only(f"{COUNTED}, baseline: {{kind: control, control: b, share: 10%}}")
    assert signal.baseline is not None
    assert signal.baseline.share == 0.1
