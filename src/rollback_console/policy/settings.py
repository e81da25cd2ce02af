"""Where the servers are, how to reach them, and which files belong together. No secret ever stands here in clear."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, StrictBool, Tag, field_validator, model_validator

from rollback_console.model.judgement import CAUSES, GATES
from rollback_console.policy.quantities import Duration, Size, Span, Timeout, refusal
from rollback_console.policy.words import Address, Complaint, Name, Text, Words, named, several

SCHEMA = "rollback-console/settings/v1"

_SECRET_HEADER = re.compile(r"authorization|cookie|token|secret|password|api[-_]?key|credential", re.IGNORECASE)
_OWN_HEADERS = frozenset(
    {"host", "content-length", "content-type", "transfer-encoding", "connection", "accept-encoding"}
)


def _keyring(text: str) -> str:
    if not re.fullmatch(r"[^/\s]+/[^/\s]+", text):
        raise refusal("does not name an entry of the keyring", 'Write `keyring: "service/name"`')
    return text


def _variable(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text):
        raise refusal("does not name an environment variable", "Write its name alone, as in `env: PROMETHEUS_TOKEN`")
    return text


class SecretRef(Words):
    """Where a secret is kept: exactly one of the OS keyring, an environment variable, or a file."""

    keyring: Annotated[str, AfterValidator(_keyring)] | None = None
    env: Annotated[str, AfterValidator(_variable)] | None = None
    file: Text | None = None

    @model_validator(mode="before")
    @classmethod
    def _no_clear_text(cls, raw: Any) -> Any:
        """A secret in clear is refused without being repeated."""
        if isinstance(raw, str):
            variable = re.fullmatch(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)\}?", raw)
            remedy = f"Write `{{env: {variable[1]}}}`" if variable else (
                'Write where it is kept: `{keyring: "service/name"}`, `{env: NAME}` or `{file: PATH}`')  # fmt: skip
            raise refusal("a secret stands here in clear", remedy)
        return raw

    @model_validator(mode="after")
    def _one(self) -> SecretRef:
        given = [name for name in ("keyring", "env", "file") if getattr(self, name) is not None]
        if len(given) != 1:
            raise refusal("names no place" if not given else f"names {' and '.join(given)}",
                          "Write exactly one of `keyring:`, `env:`, `file:`")  # fmt: skip
        return self


class Auth(Words):
    """How a server knows us."""

    kind: Literal["none", "bearer", "basic"] = "none"
    token: SecretRef | None = None
    username: Text | None = None
    password: SecretRef | None = None

    @model_validator(mode="after")
    def _fits(self) -> Auth:
        wanted = {"none": (), "bearer": ("token",), "basic": ("username", "password")}[self.kind]
        found = []
        for key in ("token", "username", "password"):
            given = getattr(self, key) is not None
            if key in wanted and not given:
                found.append(Complaint((), f"{self.kind} needs {key}", f"Write `{key}:`"))
            elif given and key not in wanted:
                found.append(
                    Complaint((key,), f"does not go with `kind: {self.kind}`", "Take it out, or change the kind")
                )
        if found:
            raise several(found)
        return self


class Tls(Words):
    """Whose certificates are trusted, beside the system's. Checking cannot be switched off."""

    ca_file: Text | None = None


def _header_value(raw: str) -> str:
    if any(ord(char) < 32 or ord(char) > 126 for char in raw):
        raise refusal("a header holds printable ASCII only", "Take the other characters out")
    return raw


# A tag a branch, so that a wrong value is one problem and not one for each branch.
HeaderValue = Annotated[
    Annotated[str, AfterValidator(_header_value), Tag("text")] | Annotated[SecretRef, Tag("secret")],
    Discriminator(lambda value: "secret" if isinstance(value, (dict, SecretRef)) else "text"),
]


class Server(Words):
    """What every server has: an address, how it knows us, headers of its own, certificates, a time limit."""

    url: Address
    auth: Auth = Auth()
    headers: dict[str, HeaderValue] = Field(default_factory=dict)
    timeout: Timeout = 10.0
    tls: Tls = Tls()
    max_body: Size = 32_000_000

    @field_validator("headers", mode="before")
    @classmethod
    def _no_secrets(cls, headers: Any) -> Any:
        """Secrets in headers are named like any other secret; `Authorization` is what `auth` is for."""
        if not isinstance(headers, dict):
            return headers
        found = []
        for name, value in headers.items():
            if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", str(name)):
                found.append(Complaint((name,), "is not a header's name", "Letters, digits and `-`"))
            elif str(name).lower() in _OWN_HEADERS:
                found.append(Complaint((name,), "is a header that the console sets itself", "Take it out"))
            elif str(name).lower() in ("authorization", "proxy-authorization"):
                found.append(Complaint((name,), "is set by `auth`", "Write `auth: {kind: bearer, token: {env: NAME}}`"))
            elif _SECRET_HEADER.search(str(name)) and not isinstance(value, dict):
                remedy = 'Write where it is kept: `{keyring: "service/name"}` or `{env: NAME}`'
                found.append(Complaint((name,), "a secret stands here in clear", remedy))
        if found:
            raise several(found)
        return headers

    @property
    def carries_a_secret(self) -> bool:
        return self.auth.kind != "none" or any(not isinstance(value, str) for value in self.headers.values())


class PrometheusServer(Server):
    """Prometheus, Thanos, Mimir or VictoriaMetrics. `step` is the scrape interval: the finest that history has."""

    step: Span = 15.0
    max_in_flight: Annotated[int, Field(ge=1, le=64, strict=True)] = 4


class RegistryServer(Server):
    """The model registry."""

    kind: Literal["mlflow"]


def _verifier_key(text: str) -> str:
    """A C2SP verifier key, `name+hash+base64` of an Ed25519 key: its hash shows a slip of the pen."""
    name, _, rest = text.partition("+")
    given, _, encoded = rest.partition("+")
    try:
        material = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        material = b""
    if not name or any(char.isspace() for char in name) or len(material) != 33 or material[:1] != b"\x01":
        raise refusal("is not a hub's key", "Copy the whole line that `rollback-console hub join` printed")
    if hashlib.sha256(name.encode() + b"\n" + material).hexdigest()[:8] != given:
        raise refusal("does not fit its own check digits: a character was changed",
                      "Copy the whole line that `rollback-console hub join` printed")  # fmt: skip
    return text


class HubServer(Words):
    """The upstream that keeps everyone's entries. `key` is pinned: what another key signed is not believed.
    `share`: one console asks Prometheus for all that have the same policies."""

    url: Address
    key: Annotated[Text, AfterValidator(_verifier_key)]
    token: SecretRef
    timeout: Timeout = 10.0
    tls: Tls = Tls()
    share: StrictBool = True

    @property
    def carries_a_secret(self) -> bool:
        return True


class QueryBudget(Words):
    """How much one console may ask of a Prometheus that may be sick."""

    queries_per_minute: Annotated[int, Field(ge=1, le=100_000, strict=True)] = 240


def _evaluate_every(seconds: float) -> float:
    if seconds > 3_600:
        raise refusal("evaluations more than an hour apart watch nothing", "Write `15s` or `1m`")
    return seconds


def _checkpoint_every(seconds: float) -> float:
    if seconds < 60:
        raise refusal("a silence is noted after a minute at the earliest", "Write `15m`")
    return seconds


_WORD = r"[A-Za-z0-9][A-Za-z0-9 _-]{0,58}[A-Za-z0-9]"
JudgedBy = Annotated[str, named(_WORD, "A few plain words, as in `consent withdrawn`: letters, digits, spaces and `-`")]


def _once(words: tuple[str, ...], taken: tuple[str, ...] = ()) -> None:
    """Raises for a word that stands twice, or that every team has: they would be counted apart."""
    first = {_folded(word): "it is one of those that every team has" for word in taken}
    found = []
    for index, word in enumerate(words):
        if said := first.get(_folded(word)):
            found.append(Complaint((index,), f"{word}: {said}", "Take it out"))
        first.setdefault(_folded(word), "it stands twice")
    if found:
        raise several(found)


def _folded(word: str) -> str:
    return " ".join(word.replace("-", " ").replace("_", " ").casefold().split())


class Settings(Words):
    """A settings file. Paths are relative to it; `policies` takes patterns such as `policies/*.yaml`."""

    schema_: Literal["rollback-console/settings/v1"] = Field(alias="schema")
    prometheus: PrometheusServer
    registry: RegistryServer | None = None
    hub: HubServer | None = None
    evaluate_every: Annotated[Span, AfterValidator(_evaluate_every)] = 15.0
    delay: Duration = 5.0
    lookback: Span = 86_400.0
    rotate_at: Annotated[Size, Field(ge=1_000_000)] | None = None
    checkpoint_every: Annotated[Span, AfterValidator(_checkpoint_every)] = 900.0
    budget: QueryBudget = QueryBudget()
    policies: Annotated[tuple[Text, ...], Field(min_length=1)]
    roster: Text | None = None
    journal: Text | None = None
    runbooks: tuple[Text, ...] = ()
    operator: Name | None = None
    theme: Literal["dark", "light", "mono", "auto"] = "auto"
    band: dict[Name, Annotated[Text, Field(max_length=40)]] = Field(default_factory=dict)
    causes: Annotated[tuple[JudgedBy, ...], Field(max_length=50)] = ()
    gates: Annotated[tuple[JudgedBy, ...], Field(min_length=1, max_length=50)] = GATES
    templates: Text | None = None

    @field_validator("causes")
    @classmethod
    def _own_causes(cls, causes: tuple[str, ...]) -> tuple[str, ...]:
        _once(causes, CAUSES)
        return causes

    @field_validator("gates")
    @classmethod
    def _each_gate_once(cls, gates: tuple[str, ...]) -> tuple[str, ...]:
        _once(gates)
        return gates
