"""OpenSSH's signature format (SSHSIG) over Ed25519: what `ssh-keygen -Y verify` checks with no help from us.

Format: `PROTOCOL.sshsig` in OpenSSH's sources; public keys and signatures: RFC 4253 section 6.6 and RFC 8709.
A "blob" here is the wire form of a public key: ``string "ssh-ed25519", string <32 bytes>``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from collections.abc import Callable

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from rollback_console.errors import InputError

ALGORITHM = b"ssh-ed25519"
_MAGIC = b"SSHSIG"
_HASH = b"sha512"
_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
_WIDTH = 70  # ssh-keygen's own line length


class BadSignature(InputError):
    """The bytes are no SSHSIG signature, or not one of this key over this statement in this namespace."""


def pack(*strings: bytes) -> bytes:
    """Each as an SSH `string`: four bytes of length, big-endian, then the bytes."""
    return b"".join(struct.pack(">I", len(item)) + item for item in strings)


def take(data: bytes) -> tuple[bytes, bytes]:
    """One SSH `string` off the front: (it, the rest). Raises ValueError when `data` is too short for it."""
    if len(data) < 4:
        raise ValueError("ends inside a length")
    (size,) = struct.unpack(">I", data[:4])
    if len(data) < 4 + size:
        raise ValueError("ends inside a string")
    return data[4 : 4 + size], data[4 + size :]


def public_blob(key: Ed25519PublicKey) -> bytes:
    """The wire form of a public key."""
    return pack(ALGORITHM, key.public_bytes_raw())


def public_key(blob: bytes) -> Ed25519PublicKey:
    """The key in a blob. Raises ValueError for another algorithm, trailing bytes, or a wrong length."""
    algorithm, rest = take(blob)
    if algorithm != ALGORITHM:
        raise ValueError(f"is {algorithm.decode('ascii', 'replace')}, not ssh-ed25519")
    raw, rest = take(rest)
    if rest or len(raw) != 32:
        raise ValueError("is not an Ed25519 public key")
    return Ed25519PublicKey.from_public_bytes(raw)


def public_line(blob: bytes, comment: str = "") -> str:
    """A blob as a line of `authorized_keys`, as rosters hold it."""
    return f"{ALGORITHM.decode()} {base64.b64encode(blob).decode()} {comment}".rstrip()


def parse_line(line: str) -> bytes:
    """The blob in an OpenSSH public key line (comment or none). Raises ValueError with what is wrong."""
    words = line.split()
    if len(words) < 2 or words[0] != ALGORITHM.decode():
        raise ValueError("an OpenSSH Ed25519 key reads: ssh-ed25519 AAAA… comment")
    try:
        blob = base64.b64decode(words[1], validate=True)
    except binascii.Error as error:
        raise ValueError(f"the key's text is not base64: {error}") from error
    public_key(blob)
    return blob


def fingerprint(blob: bytes) -> str:
    """``SHA256:…``, as OpenSSH prints it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def _to_sign(statement: bytes, namespace: str) -> bytes:
    return _MAGIC + pack(namespace.encode(), b"", _HASH, hashlib.sha512(statement).digest())


def sign(statement: bytes, namespace: str, blob: bytes, raw_sign: Callable[[bytes], bytes]) -> str:
    """The armoured signature over `statement`. `raw_sign` makes the 64 bytes of Ed25519 over what it is given."""
    if not namespace:
        raise ValueError("a signature needs a namespace: without one it could be replayed for another purpose")
    raw = raw_sign(_to_sign(statement, namespace))
    body = _MAGIC + struct.pack(">I", 1) + pack(blob, namespace.encode(), b"", _HASH, pack(ALGORITHM, raw))
    text = base64.b64encode(body).decode()
    lines = [text[start : start + _WIDTH] for start in range(0, len(text), _WIDTH)]
    return "\n".join([_BEGIN, *lines, _END, ""])


def verify(statement: bytes, namespace: str, armoured: str) -> bytes:
    """The blob of the key that signed `statement` in `namespace`; whose key that is, is the caller's question.

    Raises `BadSignature` with what does not hold.
    """
    try:
        blob, raw, digest = _parse(armoured, namespace)
        signed = _MAGIC + pack(namespace.encode(), b"", digest, hashlib.new(digest.decode(), statement).digest())
        public_key(blob).verify(raw, signed)
    except InvalidSignature:
        raise BadSignature("the signature is not over these bytes") from None
    except ValueError as error:
        raise BadSignature(f"not a usable SSH signature: {error}") from error
    return blob


def _parse(armoured: str, namespace: str) -> tuple[bytes, bytes, bytes]:
    lines = [line.strip() for line in armoured.strip().splitlines()]
    if len(lines) < 3 or lines[0] != _BEGIN or lines[-1] != _END:
        raise ValueError("its first and last lines are not those of an SSH signature")
    try:
        body = base64.b64decode("".join(lines[1:-1]), validate=True)
    except binascii.Error as error:
        raise ValueError(f"not base64: {error}") from error
    if body[:6] != _MAGIC or body[6:10] != struct.pack(">I", 1):
        raise ValueError("not an SSHSIG of version 1")
    blob, rest = take(body[10:])
    space, rest = take(rest)
    _reserved, rest = take(rest)
    digest, rest = take(rest)
    signature, rest = take(rest)
    if rest:
        raise ValueError("bytes after its end")
    if space != namespace.encode():
        raise ValueError(f"made for the namespace {space.decode('utf-8', 'replace')!r}, not {namespace!r}")
    if digest not in (b"sha512", b"sha256"):
        raise ValueError("an unknown hash")
    algorithm, raw = take(signature)
    if algorithm != ALGORITHM:
        raise ValueError("not an Ed25519 signature")
    raw, rest = take(raw)
    if rest:
        raise ValueError("bytes after the signature")
    return blob, raw, digest
