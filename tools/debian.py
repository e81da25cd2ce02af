"""Debian's own binaries without root: `apt-get download` and `dpkg-deb -x` into the project's cache.

    python tools/debian.py prometheus promtool tmux     prints `name path`, one a line

What is on PATH already is used as it is. Run again, it finds what it unpacked before. Tests and the sandbox use it;
the console itself never does.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

CACHE = Path(__file__).resolve().parent.parent / ".cache" / "debian"

# binary -> (package that has it, its path inside, further packages whose libraries it loads)
KNOWN: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "prometheus": ("prometheus", "usr/bin/prometheus", ()),
    "promtool": ("prometheus", "usr/bin/promtool", ()),
    "tmux": ("tmux", "usr/bin/tmux", ("libevent-core-2.1-7", "libutempter0", "libtinfo6")),
}


class Missing(Exception):
    """A binary that could not be had, with what to do."""


def binary(name: str, cache: Path = CACHE, path: str | None = None) -> Path:
    """Where `name` can be run from. `path` stands in for PATH. Raises Missing with the reason."""
    if name not in KNOWN:
        raise Missing(f"{name}: not a binary this tool knows ({', '.join(sorted(KNOWN))})")
    if found := shutil.which(name, path=path):
        return Path(found)
    package, inside, libraries = KNOWN[name]
    root = cache / package
    launcher = cache / "bin" / name
    if not launcher.exists():
        _unpack((package, *libraries), root, cache)
        if not (root / inside).exists():
            raise Missing(f"{name}: package {package} has no {inside}; it may be of another Debian release")
        _write_launcher(launcher, root, inside)
    return launcher


def _write_launcher(launcher: Path, root: Path, inside: str) -> None:
    """A script that starts the binary with the libraries that were unpacked beside it."""
    lines = ["#!/bin/sh"]
    if found := sorted({str(library.parent) for library in root.rglob("*.so*")}):
        lines.append(f'export LD_LIBRARY_PATH="{":".join(found)}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}"')
    lines.append(f'exec "{root / inside}" "$@"')
    launcher.parent.mkdir(parents=True, exist_ok=True)
    fresh = launcher.with_suffix(f".{os.getpid()}")
    fresh.write_text("\n".join(lines) + "\n")
    fresh.chmod(0o755)
    fresh.replace(launcher)  # whole or not at all, also beside another process doing the same


def _unpack(packages: tuple[str, ...], root: Path, cache: Path) -> None:
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise Missing(f"{packages[0]}: not on PATH, and there is no {tool} here to fetch it with; install it")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        staging = Path(scratch) / "root"
        for package in packages:
            archive = _download(package, Path(scratch), cache)
            _run(["dpkg-deb", "-x", str(archive), str(staging)], Path(scratch), f"unpacking {package}")
        shutil.rmtree(root, ignore_errors=True)
        staging.replace(root)


def _download(package: str, into: Path, cache: Path) -> Path:
    """Fetch one package: by the machine's lists, else by lists of our own (which need no root)."""
    try:
        _run(["apt-get", "download", package], into, f"downloading {package}")
    except Missing:
        own = _own_lists(cache)
        _run(["apt-get", *own, "download", package], into, f"downloading {package}")
    archives = sorted(into.glob(f"{package}_*.deb"))
    if not archives:
        raise Missing(f"{package}: apt-get download left no .deb behind")
    return archives[0]


def _own_lists(cache: Path) -> list[str]:
    state = cache / "apt"
    (state / "state" / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    (state / "cache" / "archives" / "partial").mkdir(parents=True, exist_ok=True)
    options = ["-o", f"Dir::State={state / 'state'}", "-o", f"Dir::Cache={state / 'cache'}"]
    # dpkg's own status stays the machine's, so that versions fit what is installed
    options += ["-o", "Dir::State::status=/var/lib/dpkg/status", "-o", "Debug::NoLocking=1"]
    _run(["apt-get", *options, "update"], cache, "reading the package lists")
    return options


def _run(command: list[str], where: Path, doing: str) -> None:
    try:
        done = subprocess.run(  # noqa: S603 - the commands stand above, nothing comes from outside
            command, cwd=where, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise Missing(f"{doing} took more than 300 s; install the package by hand") from error
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise Missing(f"{doing} failed: {said[-1] if said else done.returncode}; install the package by hand")


def main(names: list[str]) -> int:
    """Print where each is; 1 when one cannot be had."""
    try:
        for name in names or sorted(KNOWN):
            print(name, binary(name))
    except Missing as problem:
        print(f"debian: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
