"""A policy in prose: short sentences with its numbers in them, made from the rules that are judged by."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

from rollback_console.model.rules import (
    And,
    AtLeast,
    BlindPolicy,
    BlindPolicyKind,
    CostRule,
    DeploymentRule,
    ExpectedChange,
    Expression,
    Mode,
    Not,
    Or,
    RecoveryPath,
    SignalKind,
    SignalRule,
    Tiered,
    TriggerRule,
    Uses,
    Weekly,
    Weighted,
    Worse,
)  # fmt: skip
from rollback_console.model.text import number
from rollback_console.policy.curves import curve_words
from rollback_console.policy.explain_numbers import Detects, baseline_words, numbers
from rollback_console.policy.expression import names
from rollback_console.policy.load import LoadedPolicy
from rollback_console.policy.quantities import format_duration, format_percentage
from rollback_console.policy.times import DAYS

_SHOWN = 8  # deployments named before "and others"
_MODES = {
    Mode.OBSERVE: "it records and says nothing",
    Mode.ADVISE: "it alarms and recommends; nothing moves without a person",
    Mode.ACT: "it acts within its bounds",
}


def explain(loaded: LoadedPolicy, detects: Detects | None = None) -> tuple[str, ...]:
    """Lines for a person; an empty line stands between paragraphs. `detects` says what a signal that is judged by
    evidence can find, and how soon ("" where that is not known)."""
    rule = loaded.rules[0]
    lines = [f"{rule.policy}, version {rule.policy_version}, mode {rule.mode}: {_MODES[rule.mode]}."]
    lines.append(_fleet(loaded.rules))
    lines += ["", "Signals"]
    lines += [f"- {_signal(signal, _slices(loaded, signal))}" for signal in rule.signals if signal.slice_of is None]
    if told := list(numbers(loaded, detects)):
        lines += ["", "Numbers", *told]
    lines += ["", "Trigger", *_trigger(rule.trigger, loaded.policy.trigger.when is None, _judged(rule))]
    lines += _held_back(rule.trigger)
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


def _slices(loaded: LoadedPolicy, signal: SignalRule) -> str:
    written = loaded.policy.signals.get(signal.name)
    slices = written.slices if written is not None else None
    return f"the same for each {slices.label} of {', '.join(slices.values)}" if slices is not None else ""


def _signal(signal: SignalRule, slices: str) -> str:
    of = "x out of n" if signal.x is not None else "its histogram" if signal.buckets is not None else "its value"
    if signal.aside:
        return f"{_head(signal, of)}; {_aside(signal)}."
    parts = [_head(signal, of)]
    if signal.evidence is not None:
        late = signal.evidence.maturity_s
        parts[0] += f", of trials {format_duration(late)} earlier" if late else ""
        parts.append(f"judged by evidence that it is {_side(signal)} {_against(signal)}" + _minimum(signal))
        parts += _learned(signal)
    else:
        parts.append(f"counts as degraded when {_bound(signal)}" + _minimum(signal))
    if signal.sufficient_alone:
        parts.append("it needs nobody to agree")
    if slices:
        parts.append(f"{slices}, all sharing one budget")
    parts.append(_blind(signal.blind))
    if signal.stale_s is not None:
        parts.append(f"its data are stale when the newest sample is older than {format_duration(signal.stale_s)}")
    return "; ".join(parts) + "."


def _head(signal: SignalRule, of: str) -> str:
    return f"{signal.title} ({signal.name}, {signal.area}): {of} over {format_duration(signal.window_s)}"


def _aside(signal: SignalRule) -> str:
    """How a signal is shown that never triggers."""
    if signal.kind is SignalKind.DISTRIBUTION:
        return f"compared with {_against(signal)}; it explains where trouble comes from, and never triggers"
    beyond = f" by more than {_percent(signal.breach.degraded_by)}" if signal.breach.degraded_by else ""
    return (
        f"judged {format_duration(signal.maturity_s)} later, when its events have come in, as degraded when it is "
        f"{_side(signal)} {_against(signal)}{beyond}; it is shown, and never triggers"
    )


def _learned(signal: SignalRule) -> list[str]:
    """What is counted where that is learned."""
    if signal.kind is SignalKind.GAUGE:
        return [f"counted is how often it is {_side(signal)} what one in twenty of its history passed at that hour"]
    if signal.kind is SignalKind.VALUE:
        return ["x are the orders above the baseline's median, which is learned"]
    return []


def _bound(signal: SignalRule) -> str:
    breach = signal.breach
    if breach.curve is not None:
        side = "above" if breach.above is not None else "below"
        return f"{side} what varies: {curve_words(breach.curve, signal.unit)}"
    if breach.above is not None:
        return f"above {number(breach.above, signal.unit)}{_until(signal)}"
    if breach.below is not None:
        return f"below {number(breach.below, signal.unit)}{_until(signal)}"
    return f"more than {_percent(breach.degraded_by or 0.0)} {_side(signal)} {_against(signal)}{_until(signal)}"


def _until(signal: SignalRule) -> str:
    """What ends it once it fired, where that is another bound."""
    breach = signal.breach
    if breach.clear is None:
        return ""
    share = breach.degraded_by is not None
    return f", once it fired until {_percent(breach.clear) if share else number(breach.clear, signal.unit)} is reached"


def _side(signal: SignalRule) -> str:
    return "below" if signal.worse is Worse.LOWER else "above"


def _against(signal: SignalRule) -> str:
    return baseline_words(signal.baseline, signal.unit) if signal.baseline is not None else "its baseline"


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


def _trigger(trigger: TriggerRule, chosen: bool, judged: str) -> Iterator[str]:
    if chosen and isinstance(trigger.when, Tiered):
        yield "No `when:` is written; the default where evidence judges is the tiered rule."
    elif chosen:
        yield "No `when:` is written; the default is any signal that is sufficient alone, or any two of all signals."
    yield f"The condition is `{trigger.text}`: {in_words(trigger.when)}."
    dwell = format_duration(trigger.dwell_s)
    if judged == "evidence":
        yield "It fires as soon as the condition holds: evidence has its dwell in itself."
    elif judged == "both" and trigger.dwell_s:
        yield f"It fires as soon as the condition holds; a plain bound counts once passed for {dwell} without a break."
    elif trigger.dwell_s:
        yield f"It fires when the condition has held for {dwell} without a break."
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


def _judged(rule: DeploymentRule) -> str:
    """By what the trigger's signals are judged: `evidence`, `bounds` or `both`."""
    used = set(names(rule.trigger.when))
    kinds = {signal.evidence is not None for signal in rule.signals if signal.name in used}
    return "both" if len(kinds) > 1 else "evidence" if True in kinds else "bounds"


def _held_back(trigger: TriggerRule) -> list[str]:
    """What holds back automatic action, and never the alarm."""
    lines = []
    if trigger.not_before_s:
        lines.append(
            f"In the first {format_duration(trigger.not_before_s)} after a release nothing is advised or done."
        )
    if trigger.re_arm_s:
        lines.append(
            f"After it fired, no automatic action follows until it was healthy for {format_duration(trigger.re_arm_s)}."
        )
    many = f"{trigger.loop_guard} automatic action{'' if trigger.loop_guard == 1 else 's'}"
    lines.append(f"No more than {many} a deployment in 24h.")
    lines += [f"Expected: {change_words(change)}." for change in trigger.expected]
    return lines


def change_words(change: ExpectedChange) -> str:
    """`reindexing, sun 02:00-04:00 Europe/Berlin`; times in UTC."""
    if change.weekly is None:
        return f"{change.why}, from {_moment(change.start)} to {_moment(change.end)}"
    until = f", until {_moment(change.end)}" if change.end is not None else ""
    return f"{change.why}, {_weekly(change.weekly)}{until}"


def _moment(at: float | None) -> str:
    return "?" if at is None else f"{dt.datetime.fromtimestamp(at, dt.UTC):%Y-%m-%d %H:%M} UTC"


def _weekly(weekly: Weekly) -> str:
    days = "daily" if len(weekly.days) == 7 else ",".join(DAYS[day] for day in weekly.days)
    begin, end = weekly.start_s, (weekly.start_s + weekly.length_s) % 86_400
    clock = "-".join(f"{int(at // 3600):02}:{int(at % 3600 // 60):02}" for at in (begin, end))
    return f"{days} {clock} {weekly.timezone}"


def _impact(rule: DeploymentRule) -> Iterator[str]:
    impact = rule.impact
    if impact.revenue_per_minute is not None:
        yield f"Revenue at risk is counted per minute, in {impact.unit}; {_full(impact.revenue_full, impact.unit)}."
    elif impact.revenue_constant is not None:
        worth = f"Revenue at risk is a share of {number(impact.revenue_constant, impact.unit)} a minute"
        yield f"{worth}; {_full(impact.revenue_full, impact.unit)}."
    if impact.users_per_minute is not None:
        yield f"Users hit are counted per minute; {_full(impact.users_full, 'users')}."
    elif impact.users_constant is not None:
        yield f"Users hit are {number(impact.users_constant)} a minute; {_full(impact.users_full, 'users')}."
    for what, cost in (("Satisfaction", impact.satisfaction), ("The market part", impact.market)):
        if cost is not None:
            yield f"{what} {_cost(cost)}."
    if impact.regulatory != "none":
        yield f"Regulatory exposure is {impact.regulatory}."
    weighs = any(each.evidence is not None and each.evidence.adaptive is not None for each in rule.signals)
    if impact.false_rollback is not None:
        yield f"A rollback that was not needed costs {number(impact.false_rollback, impact.unit)} (written)."
    elif weighs and (impact.revenue_per_minute is not None or impact.revenue_constant is not None):
        default = number(impact.revenue_full, impact.unit)
        yield f"A rollback that was not needed costs {default}, as much as a minute that scores all points."


def _full(amount: float, unit: str) -> str:
    return f"{number(amount, unit)} a minute score all of its points"


def _cost(cost: CostRule) -> str:
    if cost.tier is not None:
        return f"is {cost.tier}"
    amount = (
        f"costs {number(cost.constant, cost.unit)} a minute" if cost.constant is not None else "is asked per minute"
    )
    return f"{amount}; {_full(cost.full, cost.unit)}"


def _path(path: RecoveryPath) -> str:
    target = (
        f"the last version that served healthily (for {format_duration(path.healthy_for_s)} at least)"
        if path.target == "last_known_good"
        else f"version {path.target}"
    )
    authority = path.authority
    who = " or ".join(authority.request)
    alone = authority.automatic_after_s
    by_itself = (
        f" Under the mode act, `watch` takes it by itself {format_duration(alone)} after it was announced, unless a "
        "person holds it."
        if alone is not None
        else ""
    )
    return (
        f"{path.name}: {path.driver} moves the pointer to {target}. Anyone who is {who} may execute it alone, within "
        f"{format_duration(authority.expires_s)} of the plan. It counts as recovered when the signals have been "
        f"healthy for {format_duration(path.verify_for_s)}, and as not confirmed when that is not so within "
        f"{format_duration(path.verify_within_s)}.{by_itself}"
    )
