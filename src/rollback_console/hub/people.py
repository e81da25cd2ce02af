"""Who works on which incident, who is where, and what they send each other.

The hub knows devices, not persons: an operator's name here is what an enrolled device says. What must be proven is
signed by the person and carried as a message, or stands in a journal.
"""

from __future__ import annotations

import base64
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from rollback_console.hub.append import last_position
from rollback_console.hub.database import Database
from rollback_console.hub.devices import Device
from rollback_console.hub.problems import Problem
from rollback_console.hub.shared import NS, next_version, rfc3339
from rollback_console.hub.tables import claims, messages, presence
from rollback_console.hub.wire import ClaimIn, MessageIn

PRESENT_S = 60  # who was not heard of for longer is not shown
_REMEMBERED_S = 14 * 86_400  # incidents whose last claim is older are not listed


# -- claims -----------------------------------------------------------------------------------------------------------


def claim(database: Database, device: Device, incident: str, asked: ClaimIn) -> dict[str, Any]:
    """Record who takes, leaves or hands over an incident; how it then stands. Raises Problem 409 where it cannot be.

    A commander who hands over stays commander until the other takes it: nobody is given an incident asleep. `take` with
    a reason takes the command from whoever has it; the reason stands in the record.
    """
    with database.writing(log=True) as connection:
        rows = connection.execute(select(claims).where(claims.c.incident == incident).order_by(claims.c.position)).all()
        _allowed(_standing(incident, rows), asked)
        position = last_position(connection) + 1
        row = {
            "position": position, "incident": incident, "role": asked.role, "operator": asked.operator,
            "action": asked.action, "to": asked.to, "reason": asked.reason, "device": device.id,
            "at": database.now(connection),
        }  # fmt: skip
        connection.execute(insert(claims), row)
        rows = connection.execute(select(claims).where(claims.c.incident == incident).order_by(claims.c.position)).all()
    return _standing(incident, rows)


def _allowed(now: dict[str, Any], asked: ClaimIn) -> None:
    commander = now["commander"]
    if asked.action == "handover" and (asked.role != "commander" or not asked.to):
        raise Problem(422, "bad-request", "a handover is of the command, to a named person")
    if asked.role == "working":
        return
    if asked.action != "take" and commander != asked.operator:
        raise Problem(409, "not-commander", "only the commander can do that", commander=commander)
    offered = now["offered_to"] == asked.operator
    if asked.action == "take" and commander not in (None, asked.operator) and not offered and not asked.reason:
        raise Problem(409, "held", "somebody else has the command", "with a reason, you may take it", holder=commander)


def _standing(incident: str, rows: Any) -> dict[str, Any]:
    """What the claims, in order, come to."""
    commander: str | None = None
    offered: str | None = None
    working: dict[str, None] = {}
    for row in rows:
        if row.role == "working":
            working.pop(row.operator, None)
            if row.action == "take":
                working[row.operator] = None
        elif row.action == "take":
            commander, offered = row.operator, None
        elif row.action == "release":
            commander, offered = None, None
        else:
            offered = row.to
    return {
        "id": incident, "commander": commander, "offered_to": offered, "working": list(working),
        "since": rfc3339(rows[0].at) if rows else "", "position": rows[-1].position if rows else 0,
    }  # fmt: skip


def incidents(database: Database) -> list[dict[str, Any]]:
    """Incidents that somebody is on, or was within two weeks; the latest first."""
    with database.reading() as connection:
        after = database.now(connection) - _REMEMBERED_S * NS
        recent = select(claims.c.incident).where(claims.c.at > after)
        rows = connection.execute(select(claims).where(claims.c.incident.in_(recent)).order_by(claims.c.position)).all()
    grouped: dict[str, list[Any]] = {}
    for row in rows:
        grouped.setdefault(row.incident, []).append(row)
    found = [_standing(incident, each) for incident, each in grouped.items()]
    return sorted(found, key=lambda each: int(each["position"]), reverse=True)


def claim_event(row: Row[Any]) -> dict[str, Any]:
    return {
        "position": row.position, "incident": row.incident, "role": row.role, "operator": row.operator,
        "action": row.action, "to": row.to, "reason": row.reason, "device": row.device, "at": rfc3339(row.at),
    }  # fmt: skip


# -- presence ---------------------------------------------------------------------------------------------------------


def be_present(database: Database, device: Device, operator: str, where: str) -> None:
    with database.writing(log=True) as connection:
        mine = presence.c.device == device.id, presence.c.operator == operator
        now, version = database.now(connection), next_version(connection, presence)
        done = connection.execute(update(presence).where(*mine).values(where=where, at=now, version=version))
        if not done.rowcount:
            connection.execute(
                insert(presence),
                {"device": device.id, "operator": operator, "where": where, "at": now, "version": version},
            )


def present(database: Database) -> list[dict[str, Any]]:
    """Who was heard of within a minute."""
    with database.reading() as connection:
        after = database.now(connection) - PRESENT_S * NS
        rows = connection.execute(select(presence).where(presence.c.at > after).order_by(presence.c.operator)).all()
    return [presence_event(row) for row in rows]


def presence_event(row: Row[Any]) -> dict[str, Any]:
    return {"operator": row.operator, "where": row.where, "device": row.device, "at": rfc3339(row.at)}


# -- messages ---------------------------------------------------------------------------------------------------------


def put_message(database: Database, device: Device, asked: MessageIn) -> dict[str, Any]:
    """Add a message, or find the very same again. Raises Problem 409 where its id names another one."""
    try:
        body = base64.b64decode(asked.body, validate=True)
    except ValueError:
        raise Problem(422, "bad-request", "the body is not base64") from None
    with database.writing(log=True) as connection:
        known = _message(connection, asked.id)
        if known is None:
            row = {
                "position": last_position(connection) + 1, "topic": asked.topic, "id": asked.id, "body": body,
                "signature": asked.signature, "key": asked.key, "device": device.id, "at": database.now(connection),
            }  # fmt: skip
            connection.execute(insert(messages), row)
            known = _message(connection, asked.id)
    if known is None or (known.topic, bytes(known.body), known.signature, known.key) != (
        asked.topic, body, asked.signature, asked.key,
    ):  # fmt: skip
        raise Problem(409, "another-message", "another message has this id")
    return message_event(known)


def _message(connection: Connection, id_: str) -> Row[Any] | None:
    return connection.execute(select(messages).where(messages.c.id == id_)).one_or_none()


def get_messages(database: Database, topic: str, after: int, limit: int) -> list[dict[str, Any]]:
    """Messages with position > after, in order; of one topic, or of all."""
    query = select(messages).where(messages.c.position > after).order_by(messages.c.position).limit(limit)
    if topic:
        query = query.where(messages.c.topic == topic)
    with database.reading() as connection:
        return [message_event(row) for row in connection.execute(query).all()]


def message_event(row: Row[Any]) -> dict[str, Any]:
    return {
        "position": row.position, "topic": row.topic, "id": row.id, "body": base64.b64encode(bytes(row.body)).decode(),
        "signature": row.signature, "key": row.key, "device": row.device, "at": rfc3339(row.at),
    }  # fmt: skip
