"""Where a person's key is found, in order, and never in plain text without saying so."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from rollback_console.authorize import keyring_probe, keys
from rollback_console.authorize.keys import FD_VARIABLE, KEY_VARIABLE, KeyProblem, PersonKey, find_key

PRIVATE = Ed25519PrivateKey.from_private_bytes(b"k" * 32)


def _pem(key: object = PRIVATE) -> str:
    return key.private_bytes(  # type: ignore[attr-defined]
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    ).decode()


def _off(user: str) -> keyring_probe.Answer:
    return keyring_probe.Answer(None, "no keyring in this test")


BLOB = PersonKey.from_private(PRIVATE, "here").blob


def test_the_order_is_keyring_agent_file_environment_descriptor(tmp_path: Path) -> None:
    file = tmp_path / "identity"
    keys.make_in_file("ana", file, "a long sentence")
    stored = keyring_probe.Answer(_pem(), "", "keyring.backends.SecretService.Keyring")
    found = find_key(key_file=file, environ={KEY_VARIABLE: _pem()}, ask_keyring=lambda user: stored)
    assert found.key is not None
    assert found.key.source == "keyring (keyring.backends.SecretService.Keyring)"
    found = find_key(key_file=file, environ={KEY_VARIABLE: _pem()}, ask_keyring=_off)
    assert found.key is not None
    assert found.key.source == f"plain text in {KEY_VARIABLE}"
    assert [(a.place, a.found) for a in found.attempts] == [
        ("keyring", False), ("ssh-agent", False), ("file", True), ("environment", True),
    ]  # fmt: skip
    found = find_key(key_file=file, environ={}, ask_keyring=_off)
    assert found.key is None
    assert found.locked is not None
    assert [a.place for a in found.attempts] == ["keyring", "ssh-agent", "file", "environment", "file descriptor"]


def test_a_descriptor_gives_the_key(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.write(write, _pem().encode())
    os.close(write)
    found = find_key(key_file=tmp_path / "none", environ={FD_VARIABLE: str(read)}, ask_keyring=_off)
    assert found.key is not None
    assert found.key.blob == BLOB
    closed = find_key(key_file=tmp_path / "none", environ={FD_VARIABLE: str(read)}, ask_keyring=_off)
    assert closed.key is None
    assert "cannot be read" in closed.attempts[-1].detail


def test_an_open_file_or_one_without_a_passphrase_is_refused_with_the_remedy(tmp_path: Path) -> None:
    file = tmp_path / "identity"
    file.write_text(_pem())
    file.chmod(0o644)

    def said() -> str:
        found = find_key(key_file=file, environ={}, ask_keyring=_off)
        assert found.key is None
        assert found.locked is None
        return found.attempts[2].detail

    assert "can be read by others: chmod 600" in said()
    file.chmod(0o600)
    assert "not protected by a passphrase: give it one: ssh-keygen -p" in said()
    for text, words in (
        ("", "not an OpenSSH private key"),
        ("hello", "not an OpenSSH private key"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\n?\n-----END OPENSSH PRIVATE KEY-----", "not a whole"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nAA==\n-----END OPENSSH PRIVATE KEY-----", "not a whole"),
    ):
        file.write_text(text)
        assert words in said()


def test_another_algorithm_is_refused(tmp_path: Path) -> None:
    environ = {KEY_VARIABLE: _pem(generate_private_key(SECP256R1()))}
    found = find_key(key_file=tmp_path / "none", environ=environ, ask_keyring=_off)
    assert found.key is None
    assert "not Ed25519" in found.attempts[3].detail
    found = find_key(key_file=tmp_path / "none", environ={KEY_VARIABLE: "rubbish"}, ask_keyring=_off)
    assert "rubbish" not in str(found.attempts)


@pytest.fixture
def backends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keyring backends of this test's own, real ones in the child process: a file store, a prompt, a hang, a crash."""
    (tmp_path / "my_rings.py").write_text(
        "import getpass, json, os, pathlib, time\n"
        "from keyring.backend import KeyringBackend\n"
        "STORE = pathlib.Path(os.environ['MY_RING'])\n"
        "class Files(KeyringBackend):\n"
        "    priority = 1\n"
        "    def get_password(self, service, user):\n"
        "        return json.loads(STORE.read_text()).get(service + user) if STORE.exists() else None\n"
        "    def set_password(self, service, user, secret):\n"
        "        STORE.write_text(json.dumps({service + user: secret}))\n"
        "class Prompts(Files):\n"
        "    def get_password(self, service, user):\n"
        "        return getpass.getpass('keyring password: ')\n"
        "class Hangs(Files):\n"
        "    def get_password(self, service, user):\n"
        "        time.sleep(60)\n"
        "class Forgets(Files):\n"
        "    def set_password(self, service, user, secret):\n"
        "        pass\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("MY_RING", str(tmp_path / "ring.json"))


def _use(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", name)


@pytest.mark.usefixtures("backends")
def test_the_keyring_keeps_and_gives_back_through_its_subprocess(monkeypatch: pytest.MonkeyPatch) -> None:
    _use(monkeypatch, "my_rings.Files")
    allowed = ("my_rings",)
    assert keyring_probe.ask("person:x", allowed=allowed) == keyring_probe.Answer(None, "", "my_rings.Files")
    assert keyring_probe.ask("person:x", store="s3cret", allowed=allowed).secret == "s3cret"
    assert keyring_probe.ask("person:x", allowed=allowed).secret == "s3cret"
    refused = keyring_probe.ask("person:x")
    assert refused.secret is None
    assert "no encrypted store of the platform; found only my_rings.Files" in refused.problem


@pytest.mark.usefixtures("backends")
def test_a_keyring_that_asks_hangs_fails_or_forgets_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    allowed = ("my_rings",)
    _use(monkeypatch, "my_rings.Hangs")
    before = time.monotonic()
    assert "did not answer within 1 s" in keyring_probe.ask("x", allowed=allowed, limit_s=1.0).problem
    assert time.monotonic() - before < 3
    _use(monkeypatch, "my_rings.Prompts")
    asked = keyring_probe.ask("x", allowed=allowed)
    assert asked.secret in (None, "")  # there was nobody to ask
    _use(monkeypatch, "my_rings.Forgets")
    assert "did not keep" in keyring_probe.ask("x", store="s", allowed=allowed).problem


def test_plain_text_and_missing_keyrings_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for backend in ("keyring.backends.null.Keyring", "keyring.backends.fail.Keyring"):
        _use(monkeypatch, backend)
        assert backend in keyring_probe.ask("x").problem
    with pytest.raises(KeyProblem, match="no keyring"):
        keys.make_in_keyring("ana")
