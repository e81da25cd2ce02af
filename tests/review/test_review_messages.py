"""Messages to stakeholders: filled from the journal, worded for who reads them, from templates that are checked."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from drilled import Played, seated, the_demo

from rollback_console.authorize.roles import Authority
from rollback_console.errors import FileProblems, NotAuthorized, UsageError
from rollback_console.journal.store import Journal
from rollback_console.journal.verify import verify
from rollback_console.model.message import AUDIENCES, INTERNAL, PLACEHOLDERS, Message, Template
from rollback_console.policy.load import load_settings
from rollback_console.policy.templates import filled, load_templates, placeholders
from rollback_console.review.case import Case, case_of
from rollback_console.review.messages import SHIPPED, draft, drafts, facts, named, with_own
from rollback_console.review.postmortem import Checked, postmortem

SECRETS = ("oncall-1", "ana", "checkout-ranker", "production", "v8", "v7", "USD", "grafana", "http", "version-rollback")


@pytest.fixture(scope="module")
def drill() -> Played:
    return the_demo()


@pytest.fixture(scope="module")
def cases(drill: Played) -> dict[str, Case]:
    with Journal.open_read_only(drill.path) as journal:
        return {name: case_of(journal, name) for name in ("checkout-ranker", "home-feed", "support-triage")}


def test_inside_it_says_decision_scope_time_and_risk_in_numbers(cases: dict[str, Case]) -> None:
    case = cases["checkout-ranker"]
    found = facts(case, "internal")
    assert found["decision"] == (
        "roll production/checkout-ranker back from v8 to v7, asked for by oncall-1 at 2026-05-28 20:34 UTC: done and"
        " confirmed at 2026-05-28 20:42 UTC"
    )
    assert found["scope"] == "1 model in production, owned by team-ranking"
    assert re.fullmatch(
        r"about [\d.]+k users affected; about [\d.]+k USD lost; 4,086 USD/min at the worst decision", found["risk"]
    )
    assert found["expected"].startswith("It is over since 2026-05-28 20:41 UTC")
    assert (found["since"], found["detected"]) == ("2026-05-28 20:29 UTC", "2026-05-28 20:31 UTC")
    assert found["next_update"] == "none: it is over"
    upstream = facts(cases["home-feed"], "internal")
    assert upstream["decision"] == "nothing was rolled back so far"
    assert upstream["advice"].startswith("do not roll back: mend feature-view/user-activity")
    assert upstream["expected"] == "No time can be promised yet."
    assert "(counted up to" in upstream["risk"], "what goes on says how far it was counted"


@pytest.mark.parametrize("name", ["checkout-ranker", "home-feed", "support-triage"])
def test_outside_nobody_is_named_no_machine_and_no_money(cases: dict[str, Case], name: str) -> None:
    case = replace(cases[name], commander="ana", owners=("team-ranking",))
    told = [m for m in drafts(case, SHIPPED) if m.audience == "external"]
    assert {m.template for m in told} == {"first-notice", "update", "resolved"}
    for message in told:
        for secret in (*SECRETS, "team-ranking", *(member.name for member in case.incident.members)):
            assert secret not in message.text.replace(case.incident.id, ""), (message.template, secret)
        assert case.incident.id in message.text, "something to refer to"
    asking = Template("own", "external", "It cost {revenue}.")
    assert "USD" in draft(cases["checkout-ranker"], asking).text, "money only where a template asks for it"


def test_every_template_is_filled_and_no_free_text_comes_in(cases: dict[str, Case]) -> None:
    case = cases["checkout-ranker"]
    evil = "SECRET-NOTE {decision} <!channel>"
    case = replace(
        case,
        asked=tuple(replace(each, reason=evil) for each in case.asked),
        runs=tuple(replace(run, reason=evil, detail=evil) for run in case.runs),
        lines=tuple(replace(line, text=evil) for line in case.lines),
    )
    for message in drafts(case, SHIPPED):
        assert "{" not in message.text
        assert "SECRET-NOTE" not in message.text
        assert len(message.text.splitlines()) > 4
    assert set(facts(case, "internal")) == {*PLACEHOLDERS, *INTERNAL}
    assert set(facts(case, "external")) == set(PLACEHOLDERS)


@pytest.mark.parametrize("at", [1e300, -1e300, 0.0])
def test_a_time_that_no_clock_shows_ends_nothing(cases: dict[str, Case], at: float) -> None:
    case = cases["home-feed"]
    odd = replace(case, incident=replace(case.incident, onset=at), until=at, opened_at=at)
    assert all(message.text for message in drafts(odd, SHIPPED))
    assert postmortem(odd, Checked(True, "verified"))


def test_shipped_wording_asks_for_what_there_is() -> None:
    assert {(t.name, t.audience) for t in SHIPPED} == {
        (name, audience) for name in ("first-notice", "update", "resolved") for audience in AUDIENCES
    }
    for template in SHIPPED:
        asked = {name for _, name in placeholders(template.text)}
        assert asked <= {*PLACEHOLDERS, *(INTERNAL if template.audience == "internal" else ())}
        assert {"decision", "scope", "expected", "risk"} <= asked or template.name != "first-notice"
        assert template.audience == "internal" or "revenue" not in asked


def test_a_teams_own_wording_takes_the_place_of_ours(cases: dict[str, Case], tmp_path: Path) -> None:
    (tmp_path / "update.external.md").write_text("It is {state} {{sic}}, since {since}.\r\n")
    (tmp_path / "board.internal.md").write_text("{deployments}: {risk}")
    found = with_own(SHIPPED, load_templates(tmp_path))
    assert len(found) == len(SHIPPED) + 1
    assert draft(cases["home-feed"], named(found, "update", "external")).text == (
        "It is going on {sic}, since 2026-05-28 20:23 UTC.\n"
    )
    assert named(found, "board", "internal").file.endswith("board.internal.md")
    with pytest.raises(UsageError, match="no external template board: there are: first-notice, resolved, update"):
        named(found, "board", "external")
    assert filled("{{}} {a}", {"a": "1"}) == "{} 1"


_BAD = [
    ("a.internal.md", "line one\n  so {descision}\n", "2:6: there is no {descision}. Did you mean {decision}"),
    ("a.internal.md", "{zzz}", "1:1: there is no {zzz}. There are: advice, cause, commander"),
    ("a.external.md", "ask {commander}", "1:5: {commander} names people, machines or versions. External wording does"),
    ("a.internal.md", "{ decision }\n}", "2:1: a } stands alone. Write }} where you mean one"),
    ("a.internal.md", "open {decision\n", "1:6: a { stands alone. Write {{ where you mean one"),
    ("a.internal.md", "  \n", "1:1: the template is empty. Write what is to be said"),
    ("a.md", "x", "1:1: its name says no audience. Name it NAME.internal.md, or .external.md"),
    ("a.public.md", "x", "1:1: its name says no audience."),
]


@pytest.mark.parametrize(("name", "text", "said"), _BAD, ids=range(len(_BAD)))
def test_a_bad_template_says_where_and_what_to_do(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(FileProblems) as caught:
        load_templates(tmp_path)
    (problem,) = caught.value.problems
    assert str(problem).startswith(f"{tmp_path / name}:{said}")


def test_templates_are_checked_when_the_settings_are_read(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text("x")
    folder = tmp_path / "wording"
    folder.mkdir()
    (folder / "update.internal.md").write_bytes(b"caf\xe9")
    (folder / "long.internal.md").write_text("x" * 20_001)
    (folder / "notes.txt").write_text("{nothing of ours}")
    settings = tmp_path / "settings.yaml"
    settings.write_text(
        "schema: rollback-console/settings/v1\nprometheus: {url: http://p:9090}\npolicies: [policy.yaml]\n"
        "templates: wording\n"
    )
    with pytest.raises(FileProblems) as caught:
        load_settings(settings)
    assert sorted(str(p).partition("wording/")[2] for p in caught.value.problems) == [
        "long.internal.md:1:1: 20,001 bytes, more than 20,000. A message is shorter",
        "update.internal.md:1:4: the byte 0xe9 is not UTF-8. Save the file as UTF-8",
    ]
    (folder / "long.internal.md").unlink()
    (folder / "update.internal.md").write_text("{decision}")
    assert [t.name for t in load_settings(settings).templates] == ["update"]


async def test_what_was_told_is_in_the_journal_word_for_word(drill: Played, tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    async with seated(drill, path) as seat:
        acts = seat.acts
        incident = next(s.id for s in (await acts.docket()).subjects if s.rolled_back and s.kind == "incident")
        acts.templates = (Template("board", "external", "{state}"),)
        found = await acts.drafts(incident)
        assert [m.text for m in found if m.template == "board"] == ["over\n"]
        message = next(m for m in found if (m.template, m.audience) == ("update", "internal"))
        await acts.told(message, "copied")
        assert seat.journal is not None
        case = case_of(seat.journal, incident)
        ((line, audience, template, text),) = case.messages
        assert (audience, template, text) == ("internal", "update", message.text)
        assert line.operator == "oncall-1"
        acts.seat(without_key(acts.authority))
        with pytest.raises(NotAuthorized):
            await acts.told(Message(incident, "update", "internal", "x"), "copied")
    assert verify(path).ok


def without_key(known: Authority) -> Authority:
    return Authority.of_key(known.roster, None)


def test_the_document_names_every_place() -> None:
    document = (Path(__file__).resolve().parents[2] / "docs" / "judgements.md").read_text(encoding="utf-8")
    named_there = set(re.findall(r"`\{([a-z_]+)\}`", document)) - {"name"}
    assert named_there == {*PLACEHOLDERS, *INTERNAL}
