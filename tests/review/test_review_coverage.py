"""Coverage: every gap is found, with the line that mends it, live against a real registry and out of a journal."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from review.small_past import RANKER, Team
from rollback_console.cli.main import run
from rollback_console.execute.marks import KNOWN_BAD_TAG
from rollback_console.model.registry import ModelVersion, RegisteredModel
from rollback_console.model.rules import DeploymentRule
from rollback_console.policy.load import parse_policy
from rollback_console.review.coverage import ASKED, Known, coverage, in_registry, without_policy
from servers.mlflow import Mlflow

WHOLE = """schema: rollback-console/policy/v1
name: whole
version: 1
owners: [team-shop]
links: {Main dashboard: "https://dash.example/d/1"}
deployments:
  - {name: ranker, environment: production, model: {name: RANKER, alias: champion}}
signals:
  conversion: {area: business, worse: lower, value: "up", breach: {below: 1}}
recovery:
  - {path: version, driver: mlflow-alias, target: last_known_good}
runbook: model-version-rollback
"""
BARE = """schema: rollback-console/policy/v1
name: bare
version: 1
deployments:
  - {name: feed, environment: production, model: {name: FEED, alias: champion}}
signals:
  errors: {area: technical, worse: higher, value: "up", breach: {above: 1}}
"""


def _rule(text: str) -> DeploymentRule:
    return parse_policy(text.encode(), "p.yaml").rules[0]


def _version(number: str, status: str = "READY", *, bad: bool = False) -> ModelVersion:
    return ModelVersion("RANKER", number, status, tags=((KNOWN_BAD_TAG, "ex-1"),) if bad else ())


def test_nothing_is_missing_where_everything_is_there() -> None:
    found = coverage([(_rule(WHOLE), "p.yaml")], {RANKER: Known("2", ("1",))}, lambda _: "")
    assert found.complete
    assert found.deployments[0].holds == (True,) * len(ASKED)


def test_every_gap_has_a_line_and_the_line_mends_it() -> None:
    rule = _rule(BARE)
    known = {"production/feed": Known("1", ())}
    found = coverage([(rule, "p.yaml")], known, lambda _: "")
    assert [gap.what for gap in found.gaps] == list(ASKED)
    lines = {gap.what: gap.add for gap in found.gaps}
    signal = lines["signal"].replace("PROMQL", "'sum by (deployment) (increase(up[$window]))'")
    mended = BARE.replace("signals:\n", f"signals:\n  {signal}\n")
    for what in ("recovery path", "runbook", "owner", "dashboard"):
        mended += lines[what].replace("$deployment", "feed") + "\n"
    again = coverage([(_rule(mended), "p.yaml")], known, lambda _: "")
    assert [gap.what for gap in again.gaps] == ["second version"]


def test_a_runbook_that_is_not_there_is_a_gap() -> None:
    found = coverage([(_rule(WHOLE), "p.yaml")], {RANKER: Known("2", ("1",))}, lambda name: f"no runbook {name}")
    (gap,) = found.gaps
    assert (gap.what, gap.detail) == ("runbook", "no runbook model-version-rollback")


@pytest.mark.parametrize(
    ("versions", "others", "why"),
    [
        ([_version("2"), _version("1")], ("1",), ""),
        ([_version("2")], (), ""),
        ([_version("2"), _version("1", "PENDING_REGISTRATION")], (), "v1 is not READY"),
        ([_version("2"), _version("1", bad=True)], (), "v1 is known bad"),
    ],
)
def test_a_second_version_must_be_deployable(versions: list[ModelVersion], others: tuple[str, ...], why: str) -> None:
    rule = _rule(WHOLE)
    found = in_registry(rule, RegisteredModel("RANKER", (("champion", "2"),)), versions)
    assert (found.serving, found.others, found.why) == ("2", others, why)
    assert in_registry(rule, None, ()).others == ()
    assert "no alias champion" in in_registry(rule, RegisteredModel("RANKER"), versions).why


def test_pointers_that_nobody_names() -> None:
    models = [
        RegisteredModel("RANKER", (("champion", "2"), ("shadow", "3"))),
        RegisteredModel("lonely", (("champion", "1"),)),
        RegisteredModel("never-pointed-to"),
    ]
    found = without_policy(models, [_rule(WHOLE)])
    assert [gap.deployment for gap in found] == ["RANKER@shadow", "lonely@champion"]
    assert "another alias of it is" in found[0].detail


def _settings(folder: Path, url: str, *policies: str) -> Path:
    for number, text in enumerate(policies):
        (folder / f"p{number}.yaml").write_text(text)
    settings = folder / "settings.yaml"
    settings.write_text(
        "schema: rollback-console/settings/v1\n"
        "prometheus: {url: 'http://127.0.0.1:9'}\n"
        f"registry: {{kind: mlflow, url: '{url}'}}\n"
        "policies: ['p*.yaml']\n"
    )
    return settings


def _told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.real
def test_live_against_a_real_registry(
    mlflow_server: Mlflow, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ranker, feed, lonely = (f"{name}-{uuid.uuid4().hex[:8]}" for name in ("ranker", "feed", "lonely"))
    for name, versions in ((ranker, 2), (feed, 1), (lonely, 1)):
        mlflow_server.model(name)
        for _ in range(versions):
            mlflow_server.version(name)
        mlflow_server.point(name, "champion", str(versions))
    settings = _settings(tmp_path, mlflow_server.url, WHOLE.replace("RANKER", ranker), BARE.replace("FEED", feed))
    words = ["report", "coverage", "--config", str(settings), "--json"]
    assert run(words) == 0
    told = _told(capsys)
    whole, bare = told["coverage"]["rows"]
    assert whole["deployment"] == RANKER
    assert all(whole[word.replace(" ", "_")] is True for word in ASKED)
    assert not any(bare[word.replace(" ", "_")] for word in ASKED)
    gaps = told["gaps"]["rows"]
    assert {gap["missing"] for gap in gaps if gap["deployment"] == "production/feed"} == set(ASKED)
    assert {gap["where"] for gap in gaps if gap["deployment"] == "production/feed"} == {"p1.yaml", None}
    assert any(gap["deployment"] == f"{lonely}@champion" and lonely in gap["add"] for gap in gaps)
    assert run([*words, "--strict"]) == 1


def test_a_registry_that_does_not_answer_leaves_it_untold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = _settings(tmp_path, "http://127.0.0.1:9", WHOLE)
    assert run(["report", "coverage", "--config", str(settings), "--json", "--strict"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["coverage"]["rows"][0]["second_version"] is None
    assert "the registry was not read" in said.err


def test_offline_by_the_policies_last_in_force(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    team = Team(tmp_path / "team.db", policy=WHOLE.replace("RANKER", "ranker"))
    team.move(1, "1", "2")
    team.move(2, "1", "2", "production/stranger")
    path = team.close()
    assert run(["report", "coverage", "--offline", "--journal", str(path), "--json", "--strict"]) == 1
    told = _told(capsys)
    (row,) = told["coverage"]["rows"]
    assert row["second_version"] is True
    assert row["runbook"] is True, "one of the shipped ones"
    (gap,) = told["gaps"]["rows"]
    assert gap["deployment"] == "production/stranger"
    assert gap["missing"] == "policy"


def test_offline_what_was_rolled_back_from_is_no_way_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    team = Team(tmp_path / "team.db", policy=WHOLE.replace("RANKER", "ranker"))
    team.move(1, "1", "2")
    team.rollback(2, "2", "1")
    path = team.close()
    assert run(["report", "coverage", "--journal", str(path), "--json"]) == 0
    told = _told(capsys)
    assert told["coverage"]["rows"][0]["second_version"] is False
    assert "rolled back from" in told["gaps"]["rows"][0]["detail"]
