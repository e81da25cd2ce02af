"""The hub as a journal's sync sees it (`Upstream`), and the client that speaks to one over HTTP (`HubClient`).

Blocking, for threads of their own; httpx is imported by the first request. No redirect is followed, no body is read
beyond its cap, and the token goes nowhere but to the hub's own address.
Whatever a hub answers is read as data that may be wrong: shapes are checked here, proofs by `journal.sync`.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

from rollback_console.errors import BackendError, BackendNonsense, BackendRefused
from rollback_console.journal.chain import Row, malformed
from rollback_console.journal.receipt import Receipt
from rollback_console.model.text import plain
from rollback_console.model.value import dataclass
from rollback_console.observe.http import (
    CONNECT_S,
    RETRY_STATUS,
    Auth,
    broke_off,
    no_answer,
    no_connection,
    not_json,
    request_headers,
    server,
    status_error,
    too_large,
    wrong_shape,
)

if TYPE_CHECKING:
    import httpx

MAX_ENTRIES = 1_000  # of one request, as the hub takes them
MAX_BATCH = 3_500_000  # bytes; the hub takes 4 MB
MAX_ANSWER = 16 * 1024 * 1024


class HubRefused(BackendRefused):
    """The hub's own no: its problem document's `code` (`gap`, `fork`, `bad-entry`, ...), status and members."""

    def __init__(self, message: str, next_step: str, status: int, code: str, document: Mapping[str, Any]) -> None:
        super().__init__(message, next_step)
        self.status = status
        self.code = code
        self.document = dict(document)


@dataclass(frozen=True, slots=True)
class About:
    """Who answers there: `key` is its verifier key (C2SP vkey), `time` RFC 3339 as it said it."""

    name: str
    version: str
    key: str
    time: str


@dataclass(frozen=True, slots=True)
class Head:
    """How far the hub holds a chain: (0, "") where it does not."""

    seq: int
    hash: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """What came of a batch. `receipt` is as the hub gave it: not yet checked."""

    accepted: int
    duplicates: int
    head: Head
    receipt: Receipt


class Upstream(Protocol):
    """What a sync asks of a hub. All raise `BackendError`; HubRefused for a no with a code."""

    def about(self) -> About: ...

    def head(self, chain: str) -> Head: ...

    def put_entries(self, chain: str, rows: Sequence[Row]) -> Accepted:
        """A contiguous range, 1 to MAX_ENTRIES entries; sending it again changes nothing."""
        ...

    def rows(self, chain: str, after: int, limit: int) -> tuple[Row, ...]:
        """Entries of a chain as the hub holds them, seq > after."""
        ...

    def checkpoint(self) -> str:
        """The log's newest signed note, not yet checked."""
        ...

    def consistency(self, first: int, second: int) -> tuple[bytes, ...]: ...

    def show(self, note: str) -> None:
        """Show the hub a checkpoint of its own: one that its log does not begin with tells it that it was rolled back,
        and it signs nothing more until its keeper has looked."""
        ...

    def missing(self, digests: Sequence[str]) -> frozenset[str]:
        """Which of these blobs the hub does not hold."""
        ...

    def put_blob(self, digest: str, data: bytes) -> None: ...

    def close(self) -> None: ...


class HubClient:
    """An `Upstream` over HTTP(S). One thread at a time.

    `timeout_s` bounds one request from start to end; `token` "" is for what needs none (`about`, `enrol`). Raises
    InputError for an address that cannot be.
    """

    def __init__(
        self,
        url: str,
        token: str = "",
        *,
        timeout_s: float = 10.0,
        ca_file: str | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._server = server("hub", url)
        self._headers = request_headers(self._server, None, {})
        self._headers["Accept-Encoding"] = "identity"  # a cap on what arrives is then one on what it becomes
        auth = Auth("bearer", token=token) if token else None
        self._auth = {
            name: value for name, value in request_headers(self._server, auth, {}).items() if name == "Authorization"
        }
        self._timeout_s = timeout_s
        self._ca_file = ca_file
        self._transport = transport
        self._client: httpx.Client | None = None

    @property
    def where(self) -> str:
        """Host and port, to be shown."""
        return self._server.where

    # -- who it is

    def about(self) -> About:
        answer = self._json("GET", "/v1/about", known=False)  # whoever answers there may not be our hub: no token
        return About(*(_text(self, answer, name) for name in ("name", "version", "key", "time")))

    def enrol(self, key: str, name: str, code: str, proof: bytes) -> tuple[str, str]:
        """Make this device known by its one-time code: (device fingerprint, token)."""
        document = {"key": key, "name": name, "code": code, "proof": base64.b64encode(proof).decode()}
        answer = self._json("POST", "/v1/devices", document, known=False)
        return _text(self, answer, "device"), _text(self, answer, "token")

    # -- chains

    def head(self, chain: str) -> Head:
        try:
            answer = self._json("GET", f"/v1/chains/{quote(chain, safe='')}")
        except HubRefused as error:
            if error.status == 404 and error.code:  # the hub's own word: a proxy's 404 says nothing about chains
                return Head(0, "")
            raise
        return self._head(answer)

    def put_entries(self, chain: str, rows: Sequence[Row]) -> Accepted:
        document = {"from": rows[0].seq, "prev": rows[0].prev, "entries": [entry_document(row) for row in rows]}
        answer = self._json("POST", f"/v1/chains/{quote(chain, safe='')}/entries", document)
        return Accepted(
            _whole(self, answer, "accepted"), _whole(self, answer, "duplicates"), self._head(answer),
            self._receipt(answer.get("receipt")),
        )  # fmt: skip

    def rows(self, chain: str, after: int, limit: int) -> tuple[Row, ...]:
        path = f"/v1/chains/{quote(chain, safe='')}/entries?after={after}&limit={limit}"
        found = self._json("GET", path).get("entries")
        if not isinstance(found, list):
            raise wrong_shape(self._server, "entries without a list of them")
        return tuple(self._row(chain, each) for each in found)

    # -- the log

    def checkpoint(self) -> str:
        return self._bytes("GET", "/v1/log/checkpoint").decode("utf-8", "replace")

    def consistency(self, first: int, second: int) -> tuple[bytes, ...]:
        proof = self._json("GET", f"/v1/log/consistency?first={first}&second={second}").get("proof")
        try:
            if not isinstance(proof, list):
                raise TypeError
            return tuple(bytes.fromhex(step) for step in proof)
        except (TypeError, ValueError) as error:
            raise wrong_shape(self._server, "a proof that is no list of hashes") from error

    def show(self, note: str) -> None:
        self._bytes("POST", "/v1/log/witness", note.encode(), "text/plain")

    # -- blobs

    def missing(self, digests: Sequence[str]) -> frozenset[str]:
        found = self._json("POST", "/v1/blobs/missing", {"digests": list(digests)}).get("missing")
        if not isinstance(found, list):
            raise wrong_shape(self._server, "missing is not a list")
        return frozenset(digests) & frozenset(each for each in found if isinstance(each, str))

    def put_blob(self, digest: str, data: bytes) -> None:
        self._bytes("PUT", f"/v1/blobs/{digest}", data, "application/octet-stream")

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    # -- requests; `hubteam` asks with these too

    def json(self, method: str, path: str, document: object = None) -> dict[str, Any]:
        """One request of JSON, and its answer, an object ({} for an empty one)."""
        return self._json(method, path, document)

    def _json(self, method: str, path: str, document: object = None, known: bool = True) -> dict[str, Any]:
        content = json.dumps(document, separators=(",", ":")).encode() if document is not None else None
        body = self._bytes(method, path, content, "application/json", known)
        if not body:
            return {}
        try:
            loaded = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise not_json(self._server, body) from error
        if not isinstance(loaded, dict):
            raise wrong_shape(self._server, f"a {type(loaded).__name__} instead of an object")
        return loaded

    def _bytes(self, method: str, path: str, content: bytes | None = None, kind: str = "", known: bool = True) -> bytes:
        headers = {**({"Content-Type": kind} if content is not None else {}), **(self._auth if known else {})}
        return self._exchange(method, path, content, headers, MAX_ANSWER)[2]

    def exchange(
        self, method: str, path: str, content: bytes | None = None, headers: Mapping[str, str] | None = None, *,
        limit: int = MAX_ANSWER,
    ) -> tuple[int, Mapping[str, str], bytes]:  # fmt: skip
        """One request with headers of its own: (status, headers, body) of 2xx or 304, the body of at most `limit`."""
        return self._exchange(method, path, content, {**(headers or {}), **self._auth}, limit)

    def _exchange(
        self, method: str, path: str, content: bytes | None, headers: Mapping[str, str], limit: int
    ) -> tuple[int, Mapping[str, str], bytes]:
        """One request, one capped body, one deadline over all of it."""
        import httpx

        client = self._connected()
        received = bytearray()
        answering = False
        deadline = time.monotonic() + self._timeout_s
        try:
            with client.stream(method, self._server.url + path, content=content, headers=headers) as response:
                answering = True
                for chunk in response.iter_raw():
                    received += chunk
                    if len(received) > limit:
                        raise too_large(self._server, limit)
                    if time.monotonic() > deadline:
                        raise no_answer(self._server, self._timeout_s)
        except httpx.TimeoutException as error:
            raise no_answer(self._server, self._timeout_s) from error
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            if answering:
                raise broke_off(self._server, len(received)) from error
            raise no_connection(self._server, error or type(error).__name__) from error
        if not 200 <= response.status_code < 300 and response.status_code != 304:
            raise self._refusal(response.status_code, response.headers, bytes(received))
        return response.status_code, response.headers, bytes(received)

    def stream(self, path: str, last: str = "") -> Iterator[str]:
        """Lines of a stream that does not end (server-sent events). Raises BackendError where it breaks off, or stays
        silent for longer than the heartbeat that the hub promises."""
        import httpx

        headers = {"Accept": "text/event-stream", **self._auth, **({"Last-Event-ID": last} if last else {})}
        timeout = httpx.Timeout(self._timeout_s, read=3 * 15.0)
        try:
            with self._connected().stream("GET", self._server.url + path, headers=headers, timeout=timeout) as response:
                if response.status_code != 200:
                    raise self._refusal(response.status_code, response.headers, response.read()[:MAX_ANSWER])
                rest = ""
                for chunk in response.iter_text():
                    rest += chunk
                    *lines, rest = rest.split("\n")
                    yield from (line.removesuffix("\r") for line in lines)
                    if len(rest) > MAX_ANSWER:
                        raise too_large(self._server, MAX_ANSWER)
        except httpx.TimeoutException as error:
            raise no_answer(self._server, 45.0) from error
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise no_connection(self._server, error or type(error).__name__) from error
        raise no_connection(self._server, "the stream ended")

    def _refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> BackendError:
        document = _problem(body)
        title, detail = plain(str(document.get("title") or ""), 120), plain(str(document.get("detail") or ""), 300)
        said = ": ".join(part for part in (title, detail) if part)
        if status in (401, 403):
            word = "does not know this device's token" if status == 401 else "does not let this device in"
            return HubRefused(
                f"the hub at {self._server.where} {word}" + (f" ({said})" if said else ""),
                "enrol it again: `rollback-console hub join URL --code CODE`", status, str(document.get("code", "")),
                document,
            )  # fmt: skip
        code = str(document.get("code") or "")
        if code != "rolled-back" and (status in RETRY_STATUS or status >= 500 or 300 <= status < 400):
            return status_error(self._server, status, headers, said, time.time())
        return HubRefused(
            f"the hub at {self._server.where} refuses ({status}{': ' + said if said else ''})",
            "see `rollback-console journal status`", status, code, document,
        )  # fmt: skip

    def _connected(self) -> httpx.Client:
        if self._client is None:
            import ssl

            import httpx

            # certificates take 20 ms to load: only where there is TLS to speak
            verify: ssl.SSLContext | bool = self._server.url.startswith("https:")
            if self._ca_file:
                verify = ssl.create_default_context(cafile=self._ca_file)
            self._client = httpx.Client(
                headers=self._headers,
                timeout=httpx.Timeout(self._timeout_s, connect=min(CONNECT_S, self._timeout_s)),
                follow_redirects=False,
                verify=verify,
                transport=self._transport,
            )
        return self._client

    def _head(self, answer: Mapping[str, Any]) -> Head:
        head = answer.get("head")
        if not isinstance(head, dict):
            raise wrong_shape(self._server, "no head")
        seq, hash_ = head.get("seq"), head.get("hash")
        if type(seq) is not int or not isinstance(hash_, str):
            raise wrong_shape(self._server, "a head without its number and hash")
        return Head(seq, hash_)

    def _receipt(self, value: object) -> Receipt:
        try:
            return Receipt.from_json(value)
        except ValueError as error:
            raise wrong_shape(self._server, f"a receipt that is none: {error}") from error

    def _row(self, chain: str, each: object) -> Row:
        try:
            return row_of(chain, each)
        except (KeyError, TypeError, ValueError) as error:
            raise wrong_shape(self._server, "an entry without its fields") from error

    def wrong(self, what: str) -> BackendNonsense:
        """An answer in a shape nobody asked for, for those who ask with `json`."""
        return wrong_shape(self._server, what)


def entry_document(row: Row) -> dict[str, Any]:
    """An entry as it travels: the stored columns, nanoseconds as text, the signature in base64."""
    return {
        "seq": row.seq, "at": str(row.at), "mono": str(row.mono), "kind": row.kind, "deployment": row.deployment,
        "operator": row.operator, "body": row.body, "prev": row.prev, "hash": row.hash,
        "signature": base64.b64encode(row.signature).decode(),
    }  # fmt: skip


def row_of(chain: str, document: object) -> Row:
    """`entry_document` read back. Raises KeyError, TypeError or ValueError for what is none."""
    if not isinstance(document, dict):
        raise TypeError("an entry is an object")
    signature = base64.b64decode(document["signature"], validate=True)
    row = Row(
        chain, document["seq"], int(document["at"]), int(document["mono"]), document["kind"], document["deployment"],
        document["operator"], document["body"], document["prev"], document["hash"], signature,
    )  # fmt: skip
    if column := malformed(row):
        raise TypeError(f"an entry's {column} is of another type")
    return row


def batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Rows in lots that one request may hold: MAX_ENTRIES, and about MAX_BATCH bytes of JSON."""
    lot: list[Row] = []
    size = 0
    for row in rows:
        cost = 2 * len(row.body) + len(row.deployment) + len(row.operator) + 600
        if lot and (len(lot) >= MAX_ENTRIES or size + cost > MAX_BATCH):
            yield lot
            lot, size = [], 0
        lot.append(row)
        size += cost
    if lot:
        yield lot


def _problem(body: bytes) -> dict[str, Any]:
    """The members of an RFC 9457 problem document; {} for anything else."""
    try:
        loaded = json.loads(body[:100_000])
    except (ValueError, RecursionError):
        return {}
    return loaded if isinstance(loaded, dict) else {}


def _text(client: HubClient, answer: Mapping[str, Any], name: str) -> str:
    value = answer.get(name)
    if not isinstance(value, str) or not value or len(value) > 2_000:
        raise client.wrong(f"no {name}")
    return value


def _whole(client: HubClient, answer: Mapping[str, Any], name: str) -> int:
    value = answer.get(name)
    if type(value) is not int or value < 0:
        raise client.wrong(f"no {name}")
    return value
