"""Policies into rules: placeholders filled in, defaults in place, everything that deployments can share shared."""

from __future__ import annotations

from dataclasses import replace

from rollback_console.model.identity import Deployment, DeploymentId
from rollback_console.model.rules import (
    AuthorityRule,
    Baseline,
    BaselineKind,
    Breach,
    DeploymentRule,
    ImpactRule,
    Mode,
    RecoveryPath,
    SignalRule,
    TriggerRule,
    Worse,
)  # fmt: skip
from rollback_console.policy import expression
from rollback_console.policy.lint import when_of
from rollback_console.policy.policy import Policy, PolicyDeployment, PolicyPath, PolicySignal
from rollback_console.policy.promql import fill, is_per_deployment, words_of
from rollback_console.policy.quantities import format_duration

_QUERIES = ("value", "x", "n", "heartbeat", "x_hour", "n_hour")


def compile_policy(policy: Policy, digest: str) -> tuple[DeploymentRule, ...]:
    """One rule a deployment, in the file's order. `digest` is the SHA-256 of the file's bytes, hex.

    Where no query differs between deployments, all rules hold the very same signals, so that one query serves the
    fleet; where some do, only those signals are made anew. Raises ExpressionError for a trigger that `load` let pass.
    """
    signals = tuple(_signal(name, signal) for name, signal in policy.signals.items())
    own_signals = any(_differs(signal) for signal in signals)
    impact = _impact(policy)
    own_impact = is_per_deployment(impact.revenue_per_minute) or is_per_deployment(impact.users_per_minute)
    trigger = _trigger(policy)
    recovery = tuple(_path(path) for path in policy.recovery)
    rules = []
    for written in policy.deployments:
        words = words_of(written.name, written.metric_labels())
        rules.append(
            DeploymentRule(
                deployment=_deployment(policy, written, words),
                signals=tuple(_own(signal, words) for signal in signals) if own_signals else signals,
                trigger=trigger,
                recovery=recovery,
                policy=policy.name,
                policy_version=policy.version,
                policy_digest=digest,
                mode=Mode(policy.mode),
                impact=_own_impact(impact, words) if own_impact else impact,
                runbook=policy.runbook,
            )
        )
    return tuple(rules)


def _deployment(policy: Policy, written: PolicyDeployment, words: dict[str, str]) -> Deployment:
    return Deployment(
        id=DeploymentId(written.environment, written.name),
        tier=written.tier,
        model=written.model.name,
        alias=written.model.alias,
        labels=written.metric_labels(),
        serving_version=_filled(written.serving_version, words),
        depends_on=written.depends_on,
        owners=policy.owners,
        links=tuple((title, url.replace("$deployment", written.name)) for title, url in policy.links.items()),
        repromoted_by=written.repromoted_by,
    )


def _signal(name: str, signal: PolicySignal) -> SignalRule:
    """The signal with `$window` filled in; other placeholders stay."""
    words = {"window": format_duration(signal.window)}
    written, breach = signal.compared_with, signal.breach
    baseline = None
    if written is not None:
        baseline = Baseline(BaselineKind(written.kind), written.value, written.history)
    return SignalRule(
        name=name,
        title=signal.title or name.replace("_", " ").capitalize(),
        area=signal.area,
        worse=Worse(signal.worse),
        breach=Breach(breach.above, breach.below, breach.degraded_by) if breach else Breach(degraded_by=signal.margin),
        window_s=signal.window,
        baseline=baseline,
        minimum=signal.minimum,
        blind=signal.blind,
        stale_s=signal.stale_after,
        unit=signal.unit if signal.unit is not None else "%" if signal.x is not None else "",
        value=_filled(signal.value, words),
        x=_filled(signal.x, words),
        n=_filled(signal.n, words),
        heartbeat=_filled(signal.heartbeat, words),
        x_hour=_hourly(signal.x, signal.window),
        n_hour=_hourly(signal.n, signal.window),
    )


def _differs(signal: SignalRule) -> bool:
    return any(is_per_deployment(getattr(signal, key)) for key in _QUERIES)


def _own(signal: SignalRule, words: dict[str, str]) -> SignalRule:
    if not _differs(signal):
        return signal
    return replace(
        signal,
        value=_filled(signal.value, words),
        x=_filled(signal.x, words),
        n=_filled(signal.n, words),
        heartbeat=_filled(signal.heartbeat, words),
        x_hour=_filled(signal.x_hour, words),
        n_hour=_filled(signal.n_hour, words),
    )


def _hourly(query: str | None, window: float) -> str | None:
    """The query over one hour, which baselines are learned from: by its own `$window`, or as the sum of its windows."""
    if query is None:
        return None
    hour = fill(query, {"window": "1h"})
    return (
        hour if hour != query else f"sum_over_time(({query}\n)[1h:{format_duration(window)}])"
    )  # a comment ends there


def _filled(query: str | None, words: dict[str, str]) -> str | None:
    return fill(query, words) if query is not None else None


def _trigger(policy: Policy) -> TriggerRule:
    when = when_of(policy)
    written = policy.trigger
    return TriggerRule(
        when=when,
        text=" ".join(written.when.split()) if written.when is not None else expression.unparse(when),
        dwell_s=written.dwell,
        hold_s=written.hold,
        cool_down_s=written.cool_down,
        blind_dwell_s=written.blind_dwell,
    )


def _impact(policy: Policy) -> ImpactRule:
    revenue, users = policy.impact.revenue_per_minute, policy.impact.users_per_minute
    return ImpactRule(
        revenue_per_minute=revenue.value if revenue else None,
        unit=(revenue.unit if revenue else None) or "USD",
        users_per_minute=users.value if users else None,
        regulatory=policy.impact.regulatory,
    )


def _own_impact(impact: ImpactRule, words: dict[str, str]) -> ImpactRule:
    return replace(
        impact,
        revenue_per_minute=_filled(impact.revenue_per_minute, words),
        users_per_minute=_filled(impact.users_per_minute, words),
    )


def _path(path: PolicyPath) -> RecoveryPath:
    authority = path.authority
    return RecoveryPath(
        name=path.path,
        driver=path.driver,
        target=path.target,
        verify_for_s=path.verify.for_,
        verify_within_s=path.verify.within,
        authority=AuthorityRule(authority.request, authority.approve.of, authority.approve.count, authority.expires),
        healthy_for_s=path.healthy_for,
    )
