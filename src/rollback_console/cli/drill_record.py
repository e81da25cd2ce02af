"""The one line that a drill leaves in the main journal, where there is one: who rehearsed what, and how well."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rollback_console.cli.common import find_config, find_journal
from rollback_console.errors import ConsoleError

if TYPE_CHECKING:
    from rollback_console.rehearse.drill_report import Past


@dataclass(frozen=True, slots=True)
class Record:
    """Where drills are put on record: the main journal, or why nowhere. `make`: it may be made for that."""

    path: Path | None
    why_not: str = ""
    make: bool = False

    @classmethod
    def find(cls, config: Path | None, *, make: bool) -> Record:
        """The settings' journal, else the platform's; none is made unless `make` says so."""
        try:
            path = find_journal(None, find_config(config))
        except ConsoleError as error:
            return cls(None, f"not on record: {error}")
        if make or path.exists():
            return cls(path, make=make)
        return cls(None, f"not on record: there is no journal {path}; --record makes it, and keeps drills there")

    def past(self, scenario: str, operator: str) -> tuple[Past, ...]:
        """Earlier drills of that scenario by that person, the newest first; none where they cannot be read."""
        from rollback_console.cli.common import rfc3339
        from rollback_console.rehearse.drill_report import Past
        from rollback_console.review.practice import practised

        if self.path is None or not self.path.exists():
            return ()
        try:
            found = practised(self.path).drills
        except ConsoleError:
            return ()
        mine = [each for each in found if each.scenario == scenario and each.operator == operator]
        return tuple(
            Past((rfc3339(d.at) or "")[:10], d.passed, d.acted_s, d.recovered_s, d.cost, d.cost_unit)
            for d in reversed(mine)
        )

    def keep(self, scenario: str, seed: int, passed: bool, detail: Mapping[str, Any], operator: str) -> str:
        """Put one drill on record; where it is now, in words. What cannot be written is said, and ends nothing."""
        from rollback_console.clock import WallClock
        from rollback_console.journal.device import DeviceKey
        from rollback_console.journal.kinds import DrillSummary
        from rollback_console.journal.store import Journal

        if self.path is None:
            return self.why_not
        body = DrillSummary(scenario=scenario, seed=seed, passed=passed, detail=dict(detail))
        try:
            with Journal.open(self.path, device=DeviceKey.default(), clock=WallClock()) as journal:
                entry = journal.append(body, operator=operator)
        except ConsoleError as error:
            return f"not on record: {error}"
        return f"on record: entry {entry.seq} of {self.path}; no rate, baseline or history counts it"


def person(config: Path | None) -> str:
    """Who practises: whom the roster knows by the key at hand, else the account's name. May take seconds where a
    keyring hangs."""
    import getpass

    from rollback_console.cli.identity import authority_at_hand, roster_of

    try:
        operator = authority_at_hand(roster_of(config), ask=False).operator
    except ConsoleError:
        operator = None
    if operator is not None:
        return operator.id
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # nobody's account
        return "somebody"
