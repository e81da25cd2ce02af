"""A console as the hub sees one: a device with its chain, speaking plain HTTP."""

from __future__ import annotations

import base64
import secrets
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from rollback_console.hub.devices import ENROL_DOMAIN
from rollback_console.journal.chain import Row, canonical
from rollback_console.journal.create import seal
from rollback_console.journal.device import DeviceKey
from rollback_console.journal.receipt import Receipt, check
from rollback_console.journal.signednote import Checkpoint

START = 1_780_000_000_000_000_000


def chain_of(device: DeviceKey, count: int, chain: str = "", fork: str = "") -> list[Row]:
    """A sound chain of `count` entries; `fork` is in every body but the first's, so that two forks differ."""
    chain = chain or secrets.token_hex(16)
    first = {
        "chain": chain,
        "device": device.public_openssh(),
        "kind": "genesis",
        "program": "t",
        "rehearsal": False,
        "v": 1,
    }
    rows: list[Row] = []
    for seq in range(1, count + 1):
        body = first if seq == 1 else {"text": f"note {seq} {fork}", "v": 1}
        rows.append(next_row(device, chain, rows[-1] if rows else None, body, "genesis" if seq == 1 else "note"))
    return rows


def next_row(
    device: DeviceKey,
    chain: str,
    last: Row | None,
    body: dict[str, Any],
    kind: str = "note",
    deployment: str = "prod/m",
    operator: str = "ana",
) -> Row:
    seq = last.seq + 1 if last else 1
    time = (START + seq * 1_000_000_000, seq * 1_000_000_000)
    return seal(
        device, chain, seq, time, (kind, canonical(body).decode(), deployment, operator), last.hash if last else ""
    )


def entry_json(row: Row) -> dict[str, Any]:
    return {
        "seq": row.seq, "at": str(row.at), "mono": str(row.mono), "kind": row.kind, "deployment": row.deployment,
        "operator": row.operator, "body": row.body, "prev": row.prev, "hash": row.hash,
        "signature": base64.b64encode(row.signature).decode(),
    }  # fmt: skip


def range_json(rows: Sequence[Row]) -> dict[str, Any]:
    return {"from": rows[0].seq, "prev": rows[0].prev, "entries": [entry_json(row) for row in rows]}


class Console:
    """An enrolled device. `vkeys` is what it pinned when it enrolled."""

    def __init__(
        self, url: str, code: str, device: DeviceKey | None = None, name: str = "laptop", verify: str = ""
    ) -> None:
        self.device = device or DeviceKey.from_seed(secrets.token_bytes(16))
        self.http = httpx.Client(
            base_url=url, timeout=30, verify=ssl.create_default_context(cafile=verify) if verify else True
        )
        self.vkeys = [self.http.get("/v1/about").json()["key"]]
        answer = self.enrol(code, name)
        answer.raise_for_status()
        self.id, self.token = answer.json()["device"], answer.json()["token"]
        self.http.headers["Authorization"] = f"Bearer {self.token}"

    def enrol(self, code: str, name: str = "laptop") -> httpx.Response:
        proof = base64.b64encode(self.device.sign(ENROL_DOMAIN + code.encode())).decode()
        asked = {"key": self.device.public_openssh(), "name": name, "code": code, "proof": proof}
        return self.http.post("/v1/devices", json=asked)

    def send(self, rows: Sequence[Row], chain: str = "") -> httpx.Response:
        return self.http.post(f"/v1/chains/{chain or rows[0].chain}/entries", json=range_json(rows))

    def checked(self, receipt: dict[str, Any]) -> Checkpoint:
        """The receipt's checkpoint, verified. Raises ValueError."""
        return check(Receipt.from_json(receipt), self.vkeys)

    def close(self) -> None:
        self.http.close()


def tables_at(path: Path) -> Any:
    """A plain connection to a hub's SQLite file, for a test to look, or to do what it must not."""
    import sqlite3

    return sqlite3.connect(path)
