"""`backtest` as people and scripts use it: the contract's JSON, the tables, exit codes, a real Prometheus, Ctrl-C."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from docs_reading import ROOT, blocks_of
from rollback_console.cli.main import run
from rollback_console.model.times import written
from servers.prometheus import Prometheus, make_openmetrics

T = 1_763_640_000  # 2025-11-20T12:00:00Z
PROGRAM = [sys.executable, "-m", "rollback_console"]
POLICY = """\
schema: rollback-console/policy/v1
name: ranking
version: 1
deployments:
  - {name: ranker, environment: production, model: {name: ranker, alias: champion}}
  - {name: search, environment: production, model: {name: search, alias: champion}}
signals:
  conversion:
    area: business
    worse: lower
    x: sum by (deployment) (orders)
    n: sum by (deployment) (visits)
    window: 1m
    breach: {degraded_by: 10%, baseline: {kind: fixed, value: 4%}}
  errors: {worse: higher, value: max by (deployment) (errors), window: 1m, breach: {above: 2%}}
trigger: {when: conversion or errors, dwell: 2m, hold: 1m, cool_down: 10m}
impact: {revenue_per_minute: {value: max by (deployment) (revenue), unit: EUR}}
"""
ERRORS = re.sub(r"  conversion:\n(    .*\n)+", "", POLICY).replace("conversion or errors", "errors")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nobody's settings, and a current folder with the policy in it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("ROLLBACK_CONSOLE_CONFIG", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "policy.yaml").write_text(POLICY)
    (tmp_path / "errors.yaml").write_text(ERRORS)
    return tmp_path


def rows(errors: Sequence[float | str], deployment: str = "ranker", *, every: int = 60) -> str:
    """A file in which one deployment's errors take these values, a minute apart."""
    lines = [f"{T + every * k},{deployment},errors,{value}" for k, value in enumerate(errors)]
    return "time,deployment,signal,value\n" + "\n".join(lines) + "\n"


BAD = [0.01, 0.01, 0.05, 0.05, 0.05, 0.05, 0.01, "", 0.01, 0.01]


def lines_of(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> list[dict[str, Any]]:
    """A run's JSON Lines; stderr says nothing but what the file lacks."""
    assert run(["backtest", "policy.yaml", *words]) == code
    said = capsys.readouterr()
    assert all(line.startswith("s.csv has no rows of ") for line in said.err.splitlines()), said.err
    return [json.loads(line) for line in said.out.splitlines()]


# -- JSON -------------------------------------------------------------------------------------------------------------


def test_transitions_and_a_summary_by_the_names_of_the_contract(capsys: pytest.CaptureFixture[str]) -> None:
    Path("s.csv").write_text(rows(BAD))
    *turns, summary = lines_of(capsys, "--samples", "s.csv", "--json")
    for turn in turns:
        assert list(turn) == ["at", "deployment", "trigger", "from", "to", "reason", "signals"]
        assert turn["trigger"] == "conversion or errors"
        for each in turn["signals"]:
            assert {"name", "value", "degradation_pct", "evidence", "breached", "blind"} <= each.keys()
    told = [(t["at"], t["from"], t["to"]) for t in turns if t["deployment"] == "production/ranker"]
    assert told == [
        ("2025-11-20T12:00:00Z", None, "blind"),
        ("2025-11-20T12:02:00Z", "blind", "pending"),
        ("2025-11-20T12:04:00Z", "pending", "fired"),
    ], "conversion is not in the file: what fired stays, for nothing says that it is over"
    assert turns[-1]["signals"][1] == {
        "name": "errors", "value": 0.05, "baseline": None, "degradation_pct": None, "evidence": None, "breached": True,
        "blind": None,
    }  # fmt: skip
    assert turns[-1]["signals"][0]["blind"] == "no data"
    assert summary["summary"] is True
    assert (summary["start"], summary["end"]) == ("2025-11-20T12:00:00Z", "2025-11-20T12:09:00Z")
    assert (summary["evaluations"], summary["deployments"]) == (10, 1)
    assert (summary["fires"], summary["minutes_fired"]) == (1, 5.0)
    assert summary["rollbacks_per_30d"] == pytest.approx(30 * 24 * 60 / 9, abs=1e-3)


def test_golden(capsys: pytest.CaptureFixture[str]) -> None:
    """Byte for byte, so that a change of the format is a decision."""
    Path("policy.yaml").write_text(POLICY.replace("conversion or errors", "errors"))
    Path("s.csv").write_text(rows([0.01, 0.05, 0.05, 0.05, 0.01, 0.01]))
    assert run(["backtest", "policy.yaml", "--samples", "s.csv", "--json"]) == 0
    ranker = capsys.readouterr().out.splitlines()
    head = '{"at":"2025-11-20T12:0%d:00Z","deployment":"production/ranker","trigger":"errors","from":"%s","to":"%s",'
    signals = (
        '"signals":[{"name":"conversion","value":null,"baseline":0.04,"degradation_pct":null,"evidence":null,'
        '"breached":null,"blind":"no data"},{"name":"errors","value":%s,"baseline":null,"degradation_pct":null,'
        '"evidence":null,"breached":%s,"blind":null}]}'
    )
    reasons = [json.loads(line)["reason"] for line in ranker[:-1]]
    assert "errors 5 % is above 2 %" in reasons[0]
    want = [
        (1, "healthy", "pending", "0.05", "true"),
        (3, "pending", "fired", "0.05", "true"),
        (4, "fired", "clearing", "0.01", "false"),
        (5, "clearing", "healthy", "0.01", "false"),
    ]
    assert ranker[:-1] == [
        head % (minute, before, after) + f'"reason":{json.dumps(reason)},' + signals % (value, breached)
        for (minute, before, after, value, breached), reason in zip(want, reasons, strict=True)
    ]
    assert ranker[-1] == (
        '{"summary":true,"start":"2025-11-20T12:00:00Z","end":"2025-11-20T12:05:00Z","evaluations":6,"deployments":1,'
        '"fires":1,"minutes_fired":2.0,"rollbacks_per_30d":8640.0,"fired_as_blind":0,"by_deployment":['
        '{"deployment":"production/ranker","fires":1,"minutes_fired":2.0,"rollbacks_per_30d":8640.0,'
        '"fired_as_blind":0}]}'
    )


def test_every_evaluation_with_trace(capsys: pytest.CaptureFixture[str]) -> None:
    Path("policy.yaml").write_text(POLICY.replace("conversion or errors", "errors"))
    Path("s.csv").write_text(rows(BAD))
    found = lines_of(capsys, "--samples", "s.csv", "--json", "--trace")
    trace = [line for line in found if "state" in line]
    assert len(trace) == 10
    assert all(list(line) == ["at", "deployment", "state", "dwell_remaining_s", "signals"] for line in trace)
    ranker = [line for line in trace if line["deployment"] == "production/ranker"]
    assert [line["state"] for line in ranker] == [
        "healthy", "healthy", "pending", "pending", "fired", "fired", "clearing", "clearing", "clearing", "healthy",
    ]  # fmt: skip
    assert [line["dwell_remaining_s"] for line in ranker[1:5]] == [None, 120.0, 60.0, None]
    assert ranker[7]["signals"][1]["blind"] == "no data"
    turns = [line for line in found if "from" in line]
    assert turns == [line for line in lines_of(capsys, "--samples", "s.csv", "--json") if "from" in line]
    assert lines_of(capsys, "--samples", "s.csv", "--trace") == found, "--trace is JSON by itself"


def test_steps_of_our_own_and_a_part_of_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    Path("s.csv").write_text(rows([0.01] * 40, every=15).replace(f"{T + 15},", f"{T + 16.5},"))

    def seen(*words: str) -> list[str]:
        found = lines_of(capsys, "--samples", "s.csv", "--trace", *words)
        return [line["at"][11:] for line in found if line.get("deployment") == "production/ranker" and "state" in line]

    assert seen()[:3] == ["12:00:00Z", "12:00:16.500Z", "12:00:30Z"]
    assert seen("--step", "1m") == [f"12:{m:02}:00Z" for m in range(11)]
    assert seen("--from", "2025-11-20T12:05:00Z", "--to", f"{T + 330}") == ["12:05:00Z", "12:05:15Z", "12:05:30Z"]
    assert seen("--from", "2025-11-20T12:05:01Z", "--step", "2m", "--to", f"{T + 480}") == ["12:06:00Z", "12:08:00Z"]


# -- for a person -----------------------------------------------------------------------------------------------------

CONVERSION = "time,deployment,signal,value,x,n\n"


def incident_file(path: Path) -> None:
    """Ten hours of two deployments: two real incidents of the ranker, four minutes of noise of search."""
    lines = [CONVERSION]
    for k in range(600):
        real = 100 <= k < 130 or 400 <= k < 460
        lines.append(f"{T + 60 * k},ranker,conversion,,{20 if real else 40},1000\n")
        lines.append(f"{T + 60 * k},search,conversion,,{30 if 200 <= k < 204 or 300 <= k < 304 else 40},1000\n")
        lines += [f"{T + 60 * k},{name},errors,0.001,,\n" for name in ("ranker", "search")]
        lines.append(f"{T + 60 * k},ranker,revenue_per_minute,100,,\n")
    path.write_text("".join(lines))


MARKED = f"deployment,from,to\nranker,{T + 6000},{T + 7800}\nproduction/ranker,{T + 24000},{T + 27600}\n"


def test_a_table_of_what_fired(capsys: pytest.CaptureFixture[str]) -> None:
    incident_file(Path("s.csv"))
    assert run(["backtest", "policy.yaml", "--samples", "s.csv"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    out = said.out.splitlines()
    assert re.split(r"  +", out[0]) == ["fired at", "deployment", "for", "why"]
    assert [re.split(r"  +", line)[:3] for line in out[1:5]] == [
        ["2025-11-20T13:42:00Z", "production/ranker", "29:00"],
        ["2025-11-20T15:22:00Z", "production/search", "3:00"],
        ["2025-11-20T17:02:00Z", "production/search", "3:00"],
        ["2025-11-20T18:42:00Z", "production/ranker", "59:00"],
    ]
    assert "conversion 2 % is 50.0 % below" in out[1]
    assert out[6] == "4 fires, 94 minutes fired, 288 would-be rollbacks per 30 days"
    assert out[7] == "2 deployments, 600 evaluations, 2025-11-20T12:00:00Z to 2025-11-20T21:59:00Z"
    assert len(out) == 8


SWEEP = ("--samples", "s.csv", "--sweep", "dwell=1m,2m,5m,20m,90m", "--incidents", "incidents.csv")


def test_a_sweep_is_a_table_and_a_recommendation(capsys: pytest.CaptureFixture[str]) -> None:
    incident_file(Path("s.csv"))
    Path("incidents.csv").write_text(MARKED)
    assert run(["backtest", "policy.yaml", *SWEEP, "--rollback-cost", "400"]) == 0
    out = capsys.readouterr().out.splitlines()
    start = next(number for number, line in enumerate(out) if line.startswith("setting"))
    table = [re.split(r"  +", line) for line in out[start : start + 6]]
    assert table == [
        ["setting", "fires", "false", "missed", "median delay", "rollbacks/30d", "waiting, EUR",
         "false rollbacks, EUR"],
        ["dwell=1m", "4", "2", "0", "1:00", "288", "200", "800"],
        ["dwell=2m (as written)", "4", "2", "0", "2:00", "288", "400", "800"],
        ["dwell=5m", "2", "0", "0", "5:00", "144", "1,000", "0"],
        ["dwell=20m", "2", "0", "0", "20:00", "144", "4,000", "0"],
        ["dwell=90m", "0", "0", "2", "–", "0", "9,000", "0"],
    ]  # fmt: skip
    assert out[-1] == (
        "take dwell=1m: waiting costs 200 EUR and false rollbacks 800 EUR, together the least; it catches 2 of "
        "2 incidents (as written: 1,200 EUR)"
    )
    assert run(["backtest", "policy.yaml", *SWEEP]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        "take dwell=5m: catches 2 of 2 incidents, half of them within 5m, with 0 false fires; none within the budget's "
        "0 in this time does better"
    )


def test_a_sweep_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    incident_file(Path("s.csv"))
    Path("incidents.csv").write_text(MARKED)
    found = lines_of(capsys, *SWEEP, "--rollback-cost", "400", "--json")
    settings = [line for line in found if "setting" in line]
    assert [line["setting"] for line in settings] == [{"dwell": d} for d in ("1m", "2m", "5m", "20m", "90m")]
    assert settings[1] == {
        "setting": {"dwell": "2m"}, "as_written": True, "fires": 4, "false": 2, "missed": 0, "median_delay_s": 120.0,
        "minutes_fired": 94.0, "rollbacks_per_30d": 288.481, "cost_of_waiting": 400.0, "cost_of_false_rollbacks": 800.0,
    }  # fmt: skip
    assert found[-1]["recommended"]["setting"] == {"dwell": "1m"}
    turns = [line for line in found if "from" in line]
    assert turns == [line for line in lines_of(capsys, "--samples", "s.csv", "--json") if "from" in line]


def test_each_setting_of_a_sweep_is_what_the_policy_alone_would_be(capsys: pytest.CaptureFixture[str]) -> None:
    incident_file(Path("s.csv"))
    swept = [line for line in lines_of(capsys, "--samples", "s.csv", "--sweep", "dwell=1m,3m", "--json",
                                       "--sweep", "margin=10%,60%") if "setting" in line]  # fmt: skip
    assert len(swept) == 5
    for line in swept[1:]:
        text = POLICY.replace("dwell: 2m", f"dwell: {line['setting']['dwell']}")
        Path("policy.yaml").write_text(text.replace("degraded_by: 10%", f"degraded_by: {line['setting']['margin']}"))
        alone = lines_of(capsys, "--samples", "s.csv", "--json")[-1]
        assert {key: line[key] for key in ("fires", "minutes_fired", "rollbacks_per_30d")} == {
            key: alone[key] for key in ("fires", "minutes_fired", "rollbacks_per_30d")
        }


EVIDENCE = POLICY.replace(
    "breach: {degraded_by: 10%, baseline: {kind: fixed, value: 4%}}",
    "baseline: {kind: fixed, value: 4%}\n    sufficient_alone: true",
).replace("when: conversion or errors, dwell: 2m, ", "")


def test_evidence_is_told_swept_and_what_it_can_see(capsys: pytest.CaptureFixture[str]) -> None:
    incident_file(Path("s.csv"))
    Path("incidents.csv").write_text(MARKED)
    Path("policy.yaml").write_text(EVIDENCE)
    found = lines_of(capsys, "--samples", "s.csv", "--json", "--incidents", "incidents.csv", "--sweep", "budget=1d,90d",
                     "--sweep", "dwell=2m,20m", "--sweep", "margin=2%,60%")  # fmt: skip
    fired = [line for line in found if line.get("to") == "fired"]
    assert fired
    conversion = fired[0]["signals"][0]
    assert conversion["evidence"] > 11.0
    assert conversion["breached"]
    told = {(each["deployment"], each["signal"]): each for each in found[-1]["detectability"]}
    seen = told["production/ranker", "conversion"]
    assert (seen["trials_per_window"], seen["baseline"]) == (1000.0, 0.04)
    assert [each["change_pct"] for each in seen["detects"]] == [-30.0, -10.0, -5.0, -3.0]
    waits = [each["after_s"] or 1e9 for each in seen["detects"]]
    assert waits == sorted(waits)
    scores = {tuple(line["setting"].values()): line for line in found if "setting" in line}
    assert all(line["fires"] == 0 for key, line in scores.items() if "60%" in key), "nothing falls so far"
    assert all(line["missed"] == 0 for key, line in scores.items() if "2%" in key)
    for budget in ("1d", "90d"):
        quick, slow = (scores[budget, dwell, "2%"]["median_delay_s"] for dwell in ("2m", "20m"))
        assert quick < slow
        assert slow >= 1200.0, "no burst shorter than the dwell fires"
    assert run(["backtest", "policy.yaml", "--samples", "s.csv"]) == 0
    assert "production/ranker conversion: sees -30 % in " in capsys.readouterr().out


# -- what is wrong ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ([], 2, "no settings: "),
        (["--samples", "none.csv"], 2, "none.csv:1:1: cannot be read: No such file or directory"),
        (["--samples", "bad.csv"], 2, "bad.csv:2:1: time: 'soon' is not a time"),
        (["--samples", "s.csv", "--step", "0"], 2, "error: --step '0' is not a time between evaluations: give 15s, 1m"),
        (["--samples", "s.csv", "--step", "often"], 2, "error: --step 'often' is not a time between evaluations"),
        (["--samples", "s.csv", "--from", "noon"], 2, "error: --from 'noon' is not a time: give 2026-11-20T09:00:00Z"),
        (["--samples", "s.csv", "--from", "1d"], 2, "s.csv has no rows in that time: look at --from, --to and --step"),
        (["--samples", "odd.csv", "evidence"], 2, "error: conversion is judged once every 1m, at whole multiples of "
         "it, and no evaluation is at one: give --step 1m"),
        (["--samples", "s.csv", "--sweep", "hold=1m"], 2, "what is swept is dwell, margin, budget or SIGNAL.margin"),
        (["--samples", "s.csv", "--sweep", "dwell=1x"], 2, "error: --sweep dwell: '1x' is not a duration"),
        (["--samples", "s.csv", "--incidents", "bad.yaml"], 2, "bad.yaml:1:1: incidents: is missing"),
        (["--samples", "s.csv", "--rollback-cost", "-1"], 2, "--rollback-cost"),
        (["--config", "settings.yaml"], 2, "error: a backtest needs its beginning: give --from 28d, or --samples FILE"),
        (["--config", "settings.yaml", "--from", "2030-01-01"], 2, "there is no evaluation between --from and --to"),
        (["--config", "settings.yaml", "--from", "1h"], 3, "error: the backtest came to "),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_code(
    words: list[str], code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("s.csv").write_text(rows(BAD))
    Path("bad.csv").write_text(rows(BAD).replace(f"{T},", "soon,"))
    Path("bad.yaml").write_text("x: 1\n")
    Path("odd.csv").write_text(CONVERSION + f"{T + 7},ranker,conversion,,3,100\n{T + 67},ranker,conversion,,3,100\n")
    if words[-1:] == ["evidence"]:
        words = words[:-1]
        Path("policy.yaml").write_text(EVIDENCE)
    Path("settings.yaml").write_text(
        "schema: rollback-console/settings/v1\nprometheus: {url: 'http://127.0.0.1:9', timeout: 1s}\n"
        "policies: [policy.yaml]\n"
    )
    assert run(["backtest", "policy.yaml", *words]) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert says in said.err
    assert "Traceback" not in said.err


def test_what_is_not_read_or_does_not_count_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    Path("s.csv").write_text("note," + rows(BAD).strip().replace("\n", "\n,"))
    Path("incidents.csv").write_text(MARKED + f"search,{T},{T + 60}\n")
    assert run(["backtest", "policy.yaml", "--samples", "s.csv", "--incidents", "incidents.csv"]) == 0
    assert capsys.readouterr().err.splitlines() == [
        "s.csv: the column 'note' is not read",
        "s.csv has no rows of production/search: left out",
        "s.csv has no rows of conversion: no data throughout",
        "3 of the marked incidents lie outside the backtest and do not count",
    ]


# -- a terminal, and Ctrl-C -------------------------------------------------------------------------------------------


def _environ(home: Path) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("ROLLBACK_", "XDG_"))}
    return clean | {"HOME": str(home), "TERM": "xterm-256color", "COLUMNS": "100"}


def _long(path: Path, minutes: int) -> None:
    with path.open("w") as handle:
        handle.write("time,deployment,signal,value\n")
        for k in range(minutes):
            handle.write(f"{T + 60 * k},ranker,errors,0.01\n{T + 60 * k},search,errors,0.01\n")


def test_ctrl_c_ends_it_with_130(home: Path) -> None:
    _long(home / "s.csv", 20_000)
    process = subprocess.Popen(
        [*PROGRAM, "backtest", "errors.yaml", "--samples", "s.csv", "--trace"], cwd=home, env=_environ(home),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline().startswith(b'{"at":')  # in the midst of it
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert err.strip() == b""
    assert b"summary" not in out


@pytest.mark.parametrize("begun", [b"reading s.csv", b"backtest  ["])
def test_ctrl_c_on_a_terminal_leaves_it_clean(home: Path, begun: bytes) -> None:
    """While the file is read, and while it is judged."""
    _long(home / "s.csv", 20_000)
    sweep = "dwell=1m,2m,3m,4m,5m,6m,7m,8m,9m,10m"
    words = ("backtest", "errors.yaml", "--samples", "s.csv", "--sweep", sweep)
    code, said = _on_terminal(home, *words, interrupt=begun)
    assert code == 130, said
    assert b"Traceback" not in said
    assert b"setting" not in said
    assert said.endswith(b"\r\n")


def _on_terminal(home: Path, *words: str, interrupt: bytes | None = None) -> tuple[int, bytes]:
    """The command in a terminal of its own, to its end; Ctrl-C is typed once it has said `interrupt`."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(home)
        os.execve(sys.executable, [*PROGRAM, *words], _environ(home))
    said = b""
    while select.select([terminal], [], [], 60)[0]:
        try:
            part = os.read(terminal, 65536)
        except OSError:
            break
        if not part:
            break
        said += part
        if interrupt is not None and interrupt in said:
            os.write(terminal, b"\x03")
            interrupt = None
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said


def test_a_terminal_sees_how_far_it_is_and_how_long_it_takes(home: Path) -> None:
    _long(home / "s.csv", 1_500)
    code, said = _on_terminal(home, "backtest", "policy.yaml", "--samples", "s.csv")
    assert code == 0, said
    assert b"backtest  [" in said
    assert re.search(rb"\d\d:\d\d:\d\d|100%", said)
    code, said = _on_terminal(home, "backtest", "policy.yaml", "--samples", "s.csv", "--json")
    assert code == 0
    assert b"backtest  [" not in said, "no bar among the lines"


def test_a_reader_that_leaves_ends_it(home: Path) -> None:
    _long(home / "s.csv", 20_000)
    line = f"{' '.join(PROGRAM)} backtest errors.yaml --samples s.csv --trace | head -1"
    done = subprocess.run(["sh", "-c", line], cwd=home, env=_environ(home), capture_output=True, timeout=30, check=True)
    assert done.stderr == b""
    assert json.loads(done.stdout)["state"]


# -- a real Prometheus ------------------------------------------------------------------------------------------------


def history(minutes: int) -> dict[str, list[tuple[dict[str, str], float, float]]]:
    """Both deployments' errors and counts, a scrape a minute, with bad stretches and lost scrapes."""
    found: dict[str, list[tuple[dict[str, str], float, float]]] = {"errors": [], "orders": [], "visits": []}
    for name, phase in (("ranker", 0), ("search", 7)):
        labels = {"deployment": name}
        for k in range(minutes):
            at = float(T + 60 * k)
            if (k + phase) % 97 in (50, 51) and k > 20:
                continue
            found["errors"].append((labels, at, 0.05 if k > 20 and (k + phase) % 40 < 6 else 0.001))
            found["visits"].append((labels, at, 1000.0))
            found["orders"].append((labels, at, 20.0 if k > 20 and (k + phase) % 71 < 9 else 40.0))
    return found


def as_samples(metrics: dict[str, list[tuple[dict[str, str], float, float]]]) -> str:
    lines = [CONVERSION]
    lines += [f"{at},{labels['deployment']},errors,{value},,\n" for labels, at, value in metrics["errors"]]
    counts = zip(metrics["orders"], metrics["visits"], strict=True)
    lines += [f"{at},{labels['deployment']},conversion,,{x},{n}\n" for (labels, at, x), (_, _, n) in counts]
    return "".join(lines)


@pytest.mark.real
def test_prometheus_history_and_the_same_as_a_file_say_the_same(
    prometheus_server: Callable[..., Prometheus], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = history(600)
    server = prometheus_server(openmetrics=make_openmetrics(metrics), flags=["--query.lookback-delta=59s"])
    (home / "settings.yaml").write_text(
        f"schema: rollback-console/settings/v1\nprometheus: {{url: '{server.url}'}}\nevaluate_every: 1m\n"
        "policies: [policy.yaml]\nlookback: 2h\n"
    )
    Path("s.csv").write_text(as_samples(metrics))
    start, end = T + 60 * 15, T + 60 * 599
    asked = ("--config", "settings.yaml", "--from", written(start), "--to", written(end), "--json")
    from_server = lines_of(capsys, *asked)
    from_file = lines_of(capsys, "--samples", "s.csv", "--json")
    assert len([line for line in from_server if line.get("to") == "fired"]) > 10
    assert from_server[:-1] == from_file[:-1]
    assert from_server[-1]["fires"] == from_file[-1]["fires"]
    assert from_server[-1]["minutes_fired"] == from_file[-1]["minutes_fired"]
    middle = lines_of(capsys, *asked[:3], written(T + 60 * 333), *asked[4:])
    assert [line for line in middle[:-1] if line["from"] is not None] == [
        line for line in from_file[:-1] if line["at"] >= written(T + 60 * 333)
    ], "begun in the middle it knows what came before"
    swept = lines_of(capsys, *asked, "--sweep", "dwell=0s,2m,10m")
    assert [line["fires"] for line in swept if "setting" in line] == sorted(
        (line["fires"] for line in swept if "setting" in line), reverse=True
    )


@pytest.mark.real
def test_a_query_that_prometheus_refuses_is_said_and_not_called_blind(
    prometheus_server: Callable[..., Prometheus], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = prometheus_server(openmetrics=make_openmetrics(history(5)))
    (home / "settings.yaml").write_text(
        f"schema: rollback-console/settings/v1\nprometheus: {{url: '{server.url}'}}\npolicies: [policy.yaml]\n"
    )
    Path("policy.yaml").write_text(
        POLICY.replace("max by (deployment) (errors)", "max by (deployment) (nonsense(errors))")
    )
    words = ["--config", "settings.yaml", "--from", str(T), "--to", str(T + 300), "--json"]
    assert run(["backtest", "policy.yaml", *words]) in (2, 3)
    said = capsys.readouterr()
    assert said.out == ""
    assert "nonsense" in said.err or "refuses" in said.err


# -- the document -----------------------------------------------------------------------------------------------------


def test_the_document_is_run_as_it_stands(home: Path) -> None:
    """Every command of docs/backtest.md, over a file such as it describes; what needs a Prometheus is tested above and
    only parsed here."""
    incident_file(home / "samples.csv")
    (home / "incidents.csv").write_text(MARKED)
    commands = [c for block in blocks_of("docs/backtest.md") if block.language == "console" for c in block.commands]
    assert len(commands) >= 4
    ran = 0
    for line in commands:
        assert line.startswith("rollback-console backtest ")
        words = line.replace("rollback-console", " ".join(PROGRAM), 1)
        done = subprocess.run(
            ["sh", "-c", words], cwd=home, env=_environ(home) | {"PYTHONPATH": str(ROOT / "src")}, capture_output=True,
            text=True, timeout=60, check=False,
        )  # fmt: skip
        if "--samples" in line:
            assert done.returncode == 0, (line, done.stderr)
            ran += 1
        else:
            assert done.returncode == 2, line
            assert done.stderr.startswith("error: no settings: "), "it reached what it needs a server for"
    assert ran >= 3
