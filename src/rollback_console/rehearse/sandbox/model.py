"""The sandbox's models: what a version's parameters make of a visitor. Arithmetic, no library, so that both the service
and its tests can run it; what is good or bad about a version is in the registry's parameters alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rollback_console.model.value import dataclass
from rollback_console.rehearse import noise

OFFERS = 6


@dataclass(frozen=True, slots=True)
class Parameters:
    """How a version ranks: the weight of what the visitor likes and of what is popular; the least tenure (days) that
    its `tenure` feature is defined for (a visitor below it makes the feature fail); work per prediction in ms."""

    affinity: float
    popularity: float
    minimum_tenure_d: float
    work_ms: float

    @classmethod
    def of(cls, params: Mapping[str, str]) -> Parameters:
        """From a run's params; what is missing or no finite number is 0."""

        def number(name: str) -> float:
            try:
                value = float(params.get(name, "0"))
            except ValueError:
                return 0.0
            return value if math.isfinite(value) else 0.0

        return cls(
            number("affinity_weight"),
            number("popularity_weight"),
            number("minimum_tenure_d"),
            min(50.0, max(0.0, number("work_ms"))),
        )


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who sees offers. `likes`: how much they want each, 0 to 1."""

    id: int
    tenure_d: float
    likes: tuple[float, ...]

    @classmethod
    def numbered(cls, seed: int, number: int) -> Visitor:
        """The same visitor for the same numbers."""
        stream = noise.key("visitor", seed, number)
        likes = tuple(round(noise.uniform(stream, offer), 4) for offer in range(OFFERS))
        return cls(number, round(-60.0 * math.log(1.0 - noise.uniform(stream, 99)), 2), likes)

    def buys(self, seed: int, offer: int, eagerness: float) -> bool:
        """Do they take the offer put before them: the likelier, the more they want it."""
        return noise.uniform(noise.key("buys", seed, self.id), 0) < eagerness * self.likes[offer]


class FeatureMissing(ValueError):
    """A feature that the version needs is not there for this visitor."""


def rank(parameters: Parameters, likes: Sequence[float], tenure_d: float) -> list[int]:
    """Offers, best first. Raises `FeatureMissing` where the version's features are not defined for the visitor."""
    if tenure_d < parameters.minimum_tenure_d:
        raise FeatureMissing(f"tenure of {tenure_d} d is below {parameters.minimum_tenure_d} d")
    popularity = [1.0 - offer / OFFERS for offer in range(len(likes))]
    scores = [
        parameters.affinity * like + parameters.popularity * popular
        for like, popular in zip(likes, popularity, strict=True)
    ]
    return sorted(range(len(likes)), key=lambda offer: (-scores[offer], offer))
