"""From words to a stage: the registry's facts, the policy, what is true, and another team's policy on it."""

from __future__ import annotations

import asyncio
import os
from importlib import resources
from pathlib import Path

import pytest
from scenario_plays import HEAD, RIGHT, START, measured, play, words

from rollback_console.cli.drilling import headless_drill
from rollback_console.clock import VirtualClock
from rollback_console.errors import BackendRefused, FileProblems, UsageError
from rollback_console.execute import marks
from rollback_console.execute.preflight import check_signatures
from rollback_console.model.identity import DeploymentId
from rollback_console.policy.load import load_scenario, parse_policy
from rollback_console.rehearse.scenario import find, listed, right, shipped
from rollback_console.rehearse.staging import stage
from rollback_console.rehearse.truth import Bands, Cure

CAMPAIGN = bool(os.environ.get("ROLLBACK_CONSOLE_CAMPAIGN"))
EVIDENCE = """\
lasts: 30m
world:
  noise: autocorrelated
  deployments: [{name: ranker, since: 10m, versions: [{version: "8", conversion: -25%, after: 12m}, {version: "7"}]}]
right: {rollback: [{deployment: ranker, to: "7"}]}
"""
VERSIONS = """\
world:
  deployments:
    - name: ranker
      serves: "8"
      since: 2h
      versions:
        - {version: "9", status: PENDING_REGISTRATION}
        - {version: "8", errors: +2%}
        - {version: "7", never_served: true, run: false}
        - {version: "6", known_bad: "sold nothing", tags: {dataset: old}}
        - {version: "5", signature: other}
"""


# -- the registry ------------------------------------------------------------------------------------------------------


async def test_the_registry_knows_what_the_words_say() -> None:
    registry = play(VERSIONS).registry
    known = await registry.versions("ranker")
    assert [version.version for version in known] == ["9", "8", "7", "6", "5"], "newest first"
    by = {version.version: version for version in known}
    assert by["9"].status == "PENDING_REGISTRATION"
    assert dict(by["6"].tags)[marks.KNOWN_BAD_TAG] == "sold nothing"
    assert dict(by["6"].tags)["dataset"] == "old"
    whole = {name: await registry.version("ranker", name) for name in by}
    assert whole["7"] is not None
    assert whole["8"] is not None
    assert whole["7"].run is None
    assert whole["8"].run is not None
    assert check_signatures(whole["8"], whole["6"]).ok
    assert check_signatures(whole["8"], whole["5"]).ok is False
    assert all(version.created_at is not None and version.created_at <= START for version in known)


def test_how_the_pointer_came_to_stand_there() -> None:
    world = play(VERSIONS).world
    moved = [(flip.version, flip.at - START) for flip in world.history]
    assert moved == [("5", -7_200 - 62 * 86_400), ("6", -7_200 - 29 * 86_400), ("8", -7_200)]
    for version in world.deployments[0].versions:
        begun = next((flip.at for flip in world.history if flip.version == version.version), None)
        assert version.created_at is not None
        assert begun is None or version.created_at == begun - 2_400


async def test_a_version_that_no_one_has() -> None:
    with pytest.raises(BackendRefused, match="no version 4"):
        await play(VERSIONS).registry.write_pointer("ranker", "champion", "4")


# -- what is true ------------------------------------------------------------------------------------------------------


def test_the_truth_is_what_the_words_say_and_what_follows_from_them() -> None:
    text = """\
timeline:
  - {at: -9m, fault: dependency, target: feature-view/users, conversion: -14%}
  - {at: 1m, fault: exporter, target: ranker}
  - {at: 1m, fault: exporter, target: search}
right:
  rollback: [{deployment: ranker, to: "7"}]
  leave: [search, feed]
bands: {notice: 1m, decide: 2m, authorize: 3m, act: 4m, recover: 5m}
"""
    truth = play(text).truth
    ranker, feed, search = (DeploymentId("production", name) for name in ("ranker", "feed", "search"))
    assert truth.cures == (Cure(ranker, "8", "7"),)
    assert truth.not_curable == (feed, search)
    assert truth.blind == ()
    assert truth.leave == ()
    assert truth.bands == Bands(60.0, 120.0, 180.0, 240.0, 300.0)
    assert (truth.recover_within_s, truth.klass, truth.hands_off) == (300.0, "release", False)
    alone = play("right: {leave: [feed]}\ntimeline:\n  - {fault: exporter, target: ranker}\n").truth
    assert (alone.cures, alone.blind, alone.leave, alone.hands_off) == ((), (ranker,), (feed,), True)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{}", "roll nothing back"),
        ("{leave: [ranker, feed]}", "roll nothing back, and leave ranker and feed alone"),
        ('{rollback: [{deployment: ranker, to: "7"}]}', "roll ranker back to v7, and nothing else"),
        (
            '{rollback: [{deployment: ranker, to: "7"}, {deployment: feed, to: 1}], leave: [search]}',
            "roll ranker back to v7 and feed back to v1, and leave search alone",
        ),
    ],
)
def test_what_is_right_in_a_sentence(text: str, sentence: str) -> None:
    assert right(words(f"right: {text}\n")) == sentence
    assert listed(words(f"right: {text}\n")).right == sentence


# -- the policy --------------------------------------------------------------------------------------------------------


def test_the_wheels_policy_judges_the_scenarios_deployments() -> None:
    setup = play()
    rules = setup.rules()
    assert [str(rule.deployment.id) for rule in rules] == ["production/ranker", "production/feed", "production/search"]
    assert rules[0].deployment.depends_on == ("feature-view/basket",)
    assert rules[0].deployment.serving_version == 'model_info{deployment="ranker"}'
    assert setup.policy_name == "practice.yaml"
    assert play().policy_bytes == setup.policy_bytes


def test_a_policy_beside_the_scenario(tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text(
        "schema: rollback-console/policy/v1\nname: shop\nversion: 3\n"
        "signals: {errors: {worse: higher, value: errors_total, breach: {above: 2%}}}\n"
    )
    setup = play("policy: shop.yaml\n", path=tmp_path / "play.yaml")
    assert [rule.policy for rule in setup.rules()] == ["shop"] * 3
    with pytest.raises(FileProblems, match=r"gone\.yaml:1:1: cannot be read"):
        play("policy: gone.yaml\n", path=tmp_path / "play.yaml")
    (tmp_path / "shop.yaml").write_text("schema: rollback-console/policy/v1\nname: shop\nversion: 3\nsignals: {}\n")
    with pytest.raises(FileProblems, match=r"signals: is empty"):
        play("policy: shop.yaml\n", path=tmp_path / "play.yaml")


def test_a_policy_by_evidence_comes_with_the_console() -> None:
    signals = {signal.name: signal for signal in play("policy: practice-evidence.yaml\n").rules()[0].signals}
    assert signals["conversion"].evidence is not None
    plain = {signal.name: signal for signal in play().rules()[0].signals}
    assert plain["conversion"].evidence is None
    assert signals.keys() == plain.keys()


@pytest.mark.campaign
def test_drills_are_passed_under_evidence_too(tmp_path: Path) -> None:
    """Its baselines are learned from the world's past: three seconds of work for each deployment."""
    alone = tmp_path / "alone.yaml"
    alone.write_text(HEAD + EVIDENCE)
    more = ("conversion-regression", "slow-ramp", "tracking-loss", "upstream-fault") if CAMPAIGN else ()
    policy = resources.files("rollback_console.rehearse") / "data" / "policies" / "practice-evidence.yaml"
    with resources.as_file(policy) as path:
        for name in (str(alone), *more):
            journal = tmp_path / f"{Path(name).stem}.db"
            result, _ = asyncio.run(headless_drill(find(name), "perfect", 7, journal, path))
            assert result.passed, (name, result.failed_because)
            assert result.noticed_s is not None


def test_a_policy_in_another_mode() -> None:
    assert {str(rule.mode) for rule in play().rules()} == {"advise"}
    acting = play(mode="act").rules()[0]
    assert str(acting.mode) == "act"
    assert acting.recovery[0].authority.automatic_after_s == 60.0
    assert {str(rule.mode) for rule in play(mode="observe").rules()} == {"observe"}


TEAM = """\
schema: rollback-console/policy/v1
name: team
version: 12
deployments:
  - name: ranker
    environment: production
    model: {name: ranker, alias: champion}
    labels: {app: ranker-live}
    serving_version: served_model{app="ranker-live"}
  - name: summaries
    environment: production
    model: {name: texts, alias: live}
    labels: {app: summaries}
signals:
  conversion:
    worse: lower
    x: sum by (app) (increase(purchases_total[$window]))
    n: sum by (app) (increase(page_views_total[$window]))
    window: 5m
    breach: {below: 30%}
"""
RENAMED = """\
world:
  metrics: {visits_total: page_views_total, orders_total: purchases_total, model_info: served_model}
  labels: {deployment: app, environment: stage}
  deployments:
    - {name: ranker, labels: {app: ranker-live}, versions: [{version: "8", conversion: -20%}, {version: "7"}]}
right: {rollback: [{deployment: ranker, to: "7"}]}
"""
ASKED = "sum by (app) (increase(purchases_total[5m])) / sum by (app) (increase(page_views_total[5m]))"


async def test_a_teams_own_policy_plays_on_a_world_of_its_names(tmp_path: Path) -> None:
    path = tmp_path / "team.yaml"
    path.write_text(TEAM)
    setup = play(RENAMED, policy=path)
    assert setup.policy_bytes == TEAM.encode(), "taken whole"
    found = await measured(setup, ASKED, START, "app")
    assert found.keys() == {"ranker-live", "summaries"}, "what only the policy names serves beside it"
    assert found["ranker-live"] == pytest.approx(0.32, abs=0.02)
    assert found["summaries"] == pytest.approx(0.4, abs=0.02)
    assert await setup.metrics.query("orders_total", START) == (), "the old name is gone"
    info = await setup.metrics.query('served_model{app="ranker-live"}', START)
    assert {key: value for key, value in info[0].labels if key != "__name__"} == {
        "app": "ranker-live", "stage": "production", "job": "model-service", "model": "ranker", "version": "8",
    }  # fmt: skip
    assert (await setup.registry.model("texts")) is not None
    assert await setup.registry.read_pointer("texts", "live") == "2"


def test_a_policy_that_says_nothing_of_it(tmp_path: Path) -> None:
    path = tmp_path / "team.yaml"
    path.write_text(TEAM.replace("name: ranker\n", "name: ranking\n", 1))
    with pytest.raises(UsageError, match="says nothing of production/ranker"):
        play(RENAMED, policy=path)


def test_labels_of_the_generated_policy_are_the_worlds() -> None:
    rules = play(RENAMED).rules()
    assert rules[0].deployment.labels == (("app", "ranker-live"),)
    assert rules[0].deployment.serving_version == 'served_model{app="ranker-live"}'


def test_one_name_in_two_environments_is_told_apart() -> None:
    setup = play("world:\n  deployments: [{name: a}, {name: a, environment: staging, model: a2}]\n")
    assert [rule.deployment.labels for rule in setup.rules()] == [
        (("deployment", "a"), ("environment", "production")), (("deployment", "a"), ("environment", "staging")),
    ]  # fmt: skip


# -- finding them ------------------------------------------------------------------------------------------------------


def test_what_comes_with_the_console_is_listed_and_found_and_staged() -> None:
    names = [each.name for each in shipped()]
    assert names[0] == "demo"
    assert len(names) == len(set(names)) >= 17
    for each in shipped():
        scenario = find(each.name)
        assert scenario.listed == each
        assert scenario.careless in ("fails", "passes")
        setup = scenario.stage(7, START, VirtualClock(START))
        assert parse_policy(setup.policy_bytes, "p").rules == setup.rules()
        assert {cure.deployment for cure in setup.truth.cures} <= {d.id for d in setup.world.deployments}
        if each.name != "demo":
            assert len(scenario.digest) == 64
            assert scenario.story
    assert [each.needs for each in shipped()] == sorted((each.needs for each in shipped()), key=bool)


def test_a_file_is_found_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        HEAD + "world: {deployments: [{name: a}]}\n" + RIGHT + "lasts: 20m\nhints: [{when: fired, say: Look.}]\n"
    )
    found = find(str(path))
    assert (found.name, found.lasts_s, found.digest) == ("play", 1_200.0, load_scenario(path).digest)
    assert [(hint.when, hint.say) for hint in found.hints] == [("fired", "Look.")]
    path.write_text(HEAD)
    with pytest.raises(FileProblems, match="world: is missing"):
        find(str(path))


def test_a_name_that_is_none_has_a_near_one() -> None:
    with pytest.raises(
        UsageError, match="no scenario is called conversion-regresion: did you mean conversion-regression"
    ):
        find("conversion-regresion")
    with pytest.raises(UsageError, match=r"no scenario is called ·\[31mx"):
        find("\x1b[31mx")
    with pytest.raises(FileProblems, match="No such file"):
        find("../scenarios/blip.yaml")


def test_the_demos_policy_can_be_replaced_as_any_others(tmp_path: Path) -> None:
    demo = find("demo")
    plain = demo.stage(7, START, VirtualClock(START))
    acting = demo.stage(7, START, VirtualClock(START), mode="act")
    assert {str(rule.mode) for rule in acting.rules()} == {"act"}
    path = tmp_path / "p.yaml"
    path.write_bytes(plain.policy_bytes)
    assert demo.stage(7, START, VirtualClock(START), policy=path).rules() == plain.rules()


async def test_the_same_scenario_under_another_noise() -> None:
    written = words("world: {noise: mix, deployments: [{name: a}]}\n")
    plain = words("world: {deployments: [{name: a}]}\n")
    promql = "sum by (deployment) (increase(visits_total[5m]))"
    under = stage(plain, 7, START, VirtualClock(START), noise="mix")
    assert await under.metrics.query(promql, START) == await stage(
        written, 7, START, VirtualClock(START)
    ).metrics.query(promql, START)
    assert await under.metrics.query(promql, START) != await stage(plain, 7, START, VirtualClock(START)).metrics.query(
        promql, START
    )
    with pytest.raises(UsageError, match="there is no noise pink: take one of everyday, clean"):
        stage(plain, 7, START, VirtualClock(START), noise="pink")
    with pytest.raises(UsageError, match="a noise of its own"):
        find("demo").stage(7, START, VirtualClock(START), noise="mix")
