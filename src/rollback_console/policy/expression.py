"""Trigger expressions: `conversion and any 1 of [error_rate, volume]`.

::

    expression = term { "or" term }
    term       = factor { "and" factor }
    factor     = "not" factor | "(" expression ")" | "any" k "of" list | "all" "of" list | "tiered" "of" list
               | "weight" "(" weighed { "," weighed } ")" ">=" number | signal
    list       = "[" expression { "," expression } "]"
    weighed    = expression ":" number

`not` binds tightest, then `and`, then `or`. Parentheses are kept as written: `(a and b) and c` is not `a and b and c`,
though both mean the same. The list of `tiered of` holds signals alone.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Mapping

from rollback_console.model.rules import And, AtLeast, Expression, Not, Or, Tiered, Uses, Weighted

MAX_LENGTH = 4_000
MAX_DEPTH = 40
MAX_WEIGHT = 1_000_000
RESERVED = frozenset({"and", "or", "not", "any", "all", "of", "weight", "tiered"})
SIGNAL_NAME = r"[A-Za-z_][A-Za-z0-9_-]*"
_TOKEN = re.compile(rf"\s*(?:({SIGNAL_NAME})|([0-9]+(?:\.[0-9]+)?)|(>=|<=|&&|\|\||[^\s]))")
_NO_PARTS: Mapping[str, tuple[str, ...]] = {}
_OTHER_TONGUES = {"&&": "and", "||": "or", "!": "not", "&": "and", "|": "or"}


class ExpressionError(ValueError):
    """What is wrong with an expression, at which character (from 0), and the remedy."""

    def __init__(self, offset: int, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.offset, self.message, self.remedy = offset, message, remedy


class _Parser:
    def __init__(self, text: str, signals: Collection[str] | None, aside: Collection[str] = ()) -> None:
        self.aside = aside
        self.text, self.signals, self.depth, self.position = text, signals, 0, 0
        self.tokens: list[tuple[str, str, int]] = []  # kind, word, offset
        at = 0
        while match := _TOKEN.match(text, at):
            kind = "word" if match[1] else "number" if match[2] else "sign"
            word = match[1] or match[2] or match[3]
            if kind == "word" and word.lower() in RESERVED:
                kind = "key"
            self.tokens.append((kind, word, match.end() - len(word)))
            at = match.end()
        self.tokens.append(("end", "", len(text.rstrip())))

    @property
    def here(self) -> tuple[str, str, int]:
        return self.tokens[self.position]

    def fail(self, message: str, remedy: str = "", offset: int | None = None) -> ExpressionError:
        return ExpressionError(self.here[2] if offset is None else offset, message, remedy)

    def take(self, word: str) -> bool:
        kind, here, offset = self.here
        if kind == "key" and here != word and here.lower() == word:
            raise ExpressionError(offset, f"`{here}` is written in lower case", f"Write `{word}`")
        if kind == "end" or here != word:
            return False
        self.position += 1
        return True

    def need(self, word: str, after: str) -> None:
        if not self.take(word):
            raise self.fail(f"`{word}` is missing {after}" + self.found(), f"Write `{word}`")

    def found(self) -> str:
        kind, word, _ = self.here
        return "" if kind == "end" else f", here stands `{word[:40]}`"

    def expression(self) -> Expression:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.fail(f"nested more than {MAX_DEPTH} deep", "Use `any k of [...]`")
        items = [self.term()]
        while self.take("or"):
            items.append(self.term())
        self.depth -= 1
        return items[0] if len(items) == 1 else Or(tuple(items))

    def term(self) -> Expression:
        items = [self.factor()]
        while self.take("and"):
            items.append(self.factor())
        return items[0] if len(items) == 1 else And(tuple(items))

    def factor(self) -> Expression:
        negations = 0
        while self.take("not"):
            negations += 1
            if negations > MAX_DEPTH:
                raise self.fail(f"more than {MAX_DEPTH} `not`", "Two of them cancel each other")
        item = self.single()
        for _ in range(negations):
            item = Not(item)
        return item

    def single(self) -> Expression:
        kind, word, offset = self.here
        if self.take("("):
            item = self.expression()
            if self.here[0] == "end":
                raise self.fail("this `(` is never closed", "Close it with `)`", offset)
            self.need(")", "before what stands here")
            return item
        if self.take("any"):
            return self.any_of()
        if self.take("all"):
            self.need("of", "after `all`")
            items = self.items("all of")
            return items[0] if len(items) == 1 else And(items)
        if self.take("tiered"):
            return self.tiered()
        if self.take("weight"):
            return self.weighted()
        if kind == "word":
            self.position += 1
            return self.signal(word, offset)
        if kind == "end":
            raise self.fail("a signal is missing at the end", "Name one of the signals")
        if word in _OTHER_TONGUES:
            raise self.fail(f"`{word}` is not a word of expressions", f"Write `{_OTHER_TONGUES[word]}`")
        raise self.fail(f"a signal was expected, here stands `{word[:40]}`", "Name one of the signals")

    def any_of(self) -> Expression:
        kind, word, offset = self.here
        if kind != "number" or "." in word:
            what = "a whole number" if kind == "number" else "a number"
            raise self.fail(f"`any` needs {what}", "Write `any 1 of [...]`, `any 2 of [...]`")
        self.position += 1
        self.need("of", f"after `any {word[:9]}`")
        items = self.items(f"any {word[:9]} of")
        k = int(word[:9])
        if not 1 <= k <= len(items):
            raise self.fail(f"`any {k}` of a list of {len(items)} is {'always' if k < 1 else 'never'} true",
                            f"k lies between 1 and {len(items)}", offset)  # fmt: skip
        return AtLeast(k, items)

    def tiered(self) -> Expression:
        self.need("of", "after `tiered`")
        start = self.here[2]
        items = self.items("tiered of")
        uses = tuple(item for item in items if isinstance(item, Uses))
        if len(uses) != len(items):
            raise self.fail("`tiered of` takes signals alone", "Name signals in it, with commas between them", start)
        return Tiered(uses)

    def weighted(self) -> Expression:
        self.need("(", "after `weight`")
        items: list[tuple[Expression, float]] = []
        while True:
            start = self.here[2]
            item = self.expression()
            if any(item == other for other, _ in items):
                raise self.fail(f"{unparse(item)} stands twice in the weights", "Name it once", start)
            if not self.take(":"):
                raise self.fail(f"{unparse(item)[:60]} has no weight", "Write `weight(errors: 2, volume: 1) >= 2`")
            items.append((item, self.number("a weight")))
            if not self.take(","):
                break
        self.need(")", "at the end of the weights")
        if self.here[1] == ">":
            raise self.fail("`>` is not the comparison here", "Write `>=`")
        self.need(">=", "after the weights")
        start = self.here[2]
        bar, total = self.number("the bar"), sum(weight for _, weight in items)
        if bar > total * (1 + 1e-12):
            raise self.fail(f"the bar is never reached: the weights sum to {total:.15g}", "Lower it", start)
        return Weighted(tuple(items), bar)

    def number(self, what: str) -> float:
        kind, word, _ = self.here
        if kind != "number":
            raise self.fail(f"{what} is a number{self.found()}", "Write `weight(errors: 2, volume: 1) >= 2`")
        if len(word) > 12 or not 0.001 <= float(word) <= MAX_WEIGHT:
            raise self.fail(f"{what} of {word[:20]} is out of range", f"It lies between 0.001 and {MAX_WEIGHT:,}")
        self.position += 1
        return float(word)

    def items(self, after: str) -> tuple[Expression, ...]:
        self.need("[", f"after `{after}`")
        if self.here[1] == "]":
            raise self.fail("the list is empty", "Name signals in it, with commas between them")
        items: list[Expression] = []
        while True:
            offset = self.here[2]
            item = self.expression()
            if item in items:
                raise self.fail(f"{unparse(item)} stands twice in the list", "Name it once", offset)
            items.append(item)
            if not self.take(","):
                break
        self.need("]", "at the end of the list")
        return tuple(items)

    def signal(self, name: str, offset: int) -> Expression:
        if self.signals is not None and name not in self.signals:
            raise self.fail(f"there is no signal {name[:60]}", _nearest(name, self.signals), offset)
        if name in self.aside:
            raise self.fail(f"{name[:60]} stands aside: it explains, and never triggers", "Take it out", offset)
        return Uses(name)

    def whole(self) -> Expression:
        item = self.expression()
        kind, word, _ = self.here
        if kind == "end":
            return item
        if word in _OTHER_TONGUES:
            raise self.fail(f"`{word}` is not a word of expressions", f"Write `{_OTHER_TONGUES[word]}`")
        if word in (">", ">=", "<", "<=", "=", "+"):
            remedy = (
                "A signal's own `breach:` holds its bound; combine with `any k of [...]` or `weight(a: 2, b: 1) >= 2`"
            )
            raise self.fail(f"`{word}`: signals are not compared here", remedy)
        if word in (")", "]"):
            raise self.fail(f"this `{word}` closes nothing", "Take it out")
        raise self.fail(f"`and` or `or` is missing before `{word[:40]}`", "Put one between the two conditions")


def _nearest(name: str, signals: Collection[str]) -> str:
    close = difflib.get_close_matches(name, list(signals), 1, 0.6)
    if close:
        return f"Did you mean {close[0]}"
    return "The signals are " + ", ".join(sorted(signals)[:12]) if signals else "The policy has no signals"


def parse(text: str, signals: Collection[str] | None = None, aside: Collection[str] = ()) -> Expression:
    """The expression that `text` is. With `signals`, every name must be one of them; none may be among those `aside`.

    Raises ExpressionError with the offset of the first thing that is wrong.
    """
    if len(text) > MAX_LENGTH:
        raise ExpressionError(MAX_LENGTH, f"longer than {MAX_LENGTH:,} characters", "Use `any k of [...]`")
    if not text.strip():
        raise ExpressionError(0, "the expression is empty", "Name a signal, or leave `when:` out for the default")
    return _Parser(text, signals, aside).whole()


def unparse(expression: Expression) -> str:
    """The expression as people write it; `parse` reads it back to the same value."""
    match expression:
        case Uses(signal):
            return signal
        case Not(item):
            return f"not {_wrapped(item, And, Or)}"
        case And(items):
            return " and ".join(_wrapped(item, And, Or) for item in items)
        case Or(items):
            return " or ".join(_wrapped(item, Or) for item in items)
        case AtLeast(k, items):
            return f"any {k} of [{', '.join(unparse(item) for item in items)}]"
        case Tiered(uses):
            return f"tiered of [{', '.join(item.signal for item in uses)}]"
        case Weighted(weighed, bar):
            return f"weight({', '.join(f'{unparse(item)}: {weight:.15g}' for item, weight in weighed)}) >= {bar:.15g}"


def _wrapped(item: Expression, *kinds: type) -> str:
    return f"({unparse(item)})" if isinstance(item, kinds) else unparse(item)


def names(expression: Expression) -> Iterator[str]:
    """The signals an expression uses, in the order of its text; a name may come twice."""
    match expression:
        case Uses(signal):
            yield signal
        case Not(item):
            yield from names(item)
        case And(items) | Or(items) | AtLeast(_, items) | Tiered(items):
            for item in items:
                yield from names(item)
        case Weighted(weighed, _):
            for item, _ in weighed:
                yield from names(item)


def expanded(
    expression: Expression, meant: Mapping[str, Expression], parts: Mapping[str, tuple[str, ...]] = _NO_PARTS
) -> Expression:
    """The expression with some names standing for conditions of their own (`meant`: a burn rate's windows), and some
    for themselves and their `parts` (slices), any of which will do.

    What is tiered keeps its other signals, and is true of a condition by itself. Of parts there is one tiered rule
    each: a part and its whole count the same events, so that they are nobody's agreement.
    """
    match expression:
        case Uses(signal):
            own = tuple(Uses(part) for part in parts.get(signal, ()))
            return Or((expression, *own)) if own else meant.get(signal, expression)
        case Not(item):
            return Not(expanded(item, meant, parts))
        case And(items):
            return And(tuple(expanded(item, meant, parts) for item in items))
        case Or(items):
            return Or(tuple(expanded(item, meant, parts) for item in items))
        case AtLeast(k, items):
            return AtLeast(k, tuple(expanded(item, meant, parts) for item in items))
        case Weighted(weighed, bar):
            return Weighted(tuple((expanded(item, meant, parts), weight) for item, weight in weighed), bar)
        case Tiered(uses):
            kept = tuple(item for item in uses if item.signal not in meant)
            found: list[Expression] = [Tiered(kept)] if kept else []
            for item in kept:
                found += [
                    Tiered(tuple(Uses(part) if other == item else other for other in kept))
                    for part in parts.get(item.signal, ())
                ]
            found += [meant[item.signal] for item in uses if item.signal in meant]
            return found[0] if len(found) == 1 else Or(tuple(found))


def holds(expression: Expression, true: Collection[str]) -> bool:
    """Is the condition true while exactly these signals are degraded and all others are not. What is tiered counts as
    true with any of its signals: some evidence would do, and how much is not a matter of the words."""
    match expression:
        case Uses(signal):
            return signal in true
        case Not(item):
            return not holds(item, true)
        case And(items):
            return all(holds(item, true) for item in items)
        case Or(items) | Tiered(items):
            return any(holds(item, true) for item in items)
        case AtLeast(k, items):
            return sum(holds(item, true) for item in items) >= k
        case Weighted(weighed, bar):
            return sum(weight for item, weight in weighed if holds(item, true)) >= bar * (1 - 1e-12)


def beside(written: Expression, critical: Collection[str]) -> Expression:
    """The same, or any of the signals that are critical: these fire whatever else is written."""
    parts = written.items if isinstance(written, Or) else (written,)
    first = tuple(Uses(name) for name in critical if Uses(name) not in parts)
    return Or((*first, *parts)) if first else written


def default(signals: Collection[str], alone: Collection[str], by_evidence: Collection[str] = ()) -> Expression:
    """What holds without `when:`: any signal that is sufficient alone, or any two of all; the only one if only one.
    Where one is judged by evidence: tiered of all."""
    if by_evidence:
        return Tiered(tuple(Uses(name) for name in signals))
    every: tuple[Expression, ...] = tuple(Uses(name) for name in signals)
    if len(every) == 1:
        return every[0]
    two = AtLeast(2, every)
    singles = tuple(Uses(name) for name in signals if name in alone)
    return Or((*singles, two)) if singles else two
