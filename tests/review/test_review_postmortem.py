"""The draft of a postmortem: all that the journal knows, nothing that it does not, and the same bytes every time."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from drilled import Played, seated, the_demo
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from rollback_console.cli.main import run
from rollback_console.journal.store import Journal
from rollback_console.model.judgement import Judgement
from rollback_console.model.message import Message
from rollback_console.review.case import Case, case_of
from rollback_console.review.markdown import link, table, text, verbatim
from rollback_console.review.postmortem import Checked, postmortem

OK = Checked(True, "verified: all of it")
HOSTILE = (
    "# not a heading\n\n- [ ] not a box\n| not | a cell |\n```\nnot code <script>alert(1)</script> ![x](http://evil) "
    "**bold** <http://evil.example> \x1b[31m \u202e &lt; 1. x ---"
)


@pytest.fixture(scope="module")
def drill() -> Played:
    return the_demo()


@pytest.fixture(scope="module")
def case(drill: Played) -> Case:
    with Journal.open_read_only(drill.path) as journal:
        return case_of(journal, "checkout-ranker")


def _section(document: str, title: str) -> str:
    return document.split(f"\n## {title}\n")[1].split("\n## ")[0]


def _tokens(document: str) -> list[Token]:
    return MarkdownIt("gfm-like", {"linkify": False}).parse(document)


def test_it_holds_what_the_journal_knows(case: Case) -> None:
    draft = postmortem(case, OK)
    assert draft.startswith(f"# Postmortem draft: {case.incident.id}\n\n> **REHEARSAL**")
    times = _section(draft, "Detection, decision, recovery")
    assert "| It was noticed (the trigger fired) | 2026-05-28 20:31:15 | 2m | entry " in times
    assert "Decision to completion took 8m15s; the 15-minute standard is met." in times
    assert "- oncall-1: 2 walk" in _section(draft, "Responders")
    versions = _section(draft, "Versions")
    assert "from v8 to v7 (ex-" in versions
    assert "degraded 18m45s after v8 began to serve in place of v7" in versions
    for decision in case.decisions:
        assert f"{decision.seq} `{decision.hash[:10]}`" in _section(draft, "Why: the decisions and what they rest on")
    plan = _section(draft, "Plan and stages")
    assert "- Stage serving: asks serving what it serves; gate: it must report v7 within 20m" in plan
    assert "| Verify that the signals recover | done |" in plan
    (asked,) = case.asked
    assert f"signed with `{asked.signed}`" in _section(draft, "Requests and approvals")
    assert asked.signed.startswith("SHA256:")
    timeline = _section(draft, "Timeline")
    for line in case.lines:
        assert f"| {line.seq} `{line.hash[:10]}` |" in timeline
    assert {"transition", "incident", "request", "outcome", "execution", "pointer", "walk", "step", "note"} == {
        line.kind for line in case.lines
    }
    assert "- dashboard: <https://grafana.example/d/model?var-model=checkout-ranker>" in _section(draft, "Data")


def test_its_cost_is_the_one_that_the_decisions_summed(case: Case, drill: Played) -> None:
    """From the memory of the last transition; and of what goes on, from every sample after it."""
    (cost,) = case.costs
    totals = {name: amount for name, amount, _ in cost.totals}
    with Journal.open_read_only(drill.path) as journal:
        (entry,) = (e for e in journal.entries(0, ("transition",)) if e.seq == cost.seq)
        upstream = case_of(journal, "home-feed")
    body = entry.parsed()
    assert body is not None
    assert totals["revenue"] == pytest.approx(body.memory_before["cost"]["lost"][0])  # type: ignore[attr-defined]
    assert not cost.at_least
    impact = _section(postmortem(case, OK), "Impact, and where its numbers come from")
    assert f"USD | up to 2026-05-28 20:41:45 | entry {cost.seq} |" in impact
    assert "Revenue a visit is 10.6 % below its baseline" in impact
    assert upstream.ended_at is None
    assert all(each.until == upstream.until and not each.at_least for each in upstream.costs), "it goes on to the end"
    later = next(e for e in upstream.costs if e.deployment.endswith("home-feed"))
    fired = next(d for d in upstream.decisions if d.deployment.endswith("home-feed") and d.after == "fired")
    assert later.until - fired.at > 1_500
    assert later.totals[0][1] > 2_408 * 10, "and not what it was when it fired"


def test_the_blanks_are_apart_and_shrink_with_what_was_judged(drill: Played, tmp_path: Path) -> None:
    async def judged() -> str:
        async with seated(drill, tmp_path / "j.db") as seat:
            acts = seat.acts
            incident = next(s.id for s in (await acts.docket()).subjects if s.rolled_back and s.kind == "incident")
            await acts.judge(
                Judgement(
                    incident, root_cause="performance degradation", right="right", lessons=("compare by segment",)
                )
            )
            await acts.follow_up(incident, "a canary by segment", "ana", "2026-12-24")
            await acts.told(Message(incident, "update", "external", "All is well.\n# again"), "copied")
            assert seat.journal is not None
            return postmortem(case_of(seat.journal, incident), OK)

    import asyncio

    with Journal.open_read_only(drill.path) as journal:
        before = postmortem(case_of(journal, "checkout-ranker"), OK)
    after = asyncio.run(judged())
    blanks = "To be filled in by a person"
    assert before.rindex("\n## ") == before.index(f"\n## {blanks}"), "it is the last section"
    for asked in (
        "Root cause †",
        "Was the decision right? †",
        "Lessons †",
        "Follow-ups, each with an owner and a day †",
    ):
        assert asked in _section(before, blanks)
        assert asked not in _section(after, blanks)
    assert "…" not in before.split(f"\n## {blanks}")[0], "nothing is left open elsewhere"
    assert "Margins" not in _section(after, "Judgement and follow-ups")
    found = _section(after, "Judgement and follow-ups")
    assert "Root cause: performance degradation" in found
    assert "ana, until 2026-12-24, open: a canary by segment" in found
    assert "rollback-console.root\\_cause" not in found  # within a word an underscore is one
    assert "tagged checkout-ranker v8 in the registry: rollback-console.root_cause = performance degradation" in found
    assert "\n```text\nAll is well.\n# again\n```\n" in _section(after, "Messages to stakeholders")


def test_the_same_journal_gives_the_same_bytes(drill: Played, tmp_path: Path) -> None:
    twice = []
    for name in ("a", "b"):
        out = tmp_path / f"{name}.md"
        words = ["report", "postmortem", "checkout-ranker", "--journal", str(drill.path), "--output", str(out)]
        assert run(words) == 0
        assert run(words) == 5, "somebody may have filled it in"
        twice.append(out.read_bytes())
    assert twice[0] == twice[1]
    assert b"\r" not in twice[0]


def test_a_tampered_journal_says_so_at_the_top(
    drill: Played, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.db"
    bad.write_bytes(drill.path.read_bytes())
    with sqlite3.connect(bad) as database:
        for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            database.execute(f'DROP TRIGGER "{name}"')
        database.execute("UPDATE entries SET operator = 'somebody' WHERE kind = 'request'")
    database.close()
    assert run(["report", "postmortem", "checkout-ranker", "--journal", str(bad)]) == 1
    said = capsys.readouterr().out
    assert said.splitlines()[2].startswith("> **NOT VERIFIED")
    assert "not verified." in said
    assert "chain and signatures hold" not in said


@pytest.mark.parametrize("form", ["jsonl", "bundle"])
def test_an_export_and_a_bundle_give_the_same_draft(drill: Played, tmp_path: Path, form: str) -> None:
    """Of a bundle all of it; an export has no blobs, so that the samples of what went on cannot be added up."""
    out, there = tmp_path / f"out.{form}", tmp_path / "there.md"
    words = ["journal", "export", "--format", form, "--output", str(out), "--journal", str(drill.path)]
    assert run(words) == 0
    assert run(["report", "postmortem", "checkout-ranker", "--journal", str(out), "--output", str(there)]) == 0
    here = tmp_path / "here.md"
    assert run(["report", "postmortem", "checkout-ranker", "--journal", str(drill.path), "--output", str(here)]) == 0
    one, other = here.read_text(), there.read_text()
    if form == "bundle":
        assert one == other
    else:
        assert _section(one, "Timeline") == _section(other, "Timeline")
        assert "its samples" in _section(other, "Impact, and where its numbers come from")


def test_decisions_that_come_out_otherwise_are_said(case: Case) -> None:
    draft = postmortem(case, Checked(True, "verified", (), ("entry 33 production/x: verdict.state: recorded a",)))
    assert "> **1 decisions come out otherwise** when they are made again:\n> - entry 33" in draft


def test_an_incident_is_found_by_its_beginning_its_deployment_and_its_rollback(drill: Played, case: Case) -> None:
    (asked,) = case.asked
    with Journal.open_read_only(drill.path) as journal:
        (moved,) = (e.seq for e in journal.entries(0, ("pointer",)))
        for name in (case.incident.id[:7], "production/checkout-ranker", asked.execution, f"move:{moved}"):
            assert case_of(journal, name).incident.id == case.incident.id


def test_what_is_not_there_says_what_there_is(drill: Played, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", "postmortem", "inc-none", "--journal", str(drill.path)]) == 2
    assert "no incident inc-none is in this journal: the last ones are: inc-" in capsys.readouterr().err


def test_hostile_text_breaks_nothing(case: Case) -> None:
    """The structure of the document is the same, whatever stands in the text."""
    harmless = [(t.type, t.tag) for t in _tokens(postmortem(_with(case, "harmless"), OK))]
    hostile = postmortem(_with(case, HOSTILE), Checked(True, "verified"))
    tokens = _tokens(hostile)
    assert [(t.type, t.tag) for t in tokens] == harmless
    inline = [child for t in tokens if t.type == "inline" for child in t.children or ()]
    assert not [c for c in inline if c.type in ("html_inline", "image")]
    links = {c.attrs["href"] for c in inline if c.type == "link_open"}
    assert links == {url for _, url in case.links}
    assert not [t for t in tokens if t.type == "html_block"]
    assert "\x1b" not in hostile
    assert "\u202e" not in hostile


def _with(case: Case, words: str) -> Case:
    """`words` in every text of a case that somebody wrote."""
    line = case.lines[0]
    return replace(
        case,
        incident=replace(case.incident, sentence=words, id="inc-1",
                         attribution=replace(case.incident.attribution, reasons=(words,))),
        lines=tuple(replace(each, text=words, operator="ana", deployment=words) for each in case.lines),
        decisions=tuple(replace(each, sentence=words) for each in case.decisions),
        asked=tuple(replace(each, reason=words, against=words, phrase=words) for each in case.asked),
        runs=tuple(replace(run, detail=words, plan=replace(run.plan, why_target=words, path=words, against=words))
                   for run in case.runs),
        first_advice=(words,), owners=(words,), commander=words,
        messages=((line, "internal", words, words),),
        judgements=(Judgement(case.incident.id, lessons=(words,), expected=words, by=words, seq=1, at=1.0),),
    )  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_one_line_of_text(words: str) -> None:
    tokens = _tokens(f"- {text(words)}\n\nend\n") if text(words) else []
    kinds = [t.type for t in tokens]
    assert not kinds or kinds == [
        "bullet_list_open", "list_item_open", "paragraph_open", "inline", "paragraph_close", "list_item_close",
        "bullet_list_close", "paragraph_open", "inline", "paragraph_close",
    ]  # fmt: skip
    for token in tokens[:-3]:
        assert {child.type for child in token.children or ()} <= {"text", "text_special"}
    rows = _tokens("\n".join(table(("a", "b"), [(text(words), "x")])))
    assert [t.type for t in rows].count("td_open") == 2
    (fence,) = _tokens("\n".join(verbatim(words)))
    assert fence.type == "fence", "nothing inside closes it"


def test_only_an_address_becomes_a_link() -> None:
    assert link("logs", "https://logs.example/?q=a:b") == "logs: <https://logs.example/?q=a:b>"
    assert link("x", "https://evil> <b>") == "x: https://evil\\> \\<b\\>"
    assert link("x", "javascript:alert(1)") == "x: javascript:alert(1)"
