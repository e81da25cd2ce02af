"""Reads the corpus of `bad/`: cases of a file's text and, beside it, the exact problems it must give.

::

    === what is wrong with it
    text of the file
    --- file:line:column: path: message. remedy     (one line a problem, `FILE` stands for the file's name)

A case holds only the part that it is about: the top-level keys that it leaves out are appended from `WHOLE`, so that
line numbers count from its own first line. A case that begins with `# as it is` is left alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

BAD = Path(__file__).parent / "bad"

WHOLE = {
    "policy": {
        "schema": "schema: rollback-console/policy/v1",
        "name": "name: ranking",
        "version": "version: 1",
        "deployments": "deployments:\n  - {name: a, environment: production, model: {name: m, alias: champion}}",
        "signals": "signals:\n  errors: {worse: higher, value: errors, breach: {above: 2%}}",
        "recovery": "recovery:\n  - {path: version, driver: mlflow-alias}",
    },
    "settings": {
        "schema": "schema: rollback-console/settings/v1",
        "prometheus": 'prometheus: {url: "https://prometheus:9090"}',
        "policies": "policies: [policy.yaml]",
    },
    "roster": {"schema": "schema: rollback-console/roster/v1", "operators": "operators:\n  - {id: ana}"},
    "operator": {
        "schema": "schema: rollback-console/operator/v1",
        "name": "name: night-shift",
        "steps": "steps:\n  - when: fired",
    },
    "scenario": {
        "schema": "schema: rollback-console/scenario/v1",
        "name": "name: play",
        "title": "title: A play",
        "class": "class: release",
        "world": "world:\n  deployments: [{name: a}]",
        "right": "right: {leave: []}",
    },
    "yaml": {},
}


@dataclass(frozen=True)
class Case:
    """One case: the kind of file, what is wrong with it, its text, its problems, and where it stands itself."""

    kind: str
    name: str
    text: str
    problems: tuple[str, ...]

    @property
    def whole(self) -> str:
        if self.text.startswith("# as it is"):
            return self.text
        missing = [line for key, line in WHOLE[self.kind].items() if not re.search(rf"^{key}:", self.text, re.M)]
        return self.text + "".join(line + "\n" for line in missing)


def cases() -> list[Case]:
    """All cases, in the order of their files."""
    found = []
    for path in sorted(BAD.glob("*.txt")):
        for block in path.read_text().split("\n=== ")[1:]:
            name, _, rest = block.partition("\n")
            text, _, tail = ("\n" + rest).partition("\n--- ")
            problems = tuple(line.removeprefix("--- ") for line in tail.split("\n") if line.strip())
            found.append(Case(path.stem, name, text.removeprefix("\n") + "\n" if text.strip() else "", problems))
    return found
