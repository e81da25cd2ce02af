"""The recorded samples of a journal, tick by tick: unpacked when asked for, the last few kept; and the rules that they
were judged by, out of the journal's own policies."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable

from rollback_console.decide.judge import FRESH, decide
from rollback_console.engine.record import memory_from, unpack
from rollback_console.errors import ConsoleError
from rollback_console.journal.entry import Entry
from rollback_console.journal.kinds import TransitionRecorded
from rollback_console.model.observation import Observation, Tick
from rollback_console.model.rules import DeploymentRule
from rollback_console.model.text import plain
from rollback_console.model.value import dataclass
from rollback_console.model.verdict import TriggerMemory, Verdict
from rollback_console.review.replay_index import Index

_KEPT_TICKS = 400  # unpacked: a few hundred bytes a deployment each
_KEPT_TURNS = 2_000
_KEPT_LAYOUTS = 16
ON_GRID = 1e-6
_ODD = (ValueError, KeyError, TypeError, IndexError, AttributeError)


@dataclass(frozen=True, slots=True)
class Sampled:
    """A tick with the rules of its rows (None: the policy of then is not here, or cannot be read)."""

    tick: Tick
    rules: tuple[DeploymentRule | None, ...]
    layout: str


@dataclass(frozen=True, slots=True)
class Turned:
    """A recorded change of state: what it rests on, as far as it can be read."""

    place: int
    body: TransitionRecorded
    before: TriggerMemory
    after: TriggerMemory


@dataclass(frozen=True, slots=True)
class Walked:
    """The engine's way from a recorded decision over the ticks after it: the verdict at the last of them (None: samples
    or rules are missing), and whether each evaluation between is recorded."""

    verdict: Verdict | None
    memory: TriggerMemory
    exact: bool


class Samples:
    """Asked by tick number (`Ticks`) and by place."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._ticks: OrderedDict[int, Sampled | None] = OrderedDict()
        self._turns: OrderedDict[int, Turned | None] = OrderedDict()
        self._layouts: OrderedDict[str, bytes | None] = OrderedDict()
        self._rules_of: dict[str, tuple[DeploymentRule | None, ...]] = {}
        self._policies: dict[str, tuple[DeploymentRule, ...]] = {}
        self._ways: OrderedDict[tuple[int, str], tuple[int, TriggerMemory, bool]] = OrderedDict()
        self.unreadable: dict[str, str] = {}  # policies that are gone or cannot be read, and why

    # -- ticks --------------------------------------------------------------------------------------------------------

    def known(self, number: int) -> bool:
        """Is this tick unpacked already."""
        return number in self._ticks

    def tick(self, number: int) -> Sampled | None:
        """The samples of one evaluation; None where they are gone, or cannot be read."""
        if number in self._ticks:
            self._ticks.move_to_end(number)
            return self._ticks[number]
        found = self._ticks[number] = self._unpacked(self._index.ticks.digest(number))
        if len(self._ticks) > _KEPT_TICKS:
            self._ticks.popitem(last=False)
        return found

    def _unpacked(self, digest: str) -> Sampled | None:
        data = self._index.source.get_blob(digest)
        if data is None:
            return None
        try:
            layout = str(json.loads(data.partition(b"\n")[0])["layout"])
            tick = unpack(data, self._layout)
        except _ODD:
            return None
        return Sampled(tick, self._rules(layout), layout)

    def _layout(self, digest: str) -> bytes | None:
        if digest not in self._layouts:
            self._layouts[digest] = self._index.source.get_blob(digest)
            if len(self._layouts) > _KEPT_LAYOUTS:
                self._layouts.popitem(last=False)
        return self._layouts[digest]

    def _rules(self, layout: str) -> tuple[DeploymentRule | None, ...]:
        if layout not in self._rules_of:
            rows = json.loads(self._layout(layout) or b'{"rows":[]}')["rows"]
            self._rules_of[layout] = tuple(self.rule(policy, name) for name, policy in rows)
        return self._rules_of[layout]

    # -- policies -----------------------------------------------------------------------------------------------------

    def rule(self, policy: str, deployment: str) -> DeploymentRule | None:
        """The rule of a deployment by a policy's digest; None where the policy is not here or does not name it."""
        return next((rule for rule in self.rules(policy) if str(rule.deployment.id) == deployment), None)

    def rules(self, policy: str) -> tuple[DeploymentRule, ...]:
        """The rules of a policy by its digest; none where it is not here or cannot be read."""
        if policy not in self._policies:
            data = self._index.source.get_blob(policy)
            if data is None:
                self.unreadable[policy] = f"the policy {policy[:12]} is not in what was opened"
            self._policies[policy] = self.compiled(data, policy) if data is not None else ()
        return self._policies[policy]

    def keep(self, digest: str, rules: tuple[DeploymentRule, ...]) -> None:
        """Take a policy's rules that were `compiled` elsewhere."""
        self._policies.setdefault(digest, rules)

    def compiled(self, data: bytes, digest: str) -> tuple[DeploymentRule, ...]:
        """As `rules`, of the bytes themselves."""
        from rollback_console.policy.load import parse_policy

        try:
            return tuple(parse_policy(data, f"policy {digest[:12]}").rules)
        except ConsoleError as error:
            self.unreadable[digest] = f"the policy {digest[:12]} cannot be read: {plain(error.message, 160)}"
            return ()

    # -- decisions ----------------------------------------------------------------------------------------------------

    def turn(self, place: int) -> Turned | None:
        """The transition at a place; None where this program cannot read it."""
        if place in self._turns:
            self._turns.move_to_end(place)
            return self._turns[place]
        found = self._turns[place] = self._turned(place, self._index.entry(place))
        if len(self._turns) > _KEPT_TURNS:
            self._turns.popitem(last=False)
        return found

    def _turned(self, place: int, entry: Entry | None) -> Turned | None:
        body = entry.parsed() if entry is not None else None
        if not isinstance(body, TransitionRecorded):
            return None
        try:
            return Turned(place, body, memory_from(body.memory_before), memory_from(body.memory_after))
        except _ODD:
            return None

    def jumped(
        self, rule: DeploymentRule, observation: Observation, turned: Turned | None, *, cooling: bool
    ) -> Verdict | None:
        """The verdict on an observation as if nothing had been evaluated since the last recorded decision: its numbers
        are the samples' own, its clocks those of the decision. None where the engine refuses."""
        memory = FRESH
        if turned is not None:
            memory = turned.before if turned.body.at >= observation.at - ON_GRID else turned.after
        if memory.at is not None and observation.at <= memory.at:
            memory = FRESH
        try:
            return decide(rule, observation, memory, cooling=cooling)[0]
        except _ODD:
            return None

    def walked(
        self, turned: Turned, deployment: str, until: int, most: int, cooling: Callable[[float], bool]
    ) -> Walked | None:
        """From a recorded decision over every recorded tick up to number `until`, at most `most` of them unpacked anew
        by this call. None where it did not come that far: ask again."""
        index = self._index
        first = index.ticks.until(turned.place) + 1
        key = (turned.place, deployment)
        number, memory, exact = self._ways.get(key, (first - 1, turned.after, True))
        if number >= until:  # back: a way is walked forward only
            number, memory, exact = first - 1, turned.after, True
        gap = 1.5 * index.ticks.step_s
        found = Walked(None, memory, exact=False)
        for at in range(number + 1, until + 1):
            if not self.known(at):
                most -= 1
                if most < 0:
                    return None
            sampled = self.tick(at)
            row = row_of(sampled, deployment)
            if row is None:  # another machine's, which does not watch it; or gone
                exact = exact and sampled is not None
                continue
            rule, observation = row
            if memory.at is not None and observation.at <= memory.at + ON_GRID:
                continue
            exact = exact and rule.policy_digest == turned.body.policy
            exact = exact and memory.at is not None and observation.at - memory.at <= gap
            try:
                verdict, memory = decide(rule, observation, memory, cooling=cooling(observation.at))
            except _ODD:
                return Walked(None, memory, exact=False)
            found = Walked(verdict, memory, exact)
            if at < until:  # the last is decided again when asked for again: a verdict has to come of it
                self._ways[key] = (at, memory, exact)
        while len(self._ways) > _KEPT_TICKS:
            self._ways.popitem(last=False)
        return found


def row_of(sampled: Sampled | None, deployment: str) -> tuple[DeploymentRule, Observation] | None:
    """A deployment's rule and observation in a tick; None where it has none."""
    if sampled is None:
        return None
    for rule, observation in zip(sampled.rules, sampled.tick.observations, strict=False):
        if rule is not None and str(observation.deployment) == deployment:
            return rule, observation
    return None
