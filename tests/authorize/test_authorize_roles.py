"""Who may do what, where: the matrix, and that every doubt is a no with its rule and who could."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollback_console.authorize.keys import PersonKey
from rollback_console.authorize.roles import AllOf, AnyOf, Ask, Authority
from rollback_console.authorize.roster_view import RoleGrant, RosterOperator, RosterView, from_roster
from rollback_console.model.operator import Operator, Permission, Refusal
from rollback_console.policy.roster import Roster

NOW = 1_790_000_000.0
P = Permission
KEYS = {name: PersonKey.from_seed(1, name) for name in ("ana", "bo", "cy", "dee", "eve", "gone", "stranger")}


def _person(name: str, *roles: str, valid_until: float | None = None) -> RosterOperator:
    return RosterOperator(name, name.title(), roles, (), (KEYS[name].line,), valid_until)


ROSTER = RosterView(
    (
        _person("ana", "lead"),
        _person("bo", "commander"),
        _person("cy", "staging-oncall"),
        _person("dee", "viewer"),
        _person("eve", "oncall", "viewer"),
        _person("gone", "oncall", valid_until=NOW),
        RosterOperator("keyless", "", ("oncall",), (), ("not a key",)),
    ),
    (
        ("viewer", RoleGrant(frozenset({P.LOOK}))),
        ("oncall", RoleGrant(frozenset({P.NOTE, P.ROLLBACK, P.ABORT, P.ADOPT}))),
        ("staging-oncall", RoleGrant(frozenset({P.ROLLBACK}), frozenset({"staging"}))),
        ("lead", RoleGrant(frozenset({P.NOTE, P.ROLLBACK, P.APPROVE}))),
        ("commander", RoleGrant(frozenset(P))),
        ("nowhere", RoleGrant(frozenset(P), frozenset())),
    ),
)


def _of(name: str) -> Authority:
    return Authority.of_key(ROSTER, KEYS[name], now=lambda: NOW)


MATRIX = {
    ("ana", P.ROLLBACK, "production"): True,
    ("ana", P.BREAK_GLASS, "production"): False,
    ("ana", P.ABORT, "production"): False,
    ("bo", P.BREAK_GLASS, "staging"): True,
    ("cy", P.ROLLBACK, "staging"): True,
    ("cy", P.ROLLBACK, "production"): False,
    ("cy", P.NOTE, "staging"): False,
    ("dee", P.LOOK, "production"): True,
    ("dee", P.ROLLBACK, "production"): False,
    ("eve", P.ADOPT, "production"): True,
    ("eve", P.APPROVE, "production"): False,
    ("gone", P.ROLLBACK, "production"): False,
    ("gone", P.LOOK, "production"): True,
    ("stranger", P.ROLLBACK, "production"): False,
}


@pytest.mark.parametrize(
    ("case", "allowed"), MATRIX.items(), ids=lambda value: "-".join(map(str, value)) if isinstance(value, tuple) else ""
)
def test_the_matrix(case: tuple[str, Permission, str], allowed: bool) -> None:
    name, permission, environment = case
    refusal = _of(name).may(permission, environment)
    assert (refusal is None) is allowed
    if refusal is not None:
        assert refusal.rule
        assert refusal.who_could
        assert refusal.exit_code == 4


def test_each_no_names_its_rule_and_who_could() -> None:
    def said(authority: Authority, permission: Permission = P.ROLLBACK, **more: object) -> str:
        refusal = authority.may(permission, "production", **more)  # type: ignore[arg-type]
        assert refusal is not None
        return str(refusal)

    assert said(_of("dee")) == (
        "the permission rollback is in none of your roles (viewer); ask ana (lead) or bo (commander) or eve (oncall)"
    )
    assert said(_of("cy")) == (
        "none of your roles allows rollback in production; ask ana (lead) or bo (commander) or eve (oncall)"
    )
    assert said(_of("eve"), roles=("lead", "commander")) == (
        "this recovery path may be asked for only by lead or commander; ask ana (lead) or bo (commander)"
    )
    assert "ended on 2026-09-21" in said(_of("gone"))
    assert "is in no roster entry" in said(_of("stranger"))
    assert "no key at hand" in said(Authority(ROSTER, Operator("ana", "", ("lead",)), None, now=lambda: NOW))
    assert said(_of("eve"), P.BREAK_GLASS).endswith("ask bo (commander)")
    assert said(_of("bo"), roles=("nobody-has-this",)).endswith(
        "nobody else in the roster could rollback in production"
    )


def test_somebody_elses_key_or_a_made_up_role_opens_nothing() -> None:
    theft = Authority(ROSTER, Operator("bo", "", ("commander",)), KEYS["dee"], now=lambda: NOW)
    refusal = theft.may(P.ROLLBACK, "production")
    assert refusal is not None
    assert "is dee's, not bo's" in refusal.rule
    claimed = Authority(ROSTER, Operator("dee", "", ("commander",)), KEYS["dee"], now=lambda: NOW)
    assert claimed.may(P.ROLLBACK, "production") is not None, "the roster's roles count, not the claimed ones"


def test_a_role_must_be_on_the_paths_list_and_allow_it_here() -> None:
    roster = RosterView((_person("cy", "staging-oncall", "viewer"),), ROSTER.roles)
    authority = Authority.of_key(roster, KEYS["cy"], now=lambda: NOW)
    assert authority.may(P.ROLLBACK, "staging", roles=("staging-oncall",)) is None
    assert authority.may(P.ROLLBACK, "staging", roles=("viewer",)) is not None
    assert authority.may(P.ROLLBACK, "production", roles=("staging-oncall", "viewer")) is not None


def test_validity_ends_while_the_console_is_open() -> None:
    now = [NOW - 1.0]
    authority = Authority.of_key(ROSTER, KEYS["gone"], now=lambda: now[0])
    assert authority.may(P.ROLLBACK, "production") is None
    assert authority.look_only_reason() == ""
    now[0] = NOW
    assert authority.may(P.ROLLBACK, "production") is not None
    assert "ended on" in authority.look_only_reason()


def test_the_header_says_why_nothing_can_be_done() -> None:
    assert _of("ana").look_only_reason() == ""
    assert _of("cy").look_only_reason() == ""
    assert _of("dee").look_only_reason() == "your roles (viewer) allow looking only"
    assert "in no roster entry" in _of("stranger").look_only_reason()
    assert Authority.of_key(ROSTER, None, now=lambda: NOW).look_only_reason() == "no key at hand"
    assert Authority.of_key(RosterView(), KEYS["ana"], now=lambda: NOW).look_only_reason()


def _ask(key: PersonKey | None = None) -> Ask:
    return Ask(P.ROLLBACK, "production", (), ROSTER, None, key, NOW)


def test_an_empty_list_of_checks_refuses() -> None:
    for check in (AllOf(()), AnyOf(())):
        refusal = check(_ask())
        assert refusal is not None
        assert "empty list" in refusal.rule


def test_any_of_passes_with_one_and_all_of_with_every() -> None:
    def yes(ask: Ask) -> Refusal | None:
        return None

    def no(ask: Ask) -> Refusal | None:
        return Refusal("no")

    for rules in itertools.product((yes, no), repeat=3):
        assert (AllOf(rules)(_ask()) is None) is all(rule is yes for rule in rules)
        assert (AnyOf(rules)(_ask()) is None) is any(rule is yes for rule in rules)


@given(
    st.sampled_from([*KEYS]), st.sampled_from([*P]), st.sampled_from(["production", "staging", "", "x"]),
    st.lists(st.sampled_from(["lead", "oncall", "viewer", "nowhere"]), max_size=2).map(tuple),
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_a_yes_always_rests_on_a_grant(
    name: str, permission: Permission, environment: str, roles: tuple[str, ...]
) -> None:
    """Asked the other way round: whatever was allowed can be pointed at in the roster."""
    if permission is P.LOOK or _of(name).may(permission, environment, roles=roles) is not None:
        return
    person = ROSTER.operator(name)
    assert person is not None
    assert person.valid_until is None or person.valid_until > NOW
    assert any(
        grant.allows(permission, environment) and (not roles or role in roles)
        for role, grant in ROSTER.grants(person.roles)
    )


def test_a_drill_has_its_own_key_and_may_do_everything() -> None:
    first, second = (Authority.rehearsal(7, now=lambda: NOW) for _ in range(2))
    assert first.key is not None
    assert second.key is not None
    assert first.key.blob == second.key.blob
    assert first.may(P.ROLLBACK, "rehearsal", roles=("oncall",)) is None
    assert first.key.sign(b"x").operator == "you"


def test_a_roster_file_becomes_a_view() -> None:
    roster = Roster.model_validate(
        {
            "schema": "rollback-console/roster/v1",
            "operators": [
                {"id": "ana", "roles": ["oncall"], "keys": [KEYS["ana"].line], "valid_until": "2026-09-22"},
                {"id": "cy", "roles": ["stager"], "keys": [KEYS["cy"].line]},
            ],
            "roles": {"oncall": {"may": ["rollback"], "in": "all"}, "stager": {"may": ["rollback"], "in": ["staging"]}},
        }
    )
    view = from_roster(roster)
    ana, cy = (Authority.of_key(view, KEYS[name], now=lambda: NOW) for name in ("ana", "cy"))
    assert ana.operator == Operator("ana", "", ("oncall",), KEYS["ana"].fingerprint)
    assert ana.may(P.ROLLBACK, "production") is None
    assert ana.may(P.ABORT, "production") is not None
    assert cy.may(P.ROLLBACK, "staging") is None
    assert cy.may(P.ROLLBACK, "production") is not None
