"""Operators that a team writes as files: each step does on the demo what the documentation says of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import yaml

from docs_reading import blocks_of
from rollback_console.cli.rehearse import headless_drill
from rollback_console.errors import FileProblems, UsageError
from rollback_console.journal.store import Journal
from rollback_console.policy.load import KINDS, check, load_operator
from rollback_console.policy.schema import schema
from rollback_console.rehearse.operators import OPERATORS, mode_for, operator_named
from rollback_console.rehearse.scenario import find
from rollback_console.rehearse.score import DrillResult

HEAD = f"schema: {KINDS['operator']}\nname: tried\n"


def play(tmp_path: Path, steps: str, *, head: str = "") -> tuple[DrillResult, list[tuple[str, str, dict[str, object]]]]:
    """The demo, played by these steps: the score, and (kind, deployment, body) of what the operator did."""
    file, journal = tmp_path / "operator.yaml", tmp_path / "journal.db"
    file.write_text(f"{HEAD}{head}steps:\n{steps}")
    result, path = asyncio.run(headless_drill(find("demo"), str(file), 7, journal))
    with Journal.open_read_only(path) as opened:
        entries = [(e.kind, e.deployment, e.parsed().model_dump()) for e in opened.entries() if e.operator]
    return result, entries


def test_a_file_that_does_what_is_right_passes(tmp_path: Path) -> None:
    result, done = play(
        tmp_path,
        """
  - open: checkout-ranker
  - when: fired
  - open: checkout-ranker
  - wait: 20s
  - walk: advised
    until: rollback
    pace: 5s
  - plan: it
  - execute: v8 broke it
    if: {plan: executable, advised: rollback, origin: release}
  - when: ended
  - walk: rest
    if: {plan: done}
  - note: back to v7
""",
    )
    assert result.passed, (result.failed_because, result.wrong_turns, result.refused)
    assert result.steps_skipped == 0
    assert result.refused == ()
    assert result.steps_done == 12, "the whole runbook: what follows the rollback was walked when it was confirmed"
    assert ("note", "production/checkout-ranker") in [(kind, name) for kind, name, _ in done]
    (asked,) = [body for kind, _, body in done if kind == "request"]
    assert asked["reason"] == "v8 broke it"


def test_guards_hold_back_what_is_not_so(tmp_path: Path) -> None:
    """All that fires is taken in hand, one after another; only what a release did is rolled back."""
    result, done = play(
        tmp_path,
        """
  - when: fired
    within: 20m
  - plan: it
    if: {advised: rollback}
  - execute: a release did it
    if: {advised: rollback, plan: executable}
  - note: left alone
    if: {advised: nothing, state: fired}
  - snooze: 30m
    if: {origin: upstream}
""",
        head="repeats: true\n",
    )
    assert result.decision == "right"
    assert [name for kind, name, _ in done if kind == "request"] == ["production/checkout-ranker"]
    left = {name for kind, name, body in done if kind == "note" and body["text"] == "left alone"}
    assert {"production/home-feed", "production/search-rank"} <= left
    assert {name for kind, name, _ in done if kind == "snooze"} <= left


def test_a_careless_file_fails(tmp_path: Path) -> None:
    result, done = play(
        tmp_path,
        """
  - when: fired
  - open: home-feed
  - walk: model-version-rollback
    until: rollback
    pace: 0s
  - skip: all
    because: no time
  - plan: it
    to: "13"
  - execute: it is red
  - stop: true
  - note: never said
""",
    )
    assert not result.passed
    assert result.decision == "wrong"
    assert result.steps_skipped > 0
    assert not [body for kind, _, body in done if kind == "note"]


def test_what_never_fires_ends_it(tmp_path: Path) -> None:
    result, done = play(tmp_path, "  - when: safety\n    within: 3m\n  - note: never said\n")
    assert result.decision == "none"
    assert done == []


def test_a_round_without_a_wait_does_not_stop_the_clock(tmp_path: Path) -> None:
    """A file whose moment has always come goes round once an evaluation, not for ever."""
    result, done = play(tmp_path, "  - when: ended\n  - note: once more\n", head="repeats: true\n")
    assert result.elapsed_s >= 3600.0
    assert 0 < len([kind for kind, _, _ in done if kind == "note"]) <= 3600.0 / 15.0 + 1


def test_the_documented_file_is_right(tmp_path: Path) -> None:
    blocks = [b.text for b in blocks_of("docs/scenarios.md") if KINDS["operator"] in b.text]
    assert blocks, "docs/scenarios.md shows no operator"
    for number, text in enumerate(blocks):
        file = tmp_path / f"{number}.yaml"
        file.write_text(text)
        assert check(file) == ("operator", ())
        result, _ = asyncio.run(headless_drill(find("registry-outage"), str(file), 7, tmp_path / f"{number}.db"))
        assert result.decision == "right"
        assert result.recovered_s is not None, "resumed, after the registry was back"
        assert not result.refused
        assert result.steps_done == 12
        known = schema("operator")["properties"]
        assert set(yaml.safe_load(text)) <= set(known)


def test_names_and_what_is_none() -> None:
    assert set(OPERATORS) == {"perfect", "slow", "careless", "asleep", "automatic"}
    assert operator_named("perfect") is OPERATORS["perfect"]
    assert operator_named("asleep:20") is not OPERATORS["asleep"]
    assert (mode_for("automatic"), mode_for("perfect")) == ("act", None)
    with pytest.raises(UsageError, match="no headless operator sleepy"):
        operator_named("sleepy")
    with pytest.raises(UsageError, match="asleep until minute soon"):
        operator_named("asleep:soon")
    with pytest.raises(FileProblems, match="cannot be read"):
        operator_named("nowhere.yaml")


def test_a_file_keeps_its_digest(tmp_path: Path) -> None:
    file = tmp_path / "o.yaml"
    file.write_text(HEAD + "steps: [{when: fired}]\n")
    loaded = load_operator(file)
    assert loaded.operator.name == "tried"
    assert len(loaded.digest) == 64
