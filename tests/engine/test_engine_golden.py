"""What this engine decided when it was given its number, it decides now; or its number is another one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import golden_tools as golden
import pytest

from rollback_console.decide import version
from rollback_console.decide.judge import decide
from rollback_console.engine import record
from rollback_console.model.verdict import Verdict

ADVICE = "raise ENGINE in decide/version.py, then run `python tests/engine/golden_tools.py --write`"


def test_this_engine_decides_what_it_decided_when_it_was_given_its_number() -> None:
    document = golden.kept()
    assert document["engine"] == version.ENGINE, f"other decisions are kept than this engine's: {ADVICE}"
    assert golden.differences(document) == [], f"this engine decides otherwise than it did: {ADVICE}"


def test_this_program_learns_what_it_learned_when_that_was_given_its_number() -> None:
    """What was learned is kept between runs under that number: who learns otherwise must not find it."""
    document = golden.kept()
    assert document["learned"]["version"] == version.LEARNING, f"learned by another number: {ADVICE}"
    assert golden.learns_alike(document), "raise LEARNING in decide/version.py, then run the command"
    document["learned"]["numbers"][5] *= 1 + 1e-8
    assert not golden.learns_alike(document)


def test_what_is_kept_holds_every_state_and_both_kinds_of_signals() -> None:
    bodies = [each["body"] for each in golden.kept()["entries"]]
    assert {body["after"] for body in bodies} >= {"healthy", "pending", "fired", "clearing", "blind"}
    assert any(signal["evidence"] for body in bodies for signal in body["verdict"]["signals"])
    assert any(signal["evidence"] is None for body in bodies for signal in body["verdict"]["signals"])


def _more_evidence(verdict: Verdict) -> Verdict:
    signals = tuple(replace(each, evidence=each.evidence + 1e-7) if each.evidence else each for each in verdict.signals)
    return replace(verdict, signals=signals)


def _other_words(verdict: Verdict) -> Verdict:
    return replace(verdict, sentence=verdict.sentence + "!")


@pytest.mark.parametrize(
    ("otherwise", "where"), [(_more_evidence, ".evidence"), (_other_words, ".sentence")]
)  # fmt: skip
def test_an_engine_that_decides_otherwise_is_noticed(
    otherwise: Callable[[Verdict], Verdict], where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def planted(*known: Any, cooling: bool) -> Any:
        verdict, memory = decide(*known, cooling=cooling)
        return otherwise(verdict), memory

    monkeypatch.setattr(record, "decide", planted)
    found = golden.differences(golden.kept())
    assert found
    assert all(where in line for line in found)
