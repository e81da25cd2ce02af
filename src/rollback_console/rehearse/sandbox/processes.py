"""Processes of the sandbox: each in a group of its own, with a log, ended by its group's id and nothing else."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from rollback_console.errors import BackendUnreachable

_PR_SET_PDEATHSIG = 1
_TERMINATE_S = 8.0


def free_port() -> int:
    """A port on loopback that nothing listens on now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@dataclass
class Group:
    """What was started, newest last."""

    logs: Path
    running: list[tuple[str, subprocess.Popen[bytes]]] = field(default_factory=list)

    def start(self, name: str, command: list[str], environment: Mapping[str, str] | None = None) -> None:
        """Start one process in a session of its own; its output goes to ``logs/NAME.log``."""
        self.logs.mkdir(parents=True, exist_ok=True)
        with (self.logs / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(  # noqa: S603 - the commands are the sandbox's own
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=None if environment is None else dict(environment),
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )
        self.running.append((name, process))

    def wait_for(self, name: str, ready: Callable[[], bool], within_s: float) -> None:
        """Until `ready`. Raises `BackendUnreachable` where the process ended or the time is over."""
        process = dict(self.running)[name]
        end = time.monotonic() + within_s
        while not ready():
            if process.poll() is not None:
                raise BackendUnreachable(f"{name} ended with code {process.returncode}", self._look(name))
            if time.monotonic() > end:
                raise BackendUnreachable(f"{name} does not answer after {within_s:.0f} s", self._look(name))
            time.sleep(0.1)  # a server gives no sign of being ready but its answer

    def dead(self) -> str | None:
        """The name of a process that ended by itself, or None."""
        return next((name for name, process in self.running if process.poll() is not None), None)

    def pids(self) -> dict[str, int]:
        return {name: process.pid for name, process in self.running}

    def stop(self) -> None:
        """End every group: asked first, all at once; then killed."""
        for _, process in reversed(self.running):
            _signal(process.pid, signal.SIGTERM)
        end = time.monotonic() + _TERMINATE_S
        for _, process in self.running:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, end - time.monotonic()))
            _signal(process.pid, signal.SIGKILL)  # whatever of the group is left
            process.wait()
        self.running.clear()

    def _look(self, name: str) -> str:
        return f"look into {self.logs / name}.log"


def _signal(group: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _die_with_parent() -> None:
    """Linux: a sandbox that is killed outright must not leave servers behind."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
