"""How each version fared while it served: the facts from which a way back is chosen."""

from __future__ import annotations

from rollback_console.decide.judge import FRESH, step
from rollback_console.decide.trigger import state_of
from rollback_console.engine.loop import Engine
from rollback_console.engine.warmup import pace_of
from rollback_console.execute.target import Served, Service
from rollback_console.model.identity import DeploymentId
from rollback_console.model.verdict import TriggerState

LOOKED_AT_S = 7200.0  # of each service, its last two hours are judged again
_POINTS = 480  # evaluations of one service, at most: a step is coarser where more would be needed


async def served_history(engine: Engine, deployment: DeploymentId, now: float) -> tuple[Served, ...]:
    """Every service of the last two days but the present one, its end judged by replaying the trigger over it.

    The replay begins with an empty memory and its evaluations lie before the change: what a version did is judged by
    what it did, on windows in which it alone served. Raises `BackendError`.
    """
    index = engine.index[deployment]
    changes = engine.versions.changes.get(index, [])
    found: list[Served] = []
    for number, (ended, version, _) in enumerate(changes):
        if version is None:
            continue
        began = changes[number - 1][0] if number else ended - LOOKED_AT_S
        found.extend(await _judged(engine, index, version, max(began, ended - LOOKED_AT_S), ended))
    return tuple(found)


async def _judged(engine: Engine, index: int, version: str, began: float, ended: float) -> list[Served]:
    rule = engine.rules[index]
    window = max((signal.window_s for signal in rule.signals), default=0.0)
    grid = engine.options.step_s
    every = max(1, round((ended - began) / grid / _POINTS)) * grid
    pace = grid
    if any(signal.evidence is not None for signal in rule.signals):  # whose steps are taken at whole windows
        pace = pace_of([rule], grid)
        every = _meeting(pace, every, grid)
    start = -(-(began + window) // pace) * pace
    end = start + (ended - grid - start) // every * every
    if end <= start:
        return [Served(version, began, ended, Service.UNKNOWN)]
    memory, found, since, now_state = FRESH, [], start, Service.UNKNOWN
    for tick in await engine.backfill.between(start, end, [index], every):
        memory = step(rule, tick.observations[0], memory).memory
        state, _ = state_of(memory, cooling=False)
        service = {
            TriggerState.HEALTHY: Service.HEALTHY,
            TriggerState.FIRED: Service.FIRED,
            TriggerState.CLEARING: Service.FIRED,
        }.get(state, Service.UNKNOWN)
        if service is not now_state:
            turned = tick.at
            if memory.active_since is not None and now_state is Service.HEALTHY:
                turned = max(since, min(turned, memory.active_since))  # evidence finds an onset in the past
            if turned > since:
                found.append(Served(version, since, turned, now_state))
            since, now_state = turned, service
    found.append(Served(version, since, ended, now_state))
    return found


def _meeting(pace: float, every: float, grid: float) -> float:
    """The step of `every` seconds, or the next coarser one, that meets every multiple of `pace` (both on the grid)."""
    ratio, wanted = round(pace / grid), round(every / grid)
    if wanted >= ratio:
        return -(-wanted // ratio) * pace
    return next(step for step in range(wanted, ratio + 1) if ratio % step == 0) * grid
