"""What a degradation costs, by a formula that can be shown in full.

    score = 60 * log10(1 + loss/min)   / log10(1 + 10,000)     revenue, at most 60
          + 25 * log10(1 + users/min)  / log10(1 + 100,000)    users, at most 25
          + 15 * log10(1 + amount/min) / log10(1 + 100)        satisfaction, at most 15
          + 10 * log10(1 + amount/min) / log10(1 + 100)        market, at most 10
          + 15                                                 regulatory, at most 15
    and never above 100.

The number that scores all of a part's points (10,000 and so on) is the policy's `full`. A part that the policy gives as
a tier scores a third of its points for low, two thirds for medium, all for high. Nothing degraded: score 0.

loss/min: d is the drop (fraction of its baseline) of the worst degraded business signal that is worse when lower. With
revenue R that comes in now, R * d / (1 - d) is what would have come in besides, had it not dropped, if revenue follows
it (a drop beyond 80 % counts as 80 %: what lags behind it would be multiplied without bound); with a revenue C that the
policy says comes in while healthy, C * d. Its range comes from the signal's own (95 %).
Without such a signal the loss is not told, and the part says so. The other parts are amounts as they are seen.

Totals are sums over evaluations: each adds what it saw per minute times the minutes since the one before, from the
onset on (`accrue`); time in which it could not be seen is not guessed, and the total then reads "at least". The sums
are part of the trigger's memory: a restart goes on with them, and a cold start that replays history reaches the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from rollback_console.model.observation import Observation
from rollback_console.model.rules import CostRule, DeploymentRule, ImpactRule, Worse
from rollback_console.model.text import number
from rollback_console.model.verdict import CostMemory, Impact, ImpactPart, SignalVerdict, TriggerMemory

MOST = {"revenue": 60.0, "users": 25.0, "satisfaction": 15.0, "market": 10.0, "regulatory": 15.0}
TIERS = {"none": 0.0, "low": 1 / 3, "medium": 2 / 3, "high": 1.0}
AMOUNTS = ("revenue", "users", "satisfaction", "market")  # in the order of `CostMemory.lost`
NO_IMPACT = Impact(0.0)
_WORST_DROP = 0.8  # a larger one leaves too little revenue to scale from
_SLACK_S = 120.0  # an onset this little before the first evaluation that knew of it is still counted whole


def scaled(value: float, most: float, full: float) -> float:
    """The points of an amount per minute: ``most * log10(1 + value) / log10(1 + full)``, between 0 and `most`."""
    return most * min(1.0, math.log10(1.0 + max(0.0, value)) / math.log10(1.0 + max(full, 1e-9)))


def suspected(verdict: SignalVerdict) -> bool:
    """Does what it costs count: breached, or under suspicion (it has an onset) where it is judged by evidence."""
    return not verdict.aside and (verdict.breached is True or verdict.onset is not None)


def worst_of(rule: DeploymentRule, signals: Sequence[SignalVerdict]) -> SignalVerdict | None:
    """The signal that says how much is lost: of the business signals that are worse when lower and degraded, the one
    that dropped most; None without one."""
    drops = [
        verdict
        for each, verdict in zip(rule.signals, signals, strict=True)
        if verdict.degradation_pct is not None
        and each.area == "business"
        and each.worse is Worse.LOWER
        and suspected(verdict)
    ]
    return max(drops, key=lambda verdict: verdict.degradation_pct or 0.0) if drops else None


def lost(impact: ImpactRule, revenue: float | None, drop: float) -> float | None:
    """Revenue lost per minute at a drop (negative: won), in the rule's unit; None where revenue is not seen, or nothing
    comes in that could be scaled."""
    if impact.revenue_per_minute is None:
        return None if impact.revenue_constant is None else impact.revenue_constant * min(drop, 1.0)
    if revenue is None or (revenue <= 0.0 and drop >= _WORST_DROP):
        return None
    drop = min(drop, _WORST_DROP)
    return revenue * drop / (1.0 - drop)


def priced(impact: ImpactRule) -> bool:
    """Does the policy give any amount per minute (so that there is something to sum)."""
    return (
        impact.revenue_per_minute is not None
        or impact.revenue_constant is not None
        or impact.users_per_minute is not None
        or impact.users_constant is not None
        or (impact.satisfaction is not None and impact.satisfaction.tier is None)
        or (impact.market is not None and impact.market.tier is None)
    )


# ── now


def impact_of(
    rule: DeploymentRule,
    observation: Observation,
    signals: Sequence[SignalVerdict],
    memory: TriggerMemory | None = None,
) -> Impact:
    """The impact of what is degraded now, with its parts. With the `memory` after this evaluation also what came
    together since the onset: then a trouble that is passing, degraded no longer, still says what it cost."""
    cost = memory.cost if memory is not None else None
    if not any(map(suspected, signals)):
        if cost is None or memory is None or memory.active_since is None or not any(cost.lost):
            return NO_IMPACT
        parts = [
            ImpactPart(name, 0.0, unit, 0.0, "degraded no longer", MOST[name])
            for (name, unit), total in zip(_units(rule.impact), cost.lost, strict=True)
            if total is not None
        ]
    else:
        parts = list(_parts(rule, observation, signals))
    score = min(100.0, sum(part.points for part in parts))
    if cost is None:
        return Impact(score, tuple(parts))
    totals = {name: None if total is None else max(0.0, total) for name, total in zip(AMOUNTS, cost.lost, strict=True)}
    told = tuple([replace(part, total=totals.get(part.name)) for part in parts])
    return Impact(score, told, cost.since, _lacks(cost))


def _lacks(cost: CostMemory) -> bool:
    return cost.unseen_s > 0 or not cost.whole


def _units(impact: ImpactRule) -> tuple[tuple[str, str], ...]:
    kinds = (impact.unit, "users", *(rule.unit if rule else "" for rule in (impact.satisfaction, impact.market)))
    return tuple((name, f"{unit}/min".lstrip("/")) for name, unit in zip(AMOUNTS, kinds, strict=True))


def _parts(rule: DeploymentRule, observation: Observation, signals: Sequence[SignalVerdict]) -> Iterator[ImpactPart]:
    impact = rule.impact
    if impact.revenue_per_minute is not None or impact.revenue_constant is not None:
        yield _revenue(rule, observation.revenue_per_minute, worst_of(rule, signals))
    if impact.users_per_minute is not None or impact.users_constant is not None:
        asked = impact.users_per_minute is not None
        users = observation.users_per_minute if asked else impact.users_constant
        points = 0.0 if users is None else scaled(users, MOST["users"], impact.users_full)
        source = "users are blind" if users is None else "served now" if asked else "from the policy"
        yield ImpactPart("users", users, "users/min", points, source, MOST["users"])
    for name, cost, seen in (
        ("satisfaction", impact.satisfaction, observation.satisfaction_per_minute),
        ("market", impact.market, observation.market_per_minute),
    ):
        if cost is not None:
            yield _cost(name, cost, seen)
    if impact.regulatory != "none":
        most = MOST["regulatory"]
        yield ImpactPart(
            "regulatory", None, impact.regulatory, most * TIERS[impact.regulatory], "from the policy", most
        )


def _revenue(rule: DeploymentRule, revenue: float | None, worst: SignalVerdict | None) -> ImpactPart:
    impact, unit, most = rule.impact, f"{rule.impact.unit}/min", MOST["revenue"]
    drop = None if worst is None else (worst.degradation_pct or 0.0) / 100.0
    loss = None if drop is None else lost(impact, revenue, drop)
    if worst is None or drop is None or loss is None:
        why = "no business signal says how much is lost"
        if impact.revenue_per_minute is not None and revenue is None:
            why = "revenue is blind"
        elif worst is not None:
            why = "nothing comes in any more, so that what is lost cannot be told from it"
        return ImpactPart("revenue", None, unit, 0.0, why, most)
    title = next(each.title for each in rule.signals if each.name == worst.name) or worst.name
    asked = impact.revenue_per_minute is not None
    seen = f"{number(revenue)} {unit} now" if asked else f"{number(impact.revenue_constant)} {unit} while healthy"
    ends = None
    if worst.interval is not None:
        low, high = (lost(impact, revenue, percent / 100.0) for percent in sorted(worst.interval))
        ends = None if low is None or high is None else (max(0.0, low), max(0.0, high))
    source = f"{seen}; {title} is {100 * drop:.1f} % below its baseline"
    loss = max(0.0, loss)
    return ImpactPart("revenue", loss, unit, scaled(loss, most, impact.revenue_full), source, most, ends)


def _cost(name: str, rule: CostRule, seen: float | None) -> ImpactPart:
    most = MOST[name]
    if rule.tier is not None:
        return ImpactPart(name, None, rule.tier, most * TIERS[rule.tier], "from the policy", most)
    amount = rule.constant if rule.constant is not None else seen
    unit = f"{rule.unit}/min".lstrip("/")
    if amount is None:
        return ImpactPart(name, None, unit, 0.0, f"{name} is blind", most)
    source = "from the policy" if rule.constant is not None else "asked now"
    return ImpactPart(name, amount, unit, scaled(amount, most, rule.full), source, most)


# ── since the onset


def accrue(
    rule: DeploymentRule,
    observation: Observation,
    signals: Sequence[SignalVerdict],
    before: TriggerMemory,
    after: TriggerMemory,
) -> TriggerMemory:
    """`after` with what the trouble has cost up to this evaluation; without trouble, or prices, `after` as it is.

    The trouble begins with the trigger's condition, or with the onset of a degradation under suspicion where that is
    earlier, and it ends with both. An onset that evidence finds lies in the past: the time since then is counted at
    what is known now, which is the mean since then. A sum of signed amounts: noise about the baseline adds up to none.
    """
    onsets = [verdict.onset for verdict in signals if verdict.onset is not None]
    if after.active_since is not None:
        onsets.append(after.active_since)
    if not onsets or not priced(rule.impact):
        return after
    since, at, cost = min(onsets), observation.at, before.cost
    going_on = before.active_since is not None and after.active_since is not None
    if cost is None or (since != cost.since and not going_on):
        found = any(verdict.onset == since and verdict.interval is not None for verdict in signals)
        began = before.at is not None and before.active_since is None and since >= before.at - _SLACK_S
        whole = found or began
        cost, last = CostMemory(since, whole=whole), since if whole else before.at
    else:
        whole = cost.whole and since >= cost.since - _SLACK_S
        cost, last = replace(cost, since=min(since, cost.since), whole=whole), before.at
    gap = max(0.0, at - last) if last is not None else 0.0
    return replace(after, cost=_added(rule, observation, signals, cost, gap))


def _added(
    rule: DeploymentRule, observation: Observation, signals: Sequence[SignalVerdict], cost: CostMemory, gap: float
) -> CostMemory:
    """One stretch of `gap` seconds more, at what this evaluation saw."""
    rates = _rates(rule, observation, signals)
    minutes = gap / 60.0
    lost = tuple(
        [
            total if rate is None or math.isnan(rate) else (total or 0.0) + rate * minutes
            for total, rate in zip(cost.lost, rates, strict=True)
        ]
    )
    if any(rate is not None and math.isnan(rate) for rate in rates):
        return replace(cost, unseen_s=cost.unseen_s + gap, lost=lost)
    return replace(cost, seen_s=cost.seen_s + gap, lost=lost)


_UNSEEN = math.nan  # a rate that the policy asks for and nobody saw


def _rates(rule: DeploymentRule, observation: Observation, signals: Sequence[SignalVerdict]) -> list[float | None]:
    """Per minute, in the order of AMOUNTS; None where the policy does not ask, `_UNSEEN` where it was not seen."""
    impact, worst = rule.impact, worst_of(rule, signals)
    troubled = any(map(suspected, signals))
    revenue: float | None = None
    if impact.revenue_per_minute is not None or impact.revenue_constant is not None:
        tell = [
            v for r, v in zip(rule.signals, signals, strict=True) if r.area == "business" and r.worse is Worse.LOWER
        ]
        if worst is not None:
            loss = lost(impact, observation.revenue_per_minute, (worst.degradation_pct or 0.0) / 100.0)
            revenue = _UNSEEN if loss is None else loss
        elif tell:
            revenue = _UNSEEN if any(verdict.value is None for verdict in tell) else 0.0
    users = None
    if impact.users_per_minute is not None or impact.users_constant is not None:
        seen = observation.users_per_minute if impact.users_per_minute is not None else impact.users_constant
        users = 0.0 if not troubled else _UNSEEN if seen is None else seen
    return [
        revenue,
        users,
        _rate(impact.satisfaction, observation.satisfaction_per_minute, troubled),
        _rate(impact.market, observation.market_per_minute, troubled),
    ]


def _rate(rule: CostRule | None, seen: float | None, troubled: bool) -> float | None:
    if rule is None or rule.tier is not None:
        return None
    if not troubled:
        return 0.0
    amount = rule.constant if rule.constant is not None else seen
    return _UNSEEN if amount is None else amount


# ── in words


def waiting(impact: Impact, minutes: float = 10.0) -> tuple[ImpactPart, ...]:
    """What so many more minutes cost if nothing changes: the amounts per minute times `minutes`, with their ranges; a
    part that is no amount is left out. Units lose their "/min"."""
    return tuple(
        replace(
            part,
            value=part.value * minutes,
            unit=part.unit.removesuffix("/min"),
            interval=None if part.interval is None else (part.interval[0] * minutes, part.interval[1] * minutes),
        )
        for part in impact.parts
        if part.value is not None and part.value > 0
    )


def waiting_words(impact: Impact, minutes: float = 10.0) -> str:
    """`10 more minutes cost about 4,120 USD [2,900, 5,300] and 21k users`; "" where nothing is told as an amount."""
    told = [f"{number(p.value, p.unit)}{_range(p.interval)}" for p in waiting(impact, minutes)]
    return f"{minutes:g} more minutes cost about {_and(told)}" if told else ""


def total_words(impact: Impact) -> str:
    """`so far at least 12.3k USD and 31k users`; "" where nothing was summed."""
    told = [number(p.total, p.unit.removesuffix("/min")) for p in impact.parts if p.total is not None and p.total > 0]
    return f"so far {'at least' if impact.at_least else 'about'} {_and(told)}" if told else ""


def formula(rule: ImpactRule, part: ImpactPart) -> str:
    """How a part came to its points, in full: `60 x log10(1 + 412) / log10(1 + 10,000) = 39.2`."""
    if part.value is None:
        return f"{part.most:g} x {part.points / part.most:.2f} = {part.points:.1f}" if part.points else "0"
    full = {"revenue": rule.revenue_full, "users": rule.users_full}.get(part.name)
    if full is None:
        cost = rule.satisfaction if part.name == "satisfaction" else rule.market
        full = cost.full if cost is not None else CostRule().full
    capped = ", at most all" if part.value > full else ""
    return f"{part.most:g} x log10(1 + {part.value:,.6g}) / log10(1 + {full:,.6g}){capped} = {part.points:.1f}"


def _range(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f" [{number(interval[0])}, {number(interval[1])}]"


def _and(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))
