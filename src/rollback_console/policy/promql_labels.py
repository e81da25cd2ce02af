"""Which labels the series of a query's answer may have, found from the query alone.

Sources: prometheus/promql/engine.go (aggregation, VectorBinop, resultMetric), functions.go, v2.42.
"""

from __future__ import annotations

from rollback_console.model.value import dataclass
from rollback_console.policy.promql_tree import (
    Aggregation,
    Binary,
    Call,
    Matching,
    Moved,
    Node,
    Number,
    Paren,
    Range,
    Selector,
    Text,
    Unary,
    children,
    constant,
    is_scalar,
)
from rollback_console.policy.promql_words import SETS, PromqlError

_LABELLESS = frozenset({"vector", "scalar", "time", "pi"})
_DATES = frozenset({"day_of_month", "day_of_week", "day_of_year", "days_in_month", "hour", "minute", "month", "year"})
_KEEPING = frozenset({
    "abs", "ceil", "changes", "clamp", "clamp_max", "clamp_min", "delta", "deriv", "exp", "floor", "idelta", "increase",
    "irate", "ln", "log10", "log2", "predict_linear", "rate", "resets", "round", "sgn", "sort", "sort_desc", "sqrt",
    "timestamp", "holt_winters", "double_exponential_smoothing", "avg_over_time", "min_over_time", "max_over_time",
    "sum_over_time", "count_over_time", "quantile_over_time", "stddev_over_time", "stdvar_over_time",
    "last_over_time", "present_over_time", "mad_over_time", "first_over_time", "histogram_count", "histogram_sum",
    "histogram_avg", "histogram_stddev", "histogram_stdvar", "acos", "acosh", "asin", "asinh", "atan", "atanh", "cos",
    "cosh", "sin", "sinh", "tan", "tanh", "deg", "rad", "sort_by_label", "sort_by_label_desc",
})  # fmt: skip
# What makes an infinity out of finite numbers.
_INFINITE = frozenset({"exp", "ln", "log2", "log10", "histogram_quantile", "atanh", "cosh", "sinh", "tan"})


@dataclass(frozen=True, slots=True)
class Labels:
    """`closed`: no others than `names`; else: any but `names`. The metric's name is never counted."""

    names: frozenset[str]
    closed: bool

    def may_have(self, label: str) -> bool:
        return (label in self.names) is self.closed

    def plus(self, labels: tuple[str, ...]) -> Labels:
        more = frozenset(labels)
        return Labels(self.names | more if self.closed else self.names - more, self.closed)

    def minus(self, labels: tuple[str, ...]) -> Labels:
        fewer = frozenset(labels)
        return Labels(self.names - fewer if self.closed else self.names | fewer, self.closed)

    def only(self, labels: tuple[str, ...]) -> Labels:
        return Labels(frozenset(label for label in labels if self.may_have(label)), True)

    def both(self, other: Labels) -> Labels:
        """Labels that may stand on the one and on the other."""
        if self.closed:
            return self.only(tuple(other.names)) if other.closed else self.minus(tuple(other.names))
        return other.minus(tuple(self.names)) if other.closed else self.minus(tuple(other.names))

    def either(self, other: Labels) -> Labels:
        if self.closed and other.closed:
            return Labels(self.names | other.names, True)
        if not self.closed and not other.closed:
            return Labels(self.names & other.names, False)
        opened, shut = (other, self) if self.closed else (self, other)
        return Labels(opened.names - shut.names, False)

    def within(self, by: tuple[str, ...]) -> bool:
        """Whether there is at most one series for each combination of the labels `by`."""
        return self.closed and self.names <= frozenset(by)


NONE = Labels(frozenset(), True)
ANY = Labels(frozenset(), False)


def labels_of(item: Node) -> Labels:
    """The labels that the answer's series may have. Raises PromqlError for a function that is not known here."""
    match item:
        case Number() | Text():
            return NONE
        case Selector():
            return ANY
        case Range(item=inner) | Moved(item=inner) | Paren(item=inner) | Unary(item=inner):
            return labels_of(inner)
        case Aggregation():
            return _aggregated(item)
        case Call():
            return _called(item)
        case Binary():
            return _combined(item)


def _aggregated(item: Aggregation) -> Labels:
    inner = labels_of(item.arguments[-1])
    if item.operator in ("topk", "bottomk"):
        return inner  # these choose series and leave them as they are
    found = NONE if item.by is None else inner.only(item.labels) if item.by else inner.minus(item.labels)
    if item.operator == "count_values" and isinstance(item.arguments[0], Text):
        found = found.plus((item.arguments[0].value,))
    return found


def _called(item: Call) -> Labels:
    name, arguments = item.function.lower(), item.arguments
    if name != item.function:
        raise PromqlError(item.start, f"there is no function {item.function[:40]}", f"Write {name}")
    inner = NONE
    for argument in arguments:
        if not isinstance(argument, Text) and not is_scalar(argument):
            inner = labels_of(argument)
    if name in _LABELLESS:
        return NONE
    if name in ("absent", "absent_over_time"):
        return _absent(arguments[0]) if arguments else NONE
    if name in ("label_replace", "label_join"):
        into = arguments[1] if len(arguments) > 1 else None
        return inner.plus((into.value,)) if isinstance(into, Text) else inner
    if name in ("histogram_quantile", "histogram_fraction"):
        return inner.minus(("le",))
    if name in _KEEPING or name in _DATES:
        return inner
    raise PromqlError(item.start, f"the function {item.function[:40]} is not known here", "Record it as a metric")


def _absent(item: Node) -> Labels:
    """`absent` makes labels of the matchers that ask for one value."""
    while isinstance(item, (Moved, Paren, Range)):
        item = item.item
    if not isinstance(item, Selector):
        labels_of(item)  # what is not known is said
        return NONE
    asked = [label for label, _, _ in item.matchers]
    return Labels(
        frozenset(label for label, sign, value in item.matchers if sign == "=" and value and asked.count(label) == 1),
        True,
    )


def _combined(item: Binary) -> Labels:
    left, right = labels_of(item.left), labels_of(item.right)
    if item.operator in ("and", "unless"):
        return left
    if item.operator == "or":
        return left.either(right)
    if is_scalar(item.left):
        return right
    if is_scalar(item.right):
        return left
    matching = item.matching
    if matching.group:
        return (left if matching.group == "left" else right).plus(matching.include)
    if matching.on is True:
        return left.only(matching.labels).both(right)
    return left.minus(matching.labels).both(right.minus(matching.labels))


def matches_by(matching: Matching, left: Labels, right: Labels, by: tuple[str, ...]) -> bool:
    """Whether two series match exactly when they are of the same deployment: the labels they are compared by are
    those of `by`."""
    if any(left.may_have(label) is not right.may_have(label) for label in by):
        return False
    if matching.on is True:
        return frozenset(matching.labels) == frozenset(by)
    ignored = matching.labels if matching.on is False else ()
    if frozenset(ignored) & frozenset(by):
        return False
    return left.minus(ignored).within(by) and right.minus(ignored).within(by)


def keeps_apart(matching: Matching, by: tuple[str, ...]) -> bool:
    """Whether series of different deployments never match."""
    if matching.on is True:
        return frozenset(by) <= frozenset(matching.labels)
    return matching.on is None or not frozenset(matching.labels) & frozenset(by)


def may_be_infinite(item: Node) -> bool:
    """Whether a division or a function can make an infinity out of finite samples."""
    if isinstance(item, Binary) and item.operator in ("/", "^"):
        divisor = constant(item.right) if item.operator == "/" else None
        return may_be_infinite(item.left) if divisor else True
    if isinstance(item, Binary) and item.operator in SETS:
        return may_be_infinite(item.left) or (item.operator == "or" and may_be_infinite(item.right))
    if isinstance(item, Call) and item.function in _INFINITE:
        return True
    return any(may_be_infinite(inner) for inner in children(item))
