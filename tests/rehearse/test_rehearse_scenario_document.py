"""docs/scenarios.md is true: its tables are the code's, and every scenario on the page loads and plays."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from docs_reading import blocks_of
from rollback_console.policy import scenario as words
from rollback_console.policy import yaml_marks
from rollback_console.rehearse import noises

DOCUMENT = "docs/scenarios.md"
PAGE = (Path(__file__).parents[2] / DOCUMENT).read_text(encoding="utf-8")
_WORLD = {"deployments": [{"name": "a"}]}
_WHOLE = {"schema": words.SCHEMA, "name": "n", "title": "t", "class": "c", "world": _WORLD, "right": {}}
# Heading -> the model that the table below it describes, and the least that one of it needs.
TABLES: dict[str, tuple[type[BaseModel], dict[str, Any]]] = {
    "The file": (words.Scenario, _WHOLE),
    "`world`": (words.ScenarioWorld, _WORLD),
    "A deployment": (words.ScenarioDeployment, {"name": "a"}),
    "A version": (words.ScenarioVersion, {"version": "1"}),
    "`timeline`": (words.ScenarioEvent, {"fault": "registry"}),
    "`right`": (words.ScenarioRight, {}),
    "`bands`": (words.ScenarioBands, {}),
}
_FELT = {"fault": "deployment", "target": "a", "features": "stale"}
# An entry of the timeline in which a key may stand; elsewhere it is in the way.
EVENTS: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("conversion", "order_value", "latency", "volume", "errors", "unsafe", "over", "fades"), _FELT),
    "features": {"fault": "deployment", "target": "a", "errors": "5%"},
    "delay": {"fault": "metrics", "how": "slow"},
    "only": {"fault": "metrics", "how": "wrong", "off_by": "-5%"},
    "loses": {"fault": "registry", "on": "rollback"},
    "by": {"flip": "a", "to": "1"},
    "times": {"flip": "a", "on": "rollback"},
    "answers": {"approver": "a"},
}


def rows(heading: str) -> list[tuple[str, str]]:
    """(key, default as written) of every row of the table under a heading."""
    section = PAGE.partition(f"### {heading}\n")[2].partition("\n## ")[0].partition("\n### ")[0]
    found = []
    for keys, default in re.findall(r"^\| (`.+?) \| (.*?) ?\| .*\|$", section, re.MULTILINE):
        found += [(key, default) for key in re.findall(r"`([a-z_]+)`", keys)]
    return found


def names(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


@pytest.mark.parametrize("heading", TABLES)
def test_the_tables_have_every_key_and_its_default(heading: str) -> None:
    model, least = TABLES[heading]
    table = rows(heading)
    assert sorted(key for key, _ in table) == sorted(names(model))
    plain = model.model_validate(least)
    for key, written in table:
        name = next(name for name, field in model.model_fields.items() if key in (name, field.alias))
        if re.fullmatch(r"`[^`]+`", written):
            value = yaml_marks.parse(f"x: {written.strip('`')}".encode(), "f").data["x"]
            given = {**(EVENTS.get(key, least) if model is words.ScenarioEvent else least), key: value}
            said = getattr(model.model_validate(given), name)
            default = getattr(plain, name)
            nothing = default is None and said in (0.0, "request")  # left out, it does as if it were written
            assert said == default or nothing, f"{heading}: {key} is {default!r}, the page says {written}"
        elif written == "":
            assert key in least or model.model_fields[name].is_required() or getattr(plain, name) in (None, False)
        else:
            assert getattr(plain, name) in (None, ""), f"{heading}: {key} has a default that the page does not say"


def test_the_parts_of_traffic_have_the_defaults_of_the_page() -> None:
    said = dict(re.findall(r"`(low|peak|weekend)` \(`([^`]+)`\)", PAGE))
    value = {key: yaml_marks.parse(f"x: {text}".encode(), "f").data["x"] for key, text in said.items()}
    assert words.ScenarioTraffic.model_validate(value) == words.ScenarioTraffic()
    assert sorted(value) == sorted(names(words.ScenarioTraffic))


def test_the_page_names_every_noise_step_metric_and_policy() -> None:
    section = PAGE.partition("## Noises")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `([a-z]+)` \|", section, re.MULTILINE) == ["everyday", *noises.KINDS]
    hints = PAGE.partition("### `hints`")[2].partition("\n## ")[0]
    assert re.findall(r"`([a-z]+)`", hints.partition("is one of")[2]) == list(words.WHEN)
    world = PAGE.partition("### `world`")[2].partition("\n### ")[0]
    assert set(words.METRICS) <= set(re.findall(r"`([a-z_]+)`", world))
    folder = Path(words.__file__).parents[1] / "rehearse" / "data" / "policies"
    (line,) = [line for line in PAGE.splitlines() if line.startswith("| `policy` |")]
    assert {path.name for path in folder.glob("*.yaml")} == set(re.findall(r"`([a-z-]+\.yaml)`", line))


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """One of the page's commands, in a folder."""
    program = [sys.executable, "-m", *command.replace("rollback-console", "rollback_console", 1).split()]
    environment = {**os.environ, "HOME": str(folder), "TMPDIR": str(folder)}
    return subprocess.run(program, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_document_is_run_as_it_stands(tmp_path: Path) -> None:
    blocks = blocks_of(DOCUMENT)
    (whole,) = [block for block in blocks if "name: ranker-and-a-stale-view" in block.text]
    (tmp_path / "scenario.yaml").write_text(whole.text)
    (block,) = [block for block in blocks if block.language == "sh"]
    check, perfect, careless = block.commands
    assert run(check, tmp_path).stdout.strip() == "scenario.yaml: scenario ok"
    done = run(perfect, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("PASSED: ranker-and-a-stale-view by perfect")
    done = run(careless, tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout.startswith("FAILED: ranker-and-a-stale-view by careless, seed 8")


def test_a_teams_own_policy_is_played_as_the_page_has_it(tmp_path: Path) -> None:
    blocks = blocks_of(DOCUMENT)
    (ours,) = [block for block in blocks if "name: our-names" in block.text]
    (policy,) = [block for block in blocks if block.text.startswith("schema: rollback-console/policy")]
    (tmp_path / "ours.yaml").write_text(ours.text)
    (tmp_path / "team.yaml").write_text(policy.text)
    assert run("rollback-console policy check ours.yaml team.yaml", tmp_path).returncode == 0
    done = run("rollback-console rehearse ours.yaml --headless --operator perfect", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
