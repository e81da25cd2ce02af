"""Who the operators are: their public keys, their roles, and what a role may do where."""

from __future__ import annotations

import base64
import binascii
import difflib
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, WithJsonSchema, model_validator

from rollback_console.model.operator import Permission
from rollback_console.policy.quantities import refusal
from rollback_console.policy.words import Complaint, Name, Text, Words, several

SCHEMA = "rollback-console/roster/v1"
_TYPE = b"ssh-ed25519"


def key_blob(line: str) -> bytes:
    """The wire form in an OpenSSH public key line. Raises a PydanticCustomError that says what is wrong with it.

    Source: RFC 4253 section 6.6 and RFC 8709 section 4 (a string `ssh-ed25519`, a string of 32 bytes).
    """
    if "PRIVATE KEY" in line:
        raise refusal(
            "a private key stands here", "Take it out at once and make a new one; the roster holds public keys"
        )
    if "\n" in line.strip():
        raise refusal("holds several lines", "One entry a key, as in the .pub file")
    words = line.split()
    if len(words) < 2 or not words[0].startswith(("ssh-", "ecdsa-", "sk-")):
        raise refusal("is not a public key line", "Paste the line of the .pub file: `ssh-ed25519 AAAA… name`")
    if words[0] != "ssh-ed25519":
        raise refusal(f"{words[0][:40]} keys are not used here", "Make one with `ssh-keygen -t ed25519`")
    try:
        blob = base64.b64decode(words[1], validate=True)
    except (binascii.Error, ValueError):
        raise refusal("the key is not base64", "Was the line cut or wrapped? Paste the whole .pub line") from None
    kind, rest = _string(blob)
    key, tail = _string(rest)
    if kind != _TYPE:
        raise refusal("the key inside is of another type than the line says", "Paste the line of the .pub file again")
    if len(key) != 32 or tail:
        raise refusal(f"the key has {len(key)} bytes instead of 32", "Was the line cut? Paste the whole .pub line")
    return blob


def _string(data: bytes) -> tuple[bytes, bytes]:
    """One length-prefixed string and what follows it; short input gives what there is."""
    size = int.from_bytes(data[:4], "big")
    return data[4 : 4 + size], data[4 + size :]


def _key(line: str) -> str:
    key_blob(line)
    return line.strip()


def _valid_until(value: object) -> float | None:
    """Unix seconds. A date holds to its end in UTC; a time carries its zone."""
    if value is None:
        return None
    try:
        if isinstance(value, str) and len(value) == 10:
            day = date.fromisoformat(value)
            return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() + timedelta(days=1).total_seconds()
        if isinstance(value, str):
            moment = datetime.fromisoformat(value)
            if moment.tzinfo is None:
                raise refusal("has no time zone", f"Write `{value}Z`")
            return moment.timestamp()
    except (ValueError, OverflowError) as error:
        if not hasattr(error, "context"):
            raise refusal("is not a date", "Write `2027-01-31`, or `2027-01-31T18:00:00Z`") from None
        raise
    raise refusal("is not a date", "Write `2027-01-31`, or `2027-01-31T18:00:00Z`")


ValidUntil = Annotated[
    float | None,
    PlainValidator(_valid_until),
    WithJsonSchema({"type": "string", "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(T.+)?$"}),
]


class RosterPerson(Words):
    """One operator. `valid_until` is Unix seconds, None for ever."""

    id: Name
    name: Annotated[str, Field(max_length=200)] = ""
    roles: tuple[Name, ...] = ()
    groups: tuple[Name, ...] = ()
    keys: tuple[Annotated[Text, AfterValidator(_key)], ...] = ()
    valid_until: ValidUntil = None


def _everywhere(value: Any) -> Any:
    return None if value == "all" else value


Everywhere = Annotated[
    tuple[Name, ...] | None,
    BeforeValidator(_everywhere),
    WithJsonSchema({"anyOf": [{"const": "all"}, {"type": "array", "items": {"type": "string"}}]}),
]


class RosterRole(Words):
    """What a role may do, and in which environments (`environments` None: in all; written `in: all`)."""

    may: tuple[Permission, ...]
    environments: Everywhere = Field(default=None, alias="in")


_P = Permission
_VIEWER = (_P.LOOK,)
_ONCALL = (_P.LOOK, _P.NOTE, _P.ROLLBACK, _P.ABORT, _P.ADOPT, _P.DECLARE, _P.JUDGE)
DEFAULT_ROLES: dict[str, RosterRole] = {
    "viewer": RosterRole(may=_VIEWER),
    "oncall": RosterRole(may=_ONCALL),
    "lead": RosterRole(may=(*_ONCALL, _P.APPROVE)),
    "commander": RosterRole(may=(*_ONCALL, _P.APPROVE, _P.BREAK_GLASS)),
}


class Roster(Words):
    """A roster file. Without `roles:` the four of `DEFAULT_ROLES` hold, in every environment."""

    schema_: Literal["rollback-console/roster/v1"] = Field(alias="schema")
    operators: Annotated[tuple[RosterPerson, ...], Field(min_length=1)]
    roles: Annotated[dict[Name, RosterRole], Field(min_length=1)] = Field(default_factory=lambda: dict(DEFAULT_ROLES))

    @model_validator(mode="after")
    def _fits(self) -> Roster:
        found: list[Complaint] = []
        ids: dict[str, int] = {}
        keys: dict[bytes, str] = {}
        for index, person in enumerate(self.operators):
            if person.id in ids:
                found.append(Complaint(("operators", index, "id"), f"{person.id} stands twice, first as operators"
                                       f"[{ids[person.id]}]", "One entry a person, with all keys"))  # fmt: skip
            ids.setdefault(person.id, index)
            for at, line in enumerate(person.keys):
                blob = key_blob(line)
                if blob in keys:
                    found.append(Complaint(("operators", index, "keys", at), f"the key is {keys[blob]}'s already",
                                           "One key speaks for one person"))  # fmt: skip
                keys.setdefault(blob, person.id)
            for at, role in enumerate(person.roles):
                if role not in self.roles:
                    close = difflib.get_close_matches(role, list(self.roles), 1, 0.6)
                    remedy = f"Did you mean {close[0]}" if close else "The roles are " + ", ".join(self.roles)
                    found.append(Complaint(("operators", index, "roles", at), f"there is no role {role}", remedy))
        if found:
            raise several(found)
        return self

    def operator(self, name: str) -> RosterPerson | None:
        """The operator of that id, or None."""
        return next((person for person in self.operators if person.id == name), None)
