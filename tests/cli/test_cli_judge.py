"""`judge`, `report postmortem` and `report message` on a journal of one's own, and the tags in a real registry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cli_stack import key_of

from rollback_console.cli.main import run
from rollback_console.cli.own_judging import own_judging
from rollback_console.clock import WallClock
from rollback_console.errors import Refused
from rollback_console.journal.device import DeviceKey
from rollback_console.journal.kinds import Adopted, IncidentRecorded, PointerMoved
from rollback_console.journal.store import Journal
from rollback_console.model.judgement import Judgement
from rollback_console.review.desk import ReviewCommands
from servers.mlflow import Mlflow

MINE = "production/checkout-ranker"
_POLICY = """
schema: rollback-console/policy/v1
name: ranking
version: 1
deployments:
  - {name: checkout-ranker, environment: production, tier: high, labels: {deployment: c},
     model: {name: %s, alias: champion}}
signals:
  error_rate: {area: technical, worse: higher, value: sum by (deployment) (errors), breach: {above: 2%%}}
recovery:
  - {path: version, driver: mlflow-alias, target: last_known_good}
"""


class Said:
    """Commands with `--config` behind them, and what they printed."""

    def __init__(self, folder: Path, model: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys
        self.err = ""
        (folder / "policy.yaml").write_text(_POLICY % json.dumps(model))
        self.configure("http://127.0.0.1:9")

    def configure(self, registry: str, more: str = "") -> None:
        (self.folder / "settings.yaml").write_text(
            "schema: rollback-console/settings/v1\nprometheus: {url: http://127.0.0.1:9}\n"
            f"registry: {{kind: mlflow, url: '{registry}', timeout: 2s}}\n"
            f"policies: [policy.yaml]\nroster: roster.yaml\njournal: journal.db\n{more}"
        )

    def __call__(self, *words: str, code: int = 0) -> str:
        found = run([*words, "--config", str(self.folder / "settings.yaml")])
        said = self._capsys.readouterr()
        self.err = said.err
        assert found == code, said
        return said.out

    def json(self, *words: str, code: int = 0) -> Any:
        return json.loads(self(*words, "--json", code=code))

    def kinds(self) -> list[str]:
        with Journal.open_read_only(self.folder / "journal.db") as journal:
            return [each.kind for each in journal.entries() if each.kind not in ("genesis", "session")]


@pytest.fixture
def said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> Said:
    """A journal with an incident that was rolled back by hand and is over; ana may judge, vera may look."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
    for name in ("ROLLBACK_CONSOLE_CONFIG", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "SSH_AUTH_SOCK"):
        monkeypatch.delenv(name, raising=False)
    key, line = key_of(b"k" * 32, "ana")
    viewer_key, viewer = key_of(b"v" * 32, "vera")
    (tmp_path / "vera").write_text(viewer_key)
    (tmp_path / "roster.yaml").write_text(
        "schema: rollback-console/roster/v1\noperators:\n"
        f'  - {{id: ana, roles: [oncall], keys: ["{line}"]}}\n  - {{id: vera, roles: [viewer], keys: ["{viewer}"]}}\n'
    )
    monkeypatch.setenv("ROLLBACK_CONSOLE_KEY", key)
    model = f"judged {request.node.name}"[:60]
    made = Said(tmp_path, model, capsys)
    with Journal.open(tmp_path / "journal.db", device=DeviceKey.default(), clock=WallClock()) as journal:
        at = WallClock().now()

        def incident(event: str) -> IncidentRecorded:
            return IncidentRecorded.model_validate({
                "event": event, "id": "inc-3f2a9c0d", "members": [MINE], "onset": at - 60, "attribution": "release",
                "reasons": ["it began after v8 did"], "sentence": "release: checkout-ranker degraded after v8",
            })  # fmt: skip

        journal.append(incident("opened"))
        journal.append(
            PointerMoved(at=at, model=model, alias="champion", before="8", after="7"), deployment=MINE
        )  # fmt: skip
        journal.append(
            Adopted(model=model, alias="champion", from_version="8", to_version="7", reason="by hand", moved_at=at),
            deployment=MINE, operator="ana",
        )  # fmt: skip
        journal.append(incident("closed"))
    return made


def test_what_waits_is_listed_judged_shown_and_superseded(said: Said) -> None:
    listed = said.json("judge", "--list")
    assert [each["subject"] for each in listed["waiting"]] == ["move:4"], "it never fired here, its rollback counts"
    assert listed["waiting"][0]["incident"] == "inc-3f2a9c0d"
    out = said("judge", "--list")
    assert out.startswith("1 wait for judgement\n  move:4")
    said("judge", "inc-3f2a9c0d", code=2)
    assert "nothing is said of it" in said.err
    said("judge", code=2)
    assert "what is judged?" in said.err
    first = said.json(
        "judge", "inc-3f2a9c0d", "--root-cause", "performance-degradation", "--right", "--margins", "too-tight",
        "--gate", "shadow", "--lesson", "compare by segment", "--lesson", "page earlier", "--expected", "back to 3.1 %",
    )  # fmt: skip
    assert (first["by"], first["right"], first["margins"]) == ("ana", "right", "too tight")
    assert (first["root_cause"], first["gate"]) == ("performance degradation", "shadow traffic")
    assert first["signed"].startswith("SHA256:")
    assert said.json("judge", "--list")["waiting"] == [], "its rollback is judged with it"
    said("judge", "inc-3f2a9c0d", "--wrong", code=5)
    assert f"name it: --supersedes {first['seq']}" in said.err
    second = said.json("judge", "inc-3f2a9c0d", "--wrong", "--gate", "", "--supersedes", str(first["seq"]))
    assert (second["right"], second["gate"], second["supersedes"]) == ("wrong", None, first["seq"])
    assert second["lessons"] == ["compare by segment", "page earlier"], "what is not said stays"
    out = said("judge", "inc-3f2a9c0d", "--show")
    assert f"entry {first['seq']}, " in out
    assert "ana (superseded)" in out
    assert out.count("lesson: page earlier") == 2
    shown = said.json("judge", "inc-3f2a", "--show")
    assert [each["seq"] for each in shown["judgements"]] == [first["seq"], second["seq"]]
    said("journal", "verify")
    assert said.kinds().count("judgement") == 2


def test_follow_ups_from_the_command_line(said: Said) -> None:
    words = ("judge", "inc-3f2a9c0d", "--follow-up", "a canary by segment", "--owner", "ana")
    said(*words, code=2)
    assert "give --owner NAME and --due 2026-12-24" in said.err
    made = said.json(*words, "--due", "2020-01-02")
    assert (made["state"], made["due"], made["owner"]) == ("open", "2020-01-02", "ana")
    assert [each["id"] for each in said.json("judge", "--list")["overdue"]] == [made["id"]]
    assert "1 follow-ups are overdue" in said("judge", "--list")
    said("judge", "--drop", made["id"], code=2)
    assert said.json("judge", "--done", made["id"], "--reason", "in place")["state"] == "done"
    said("judge", "--done", made["id"], code=5)
    assert said.json("judge", "--list")["open"] == []


def test_who_may_not_judge_is_told_who_could(said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROLLBACK_CONSOLE_KEY", (said.folder / "vera").read_text())
    said("judge", "inc-3f2a9c0d", "--right", code=4)
    assert "the permission judge is in none of your roles (viewer): ask ana (oncall)" in said.err
    assert said("judge", "--list").startswith("1 wait"), "looking needs no key"
    said("report", "message", "inc-3f2a9c0d", "--sent-to", "#incident", code=4)
    assert "message" not in said.kinds()


def test_a_message_is_printed_written_and_recorded_with_its_very_words(said: Said) -> None:
    draft = said.json("report", "message", "inc-3f2a9c0d", "--template", "resolved", "--audience", "external")
    assert "message" not in said.kinds(), "a draft is no message"
    out = said.folder / "resolved.md"
    words = ("report", "message", "inc-3f2a9c0d", "--template", "resolved", "--audience", "external")
    said(*words, "--output", str(out))
    with Journal.open_read_only(said.folder / "journal.db") as journal:
        (entry,) = journal.entries(0, ("message",))
    body = json.loads(entry.body)
    assert (body["text"], body["how"], body["to"]) == (out.read_text(), "written", "resolved.md")
    assert body["incident"] == draft["incident"] == "inc-3f2a9c0d"
    said(*words, "--output", str(out), code=5)
    assert "exists" in said.err
    assert sorted(each.name for each in said.folder.glob("*.md")) == ["resolved.md"]
    said("report", "message", "inc-3f2a9c0d", "--sent-to", "#incident-42")
    with Journal.open_read_only(said.folder / "journal.db") as journal:
        assert [json.loads(e.body)["to"] for e in journal.entries(0, ("message",))][-1] == "#incident-42"
    (said.folder / "wording").mkdir()
    (said.folder / "wording" / "board.internal.md").write_text("{deployments} is {state}")
    said.configure("http://127.0.0.1:9", "templates: wording\ncauses: [consent withdrawn]\n")
    assert said("report", "message", "inc-3f2a9c0d", "--template", "board") == f"{MINE} is over\n"
    assert said.json("judge", "move:4", "--root-cause", "consent")["root_cause"] == "consent withdrawn"
    draft = said("report", "postmortem", "inc-3f2a9c0d")
    assert "Root cause: consent withdrawn" in draft
    assert "> checkout-ranker" not in draft


async def test_ones_own_journal_is_judged_while_it_is_reviewed_and_nobody_elses(said: Said, tmp_path: Path) -> None:
    settings, path = said.folder / "settings.yaml", said.folder / "journal.db"
    commands = ReviewCommands()
    commands.judges = own_judging(settings, path)
    assert (await commands.docket()).waiting == ("move:4",)
    made = await commands.judge(Judgement("inc-3f2a9c0d", right="right"))
    assert (made.by, bool(made.signed)) == ("ana", True)
    follow_up = await commands.follow_up("inc-3f2a9c0d", "a canary", "ana", "2026-12-24")
    assert (await commands.end_follow_up(follow_up.id)).state == "done"
    message = (await commands.drafts("inc-3f2a9c0d"))[0]
    await commands.told(message, "copied")
    assert said.kinds()[-4:] == ["judgement", "follow-up", "follow-up", "message"]
    said("journal", "verify")
    elsewhere = tmp_path / "copy.db"
    elsewhere.write_bytes(path.read_bytes())
    assert own_judging(settings, elsewhere) is None
    assert own_judging(None, path) is None, "without settings nobody knows whose it is"
    commands.judges = own_judging(settings, elsewhere)
    with pytest.raises(Refused, match="not this console's own journal: judge it where it is written"):
        await commands.judge(Judgement("inc-3f2a9c0d", right="wrong", supersedes=made.seq))


@pytest.mark.real
def test_the_version_in_a_real_registry_is_tagged_now_or_later(said: Said, mlflow_server: Mlflow) -> None:
    with Journal.open_read_only(said.folder / "journal.db") as journal:
        (moved,) = journal.entries(0, ("adopt",))
    model = json.loads(moved.body)["model"]
    mlflow_server.model(model)
    for _ in range(8):
        mlflow_server.version(model)

    def tags() -> dict[str, str]:
        found: Any = mlflow_server.call("GET", "model-versions/get", name=model, version="8")["model_version"]
        return {tag["key"]: tag["value"] for tag in found.get("tags", [])}

    done = said.json("judge", "move:4", "--root-cause", "safety concern")  # the registry does not answer
    assert [tag["key"] for tag in done["tags_pending"]] == ["rollback-console.root_cause", "rollback-console.incident"]
    assert "2 tags are not in the registry yet" in said.err
    said("judge", "--tags", code=3)
    assert "2 tags wait for the registry: rollback-console judge --tags" in said("judge", "--list")
    assert tags() == {}
    said.configure(mlflow_server.url)
    assert [each["problem"] for each in said.json("judge", "--tags")] == [None, None]
    assert tags() == {
        "rollback-console.root_cause": "safety concern", "rollback-console.incident": "inc-3f2a9c0d",
    }  # fmt: skip
    later = said.json("judge", "move:4", "--root-cause", "upstream data issue", "--supersedes", str(done["seq"]))
    assert later["tags_pending"] == []
    assert tags()["rollback-console.root_cause"] == "upstream data issue"
    assert said.json("judge", "--tags") == []
    told = [kind for kind in said.kinds() if kind in ("judgement", "intent", "outcome", "tag")]
    assert told == [
        "judgement", "intent", "outcome", "intent", "outcome", "intent", "tag", "tag", "judgement", "intent", "tag",
    ]  # fmt: skip
    said("journal", "verify")
