"""The trigger against Prometheus itself: the same rules on the same series are in the same states, to the tick."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from promtool_oracle import ask, write_batch

from rollback_console.decide import trigger

pytestmark = pytest.mark.real
CAMPAIGN = bool(os.environ.get("ROLLBACK_CONSOLE_CAMPAIGN"))
BATCHES = 400 if CAMPAIGN else 24


def test_states_are_prometheus_own_states(tmp_path: Path) -> None:
    written = [write_batch(tmp_path, seed, rules=12, evaluations=60) for seed in range(BATCHES)]
    assertions = sum(count for _, count in written)
    assert assertions >= (250_000 if CAMPAIGN else 2_000)
    code, words = ask([path for path, _ in written])
    assert code == 0, f"promtool disagrees:\n{words[:4000]}"
    assert words.count("SUCCESS") == BATCHES


def _late(counted: float, dwell: float) -> bool:
    return counted > dwell


def _too_long(counted: float, hold: float) -> bool:
    return counted <= hold


@pytest.mark.parametrize(("boundary", "mutant"), [("dwelt", _late), ("holds", _too_long)])
def test_a_boundary_off_by_one_tick_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, boundary: str, mutant: Callable[[float, float], bool]
) -> None:
    """The oracle's own proof: `>` for `>=` at the dwell, `<=` for `<` at the hold."""
    monkeypatch.setattr(trigger, boundary, mutant)
    paths = [write_batch(tmp_path, seed, rules=12, evaluations=60)[0] for seed in range(4)]
    code, words = ask(paths)
    assert code != 0
    assert words.count("FAILED") == len(paths), "every batch meets the boundary"
