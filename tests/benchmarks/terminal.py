"""Real terminals to measure in: tmux with a server of its own, and a bare pty whose every byte is timed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import shlex
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

CONSOLE = str(Path(sys.executable).with_name("rollback-console"))
_CONF = """\
set -g status off
set -g remain-on-exit on
set -g default-terminal tmux-256color
"""
_TICKS = os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def home() -> Iterator[dict[str, str]]:
    """An environment with an empty home and a temporary folder of its own; both end with it."""
    with tempfile.TemporaryDirectory(prefix="rollback-console-bench-") as folder:
        for name in ("home", "tmp"):
            (Path(folder) / name).mkdir()
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
        yield {
            **kept,
            "LANG": kept.get("LANG", "C.UTF-8"),
            "HOME": f"{folder}/home",
            "TMPDIR": f"{folder}/tmp",
            "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
        }


class Tmux:
    """A tmux server of its own spoken to over one control connection: asking what is on the pane costs
    no process, so that it can be asked every two milliseconds."""

    def __init__(self, env: Mapping[str, str], columns: int = 120, rows: int = 40) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="rollback-console-tmux-")
        Path(self._folder.name, "conf").write_text(f"{_CONF}set -g default-size {columns}x{rows}\n")
        self._base = ["tmux", "-S", f"{self._folder.name}/s", "-f", f"{self._folder.name}/conf"]
        size = ["-x", str(columns), "-y", str(rows)]
        self._pane = ""
        subprocess.run([*self._base, "new-session", "-d", *size, "cat"], env=dict(env), check=True)
        self._control = subprocess.Popen(
            [*self._base, "-C", "attach"], env=dict(env), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.ask("display-message -p ready")

    def ask(self, command: str) -> str:
        """One tmux command, and its output."""
        assert self._control.stdin is not None
        assert self._control.stdout is not None
        self._control.stdin.write(command.encode() + b"\n")
        self._control.stdin.flush()
        lines: list[str] = []
        inside = False
        for raw in self._control.stdout:
            line = raw.decode("utf-8", "replace").rstrip("\n")
            if line.startswith("%begin ") and line.endswith(" 1"):  # 1: the answer to a command of this client
                inside, lines = True, []
            elif inside and line.startswith(("%end ", "%error ")):
                return "\n".join(lines)
            elif inside:
                lines.append(line)
        raise RuntimeError("tmux ended")

    def screen(self) -> str:
        return self.ask(f"capture-pane -p -t {self._pane}")

    def start(self, command: Sequence[str]) -> float:
        """Run `command` in a new pane, ending what ran before. Returns when it was spawned (monotonic seconds).

        Not by respawn-pane: under a control client tmux 3.3a dies of it now and then.
        """
        if self._pane:
            self.ask(f"kill-pane -t {self._pane}")
            time.sleep(0.3)  # what ran there ends, and does not share the processor with what comes
        quoted = shlex.quote("exec " + shlex.join(command))
        began = time.monotonic()
        self._pane = self.ask(f"new-window -d -P -F '#{{pane_id}}' {quoted}").strip()
        return began

    def seen(self, began: float, *markers: str | tuple[str, ...], seconds: float = 30.0) -> list[float]:
        """For each marker (one of a tuple's is enough): seconds from `began` until it was on the pane."""
        found: list[float] = []
        end = began + seconds
        for marker in markers:
            words = (marker,) if isinstance(marker, str) else marker
            while True:
                shown = self.screen()
                now = time.monotonic()
                if any(word in shown for word in words):
                    found.append(now - began)
                    break
                if now > end:
                    raise TimeoutError(f"{words} did not come on the screen in {seconds} s:\n{shown}")
                time.sleep(0.001)
        return found

    def stop(self) -> None:
        subprocess.run([*self._base, "kill-server"], capture_output=True, check=False)
        self._control.wait(10)
        for pipe in (self._control.stdin, self._control.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._folder.cleanup()


class Pty:
    """A program in a pty of its own. A thread reads what it writes as it comes."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str], columns: int = 120, rows: int = 40) -> None:
        self.began = time.monotonic()
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.execvpe(command[0], list(command), {**env, "TERM": "xterm-256color", "COLORTERM": "truecolor"})
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGWINCH)
        self.written = 0  # bytes that reached the terminal
        self._recent = bytearray()
        self._changed = threading.Condition()
        self._over = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while not self._over:
            if not select.select([self._fd], [], [], 0.2)[0]:
                continue
            try:
                data = os.read(self._fd, 65_536)
            except OSError:
                break
            with self._changed:
                self.written += len(data)
                self._recent += data
                del self._recent[:-400_000]
                self._changed.notify_all()
            if not data:
                break
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def wait(self, marker: bytes, seconds: float = 60.0) -> None:
        """Until `marker` is among what came since the last call of `forget`."""
        end = time.monotonic() + seconds
        with self._changed:
            while marker not in self._recent:
                if self._over or not self._changed.wait(max(0.0, end - time.monotonic())):
                    tail = bytes(self._recent[-2000:])
                    raise TimeoutError(f"{marker!r} did not come within {seconds} s; the last bytes: {tail!r}")

    def forget(self) -> None:
        with self._changed:
            self._recent.clear()

    def press(self, key: bytes, marker: bytes, seconds: float = 5.0) -> float:
        """Seconds from writing `key` until output with `marker` came: what the key changes, not any other output."""
        self.forget()
        began = time.monotonic()
        os.write(self._fd, key)
        self.wait(marker, seconds)
        return time.monotonic() - began

    def send(self, keys: bytes) -> None:
        os.write(self._fd, keys)

    def stop(self) -> None:
        """End the program: politely, then not."""
        for number, patience in ((signal.SIGTERM, 3.0), (signal.SIGKILL, 5.0)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)
            end = time.monotonic() + patience
            while time.monotonic() < end:
                if os.waitpid(self.pid, os.WNOHANG)[0]:
                    self._over = True
                    self._reader.join(2)
                    os.close(self._fd)
                    return
                time.sleep(0.02)


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used, its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def memory_mb(pid: int) -> tuple[float, float]:
    """(resident now, resident at most), in MB of 2^20 bytes."""
    found = {}
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name in ("VmRSS", "VmHWM"):
            found[name] = int(value.split()[0]) / 1024
    return found["VmRSS"], found["VmHWM"]
