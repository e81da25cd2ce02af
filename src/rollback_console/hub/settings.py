"""How a hub runs: where its files are, whom it answers, what it bears."""

from __future__ import annotations

from pathlib import Path

from rollback_console.model.value import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class HubSettings:
    """Sizes in bytes, times in seconds. `database` is SQLAlchemy's URL; "" is the file `hub.db` in `data`."""

    data: Path
    database: str = ""
    name: str = ""
    host: str = "127.0.0.1"
    port: int = 8790
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    behind_proxy: bool = False
    rate: float = 20.0  # requests a second that one device may go on making
    burst: int = 60  # and how many at once
    concurrency: int = 64  # requests answered at the same time
    streams: int = 500  # open event streams
    shutdown_s: int = 20
    otlp: str = ""  # an OTLP/HTTP collector's URL
    cloudevents: str = ""  # where CloudEvents are posted
    poll_s: float = 0.25  # how often other hub processes' doings are looked for, while somebody follows

    @property
    def key_path(self) -> Path:
        return self.data / "hub.key"

    @property
    def mark_path(self) -> Path:
        return self.data / "hub.mark"

    @property
    def database_path(self) -> Path:
        return self.data / "hub.db"
