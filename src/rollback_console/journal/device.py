"""The device's key: Ed25519, made on first use, a file that only its owner can read.

The device signs every entry: it says on which machine, by which installation, a line was written. It is not a person's
key, which is why a file without a passphrase will do (a server's `watch` cannot be prompted).
"""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from rollback_console.errors import JournalBroken, JournalUnwritable
from rollback_console.journal.chain import message

_SEED_DOMAIN = b"rollback-console/device-seed/v1\n"


class DeviceKey:
    """An Ed25519 key that signs entries. Make one with `load_or_create`, `default` or `from_seed`."""

    def __init__(self, key: Ed25519PrivateKey, path: Path | None = None) -> None:
        self._key = key
        self.path = path  # None: a seeded one, nowhere on disk

    @classmethod
    def from_seed(cls, seed: bytes) -> DeviceKey:
        """The same key for the same bytes (of any length): for rehearsals and tests."""
        return cls(Ed25519PrivateKey.from_private_bytes(sha256(_SEED_DOMAIN + seed).digest()))

    @classmethod
    def default(cls) -> DeviceKey:
        """This installation's key, at `default_path()`."""
        return cls.load_or_create(default_path())

    @classmethod
    def load_or_create(cls, path: Path) -> DeviceKey:
        """The key at `path` (PKCS #8 PEM, mode 0600), made when there is none; processes that race agree on one.

        Raises JournalUnwritable when it cannot be read or made, when others may read it, or when it is somebody else's.
        """
        try:
            if not path.exists():
                _create(path)
            return cls.load(path)
        except OSError as error:
            raise JournalUnwritable(
                f"the device key {path} cannot be used ({error.strerror or error})",
                "make its folder writable, or point XDG_DATA_HOME at one that is",
            ) from error

    @classmethod
    def load(cls, path: Path) -> DeviceKey:
        """The key at `path`, which must exist. Errors as for `load_or_create`, OSError for the file itself."""
        with path.open("rb") as file:
            _refuse_unsafe(path, os.fstat(file.fileno()))
            data = file.read(10_000)
        try:
            key = serialization.load_pem_private_key(data, password=None)
        except (ValueError, TypeError) as error:
            raise JournalUnwritable(f"{path} is not a private key", _REPLACE) from error
        if not isinstance(key, Ed25519PrivateKey):
            raise JournalUnwritable(f"{path} holds a key that is not Ed25519", _REPLACE)
        return cls(key, path)

    def sign(self, data: bytes) -> bytes:
        """The 64 bytes of the Ed25519 signature over `data`."""
        return self._key.sign(data)

    def sign_hash(self, hash_: str) -> bytes:
        """The signature of an entry of this hash."""
        return self._key.sign(message(hash_))

    def public_openssh(self) -> str:
        """`ssh-ed25519 AAAA…`, without a comment."""
        return (
            self._key.public_key()
            .public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
            .decode()
        )

    def fingerprint(self) -> str:
        """`SHA256:…`, as `ssh-keygen -l` prints it."""
        return fingerprint(self.public_openssh())


_REPLACE = "move it away and start a new journal: the next start makes a new key"


def default_path() -> Path:
    """Where this installation's device key lives: apart from the journals, so that copying one never copies it."""
    import platformdirs  # 10 ms that a seeded rehearsal need not pay

    return Path(platformdirs.user_data_dir("rollback-console", appauthor=False)) / "device" / "device.key"


def public_key(openssh: str) -> Ed25519PublicKey:
    """The key of an OpenSSH line. Raises JournalBroken when it is not an Ed25519 one."""
    try:
        key = serialization.load_ssh_public_key(openssh.encode())
    except Exception as error:  # cryptography raises ValueError, UnsupportedAlgorithm, binascii.Error, ... here
        raise JournalBroken(
            "the device's public key cannot be read", "compare it with a copy of the journal"
        ) from error
    if not isinstance(key, Ed25519PublicKey):
        raise JournalBroken("the device's public key is not Ed25519", "compare it with a copy of the journal")
    return key


def signed_by(key: Ed25519PublicKey, hash_: str, signature: bytes) -> bool:
    """Is this the key's signature of an entry of this hash."""
    try:
        key.verify(signature, message(hash_))
    except (InvalidSignature, UnicodeEncodeError):
        return False
    return True


def fingerprint(openssh: str) -> str:
    """`SHA256:…` of an OpenSSH public key line, as `ssh-keygen -l` prints it; "" when it is none."""
    import base64
    import binascii

    parts = openssh.split()
    try:
        raw = base64.b64decode(parts[1], validate=True)
    except (IndexError, binascii.Error, ValueError):
        return ""
    return "SHA256:" + base64.b64encode(sha256(raw).digest()).decode().rstrip("=")


def _create(path: Path) -> None:
    """Write a new key under another name and link it into place: nobody ever reads half a key, and of several
    processes that race one wins and the others read its key."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    temp = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(temp, path)
    finally:
        temp.unlink()


def _refuse_unsafe(path: Path, status: os.stat_result) -> None:
    if os.name != "posix":
        return  # Windows keeps the profile folder to its owner by its own lists
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise JournalUnwritable(
            f"the device key {path} can be read by others (mode {stat.S_IMODE(status.st_mode):04o})",
            f"`chmod 600 {path}`; if somebody may have copied it, move it away and start a new journal",
        )
    if status.st_uid != os.geteuid():
        raise JournalUnwritable(
            f"the device key {path} belongs to user {status.st_uid}, not to you ({os.geteuid()})",
            "run as its owner, or point XDG_DATA_HOME at a folder of your own",
        )
