"""Which signals would have to turn for a trigger's expression to come out the other way: the smallest sets of them.

The answer to "what would have to change": each way is a set of turns that together suffice, as things stand now.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from rollback_console.decide.condition import Support, evaluate
from rollback_console.model.rules import And, Expression, Not, Or, Tiered, Uses, Weighted

Truth = bool | None
_MOST_WAYS = 12  # that are carried along of any part
_MOST_ITEMS = 9  # of one part whose subsets are looked through; of more, the first ones


class Turn(NamedTuple):
    """`to`: breach (becomes degraded), calm (is degraded no longer), agree (backs another), alone (holds alone)."""

    signal: str
    to: str


Way = tuple[Turn, ...]


def turns(
    expression: Expression, want: bool, known: Mapping[str, Truth], support: Mapping[str, Support]
) -> tuple[Way, ...]:
    """The ways to make `expression` come out as `want`, the smallest first; ``((),)`` where it does already, nothing
    where there is none. What is unknown has to turn as well as what is otherwise. Every way is tried before it is told:
    one that breaks with one hand what it mends with the other (``a or not a``) is none."""
    if evaluate(expression, known, support) is want:
        return ((),)
    return tuple(way for way in _ways(expression, want, known, support) if _does(expression, want, way, known, support))


def _does(
    expression: Expression, want: bool, way: Way, known: Mapping[str, Truth], support: Mapping[str, Support]
) -> bool:
    """Does the expression come out as wanted once these signals have turned."""
    turned = {turn.signal: turn.to for turn in way}
    then = {**known, **{name: to != "calm" for name, to in turned.items()}}
    backing = dict(support)
    for name, to in turned.items():
        before = support.get(name) or Support(known.get(name), known.get(name))
        if to == "agree":
            backing[name] = Support(before.breached, True, before.alone)
        else:
            backing[name] = Support(to != "calm", to != "calm", to == "alone" or before.alone)
    return evaluate(expression, then, backing) is want


def _ways(
    expression: Expression, want: bool, known: Mapping[str, Truth], support: Mapping[str, Support]
) -> tuple[Way, ...]:
    if isinstance(expression, Uses):
        return ((),) if known.get(expression.signal) is want else ((Turn(expression.signal, _word(want)),),)
    if isinstance(expression, Not):
        return _ways(expression.item, not want, known, support)
    if isinstance(expression, Tiered):
        return _pruned(_tiered_up(expression, known, support) if want else _tiered_down(expression, known, support))
    if isinstance(expression, Weighted):
        parts = [(_ways(item, want, known, support), weight) for item, weight in expression.items]
        return _pruned(_weighted(parts, expression.bar, want))
    each = [_ways(item, want, known, support) for item in expression.items]
    count = len(each)
    k = count if isinstance(expression, And) else 1 if isinstance(expression, Or) else expression.k
    return _pruned(_together(each, k if want else count - k + 1))


def _word(want: bool) -> str:
    return "breach" if want else "calm"


def _pruned(ways: Iterable[Way]) -> tuple[Way, ...]:
    """Each way once, none that contains another, the smallest first, not too many."""
    unique = dict.fromkeys(tuple(dict.fromkeys(way)) for way in ways)
    kept: list[Way] = []
    for way in sorted(unique, key=len):
        if not any(set(other) <= set(way) for other in kept):
            kept.append(way)
        if len(kept) >= _MOST_WAYS:
            break
    return tuple(kept)


def _together(each: Sequence[tuple[Way, ...]], k: int) -> Iterable[Way]:
    """Ways in which `k` of the parts come out as wanted; those that do already come for nothing."""
    if k <= 0:
        yield ()
        return
    open_ones = [ways for ways in each if ways]
    free = sum(ways[0] == () for ways in open_ones)
    costly = [ways for ways in open_ones if ways[0] != ()][:_MOST_ITEMS]
    missing = k - free
    if missing <= 0:
        yield ()
        return
    for chosen in itertools.combinations(costly, missing):
        for product in itertools.islice(itertools.product(*(ways[:3] for ways in chosen)), _MOST_WAYS):
            yield tuple(turn for way in product for turn in way)


def _weighted(parts: Sequence[tuple[tuple[Way, ...], float]], bar: float, want: bool) -> Iterable[Way]:
    """Subsets of parts to turn so that the weight of the true ones reaches the bar, or does not any more."""
    free = sum(weight for ways, weight in parts if ways and ways[0] == ())
    costly = [(ways, weight) for ways, weight in parts if ways and ways[0] != ()][:_MOST_ITEMS]
    whole = sum(weight for _, weight in parts)
    for size in range(len(costly) + 1):
        for chosen in itertools.combinations(costly, size):
            turned = free + sum(weight for _, weight in chosen)  # on the wanted side after that
            if turned >= bar - 1e-9 if want else whole - turned < bar - 1e-9:
                yield tuple(turn for ways, _ in chosen for turn in ways[0])


def _tiered_up(expression: Tiered, known: Mapping[str, Truth], support: Mapping[str, Support]) -> Iterable[Way]:
    names = [item.signal for item in expression.items]
    for name in names:
        own: Way = () if known.get(name) else (Turn(name, "breach"),)
        facts = support.get(name)
        if facts is not None and facts.alone:
            yield own
        for other in names:
            if other != name:
                backing = support.get(other)
                yield own if backing is not None and backing.agrees else (*own, Turn(other, "agree"))
        yield (*own, Turn(name, "alone"))


def _tiered_down(expression: Tiered, known: Mapping[str, Truth], support: Mapping[str, Support]) -> Iterable[Way]:
    """All that is degraded, or cannot be told, must be calm."""
    names = [item.signal for item in expression.items]
    yield tuple(Turn(name, "calm") for name in names if known.get(name) is not False)
