"""Where runbooks are: the team's folders, then the shipped ones; looked up by name."""

from __future__ import annotations

import difflib
import os
import stat
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from rollback_console.errors import InputError
from rollback_console.model.text import plain
from rollback_console.model.value import dataclass
from rollback_console.model.walk import Runbook, RunbookProblem
from rollback_console.runbook.parse import parse

MAX_BYTES = 32 * 1024 * 1024  # a longer file is not read into memory
_LOOK_EVERY_S = 5.0  # a screen asks at every publish: folders are not scanned each time
_SUFFIX = ".md"


@dataclass(frozen=True, slots=True)
class Found:
    """A runbook's file: its name in the library (`team/rollback`, without `.md`), and its path."""

    name: str
    path: Path


def shipped_folder() -> Path | None:
    """The runbooks that come with the program: in the wheel, or beside the sources; None where neither is there."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "_data" / "runbooks", package.parents[1] / "runbooks"):
        if folder.is_dir():
            return folder
    return None


def find(folder: Path) -> Iterator[Path]:
    """All `*.md` below a folder, sorted, hidden folders excepted. A folder reached twice by symlinks is read once."""
    seen: set[tuple[int, int]] = set()
    yield from _find(folder, seen)


def _find(folder: Path, seen: set[tuple[int, int]]) -> Iterator[Path]:
    # A stack rather than recursion: nothing bounds how deep folders lie.
    stack = [folder]
    while stack:
        current = stack.pop()
        try:
            about = current.stat()
            if (about.st_dev, about.st_ino) in seen:
                continue
            seen.add((about.st_dev, about.st_ino))
            entries = sorted(os.scandir(current), key=lambda entry: entry.name)
        except OSError:
            continue  # a folder that cannot be read holds nothing for us; what was named itself is checked by callers
        deeper = []
        for entry in entries:
            if entry.name.startswith("."):
                continue
            path = current / entry.name
            if path.is_dir():
                deeper.append(path)
            elif entry.name.lower().endswith(_SUFFIX) and (path.is_file() or entry.is_symlink()):
                yield path
        stack.extend(reversed(deeper))


class Library:
    """The runbooks of some folders; an earlier folder's runbook hides a later one's of the same name.

    `folders` None means the shipped ones alone. Files are parsed once per (path, mtime, size).
    """

    def __init__(self, folders: Sequence[Path] | None = None, *, shipped: bool = True) -> None:
        self._folders = [Path(folder) for folder in folders or ()]
        own = shipped_folder() if shipped or folders is None else None
        if own is not None:
            self._folders.append(own)
        self._cache: dict[Path, tuple[tuple[int, int], Runbook]] = {}
        self._all: tuple[float, tuple[Runbook, ...]] | None = None

    def found(self) -> tuple[Found, ...]:
        """Every runbook's name and path, sorted by name."""
        names: dict[str, Path] = {}
        for folder in self._folders:
            for path in find(folder):
                name = path.relative_to(folder).as_posix()
                names.setdefault(name[: -len(_SUFFIX)], path)
        return tuple(Found(name, names[name]) for name in sorted(names))

    def all(self) -> tuple[Runbook, ...]:
        """Every runbook, parsed; looked for every few seconds. One that cannot be read has no steps and says why."""
        now = time.monotonic()
        if self._all is None or now - self._all[0] > _LOOK_EVERY_S:
            self._all = now, tuple(self._load(found) for found in self.found())
        return self._all[1]

    def get(self, name: str) -> Runbook:
        """The runbook called `name`: with or without folder and `.md`, or a path.

        Raises InputError naming the nearest ones when there is none, or when a bare name fits several.
        """
        wanted = name.removesuffix(_SUFFIX).removeprefix("./")
        every = self.found()
        exact = [found for found in every if found.name == wanted]
        loose = [found for found in every if found.name.rsplit("/", 1)[-1] == wanted]
        for fits in (exact, loose):
            if len(fits) == 1:
                return self._load(fits[0])
            if len(fits) > 1:
                listed = ", ".join(plain(found.name, 80) for found in fits[:5])
                raise InputError(f"the runbook {plain(name, 80)!r} is one of several", f"say which: {listed}")
        path = Path(name).expanduser()
        if path.is_file():
            return self._load(Found(path.name.removesuffix(_SUFFIX), path))
        raise InputError(f"no runbook is called {plain(name, 80)!r}", self._nearest(wanted, every))

    def _nearest(self, wanted: str, every: Sequence[Found]) -> str:
        names = [found.name for found in every]
        near = difflib.get_close_matches(wanted[:80], names, n=3, cutoff=0.4)
        if near:
            return "did you mean " + " or ".join(plain(name, 80) for name in near) + "?"
        return "`rollback-console runbook list` shows them all" if names else "no folder with runbooks was found"

    def _load(self, found: Found) -> Runbook:
        try:
            about = found.path.stat()
        except OSError:
            return read(found.path, found.name)
        mark = (about.st_mtime_ns, about.st_size)
        cached = self._cache.get(found.path)
        if cached is not None and cached[0] == mark and cached[1].name == found.name:
            return cached[1]
        runbook = read(found.path, found.name)
        self._cache[found.path] = (mark, runbook)
        return runbook


def read(path: Path, name: str = "") -> Runbook:
    """The runbook in a file. A file that cannot be read is a runbook without steps that says why."""
    name = name or path.name.removesuffix(_SUFFIX)
    try:
        data, why = _bytes(path)
    except OSError as fault:
        data, why = None, f"the file cannot be read: {fault.strerror or type(fault).__name__}"
    if data is None:
        problem = RunbookProblem(1, "error", why)
        return Runbook(name, plain(path.name, 120), "", str(path), "", (), (problem,))
    return parse(data, name, str(path))


def _bytes(path: Path) -> tuple[bytes | None, str]:
    about = path.stat()
    if not stat.S_ISREG(about.st_mode):
        return None, "not a regular file"  # opening a pipe would wait for its other end
    if about.st_size > MAX_BYTES:
        return None, f"the file is longer than {MAX_BYTES // 1024 // 1024} MiB: is it a runbook?"
    with path.open("rb") as file:
        return file.read(MAX_BYTES), ""
