"""Who may do what, where: composable checks over a roster, which fail closed.

A check returns None (it has no objection) or a `Refusal` that names the rule and who could. `Authority` is the AllOf of
them for the operator at hand; it is asked by the screen (to grey an act) and again where the act is done.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from rollback_console.authorize.keys import PersonKey
from rollback_console.authorize.roster_view import RoleGrant, RosterOperator, RosterView
from rollback_console.model.operator import Operator, Permission, Refusal
from rollback_console.model.value import dataclass

_NAMED = 3  # people a refusal names before it says "and others"


@dataclass(frozen=True, slots=True)
class Ask:
    """One question to authority. `roles` are those the recovery path asks for (any of them); () asks for none.
    `environment` None means anywhere."""

    permission: Permission
    environment: str | None
    roles: tuple[str, ...]
    roster: RosterView
    operator: Operator | None
    key: PersonKey | None
    now: float


class Rule(Protocol):
    """One check: None, or why not."""

    def __call__(self, ask: Ask) -> Refusal | None: ...


@dataclass(frozen=True, slots=True)
class AllOf:
    """Every rule must pass; the first that does not is the answer. Without any rule it refuses: a list that came up
    empty by mistake must not open the door."""

    rules: tuple[Rule, ...]

    def __call__(self, ask: Ask) -> Refusal | None:
        if not self.rules:
            return Refusal("no rule allows it: an empty list of checks refuses", "check the program's configuration")
        for rule in self.rules:
            if (refusal := rule(ask)) is not None:
                return refusal
        return None


@dataclass(frozen=True, slots=True)
class AnyOf:
    """One passing rule is enough; without any rule it refuses."""

    rules: tuple[Rule, ...]

    def __call__(self, ask: Ask) -> Refusal | None:
        refusal: Refusal | None = Refusal("no rule allows it: an empty list of checks refuses")
        for rule in self.rules:
            if (refusal := rule(ask)) is None:
                return None
        return refusal


def key_at_hand(ask: Ask) -> Refusal | None:
    if ask.key is None:
        return Refusal("no key at hand", f"make or unlock one (rollback-console identity show), or {_who_could(ask)}")
    return None


def key_in_roster(ask: Ask) -> Refusal | None:
    if ask.key is not None and ask.roster.owner(ask.key.blob) is None:
        return Refusal(
            f"the key {ask.key.fingerprint} is in no roster entry",
            "ask an owner of the roster to add the line that `rollback-console identity show` prints,"
            f" or {_who_could(ask)}",
        )
    return None


def operator_known(ask: Ask) -> Refusal | None:
    if ask.operator is None:
        return Refusal("nobody is identified", "the key at hand must stand in the roster: rollback-console whoami")
    if ask.roster.operator(ask.operator.id) is None:
        return Refusal(f"{ask.operator.id} is not in the roster", _who_could(ask))
    return None


def key_is_the_operators(ask: Ask) -> Refusal | None:
    owner = ask.roster.owner(ask.key.blob) if ask.key is not None else None
    if owner is None or ask.operator is None or owner.id != ask.operator.id:
        named = ask.operator.id if ask.operator is not None else "nobody"
        return Refusal(f"the key at hand is {owner.id if owner else 'nobody'}'s, not {named}'s", _who_could(ask))
    return None


def not_expired(ask: Ask) -> Refusal | None:
    entry = _entry(ask)
    if entry is None:
        return Refusal("nobody is identified")
    if entry.valid_until is not None and ask.now >= entry.valid_until:
        day = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(entry.valid_until))
        return Refusal(f"{entry.id}'s entry in the roster ended on {day}", _who_could(ask))
    return None


def role_permits(ask: Ask) -> Refusal | None:
    """The roster's roles (not those the caller claims) hold the permission, somewhere."""
    entry = _entry(ask)
    grants = ask.roster.grants(entry.roles) if entry is not None else ()
    if any(grant.allows(ask.permission, None) for _, grant in grants):
        return None
    roles = ", ".join(entry.roles) if entry is not None and entry.roles else "none"
    return Refusal(f"the permission {ask.permission} is in none of your roles ({roles})", _who_could(ask))


def role_permits_here(ask: Ask) -> Refusal | None:
    entry = _entry(ask)
    grants = ask.roster.grants(entry.roles) if entry is not None else ()
    if any(grant.allows(ask.permission, ask.environment) for _, grant in grants):
        return None
    return Refusal(f"none of your roles allows {ask.permission} in {ask.environment}", _who_could(ask))


def path_wants_role(ask: Ask) -> Refusal | None:
    """The recovery path's own list. A role must both be on it and allow the permission here: an `oncall` of staging
    does not become one of production by being a `viewer` there."""
    if not ask.roles:
        return None
    entry = _entry(ask)
    grants = ask.roster.grants(entry.roles) if entry is not None else ()
    if any(name in ask.roles and grant.allows(ask.permission, ask.environment) for name, grant in grants):
        return None
    return Refusal(f"this recovery path may be asked for only by {' or '.join(ask.roles)}", _who_could(ask))


_STANDING = (key_at_hand, key_in_roster, operator_known, key_is_the_operators, not_expired)
MAY_ACT = AllOf((*_STANDING, role_permits, role_permits_here, path_wants_role))
MAY_SOMEWHERE = AllOf((*_STANDING, role_permits))


def _entry(ask: Ask) -> RosterOperator | None:
    return ask.roster.operator(ask.operator.id) if ask.operator is not None else None


def _who_could(ask: Ask) -> str:
    """`ask ana (lead) or bo (commander)`: people who could do it now, without the one who asks."""
    able: list[str] = []
    for person in ask.roster.operators:
        if (ask.operator is not None and person.id == ask.operator.id) or not person.blobs():
            continue
        if person.valid_until is not None and ask.now >= person.valid_until:
            continue
        role = next(
            (
                name
                for name, grant in ask.roster.grants(person.roles)
                if grant.allows(ask.permission, ask.environment) and (not ask.roles or name in ask.roles)
            ),
            None,
        )
        if role is not None:
            able.append(f"{person.id} ({role})")
    if not able:
        where = f" in {ask.environment}" if ask.environment is not None else ""
        return f"nobody else in the roster could {ask.permission}{where}"
    rest = f" or {len(able) - _NAMED} others" if len(able) > _NAMED else ""
    return "ask " + " or ".join(able[:_NAMED]) + rest


_DOING = (
    Permission.ROLLBACK, Permission.ABORT, Permission.ADOPT, Permission.DECLARE, Permission.NOTE, Permission.APPROVE,
    Permission.JUDGE,
)  # fmt: skip


class Authority:
    """What the operator at hand may do. Asked as often as one likes; reads the time from `now` (Unix seconds)."""

    def __init__(
        self,
        roster: RosterView,
        operator: Operator | None,
        key: PersonKey | None,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.roster = roster
        self.operator = operator
        self.key = key.named(operator.id) if key is not None and operator is not None else key
        self._now = now

    @classmethod
    def of_key(cls, roster: RosterView, key: PersonKey | None, *, now: Callable[[], float] = time.time) -> Authority:
        """Authority of whoever's key is at hand."""
        return cls(roster, roster.identify(key), key, now=now)

    @classmethod
    def rehearsal(cls, seed: int, operator: str = "you", *, now: Callable[[], float]) -> Authority:
        """A drill's: one on-call person with a key from the seed, and every permission in every environment."""
        key = PersonKey.from_seed(seed, operator)
        person = RosterOperator(operator, "", ("oncall",), (), (key.line,))
        roster = RosterView((person,), (("oncall", RoleGrant(frozenset(Permission))),))
        return cls.of_key(roster, key, now=now)

    def may(self, permission: Permission, environment: str | None, *, roles: tuple[str, ...] = ()) -> Refusal | None:
        """None, or the rule that refuses and who could. Looking is always allowed. `roles` are the recovery path's
        own (`AuthorityRule.request`): one of them is needed besides the permission."""
        if permission is Permission.LOOK:
            return None
        return MAY_ACT(self._ask(permission, environment, roles))

    def look_only_reason(self) -> str:
        """ "" when something can be done from here, else why nothing can: for the header."""
        refusals = [MAY_SOMEWHERE(self._ask(permission, None, ())) for permission in _DOING]
        if any(refusal is None for refusal in refusals):
            return ""
        first = next(refusal for refusal in refusals if refusal is not None)
        if first.rule.startswith("the permission"):
            roles = ", ".join(self.operator.roles) if self.operator is not None and self.operator.roles else "none"
            return f"your roles ({roles}) allow looking only"
        return first.rule

    def with_key(self, key: PersonKey) -> Authority:
        """The same roster and clock with another key at hand (one that was just unlocked)."""
        return Authority.of_key(self.roster, replace(key, operator=""), now=self._now)

    def _ask(self, permission: Permission, environment: str | None, roles: tuple[str, ...]) -> Ask:
        return Ask(permission, environment, roles, self.roster, self.operator, self.key, self._now())
