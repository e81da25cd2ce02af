"""An alerting rule's `expr` as conditions over bounds: each comparison with a number becomes a bound on a value that
is plain PromQL, and `and`, `or`, `unless` join them where that means the same for each deployment.

An alert runs for every series that `expr` answers with; a policy judges a deployment. So a condition here says: among
the deployment's series there is one. Where `expr` answers with one series a deployment that is all the same; else the
values are joined by `max by` or `min by`, and `Condition.exact` is False: then only a `for` can tell the difference.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from rollback_console.model.value import dataclass
from rollback_console.policy import promql_tree as tree
from rollback_console.policy.promql_labels import Labels, keeps_apart, labels_of, matches_by, may_be_infinite
from rollback_console.policy.promql_parser import parse
from rollback_console.policy.promql_tree import Binary, Node, bare
from rollback_console.policy.promql_words import COMPARISONS, SETS, PromqlError, Token, one_line, seconds, tokens

_LONGEST = 15_000
_LARGEST = 1e300  # what an infinity becomes, for it is no number to the console
_PLACEHOLDERS = ("$window", "$deployment", "$selector", "$slice")
_MAX, _MIN = "max", "min"  # what joins several series of a deployment into the worst of them
_FLIPPED = {">": "<", "<": ">", ">=": "<=", "<=": ">=", "==": "==", "!=": "!="}


@dataclass(frozen=True, slots=True)
class Bound:
    """A value beyond a bound, strictly. `worse`: higher | lower. `window_s`: what `$window` stands for in `value`, or
    None where it does not occur. `words`: notes on how it was rewritten. `ratio`: it reads as a share."""

    value: str
    worse: str
    bound: float
    window_s: float | None
    longest_s: float | None
    shown: str
    ratio: bool
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Join:
    """`and`, `or`, or `and not` (the second item turned round)."""

    kind: str  # and | or | and not
    items: tuple[Tree, ...]


Tree = Bound | Join


@dataclass(frozen=True, slots=True)
class Condition:
    """`exact`: every comparison answers with at most one series a deployment. `pinned`: (label, value) of deployments
    that a selector asks for by name."""

    tree: Tree
    exact: bool
    pinned: tuple[tuple[str, str], ...] = ()

    def bounds(self) -> tuple[Bound, ...]:
        """The bounds, in the order of the text."""
        return tuple(_leaves(self.tree))


def _leaves(item: Tree) -> list[Bound]:
    return [item] if isinstance(item, Bound) else [leaf for inner in item.items for leaf in _leaves(inner)]


class _Reader:
    def __init__(self, text: str, by: tuple[str, ...], alone: bool) -> None:
        self.by, self.alone = by, alone
        self.tokens = tokens(text)[:-1]
        self.exact = True

    def condition(self, item: Node) -> Tree:
        item = bare(item)
        if isinstance(item, Binary) and item.operator in SETS:
            return self.joined(item)
        if isinstance(item, Binary) and item.operator in COMPARISONS:
            return self.compared(item, item)
        return self.present(item)

    def joined(self, item: Binary) -> Tree:
        left, right = labels_of(item.left), labels_of(item.right)
        if item.operator == "or":
            if not keeps_apart(item.matching, self.by):
                raise PromqlError(item.operator_start, "this `or` lets one deployment silence another",
                                  f"Match on ({', '.join(self.by)}), or split the rule in two")  # fmt: skip
            return _flat("or", self.condition(item.left), self.condition(item.right))
        compares = all(_has_comparison(side) for side in (item.left, item.right))
        if compares and matches_by(item.matching, left, right, self.by):
            before = self.exact
            try:
                kind = "and" if item.operator == "and" else "and not"
                first = self.condition(item.left)
                of_left = self.exact
                joined = _flat(kind, first, self.condition(item.right))
                self.exact = of_left  # the alert's series are those of the left side
                return joined
            except PromqlError:
                self.exact = before  # the right side may still stay in the query
        return self.filtered(item)

    def filtered(self, item: Binary) -> Tree:
        """`X > 5 and Y` is `(X and Y) > 5`: the first comparison gives the bound, the rest stays in the query."""
        first: Node = item
        while isinstance(first, Binary) and first.operator in ("and", "unless"):
            first = bare(first.left)
        if isinstance(first, Binary) and first.operator in COMPARISONS:
            found = self.compared(first, item)
            note = "the rest of the rule's condition stays in the query: where it does not hold there is no data"
            return replace(found, words=(*found.words, note))
        if not (isinstance(first, Binary) and first.operator == "or" and _has_comparison(first)):
            return self.present(item)
        raise PromqlError(
            item.operator_start,
            f"`{item.operator}` joins series by labels that do not say which deployment they are of",
            f"Group both sides by ({', '.join(self.by)}), match on({', '.join(self.by)}), or split the rule",
        )

    def compared(self, item: Binary, whole: Node) -> Bound:
        """The bound of one comparison; in the rest of `whole` its value stands in its place."""
        if item.bool_:
            raise PromqlError(item.operator_start, "with `bool` the rule fires whenever it has data, whatever they are",
                              "Take `bool` out of the rule")  # fmt: skip
        value, operator, other = item.left, item.operator, item.right
        number = tree.constant(other)
        if number is None and tree.constant(value) is not None:
            value, operator, other = other, _FLIPPED[operator], value
            number = tree.constant(other)
        if tree.is_scalar(value) and number is not None:
            raise PromqlError(item.start, "compares numbers, not series", "Ask a metric")
        if number is None:
            return self.against_series(item, whole)
        if not math.isfinite(number) or abs(number) >= _LARGEST:
            raise PromqlError(other.start, "is no bound", "Compare with a finite number")
        words = self.spliced(whole, item, self.within(value))
        if operator in ("==", "!="):
            sign = f"{operator} bool {_number(number)}"
            text = f"{self.operand(words, whole)} {sign}"
            shown = f"{one_line(self.within(value))} {operator} {_number(number)}"
            note = f"1 where the rule's `{operator} {_number(number)}` holds"
            return self.bound(text, whole, value, "higher", 0.0, shown, (note,), wrap=_MAX, clamp=False)
        worse = "higher" if operator in (">", ">=") else "lower"
        notes: tuple[str, ...] = ()
        bound = number
        if operator in (">=", "<="):
            bound = math.nextafter(number, -math.inf if worse == "higher" else math.inf)
            notes = (f"`{operator} {_number(number)}` in the rule: bounds are strict, this is the number next to it",)
        shown = f"{one_line(self.within(value))} {operator} {_number(number)}"
        wrap = _MAX if worse == "higher" else _MIN
        return self.bound(one_line(words), whole, value, worse, bound, shown, notes, wrap=wrap)

    def against_series(self, item: Binary, whole: Node) -> Bound:
        """`A > B` over two series: their difference, above zero; `A == B`: 1 where it holds."""
        sides = [f"({one_line(self.within(side))})" for side in (item.left, item.right)]
        matching = f" {item.matching_text}" if item.matching_text else ""
        if item.matching.group and not item.matching.include and not matching.endswith("()"):
            matching += "()"  # else what follows in parentheses would be read as its labels
        worse, bound = "higher" if item.operator not in ("<", "<=") else "lower", 0.0
        if item.operator in ("==", "!="):
            text = f"{sides[0]} {item.operator} bool{matching} {sides[1]}"
            notes: tuple[str, ...] = (f"1 where the rule's `{item.operator}` holds",)
        else:
            text = f"{sides[0]} -{matching} {sides[1]}"
            notes = ("the rule compares two series: this is by how much",)
        if item.operator in (">=", "<="):
            bound = math.nextafter(0.0, -math.inf if worse == "higher" else math.inf)
            notes = (*notes, f"`{item.operator}` in the rule: bounds are strict, this is the number next to 0")
        text = one_line(self.spliced(whole, item, tokens(text)[:-1]))
        wrap = _MAX if worse == "higher" else _MIN
        return self.bound(text, whole, item, worse, bound, one_line(self.within(item)), notes, wrap=wrap)

    def present(self, item: Node) -> Bound:
        """A condition that compares nothing: it holds where there is an answer."""
        if tree.is_scalar(item) or isinstance(item, tree.Text):
            raise PromqlError(item.start, "is a number, not series", "Ask a metric, and compare it")
        labels = self.checked(item)
        text = one_line(self.within(item))
        by = self.grouping(labels)
        self.exact = self.exact and self.single(labels)
        window, longest, text = self.windowed(f"group{by} ({text})")
        return Bound(text, "higher", 0.0, window, longest, one_line(self.within(item)), False,
                     ("1 where the rule's query has an answer",))  # fmt: skip

    def bound(
        self, text: str, whole: Node, value: Node, worse: str, bound: float, shown: str, notes: tuple[str, ...],
        *, wrap: str, clamp: bool = True,
    ) -> Bound:  # fmt: skip
        labels = self.checked(whole)
        if clamp and may_be_infinite(value):
            text = f"clamp_max({text}, 1e300)" if worse == "higher" else f"clamp_min({text}, -1e300)"
            notes = (*notes, "clamped, for an infinity counts in the rule and is no number here")
        if not self.single(labels):
            self.exact = False
            text = f"{wrap}{self.grouping(labels)} ({text})"
        window, longest, text = self.windowed(text)
        ratio = isinstance(bare(value), Binary) and _is_ratio(bare(value))
        return Bound(text, worse, bound, window, longest, shown, ratio and 0 < bound <= 1, notes)

    def checked(self, item: Node) -> Labels:
        """The labels of the answer. Raises PromqlError where they do not say which deployment it is about."""
        labels = labels_of(item)
        lacking = [label for label in self.by if not labels.may_have(label)]
        if lacking and not self.alone:
            raise PromqlError(
                item.start,
                f"the answer has no label {' and '.join(lacking)}: it does not say which deployment it is about",
                f"Group it by ({', '.join(self.by)}); name other labels with --by, or one deployment with --deployment",
            )
        return labels

    def single(self, labels: Labels) -> bool:
        """Whether there is at most one series for each deployment."""
        return labels.within(self.by)

    def grouping(self, labels: Labels) -> str:
        kept = [label for label in self.by if labels.may_have(label)]
        return f" by ({', '.join(kept)})" if kept else ""

    def within(self, item: Node) -> list[Token]:
        return [token for token in self.tokens if item.start <= token.start < item.end]

    def spliced(self, whole: Node, part: Node, instead: list[Token]) -> list[Token]:
        """The words of `whole` with those of `part` replaced."""
        words = self.within(whole)
        before = [token for token in words if token.start < part.start]
        return [*before, *instead, *(token for token in words if token.start >= part.end)]

    def operand(self, words: list[Token], whole: Node) -> str:
        """Words as the left side of a comparison: what binds more loosely goes into parentheses."""
        inner = bare(whole)
        loose = isinstance(inner, Binary) and inner.operator in SETS
        return f"({one_line(words)})" if loose else one_line(words)

    def windowed(self, text: str) -> tuple[float | None, float | None, str]:
        """`$window`'s seconds, the longest range's, and the text with `$window` in it: where all ranges are one."""
        ranges = _ranges(parse(text))
        lengths = {length for length, _, _ in ranges}
        longest = max(lengths, default=None)
        if len(lengths) != 1 or longest is None or longest != int(longest) or not 1 <= longest <= 400 * 86_400:
            return None, longest, text
        if any(stepped for _, _, stepped in ranges):
            return None, longest, text
        for _, token, _ in sorted(ranges, key=lambda each: -each[1].start):
            text = f"{text[: token.start]}$window{text[token.end :]}"
        return longest, longest, text


def _ranges(item: Node) -> list[tuple[float, Token, bool]]:
    found: list[tuple[float, Token, bool]] = []
    if isinstance(item, tree.Range):
        found.append((seconds(item.length.text) or 0.0, item.length, item.step is not None))
    for inner in tree.children(item):
        found.extend(_ranges(inner))
    return found


def _check_ranges(item: Node, *, inside: bool) -> None:
    """A range is what functions take; nothing else does. Raises PromqlError for one that stands elsewhere."""
    if isinstance(item, tree.Range) and not inside:
        raise PromqlError(item.start, "a range stands where one value was expected", "Put it in a function: `rate(…)`")
    for inner in tree.children(item):
        through = isinstance(item, tree.Call) or (inside and isinstance(item, (tree.Paren, tree.Moved)))
        _check_ranges(inner, inside=through)


def _has_comparison(item: Node) -> bool:
    """Whether it is a comparison, or `and`, `or`, `unless` of comparisons."""
    item = bare(item)
    if isinstance(item, Binary) and item.operator in SETS:
        return _has_comparison(item.left) and _has_comparison(item.right)
    return isinstance(item, Binary) and item.operator in COMPARISONS


def _is_ratio(item: Node) -> bool:
    """A division of two queries, also where it is taken from 1."""
    if not isinstance(item, Binary):
        return False
    if item.operator == "/":
        return tree.constant(item.right) is None and tree.constant(item.left) is None
    return item.operator == "-" and tree.constant(item.left) == 1.0 and _is_ratio(bare(item.right))


def _flat(kind: str, left: Tree, right: Tree) -> Join:
    if kind != "and not" and isinstance(left, Join) and left.kind == kind:
        return Join(kind, (*left.items, right))
    return Join(kind, (left, right))


def _number(value: float) -> str:
    """As PromQL reads it back to the same float."""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


def read(expr: str, by: tuple[str, ...], *, alone: bool = False) -> Condition:
    """The conditions of an alerting rule's expression. `by`: the labels by which a series is a deployment; `alone`:
    there is one deployment, and answers without those labels are its own.

    Raises PromqlError, with the character and what to do, for what cannot be read or would not mean the same.
    """
    if len(expr) > _LONGEST:
        raise PromqlError(
            _LONGEST, f"longer than {_LONGEST:,} characters", "Record a part of it under a name of its own"
        )
    item = parse(expr)
    _check_ranges(item, inside=False)
    reader = _Reader(expr, by, alone)
    for token in reader.tokens:
        if token.kind == "string" and any(word in token.text for word in _PLACEHOLDERS):
            raise PromqlError(token.start, "holds what would be filled in as a placeholder", "Write it another way")
    found = reader.condition(item)
    return Condition(found, reader.exact, tuple(dict.fromkeys(_pinned(item, by))))


def _pinned(item: Node, by: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    if isinstance(item, tree.Selector):
        yield from ((label, value) for label, sign, value in item.matchers if sign == "=" and label in by)
    for inner in tree.children(item):
        yield from _pinned(inner, by)
