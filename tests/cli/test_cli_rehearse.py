"""Headless drills as a check in CI: exit codes, JUnit, many at once, the same answer from however many processes."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from docs_reading import blocks_of
from drill_results import result_with
from rollback_console.cli import drill_junit, drill_words
from rollback_console.cli.drill_jobs import Played, jobs_of
from rollback_console.cli.drill_junit import Case
from rollback_console.cli.drilling import staged
from rollback_console.cli.main import run
from rollback_console.rehearse import scenario as scenarios
from rollback_console.rehearse.montecarlo import share
from rollback_console.rehearse.scenario import find, shipped

CAMPAIGN = bool(os.environ.get("ROLLBACK_CONSOLE_CAMPAIGN"))
RUNS = 1000 if CAMPAIGN else 3
NAME = "conversion-regression"
SHIPPED = Path(scenarios.__file__).parent / "data" / "scenarios"
PROGRAM = [sys.executable, "-m", "rollback_console"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nobody's settings: an empty home, and a current folder that holds nothing."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("ROLLBACK_CONSOLE_CONFIG", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def policy_of(name: str) -> bytes:
    """The policy that a scenario is judged by, as a team might have it."""
    return staged(find(name), 7).policy_bytes


def facts(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_the_list_says_what_is_right_and_what_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rehearse", "--list", "--json"]) == 0
    listed = facts(capsys)
    assert [each["name"] for each in listed] == [each.name for each in shipped()]
    assert all(set(each) == {"name", "title", "class", "right", "needs"} for each in listed)
    assert run(["rehearse", "--list"]) == 0
    said = capsys.readouterr().out
    assert not any(each["right"] in said for each in listed), "who is about to rehearse is not told the answer"
    assert "needs: quorum" in said
    assert run(["rehearse", "--list", "--answers"]) == 0
    assert f"right: {listed[0]['right']}" in capsys.readouterr().out


# -- JUnit ------------------------------------------------------------------------------------------------------------

HOSTILE = "\x00\x1b[31m]]> <&\"' \ud800 \ufffe\n\t\r 😀"


def test_junit_holds_whatever_text_it_is_given() -> None:
    """Well-formed by a parser's judgement; what XML can write comes back as it was, what it cannot is replaced."""
    cases = [
        Case("rehearse.release", f"one {HOSTILE}", "failed", 1.5, HOSTILE, HOSTILE, HOSTILE),
        Case("rehearse.blip", "two", "skipped", message=HOSTILE),
        Case("rehearse.blip", "three", "error", message="m", text=HOSTILE),
        Case("rehearse.blip", "four", "passed", 2.0, told=HOSTILE),
    ]
    text = drill_junit.document(cases, [("policy", HOSTILE)])
    text.encode()  # no lone surrogate is left
    root = ET.fromstring(text)
    shown = HOSTILE.replace("\x00", "\ufffd").replace("\x1b", "\ufffd").replace("\ud800", "\ufffd")
    shown = shown.replace("\ufffe", "\ufffd")
    (suite,) = root
    assert root.attrib | {"name": ""} == {"name": "", "tests": "4", "failures": "1", "errors": "1", "time": "3.500"}
    assert suite.attrib["skipped"] == "1"
    one, two, three, four = suite.iter("testcase")
    assert one.attrib["name"] == f"one {shown}"
    failure = one.find("failure")
    assert failure is not None
    assert (failure.attrib["message"], failure.text) == (shown, shown)
    assert [element.tag for element in (*two, *three, *four)] == ["skipped", "error", "system-out"]


# Of Jenkins' xunit plugin (junit-10.xsd): which elements a reader takes where, and which attributes they must bear.
_CHILDREN = {
    "testsuites": {"testsuite"},
    "testsuite": {"testsuite", "properties", "testcase", "system-out", "system-err"},
    "properties": {"property"},
    "testcase": {"skipped", "error", "failure", "system-out", "system-err"},
}
_REQUIRED = {
    "testsuite": {"name", "tests", "failures", "errors"},
    "testcase": {"name", "classname"},  # GitLab tells cases apart by both
    "property": {"name", "value"},
}
_ALLOWED = {
    "testsuites": {"name", "time", "tests", "failures", "errors"},
    "testsuite": {"name", "tests", "failures", "errors", "time", "skipped"},
    "testcase": {"name", "classname", "time"},
    "failure": {"type", "message"},
    "error": {"type", "message"},
    "skipped": {"type", "message"},
    "property": {"name", "value"},
}


def valid(text: str) -> ET.Element:
    root = ET.fromstring(text)
    assert root.tag == "testsuites"
    for element in root.iter():
        assert {child.tag for child in element} <= _CHILDREN.get(element.tag, set())
        assert _REQUIRED.get(element.tag, set()) <= set(element.attrib) <= _ALLOWED.get(element.tag, set())
    cases = list(root.iter("testcase"))
    assert len({(case.attrib["classname"], case.attrib["name"]) for case in cases}) == len(cases)
    suite = root[0]
    for tag, count in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        assert suite.attrib[count] == str(len(list(suite.iter(tag))))
    assert suite.attrib["tests"] == str(len(cases))
    return root


def test_a_failed_drill_says_why_and_where_its_journal_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["rehearse", "tracking-loss", "--headless", "--operator", "careless", "--junit", "out/drills.xml"]
    assert run([*words, "--keep-failed", "kept", "--json"]) == 1
    (drill,) = facts(capsys)["drills"]
    assert drill["passed"] is False
    assert run(["journal", "verify", drill["journal"], "--decisions", "--json"]) == 0
    assert facts(capsys)["rehearsal"] is True
    root = valid((tmp_path / "out" / "drills.xml").read_text())
    failure = next(root.iter("failure"))
    assert "rolled back production/" in failure.attrib["message"]
    assert failure.text is not None
    assert drill["journal"] in failure.text


def test_a_drill_that_passed_leaves_no_journal_and_a_policy_is_put_in_place_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = policy_of(NAME)
    (tmp_path / "mine.yaml").write_bytes(own + b"\n# mine\n")
    words = ["rehearse", NAME, "--headless", "--junit", "drills.xml", "--keep-failed", "kept", "--json"]
    assert run([*words, "--policy", "mine.yaml"]) == 0
    (drill,) = facts(capsys)["drills"]
    assert drill["journal"] is None
    assert list((tmp_path / "kept").iterdir()) == []
    assert drill["policy"] == hashlib.sha256(own + b"\n# mine\n").hexdigest()
    assert next(valid((tmp_path / "drills.xml").read_text()).iter("testcase")).find("failure") is None


def test_a_policy_of_other_deployments_cannot_be_rehearsed_on_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = policy_of("demo").decode()
    (tmp_path / "other.yaml").write_text(text.replace("checkout-ranker", "another-ranker"))
    assert run(["rehearse", "demo", "--headless", "--policy", "other.yaml"]) == 2
    assert "other.yaml says nothing of production/checkout-ranker" in capsys.readouterr().err
    (tmp_path / "bad.yaml").write_text("schema: rollback-console/policy/v1\nnam: x\n")
    assert run(["rehearse", "demo", "--headless", "--policy", "bad.yaml"]) == 2
    assert "bad.yaml:2:1: nam" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--all"], "--all goes with a drill that nobody watches: add --headless"),
        (["--runs", "3"], "--runs goes with a drill that nobody watches"),
        (["--headless", "--runs", "0"], "--runs"),
        (["--headless", "--all", "--journal", "x.db"], "--journal names one drill's journal"),
        (["--headless", "--refresh"], "--refresh goes with --runs N"),
        (["--headless", "--library", "x.json"], "--library goes with --runs N"),
        (["--headless", "--all", "--operator", "nobody"], "there is no headless operator"),
        (["empty", "--headless"], "empty holds no *.yaml"),
        (["--headless", "--real", "--runs", "2"], "--runs does not go with --real"),
        (["--headless", "--real", "--all"], "--all does not go with --real"),
        (["--headless", "--real", "--speed", "3"], "--speed does not go with --real"),
        (["--headless", "--junit", "bad.json/x.xml"], "name another place for --junit"),
        (["--headless", "--all", "--keep-failed", "bad.json/x"], "name another place for --keep-failed"),
        (["--headless", "--runs", "2", "--library", "bad.json"], "bad.json:1: the evidence library is not JSON"),
    ],
)
def test_what_does_not_go_together_is_said(
    words: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.json").write_text("{not json")
    assert run(["rehearse", *words]) == 2
    assert says in capsys.readouterr().err


# -- many -------------------------------------------------------------------------------------------------------------


def test_two_processes_say_what_one_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Run for run, the libraries byte for byte; of a thousand runs (a campaign's) one process plays the first ten."""
    told, kept = [], []
    last = 10 + min(RUNS, 10)
    for jobs, runs in (("1", min(RUNS, 10)), ("2", min(RUNS, 10)), ("2", RUNS)):
        words = ["rehearse", NAME, "--headless", "--runs", str(runs), "--seed", "11", "--json", "--jobs", jobs]
        assert run([*words, "--at-least", "99", "--library", "lib.json", "--junit", "drills.xml"]) == 0
        told.append(facts(capsys))
        kept.append((tmp_path / "lib.json").read_bytes())
        if RUNS <= 10 and jobs == "2":
            break
    assert told[0] == told[1]
    assert kept[0] == kept[1]
    assert told[-1]["scenarios"][0]["drills"][: min(RUNS, 10)] == told[0]["scenarios"][0]["drills"]
    (scenario,) = told[0]["scenarios"]
    assert (scenario["seeds"], scenario["runs"]) == (f"11..{last}", min(RUNS, 10))
    assert [drill["seed"] for drill in scenario["drills"]] == list(range(11, last + 1))
    (outcome,) = told[-1]["outcomes"]
    assert outcome["class"] == "release"
    assert outcome["held"] >= 0.99 * RUNS
    if not CAMPAIGN:
        assert outcome["recover_median_s"]["low"] is None, "three runs bound no median"
    (case,) = valid((tmp_path / "drills.xml").read_text()).iter("testcase")
    assert case.attrib["name"] == f"{NAME} by perfect, seeds 11..{10 + RUNS}"


def test_jobs_are_no_more_than_drills() -> None:
    assert jobs_of(8, 3) == 3
    assert jobs_of(None, 1) == 1
    assert jobs_of(2, 100) == 2


def started(folder: Path) -> tuple[subprocess.Popen[bytes], list[int]]:
    """Two hundred runs under way in two processes of a program of its own."""
    words = [*PROGRAM, "rehearse", "demo", "--headless", "--runs", "200", "--jobs", "2", "--library", "lib.json"]
    process = subprocess.Popen(
        words, cwd=folder, env={**os.environ, "HOME": str(folder)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    return process, eventually(lambda: children_of(process.pid), 60.0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "a server that gives up"])
def test_who_is_asked_to_end_ends_all_children_at_once(tmp_path: Path, number: signal.Signals) -> None:
    process, children = started(tmp_path)
    try:
        assert len(children) == 2
        os.killpg(process.pid, number) if number is signal.SIGINT else process.send_signal(number)
        out, err = process.communicate(timeout=20)
        assert process.returncode == 130, err.decode()
        assert b"Traceback" not in err
        assert eventually(lambda: [True] if all(gone(child) for child in children) else [], 10.0)
    finally:
        if process.poll() is None:
            process.kill()
    assert not (tmp_path / "lib.json").exists()
    assert out == b""
    for place in (Path("/dev/shm"), Path(tempfile.gettempdir())):
        assert not list(place.glob(f"rollback-console-drills-{process.pid}-*"))


def test_a_process_that_dies_is_said_and_ends_the_others(tmp_path: Path) -> None:
    process, children = started(tmp_path)
    try:
        assert len(children) == 2
        os.kill(children[0], signal.SIGKILL)
        _, err = process.communicate(timeout=20)
        assert process.returncode == 1
        assert err.decode().endswith(
            "error: a process of the rehearsal has ended: is there memory enough? give --jobs 1\n"
        )
        assert eventually(lambda: [True] if gone(children[1]) else [], 10.0)
    finally:
        if process.poll() is None:
            process.kill()


def children_of(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(word) for word in found.read_text().split()] if found.exists() else []


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def eventually(look: Any, within_s: float) -> list[Any]:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        found: list[Any] = look()
        if len(found) >= (2 if found and isinstance(found[0], int) and found[0] > 1 else 1):
            return found
        time.sleep(0.05)  # another process's doing
    return []


def test_why_runs_failed_is_counted_without_its_numbers() -> None:
    played = tuple(
        Played(k, result_with(seed=k, passed=False, failed_because=(f"recovered after {k} s; the band ends at 9 s",)))
        for k in range(3)
    )
    many = drill_words.Many("demo", "release", "perfect", "0..2", share(0, 3), (), played)
    assert many.reasons == (("recovered", 3, 0),)


def test_a_folder_of_scenarios_and_what_is_left_out_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A team's own scenarios under its own policy: what the policy says nothing of, and what needs what is not there
    yet, is not played, and said."""
    (tmp_path / "ours").mkdir()
    for name in (NAME, "latency-regression", "traffic-shift"):
        (tmp_path / "ours" / f"{name}.yaml").write_bytes((SHIPPED / f"{name}.yaml").read_bytes())
    (tmp_path / "ours" / "notes.txt").write_text("no scenario")
    (tmp_path / "team.yaml").write_bytes(policy_of(NAME))
    words = ["rehearse", "ours", "--headless", "--policy", "team.yaml", "--junit", "drills.xml", "--json"]
    assert run(words) == 0
    said = facts(capsys)
    assert [each["scenario"] for each in said["drills"]] == [NAME]
    assert {each["scenario"] for each in said["skipped"]} == {"latency-regression", "traffic-shift"}
    skipped = list(valid((tmp_path / "drills.xml").read_text()).iter("skipped"))
    assert len(skipped) == 2
    assert any("needs paths" in each.attrib["message"] for each in skipped)
    assert any("says nothing of" in each.attrib["message"] or "team.yaml" in each.attrib["message"] for each in skipped)

    (tmp_path / "ours" / f"{NAME}.yaml").unlink()
    assert run(words) == 2
    assert "there is nothing to rehearse" in capsys.readouterr().err
    (tmp_path / "ours" / "bad.yaml").write_text("schema: rollback-console/scenario/v1\nnme: x\n")
    assert run(words) == 2
    assert "ours/bad.yaml:" in capsys.readouterr().err


def test_so_many_are_to_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "rehearse",
        "tracking-loss",
        "--headless",
        "--operator",
        "careless",
        "--runs",
        "2",
        "--library",
        "lib.json",
    ]
    words += ["--junit", "drills.xml", "--keep-failed", "kept"]
    assert run(words) == 1
    told = capsys.readouterr().out
    assert "2 journals of failed drills: kept" in told
    assert len(list((tmp_path / "kept").glob("tracking-loss-careless-*.db"))) == 2
    failure = next(valid((tmp_path / "drills.xml").read_text()).iter("failure"))
    assert "100 % were asked for" in failure.attrib["message"]
    assert run([*words, "--at-least", "0"]) == 0
    assert next(valid((tmp_path / "drills.xml").read_text()).iter("testcase")).find("failure") is None


def test_the_document_is_run_as_it_stands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every command of docs/evidence-library.md on a folder such as it describes; two seeds for two hundred."""
    (tmp_path / "ci" / "scenarios").mkdir(parents=True)
    (tmp_path / "policies").mkdir()
    (tmp_path / "ci" / "scenarios" / "ours.yaml").write_bytes((SHIPPED / f"{NAME}.yaml").read_bytes())
    (tmp_path / "policies" / "shop.yaml").write_bytes(policy_of(NAME))
    commands = [each for block in blocks_of("docs/evidence-library.md") for each in block.commands]
    assert len(commands) == 4
    said = []
    for line in commands:
        assert run(line.replace("--runs 200", "--runs 2").split()[1:]) == 0, line
        said.append(capsys.readouterr())
    valid((tmp_path / "drills.xml").read_text())
    assert "2 of 2" in said[1].out
    assert "evidence library: ci/evidence.json" in said[1].out
    assert "current" in said[2].out
    assert "nothing is stale" in said[3].err
