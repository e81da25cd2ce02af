"""The two requests of the ssh-agent protocol that signing needs (draft-ietf-sshm-ssh-agent): list, and sign.

Only Ed25519 keys that are plain files or agent-held are used; `sk-` (hardware) keys sign another structure.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Mapping

from rollback_console.authorize import sshsig
from rollback_console.errors import NotAuthorized

_LIST, _LIST_ANSWER = 11, 12
_SIGN, _SIGN_ANSWER = 13, 14
_LARGEST = 262_144  # OpenSSH's own limit for an agent's message
LIST_LIMIT_S = 3.0
SIGN_LIMIT_S = 30.0  # a person may have to confirm (`ssh-add -c`)


class AgentError(NotAuthorized):
    """The agent could not be asked, or refused."""


def socket_path(environ: Mapping[str, str] = os.environ) -> str:
    """Where the agent listens, or ""."""
    return environ.get("SSH_AUTH_SOCK", "")


def keys(path: str) -> tuple[tuple[bytes, str], ...]:
    """The agent's Ed25519 keys, (blob, comment). Blocks for at most `LIST_LIMIT_S`; raises `AgentError`."""
    answer = _ask(path, bytes([_LIST]), _LIST_ANSWER, LIST_LIMIT_S)
    try:
        (count,) = struct.unpack(">I", answer[:4])
        rest, found = answer[4:], []
        for _ in range(count):
            blob, rest = sshsig.take(rest)
            comment, rest = sshsig.take(rest)
            if blob.startswith(sshsig.pack(sshsig.ALGORITHM)):
                found.append((blob, comment.decode("utf-8", "replace")))
    except (ValueError, struct.error) as error:
        raise AgentError(f"the ssh-agent's list makes no sense: {error}", "restart the agent") from error
    return tuple(found)


def sign(path: str, blob: bytes, data: bytes) -> bytes:
    """Ed25519 over `data` by the agent's key: 64 bytes. Blocks for at most `SIGN_LIMIT_S`; raises `AgentError`."""
    answer = _ask(path, bytes([_SIGN]) + sshsig.pack(blob, data) + struct.pack(">I", 0), _SIGN_ANSWER, SIGN_LIMIT_S)
    try:
        signature, _ = sshsig.take(answer)
        algorithm, rest = sshsig.take(signature)
        raw, _ = sshsig.take(rest)
    except ValueError as error:
        raise AgentError(f"the ssh-agent's signature makes no sense: {error}", "restart the agent") from error
    if algorithm != sshsig.ALGORITHM or len(raw) != 64:
        raise AgentError("the ssh-agent signed with another algorithm", "load an Ed25519 key: ssh-add FILE")
    return raw


def _ask(path: str, request: bytes, expected: int, limit_s: float) -> bytes:
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(limit_s)
            connection.connect(path)
            connection.sendall(sshsig.pack(request))
            (size,) = struct.unpack(">I", _read(connection, 4))
            if not 1 <= size <= _LARGEST:
                raise AgentError("the ssh-agent's answer makes no sense", "restart the agent")
            answer = _read(connection, size)
    except OSError as error:
        raise AgentError(f"the ssh-agent at {path} did not answer: {error}", "check SSH_AUTH_SOCK") from error
    if answer[0] != expected:
        raise AgentError("the ssh-agent refused", "is the key still loaded? ssh-add -l")
    return answer[1:]


def _read(connection: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = connection.recv(size - len(parts))
        if not part:
            raise ConnectionError("it closed the connection")
        parts += part
    return bytes(parts)
