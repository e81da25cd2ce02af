"""The operating system's keyring, asked from a subprocess with a time limit.

Why a subprocess: with no Secret Service some backends call `getpass` on the terminal the console draws on, others wait
for a D-Bus answer that never comes, and the plain-text ones of `keyrings.alt` offer themselves silently. The child has
no controlling terminal and no stdin to ask on; only the platforms' own encrypted stores are let through.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass

LIMIT_S = 3.0
SERVICE = "rollback-console"

# By module: the platforms' own stores. Everything else (plain text, null, third parties) is refused by name.
PLATFORM_STORES = (
    "keyring.backends.SecretService",
    "keyring.backends.libsecret",
    "keyring.backends.kwallet",
    "keyring.backends.macOS",
    "keyring.backends.Windows",
)

_CHILD = """
import json, sys
ask = json.load(sys.stdin)
import keyring
from keyring.backends import chainer
chosen = keyring.get_keyring()
stores = list(chosen.backends) if isinstance(chosen, chainer.ChainerBackend) else [chosen]
names = [type(s).__module__ + "." + type(s).__name__ for s in stores]
usable = [s for s in stores if any(type(s).__module__ == a or type(s).__module__.startswith(a + ".")
                                   for a in ask["allowed"])]
answer = {"names": names, "usable": bool(usable), "secret": None}
if usable:
    store = usable[0]
    answer["name"] = type(store).__module__ + "." + type(store).__name__
    if ask["secret"] is not None:
        store.set_password(ask["service"], ask["user"], ask["secret"])
    answer["secret"] = store.get_password(ask["service"], ask["user"])
json.dump(answer, sys.stdout)
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the keyring said: the secret (None where it has none), or why it cannot be used."""

    secret: str | None
    problem: str = ""
    backend: str = ""


def ask(
    user: str,
    *,
    store: str | None = None,
    allowed: tuple[str, ...] = PLATFORM_STORES,
    limit_s: float = LIMIT_S,
) -> Answer:
    """Read the secret of `user`, or store one and read it back. Blocks for at most `limit_s`; never raises."""
    request = json.dumps({"service": SERVICE, "user": user, "secret": store, "allowed": allowed})
    try:
        child = subprocess.run(  # noqa: S603 - our own interpreter, our own text, no shell
            [sys.executable, "-c", _CHILD],
            input=request,
            capture_output=True,
            text=True,
            timeout=limit_s,
            start_new_session=True,  # no controlling terminal: nobody can ask on it
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Answer(None, f"the keyring did not answer within {limit_s:g} s")
    except OSError as error:
        return Answer(None, f"the keyring could not be asked: {error}")
    if child.returncode != 0:
        last = (child.stderr.strip().splitlines() or ["no reason given"])[-1]
        return Answer(None, f"the keyring failed: {last[:200]}")
    try:
        answer = json.loads(child.stdout)
    except ValueError:
        return Answer(None, "the keyring answered with something else than its answer")
    if not answer["usable"]:
        return Answer(None, f"no encrypted store of the platform; found only {', '.join(answer['names']) or 'none'}")
    if store is not None and answer["secret"] != store:
        return Answer(None, "the keyring did not keep what it was given", answer["name"])
    return Answer(answer["secret"], "", answer["name"])
