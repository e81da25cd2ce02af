"""Who decides, and who executes: two locks that the operating system frees when their holder dies, kill -9 included.

Both are `flock` on a file beside the journal. The holder's pid, host and time stand in the file, for people; only the
lock itself decides. (The journal's own file is never opened here: see `journal.database`.)
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import socket
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

from rollback_console.errors import JournalUnwritable
from rollback_console.model.value import dataclass

try:
    import fcntl
except ImportError:  # Windows has no flock
    fcntl = None  # type: ignore[assignment] # what the line above could not give

_TRIES, _PAUSE_S = 50, 0.001  # how long a lock may look taken by somebody who only asks who holds it


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock: `since` in Unix seconds, `note` what they said they do with it."""

    pid: int
    host: str
    since: float
    note: str = ""


class _FileLock:
    """One exclusive, advisory lock on `path`. Not re-entrant; one object a holder."""

    def __init__(self, path: Path) -> None:
        if fcntl is None:
            raise JournalUnwritable(
                "this platform has no file locks that end with their process", "use Linux, macOS or WSL"
            )
        self.path = path
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        """Does this object hold the lock."""
        return self._descriptor is not None

    def try_acquire(self, note: str = "") -> bool:
        """Take the lock if it is free; never waits for a holder. True also when this object holds it already.

        Raises JournalUnwritable when the lock's file cannot be made.
        """
        if self._descriptor is not None:
            return True
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._unusable(error) from error
        try:
            if not self._lock(descriptor):
                os.close(descriptor)
                return False
            holder = Holder(os.getpid(), socket.gethostname(), time.time(), note)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(asdict(holder)).encode(), 0)
        except OSError as error:
            os.close(descriptor)
            raise self._unusable(error) from error
        self._descriptor = descriptor
        return True

    def holder(self) -> Holder | None:
        """Who holds the lock now, by whatever process; None when it is free."""
        if self._descriptor is not None:
            return _read(self._descriptor)
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            # Asking takes the lock, shared, for a moment: `_lock` knows that and tries again.
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise self._unusable(error) from error
            return _read(descriptor) or Holder(0, "", 0.0)  # taken this very moment, its name not yet written
        else:
            return None
        finally:
            os.close(descriptor)

    def release(self) -> None:
        """Give the lock up; nothing when it is not held."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with suppress(OSError):
                os.ftruncate(descriptor, 0)
            os.close(descriptor)  # frees the lock

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _lock(self, descriptor: int) -> bool:
        """flock, exclusive, without waiting for a holder. Somebody who only asks holds it shared for microseconds: the
        lock then looks taken, but names nobody alive, and we look again."""
        for _ in range(_TRIES):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except OSError as error:
                if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                    raise
            holder = _read(descriptor)
            if holder is not None and _alive(holder):
                return False
            time.sleep(_PAUSE_S)
        return False

    def _unusable(self, error: OSError) -> JournalUnwritable:
        return JournalUnwritable(
            f"the lock {self.path} cannot be used ({error.strerror or error})", "make the journal's folder writable"
        )


class RecorderLock(_FileLock):
    """The right to decide and record on one journal: `<journal>.recorder`."""

    def __init__(self, journal: Path) -> None:
        super().__init__(Path(f"{journal}.recorder"))


class SyncLock(_FileLock):
    """The right to send one journal to the hub: `<journal>.sync`."""

    def __init__(self, journal: Path) -> None:
        super().__init__(Path(f"{journal}.sync"))


class HubLock(_FileLock):
    """The right to serve from a hub's data folder, or to restore into it: `<data>/hub.lock`."""

    def __init__(self, data: Path) -> None:
        super().__init__(data / "hub.lock")


class RotationLock(_FileLock):
    """The right to close a journal's file and to begin the next: `<journal>.rotating`."""

    def __init__(self, journal: Path) -> None:
        super().__init__(Path(f"{journal}.rotating"))


class ExecutionLock(_FileLock):
    """The right to execute on one deployment (`environment/name`) from this machine: one execution at a time.

    The file is named by a digest, since a deployment's name may hold anything; say who and what in
    `try_acquire`'s note.
    """

    def __init__(self, journal: Path, deployment: str) -> None:
        name = hashlib.sha256(deployment.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        super().__init__(Path(f"{journal}.locks") / f"{name}.execution")
        self.deployment = deployment


def _read(descriptor: int) -> Holder | None:
    try:
        facts = json.loads(os.pread(descriptor, 4096, 0))
        return Holder(int(facts["pid"]), str(facts["host"]), float(facts["since"]), str(facts["note"]))
    except (ValueError, KeyError, TypeError):
        return None


def _alive(holder: Holder) -> bool:
    """Could the holder still run. Of another host we cannot tell, and believe it."""
    if holder.host != socket.gethostname():
        return True
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # somebody else's process
    return True
