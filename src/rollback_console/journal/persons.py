"""What people sign of an entry, and whether they did: each signature against its statement, the statement against the
entry, and the key against the roster that the journal itself recorded.

A person's statement is RFC 8785 JSON with a `schema`; its other members are facts of the entry. Signatures are SSHSIG
in the namespace `rollback-console`: `ssh-keygen -Y verify` checks them without this program. No pydantic here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any

from rollback_console.authorize import sshsig
from rollback_console.journal.chain import SECOND, Row, canonical

NAMESPACE = "rollback-console"
# An operator's public keys (wire form), by id: until when each is theirs (Unix seconds; None for ever).
Keys = Mapping[str, Mapping[bytes, float | None]]
Blobs = Callable[[str], bytes | None]

# kind -> (schema, facts): a statement's member, and the body's field that it must equal ("@" the entry's deployment).
STATEMENTS: dict[str, tuple[str, dict[str, str]]] = {
    "request": (
        "rollback-console/request/v1",
        {"execution": "execution", "plan": "plan", "phrase": "phrase", "reason": "reason"},
    ),
    "adopt": (
        "rollback-console/adoption/v1",
        {"deployment": "@", "model": "model", "alias": "alias", "from": "from_version", "to": "to_version",
         "reason": "reason"},
    ),
    "order": (
        "rollback-console/order/v1",
        {"deployment": "@", "execution": "execution", "order": "order", "reason": "reason"},
    ),
    "break-glass": ("rollback-console/break-glass/v1", {"reason": "reason"}),
    "snooze": ("rollback-console/snooze/v1", {"deployment": "@", "until": "until", "reason": "reason"}),
    "exclusion": (
        "rollback-console/exclusion/v1",
        {"event": "event", "id": "id", "start": "start", "end": "end", "deployments": "deployments",
         "reason": "reason"},
    ),
    "expected": (
        "rollback-console/expected/v1",
        {"event": "event", "id": "id", "until": "until", "deployments": "deployments", "reason": "reason"},
    ),
    "automatic": (
        "rollback-console/automatic/v1",
        {"deployment": "@", "event": "event", "path": "path", "to": "to_version", "due": "due", "reason": "words"},
    ),
    "claim": (
        "rollback-console/claim/v1",
        {"incident": "incident", "role": "role", "action": "action", "to": "to", "reason": "reason"},
    ),
    "judgement": (
        "rollback-console/judgement/v1",
        {name: name for name in (
            "subject", "root_cause", "right", "counts_as", "expected", "actual", "deviations", "margins", "gate",
            "lessons", "published", "supersedes",
        )},
    ),
    "follow-up": (
        "rollback-console/follow-up/v1",
        {name: name for name in ("event", "id", "incident", "what", "owner", "due", "reason")},
    ),
}  # fmt: skip
BY_BODY = (  # their statement is made from the body alone
    "order", "snooze", "exclusion", "expected", "automatic", "claim", "judgement", "follow-up",
)  # fmt: skip


def statement(kind: str, deployment: str, body: Mapping[str, Any], at: float) -> bytes:
    """What a person signs of an entry of a kind in `BY_BODY`, made at `at` (Unix seconds)."""
    schema, facts = STATEMENTS[kind]
    told = {name: _fact(body, field, deployment) for name, field in facts.items()}
    return canonical({"schema": schema, "at": round(at, 3), **told})


def _fact(body: Mapping[str, Any], field: str, deployment: str) -> Any:
    value = deployment if field == "@" else body.get(field)
    return round(value, 3) if isinstance(value, float) else value


class People:
    """Checks the people's signatures of one walk. `roster`: whose keys are whose, from outside; without it, `parse`
    reads the rosters that the journal recorded as in force, each from its entry on (None: it cannot be told)."""

    def __init__(self, roster: Keys | None = None, parse: Callable[[bytes], Keys | None] | None = None) -> None:
        self._keys = roster
        self._parse = parse if roster is None else None
        self._recorded: str | None = None  # the digest of the roster in force that is not parsed yet
        self.checked = 0

    def problems(self, row: Row, body: Any, blobs: Blobs) -> Iterator[str]:
        """What is wrong with the person's signature of a sound entry, if it has one."""
        if not isinstance(body, dict):
            return
        if row.kind == "policy" and body.get("what") == "roster":
            self._recorded = str(body.get("digest"))
        person = body.get("person")
        if not isinstance(person, dict):
            return
        self.checked += 1
        if self._parse is not None and self._recorded is not None:  # read once somebody's key is asked for
            data, self._recorded = blobs(self._recorded), None
            self._keys = self._parse(data) if data is not None else None
        blob = yield from self._signature(person)
        yield from _agrees(row, body, person)
        if blob is not None and self._keys is not None:
            yield from self._whose(blob, str(person.get("operator")), row.at // SECOND)

    def _whose(self, blob: bytes, operator: str, at: int) -> Iterator[str]:
        """Did the roster give the operator this key, at that time (whole Unix seconds, as `ssh-keygen` compares)."""
        keys = self._keys.get(operator, {}) if self._keys is not None else {}
        which = f"it is signed with the key {sshsig.fingerprint(blob)}, which the roster"
        if blob not in keys:
            yield f"{which} does not give to {operator}"
        elif (until := keys[blob]) is not None and at > until:
            yield f"{which} no longer gave to {operator} then (valid_until)"

    @staticmethod
    def _signature(person: Mapping[str, Any]) -> Generator[str, None, bytes | None]:
        said = str(person.get("statement"))
        try:
            blob = sshsig.verify(said.encode(), NAMESPACE, str(person.get("signature")))
        except (sshsig.BadSignature, UnicodeEncodeError) as error:
            yield f"the signature of {person.get('operator')} does not hold: {error}"
            return None
        if hashlib.sha256(said.encode()).hexdigest() != person.get("signed"):
            yield "the digest of what a person signed is not that of the statement"
        if sshsig.fingerprint(blob) != person.get("fingerprint"):
            yield f"it is signed with the key {sshsig.fingerprint(blob)}, and names another"
        return blob


def _agrees(row: Row, body: Mapping[str, Any], person: Mapping[str, Any]) -> Iterator[str]:
    """Does the entry say what was signed."""
    if row.operator and row.operator != person.get("operator"):
        yield f"it was signed by {person.get('operator')}, and names {row.operator}"
    if row.kind not in STATEMENTS:
        return  # a newer kind's statement: who signed it is checked, what it says cannot be
    try:
        said = json.loads(str(person.get("statement")))
        if not isinstance(said, dict):
            raise ValueError("it is no object")
    except ValueError as error:
        yield f"what was signed is no statement ({error})"
        return
    schema, facts = STATEMENTS[row.kind]
    if said.get("schema") != schema:
        yield f"what was signed is a {said.get('schema')}, not a {schema}"
        return
    for name, field in facts.items():
        if said.get(name) != _fact(body, field, row.deployment):
            yield f"its {field if field != '@' else 'deployment'} is not what {person.get('operator')} signed"
    if bool(said.get("planned")) != bool(body.get("planned")):  # said only where it is: older statements have none
        yield f"whether it was planned is not what {person.get('operator')} signed"
    stands_in = body.get("stands_in")
    if isinstance(stands_in, dict) and any(said.get(name) != stands_in.get(name) for name in ("chain", "seq", "hash")):
        yield f"the journal that it stands in for is not the one that {person.get('operator')} signed"
