"""One evaluation of the fleet, as consoles hand it to each other by the hub."""

from __future__ import annotations

from rollback_console.model.value import dataclass

MAX_SENT = 4 * 1024 * 1024  # bytes, as the hub takes them
MAX_SHARED = 32 * 1024 * 1024  # bytes that they may become


@dataclass(frozen=True, slots=True)
class SharedFleet:
    """What the hub holds of an environment: bytes that nothing vouches for, b"" where they could not be unpacked.
    `etag` tells one from the next, `token` is the lease under which it was written."""

    data: bytes
    etag: str
    token: int
