"""`identity` and `whoami`, as typed: in processes of their own, with the real files and a real terminal."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from rollback_console.authorize import sshsig

PRIVATE = Ed25519PrivateKey.from_private_bytes(b"c" * 32)
LINE = sshsig.public_line(sshsig.public_blob(PRIVATE.public_key()), "ana")
PEM = PRIVATE.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
).decode()


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An empty home, no agent, no keyring."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("SSH_", "ROLLBACK_", "XDG_"))}
    return clean | {"HOME": str(tmp_path), "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}


def _run(environ: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rollback_console", *arguments],
        env=environ, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def _typed(environ: dict[str, str], answers: list[str], *arguments: str) -> tuple[int, str]:
    """The command on a terminal of its own, with somebody typing."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(sys.executable, [sys.executable, "-m", "rollback_console", *arguments], environ)
    said, answered = b"", 0
    while select.select([terminal], [], [], 30)[0]:
        try:
            part = os.read(terminal, 4096)
        except OSError:  # how Linux says that the other end is closed
            break
        if not part:
            break
        said += part
        asked = said.count(b"A passphrase for the key: ") + said.count(b"Repeat for confirmation: ")
        if asked > answered:
            os.write(terminal, answers[answered].encode() + b"\n")
            answered += 1
    else:
        os.kill(pid, signal.SIGKILL)
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said.decode(errors="replace")


def _settings(folder: Path, roles: str) -> Path:
    (folder / "roster.yaml").write_text(
        f'schema: rollback-console/roster/v1\noperators: [{{id: ana, name: Ana, roles: [{roles}], keys: ["{LINE}"]}}]\n'
    )
    path = folder / "settings.yaml"
    path.write_text(
        "schema: rollback-console/settings/v1\nprometheus: {url: http://127.0.0.1:9}\n"
        "policies: [p.yaml]\nroster: roster.yaml\n"
    )
    (folder / "p.yaml").write_text("")
    return path


def test_a_key_is_made_on_a_terminal_encrypted_and_its_roster_line_printed(
    environ: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "key"
    code, said = _typed(
        environ, ["a long sentence", "a long sentence"], "identity", "init", "--operator", "ana", "--file", str(file)
    )
    assert code == 0, said
    assert "a long sentence" not in said
    assert "- id: ana" in said
    assert "ssh-ed25519 AAAA" in said
    assert file.stat().st_mode & 0o777 == 0o600
    shown = _run(environ | {"ROLLBACK_CONSOLE_KEY_FILE": str(file)}, "identity", "show", "--json")
    assert json.loads(shown.stdout)["locked"] == str(file)
    assert shown.returncode == 0


def test_without_a_terminal_a_key_is_not_made_in_plain_text(environ: dict[str, str], tmp_path: Path) -> None:
    done = _run(environ, "identity", "init", "--operator", "ana")
    assert done.returncode == 2
    assert "ROLLBACK_CONSOLE_KEY" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.rglob("identity*")) == []


def test_without_a_key_show_says_where_it_looked(environ: dict[str, str]) -> None:
    done = _run(environ, "identity", "show")
    assert done.returncode == 4
    for place in ("keyring", "ssh-agent", "file", "environment", "file descriptor"):
        assert f"- {place}: " in done.stdout


def test_whoami_in_ci_with_a_key_in_the_environment(environ: dict[str, str], tmp_path: Path) -> None:
    config = _settings(tmp_path, "oncall")
    done = _run(environ | {"ROLLBACK_CONSOLE_KEY": PEM}, "whoami", "--config", str(config), "--json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["operator"] == "ana"
    assert facts["permissions"]["rollback"] == ["all"]
    assert facts["look_only"] is None
    assert facts["key_kept_in"] == "plain text in ROLLBACK_CONSOLE_KEY"
    assert "PRIVATE" not in done.stdout + done.stderr


@pytest.mark.parametrize(("roles", "key", "words"), [("viewer", PEM, "allow looking only"), ("oncall", "", "no key")])
def test_whoami_says_why_one_can_only_look(
    environ: dict[str, str], tmp_path: Path, roles: str, key: str, words: str
) -> None:
    config = _settings(tmp_path, roles)
    done = _run(environ | {"ROLLBACK_CONSOLE_KEY": key}, "whoami", "--config", str(config))
    assert done.returncode == 4
    assert words in done.stdout
