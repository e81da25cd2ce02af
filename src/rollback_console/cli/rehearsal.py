"""A console on the simulated world: the same engine and acts, a world and a clock of its own, a throw-away journal."""

from __future__ import annotations

import asyncio
import random
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rollback_console.cli.common import settling
from rollback_console.engine.loop import Engine
from rollback_console.engine.options import Options, Paper, Roles

if TYPE_CHECKING:
    from collections.abc import Callable

    from rollback_console.authorize.roles import Authority
    from rollback_console.cli.compose import Seat
    from rollback_console.clock import Clock
    from rollback_console.engine.acts import Acts
    from rollback_console.execute.locks import MemoryLocks
    from rollback_console.journal.store import Journal
    from rollback_console.model.snapshot import Snapshot
    from rollback_console.rehearse.setup import Setup

HEADLESS_START = 1_780_000_200.0  # when a headless drill begins (Unix seconds, on a step): any fixed time would do
_DRAWN_S = 0.05  # within which a screen has drawn what it was given


def rehearsal_journal() -> Path:
    """A new throw-away journal's path, in a folder of its own."""
    return Path(tempfile.mkdtemp(prefix="rollback-console-rehearsal-")) / "journal.db"


class Rehearsal:
    """A simulated world for one console. Device, operator, ids, noise: all from the seed."""

    def __init__(self, setup: Setup, journal: Path, *, command: str, drawn: bytes = b"") -> None:
        """`drawn`: of the world's past, from `rehearse.ahead`."""
        self.setup = setup
        self.setup.world.take(drawn)
        self.clock: Clock = setup.world.clock
        self._path = journal
        self._command = command
        seed = f"rollback-console rehearsal {setup.world.seed}"
        self._ids = random.Random(seed)  # noqa: S311 - a drill's ids come from its seed
        self._locks: MemoryLocks | None = None

    def engine(self, **more: Any) -> Engine:
        """The engine; `more` as for `Engine`."""
        setup = self.setup
        rules = setup.rules()
        policy = Paper("policy", rules[0].policy, rules[0].policy_version, rules[0].policy_digest, setup.policy_bytes)
        options = Options(
            step_s=setup.step_s,
            delay_s=0.0,
            lookback_s=6 * 3600.0,
            band="REHEARSAL",
            simulated=True,
            journal_path=str(self._path),
            command=self._command,
            papers=(policy,),
        )
        roles = Roles(lock_free=lambda d: self._locks is None or self._locks(str(d)).holder() is None)
        return Engine(rules, setup.metrics, setup.registry, self.clock, options, roles=roles, **more)

    def keys(self, engine: Engine) -> Authority:
        """Who sits here; the roster becomes a paper in force."""
        from rollback_console.authorize.roles import Authority
        from rollback_console.authorize.roster_view import from_roster
        from rollback_console.policy.load import parse_roster

        setup = self.setup
        roster = parse_roster(setup.roster_bytes, setup.roster_name)
        authority = Authority.of_key(from_roster(roster.roster), setup.operator_key, now=self.clock.now)
        paper = Paper("roster", setup.roster_name, 1, roster.digest, roster.data)
        engine.options = replace(
            engine.options, operator=authority.operator, papers=(*engine.options.papers, paper)
        )  # fmt: skip
        return authority

    def journal(self) -> Journal:
        """The throw-away journal, made."""
        from rollback_console.journal.device import DeviceKey
        from rollback_console.journal.store import Journal

        return Journal.open(
            self._path,
            device=DeviceKey.from_seed(self.setup.device_seed),
            clock=self.clock,
            rehearsal=True,
            chain=f"{self._ids.getrandbits(128):032x}",
        )

    def acts(self, engine: Engine, authority: Authority, poll_s: float, **more: Any) -> Acts:
        """The acts on that engine; `more` as for `Acts`."""
        from rollback_console.engine.acts import Acts
        from rollback_console.execute.drivers.mlflow_alias import MlflowAliasDriver
        from rollback_console.execute.locks import MemoryLocks
        from rollback_console.runbook.library import Library

        self._locks = MemoryLocks(self.clock.now)
        driver = MlflowAliasDriver(
            self.setup.registry, now=self.clock.now, base_url="http://registry.rehearsal.invalid"
        )  # fmt: skip
        library = Library()
        engine.show_runbooks(library.all)
        return Acts(
            engine, authority, {"mlflow-alias": driver}, self._locks, library, random=self._ids, poll_s=poll_s, **more
        )


def rehearsal(setup: Setup, journal: Path, *, command: str) -> Seat:
    """A console on a simulated world that nobody watches: it writes in line, so that nothing hangs on a thread's turn,
    and its journal is open before its first evaluation."""
    from rollback_console.cli.compose import Seat

    played = Rehearsal(setup, journal, command=command)
    opened = played.journal()
    engine = played.engine(journal=opened, inline=True)
    return Seat(engine, played.acts(engine, played.keys(engine), played.setup.step_s), opened, None)


async def opening(
    played: Rehearsal, publish: Callable[[Snapshot], None], *, speed: float, set_speed: Callable[[float], None]
) -> Seat:
    """A console on a simulated world for a screen: its first states are shown before keys, journal and acts load."""
    loop = asyncio.get_running_loop()
    opened: asyncio.Future[tuple[Authority, Journal]] = loop.create_future()

    async def opens() -> Journal:
        await asyncio.sleep(_DRAWN_S)  # nothing hangs on it: the screen draws, before a thread loads what takes long
        found = await asyncio.to_thread(load)
        opened.set_result(found)
        return found[1]

    def load() -> tuple[Authority, Journal]:
        return played.keys(engine), played.journal()

    engine: Engine = played.engine(opens=opens)
    engine.set_speed(speed)
    running = asyncio.create_task(engine.run(settling(publish)), name="engine")
    waiting: set[asyncio.Future[Any]] = {opened, running}
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        running.result()
    authority, journal = opened.result()

    from rollback_console.cli.compose import Seat

    return Seat(engine, played.acts(engine, authority, 5.0, set_speed=set_speed), journal, None, running)
