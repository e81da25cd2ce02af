"""How sure a share is that was counted in few cases."""

from __future__ import annotations

from math import sqrt

Z95 = 1.959964  # the standard normal distribution's 97.5 % point


def wilson(hits: int, of: int, z: float = Z95) -> tuple[float, float]:
    """Wilson's score interval for a share (E. B. Wilson 1927): the shares p with |hits/of - p| <= z sqrt(p(1-p)/of).
    (0, 1) where `of` is 0."""
    if of == 0:
        return 0.0, 1.0
    p, square = hits / of, z * z
    middle = (p + square / (2 * of)) / (1 + square / of)
    half = z * sqrt(p * (1 - p) / of + square / (4 * of * of)) / (1 + square / of)
    # at the ends the formula is exactly 0 or 1, and the arithmetic only nearly
    return (0.0 if hits == 0 else max(0.0, middle - half), 1.0 if hits == of else min(1.0, middle + half))
