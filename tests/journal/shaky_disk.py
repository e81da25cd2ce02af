"""A disk that can be cut off or fail, under the very SQLite and the very code that the journal runs on.

A VFS of its own, put around SQLite's through ctypes (no compiler, no second SQLite): every write, truncation and sync
of this process is recorded, and may be answered with an error. From a recording, `after_cut` makes the folder as a
power cut at any moment could leave it: what was synced is there; of the rest each truncation and each sector of 512
bytes of each write is there or not, as the dice fall. SQLite promises to live with just that.
"""

from __future__ import annotations

import _sqlite3
import ctypes as c
import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

SECTOR = 512
Op = Literal["read", "write", "truncate", "sync", "open", "delete"]
IOERR_FSYNC = sqlite3.SQLITE_IOERR_FSYNC
IOERR_READ = sqlite3.SQLITE_IOERR_READ
IOERR_WRITE = sqlite3.SQLITE_IOERR_WRITE

# A name is kept as the address that it has: SQLite holds on to it.
_Open = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_void_p, c.c_void_p, c.c_int, c.POINTER(c.c_int))
_Delete = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_char_p, c.c_int)
_Transfer = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_void_p, c.c_int, c.c_int64)
_Truncate = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_int64)
_Sync = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_int)


class _Vfs(c.Structure):  # sqlite3_vfs, version 3
    _fields_ = [
        ("iVersion", c.c_int), ("szOsFile", c.c_int), ("mxPathname", c.c_int), ("pNext", c.c_void_p),
        ("zName", c.c_char_p), ("pAppData", c.c_void_p), ("xOpen", c.c_void_p), ("xDelete", c.c_void_p),
        *[(name, c.c_void_p) for name in (
            "xAccess", "xFullPathname", "xDlOpen", "xDlError", "xDlSym", "xDlClose", "xRandomness", "xSleep",
            "xCurrentTime", "xGetLastError", "xCurrentTimeInt64", "xSetSystemCall", "xGetSystemCall", "xNextSystemCall",
        )],
    ]  # fmt: skip


class _Methods(c.Structure):  # sqlite3_io_methods, version 3
    _fields_ = [
        ("iVersion", c.c_int), *[(name, c.c_void_p) for name in (
            "xClose", "xRead", "xWrite", "xTruncate", "xSync", "xFileSize", "xLock", "xUnlock", "xCheckReservedLock",
            "xFileControl", "xSectorSize", "xDeviceCharacteristics", "xShmMap", "xShmLock", "xShmBarrier", "xShmUnmap",
            "xFetch", "xUnfetch",
        )],
    ]  # fmt: skip


@dataclass(frozen=True)
class Event:
    """One thing that reached the disk, or (`ack`) that somebody was told."""

    op: Literal["write", "truncate", "sync", "delete", "ack"]
    path: str = ""
    offset: int = 0
    data: bytes = b""
    told: Any = None


@dataclass
class Disk:
    """What was done on it; `fails` is asked before each operation and answers 0 or one of SQLite's error codes."""

    events: list[Event] = field(default_factory=list)
    fails: Callable[[Op, str], int] = lambda op, path: 0

    def ack(self, told: Any) -> None:
        """Somebody was told that this is durable."""
        self.events.append(Event("ack", told=told))


@contextmanager
def shaky() -> Iterator[Disk]:
    """Within, every connection that this process opens is on a recorded disk."""
    library = c.CDLL(_sqlite3.__file__)  # the SQLite that Python's own module is linked with
    library.sqlite3_vfs_find.restype = c.POINTER(_Vfs)
    library.sqlite3_vfs_find.argtypes = [c.c_char_p]
    library.sqlite3_vfs_register.argtypes = [c.POINTER(_Vfs), c.c_int]
    library.sqlite3_vfs_unregister.argtypes = [c.POINTER(_Vfs)]
    real = library.sqlite3_vfs_find(None)
    disk = Disk()
    wrapped = _Wrapper(disk, real)
    assert library.sqlite3_vfs_register(c.byref(wrapped.vfs), 1) == 0
    try:
        yield disk
    finally:
        assert library.sqlite3_vfs_register(real, 1) == 0
        library.sqlite3_vfs_unregister(c.byref(wrapped.vfs))
        _KEPT.append(wrapped)  # a connection that somebody forgot to close still calls it


_KEPT: list[Any] = []


class _Wrapper:
    """Our VFS: a copy of the real one, but for what is recorded."""

    def __init__(self, disk: Disk, real: Any) -> None:
        self.disk = disk
        self._real = real
        self._paths: dict[int, str] = {}  # by the file's address
        self._methods: dict[int, _Methods] = {}  # patched, by the address of the original
        self._originals: dict[int, _Methods] = {}  # by the file's address
        self.vfs = _Vfs()
        c.memmove(c.byref(self.vfs), real, c.sizeof(_Vfs))
        self.vfs.zName = b"shaky"
        self._callbacks = (
            _Open(self._open), _Delete(self._delete), _Transfer(self._read), _Transfer(self._write),
            _Truncate(self._truncate), _Sync(self._sync),
        )  # fmt: skip
        self.vfs.xOpen, self.vfs.xDelete = (c.cast(each, c.c_void_p) for each in self._callbacks[:2])
        self._real_open = _Open(real.contents.xOpen)
        self._real_delete = _Delete(real.contents.xDelete)

    def _open(self, vfs: int, name: int | None, file: int, flags: int, out: Any) -> int:
        path = c.string_at(name).decode() if name is not None else ""
        if code := self.disk.fails("open", path):
            return code
        code = self._real_open(c.cast(self._real, c.c_void_p).value or 0, name, file, flags, out)
        place = c.cast(file, c.POINTER(c.c_void_p))
        if code == 0 and place[0]:
            original = place[0]
            self._paths[file] = path
            self._originals[file] = c.cast(original, c.POINTER(_Methods)).contents
            place[0] = c.addressof(self._patched(original))
        return code

    def _patched(self, original: int) -> _Methods:
        if original not in self._methods:
            methods = _Methods()
            c.memmove(c.byref(methods), original, c.sizeof(_Methods))
            methods.xRead, methods.xWrite, methods.xTruncate, methods.xSync = (
                c.cast(each, c.c_void_p) for each in self._callbacks[2:]
            )
            self._methods[original] = methods
        return self._methods[original]

    def _delete(self, vfs: int, name: bytes, sync: int) -> int:
        if code := self.disk.fails("delete", name.decode()):
            return code
        self.disk.events.append(Event("delete", name.decode()))
        return self._real_delete(c.cast(self._real, c.c_void_p).value or 0, name, sync)

    def _read(self, file: int, data: int, size: int, offset: int) -> int:
        if code := self.disk.fails("read", self._paths[file]):
            return code
        return _Transfer(self._originals[file].xRead)(file, data, size, offset)

    def _write(self, file: int, data: int, size: int, offset: int) -> int:
        if code := self.disk.fails("write", self._paths[file]):
            return code
        self.disk.events.append(Event("write", self._paths[file], offset, c.string_at(data, size)))
        return _Transfer(self._originals[file].xWrite)(file, data, size, offset)

    def _truncate(self, file: int, size: int) -> int:
        if code := self.disk.fails("truncate", self._paths[file]):
            return code
        self.disk.events.append(Event("truncate", self._paths[file], size))
        return _Truncate(self._originals[file].xTruncate)(file, size)

    def _sync(self, file: int, flags: int) -> int:
        if code := self.disk.fails("sync", self._paths[file]):
            return code
        code = _Sync(self._originals[file].xSync)(file, flags)
        self.disk.events.append(Event("sync", self._paths[file]))
        return code


def after_cut(base: dict[str, bytes], events: list[Event], dice: random.Random, folder: Path) -> list[Any]:
    """Fill `folder` with what a power cut after the last of `events` leaves of the files in `base` (by path, durable
    when the recording began) and those made since. Returns what was acknowledged by then."""
    durable = {path: bytearray(data) for path, data in base.items()}
    waiting: dict[str, list[Event]] = {}
    told = []
    for event in events:
        if event.op == "ack":
            told.append(event.told)
        elif event.op == "sync":
            content = durable.setdefault(event.path, bytearray())
            for each in waiting.pop(event.path, ()):
                _apply(content, each, None)
        elif event.op == "delete":
            durable.pop(event.path, None)
            waiting.pop(event.path, None)
        else:
            waiting.setdefault(event.path, []).append(event)
    for path, left in waiting.items():
        if path not in durable and dice.random() < 0.5:
            continue  # a file whose name never reached the folder
        content = durable.setdefault(path, bytearray())
        kept = dice.choice((0.0, 0.5, 0.9, 1.0))
        for each in left:
            _apply(content, each, lambda kept=kept: dice.random() < kept)
    for path, content in durable.items():
        if not path.endswith("-shm"):
            (folder / Path(path).name).write_bytes(content)
    return told


def _apply(content: bytearray, event: Event, keep: Callable[[], bool] | None) -> None:
    """One write or truncation; with `keep`, only the sectors (or the truncation) that it says."""
    if event.op == "truncate":
        if keep is None or keep():
            del content[event.offset :]
            content.extend(bytes(event.offset - len(content)))
        return
    for start in range(0, len(event.data), SECTOR):
        if keep is None or keep():
            piece, at = event.data[start : start + SECTOR], event.offset + start
            content.extend(bytes(max(0, at + len(piece) - len(content))))
            content[at : at + len(piece)] = piece
