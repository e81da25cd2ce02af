"""A reverse proxy that changes what a real hub answers: every lie here rests on a true answer."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

Lie = Callable[[str, str, dict[str, Any]], dict[str, Any] | None]  # (method, path, answer) -> another, or None


class Liar:
    """Passes everything on to `target`; `lie` may change a JSON answer. `tokens` is what it was trusted with."""

    def __init__(self, target: str) -> None:
        self.lie: Lie = lambda method, path, answer: None
        self.tokens: list[tuple[str, str]] = []
        self.delivered: list[tuple[str, str, bytes, dict[str, str]]] = []  # requests, to be delivered again
        self._http = httpx.Client(base_url=target, timeout=30)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def pass_on(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                keep = {name: value for name, value in self.headers.items()
                        if name.lower() in ("authorization", "content-type", "accept")}  # fmt: skip
                outer.tokens.append((self.path, self.headers.get("authorization", "")))
                outer.delivered.append((self.command, self.path, body, keep))
                answer = outer._http.request(self.command, self.path, content=body, headers=keep)
                data = answer.content
                if answer.headers.get("content-type", "").startswith("application/json"):
                    other = outer.lie(self.command, self.path, json.loads(data))
                    data = data if other is None else json.dumps(other).encode()
                self.send_response(answer.status_code)
                self.send_header("content-type", answer.headers.get("content-type", "text/plain"))
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = pass_on

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def again(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> httpx.Response:
        """Deliver a request that was delivered before, as a network may."""
        return self._http.request(method, path, content=body, headers=headers)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._http.close()
