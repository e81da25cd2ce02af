"""Moments, weeks and stretches as people write them, and what settings say to a policy's windows."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollback_console.cli.main import run
from rollback_console.model.rules import ExpectedChange, Weekly
from rollback_console.policy.load import load_all, parse_policy
from rollback_console.policy.times import parse_moment

HEAD = """schema: rollback-console/policy/v1
name: p
version: 1
deployments:
  - {name: a, environment: production, model: {name: m, alias: champion}}
recovery: [{path: version, driver: mlflow-alias}]
"""


@pytest.mark.parametrize(
    ("written", "begin", "end"),
    [
        ("2026-11-27T18:00Z", "2026-11-27T18:00:00+00:00", None),
        ("2026-11-27T19:00:30+01:00", "2026-11-27T18:00:30+00:00", None),
        ("2026-11-27 18:00Z", "2026-11-27T18:00:00+00:00", None),
        ("2026-11-27", "2026-11-27T00:00:00+00:00", "2026-11-28T00:00:00+00:00"),
    ],
)
def test_a_day_begins_with_its_first_second_and_ends_with_its_last(written: str, begin: str, end: str | None) -> None:
    assert parse_moment(written) == dt.datetime.fromisoformat(begin).timestamp()
    assert parse_moment(written, end=True) == dt.datetime.fromisoformat(end or begin).timestamp()


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32), st.integers(-14, 14))
def test_moments_read_back(seconds: int, hours: int) -> None:
    local = dt.datetime.fromtimestamp(seconds, dt.timezone(dt.timedelta(hours=hours)))
    assert parse_moment(local.isoformat()) == local.timestamp()


@pytest.mark.parametrize(
    "text",
    ["2026-11-27T18:00", "27.11.2026", "20261127", "2026-W48-5", "2026-02-30", "", "now", 5, None, True, "9" * 99],
)  # fmt: skip
def test_what_is_no_moment_is_refused_with_a_remedy(text: object) -> None:
    with pytest.raises(ValueError) as caught:
        parse_moment(text)
    assert caught.value.context["remedy"]  # type: ignore[attr-defined]
    assert len(str(caught.value)) < 150


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("sun 02:00-04:00", Weekly((6,), 7_200, 7_200)),
        ("Mon-Fri 22:00-02:00", Weekly((0, 1, 2, 3, 4), 79_200, 14_400)),
        ("sat,sun 09:00-10:30", Weekly((5, 6), 32_400, 5_400)),
        ("fri-mon 00:00-00:15", Weekly((0, 4, 5, 6), 0, 900)),
        ("daily 23:00-24:00", Weekly((0, 1, 2, 3, 4, 5, 6), 82_800, 3_600)),
        ("wed  03:00-03:30", Weekly((2,), 10_800, 1_800)),
    ],
)
def test_times_of_the_week(written: str, expected: Weekly) -> None:
    rest = f"trigger: {{expected: [{{every: '{written}', why: a job}}]}}\n"
    loaded = parse_policy((HEAD + "signals: {s: {worse: higher, value: x, breach: {above: 1}}}\n" + rest).encode(), "f")
    assert loaded.rules[0].trigger.expected == (ExpectedChange("a job", weekly=expected),)


def test_settings_doubt_windows_that_hold_no_two_scrapes_or_fall_between_evaluations(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(
        HEAD + "signals:\n"
        "  a: {worse: higher, value: 'rate(x[$window])', breach: {above: 1}, window: 30s}\n"
        "  b: {worse: higher, value: x, breach: {above: 1}, window: 30s}\n"
        "  c: {worse: lower, x: 'rate(x[$window])', n: 'rate(y[$window])', baseline: {kind: seasonal}, window: 90s}\n"
        "  d: {kind: latency, buckets: r_seconds_bucket, target: 1s, breach: {above: 5%}, window: 30s}\n"
        "  e: {kind: burn_rate, x: 'increase(x[$window])', n: 'increase(y[$window])', objective: 99%,"
        " burn: [{rate: 9, long: 5m, short: 30s}]}\n"
    )
    path = tmp_path / "settings.yaml"
    path.write_text(
        "schema: rollback-console/settings/v1\nprometheus: {url: 'http://p:9090', step: 20s}\n"
        "policies: [policy.yaml]\nevaluate_every: 60s\n"
    )
    said = [f"{w.path}: {w.message}" for w in load_all(path).warnings]
    assert said == [
        "signals.a.window: a window of 30s holds fewer than two scrapes, 20s apart",
        "signals.c.window: a window of 1m30s is no multiple of `evaluate_every: 1m`",
        "signals.d.window: a window of 30s holds fewer than two scrapes, 20s apart",
        "signals.e: a window of 30s holds fewer than two scrapes, 20s apart",
    ]


COUNTED = "signals: {s: {worse: lower, x: a, n: b, baseline: {kind: seasonal}, maturity: 3m}}\n"


def test_explain_says_what_can_be_found_at_a_traffic(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(HEAD + COUNTED)
    assert run(["policy", "explain", str(path)]) == 0
    assert "With `--traffic 2000 --rate 3%` it says what could be found" in capsys.readouterr().out
    assert run(["policy", "explain", str(path), "--traffic", "2000", "--rate", "3%"]) == 0
    much = capsys.readouterr().out
    assert "At 2,000 trials a minute and a share of 3 % it finds -30 % in 11m, -10 % in " in much
    assert run(["policy", "explain", str(path), "--traffic", "20"]) == 0
    little = capsys.readouterr().out
    assert "-3 % not within a day" in little
    assert "With `--traffic" not in little


ROTATION = """schema: rollback-console/policy/v1
name: p
version: 1
deployments:
  - {name: big, environment: production, tier: critical, model: {name: m, alias: c}}
  - {name: small, environment: production, model: {name: m, alias: c}}
trigger: {budget: {false_alarms_a_week: 1}}
"""


def test_explain_says_each_share_and_what_it_finds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(ROTATION + COUNTED)
    assert run(["policy", "explain", str(path)]) == 0
    said = capsys.readouterr().out
    assert "Its share by tier is 0.8 false alarms a week: one in 8.8 days." in said
    assert "Its share by tier is 0.2 false alarms a week: one in 5 weeks." in said
    assert run(["policy", "explain", str(path), "--traffic", "100", "--traffic", "big=20000"]) == 0
    said = capsys.readouterr().out
    assert "Its share by tier and traffic is 0.97 false alarms a week: one in 7.2 days; at 20k trials a minute" in said
    assert "Its share by tier and traffic is 0.027 false alarms a week: one in 36 weeks; at 100 trials a" in said
    assert "it finds -30 % in " in said
    assert run(["policy", "explain", str(path), "--traffic", "production/huge=5"]) == 2
    assert "--traffic: the policy names no deployment production/huge" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["--traffic", "0"],
        ["--traffic", "=5"],
        ["--traffic", "nan"],
        ["--traffic", "2", "--rate", "3"],
        ["--traffic", "2", "--rate", "x"],
    ],
)
def test_explain_refuses_no_traffic_and_no_share(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(HEAD + COUNTED)
    assert run(["policy", "explain", str(path), *words]) == 2
    assert "write it as" in capsys.readouterr().err
