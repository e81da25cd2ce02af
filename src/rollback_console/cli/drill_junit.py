"""Drills as JUnit XML, which CI servers read: a test case a scenario, a failure that says why and where its journal is.

The subset that Jenkins' and GitLab's readers share (Jenkins' `junit-10.xsd`): one `testsuites`, one `testsuite`, test
cases with `classname`, `name` and `time` in seconds, at most one `failure`, `error` or `skipped` each. Names are a
scenario's, an operator's and a seed's, which makes them unique: of two of one name, GitLab shows the first alone.
Whatever stands in a name or a message was written by others: it is escaped, and what XML cannot hold is replaced.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from rollback_console.errors import ConsoleError
from rollback_console.model.text import plain
from rollback_console.model.value import dataclass

# What XML 1.0 has no way to write (section 2.2, `Char`): control characters, surrogates, two non-characters.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Case:
    """One test case. `verdict`: passed | failed | error | skipped; `message`: why, in a line; `text`: all of it;
    `told`: what it says beside. `seconds`: of the drill's own clock, so that the file is a function of the seed."""

    classname: str
    name: str
    verdict: str
    seconds: float = 0.0
    message: str = ""
    text: str = ""
    told: str = ""


def document(cases: Sequence[Case], properties: Sequence[tuple[str, str]] = ()) -> str:
    """The XML as text."""
    counts = {word: sum(case.verdict == word for case in cases) for word in ("failed", "error", "skipped")}
    numbers = f'tests="{len(cases)}" failures="{counts["failed"]}" errors="{counts["error"]}"'
    time = f'time="{sum(case.seconds for case in cases):.3f}"'
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<testsuites name="rollback-console rehearse" {numbers} {time}>',
        f'  <testsuite name="rehearse" {numbers} skipped="{counts["skipped"]}" {time}>',
    ]
    if properties:
        lines += [
            "    <properties>",
            *(f"      <property name={_attribute(k)} value={_attribute(v)}/>" for k, v in properties),
            "    </properties>",
        ]
    for case in cases:
        lines += _case(case)
    return "\n".join([*lines, "  </testsuite>", "</testsuites>", ""])


def write(path: Path, cases: Sequence[Case], properties: Sequence[tuple[str, str]] = ()) -> None:
    """Write the file. Raises ConsoleError where it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(document(cases, properties), "utf-8")
    except OSError as error:
        raise ConsoleError(
            f"{plain(str(path), 200)} cannot be written: {error.strerror}", "name another file for --junit"
        ) from None


def _case(case: Case) -> list[str]:
    begin = (
        f'    <testcase classname={_attribute(case.classname)} name={_attribute(case.name)} time="{case.seconds:.3f}"'
    )
    inside = []
    tag = {"failed": "failure", "error": "error", "skipped": "skipped"}.get(case.verdict)
    if tag is not None:
        kind = "" if tag == "skipped" else f" type={_attribute('drill ' + case.verdict)}"
        inside.append(f"      <{tag} message={_attribute(case.message)}{kind}>{_text(case.text)}</{tag}>")
    if case.told:
        inside.append(f"      <system-out>{_text(case.told)}</system-out>")
    return [f"{begin}>", *inside, "    </testcase>"] if inside else [f"{begin}/>"]


def _attribute(text: str) -> str:
    return quoteattr(_NOT_XML.sub("\ufffd", text), {"\n": "&#10;", "\r": "&#13;", "\t": "&#9;"})


def _text(text: str) -> str:
    return escape(_NOT_XML.sub("\ufffd", text), {"\r": "&#13;"})
