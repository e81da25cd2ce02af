"""What a degradation costs while it lasts, as people write it; `decide.impact` has the formula."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from rollback_console.model.rules import CostRule, ImpactRule
from rollback_console.policy.promql import Query
from rollback_console.policy.words import Complaint, Text, Words, several

Tier = Literal["none", "low", "medium", "high"]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Full = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Unit = Annotated[Text, Field(max_length=20)]

REVENUE_FULL, USERS_FULL, COST_FULL = ImpactRule().revenue_full, ImpactRule().users_full, CostRule().full


def _one_of(words: Words, keys: tuple[str, ...], example: str) -> list[Complaint]:
    given = [key for key in keys if getattr(words, key) is not None]
    if not given:
        return [Complaint((), f"names none of {', '.join(keys)}", f"Write {example}")]
    if len(given) > 1:
        return [Complaint((given[1],), f"stands beside {given[0]}", "Keep one")]
    return []


class ImpactRate(Words):
    """Something per minute: PromQL of what comes in now, or a constant that comes in while all is well (revenue without
    a unit is in USD). `full`: the loss per minute that scores all of the part's points."""

    value: Query | None = None
    constant: Amount | None = None
    unit: Unit | None = None
    full: Full | None = None

    @model_validator(mode="after")
    def _one(self) -> ImpactRate:
        if found := _one_of(self, ("value", "constant"), "`value:` with PromQL, or `constant:` with a number"):
            raise several(found)
        return self


class ImpactCost(Words):
    """A part that is a cost already: PromQL of it per minute, a constant per minute, or a tier."""

    value: Query | None = None
    constant: Amount | None = None
    tier: Tier | None = None
    unit: Unit | None = None
    full: Full | None = None

    @model_validator(mode="after")
    def _one(self) -> ImpactCost:
        found = _one_of(
            self, ("value", "constant", "tier"), "`tier: low`, or `value:` with PromQL of a cost per minute"
        )
        if self.tier is not None:
            found += [
                Complaint((key,), "has no place beside a tier", "Take it out")
                for key in ("unit", "full")
                if getattr(self, key) is not None
            ]
        if found:
            raise several(found)
        return self

    def rule(self) -> CostRule:
        """As a rule has it."""
        return CostRule(self.value, self.constant, self.tier, self.unit or "", self.full or COST_FULL)


class PolicyImpact(Words):
    """What a degradation costs while it lasts. `false_rollback`: what a rollback costs that was not needed, in the unit
    of revenue; by default as much as a minute that scores all of revenue's points (its `full`)."""

    revenue_per_minute: ImpactRate | None = None
    users_per_minute: ImpactRate | None = None
    satisfaction: ImpactCost | None = None
    market: ImpactCost | None = None
    regulatory: Tier = "none"
    false_rollback: Full | None = None

    def rule(self) -> ImpactRule:
        """As a rule has it, the placeholders of its queries still in place."""
        revenue, users = self.revenue_per_minute or _NOTHING, self.users_per_minute or _NOTHING
        return ImpactRule(
            revenue_per_minute=revenue.value,
            unit=revenue.unit or "USD",
            users_per_minute=users.value,
            regulatory=self.regulatory,
            revenue_constant=revenue.constant,
            users_constant=users.constant,
            revenue_full=revenue.full or REVENUE_FULL,
            users_full=users.full or USERS_FULL,
            satisfaction=self.satisfaction.rule() if self.satisfaction is not None else None,
            market=self.market.rule() if self.market is not None else None,
            false_rollback=self.false_rollback,
        )


_NOTHING = ImpactRate.model_construct()
