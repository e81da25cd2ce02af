"""What the kinds of file share: the strict base model, and the types of names, texts, addresses and links."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError

from rollback_console.model.text import plain
from rollback_console.model.value import dataclass
from rollback_console.policy.quantities import refusal


class Words(BaseModel):
    """Base of everything that people write: unknown keys are errors, and nothing changes after reading."""

    # Built when first used: of three kinds of files a command often reads one, and parts are built within their whole.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


@dataclass(frozen=True, slots=True)
class Complaint:
    """One thing wrong somewhere below the value that is being validated. `offset` is a character of a text, or -1."""

    loc: tuple[int | str, ...]
    message: str
    remedy: str = ""
    offset: int = -1


def several(complaints: Iterable[Complaint]) -> PydanticCustomError:
    """Several complaints as one error; `problems.problems_of` takes them apart again."""
    found = list(complaints)
    return PydanticCustomError("several", "{message}", {"message": found[0].message, "complaints": found})


def later(what: str, instead: str) -> PydanticCustomError:
    """What another release brings: it is understood, refused, and what to use now is said."""
    return refusal(f"{what} is not there yet", instead)


def _no_controls(text: str) -> str:
    """A label, a title or a path with an escape sequence in it is never meant."""
    if any(ord(char) < 32 or 127 <= ord(char) < 160 for char in text.replace("\n", "").replace("\t", "")):
        raise refusal("holds control characters", "Take the escape sequences out")
    return text


def named(pattern: str, what: str) -> Any:
    """A validator of names with words of its own, and the pattern for editors."""
    compiled = re.compile(pattern)

    def check(text: str) -> str:
        if not compiled.fullmatch(text):
            raise refusal(f"{plain(repr(text), 60)} is not a name here", what)
        return text

    return AfterValidator(check)


Text = Annotated[str, StringConstraints(min_length=1, max_length=1_000), AfterValidator(_no_controls)]
Prose = Annotated[str, StringConstraints(min_length=1, max_length=4_000), AfterValidator(_no_controls)]  # paragraphs

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
Name = Annotated[
    str,
    Field(json_schema_extra={"pattern": f"^{_NAME}$"}),
    named(_NAME, "Letters, digits, `.`, `_` and `-`, at most 100, beginning with a letter or digit"),
]
LabelName = Annotated[str, named(r"[A-Za-z_][A-Za-z0-9_]*", "Prometheus' label names are letters, digits and `_`")]


def _link(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise refusal(f"{plain(text, 60)} is not a link", "Begin it with https://")
    return text


Link = Annotated[Text, AfterValidator(_link)]


def _address(text: str) -> str:
    """A server's base URL without a slash at its end. A password in it is refused without being repeated."""
    if "@" in text:
        raise refusal("holds a user or a password in clear",
                      "Take it out, use `auth: {kind: basic, username: …, password: {env: NAME}}`")  # fmt: skip
    try:
        parts = urlsplit(text)
        right = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        right = False
    if not right:
        raise refusal("is not an address", "Write it as http://prometheus:9090")
    if parts.query or parts.fragment:
        raise refusal("has a query or a fragment", "Give the base address alone")
    return text.rstrip("/")


Address = Annotated[Text, AfterValidator(_address)]


def _version_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


VersionText = Annotated[
    Text,
    BeforeValidator(_version_text),
    WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1}, {"type": "integer"}]}),
]
