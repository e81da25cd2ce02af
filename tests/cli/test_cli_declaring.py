"""`baseline` and `expect` on a journal of one's own: no backend answers, and none is needed."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from cli_stack import key_of

from rollback_console.cli.main import run
from rollback_console.journal.store import Journal

MINE, OTHER = "production/checkout-ranker", "staging/checkout-ranker"
_POLICY = """
schema: rollback-console/policy/v1
name: ranking
version: 1
deployments:
  - {name: checkout-ranker, environment: production, tier: high, labels: {deployment: c},
     model: {name: ranker, alias: champion}}
  - {name: checkout-ranker, environment: staging, tier: high, labels: {deployment: s},
     model: {name: ranker, alias: staging}}
signals:
  error_rate: {area: technical, worse: higher, value: sum by (deployment) (errors), breach: {above: 2%}}
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Settings whose backends do not exist; ana may do everything in production, vera may look."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
    for name in ("ROLLBACK_CONSOLE_CONFIG", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "SSH_AUTH_SOCK"):
        monkeypatch.delenv(name, raising=False)
    key, line = key_of(b"k" * 32, "ana")
    _, viewer = key_of(b"v" * 32, "vera")
    (tmp_path / "policy.yaml").write_text(_POLICY)
    (tmp_path / "roster.yaml").write_text(
        "schema: rollback-console/roster/v1\noperators:\n"
        f'  - {{id: ana, roles: [oncall], keys: ["{line}"]}}\n  - {{id: vera, roles: [viewer], keys: ["{viewer}"]}}\n'
        "roles:\n  viewer: {may: [look]}\n"
        "  oncall: {may: [look, note, declare], in: [production]}\n"
    )
    settings = tmp_path / "settings.yaml"
    settings.write_text(
        "schema: rollback-console/settings/v1\nprometheus: {url: http://127.0.0.1:9}\n"
        "policies: [policy.yaml]\nroster: roster.yaml\njournal: journal.db\n"
    )
    monkeypatch.setenv("ROLLBACK_CONSOLE_KEY", key)
    return settings


class Said:
    """Commands with `--config` behind them, and what they printed."""

    def __init__(self, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._config, self._capsys = config, capsys
        self.err = ""

    def __call__(self, *words: str, code: int = 0) -> str:
        found = run([*words, "--config", str(self._config)])
        said = self._capsys.readouterr()
        self.err = said.err
        assert found == code, said
        return said.out


@pytest.fixture
def said(config: Path, capsys: pytest.CaptureFixture[str]) -> Said:
    return Said(config, capsys)


def kinds(config: Path) -> list[tuple[str, str, str]]:
    with Journal.open_read_only(config.parent / "journal.db") as journal:
        return [(each.kind, each.deployment, each.operator) for each in journal.entries() if each.kind != "genesis"]


def test_a_stretch_is_excluded_listed_and_put_back(said: Said, config: Path) -> None:
    out = said("baseline", "exclude", MINE, "--from", "2h", "--to", "1h", "--reason", "bad release of v8")
    assert out.startswith("excluded bl-")
    assert f"  {MINE}  ana: bad release of v8" in out
    (facts,) = json.loads(said("baseline", "list", "--json"))
    assert (facts["deployments"], facts["reason"], facts["by"]) == ([MINE], "bad release of v8", "ana")
    assert (facts["restored_at"], facts["restored_by"]) == (None, None)
    assert f"rollback-console baseline restore {facts['id']}" in out
    back = json.loads(said("baseline", "restore", facts["id"], "--reason", "wrong day", "--json"))
    assert (back["id"], back["restored_by"]) == (facts["id"], "ana")
    assert "(put back by ana)" in said("baseline", "list")
    said("baseline", "restore", facts["id"], "--reason", "again", code=5)
    assert "was put back already, by ana" in said.err
    said("baseline", "restore", "bl-nothing", "--reason", "again", code=2)
    assert kinds(config) == [("exclusion", MINE, "ana"), ("exclusion", MINE, "ana")]
    said("journal", "verify", "--decisions")


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        ((MINE, "--from", "2h", "--to", "2030-01-01"), 2, "it ends in the future"),
        ((MINE, "--from", "1h", "--to", "2h"), 2, "it ends before it begins"),
        ((MINE, "--from", "90d"), 2, "at most 60d"),
        ((MINE, "--from", "yesterday"), 2, "'yesterday'"),
        (("--from", "2h"), 2, "name one deployment, or say --all"),
        ((MINE, "--all", "--from", "2h"), 2, "name one deployment, or say --all"),
        (("checkout-ranker", "--from", "2h"), 2, "is in several environments"),
        (("production/nothing", "--from", "2h"), 2, "no policy names production/nothing"),
        ((OTHER, "--from", "2h"), 4, "none of your roles allows declare in staging"),
        (("--all", "--from", "2h"), 4, "none of your roles allows declare in staging"),
    ],
)
def test_what_may_not_be_excluded_says_why(said: Said, words: tuple[str, ...], code: int, why: str) -> None:
    said("baseline", "exclude", *words, "--reason", "an incident", code=code)
    assert why in said.err


def test_a_reason_is_needed(said: Said) -> None:
    said("baseline", "exclude", MINE, "--from", "2h", "--reason", "  ", code=2)
    assert "it needs a reason" in said.err
    said("expect", MINE, "--for", "40m", code=2)
    assert "it needs a reason" in said.err


def test_who_may_not_declare_hears_who_could(said: Said, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROLLBACK_CONSOLE_KEY", key_of(b"v" * 32, "vera")[0])
    for words in (("expect", MINE, "--for", "40m"), ("baseline", "exclude", MINE, "--from", "2h")):
        said(*words, "--reason", "index rebuild", code=4)
        assert "ask ana (oncall)" in said.err
    assert [kind for kind, _, _ in kinds(config)] == ["refusal", "refusal"]


def test_a_change_is_expected_listed_and_ended(said: Said, config: Path) -> None:
    before = time.time()
    out = said("expect", MINE, "--for", "40m", "--reason", "index rebuild")
    assert out.startswith("expected: ch-")
    (facts,) = json.loads(said("expect", "--list", "--json"))
    assert (facts["deployments"], facts["reason"], facts["by"], facts["ended_at"]) == (
        [MINE], "index rebuild", "ana", None,
    )  # fmt: skip
    until = time.mktime(time.strptime(facts["until"][:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone
    assert before + 2399 <= until <= time.time() + 2400
    said("expect", MINE, "--end", "--reason", "done early")
    assert said("expect", "--list") == "nothing is expected by hand now\n"
    said("expect", MINE, "--end", "--reason", "again", code=5)
    said("expect", facts["id"], "--end", "--reason", "again", code=5)
    assert "is over already" in said.err
    assert kinds(config) == [("expected", MINE, "ana"), ("expected", MINE, "ana")]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ((MINE, "--for", "15d"), "at most 14d"),
        ((MINE, "--for", "20s"), "less than a minute"),
        ((MINE, "--for", "soon"), "is not a time"),
        ((MINE,), "say --for 40m; or --end, or --list"),
        ((MINE, "--for", "40m", "--end"), "say --for 40m; or --end, or --list"),
        (("--for", "40m"), "name one or several"),
    ],
)
def test_what_may_not_be_expected_says_why(said: Said, words: tuple[str, ...], why: str) -> None:
    said("expect", *words, "--reason", "index rebuild", code=2)
    assert why in said.err
