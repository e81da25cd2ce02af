"""What routes are handed: the hub's parts, and the device that asks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Annotated

import anyio.to_thread
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from rollback_console.hub import devices
from rollback_console.hub.devices import Device
from rollback_console.hub.fanout import Copier, sinks
from rollback_console.hub.hub import Hub
from rollback_console.hub.limits import Metrics, Rates
from rollback_console.hub.problems import Problem, unauthorized
from rollback_console.hub.stream import Stream


class State:
    """One process's hub, its metrics and its callers' rates."""

    def __init__(self, hub: Hub, metrics: Metrics) -> None:
        self.hub = hub
        self.database = hub.database
        self.log = hub.log
        self.metrics = metrics
        self.stream = Stream(hub.database, hub.settings.poll_s, hub.settings.streams)
        self.copiers = [Copier(hub.database, sink, metrics) for sink in sinks(hub.settings, hub.log.key.name)]
        self.rates = Rates(hub.settings.rate, hub.settings.burst)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """While the service answers."""
        task = asyncio.create_task(self.stream.run())
        for copier in self.copiers:
            copier.start()
        try:
            yield
        finally:
            self.stream.end()
            await task
            for copier in self.copiers:
                await anyio.to_thread.run_sync(copier.stop)

    def changed(self) -> None:
        """Something was committed: whoever follows may look."""
        self.stream.wake()

    def end_streams(self) -> None:
        """The service is about to end: streams would keep it waiting for ever."""
        self.stream.end()


def state_of(request: Request) -> State:
    found = request.app.state.hub
    if not isinstance(found, State):
        raise TypeError("the application was not made by create_app")
    return found


Parts = Annotated[State, Depends(state_of)]
_bearer = HTTPBearer(auto_error=False, description="the token of POST /v1/devices")


def caller(
    request: Request, parts: Parts, found: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Device:
    """The enrolled device that asks. Raises Problem: 401, 403, 429."""
    try:
        if found is None:
            raise unauthorized()
        device = devices.by_token(parts.database, found.credentials)
    except Problem:
        parts.rates.take("address " + (request.client.host if request.client else ""))
        raise
    request.scope.setdefault("state", {})["device"] = device.id
    parts.rates.take(device.id)
    return device


Caller = Annotated[Device, Depends(caller)]
