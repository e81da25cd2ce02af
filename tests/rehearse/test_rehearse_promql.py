"""The PromQL subset: what it understands means what Prometheus means; what it does not, it names and refuses."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollback_console.errors import BackendRefused
from rollback_console.rehearse.evaluate import Column, Labels, evaluate
from rollback_console.rehearse.promql import Aggregate, Number, Operation, Selector, parse, selectors


class Constant:
    """A fake series: a counter that grows by `rate` a second, or a gauge of that value."""

    def __init__(self, labels: dict[str, str], rate: float, counter: bool = False) -> None:
        self.labels: Labels = tuple(sorted(labels.items()))
        self.rate, self.counter = rate, counter

    def at(self, times: list[float]) -> Column:
        return [self.rate for _ in times]

    def sampled_at(self, times: list[float]) -> Column:
        return list(times)

    def increase(self, times: list[float], window_s: float) -> Column:
        return [self.rate * window_s for _ in times]


class FakeStore:
    def __init__(self, *series: Constant) -> None:
        self.series = series

    def select(self, name: str, matchers: tuple[tuple[str, str, bool], ...]) -> list[Constant]:
        return [
            s
            for s in self.series
            if dict(s.labels)["__name__"] == name
            and all((dict(s.labels).get(label, "") == value) is equal for label, value, equal in matchers)
        ]


STORE = FakeStore(
    Constant({"__name__": "hits", "deployment": "a", "zone": "x"}, 2.0, counter=True),
    Constant({"__name__": "hits", "deployment": "a", "zone": "y"}, 3.0, counter=True),
    Constant({"__name__": "hits", "deployment": "b", "zone": "x"}, 5.0, counter=True),
    Constant({"__name__": "misses", "deployment": "a", "zone": "x"}, 0.0, counter=True),
    Constant({"__name__": "misses", "deployment": "b", "zone": "x"}, 1.0, counter=True),
    Constant({"__name__": "temperature", "deployment": "a"}, 20.5),
)


def value(promql: str) -> dict[Labels, float]:
    return {
        labels: column[0]
        for labels, column in evaluate(parse(promql), [1000.0], STORE).items()
        if column[0] is not None
    }


def test_arithmetic_has_prometheus_precedence() -> None:
    assert value("1 + 2 * 3 - 4 / 2") == {(): 5.0}
    assert value("-(2 + 3) * -2") == {(): 10.0}
    assert value("1e3 / 4") == {(): 250.0}
    assert value("time() - 400") == {(): 600.0}


def test_rates_are_summed_by_label_before_or_after() -> None:
    expected = {(("deployment", "a"),): 5.0, (("deployment", "b"),): 5.0}
    assert value("sum by (deployment) (rate(hits[5m]))") == expected
    assert value("sum(rate(hits[5m])) by (deployment)") == expected
    assert value("sum(increase(hits[1m]))") == {(): 600.0}
    assert value("max by (zone) (rate(hits[5m]))") == {(("zone", "x"),): 5.0, (("zone", "y"),): 3.0}
    assert value("avg(rate(hits[1h30m]))")[()] == pytest.approx(10 / 3)
    assert value("count(hits)") == {(): 3.0}
    assert value('min(rate(hits{deployment="a"}[5m]))') == {(): 2.0}


def test_vectors_match_on_all_their_labels_and_the_rest_falls_out() -> None:
    assert value("rate(misses[5m]) / rate(hits[5m])") == {
        (("deployment", "a"), ("zone", "x")): 0.0,
        (("deployment", "b"), ("zone", "x")): 0.2,
    }


def test_division_by_zero_is_prometheus_own() -> None:
    assert math.isnan(value("0 / 0")[()])
    assert value("1 / 0")[()] == math.inf
    assert value("-1 / 0")[()] == -math.inf


def test_matchers_equal_unequal_and_the_absent_label() -> None:
    assert len(value('hits{deployment="a",zone!="y"}')) == 1
    assert len(value('temperature{zone=""}')) == 1
    assert value('hits{deployment="nobody"}') == {}
    assert value("nothing_of_that_name") == {}


def test_quantiles_interpolate_as_prometheus_does() -> None:
    buckets = FakeStore(*(
        Constant({"__name__": "b", "le": le, "d": "a"}, count, counter=True)
        for le, count in (("0.1", 50.0), ("0.2", 90.0), ("0.4", 100.0), ("+Inf", 100.0))
    ))  # fmt: skip

    def quantile(q: float) -> float | None:
        return evaluate(parse(f"histogram_quantile({q}, rate(b[1m]))"), [0.0], buckets)[(("d", "a"),)][0]

    assert quantile(0.5) == pytest.approx(0.1)
    assert quantile(0.25) == pytest.approx(0.05)
    assert quantile(0.7) == pytest.approx(0.15)
    assert quantile(0.95) == pytest.approx(0.3)
    assert quantile(1.0) == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("promql", "names"),
    [
        ('hits{zone=~"x|y"}', "=~"),
        ("irate(hits[5m])", "irate"),
        ("sum without (zone) (hits)", "without"),
        ("hits > 3", "'>'"),
        ("hits[5m]", "range"),
        ("rate(hits)", "rate()"),
        ("rate(sum(hits)[5m])", "'['"),
        ("rate(temperature[5m])", "temperature"),
        ("hits / on (deployment) misses", "on"),
        ("hits or misses", "or"),
        ("rate(hits[5 parsecs])", "window"),
        ("max_over_time(temperature[5m])", "max_over_time"),
        ("topk(3, hits)", "topk"),
        ("hits{", "the end"),
        ("", "the end"),
        ("hits)", "')'"),
        ("histogram_quantile(0.9)", "histogram_quantile"),
        ("clamp_min(hits, misses)", "vector"),
        ("sum(3)", "number"),
        ("hits @ 5", "@"),
        ("(" * 200 + "1" + ")" * 200, "nested"),
        ("1 + " * 8000 + "1", "characters"),
        ("rate(hits[5m]) + ☃", "☃"),
    ],
)
def test_what_is_not_understood_is_named(promql: str, names: str) -> None:
    with pytest.raises(BackendRefused) as caught:
        value(promql)
    assert names in caught.value.message
    assert caught.value.next_step


def test_escapes_in_label_values() -> None:
    node = parse(r"""x{a="q\"uote", b='\\', c=`\raw`, d="\u2603\x41", e="two\nlines"}""")
    assert isinstance(node, Selector)
    assert [v for _, v, _ in node.matchers] == ['q"uote', "\\", r"\raw", "☃A", "two\nlines"]


@given(st.text(max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_text_is_a_tree_or_a_refusal(text: str) -> None:
    said = ""
    try:
        list(selectors(parse(text)))
    except BackendRefused as refused:
        said = str(refused)
    assert "\x1b" not in said


@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=30))
@settings(max_examples=200, deadline=None)
def test_any_label_value_survives_its_quoting(text: str) -> None:
    quoted = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    node = parse(f'm{{l="{quoted}"}}')
    assert isinstance(node, Selector)
    assert node.matchers == (("l", text, True),)


def test_trees_are_values() -> None:
    assert parse("sum by (d) (a) / 2") == Operation("/", Aggregate("sum", ("d",), Selector("a")), Number(2.0))
    assert parse("rate(a[1w] offset 7d)") == parse("rate(a[7d] offset 1w)")
