"""What a degradation truly cost in a simulated world, in the world's own money.

Nobody in the world can know this: it is told from what is true there (`World.effect`), not from counters, and without
their noise. For one deployment and one slot of `World.slot_s` seconds it is

    visits expected * conversion * order value * (1 - the share of it that the effect in force leaves)

where the effect's share is the product of its factors on volume, conversion and order value: what `World` draws its
orders and revenue from. It is negative where something made more than its normal self.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from rollback_console.model.identity import DeploymentId
from rollback_console.rehearse.fleet import NORMAL, Effect

if TYPE_CHECKING:
    from rollback_console.rehearse.world import World

_REACH_S = 86_400.0  # how far back an onset is looked for


def losses(world: World, start: float, end: float) -> dict[DeploymentId, float]:
    """What each deployment lost between two times (Unix seconds), in the world's money; of all, also those of 0."""
    return {deployment.id: lost(world, start, end, (deployment.id,)) for deployment in world.deployments}


def lost(world: World, start: float, end: float, deployments: Iterable[DeploymentId] | None = None) -> float:
    """What these deployments (None: all) lost between two times (Unix seconds) in the world's money."""
    wanted = None if deployments is None else set(deployments)
    total = 0.0
    for index, deployment in enumerate(world.deployments):
        if wanted is not None and deployment.id not in wanted:
            continue
        for at, share in _slots(world.slot_s, start, end):
            missing = 1.0 - _kept(world.effect(deployment, at))
            if missing:
                a_minute = world.expected_visits(index, at) * deployment.conversion * deployment.order_value
                total += a_minute * missing * share * world.slot_s / 60.0
    return total


def onset(world: World, name: DeploymentId, before: float) -> float:
    """When what moves the deployment from its normal self at `before` began (Unix seconds), at most a day before it;
    `before` itself where nothing does."""
    deployment = world.deployment(name)
    found, slot = before, math.floor(before / world.slot_s)
    while world.effect(deployment, slot * world.slot_s) != NORMAL and before - slot * world.slot_s <= _REACH_S:
        found = slot * world.slot_s
        slot -= 1
    return found


def _kept(effect: Effect) -> float:
    return effect.volume * effect.conversion * effect.order_value


def _slots(slot_s: float, start: float, end: float) -> Iterable[tuple[float, float]]:
    """(its start, the share of it that lies between the two times) of every slot that is touched."""
    for slot in range(math.floor(start / slot_s), math.ceil(end / slot_s)):
        at = slot * slot_s
        yield at, (min(end, at + slot_s) - max(start, at)) / slot_s
