"""A trigger's expression, three-valued (Kleene): any(true, ?) = true, all(false, ?) = false, else unknown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rollback_console.model.rules import And, AtLeast, Expression, Not, Or, Uses


def evaluate(expression: Expression, known: Mapping[str, bool | None]) -> bool | None:
    """True, False, or None where what is known does not settle it. A signal that is not in `known` is unknown."""
    if isinstance(expression, Uses):
        return known.get(expression.signal)
    if isinstance(expression, Not):
        inner = evaluate(expression.item, known)
        return None if inner is None else not inner
    if isinstance(expression, And):
        return _at_least(len(expression.items), expression.items, known)
    if isinstance(expression, Or):
        return _at_least(1, expression.items, known)
    return _at_least(expression.k, expression.items, known)


def _at_least(k: int, items: tuple[Expression, ...], known: Mapping[str, bool | None]) -> bool | None:
    yes = unknown = 0
    for item in items:
        value = evaluate(item, known)
        if value is None:
            unknown += 1
        elif value:
            yes += 1
    if yes >= k:
        return True
    return None if yes + unknown >= k else False


def signals_of(expression: Expression) -> tuple[str, ...]:
    """The signals an expression names, each once, in order."""
    return tuple(dict.fromkeys(_names(expression)))


def _names(expression: Expression) -> Iterable[str]:
    if isinstance(expression, Uses):
        yield expression.signal
    elif isinstance(expression, Not):
        yield from _names(expression.item)
    elif isinstance(expression, And | Or | AtLeast):
        for item in expression.items:
            yield from _names(item)
