"""What never reaches a signed body: secrets, and people's e-mail addresses. Applied before signing, by a rule a field.

An entry cannot be changed once it is signed, and it is copied to a hub and to whoever verifies it: what slips in stays.
So every field of every kind declares beside its type which rule it is under (`Rule`, in `Annotated`), and
`create.canonical_body` applies it to everything that is written. docs/journal-format.md holds the table.

Standard library alone, and one search where there is nothing to find: this is on the path of every append.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

SECRET = "[redacted]"  # noqa: S105 - what stands where one stood
E_MAIL = "[redacted e-mail]"


class Rule(StrEnum):
    """What may stand in a field, and what is done about the rest."""

    FREE = "free text"  # written by people: secrets and e-mail addresses go
    QUOTING = "secret-bearing"  # quotes other systems: as free text, and addresses lose user and query
    IDENTIFIER = "identifier"  # a name that other things are found by: unmistakable secrets alone go
    DIGEST = "digest"  # never changed
    NUMBER = "number"  # never changed
    WORD = "word"  # one of a closed set: never changed
    EXACT = "exact"  # recomputed from or signed by a person, cleaned before: never changed


# Unmistakable wherever they stand. Each keeps what tells a reader what stood there.
_KEYS = (
    r"\b(?:AKIA|ASIA|AROA|AIDA|AGPA|ANPA)[A-Z0-9]{16}\b"  # AWS access keys
    r"|\bgh[pousr]_[A-Za-z0-9]{20,255}"  # GitHub
    r"|\bgithub_pat_[A-Za-z0-9_]{20,255}"
    r"|\bglpat-[A-Za-z0-9_-]{20,255}"  # GitLab
    r"|\bxox[abeoprs]-[A-Za-z0-9-]{10,255}"  # Slack
    r"|\bAIza[A-Za-z0-9_-]{35}"  # Google
    r"|\b[sr]k_(?:live|test)_[A-Za-z0-9]{16,255}"  # Stripe
    r"|\bsk-[A-Za-z0-9_-]{20,255}"
    r"|\bdapi[0-9a-f]{32}"  # Databricks
    r"|\bhf_[A-Za-z0-9]{30,255}"
    r"|\bnpm_[A-Za-z0-9]{36}"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?"  # a JWT
)
_PEM = r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY-----|\Z)"
_USER_IN_URL = r"\b([A-Za-z][A-Za-z0-9+.-]{0,30}://)[^\s/?#\"'<>]{1,500}@"
_SCHEME = r"\b(bearer\s+)(?:[A-Za-z0-9._~+/-]{16,}=*|(?=\S{0,15}\d)[A-Za-z0-9._~+/-]{6,}=*)"
_HEADER = (
    r"\b((?:proxy-)?authorization[\"']?\s*[:=]\s*[\"']?)"
    r"(?:(?:basic|bearer|digest|negotiate|token|apikey)\s+)?(?!\[redacted)[^\s\"',;]+"
)
_NAMED = (
    r"([A-Za-z0-9_.-]{0,60}(?:password|passwd|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key"
    r"|secret[_-]?key|credentials?|session[_-]?id|cookie)[\"']?\s{0,3}[:=]\s{0,3})"
    r"(?!\[redacted)(?:\"[^\"]*\"|'[^']*'|[^\s,;&\"'})\]]+)"
)
_FLAGS = re.IGNORECASE | re.DOTALL
_SURE: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (re.compile(_PEM, re.DOTALL), SECRET),
    (re.compile(_USER_IN_URL), rf"\g<1>{SECRET}@"),
    (re.compile(_HEADER, _FLAGS), rf"\g<1>{SECRET}"),
    (re.compile(_SCHEME, _FLAGS), rf"\g<1>{SECRET}"),
    (re.compile(_KEYS), SECRET),
)
_ASSIGNED = re.compile(_NAMED, _FLAGS)
_QUERY = re.compile(r"\b([A-Za-z][A-Za-z0-9+.-]{0,30}://[^\s?#\"'<>]{0,500})\?(?!\[redacted)[^\s#\"'<>)]+")
_ADDRESS = re.compile(
    r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![A-Za-z0-9-])"
)
# One look decides for nearly every text that there is nothing to do: without any of these no pattern above matches.
_HINTS = (
    "://", "@", "key", "token", "pass", "pwd", "secret", "credential", "cookie", "session", "bearer", "authoriz",
    "akia", "asia", "aroa", "aida", "agpa", "anpa", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat", "glpat",
    "xox", "aiza", "sk_", "rk_", "sk-", "dapi", "hf_", "npm_", "eyj",
)  # fmt: skip


def _harmless(text: str) -> bool:
    low = text.lower()
    return not any(hint in low for hint in _HINTS)


def identifier(text: str) -> str:
    """`text` without what can be nothing but a secret: private keys, passwords in addresses, tokens of known form."""
    if _harmless(text):
        return text
    for pattern, instead in _SURE:
        text = pattern.sub(instead, text)
    return text


def free(text: str, keep: frozenset[str] = frozenset()) -> str:
    """`text` without secrets (also those that are only named as such: `password=…`) and without e-mail addresses, but
    for those in `keep` (operators' names). IP addresses stay: they name machines. Applying it again changes nothing."""
    if _harmless(text):
        return text
    text = _ASSIGNED.sub(rf"\g<1>{SECRET}", identifier(text))
    if "@" in text:
        text = _ADDRESS.sub(lambda found: found[0] if found[0] in keep else E_MAIL, text)
    return text


def secret_bearing(text: str, keep: frozenset[str] = frozenset()) -> str:
    """As `free`; and addresses keep neither user nor query: an error message quotes what was asked."""
    if _harmless(text):
        return text
    return _QUERY.sub(rf"\g<1>?{SECRET}", free(text, keep))


_UNTOUCHED = frozenset({Rule.DIGEST, Rule.NUMBER, Rule.WORD, Rule.EXACT})
Fields = Mapping[str, "Rule | Fields"]  # by a field's name; of a model in a field, its own fields


def applied(value: Any, rule: Rule, keep: frozenset[str] = frozenset()) -> Any:
    """`value` (JSON: text, lists, objects) with `rule` applied to every text in it, keys of objects included."""
    if rule in _UNTOUCHED:
        return value
    if isinstance(value, str):
        if rule is Rule.IDENTIFIER:
            return identifier(value)
        return free(value, keep) if rule is Rule.FREE else secret_bearing(value, keep)
    if isinstance(value, list | tuple):
        return [applied(item, rule, keep) for item in value]
    if isinstance(value, dict):
        return {applied(name, rule, keep): applied(item, rule, keep) for name, item in value.items()}
    return value


def clean(body: dict[str, Any], fields: Fields, keep: frozenset[str] = frozenset()) -> dict[str, Any]:
    """A body's document with each field's rule applied. A field that declares none is free text: it fails closed."""
    return {name: _field(value, fields.get(name, Rule.FREE), keep) for name, value in body.items()}


def _field(value: Any, rule: Rule | Fields, keep: frozenset[str]) -> Any:
    if isinstance(rule, Rule):
        return applied(value, rule, keep)
    if isinstance(value, list | tuple):
        return [_field(item, rule, keep) for item in value]
    return clean(value, rule, keep) if isinstance(value, dict) else value
