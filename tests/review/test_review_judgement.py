"""Judging: signed, superseding and never erasing, by those who may, and told to the registry with its intent first."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from drilled import Played, seated, the_demo

from rollback_console.authorize.keys import PersonKey
from rollback_console.authorize.roles import Authority
from rollback_console.authorize.roster_view import RoleGrant, RosterOperator, RosterView
from rollback_console.cli.compose import Seat
from rollback_console.clock import VirtualClock
from rollback_console.engine.acts import Acts
from rollback_console.errors import BackendUnreachable, InputError, NotAuthorized, Refused, UsageError
from rollback_console.journal.device import DeviceKey
from rollback_console.journal.kinds import Adopted, Body, FollowedUp, IncidentRecorded, Judged, PointerMoved
from rollback_console.journal.locks import ExecutionLock
from rollback_console.journal.persons import statement
from rollback_console.journal.store import Journal
from rollback_console.journal.verify import verify
from rollback_console.model.judgement import CAUSES, INCIDENT_TAG, ROOT_CAUSE_TAG, Judgement
from rollback_console.model.operator import Permission
from rollback_console.review.causes import chosen, with_own
from rollback_console.review.docket import docket
from rollback_console.review.judgements import every, last

ANA, EVE = PersonKey.from_seed(1, "ana"), PersonKey.from_seed(2, "eve")


@pytest.fixture(scope="module")
def drill() -> Played:
    return the_demo()


async def _release(acts: Acts) -> str:
    """The incident that was rolled back."""
    return next(s.id for s in (await acts.docket()).subjects if s.kind == "incident" and s.rolled_back)


def _bodies(seat: Seat, *kinds: str) -> list[tuple[int, str, dict[str, Any]]]:
    assert seat.journal is not None
    return [(e.seq, e.kind, json.loads(e.body)) for e in seat.journal.entries(0, kinds)]


async def test_a_judgement_is_signed_superseded_and_never_erased(drill: Played, tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    async with seated(drill, path) as seat:
        acts = seat.acts
        incident = await _release(acts)
        waiting = (await acts.docket()).waiting
        assert incident in waiting
        assert [name for name in waiting if name.startswith("ex-")], "its rollback waits too"
        first = await acts.judge(
            Judgement(incident, root_cause="performance-degradation", right="right", lessons=(" compare by segment ",))
        )
        assert first.root_cause == "performance degradation"
        assert first.lessons == ("compare by segment",)
        assert acts.authority.key is not None
        assert first.signed == acts.authority.key.fingerprint
        assert (await acts.docket()).waiting == (), "its rollback is judged with it"
        with pytest.raises(
            Refused, match=rf"oncall-1 judged {incident} in entry {first.seq}.*--supersedes {first.seq}"
        ):
            await acts.judge(Judgement(incident, right="wrong"))
        second = await acts.judge(replace(first, right="wrong", supersedes=first.seq))
        with pytest.raises(Refused, match=f"entry {second.seq}"):
            await acts.judge(replace(first, right="right", supersedes=first.seq))
        assert seat.journal is not None
        assert [(j.seq, j.right, j.supersedes) for j in every(seat.journal)] == [
            (first.seq, "right", 0), (second.seq, "wrong", first.seq),
        ]  # fmt: skip
        assert last(seat.journal)[incident].right == "wrong"
    found = verify(path)
    assert found.ok, found.problems
    assert found.persons == 3  # the request, and the two judgements


async def test_what_two_write_at_once_is_not_lost(drill: Played, tmp_path: Path) -> None:
    """Somebody else's judgement lands after this one was looked at and signed, and before it is written."""
    async with seated(drill, tmp_path / "j.db") as seat:
        acts, journal = seat.acts, seat.journal
        assert journal is not None
        incident = await _release(acts)
        signed = acts._signed

        async def slowly(body: Body, deployment: str) -> Body:
            made = await signed(body, deployment)
            journal.append(Judged(subject=incident, right="cannot tell"), operator="bo")
            return made

        acts._signed = slowly  # type: ignore[method-assign]
        with pytest.raises(Refused, match=f"bo judged {incident}"):
            await acts.judge(Judgement(incident, right="right"))
        assert [j.by for j in every(journal)] == ["bo"]


async def test_two_processes_cannot_both_look_and_then_both_write(drill: Played, tmp_path: Path) -> None:
    async with seated(drill, tmp_path / "j.db") as seat:
        acts = seat.acts
        incident = await _release(acts)
        with ExecutionLock(tmp_path / "j.db", f"judgement of {incident}") as theirs:
            assert theirs.try_acquire("another process")
            with pytest.raises(Refused, match="somebody else writes a judgement on it this moment"):
                await acts.judge(Judgement(incident, right="right"))
        assert (await acts.judge(Judgement(incident, right="right"))).seq


async def test_the_answers_are_checked_and_the_words_are_the_teams(drill: Played, tmp_path: Path) -> None:
    async with seated(drill, tmp_path / "j.db") as seat:
        acts = seat.acts
        incident = await _release(acts)
        for judgement, why in (
            (Judgement(incident), "says nothing"),
            (Judgement(incident, lessons=("  ",)), "says nothing"),
            (Judgement(incident, root_cause="gremlins"), "'gremlins' is no root cause.*the settings' key causes"),
            (Judgement(incident, gate="prayer"), "is no validation gate"),
            (Judgement(incident, right="perhaps"), "right: 'perhaps' is none of the answers"),
            (Judgement(incident, expected="x" * 4_001), "say it shorter"),
        ):
            with pytest.raises(InputError, match=why):
                await acts.judge(judgement)
        with pytest.raises(UsageError, match="no incident, execution or move is called inc-none"):
            await acts.judge(Judgement("inc-none", right="right"))
        acts.causes = with_own(("Consent withdrawn",))
        assert (await acts.judge(Judgement(incident[:8], root_cause="consent"))).root_cause == "Consent withdrawn"
        assert (await acts.docket()).causes == (*CAUSES, "Consent withdrawn")


def test_a_word_is_found_however_it_is_written() -> None:
    assert chosen("root cause", "Upstream_Data-issue", CAUSES, "causes") == "upstream data issue"
    assert chosen("root cause", "safety", CAUSES, "causes") == "safety concern"
    assert chosen("root cause", "  ", CAUSES, "causes") == ""


async def test_who_may_not_judge_is_refused_with_who_could(drill: Played, tmp_path: Path) -> None:
    async with seated(drill, tmp_path / "j.db") as seat:
        acts = seat.acts
        incident = await _release(acts)
        people = (
            RosterOperator("ana", "", ("lead",), (), (ANA.line,)),
            RosterOperator("eve", "", ("risk",), (), (EVE.line,)),
        )
        grants = (
            ("lead", RoleGrant(frozenset({Permission.LOOK, Permission.JUDGE}))),
            ("risk", RoleGrant(frozenset({Permission.LOOK, Permission.NOTE}))),
        )
        acts.seat(Authority.of_key(RosterView(people, grants), EVE, now=seat.engine.clock.now))
        with pytest.raises(NotAuthorized, match=r"the permission judge is in none of your roles.*ask ana \(lead\)"):
            await acts.judge(Judgement(incident, right="right"))
        with pytest.raises(NotAuthorized):
            await acts.follow_up(incident, "calibrate", "ana", "2026-12-24")
        assert {(body["act"], kind) for _, kind, body in _bodies(seat, "refusal")} == {("judging", "refusal")}
        assert _bodies(seat, "judgement", "follow-up") == []
        acts.seat(Authority.of_key(RosterView(people, grants), ANA, now=seat.engine.clock.now))
        assert (await acts.judge(Judgement(incident, right="right"))).by == "ana"


async def test_follow_ups_have_an_owner_and_a_day_and_end_once(drill: Played, tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    async with seated(drill, path) as seat:
        acts = seat.acts
        incident = await _release(acts)
        for words, why in (
            (("", "ana", "2026-12-24"), "says what is to be done"),
            (("calibrate", " ", "2026-12-24"), "who does it"),
            (("calibrate", "ana", "soon"), "'soon' is no day: write it as 2026-12-24"),
        ):
            with pytest.raises(InputError, match=why):
                await acts.follow_up(incident, *words)
        made = await acts.follow_up(incident, "compare by segment", "ana", "2026-06-01")
        other = await acts.follow_up(incident, "a gate for it", "bo", "2026-12-24")
        docket = await acts.docket()
        assert [each.id for each in docket.overdue("2026-06-02")] == [made.id]
        assert [each.id for each in docket.overdue("2026-06-01")] == [], "due on that day is not overdue"
        ended = await acts.end_follow_up(made.id, "in the canary now")
        assert (ended.state, ended.ended_by, ended.reason) == ("done", "oncall-1", "in the canary now")
        with pytest.raises(Refused, match="is done already, by oncall-1"):
            await acts.end_follow_up(made.id)
        with pytest.raises(InputError, match="needs a reason"):
            await acts.end_follow_up(other.id, dropped=True)
        assert (await acts.end_follow_up(other.id, "retired", dropped=True)).state == "dropped"
        with pytest.raises(UsageError):
            await acts.end_follow_up("fu-none")
    assert verify(path).ok


async def test_the_rolled_back_version_gets_its_root_cause_intent_first(drill: Played, tmp_path: Path) -> None:
    setup = drill.setup
    async with seated(drill, tmp_path / "j.db") as seat:
        acts = seat.acts
        incident = await _release(acts)
        await acts.judge(Judgement(incident, root_cause="safety concern"))
        tags = await setup.registry.read_tags("checkout-ranker", "8")
        assert (tags[ROOT_CAUSE_TAG], tags[INCIDENT_TAG]) == ("safety concern", incident)
        told = [each for each in _bodies(seat, "judgement", "intent", "tag") if each[1] != "intent" or
                each[2]["execution"].startswith("judgement-")]  # fmt: skip
        assert [kind for _, kind, _ in told] == ["judgement", "intent", "tag", "tag"]
        assert told[1][2]["detail"] == (
            f"v8 of checkout-ranker: {ROOT_CAUSE_TAG} = safety concern, {INCIDENT_TAG} = {incident}"
        )
        assert (await acts.docket()).pending == ()
        judged = (await acts.docket()).judgement(incident)
        assert judged is not None
        await acts.judge(replace(judged, root_cause="upstream data issue", supersedes=judged.seq))
        assert (await setup.registry.read_tags("checkout-ranker", "8"))[ROOT_CAUSE_TAG] == "upstream data issue"
        judged = (await acts.docket()).judgement(incident)
        assert judged is not None
        await acts.judge(replace(judged, root_cause="", right="right", supersedes=judged.seq))
        assert (await setup.registry.read_tags("checkout-ranker", "8"))[ROOT_CAUSE_TAG] == "withdrawn"
        assert len(_bodies(seat, "execution")) == 1, "no execution was made of it"
        assert acts.engine.folded is not None
        assert [e.state.value for e in acts.engine.folded.executions] == ["done"]


class Offline:
    """A driver whose registry does not answer, or (`dies`) whose process ends once the registry has."""

    def __init__(self, real: Any, *, dies: bool = False) -> None:
        self._real, self._dies = real, dies

    async def mark(self, model: str, version: str, tags: tuple[tuple[str, str], ...]) -> None:
        if not self._dies:
            raise BackendUnreachable("the registry does not answer", "try again")
        await self._real.mark(model, version, tags)
        raise KeyboardInterrupt


@pytest.mark.parametrize("dies", [False, True])
async def test_what_could_not_be_set_stays_pending_and_is_set_later(drill: Played, tmp_path: Path, dies: bool) -> None:
    setup = drill.setup
    async with seated(drill, tmp_path / "j.db") as seat:
        acts = seat.acts
        incident, real = await _release(acts), acts._drivers["mlflow-alias"]
        acts._drivers["mlflow-alias"] = Offline(real, dies=dies)  # type: ignore[assignment]
        judgement = Judgement(incident, root_cause="safety concern")
        if dies:
            with pytest.raises(KeyboardInterrupt):
                await acts.judge(judgement)
        else:
            await acts.judge(judgement)
            assert _bodies(seat, "outcome")[-1][2]["state"] == "failed"
            ((_, problem), _) = await acts.set_tags()
            assert "does not answer" in problem
        assert [tag.key for tag in (await acts.docket()).pending] == [ROOT_CAUSE_TAG, INCIDENT_TAG]
        acts._drivers["mlflow-alias"] = real
        assert [problem for _, problem in await acts.set_tags()] == ["", ""]
        assert (await setup.registry.read_tags("checkout-ranker", "8"))[ROOT_CAUSE_TAG] == "safety concern"
        assert (await acts.docket()).pending == ()
        assert await acts.set_tags() == ()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal.open(
        tmp_path / "j.db", device=DeviceKey.from_seed(b"d" * 32), clock=VirtualClock(1_780_000_000.0)
    ) as made:
        yield made


# -- what waits ----------------------------------------------------------------------------------------------------


def _moved(before: str, after: str, at: float, ours: str | None = None) -> PointerMoved:
    return PointerMoved(at=at, model="m", alias="champion", before=before, after=after, ours=ours)


def test_what_can_be_judged_and_what_waits(journal: Journal) -> None:
    """By docs/measures.md: a rollback by hand is one, a planned switch and a deployment wait for nobody."""
    mine, at = "production/ranker", 1_780_000_000.0
    moves = [
        _moved("6", "7", at), _moved("7", "8", at + 1_000), _moved("8", "7", at + 2_000),  # back, by hand
        _moved("7", "9", at + 3_000), _moved("9", "10", at + 4_000), _moved("10", "9", at + 5_000),  # back, adopted
        _moved("9", "7", at + 9_000),  # back, a planned switch
    ]  # fmt: skip
    seqs = [journal.append(move, deployment=mine).seq for move in moves]
    adopted = Adopted(model="m", alias="champion", from_version="10", to_version="9", reason="x", moved_at=at + 5_030)
    planned = Adopted(
        model="m", alias="champion", from_version="9", to_version="7", reason="x", moved_at=at + 9_000, planned=True
    )
    by_hand = journal.append(adopted, deployment=mine, operator="ana").seq
    switch = journal.append(planned, deployment=mine, operator="ana").seq
    journal.append(PointerMoved(at=at, model="m", alias="champion", before=None, after="7"), deployment="not a name")
    for event in ("opened", "closed"):  # it passed before it fired
        journal.append(
            IncidentRecorded.model_validate({
                "event": event, "id": "inc-1", "members": [mine], "onset": at, "attribution": "unknown", "reasons": [],
                "sentence": "x",
            })
        )  # fmt: skip
    found = docket(journal)
    assert found.waiting == (f"move:{seqs[2]}", f"move:{by_hand}")
    kinds = {each.id: each.kind for each in found.subjects}
    assert kinds[f"move:{seqs[5]}"] == "move", "the adoption speaks of it"
    assert kinds[f"move:{switch}"] == "move"
    (back,) = (each for each in found.subjects if each.id == f"move:{seqs[2]}")
    assert back.rolled_back == (("m", "8"),)
    assert found.subject("inc-1") is not None, "it can be judged all the same"
    journal.append(Judged(subject=f"move:{seqs[2]}", counts_as="mistake", root_cause="safety concern"))
    assert docket(journal).waiting == (f"move:{by_hand}",)
    assert {(tag.version, tag.value) for tag in docket(journal).pending} >= {("8", "safety concern")}


# -- what was signed is what stands there -------------------------------------------------------------------------


def _judged(**said: Any) -> dict[str, Any]:
    return Judged.model_validate({"subject": "inc-1", "right": "right", "lessons": ["a", "b"], **said}).model_dump()


_FOLLOW_UP = FollowedUp(event="opened", id="fu-1", incident="inc-1", what="calibrate", owner="ana", due="2026-12-24")
_CHANGES: list[tuple[str, Any]] = [
    ("subject", "inc-2"), ("root_cause", "safety concern"), ("right", "wrong"), ("counts_as", "mistake"),
    ("expected", "x"), ("actual", "x"), ("deviations", ["x"]), ("margins", "held"), ("gate", "canary"),
    ("lessons", ["b", "a"]), ("published", "https://wiki.example/x"), ("supersedes", 7),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value"), _CHANGES, ids=[field for field, _ in _CHANGES])
def test_every_answer_of_a_judgement_is_covered_by_the_signature(journal: Journal, field: str, value: Any) -> None:
    body = _judged()
    person = ANA.sign(statement("judgement", "", body, 1.0)).model_dump()
    journal.append(Judged.model_validate({**body, "person": person}), operator="ana")
    assert verify(journal.path).ok
    journal.append(Judged.model_validate({**body, field: value, "person": person}), operator="ana")
    found = verify(journal.path)
    assert [problem.message for problem in found.problems] == [f"its {field} is not what ana signed"]


@pytest.mark.parametrize(
    ("field", "value"),
    [("event", "done"), ("id", "fu-2"), ("incident", "inc-2"), ("what", "x"), ("owner", "bo"), ("due", "2027-01-01"),
     ("reason", "x")],
)  # fmt: skip
def test_every_word_of_a_follow_up_is_covered_by_the_signature(journal: Journal, field: str, value: str) -> None:
    body = _FOLLOW_UP.model_dump()
    person = ANA.sign(statement("follow-up", "", body, 1.0)).model_dump()
    journal.append(FollowedUp.model_validate({**body, field: value, "person": person}), operator="ana")
    found = verify(journal.path)
    assert [problem.message for problem in found.problems] == [f"its {field} is not what ana signed"]


def test_a_judgement_signed_by_somebody_else_is_found(journal: Journal) -> None:
    body = _judged()
    person = EVE.sign(statement("judgement", "", body, 1.0)).model_dump()
    journal.append(Judged.model_validate({**body, "person": person}), operator="ana")
    person = ANA.sign(statement("follow-up", "", _FOLLOW_UP.model_dump(), 1.0)).model_dump()
    journal.append(Judged.model_validate({**body, "person": person}), operator="ana")
    said = [problem.message for problem in verify(journal.path).problems]
    assert said == [
        "it was signed by eve, and names ana",
        "what was signed is a rollback-console/follow-up/v1, not a rollback-console/judgement/v1",
    ]
