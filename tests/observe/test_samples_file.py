"""A file of samples: what is read, and what is refused, where and with which words."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from rollback_console.engine.sampler import Sampler
from rollback_console.errors import FileProblems
from rollback_console.model.identity import Deployment, DeploymentId
from rollback_console.model.observation import Blind, Reading
from rollback_console.model.rules import (
    Breach,
    DeploymentRule,
    EvidenceRule,
    Or,
    SignalRule,
    TriggerRule,
    Uses,
    Worse,
)
from rollback_console.observe.sampled import SampledMetrics, asking
from rollback_console.observe.samples import MOST_PROBLEMS, read_samples

T = 1_763_640_000
HEAD = "time,deployment,signal,value,x,n\n"


def rule(name: str, environment: str = "production", **signal: Any) -> DeploymentRule:
    signals = (
        SignalRule("errors", "Errors", "technical", Worse.HIGHER, Breach(above=0.02), 60.0, value="errors"),
        SignalRule(
            "conversion", "Conversion", "business", Worse.LOWER, Breach(below=0.02), 60.0, x="orders", n="visits",
            **signal,
        ),
    )  # fmt: skip
    facts = Deployment(DeploymentId(environment, name), "normal", name, "champion", (("deployment", name),))
    trigger = TriggerRule(Or((Uses("errors"), Uses("conversion"))), "errors or conversion")
    return DeploymentRule(facts, signals, trigger, (), "tests", 1, "0" * 64)


RULES = (rule("ranker"), rule("search"), rule("search", "staging"))


def refused(tmp_path: Path, text: str | bytes, rules: tuple[DeploymentRule, ...] = RULES) -> list[str]:
    """Every problem of a file, without its path."""
    path = tmp_path / "s.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(FileProblems) as caught:
        read_samples(path, rules)
    assert caught.value.exit_code == 2
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{path}:") for line in lines)
    return [line.removeprefix(f"{path}:") for line in lines]


async def readings(tmp_path: Path, text: str, at: float, within_s: float | None = None) -> tuple[Reading, ...]:
    """What an evaluation at `at` sees of the ranker."""
    path = tmp_path / "s.csv"
    path.write_text(text)
    samples = read_samples(path, RULES)
    asked = asking(RULES, samples)
    sampler = Sampler(asked, SampledMetrics(samples, asked, within_s=within_s))
    tick = await sampler.assemble(at, await sampler.answers_at(at), {})
    return tick.observations[0].readings


# -- what is read -----------------------------------------------------------------------------------------------------


async def test_a_value_and_counts_as_the_contract_has_them(tmp_path: Path) -> None:
    text = HEAD + f"{T},ranker,errors,0.01,,\n2025-11-20T12:00:00Z,production/ranker,conversion,,60,2000\n"
    errors, conversion = await readings(tmp_path, text, T)
    assert (errors.value, errors.blind) == (0.01, None)
    assert (conversion.value, conversion.n, conversion.blind) == (0.03, 2000.0, None)


@pytest.mark.parametrize(
    ("row", "blind"),
    [
        (f"{T},ranker,errors,,,\n", Blind.NO_DATA),
        (f"{T},ranker,errors,NaN,,\n", Blind.NOT_A_NUMBER),
        (f"{T},ranker,errors,nan,,\n", Blind.NOT_A_NUMBER),
        (f"{T},ranker,errors,-Inf,,\n", Blind.NOT_A_NUMBER),
        (f"{T},search,errors,1,,\n".replace("search", "production/search"), Blind.NO_DATA),
    ],
)
async def test_nothing_and_not_a_number(tmp_path: Path, row: str, blind: Blind) -> None:
    errors, _ = await readings(tmp_path, HEAD + row, T)
    assert errors.value is None
    assert errors.blind is blind


@pytest.mark.parametrize(
    ("x", "n", "blind"),
    [("", "5", Blind.NO_DATA), ("5", "", Blind.NO_DATA), ("0", "0", Blind.NO_DATA), ("NaN", "5", Blind.NOT_A_NUMBER)],
)
async def test_counts_that_are_not_whole(tmp_path: Path, x: str, n: str, blind: Blind) -> None:
    row = f"{T},ranker,conversion,,{x},{n}\n{T + 60},ranker,conversion,,1,2\n"
    _, conversion = await readings(tmp_path, HEAD + row, T)
    assert conversion.blind is blind


async def test_a_row_counts_at_its_own_time_or_within_a_step(tmp_path: Path) -> None:
    text = "time,deployment,signal,value\n" + f"{T + 30},ranker,errors,1\n{T + 90},ranker,errors,2\n"
    for at, within, value in [
        (T + 30, None, 1.0), (T + 31, None, None), (T + 29, None, None),
        (T + 60, 60.0, 1.0), (T + 90, 60.0, 2.0), (T + 89, 60.0, 1.0), (T + 150, 60.0, None), (T + 149, 60.0, 2.0),
    ]:  # fmt: skip
        errors, _ = await readings(tmp_path, text, at, within)
        assert errors.value == value, (at - T, within)


async def test_the_newest_row_counts_even_where_it_is_empty(tmp_path: Path) -> None:
    text = "time,deployment,signal,value\n" + f"{T},ranker,errors,1\n{T + 30},ranker,errors,\n"
    errors, _ = await readings(tmp_path, text, T + 59, 60.0)
    assert errors.blind is Blind.NO_DATA


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_spaces_quotes_marks_order_and_columns_that_are_not_ours(tmp_path: Path, ending: str) -> None:
    lines = ["signal, VALUE ,time,region,deployment", f'errors, 0.5 ,{T + 60},eu,"ranker"', "",
             f'errors,1e-2,{T},"a, b",production/search']  # fmt: skip
    path = tmp_path / "s.csv"
    path.write_bytes(b"\xef\xbb\xbf" + ending.join(lines).encode())
    samples = read_samples(path, RULES)
    assert samples.ignored == ("region",)
    assert samples.times == (T, T + 60)
    column = samples.columns[(DeploymentId("production", "search"), "errors")]
    assert list(column.values) == [0.01]


def test_json_lines_say_the_same(tmp_path: Path) -> None:
    rows = [
        {"time": T, "deployment": "ranker", "signal": "errors", "value": 0.01},
        {"time": "2025-11-20T12:01:00Z", "deployment": "ranker", "signal": "errors", "value": None},
        {"time": T + 120, "deployment": "ranker", "signal": "errors", "value": "NaN"},
        {"time": T + 180.5, "deployment": "ranker", "signal": "conversion", "x": 3, "n": 100},
    ]
    path = tmp_path / "s.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows) + '\n\n{"time":1763640240,"deployment":"ranker",'
                    '"signal":"errors","value":NaN}\n')  # fmt: skip
    samples = read_samples(path, RULES)
    assert samples.times == (T, T + 60, T + 120, T + 180.5, T + 240)
    values = samples.columns[(DeploymentId("production", "ranker"), "errors")].values
    assert values[0] == 0.01
    assert math.isinf(values[1])
    assert math.isnan(values[2])
    assert math.isnan(values[3])


def test_rows_come_in_any_order(tmp_path: Path) -> None:
    rows = [f"{T + 60 * k},ranker,conversion,,{k},{10 * k}" for k in (3, 1, 4, 2)]
    path = tmp_path / "s.csv"
    path.write_text(HEAD + "\n".join(rows))
    column = read_samples(path, RULES).columns[(DeploymentId("production", "ranker"), "conversion")]
    assert list(column.times) == [T + 60 * k for k in (1, 2, 3, 4)]
    assert list(column.values) == [1, 2, 3, 4]
    assert list(column.n) == [10, 20, 30, 40]


async def test_hours_are_the_sums_of_their_rows(tmp_path: Path) -> None:
    """What baselines are learned from. Rows nearer to each other than their window count no event twice."""
    judged = (rule("ranker", evidence=EvidenceRule(), x_hour="o", n_hour="v"),)
    for every, weight in ((60, 1.0), (15, 0.25), (300, 1.0)):
        lines = [f"{T + every * k},ranker,conversion,,{k % 5},{100 + k}\n" for k in range(7200 // every + 1)]
        (tmp_path / "s.csv").write_text(HEAD + "".join(lines) + f"{T + 9000},ranker,conversion,,NaN,\n")
        samples = read_samples(tmp_path / "s.csv", judged)
        asked = asking(judged, samples)
        metrics = SampledMetrics(samples, asked)
        signal = asked[0].signals[1]
        assert signal.x_hour is not None
        assert signal.n_hour is not None
        (found,) = await metrics.query_range(signal.x_hour, T + 3600, T + 36_000, 3600)
        inside = range(3600 // every + 1, 7200 // every + 1)
        assert dict(found.points)[T + 7200.0] == pytest.approx(weight * sum(k % 5 for k in inside))
        assert [at for at, _ in found.points] == [T + 3600.0, T + 7200.0, T + 10_800.0]
        (found,) = await metrics.query_range(signal.n_hour, T + 7200, T + 7200, 3600)
        assert found.points[0][1] == pytest.approx(weight * sum(100 + k for k in inside))


async def test_a_control_stands_in_the_file_under_its_name(tmp_path: Path) -> None:
    from rollback_console.engine.seasonal import SeasonalBook
    from rollback_console.model.rules import Baseline, BaselineKind

    control = Baseline(BaselineKind.CONTROL, control="holdout")
    judged = (rule("ranker", evidence=EvidenceRule(), baseline=control),)
    rows = f"{T},ranker,conversion,,30,1000\n{T},holdout,conversion,,400,10000\n"
    (tmp_path / "s.csv").write_text(HEAD + rows)
    samples = read_samples(tmp_path / "s.csv", judged)
    asked = asking(judged, samples)
    metrics = SampledMetrics(samples, asked)
    sampler = Sampler(asked, metrics, SeasonalBook(asked, metrics))
    tick = await sampler.assemble(T, await sampler.answers_at(T), {})
    (_, reading) = tick.observations[0].readings
    assert (reading.x, reading.n, reading.baseline) == (30.0, 1000.0, 0.04)
    assert reading.norm is not None
    assert reading.norm.control == (400.0, 10_000.0)
    assert refused(tmp_path, HEAD + rows.replace("holdout", "other"), judged) == [
        "3:12: deployment: the policy has no deployment 'other'. Take its rows out, or add it to the policy"
    ]


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("soon,ranker,errors,1,,", "2:1: time: 'soon' is not a time. Write it as 2026-11-20T09:00:00Z, or in Unix "
         "seconds"),
        ("2025-11-20T12:00:00,ranker,errors,1,,", "2:1: time: '2025-11-20T12:00:00' has no time zone. End it with Z "
         "where it is in UTC, or with +01:00"),
        (f"{T}000,ranker,errors,1,,", f"2:1: time: '{T}000' is in milliseconds, it seems. Divide it by 1000: Unix "
         "times are in seconds"),
        (f"{T},rankr,errors,1,,", "2:12: deployment: the policy has no deployment 'rankr'. Did you mean ranker"),
        (f"{T},\x1b[2Jxyzxyz,errors,1,,", "2:12: deployment: the policy has no deployment '\\x1b[2Jxyzxyz'. Take its "
         "rows out, or add it to the policy"),
        (f"{T},search,errors,1,,", "2:12: deployment: 'search' is in more than one environment. Write "
         "production/search"),
        (f"{T},ranker,eror,1,,", "2:19: signal: the policy has no signal 'eror'. Did you mean errors"),
        (f"{T},ranker,zzz,1,,", "2:19: signal: the policy has no signal 'zzz'. It has errors, conversion, "
         "revenue_per_minute, users_per_minute"),
        (f"{T},ranker,errors,1_0,,", "2:26: value: '1_0' is not a number. Write digits, NaN for not a number, nothing "
         "for no data"),
        (f"{T},ranker,errors,2%,,", "2:26: value: '2%' is not a number. Write digits, NaN for not a number, nothing "
         "for no data"),
        (f"{T},ranker,errors,1,2,3", "2:26: value: stands beside x and n. Keep the value, or x with n"),
        (f"{T},ranker,conversion,,-1,3", "2:31: x: counts, and is below zero. Write how many there were"),
        (f"{T},ranker,conversion,,1,-3", "2:33: n: counts, and is below zero. Write how many there were"),
        (f'{T},"ranker",errors,abc,,', "2:28: value: 'abc' is not a number. Write digits, NaN for not a number, "
         "nothing for no data"),
        (f"{T},ranker,errors,1", "2:1: has 4 fields, the header has 6. Write one for each column; an empty value is no "
         "data"),
        (f"{T},ranker,revenue_per_minute,,1,2", "2:39: x: revenue_per_minute is one number. Write it as `value`"),
    ],
)  # fmt: skip
def test_a_bad_row_is_refused_where_it_is_wrong(tmp_path: Path, row: str, says: str) -> None:
    assert refused(tmp_path, HEAD + row + "\n") == [says]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "1:1: the file is empty. The first line is time,deployment,signal,value or time,deployment,signal,x,n"),
        (HEAD, "1:1: holds no rows. The first line is time,deployment,signal,value or time,deployment,signal,x,n"),
        ("time,deployment,signal\n", "1:1: the header has neither `value` nor `x` and `n`. The first line is "
         "time,deployment,signal,value or time,deployment,signal,x,n"),
        ("time,deployment,signal,x\n", "1:1: the header has neither `value` nor `x` and `n`. The first line is "
         "time,deployment,signal,value or time,deployment,signal,x,n"),
        ("\n\nwhen,deployment,signal,value\n", "3:1: the header has no column `time`. The first line is "
         "time,deployment,signal,value or time,deployment,signal,x,n"),
        ("time,value,deployment,signal,value\n", "1:6: the header names `value` twice. The first line is "
         "time,deployment,signal,value or time,deployment,signal,x,n"),
        (HEAD + f"{T},ranker,errors,1,,\n{T + 1},ranker,errors,,1,2\n", "3:27: x: errors is given as x and n here and "
         "as a value on line 2. Give one signal in one way"),
        (HEAD + f"{T},ranker,errors,1,,\n{T},production/ranker,errors,2,,\n", "3:1: this time, deployment and signal "
         "stand on line 2 already. Keep one of the two"),
        ("x" * 30_000, "1:1: the line is longer than 20,000 characters. Is this the right file? Reading stopped here"),
        ('{"time": 1, "deployment": "ranker", "signal": "errors", "value": 1}\n[1]\n', '2:1: is not an object. Write '
         '{"time": …, "deployment": …, "signal": …, …}'),
        ('{"time": 1, "deployment": "ranker", "signal": "errors", "value": }\n', '1:66: is not JSON. Write one object '
         'a line: {"time": …, …}'),
        ('{"time": 1, "deployment": "ranker", "signal": "errors"}\n', "1:1: has no `value`. A value that is empty is "
         "written as null"),
        ('{"time": 1, "deployment": "ranker", "signal": "errors", "value": true}\n', "1:66: value: true is not a "
         "number. Write digits, NaN for not a number, nothing for no data"),
        ('{"time": true, "deployment": "ranker", "signal": "errors", "value": 1}\n', "1:10: time: true is not a time. "
         "Write it as 2026-11-20T09:00:00Z, or in Unix seconds"),
        ('{"time": 1, "deployment": 7, "signal": "errors", "value": 1}\n', "1:27: deployment: the policy has no "
         "deployment 7. Take its rows out, or add it to the policy"),
    ],
)  # fmt: skip
def test_a_bad_file_is_refused(tmp_path: Path, text: str, says: str) -> None:
    assert refused(tmp_path, text)[0] == says


def test_every_bad_row_is_named_at_once_in_order_up_to_a_limit(tmp_path: Path) -> None:
    few = HEAD + f"{T},ranker,errors,a,,\n{T},ranker,errors,1,,\nx,ranker,errors,1,,\n{T},ranker,bad,1,,\n"
    assert [line.split(":")[0] for line in refused(tmp_path, few)] == ["2", "4", "5"]
    many = refused(tmp_path, HEAD + f"{T},ranker,errors,a,,\n" * 10_000)
    assert len(many) == MOST_PROBLEMS + 1
    assert many[-1].endswith("more is wrong: reading stopped after 50 problems. Mend those above first")


def test_a_value_where_trials_are_counted_is_refused_once(tmp_path: Path) -> None:
    text = HEAD + "".join(f"{T + k},ranker,conversion,0.1,,\n" for k in range(5))
    says = (
        "2:30: value: conversion {}: a value alone does not say how many there were. Give `x` (events) and `n` (trials)"
    )
    assert refused(tmp_path, text, (rule("ranker", minimum=200.0),)) == [says.format("has a minimum of trials")]
    judged = (rule("ranker", evidence=EvidenceRule()),)
    assert refused(tmp_path, text, judged) == [says.format("is judged by evidence")]


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"\x00" * 100, bytes(range(256)), b'"' * 50, b"{" * 5000, b"[" * 9])
def test_no_bytes_are_too_odd(tmp_path: Path, data: bytes) -> None:
    assert refused(tmp_path, data)
    assert refused(tmp_path, HEAD.encode() + data)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileProblems, match=r"none\.csv:1:1: cannot be read: No such file or directory"):
        read_samples(tmp_path / "none.csv", RULES)
