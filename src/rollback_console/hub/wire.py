"""The wire, version 1: what requests and answers are made of. The OpenAPI document comes from these."""

from __future__ import annotations

import base64
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Row as TableRow

from rollback_console.journal.chain import Row

Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
HashOrEmpty = Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]
Nanoseconds = Annotated[str, Field(pattern=r"^(0|-?[1-9][0-9]{0,18})$")]
Base64 = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]*={0,2}$")]
Name = Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]


class Wire(BaseModel):
    model_config = ConfigDict(populate_by_name=True)


class About(Wire):
    name: str
    version: str
    key: str = Field(description="the log's verifier key (C2SP signed-note), to be pinned")
    time: str
    epoch: int = Field(description="1; one more after each restore that lost something which was signed")


class EnrolIn(Wire):
    key: str = Field(max_length=400, description="ssh-ed25519 …")
    name: Name = ""
    code: str = Field(max_length=200)
    proof: Base64 = Field(description="Ed25519 over b'rollback-console/enrol/v1\\n' + code")


class Enrolled(Wire):
    device: str
    name: str
    token: str


class EntryIn(Wire):
    seq: int = Field(strict=True, ge=1, lt=2**53)
    at: Nanoseconds
    mono: Nanoseconds
    kind: str
    deployment: str
    operator: str
    body: str = Field(description="the exact stored RFC 8785 text")
    prev: HashOrEmpty
    hash: Hex
    signature: Base64

    def row(self, chain: str) -> Row:
        """Raises ValueError for a signature that is no base64."""
        return Row(
            chain, self.seq, int(self.at), int(self.mono), self.kind, self.deployment, self.operator, self.body,
            self.prev, self.hash, base64.b64decode(self.signature, validate=True),
        )  # fmt: skip


class EntriesIn(Wire):
    from_: int = Field(alias="from", strict=True, ge=1, lt=2**53)
    prev: HashOrEmpty
    entries: list[EntryIn] = Field(min_length=1)


class HeadOut(Wire):
    seq: int
    hash: str


class ReceiptOut(Wire):
    chain: str
    seq: int
    hash: str
    at: str
    index: int
    proof: list[str]
    checkpoint: str


class AppendedOut(Wire):
    accepted: int
    duplicates: int
    head: HeadOut
    receipt: ReceiptOut


class ChainOut(Wire):
    chain: str
    device: str
    rehearsal: bool
    head: HeadOut


class ChainDetail(ChainOut):
    key: str
    receipt: ReceiptOut | None


class ChainsOut(Wire):
    chains: list[ChainOut]


class EntryOut(Wire):
    position: int
    chain: str
    seq: int
    at: str
    mono: str
    kind: str
    deployment: str
    operator: str
    body: str
    prev: str
    hash: str
    signature: str
    incident: str
    received: str


class EntriesOut(Wire):
    entries: list[EntryOut]
    next: int = Field(description="`after` of the next page: the last position (of a chain: number) here")


class ProofOut(Wire):
    proof: list[str]


class WitnessOut(Wire):
    size: int
    proof: list[str]


class DigestsIn(Wire):
    digests: list[Hex] = Field(max_length=10_000)


class MissingOut(Wire):
    missing: list[str]


class StoredOut(Wire):
    digest: str
    size: int


class LeaseIn(Wire):
    ttl_s: float = Field(gt=0, le=3600)
    holder: Name


class RenewIn(Wire):
    token: int
    ttl_s: float = Field(default=60, gt=0, le=3600)


class LeaseOut(Wire):
    name: str
    token: int
    holder: str
    device: str
    expires_at: str


class SnapshotOut(Wire):
    etag: str
    size: int


class ClaimIn(Wire):
    role: Literal["working", "commander"]
    operator: Name = Field(min_length=1)
    action: Literal["take", "release", "handover"]
    to: Name = ""
    reason: Name = Field(default="", description="with one, `take` takes the command from whoever has it")


class IncidentOut(Wire):
    id: str
    commander: str | None
    offered_to: str | None = Field(description="whom the commander has handed over to, until they take it")
    working: list[str]
    since: str
    position: int


class IncidentsOut(Wire):
    incidents: list[IncidentOut]


class PresenceIn(Wire):
    operator: Name = Field(min_length=1)
    where: Name = ""


class PresenceOut(Wire):
    operator: str
    where: str
    device: str
    at: str


class PresentOut(Wire):
    present: list[PresenceOut]


class MessageIn(Wire):
    topic: Name = Field(min_length=1)
    id: Name = Field(min_length=1)
    body: Base64 = Field(max_length=100_000)
    signature: str = Field(max_length=20_000)
    key: str = Field(max_length=2_000)


class MessageOut(MessageIn):
    device: str
    at: str
    position: int


class MessagesOut(Wire):
    messages: list[MessageOut]
    next: int


class ProblemOut(Wire):
    """RFC 9457 problem details, with a `code` for programs; some codes bring members of their own."""

    type: str
    status: int
    title: str
    detail: str = ""
    code: str


def entry_out(row: TableRow[Any]) -> dict[str, Any]:
    """A row of `entries` as `EntryOut` has it."""
    return {
        "position": row.position, "chain": row.chain, "seq": row.seq, "at": str(row.at), "mono": str(row.mono),
        "kind": row.kind, "deployment": row.deployment, "operator": row.operator, "body": row.body, "prev": row.prev,
        "hash": row.hash, "signature": base64.b64encode(bytes(row.signature)).decode(), "incident": row.incident,
        "received": str(row.received),
    }  # fmt: skip
