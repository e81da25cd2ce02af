"""The scenarios that come with the console: each plays as its file says, by the very engine, on every seed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from rehearse_played import CAMPAIGN, Played, played

from rollback_console.journal.kinds import ExecutionEnded, PointerMoved, Requested
from rollback_console.journal.store import Journal
from rollback_console.policy.load import KINDS, check
from rollback_console.rehearse.scenario import find, shipped

FOLDER = Path(__file__).parents[2] / "src/rollback_console/rehearse/data/scenarios"
SCENARIOS = tuple(listed.name for listed in shipped())
SEEDS = (7, 3, 11, 20, 42) if CAMPAIGN else (7,)
CLASSES = {
    "release", "latency", "silent", "ramp", "telemetry", "blip", "upstream", "infrastructure", "drift", "safety",
}  # fmt: skip
Play = Callable[[str, str, int], Played]
EVERY = pytest.mark.parametrize("name", SCENARIOS)
EACH_SEED = pytest.mark.parametrize("seed", SEEDS)


@pytest.fixture(scope="module")
def play(tmp_path_factory: pytest.TempPathFactory) -> Play:
    """Plays each drill once."""
    folder = tmp_path_factory.mktemp("library")
    known: dict[tuple[str, str, int], Played] = {}

    def once(scenario: str, operator: str, seed: int) -> Played:
        if (scenario, operator, seed) not in known:
            known[scenario, operator, seed] = played(folder, scenario, operator, seed)
        return known[scenario, operator, seed]

    return once


def test_what_comes_with_the_console() -> None:
    assert len(SCENARIOS) >= 17
    assert {listed.klass for listed in shipped()} >= CLASSES
    needs = {need for listed in shipped() for need in listed.needs}
    assert {"quorum", "paths"} <= needs, "what has to wait for them says so"
    files = sorted(FOLDER.glob("*.yaml"))
    assert {path.stem for path in files} == set(SCENARIOS) - {"demo"}
    for path in files:
        assert f"schema: {KINDS['scenario']}" in path.read_text()
        assert check(path) == ("scenario", ())
    assert sum("hints:" in path.read_text() for path in files) >= 3


@EACH_SEED
@EVERY
def test_who_does_what_is_right_passes(play: Play, name: str, seed: int) -> None:
    perfect = play(name, "perfect", seed)
    assert perfect.result.passed, perfect.why()
    assert perfect.result.decision == "right"
    assert perfect.result.noticed_s is not None, "something has to have fired"


@EACH_SEED
@EVERY
def test_who_is_careless_gets_what_the_scenario_says(play: Play, name: str, seed: int) -> None:
    careless = play(name, "careless", seed)
    assert careless.result.passed is (find(name).careless == "passes"), careless.why()
    if not careless.result.passed:
        assert careless.result.failed_because or careless.result.wrong_turns


@EACH_SEED
@EVERY
def test_every_decision_of_it_can_be_made_again(play: Play, name: str, seed: int) -> None:
    found = play(name, "perfect", seed).recomputed()
    assert found.ok, found.problems[:3]
    assert found.rehearsal
    assert found.decisions > 0
    assert found.not_recomputed == 0


@pytest.mark.parametrize("name", SCENARIOS if CAMPAIGN else ("rival-flip", "registry-outage", "slow-answers"))
def test_the_same_seed_gives_the_same_bytes(play: Play, tmp_path: Path, name: str) -> None:
    once, again = play(name, "perfect", 7), played(tmp_path, name, "perfect", 7)
    assert once.exported() == again.exported()
    assert once.result == again.result


@pytest.mark.parametrize("name", SCENARIOS if CAMPAIGN else ("registry-outage",))
def test_another_seed_is_another_day_with_the_same_story(play: Play, name: str) -> None:
    one, other = play(name, "perfect", 7), play(name, "perfect", 1001)
    assert one.exported() != other.exported()
    assert other.result.passed, other.why()
    assert (one.result.decision, one.result.origin) == (other.result.decision, other.result.origin)

    def moved(drill: Played) -> list[tuple[str, str]]:
        return [each for each in drill.kinds() if each[0] in ("request", "ended")]

    assert moved(one) == moved(other)


def test_slow_decides_right_and_late(play: Play) -> None:
    slow, perfect = play("conversion-regression", "slow", 7).result, play("conversion-regression", "perfect", 7).result
    assert slow.decision == "right"
    assert not slow.passed
    assert any("band" in why for why in slow.failed_because)
    assert slow.acted_s is not None
    assert perfect.acted_s is not None
    assert slow.acted_s > perfect.acted_s + 200.0
    assert slow.cost > perfect.cost, "waiting costs"


@pytest.mark.parametrize("name", SCENARIOS if CAMPAIGN else ("heals-by-itself", "two-at-once"))
def test_who_is_slow_is_not_wrong(play: Play, name: str) -> None:
    slow = play(name, "slow", 7)
    assert slow.result.decision == "right", slow.why()


def test_asleep_does_nothing_and_wakes_at_its_minute(play: Play) -> None:
    never, late = play("conversion-regression", "asleep", 7), play("conversion-regression", "asleep:15", 7)
    assert (never.result.passed, never.result.decision) == (False, "none")
    assert [kind for kind, _ in never.kinds() if kind in ("request", "note", "walk")] == []
    assert late.result.decision == "right"
    assert never.result.cost > late.result.cost > play("conversion-regression", "perfect", 7).result.cost


def test_nobody_is_there_and_the_policy_acts(play: Play) -> None:
    found = play("automatic-rollback", "automatic", 7)
    assert found.result.decision == "right", found.why()
    assert found.result.passed, found.why()
    assert [kind for kind, _ in found.kinds() if kind in ("note", "walk")] == []
    stays = play("automatic-stays", "automatic", 7)
    assert stays.result.decision == "right", stays.why()
    assert "request" not in [kind for kind, _ in stays.kinds()]
    advised = play("slow-ramp", "automatic", 7)
    assert advised.result.decision == "right", "put into the mode `act`, the practice policy acts: " + advised.why()


def test_a_rehearsal_shows_what_a_policy_lacks(play: Play, tmp_path: Path) -> None:
    """Cold caches after every release: a policy that acts moves the pointer for nothing, until it says `not_before`."""
    hasty = play("heals-by-itself", "automatic", 7)
    assert hasty.result.decision == "wrong"
    file = tmp_path / "patient.yaml"
    words = (FOLDER.parent / "policies" / "practice.yaml").read_text()
    file.write_text(words.replace("  dwell: 2m\n", "  dwell: 2m\n  not_before: 8m\n"))
    patient = played(tmp_path, "heals-by-itself", "automatic", 7, file)
    assert patient.result.passed, patient.why()
    assert "request" not in [kind for kind, _ in patient.kinds()]


def test_a_registry_that_goes_down_leaves_something_to_resume(play: Play) -> None:
    found = play("registry-outage", "perfect", 7)
    kinds = [kind for kind, _ in found.kinds()]
    assert kinds.count("request") == 1, "resumed, not asked for twice"
    assert ended(found) == ["done"]


def test_what_a_rival_moves_away_is_brought_back_again(play: Play) -> None:
    found = play("rival-flip", "perfect", 7)
    assert ended(found) == ["failed", "done"]


def test_what_a_rival_moves_away_later_is_brought_back_before_it_hurts(tmp_path: Path) -> None:
    """Ten minutes after the rollback, long confirmed: the alarm is the only sign, and nobody advises against."""
    file = tmp_path / "late.yaml"
    file.write_text((FOLDER / "rival-flip.yaml").read_text().replace("at: 4m, flip", "at: 10m, flip"))
    found = played(tmp_path, str(file), "perfect", 7)
    assert found.result.passed, found.why()
    assert ended(found)[0] == "done"
    with Journal.open_read_only(found.journal) as journal:
        asked = [body for entry in journal.entries() if isinstance(body := entry.parsed(), Requested)]
        told = [entry.parsed().model_dump()["text"] for entry in journal.entries(kinds=("note",))]
    assert [body.against for body in asked] == ["", ""]
    assert any("told the channel: v13 is bad" in text for text in told)


@pytest.mark.parametrize(
    ("known", "moves"),
    [
        ("from: -1h, conversion: -12%", [("38", "done")]),  # its own incident an hour ago is in the refusal's words
        ("from: -10m, conversion: -12%", [("39", "not confirmed"), ("38", "done")]),  # nobody could know
    ],
)
def test_where_the_version_before_does_not_help_another_is_taken(
    tmp_path: Path, known: str, moves: list[tuple[str, str]]
) -> None:
    words = (FOLDER / "bad-candidate.yaml").read_text()
    begin, end = words.index("known_bad:"), words.index('"}', words.index("known_bad:")) + 1
    file = tmp_path / "candidate.yaml"
    file.write_text((words[:begin] + known + words[end:]).replace("lasts: 40m", "lasts: 100m"))
    found = played(tmp_path, str(file), "perfect", 7)
    with Journal.open_read_only(found.journal) as journal:
        bodies = [entry.parsed() for entry in journal.entries()]
    set_to = [body.after for body in bodies if isinstance(body, PointerMoved)]
    assert list(zip(set_to, ended(found), strict=True)) == moves, found.why()
    assert found.result.recovered_s is not None


def test_a_safety_stop_goes_back_before_anything_is_read(play: Play) -> None:
    found = play("safety-stop", "perfect", 7).result
    assert found.acted_s is not None
    assert found.acted_s <= 60.0
    assert found.steps_done > 5, "the runbook is walked all the same, afterwards"


def test_of_two_the_worse_goes_first(play: Play) -> None:
    found = play("two-at-once", "perfect", 7)
    asked = [name for kind, name in found.kinds() if kind == "request"]
    assert asked == ["production/fare-display", "production/hotel-ranker"]


def ended(drill: Played) -> list[str]:
    """How the executions of a drill ended, in order."""
    with Journal.open_read_only(drill.journal) as journal:
        bodies = [entry.parsed() for entry in journal.entries()]
    return [body.state for body in bodies if isinstance(body, ExecutionEnded)]
