"""The way from settings to the hub, put together: the client, the sync of a journal, and what is known of both.

Loaded only where settings name a hub.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rollback_console.cli.common import find_config, rfc3339
from rollback_console.errors import ConsoleError, Refused
from rollback_console.journal.hubstate import HubStore
from rollback_console.journal.store import Journal
from rollback_console.journal.syncing import Syncer, look
from rollback_console.journal.upstream import HubClient, HubRefused
from rollback_console.model.hub import HubState, alarms, sentences, words
from rollback_console.model.hub import Link as LinkState
from rollback_console.model.text import plain
from rollback_console.model.value import dataclass

if TYPE_CHECKING:
    from rollback_console.clock import Clock
    from rollback_console.execute.leases import HubLeases
    from rollback_console.journal.kinds import Claimed
    from rollback_console.journal.sharing import FleetSharing
    from rollback_console.journal.sync import Tell
    from rollback_console.journal.team import Here, TeamFeed
    from rollback_console.model.team import Team
    from rollback_console.policy.settings import HubServer


@dataclass(frozen=True, slots=True)
class Target:
    """A hub as settings name it; `base` is the folder that relative files are taken from."""

    settings: HubServer
    base: Path

    @property
    def url(self) -> str:
        return self.settings.url

    @property
    def key(self) -> str:
        return self.settings.key

    def connect(self, timeout_s: float | None = None) -> HubClient:
        """A client with the token, which is looked for now (a keyring may take 3 s). Raises InputError."""
        from rollback_console.observe.connect import secret

        where = self.settings
        ca_file = str(self.base / Path(where.tls.ca_file).expanduser()) if where.tls.ca_file else None
        return HubClient(
            where.url,
            secret(where.token, "hub.token", self.base),
            timeout_s=timeout_s or where.timeout,
            ca_file=ca_file,
        )


def target(config: Path | None) -> Target | None:
    """The hub that the settings name; None where there are no settings, or they name none. Raises FileProblems."""
    path = find_config(config)
    if path is None:
        return None
    from rollback_console.policy.load import load_settings

    settings = load_settings(path).settings
    return Target(settings.hub, path.parent) if settings.hub is not None else None


def device_path() -> Path:
    """Where this installation's device key is."""
    from rollback_console.journal.device import default_path

    return default_path()


def open_journal(path: Path, clock: Clock, hub: Target) -> Journal:
    """The live journal of a console that has a hub: a copied or restored one is set aside first."""
    from rollback_console.journal.succession import open_settled

    return open_settled(path, clock, hub.key, device_path=device_path(), busy=_unfinished)


def _unfinished(journal: Journal) -> str:
    """What keeps a chain from being set aside: an execution has to be ended where it began."""
    from rollback_console.execute.fold import KINDS, histories

    left = [each for each, history in histories(journal.entries(kinds=KINDS)).items() if history.ended is None]
    return f"{left[0]} is unfinished" if left else ""


def teller(path: Path, clock: Clock) -> Tell:
    """Writes a line into the journal by a connection of its own, beside whoever records. What cannot be written now is
    kept as evidence all the same."""

    def tell(what: str, detail: str) -> None:
        from rollback_console.journal.device import DeviceKey
        from rollback_console.journal.kinds import Repaired

        with suppress(ConsoleError), Journal.open(path, device=DeviceKey.default(), clock=clock) as journal:
            journal.append(Repaired(what=what, detail=detail))

    return tell


def syncer(path: Path, hub: Target, clock: Clock, changed: Callable[[HubState], None] = lambda state: None) -> Syncer:
    """The sync of one journal; nothing is sent yet."""
    jitter = random.Random()  # noqa: S311 - no secret
    return Syncer(path, hub.key, hub.url, hub.connect, clock, jitter, tell=teller(path, clock), changed=changed)


class Link:
    """A console's way to its hub: the journal opened as it must be, the sync beside it, and what the header says."""

    def __init__(self, journal: Path, hub: Target, clock: Clock) -> None:
        self._path = journal
        self._hub = hub
        self._clock = clock
        self._syncer: Syncer | None = None
        self._feed: TeamFeed | None = None
        self._sharing: FleetSharing | None = None
        self._said = ""

    def open_journal(self) -> Journal:
        """The live journal, for appending."""
        return open_journal(self._path, self._clock, self._hub)

    def leases(self) -> HubLeases:
        """The team's leases on deployments."""
        from rollback_console.execute.leases import HubLeases

        return HubLeases(lambda: self._hub.connect(timeout_s=min(5.0, self._hub.settings.timeout)))

    def fleet(self, environments: Iterable[str], who: Callable[[], str], step_s: float) -> FleetSharing | None:
        """Evaluations shared with the consoles that look at the same environments, begun by `start`; None where the
        settings say that this one does not share. `who`: this console, as others are told."""
        if not self._hub.settings.share:
            return None
        from rollback_console.journal.sharing import FleetSharing, name_of

        jitter = random.Random()  # noqa: S311 - no secret
        self._sharing = FleetSharing(
            lambda: self._hub.connect(timeout_s=min(5.0, self._hub.settings.timeout)),
            name_of(environments), who, self._clock, jitter, step_s=step_s,
        )  # fmt: skip
        return self._sharing

    def start(self, publish: Callable[[], object], chain: Callable[[], str], here: Here) -> None:
        """Begin to send and to listen, on threads of their own; `publish` is called on this event loop when there is
        news. `chain` is this console's own, `here` who sits at it and what they look at."""
        import asyncio

        from rollback_console.journal.team import TeamFeed

        loop = asyncio.get_running_loop()

        def news() -> None:
            with suppress(RuntimeError):  # the loop has ended, and the console with it
                loop.call_soon_threadsafe(publish)

        def changed(found: HubState) -> None:
            now = f"{words(found)}{found.alarms}"
            if now != self._said:
                self._said = now
                news()

        jitter = random.Random()  # noqa: S311 - no secret
        shared = self._sharing.wake if self._sharing is not None else lambda: None
        self._feed = TeamFeed(self._hub.connect, chain, self._clock, jitter, here=here, changed=news, shared=shared)
        self._feed.start()
        if self._sharing is not None:
            self._sharing.start()

        self._syncer = syncer(self._path, self._hub, self._clock, changed)
        self._syncer.start()

    def stop(self) -> None:
        """Send no more. What waits goes up next time."""
        if self._sharing is not None:
            self._sharing.stop()
        if self._feed is not None:
            self._feed.stop()
        if self._syncer is not None:
            self._syncer.stop()

    def team(self) -> Team | None:
        """What is known of the others, as last heard."""
        return self._feed.team if self._feed is not None else None

    async def claim(self, claim: Claimed, operator: str) -> str:
        """Tell the team who is on an incident: "" once it knows, else why it does not. Raises Refused where somebody
        else has the command."""
        import asyncio

        return await asyncio.to_thread(self._claim, claim, operator)

    def _claim(self, claim: Claimed, operator: str) -> str:
        from urllib.parse import quote

        document = {"role": claim.role, "operator": operator, "action": claim.action, "to": claim.to,
                    "reason": claim.reason[:200]}  # fmt: skip
        try:
            client = self._hub.connect(timeout_s=min(5.0, self._hub.settings.timeout))
            try:
                client.json("PUT", f"/v1/incidents/{quote(claim.incident, safe='')}/claim", document)
            finally:
                client.close()
        except HubRefused as error:
            if error.status == 409:
                raise Refused(error.message, "ask them, or take it with a reason") from error
            return f"the hub was not told: {plain(error.message, 160)}"
        except ConsoleError as error:
            return f"the hub was not told: {plain(error.message, 160)}"
        return ""

    def words(self) -> tuple[str, tuple[str, ...]]:
        """The header's words and the alarms, as the sync found it last."""
        found = self._syncer.state if self._syncer is not None else HubState(link=LinkState.UNKNOWN)
        return words(found), alarms(found)

    def seen(self) -> tuple[str, tuple[str, ...]]:
        """The same from what stands beside the journal, for a process that sends nothing."""
        try:
            found = state(self._path, self._hub, self._clock)
        except ConsoleError:
            return "hub: not known here", ()
        return words(found), alarms(found)


def state(path: Path, hub: Target | None, clock: Clock) -> HubState:
    """Where a journal stands with its hub, from what is kept beside it; asks nobody. Raises JournalError."""
    if hub is None:
        return HubState()
    from rollback_console.journal.hubstate import path_of

    with Journal.open_read_only(path) as journal:
        chain, (entries, _) = journal.chain, journal.head()
    if not path_of(path).exists():  # looking makes no files
        return HubState(link=LinkState.UNKNOWN, url=hub.url, waiting=entries)
    store = HubStore(path, hub.key)
    try:
        return look(store, hub.url, chain, entries, clock.now())
    finally:
        store.close()


def facts(found: HubState) -> dict[str, Any]:
    """As `journal status --json` prints it."""
    return {
        "state": str(found.link),
        "words": words(found),
        "url": found.url or None,
        "waiting": found.waiting,
        "last_receipt": {"seq": found.receipt_seq, "at": rfc3339(found.receipt_at)} if found.receipt_at else None,
        "checkpoint_size": found.checkpoint_size,
        "contact_at": rfc3339(found.contact_at),
        "problem": found.problem,
        "closed": found.closed,
        "alarms": [
            {"id": alarm.id, "at": rfc3339(alarm.at), "kind": alarm.kind, "sentence": alarm.sentence,
             "accepted": alarm.accepted}
            for alarm in found.alarms
        ],
    }  # fmt: skip


def lines(found: HubState, clock: Clock) -> list[str]:
    """As `journal status` prints it: the first line after its label, the others below."""
    first, *rest = sentences(found, clock.now())
    return [f"hub       {first}", *(f"          {line}" for line in rest)]


def findings(config: Path | None, journal: Path, clock: Clock) -> list[tuple[str, bool | None, str, str]]:
    """(name, ok, detail, remedy) for `doctor`: the hub is asked who it is and what it holds of this journal."""
    hub = target(config)
    if hub is None:
        return [("hub", None, "not configured: nobody but this machine holds these entries", "docs/hub.md")]
    try:
        client = hub.connect()
        try:
            about = client.about()
            if about.key == hub.key:
                client.head("none")  # does it take our token
        finally:
            client.close()
    except ConsoleError as error:
        return [("hub", False, error.message, error.next_step)]
    found: list[tuple[str, bool | None, str, str]] = []
    if about.key.partition("+")[0].partition("/restored-")[0] != hub.key.partition("+")[0]:
        found.append(("hub", False, f"another hub answers there: {plain(about.name, 80)}",
                      "compare its key with its keeper's"))  # fmt: skip
    else:
        found.append(("hub", True, f"{hub.url}: {plain(about.name, 80)}, version {plain(about.version, 40)}", ""))
    if journal.exists():
        seen = state(journal, hub, clock)
        for line in sentences(seen, clock.now())[1:]:
            bad = line.startswith("alarm") or line == seen.closed
            found.append(("hub", not bad, line, "rollback-console journal status" if bad else ""))
    return found
