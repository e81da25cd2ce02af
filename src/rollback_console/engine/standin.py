"""Break-glass: the console goes on with an emergency journal, by an explicit act of somebody who may."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from rollback_console.clock import Clock
from rollback_console.errors import JournalError, JournalUnwritable, Refused
from rollback_console.execute.locks import EitherLock, LockOf
from rollback_console.journal.device import DeviceKey
from rollback_console.journal.emergency import STDOUT, StandIn, begin, open_emergency, printed
from rollback_console.journal.entry import Recorder
from rollback_console.journal.kinds import PersonSignature, StandsIn
from rollback_console.journal.locks import ExecutionLock
from rollback_console.journal.redact import free
from rollback_console.journal.store import Journal
from rollback_console.model.value import dataclass

_NOTHING = "0" * 64  # the head of a journal of which nothing is known


@dataclass(frozen=True, slots=True)
class Whoever:
    """Who decides it, and how they sign."""

    operator: str
    sign: Callable[[bytes], PersonSignature] | None


def stand_in(
    main: Recorder, known: int, clock: Clock, who: Whoever, place: str, problem: str, reason: str, *,
    rehearsal: bool = False,
) -> tuple[StandIn, str]:  # fmt: skip
    """An emergency journal at `place` ("" chooses one, `-` is standard output), begun with who decided so and why; and
    where it is. `known`: the last entry of `main` that the console has folded. Blocks: not for the event loop.

    Raises Refused without a reason or where it stands in already, JournalUnwritable where this cannot be made either.
    """
    if isinstance(main, StandIn):
        raise Refused(f"an emergency journal is written already: {main.emergency.path}", "nothing to do")
    why = free(reason.strip(), frozenset({who.operator}))
    if not why:
        raise Refused("an emergency journal needs a reason", "say in one line why it cannot wait")
    device = (main.device_key if isinstance(main, Journal) else None) or DeviceKey.default()
    stands_for = _known(main, known)
    emergency = _opened(place, device, clock, stands_for, rehearsal)
    emergency.operators = main.operators if isinstance(main, Journal) else frozenset()
    try:
        begin(emergency, stands_for, problem=problem, reason=why, operator=who.operator, sign=who.sign, at=clock.now())
    except BaseException:
        emergency.close()
        raise
    return StandIn(main, emergency, max(known, stands_for.seq)), str(emergency.path)


def locks_beside(lock_of: LockOf, journal: StandIn) -> LockOf:
    """The journal's locks, and where their files cannot be made those beside the emergency journal."""
    path = journal.emergency.path
    if str(path) == STDOUT:
        path = Path(tempfile.gettempdir()) / f"rollback-console-emergency-{journal.main.chain[:8]}"
    return lambda deployment: EitherLock(lock_of(deployment), ExecutionLock(path, deployment))


def _known(main: Recorder, folded: int) -> StandsIn:
    """The last head of the journal that is known: read where it can be read, else remembered."""
    seq, hash_ = main.known_head if isinstance(main, Journal) else (0, "")
    with suppress(JournalError):
        seq, hash_ = max((seq, hash_), main.head())
    return StandsIn(chain=main.chain, seq=seq, hash=hash_ or _NOTHING)


def _opened(place: str, device: DeviceKey, clock: Clock, stands_for: StandsIn, rehearsal: bool) -> Journal:
    if place == STDOUT:
        return printed(device, clock, stands_for, rehearsal=rehearsal)
    if place:
        return open_emergency(Path(place), device, clock, stands_for, rehearsal=rehearsal)
    failed: JournalUnwritable | None = None
    for path in places(stands_for.chain):
        try:
            return open_emergency(path, device, clock, stands_for, rehearsal=rehearsal)
        except JournalUnwritable as error:
            failed = failed or error
    raise failed or JournalUnwritable("there is no place for an emergency journal", "name one")


def places(chain: str) -> tuple[Path, ...]:
    """Where an emergency journal is tried when nobody names a place: what lasts first, memory last."""
    name = f"rollback-console-emergency-{chain[:8]}.db"
    folders = [Path(tempfile.gettempdir()), Path("/dev/shm")]  # noqa: S108 - 0600, made exclusively, chained and signed
    with suppress(RuntimeError):  # nobody has a home
        folders.insert(0, Path.home())
    return tuple(folder / name for folder in folders if folder.is_dir())
