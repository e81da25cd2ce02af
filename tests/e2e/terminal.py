"""A real terminal for tests: the console in tmux, keys in, text out. One tmux server a terminal, ended with it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

_BETWEEN_KEYS_S = 0.015
_HERE = Path(__file__).resolve().parents[2]


def tmux_program() -> str:
    """tmux on PATH or in the project's cache; a missing one fails the test."""
    found = shutil.which("tmux") or shutil.which(str(_HERE / ".cache" / "debian" / "bin" / "tmux"))
    assert found, "tmux is missing: `python tools/debian.py tmux` fetches it"
    return found


class Terminal:
    """One program in one pane of `columns` x `rows`."""

    def __init__(
        self,
        command: list[str],
        folder: Path,
        *,
        columns: int = 80,
        rows: int = 24,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._tmux = tmux_program()
        self._socket = str(folder / f"tmux-{os.getpid()}-{id(self):x}")
        words = {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **(env or {})}
        pairs = [part for name, value in words.items() for part in ("-e", f"{name}={value}")]
        self._call(
            "-f", "/dev/null", "new-session", "-d", "-x", str(columns), "-y", str(rows), *pairs,
            "--", *command,
        )  # fmt: skip
        self._call("set", "-g", "remain-on-exit", "on")
        self._call("set", "-g", "status", "off")
        self._call("resize-window", "-x", str(columns), "-y", str(rows))

    def _call(self, *arguments: str) -> str:
        done = subprocess.run(
            [self._tmux, "-S", self._socket, *arguments], capture_output=True, text=True, timeout=20, check=False
        )
        assert done.returncode == 0, f"tmux {arguments[:3]}: {done.stderr}"
        return done.stdout

    @property
    def text(self) -> str:
        """What the pane shows now."""
        return self._call("capture-pane", "-p")

    def keys(self, *names: str) -> None:
        """Press keys by tmux's names, one after the other."""
        for name in names:
            self._call("send-keys", name)

    def type(self, text: str) -> None:
        """Type characters as a person does, one key after the other: faster ones are refused as a paste."""
        for character in text:
            self._call("send-keys", "-l", "--", character)
            time.sleep(_BETWEEN_KEYS_S)

    def paste(self, text: str) -> None:
        """Paste as a terminal does that marks no paste: all characters at once."""
        self._call("set-buffer", text)
        self._call("paste-buffer")

    def until(self, wanted: str | Callable[[str], bool], within: float = 30.0) -> str:
        """Wait until the pane matches a pattern (or a test of it); fails with the pane otherwise."""
        limit = time.monotonic() + within
        while True:
            text = self.text
            if wanted(text) if callable(wanted) else re.search(wanted, text):
                return text
            if time.monotonic() > limit:
                raise AssertionError(f"after {within} s the screen does not show {wanted!r}:\n{text}")
            time.sleep(0.1)  # a terminal has no event to wait for

    def close(self) -> None:
        """End the pane's program and its tmux server."""
        subprocess.run([self._tmux, "-S", self._socket, "kill-server"], capture_output=True, timeout=20, check=False)
        Path(self._socket).unlink(missing_ok=True)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
