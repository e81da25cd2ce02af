"""Secrets and e-mail addresses never reach a signed body, whatever the kind; what must stay exact stays exact."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from journal_tools import SAMPLES, new_journal

from rollback_console.journal.body import rules_of
from rollback_console.journal.create import canonical_body
from rollback_console.journal.kinds import KINDS, BackendChanged, Body, Note, Refusal
from rollback_console.journal.redact import E_MAIL, SECRET, Fields, Rule, free, identifier, secret_bearing

DOC = Path(__file__).resolve().parents[2] / "docs" / "journal-format.md"
_TOKEN = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", min_size=36, max_size=36)
_UPPER = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=16, max_size=16)

# (the text, the secret in it): what can be nothing else, and so goes from every field that is not exact.
SURE: dict[str, Any] = {
    "bearer": _TOKEN.map(lambda t: (f"Authorization: Bearer {t}", t)),
    "bare bearer": _TOKEN.map(lambda t: (f"sent bearer {t}", t)),
    "basic": _TOKEN.map(lambda t: (f"'authorization': 'Basic {t}=='", t)),
    "password in a URL": _TOKEN.map(lambda t: (f"https://grafana:{t}@prometheus.internal:9090/api", t)),
    "AWS": _UPPER.map(lambda t: (f"AKIA{t}", t)),
    "GitHub": _TOKEN.map(lambda t: (f"ghp_{t}", t)),
    "GitLab": _TOKEN.map(lambda t: (f"glpat-{t}", t)),
    "Slack": _TOKEN.map(lambda t: (f"xoxb-{t}", t)),
    "JWT": st.tuples(_TOKEN, _TOKEN).map(lambda t: (f"eyJ{t[0]}.{t[1]}.{t[0]}", t[1])),
    "PEM": _TOKEN.map(lambda t: (f"-----BEGIN OPENSSH PRIVATE KEY-----\n{t}\n-----END OPENSSH PRIVATE KEY-----", t)),
    "half a PEM": _TOKEN.map(lambda t: (f"-----BEGIN RSA PRIVATE KEY-----\n{t}\n", t)),
}
# What is said to be a secret, or is a person's address: goes from free text and from what quotes other systems.
NAMED: dict[str, Any] = {
    "password=": _TOKEN.map(lambda t: (f"password={t}", t)),
    "quoted": _TOKEN.map(lambda t: (f'"db_password": "{t} and more"', t)),
    "AWS secret": _TOKEN.map(lambda t: (f"AWS_SECRET_ACCESS_KEY={t}abcd", t)),
    "api key": _TOKEN.map(lambda t: (f"https://api.example.com/v1?api_key={t}&x=1", t)),
    "cookie": _TOKEN.map(lambda t: (f"Cookie: {t}", t)),
    "e-mail": _TOKEN.map(lambda t: (f"write to {t[:20]}@example.com please", t[:20] + "@")),
}
# Words around a secret. No quotes and none of the signs that end or join a value: those change where it ends.
_AROUND = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",), exclude_characters="\"'@=:/?#"), max_size=30)


def _kinds_of_text(body: Body, rules: Fields, wanted: Collection[Rule]) -> list[str]:
    return [name for name, rule in rules.items() if rule in wanted and getattr(body, name) is not None]


def _with(body: Body, names: list[str], text: str) -> Body:
    """The body with `text` in each of these fields, in the shape that they have."""
    changed: dict[str, Any] = {}
    for name in names:
        value = getattr(body, name)
        if isinstance(value, list):
            changed[name] = [{"sentence": text}] if name == "recommendations" else [text]
        else:
            changed[name] = {"note": text, "deep": [{text: text}]} if isinstance(value, dict) else text
    return body.model_copy(update=changed)


def _holds(document: Any, rules: Fields, secret: str, wanted: Collection[Rule]) -> bool:
    return any(secret in json.dumps(document[name], ensure_ascii=False)
               for name, rule in rules.items() if rule in wanted)  # fmt: skip


_TALK = (Rule.FREE, Rule.QUOTING)


@pytest.mark.parametrize("kind", sorted(KINDS))
@settings(max_examples=6)
@given(data=st.data(), before=_AROUND, after=_AROUND)
def test_no_secret_reaches_the_signed_body_of_any_kind(kind: str, data: st.DataObject, before: str, after: str) -> None:
    sample = next((body for body in SAMPLES if body.kind == kind), None)
    if sample is None:
        sample = KINDS[kind](chain="c", program="p", device="ssh-ed25519 AAAA")
    rules = rules_of(type(sample))
    for wanted, sorts in (((*_TALK, Rule.IDENTIFIER), SURE), (_TALK, NAMED)):
        sort = data.draw(st.sampled_from(sorted(sorts)))
        text, secret = data.draw(sorts[sort])
        names = _kinds_of_text(sample, rules, wanted)
        body = _with(sample, names, f"{before} {text} {after}")
        written = json.loads(canonical_body(body))
        assert not _holds(written, rules, secret, wanted), (sort, written)
        untouched = [name for name, rule in rules.items() if name not in names and isinstance(rule, Rule)]
        assert all(written[name] == json.loads(body.model_dump_json())[name] for name in untouched)


@settings(max_examples=60)
@given(st.one_of(*SURE.values(), *NAMED.values()), _AROUND)
def test_applying_it_again_changes_nothing(secret: tuple[str, str], around: str) -> None:
    for rule in (identifier, free, secret_bearing):
        once = rule(f"{around} {secret[0]} {around}")
        assert rule(once) == once


@pytest.mark.parametrize(
    "text",
    [
        "conversion 2.91 % is 8.4 % below 3.18 %",
        'sum(rate(http_requests_total{job="api",code=~"5.."}[5m])) by (pod)',
        "v8 serves since 13:50; champion of checkout-ranker@champion moved",
        "prometheus at http://10.0.0.7:9090/api/v1/query does not answer",  # machines' addresses stay
        "commit 3f2a9c0d11e73f2a9c0d11e73f2a9c0d11e73f2a, SHA256:uNiVztksCsDhcc0u9e8BrqJzWrYk3Xq7z6OaB3",
        "the bearer of this note; basic understanding; the keyring holds no key of default",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPcqvFdCfSrnGfPGVzJ1TLIWXhlZDI1NTE5AAAA ana@bastion",
        "ask ana (lead) or bo (commander); models:/checkout-ranker@champion",
    ],
)
def test_what_is_no_secret_stays_as_it_is(text: str) -> None:
    assert identifier(text) == free(text) == secret_bearing(text) == text


def test_operators_names_that_are_addresses_stay(tmp_path: Path) -> None:
    assert free("ask ana@example.com, not eve@example.com", frozenset({"ana@example.com"})) == (
        f"ask ana@example.com, not {E_MAIL}"
    )
    with new_journal(tmp_path / "j.db") as journal:
        journal.operators = frozenset({"bo@example.com"})
        entry = journal.append(
            Note(text="ana@example.com, bo@example.com, eve@example.com"), operator="ana@example.com"
        )
        assert json.loads(entry.body)["text"] == f"ana@example.com, bo@example.com, {E_MAIL}"


def test_what_quotes_another_system_loses_queries_too(tmp_path: Path) -> None:
    detail = "GET https://u:p@prom.internal/api/v1/query?query=up&sig=abc: 403"
    with new_journal(tmp_path / "j.db") as journal:
        journal.append(BackendChanged(name="prometheus", state="failing", detail=detail))
        journal.append(Refusal(act="execute", rule="no", who_could="ana@example.com (lead)"))
        seen = [json.loads(entry.body) for entry in journal.entries(after=1)]
    assert seen[0]["detail"] == f"GET https://{SECRET}@prom.internal/api/v1/query?{SECRET} 403"
    assert seen[1]["who_could"] == "ana@example.com (lead)"  # names of operators are what this field is for


def test_long_hostile_text_is_done_in_time() -> None:
    """Every expression is linear: a text made to make it search again and again is done like any other."""
    for piece in ("password", "a:// ", "://", "eyJ", "a@", "a.", "token = ", "-----BEGIN ", "x_", "a://b"):
        secret_bearing(piece * 5_000)


def test_every_field_of_every_kind_declares_its_rule() -> None:
    for model in KINDS.values():
        assert set(rules_of(model)) == set(model.model_fields)

    class Forgot(Body):
        kind = "forgot"
        text: str

    with pytest.raises(TypeError, match=r"Forgot\.text declares no rule"):
        rules_of(Forgot)


def _table() -> str:
    lines = ["| kind | " + " | ".join(rule for rule in _SHOWN) + " |", "|---|" + "---|" * len(_SHOWN)]
    for kind, model in KINDS.items():
        fields = rules_of(model)
        columns = [", ".join(f"`{name}`" for name, of in fields.items() if of is rule) for rule in _SHOWN]
        if any(columns):
            lines.append(f"| `{kind}` | " + " | ".join(columns) + " |")
    return "\n".join(lines) + "\n"


_SHOWN = (Rule.FREE, Rule.QUOTING, Rule.IDENTIFIER, Rule.EXACT)


def test_the_documents_table_is_the_codes() -> None:
    text = DOC.read_text(encoding="utf-8")
    found = re.search(r"(<!-- redaction:.*?-->\n)(.*?)(<!-- end of redaction -->)", text, re.DOTALL)
    assert found is not None
    if os.environ.get("UPDATE_DOCS"):
        DOC.write_text(text[: found.start(2)] + _table() + text[found.start(3) :], encoding="utf-8")
        return
    assert found[2] == _table(), "run this test once with UPDATE_DOCS=1"
