"""Decisions made again, by the engine that they name: a lie is named, another engine's word is not called one."""

from __future__ import annotations

import asyncio
import json
import shutil
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from engine_tools import START, STEP, Stream, engine_on, new_journal, random_stream, ticks

from rollback_console.decide import version
from rollback_console.engine.loop import Engine
from rollback_console.engine.options import Paper
from rollback_console.engine.record import recompute
from rollback_console.errors import OtherEngine
from rollback_console.journal.entry import Entry
from rollback_console.journal.kinds import TransitionRecorded
from rollback_console.journal.verify import Recompute, verify
from rollback_console.policy.load import parse_policy

POLICY = Path(__file__).resolve().parent / "golden" / "bounds.yaml"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal of real decisions, its policy beside them."""
    path = tmp_path_factory.mktemp("engine") / "journal.db"
    asyncio.run(_record(path))
    return path


@pytest.fixture
def journal(recorded: Path, tmp_path: Path) -> Path:
    """A copy of it, to write in."""
    return Path(shutil.copy(recorded, tmp_path / "journal.db"))


async def _record(path: Path) -> None:
    data = POLICY.read_bytes()
    loaded = parse_policy(data, "bounds.yaml")
    stream = random_stream(11, deployments=2, ticks=120)
    with new_journal(path, START) as opened:
        plain = engine_on(Stream(loaded.rules, stream.series, 120), START + 30 * STEP)
        paper = Paper("policy", "golden-bounds", 1, loaded.digest, data)
        engine = Engine(
            plain.rules, plain.metrics, None, plain.clock, replace(plain.options, papers=(paper,)), journal=opened,
            inline=True,
        )  # fmt: skip
        await engine.start()
        await ticks(engine, 31, 119)
        await engine.close()


def _recomputing() -> Recompute:
    @lru_cache
    def rules(data: bytes, digest: str) -> Any:
        return parse_policy(data, "policy").rules

    return lambda entry, blobs: recompute(entry, blobs, rules)


def _added(path: Path, **changes: Any) -> None:
    """The journal's last transition once more, signed, with some of its fields otherwise."""
    with new_journal(path, START + 1e5) as opened:
        *_, last = opened.entries(kinds=("transition",))
        body = json.loads(last.body) | changes
        opened.append(TransitionRecorded.model_validate(body), deployment=last.deployment)


def test_a_journal_is_verified_by_deciding_again(journal: Path) -> None:
    found = verify(journal, recompute=_recomputing())
    assert found.ok, found.problems
    assert found.decisions > 5
    assert found.not_recomputed == 0


def test_words_that_were_never_said_are_found(journal: Path) -> None:
    _added(journal, sentence="nothing was wrong")
    found = verify(journal, recompute=_recomputing())
    assert not found.ok
    assert "entry.sentence: recorded 'nothing was wrong'" in found.problems[0].message


@pytest.mark.parametrize(
    ("engine", "says"),
    [
        ("2.0", "made by engine 2.0, this program has 1.1: a newer program can recompute it"),
        ("0.1.0", "made by engine 0.1.0, this program has 1.1, and knows no engine of that name"),
        ("\x1b[2J", "knows no engine of that name"),
    ],
)
def test_another_engines_decision_is_not_called_a_lie(engine: str, says: str, journal: Path) -> None:
    _added(journal, engine=engine, after="fired", sentence="as only that engine can tell")
    found = verify(journal, recompute=_recomputing())
    assert found.ok
    assert found.not_recomputed == 1
    (warning,) = found.warnings
    assert warning.message.startswith("its decision was not recomputed: ")
    assert says in warning.message
    assert "\x1b" not in warning.message


def test_an_engine_of_other_words_is_held_to_its_states_and_numbers(journal: Path) -> None:
    _added(journal, engine="1.9", sentence="said in another way")
    assert verify(journal, recompute=_recomputing()).ok
    _added(journal, engine="1.9", after="calm")
    found = verify(journal, recompute=_recomputing())
    assert [problem.seq for problem in found.problems] == [found.entries]
    assert "entry.after: recorded 'calm'" in found.problems[0].message


def test_an_engine_that_was_left_behind_says_what_changed(
    journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr(version, "ENGINE", "3.0")
    monkeypatch.setattr(version, "ENGINES", {1: "the first", 2: "bounds count alike", 3: "margins are wider"})
    with new_journal(journal, START + 1e5) as opened:
        entry = next(opened.entries(kinds=("transition",)))
    with pytest.raises(OtherEngine, match=r"made by engine 1\.1, this program has 3\.0.*alike; margins are wider"):
        recompute(_named(entry, "1.1"), lambda _: None, lambda *_: [])


def _named(entry: Entry, engine: str) -> Entry:
    return replace(entry, body=json.dumps(json.loads(entry.body) | {"engine": engine}).encode())
