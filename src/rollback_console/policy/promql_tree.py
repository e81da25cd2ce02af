"""PromQL's tree: values with their places in the text, and what can be told of them without asking a server.

Every node knows where it begins and ends, so that parts of a query stay as they were written.
"""

from __future__ import annotations

import math

from rollback_console.model.value import dataclass
from rollback_console.policy.promql_words import Token


@dataclass(frozen=True, slots=True)
class Number:
    start: int
    end: int
    value: float


@dataclass(frozen=True, slots=True)
class Text:
    """A string, as an argument of a function. `value` is what stands between its quotes, escapes unread."""

    start: int
    end: int
    value: str


@dataclass(frozen=True, slots=True)
class Selector:
    """A metric and its matchers: (label, operator, value with escapes unread)."""

    start: int
    end: int
    metric: str
    matchers: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class Range:
    """`item[5m]`, or with a step (None: none; "": the default one) a subquery `item[1h:5m]`. Durations as written."""

    start: int
    end: int
    item: Node
    length: Token
    step: str | None


@dataclass(frozen=True, slots=True)
class Moved:
    """`item offset 1w`, `item @ 1609746000`."""

    start: int
    end: int
    item: Node


@dataclass(frozen=True, slots=True)
class Call:
    start: int
    end: int
    function: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Aggregation:
    """`by` is True, `without` False, neither None."""

    start: int
    end: int
    operator: str
    arguments: tuple[Node, ...]
    by: bool | None
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Paren:
    start: int
    end: int
    item: Node


@dataclass(frozen=True, slots=True)
class Unary:
    start: int
    end: int
    sign: str
    item: Node


@dataclass(frozen=True, slots=True)
class Matching:
    """`on(…)` is True, `ignoring(…)` False, neither None; `group`: left, right or ""; `include`: its labels."""

    on: bool | None = None
    labels: tuple[str, ...] = ()
    group: str = ""
    include: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Binary:
    """`matching_text` is the matching as it stands in the text, without `bool`."""

    start: int
    end: int
    operator: str
    left: Node
    right: Node
    bool_: bool
    matching: Matching
    matching_text: str
    operator_start: int


Node = Number | Text | Selector | Range | Moved | Call | Aggregation | Paren | Unary | Binary


def bare(item: Node) -> Node:
    """What stands in parentheses."""
    while isinstance(item, Paren):
        item = item.item
    return item


def children(item: Node) -> tuple[Node, ...]:
    """The nodes directly inside."""
    match item:
        case Binary(left=left, right=right):
            return (left, right)
        case Call(arguments=arguments) | Aggregation(arguments=arguments):
            return arguments
        case Range(item=inner) | Moved(item=inner) | Paren(item=inner) | Unary(item=inner):
            return (inner,)
        case _:
            return ()


def constant(item: Node) -> float | None:
    """The number that an expression of numbers alone is, by Go's arithmetic; None for anything else."""
    match item:
        case Number(value=value):
            return value
        case Paren(item=inner):
            return constant(inner)
        case Unary(sign=sign, item=inner):
            turned = constant(inner)
            return None if turned is None else -turned if sign == "-" else turned
        case Binary(operator=operator, left=left, right=right) if operator in "+-*/%^":
            one, two = constant(left), constant(right)
            return None if one is None or two is None else _folded(operator, one, two)
        case _:
            return None


def _folded(operator: str, one: float, two: float) -> float:
    try:
        match operator:
            case "+":
                return one + two
            case "-":
                return one - two
            case "*":
                return one * two
            case "/":
                return one / two
            case "%":
                return math.fmod(one, two)
            case _:
                return math.pow(one, two)
    except (ArithmeticError, ValueError):  # infinite or no number in Go: either way no bound
        return math.nan


def is_scalar(item: Node) -> bool:
    """Whether it is one number without labels."""
    match item:
        case Number():
            return True
        case Call(function=function):
            return function.lower() in ("scalar", "time", "pi")
        case Paren(item=inner) | Unary(item=inner):
            return is_scalar(inner)
        case Binary(left=left, right=right):
            return is_scalar(left) and is_scalar(right)
        case _:
            return False
