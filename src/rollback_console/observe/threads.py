"""A few daemon threads for a blocking HTTP library, and a way to cut off what hangs in them.

`concurrent.futures` joins its threads at exit: a console would not end while a backend hangs. These are daemons, and a
request that is over its time has its socket shut down, so that a server that trickles cannot hold a thread for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import socket
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

_LOCAL = threading.local()


class PoolClosed(Exception):
    """`run` after `close`."""


class Call:
    """One blocking request under way in a thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self.was_cut = False

    def attach(self, sock: socket.socket | None) -> None:
        """The socket this request waits on; None when it waits no more. Raises ConnectionAbortedError once cut."""
        with self._lock:
            self._socket = sock
            if self.was_cut and sock is not None:
                raise ConnectionAbortedError("cut off: over its time")

    def cut(self) -> None:
        """End it now, from any thread: whatever it waits for fails."""
        with self._lock:
            self.was_cut = True
            if self._socket is not None:
                with contextlib.suppress(OSError):  # closed in the meantime: as good
                    self._socket.shutdown(socket.SHUT_RDWR)


def current_call() -> Call | None:
    """The call this thread works on, or None outside of a pool."""
    call = getattr(_LOCAL, "call", None)
    return call if isinstance(call, Call) else None


class DaemonPool:
    """`size` daemon threads, started when first needed."""

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self._size = size
        self._threads = 0
        self._closed = False
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()

    async def run(self, function: Callable[[], T], seconds: float) -> T:
        """`function()` in a thread. Raises TimeoutError after `seconds`, having cut it off; cancelling cuts too."""
        if self._closed:
            raise PoolClosed("the pool is closed")
        if self._threads < self._size:
            self._threads += 1
            threading.Thread(
                target=_work, args=(self._jobs,), name=f"{self._name}-{self._threads}", daemon=True
            ).start()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        call = Call()
        self._jobs.put(_Job(call, function, loop, future))
        try:
            async with asyncio.timeout(seconds):
                return await future
        finally:
            if not future.done() or future.cancelled():
                call.cut()

    def close(self) -> None:
        """Let the threads end after what they are at; nobody waits for them."""
        self._closed = True
        for _ in range(self._threads):
            self._jobs.put(None)


class _Job:
    __slots__ = ("call", "function", "future", "loop")

    def __init__(
        self, call: Call, function: Callable[[], Any], loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any]
    ) -> None:
        self.call = call
        self.function = function
        self.loop = loop
        self.future = future


def _work(jobs: queue.SimpleQueue[_Job | None]) -> None:
    while (job := jobs.get()) is not None:
        if job.call.was_cut:  # nobody waits for it any more
            continue
        _LOCAL.call = job.call
        result: object = None
        problem: BaseException | None = None
        try:
            result = job.function()
        except BaseException as error:  # it belongs to whoever waits, not to this thread
            problem = error
        finally:
            _LOCAL.call = None
            job.call.attach(None)
        with contextlib.suppress(RuntimeError):  # the loop is closed: the console has left
            job.loop.call_soon_threadsafe(_settle, job.future, result, problem)
        del job, result, problem


def _settle(future: asyncio.Future[Any], result: object, problem: BaseException | None) -> None:
    if future.done():
        return
    if problem is not None:
        future.set_exception(problem)
    else:
        future.set_result(result)
