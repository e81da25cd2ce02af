"""The numbers that judge by evidence, deployment by deployment and signal by signal, and where each came from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import log

from rollback_console.model.rules import Baseline, BaselineKind, DeploymentRule, EvidenceRule, SignalRule
from rollback_console.model.text import number
from rollback_console.policy.compile import judged_alike
from rollback_console.policy.defaults import Risk
from rollback_console.policy.load import LoadedPolicy
from rollback_console.policy.quantities import format_duration, format_percentage

# What a signal of a deployment can find and how soon, in words; "" where that is not known.
Detects = Callable[[DeploymentRule, SignalRule], str]
_NAMED = 6  # deployments named before "and others"


def baseline_words(baseline: Baseline, unit: str) -> str:
    """What a signal is compared with, as a person says it."""
    if baseline.kind is BaselineKind.FIXED:
        return number(baseline.value, unit)
    if baseline.kind is BaselineKind.LAST_WEEK:
        return "the same time last week" + ("" if baseline.timezone == "UTC" else f" in {baseline.timezone}")
    if baseline.kind is BaselineKind.CONTROL:
        return f"{baseline.control}, which runs beside it"
    if baseline.kind is BaselineKind.PERIOD:
        return f"a period: {baseline.period.why}" if baseline.period is not None else "a period"
    history = format_duration(baseline.history_s)
    if baseline.kind is BaselineKind.SEASONAL:
        zone = "" if baseline.timezone == "UTC" else f" in {baseline.timezone}"
        return f"what is usual at this time of the week{zone}, learned from {history}"
    return f"the median of the {history} before the version now serving began to serve"


def numbers(loaded: LoadedPolicy, detects: Detects | None = None) -> Iterator[str]:
    """Lines about every signal that is judged by evidence; none where nothing is. Deployments with the same numbers
    stand together; what `detects` says is said of each by itself."""
    groups: dict[tuple[Risk, str], list[DeploymentRule]] = {}
    for written, rule in zip(loaded.policy.deployments, loaded.rules, strict=True):
        groups.setdefault(judged_alike(loaded.policy, written), []).append(rule)
    for (risk, tier), rules in groups.items():
        judged = [each for each in rules[0].signals if each.evidence is not None and each.slice_of is None]
        if not judged:
            continue
        chosen = _risk_from(loaded, rules[0], risk)
        if len(groups) > 1:
            yield f"{_names(rules)}, {f'tier {tier}, ' if tier else ''}{chosen}:"
        for signal in judged:
            yield f"- {signal.name}: {_numbers(loaded, signal, chosen)}."
            if detects is not None:
                yield from _detectable(rules, signal, detects)
    if exclude := loaded.policy.exclude:
        yield (
            f"Nothing is learned from {len(exclude)} stretch{'es' if len(exclude) > 1 else ''}: "
            + "; ".join(dict.fromkeys(stretch.why for stretch in exclude))
            + "."
        )


def _names(rules: list[DeploymentRule]) -> str:
    named = ", ".join(str(rule.deployment.id) for rule in rules[:_NAMED])
    return named + (f" and {len(rules) - _NAMED:,} others" if len(rules) > _NAMED else "")


def _risk_from(loaded: LoadedPolicy, rule: DeploymentRule, risk: Risk) -> str:
    written = {(one.environment, one.name): one.risk for one in loaded.policy.deployments}
    if written[(rule.deployment.id.environment, rule.deployment.id.name)] is not None:
        return f"risk {risk} of the deployment"
    return f"risk {risk} of the policy" if loaded.policy.risk is not None else f"default risk {risk}"


def _numbers(loaded: LoadedPolicy, signal: SignalRule, chosen: str) -> str:
    evidence, trigger, baseline = signal.evidence or EvidenceRule(), loaded.policy.trigger, signal.baseline
    if evidence.margin is not None:
        margin = f"margin {_percent(evidence.margin)} (written)"
        if baseline is None or baseline.kind is not BaselineKind.CONTROL:
            margin += ", and what the baseline is uncertain by"
    elif baseline is not None and baseline.kind is BaselineKind.CONTROL:
        margin = f"margin 1 %, at least {_percent(evidence.least_margin)} (with a control; {chosen})"
    else:
        margin = f"margin learned from its noise, at least {_percent(evidence.least_margin)} ({chosen})"
    dwell = format_duration(evidence.dwell_s)
    if evidence.adaptive is not None:
        bounds = f"{format_duration(evidence.adaptive.from_s)} to {format_duration(evidence.adaptive.to_s)}"
        dwell = f"dwell {bounds}, by how long excursions lasted that passed by themselves, {dwell} until some are known"
        if loaded.policy.impact.revenue_per_minute is not None:
            dwell += ", and while something is suspected by what another minute loses"
        dwell += " (written)"
    else:
        dwell = f"dwell {dwell}: no shorter burst can fire ({_where(trigger.dwell is not None, chosen)})"
    bar = f"bar {log(evidence.budget_s / 60):.2f}, the logarithm of one false alarm in {_long(evidence.budget_s)}"
    weekly = trigger.budget.false_alarms_a_week if trigger.budget is not None else None
    where = _where(trigger.budget is not None, chosen) if weekly is None else f"its share of {weekly:g} a week, by tier"
    bar += f" in minutes ({where}"
    bar += ", shared by its slices)" if loaded.policy.signals[signal.name].slices is not None else ")"
    parts = [margin, dwell, bar]
    if not signal.sufficient_alone:
        where = _where(trigger.alone_hold is not None, chosen)
        alone = f"alone it must stay full for {format_duration(evidence.alone_hold_s)} ({where})"
        if trigger.loss_budget is not None:
            unit = loaded.rules[0].impact.unit
            alone += f", or until {number(trigger.loss_budget, unit)} are lost meanwhile, and its dwell at least"
        parts.append(alone)
    return "; ".join(parts)


def _long(seconds: float) -> str:
    """A budget: whole days from two weeks on, years from two of them."""
    days = seconds / 86_400.0
    if days >= 730:
        return f"{days / 365.25:,.3g} years"
    return f"{days:.0f}d" if days >= 14 else format_duration(round(seconds / 60.0) * 60.0)


def _where(written: bool, chosen: str) -> str:
    return "written" if written else chosen


def _percent(fraction: float) -> str:
    return format_percentage(fraction).replace("%", " %")


def _detectable(rules: list[DeploymentRule], signal: SignalRule, detects: Detects) -> Iterator[str]:
    """One line for all where the words are the same, else one a deployment."""
    said: dict[str, list[DeploymentRule]] = {}
    for rule in rules:
        own = next(each for each in rule.signals if each.name == signal.name)
        if words := detects(rule, own):
            said.setdefault(words, []).append(rule)
    for words, same in said.items():
        yield f"  {_names(same)}: {words}." if len(rules) > 1 else f"  {words[:1].upper()}{words[1:]}."
