"""Any markdown parses; what is a step, what belongs to it, and what is wrong is as docs/runbooks.md says."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollback_console.model.walk import Runbook, StepKind
from rollback_console.runbook.commands import commands
from rollback_console.runbook.document import MAX_NESTING
from rollback_console.runbook.parse import MAX_CHARACTERS, parse


def _parse(text: str) -> Runbook:
    return parse(text.encode("utf-8", "surrogatepass"), "sample")


def _titles(text: str) -> list[str]:
    return [step.title for step in _parse(text).steps]


def _messages(text: str | bytes) -> list[tuple[int, str, str]]:
    runbook = parse(text, "sample") if isinstance(text, bytes) else _parse(text)
    return [(problem.line, problem.severity, problem.message) for problem in runbook.problems]


def _holds(runbook: Runbook) -> None:
    """What is true of every runbook."""
    lines = max(1, runbook.text.count("\n") + 1)
    assert runbook.steps
    numbers = [step.line for step in runbook.steps]
    assert numbers == sorted(numbers)
    assert numbers[0] >= 1
    assert numbers[-1] <= lines
    assert len({step.id for step in runbook.steps}) == len(numbers)
    for step in runbook.steps:
        assert step.title
        assert step.title.isprintable()
        assert step.id
        assert step.id.isprintable()
    assert all(1 <= problem.line <= lines for problem in runbook.problems)


# Pieces that markdown acts on, so that the random documents are documents.
_PIECES = st.sampled_from(
    (
        "# ", "## ", "### ", "1. ", "2) ", "- ", "* ", "- [ ] ", "- [x] ", "> ", "    ", "\t", "```", "```sh",
        "```promql",
        "~~~", "---", "===", "\n", "\n\n", "<!--", "-->", "<div>", "[a](console:rollback)", "[a](console:x)", "[r]: b",
        "`", "**", "\\", "&amp;", "|", " ", "\r\n", "\r", "\x00", "\x1b[2J", "\u202e", "text", "$ ls", "# ls",
        "(role: lead)", "TBD", "<FILL_ME>",
    )
)  # fmt: skip


@given(st.lists(st.one_of(_PIECES, st.text(max_size=8)), max_size=60).map("".join))
@settings(max_examples=400, deadline=None)
def test_any_text_parses(text: str) -> None:
    _holds(_parse(text))


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_any_bytes_parse(data: bytes) -> None:
    runbook = parse(data, "sample")
    _holds(runbook)
    assert runbook == parse(data, "sample"), "the same bytes give the same steps"


_WORD = st.text("abcdefgh ", min_size=1, max_size=12).filter(str.strip)
_SECTIONS = st.lists(st.tuples(_WORD, st.lists(_WORD, max_size=4)), min_size=1, max_size=5)


def _written(sections: list[tuple[str, list[str]]]) -> str:
    return "".join(
        f"## {heading}\n\n" + "".join(f"1. {item}\n" for item in items) + "\n" for heading, items in sections
    )


@given(_SECTIONS, _SECTIONS)
@settings(max_examples=100, deadline=None)
def test_ids_are_stable_under_what_is_appended(before: list[tuple[str, list[str]]], after: list[tuple[str, list[str]]]):
    first = _parse(_written(before)).steps
    both = _parse(_written(before) + _written(after)).steps
    assert [(step.id, step.line) for step in both[: len(first)]] == [(step.id, step.line) for step in first]


@given(_SECTIONS, _SECTIONS)
@settings(max_examples=100, deadline=None)
def test_ids_are_stable_under_what_is_put_before(new: list[tuple[str, list[str]]], old: list[tuple[str, list[str]]]):
    renamed = [(f"zz {heading}", items) for heading, items in new]
    first = [step.id for step in _parse(_written(old)).steps]
    both = [step.id for step in _parse(_written(renamed) + _written(old)).steps]
    assert both[-len(first) :] == first


def test_an_edit_of_one_step_leaves_the_other_ids() -> None:
    before = _parse("# T\n\n## A\n\n1. one\n2. two\n\n## B\n\n1. one\n")
    after = _parse("# Another title\n\n## A\n\n1. one\n2. changed\n3. new\n\n## B\n\n1. one\n")
    assert [step.id for step in before.steps] == ["a/one", "a/two", "b/one"]
    assert {step.id for step in before.steps} - {step.id for step in after.steps} == {"a/two"}


SHAPES = {
    "ordered items": ("# T\n\n1. a\n2. b\n", ["a", "b"]),
    "task items": ("- [ ] a\n- [x] b\n- plain\n", ["a", "b"]),
    "a bracket is no task": ("- [a] b\n- [ ]c\n", ["sample"]),
    "nested": ("1. a\n   1. b\n      - [ ] c\n2. d\n", ["a", "b", "c", "d"]),
    "ordered in a bullet": ("- x\n  1. a\n  2. b\n", ["a", "b"]),
    "in a quote": ("> 1. a\n> 2. b\n", ["a", "b"]),
    "two on one line": ("1. 1. a\n", ["Step 1", "a"]),
    "sections": ("# T\n\nintro\n\n## A\n\ntext\n\n## B\n\ntext\n", ["T", "A", "B"]),
    "a heading over headings": ("# T\n\n## A\n\n### B\n\ntext\n\n## C\n", ["B", "C"]),
    "mixed": ("# T\n\n## A\n\n1. a\n\n## B\n\ntext\n", ["a", "B"]),
    "prose only": ("just\nwords\n", ["sample"]),
    "empty": ("", ["sample"]),
    "blank": (" \n\n\t\n", ["sample"]),
    "setext": ("Title\n=====\n\nA\n-\n\ntext\n\nB\n-\n\n1. b\n", ["A", "b"]),
    "front matter": ("---\ntitle: Ranker down\ntags: [a]\n---\nwords\n", ["Ranker down"]),
    "a rule is no front matter": ("---\n\nwords, and no end\n", ["sample"]),
    "html block": ("<details>\n1. not a step\n</details>\n\n1. a step\n", ["a step"]),
    "html comment": ("<!--\n1. gone\n-->\n\n1. a\n", ["a"]),
    "tabs": ("1.\ta\n\t- [ ] b\n", ["a", "b"]),
    "crlf": ("# T\r\n\r\n1. a\r\n2. b\r\n", ["a", "b"]),
    "old mac": ("# T\r\r1. a\r2. b\r", ["a", "b"]),
    "bom": ("\ufeff# T\n\n1. a\n", ["a"]),
    "marks": ("1. **Stop** the `pod` [now](http://x) \\* &amp; ![pic](y)\n", ["Stop the pod now * & pic"]),
    "no text": ("1.\n2. b\n", ["Step 1", "b"]),
    "a heading as an item": ("1. # Big\n2. b\n", ["Big", "b"]),
    "code looks like steps": ("```\n1. no\n```\n\n    1. no\n", ["sample"]),
    "reference link": ("1. [Go back][r]\n\n[r]: console:rollback\n", ["Go back"]),
    "first sentence": (f"1. Stop it. {'word ' * 40}\n", ["Stop it."]),
}


@pytest.mark.parametrize("name", SHAPES)
def test_what_is_a_step(name: str) -> None:
    text, titles = SHAPES[name]
    runbook = _parse(text)
    _holds(runbook)
    assert [step.title for step in runbook.steps] == titles


def test_lines_and_levels() -> None:
    runbook = _parse("---\na: b\n---\n# T\n\n1. a\n   1. b\n\n      text\n   2. c\n2. d\n   - x\n     - [ ] e\n")
    assert [(step.title, step.line, step.level) for step in runbook.steps] == [
        ("a", 6, 0), ("b", 7, 1), ("c", 10, 1), ("d", 11, 0), ("e", 13, 1),
    ]  # fmt: skip


def test_nothing_of_the_document_is_lost_to_a_walk() -> None:
    runbook = _parse(
        "Before all.\n\n# T\n\n## A\n\n**Never** do this twice.\n\n1. a\n```sh\n$ one\n```\n"
        "2. b\n\n   more of b\n\nAfter.\n\n## B\n\nwords\n"
    )
    bodies = {step.title: step.body for step in runbook.steps}
    assert bodies["a"].startswith("Before all.")
    assert "**Never** do this twice." in bodies["a"]
    assert "$ one" in bodies["a"], "code between two items, not indented, is the first one's"
    assert bodies["b"] == "b\n\nmore of b\n\nAfter."
    assert bodies["B"] == "words"
    assert runbook.steps[0].commands == ("one",)


def test_a_body_is_markdown_of_its_own() -> None:
    runbook = _parse("3. a\n\n   ```sh\n   if x; then\n     y\n   fi\n   ```\n   - [ ] b\n     c\n")
    assert runbook.steps[0].body == "a\n\n```sh\nif x; then\n  y\nfi\n```"
    assert runbook.steps[1].body == "b\nc"


KINDS = {
    "act by a link": ("1. [Roll back](console:rollback) now\n", StepKind.ACT),
    "act by a fence": ("1. Go\n\n   ```console:note\n   what you saw\n   ```\n", StepKind.ACT),
    "act by an attribute": ("1. Go\n\n   ```text {act=console:abort}\n   ```\n", StepKind.ACT),
    "an act in code is none": ("1. Write `[x](console:rollback)` to get one\n", StepKind.PROSE),
    "command": ("1. Verify it\n\n   ```sh\n   ls\n   ```\n", StepKind.COMMAND),
    "unlabelled": ("1. Go\n\n   ```\n   ls\n   ```\n", StepKind.COMMAND),
    "indented": ("# Go\n\n    ls -l\n", StepKind.COMMAND),
    "data is no command": ('1. Go\n\n   ```json\n   {}\n   ```\n\n   ```\n   {"a": 1}\n   ```\n', StepKind.PROSE),
    "promql": ("1. Look\n\n   ```promql\n   up\n   ```\n", StepKind.CHECK),
    "verify": ("1. verify that it runs\n", StepKind.CHECK),
    "check": ("## Check the pods\n\ntext\n", StepKind.CHECK),
    "checkout is no check": ("1. Checkout is slow\n", StepKind.PROSE),
}


@pytest.mark.parametrize("name", KINDS)
def test_kinds(name: str) -> None:
    text, kind = KINDS[name]
    runbook = _parse(text)
    assert [step.kind for step in runbook.steps] == [kind]
    assert not [problem for problem in runbook.problems if problem.severity == "error"]


def test_acts_checks_and_roles() -> None:
    runbook = _parse("1. [Undo](console:rollback) (role: Commander)\n\n   ```promql\n   up{$selector}\n   ```\n2. b\n")
    first, second = runbook.steps
    assert (first.act, first.checks, first.role, first.title) == ("rollback", ("up{$selector}",), "commander", "Undo")
    assert (second.act, second.checks, second.role) == (None, (), None)


COMMANDS = {
    "one a line": ("ls\n\nps\n", "sh", ("ls", "ps")),
    "prompts and output": ("$ ls\na b\n$ ps\n", "", ("ls", "ps")),
    "root alone": ("# systemctl restart x\n", "", ("systemctl restart x",)),
    "root and output": ("# systemctl status x\nactive\n", "", ("systemctl status x",)),
    "a comment": ("# restart it\nsystemctl restart x\n", "bash", ("systemctl restart x",)),
    "a session's root": ("# ls\nout\n", "console", ("ls",)),
    "host prompts": ("root@db-1:~# ls\nout\nme@x:/tmp$ ps\n", "", ("ls", "ps")),
    "virtual environment": ("(venv) $ mlflow ui\n", "", ("mlflow ui",)),
    "a variable is no prompt": ("$EDITOR x\n", "sh", ("$EDITOR x",)),
    "continued": ("curl \\\n  -f x\nls\n", "sh", ("curl \\\n  -f x", "ls")),
    "continued after a prompt": ("$ curl \\\n>  -f x\nout\n", "sh", ("curl \\\n -f x",)),
    "loop": ("for a in b; do\n  c\ndone\n", "sh", ("for a in b; do\n  c\ndone",)),
    "here-document": ("cat <<EOF\na\nEOF\n", "sh", ("cat <<EOF\na\nEOF",)),
    "quote over lines": ("echo 'a\nb'\n", "sh", ("echo 'a\nb'",)),
    "python": ("# why\nimport x\nx.y()\n", "python", ("# why\nimport x\nx.y()",)),
    "yaml": ("a: b\n", "yaml", ()),
    "promql": ("up\n", "promql", ()),
    "manifest": ("apiVersion: v1\nkind: Pod\n", "", ()),
    "nothing": ("\n\n", "sh", ()),
    "only a comment": ("#nothing\n", "sh", ()),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_commands(name: str) -> None:
    content, language, expected = COMMANDS[name]
    assert commands(content, language) == expected


PROBLEMS = {
    "empty": ("", [(1, "error", "empty")]),
    "unclosed": ("# T\n\n```sh\nls\n", [(3, "error", "never closed")]),
    "unclosed without an end of line": ("```sh\nls", [(1, "error", "never closed")]),
    "closed by the item's end": ("1. a\n   ```sh\n   ls\n2. b\n", [(2, "error", "never closed")]),
    "a longer fence": ("````\n```\n````\n", []),
    "another mark": ("~~~\n```\n~~~\n", []),
    "unknown act": ("1. a\n2. [x](console:rolback)\n", [(2, "error", "did you mean 'rollback'")]),
    "unlike any act": ("1. [x](console:zzzzzz)\n", [(1, "error", "there are: abort")]),
    "unknown act in a fence": ("```console:notes\n```\n", [(1, "error", "did you mean 'note'")]),
    "a second act": (
        "1. [x](console:note)\n   [y](console:rollback)\n",
        [(2, "warning", "already has the act 'note'")],
    ),
    "same headings": ("# T\n## A\nx\n## A\ny\n", [(4, "warning", "line 2")]),
    "same heading elsewhere": ("# T\n## A\n### C\nx\n## B\n### C\ny\n", []),
    "placeholder": ("# T\n\nAsk <FILL_ME>.\nT" + "ODO: more\n", [(3, "warning", "FILL_ME"), (4, "warning", "left")]),
    "blanks": ("```\nkubectl -n <namespace> get pods\n```\n", [(2, "warning", "<namespace>")]),
    "redirection is no blank": ("```\nwc -l < file > out\n```\n", []),
    "no language": ("```\nls\n```\n", []),
    "latin-1": (b"# T\n\ncaf\xe9\n", [(3, "warning", "not UTF-8")]),
    "utf-16": ("# T\n\n1. a\n".encode("utf-16"), [(1, "warning", "UTF-16")]),
    "utf-16 without its mark": ("# T\n".encode("utf-16-le"), [(1, "warning", "NUL")]),
    "too deep": (
        "\n".join("  " * depth + "- x" for depth in range(MAX_NESTING)),
        [(MAX_NESTING // 2, "warning", "nested deeper")],
    ),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_problems_have_their_line(name: str) -> None:
    text, expected = PROBLEMS[name]
    found = _messages(text)
    assert len(found) == len(expected), found
    for (line, severity, message), (want_line, want_severity, part) in zip(found, expected, strict=True):
        assert (severity, part in message) == (want_severity, True), message
        assert line == want_line or name == "blanks", (name, line)


def test_utf16_is_read_all_the_same() -> None:
    assert [step.title for step in parse("1. grün\n".encode("utf-16"), "x").steps] == ["grün"]


HOSTILE = [
    "1. [/bold] [red]x\n",
    "# \x1b]0;owned\x07\n\n1. \x1b[2J\x9b2J\n",
    "1. " + "\u202egnp\u2066" * 50 + "\n",
    "1. " + "e" + "\u0301" * 5000 + "\n",
    "1. " + "漢" * 10_000 + "\n",
    "# " + "a" * 10_000 + "\n\n1. " + "b" * 10_000 + "\n",
    "1. [x](console:\x1b[31mroll)\n",
    "1. [x](console:" + "a" * 5000 + ")\n",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_harmless_in_what_is_shown(text: str) -> None:
    runbook = _parse(text)
    _holds(runbook)
    assert runbook.title.isprintable()
    assert all(len(step.title) <= 120 and len(step.id) <= 180 for step in runbook.steps)
    assert all(problem.message.isprintable() and len(problem.message) < 300 for problem in runbook.problems)


def test_beyond_the_cap_the_rest_is_one_step() -> None:
    runbook = parse(b"1. item\n" * 200_000, "long")
    assert runbook.steps[-1].title == "The rest of the document, not read as steps"
    assert runbook.steps[-1].line == len(runbook.steps), "one line an item, then the rest"
    assert [problem.severity for problem in runbook.problems] == ["error"]
    assert len(runbook.text) == 1_600_000, "the document is pinned whole"
    assert len(runbook.steps) == MAX_CHARACTERS // len("1. item\n") + 1


# Each was, or could be, more than linear: in the parser, or in a pattern of ours.
SLOW = {
    "one long line": b"word " * 2_000_000,
    "quotes": b"> " * 130_000,
    "lists in a line": b"- " * 130_000,
    "growing lists": b"\n".join(b" " * (2 * depth) + b"- a" for depth in range(500)),
    "brackets": b"[" * 260_000,
    "links": (b"[" * 4000 + b"console:x\n\n") * 20,
    "references": b"[a]:\n" * 50_000,
    "blank script": b"```sh\n" + b" \t" * 50_000 + b"\n" + b"\n" * 100_000 + b"x\n```\n",
    "prompts": b"```\n" + (b"a" * 40 + b"@" + b"a" * 80 + b" ") * 2000 + b"\n```\n",
    "same headings": b"# a\n" * 20_000,
}


@pytest.mark.parametrize("name", SLOW)
def test_hostile_shapes_do_not_hang(name: str) -> None:
    began = time.process_time()
    _holds(parse(SLOW[name], "slow"))
    assert time.process_time() - began < 10, "linear input takes about a second here; more than linear takes minutes"


def test_a_fault_of_the_parser_refuses_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    from rollback_console.runbook import words

    class FaultyParser:
        """A fake parser with a defect."""

        def parse(self, source: str, env: dict[str, object]) -> list[object]:
            raise IndexError

    monkeypatch.setattr(words, "parser", lambda nesting: FaultyParser())
    runbook = _parse("# T\n\n1. a\n")
    assert [step.title for step in runbook.steps] == ["sample"]
    assert runbook.problems[0].severity == "error"


def test_the_examples_in_the_docs_read_as_the_docs_say() -> None:
    docs = Path(__file__).parents[2] / "docs" / "runbooks.md"
    examples = [part.split("\n```")[0] for part in docs.read_text("utf-8").split("```markdown\n")[1:]]
    first, second = (_parse(example + "\n") for example in examples)
    assert [(step.title, step.level) for step in first.steps] == [
        ("Restart the ranker", 0),
        ("Drain the pool", 0),
        ("Check that it is empty", 1),
        ("Restart the service", 0),
        ("Tell people", 0),
    ]
    assert first.steps[1].role == "commander"
    assert first.steps[3].commands == ("systemctl restart ranker",)
    assert [step.kind for step in second.steps] == [StepKind.ACT, StepKind.CHECK, StepKind.ACT]
    assert not first.problems + second.problems
