"""The roster as authority reads it: whose keys, which roles, what they allow where."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rollback_console.authorize import sshsig
from rollback_console.authorize.keys import PersonKey
from rollback_console.model.operator import Operator, Permission
from rollback_console.model.value import dataclass

if TYPE_CHECKING:  # pydantic's models of it cost 100 ms to import, and whoever calls `from_roster` has paid already
    from rollback_console.policy.roster import Roster


@dataclass(frozen=True, slots=True)
class RosterOperator:
    """A person as the roster has them: OpenSSH public key lines; `valid_until` in Unix seconds, None for ever."""

    id: str
    name: str = ""
    roles: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    valid_until: float | None = None

    def blobs(self) -> frozenset[bytes]:
        """The keys' wire forms; a line that is no Ed25519 key counts as none (the roster's own check names it)."""
        found = set()
        for line in self.keys:
            try:
                found.add(sshsig.parse_line(line))
            except ValueError:
                continue
        return frozenset(found)


@dataclass(frozen=True, slots=True)
class RoleGrant:
    """What a role allows. `environments` None means every environment; () means none."""

    permissions: frozenset[Permission]
    environments: frozenset[str] | None = None

    def allows(self, permission: Permission, environment: str | None) -> bool:
        """Whether the role allows it there; `environment` None asks whether it does anywhere."""
        if permission not in self.permissions:
            return False
        if self.environments is None:
            return True
        return bool(self.environments) if environment is None else environment in self.environments


@dataclass(frozen=True, slots=True)
class RosterView:
    """The roster as authority reads it. `roles` are (name, grant)."""

    operators: tuple[RosterOperator, ...] = ()
    roles: tuple[tuple[str, RoleGrant], ...] = ()

    def operator(self, name: str) -> RosterOperator | None:
        return next((operator for operator in self.operators if operator.id == name), None)

    def owner(self, blob: bytes) -> RosterOperator | None:
        """Whose key this is, or None."""
        return next((operator for operator in self.operators if blob in operator.blobs()), None)

    def all_blobs(self) -> frozenset[bytes]:
        return frozenset().union(*(operator.blobs() for operator in self.operators))

    def grants(self, roles: Iterable[str]) -> tuple[tuple[str, RoleGrant], ...]:
        wanted = set(roles)
        return tuple((name, grant) for name, grant in self.roles if name in wanted)

    def identify(self, key: PersonKey | None) -> Operator | None:
        """The operator whose key is at hand; None without a key, or when it is nobody's."""
        owner = self.owner(key.blob) if key is not None else None
        if owner is None or key is None:
            return None
        return Operator(owner.id, owner.name, owner.roles, key.fingerprint)


def from_roster(roster: Roster) -> RosterView:
    """What a roster file says, as a view."""
    return RosterView(
        tuple(
            RosterOperator(person.id, person.name, person.roles, person.groups, person.keys, person.valid_until)
            for person in roster.operators
        ),
        tuple(
            (
                name,
                RoleGrant(frozenset(role.may), frozenset(role.environments) if role.environments is not None else None),
            )
            for name, role in roster.roles.items()
        ),
    )
