"""YAML as plain data, with the line and column of every value and every key.

Read by events, not by `yaml.compose`: the C composer recurses, and two hundred thousand brackets end the process.
Plain scalars resolve as little as possible: `true`, `false`, `null`, decimal integers and finite decimals; everything
else is text, so that `1:30` is not 90 and `on` is not true. Keys are always text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import field
from pathlib import Path
from typing import Any, cast

import yaml

from rollback_console.errors import FileProblems, Problem
from rollback_console.model.text import plain
from rollback_console.model.value import dataclass

Loc = tuple[int | str, ...]

MAX_BYTES = 5_000_000
MAX_DEPTH = 50
MAX_VALUES = 500_000  # after aliases are followed

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})\Z")
_FLOAT = re.compile(r"(?=.*[.eE])[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?\Z")
_WORDS = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff]")
_TAGS = {
    "scalar": {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null")},
    "sequence": {"tag:yaml.org,2002:seq"},
    "mapping": {"tag:yaml.org,2002:map"},
}


@dataclass(slots=True)
class Node:
    """One value: where it begins (line and column from 1), where its text lies, and what is inside it."""

    kind: str  # scalar | sequence | mapping
    line: int
    column: int
    start: int  # index of its first character in the text
    data: Any = None
    end: int = 0
    style: str = ""
    size: int = 1  # values in it, itself included, aliases followed
    keys: dict[str, tuple[int, int]] = field(default_factory=dict)
    children: Any = None  # list of Node, or dict of Node
    pending: tuple[str, int, int] | None = None  # a key that waits for its value

    def child(self, step: int | str) -> Node | None:
        """What is inside under that key or index, or None."""
        if self.kind == "mapping":
            return cast("Node | None", self.children.get(str(step)))
        if self.kind == "sequence" and isinstance(step, int) and 0 <= step < len(self.children):
            return cast(Node, self.children[step])
        return None


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file: `data` is plain Python, `locate` answers for pydantic's `loc` tuples."""

    file: str
    text: str
    data: Any
    root: Node

    def actual(self, loc: Loc) -> Loc:
        """The steps of `loc` that the document has. Pydantic writes a union's branch and `[key]` into a `loc`, and
        ends it with a key that is missing: those are left out."""
        node = self.root
        steps: list[int | str] = []
        for step in loc:
            child = node.child(step)
            if child is not None:
                node = child
                steps.append(step)
        return tuple(steps)

    def _node(self, loc: Loc) -> tuple[Node, tuple[int, int] | None]:
        """The node at `actual(loc)`, and its key's place."""
        node = self.root
        key: tuple[int, int] | None = None
        for step in self.actual(loc):
            key = node.keys.get(str(step))
            node = node.child(step) or node
        return node, key

    def value(self, loc: Loc) -> Any:
        """The plain value at `loc`, or of its nearest parent."""
        return self._node(loc)[0].data

    def of_value(self, loc: Loc) -> tuple[int, int]:
        """Line and column of the value at `loc`, or of its nearest parent. What is under a key begins at its key."""
        node, key = self._node(loc)
        return key if key is not None and node.kind != "scalar" else (node.line, node.column)

    def of_key(self, loc: Loc) -> tuple[int, int]:
        """Line and column of the key at `loc`, or of the value where it has none."""
        node, key = self._node(loc)
        return key or (node.line, node.column)

    def within(self, loc: Loc, offset: int) -> tuple[int, int]:
        """Line and column of the character `offset` of the scalar text at `loc`, through folding and quotes."""
        node, _ = self._node(loc)
        if node.kind != "scalar" or not isinstance(node.data, str):
            return self.of_value(loc)
        index = node.start
        if node.style in ("'", '"'):
            index += 1
        elif node.style in ("|", ">"):
            index = self.text.find("\n", index) + 1
        index = self._skip(index, node.end, node.data, offset)
        before = self.text.rfind("\n", 0, index) + 1
        return self.text.count("\n", 0, index) + 1, index - before + 1

    def _skip(self, index: int, end: int, value: str, offset: int) -> int:
        """Folding changes only white space: the character is found by counting the ones that are not."""
        left = sum(not char.isspace() for char in value[:offset])
        while index < end and left:
            left -= not self.text[index].isspace()
            index += 1
        if offset < len(value) and not value[offset].isspace():
            while index < end and self.text[index].isspace():
                index += 1
        return index

    def problem(self, loc: Loc, message: str, remedy: str = "", severity: str = "error", offset: int = -1) -> Problem:
        """A Problem at the value of `loc`, or at one character of it."""
        line, column = self.within(loc, offset) if offset >= 0 else self.of_value(loc)
        return Problem(self.file, line, column, self.path(loc), message, remedy, severity)

    def path(self, loc: Loc) -> str:
        """`deployments[2].labels`, for a person."""
        return dotted(self.actual(loc))


def dotted(loc: Loc) -> str:
    """A `loc` as people read it."""
    out = ""
    for step in loc:
        name = plain(step, 80)
        out += f"[{step}]" if isinstance(step, int) else f".{name}" if out else name
    return out


class _Stop(Exception):
    """The file cannot be read any further."""

    def __init__(self, line: int, column: int, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.place = (line, column, message, remedy)


class _Builder:
    """Events in, nodes out; nothing here recurses."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self.stack: list[Node] = []
        self.anchors: dict[str, Node] = {}
        self.root: Node | None = None
        self.values = 0

    def complain(self, line: int, column: int, message: str, remedy: str = "") -> None:
        self.problems.append(Problem(self.file, line, column, "", message, remedy))

    def feed(self, event: Any) -> None:
        line, column = event.start_mark.line + 1, event.start_mark.column + 1
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event, line, column)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._open(event, line, column)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._close(event)
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event, line, column)
        elif isinstance(event, yaml.DocumentStartEvent) and self.root is not None:
            raise _Stop(
                line, column, "a second document begins here", "One file holds one document; take the `---` out"
            )

    def _tag(self, event: Any, kind: str, line: int, column: int) -> None:
        if event.tag is not None and event.tag not in _TAGS[kind]:
            self.complain(line, column, f"the tag {plain(event.tag, 60)} is not read here", "Write the value plainly")

    def _scalar(self, event: Any, line: int, column: int) -> None:
        self._tag(event, "scalar", line, column)
        style = event.style or ""
        node = Node("scalar", line, column, event.start_mark.index, event.value, event.end_mark.index, style)
        parent = self.stack[-1] if self.stack else None
        if parent is not None and parent.kind == "mapping" and parent.pending is None:
            self._key(parent, node)
            return
        if event.implicit[0] and not style and event.tag is None:
            node.data = resolve(event.value)
        self._add(node, event.anchor)

    def _key(self, parent: Node, node: Node) -> None:
        name: str = node.data
        if name == "<<" and not node.style:
            self.complain(node.line, node.column, "merge keys (`<<`) are not read here",
                          "Write the keys out, or give the whole value an anchor and use `key: *anchor`")  # fmt: skip
        elif name in parent.keys:
            self.complain(node.line, node.column, f"the key {plain(name, 60)} stands twice, first on line "
                          f"{parent.keys[name][0]}", "Keep one of them")  # fmt: skip
        parent.pending = (name, node.line, node.column)

    def _open(self, event: Any, line: int, column: int) -> None:
        kind = "mapping" if isinstance(event, yaml.MappingStartEvent) else "sequence"
        self._tag(event, kind, line, column)
        if self.stack and self.stack[-1].kind == "mapping" and self.stack[-1].pending is None:
            raise _Stop(line, column, f"a key cannot be a {kind}", "A key is one word; text with braces needs quotes")
        if len(self.stack) >= MAX_DEPTH:
            raise _Stop(line, column, f"nested more than {MAX_DEPTH} deep", "No file of this program needs that")
        node = Node(kind, line, column, event.start_mark.index)
        node.data, node.children = ({}, {}) if kind == "mapping" else ([], [])
        if event.anchor:
            self.anchors[event.anchor] = node
        self.stack.append(node)

    def _close(self, event: Any) -> None:
        node = self.stack.pop()
        node.end = event.end_mark.index
        self._add(node, None)

    def _alias(self, event: Any, line: int, column: int) -> None:
        node = self.anchors.get(event.anchor)
        name = plain(event.anchor, 60)
        if node is None:
            raise _Stop(line, column, f"the alias *{name} names no anchor above it", f"Mark the value with &{name}")
        if node in self.stack:
            raise _Stop(
                line, column, f"the alias *{name} stands inside the value it names", "A value cannot hold itself"
            )
        parent = self.stack[-1] if self.stack else None
        if parent is not None and parent.kind == "mapping" and parent.pending is None:
            raise _Stop(line, column, "a key cannot be an alias", "Write the key out")
        self.values += node.size - 1
        self._add(node, None, line, column)

    def _add(self, node: Node, anchor: str | None, line: int = 0, column: int = 0) -> None:
        self.values += 1
        if self.values > MAX_VALUES:
            raise _Stop(line or node.line, column or node.column,
                        f"more than {MAX_VALUES:,} values, aliases followed", "Split the file")  # fmt: skip
        if anchor:
            self.anchors[anchor] = node
        if not self.stack:
            self.root = node
            return
        parent = self.stack[-1]
        parent.size += node.size
        if parent.kind == "sequence":
            parent.data.append(node.data)
            parent.children.append(node)
        elif parent.pending is not None:
            name, key_line, key_column = parent.pending
            parent.pending = None
            parent.data[name] = node.data
            parent.children[name] = node
            parent.keys[name] = (key_line, key_column)


def resolve(text: str) -> Any:
    """A plain scalar's value: null, a boolean, an integer, a finite decimal, or the text itself."""
    if text in _WORDS:
        return _WORDS[text]
    if not text or text[0] not in "+-.0123456789":
        return text
    if _INTEGER.match(text):
        return int(text)
    if _FLOAT.match(text) and math.isfinite(number := float(text)):
        return number
    return text


def _decode(data: bytes, file: str) -> str:
    """The text of a file. Raises FileProblems for what is too large, not UTF-8, binary, or empty."""

    def refuse(line: int, column: int, message: str, remedy: str) -> FileProblems:
        return FileProblems((Problem(file, line, column, "", message, remedy),))

    if len(data) > MAX_BYTES:
        raise refuse(
            1, 1, f"the file has {len(data):,} bytes, more than {MAX_BYTES:,}", "Split it; settings take globs"
        )
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise refuse(1, 1, "the file is UTF-16", "Save it as UTF-8")
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        raise refuse(
            line, column, f"the byte 0x{data[error.start]:02x} is not UTF-8", "Save the file as UTF-8"
        ) from None
    control = _CONTROL.search(text)
    if control is not None:
        at = control.start()
        line, column = text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
        raise refuse(line, column, f"the control character U+{ord(control[0]):04X} does not belong in a text file",
                     "Is this the right file?")  # fmt: skip
    if not text.strip():
        raise refuse(1, 1, "the file is empty", "It begins with `schema:`; `rollback-console init` drafts one")
    return text


def _syntax(error: Any, text: str, file: str) -> Problem:
    """libyaml's complaint as one Problem with a remedy where the cause is known."""
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    rows = text.split("\n")
    row = rows[line - 1] if line <= len(rows) else ""
    message = plain(error.problem or error.context or "this is not YAML", 200)
    indent = row[: len(row) - len(row.lstrip())]
    if "\t" in indent:
        return Problem(file, line, indent.index("\t") + 1, "", "a tab in the indentation", "YAML wants spaces")
    remedy = "Look at the indentation and the colons there and one line above"
    context_mark = error.context_mark
    if context_mark is not None and "quoted scalar" in (error.context or "") and "end of stream" in message:
        return Problem(
            file, context_mark.line + 1, context_mark.column + 1, "", "this quote is never closed", "Close it"
        )
    if "expected ',' or" in message:
        remedy = "Close the bracket, or write the comma"
    if error.context and context_mark is not None and context_mark.line + 1 != line:
        message += f" ({plain(error.context, 100)} that begins on line {context_mark.line + 1})"
    if "mapping values are not allowed" in message:
        remedy = "Text with `: ` in it needs quotes"
    elif "cannot start any token" in message and row[column - 1 : column] in "@`%":
        remedy = f"Text that begins with {row[column - 1 : column]} needs quotes"
    return Problem(file, line, column, "", f"not YAML: {message}", remedy)


def _events(text: str) -> Iterator[Any]:
    yield from yaml.parse(text, Loader=_LOADER)


def parse(data: bytes, file: str) -> Document:
    """Plain data and marks of the bytes of a file, whose name stands in messages.

    Raises FileProblems: all duplicate keys and unread tags at once, or the one place where reading had to stop. The
    root is always a mapping.
    """
    text = _decode(data, file)
    builder = _Builder(file)
    try:
        for event in _events(text):
            builder.feed(event)
    except _Stop as stop:
        builder.complain(*stop.place)
    except yaml.MarkedYAMLError as error:
        builder.problems.append(_syntax(error, text, file))
    except yaml.YAMLError as error:
        builder.complain(1, 1, f"not YAML: {plain(error, 200)}")
    root = builder.root
    if not builder.problems and root is None:
        builder.complain(
            1, 1, "the file holds only comments", "It begins with `schema:`; `rollback-console init` drafts one"
        )
    elif not builder.problems and root is not None and root.kind != "mapping":
        found = "a list" if root.kind == "sequence" else "one value"
        builder.complain(
            root.line, root.column, f"the file is {found}, not `key: value` lines", "It begins with `schema:`"
        )
    if builder.problems or root is None:
        raise FileProblems(tuple(builder.problems))
    return Document(file, text, root.data, root)


def read(path: Path, file: str) -> bytes:
    """The bytes of a file, of which no more than `MAX_BYTES` + 1 are read. Raises FileProblems at 1:1."""
    try:
        with path.open("rb") as handle:
            return handle.read(MAX_BYTES + 1)
    except OSError as error:
        what = f"cannot be read: {error.strerror or error}"
        raise FileProblems((Problem(file, 1, 1, "", what, "Check the path and its permissions"),)) from None
