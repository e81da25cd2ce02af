"""How often, how many at once, and when not at all: what stands before every request to a backend.

A sick backend must not be finished off by the consoles that watch it: a budget delays and then refuses, a cap bounds
what is under way, and after failures a circuit opens for a random while that doubles (full jitter:
https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from random import Random
from typing import TypeVar

from rollback_console.clock import Clock
from rollback_console.errors import BackendError, BackendNonsense, BackendRefused, BackendUnreachable
from rollback_console.model.observation import BackendHealth, BackendState
from rollback_console.model.text import plain
from rollback_console.observe.http import Server, Transient, WrongCredentials

T = TypeVar("T")

_OPENS_AFTER = 2  # failures in a row, none of them begun before the one it follows ended
_FIRST_BACKOFF_S = 1.0
_LONGEST_BACKOFF_S = 60.0
_LONGEST_RETRY_AFTER_S = 5.0  # a server that asks for more is not asked again within this call ...
_LONGEST_HOLD_S = 300.0  # ... but left alone for as long as it asked, up to this
_LONGEST_BUDGET_DELAY_S = 15.0
_SLOW_S = 2.0


class Budget:
    """A token bucket of queries per minute, as many in a burst. Over it, a query waits its turn; over that, none."""

    def __init__(self, name: str, per_minute: float, clock: Clock) -> None:
        self._name = name
        self._per_minute = per_minute
        self._clock = clock
        self._tokens = float(per_minute)
        self._at = clock.monotonic()

    async def take(self) -> None:
        """One query's worth. Raises BackendUnreachable when the turn would come too late to be of use."""
        now = self._clock.monotonic()
        rate = self._per_minute / 60.0
        self._tokens = min(float(self._per_minute), self._tokens + (now - self._at) * rate)
        self._at = now
        delay = max(0.0, (1.0 - self._tokens) / rate)
        if delay > _LONGEST_BUDGET_DELAY_S:
            raise BackendUnreachable(
                f"over the budget of {self._per_minute:g} queries a minute to {self._name}; "
                f"the next turn is in {delay:.0f} s",
                "poll less often, merge queries with `by (...)`, or raise budget.queries_per_minute",
            )
        self._tokens -= 1.0  # may go below zero: that is the queue of those who wait
        if delay:
            await self._clock.sleep(delay)


class Circuit:
    """Open after failures in a row; one cheap probe decides when it may close again.

    Failures of requests that were under way together count once: six queries that time out in one poll are one
    failure of the backend, not six.
    """

    def __init__(self, name: str, clock: Clock, random: Random, probe: Callable[[], Awaitable[object]]) -> None:
        self._name = name
        self._clock = clock
        self._random = random
        self._probe = probe
        self._failures = 0
        self._wave = 0
        self._open_until: float | None = None
        self._probing: asyncio.Event | None = None
        self._why = ""

    @property
    def open_for_s(self) -> float:
        """Seconds until the next try; 0 when closed or due."""
        return max(0.0, self._open_until - self._clock.monotonic()) if self._open_until is not None else 0.0

    def check(self) -> None:
        """Raise BackendUnreachable at once while open."""
        if (left := self.open_for_s) > 0:
            raise BackendUnreachable(f"backing off from {self._name}, next try in {left:.0f} s ({self._why})")

    async def enter(self) -> int:
        """Wait for leave to ask; returns the wave to report back with. When a probe is due, the first to come sends
        it and everyone else waits for its end."""
        while self._open_until is not None:
            self.check()
            if self._probing is not None:
                await self._probing.wait()
                continue
            self._probing = asyncio.Event()
            try:
                await self._probe()
                self.succeeded()
            except BackendRefused:
                self.succeeded()  # a no is an answer: it is there
            except BackendError as error:
                self.failed(self._wave, error)
                raise
            finally:
                self._probing.set()
                self._probing = None
        return self._wave

    def succeeded(self) -> None:
        self._failures = 0
        self._wave += 1
        self._open_until = None

    def failed(self, wave: int, error: BackendError) -> None:
        """Count a failure of a request that entered in `wave`."""
        if wave != self._wave:
            return
        self._wave += 1
        self._failures += 1
        self._why = plain(error.message, 160)
        asked = error.retry_after_s if isinstance(error, Transient) else None
        hold = min(asked, _LONGEST_HOLD_S) if asked is not None and asked > _LONGEST_RETRY_AFTER_S else 0.0
        if self._failures < _OPENS_AFTER and not hold:
            return
        ceiling = min(_LONGEST_BACKOFF_S, _FIRST_BACKOFF_S * 2.0 ** min(self._failures - 1, 16))
        self._open_until = self._clock.monotonic() + max(hold, self._random.uniform(0.0, ceiling))


class Guard:
    """One backend's gate: circuit, budget, slots, one retry, and the health that the header shows."""

    def __init__(
        self,
        to: Server,
        *,
        clock: Clock,
        random: Random,
        max_in_flight: int,
        queries_per_minute: float,
        probe: Callable[[], Awaitable[object]],
    ) -> None:
        self._name = to.name
        self._clock = clock
        self._random = random
        self._budget = Budget(to.name, queries_per_minute, clock)
        self._slots = asyncio.Semaphore(max_in_flight)
        self._circuit = Circuit(to.name, clock, random, probe)
        self._health = BackendHealth(to.name, BackendState.CONNECTING, detail=f"connecting to {to.where}")

    async def call(self, attempt: Callable[[], Awaitable[T]], *, urgent: bool = False, once: bool = False) -> T:
        """Run `attempt` when allowed; it raises BackendError. `urgent` (an execution's own reads and writes) passes
        circuit, budget and slots. `once` is for writes: whoever moves a pointer decides about a second try."""
        if urgent:
            return await self._measured(attempt if once else lambda: self._twice(attempt), None)
        self._circuit.check()
        await self._budget.take()
        async with self._slots:
            wave = await self._circuit.enter()
            return await self._measured(lambda: self._twice(attempt), wave)

    async def _twice(self, attempt: Callable[[], Awaitable[T]]) -> T:
        try:
            return await attempt()
        except Transient as error:
            asked = error.retry_after_s
            if asked is not None and asked > _LONGEST_RETRY_AFTER_S:
                raise
            await self._clock.sleep((asked or 0.0) + self._random.uniform(0.05, 0.5))
            return await attempt()

    async def _measured(self, attempt: Callable[[], Awaitable[T]], wave: int | None) -> T:
        started = time.monotonic()  # what the network takes is the wall's, whatever clock the engine runs on
        try:
            result = await attempt()
        except BackendRefused as error:
            self._answered(time.monotonic() - started, error)
            raise
        except BackendError as error:
            self._failed(wave, error)
            raise
        except Exception as error:  # a library's surprise: the Protocol promises BackendError and nothing else
            surprise = BackendNonsense(f"{self._name}: {type(error).__name__}: {plain(error, 160)}", "please report it")
            self._failed(wave, surprise)
            raise surprise from error
        self._answered(time.monotonic() - started, None)
        return result

    def _answered(self, seconds: float, error: BackendRefused | None) -> None:
        self._circuit.succeeded()
        state = BackendState.SLOW if seconds > _SLOW_S else BackendState.OK
        if isinstance(error, WrongCredentials):
            self._health = replace(self._health, state=BackendState.FAILING, latency_s=seconds, detail=_line(error))
            return
        detail = _line(error) if error else f"answers in {seconds:.1f} s" if state is BackendState.SLOW else ""
        self._health = BackendHealth(self._name, state, seconds, self._clock.now(), detail)

    def _failed(self, wave: int | None, error: BackendError) -> None:
        if wave is not None:
            self._circuit.failed(wave, error)
        self._health = replace(self._health, state=BackendState.FAILING, detail=_line(error))

    def misread(self, error: BackendError) -> None:
        """An answer that arrived well and then made no sense."""
        self._failed(None, error)

    def health(self) -> BackendHealth:
        """How it answered last; while backing off, with the time to the next try."""
        left = self._circuit.open_for_s
        if left > 0:
            return replace(self._health, detail=f"{self._health.detail}; next try in {left:.0f} s")
        return self._health


def _line(error: BackendError) -> str:
    return plain(str(error), 300)
