"""Has it worked? Recovery with evidence: evaluations whose windows lie wholly after serving reported the target."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from rollback_console.decide.condition import signals_of
from rollback_console.decide.explain import signal_words
from rollback_console.decide.judge import step
from rollback_console.engine.loop import Engine
from rollback_console.engine.present import ON_GRID
from rollback_console.errors import BackendError
from rollback_console.execute.run import Recovery, RecoveryState
from rollback_console.model.identity import DeploymentId
from rollback_console.model.rules import BlindPolicyKind, DeploymentRule, SignalRule
from rollback_console.model.text import span
from rollback_console.model.verdict import EvidenceMemory, SignalVerdict, TriggerMemory


@dataclass(slots=True)
class _Watch:
    """One recovery under way: evaluation times and whether every signal was inside then, oldest first."""

    first: float  # the first evaluation whose windows exclude what came before
    seen: list[tuple[float, bool]] = field(default_factory=list)
    last: tuple[SignalVerdict, ...] = ()
    evidence: tuple[EvidenceMemory | None, ...] = ()  # of what was seen since, by itself


class RecoveryObserver:
    """What the runner asks of the engine (`execute.run.Observer`)."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._watches: dict[tuple[DeploymentId, float], _Watch] = {}

    def can_tell_serving(self, deployment: DeploymentId) -> bool:
        return self._rule(deployment).deployment.serving_version is not None

    async def serving_version(self, deployment: DeploymentId) -> str | None:
        """Asked now, not at the last evaluation: a version that changed since must be seen."""
        return await self._engine.sampler.serving_now(self._engine.index[deployment], self._engine.clock.now())

    async def recovered(self, deployment: DeploymentId, since: float) -> Recovery:
        """Confirmed when every signal of the trigger was seen inside its margin at every evaluation for as long as the
        path's `verify for` asks, each on a window that began after `since`; one that is judged by evidence, when it is
        suspected no longer (`decide.evidence`: its recovery meter, or calm). A signal whose policy for blindness is
        `healthy` holds nothing up while it is blind, and confirms nothing either."""
        rule = self._rule(deployment)
        watch = self._watches.setdefault((deployment, since), _Watch(self._first(rule, since)))
        try:
            await self._look(watch, deployment, rule)
        except BackendError as error:
            return Recovery(RecoveryState.VERIFYING, f"cannot tell now: {error.message}")
        return self._judged(watch, rule, _need(rule))

    def earliest(self, deployment: DeploymentId, since: float) -> float:
        """The clock's time at which `recovered` can say confirmed at the earliest: the evaluation at which every one of
        the trigger's windows lies after `since` and has then been inside for as long as is asked, and the delay behind
        which evaluations are made. What was seen outside meanwhile puts it off."""
        rule, options = self._rule(deployment), self._engine.options
        watch = self._watches.get((deployment, since))
        seen = watch.seen if watch is not None else []
        start = watch.first if watch is not None else self._first(rule, since)
        begun = _inside_since(seen)
        if begun is not None:
            start = begun
        elif seen:
            start = seen[-1][0] + options.step_s
        steps = math.ceil(_need(rule) / options.step_s - ON_GRID)
        return start + steps * options.step_s + options.delay_s

    def _first(self, rule: DeploymentRule, since: float) -> float:
        """The first evaluation on windows that all began after `since`."""
        engine = self._engine
        window = max((s.window_s for s in rule.signals if s.name in signals_of(rule.trigger.when)), default=0.0)
        return engine.aligned(since + window + engine.options.delay_s) + engine.options.step_s

    async def _look(self, watch: _Watch, deployment: DeploymentId, rule: DeploymentRule) -> None:
        """Add the evaluations since the last look, out of history: a console that was restarted sees the same."""
        engine, index = self._engine, self._engine.index[deployment]
        start = watch.seen[-1][0] + engine.options.step_s if watch.seen else watch.first
        until = engine.evaluated_at
        if until is None or start > until:
            return
        used = signals_of(rule.trigger.when)
        for tick in await engine.backfill.between(start, until, [index]):
            done = step(rule, tick.observations[0], TriggerMemory(evidence=watch.evidence))
            watch.evidence, judged = done.memory.evidence, done.signals
            now = engine.board.verdicts.get(index)
            if now is not None and now.at == tick.at:  # which knows what was suspected, and whether that is gone
                judged = tuple(n if n.bar is not None else own for own, n in zip(judged, now.signals, strict=True))
            watch.last = tuple(verdict for verdict in judged if verdict.name in used)
            watch.seen.append((tick.at, _inside(rule, watch.last)))

    def _judged(self, watch: _Watch, rule: DeploymentRule, need: float) -> Recovery:
        if not watch.seen:
            return Recovery(RecoveryState.VERIFYING, "no whole window lies after the change yet")
        since = _inside_since(watch.seen)
        rules = {signal.name: signal for signal in rule.signals}
        outside = [signal_words(rules[v.name], v) for v in watch.last if not _passes(rules[v.name], v)]
        if since is None:
            return Recovery(RecoveryState.VERIFYING, "; ".join(outside[:3]))
        held = watch.seen[-1][0] - since
        seen = [v for v in watch.last if v.breached is False]
        words = ", ".join(signal_words(rules[v.name], v) for v in seen[:3])
        if held >= need:
            count = f"all {len(seen)}" if len(seen) == len(watch.last) else f"{len(seen)} of {len(watch.last)}"
            blind = "" if len(seen) == len(watch.last) else " (the others are blind, which counts as healthy by policy)"
            return Recovery(RecoveryState.CONFIRMED, f"{count} signals inside for {span(held)}{blind}: {words}")
        return Recovery(RecoveryState.VERIFYING, f"inside for {span(held)} of {span(need)}: {words}")

    def _rule(self, deployment: DeploymentId) -> DeploymentRule:
        return self._engine.rules[self._engine.index[deployment]]


def _need(rule: DeploymentRule) -> float:
    """For how long all must have been inside, in seconds: what the policy's longest path asks."""
    return max((path.verify_for_s for path in rule.recovery), default=0.0)


def _inside_since(seen: Sequence[tuple[float, bool]]) -> float | None:
    """The first of the last evaluations that were all inside, None where the last was not."""
    since = None
    for at, inside in seen:
        since = (at if since is None else since) if inside else None
    return since


def _passes(rule: SignalRule, verdict: SignalVerdict) -> bool:
    """Does a signal hold nothing up: inside, or blind where the policy says that this counts as healthy."""
    if verdict.breached is None:
        return verdict.blind is not None and rule.blind.kind is BlindPolicyKind.HEALTHY
    return not verdict.breached and verdict.onset is None  # by evidence: nor suspected any more


def _inside(rule: DeploymentRule, verdicts: tuple[SignalVerdict, ...]) -> bool:
    """Nothing is held up, and at least one signal was really seen inside."""
    rules = {signal.name: signal for signal in rule.signals}
    return any(v.breached is False for v in verdicts) and all(_passes(rules[v.name], v) for v in verdicts)
