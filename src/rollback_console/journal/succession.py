"""One identity, one machine: what happens to a device key and a journal that were copied, or put back from a backup.

Two machines that append to one chain fork it, and a journal that was put back forks itself. Neither can be repaired:
both ends are signed. So one of them ends as evidence, under another name beside the new one, and a new chain begins
whose first lines say what it follows.

How a copy is told from its original: beside the device key stands the machine it was made on (`device.machine`: a hash
of `/etc/machine-id`, or of $ROLLBACK_CONSOLE_MACHINE; the host's name and the boot are noted for people). A key that
finds itself on another machine is the copy and is replaced. A clone that kept its machine-id cannot be told so: there
the hub decides, and whichever end reaches it second is the one that is set aside.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from rollback_console.clock import Clock
from rollback_console.errors import JournalError, JournalUnwritable
from rollback_console.journal import database, segments
from rollback_console.journal.device import DeviceKey
from rollback_console.journal.hubstate import HubStore
from rollback_console.journal.kinds import Repaired
from rollback_console.journal.locks import RecorderLock, SyncLock
from rollback_console.journal.store import Journal
from rollback_console.model.value import dataclass

MACHINE_VARIABLE = "ROLLBACK_CONSOLE_MACHINE"
_DOMAIN = b"rollback-console/machine/v1\n"
_IDS = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))
_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine as it is noted beside the key: `id` is a hash, "" where the system has none to tell."""

    id: str
    host: str
    boot: str
    since: str


@dataclass(frozen=True, slots=True)
class Predecessor:
    """A chain that was set aside, and where it is kept."""

    why: str
    chain: str
    seq: int
    hash: str
    path: Path

    @property
    def sentence(self) -> str:
        """What the new chain says of it."""
        return (
            f"this chain follows {self.chain}, whose entries up to {self.seq} (hash {self.hash}) are kept as evidence "
            f"in {self.path.name}: {self.why}"
        )


def this_machine(now: float) -> Machine:
    """What tells this machine from others. The id itself never leaves it: only its hash is kept."""
    id_ = os.environ.get(MACHINE_VARIABLE, "").strip() or next(filter(None, map(_line, _IDS)), "")
    hashed = sha256(_DOMAIN + id_.encode("utf-8", "surrogateescape")).hexdigest() if id_ else ""
    return Machine(hashed, socket.gethostname(), _line(_BOOT), time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)))


def settle_device(key: Path, clock: Clock) -> str:
    """Make sure that the device key is this machine's own: "" where it is (or cannot be told), else why the old one was
    set aside. The next `DeviceKey.load_or_create` then makes a new one. Raises JournalUnwritable."""
    here = this_machine(clock.now())
    if not here.id:
        return ""
    try:
        noted = _noted(key)
        if noted is None or not key.exists():
            _note(key, here)
            return ""
        if noted.id == here.id:
            return ""
        stamp = _stamp(clock.now())
        os.rename(key, key.with_name(f"{key.name}.copied-{stamp}"))
        os.rename(_beside(key), key.with_name(f"{_beside(key).name}.copied-{stamp}"))
        _note(key, here)
    except OSError as error:
        raise JournalUnwritable(
            f"the device key {key} cannot be set aside ({error.strerror or error})", "make its folder writable"
        ) from error
    return f"its key was made on {noted.host or 'another machine'} on {noted.since}, and this is {here.host}: a copy"


def open_settled(
    path: Path, clock: Clock, hub: str, *, device_path: Path, busy: Callable[[Journal], str] = lambda journal: ""
) -> Journal:
    """The live journal of a console that has a hub, for appending: `Journal.open`, after a copied key or a chain with
    two ends was set aside. `busy` says what keeps a chain from being set aside now ("" for nothing): an execution that
    is unfinished has to be ended where it began. Raises as `Journal.open` does."""
    copied = settle_device(device_path, clock)
    device = DeviceKey.load_or_create(device_path)
    gone = _set_aside(path, clock, hub, device, copied, busy) if path.exists() else None
    journal = Journal.open(path, device=device, clock=clock)
    if gone is not None:
        try:
            journal.append(Repaired(what="another end of this journal", detail=gone.sentence))
            store = HubStore(path, hub)
            try:
                store.succeeded(gone.chain)
            finally:
                store.close()
        except JournalError:
            journal.close()
            raise
    return journal


def _set_aside(
    path: Path, clock: Clock, hub: str, device: DeviceKey, copied: str, busy: Callable[[Journal], str]
) -> Predecessor | None:
    """Move the journal away where it must not be continued; None where it may, or cannot be moved now."""
    with Journal.open_read_only(path) as journal:
        chain, signer, (seq, hash_) = journal.chain, journal.device, journal.head()
        why = copied or ("it was made by a device key that was copied" if _retired(device, signer) else "")
        if not why:
            why = _closed(path, hub, chain)
            if why and busy(journal):
                return None  # it goes on as it is, and the header says so
        elif signer == device.public_openssh():
            return None
    if not why:
        return None
    lock, sync = RecorderLock(path), SyncLock(path)
    try:
        if not (lock.try_acquire("setting a copied journal aside") and sync.try_acquire("setting aside")):
            return None  # somebody works on it: the next start that finds it free does it
        return Predecessor(why, chain, seq, hash_, _move(path, chain, clock))
    finally:
        sync.release()
        lock.release()


def _closed(path: Path, hub: str, chain: str) -> str:
    store = HubStore(path, hub)
    try:
        return store.cursor(chain).closed
    finally:
        store.close()


def _move(path: Path, chain: str, clock: Clock) -> Path:
    """The file and its closed segments under another name; what a crash left beside it is taken in first. Raises
    JournalUnwritable."""
    target = path.with_name(f"{path.stem}.ended-{chain[:8]}-{_stamp(clock.now())}{path.suffix}")
    try:
        connection = database.connect(path)
        try:
            if connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        finally:
            connection.close()
        os.rename(path, target)
        with suppress(FileNotFoundError):
            os.rename(segments.folder(path), segments.folder(target))
        for end in ("-journal", "-wal", "-shm"):  # empty by now; a stray one must not be taken for the new file's
            with suppress(FileNotFoundError):
                os.rename(f"{path}{end}", f"{target}{end}")
    except database.ERRORS as error:
        raise database.translate(error, path) from error
    except OSError as error:
        raise JournalUnwritable(
            f"the journal {path} cannot be set aside ({error.strerror or error})", "make its folder writable"
        ) from error
    return target


def _retired(device: DeviceKey, signer: str) -> bool:
    """Was this journal made with a key that was set aside here as copied."""
    if device.path is None or signer == device.public_openssh():
        return False
    for old in device.path.parent.glob(f"{device.path.name}.copied-*"):
        with suppress(JournalError, OSError):
            if DeviceKey.load(old).public_openssh() == signer:
                return True
    return False


def _beside(key: Path) -> Path:
    return key.with_suffix(".machine")


def _noted(key: Path) -> Machine | None:
    try:
        facts = json.loads(_beside(key).read_text(encoding="utf-8"))
        return Machine(*(str(facts[name]) for name in ("id", "host", "boot", "since")))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _note(key: Path, here: Machine) -> None:
    key.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    facts = {"id": here.id, "host": here.host, "boot": here.boot, "since": here.since}
    temporary = key.with_name(f".{_beside(key).name}.{os.getpid()}")
    temporary.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, _beside(key))


def _line(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()[:200]
    except (OSError, ValueError):
        return ""


def _stamp(now: float) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
