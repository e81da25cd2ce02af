"""Imported policies against Prometheus itself: the same rules over the same data are in the same states, to the tick.

A real Prometheus answers the imported policies' queries, the engine's own sampler reads them, `decide` judges; promtool
then says of the *original* rules whether `ALERTS` is just that at every evaluation. Where a rule may answer with
several series a deployment, promtool is asked about `group by (deployment) (the rule's expression)`: whether any of
them is there.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from rollback_console.clock import WallClock
from rollback_console.decide.judge import FRESH, step
from rollback_console.decide.trigger import state_of
from rollback_console.engine.sampler import Sampler
from rollback_console.model.rules import DeploymentRule
from rollback_console.model.verdict import TriggerState
from rollback_console.observe.prometheus import PrometheusBackend
from rollback_console.policy.import_options import ImportOptions
from rollback_console.policy.importing import ImportedAlert, import_rules
from rollback_console.policy.load import parse_policy
from servers.prometheus import Sample, make_openmetrics

START = 0.0  # Unix seconds: promtool's data begin in 1970, and rules may ask for `time()`
APART = 60.0  # between two samples of a series
Labels = tuple[tuple[str, str], ...]
Values = list[float | None]  # one a sample time; None: no sample
Data = dict[tuple[str, Labels], Values]  # by metric and labels
_FIRING = (TriggerState.FIRED, TriggerState.CLEARING)


@dataclass(frozen=True)
class Metric:
    """How a metric's series are drawn. `counter`: increments from `levels`; else values from them."""

    name: str
    series: tuple[Labels, ...]
    levels: tuple[float, ...]
    counter: bool = False
    linked: tuple[float, ...] = ()  # shares of one total, a series each: histogram buckets


def labelled(**values: Sequence[str]) -> tuple[Labels, ...]:
    """Every combination of the labels' values."""
    found: list[Labels] = [()]
    for label, each in values.items():
        found = [(*before, (label, value)) for before in found for value in each]
    return tuple(found)


def draw_data(draw: Random, metrics: Sequence[Metric], count: int) -> Data:
    """`count` samples a series: runs of one level, short gaps, gaps longer than the look-back, late starts, early ends,
    series that are never there, numbers that are none, counters that reset."""
    data: Data = {}
    for metric in metrics:
        total = _values(draw, metric, count) if metric.linked else []
        for index, labels in enumerate(metric.series):
            if metric.linked:
                share = metric.linked[index]
                data[metric.name, labels] = [None if value is None else math.floor(value * share) for value in total]
            else:
                data[metric.name, labels] = _values(draw, metric, count)
    return data


def _values(draw: Random, metric: Metric, count: int) -> Values:
    found: Values = []
    while len(found) < count:
        kind = draw.random()
        if kind < 0.12:
            found.extend([None] * draw.choice((1, 1, 2, 4, 5, 6, 7)))
        elif kind < 0.16 and not metric.counter:
            found.extend([math.nan] * draw.randint(1, 3))
        else:
            found.extend([draw.choice(metric.levels)] * draw.randint(1, 8))
    del found[count:]
    if metric.counter:
        found = _counted(draw, found)
    absent = draw.random()
    if absent < 0.04:
        return [None] * count
    if absent < 0.14:
        found[: draw.randrange(count // 2)] = [None] * draw.randrange(count // 2)
    elif absent < 0.24:
        end = draw.randrange(count // 2, count)
        found[end:] = [None] * (count - end)
    return (found + [None] * count)[:count]


def _counted(draw: Random, increments: Values) -> Values:
    total = 0.0
    found: Values = []
    for each in increments:
        total = 0.0 if draw.random() < 0.01 else total + (each or 0.0)
        found.append(None if each is None else total)
    return found


def openmetrics(data: Data, apart: float = APART) -> str:
    metrics: dict[str, list[Sample]] = {}
    for (name, labels), values in data.items():
        rows = metrics.setdefault(name, [])
        rows.extend((dict(labels), START + k * apart, _word(v)) for k, v in enumerate(values) if v is not None)
    return make_openmetrics(metrics, dict.fromkeys(metrics, "gauge"))


def _word(value: float) -> float | str:
    return "NaN" if math.isnan(value) else value


def promtool_series(data: Data) -> list[dict[str, str]]:
    found = []
    for (name, labels), values in data.items():
        inside = ",".join(f"{label}={json.dumps(value)}" for label, value in labels)
        written = " ".join("_" if v is None else "NaN" if math.isnan(v) else repr(v) for v in values)
        found.append({"series": f"{name}{{{inside}}}", "values": written})
    return found


@dataclass(frozen=True)
class Lone:
    """One alert imported alone: what promtool is asked about, and the policy's rules."""

    asked: str  # the alert's name in promtool's file
    alert: ImportedAlert
    rules: tuple[DeploymentRule, ...]


def import_each(data: bytes, file: str, options: ImportOptions, only: Collection[str] = ()) -> tuple[list[Lone], int]:
    """Every alert of a file (or those `only`) imported by itself, through text and back; and how many were refused."""
    whole = import_rules(data, file, options)
    found: list[Lone] = []
    for name in dict.fromkeys(alert.name for alert in whole.alerts if alert.name in (only or {alert.name})):
        got = import_rules(data, file, replace(options, alerts=frozenset({name})))
        for alert in got.alerts:
            text = got.policy if len(got.alerts) == 1 else _only(data, file, options, alert)
            found.append(Lone(f"r{len(found)}", alert, parse_policy(text.encode(), file).rules))
    return found, len(whole.refused)


def _only(data: bytes, file: str, options: ImportOptions, alert: ImportedAlert) -> str:
    """The policy of one of two alerts of the same name: the lines of the other are taken out of the file."""
    rule = {"alert": alert.name, "expr": alert.expr, "for": f"{round(alert.dwell_s * 1000)}ms",
            "keep_firing_for": f"{round(alert.hold_s * 1000)}ms"}  # fmt: skip
    return import_rules(json.dumps({"groups": [{"name": "g", "rules": [rule]}]}).encode(), file, options).policy


async def states(url: str, lone: Lone, every: float, count: int) -> list[list[str]]:
    """Per deployment, its state at each evaluation in Prometheus' words: "", pending or firing."""
    backend = PrometheusBackend(
        url, auth=None, headers={}, clock=WallClock(), random=random.Random(1), timeout_s=60.0, queries_per_minute=1e6
    )
    try:
        sampler = Sampler(lone.rules, backend)
        answers = await sampler.answers_between(START, START + every * (count - 1), every)
        failed = [query.promql for query, rows in zip(sampler.plan.queries, answers, strict=True) if rows[0].failed]
        assert not failed, f"{lone.alert.name}: {failed} were refused: {backend.health().detail}"
        memory = dict.fromkeys(range(len(lone.rules)), FRESH)
        found: list[list[str]] = [[] for _ in lone.rules]
        for k in range(count):
            tick = await sampler.assemble(START + k * every, [each[k] for each in answers], {})
            for index, (rule, seen) in enumerate(zip(lone.rules, tick.observations, strict=True)):
                memory[index] = step(rule, seen, memory[index]).memory
                state, _ = state_of(memory[index], cooling=False)
                word = "firing" if state in _FIRING else "pending" if state is TriggerState.PENDING else ""
                found[index].append(word)
        return found
    finally:
        await backend.close()


def all_states(url: str, lones: Sequence[Lone], every: float, count: int) -> list[list[list[str]]]:
    async def ask() -> list[list[list[str]]]:
        return [await states(url, lone, every, count) for lone in lones]

    return asyncio.run(ask())


def write_test(
    folder: Path, lones: Sequence[Lone], found: Sequence[list[list[str]]], data: Data, by: tuple[str, ...],
    every: float, count: int, name: str = "test",
) -> tuple[Path, int]:  # fmt: skip
    """promtool's file that asserts those states of the original rules, and how many assertions it has."""
    rules = []
    for lone in lones:
        alert = lone.alert
        grouped = f" by ({', '.join(by)})" if by else ""
        expr = alert.expr if alert.exact and by else f"group{grouped} ({alert.expr}\n)"
        rules.append({
            "alert": lone.asked, "expr": expr, "for": f"{round(alert.dwell_s * 1000)}ms",
            "keep_firing_for": f"{round(alert.hold_s * 1000)}ms",
        })  # fmt: skip
    expected: list[list[dict[str, object]]] = [[] for _ in range(count)]
    for lone, rows in zip(lones, found, strict=True):
        for rule, row in zip(lone.rules, rows, strict=True):
            labels = {"alertname": lone.asked, **(dict(rule.deployment.labels) if by else {})}
            for k, state in enumerate(row):
                if state:
                    inside = ", ".join(f'{key}="{value}"' for key, value in {**labels, "alertstate": state}.items())
                    expected[k].append({"labels": f"ALERTS{{{inside}}}", "value": 1})
    ms = f"{round(every * 1000)}ms"
    test = {
        "interval": f"{round(APART * 1000)}ms",
        "input_series": promtool_series(data),
        "promql_expr_test": [
            {"expr": "ALERTS", "eval_time": f"{round(k * every * 1000)}ms", "exp_samples": samples}
            for k, samples in enumerate(expected)
        ],
    }
    (folder / f"{name}-rules.json").write_text(json.dumps({"groups": [{"name": "g", "rules": rules}]}))
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"rule_files": [f"{name}-rules.json"], "evaluation_interval": ms, "tests": [test]}))
    return path, sum(len(rows) * count for rows in found)


# -- random rules -----------------------------------------------------------------------------------------------------

GAUGES = {
    "g1": labelled(deployment=("alpha", "beta", "gamma")),
    "g2": labelled(deployment=("alpha", "beta", "gamma")),
    "m1": labelled(deployment=("alpha", "beta", "gamma"), pod=("p0", "p1")),
    "m2": labelled(deployment=("alpha", "beta", "gamma"), pod=("p0", "p1")),
}
COUNTERS = {
    "c1_total": labelled(deployment=("alpha", "beta", "gamma"), code=("200", "500")),
    "c2_total": labelled(deployment=("alpha", "beta", "gamma"), code=("200", "500")),
}
RANDOM_METRICS = (
    *(Metric(name, series, (0.0, 1.0, 2.0, 3.0, 5.0, 0.5, -2.5)) for name, series in GAUGES.items()),
    *(Metric(name, series, (0.0, 0.0, 3.0, 12.0, 60.0), counter=True) for name, series in COUNTERS.items()),
)


def _one(draw: Random) -> str:
    """A query with one series a deployment."""
    return draw.choice((
        "sum by (deployment) (m1)", "max(m2) by (deployment)", "avg by (deployment) (m1) * 2 - 1",
        "sum by (deployment) (rate(c1_total[{w}]))", "sum(increase(c2_total[{w}])) by (deployment)",
        'sum by (deployment) (rate(c1_total{{code="500"}}[{w}])) / sum by (deployment) (rate(c1_total[{w}]))',
        "1 - sum by (deployment) (rate(c1_total[{w}])) / sum by (deployment) (rate(c2_total[{w}]))",
        "max by (deployment) (max_over_time(m1[{w}]))", "min_over_time(sum by (deployment) (g1)[{w}:1m])",
        "sum by (deployment) (g1) / sum by (deployment) (g2)", "-sum by (deployment) (g2)",
        "quantile by (deployment) (0.5, m1)", "count by (deployment) (m2 > 1)", "sum by (deployment) (g1 offset {w})",
        "stddev by (deployment) (m1) % 2", "sum by (deployment) (g1) ^ 2", "abs(sum by (deployment) (g2))",
        "time() - sum by (deployment) (m1) * 600", "sum by (deployment) (m1) * scalar(minute()) / 30",
        "(sum by (deployment) (g1) + sum by (deployment) (g2))",
    )).format(w=draw.choice(("2m", "3m", "5m", "10m")))  # fmt: skip


def _many(draw: Random) -> str:
    """A query that may have several series a deployment."""
    return draw.choice((
        "m1", "g1", "m1 / m2", "rate(c1_total[{w}])", "avg without (pod) (m1)", "max_over_time(m2[{w}])", "m1 - m2 * 2",
        "m1 * on (deployment) group_left g1", "sum by (deployment, code) (rate(c2_total[{w}]))",
        'label_replace(m1, "copy", "$1", "pod", "(.*)")', "clamp_max(m1, 3)", "deriv(m1[{w}])", "sort_desc(g1)",
        "time() - m2 * 900", "timestamp(g1) / 60",
    )).format(w=draw.choice(("2m", "5m", "10m")))  # fmt: skip


def _compared(draw: Random, query: str) -> str:
    sign = draw.choice((">", ">", "<", "<", ">=", "<=", "==", "!="))
    number = draw.choice(("0", "1", "2", "3", "0.5", "-1", "0.05", "1 / 4", "2 * (3 - 1)", "1e-3", "+2"))
    if draw.random() < 0.15:
        return f"{number} {sign} {query}"
    return f"{query} {sign} {number}" + (f" {draw.choice(('<', '>', '!='))} 4" if draw.random() < 0.1 else "")


def draw_expression(draw: Random, depth: int = 2) -> str:
    """A random rule's expression over `RANDOM_METRICS`; most of them can be imported."""
    kind = draw.random()
    if depth and kind < 0.4:
        left, right = draw_expression(draw, depth - 1), draw_expression(draw, depth - 1)
        word = draw.choice(("and", "or", "unless"))
        matching = draw.choice(("", "", " on (deployment)", " on (deployment)", " ignoring (pod, code, copy)"))
        return f"({left}) {word}{matching} ({right})"
    if kind < 0.5:
        return draw.choice((
            "g1 > g2", "m1 >= on (deployment) group_left g1", "g2 < on (deployment) g1 / 2", "m1 <= m2", "g1 != g2",
            "m1 == on (deployment) group_left () g2", "sum by (deployment) (m1) > sum by (deployment) (m2)",
        ))  # fmt: skip
    if kind < 0.57:
        return draw.choice(('absent(g1{deployment="beta"})', "g1 unless g2", "changes(m1[5m]) > 1", "m1 and m2"))
    return _compared(draw, _one(draw) if draw.random() < 0.65 else _many(draw))


def draw_rules(draw: Random, count: int, every: float) -> bytes:
    """A file of `count` random alerting rules."""

    def length() -> str:
        return (
            f"{draw.choice((0, 0, 1, 2, 3, 5)) * round(every) + draw.choice((0, 0, 0, 1, -1, 7)) * draw.randint(0, 1)}"
        )

    rules: list[Mapping[str, str]] = []
    for number in range(count):
        rule = {"alert": f"R{number}", "expr": draw_expression(draw)}
        rule["for"] = f"{max(0, int(length()))}s"
        if draw.random() < 0.5:
            rule["keep_firing_for"] = f"{max(0, int(length()))}s"
        rules.append(rule)
    return json.dumps({"groups": [{"name": "g", "rules": rules}]}).encode()
