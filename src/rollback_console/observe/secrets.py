"""A secret from where the settings say it is kept: the OS keyring, an environment variable, a file.

The keyring is asked in a subprocess with a time limit and without a terminal: some of its backends would ask for a
password in the middle of the screen, some hang on a D-Bus that is not there. Backends that keep plain text are refused.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from rollback_console.errors import InputError
from rollback_console.model.text import plain
from rollback_console.model.value import dataclass

KEYRING_S = 3.0
_MAX_SECRET = 64 * 1024

# Runs in a fresh interpreter; prints one JSON object. keyrings.alt keeps plain text, or asks with getpass.
_PROBE = """
import json, sys
service, name = json.loads(sys.stdin.read())
def trusted(backend):
    module = type(backend).__module__
    if module.startswith("keyring.backends.chainer"):
        return [good for inner in backend.backends for good in trusted(inner)]
    bad = module.startswith(("keyrings.alt", "keyring.backends.fail", "keyring.backends.null"))
    return [] if bad or "plaintext" in type(backend).__name__.lower() else [backend]
try:
    import keyring
    found = keyring.get_keyring()
    backends = trusted(found)
    if not backends:
        print(json.dumps({"refused": type(found).__module__ + "." + type(found).__name__}))
        sys.exit(0)
    values = (backend.get_password(service, name) for backend in backends)
    print(json.dumps({"value": next((value for value in values if value is not None), None)}))
except Exception as error:
    print(json.dumps({"error": type(error).__name__ + ": " + str(error)}))
"""


class SecretError(InputError):
    """A secret that is not to be had, with what to do. Never holds any of it."""


@dataclass(frozen=True, slots=True)
class SecretPlace:
    """Where a secret is kept: `kind` is keyring (`place` is service/name), env (a name) or file (a path)."""

    kind: str
    place: str

    def __str__(self) -> str:
        return f"{self.kind}: {plain(self.place, 120)}"


def resolve(secret: SecretPlace, what: str, *, base: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """The secret's value. `what` names the setting for messages (`prometheus.auth.token`); a relative file is taken
    from `base`. Blocks for up to 3 s for a keyring. Raises SecretError."""
    if secret.kind == "env":
        value = (os.environ if env is None else env).get(secret.place)
        if not value:
            raise SecretError(f"{what}: {secret} is not set", f"export {plain(secret.place, 60)} before starting")
        return value
    if secret.kind == "file":
        return _from_file(Path(secret.place).expanduser(), secret, what, base)
    if secret.kind == "keyring":
        return _from_keyring(secret, what)
    raise SecretError(f"{what}: {plain(secret.kind, 40)} is no place for a secret", "use keyring, env or file")


def _from_file(path: Path, secret: SecretPlace, what: str, base: Path | None) -> str:
    full = path if base is None else base / path
    try:
        with full.open("rb") as file:
            info = os.fstat(file.fileno())  # of what was opened, not of what stands there a moment later
            if not stat.S_ISREG(info.st_mode):
                raise SecretError(f"{what}: {secret} is not a regular file", "name a file")
            if info.st_mode & (stat.S_IROTH | stat.S_IWOTH):
                raise SecretError(
                    f"{what}: {secret} can be read or written by everyone (mode {stat.S_IMODE(info.st_mode):04o})",
                    f"chmod 600 {plain(full, 120)}, and change the secret if others may have seen it",
                )
            raw = file.read(_MAX_SECRET + 1)
    except OSError as error:
        why = plain(error.strerror or type(error).__name__, 80)
        raise SecretError(f"{what}: {secret} cannot be read ({why})", "create it with mode 600") from error
    if len(raw) > _MAX_SECRET:
        raise SecretError(f"{what}: {secret} is larger than a secret", "name the right file")
    try:
        value = raw.decode("utf-8").strip("\r\n")
    except UnicodeDecodeError as error:
        raise SecretError(f"{what}: {secret} is not text", "name the right file") from error
    if not value.strip():
        raise SecretError(f"{what}: {secret} is empty", "write the secret into it")
    return value


def _from_keyring(secret: SecretPlace, what: str) -> str:
    service, slash, name = secret.place.partition("/")
    if not slash or not service or not name:
        raise SecretError(f"{what}: {secret} is not service/name", 'write keyring: "service/name"')
    instead = "or keep it in env: NAME or file: PATH (mode 600)"
    answer = _probe(service, name)
    if answer is None:
        raise SecretError(f"{what}: the keyring did not answer within {KEYRING_S:g} s", f"unlock it, {instead}")
    if "refused" in answer:
        backend = plain(answer["refused"], 120)
        raise SecretError(
            f"{what}: no safe keyring here ({backend})",
            f"set up Secret Service, Keychain or Credential Manager, {instead}",
        )
    if "error" in answer:
        raise SecretError(
            f"{what}: the keyring failed ({plain(answer['error'], 160)})", f"see `keyring diagnose`, {instead}"
        )
    value = answer.get("value")
    if not isinstance(value, str) or not value:
        raise SecretError(f"{what}: {secret} is not in the keyring", f"keyring set {plain(service)} {plain(name)}")
    return value


def _probe(service: str, name: str) -> dict[str, object] | None:
    """Ask the keyring in a session of its own: no terminal, so nothing can prompt. None when it is out of time."""
    # -P: a keyring.py in the current folder must not be what is asked
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and script; the reference goes by stdin
        [sys.executable, "-P", "-c", _PROBE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        out, _ = process.communicate(json.dumps([service, name]).encode(), timeout=KEYRING_S)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return None
    try:
        found = json.loads(out)
    except ValueError:
        return {"error": f"it ended with {process.returncode} and said nothing"}
    return found if isinstance(found, dict) else {"error": "it answered in another shape"}
