"""Which devices may speak here: enrolment by a one-time code, tokens (stored as hashes), revocation."""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from collections.abc import Sequence

from cryptography.exceptions import InvalidSignature
from sqlalchemy import insert, select, update

from rollback_console.errors import JournalBroken, UsageError
from rollback_console.hub.database import Database
from rollback_console.hub.problems import Problem, unauthorized
from rollback_console.hub.tables import codes, devices
from rollback_console.journal.device import fingerprint, public_key
from rollback_console.model.value import dataclass

ENROL_DOMAIN = b"rollback-console/enrol/v1\n"
CODE_LASTS_S = 24 * 3600
_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Device:
    """An enrolled device: its key's fingerprint, its key (OpenSSH), what people call it, times in nanoseconds."""

    id: str
    key: str
    name: str
    enrolled_at: int
    revoked_at: int | None


def hashed(secret: str) -> str:
    """What is stored of a token or a code: both are 160 random bits and more, so a plain hash hides them."""
    return hashlib.sha256(secret.encode()).hexdigest()


def make_code(database: Database, name: str, lasts_s: int = CODE_LASTS_S) -> str:
    """A one-time enrolment code for a device that will be called `name`."""
    code = secrets.token_urlsafe(20)
    with database.writing() as connection:
        expires = database.now(connection) + lasts_s * _NS
        connection.execute(
            insert(codes), {"code_hash": hashed(code), "name": name, "expires_at": expires, "device": ""}
        )
    return code


def enrol(database: Database, key: str, name: str, code: str, proof: str) -> tuple[Device, str]:
    """A new device, or a known one with a new token. Raises Problem."""
    device = _prove(key, code, proof)
    token = "rbh_" + secrets.token_urlsafe(32)
    with database.writing() as connection:
        now = database.now(connection)
        known = connection.execute(select(devices).where(devices.c.id == device)).one_or_none()
        if known is not None and known.revoked_at is not None:
            raise Problem(403, "revoked", "this device was revoked", "make it a new key, and enrol that")
        used = connection.execute(
            update(codes)
            .where(codes.c.code_hash == hashed(code), codes.c.used_at.is_(None), codes.c.expires_at > now)
            .values(used_at=now, device=device)
        )
        if used.rowcount != 1:
            raise Problem(403, "bad-code", "this code is unknown, used or expired", "`hub enrol` makes another")
        if not name:
            name = connection.execute(select(codes.c.name).where(codes.c.code_hash == hashed(code))).scalar_one()
        new = {"name": name, "token_hash": hashed(token), "enrolled_at": now}
        if known is None:
            connection.execute(insert(devices), {"id": device, "key": " ".join(key.split()[:2]), **new})
        else:
            connection.execute(update(devices).where(devices.c.id == device).values(**new))
    return Device(device, key, name, now, None), token


def _prove(key: str, code: str, proof: str) -> str:
    """The fingerprint of `key`, once it has signed the code. Raises Problem."""
    try:
        public = public_key(key)
        public.verify(base64.b64decode(proof, validate=True), ENROL_DOMAIN + code.encode())
    except JournalBroken:
        raise Problem(422, "bad-key", "the key is not an OpenSSH Ed25519 public key") from None
    except (InvalidSignature, binascii.Error, ValueError):
        raise Problem(422, "bad-proof", "the proof is not this key's signature of the code") from None
    return fingerprint(key)


def by_token(database: Database, token: str) -> Device:
    """Raises Problem: 401 for a token nobody has, 403 for a revoked device's."""
    with database.reading() as connection:
        found = connection.execute(select(devices).where(devices.c.token_hash == hashed(token))).one_or_none()
    if found is None:
        raise unauthorized()
    if found.revoked_at is not None:
        raise Problem(403, "revoked", "this device was revoked", "ask whoever runs the hub")
    return Device(found.id, found.key, found.name, found.enrolled_at, None)


def all_devices(database: Database) -> Sequence[Device]:
    """In the order in which they were enrolled."""
    with database.reading() as connection:
        rows = connection.execute(select(devices).order_by(devices.c.enrolled_at)).all()
    return [Device(row.id, row.key, row.name, row.enrolled_at, row.revoked_at) for row in rows]


def revoke(database: Database, device: str) -> Device:
    """By id or name, at once and for good. Raises UsageError when it is not exactly one."""
    found = [each for each in all_devices(database) if device in (each.id, each.name) and each.revoked_at is None]
    if len(found) != 1:
        raise UsageError(
            f"{device} names {'no device' if not found else 'several devices'}",
            "`rollback-console hub devices` lists them",
        )
    with database.writing() as connection:
        connection.execute(
            update(devices).where(devices.c.id == found[0].id).values(revoked_at=database.now(connection))
        )
    return found[0]
