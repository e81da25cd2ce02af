"""A real socket server that answers in every wrong way. Each `fault` is one way; requests are counted and kept."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping

VECTOR = json.dumps(
    {"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}, "value": [1, "1"]}]}}
).encode()

FAULTS = (
    "hang",
    "trickle_headers",
    "trickle_body",
    "error_500",
    "error_503",
    "half_json",
    "broken_off",
    "huge",
    "huge_chunked",
    "bomb",
    "html",
    "html_502",
    "redirect",
    "reset",
    "closed",
    "not_http",
    "empty",
    "wrong_shape",
    "list",
    "deep",
)


def response(status: str, body: bytes, *headers: str, length: int | None = None) -> bytes:
    """An HTTP/1.1 response that closes its connection."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", "Connection: close"]
    return "\r\n".join([*lines, *headers]).encode() + b"\r\n\r\n" + body


class FaultyServer:
    """Listens on 127.0.0.1:`port`. `fault` may be changed at any time; `script` (a list) is used up first, one entry a
    request. "ok" answers `ok_body`. `answer` stands for anything else: bytes to send as they are."""

    def __init__(self, fault: str = "ok") -> None:
        self.fault = fault
        self.script: list[str] = []
        self.ok_body = VECTOR
        self.ok_headers: tuple[str, ...] = ("Content-Type: application/json",)
        self.answer: Callable[[str, Mapping[str, str], bytes], bytes] | None = None
        self.requests: list[tuple[str, dict[str, str], bytes]] = []  # request line, headers (lower case), body
        self.running = 0  # requests whose connection is still in use
        self.most_at_work = 0  # requests that waited for their answer at once
        self._at_work = 0
        self.delay_s = 0.0
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        self._ended.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            request = self._read(connection)
            if request is None:
                return
            with self._lock:
                self.requests.append(request)
                fault = self.script.pop(0) if self.script else self.fault
                self.running += 1
                self._at_work += 1
                self.most_at_work = max(self.most_at_work, self._at_work)
            try:
                if self.delay_s:
                    self._ended.wait(self.delay_s)
                with self._lock:  # before the answer goes out: who has read it may ask again before this thread runs
                    self._at_work -= 1
                self._answer(connection, fault, request)
            finally:
                with self._lock:
                    self.running -= 1

    def _read(self, connection: socket.socket) -> tuple[str, dict[str, str], bytes] | None:
        data = b""
        while b"\r\n\r\n" not in data:
            more = connection.recv(65_536)
            if not more:
                return None
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        while len(body) < int(headers.get("content-length", "0")):
            body += connection.recv(65_536)
        return first, headers, body

    def _answer(self, connection: socket.socket, fault: str, request: tuple[str, dict[str, str], bytes]) -> None:
        if fault == "ok":
            if self.answer is not None:
                connection.sendall(self.answer(*request))
            else:
                connection.sendall(response("200 OK", self.ok_body, *self.ok_headers))
            return
        getattr(self, f"_do_{fault}")(connection)

    def _do_hang(self, connection: socket.socket) -> None:
        connection.settimeout(60)
        connection.recv(1)  # until the other side gives up

    def _trickle(self, connection: socket.socket, data: bytes) -> None:
        for byte in data:
            connection.sendall(bytes([byte]))
            if self._ended.wait(0.05):
                return

    def _do_trickle_headers(self, connection: socket.socket) -> None:
        self._trickle(connection, b"HTTP/1.1 200 OK\r\nX-Slow: " + b"a" * 2_000)

    def _do_trickle_body(self, connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\nConnection: close\r\n\r\n")
        self._trickle(connection, b" " * 2_000)

    def _do_error_500(self, connection: socket.socket) -> None:
        connection.sendall(response("500 Internal Server Error", b"panic: runtime error\x1b[31m"))

    def _do_error_503(self, connection: socket.socket) -> None:
        connection.sendall(response("503 Service Unavailable", b"", "Retry-After: 0"))

    def _do_half_json(self, connection: socket.socket) -> None:
        connection.sendall(response("200 OK", VECTOR[: len(VECTOR) // 2]))

    def _do_broken_off(self, connection: socket.socket) -> None:
        connection.sendall(response("200 OK", VECTOR[:20], length=len(VECTOR)))

    def _do_huge(self, connection: socket.socket) -> None:
        self._pour(connection, b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", 100 * 1024 * 1024)

    def _do_huge_chunked(self, connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        block = b"10000\r\n" + b" " * 65_536 + b"\r\n"
        for _ in range(1_600):
            connection.sendall(block)

    def _do_bomb(self, connection: socket.socket) -> None:
        body = gzip.compress(b" " * (100 * 1024 * 1024), compresslevel=1)
        connection.sendall(response("200 OK", body, "Content-Encoding: gzip"))

    def _pour(self, connection: socket.socket, head: bytes, size: int) -> None:
        connection.sendall(head)
        block = b" " * 65_536
        for _ in range(size // len(block)):
            connection.sendall(block)

    def _do_html(self, connection: socket.socket) -> None:
        connection.sendall(response("200 OK", b"<!DOCTYPE html><title>Sign in</title>", "Content-Type: text/html"))

    def _do_html_502(self, connection: socket.socket) -> None:
        connection.sendall(response("502 Bad Gateway", b"<html>nginx</html>", "Content-Type: text/html"))

    def _do_redirect(self, connection: socket.socket) -> None:
        connection.sendall(response("302 Found", b"", "Location: https://sso.invalid/login?\x1b[2J"))

    def _do_reset(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _do_closed(self, connection: socket.socket) -> None:
        connection.shutdown(socket.SHUT_RDWR)

    def _do_not_http(self, connection: socket.socket) -> None:
        connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

    def _do_empty(self, connection: socket.socket) -> None:
        connection.sendall(response("200 OK", b""))

    def _do_wrong_shape(self, connection: socket.socket) -> None:
        connection.sendall(
            response("200 OK", b'{"status":"success","data":{"resultType":"vector","result":[{"a":1}]}}')
        )

    def _do_list(self, connection: socket.socket) -> None:
        connection.sendall(response("200 OK", b"[1, 2, 3]"))

    def _do_deep(self, connection: socket.socket) -> None:
        connection.sendall(response("200 OK", b"[" * 200_000))


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Until `condition()` holds. Raises TimeoutError: tests of threads need to wait for their end."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("it did not come true")
        time.sleep(0.01)
