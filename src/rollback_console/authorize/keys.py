"""A person's Ed25519 key: where it is found, how it signs, how it is made. Never in plain text without saying so.

Looked for in this order: the platform's keyring, ssh-agent, a private key file encrypted by a passphrase (0600), then
for CI an environment variable or a file descriptor. A journal's *device* key is another thing (`journal`).
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from rollback_console.authorize import agent, keyring_probe, sshsig
from rollback_console.errors import InputError, NotAuthorized
from rollback_console.journal.kinds import PersonSignature
from rollback_console.model.value import dataclass

NAMESPACE = "rollback-console"  # `ssh-keygen -Y verify -n rollback-console`
KEY_VARIABLE = "ROLLBACK_CONSOLE_KEY"
FD_VARIABLE = "ROLLBACK_CONSOLE_KEY_FD"
KEY_FILE_VARIABLE = "ROLLBACK_CONSOLE_KEY_FILE"
_LARGEST = 65_536


class KeyProblem(NotAuthorized):
    """A key was found and cannot be used."""


@dataclass(frozen=True, slots=True)
class PersonKey:
    """A key that can sign now. `blob` is the public key's wire form; `source` says in words where the key lives;
    `operator` is the roster's id of whose it is ("" until `named`)."""

    blob: bytes
    source: str
    raw_sign: Callable[[bytes], bytes]
    operator: str = ""
    slow: bool = False  # signing asks somebody else (an agent, a person's confirmation)

    def __repr__(self) -> str:
        return f"PersonKey({self.fingerprint}, {self.source})"

    @classmethod
    def from_private(cls, private: Ed25519PrivateKey, source: str, operator: str = "") -> PersonKey:
        """A key held in this process's memory."""
        return cls(sshsig.public_blob(private.public_key()), source, private.sign, operator)

    @classmethod
    def from_seed(cls, seed: int | str | bytes, operator: str) -> PersonKey:
        """A rehearsal's key: the same for the same seed and operator, worth nothing outside a rehearsal."""
        text = seed if isinstance(seed, bytes) else str(seed).encode()
        material = hashlib.sha256(b"rollback-console rehearsal key\0" + text + b"\0" + operator.encode()).digest()
        return cls.from_private(Ed25519PrivateKey.from_private_bytes(material), "rehearsal seed", operator)

    @property
    def fingerprint(self) -> str:
        """``SHA256:…``, as OpenSSH prints it."""
        return sshsig.fingerprint(self.blob)

    @property
    def line(self) -> str:
        """The public key as rosters hold it."""
        return sshsig.public_line(self.blob, self.operator)

    def named(self, operator: str) -> PersonKey:
        """The same key, known to be this operator's."""
        return replace(self, operator=operator)

    def sign(self, statement: bytes, namespace: str = NAMESPACE) -> PersonSignature:
        """An SSHSIG signature over `statement` (UTF-8 text), checkable by stock OpenSSH.

        Raises `KeyProblem` when nobody's key this is (not `named`), `agent.AgentError` when the agent refuses.
        """
        if not self.operator:
            raise KeyProblem(f"the key {self.fingerprint} is nobody's in the roster", "rollback-console identity show")
        return PersonSignature(
            operator=self.operator,
            fingerprint=self.fingerprint,
            signed=hashlib.sha256(statement).hexdigest(),
            statement=statement.decode(),
            signature=sshsig.sign(statement, namespace, self.blob, self.raw_sign),
        )

    @property
    def signer(self) -> Callable[[bytes], PersonSignature | Awaitable[PersonSignature]]:
        """`sign` for whoever must not block: at once where the key is in memory, in a thread where it is asked for."""
        if not self.slow:
            return self.sign
        return lambda statement: asyncio.to_thread(self.sign, statement)


def verify(person: PersonSignature, namespace: str = NAMESPACE) -> bytes:
    """The key (blob) that made `person`'s signature. Raises `sshsig.BadSignature`.

    Checks the signature, the digest and the fingerprint; whether the key was that operator's is the roster's question.
    """
    statement = person.statement.encode()
    blob = sshsig.verify(statement, namespace, person.signature)
    if hashlib.sha256(statement).hexdigest() != person.signed:
        raise sshsig.BadSignature("the digest is not that of the statement")
    if sshsig.fingerprint(blob) != person.fingerprint:
        raise sshsig.BadSignature(f"signed by {sshsig.fingerprint(blob)}, not by {person.fingerprint}")
    return blob


@dataclass(frozen=True, slots=True)
class LockedKey:
    """An encrypted private key file; `unlock` with the passphrase that the CLI or the console asked for."""

    path: Path
    pem: bytes

    def unlock(self, passphrase: str) -> PersonKey:
        """Raises `KeyProblem` when the passphrase does not open it. Takes about 0.1 s (bcrypt, on purpose)."""
        return PersonKey.from_private(_load(self.pem, passphrase.encode(), str(self.path)), f"file {self.path}")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One place that was looked in, and what was there, in words."""

    place: str
    found: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Found:
    """What the search came to: a key, or a locked one to ask the passphrase for, or neither; and every place tried."""

    key: PersonKey | None
    locked: LockedKey | None
    attempts: tuple[Attempt, ...]

    @property
    def problem(self) -> str:
        """ "" with a key at hand, else one line."""
        if self.key is not None:
            return ""
        if self.locked is not None:
            return f"the key in {self.locked.path} is locked by its passphrase"
        return "no key at hand"


def default_key_file(environ: Mapping[str, str] = os.environ) -> Path:
    """Where `identity init` puts the encrypted key where no keyring is."""
    if given := environ.get(KEY_FILE_VARIABLE):
        return Path(given)
    from platformdirs import user_config_path

    return user_config_path("rollback-console", appauthor=False) / "identity"


def find_key(
    *,
    user: str = "default",
    key_file: Path | None = None,
    known: Collection[bytes] = (),
    environ: Mapping[str, str] = os.environ,
    ask_keyring: Callable[[str], keyring_probe.Answer] = keyring_probe.ask,
) -> Found:
    """Look for the person's key. Blocks up to about 6 s where a keyring or an agent hangs: call it off the event loop.

    `known` are the roster's blobs: ssh-agent's keys count only if they are in it (or, with an empty roster, if the
    agent holds exactly one). Never prompts, never raises for a place that has none.
    """
    attempts: list[Attempt] = []
    locked: LockedKey | None = None
    path = key_file or default_key_file(environ)
    places: tuple[tuple[str, Callable[[], PersonKey | LockedKey | str]], ...] = (
        ("keyring", lambda: _from_keyring(user, ask_keyring)),
        ("ssh-agent", lambda: _from_agent(environ, known)),
        ("file", lambda: _from_file(path)),
        ("environment", lambda: _from_environment(environ)),
        ("file descriptor", lambda: _from_descriptor(environ)),
    )
    for place, look in places:
        try:
            result = look()
        except NotAuthorized as error:
            attempts.append(Attempt(place, False, str(error)))
            continue
        if isinstance(result, str):
            attempts.append(Attempt(place, False, result))
        elif isinstance(result, LockedKey):
            attempts.append(Attempt(place, True, f"{result.path}, locked by its passphrase"))
            locked = result
        else:
            attempts.append(Attempt(place, True, f"{result.source}: {result.fingerprint}"))
            return Found(result, None, tuple(attempts))
    return Found(None, locked, tuple(attempts))


def _from_keyring(user: str, ask: Callable[[str], keyring_probe.Answer]) -> PersonKey | str:
    answer = ask(f"person:{user}")
    if answer.problem:
        return answer.problem
    if answer.secret is None:
        return f"no key of {user} in {answer.backend}"
    return PersonKey.from_private(_load(answer.secret.encode(), None, "the keyring"), f"keyring ({answer.backend})")


def _from_agent(environ: Mapping[str, str], known: Collection[bytes]) -> PersonKey | str:
    path = agent.socket_path(environ)
    if not path:
        return "SSH_AUTH_SOCK is not set"
    held = agent.keys(path)
    usable = [item for item in held if item[0] in known] if known else list(held)
    if not usable:
        return f"none of its {len(held)} Ed25519 keys is in the roster" if held else "it holds no Ed25519 key"
    if not known and len(usable) > 1:
        return f"it holds {len(usable)} Ed25519 keys, and there is no roster to tell which"
    blob, comment = usable[0]
    source = f"ssh-agent ({comment})" if comment else "ssh-agent"
    return PersonKey(blob, source, lambda data: agent.sign(path, blob, data), slow=True)


def _from_file(path: Path) -> LockedKey | str:
    try:
        facts = path.stat()
        pem = path.read_bytes()[:_LARGEST]
    except FileNotFoundError:
        return f"no {path}"
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
    if stat.S_IMODE(facts.st_mode) & 0o077:
        raise KeyProblem(f"{path} can be read by others", f"chmod 600 {path}")
    if not _is_encrypted(pem, str(path)):
        raise KeyProblem(f"{path} is not protected by a passphrase", f"give it one: ssh-keygen -p -f {path}")
    return LockedKey(path, pem)


def _from_environment(environ: Mapping[str, str]) -> PersonKey | str:
    text = environ.get(KEY_VARIABLE, "")
    if not text:
        return f"{KEY_VARIABLE} is not set"
    return PersonKey.from_private(_load(text.encode(), None, KEY_VARIABLE), f"plain text in {KEY_VARIABLE}")


def _from_descriptor(environ: Mapping[str, str]) -> PersonKey | str:
    text = environ.get(FD_VARIABLE, "")
    if not text:
        return f"{FD_VARIABLE} is not set"
    try:
        with os.fdopen(int(text), "rb") as file:
            pem = file.read(_LARGEST)
    except (ValueError, OSError) as error:
        raise KeyProblem(f"{FD_VARIABLE}={text} cannot be read: {error}", "give the number of an open one") from error
    return PersonKey.from_private(_load(pem, None, FD_VARIABLE), f"plain text from file descriptor {text}")


def _is_encrypted(pem: bytes, where: str) -> bool:
    """Whether an OpenSSH private key has a passphrase: the container's cipher is not `none`."""
    lines = pem.decode("ascii", "replace").strip().splitlines()
    if not lines or "BEGIN OPENSSH PRIVATE KEY" not in lines[0]:
        raise KeyProblem(f"{where} is not an OpenSSH private key", "make one: rollback-console identity init")
    import base64

    try:
        body = base64.b64decode("".join(lines[1:-1]), validate=True)
        cipher, _ = sshsig.take(body.removeprefix(b"openssh-key-v1\0"))
    except ValueError as error:
        raise KeyProblem(f"{where} is not a whole OpenSSH private key: {error}", "restore it, or make one") from error
    return cipher != b"none"


def _load(pem: bytes, passphrase: bytes | None, where: str) -> Ed25519PrivateKey:
    try:
        key = serialization.load_ssh_private_key(pem.strip() + b"\n", passphrase)
    except UnsupportedAlgorithm as error:
        raise KeyProblem(f"the key in {where} cannot be opened: {error}", "pip install bcrypt") from error
    except (ValueError, TypeError) as error:
        words = "the passphrase does not open" if passphrase is not None else "this is no private key without one:"
        raise KeyProblem(f"{words} {where}", "rollback-console identity show says where keys are looked for") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyProblem(f"the key in {where} is not Ed25519", "make one: ssh-keygen -t ed25519")
    return key


def make_in_keyring(operator: str, user: str = "default") -> PersonKey:
    """A new key, kept by the platform's keyring. Raises `KeyProblem` where there is none or it has a key already."""
    before = keyring_probe.ask(f"person:{user}")
    if before.secret is not None:
        raise KeyProblem(f"the keyring already holds a key of {user}", "rollback-console identity show")
    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    ).decode()
    answer = before if before.problem else keyring_probe.ask(f"person:{user}", store=pem)
    if answer.problem:
        raise KeyProblem(f"no keyring: {answer.problem}", "keep the key in an encrypted file: identity init --file")
    return PersonKey.from_private(private, f"keyring ({answer.backend})", operator)


def make_in_file(operator: str, path: Path, passphrase: str) -> PersonKey:
    """A new key in a 0600 OpenSSH file that the passphrase encrypts. Raises `InputError`; never overwrites."""
    if len(passphrase) < 8:
        raise InputError("the passphrase is shorter than 8 characters", "use a sentence")
    private = Ed25519PrivateKey.generate()
    try:
        pem = private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.OpenSSH,
            serialization.BestAvailableEncryption(passphrase.encode()),
        )
    except UnsupportedAlgorithm as error:
        raise InputError(f"a key file cannot be encrypted here: {error}", "pip install bcrypt") from error
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise InputError(f"{path} exists already", "identity show; or name another file with --file") from None
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}", "name another file with --file") from error
    with os.fdopen(handle, "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
    return PersonKey.from_private(private, f"file {path}", operator)
