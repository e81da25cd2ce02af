"""Scenario files: what may be left out, what is read as what, and words that stand in two places and are the same."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollback_console.errors import FileProblems, Problem
from rollback_console.model import drill
from rollback_console.policy import load, scenario
from rollback_console.policy.schema import schema
from rollback_console.rehearse import noises, series
from rollback_console.rehearse.truth import Bands

SHORTEST = """\
schema: rollback-console/scenario/v1
name: play
title: A play
class: release
world:
  deployments:
    - name: ranker
timeline:
  - {at: 4m, fault: deployment, target: ranker, errors: +12%, for: 30s}
right: {leave: [ranker]}
"""


def words(text: str) -> scenario.Scenario:
    return load.parse_scenario(text.encode(), "f").scenario


def test_what_is_left_out_has_a_default() -> None:
    found = words(SHORTEST)
    ranker = found.world.deployments[0]
    assert (ranker.environment, ranker.tier, ranker.alias, ranker.serving) == ("production", "normal", "champion", "2")
    assert [version.version for version in ranker.versions] == ["2", "1"]
    assert (ranker.conversion, ranker.errors, ranker.latency, ranker.lag) == (0.4, 0.003, 0.045, 20.0)
    assert (found.world.noise, found.lasts, found.careless) == ("everyday", 3600.0, "fails")
    assert (found.begins.seconds, found.needs, found.story) == (1 * 86_400 + 14 * 3_600, (), "")
    event = found.timeline[0]
    assert (event.at, event.errors, event.for_, event.over) == (240.0, 0.12, 30.0, 0.0)
    bands = found.bands
    assert Bands() == Bands(bands.notice, bands.decide, bands.authorize, bands.act, bands.recover)


@pytest.mark.parametrize(
    ("written", "seconds"), [("-9m", -540.0), ("4m", 240.0), ("+4m", 240.0), ("0", 0.0), ("-1d12h", -129_600.0)]
)
def test_offsets_go_both_ways(written: str, seconds: float) -> None:
    assert words(SHORTEST.replace("at: 4m", f"at: {written}")).timeline[0].at == seconds


def test_versions_may_be_written_as_numbers() -> None:
    text = SHORTEST.replace("- name: ranker", "- {name: ranker, serves: 8, versions: [{version: 8}, {version: 7}]}")
    assert words(text).world.deployments[0].serving == "8"


def test_what_two_places_must_know_is_the_same_in_both() -> None:
    """`policy` cannot import `rehearse`, and a screen's value cannot import either."""
    assert scenario.WHEN == drill.WHEN
    assert ("everyday", *noises.KINDS) == scenario.NOISES
    assert set(scenario.METRICS) == set(series.METRICS)


def test_everything_probably_not_meant_is_a_warning() -> None:
    text = SHORTEST.replace("  - {at: 4m, fault: deployment, target: ranker, errors: +12%, for: 30s}\n", "")
    found = load.parse_scenario(text.replace("timeline:\n", "").encode(), "f")
    assert [problem.message for problem in found.warnings] == ["nothing happens in it"]
    bad = SHORTEST.replace(
        "    - name: ranker\n",
        "    - name: ranker\n      versions: [{version: 2, errors: 9%}, {version: 1, errors: 9%}]\n",
    ).replace("right: {leave: [ranker]}", 'right: {rollback: [{deployment: ranker, to: "1"}]}')
    late = bad.replace("at: 4m", "at: -4m") + "lasts: 20m\nbands: {recover: 30m}\n"
    found = load.parse_scenario(late.encode(), "f")
    assert [str(problem) for problem in found.warnings] == [
        "f:10:69: timeline[0].for: it is over before the drill begins. It may stay: the past is looked at too",
        "f:11:45: right.rollback[0].to: this version misbehaves too. Is it truly right to go back to it",
        "f:13:18: bands.recover: is longer than the drill, 20m. Write a longer `lasts:`",
    ]


def test_check_says_that_it_is_a_scenario(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(SHORTEST)
    assert load.check(path) == ("scenario", ())
    path.write_text(SHORTEST.replace("target: ranker", "target: rankr"))
    kind, problems = load.check(path)
    assert kind == "scenario"
    assert [str(problem) for problem in problems] == [
        f"{path}:9:41: timeline[0].target: the world has no deployment rankr. Did you mean ranker"
    ]


def fields(part: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any]:
    """The keys of a part of a JSON Schema, references followed."""
    name = part.get("$ref", "").rpartition("/")[2]
    found: dict[str, Any] = whole["$defs"][name]["properties"] if name else part["properties"]
    return found


def test_the_schema_for_editors_names_every_key_and_the_form_of_offsets() -> None:
    made = schema("scenario")
    event = made["$defs"]["ScenarioEvent"]["properties"]
    assert {"at", "on", "fault", "target", "for", "flip", "approver"} <= event.keys()
    pattern = next(each["pattern"] for each in event["at"]["anyOf"] if "pattern" in each)
    assert [bool(re.search(pattern, text)) for text in ("-9m", "4m", "+1h30m", "9", "m")] == [
        True, True, True, False, False,
    ]  # fmt: skip
    assert fields(made["properties"]["world"], made).keys() == {"noise", "traffic", "metrics", "labels", "deployments"}


@settings(max_examples=60)
@given(st.text(max_size=60), st.integers(0, 10))
def test_no_line_makes_the_loader_fail_otherwise(line: str, place: int) -> None:
    """Whatever stands in a file, the answer is a scenario or problems with their places."""
    lines = SHORTEST.split("\n")
    lines[min(place, len(lines) - 1)] = line
    problems: tuple[Problem, ...] = ()
    try:
        load.parse_scenario("\n".join(lines).encode("utf-8", "replace"), "f")
    except FileProblems as error:
        problems = error.problems
    assert all(problem.line >= 1 and problem.message for problem in problems)
