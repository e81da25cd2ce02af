"""A policy in prose: short sentences with its numbers in them, made from the rules that are judged by."""

from __future__ import annotations

from collections.abc import Iterator

from rollback_console.model.rules import (
    And,
    AtLeast,
    Baseline,
    BaselineKind,
    BlindPolicy,
    BlindPolicyKind,
    DeploymentRule,
    Expression,
    Mode,
    Not,
    Or,
    RecoveryPath,
    SignalRule,
    Tiered,
    TriggerRule,
    Uses,
    Weighted,
    Worse,
)  # fmt: skip
from rollback_console.model.text import number
from rollback_console.policy.load import LoadedPolicy
from rollback_console.policy.quantities import format_duration, format_percentage

_SHOWN = 8  # deployments named before "and others"
_MODES = {
    Mode.OBSERVE: "it records and says nothing",
    Mode.ADVISE: "it alarms and recommends; nothing moves without a person",
    Mode.ACT: "it acts within its bounds",
}


def explain(loaded: LoadedPolicy) -> tuple[str, ...]:
    """Lines for a person; an empty line stands between paragraphs."""
    rule = loaded.rules[0]
    lines = [f"{rule.policy}, version {rule.policy_version}, mode {rule.mode}: {_MODES[rule.mode]}."]
    lines.append(_fleet(loaded.rules))
    lines += ["", "Signals"]
    lines += [f"- {_signal(signal)}" for signal in rule.signals]
    lines += ["", "Trigger", *_trigger(rule.trigger, chosen=loaded.policy.trigger.when is None)]
    if impact := list(_impact(rule)):
        lines += ["", "Impact", *impact]
    lines += ["", "Recovery"]
    lines += [f"- {_path(path)}" for path in rule.recovery] or [
        "No recovery path: the console alarms, and cannot roll back."
    ]
    if rule.runbook is not None:
        lines.append(f"The runbook is {rule.runbook}.")
    return tuple(lines)


def _fleet(rules: tuple[DeploymentRule, ...]) -> str:
    named = [f"{rule.deployment.id} ({rule.deployment.tier}; {rule.deployment.model}@{rule.deployment.alias})"
             for rule in rules[:_SHOWN]]  # fmt: skip
    more = f" and {len(rules) - _SHOWN:,} others" if len(rules) > _SHOWN else ""
    return f"It judges {len(rules):,} deployment{'s' if len(rules) > 1 else ''}: {', '.join(named)}{more}."


def _percent(fraction: float) -> str:
    return format_percentage(fraction).replace("%", " %")


def _baseline(baseline: Baseline, unit: str) -> str:
    if baseline.kind is BaselineKind.FIXED:
        return number(baseline.value, unit)
    if baseline.kind is BaselineKind.LAST_WEEK:
        return "the same time last week"
    return f"the median of the {format_duration(baseline.history_s)} before the version now serving began to serve"


def _signal(signal: SignalRule) -> str:
    of = "x out of n" if signal.x is not None else "its value"
    parts = [f"{signal.title} ({signal.name}, {signal.area}): {of} over {format_duration(signal.window_s)}"]
    parts.append(f"counts as degraded when {_bound(signal)}" + _minimum(signal))
    parts.append(_blind(signal.blind))
    if signal.stale_s is not None:
        parts.append(f"its data are stale when the newest sample is older than {format_duration(signal.stale_s)}")
    return "; ".join(parts) + "."


def _bound(signal: SignalRule) -> str:
    breach = signal.breach
    if breach.above is not None:
        return f"above {number(breach.above, signal.unit)}"
    if breach.below is not None:
        return f"below {number(breach.below, signal.unit)}"
    side = "below" if signal.worse is Worse.LOWER else "above"
    against = _baseline(signal.baseline, signal.unit) if signal.baseline else "its baseline"
    return f"more than {_percent(breach.degraded_by or 0.0)} {side} {against}"


def _minimum(signal: SignalRule) -> str:
    return f", and is never judged on fewer than {signal.minimum:,.10g} trials" if signal.minimum is not None else ""


def _blind(blind: BlindPolicy) -> str:
    return (
        "while it cannot be judged "
        + {
            BlindPolicyKind.FREEZE: "the clocks stand still",
            BlindPolicyKind.RESET: "the dwell starts anew",
            BlindPolicyKind.HEALTHY: "it counts as healthy",
            BlindPolicyKind.BREACH: "it counts as degraded",
            BlindPolicyKind.LAST: f"its last judgement holds for {format_duration(blind.last_s)}",
        }[blind.kind]
    )


def in_words(expression: Expression) -> str:
    """A condition as a person says it."""
    match expression:
        case Uses(signal):
            return f"{signal} is degraded"
        case Not(Uses(signal)):
            return f"{signal} is not degraded"
        case Not(item):
            return f"it is not so that ({in_words(item)})"
        case And(items):
            return ", and ".join(_grouped(item) for item in items)
        case Or(items):
            return ", or ".join(_grouped(item) for item in items)
        case AtLeast(k, items):
            if all(isinstance(item, Uses) for item in items):
                listed = ", ".join(item.signal for item in items if isinstance(item, Uses))
                return f"at least {k} of {listed} {'is' if k == 1 else 'are'} degraded"
            return f"at least {k} of these hold: " + "; ".join(in_words(item) for item in items)
        case Weighted(weighed, bar):
            listed = ", ".join(f"{weight:g} if {_grouped(item)}" for item, weight in weighed)
            return f"the weights of what holds come to {bar:g} or more ({listed})"
        case Tiered(items):
            listed = ", ".join(item.signal for item in items)
            return (
                f"one of {listed} is degraded, and it is sufficient alone, or another agrees, or it has held alone for "
                "long enough"
            )


def _grouped(item: Expression) -> str:
    return f"({in_words(item)})" if isinstance(item, (And, Or)) else in_words(item)


def _trigger(trigger: TriggerRule, chosen: bool) -> Iterator[str]:
    if chosen:
        yield "No `when:` is written; the default is any signal that is sufficient alone, or any two of all signals."
    yield f"The condition is `{trigger.text}`: {in_words(trigger.when)}."
    if trigger.dwell_s:
        yield f"It fires when the condition has held for {format_duration(trigger.dwell_s)} without a break."
    else:
        yield "It fires at the first evaluation at which the condition holds."
    if trigger.hold_s:
        yield f"It stays fired for {format_duration(trigger.hold_s)} after the condition ended."
    else:
        yield "It ends at the first evaluation without the condition."
    yield f"For {format_duration(trigger.cool_down_s)} after an action no automatic action follows; alarms do."
    if trigger.blind_dwell_s:
        yield f"When it cannot tell for {format_duration(trigger.blind_dwell_s)}, it fires as blind."
    else:
        yield "When it cannot tell, it fires as blind at once."


def _impact(rule: DeploymentRule) -> Iterator[str]:
    impact = rule.impact
    if impact.revenue_per_minute is not None:
        yield f"Revenue at risk is counted per minute, in {impact.unit}."
    if impact.users_per_minute is not None:
        yield "Users hit are counted per minute."
    if impact.regulatory != "none":
        yield f"Regulatory exposure is {impact.regulatory}."


def _path(path: RecoveryPath) -> str:
    target = (
        f"the last version that served healthily (for {format_duration(path.healthy_for_s)} at least)"
        if path.target == "last_known_good"
        else f"version {path.target}"
    )
    authority = path.authority
    who = " or ".join(authority.request)
    return (
        f"{path.name}: {path.driver} moves the pointer to {target}. Anyone who is {who} may execute it alone, within "
        f"{format_duration(authority.expires_s)} of the plan. It counts as recovered when the signals have been "
        f"healthy for {format_duration(path.verify_for_s)}, and as not confirmed when that is not so within "
        f"{format_duration(path.verify_within_s)}."
    )
