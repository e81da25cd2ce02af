"""One query a signal for the whole fleet, and whose series is whose."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pytest
from engine_tools import START, STEP, Flaky, Stream, bounded, engine_on, fleet_rule, labelled

from rollback_console.engine.queries import Query, Splitter, plan_queries
from rollback_console.engine.sampler import Sampler
from rollback_console.model.observation import Blind, Reading, Series
from rollback_console.model.rules import BaselineKind, DeploymentRule, SignalRule

ERRORS = "max by (deployment) (errors)"


def rule(
    deployment: str,
    labels: Mapping[str, str] | None = None,
    serving: str | None = None,
    signal: SignalRule | None = None,
) -> DeploymentRule:
    return fleet_rule(deployment, (signal or bounded("errors"),), labels=labels, serving=serving)


def series(value: float, **labels: str) -> Series:
    return Series(tuple(sorted(labels.items())), ((START, value),))


async def readings(rules: tuple[DeploymentRule, ...], answers: Mapping[str, list[Series]]) -> list[Reading]:
    sampler = Sampler(rules, Flaky(answers))
    tick = await sampler.assemble(START, await sampler.answers_at(START), {})
    return [observation.readings[0] for observation in tick.observations]


async def test_a_series_is_of_the_deployment_whose_labels_it_agrees_with() -> None:
    rules = (
        rule("a", {"model": "a", "region": "eu"}),
        rule("b", {"model": "a", "region": "us"}),
        rule("c", {"model": "c", "region": "eu"}),
    )
    answers = {
        ERRORS: [series(1.0, model="a", region="eu"), series(2.0, model="a", region="us"), series(3.0, model="c")]
    }
    assert [r.value for r in await readings(rules, answers)] == [1.0, 2.0, 3.0]


async def test_a_series_that_names_less_is_of_all_that_it_agrees_with() -> None:
    rules = (rule("a", {"model": "m", "region": "eu"}), rule("b", {"model": "m", "region": "us"}), rule("c"))
    found = await readings(rules, {ERRORS: [series(4.0, model="m")]})
    assert found == [Reading(4.0), Reading(4.0), Reading(blind=Blind.NO_DATA)]


async def test_two_series_for_one_deployment_is_a_query_that_failed() -> None:
    rules = (rule("a"), rule("b"))
    answers = {
        ERRORS: [
            series(1.0, deployment="a", pod="1"),
            series(9.0, deployment="a", pod="2"),
            series(2.0, deployment="b"),
        ]
    }
    assert await readings(rules, answers) == [Reading(blind=Blind.QUERY_FAILED), Reading(2.0)]


async def test_a_series_without_labels_is_of_the_one_deployment_that_asked_and_of_nobody_in_a_fleet() -> None:
    alone = rule("a", signal=bounded("errors", value='sum(errors{deployment="a"})'))
    other = rule("b", signal=bounded("errors", value='sum(errors{deployment="b"})'))
    answers = {'sum(errors{deployment="a"})': [series(1.0)], 'sum(errors{deployment="b"})': [series(2.0)]}
    assert [r.value for r in await readings((alone, other), answers)] == [1.0, 2.0]
    shared = (rule("a"), rule("b"))
    assert await readings(shared, {ERRORS: [series(1.0)]}) == [Reading(blind=Blind.NO_DATA)] * 2


async def test_another_deployments_series_is_nobodys_even_when_one_alone_asks() -> None:
    assert await readings((rule("a"),), {ERRORS: [series(1.0, deployment="b")]}) == [Reading(blind=Blind.NO_DATA)]


async def test_the_four_kinds_of_blindness() -> None:
    beating = bounded("errors", heartbeat="max by (deployment) (beat)", stale_s=60.0)
    names = ("well", "none", "nan", "inf", "stale", "unvouched")
    rules = tuple(rule(name, signal=beating) for name in names)
    answers = {
        ERRORS: [
            series(value, deployment=name)
            for name, value in zip(names, (1.0, None, float("nan"), float("inf"), 1.0, 1.0), strict=True)
            if value is not None
        ],
        "max by (deployment) (beat)": [
            series(START - (61.0 if name == "stale" else 60.0), deployment=name)
            for name in names
            if name != "unvouched"
        ],
    }
    kinds = [reading.blind for reading in await readings(rules, answers)]
    assert kinds == [None, Blind.NO_DATA, Blind.NOT_A_NUMBER, Blind.NOT_A_NUMBER, Blind.STALE, Blind.NO_DATA]
    metrics = Flaky(answers)
    metrics.silent = {ERRORS}
    sampler = Sampler(rules, metrics)
    tick = await sampler.assemble(START, await sampler.answers_at(START), {})
    assert {o.readings[0].blind for o in tick.observations} == {Blind.QUERY_FAILED}


async def test_events_out_of_trials() -> None:
    ratio = bounded("errors", value=None, x="bad", n="all", unit="%")
    rules = tuple(rule(name, signal=ratio) for name in ("a", "b", "c", "d"))
    answers = {
        "bad": [series(5.0, deployment="a"), series(0.0, deployment="b"), series(1.0, deployment="c")],
        "all": [series(100.0, deployment="a"), series(0.0, deployment="b"), series(50.0, deployment="d")],
    }
    assert await readings(rules, answers) == [
        Reading(0.05, n=100.0),
        Reading(n=0.0, blind=Blind.NO_DATA),
        Reading(blind=Blind.NO_DATA),
        Reading(n=50.0, blind=Blind.NO_DATA),
    ]


SERVING = [
    ('model_info{deployment="a",job="x"}', 'model_info{deployment="b",job="x"}', 'model_info{job="x"}'),
    ('model_info{ deployment = "a" }', 'model_info{deployment="b"}', "model_info"),
    ('model_info{deployment="a",env=~"p|q",zone!="z"}', 'model_info{deployment="b",env=~"p|q",zone!="z"}',
     'model_info{env=~"p|q",zone!="z"}'),
    ('model_info{deployment="a",note="say \\"hi\\", {x}"}', 'model_info{deployment="b",note="say \\"hi\\", {x}"}',
     'model_info{note="say \\"hi\\", {x}"}'),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other", "wide"), SERVING)
def test_serving_version_is_asked_once_for_the_fleet(one: str, other: str, wide: str) -> None:
    plan = plan_queries((rule("a", serving=one), rule("b", serving=other)))
    assert [query for query in plan.queries if query.version] == [Query(wide, 0.0, True)]


@pytest.mark.parametrize(
    "written",
    [
        'model_info{deployment="a"} * on () group_left () up{job="x"}',
        'max by (version) (model_info{deployment="a"})',
        'model_info{deployment=~"a"}',
        'model_info{deployment="a" or "b"}',
        'model_info{deployment="another"}',
        "{deployment='a'}",
        'model_info{deployment="a"}[5m]',
    ],
)
def test_what_is_no_bare_selector_of_its_own_labels_is_asked_as_written(written: str) -> None:
    plan = plan_queries((rule("a", serving=written), rule("b", serving='model_info{deployment="b"}')))
    assert [query.promql for query in plan.queries if query.version] == [written, 'model_info{deployment="b"}']


def test_a_name_that_needs_escapes_is_recognized_too() -> None:
    names = ('say "x"\\y', "b")
    escaped = ('say \\"x\\"\\\\y', "b")
    rules = tuple(
        rule(f"d{k}", {"deployment": text}, serving=f'model_info{{deployment="{written}"}}')
        for k, (text, written) in enumerate(zip(names, escaped, strict=True))
    )
    assert [query.promql for query in plan_queries(rules).queries if query.version] == ["model_info"]


async def test_one_deployment_alone_keeps_its_matchers() -> None:
    """Else it would take for its own what names no deployment at all."""
    mine = 'model_info{deployment="a"}'
    alone = rule("a", serving=mine)
    metrics = Flaky({mine: [series(1.0, deployment="a", version="7")], "model_info": [series(1.0, version="3")]})
    sampler = Sampler((alone,), metrics)
    assert sampler.version_at(await sampler.answers_at(START), 0) == "7"


async def test_versions_side_by_side_and_versions_unsaid() -> None:
    rules = tuple(rule(name, serving=f'model_info{{deployment="{name}"}}') for name in ("a", "b", "c"))
    found = [
        series(1.0, deployment="a", version="8"), series(1.0, deployment="a", version="7"),
        series(1.0, deployment="b"), series(1.0, deployment="c", version="1.0+build5"),
    ]  # fmt: skip
    sampler = Sampler(rules, Flaky({"model_info": found}))
    answers = await sampler.answers_at(START)
    assert [sampler.version_at(answers, k) for k in range(3)] == ["7 + 8", None, "1.0+build5"]


def test_a_version_query_and_a_signal_of_the_same_words_are_two() -> None:
    plan = plan_queries((rule("a", serving="info", signal=bounded("errors", value="info")),))
    assert sorted(plan.queries, key=str) == [Query("info", 0.0, False), Query("info", 0.0, True)]


async def test_a_thousand_deployments_cost_one_query_a_signal() -> None:
    names = [f"d{number:04d}" for number in range(1000)]
    signals = tuple(bounded(f"s{number}") for number in range(6))
    rules = tuple(fleet_rule(name, signals, serving=f'model_info{{deployment="{name}"}}') for name in names)
    promqls = [f"max by (deployment) (s{number})" for number in range(6)]
    stream = Stream(rules)
    for promql in promqls:
        stream.series[promql] = [
            labelled(promql, name, [(START + k * STEP, 1.0) for k in range(-40, 3)]) for name in names
        ]
    stream.series["model_info"] = [
        labelled("model_info", name, [(START + k * STEP, 1.0) for k in range(-40, 3)], version="1") for name in names
    ]
    metrics = stream.metrics()
    engine = engine_on(stream, START, metrics=metrics, lookback_s=600.0)
    await engine.start()
    metrics.asked.clear()
    await engine.step(START + STEP)
    assert Counter(promql for promql, _ in metrics.asked) == Counter([*promqls, "model_info"])
    assert {at for _, at in metrics.asked} == {START + STEP}, "all at one explicit time"
    assert len(engine.board.verdicts) == 1000


async def test_last_week_is_the_same_query_a_week_before() -> None:
    from engine_tools import WEEK, relative

    rules = (rule("a", signal=relative("orders", BaselineKind.LAST_WEEK)),)
    metrics = Flaky({"max by (deployment) (orders)": [labelled("", "a", [(START - WEEK, 80.0), (START, 100.0)])]})
    sampler = Sampler(rules, metrics)
    tick = await sampler.assemble(START, await sampler.answers_at(START), {})
    assert tick.observations[0].readings == (Reading(100.0, 80.0),)
    later = await sampler.assemble(START + STEP, await sampler.answers_at(START + STEP), {})
    assert later.observations[0].readings[0].baseline_blind is Blind.NO_DATA


def test_the_splitter_forgets_rather_than_grow_without_end() -> None:
    splitter = Splitter((rule("a"),))
    for number in range(200_010):
        splitter.owners((("deployment", "a"), ("pod", str(number))), {0})
    assert len(splitter._cache) <= 200_001
