"""`policy check|schema|explain` and `init` as people call them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rollback_console.cli.main import run
from rollback_console.policy.load import load_all
from servers.mlflow import Mlflow
from servers.prometheus import Prometheus, make_openmetrics

DOCS = Path(__file__).parents[2] / "docs" / "policies.md"
GOOD = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(), re.S)[1]


def test_check_says_everything_and_exits_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(GOOD)
    bad.write_text(GOOD.replace("\n  dwell: 5m", "\n  dwell: 5 minutes").replace("mode: advise", "mode: actt"))
    assert run(["policy", "check", str(good)]) == 0
    assert capsys.readouterr().out == f"{good}: policy ok\n"
    assert run(["policy", "check", str(good), str(bad)]) == 2
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith(f"{bad}:4:7: mode: is not observe, advise or act")
    assert lines[2].startswith(f"{bad}:51:10: trigger.dwell: '5 minutes' is not a duration. Write `5m`")
    assert lines[3] == f"{bad}: 2 errors"


def test_check_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(GOOD.replace("risk: normal", "risk: hgih"))
    assert run(["policy", "check", "--json", str(path)]) == 2
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["file"], found["kind"], found["ok"]) == (str(path), "policy", False)
    assert found["problems"][0]["path"] == "risk"
    assert found["problems"][0]["remedy"] == "Did you mean high"


def test_nothing_raw_reaches_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.yaml"
    path.write_text('"a\\e[31m\\u202e[/bold]": 1\nschema: "\\e]0;owned\\a"\n')
    assert run(["policy", "check", str(path)]) == 2
    assert run(["policy", "explain", str(path)]) == 2
    said = capsys.readouterr()
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", said.out + said.err)


def test_schema_and_explain(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(GOOD)
    for kind in ("policy", "settings", "roster", "scenario"):
        assert run(["policy", "schema", kind]) == 0
        assert json.loads(capsys.readouterr().out)["$id"] == f"urn:rollback-console:{kind}:v1"
    assert run(["policy", "explain", str(path)]) == 0
    assert "ranking, version 7, mode advise" in capsys.readouterr().out


def test_reading_policies_imports_no_screen_and_no_network() -> None:
    code = (
        "import sys, rollback_console.policy.load, rollback_console.policy.explain, rollback_console.policy.draft\n"
        "print({'textual', 'rich', 'httpx', 'requests', 'sqlite3', 'keyring', 'click'} & set(sys.modules))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "set()"


NOW = 5.0  # seconds before the test: fresh enough for an instant query


def exposed(*deployments: str) -> str:
    """What two deployments of one fleet would have been scraped with."""
    at = time.time() - NOW
    names = ("orders_total", "visits_total", "errors_total", "requests_total", "revenue_total")
    return make_openmetrics(
        {name: [({"deployment": one}, at - back, 100.0 - back) for one in deployments for back in (60, 30, 0)]
         for name in names}
    )  # fmt: skip


@pytest.mark.real
def test_init_drafts_from_real_servers(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    prometheus_server: Callable[..., Prometheus],
    mlflow_server: Mlflow,
) -> None:
    run_of = tmp_path.name.rsplit("_", 1)[-1]  # the registry is shared, and a second try needs names of its own
    checkout, search, abandoned = (f"{name}-{run_of}" for name in ("init-checkout", "init-search", "a-init-abandoned"))
    for name in (checkout, search, abandoned):
        mlflow_server.model(name)
    mlflow_server.point(checkout, "champion", mlflow_server.version(checkout))
    mlflow_server.point(search, "prod", mlflow_server.version(search))
    prometheus = prometheus_server(openmetrics=exposed(checkout, search))
    key = tmp_path / "id.pub"
    key.write_text("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB ana@laptop\n")
    folder = tmp_path / "config"
    words = ["init", "--prometheus", prometheus.url, "--mlflow", mlflow_server.url, "--directory", str(folder)]
    words += ["--operator", "ana", "--key", str(key)]
    assert run(words) == 0
    said = capsys.readouterr().out
    assert "metrics tell deployments apart by 'deployment'" in said
    assert "left out, for they have no alias that serving could follow" in said
    drafted = (folder / "policy.yaml").read_text()
    assert [line for line in drafted.splitlines() if line.startswith("#  ") and abandoned in line.split()]
    together = load_all(folder / "settings.yaml")
    pointers = {str(rule.deployment.id): rule.deployment.alias for rule in together.rules}
    assert pointers[f"production/{checkout}"] == "champion"
    assert pointers[f"production/{search}"] == "prod"
    assert f"production/{abandoned}" not in pointers
    assert [signal.name for signal in together.rules[0].signals] == ["conversion", "error_rate", "volume"]
    assert together.roster is not None
    assert together.roster.roster.operators[0].keys[0].endswith("ana@laptop")
    assert run(words) == 2  # it never overwrites
    assert "has settings.yaml, policy.yaml, roster.yaml already" in capsys.readouterr().err
    assert run([*words, "--force"]) == 0
    assert sorted(path.name for path in folder.iterdir()) == ["policy.yaml", "roster.yaml", "settings.yaml"]


def test_init_says_what_it_cannot_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    secret = tmp_path / "id"
    secret.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1\n-----END OPENSSH PRIVATE KEY-----\n")
    folder = str(tmp_path / "config")
    base = ["init", "--directory", folder, "--prometheus"]
    for words, code, expected in (
        (["http://ana:hunter2@127.0.0.1:9"], 2, "--prometheus: holds a user or a password in clear"),
        (["http://127.0.0.1:9", "--operator", "a b"], 2, "--operator: 'a b' is not a name here"),
        (["http://127.0.0.1:9", "--key", str(secret)], 2, "a private key stands here"),
        (["http://127.0.0.1:9", "--key", str(tmp_path / "none")], 2, "cannot be read"),
        (["http://127.0.0.1:1"], 3, "cannot be reached"),
    ):
        assert run([*base, *words]) == code
        said = capsys.readouterr().err
        assert expected in said
        assert "hunter2" not in said
        assert "b3BlbnNzaC1" not in said
    assert not Path(folder).exists()
