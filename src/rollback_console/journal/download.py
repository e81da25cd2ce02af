"""What a hub holds, as one file to be reviewed away from it: every chain whole, and the bytes that entries name.

JSON Lines: entries as `journal export` writes them, chain after chain, and after a chain its blobs, one a line, as
`{"blob":"<SHA-256>","data":"<base64>"}`. A chain stands there from its first entry, which names the device that signed
it, so that the file verifies by itself.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Protocol
from urllib.parse import quote

from rollback_console.errors import BackendError
from rollback_console.journal.chain import Row
from rollback_console.journal.export import jsonl
from rollback_console.journal.verify import BLOB_FIELDS

_PAGE = 1_000
_NAMED_WITHIN = 4_096  # a blob's head may name another (a tick's its layout)
_DIGEST = re.compile(rb"[0-9a-f]{64}")
_LARGEST = 64 << 20


class Hub(Protocol):
    """What is asked of a hub: `journal.upstream.HubClient`."""

    def json(self, method: str, path: str, document: object = None) -> dict[str, Any]: ...

    def rows(self, chain: str, after: int, limit: int) -> tuple[Row, ...]: ...

    def exchange(
        self, method: str, path: str, content: bytes | None = None, headers: Mapping[str, str] | None = None, *,
        limit: int = _LARGEST,
    ) -> tuple[int, Mapping[str, str], bytes]: ...  # fmt: skip


def lines(hub: Hub) -> Iterator[str]:
    """All that the hub holds, line by line. Raises BackendError where it does not answer, or not as a hub does."""
    for chain in _chains(hub):
        wanted: dict[str, None] = {}
        after = 0
        while page := hub.rows(chain, after, _PAGE):
            for row in page:
                wanted.update(dict.fromkeys(_named(row)))
            yield from jsonl(page)
            after = page[-1].seq
        yield from _blobs(hub, wanted)


def _chains(hub: Hub) -> list[str]:
    found = hub.json("GET", "/v1/chains").get("chains")
    named = [each.get("chain") if isinstance(each, dict) else None for each in found or ()]
    return [chain for chain in named if isinstance(chain, str)]


def _named(row: Row) -> Iterator[str]:
    """The digests of the bytes that an entry names."""
    try:
        body = json.loads(row.body)
    except ValueError:
        return
    for field in BLOB_FIELDS.get(row.kind, ()):
        digest = body.get(field) if isinstance(body, dict) else None
        if isinstance(digest, str) and re.fullmatch("[0-9a-f]{64}", digest):
            yield digest


def _blobs(hub: Hub, wanted: dict[str, None]) -> Iterator[str]:
    """These blobs, and what their heads name; those that the hub does not hold are left out."""
    asked: set[str] = set()
    waiting = list(wanted)
    while waiting:
        digest = waiting.pop()
        if digest in asked:
            continue
        asked.add(digest)
        try:
            _, _, data = hub.exchange("GET", f"/v1/blobs/{quote(digest)}", limit=_LARGEST)
        except BackendError as error:
            if getattr(error, "status", 0) == 404:
                continue
            raise
        yield json.dumps({"blob": digest, "data": base64.b64encode(data).decode()}, separators=(",", ":")) + "\n"
        waiting += [each.decode() for each in _DIGEST.findall(data[:_NAMED_WITHIN].partition(b"\n")[0])]
