"""`policy explain --journal`: what the modes above would have done, from what a journal holds."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from rollback_console.cli.main import run
from rollback_console.clock import VirtualClock
from rollback_console.journal.device import DeviceKey
from rollback_console.journal.kinds import Adopted, Body, IncidentRecorded, Note, TransitionRecorded
from rollback_console.journal.store import Journal

START = 1_800_000_000.0  # 2027-01-15 08:00 UTC
HEX = "0" * 64
POLICY = """schema: rollback-console/policy/v1
name: p
version: 1
deployments:
  - {name: checkout, environment: production, model: {name: m, alias: champion}}
signals: {s: {worse: higher, value: x, breach: {above: 1}}}
trigger: {cool_down: 1h}
recovery: [{path: version, driver: mlflow-alias}]
"""


def turned(at: float, after: str, *, blind: bool = False) -> TransitionRecorded:
    return TransitionRecorded(
        at=at, before="pending", after=after, sentence="s", tick=HEX, policy=HEX, engine="0", memory_before={},
        memory_after={}, verdict={"fired_as_blind": blind},
    )  # fmt: skip


def incident(to: str | None, sentence: str, event: str = "opened") -> IncidentRecorded:
    advice = {"deployment": "production/checkout", "path": "version" if to else None, "to": to, "sentence": sentence}
    return IncidentRecorded(
        event=event, id="inc-1", members=["production/checkout"], onset=1.0, attribution="release", reasons=[],
        sentence="release: it is", recommendations=[advice],
    )  # type: ignore[arg-type]  # fmt: skip  # the event is one of three words


def test_a_journals_firings_and_what_would_have_been_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, clock = tmp_path / "j.db", VirtualClock(START)
    bodies: list[tuple[float, Body]] = [
        (0, turned(START, "fired")),
        (0, incident("7", "roll back to v7")),
        (600, turned(START + 600, "healthy")),
        (700, incident("7", "roll back to v7", "closed")),
        (7_200, incident(None, "do not roll back: mend \x1b[31mfv/a")),
        (7_300, turned(START + 7_300, "fired")),
        (8_000, turned(START + 8_000, "healthy")),
        (9_000, Adopted(model="m", alias="c", from_version="8", to_version="7", reason="r", moved_at=START + 9_000)),
        (9_100, incident("6", "roll back to v6")),
        (9_200, turned(START + 9_200, "fired")),
        (9_300, Note(text="seen")),
        (20_000, turned(START + 20_000, "fired", blind=True)),
    ]
    with Journal.open(path, device=DeviceKey.from_seed(b"t" * 32), clock=clock) as journal:
        passed = 0.0
        for after, body in bodies:
            asyncio.run(clock.advance(after - passed))
            passed = after
            journal.append(body, deployment="production/checkout")
        journal.append(turned(START + 1, "fired"), deployment="production/another")
    (tmp_path / "p.yaml").write_text(POLICY)
    assert run(["policy", "explain", str(tmp_path / "p.yaml"), "--journal", str(path)]) == 0
    said = capsys.readouterr().out
    assert said[said.index("Moving up") :].splitlines()[:5] == [
        "Moving up",
        "In the last 28 days: `advise` would have alarmed 4 times (1.0 a week), `act` would have rolled back by itself "
        "once.",
        "- 2027-01-15 08:00 UTC production/checkout: rolled back to v7",
        "- 2027-01-15 10:01 UTC production/checkout: left to people: do not roll back: mend ·[31mfv/a",
        "- 2027-01-15 10:33 UTC production/checkout: left to people: an action was taken at 10:30 UTC: cooling down "
        "until 11:30 UTC",
    ]
    assert "left to people: it fired for not being seen" in said


def test_a_rehearsals_journal_is_read_as_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "drill.db"
    assert run(["rehearse", "demo", "--headless", "--seed", "3", "--journal", str(path)]) == 0
    assert run(["journal", "list", "--journal", str(path)]) == 0
    listed = capsys.readouterr().out
    names = sorted(set(re.findall(r"production/([a-z0-9-]+)", listed)))
    deployments = "".join(
        f"  - {{name: {name}, environment: production, model: {{name: m, alias: champion}}}}\n" for name in names
    )
    (tmp_path / "p.yaml").write_text(
        POLICY.replace(
            "  - {name: checkout, environment: production, model: {name: m, alias: champion}}\n", deployments
        )
    )
    assert run(["policy", "explain", str(tmp_path / "p.yaml"), "--journal", str(path)]) == 0
    said = capsys.readouterr().out
    found = re.search(r"would have alarmed (once|\d+ times) .* rolled back by itself (once|\d+ times)", said)
    assert found
    assert found[2] != "0 times", "the demo's release is rolled back"
    assert "left to people: " in said, "what comes from upstream is not"


def test_a_journal_that_is_not_there_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "p.yaml").write_text(POLICY)
    assert run(["policy", "explain", str(tmp_path / "p.yaml"), "--journal", str(tmp_path / "none.db")]) == 2
    assert "none.db" in capsys.readouterr().err
