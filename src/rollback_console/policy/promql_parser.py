"""PromQL read into a tree, as far as rewriting an alerting rule needs it. What is not read is refused, never guessed.

Precedences and associativity are Prometheus' own: `or`; `and`, `unless`; comparisons; `+ -`; `* / % atan2`; unary
signs; `^` (to the right). Source: prometheus/promql/parser/generated_parser.y, v2.42.
"""

from __future__ import annotations

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
)
from rollback_console.policy.promql_words import (
    AGGREGATIONS,
    COMPARISONS,
    KEYWORDS,
    LABEL,
    LEVELS,
    UNARY,
    PromqlError,
    Token,
    seconds,
    tokens,
)

MAX_DEPTH = 60


class _Parser:
    def __init__(self, text: str) -> None:
        self.text, self.tokens, self.position, self.depth = text, tokens(text), 0, 0

    @property
    def here(self) -> Token:
        return self.tokens[self.position]

    @property
    def before(self) -> int:
        """Where the token before this one ends."""
        return self.tokens[self.position - 1].end

    def word(self) -> str:
        """The keyword that stands here, in lower case, or "". Metrics that are called like one are not read."""
        token = self.here
        lower = token.text.lower()
        return lower if token.kind == "name" and lower in KEYWORDS else ""

    def fail(self, message: str, remedy: str = "") -> PromqlError:
        return PromqlError(self.here.start, message, remedy)

    def take(self, sign: str) -> bool:
        if self.here.kind != "sign" or self.here.text != sign:
            return False
        self.position += 1
        return True

    def need(self, sign: str, where: str) -> Token:
        token = self.here
        if not self.take(sign):
            shown = f"`{token.text[:40]}` stands there" if token.text else "the query ends there"
            raise self.fail(f"`{sign}` is missing {where}: {shown}", "Look at the brackets")
        return token

    def whole(self) -> Node:
        if self.here.kind == "end":
            raise self.fail("the query is empty", "Write PromQL")
        item = self.expression(0)
        if self.here.kind != "end":
            raise self.fail(
                f"`{self.here.text[:40]}` is not expected here", "An operator is missing, or it is too much"
            )
        return item

    def operator(self) -> str:
        if self.here.kind == "sign" and self.here.text in LEVELS:
            return self.here.text
        word = self.word()
        return word if word in LEVELS else ""

    def expression(self, above: int) -> Node:
        """What binds tighter than the level `above`."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.fail(f"nested more than {MAX_DEPTH} deep", "Record a part of it under a name of its own")
        left = self.unary()
        while (operator := self.operator()) and LEVELS[operator] > above:
            left = self.binary(left, operator)
        self.depth -= 1
        return left

    def binary(self, left: Node, operator: str) -> Node:
        level, start = LEVELS[operator], self.here.start
        self.position += 1
        is_bool = False
        if self.word() == "bool":
            if operator not in COMPARISONS:
                raise self.fail(f"`bool` does not go with `{operator}`", "Take it out")
            is_bool = True
            self.position += 1
        first = self.here.start
        matching = self.matching()
        shown = self.text[first : self.before].strip() if matching != Matching() else ""
        right = self.expression(level - 1 if operator == "^" else level)
        return Binary(left.start, right.end, operator, left, right, is_bool, matching, shown, start)

    def matching(self) -> Matching:
        word = self.word()
        if word not in ("on", "ignoring"):
            return Matching()
        self.position += 1
        labels = self.labels()
        group = ""
        include: tuple[str, ...] = ()
        if self.word() in ("group_left", "group_right"):
            group = self.word().removeprefix("group_")
            self.position += 1
            if self.here.text == "(":
                include = self.labels()
        return Matching(word == "on", labels, group, include)

    def labels(self) -> tuple[str, ...]:
        self.need("(", "before the labels")
        found = []
        while not self.take(")"):
            token = self.here
            if token.kind != "name" or not LABEL.match(token.text):
                raise self.fail("a label was expected here", "Labels are letters, digits and `_`")
            self.position += 1
            found.append(token.text)
            if not self.take(","):
                self.need(")", "after the labels")
                break
        return tuple(found)

    def unary(self) -> Node:
        token = self.here
        if token.kind == "sign" and token.text in "+-":
            self.position += 1
            # unary binds looser than `^`: -1 ^ 2 is -(1 ^ 2)
            self.depth += 1
            if self.depth > MAX_DEPTH:
                raise self.fail(f"nested more than {MAX_DEPTH} deep", "Take signs out")
            item = self.expression(UNARY)
            self.depth -= 1
            return Unary(token.start, item.end, token.text, item)
        return self.suffixes(self.atom())

    def suffixes(self, item: Node) -> Node:
        while True:
            if self.take("["):
                item = self.range(item)
            elif self.word() == "offset":
                self.position += 1
                self.take("-")
                if seconds(self.here.text) is None:
                    raise self.fail("`offset` needs a duration", "Write it as `offset 1w`")
                self.position += 1
                item = Moved(item.start, self.before, item)
            elif self.take("@"):
                item = self.moment(item)
            else:
                return item

    def range(self, item: Node) -> Node:
        length = self.here
        if length.kind != "duration" or not seconds(length.text):
            raise self.fail("a duration was expected between the brackets", "Write it as `[5m]`")
        self.position += 1
        step: str | None = None
        if self.take(":"):
            step = ""
            if self.here.kind == "duration":
                step = self.here.text
                self.position += 1
        self.need("]", "after the range")
        if step is None and not isinstance(_unmoved(item), Selector):
            raise PromqlError(
                length.start, "a range of what is not a metric needs a step", "Write `[1h:]` or `[1h:5m]`"
            )
        return Range(item.start, self.before, item, length, step)

    def moment(self, item: Node) -> Node:
        if self.word() in ("start", "end"):
            raise self.fail("`@ start()` and `@ end()` mean something else in each evaluation", "Take it out")
        self.take("-")
        if self.here.kind != "number":
            raise self.fail("`@` needs a time", "Write Unix seconds")
        self.position += 1
        return Moved(item.start, self.before, item)

    def atom(self) -> Node:
        token = self.here
        if token.kind == "number":
            self.position += 1
            value = float(int(token.text, 16)) if token.text[:2].lower() == "0x" else float(token.text)
            return Number(token.start, token.end, value)
        if token.kind == "string":
            self.position += 1
            return Text(token.start, token.end, token.text[1:-1])
        if self.take("("):
            item = self.expression(0)
            self.need(")", "at the end of what stands in parentheses")
            return Paren(token.start, self.before, item)
        if token.text == "{":
            return self.selector("", token.start)
        if token.kind == "name":
            return self.named(token)
        if token.kind == "duration":
            raise self.fail("a duration stands where a value was expected", "Write it in seconds")
        raise self.fail(
            "a metric or a number was expected here", "Look at the end of the query" if not token.text else ""
        )

    def named(self, token: Token) -> Node:
        lower = token.text.lower()
        after = self.tokens[self.position + 1]
        if lower in ("inf", "nan") and after.text not in ("(", "{"):
            self.position += 1
            return Number(token.start, token.end, float(lower))
        if lower in AGGREGATIONS and (after.text == "(" or after.text.lower() in ("by", "without")):
            return self.aggregation(token, lower)
        if lower in KEYWORDS:
            raise self.fail(f"`{token.text}` is not expected here", "A metric of that name is not read")
        self.position += 1
        if after.text == "(":
            arguments = self.arguments()
            return Call(token.start, self.before, token.text, arguments)
        return self.selector(token.text, token.start)

    def arguments(self) -> tuple[Node, ...]:
        self.need("(", "before the arguments")
        found: list[Node] = []
        while not self.take(")"):
            found.append(self.expression(0))
            if not self.take(","):
                self.need(")", "after the arguments")
                break
        return tuple(found)

    def aggregation(self, token: Token, operator: str) -> Node:
        self.position += 1
        by: bool | None = None
        labels: tuple[str, ...] = ()
        if self.word() in ("by", "without"):
            by = self.word() == "by"
            self.position += 1
            labels = self.labels()
        arguments = self.arguments()
        if by is None and self.word() in ("by", "without"):
            by = self.word() == "by"
            self.position += 1
            labels = self.labels()
        if len(arguments) != (2 if operator in ("topk", "bottomk", "quantile", "count_values") else 1):
            raise PromqlError(token.start, f"{operator}() has {len(arguments)} arguments", "Look at the commas")
        return Aggregation(token.start, self.before, operator, arguments, by, labels)

    def selector(self, metric: str, start: int) -> Node:
        matchers = []
        if self.take("{"):
            while not self.take("}"):
                token = self.here
                if token.kind != "name" or not LABEL.match(token.text):
                    raise self.fail("a label was expected here", 'Write matchers as `label="value"`')
                self.position += 1
                sign = self.here.text
                if sign not in ("=", "!=", "=~", "!~"):
                    raise self.fail("`=`, `!=`, `=~` or `!~` was expected here", 'Write matchers as `label="value"`')
                self.position += 1
                if self.here.kind != "string":
                    raise self.fail("a string was expected here", "Put the value in quotes")
                matchers.append((token.text, sign, self.here.text[1:-1]))
                self.position += 1
                if not self.take(","):
                    self.need("}", "after the matchers")
                    break
        elif not metric:
            raise self.fail("a metric was expected here", "Write PromQL")
        return Selector(start, self.before, metric, tuple(matchers))


def _unmoved(item: Node) -> Node:
    while isinstance(item, Moved):
        item = item.item
    return item


def parse(text: str) -> Node:
    """The tree of a query. Raises PromqlError with the first character that is not read."""
    return _Parser(text).whole()
