"""A scenario's words made into a stage: a world, the backends in front of it, what is true in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rollback_console.errors import UsageError
from rollback_console.model.identity import DeploymentId
from rollback_console.model.text import plain
from rollback_console.rehearse import registered
from rollback_console.rehearse.backends import WorldMetrics, WorldRegistry
from rollback_console.rehearse.fleet import (
    Behaviour,
    Breakage,
    Effect,
    Fault,
    FaultKind,
    Flip,
    How,
    Rival,
    Shape,
    SimulatedDeployment,
)
from rollback_console.rehearse.grid import STEP_S, aligned
from rollback_console.rehearse.noises import Noises
from rollback_console.rehearse.papers import Paper, paper
from rollback_console.rehearse.reactions import Reactions
from rollback_console.rehearse.series import Names
from rollback_console.rehearse.setup import Setup
from rollback_console.rehearse.truth import Bands, Cure, Truth
from rollback_console.rehearse.world import World

if TYPE_CHECKING:
    from rollback_console.clock import Clock
    from rollback_console.policy.scenario import Scenario, ScenarioDeployment, ScenarioVersion
    from rollback_console.policy.scenario_timeline import ScenarioEffect, ScenarioEvent

_DAY = 86_400.0
_WEEK = 7 * _DAY
_MONDAY_S = 3 * _DAY  # the epoch was a Thursday


def stage(
    words: Scenario, seed: int, start: float, clock: Clock, *, path: Path | None = None, policy: Path | None = None,
    mode: str | None = None, noise: str | None = None,
) -> Setup:  # fmt: skip
    """A scenario's stage, whose story begins at `start` (Unix seconds, on a step), where the clock stands.

    `path`: the scenario's own file, beside which its policy lies (None: it is one of the wheel's). `policy`: a file
    that judges in its place; deployments that only it names serve quietly beside the others. `mode`: takes the place of
    the policy's; `noise`: of the world's. The same words, seed and start give the same bytes throughout. Raises
    FileProblems for a bad policy, UsageError for one that does not name what the scenario is about, or a noise that is
    none.
    """
    start = aligned(start)
    if noise is not None:
        words = _noisy(words, noise)
    judged = paper(words, path, policy, mode)
    quiet = _quiet(words, judged, start, seed)
    world = _world(words, seed, start, clock, quiet)
    names = Names(words.world.metrics, words.world.labels)
    return Setup(
        world=world,
        metrics=WorldMetrics(world, names),
        registry=WorldRegistry(world),
        policy_name=judged.name,
        policy_bytes=judged.data,
        start=start,
        step_s=STEP_S,
        truth=truth(words),
        runbooks=("model-version-rollback", "upstream-fault", "blind-telemetry", "rollback-of-a-rollback"),
    )


def _noisy(words: Scenario, noise: str) -> Scenario:
    """The same scenario under another noise."""
    from rollback_console.policy.scenario import NOISES

    if noise not in NOISES:
        raise UsageError(f"there is no noise {plain(noise, 40)}", f"take one of {', '.join(NOISES)}")
    return words.model_copy(update={"world": words.world.model_copy(update={"noise": noise})})


def _id(words: Scenario, name: str) -> DeploymentId:
    """The deployment of that name, or of that environment/name. The words were checked: there is one."""
    for each in words.world.deployments:
        if name in (each.name, f"{each.environment}/{each.name}"):
            return DeploymentId(each.environment, each.name)
    raise ValueError(f"{name} is no deployment of this scenario")


def _words_of(words: Scenario, name: str) -> ScenarioDeployment:
    identity = _id(words, name)
    return next(w for w in words.world.deployments if (w.environment, w.name) == (identity.environment, identity.name))


# -- the world ---------------------------------------------------------------------------------------------------------


def _world(words: Scenario, seed: int, start: float, clock: Clock, quiet: tuple[SimulatedDeployment, ...]) -> World:
    deployments = (*(_deployment(each, seed, start) for each in words.world.deployments), *quiet)
    history = [flip for each in words.world.deployments for flip in registered.flips(each, start)]
    history += [Flip(start - 30 * _DAY, each.model, each.alias, "2", "ci/promote") for each in quiet]
    history += [Flip(start - 60 * _DAY, each.model, each.alias, "1", "ci/promote") for each in quiet]
    history += list(_flips(words, start))
    faults = tuple(_fault(words, event, start + event.at) for event in words.timeline if _is_fault(event, False))
    kind, shift = words.world.noise, _shift(words, start)
    noises = tuple(
        Noises(kind, seed, each.id, STEP_S, start + shift) for each in deployments if kind != "everyday"
    )  # fmt: skip
    traffic = words.world.traffic
    hours, minutes = traffic.peak.split(":")
    shape = Shape(traffic.low, int(hours) * 3_600.0 + int(minutes) * 60.0, traffic.weekend)
    return World(
        seed, clock, deployments, tuple(history), faults, STEP_S, noises=noises, shape=shape, shift_s=shift,
        reactions=Reactions(tuple(_breakages(words)), tuple(_rivals(words))),
    )  # fmt: skip


def _shift(words: Scenario, start: float) -> float:
    """How far the world's time of the week is ahead of the clock's, at most half a week."""
    ahead = (words.begins.seconds - (start + _MONDAY_S)) % _WEEK
    return ahead - _WEEK if ahead >= _WEEK / 2 else ahead


def _deployment(words: ScenarioDeployment, seed: int, start: float) -> SimulatedDeployment:
    troubled = (version for version in words.versions if version.moves or version.silent)
    return SimulatedDeployment(
        id=DeploymentId(words.environment, words.name),
        model=words.model or words.name,
        alias=words.alias,
        visits_per_minute=words.visits_per_minute,
        conversion=words.conversion,
        order_value=words.order_value,
        latency_s=words.latency,
        error_rate=words.errors,
        lag_s=words.lag,
        depends_on=words.depends_on,
        behaviours=tuple(_behaviour(version, start) for version in troubled),
        versions=registered.versions(words, start, seed),
        tier=words.tier,
        unsafe_rate=words.unsafe,
        known_as=tuple(sorted(words.labels.items())),
    )


def _behaviour(version: ScenarioVersion, start: float) -> Behaviour:
    return Behaviour(
        version=version.version,
        effect=_effect(version),
        after_s=version.after,
        over_s=version.over,
        kills_exporter=version.silent,
        lasts_s=version.for_,
        fades_s=version.fades,
        from_at=None if version.from_ is None else start + version.from_,
    )


def _effect(words: ScenarioEffect, stale: bool = False) -> Effect:
    return Effect(
        conversion=1.0 + (words.conversion or 0.0),
        order_value=1.0 + (words.order_value or 0.0),
        latency=1.0 + (words.latency or 0.0),
        volume=1.0 + (words.volume or 0.0),
        errors=words.errors or 0.0,
        feature_age=stale,
        unsafe=words.unsafe or 0.0,
    )


# -- the timeline ------------------------------------------------------------------------------------------------------


def _is_fault(event: ScenarioEvent, waits: bool) -> bool:
    return event.fault is not None and (event.on is not None) is waits


def _fault(words: Scenario, event: ScenarioEvent, starts_at: float) -> Fault:
    """A fault that begins at `starts_at`, and where it ends, ends so long after it."""
    kind, target = FaultKind(event.fault or ""), event.target or ""
    of_deployment = kind in (FaultKind.DEPLOYMENT, FaultKind.EXPORTER)
    dependencies = {each for item in words.world.deployments for each in item.depends_on}
    if of_deployment or (kind is FaultKind.TRACKING and target not in dependencies):
        target = str(_id(words, target))
    slow = event.how == "slow"
    return Fault(
        kind=kind,
        target=target,
        starts_at=starts_at,
        ends_at=None if event.for_ is None else starts_at + event.for_,
        effect=_effect(event, event.features == "stale"),
        over_s=event.over,
        fades_s=event.fades,
        how=How(event.how),
        delay_s=event.delay if slow else 0.0,
        off_by=1.0 + (event.off_by or 0.0),
        only=event.only if event.how == "wrong" else (),
    )


def _breakages(words: Scenario) -> Iterator[Breakage]:
    for event in words.timeline:
        if _is_fault(event, True):
            yield Breakage(_fault(words, event, 0.0), event.at, event.loses == "answer")


def _rivals(words: Scenario) -> Iterator[Rival]:
    for event in words.timeline:
        if event.flip is not None and event.on is not None:
            yield Rival(_id(words, event.flip), event.at, event.to, event.by, event.times)


def _flips(words: Scenario, start: float) -> Iterator[Flip]:
    for event in words.timeline:
        if event.flip is not None and event.on is None and event.to is not None:
            moved = _words_of(words, event.flip)
            yield Flip(start + event.at, moved.model or moved.name, moved.alias, event.to, event.by)


# -- what is right -----------------------------------------------------------------------------------------------------


def truth(words: Scenario) -> Truth:
    """The right answers, as the words give them; what a fault reaches and no rollback mends is told from them."""
    cures = tuple(
        Cure(_id(words, move.deployment), _words_of(words, move.deployment).serving, move.to)
        for move in words.right.rollback
    )
    cured = {cure.deployment for cure in cures}
    reached, blind = _reached(words, cured)
    bands = words.bands
    return Truth(
        cures=cures,
        not_curable=reached,
        blind=blind,
        recover_within_s=bands.recover,
        bands=Bands(bands.notice, bands.decide, bands.authorize, bands.act, bands.recover),
        leave=tuple(sorted({_id(words, name) for name in words.right.leave} - set(reached) - set(blind))),
        klass=words.class_,
    )


def _reached(words: Scenario, cured: set[DeploymentId]) -> tuple[tuple[DeploymentId, ...], tuple[DeploymentId, ...]]:
    """The deployments that a fault reaches, and those that go unseen; of both, none that a rollback cures."""
    reached: set[DeploymentId] = set()
    blind: set[DeploymentId] = set()
    for event in words.timeline:
        if event.fault == "exporter" and event.target is not None:
            blind.add(_id(words, event.target))
        elif event.fault == "deployment" and event.target is not None:
            reached.add(_id(words, event.target))
        elif event.fault == "dependency":
            hit = (each for each in words.world.deployments if event.target in each.depends_on)
            reached.update(DeploymentId(each.environment, each.name) for each in hit)
    blind.update(
        DeploymentId(each.environment, each.name)
        for each in words.world.deployments
        if any(version.silent and version.version == each.serving for version in each.versions)
    )
    return tuple(sorted(reached - cured)), tuple(sorted(blind - cured - reached))


# -- another policy ----------------------------------------------------------------------------------------------------


def _quiet(words: Scenario, judged: Paper, start: float, seed: int) -> tuple[SimulatedDeployment, ...]:
    """Deployments that only the policy names: they serve beside the others and nothing happens to them. Raises
    UsageError where the policy does not name what the scenario is about."""
    if judged.generated:
        return ()
    from rollback_console.policy.scenario import ScenarioDeployment

    known = {DeploymentId(each.environment, each.name) for each in words.world.deployments}
    rules = {rule.deployment.id: rule for rule in judged.rules()}
    right = truth(words)
    about = {cure.deployment for cure in right.cures} or {*right.not_curable, *right.blind, *right.leave} or known
    if missing := sorted(str(each) for each in about - rules.keys()):
        raise UsageError(
            f"{plain(judged.name, 120)} says nothing of {plain(', '.join(missing), 200)}, which {words.name} is about",
            "give the deployments of a copy of the scenario the names of the policy's",
        )
    found = []
    for rule in (rules[each] for each in sorted(rules.keys() - known)):
        deployment = rule.deployment
        made = ScenarioDeployment(
            name=deployment.id.name, environment=deployment.id.environment, model=deployment.model,
            alias=deployment.alias, labels=dict(deployment.labels), depends_on=deployment.depends_on,
        )  # fmt: skip
        found.append(_deployment(made, seed, start))
    return tuple(found)
