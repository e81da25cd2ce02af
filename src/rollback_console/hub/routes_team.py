"""What consoles share and tell each other: blobs, snapshots, leases, claims, presence, messages, and the stream."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Depends, Header, Path, Query, Request
from fastapi.responses import Response, StreamingResponse

from rollback_console.hub import devices, people, shared
from rollback_console.hub.deps import Caller, Parts, caller
from rollback_console.hub.devices import Device
from rollback_console.hub.problems import Problem
from rollback_console.hub.reads import counted
from rollback_console.hub.wire import (
    ClaimIn,
    DigestsIn,
    IncidentOut,
    IncidentsOut,
    LeaseIn,
    LeaseOut,
    MessageIn,
    MessageOut,
    MessagesOut,
    MissingOut,
    PresenceIn,
    PresentOut,
    ProblemOut,
    RenewIn,
    SnapshotOut,
    StoredOut,
)

router = APIRouter()
Digest = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]
Short = Annotated[str, Path(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
_HELD: dict[int | str, dict[str, Any]] = {
    409: {"model": ProblemOut, "description": "`held` by another, or `lease-ended`"}
}
_BINARY = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
_BYTES: dict[str, Any] = {"requestBody": {"required": True, "content": _BINARY}}


async def _raw(request: Request) -> bytes:
    return await request.body()


Raw = Annotated[bytes, Depends(_raw)]


@router.post("/v1/blobs/missing", tags=["blobs"], response_model=MissingOut)
def missing(_: Caller, parts: Parts, asked: DigestsIn) -> Any:
    """Which of these are not here."""
    return {"missing": shared.missing_blobs(parts.database, asked.digests)}


@router.put("/v1/blobs/{digest}", tags=["blobs"], response_model=StoredOut, openapi_extra=_BYTES)
def put_blob(digest: Digest, device: Caller, parts: Parts, raw: Raw) -> Any:
    """Bytes under their SHA-256; at most 8 MiB."""
    shared.put_blob(parts.database, device, digest, raw)
    return {"digest": digest, "size": len(raw)}


@router.get("/v1/blobs/{digest}", tags=["blobs"], responses={404: {"model": ProblemOut}}, response_class=Response)
def get_blob(digest: Digest, _: Caller, parts: Parts) -> Response:
    """A blob's bytes."""
    return Response(shared.get_blob(parts.database, digest), media_type="application/octet-stream")


@router.put(
    "/v1/environments/{environment}/snapshot", tags=["snapshots"], response_model=SnapshotOut, responses=_HELD,
    openapi_extra=_BYTES,
)  # fmt: skip
def put_snapshot(
    environment: Short, device: Caller, parts: Parts, raw: Raw, lease_token: Annotated[int, Header()]
) -> Any:
    """Share what this console has just observed; it holds the lease `poll/<environment>`, whose token it shows."""
    etag = shared.put_snapshot(parts.database, device, environment, raw, lease_token)
    parts.changed()
    return {"etag": etag, "size": len(raw)}


@router.get(
    "/v1/environments/{environment}/snapshot", tags=["snapshots"], response_class=Response,
    responses={304: {"description": "the caller's ETag is the newest"}, 404: {"model": ProblemOut}},
)  # fmt: skip
def get_snapshot(environment: Short, _: Caller, parts: Parts, if_none_match: Annotated[str, Header()] = "") -> Response:
    """The newest snapshot, with its ETag, its time (`Snapshot-At`) and its writer's `Lease-Token`."""
    row, data = shared.get_snapshot(parts.database, environment, if_none_match)
    headers = {"ETag": row.etag, "Snapshot-At": shared.rfc3339(row.at), "Lease-Token": str(row.token)}
    if data is None:
        return Response(status_code=304, headers=headers)
    return Response(data, media_type="application/octet-stream", headers=headers)


LeaseName = Annotated[str, Path(min_length=1, max_length=300, pattern=r"^[^\x00-\x1f\x7f]+$")]


@router.post("/v1/leases/{name:path}", tags=["leases"], responses=_HELD, response_model=LeaseOut)
def take_lease(name: LeaseName, device: Caller, parts: Parts, asked: LeaseIn) -> Any:
    """Take a lease that nobody holds. Show its token to whatever it protects: a larger one means that this one is over.
    Who asks again for what it holds itself is refused like anybody else: renew it."""
    found = shared.take_lease(parts.database, device, name, asked.holder, asked.ttl_s)
    parts.changed()
    return found


@router.put("/v1/leases/{name:path}", tags=["leases"], responses=_HELD, response_model=LeaseOut)
def renew_lease(name: LeaseName, device: Caller, parts: Parts, asked: RenewIn) -> Any:
    """Keep it, from now for `ttl_s`."""
    found = shared.renew_lease(parts.database, device, name, asked.token, asked.ttl_s)
    parts.changed()
    return found


@router.delete("/v1/leases/{name:path}", tags=["leases"], status_code=204, responses=_HELD)
def release_lease(name: LeaseName, device: Caller, parts: Parts, token: Annotated[int, Query()]) -> None:
    """Give it back."""
    shared.release_lease(parts.database, device, name, token)
    parts.changed()


@router.get("/v1/leases/{name:path}", tags=["leases"], responses={404: {"model": ProblemOut}}, response_model=LeaseOut)
def get_lease(name: LeaseName, _: Caller, parts: Parts) -> Any:
    """Who holds it."""
    return shared.get_lease(parts.database, name)


@router.put("/v1/incidents/{incident}/claim", tags=["people"], responses=_HELD, response_model=IncidentOut)
def put_claim(incident: Short, device: Caller, parts: Parts, asked: ClaimIn) -> Any:
    """Say who works on an incident, or commands it. A handover is complete once the other takes it."""
    found = people.claim(parts.database, device, incident, asked)
    parts.changed()
    return found


@router.get("/v1/incidents", tags=["people"], response_model=IncidentsOut)
def get_incidents(_: Caller, parts: Parts) -> Any:
    """Who is on which incident; the latest first."""
    return {"incidents": people.incidents(parts.database)}


@router.post("/v1/presence", tags=["people"], status_code=204)
def post_presence(device: Caller, parts: Parts, asked: PresenceIn) -> None:
    """I am here; said again at least every half minute."""
    people.be_present(parts.database, device, asked.operator, asked.where)
    parts.changed()


@router.get("/v1/presence", tags=["people"], response_model=PresentOut)
def get_presence(_: Caller, parts: Parts) -> Any:
    """Who was heard of within a minute."""
    return {"present": people.present(parts.database)}


@router.post("/v1/messages", tags=["messages"], responses={409: {"model": ProblemOut}}, response_model=MessageOut)
def post_message(device: Caller, parts: Parts, asked: MessageIn) -> Any:
    """Carry a signed message, unread. The same again changes nothing; another under the same id is refused."""
    found = people.put_message(parts.database, device, asked)
    parts.changed()
    return found


@router.get("/v1/messages", tags=["messages"], response_model=MessagesOut)
def get_messages(
    _: Caller, parts: Parts, topic: str = "", after: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Any:  # fmt: skip
    """Messages of a topic (or all), in the order in which they came."""
    found = people.get_messages(parts.database, topic, after, limit)
    return {"messages": found, "next": counted(found, "position", after)}


@router.get("/v1/stream", tags=["timeline"], response_class=StreamingResponse,
            responses={200: {"content": {"text/event-stream": {}}}})  # fmt: skip
async def get_stream(
    request: Request, parts: Parts, device: Annotated[Device, Depends(caller)],
    after: Annotated[int | None, Query(ge=0)] = None,
    last_event_id: Annotated[str, Header()] = "",
) -> StreamingResponse:  # fmt: skip
    """Server-sent events, in order: `entry`, `message`, `claim` (their ids are positions), `presence`, `lease`,
    `snapshot`; `ready` once all that came after `after` (or `Last-Event-ID`) has been told; `reset` when that position
    is not of this hub's time: read the timeline anew."""
    if last_event_id.isdigit():
        after = int(last_event_id)
    elif last_event_id:
        raise Problem(422, "bad-request", "Last-Event-ID is not a position")
    queue, joined = await parts.stream.join()
    token = request.headers.get("authorization", "").partition(" ")[2]

    async def text() -> AsyncIterator[str]:
        parts.metrics.streams.set(len(parts.stream))
        try:
            async for piece in parts.stream.follow(queue, joined, after):
                if piece.startswith(":"):  # a beat: is this device still one of ours?
                    try:
                        await anyio.to_thread.run_sync(devices.by_token, parts.database, token)
                    except Problem:
                        return
                yield piece
        finally:
            parts.stream.leave(queue)
            parts.metrics.streams.set(len(parts.stream))

    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(text(), media_type="text/event-stream", headers=headers)
