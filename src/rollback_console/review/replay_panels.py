"""Panels of a moment: what a deployment's view is made of, and in which order they stand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from rollback_console.engine.board import urgency
from rollback_console.model.identity import DeploymentId
from rollback_console.model.observation import Observation
from rollback_console.model.rules import DeploymentRule
from rollback_console.model.snapshot import DeploymentView, Trace
from rollback_console.model.value import dataclass
from rollback_console.model.verdict import TriggerState, Verdict
from rollback_console.review.replay_samples import Sampled

_STATES = {str(each): each for each in TriggerState}
Line = tuple[str, DeploymentRule, Observation | None]  # environment/name, its rule then, what was seen of it


@dataclass(frozen=True, slots=True)
class Grid:
    """The cells of traces: so many seconds each, up to `until`; each has a tick by number, or none."""

    step_s: float
    until: float
    numbers: tuple[int | None, ...]


def seen_in(sampled: Sampled | None) -> Iterator[Line]:
    """The rows of a tick whose policy can be read."""
    if sampled is not None:
        for rule, seen in zip(sampled.rules, sampled.tick.observations, strict=False):
            if rule is not None:
                yield str(rule.deployment.id), rule, seen


def as_recorded(verdict: Verdict | None, state: str) -> Verdict | None:
    """What was shown is what was recorded, whatever is made of it now."""
    if verdict is None or str(verdict.state) == state:
        return verdict
    return replace(verdict, state=_STATES[state]) if state in _STATES else verdict


def traces(rule: DeploymentRule, name: str, row: int, ticks: Sequence[Sampled | None], grid: Grid) -> tuple[Trace, ...]:
    """A deployment's traces: one a signal, a hole where nothing was recorded."""
    observations = []
    for each in ticks:
        found = None
        if each is not None:
            own = each.tick.observations
            if row < len(own) and str(own[row].deployment) == name:
                found = own[row]
            else:
                found = next((o for o in own if str(o.deployment) == name), None)
        observations.append(found)
    traces = []
    for number, signal in enumerate(rule.signals):
        readings = [
            None if o is None or number >= len(o.readings) else o.readings[number] for o in observations
        ]  # fmt: skip
        values = tuple([None if r is None else r.value for r in readings])
        bases = tuple([None if r is None else r.baseline for r in readings])
        traces.append(Trace(signal.name, grid.step_s, grid.until, values, bases))
    return tuple(traces)


def in_order(views: list[DeploymentView]) -> list[DeploymentView]:
    """Most urgent first; members of one incident stand together, at their most urgent's place."""

    def place(view: DeploymentView) -> tuple[int, float]:
        return urgency(view.verdict), -view.verdict.impact.score if view.verdict is not None else 0.0

    first: dict[str, tuple[int, float]] = {}
    for view in views:
        if view.incident is not None:
            first[view.incident] = min(first.get(view.incident, place(view)), place(view))

    def key(view: DeploymentView) -> tuple[tuple[int, float], str, tuple[int, float], DeploymentId]:
        own = place(view)
        return (own if view.incident is None else first[view.incident]), view.incident or "~", own, view.id

    return sorted(views, key=key)
