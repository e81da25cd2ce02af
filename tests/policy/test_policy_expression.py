"""Expressions and quantities: what people write reads back to what was meant."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollback_console.model.rules import And, AtLeast, Expression, Not, Or, Tiered, Uses, Weighted
from rollback_console.policy import expression as expressions
from rollback_console.policy.expression import RESERVED, ExpressionError, default, expanded, names, parse, unparse
from rollback_console.policy.quantities import (
    format_duration,
    format_percentage,
    parse_amount,
    parse_duration,
    parse_percentage,
    parse_size,
)  # fmt: skip

SIGNALS = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,8}", fullmatch=True).filter(lambda s: s.lower() not in RESERVED)


WEIGHTS = st.decimals("0.001", 1_000, places=3).map(float)


def weighed(items: list[Expression], weights: list[float], share: float) -> Expression:
    bar = max(0.001, round(share * sum(weights[: len(items)]), 3))
    return Weighted(tuple(zip(items, weights, strict=False)), bar)


def larger(inner: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    several = st.lists(inner, min_size=2, max_size=4).map(tuple)
    distinct = st.lists(inner, min_size=1, max_size=4, unique=True)
    return st.one_of(
        inner.map(Not),
        several.map(And),
        several.map(Or),
        distinct.flatmap(lambda items: st.builds(AtLeast, st.integers(1, len(items)), st.just(tuple(items)))),
        st.builds(weighed, distinct, st.lists(WEIGHTS, min_size=4, max_size=4), st.floats(0.1, 1.0)),
        st.lists(SIGNALS.map(Uses), min_size=1, max_size=4, unique=True).map(tuple).map(Tiered),
    )


EXPRESSIONS = st.recursive(SIGNALS.map(Uses), larger, max_leaves=12)


@settings(max_examples=300, deadline=None)
@given(EXPRESSIONS)
def test_what_is_written_back_reads_to_the_same_expression(expression: Expression) -> None:
    text = unparse(expression)
    assert parse(text, set(names(expression))) == expression
    assert parse(f"\n  {text.replace(' ', '  ')}\n") == expression


def holds(expression: Expression, true: frozenset[str]) -> bool:
    """The plain two-valued meaning, written from the grammar's words."""
    match expression:
        case Uses(signal):
            return signal in true
        case Not(item):
            return not holds(item, true)
        case And(items):
            return all(holds(item, true) for item in items)
        case Or(items):
            return any(holds(item, true) for item in items)
        case AtLeast(k, items):
            return sum(holds(item, true) for item in items) >= k
        case Tiered(uses):
            return any(item.signal in true for item in uses)
        case Weighted(pairs, bar):
            return sum(weight for item, weight in pairs if holds(item, true)) >= bar


@pytest.mark.parametrize(
    ("text", "python"),
    [
        ("a and b or c", "a and b or c"),
        ("a or b and c", "a or b and c"),
        ("not a and b", "not a and b"),
        ("not (a and b)", "not (a and b)"),
        ("not not a or b", "not not a or b"),
        ("any 2 of [a, b, c]", "a + b + c >= 2"),
        ("any 1 of [a and b, c] and not a", "((a and b) or c) and not a"),
        ("all of [a, b or c]", "a and (b or c)"),
        ("weight(a: 2, b: 1, c: 1) >= 2", "2*a + b + c >= 2"),
        ("weight(a and b: 1.5, not c: 0.5) >= 2 or b and c", "1.5*(a and b) + 0.5*(not c) >= 2 or (b and c)"),
        ("not weight(a: 1, b: 1) >= 2", "not (a + b >= 2)"),
        ("tiered of [a, b] and c", "(a or b) and c"),
        ("(a or b) and (b or c) and not (a and b and c)", "(a or b) and (b or c) and not (a and b and c)"),
    ],
)
def test_expressions_mean_what_python_means(text: str, python: str) -> None:
    parsed = parse(text, "abc")
    for bits in itertools.product([False, True], repeat=3):
        values = dict(zip("abc", bits, strict=True))
        expected = bool(eval(python, {}, values))  # the oracle is Python's own grammar
        true = frozenset(name for name, bit in values.items() if bit)
        assert holds(parsed, true) == expected
        assert expressions.holds(parsed, true) == expected


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="ab anyorfltiedwgh.123()[],:&|!>=\n", max_size=40))
def test_any_text_is_an_expression_or_says_where_it_is_not(text: str) -> None:
    problem: ExpressionError | None = None
    parsed: Expression | None = None
    try:
        parsed = parse(text)
    except ExpressionError as error:
        problem = error
    if problem is not None:
        assert 0 <= problem.offset <= len(text)
        assert problem.message
        assert problem.remedy
    else:
        assert parsed is not None
        assert parse(unparse(parsed)) == parsed


def test_depth_and_length_are_bounded() -> None:
    with pytest.raises(ExpressionError, match="nested more than 40 deep"):
        parse("(" * 3_000 + "a" + ")" * 900)
    with pytest.raises(ExpressionError, match="more than 40 `not`"):
        parse("not " * 900 + "a")
    with pytest.raises(ExpressionError, match="longer than 4,000 characters"):
        parse("a or " * 1_000 + "a")


def test_the_default_trigger() -> None:
    assert unparse(default(["a"], [])) == "a"
    assert unparse(default(["a", "b", "c"], [])) == "any 2 of [a, b, c]"
    assert unparse(default(["a", "b", "c"], ["c"])) == "c or any 2 of [a, b, c]"
    assert unparse(default(["a", "b"], ["b"], ["a"])) == "tiered of [a, b]"
    assert unparse(default(["a"], [], ["a"])) == "tiered of [a]"


def test_a_name_can_stand_for_a_condition() -> None:
    meant = {"slo": parse("long and short")}
    for written, means in (
        ("slo or a", "long and short or a"),
        ("not slo and any 1 of [slo, a]", "not (long and short) and any 1 of [long and short, a]"),
        ("weight(slo: 2, a: 1) >= 2", "weight(long and short: 2, a: 1) >= 2"),
        ("tiered of [a, slo, b]", "tiered of [a, b] or long and short"),
        ("tiered of [slo]", "long and short"),
        ("a and b", "a and b"),
    ):
        assert unparse(expanded(parse(written), meant)) == means


@settings(max_examples=200)
@given(st.integers(0, 400 * 86_400_000).map(lambda ms: ms / 1000))
def test_durations_read_back(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, abs=1e-9)


@settings(max_examples=200)
@given(st.decimals(-1000, 1000, places=4))
def test_percentages_are_the_nearest_float_of_their_hundredth(percent: object) -> None:
    fraction = parse_percentage(f"{percent}%")
    assert fraction == float(percent.scaleb(-2))  # type: ignore[attr-defined]
    assert parse_percentage(format_percentage(fraction)) == pytest.approx(fraction, rel=1e-13)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("45s", 45),
        ("5m", 300),
        ("1h30m", 5400),
        ("28d", 2_419_200),
        ("2w", 1_209_600),
        ("500ms", 0.5),
        ("0", 0),
        (0, 0),
    ],
)
def test_durations_as_people_write_them(text: object, seconds: float) -> None:
    assert parse_duration(text) == seconds


def test_amounts_and_sizes() -> None:
    assert (parse_amount("2%"), parse_amount(250), parse_amount("3.1 %")) == (0.02, 250.0, 0.031)
    assert (parse_size("32MB"), parse_size("1 GiB")) == (32_000_000, 2**30)


@pytest.mark.parametrize("text", [300, "1:30", "5 minutes", "1m30", "", "-5m", "5m5m", True, None, [5], "9" * 5000])
def test_what_is_no_duration_is_refused_with_a_remedy(text: object) -> None:
    with pytest.raises(ValueError) as caught:
        parse_duration(text)
    assert caught.value.context["remedy"]  # type: ignore[attr-defined]
    assert len(str(caught.value)) < 150
