"""A small, honest part of PromQL: what the simulated world understands, and a refusal that names the rest.

Grammar (precedence as Prometheus': unary minus, then ``* /``, then ``+ -``)::

    expression  number, "(" expression ")", selector, call, aggregation, -x, x + - * / y
    selector    name {label="value", ...} [5m] offset 1w      (matchers: = and != only)
    call        rate(v[w]) increase(v[w]) count_over_time(v[w]) histogram_quantile(q, v) timestamp(v) time()
                clamp_min(v, n) clamp_max(v, n)
    aggregation sum avg min max count, with or without `by (label, ...)`, before or after the argument

Vectors in an operation are matched on all their labels, one to one. Everything else raises `BackendRefused`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from rollback_console.errors import BackendRefused
from rollback_console.model.text import plain
from rollback_console.model.value import dataclass

AGGREGATIONS = ("sum", "avg", "min", "max", "count")
COUNTER_CALLS = ("rate", "increase")
_RANGED = (*COUNTER_CALLS, "count_over_time")
_ARITY = {"histogram_quantile": 2, "timestamp": 1, "time": 0, "clamp_min": 2, "clamp_max": 2, "rate": 1, "increase": 1,
          "count_over_time": 1}  # fmt: skip
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0, "y": 31_536_000.0}
_MAX_LENGTH = 20_000
_MAX_DEPTH = 60

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<duration>(?:\d+(?:ms|[smhdwy]))+)(?![A-Za-z0-9_])
    | (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?![A-Za-z0-9_.])
    | (?P<name>[A-Za-z_:][A-Za-z0-9_:]*)
    | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`[^`]*`)
    | (?P<op>!=|=~|!~|==|>=|<=|[-+*/(){}\[\],=<>%^@])
    )""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Number:
    value: float


@dataclass(frozen=True, slots=True)
class Selector:
    """Series by name and matchers (label, value, equal). `window_s` set: a range. `offset_s`: look that far back."""

    name: str
    matchers: tuple[tuple[str, str, bool], ...] = ()
    window_s: float | None = None
    offset_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Call:
    function: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Aggregate:
    how: str
    by: tuple[str, ...]
    argument: Node


@dataclass(frozen=True, slots=True)
class Operation:
    operator: str
    left: Node
    right: Node


Node = Number | Selector | Call | Aggregate | Operation


def refused(what: str) -> BackendRefused:
    """The error for everything outside the subset."""
    return BackendRefused(
        f"the simulated metrics do not understand {plain(what, 160)}",
        "a rehearsal knows a part of PromQL only (rehearse/promql.py says which); a real Prometheus knows it all",
    )


def parse(text: str) -> Node:
    """PromQL text as a tree. Raises `BackendRefused` with what is not understood."""
    if len(text) > _MAX_LENGTH:
        raise refused(f"a query of {len(text)} characters")
    parser = _Parser(tuple(_tokens(text)))
    node = parser.sum()
    kind, word = parser.peek()
    if kind != "end":
        raise refused(f"{word!r} in {text!r}")
    return node


def selectors(node: Node) -> Iterator[Selector]:
    """Every selector of a tree."""
    match node:
        case Selector():
            yield node
        case Call():
            for argument in node.arguments:
                yield from selectors(argument)
        case Aggregate():
            yield from selectors(node.argument)
        case Operation():
            yield from selectors(node.left)
            yield from selectors(node.right)
        case Number():
            return


def seconds(text: str) -> float:
    """A Prometheus duration (`1h30m`) in seconds."""
    return sum(int(count) * _SECONDS[unit] for count, unit in re.findall(r"(\d+)(ms|[smhdwy])", text))


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    position = 0
    text = text.rstrip()
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None or found.lastgroup is None:
            raise refused(f"{text[position : position + 20]!r} in {text!r}")
        yield found.lastgroup, found.group(found.lastgroup)
        position = found.end()
    yield "end", "the end"


_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|.)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "\\": "\\", '"': '"', "'": "'"}


def _unquote(word: str) -> str:
    """A Go string literal's value."""
    if word[0] == "`":
        return word[1:-1]

    def one(found: re.Match[str]) -> str:
        code = found.group(1)
        if code in _ESCAPES:
            return _ESCAPES[code]
        if code[0] in "xuU" and len(code) > 1 and int(code[1:], 16) <= 0x10FFFF:
            return chr(int(code[1:], 16))
        if code.isdigit() and len(code) == 3:
            return chr(int(code, 8))
        raise refused(f"the escape {found.group(0)!r}")

    return _ESCAPE.sub(one, word[1:-1])


class _Parser:
    """Recursive descent over the tokens; depth is bounded, because queries come from files people write."""

    def __init__(self, tokens: tuple[tuple[str, str], ...]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0

    def peek(self) -> tuple[str, str]:
        return self._tokens[self._at]

    def _next(self) -> tuple[str, str]:
        token = self._tokens[self._at]
        if token[0] != "end":
            self._at += 1
        return token

    def _take(self, *words: str) -> str | None:
        kind, word = self.peek()
        if kind == "op" and word in words:
            self._at += 1
            return word
        return None

    def _need(self, word: str) -> None:
        if self._take(word) is None:
            raise refused(f"{self.peek()[1]!r} where {word!r} was expected")

    def sum(self) -> Node:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise refused("an expression nested that deep")
        left = self._product()
        while operator := self._take("+", "-"):
            left = Operation(operator, left, self._product())
        self._depth -= 1
        return left

    def _product(self) -> Node:
        left = self._unary()
        while operator := self._take("*", "/"):
            kind, word = self.peek()
            if kind == "name" and word in ("on", "ignoring", "group_left", "group_right", "bool"):
                raise refused(f"{word!r} (vectors are matched on all their labels)")
            left = Operation(operator, left, self._unary())
        return left

    def _unary(self) -> Node:
        negative = False
        while sign := self._take("-", "+"):
            negative ^= sign == "-"
        node = self._atom()
        return Operation("*", Number(-1.0), node) if negative else node

    def _atom(self) -> Node:
        kind, word = self._next()
        if kind == "number":
            return Number(float(word))
        if kind == "op" and word == "(":
            node = self.sum()
            self._need(")")
            return node
        if kind != "name":
            raise refused(repr(word))
        if word in AGGREGATIONS:
            return self._aggregate(word)
        if self.peek() == ("op", "("):
            return self._call(word)
        return self._selector(word)

    def _aggregate(self, how: str) -> Node:
        by = self._by()
        self._need("(")
        argument = self.sum()
        self._need(")")
        after = self._by()
        if by is not None and after is not None:
            raise refused("`by` twice")
        return Aggregate(how, by or after or (), argument)

    def _by(self) -> tuple[str, ...] | None:
        if self.peek() == ("name", "without"):
            raise refused("`without`")
        if self.peek() != ("name", "by"):
            return None
        self._next()
        self._need("(")
        labels = []
        while self._take(")") is None:
            kind, word = self._next()
            if kind != "name":
                raise refused(f"{word!r} in `by (...)`")
            labels.append(word)
            if self.peek() != ("op", ")"):
                self._need(",")
        return tuple(labels)

    def _call(self, function: str) -> Node:
        if function not in _ARITY:
            raise refused(f"the function {function}()")
        self._need("(")
        arguments: list[Node] = []
        while self._take(")") is None:
            arguments.append(self.sum())
            if self.peek() != ("op", ")"):
                self._need(",")
        if len(arguments) != _ARITY[function]:
            raise refused(f"{function}() of {len(arguments)} arguments")
        ranged = isinstance(arguments[0], Selector) and arguments[0].window_s is not None if arguments else False
        if (function in _RANGED) != ranged:
            raise refused(f"{function}() of {'a range' if ranged else 'something that is not a range, like name[5m],'}")
        return Call(function, tuple(arguments))

    def _selector(self, name: str) -> Node:
        matchers: list[tuple[str, str, bool]] = []
        if self._take("{"):
            while self._take("}") is None:
                matchers.append(self._matcher())
                if self.peek() != ("op", "}"):
                    self._need(",")
        window = None
        if self._take("["):
            kind, word = self._next()
            if kind != "duration":
                raise refused(f"{word!r} as a window")
            window = seconds(word)
            self._need("]")
        offset = 0.0
        if self.peek() == ("name", "offset"):
            self._next()
            sign = -1.0 if self._take("-") else 1.0
            kind, word = self._next()
            if kind != "duration":
                raise refused(f"{word!r} as an offset")
            offset = sign * seconds(word)
        return Selector(name, tuple(matchers), window, offset)

    def _matcher(self) -> tuple[str, str, bool]:
        kind, label = self._next()
        if kind != "name":
            raise refused(f"{label!r} as a label")
        _, operator = self._next()
        if operator not in ("=", "!="):
            raise refused(f"the matcher {operator!r}")
        kind, value = self._next()
        if kind != "string":
            raise refused(f"{value!r} as a label's value")
        return label, _unquote(value), operator == "="
