"""One plain sentence a kind, safe whatever stands in it."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from journal_tools import SAMPLES, full_journal

from rollback_console.journal import timeline
from rollback_console.journal.chain import canonical
from rollback_console.journal.entry import Entry
from rollback_console.journal.kinds import KINDS, Body, Note
from rollback_console.journal.store import Journal

EXPECTED = {
    "genesis": "the rehearsal journal 001122334455 begins, made by rollback-console",
    "session": "console (pid 41 on laptop, rollback-console 0.1) opened the journal",
    "policy": "policy ranking version 7 is in force",
    "tick": "evaluated 12 deployments: 1 not healthy (production/checkout-ranker)",
    "transition": "healthy → pending: conversion 2.91 % is 8.4 % below 3.18 %",
    "incident": "incident i-3f2a opened, 1 deployment, release: v8 serves since 13:50",
    "pointer": "checkout-ranker@champion moved from v8 to nothing, by somebody else than this console",
    "backend": "prometheus is failing: no answer within 5 s",
    "clock": "the wall clock jumped back by 1h: times before and after do not compare",
    "request": "asked to execute production/checkout-ranker v7 as x-17",
    "refusal": "refused execute: rollback needs the role oncall; ada or grace could",
    "intent": "x-17: about to set (attempt 2): champion from 8 to 7",
    "outcome": "x-17: set done: the alias is at 7",
    "execution": "x-17 ended: not confirmed: too few visits by 15:20",
    "adopt": "adopted a rollback done by hand: checkout-ranker@champion from v8 to v7, moved at 1970-01-01 00:00:01",
    "walk": "runbook model-version-rollback: walk w-2 started for incident i-3f2a",
    "step": "step 2 “Check the gate” skipped: no gate here",
    "note": "note: é [/prod] ·[31m 😂 =HYPERLINK(1)",
    "automatic": "automatic rollback to v7 by version announced for 2025-11-20 08:43:33 UTC: v8 did it",
    "snooze": "snoozed until 2025-11-20 09:12:33 UTC: known",
    "claim": "offered command of incident i-3f2a to bo",
    "drill": "drill bad release with seed 7 failed",
    "exclusion": "excluded bl-1 from baselines, 2025-11-20 07:34:33 UTC to 2025-11-20 08:42:33 UTC, production",
    "expected": "expected until 2025-11-20 09:22:33 UTC (ch-1), the whole fleet: index rebuild",
    "checkpoint": "nothing was written for 15m after entry 24: 60 evaluations of 12 deployments",
    "segment": "file 2 of the chain goes on after 000000000001-000000000025.db, which ends with entry 25",
    "retention": "dropped 3 samples older than 2025-11-20 08:42:33 UTC, 504000 bytes",
    "break-glass": "BREAK-GLASS, not signed by a person: this journal stands in for the journal 001122334455",
    "merge": "took in the emergency journal ffeeddccbbaa, 1 entry: the disk has space again",
    "order": "ordered to abort x-17, not signed by a person: the wrong target",
    "judgement": "judged i-3f2a: root cause performance degradation, the decision was right, published at https://wiki",
    "follow-up": "follow-up f-1 of i-3f2a, ada until 2026-12-24: calibrate",
    "message": "internal message decision copied: v8 goes back to v7",
    "tag": "tagged checkout-ranker v8 in the registry: rollback.root_cause = too few rows",
    "found": "found an unfinished execution: x-17 has an intent without an outcome",
}


def _entry(kind: str, body: bytes, deployment: str = "", operator: str = "") -> Entry:
    return Entry("c", 7, 1.0, 1.0, kind, deployment, operator, body, "", "h", b"")


def test_every_kind_has_its_sentence_with_its_values(tmp_path: Path) -> None:
    assert set(EXPECTED) == set(KINDS) == {body.kind for body in SAMPLES} | {"genesis"}
    with Journal.open_read_only(full_journal(tmp_path / "j.db")) as journal:
        for entry in journal.entries():
            line = timeline.item(entry)
            assert line.text.startswith(EXPECTED[entry.kind]), line.text
            assert (line.seq, line.at, line.kind, line.hash) == (entry.seq, entry.at, entry.kind, entry.hash)


def test_an_unknown_kind_and_a_newer_form_say_so() -> None:
    assert timeline.sentence(_entry("telepathy", b"{}")).startswith("an entry of the unknown kind telepathy")
    assert timeline.sentence(_entry("note", b'{"mood":"calm"}')).startswith("a newer form of note")
    assert "journal show 7" in timeline.sentence(_entry("note", b"not json"))


def test_a_time_beyond_the_calendar_is_a_number_not_a_crash() -> None:
    assert timeline.clock_text(1e18) == "1000000000000000000000000000 UTC"


@given(st.text(max_size=60), st.sampled_from(SAMPLES), st.text(max_size=20))
@settings(max_examples=80)
def test_no_raw_character_comes_through(hostile: str, sample: Body, name: str) -> None:
    fields = {
        key: hostile if (field := type(sample).model_fields[key]).annotation is str and not field.metadata else value
        for key, value in sample.model_dump().items()
    }
    body = type(sample).model_validate(fields)
    line = timeline.item(_entry(body.kind, canonical(body.model_dump()), name, hostile))
    for text in (line.text, line.deployment, line.operator, line.kind):
        assert "\n" not in text
        assert "\x1b" not in text
        assert text.isprintable(), ascii(text)


def test_ten_thousand_characters_are_one_bounded_line() -> None:
    assert len(timeline.sentence(_entry("note", canonical(Note(text="x" * 10_000).model_dump())))) <= 400
