"""Secrets from the keyring (in a subprocess), the environment and files; and backends built from settings."""

from __future__ import annotations

import time
from pathlib import Path
from random import Random

import pytest
import yaml

from rollback_console.clock import WallClock
from rollback_console.observe import secrets
from rollback_console.observe.connect import connect
from rollback_console.observe.secrets import SecretError, SecretPlace, resolve
from rollback_console.policy.settings import Settings
from servers.faulty import FaultyServer

WHAT = "prometheus.auth.token"
KEYRINGS = '''
"""Keyrings for tests: fakes of what real ones do."""
import time
from keyring.backend import KeyringBackend

class Good(KeyringBackend):
    priority = 1
    def get_password(self, service, username):
        return {("svc", "me"): "from the ring", ("svc", "odd"): "\\u2603"}.get((service, username))
    def set_password(self, *a): raise RuntimeError
    def delete_password(self, *a): raise RuntimeError

class Hanging(Good):
    def get_password(self, service, username):
        time.sleep(60)

class Asking(Good):
    def get_password(self, service, username):
        import getpass
        return getpass.getpass()

class PlaintextKeyring(Good):
    pass

class Broken(Good):
    def get_password(self, service, username):
        raise RuntimeError("\\x1b[2Jlocked")
'''


@pytest.fixture
def ring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    (tmp_path / "test_rings.py").write_text(KEYRINGS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return monkeypatch


def refused(secret: SecretPlace, **options: object) -> str:
    with pytest.raises(SecretError) as caught:
        resolve(secret, WHAT, **options)  # type: ignore[arg-type]
    line = str(caught.value)
    assert WHAT in line
    assert all(char.isprintable() for char in line)
    return line


def test_the_environment() -> None:
    assert resolve(SecretPlace("env", "TOKEN"), WHAT, env={"TOKEN": "abc"}) == "abc"
    assert "export TOKEN" in refused(SecretPlace("env", "TOKEN"), env={})
    assert "export TOKEN" in refused(SecretPlace("env", "TOKEN"), env={"TOKEN": ""})


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o660])
def test_a_file_that_others_cannot_read(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "token"
    file.write_text("abc def\r\n")
    file.chmod(mode)
    assert resolve(SecretPlace("file", str(file)), WHAT) == "abc def"
    assert resolve(SecretPlace("file", "token"), WHAT, base=tmp_path) == "abc def"


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602, 0o777])
def test_a_file_that_everyone_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "token"
    file.write_text("hidden")
    file.chmod(mode)
    line = refused(SecretPlace("file", str(file)))
    assert "chmod 600" in line
    assert f"{mode:04o}" in line
    assert "hidden" not in line


@pytest.mark.parametrize(
    ("content", "says"), [(b"", "empty"), (b" \n", "empty"), (b"\xff\xfe", "not text"), (b"x" * 70_000, "larger")]
)
def test_files_that_hold_no_secret(tmp_path: Path, content: bytes, says: str) -> None:
    file = tmp_path / "token"
    file.touch(mode=0o600)
    file.write_bytes(content)
    assert says in refused(SecretPlace("file", str(file)))


def test_files_that_are_none(tmp_path: Path) -> None:
    assert "No such file" in refused(SecretPlace("file", str(tmp_path / "none\x1b[2J")))
    assert "cannot be read" in refused(SecretPlace("file", str(tmp_path)))
    assert "no place" in refused(SecretPlace("vault", "x"))


def test_a_keyring_that_has_it(ring: pytest.MonkeyPatch) -> None:
    ring.setenv("PYTHON_KEYRING_BACKEND", "test_rings.Good")
    assert resolve(SecretPlace("keyring", "svc/me"), WHAT) == "from the ring"
    assert resolve(SecretPlace("keyring", "svc/odd"), WHAT) == "\u2603"
    assert "keyring set svc other" in refused(SecretPlace("keyring", "svc/other"))
    assert "service/name" in refused(SecretPlace("keyring", "svc"))


def test_a_keyring_module_in_the_current_folder_is_not_asked(ring: pytest.MonkeyPatch, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "keyring.py").write_text("raise SystemExit('planted')")
    (elsewhere / "json.py").write_text("raise SystemExit('planted')")
    ring.chdir(elsewhere)
    ring.setenv("PYTHON_KEYRING_BACKEND", "test_rings.Good")
    assert resolve(SecretPlace("keyring", "svc/me"), WHAT) == "from the ring"


def test_a_hanging_keyring_is_given_up(ring: pytest.MonkeyPatch) -> None:
    ring.setenv("PYTHON_KEYRING_BACKEND", "test_rings.Hanging")
    ring.setattr(secrets, "KEYRING_S", 1.0)
    begun = time.monotonic()
    assert "did not answer within" in refused(SecretPlace("keyring", "svc/me"))
    assert time.monotonic() - begun < 5


def test_a_keyring_that_asks_at_the_terminal_cannot(ring: pytest.MonkeyPatch) -> None:
    ring.setenv("PYTHON_KEYRING_BACKEND", "test_rings.Asking")
    line = refused(SecretPlace("keyring", "svc/me"))
    assert "env: NAME" in line


@pytest.mark.parametrize(
    "backend", ["test_rings.PlaintextKeyring", "keyring.backends.fail.Keyring", "keyring.backends.null.Keyring"]
)
def test_plain_text_and_no_keyring_are_refused(ring: pytest.MonkeyPatch, backend: str) -> None:
    ring.setenv("PYTHON_KEYRING_BACKEND", backend)
    line = refused(SecretPlace("keyring", "svc/me"))
    assert "no safe keyring" in line
    assert "file: PATH" in line


def test_a_broken_keyring_says_so_in_one_line(ring: pytest.MonkeyPatch) -> None:
    ring.setenv("PYTHON_KEYRING_BACKEND", "test_rings.Broken")
    assert "locked" in refused(SecretPlace("keyring", "svc/me"))


async def test_backends_from_settings(
    faulty_server: FaultyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").touch(mode=0o600)
    (tmp_path / "token").write_text("from-a-file\n")
    monkeypatch.setenv("REGISTRY_PASSWORD", "pw")
    monkeypatch.setenv("TENANT_KEY", "key")
    text = f"""
schema: rollback-console/settings/v1
policies: [policies/*.yaml]
prometheus:
  url: {faulty_server.url}
  auth: {{kind: bearer, token: {{file: token}}}}
  headers: {{X-Scope-OrgID: team-a, X-Api-Key: {{env: TENANT_KEY}}}}
  timeout: 5s
registry:
  kind: mlflow
  url: {faulty_server.url}
  auth: {{kind: basic, username: me, password: {{env: REGISTRY_PASSWORD}}}}
"""
    settings = Settings.model_validate(yaml.safe_load(text))
    backends = connect(settings, tmp_path, clock=WallClock(), random=Random(1))
    assert backends.registry is not None
    await backends.metrics.query("up", 1.0)
    faulty_server.ok_body = b'{"registered_models": []}'
    assert await backends.registry.models() == ()
    first, second = (headers for _, headers, _ in faulty_server.requests)
    assert first["authorization"] == "Bearer from-a-file"
    assert first["x-scope-orgid"] == "team-a"
    assert first["x-api-key"] == "key"
    assert second["authorization"] == "Basic bWU6cHc="
    await backends.close()
    monkeypatch.delenv("TENANT_KEY")
    with pytest.raises(SecretError, match="X-Api-Key"):
        connect(settings, tmp_path, clock=WallClock(), random=Random(1))
    alone = settings.model_copy(update={"registry": None})
    monkeypatch.setenv("TENANT_KEY", "key")
    without = connect(alone, tmp_path, clock=WallClock(), random=Random(1))
    assert without.registry is None
    await without.close()
