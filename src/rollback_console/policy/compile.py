"""Policies into rules: placeholders filled in, defaults in place, everything that deployments can share shared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rollback_console.model.identity import Deployment, DeploymentId
from rollback_console.model.rules import (
    AdaptiveDwell,
    AuthorityRule,
    CostRule,
    DeploymentRule,
    ImpactRule,
    Mode,
    RecoveryPath,
    SignalRule,
    TriggerRule,
)  # fmt: skip
from rollback_console.model.value import dataclass
from rollback_console.policy import expression
from rollback_console.policy.compile_signals import compile_signals, filled, meaning
from rollback_console.policy.defaults import BY_RISK, Risk
from rollback_console.policy.lint import when_of
from rollback_console.policy.policy import Policy, PolicyDeployment, PolicyPath
from rollback_console.policy.promql import is_per_deployment, words_of
from rollback_console.policy.shares import share_s
from rollback_console.policy.signal import slice_name
from rollback_console.policy.trigger import dwell_of

_QUERIES = ("value", "x", "n", "heartbeat", "x_hour", "n_hour", "buckets", "buckets_then", "buckets_hour")


@dataclass(frozen=True, slots=True)
class _Judgement:
    """What deployments of one risk share. `own`: some query differs between deployments."""

    signals: tuple[SignalRule, ...]
    trigger: TriggerRule
    own: bool


def compile_policy(policy: Policy, digest: str) -> tuple[DeploymentRule, ...]:
    """One rule a deployment, in the file's order. `digest` is the SHA-256 of the file's bytes, hex.

    Where no query differs between deployments, all rules of one risk hold the very same signals, so that one query
    serves the fleet; where some do, only those signals are made anew. Raises ExpressionError for a trigger that `load`
    let pass.
    """
    judged = {
        key: _judgement(policy, *key) for key in dict.fromkeys(judged_alike(policy, one) for one in policy.deployments)
    }
    impact = policy.impact.rule()
    own_impact = any(is_per_deployment(query) for query in _impact_queries(impact))
    recovery = tuple(_path(path) for path in policy.recovery)
    rules = []
    for written in policy.deployments:
        words = words_of(written.name, written.metric_labels())
        shared = judged[judged_alike(policy, written)]
        rules.append(
            DeploymentRule(
                deployment=_deployment(policy, written, words),
                signals=tuple(_own(signal, written, words) for signal in shared.signals)
                if shared.own
                else shared.signals,
                trigger=shared.trigger,
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


def risk_of(policy: Policy, deployment: PolicyDeployment) -> Risk:
    """The risk that chooses a deployment's defaults: its own, else the policy's, else normal."""
    return deployment.risk or policy.risk or "normal"


def judged_alike(policy: Policy, deployment: PolicyDeployment) -> tuple[Risk, str]:
    """What deployments must have in common to be judged by the same numbers. The tier counts where it is given a share
    of false alarms."""
    divided = policy.trigger.budget is not None and policy.trigger.budget.false_alarms_a_week is not None
    return risk_of(policy, deployment), deployment.tier if divided else ""


def _judgement(policy: Policy, risk: Risk, tier: str) -> _Judgement:
    exclude = tuple(stretch.stretch() for stretch in policy.exclude)
    signals = compile_signals(
        policy.signals.items(), policy.trigger, BY_RISK[risk], _budget_s(policy, risk, tier), _labels(policy), exclude
    )
    return _Judgement(signals, _trigger(policy, risk), any(_differs(signal) for signal in signals))


def _budget_s(policy: Policy, risk: Risk, tier: str) -> float:
    """The mean time between false alarms of one signal, in seconds: as written, its share, or the default by risk."""
    budget = policy.trigger.budget
    if budget is None:
        return BY_RISK[risk].budget_s
    if budget.false_alarms_a_week is None:
        return budget.one_false_alarm_in or BY_RISK[risk].budget_s
    judged = sum(signal.by_evidence for signal in policy.signals.values())
    return share_s(budget.false_alarms_a_week, tier, [one.tier for one in policy.deployments], judged)


def _labels(policy: Policy) -> Sequence[str] | None:
    """The names of the labels that tell the deployments apart, where they are the same for all."""
    names = {tuple(name for name, _ in deployment.metric_labels()) for deployment in policy.deployments}
    return next(iter(names)) if len(names) == 1 else None


def _deployment(policy: Policy, written: PolicyDeployment, words: dict[str, str]) -> Deployment:
    return Deployment(
        id=DeploymentId(written.environment, written.name),
        tier=written.tier,
        model=written.model.name,
        alias=written.model.alias,
        labels=written.metric_labels(),
        serving_version=filled(written.serving_version, words),
        depends_on=written.depends_on,
        owners=policy.owners,
        links=tuple((title, url.replace("$deployment", written.name)) for title, url in policy.links.items()),
        repromoted_by=written.repromoted_by,
    )


def _differs(signal: SignalRule) -> bool:
    named = signal.baseline.control if signal.baseline is not None else None
    return is_per_deployment(named) or any(is_per_deployment(getattr(signal, key)) for key in _QUERIES)


def _own(signal: SignalRule, deployment: PolicyDeployment, words: dict[str, str]) -> SignalRule:
    if not _differs(signal):
        return signal
    baseline = signal.baseline
    if baseline is not None and baseline.control is not None:
        baseline = replace(baseline, control=baseline.control.replace("$deployment", deployment.name))
    asked = {key: filled(getattr(signal, key), words) for key in _QUERIES}
    return replace(signal, baseline=baseline, **asked)  # type: ignore[arg-type]  # each of its own key's type


def _trigger(policy: Policy, risk: Risk) -> TriggerRule:
    written, said = policy.trigger, when_of(policy)
    critical = any(signal.critical for signal in policy.signals.values())
    burning = {name: meaning(name, signal) for name, signal in policy.signals.items() if signal.kind == "burn_rate"}
    parts = {
        name: tuple(slice_name(name, value) for value in signal.slices.values)
        for name, signal in policy.signals.items()
        if signal.slices is not None
    }
    when = expression.expanded(said, burning, parts) if burning or parts else said
    return TriggerRule(
        when=when,
        text=" ".join(written.when.split()) if written.when is not None and not critical else expression.unparse(said),
        dwell_s=dwell_of(written, BY_RISK[risk]),  # of plain bounds: evidence has one in itself
        hold_s=written.hold,
        cool_down_s=written.cool_down,
        blind_dwell_s=written.blind_dwell,
        not_before_s=written.not_before,
        re_arm_s=written.re_arm,
        loop_guard=written.loop_guard,
        expected=tuple(change.change() for change in written.expected),
        adaptive=written.dwell if isinstance(written.dwell, AdaptiveDwell) else None,
        loss_budget=written.loss_budget,
        false_alarms_a_week=written.budget.false_alarms_a_week if written.budget is not None else None,
    )


def _impact_queries(impact: ImpactRule) -> tuple[str | None, ...]:
    costs = (cost.value if cost is not None else None for cost in (impact.satisfaction, impact.market))
    return impact.revenue_per_minute, impact.users_per_minute, *costs


def _own_impact(impact: ImpactRule, words: dict[str, str]) -> ImpactRule:
    return replace(
        impact,
        revenue_per_minute=filled(impact.revenue_per_minute, words),
        users_per_minute=filled(impact.users_per_minute, words),
        satisfaction=_own_cost(impact.satisfaction, words),
        market=_own_cost(impact.market, words),
    )


def _own_cost(cost: CostRule | None, words: dict[str, str]) -> CostRule | None:
    return cost if cost is None else replace(cost, value=filled(cost.value, words))


def _path(path: PolicyPath) -> RecoveryPath:
    authority = path.authority
    return RecoveryPath(
        name=path.path,
        driver=path.driver,
        target=path.target,
        verify_for_s=path.verify.for_,
        verify_within_s=path.verify.within,
        authority=AuthorityRule(
            authority.request,
            authority.approve.of,
            authority.approve.count,
            authority.expires,
            authority.automatic.after if authority.automatic is not None else None,
        ),
        healthy_for_s=path.healthy_for,
    )
