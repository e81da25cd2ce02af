"""Kinds that are about the journal itself: silence, segments, retention, and a journal that stood in for it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from rollback_console.journal.body import Body, Free, Hex, Name, Nanoseconds, PersonSignature, Quoting


class StandsIn(BaseModel):
    """For which journal an emergency chain stands in: its chain, and the last head of it that was known."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    chain: Name
    seq: int
    hash: Hex


class Checkpointed(Body):
    """Nothing was written for a while though a recorder ran: silence is evidence. The head is the entry before."""

    kind = "checkpoint"
    head_seq: int
    head: Hex
    quiet_s: float  # since this process last wrote, by the monotonic clock
    evaluations: int  # evaluations that this process made since then
    deployments: int  # how many it watches
    wall: Nanoseconds
    mono: Nanoseconds


class SegmentBegun(Body):
    """A new file goes on with the chain: the first entry in it names the file before, which ends at `last`."""

    kind = "segment"
    chain: Name
    device: Name  # the device's public key, as in the genesis, so that this file verifies without the others
    program: Name
    rehearsal: bool = False
    number: int  # 2 for the second file of the chain
    before: Name  # the closed file's name
    digest: Hex  # SHA-256 of the closed file's bytes
    first_seq: int  # of the closed file
    last_seq: int
    last: Hex  # the hash of its last entry: this entry's prev


class SegmentFile(BaseModel):
    """A closed segment's file by its digest."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: Name
    digest: Hex


class BlobsDropped(Body):
    """Retention dropped samples older than a time. Entries are never dropped; closed files have new digests since."""

    kind = "retention"
    older_than: float  # Unix seconds
    blobs: int
    size_bytes: int
    files: list[SegmentFile] = Field(default_factory=list)


class EmergencyBegun(Body):
    """Break-glass: the journal could not be written, and somebody decided to go on with this one."""

    kind = "break-glass"
    stands_in: StandsIn
    problem: Quoting  # why the journal could not be written
    reason: Free
    person: PersonSignature | None = None


class EmergencyMerged(Body):
    """An emergency journal, taken in as evidence: the whole chain is a blob of JSON lines, and its acts count."""

    kind = "merge"
    chain: Name
    device: Name  # the emergency chain's own device key
    entries: int
    head: Hex  # the hash of its last entry
    blob: Hex
    stands_in: StandsIn
    fits: Literal["at the head", "entries since", "not in this journal"]  # the head it stood in for, in this chain
    reason: Free
