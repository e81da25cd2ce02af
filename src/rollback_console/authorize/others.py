"""May somebody else do what they signed for: asked where their word comes by another way than their own console."""

from __future__ import annotations

from rollback_console.authorize.roles import AllOf, Ask, not_expired, operator_known, role_permits, role_permits_here
from rollback_console.authorize.roster_view import RosterView
from rollback_console.model.operator import Operator, Permission, Refusal

_MAY = AllOf((operator_known, not_expired, role_permits, role_permits_here))


def of_other(
    roster: RosterView, name: str, key: bytes, permission: Permission, environment: str, now: float
) -> Refusal | None:
    """None, or why not. `key`: whose signature was checked, in OpenSSH's wire form; `now` in Unix seconds."""
    owner = roster.owner(key)
    if owner is None or owner.id != name:
        return Refusal(f"the roster does not give that key to {name}")
    operator = Operator(owner.id, owner.name, owner.roles, "")
    return _MAY(Ask(permission, environment, (), roster, operator, None, now))
