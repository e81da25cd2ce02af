"""The device key: made once, kept to its owner, the same for a seed."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from rollback_console.errors import JournalBroken, JournalUnwritable
from rollback_console.journal.device import DeviceKey, default_path, fingerprint, public_key, signed_by


def test_made_on_first_use_and_found_again(tmp_path: Path) -> None:
    path = tmp_path / "data" / "device.key"
    key = DeviceKey.load_or_create(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    again = DeviceKey.load_or_create(path)
    assert again.public_openssh() == key.public_openssh()
    assert again.public_openssh().startswith("ssh-ed25519 AAAA")
    assert signed_by(public_key(key.public_openssh()), "00", again.sign_hash("00"))
    assert not signed_by(public_key(key.public_openssh()), "01", again.sign_hash("00"))
    assert [p.name for p in path.parent.iterdir()] == ["device.key"]


def test_those_who_race_to_make_it_agree(tmp_path: Path) -> None:
    path = tmp_path / "device.key"
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: DeviceKey.load_or_create(path).public_openssh(), range(16)))
    assert len(keys) == 1


def test_the_default_is_in_the_data_folder_apart_from_journals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    key = DeviceKey.default()
    assert key.path == default_path()
    assert default_path().is_relative_to(tmp_path)
    assert default_path().parent.name == "device"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "device.key"
    DeviceKey.load_or_create(path)
    path.chmod(mode)
    with pytest.raises(JournalUnwritable, match=rf"read by others \(mode 0{mode:o}\): `chmod 600"):
        DeviceKey.load_or_create(path)


def test_what_is_no_ed25519_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "device.key"
    path.touch(mode=0o600)
    path.write_bytes(b"nonsense")
    with pytest.raises(JournalUnwritable, match="not a private key"):
        DeviceKey.load_or_create(path)
    path.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    with pytest.raises(JournalUnwritable, match="not Ed25519"):
        DeviceKey.load_or_create(path)
    with pytest.raises(JournalUnwritable, match="cannot be used"):
        DeviceKey.load_or_create(path / "below a file")
    for text in ("", "ssh-ed25519", "ssh-ed25519 !!!!", "ssh-rsa AAAA", "ecdsa-sha2-nistp256 AAAA"):
        with pytest.raises(JournalBroken):
            public_key(text)


def test_a_seed_gives_the_same_key_and_another_seed_another() -> None:
    assert DeviceKey.from_seed(b"7").public_openssh() == DeviceKey.from_seed(b"7").public_openssh()
    assert DeviceKey.from_seed(b"7").public_openssh() != DeviceKey.from_seed(b"8").public_openssh()
    assert DeviceKey.from_seed(b"7").sign(b"x") == DeviceKey.from_seed(b"7").sign(b"x")
    assert DeviceKey.from_seed(b"").path is None


def test_the_fingerprint_is_ssh_keygens(tmp_path: Path) -> None:
    key = DeviceKey.from_seed(b"7")
    (tmp_path / "k.pub").write_text(key.public_openssh() + "\n")
    line = subprocess.run(["ssh-keygen", "-lf", tmp_path / "k.pub"], capture_output=True, text=True, check=True).stdout
    assert line.split()[1] == key.fingerprint() == fingerprint(key.public_openssh())
    assert fingerprint("no key") == ""


def test_it_imports_without_pydantic() -> None:
    code = (
        "import sys, rollback_console.journal.device, rollback_console.journal.verify; print('pydantic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
