"""The team's lease on a deployment, as the hub gives it: one execution at a time across all consoles, fenced by a token
that grows, and over by itself when its holder is gone.

Implements `execute.locks.Leases`. Each request runs on a thread of its own making, so that a hub that hangs holds up no
key; none of them raises: a hub that does not answer is an answer.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from rollback_console.errors import ConsoleError
from rollback_console.execute.locks import LeaseAnswer
from rollback_console.journal.upstream import HubClient, HubRefused
from rollback_console.model.text import plain

TTL_S = 60.0


class HubLeases:
    """Leases of one console. `connect` makes a client, in the thread that asks (it may ask a keyring)."""

    def __init__(self, connect: Callable[[], HubClient], ttl_s: float = TTL_S) -> None:
        self._connect = connect
        self.ttl_s = ttl_s

    async def take(self, deployment: str, note: str) -> LeaseAnswer:
        holder = f"{note} on {socket.gethostname()}"
        return await self._ask("POST", deployment, {"ttl_s": self.ttl_s, "holder": holder[:200]})

    async def renew(self, deployment: str, token: int) -> LeaseAnswer:
        return await self._ask("PUT", deployment, {"token": token, "ttl_s": self.ttl_s})

    async def release(self, deployment: str, token: int) -> None:
        await self._ask("DELETE", deployment, None, f"?token={token}")

    async def _ask(self, method: str, deployment: str, document: object, query: str = "") -> LeaseAnswer:
        return await asyncio.to_thread(self._request, method, f"/v1/leases/{_name(deployment)}{query}", document)

    def _request(self, method: str, path: str, document: object) -> LeaseAnswer:
        try:
            client = self._connect()
            try:
                answer = client.json(method, path, document)
            finally:
                client.close()
        except HubRefused as error:
            if error.status == 409:
                return LeaseAnswer(holder=_holder(error.document))
            return LeaseAnswer(offline=error.message)
        except ConsoleError as error:
            return LeaseAnswer(offline=error.message)
        token = answer.get("token")
        return LeaseAnswer(token=token) if type(token) is int else LeaseAnswer(offline="the hub gave no token")


def _name(deployment: str) -> str:
    return "deployment/" + "/".join(quote(part, safe="") for part in deployment.split("/"))


def _holder(document: dict[str, Any]) -> str:
    """Who has it, in the hub's words; the lease that lapsed meanwhile has nobody."""
    return plain(str(document.get("holder") or "nobody"), 200)
