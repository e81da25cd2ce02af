"""A console as a process in a pseudo-terminal of its own: keys in, raw bytes out, signals, sizes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
import unicodedata
from collections.abc import Mapping
from types import TracebackType
from typing import Self

CONSOLE = [sys.executable, "-m", "rollback_console"]
# What Textual writes itself: CSI and OSC sequences, DCS and single-character escapes.
_SEQUENCE = re.compile(
    r"\x1b\[[0-9;?<>=!$ ]*[A-Za-z@`{|}~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"
    r"|\x1bP[^\x1b]*\x1b\\|\x1b[A-Za-z0-9=>()#][A-Z0-9]?"
)
_BETWEEN = set("\r\n\b\t\x0f\x0e")


class Pty:
    """`command` with a controlling terminal of its own. Everything it writes is in `raw`."""

    def __init__(
        self,
        command: list[str],
        env: Mapping[str, str],
        *,
        columns: int = 80,
        rows: int = 24,
    ) -> None:
        self.master, slave = pty.openpty()
        self.raw = bytearray()
        self.resize(columns, rows)
        self.process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={"TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "COLORTERM": "truecolor", **env},
            preexec_fn=_own_terminal,
        )
        os.close(slave)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while data := os.read(self.master, 65_536):
                self.raw += data

    @property
    def text(self) -> str:
        """What was written so far, sequences taken out; not a screen, but words that were shown stand in it."""
        return _SEQUENCE.sub("", self.raw.decode("utf-8", "replace"))

    def send(self, keys: str) -> None:
        os.write(self.master, keys.encode("utf-8", "surrogatepass"))

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def until(self, wanted: str, within: float = 20.0, after: int = 0) -> None:
        """Until `wanted` (a pattern) was written after byte `after`."""
        limit = time.monotonic() + within
        while not re.search(wanted, _SEQUENCE.sub("", bytes(self.raw[after:]).decode("utf-8", "replace"))):
            if time.monotonic() > limit or self.process.poll() is not None:
                raise AssertionError(f"{wanted!r} never came ({self.process.poll()}):\n{self.text[-3000:]}")
            time.sleep(0.02)

    def wait(self, within: float = 15.0) -> int:
        return self.process.wait(within)

    def hang_up(self) -> None:
        """The terminal is closed, as when a connection is lost."""
        os.close(self.master)
        self.master = -1

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        if self.master >= 0:
            os.close(self.master)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _own_terminal() -> None:
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def assert_safe_bytes(raw: bytes, *, terminal: bool) -> None:
    """No bytes that data could have brought: with a `terminal` program its own sequences are known and taken out
    first, and what is inside an OSC must be printable; else there may be none at all."""
    text = raw.decode("utf-8")  # strict: no half characters, no lone surrogates
    assert "PWNED\x07" not in text
    assert "\x1b]0;PWNED" not in text
    assert "\x1b]52;c;UFdO" not in text
    assert "\x1b[2JHOSTILE" not in text
    if terminal:
        for found in re.finditer(r"\x1b\]([^\x07\x1b]*)(?:\x07|\x1b\\)", text):
            assert found[1].isprintable(), found[0]
        text = _SEQUENCE.sub("", text)
    for char in text:
        if char in _BETWEEN:
            continue
        assert unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Zl", "Zp"), (hex(ord(char)), _around(text, char))


def _around(text: str, char: str) -> str:
    at = text.index(char)
    return ascii(text[max(0, at - 60) : at + 60])
