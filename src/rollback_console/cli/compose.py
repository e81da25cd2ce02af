"""The composition root: settings, backends, clock, journal, keys, engine and acts put together, and nothing else.

Nothing below imports from here; every command that runs an engine gets it from here.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rollback_console.cli import common
from rollback_console.cli.common import find_journal, need_config, settling, warn
from rollback_console.engine.acts import Acts
from rollback_console.engine.loop import Engine
from rollback_console.engine.options import Options, Paper, Roles
from rollback_console.engine.present import Publish
from rollback_console.errors import ConsoleError, JournalError, JournalUnwritable, Refused
from rollback_console.journal.device import DeviceKey
from rollback_console.journal.locks import ExecutionLock, RecorderLock
from rollback_console.journal.store import Journal

if TYPE_CHECKING:
    import click

    from rollback_console.authorize.roles import Authority
    from rollback_console.cli.hub_link import Link
    from rollback_console.clock import Clock
    from rollback_console.engine.drilled import Records
    from rollback_console.engine.shelf import Shelf
    from rollback_console.execute.locks import LockOf
    from rollback_console.model.incident import AttributionKind, PathRecord
    from rollback_console.model.snapshot import Snapshot
    from rollback_console.policy.load import Configuration


_SHARING = ("console", "watch")  # commands that stay, and so may ask for others or follow them


@dataclass(slots=True)
class Seat:
    """A console put together: its engine, its acts, its journal; `run` is the engine's task once it was started."""

    engine: Engine
    acts: Acts
    journal: Journal | None
    recorder: RecorderLock | None
    run: asyncio.Task[None] | None = None
    link: Link | None = None  # to the hub, where the settings name one
    beside: list[asyncio.Task[None]] = field(default_factory=list)

    def keep(self, task: asyncio.Task[None]) -> None:
        """A task that ends with the console."""
        self.beside.append(task)

    def start(self, publish: Publish) -> None:
        """Run the engine beside whatever else runs."""
        self.run = asyncio.create_task(self.engine.run(settling(publish)), name="engine")
        if self.link is not None:
            self.link.start(self.engine.publish, self._chain, self._here)

    def _chain(self) -> str:
        return self.journal.chain if self.journal is not None else ""

    def _here(self) -> tuple[str, str]:
        """Who sits here, and what they look at; ("", "") where nobody does."""
        operator, focus = self.engine.options.operator, self.engine.focus
        return (operator.id, str(focus) if focus is not None else "fleet") if operator is not None else ("", "")

    async def close(self) -> None:
        """Stop the engine, write what waits, free the locks."""
        for task in (*self.beside, *([self.run] if self.run is not None else ())):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConsoleError):
                await task
        await self.acts.close_acts()
        if self.link is not None:
            await asyncio.to_thread(self.link.stop)
        if self.recorder is not None:
            self.recorder.release()
        if self.journal is not None:
            self.journal.close()


def band_of(configuration: Configuration) -> str:
    """Where one is, in words: the environments in view, each by the word that the settings give it."""
    words = configuration.settings.settings.band
    names = sorted({rule.deployment.id.environment for rule in configuration.rules})
    return " + ".join(words.get(name, name.upper()) for name in names) or "NO DEPLOYMENTS"


def papers_of(configuration: Configuration) -> tuple[Paper, ...]:
    """The files in force, as the journal keeps them."""
    settings, roster = configuration.settings, configuration.roster
    papers = [Paper("policy", p.policy.name, p.policy.version, p.digest, p.data) for p in configuration.policies]
    papers.append(Paper("settings", settings.path.name, 1, settings.digest, settings.data))
    if roster is not None:
        papers.append(Paper("roster", roster.path.name, 1, roster.digest, roster.data))
    return tuple(papers)


def open_journal(path: Path, clock: Clock, link: Link | None = None) -> Journal:
    """The live journal, made with its folder on first use. Where there is a hub, one that was copied or put back from a
    backup is set aside first."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise JournalUnwritable(
            f"the journal's folder {path.parent} cannot be made: {error.strerror}",
            "--journal FILE names another place, `journal:` in the settings does for good",
        ) from None
    return Journal.open(path, device=DeviceKey.default(), clock=clock) if link is None else link.open_journal()


def live(
    config: Path | None, journal: Path | None, *, command: str, writes: bool = True,
    authority: Authority | None = None, must_record: bool = True, by_itself: bool = False,
) -> Seat:  # fmt: skip
    """A console on the real backends. Raises `ConsoleError` for whatever a person wrote wrong.

    `writes` False: an existing journal is read for what is cooling and snoozed, nothing is recorded. `must_record`
    False: where the journal cannot be written, the fleet is looked at without it, and the header says why. `by_itself`:
    what policies in the mode `act` let go by itself, goes while this process records.
    """
    from rollback_console.clock import WallClock
    from rollback_console.execute.drivers.mlflow_alias import MlflowAliasDriver
    from rollback_console.observe.connect import connect
    from rollback_console.policy.load import load_all
    from rollback_console.runbook.library import Library

    settings_path = need_config(config)
    configuration = load_all(settings_path)
    settings = configuration.settings.settings
    clock = WallClock()
    backends = connect(settings, settings_path.parent, clock=clock, random=random.Random())  # noqa: S311 - jitter
    path = find_journal(journal, settings_path)
    link = _link(configuration, settings_path, path, clock)
    opened, writes, problem = _journal(path, clock, writes, must_record, link)
    if opened is not None and configuration.roster is not None:
        opened.operators = frozenset(person.id for person in configuration.roster.roster.operators)
    recorder = RecorderLock(path) if opened is not None and writes else None
    roles = Roles(
        may_record=lambda: recorder is not None and recorder.try_acquire(command),
        recorder_pid=lambda: _pid(recorder),
        lock_free=lambda deployment: ExecutionLock(path, str(deployment)).holder() is None,
    )
    roles.drilled = _drilled(settings_path)
    if link is not None:
        roles.hub = link.words if writes else link.seen
        roles.team = link.team
    if opened is not None and writes and settings.rotate_at:
        roles.tidy = _rotation(opened, settings.rotate_at)
    options = _options(configuration, path, command, follow=writes, problem=problem)
    shares = link is not None and opened is not None and writes and command in _SHARING
    engine: Engine | None = None
    if link is not None and shares:
        environments = {rule.deployment.id.environment for rule in configuration.rules}
        roles.fleet = link.fleet(environments, lambda: _who(engine, command), options.step_s)
    library = Library(configuration.settings.runbook_paths)
    engine = Engine(
        configuration.rules, backends.metrics, backends.registry, clock, options,
        journal=opened, roles=roles, runbooks=library.all, shelf=_shelf(configuration, writes),
    )  # fmt: skip
    drivers = (
        {"mlflow-alias": MlflowAliasDriver(backends.registry, now=clock.now, base_url=settings.registry.url)}
        if backends.registry is not None and settings.registry is not None
        else {}
    )
    acts = Acts(
        engine,
        authority or nobody(configuration),
        drivers,
        _lock_of(path, link),
        library,
        poll_s=min(5.0, settings.evaluate_every),
    )
    from rollback_console.review.causes import with_own

    acts.causes, acts.gates = with_own(settings.causes), settings.gates
    acts.templates = configuration.settings.templates
    if by_itself:
        from rollback_console.engine.automatic import Automatic

        Automatic(engine, acts)
    if link is not None:
        acts.tell_team = link.claim
    return Seat(engine, acts, opened, recorder, link=link if opened is not None and writes else None)


def _drilled(settings_path: Path) -> Records:
    """What drills have measured of recovery paths: their library is looked for when a rollback is first advised."""
    found: list[Records] = []

    def records(policy_digest: str, path: str, origin: AttributionKind) -> PathRecord | None:
        if not found:
            from rollback_console.cli.drill_library import library_path
            from rollback_console.rehearse.library import Drilled

            found.append(Drilled(library_path(None, settings_path)))
        return found[0](policy_digest, path, origin)

    return records


def _who(engine: Engine | None, command: str) -> str:
    """This console in words, for the screens of those who follow it."""
    operator = engine.options.operator if engine is not None else None
    owner = f"{operator.id}'s" if operator is not None else "the"
    return f"{owner} {command} ({socket.gethostname()})"


def _lock_of(path: Path, link: Link | None) -> LockOf:
    """The lock of a deployment: this machine's, and the team's lease where there is a hub."""
    if link is None:
        return lambda deployment: ExecutionLock(path, deployment)
    from rollback_console.execute.locks import TeamLock

    leases = link.leases()
    return lambda deployment: TeamLock(ExecutionLock(path, deployment), leases, deployment)


def _link(configuration: Configuration, settings_path: Path, journal: Path, clock: Clock) -> Link | None:
    """The way to the hub, where the settings name one; nothing is asked yet."""
    hub = configuration.settings.settings.hub
    if hub is None:
        return None
    from rollback_console.cli.hub_link import Link, Target

    return Link(journal, Target(hub, settings_path.parent), clock)


def _shelf(configuration: Configuration, writes: bool) -> Shelf | None:
    """Where history that baselines are learned from stays between runs, a folder a backend; None where nothing is
    learned, or nobody has a home."""
    if not any(signal.evidence is not None for rule in configuration.rules for signal in rule.signals):
        return None
    from hashlib import sha256

    import platformdirs

    from rollback_console.observe.shelf import FolderShelf

    backend = configuration.settings.settings.prometheus.model_dump_json(include={"url", "headers"})
    folder = Path(platformdirs.user_cache_dir(common.APP, appauthor=False))
    name = sha256(backend.encode()).hexdigest()[:16]
    return FolderShelf(folder / "baselines" / name, writes=writes) if folder.is_absolute() else None


def _options(configuration: Configuration, path: Path, command: str, *, follow: bool, problem: str) -> Options:
    """The engine's options by the settings; nobody's key is known yet."""
    settings = configuration.settings.settings
    return Options(
        step_s=settings.evaluate_every,
        delay_s=settings.delay,
        jitter_s=random.uniform(0.0, min(2.0, settings.evaluate_every / 10)),  # noqa: S311 - spreads load, no secret
        lookback_s=settings.lookback,
        band=band_of(configuration),
        look_only="looking for your key",
        journal_path=str(path),
        command=command,
        debug=common.debugging,
        papers=papers_of(configuration),
        follow=follow,
        journal_problem=problem,
        quiet_s=settings.checkpoint_every,
    )


def _journal(
    path: Path, clock: Clock, writes: bool, must_record: bool, link: Link | None
) -> tuple[Journal | None, bool, str]:
    """The journal, whether it is written, and why not where it was to be. Raises `JournalError` where it must be."""
    try:
        return _open(path, clock, writes, link), writes, ""
    except JournalError as error:
        if must_record:
            raise
        with contextlib.suppress(ConsoleError):
            return _open(path, clock, False), False, str(error)
        return None, False, str(error)


def _rotation(journal: Journal, limit: int) -> Callable[[], None]:
    """Closes the journal's file once it is larger than `limit` bytes."""

    def tidy() -> None:
        if journal.size_bytes() > limit:
            from rollback_console.journal.rotate import rotate

            with contextlib.suppress(Refused):  # another process is at it
                rotate(journal)

    return tidy


def _open(path: Path, clock: Clock, writes: bool, link: Link | None = None) -> Journal | None:
    if writes:
        return open_journal(path, clock, link)
    if not path.exists():
        return None
    try:
        return Journal.open_read_only(path)
    except JournalError as error:  # what is cooling or snoozed is not known; what the backends say, is
        warn(f"going on without the journal: {error}")
        return None


def _pid(recorder: RecorderLock | None) -> int | None:
    holder = recorder.holder() if recorder is not None else None
    return holder.pid if holder is not None else None


def nobody(configuration: Configuration) -> Authority:
    """Authority before a key was looked for: it refuses everything but looking."""
    from rollback_console.authorize.roles import Authority
    from rollback_console.authorize.roster_view import RosterView, from_roster

    roster = from_roster(configuration.roster.roster) if configuration.roster is not None else RosterView()
    return Authority.of_key(roster, None)


async def find_authority(seat: Seat, *, ask: bool) -> None:
    """Look for the person's key (off the event loop: a keyring may hang) and tell the console who sits here. `ask`:
    a locked key's passphrase may be asked for on the terminal; the screen has an act for it instead."""
    from rollback_console.authorize.roles import Authority
    from rollback_console.cli.identity import search, unlocked

    roster = seat.acts.authority.roster
    found = await asyncio.to_thread(search, roster)
    key = await asyncio.to_thread(unlocked, found, ask=ask)
    seat.acts.seat(Authority.of_key(roster, key), found.locked if key is None else None)


@asynccontextmanager
async def console(ctx: click.Context) -> AsyncIterator[Acts]:
    """The acts for a command of the command line: the engine has evaluated, and goes on evaluating meanwhile.

    It also knows who served before, or tried to read that and could not: a way back is chosen from it.
    """
    emergency = ctx.params.get("emergency")
    seat = live(
        ctx.params.get("config"), ctx.params.get("journal"), command=ctx.info_name or "command",
        must_record=emergency is None,
    )  # fmt: skip
    ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    first: float | None = None

    def seen(snapshot: Snapshot) -> None:
        nonlocal first
        if ready.done():
            return
        engine = seat.engine
        first = engine.evaluated_at if first is None else first
        if first is not None and (engine.versions.loaded or engine.evaluated_at != first):
            ready.set_result(None)
        elif first is None and "failed" in snapshot.notice:  # nobody watches a screen: no trying for ever
            ready.set_exception(ConsoleError(snapshot.notice, "`rollback-console doctor` looks at everything"))

    try:
        seat.start(seen)
        await find_authority(seat, ask=True)
        await _first(ready, seat)
        if emergency is not None and not ctx.params.get("plan_only"):  # looking at a plan writes nothing
            from rollback_console.cli.emergency import stand_in_if_needed

            await stand_in_if_needed(seat.acts, seat.engine, emergency, ctx.params.get("reason") or "")
        yield seat.acts
    finally:
        await seat.close()


@asynccontextmanager
async def desk(
    config: Path | None, journal: Path | None, command: str, *, ask: bool = True
) -> AsyncIterator[Acts]:  # fmt: skip
    """The acts of a console that evaluates nothing: what is said to the journal alone needs no backend, and no wait.
    `ask`: a locked key's passphrase may be asked for on the terminal."""
    seat = live(config, journal, command=command)
    try:
        await find_authority(seat, ask=ask)
        seat.engine.fold()
        yield seat.acts
    finally:
        await seat.close()


async def _first(ready: asyncio.Future[None], seat: Seat) -> None:
    """Wait for the first evaluation; an engine that ended instead says why."""
    if seat.run is None:
        return
    await asyncio.wait({ready, seat.run}, return_when=asyncio.FIRST_COMPLETED)
    if ready.done():
        ready.result()
    elif seat.run.done():
        seat.run.result()
