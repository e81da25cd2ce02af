"""Start a real server on loopback, wait until it answers, and end it with everything it started."""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def binary(name: str) -> str:
    """A server's binary: on PATH, or unpacked into the project's cache. Fails, never skips."""
    spec = importlib.util.spec_from_file_location("rollback_console_tools_debian", ROOT / "tools" / "debian.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return str(module.binary(name))


def free_port() -> int:
    """A port nobody listens on now; between here and its use somebody may, so callers try again."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A process in a group of its own, on 127.0.0.1:`port`, that logs to `log`."""

    def __init__(
        self,
        command: Callable[[int], list[str]],
        log: Path,
        *,
        ready: Callable[[int], bool],
        seconds: float = 30.0,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        port: int | None = None,
    ) -> None:
        self.log = log
        for attempt in range(3):
            self.port = port or free_port()
            with log.open("ab") as out:
                self.process = subprocess.Popen(
                    command(self.port),
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,
                    env={**os.environ, **(env or {})},
                    cwd=cwd,
                )
            if self._wait(ready, seconds):
                return
            self.stop()
            if attempt == 2 or "in use" not in log.read_text(errors="replace"):
                break
        raise RuntimeError(f"{command(self.port)[0]} did not get ready:\n{log.read_text(errors='replace')[-3000:]}")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _wait(self, ready: Callable[[int], bool], seconds: float) -> bool:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                return False
            with contextlib.suppress(OSError, http.client.HTTPException):
                if ready(self.port):
                    return True
            time.sleep(0.05)
        return False

    def stop(self) -> None:
        """End the whole process group: politely, then not."""
        for how, seconds in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, how)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds)
                break
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)  # workers that outlived their parent


def answers_200(path: str) -> Callable[[int], bool]:
    """A probe: GET `path` answers 200."""

    def ready(port: int) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        try:
            connection.request("GET", path)
            return connection.getresponse().status == 200
        finally:
            connection.close()

    return ready


PYTHON = sys.executable
