"""Evaluating the PromQL subset over a store of simulated series, all steps of a range at once.

Meanings are Prometheus' own, as of 2.42 (`promql/functions.go`, `promql/quantile.go`): `rate` and `increase` over the
samples in the closed window with its extrapolation to the window's ends. The one documented difference: no correction
for counters that start near zero. A counter's increments come from the world itself, so a reset costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

from rollback_console.rehearse.promql import Aggregate, Call, Node, Number, Operation, Selector, refused

Labels = tuple[tuple[str, str], ...]
Column = list[float | None]  # one value a step; None: no sample


class Source(Protocol):
    """One series of the store."""

    labels: Labels
    counter: bool

    def at(self, times: Sequence[float]) -> Column:
        """The newest sample's value at each time, None where the series is gone."""
        ...

    def sampled_at(self, times: Sequence[float]) -> Column:
        """The newest sample's own time at each time, None where the series is gone."""
        ...

    def increase(self, times: Sequence[float], window_s: float) -> Column:
        """Growth over the window that ends at each time, extrapolated as Prometheus does."""
        ...

    def counted(self, times: Sequence[float], window_s: float) -> Column:
        """How many samples the window that ends at each time holds, None where it holds none."""
        ...


class Store(Protocol):
    def select(self, name: str, matchers: tuple[tuple[str, str, bool], ...]) -> Sequence[Source]:
        """Series of that name whose labels match."""
        ...


Vector = dict[Labels, Column]


def evaluate(node: Node, times: Sequence[float], store: Store) -> Vector:
    """The value of an expression at each time: columns by labels. A scalar stands under the empty labels. Raises
    `BackendRefused` for what the subset does not have."""
    if isinstance(node, Selector) and node.window_s is not None:
        raise refused("a range without rate() or increase()")
    result = _value(node, times, store)
    if isinstance(result, dict):
        return result
    return {(): list(result)}


def _value(node: Node, times: Sequence[float], store: Store) -> Vector | Sequence[float]:
    match node:
        case Number(value):
            return [value] * len(times)
        case Selector():
            if node.window_s is not None:
                raise refused("a range without rate() or increase()")
            moved = _moved(times, node.offset_s)
            return {source.labels: source.at(moved) for source in store.select(node.name, node.matchers)}
        case Call():
            return _call(node, times, store)
        case Aggregate():
            return _aggregate(node, _vector(node.argument, times, store))
        case Operation():
            return _operation(node.operator, _value(node.left, times, store), _value(node.right, times, store))


def _moved(times: Sequence[float], offset_s: float) -> Sequence[float]:
    return [at - offset_s for at in times] if offset_s else times


def _vector(node: Node, times: Sequence[float], store: Store) -> Vector:
    value = _value(node, times, store)
    if not isinstance(value, dict):
        raise refused("a number where a vector was expected")
    return value


def _scalar(node: Node, times: Sequence[float], store: Store) -> Sequence[float]:
    value = _value(node, times, store)
    if isinstance(value, dict):
        raise refused("a vector where a number was expected")
    return value


def _unnamed(labels: Labels) -> Labels:
    return tuple(pair for pair in labels if pair[0] != "__name__")


def _put(vector: Vector, labels: Labels, column: Column) -> None:
    if labels in vector:
        raise refused("an operation that gives the same labels twice")
    vector[labels] = column


def _call(node: Call, times: Sequence[float], store: Store) -> Vector | Sequence[float]:
    out: Vector = {}
    if node.function == "time":
        return list(times)
    first = node.arguments[0]
    if node.function in ("rate", "increase"):
        if not isinstance(first, Selector) or first.window_s is None:
            raise refused(f"{node.function}() of something that is not a range")
        share = 1.0 / first.window_s if node.function == "rate" else 1.0
        moved = _moved(times, first.offset_s)
        for source in store.select(first.name, first.matchers):
            if not source.counter:
                raise refused(f"{node.function}() of {first.name}, which is not a counter")
            grown = source.increase(moved, first.window_s)
            _put(out, _unnamed(source.labels), [None if value is None else value * share for value in grown])
        return out
    if node.function == "count_over_time":
        if not isinstance(first, Selector) or first.window_s is None:
            raise refused("count_over_time() of something that is not a range")
        moved = _moved(times, first.offset_s)
        for source in store.select(first.name, first.matchers):
            _put(out, _unnamed(source.labels), source.counted(moved, first.window_s))
        return out
    if node.function == "timestamp":
        if not isinstance(first, Selector):
            raise refused("timestamp() of something that is not a selector")
        moved = _moved(times, first.offset_s)
        for source in store.select(first.name, first.matchers):
            _put(out, _unnamed(source.labels), source.sampled_at(moved))
        return out
    if node.function == "histogram_quantile":
        return _quantiles(_scalar(first, times, store), _vector(node.arguments[1], times, store))
    bounds = _scalar(node.arguments[1], times, store)
    clamp: Callable[[float, float], float] = max if node.function == "clamp_min" else min
    for labels, column in _vector(first, times, store).items():
        clamped: Column = [
            None if value is None else (math.nan if math.isnan(value) else clamp(value, bound))
            for value, bound in zip(column, bounds, strict=True)
        ]
        _put(out, _unnamed(labels), clamped)
    return out


def _aggregate(node: Aggregate, vector: Vector) -> Vector:
    groups: dict[Labels, list[Column]] = {}
    for labels, column in vector.items():
        known = dict(labels)
        group = tuple((label, known[label]) for label in sorted(node.by) if known.get(label))
        groups.setdefault(group, []).append(column)
    fold = _FOLDS[node.how]
    out: Vector = {}
    for group, columns in groups.items():
        if len(columns) == 1 and node.how != "count":
            out[group] = columns[0]
            continue
        folded: Column = []
        for row in zip(*columns, strict=True):
            present = [value for value in row if value is not None]
            folded.append(fold(present) if present else None)
        out[group] = folded
    return out


def _extreme(values: list[float], which: Callable[[list[float]], float]) -> float:
    real = [value for value in values if not math.isnan(value)]
    return which(real) if real else math.nan


_FOLDS: dict[str, Callable[[list[float]], float]] = {
    "sum": sum,
    "avg": lambda values: sum(values) / len(values),
    "min": lambda values: _extreme(values, min),
    "max": lambda values: _extreme(values, max),
    "count": lambda values: float(len(values)),
}


def _divide(left: float, right: float) -> float:
    if right == 0.0:
        if left == 0.0 or math.isnan(left):
            return math.nan
        return math.copysign(math.inf, left) * math.copysign(1.0, right)
    return left / right


_OPERATORS: dict[str, Callable[[float, float], float]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "/": _divide,
}


def _operation(
    operator: str, left: Vector | Sequence[float], right: Vector | Sequence[float]
) -> Vector | Sequence[float]:
    apply = _OPERATORS[operator]
    out: Vector = {}
    if not isinstance(left, dict):
        if not isinstance(right, dict):
            return [apply(a, b) for a, b in zip(left, right, strict=True)]
        for labels, column in right.items():
            _put(out, _unnamed(labels), _both(apply, left, column))
    elif isinstance(right, dict):
        others: Vector = {}
        for labels, column in right.items():
            _put(others, _unnamed(labels), column)
        for labels, column in left.items():
            other = others.get(_unnamed(labels))
            if other is not None:
                _put(out, _unnamed(labels), _both(apply, column, other))
    else:
        for labels, column in left.items():
            _put(out, _unnamed(labels), _both(apply, column, right))
    return out


def _both(
    apply: Callable[[float, float], float], left: Sequence[float | None], right: Sequence[float | None]
) -> Column:
    return [None if a is None or b is None else apply(a, b) for a, b in zip(left, right, strict=True)]


def _quantiles(quantiles: Sequence[float], buckets: Vector) -> Vector:
    groups: dict[Labels, list[tuple[float, Column]]] = {}
    for labels, column in buckets.items():
        known = dict(labels)
        try:
            bound = float(known.pop("le", "").replace("Inf", "inf"))
        except ValueError:
            continue  # Prometheus ignores series without a bound
        known.pop("__name__", None)
        groups.setdefault(tuple(sorted(known.items())), []).append((bound, column))
    out: Vector = {}
    for group, found in groups.items():
        found.sort(key=lambda pair: pair[0])
        bounds = [bound for bound, _ in found]
        rows = zip(*(column for _, column in found), strict=True)
        out[group] = [_quantile(q, bounds, row) for q, row in zip(quantiles, rows, strict=True)]
    return out


def _quantile(q: float, bounds: list[float], row: Sequence[float | None]) -> float | None:
    """Prometheus' `bucketQuantile`: linear within the bucket; the highest finite bound where it falls beyond."""
    pairs = [(bound, count) for bound, count in zip(bounds, row, strict=True) if count is not None]
    if not pairs:
        return None
    if len(pairs) < 2 or not math.isinf(pairs[-1][0]) or math.isnan(q):
        return math.nan
    if not 0.0 <= q <= 1.0:
        return math.copysign(math.inf, q - 0.5)
    total = pairs[-1][1]
    if total == 0.0 or math.isnan(total):
        return math.nan
    rank = q * total
    index = next((i for i, (_, count) in enumerate(pairs[:-1]) if count >= rank), len(pairs) - 1)
    if index == len(pairs) - 1:
        return pairs[-2][0]
    end, count = pairs[index]
    if index == 0:
        return end if end <= 0.0 else end * _divide(rank, count)
    start, below = pairs[index - 1]
    return start + (end - start) * _divide(rank - below, count - below)
