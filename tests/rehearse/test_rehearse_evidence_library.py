"""The evidence library: a file that is a function of seeds and versions, what is stale in it, and what advice says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from drill_results import result_with
from rollback_console.cli.drill_library import again, as_kept, checker, from_kept, library_path
from rollback_console.cli.main import run
from rollback_console.cli.rehearsal import HEADLESS_START, rehearsal
from rollback_console.clock import VirtualClock
from rollback_console.decide.version import ENGINE
from rollback_console.engine.drilled import Records, with_record, words
from rollback_console.errors import ConsoleError, UsageError
from rollback_console.journal.kinds import IncidentRecorded
from rollback_console.journal.store import Journal
from rollback_console.model.identity import DeploymentId
from rollback_console.model.incident import AttributionKind, PathRecord, Recommendation
from rollback_console.model.snapshot import Snapshot
from rollback_console.rehearse.demo import demo_setup
from rollback_console.rehearse.headless import Origins
from rollback_console.rehearse.library import (
    Drilled,
    Library,
    Now,
    Result,
    load,
    record,
    result_of,
    save,
    stale,
    written,
)
from rollback_console.rehearse.montecarlo import held, run_of

CHECKOUT = DeploymentId("production", "checkout-ranker")
RELEASE = AttributionKind.RELEASE


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("ROLLBACK_CONSOLE_CONFIG", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def result_from(count: int = 15, failing: int = 1, **more: Any) -> Result:
    """Drills of which the last `failing` did not recover."""
    drills = []
    for seed in range(count):
        recovered = None if seed >= count - failing else 200.0 + 10 * seed
        drills.append(result_with(seed=seed, recovered_s=recovered, passed=recovered is not None, **more))
    return result_of("", "", [(drill, run_of(drill)) for drill in drills])


# -- what is kept -----------------------------------------------------------------------------------------------------


def test_a_path_held_where_nothing_else_was_touched_and_what_had_to_recovered() -> None:
    assert held(result_with())
    assert held(result_with(passed=False)), "too slow for the drill's bands: the path mended it all the same"
    assert not held(result_with(recovered_s=None))
    assert not held(result_with(decision="wrong"))
    assert held(result_with(path="", recovered_s=None)), "nothing was to be rolled back, and nothing was"
    assert not held(result_with(path="", decision="none", recovered_s=None))


def test_a_library_is_written_and_read_and_the_same_library_is_the_same_bytes(tmp_path: Path) -> None:
    one, other = result_from(), result_from(4, 0, scenario="upstream-fault", klass="upstream")
    library = Library().with_results([other, one])
    save(library, tmp_path / "below" / "evidence.json")
    text = (tmp_path / "below" / "evidence.json").read_text()
    assert load(tmp_path / "below" / "evidence.json") == library
    assert text == written(Library().with_results([one]).with_results([other]))
    assert json.loads(text)["schema"] == "rollback-console/evidence/v1"
    assert sum(line.startswith("    [") for line in text.splitlines()) == 19, "a drill is a line"
    assert list((tmp_path / "below").iterdir()) == [tmp_path / "below" / "evidence.json"]


def test_a_newer_result_takes_the_place_of_the_one_before() -> None:
    library = Library().with_results([result_from()]).with_results([result_from(3, 0, policy="q" * 64)])
    (only,) = library.results
    assert (len(only.runs), only.policy_digest) == (3, "q" * 64)
    two = library.with_results([replace(result_from(), operator="careless")])
    assert len(two.results) == 2


def broken() -> Iterator[tuple[str, str]]:
    good = json.loads(written(Library((result_from(2, 0),))))
    first = good["results"][0]
    yield "{not json", ":1: the evidence library is not JSON"
    yield '{\n"schema": "x",\n}', ":3: the evidence library is not JSON"
    yield "[]", "is not an evidence library"
    yield (
        json.dumps(good | {"schema": "rollback-console/evidence/v2"}),
        "this program reads rollback-console/evidence/v1",
    )
    yield json.dumps(good | {"results": 3}), "has no list `results`"
    yield json.dumps(good | {"results": [3]}), "results[0] is not an object"
    yield json.dumps(good | {"results": [first | {"engine": None}]}), "results[0].engine is not a text"
    yield json.dumps(good | {"results": [first | {"columns": ["seed"]}]}), "results[0].columns are not"
    yield json.dumps(good | {"results": [first | {"drills": [[1]]}]}), "results[0].drills[0] is not a row of 7"
    row = [1, "release", "version", True, True, "soon", 1.0]
    yield json.dumps(good | {"results": [first | {"drills": [row]}]}), "results[0].drills[0] is not seed"
    yield json.dumps(good | {"results": [first | {"drills": [[*row[:5], float("nan"), 1.0]]}]}), "is not JSON"
    yield "[" * 100_000, "is not JSON"


@pytest.mark.parametrize(("text", "says"), list(broken()), ids=range(12))
def test_a_file_that_is_none_is_refused_with_a_remedy(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "lib.json"
    path.write_text(text)
    with pytest.raises(UsageError) as refused:
        load(path)
    assert says in str(refused.value)
    assert "--library" in str(refused.value)
    assert Drilled(path)("p" * 64, "version", RELEASE) is None, "a console does not fall over it"


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConsoleError, match="cannot be written"):
        save(Library(), tmp_path / "file" / "lib.json")


# -- what is stale ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "engine", "says"),
    [
        (Now("d" * 64, "p" * 64), ENGINE, ""),
        (Now("d" * 64, "q" * 64), ENGINE, "the policy has changed since"),
        (Now("e" * 64, "p" * 64), ENGINE, "the scenario has changed since"),
        (Now(None, None), ENGINE, "the scenario is not there any more"),
        (Now("d" * 64, None), ENGINE, "the policy is not there any more"),
        (Now("d" * 64, "p" * 64), "999.1", "engine 999.1 played it"),
    ],
)
def test_what_has_changed_since_makes_it_stale(now: Now, engine: str, says: str) -> None:
    assert stale(replace(result_from(), engine=engine), now).startswith(says)
    assert bool(stale(replace(result_from(), engine=engine), now)) is bool(says)


def test_the_library_names_files_from_its_own_folder(tmp_path: Path) -> None:
    library = tmp_path / "repo" / "ci" / "evidence.json"
    policy = tmp_path / "repo" / "policies" / "shop.yaml"
    assert as_kept(policy, library) == "../policies/shop.yaml"
    assert from_kept("../policies/shop.yaml", library) == policy
    assert (as_kept(None, library), from_kept("", library)) == ("", None)
    command = again(replace(result_from(3), policy_file="../policies/shop.yaml"), library)
    assert command == (
        f"rollback-console rehearse --all --headless --runs 3 --refresh --seed 0 --policy {policy} --library {library}"
    )


def test_a_library_lies_beside_the_settings_or_in_the_data_folder(tmp_path: Path) -> None:
    settings = tmp_path / "team" / "settings.yaml"
    settings.parent.mkdir()
    settings.write_text("schema: rollback-console/settings/v1\n")
    assert library_path(None, settings) == tmp_path / ".local" / "share" / "rollback-console" / "evidence.json"
    (settings.parent / "evidence.json").write_text("{}")
    assert library_path(None, settings) == settings.parent / "evidence.json"
    assert library_path(Path("x.json"), settings) == Path("x.json")


def test_measured_reported_stale_and_refreshed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From the first measurement to a policy that has changed, and only that is played again."""
    own = demo_setup().policy_bytes
    (tmp_path / "mine.yaml").write_bytes(own)
    words_ = [
        "rehearse",
        "demo",
        "--headless",
        "--runs",
        "2",
        "--policy",
        "mine.yaml",
        "--library",
        "lib.json",
        "--json",
    ]
    assert run(words_) == 0
    capsys.readouterr()
    assert run(["report", "evidence", "--library", "lib.json", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    (outcome,), (result,) = said["outcomes"], said["results"]
    assert (outcome["class"], outcome["runs"], outcome["held"]) == ("release", 2, 2)
    assert (result["stale"], result["seeds"], result["policy_file"]) == (None, "7..8", "mine.yaml")
    assert said["refresh"] == []

    assert run([*words_, "--refresh"]) == 0
    said = capsys.readouterr()
    assert "nothing is stale" in said.err
    assert json.loads(said.out)["scenarios"] == []

    (tmp_path / "mine.yaml").write_bytes(own + b"# stricter\n")
    assert run(["report", "evidence", "--library", "lib.json"]) == 0
    told = capsys.readouterr().out
    assert "the policy has changed since" in told
    assert "stale, play it again: rollback-console rehearse --all --headless --runs 2 --refresh --policy " in told
    assert "4 of 4" not in told
    assert checker(Path("lib.json"))(load(Path("lib.json")).results[0]) == "the policy has changed since"
    assert run([*words_, "--refresh"]) == 0
    assert len(json.loads(capsys.readouterr().out)["scenarios"]) == 1
    assert checker(Path("lib.json"))(load(Path("lib.json")).results[0]) == ""


# -- what advice says -------------------------------------------------------------------------------------------------


def test_a_record_counts_what_was_drilled_under_that_very_policy_alone() -> None:
    results = [result_from(), result_from(5, 5, policy="q" * 64), replace(result_from(3, 3), operator="careless")]
    found = record(results, "p" * 64, "version", RELEASE)
    assert found == PathRecord("version", RELEASE, 15, 14, 0.7018, 0.9881, 270.0)
    assert words(found) == "14 of 15 drills held, 4 m median"
    assert record(results, "p" * 64, "version", AttributionKind.UPSTREAM) is None
    assert record(results, "p" * 64, "traffic", RELEASE) is None
    assert record(results, "r" * 64, "version", RELEASE) is None
    never = record([result_from(4, 4)], "p" * 64, "version", RELEASE)
    assert never is not None
    assert words(never) == "0 of 4 drills held"
    assert words(replace(never, drills=1, recover_s=75.0)) == "0 of 1 drill held, 75 s median"


def test_a_console_reads_the_file_when_it_is_asked_and_when_it_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "lib.json"
    drilled = Drilled(path)
    assert drilled("p" * 64, "version", RELEASE) is None
    save(Library((result_from(),)), path)
    first = drilled("p" * 64, "version", RELEASE)
    assert first is not None
    assert first.drills == 15
    save(Library((result_from(30),)), path)
    second = drilled("p" * 64, "version", RELEASE)
    assert second is not None
    assert second.drills == 30


def played(path: Path, records: Records | None) -> tuple[Snapshot, list[IncidentRecorded]]:
    """The demo's world until checkout-ranker fired: what the screen shows, and the incidents that were recorded."""

    async def go() -> Snapshot:
        setup = demo_setup(7, HEADLESS_START, VirtualClock(HEADLESS_START))
        clock = setup.world.clock
        assert isinstance(clock, VirtualClock)
        seat = rehearsal(setup, path, command="rehearse")
        seat.engine.roles.drilled = records
        try:
            await seat.engine.start()
            while True:
                snapshot = await seat.engine.step(clock.now())
                view = snapshot.view(CHECKOUT)
                if view is not None and view.verdict is not None and view.verdict.alarming:
                    return snapshot
                await clock.advance(setup.step_s)
        finally:
            await seat.close()

    snapshot = asyncio.run(go())
    journal = Journal.open_read_only(path)
    try:
        parsed = [entry.parsed() for entry in journal.entries()]
    finally:
        journal.close()
    return snapshot, [body for body in parsed if isinstance(body, IncidentRecorded)]


def test_advice_ends_with_what_drills_have_measured_and_the_journal_says_what_of(tmp_path: Path) -> None:
    asked: list[tuple[str, str, AttributionKind]] = []

    def records(policy: str, path: str, origin: AttributionKind) -> PathRecord | None:
        asked.append((policy, path, origin))
        return PathRecord(path, origin, 15, 14, 0.7018, 0.9881, 240.0)

    plain_snapshot, plain_bodies = played(tmp_path / "plain.db", None)
    snapshot, bodies = played(tmp_path / "drilled.db", records)
    bare = next(r for r in plain_snapshot.recommendations if r.deployment == CHECKOUT)
    said = next(r for r in snapshot.recommendations if r.deployment == CHECKOUT)
    assert bare.record is None
    assert said.sentence == f"{bare.sentence} (14 of 15 drills held, 4 m median)"
    assert {(path, origin) for _, path, origin in asked} == {("version", RELEASE)}
    assert {policy for policy, _, _ in asked} == {demo_setup().rules()[0].policy_digest}

    assert all(body.inputs == {} for body in plain_bodies), "without a library the journal is what it was"
    body = next(body for body in bodies if body.inputs)
    kept = body.inputs["drilled"][str(CHECKOUT)]
    again_ = PathRecord(**(kept | {"origin": AttributionKind(kept["origin"])}))
    recorded = next(r for r in body.recommendations if r["deployment"] == str(CHECKOUT))
    made = with_record(Recommendation(CHECKOUT, recorded["path"], recorded["to"], bare.sentence), again_)
    assert made.sentence == recorded["sentence"], "the sentence can be made again from what stands in its entry"


def test_the_origin_is_what_the_console_said_when_the_path_was_taken(tmp_path: Path) -> None:
    snapshot, _ = played(tmp_path / "plain.db", None)
    origins = Origins()
    assert origins.origin == ""
    origins.see(snapshot)
    first = next(i for i in snapshot.incidents if any(
        v.id in i.members and v.verdict is not None and v.verdict.alarming for v in snapshot.deployments
    ))  # fmt: skip
    assert origins.origin == str(first.attribution.kind)
