"""The hub's own two files beside its database: its key, and the mark of what it has signed.

The mark is kept outside the database so that a database put back from a backup is noticed: it is shorter than the mark.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from rollback_console.errors import UsageError
from rollback_console.model.value import dataclass


def load_or_create(path: Path) -> Ed25519PrivateKey:
    """The hub's Ed25519 key (PKCS #8 PEM, mode 0600), made when there is none. Raises UsageError when it cannot be had,
    or when others may read it."""
    try:
        if not path.exists():
            _create(path)
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            data = file.read(10_000)
    except OSError as error:
        raise UsageError(
            f"the hub's key {path} cannot be used ({error.strerror})", "check the folder of --data"
        ) from None
    if os.name == "posix" and mode & 0o077:
        raise UsageError(f"the hub's key {path} can be read by others (mode {mode:04o})", f"chmod 600 {path}")
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"{path} is not an Ed25519 private key", "put the hub's own key back from its backup")
    return key


def _create(path: Path) -> None:
    """Under another name and linked into place: nobody reads half a key, and of several that race one wins."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    temp = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        _write(temp, pem)
        with suppress(FileExistsError):
            os.link(temp, path)
    finally:
        temp.unlink(missing_ok=True)


def _write(path: Path, data: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


@dataclass(frozen=True, slots=True)
class Mark:
    """The largest tree that this hub process has signed: the log's origin, its size and root (hex). `clean`: written
    when it ended in order; else it may have signed more, in the last second before it was cut off."""

    origin: str
    size: int
    root: str
    clean: bool = False


def read_mark(path: Path) -> Mark | None:
    """None where nothing was signed yet. Raises UsageError for a file that is no mark."""
    try:
        found = json.loads(path.read_text())
        return Mark(str(found["origin"]), int(found["size"]), str(found["root"]), found.get("clean") is True)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path} cannot be read ({error})", "it says what this hub has signed: put it back from its backup"
        ) from None


def write_mark(path: Path, mark: Mark) -> None:
    """Whole or not at all."""
    temp = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        _write(temp, json.dumps(asdict(mark)).encode())
        os.replace(temp, path)
    finally:
        temp.unlink(missing_ok=True)
