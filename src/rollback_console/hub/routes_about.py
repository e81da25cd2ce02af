"""Who this hub is, how it does, and how a device gets its token."""

from __future__ import annotations

import time

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy import func, select

from rollback_console.hub import devices
from rollback_console.hub.deps import Parts
from rollback_console.hub.tables import epochs
from rollback_console.hub.wire import About, EnrolIn, Enrolled, ProblemOut
from rollback_console.model.times import written
from rollback_console.version import __version__

router = APIRouter()


@router.get("/v1/about", tags=["hub"])
def about(parts: Parts) -> About:
    """Name, version and the log's key, which a device pins when it enrols."""
    with parts.database.reading() as connection:
        epoch = connection.execute(select(func.max(epochs.c.number))).scalar_one()
    return About(
        name=parts.hub.name, version=__version__, key=parts.log.key.vkey, time=written(time.time()), epoch=epoch
    )


@router.post("/v1/devices", status_code=201, tags=["devices"], responses={403: {"model": ProblemOut}})
def enrol(request: Request, parts: Parts, asked: EnrolIn) -> Enrolled:
    """Enrol a device by a one-time code; the token is shown once."""
    parts.rates.take("enrol:" + (request.client.host if request.client else ""))
    device, token = devices.enrol(parts.database, asked.key, asked.name, asked.code, asked.proof)
    return Enrolled(device=device.id, name=device.name, token=token)


@router.get("/healthz", tags=["hub"], response_class=PlainTextResponse)
def healthz() -> str:
    """The process answers."""
    return "ok\n"


@router.get("/readyz", tags=["hub"], response_class=PlainTextResponse, responses={503: {"model": ProblemOut}})
def readyz(parts: Parts) -> str:
    """The database answers, and this hub may sign."""
    parts.log.checkpoint()
    return "ready\n"


@router.get("/metrics", tags=["hub"], response_class=PlainTextResponse)
def metrics(parts: Parts) -> Response:
    """For Prometheus."""
    return Response(generate_latest(parts.metrics.registry), media_type=CONTENT_TYPE_LATEST)
