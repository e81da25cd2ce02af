"""A trigger's expression, three-valued (Kleene): any(true, ?) = true, all(false, ?) = false, else unknown.

The tiered rule asks more of a signal than whether it is breached: who agrees with it, and whether it may stand alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf

from rollback_console.model.rules import And, Expression, Not, Or, Tiered, Uses, Weighted
from rollback_console.model.value import dataclass

Truth = bool | None
_TOLERANCE = 1e-9  # weights are decimal fractions: below this, equal


@dataclass(frozen=True, slots=True)
class Support:
    """What the tiered rule goes by. `breached`: as for every expression. `agrees`: does it back another's breach.
    `alone`: may its own breach stand with nobody agreeing (sufficient alone, or it has held for long enough)."""

    breached: Truth
    agrees: Truth
    alone: Truth = False


UNKNOWN = Support(None, None, False)
_NOBODY: Mapping[str, Support] = {}


def either(items: Iterable[Truth]) -> Truth:
    """Kleene's or: true if any is, false if all are, else unknown."""
    found: Truth = False
    for item in items:
        if item:
            return True
        if item is None:
            found = None
    return found


def both(one: Truth, other: Truth) -> Truth:
    """Kleene's and."""
    if one is False or other is False:
        return False
    return None if one is None or other is None else True


def evaluate(expression: Expression, known: Mapping[str, Truth], support: Mapping[str, Support] = _NOBODY) -> Truth:
    """True, False, or None where what is known does not settle it. A signal that is not in `known` is unknown.

    `support` stands in for `known` within the tiered rule; a signal that is not in it agrees when it is breached, and
    does not stand alone.
    """
    if isinstance(expression, Uses):
        return known.get(expression.signal)
    if isinstance(expression, Not):
        inner = evaluate(expression.item, known, support)
        return None if inner is None else not inner
    if isinstance(expression, Tiered):
        return _tiered(expression, known, support)
    if isinstance(expression, Weighted):
        return _weighted(expression, known, support)
    truths = [evaluate(item, known, support) for item in expression.items]
    if isinstance(expression, And):
        return _at_least(len(truths), truths)
    return _at_least(1 if isinstance(expression, Or) else expression.k, truths)


def _at_least(k: int, truths: Iterable[Truth]) -> Truth:
    yes = unknown = 0
    for value in truths:
        if value is None:
            unknown += 1
        elif value:
            yes += 1
    if yes >= k:
        return True
    return None if yes + unknown >= k else False


def _weighted(expression: Weighted, known: Mapping[str, Truth], support: Mapping[str, Support]) -> Truth:
    sure = possible = 0.0
    for item, weight in expression.items:
        value = evaluate(item, known, support)
        if value:
            sure += weight
        if value is not False:
            possible += weight
    if sure >= expression.bar - _TOLERANCE:
        return True
    return None if possible >= expression.bar - _TOLERANCE else False


def _tiered(expression: Tiered, known: Mapping[str, Truth], support: Mapping[str, Support]) -> Truth:
    found = []
    possible = False
    for item in expression.items:
        each = support.get(item.signal)
        if each is None:
            own = known.get(item.signal)
            each = Support(own, own, False)
        possible = possible or each.breached is not False
        found.append(each)
    if not possible:
        return False  # nearly always
    return either(
        both(each.breached, either((each.alone, *(other.agrees for k, other in enumerate(found) if k != number))))
        for number, each in enumerate(found)
    )


def waits(expression: Expression, left: Mapping[str, float | None], alone: Mapping[str, float | None]) -> float | None:
    """How long (seconds) until the expression holds if everything stays as it is, out of how long that is for each
    signal; None: never. `alone`: how long until a signal's breach may stand with nobody agreeing, where that is longer
    than for the signal itself."""
    found = _wait(expression, left, alone)
    return None if found == inf else found


def _wait(expression: Expression, left: Mapping[str, float | None], alone: Mapping[str, float | None]) -> float:
    if isinstance(expression, Uses):
        own = left.get(expression.signal)
        return inf if own is None else own
    if isinstance(expression, Not):
        return 0.0 if _wait(expression.item, left, alone) == inf else inf
    if isinstance(expression, Tiered):
        waiting = [alone.get(item.signal, left.get(item.signal)) for item in expression.items]
        return min((each for each in waiting if each is not None), default=inf)
    if isinstance(expression, Weighted):
        total, ordered = 0.0, sorted((_wait(item, left, alone), weight) for item, weight in expression.items)
        for wait, weight in ordered:
            total += weight
            if total >= expression.bar - _TOLERANCE:
                return wait
        return inf
    each_wait = sorted(_wait(item, left, alone) for item in expression.items)
    k = len(each_wait) if isinstance(expression, And) else 1 if isinstance(expression, Or) else expression.k
    return 0.0 if k <= 0 else each_wait[k - 1] if k <= len(each_wait) else inf


def tiered(expression: Expression) -> bool:
    """Does the tiered rule stand anywhere in it."""
    if isinstance(expression, Uses):
        return False
    if isinstance(expression, Not):
        return tiered(expression.item)
    if isinstance(expression, Weighted):
        return any(tiered(item) for item, _ in expression.items)
    return isinstance(expression, Tiered) or any(tiered(item) for item in expression.items)


def signals_of(expression: Expression) -> tuple[str, ...]:
    """The signals an expression names, each once, in order."""
    return tuple(dict.fromkeys(_names(expression)))


def _names(expression: Expression) -> Iterable[str]:
    if isinstance(expression, Uses):
        yield expression.signal
    elif isinstance(expression, Not):
        yield from _names(expression.item)
    elif isinstance(expression, Weighted):
        for item, _ in expression.items:
            yield from _names(item)
    else:
        for item in expression.items:
            yield from _names(item)
