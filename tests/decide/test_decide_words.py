"""Sentences of an evaluation count nothing down; copied text names the time; advice knows that a rollback runs."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from rollback_console.decide.attribution import Case, Release, attribute
from rollback_console.decide.explain import in_absolute_times
from rollback_console.decide.judge import FRESH, decide
from rollback_console.model.identity import Deployment, DeploymentId
from rollback_console.model.incident import AttributionKind
from rollback_console.model.observation import Blind, Observation, Reading
from rollback_console.model.rules import Breach, DeploymentRule, RecoveryPath, SignalRule, TriggerRule, Uses, Worse
from rollback_console.model.verdict import TriggerState, Verdict

NAME = DeploymentId("production", "ranker")
OTHER = DeploymentId("production", "feed")
_COUNTDOWN = re.compile(r"\bin \d|\d left|\d:\d\d")


def rule(name: DeploymentId = NAME, depends_on: tuple[str, ...] = ()) -> DeploymentRule:
    signal = SignalRule(
        name="errors", title="Errors", area="technical", worse=Worse.HIGHER, breach=Breach(above=5.0), window_s=60.0,
        value="errors",
    )  # fmt: skip
    return DeploymentRule(
        Deployment(name, "high", f"m-{name.name}", "champion", (), depends_on=depends_on), (signal,),
        TriggerRule(Uses("errors"), "errors", 60.0, 45.0, 600.0, 90.0),
        (RecoveryPath("version", "mlflow-alias", "last_known_good"),), "tests", 1, "0" * 64, runbook="own",
    )  # fmt: skip


def judged(*values: float | None, name: DeploymentId = NAME, about: DeploymentRule | None = None) -> Verdict:
    """The verdict after evaluations 15 s apart, from 1000 on; None is no data."""
    memory, verdict = FRESH, None
    for number, value in enumerate(values):
        reading = Reading(value) if value is not None else Reading(None, blind=Blind.NO_DATA)
        seen = Observation(name, 1000.0 + 15.0 * number, (reading,), "8")
        verdict, memory = decide(about or rule(name), seen, memory, cooling=False)
    assert verdict is not None
    return verdict


@pytest.mark.parametrize(
    ("values", "state", "tail", "absolute"),
    [
        ((1, 9, 9), TriggerState.PENDING, "; fires if it stays", "; fires at 1075 if it stays"),
        (
            (1, 9, 9, 9, 9, 9, 1),
            TriggerState.CLEARING,
            "; clears if it stays away",
            "; clears at 1135 if it stays away",
        ),
        ((1, None, None), TriggerState.BLIND, "; fires as blind if it stays", "; fires as blind at 1105 if it stays"),
        ((1, 9, None), TriggerState.PENDING, ": the dwell stands still", ": the dwell stands still"),
        ((1, *[None] * 8), TriggerState.BLIND, "; has fired as blind", "; has fired as blind"),
        ((1,), TriggerState.HEALTHY, "its signal is inside its margin", "its signal is inside its margin"),
    ],
)
def test_no_sentence_counts_down_and_copied_ones_name_the_time(
    values: tuple[float | None, ...], state: TriggerState, tail: str, absolute: str
) -> None:
    verdict = judged(*values)
    assert verdict.state is state
    assert verdict.sentence.endswith(tail)
    assert not _COUNTDOWN.search(verdict.sentence)
    assert in_absolute_times(verdict, lambda at: f"{at:g}").endswith(absolute)


def case(executing: dict[DeploymentId, str], *, released: bool, cooling: bool = False) -> Case:
    members = (NAME,) if released else (NAME, OTHER)
    rules = {name: rule(name, ("feature-view/x",)) for name in members}
    verdicts = {
        name: replace(judged(1, 9, 9, 9, 9, 9, name=name, about=rules[name]), cooling=cooling) for name in members
    }
    releases = [Release(NAME, 900.0, "7", "8")] if released else []
    return Case(members, dict.fromkeys(members, 1015.0), verdicts, rules, releases, 5, 0, executing)


def test_while_a_rollback_runs_no_second_one_is_weighed() -> None:
    attribution, (advice,), _ = attribute(case({NAME: "7"}, released=True, cooling=True))
    assert attribution.kind is AttributionKind.RELEASE
    assert advice.sentence == "a rollback to v7 is under way"
    assert (advice.path, advice.to_version, advice.runbook) == (None, None, "own")
    _, (advice,), _ = attribute(case({}, released=True, cooling=True))
    assert "within the cool-down" in advice.sentence


def test_where_no_rollback_was_advised_that_stays_said_beside_the_one_that_runs() -> None:
    attribution, (one, other), _ = attribute(case({NAME: "7"}, released=False))
    assert attribution.kind is AttributionKind.UPSTREAM
    assert one.sentence.startswith("a rollback to v7 is under way; do not roll back: mend feature-view/x")
    assert other.sentence.startswith("do not roll back: mend feature-view/x")
