"""A real hub: `rollback-console hub serve` as a process of its own, on loopback."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from servers.processes import PYTHON, Server, answers_200

PROGRAM = [PYTHON, "-m", "rollback_console"]


class Hub:
    """`folder` holds its key and, without `database`, its SQLite file."""

    def __init__(
        self,
        folder: Path,
        *,
        database: str = "",
        flags: Sequence[str] = (),
        rate: float = 10_000,
        port: int | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.database = database
        self.where = ["--data", str(folder), *(["--database", database] if database else [])]
        self.server = Server(
            lambda free: [
                *PROGRAM, "hub", "serve", *self.where, "--listen", f"127.0.0.1:{free}", "--rate", str(rate), *flags
            ],
            folder / "hub.log",
            ready=answers_200("/readyz"),
            port=port,
        )  # fmt: skip

    @property
    def url(self) -> str:
        return self.server.url

    def code(self, name: str = "laptop") -> str:
        """A one-time enrolment code, as `hub enrol` makes them."""
        from rollback_console.hub.database import Database, sqlite_url
        from rollback_console.hub.devices import make_code

        opened = Database(self.database or sqlite_url(self.folder / "hub.db"))
        try:
            return make_code(opened, name)
        finally:
            opened.close()

    def stop(self) -> None:
        self.server.stop()
