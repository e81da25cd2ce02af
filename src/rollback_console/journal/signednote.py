"""Signed notes and checkpoints, as transparency logs publish them: C2SP signed-note and tlog-checkpoint.

A note is text that ends in a newline, an empty line, and a line for each signature. Ed25519 alone (type 0x01). A
verifier key, or vkey, is the text ``name+hash+base64``; it holds all that is needed to check a note.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from hashlib import sha256
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from rollback_console.model.value import dataclass

ED25519 = b"\x01"
MOST_SIGNATURES = 100  # a note may carry cosignatures of witnesses we do not know; not without end
_DASH = "— "
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")


class NoteKey:
    """A key that signs notes under a name (a URL without its scheme, as the specification recommends)."""

    def __init__(self, name: str, private: Ed25519PrivateKey) -> None:
        _check_name(name)
        self.name = name
        self._private = private
        self._public = private.public_key().public_bytes_raw()

    @property
    def vkey(self) -> str:
        """The verifier key: ``name+hash+base64``."""
        id_ = key_id(self.name, self._public)
        return f"{self.name}+{id_.hex()}+{base64.b64encode(ED25519 + self._public).decode()}"

    def sign(self, text: str) -> str:
        """`text` (which ends in a newline) as a note with this key's signature. Raises ValueError for text that no note
        may hold."""
        _check_text(text)
        return f"{text}\n{self.signature_line(text)}"

    def signature_line(self, text: str) -> str:
        """The signature's line alone, to be added to a note that others signed."""
        signature = key_id(self.name, self._public) + self._private.sign(text.encode())
        return f"{_DASH}{self.name} {base64.b64encode(signature).decode()}\n"


class VerifierKey(NamedTuple):
    """A vkey taken apart."""

    name: str
    id: bytes  # 4 bytes
    public: Ed25519PublicKey


def key_id(name: str, public: bytes) -> bytes:
    """The four bytes that tell keys of one name apart."""
    return sha256(name.encode() + b"\n" + ED25519 + public).digest()[:4]


def parse_vkey(vkey: str) -> VerifierKey:
    """Raises ValueError with what is wrong with the text."""
    parts = vkey.split("+", 2)
    if len(parts) != 3:
        raise ValueError("a verifier key reads: name+hash+base64")
    name, id_, encoded = parts
    _check_name(name)
    try:
        material = base64.b64decode(encoded, validate=True)
    except binascii.Error as error:
        raise ValueError(f"the verifier key of {name} is not base64: {error}") from error
    if material[:1] != ED25519 or len(material) != 33:
        raise ValueError(f"the verifier key of {name} is not an Ed25519 one")
    if id_ != key_id(name, material[1:]).hex():
        raise ValueError(f"the verifier key of {name} does not fit its own hash {id_}: a character was changed")
    return VerifierKey(name, bytes.fromhex(id_), Ed25519PublicKey.from_public_bytes(material[1:]))


def open_note(note: str, vkeys: Iterable[str]) -> str:
    """The text of a note, once one of these keys has been found to have signed it, and every signature by one of them
    holds. Signatures of other keys are ignored. Raises ValueError, which says what is wrong."""
    text, signatures = _take_apart(note)
    known = {(key.name, key.id): key.public for key in map(parse_vkey, vkeys)}
    verified = False
    for name, signature in signatures:
        public = known.get((name, signature[:4]))
        if public is None:
            continue
        try:
            public.verify(signature[4:], text.encode())
        except InvalidSignature:
            raise ValueError(f"the signature of {name} does not hold: the note was changed") from None
        verified = True
    if not verified:
        names = ", ".join(sorted({name for name, _ in signatures}))
        raise ValueError(f"no key that is trusted here signed it (it is signed as {names})")
    return text


def _take_apart(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    """(text with its final newline, [(key name, key id and signature)])."""
    if _CONTROL.search(note):
        raise ValueError("a note holds no control characters")
    text, blank, rest = note.rpartition("\n\n")
    if not blank or not rest.endswith("\n"):
        raise ValueError("it is not a signed note: text, an empty line, signatures")
    lines = rest[:-1].split("\n")
    if len(lines) > MOST_SIGNATURES:
        raise ValueError(f"it has more than {MOST_SIGNATURES} signatures")
    signatures = []
    for line in lines:
        name, space, encoded = line.removeprefix(_DASH).partition(" ")
        if not line.startswith(_DASH) or not space:
            raise ValueError("a line below its text is not a signature")
        _check_name(name)
        try:
            signature = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError) as error:
            raise ValueError(f"the signature of {name} is not base64: {error}") from error
        if len(signature) < 5:
            raise ValueError(f"the signature of {name} is too short")
        signatures.append((name, signature))
    return text + "\n", signatures


def _check_name(name: str) -> None:
    if not name or "+" in name or any(character.isspace() for character in name):
        raise ValueError(f"{name!r} is not the name of a key: it has no spaces and no plus sign")


def _check_text(text: str) -> None:
    if not text.endswith("\n"):
        raise ValueError("a note's text ends with a newline")
    if _CONTROL.search(text):
        raise ValueError("a note holds no control characters")
    text.encode()


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A log's tree head: whose log, how many leaves, and the root over them (32 bytes)."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()  # lines that others may add; we write none

    def text(self) -> str:
        """The note's text, for `NoteKey.sign`."""
        lines = (self.origin, str(self.size), base64.b64encode(self.root).decode(), *self.extensions)
        return "\n".join(lines) + "\n"

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Raises ValueError for what is not the text of a checkpoint, to the last byte."""
        lines = text.split("\n")
        if len(lines) < 4 or lines[-1] or not all(lines[:-1]):
            raise ValueError("a checkpoint reads: origin, size, root, each on a line")
        origin, size, encoded, *extensions = lines[:-1]
        if not _DECIMAL.fullmatch(size):
            raise ValueError(f"the size of the tree is not a number: {size!r}")
        try:
            root = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError) as error:
            raise ValueError(f"the root is not base64: {error}") from error
        if len(root) != 32 or base64.b64encode(root).decode() != encoded:
            raise ValueError("the root is not a SHA-256")
        return cls(origin, int(size), root, tuple(extensions))
