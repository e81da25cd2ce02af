"""A folder as a shelf (`engine.shelf.Shelf`): what was read and learned of history, kept between runs.

A cache and nothing more: it may be deleted at any time, a file that does not fit is as good as none, and a folder that
cannot be written means reading history again.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import time
from pathlib import Path

_KEY = re.compile(r"[A-Za-z0-9-]{1,200}")
_MOST_BYTES = 256_000_000  # of one entry: more than that is not ours
_UNUSED_S = 30 * 86_400.0  # an entry that nobody asked for in so long is let go


class FolderShelf:
    """One backend's shelf in `folder`, made at the first `put`. With `writes` False nothing is put there."""

    def __init__(self, folder: Path, *, writes: bool = True) -> None:
        self._folder = folder
        self._writes = writes
        self._tidied = False

    def get(self, key: str) -> bytes | None:
        """The entry, or None. Never raises OSError. Raises ValueError for what is no key."""
        path = self._path(key)
        with contextlib.suppress(OSError):
            if path.stat().st_size <= _MOST_BYTES:
                found = path.read_bytes()
                if self._writes:
                    os.utime(path)  # asked for: it stays
                return found
        return None

    def put(self, key: str, data: bytes) -> None:
        """Keep the entry: whole or not at all, readable by its owner alone. Errors as for `get`."""
        path = self._path(key)
        if not self._writes:
            return
        with contextlib.suppress(OSError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._tidy()
            handle, name = tempfile.mkstemp(prefix=".", dir=self._folder)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                Path(name).replace(path)
            except OSError:
                Path(name).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise ValueError(f"{key!r} is no key")
        return self._folder / key

    def _tidy(self) -> None:
        """Let go of what nobody asked for in a month, once a run."""
        if self._tidied:
            return
        self._tidied = True
        oldest = time.time() - _UNUSED_S
        for each in self._folder.iterdir():
            with contextlib.suppress(OSError):
                if each.is_file() and each.stat().st_mtime < oldest:
                    each.unlink()
