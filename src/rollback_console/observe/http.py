"""What the two HTTP clients share: addresses, credentials, caps, and how a bad answer becomes one safe line.

No HTTP library is imported here: `session.py` (requests) and `mlflow.py` (httpx) bring their own.
"""

from __future__ import annotations

import base64
import email.utils
import math
import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import field

from rollback_console.errors import BackendError, BackendNonsense, BackendRefused, BackendUnreachable, InputError
from rollback_console.model.text import plain
from rollback_console.model.value import dataclass
from rollback_console.version import __version__

MAX_BODY = 32 * 1024 * 1024  # bytes of one answer, after decompression
CONNECT_S = 5.0  # a host that is there answers SYN and TLS within this, even from another continent
RETRY_STATUS = frozenset({429, 502, 503, 504})

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class Transient(BackendUnreachable):
    """A failure that one more try may cure. `retry_after_s` is what the server asked for, if it did."""

    def __init__(self, message: str, next_step: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message, next_step)
        self.retry_after_s = retry_after_s


class TooLarge(BackendNonsense):
    """An answer over the cap: fewer points a request may cure it."""


class WrongCredentials(BackendRefused):
    """401 or 403: the backend is there, but it will not talk to us."""


@dataclass(frozen=True, slots=True)
class Auth:
    """Credentials, already resolved. `kind` is ``bearer`` (token) or ``basic`` (username, password)."""

    kind: str
    token: str = field(default="", repr=False)
    username: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Server:
    """Who is spoken to, for messages: `name` as settings call it, `url` without its last slash, `where` to show."""

    name: str  # prometheus | registry
    url: str
    where: str
    loopback: bool


def server(name: str, url: str) -> Server:
    """An address checked. Raises InputError for anything but http(s)://host[:port][/path]."""
    remedy = f"set {name}.url to http://host:port or https://host/path"
    try:
        parts = urllib.parse.urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise InputError(f"{name}: {plain(url, 120)} is not an address", remedy) from error
    if parts.scheme not in ("http", "https") or not host:
        raise InputError(f"{name}: {plain(url, 120)} is not an http(s) address", remedy)
    if parts.username is not None or parts.password is not None:
        raise InputError(f"{name}: credentials do not belong in the url", f"put them under {name}.auth")
    if parts.query or parts.fragment or any(ord(char) <= 32 or ord(char) == 127 for char in url):
        raise InputError(f"{name}: the url has a query, a fragment or a space in it", remedy)
    loopback = host == "localhost" or host == "::1" or host.startswith("127.")
    where = plain(f"{host}:{port}" if port else host, 120)
    return Server(name, url.rstrip("/"), where, loopback)


def request_headers(to: Server, auth: Auth | None, headers: Mapping[str, str]) -> dict[str, str]:
    """All headers of every request. Raises InputError for a header that HTTP cannot carry; never shows a value."""
    out = {"User-Agent": f"rollback-console/{__version__}", "Accept": "application/json"}
    # On one machine compressing costs more than it saves; over SSH-grade links it is what makes a poll bearable.
    out["Accept-Encoding"] = "identity" if to.loopback else "gzip"
    for name, value in headers.items():
        _check_header(to, name, value)
        out[name] = value
    if auth is not None and auth.kind == "bearer":
        out["Authorization"] = f"Bearer {auth.token}"
    elif auth is not None and auth.kind == "basic":
        pair = f"{auth.username}:{auth.password}".encode()
        out["Authorization"] = f"Basic {base64.b64encode(pair).decode('ascii')}"
    elif auth is not None:
        raise InputError(f"{to.name}: auth kind {plain(auth.kind, 40)} is not known", "use bearer or basic")
    if "Authorization" in out:
        _check_header(to, "Authorization", out["Authorization"])
    return out


def _check_header(to: Server, name: str, value: str) -> None:
    if not _HEADER_NAME.fullmatch(name):
        raise InputError(f"{to.name}: {plain(name, 60)} is not a header's name", f"correct {to.name}.headers")
    if not all(" " <= char <= "~" or char == "\t" for char in value) or value != value.strip():
        raise InputError(
            f"{to.name}: the value of header {name} has characters that HTTP does not carry",
            "a secret with a line break or a blank at its end? store it again without",
        )


def status_error(to: Server, status: int, headers: Mapping[str, str], message: str, now: float) -> BackendError:
    """An answer that is not 2xx as the error it is. `message` is the backend's own, "" where it gave none;
    `now` (Unix seconds) dates a Retry-After."""
    said = plain(message, 300)
    if 300 <= status < 400:
        target = plain(headers.get("location", "nowhere"), 200)
        return BackendNonsense(
            f"{to.name} at {to.where} redirects to {target} instead of answering",
            f"redirects are not followed: set {to.name}.url to the address that answers, or give it credentials",
        )
    if status in (401, 403):
        word = "wants credentials" if status == 401 else "does not allow this"
        return WrongCredentials(
            f"{to.name} at {to.where} {word} ({status}{': ' + said if said else ''})",
            f"check {to.name}.auth and {to.name}.headers in the settings",
        )
    if status in RETRY_STATUS:
        return Transient(
            f"{to.name} at {to.where} is not available ({status}{': ' + said if said else ''})",
            "it is tried again by itself",
            retry_after(headers.get("retry-after"), now),
        )
    if status >= 500:
        return BackendUnreachable(
            f"{to.name} at {to.where} failed inside ({status}{': ' + said if said else ''})",
            f"see the log of {to.name}",
        )
    if said:
        return BackendRefused(f"{to.name} refuses: {said}", "correct the query or the name")
    return BackendRefused(f"{to.name} at {to.where} refuses with {status}", f"is {to.name}.url the right address?")


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds a Retry-After header asks for (a number or an HTTP date), or None where it cannot be read."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        date = http_date(value)
        seconds = date - now if date is not None else math.nan
    return max(0.0, seconds) if math.isfinite(seconds) else None


def http_date(value: str | None) -> float | None:
    """An HTTP date as Unix seconds, or None where it cannot be read."""
    try:
        return email.utils.parsedate_to_datetime(value).timestamp() if value else None
    except (ValueError, TypeError, OverflowError):
        return None


def no_answer(to: Server, seconds: float) -> BackendUnreachable:
    return BackendUnreachable(
        f"{to.name} at {to.where} did not answer within {seconds:g} s", f"is it overloaded? see {to.name}.timeout"
    )


def no_connection(to: Server, why: object) -> Transient:
    return Transient(
        f"{to.name} at {to.where} cannot be reached ({plain(why, 160)})", f"check {to.name}.url and the network"
    )


def broke_off(to: Server, received: int) -> BackendNonsense:
    return BackendNonsense(
        f"{to.name} at {to.where} broke off in the middle of its answer ({received} bytes)",
        f"see the log of {to.name}, or of what stands in between",
    )


def too_large(to: Server, cap: int) -> TooLarge:
    return TooLarge(
        f"{to.name} at {to.where} answers with more than {cap / 1048576:.3g} MiB",
        f"ask for less (group the query), or raise {to.name}.max_body",
    )


def not_json(to: Server, body: bytes) -> BackendNonsense:
    start = body[:200].lstrip().lower()
    what = "HTML" if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")) else "no whole JSON document"
    return BackendNonsense(
        f"{to.name} at {to.where} answers with {what}",
        f"is {to.name}.url the address of the server itself, or of a login page or proxy?",
    )


def wrong_shape(to: Server, what: str) -> BackendNonsense:
    return BackendNonsense(
        f"{to.name} at {to.where} answers in a shape nobody asked for: {plain(what, 160)}",
        f"is {to.name}.url the address of a server that speaks this API?",
    )
