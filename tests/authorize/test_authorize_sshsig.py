"""Signatures that stock OpenSSH accepts, and the other way round; with the real ssh-keygen and the real ssh-agent."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Awaitable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollback_console.authorize import agent, sshsig
from rollback_console.authorize.keyring_probe import Answer
from rollback_console.authorize.keys import NAMESPACE, LockedKey, PersonKey, find_key, make_in_file, verify
from rollback_console.errors import InputError, NotAuthorized
from rollback_console.journal.kinds import PersonSignature

KEY = PersonKey.from_seed(1, "ana")


def _no_keyring(user: str) -> Answer:
    return Answer(None, "off")


def _ssh_keygen(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    assert shutil.which("ssh-keygen"), "the real ssh-keygen is needed: apt-get install openssh-client"
    return subprocess.run(["ssh-keygen", *arguments], input=stdin, capture_output=True, timeout=20, check=False)


def _check_with_openssh(folder: Path, line: str, namespace: str, signature: str, message: bytes) -> bool:
    (folder / "allowed").write_text(f"ana {line}\n")
    (folder / "sig").write_text(signature)
    done = _ssh_keygen(
        "-Y", "verify", "-f", str(folder / "allowed"), "-I", "ana", "-n", namespace, "-s", str(folder / "sig"),
        stdin=message,
    )  # fmt: skip
    return done.returncode == 0


@pytest.mark.parametrize("message", [b"{}", b"", "ünïcode \n".encode(), b"x" * 100_000])
def test_openssh_accepts_our_signature_and_no_other_bytes(tmp_path: Path, message: bytes) -> None:
    person = KEY.sign(message)
    assert _check_with_openssh(tmp_path, KEY.line, NAMESPACE, person.signature, message)
    assert not _check_with_openssh(tmp_path, KEY.line, NAMESPACE, person.signature, message + b" ")
    assert not _check_with_openssh(tmp_path, KEY.line, "file", person.signature, message)
    other = PersonKey.from_seed(2, "ana")
    assert not _check_with_openssh(tmp_path, other.line, NAMESPACE, person.signature, message)


@pytest.fixture
def openssh_key(tmp_path: Path) -> Path:
    path = tmp_path / "id"
    assert _ssh_keygen("-t", "ed25519", "-N", "open sesame", "-C", "ana@bastion", "-f", str(path)).returncode == 0
    return path


def test_a_key_made_by_openssh_opens_with_its_passphrase_and_prints_its_fingerprint(openssh_key: Path) -> None:
    found = find_key(key_file=openssh_key, environ={}, ask_keyring=_no_keyring)
    assert found.key is None
    assert isinstance(found.locked, LockedKey)
    assert "locked" in found.problem
    with pytest.raises(NotAuthorized, match="does not open"):
        found.locked.unlock("wrong")
    key = found.locked.unlock("open sesame").named("ana")
    shown = _ssh_keygen("-l", "-f", f"{openssh_key}.pub").stdout.decode().split()[1]
    assert key.fingerprint == shown
    assert sshsig.parse_line(openssh_key.with_suffix(".pub").read_text()) == key.blob


def test_we_accept_what_openssh_signed(tmp_path: Path) -> None:
    path = tmp_path / "plain"
    assert _ssh_keygen("-t", "ed25519", "-N", "", "-f", str(path)).returncode == 0
    for digest in ("sha512", "sha256"):
        signed = _ssh_keygen(
            "-Y", "sign", "-f", str(path), "-n", NAMESPACE, "-O", f"hashalg={digest}", stdin=b"the plan"
        ).stdout.decode()
        assert sshsig.verify(b"the plan", NAMESPACE, signed) == sshsig.parse_line(path.with_suffix(".pub").read_text())
        with pytest.raises(sshsig.BadSignature, match="not over these bytes"):
            sshsig.verify(b"the flan", NAMESPACE, signed)
        with pytest.raises(sshsig.BadSignature, match="namespace"):
            sshsig.verify(b"the plan", "git", signed)


def test_openssh_opens_a_key_file_that_we_made(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "identity"
    key = make_in_file("ana", path, "a long sentence")
    assert path.stat().st_mode & 0o777 == 0o600
    assert b"a long" not in path.read_bytes()
    opened = _ssh_keygen("-y", "-P", "a long sentence", "-f", str(path))
    assert opened.stdout.decode().split()[:2] == key.line.split()[:2]
    with pytest.raises(InputError, match="exists already"):
        make_in_file("ana", path, "another sentence")
    with pytest.raises(InputError, match="shorter"):
        make_in_file("ana", tmp_path / "x", "short")


@given(st.binary(max_size=300), st.data())
@settings(max_examples=60, deadline=None)
def test_a_changed_signature_never_verifies(message: bytes, data: st.DataObject) -> None:
    armoured = sshsig.sign(message, NAMESPACE, KEY.blob, KEY.raw_sign)
    assert sshsig.verify(message, NAMESPACE, armoured) == KEY.blob
    lines = armoured.splitlines()
    row = data.draw(st.integers(1, len(lines) - 2))
    column = data.draw(st.integers(0, len(lines[row]) - 1))
    other = data.draw(st.sampled_from("ABab01+/="))
    if lines[row][column] != other:
        lines[row] = lines[row][:column] + other + lines[row][column + 1 :]
        try:
            blob = sshsig.verify(message, NAMESPACE, "\n".join(lines))
        except sshsig.BadSignature:
            return
        # Only the signature's unused parts could still hold, and there are none: base64's last bits apart.
        assert blob == KEY.blob
        assert row == len(lines) - 2


@given(st.text(max_size=200))
@settings(max_examples=60, deadline=None)
def test_garbage_is_refused_and_never_crashes(text: str) -> None:
    for armoured in (text, f"-----BEGIN SSH SIGNATURE-----\n{text}\n-----END SSH SIGNATURE-----"):
        with pytest.raises(sshsig.BadSignature):
            sshsig.verify(b"x", NAMESPACE, armoured)


def test_a_person_signature_carries_what_is_needed_to_check_it() -> None:
    person = KEY.sign(b'{"act":"rollback"}')
    assert verify(person) == KEY.blob
    for changed in ({"statement": "{}"}, {"fingerprint": "SHA256:x"}, {"signed": "0" * 64}):
        with pytest.raises(sshsig.BadSignature):
            verify(person.model_copy(update=changed))
    with pytest.raises(NotAuthorized, match="nobody's"):
        KEY.named("").sign(b"x")
    with pytest.raises(ValueError, match="namespace"):
        sshsig.sign(b"x", "", KEY.blob, KEY.raw_sign)


def test_a_seed_gives_the_same_key_again_and_another_for_another_person() -> None:
    assert PersonKey.from_seed(1, "ana").blob == KEY.blob
    assert len({PersonKey.from_seed(s, o).blob for s in (1, 2) for o in ("ana", "bo")}) == 4
    assert "PrivateKey" not in repr(KEY)
    assert KEY.fingerprint in repr(KEY)


@pytest.fixture
def ssh_agent(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A real ssh-agent of this test's own."""
    assert shutil.which("ssh-agent"), "the real ssh-agent is needed: apt-get install openssh-client"
    socket = tmp_path / "agent.sock"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    try:
        for _ in range(500):
            if socket.exists():
                break
            try:
                process.wait(0.01)
            except subprocess.TimeoutExpired:
                continue
        yield {"SSH_AUTH_SOCK": str(socket)}
    finally:
        process.terminate()
        process.wait(10)


def test_the_agent_signs_what_openssh_accepts(tmp_path: Path, ssh_agent: dict[str, str]) -> None:
    blobs = []
    for name, kind in (("one", "ed25519"), ("two", "ed25519"), ("three", "rsa")):
        assert _ssh_keygen("-t", kind, "-N", "", "-C", name, "-f", str(tmp_path / name)).returncode == 0
        subprocess.run(
            ["ssh-add", str(tmp_path / name)], env=os.environ | ssh_agent, check=True, capture_output=True, timeout=20
        )
        if kind == "ed25519":
            blobs.append(sshsig.parse_line((tmp_path / f"{name}.pub").read_text()))
    assert [blob for blob, _ in agent.keys(ssh_agent["SSH_AUTH_SOCK"])] == blobs

    def look(known: set[bytes]) -> object:
        return find_key(key_file=tmp_path / "none", known=known, environ=ssh_agent, ask_keyring=_no_keyring)

    found = look({blobs[1]})
    assert found.key is not None
    assert found.key.blob == blobs[1]
    assert "ssh-agent (two)" in found.key.source

    async def sign(key: PersonKey) -> PersonSignature:
        signed = key.signer(b"the plan")
        assert isinstance(signed, Awaitable), "an agent is asked off the event loop"
        return await signed

    person = asyncio.run(sign(found.key.named("ana")))
    assert _check_with_openssh(tmp_path, found.key.line, NAMESPACE, person.signature, b"the plan")
    assert "no roster to tell which" in str(look(set()).attempts)
    assert "is in the roster" in str(look({KEY.blob}).attempts)
    subprocess.run(["ssh-add", "-D"], env=os.environ | ssh_agent, check=True, capture_output=True, timeout=20)
    with pytest.raises(agent.AgentError, match="refused"):
        found.key.named("ana").sign(b"the plan")


def test_an_agent_that_is_gone_or_talks_nonsense_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(agent.AgentError, match="did not answer"):
        agent.keys(str(tmp_path / "nothing"))
