"""What another mode would have done: a policy's past, replayed over the transitions that the journal holds.

`observe` says nothing, `advise` alarms, `act` executes what is advised unless a guard holds back (`decide.guards`).
What would have come after an action that nobody took is not known: the past is taken as it was, and such an action only
counts for the guards after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from rollback_console.decide.guards import Acts, clock, holding
from rollback_console.model.identity import DeploymentId
from rollback_console.model.rules import DeploymentRule
from rollback_console.model.text import plain
from rollback_console.model.value import dataclass
from rollback_console.model.verdict import TriggerState

LOOK_BACK_S = 28 * 86_400.0
_WEEK_S = 7 * 86_400.0


@dataclass(frozen=True, slots=True)
class Turned:
    """One transition of a deployment's trigger, as the journal holds it. For a firing: `blind`: it fired for not being
    seen; `advised`: the version that its incident's advice named then, None where that was no rollback; `why`: the
    advice in words."""

    deployment: DeploymentId
    at: float
    after: TriggerState
    blind: bool = False
    advised: str | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Would:
    """One firing, and what `act` would have done at it. `to`: the version it would have gone back to; None: it would
    have left it to people, and `words` say why."""

    deployment: DeploymentId
    at: float
    to: str | None
    words: str


@dataclass(frozen=True, slots=True)
class Preview:
    """What moving up would have done between `since` and `until` (Unix seconds)."""

    since: float
    until: float
    firings: tuple[Would, ...]

    @property
    def actions(self) -> tuple[Would, ...]:
        """The firings at which `act` would have rolled back."""
        return tuple(each for each in self.firings if each.to is not None)

    def lines(self) -> tuple[str, ...]:
        """For a person: how often each mode would have stirred, then every firing with its reason."""
        days = (self.until - self.since) / 86_400.0
        count, acted = len(self.firings), len(self.actions)
        weekly = count * _WEEK_S / (self.until - self.since)
        first = (
            f"in the last {days:.0f} days: `advise` would have alarmed {_times(count)} ({weekly:.1f} a week), `act` "
            f"would have rolled back by itself {_times(acted)}"
        )
        return first, *(f"{clock(each.at, -86_400.0)} {each.deployment}: {each.words}" for each in self.firings)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def moving_up(
    rules: Mapping[DeploymentId, DeploymentRule],
    turned: Iterable[Turned],
    done: Mapping[DeploymentId, Sequence[float]],
    until: float,
    look_back_s: float = LOOK_BACK_S,
) -> Preview:
    """What moving up would have done in the `look_back_s` seconds before `until`.

    `turned` in any order; `done`: when people went back to an older version of a deployment (Unix seconds). What is
    earlier still counts for the guards. Deployments without a rule are passed over.
    """
    since = until - look_back_s
    known: dict[DeploymentId, Acts] = {}
    found: list[Would] = []
    for turn in sorted(turned, key=lambda turn: (turn.at, turn.deployment)):
        rule = rules.get(turn.deployment)
        if rule is None or turn.at > until:
            continue
        acts = known.get(turn.deployment, Acts())
        if turn.after is TriggerState.FIRED:
            would = _firing(rule, turn, replace(acts, fired=turn.at), done.get(turn.deployment, ()))
            if turn.at >= since:
                found.append(would)
            if would.to is not None:
                acts = replace(acts, acted=turn.at, automatic=(*acts.automatic, turn.at))
        elif turn.after in (TriggerState.HEALTHY, TriggerState.COOLING):
            acts = replace(acts, cleared=turn.at)
        known[turn.deployment] = acts
    return Preview(since, until, tuple(found))


def _firing(rule: DeploymentRule, turn: Turned, acts: Acts, done: Sequence[float]) -> Would:
    """What `act` would have done where a trigger fired."""
    earlier = [when for when in done if when <= turn.at]
    acted = max([*earlier, *([acts.acted] if acts.acted is not None else [])], default=None)
    if turn.blind:
        why = "it fired for not being seen"
    elif turn.advised is None:
        why = plain(turn.why, 200) or "no rollback was advised"
    elif held := holding(rule.trigger, turn.at, replace(acts, acted=acted)):
        why = "; ".join(each.words for each in held)
    else:
        return Would(turn.deployment, turn.at, turn.advised, f"rolled back to v{plain(turn.advised, 40)}")
    return Would(turn.deployment, turn.at, None, f"left to people: {why}")
