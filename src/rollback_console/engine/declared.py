"""What people declared by hand, folded from the journal: stretches out of every baseline, changes that are expected.

An evaluation is told what was written down before it and not taken back by then. So whoever judges it, live, in a
back-fill or years later, is told the same. A transition says what it was told, for `journal verify --decisions` to
compare.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rollback_console.decide.guards import ends
from rollback_console.model.declared import LONGEST_CHANGE_S, LONGEST_REASON, LONGEST_STRETCH_S, Exclusion, Expectation
from rollback_console.model.rules import DeploymentRule, ExpectedChange, Stretch
from rollback_console.model.text import plain

if TYPE_CHECKING:
    from rollback_console.journal.entry import Entry

KINDS = ("exclusion", "expected")
_SLACK_S = 1.0  # entries are stamped with the wall's time, stretches end by it
_READ_S = 5.0  # what was written so shortly before an evaluation may have come too late for it


class Declared:
    """The fold. `take` every entry of `KINDS`, in order; another program's that go beyond the bounds do not count."""

    def __init__(self) -> None:
        self.exclusions: dict[str, Exclusion] = {}
        self.expectations: dict[str, Expectation] = {}
        self.revision = 0  # changes with every entry that counts
        self._moments: tuple[int, tuple[float, ...]] = (0, ())

    def take(self, entry: Entry) -> None:
        """Fold one entry."""
        from rollback_console.journal.kinds import ChangeExpected, StretchExcluded

        body = entry.parsed()
        if isinstance(body, StretchExcluded):
            self._exclusion(entry, body.event, body.id, body.start, body.end, body.deployments, body.reason)
        elif isinstance(body, ChangeExpected):
            self._expectation(entry, body.event, body.id, body.until, body.deployments, body.reason)

    def _exclusion(
        self, entry: Entry, event: str, name: str, start: float | None, end: float | None,
        deployments: Sequence[str], reason: str,
    ) -> None:  # fmt: skip
        known = self.exclusions.get(name)
        if event == "restored":
            if known is not None and known.restored_at is None:
                self.exclusions[name] = replace(known, restored_at=entry.at, restored_by=plain(entry.operator, 100))
                self.revision += 1
            return
        if known is not None or start is None or end is None:
            return
        if start < end <= entry.at + _SLACK_S and end - start <= LONGEST_STRETCH_S:
            why, by = plain(reason, LONGEST_REASON), plain(entry.operator, 100)
            self.exclusions[name] = Exclusion(name, start, end, tuple(deployments), why, by, entry.at)
            self.revision += 1

    def _expectation(
        self, entry: Entry, event: str, name: str, until: float | None, deployments: Sequence[str], reason: str
    ) -> None:
        known = self.expectations.get(name)
        if event == "ended":
            if known is not None and known.ended_at is None:
                self.expectations[name] = replace(known, ended_at=entry.at, ended_by=plain(entry.operator, 100))
                self.revision += 1
            return
        if known is not None or until is None or not deployments:
            return
        if entry.at < until <= entry.at + LONGEST_CHANGE_S + _SLACK_S:
            why, by = plain(reason, LONGEST_REASON), plain(entry.operator, 100)
            self.expectations[name] = Expectation(name, tuple(deployments), until, why, by, entry.at)
            self.revision += 1

    def standing(self) -> tuple[Exclusion, ...]:
        """The stretches that are left out now, oldest first."""
        found = [each for each in self.exclusions.values() if each.restored_at is None]
        return tuple(sorted(found, key=lambda each: (each.start, each.id)))

    def going_on(self, now: float) -> tuple[Expectation, ...]:
        """The changes that people expect by the clock; what ends last comes last."""
        found = [each for each in self.expectations.values() if each.going_on(now)]
        return tuple(sorted(found, key=lambda each: (each.until, each.id)))

    # -- asking -------------------------------------------------------------------------------------------------------

    def excluded(self, deployment: str, at: float) -> tuple[Stretch, ...]:
        """The stretches that the evaluation at `at` of a deployment (environment/name) leaves out."""
        if not self.exclusions:
            return ()
        found = [each for each in self.exclusions.values() if each.concerns(deployment) and each.known_at(at)]
        return tuple(each.stretch() for each in sorted(found, key=lambda each: (each.start, each.id)))

    def steady(self, deployment: str, at: float) -> tuple[float, float]:
        """(after, until): evaluations later than the one and not later than the other are told the same stretches."""
        moments = _moments(each for each in self.exclusions.values() if each.concerns(deployment))
        place = bisect_left(moments, at)
        return moments[place - 1] if place else -math.inf, moments[place] if place < len(moments) else math.inf

    def moments(self) -> tuple[float, ...]:
        """When stretches were written down or taken back, rising."""
        if self._moments[0] != self.revision:
            self._moments = (self.revision, _moments(self.exclusions.values()))
        return self._moments[1]

    def expected(self, deployment: str, at: float) -> tuple[ExpectedChange, ...]:
        """The changes that people expect of a deployment, as the evaluation at `at` knows them."""
        if not self.expectations:
            return ()
        found = [each for each in self.expectations.values() if each.concerns(deployment) and each.known_at(at)]
        return tuple(each.change() for each in sorted(found, key=lambda each: (each.made_at, each.id)))

    def told(self, deployment: str, at: float) -> dict[str, Any]:
        """What a transition of a deployment at `at` says of all this, by id; empty where there is nothing to say."""
        excluded = {
            each.id: [each.start, each.end]
            for each in self.exclusions.values()
            if each.concerns(deployment) and each.known_at(at)
        }
        expected = {
            each.id: each.until
            for each in self.expectations.values()
            if each.concerns(deployment) and each.known_at(at)
        }
        return {
            **({"excluded": excluded} if excluded else {}),
            **({"expected": expected} if expected else {}),
        }

    def difference(self, deployment: str, at: float, recorded: Mapping[str, Any]) -> str | None:
        """What is wrong with what a transition says it was told, by the entries folded so far; None: nothing. What was
        written, or taken back, in the seconds before it may be there or not: it may have come too late."""
        mine = self.told(deployment, at)
        for what in ("excluded", "expected"):
            said, known = recorded.get(what, {}), mine.get(what, {})
            if not isinstance(said, dict):
                return f"declared.{what} is no table"
            for name in sorted({*said, *known}):
                if name in said and name in known:
                    if said[name] != known[name]:
                        return f"declared.{what}.{name}: recorded {said[name]!r}, declared {known[name]!r}"
                elif not self._at_the_last_moment(name, at):
                    where = "recorded, but not declared then" if name in said else "declared then, but not recorded"
                    return f"declared.{what}.{name}: {where}"
        return None

    def _at_the_last_moment(self, name: str, at: float) -> bool:
        one, other = self.exclusions.get(name), self.expectations.get(name)
        moments = [one.made_at, one.restored_at] if one is not None else []
        moments += [other.made_at, other.ended_at] if other is not None else []
        return any(each is not None and at - _READ_S <= each <= at for each in moments)


def by_policy(rule: DeploymentRule, now: float) -> Expectation | None:
    """The change that a deployment's policy says goes on at `now`, or None."""
    for change in rule.trigger.expected:
        if (end := ends(change, now)) is not None:
            why = plain(change.why, LONGEST_REASON)
            return Expectation("", (str(rule.deployment.id),), end, why, f"policy {rule.policy}", end)
    return None


def _moments(exclusions: Iterable[Exclusion]) -> tuple[float, ...]:
    return tuple(sorted({at for each in exclusions for at in (each.made_at, each.restored_at) if at is not None}))
