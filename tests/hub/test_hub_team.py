"""What consoles share through a real hub: blobs, snapshots, leases, claims, presence, messages, timeline, stream."""

from __future__ import annotations

import base64
import hashlib
import json
import queue
import re
import secrets
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from hub.hub_tools import Console, chain_of, next_row, tables_at
from servers.hub import Hub

pytestmark = pytest.mark.real


@pytest.fixture
def other(hub: Hub) -> Iterator[Console]:
    one = Console(hub.url, hub.code("desk"))
    yield one
    one.close()


class Following:
    """A stream being read by a thread; `until(kind)` gives events up to the first of that kind."""

    def __init__(self, console: Console, url: str = "", **headers: str) -> None:
        self.seen: queue.Queue[tuple[str, str, dict[str, Any]]] = queue.Queue()
        self.ended = threading.Event()
        self._client = httpx.Client(base_url=url or console.http.base_url, headers=console.http.headers, timeout=30)
        threading.Thread(target=self._read, args=(headers,), daemon=True).start()

    def _read(self, headers: dict[str, str]) -> None:
        params = {"after": headers.pop("after")} if "after" in headers else None
        try:
            with self._client.stream("GET", "/v1/stream", params=params, headers=headers) as answer:
                event: dict[str, str] = {}
                for line in answer.iter_lines():
                    if line:
                        name, _, value = line.partition(": ")
                        event[name] = value
                    elif "event" in event:
                        self.seen.put((event["event"], event.get("id", ""), json.loads(event["data"])))
                        event = {}
        except httpx.HTTPError:
            pass
        self.ended.set()

    def until(self, kind: str, seconds: float = 10.0) -> list[tuple[str, str, dict[str, Any]]]:
        found = []
        end = time.monotonic() + seconds
        while not found or found[-1][0] != kind:
            found.append(self.seen.get(timeout=max(0.01, end - time.monotonic())))
        return found

    def close(self) -> None:
        self._client.close()


def test_a_console_sees_anothers_actions_within_a_second(console: Console, other: Console) -> None:
    following = Following(other)
    following.until("ready")
    rows = chain_of(console.device, 2)
    began = time.monotonic()
    console.send(rows)
    entries = following.until("entry") + following.until("entry")
    assert time.monotonic() - began < 1.0
    assert [each[2]["hash"] for each in entries] == [row.hash for row in rows]
    console.http.post("/v1/presence", json={"operator": "ana", "where": "incident inc-1"})
    assert following.until("presence")[-1][2]["where"] == "incident inc-1"
    console.http.put("/v1/incidents/inc-9/claim", json={"role": "commander", "operator": "ana", "action": "take"})
    (_, position, claimed) = following.until("claim")[-1]
    assert (claimed["incident"], claimed["operator"], int(position)) == ("inc-9", "ana", claimed["position"])
    following.close()


def test_whoever_comes_back_with_a_position_misses_nothing(console: Console, other: Console) -> None:
    rows = chain_of(console.device, 500)
    console.send(rows[:200])
    first = Following(other)
    position = first.until("ready")[-1][2]["position"]
    first.close()
    message = {"topic": "t", "id": secrets.token_hex(8), "body": "aGk=", "signature": "s", "key": "k"}
    console.send(rows[200:450])
    console.http.post("/v1/messages", json=message)
    console.send(rows[450:])
    again = Following(other, **{"Last-Event-ID": str(position)})
    told = again.until("ready")[:-1]
    assert [each[0] for each in told] == ["entry"] * 250 + ["message"] + ["entry"] * 50
    assert [int(each[1]) for each in told] == list(range(position + 1, position + 302))
    assert [each[2]["seq"] for each in told if each[0] == "entry"] == list(range(201, 501))
    again.close()
    from_later = Following(other, after="10000000")  # a hub that was restored: the position is of another time
    assert [each[0] for each in from_later.until("ready")] == ["reset", "ready"]
    from_later.close()
    assert other.http.get("/v1/stream", headers={"Last-Event-ID": "x"}).status_code == 422


def test_a_revoked_device_is_shut_out(hub: Hub, console: Console) -> None:
    from rollback_console.hub.database import Database, sqlite_url
    from rollback_console.hub.devices import revoke

    database = Database(sqlite_url(hub.folder / "hub.db"))
    revoke(database, console.id)
    database.close()
    answer = console.http.get("/v1/chains")
    assert (answer.status_code, answer.json()["code"]) == (403, "revoked")
    again = console.enrol(hub.code())
    assert (again.status_code, again.json()["code"]) == (403, "revoked")


def test_a_code_enrols_one_device_once(hub: Hub, console: Console) -> None:
    code = hub.code("spare")
    first = console.enrol(code, name="")
    assert (first.status_code, first.json()["name"], first.json()["device"]) == (201, "spare", console.id)
    assert console.enrol(code).json()["code"] == "bad-code"
    assert console.http.get("/v1/chains").status_code == 401  # a new token ends the old one
    asked = {"key": console.device.public_openssh(), "code": hub.code(), "proof": base64.b64encode(bytes(64)).decode()}
    assert console.http.post("/v1/devices", json=asked).json()["code"] == "bad-proof"
    assert console.http.post("/v1/devices", json={**asked, "key": "ssh-rsa AAAA"}).json()["code"] == "bad-key"
    with tables_at(hub.folder / "hub.db") as database:
        everything = "".join(database.iterdump())
    assert console.token not in everything
    assert code not in everything
    expired = hub.code()
    with tables_at(hub.folder / "hub.db") as database:
        database.execute("UPDATE codes SET expires_at = 1")
    assert console.enrol(expired).json()["code"] == "bad-code"


def test_blobs_are_what_their_digest_says(console: Console, other: Console) -> None:
    data = b"samples" * 1000
    digest, absent = hashlib.sha256(data).hexdigest(), "0" * 64
    assert console.http.post("/v1/blobs/missing", json={"digests": [digest, absent]}).json()["missing"] == [
        digest,
        absent,
    ]
    for each in (console, other):
        assert each.http.put(f"/v1/blobs/{digest}", content=data).json() == {"digest": digest, "size": len(data)}
    assert console.http.post("/v1/blobs/missing", json={"digests": [digest, absent]}).json()["missing"] == [absent]
    assert other.http.get(f"/v1/blobs/{digest}").content == data
    assert other.http.get(f"/v1/blobs/{absent}").status_code == 404
    assert console.http.put(f"/v1/blobs/{absent}", content=data).json()["code"] == "bad-digest"
    assert console.http.put(f"/v1/blobs/{digest}", content=bytes(8 * 1024 * 1024 + 1)).status_code == 413


def test_one_console_polls_for_all_and_a_slow_one_is_fenced(console: Console, other: Console) -> None:
    took = console.http.post("/v1/leases/poll/prod", json={"ttl_s": 30, "holder": "ana@laptop"}).json()
    refused = other.http.post("/v1/leases/poll/prod", json={"ttl_s": 30, "holder": "bo@desk"})
    assert (refused.status_code, refused.json()["holder"]) == (409, "ana@laptop")
    headers = {"Lease-Token": str(took["token"])}
    etag = console.http.put("/v1/environments/prod/snapshot", content=b"fleet 1", headers=headers).json()["etag"]
    seen = other.http.get("/v1/environments/prod/snapshot")
    assert (seen.content, seen.headers["etag"], seen.headers["lease-token"]) == (b"fleet 1", etag, str(took["token"]))
    same = other.http.get("/v1/environments/prod/snapshot", headers={"If-None-Match": etag})
    assert (same.status_code, same.content) == (304, b"")
    assert other.http.put("/v1/environments/prod/snapshot", content=b"mine", headers=headers).status_code == 409
    assert console.http.delete("/v1/leases/poll/prod", params={"token": took["token"]}).status_code == 204
    next_one = other.http.post("/v1/leases/poll/prod", json={"ttl_s": 30, "holder": "bo@desk"}).json()
    assert next_one["token"] > took["token"]
    late = console.http.put("/v1/environments/prod/snapshot", content=b"late", headers=headers)
    assert (late.status_code, late.json()["code"]) == (409, "held")
    assert other.http.get("/v1/environments/prod/snapshot").content == b"fleet 1"
    assert other.http.get("/v1/environments/dev/snapshot").status_code == 404
    assert console.http.put("/v1/environments/prod/snapshot", content=b"x").status_code == 422  # no token at all


def test_a_lease_ends_by_itself_and_its_token_never_comes_again(console: Console, other: Console) -> None:
    name = "/v1/leases/deployment/prod/checkout-ranker"
    first = console.http.post(name, json={"ttl_s": 0.2, "holder": "ana"}).json()
    end = time.monotonic() + 10
    while console.http.get(name).status_code == 200 and time.monotonic() < end:
        pass
    ended = console.http.put(name, json={"token": first["token"], "ttl_s": 30})
    assert (ended.status_code, ended.json()["code"]) == (409, "lease-ended")
    second = other.http.post(name, json={"ttl_s": 30, "holder": "bo"}).json()
    assert second["token"] == first["token"] + 1
    assert other.http.put(name, json={"token": second["token"], "ttl_s": 60}).json()["token"] == second["token"]
    assert console.http.put(name, json={"token": first["token"]}).json()["code"] == "held"
    assert console.http.delete(name, params={"token": first["token"]}).status_code == 409
    assert console.http.get(name).json()["holder"] == "bo"
    for bad in ({"ttl_s": 0, "holder": "x"}, {"ttl_s": 1e9, "holder": "x"}, {"ttl_s": 5}):
        assert console.http.post("/v1/leases/x", json=bad).status_code == 422


def test_of_many_who_ask_at_once_one_gets_the_lease(console: Console) -> None:
    answers: list[int] = []

    def ask() -> None:
        with httpx.Client(base_url=console.http.base_url, headers=console.http.headers, timeout=30) as http:
            answers.append(http.post("/v1/leases/deployment/prod/x", json={"ttl_s": 30, "holder": "h"}).status_code)

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [200] + [409] * 11


def test_an_incident_has_one_commander_until_the_other_takes_it(console: Console) -> None:
    def act(operator: str, action: str, role: str = "commander", **more: str) -> httpx.Response:
        asked = {"role": role, "operator": operator, "action": action, **more}
        return console.http.put("/v1/incidents/inc-1/claim", json=asked)

    assert act("ana", "take").json()["commander"] == "ana"
    assert act("bo", "take", "working").json()["working"] == ["bo"]
    refused = act("bo", "take")
    assert (refused.status_code, refused.json()["code"], refused.json()["holder"]) == (409, "held", "ana")
    assert act("bo", "handover", to="cy").json()["code"] == "not-commander"
    assert act("ana", "handover").status_code == 422
    offered = act("ana", "handover", to="bo").json()
    assert (offered["commander"], offered["offered_to"]) == ("ana", "bo")
    taken = act("bo", "take").json()
    assert (taken["commander"], taken["offered_to"]) == ("bo", None)
    assert act("cy", "take", reason="bo's laptop is gone").json()["commander"] == "cy"
    assert act("cy", "release").json()["commander"] is None
    assert act("bo", "release", "working").json()["working"] == []
    (listed,) = [each for each in console.http.get("/v1/incidents").json()["incidents"] if each["id"] == "inc-1"]
    assert listed["commander"] is None


def test_presence_is_what_was_heard_within_a_minute(hub: Hub, console: Console, other: Console) -> None:
    console.http.post("/v1/presence", json={"operator": "ana", "where": "fleet"})
    console.http.post("/v1/presence", json={"operator": "ana", "where": "incident 7"})
    other.http.post("/v1/presence", json={"operator": "bo", "where": "fleet"})
    mine = (console.id, other.id)
    found = [each for each in other.http.get("/v1/presence").json()["present"] if each["device"] in mine]
    assert [(each["operator"], each["where"]) for each in found] == [("ana", "incident 7"), ("bo", "fleet")]
    with tables_at(hub.folder / "hub.db") as database:
        database.execute("UPDATE presence SET at = at - 61000000000 WHERE device = ?", (console.id,))
    found = [each for each in other.http.get("/v1/presence").json()["present"] if each["device"] in mine]
    assert [each["operator"] for each in found] == ["bo"]


def test_messages_are_carried_as_they_are_and_once(console: Console, other: Console) -> None:
    topic = secrets.token_hex(4)
    body = base64.b64encode(b"\x00\xffplan").decode()
    asked = {"topic": topic, "id": f"m-{topic}", "body": body, "signature": "SSHSIG", "key": "ssh-ed25519 A"}
    first = console.http.post("/v1/messages", json=asked).json()
    assert other.http.post("/v1/messages", json=asked).json() == first  # again: nothing new, and still the first's
    another = console.http.post("/v1/messages", json={**asked, "signature": "other"})
    assert (another.status_code, another.json()["code"]) == (409, "another-message")
    console.http.post("/v1/messages", json={**asked, "id": f"n-{topic}"})
    found = other.http.get("/v1/messages", params={"topic": topic}).json()
    assert [each["id"] for each in found["messages"]] == [f"m-{topic}", f"n-{topic}"]
    assert {key: found["messages"][0][key] for key in asked} == asked
    later = other.http.get("/v1/messages", params={"topic": topic, "after": first["position"]}).json()
    assert [each["id"] for each in later["messages"]] == [f"n-{topic}"]
    assert console.http.post("/v1/messages", json={**asked, "id": "z", "body": "!"}).status_code == 422
    assert console.http.post("/v1/messages", json={**asked, "id": "z", "body": "A"}).status_code == 422


def test_the_timeline_is_filtered_and_paged(console: Console) -> None:
    (first,) = chain_of(console.device, 1)
    tag = secrets.token_hex(4)
    bodies = [
        ("incident", f"prod/{tag}", "", {"event": "opened", "id": f"inc-{tag}", "v": 1}),
        ("note", f"prod/{tag}", f"ana-{tag}", {"text": "a", "v": 1}),
        ("walk", "", f"bo-{tag}", {"incident": f"inc-{tag}", "v": 1}),
        ("note", f"dev/{tag}", f"ana-{tag}", {"text": "b", "v": 1}),
    ]
    rows = [first]
    for kind, deployment, operator, body in bodies:
        rows.append(next_row(console.device, first.chain, rows[-1], body, kind, deployment, operator))
    console.send(rows)

    def asked(**params: object) -> list[int]:
        found = console.http.get("/v1/entries", params={"limit": 1000, **params}).json()  # type: ignore[dict-item]
        return [each["seq"] for each in found["entries"] if each["chain"] == first.chain]

    assert asked(incident=f"inc-{tag}") == [2, 4]
    assert asked(deployment=f"prod/{tag}") == [2, 3]
    assert asked(operator=f"ana-{tag}", kind="note") == [3, 5]
    assert asked(deployment=f"prod/{tag}", since=rows[2].at / 1e9) == [3]
    page = console.http.get("/v1/entries", params={"operator": f"ana-{tag}", "limit": 1}).json()
    more = console.http.get("/v1/entries", params={"operator": f"ana-{tag}", "after": page["next"]}).json()
    assert [each["seq"] for each in page["entries"] + more["entries"]] == [3, 5]
    assert console.http.get("/v1/entries", params={"since": "yesterday"}).json()["code"] == "bad-request"


def test_what_nobody_may_without_a_token(hub: Hub) -> None:
    with httpx.Client(base_url=hub.url) as http:
        document = http.get("/openapi.json").json()
        for name in set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document))):
            assert name in document["components"]["schemas"]
        assert {"from", "prev", "entries"} <= set(document["components"]["schemas"]["EntriesIn"]["properties"])
        free = {"/v1/about", "/v1/devices", "/healthz", "/readyz", "/metrics"}
        asked = 0
        for path, methods in document["paths"].items():
            for method in methods:
                if path in free:
                    continue
                answer = http.request(method, path.replace("{digest}", "0" * 64))
                assert (answer.status_code, answer.json()["code"]) == (401, "unknown-token"), path
                assert http.request(method, path, headers={"Authorization": "Bearer rbh_x"}).status_code == 401
                asked += 1
        assert asked >= 25
        assert "rollback_console_hub_requests_total" in http.get("/metrics").text
        assert (http.get("/healthz").text, http.get("/readyz").text) == ("ok\n", "ready\n")
