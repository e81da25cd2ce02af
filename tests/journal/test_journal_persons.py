"""What people signed is checked: the signature, what it says against the entry, and whose key it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from journal_tools import DEPLOYMENT, START, full_journal, new_journal

from rollback_console.authorize.keys import PersonKey
from rollback_console.cli.main import run
from rollback_console.journal.chain import Row, canonical, digest
from rollback_console.journal.kinds import Adopted, Body, PolicyInForce, Snoozed, StretchExcluded
from rollback_console.journal.persons import BY_BODY, STATEMENTS, People, statement
from rollback_console.journal.verify import verify

ANA, EVE = PersonKey.from_seed(1, "ana"), PersonKey.from_seed(2, "eve")
ROSTER = b"the roster's bytes"


def _snooze(key: PersonKey = ANA, **lies: Any) -> Snoozed:
    told = {"until": START + 60, "reason": "known"}
    person = key.sign(statement("snooze", DEPLOYMENT, {**told, **lies}, START))
    return Snoozed(**told, person=person)


def _adopted(*, planned: bool = False, signed: dict[str, bool] | None = None) -> Adopted:
    """An adoption that ana signed, with or without saying that it was a planned switch."""
    said = {"deployment": DEPLOYMENT, "model": "m", "alias": "a", "from": "8", "to": "7", "reason": "x"}
    person = ANA.sign(canonical({"schema": "rollback-console/adoption/v1", **said, **(signed or {})}))
    return Adopted(model="m", alias="a", from_version="8", to_version="7", reason="x", planned=planned, person=person)


def _problems(path: Path, bodies: list[Body], people: People | None = None, operator: str = "ana") -> list[str]:
    with new_journal(path) as journal:
        journal.put_blob(ROSTER)
        for body in bodies:
            journal.append(body, deployment=DEPLOYMENT, operator=operator)
    found = verify(path, people=people)
    assert all(problem.what == "person" for problem in found.problems)
    assert found.persons == sum(getattr(body, "person", None) is not None for body in bodies)
    return [problem.message for problem in found.problems]


def test_what_holds_verifies_in_every_kind(tmp_path: Path) -> None:
    stretch: dict[str, Any] = {
        "event": "excluded", "id": "bl-1", "start": START - 60.1234, "end": START, "deployments": [DEPLOYMENT],
        "reason": "a bad release",
    }  # fmt: skip
    signed = ANA.sign(statement("exclusion", DEPLOYMENT, stretch, START))
    assert _problems(tmp_path / "j.db", [_snooze(), StretchExcluded(**stretch, person=signed)]) == []
    assert verify(full_journal(tmp_path / "full.db")).persons == 1
    assert set(BY_BODY) <= set(STATEMENTS)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (_snooze(until=START + 3600), "its until is not what ana signed"),
        (_snooze(reason="quiet"), "its reason is not what ana signed"),
        (_snooze(EVE), "it was signed by eve, and names ana"),
        (Snoozed(until=1.0, reason="x", person=ANA.sign(b"not json")), "what was signed is no statement"),
        (_adopted(planned=True), "whether it was planned is not what ana signed"),
        (_adopted(signed={"planned": True}), "whether it was planned is not what ana signed"),
        (
            Adopted(model="m", alias="a", from_version="8", to_version="7", reason="x", person=_snooze().person),
            "what was signed is a rollback-console/snooze/v1, not a rollback-console/adoption/v1",
        ),
    ],
)
def test_an_entry_that_says_something_else_is_found(tmp_path: Path, body: Body, said: str) -> None:
    problems = _problems(tmp_path / "j.db", [body])
    assert any(said in problem for problem in problems), problems


def test_a_planned_switch_that_was_signed_as_one_holds(tmp_path: Path) -> None:
    bodies: list[Body] = [_adopted(), _adopted(planned=True, signed={"planned": True})]
    assert _problems(tmp_path / "j.db", bodies) == []


def _forge(change: Callable[[dict[str, Any]], object]) -> Snoozed:
    body = _snooze().model_dump()
    change(body["person"])
    return Snoozed.model_validate(body)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (_forge(lambda p: p.update(signature=_snooze(reason="other").person.signature)), "does not hold"),  # type: ignore[union-attr]
        (_forge(lambda p: p.update(signature="nothing of the sort")), "does not hold"),
        (_forge(lambda p: p.update(signed="0" * 64)), "is not that of the statement"),
        (_forge(lambda p: p.update(fingerprint=EVE.fingerprint)), "and names another"),
        (_forge(lambda p: p.update(statement=p["statement"].replace("known", "quiet"))), "does not hold"),
    ],
)
def test_a_signature_that_does_not_hold_is_found(tmp_path: Path, body: Body, said: str) -> None:
    problems = _problems(tmp_path / "j.db", [body])
    assert any(said in problem for problem in problems), problems


def test_the_key_must_have_been_the_operators(tmp_path: Path) -> None:
    mine = {"ana": {ANA.blob: None}}
    not_mine = {"ana": {EVE.blob: None}, "eve": {ANA.blob: None}}
    assert _problems(tmp_path / "a.db", [_snooze()], People(mine)) == []
    (found,) = _problems(tmp_path / "b.db", [_snooze()], People(not_mine))
    assert found == f"it is signed with the key {ANA.fingerprint}, which the roster does not give to ana"
    assert _problems(tmp_path / "c.db", [_snooze()], People({"ana": {ANA.blob: START + 60}})) == []
    (found,) = _problems(tmp_path / "d.db", [_snooze()], People({"ana": {ANA.blob: START - 60}}))
    assert (
        found
        == f"it is signed with the key {ANA.fingerprint}, which the roster no longer gave to ana then (valid_until)"
    )


def test_verify_takes_no_key_after_the_roster_ended_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """START is in November 2025; a date holds to its end in UTC."""
    with new_journal(tmp_path / "j.db") as journal:
        journal.append(_snooze(), deployment=DEPLOYMENT, operator="ana")
    roster = tmp_path / "roster.yaml"
    for until, code in (("2025-11-20", 0), ("2025-11-19", 1)):
        roster.write_text(
            "schema: rollback-console/roster/v1\noperators:\n"
            f"  - {{id: ana, keys: ['{ANA.line}'], valid_until: {until}}}\n"
        )
        assert run(["journal", "verify", str(tmp_path / "j.db"), "--roster", str(roster)]) == code
        assert ("no longer gave to ana then" in capsys.readouterr().out) == bool(code)


def test_the_recorded_roster_counts_from_its_entry_on(tmp_path: Path) -> None:
    papers = [PolicyInForce(what="roster", name="roster.yaml", version=1, digest=digest(ROSTER))]
    read: list[bytes] = []

    def parse(data: bytes) -> dict[str, dict[bytes, float | None]]:
        read.append(data)
        return {"ana": {EVE.blob: None}}

    problems = _problems(tmp_path / "a.db", [_snooze(), *papers, _snooze(), _snooze()], People(parse=parse))
    assert len(problems) == 2  # what was signed before the roster was in force is not held against it
    assert read == [ROSTER]
    assert _problems(tmp_path / "b.db", [*papers], People(parse=parse)) == []
    assert read == [ROSTER]  # no signature, nothing parsed


def test_a_newer_kinds_signature_is_checked_though_its_statement_is_unknown() -> None:
    person = ANA.sign(b"anything").model_dump()
    row = Row("c", 1, 1, 1, "telepathy", "", "ana", "{}", "", "", b"")
    assert list(People().problems(row, {"person": person}, lambda digest: None)) == []
    person["signature"] = EVE.sign(b"something").signature
    assert list(People().problems(row, {"person": person}, lambda digest: None)) != []
    assert list(People().problems(row, {"person": "ana"}, lambda digest: None)) == []
    assert canonical({}) == b"{}"
