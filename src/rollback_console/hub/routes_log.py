"""Chains up, receipts back, and the log that stands behind them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Query, Request
from fastapi.responses import PlainTextResponse, Response
from pydantic import ValidationError

from rollback_console.hub import append, reads
from rollback_console.hub.deps import Caller, Parts
from rollback_console.hub.problems import Problem
from rollback_console.hub.wire import (
    AppendedOut,
    ChainDetail,
    ChainsOut,
    EntriesIn,
    EntriesOut,
    ProblemOut,
    ProofOut,
    ReceiptOut,
    WitnessOut,
)  # fmt: skip

router = APIRouter()
_REFUSALS: dict[int | str, dict[str, Any]] = {
    403: {"model": ProblemOut, "description": "the chain is another device's (`not-yours`), or this one was revoked"},
    409: {"model": ProblemOut, "description": "`gap` or `fork`, with our `head`; both are kept as evidence"},
    413: {"model": ProblemOut}, 422: {"model": ProblemOut, "description": "`bad-entry`, with its `seq`"},
    429: {"model": ProblemOut}, 503: {"model": ProblemOut},
}  # fmt: skip


async def _raw(request: Request) -> bytes:
    return await request.body()


Raw = Annotated[bytes, Depends(_raw)]


@router.post(
    "/v1/chains/{chain}/entries",
    tags=["chains"],
    responses=_REFUSALS,
    response_model=AppendedOut,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/EntriesIn"}}},
        }
    },
)
def post_entries(chain: str, device: Caller, parts: Parts, raw: Raw) -> Any:
    """Add a contiguous range to a chain. What is there already counts as a duplicate; all or nothing is added."""
    try:
        asked = EntriesIn.model_validate_json(raw)  # here, in a thread: a thousand entries would hold up the others
        rows = [entry.row(chain) for entry in asked.entries]
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Problem(422, "bad-request", "the request is not as it should be", f"{where}: {first['msg']}") from None
    except ValueError as error:
        raise Problem(422, "bad-request", "a signature is not base64", str(error)) from None
    if rows[0].seq != asked.from_:
        raise Problem(422, "bad-request", "`from` is not the number of the first entry")
    try:
        done = append.append(parts.database, parts.log, device, chain, asked.prev, rows)
    except Problem as problem:
        parts.metrics.refused.labels(problem.code).inc()
        raise
    parts.metrics.entries.labels("accepted").inc(done.accepted)
    parts.metrics.entries.labels("duplicate").inc(done.duplicates)
    parts.metrics.leaves.set(done.receipt.index + 1)
    parts.changed()
    return {
        "accepted": done.accepted, "duplicates": done.duplicates, "receipt": done.receipt.to_json(),
        "head": {"seq": done.head.seq, "hash": done.head.hash},
    }  # fmt: skip


@router.get("/v1/chains", tags=["chains"], response_model=ChainsOut)
def get_chains(_: Caller, parts: Parts) -> Any:
    """Every chain that is here, with its device and its head."""
    return {"chains": reads.all_chains(parts.database)}


@router.get("/v1/chains/{chain}", tags=["chains"], responses={404: {"model": ProblemOut}}, response_model=ChainDetail)
def get_chain(chain: str, _: Caller, parts: Parts) -> Any:
    """One chain, with the receipt of its head."""
    for found in reads.all_chains(parts.database, chain):
        receipt = parts.log.receipt(chain)
        return {**found, "receipt": receipt.to_json() if receipt else None}
    raise Problem(404, "no-such-chain", "this chain is not here")


@router.get("/v1/chains/{chain}/entries", tags=["chains"], response_model=EntriesOut)
def get_entries(
    chain: str,
    _: Caller,
    parts: Parts,
    after: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1)] = 500,
) -> Any:
    """A chain's entries exactly as they were signed, in order; at most 1,000 at a time."""
    found = reads.chain_entries(parts.database, chain, after, limit)
    return {"entries": found, "next": reads.counted(found, "seq", after)}


@router.get(
    "/v1/chains/{chain}/receipt", tags=["chains"], responses={404: {"model": ProblemOut}}, response_model=ReceiptOut
)
def get_receipt(chain: str, _: Caller, parts: Parts, seq: Annotated[int | None, Query(ge=1)] = None) -> Any:
    """The receipt of the first witnessed head at or after entry `seq`; without it, of the last."""
    receipt = parts.log.receipt(chain, seq)
    if receipt is None:
        raise Problem(404, "no-receipt", "no head of this chain at or after that entry was witnessed")
    return receipt.to_json()


@router.get("/v1/log/checkpoint", tags=["log"], response_class=PlainTextResponse)
def get_checkpoint(_: Caller, parts: Parts) -> Response:
    """The signed note (C2SP tlog-checkpoint) over the log as it is now."""
    note, size = parts.log.checkpoint()
    parts.metrics.leaves.set(size)
    return PlainTextResponse(note)


@router.get("/v1/log/consistency", tags=["log"], responses={409: {"model": ProblemOut}}, response_model=ProofOut)
def get_consistency(
    _: Caller, parts: Parts, first: Annotated[int, Query(ge=0)], second: Annotated[int | None, Query(ge=0)] = None
) -> Any:
    """RFC 6962: the tree of `second` leaves (as it is now) begins with the one of `first`. 409 `log-shorter` when this
    log never had so many: it is another one than the caller knew."""
    return {"proof": [step.hex() for step in parts.log.consistency(first, second)]}


@router.get("/v1/log/inclusion", tags=["log"], responses={404: {"model": ProblemOut}}, response_model=ProofOut)
def get_inclusion(
    _: Caller, parts: Parts, index: Annotated[int, Query(ge=0)], size: Annotated[int | None, Query(ge=1)] = None
) -> Any:
    """RFC 6962: leaf `index` is in the tree of `size` leaves (as it is now)."""
    return {"proof": [step.hex() for step in parts.log.inclusion(index, size)]}


@router.post(
    "/v1/log/witness", tags=["log"], responses={400: {"model": ProblemOut}, 409: {"model": ProblemOut}},
    response_model=WitnessOut,
)  # fmt: skip
def post_witness(_: Caller, parts: Parts, note: Annotated[str, Body(media_type="text/plain")]) -> Any:
    """Show the hub a checkpoint of its own. 409 `rolled-back` when its tree does not begin with that one: the hub then
    knows that its database is an old one, and signs nothing more."""
    size, proof = parts.log.witness(note)
    return {"size": size, "proof": [step.hex() for step in proof]}
