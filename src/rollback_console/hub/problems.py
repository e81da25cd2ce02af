"""What the hub answers when it does not do what was asked: RFC 9457 problem+json, with a `code` for programs."""

from __future__ import annotations

from typing import Any


class Problem(Exception):
    """`code` is for programs, `title` and `detail` for people; `more` are further members of the document."""

    def __init__(
        self, status: int, code: str, title: str, detail: str = "", *, retry_after: int | None = None, **more: Any
    ) -> None:
        super().__init__(f"{status} {code}: {title}")
        self.status = status
        self.code = code
        self.title = title
        self.detail = detail
        self.more = more
        self.headers = {"Retry-After": str(retry_after)} if retry_after is not None else {}

    def document(self) -> dict[str, Any]:
        detail = {"detail": self.detail} if self.detail else {}
        return {
            "type": "about:blank",
            "status": self.status,
            "title": self.title,
            **detail,
            "code": self.code,
            **self.more,
        }


def unauthorized() -> Problem:
    return Problem(401, "unknown-token", "this token is not known here", "enrol this device: `hub enrol` on the server")


def busy(detail: str = "") -> Problem:
    return Problem(503, "busy", "the hub cannot answer now", detail, retry_after=2)


def rolled_back(detail: str) -> Problem:
    return Problem(503, "rolled-back", "this hub's database is older than what it has signed", detail, retry_after=60)
