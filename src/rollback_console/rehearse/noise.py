"""Randomness that can be asked for any moment in any order: a counter-based generator, no state.

A draw is a function of (key, counter), so the same question has the same answer whoever asks first. The mixing
function is SplitMix64's finaliser (Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators").
"""

from __future__ import annotations

import hashlib
import math

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_TWO_PI = 2.0 * math.pi
_sqrt, _log, _cos = math.sqrt, math.log, math.cos


def key(*parts: object) -> int:
    """64 bits from any words: a seed, a deployment, a metric. Length-prefixed, so that ("ab","c") is not ("a","bc")."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        data = str(part).encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "big") + data)
    return int.from_bytes(digest.digest(), "big")


def bits(stream: int, counter: int) -> int:
    """64 uniform bits of `stream` at `counter`."""
    z = (stream + (counter + 1) * _GOLDEN) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def uniform(stream: int, counter: int) -> float:
    """A uniform number in [0, 1)."""
    return (bits(stream, counter) >> 11) * (1.0 / (1 << 53))


def normal(stream: int, counter: int) -> float:
    """A standard normal number (Box-Muller on the two halves of one draw)."""
    z = (stream + (counter + 1) * _GOLDEN) & _MASK  # as `bits`, written out: a drill draws millions of these
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    z ^= z >> 31
    return _sqrt(-2.0 * _log(((z >> 32) + 0.5) / 4294967296.0)) * _cos(_TWO_PI * ((z & 0xFFFFFFFF) / 4294967296.0))


class Drift:
    """Slow noise of roughly unit size that remembers itself for about `scale_s`: normals at knots, joined smoothly.

    Stands in for an autoregressive process, which could only be asked in order. Keeps the two knots it used last,
    because neighbours in time are mostly asked together; its answers do not depend on that.
    """

    __slots__ = ("_after", "_before", "_knot", "_scale", "_stream")

    def __init__(self, stream: int, scale_s: float) -> None:
        self._stream, self._scale = stream, scale_s
        self._knot: int | None = None
        self._before = self._after = 0.0

    def at(self, at: float) -> float:
        position = at / self._scale
        knot = math.floor(position)
        if knot != self._knot:
            self._knot = knot
            self._before, self._after = normal(self._stream, knot), normal(self._stream, knot + 1)
        share = position - knot
        weight = share * share * (3.0 - 2.0 * share)
        return self._before * (1.0 - weight) + self._after * weight


def poisson(stream: int, counter: int, mean: float) -> int:
    """Events in a slot where `mean` are expected. Exact below 30; the normal approximation, rounded, above."""
    if mean <= 0.0:
        return 0
    if mean >= 30.0:
        return max(0, round(mean + math.sqrt(mean) * normal(stream, counter)))
    left, count, term = uniform(stream, counter), 0, math.exp(-mean)
    while left >= term and count < 400:
        left -= term
        count += 1
        term *= mean / count
    return count


def binomial(stream: int, counter: int, trials: int, chance: float) -> int:
    """Successes out of `trials`. Exact where few are expected; the normal approximation, rounded and kept within
    [0, trials], elsewhere."""
    if trials <= 0 or chance <= 0.0:
        return 0
    if chance >= 1.0:
        return trials
    if chance > 0.5:
        return trials - binomial(stream, counter, trials, 1.0 - chance)
    mean = trials * chance
    if mean >= 30.0:
        draw = mean + math.sqrt(mean * (1.0 - chance)) * normal(stream, counter)
        return min(trials, max(0, round(draw)))
    left, count = uniform(stream, counter), 0
    odds = chance / (1.0 - chance)
    term = (1.0 - chance) ** trials
    while left >= term and count < trials:
        left -= term
        term *= odds * (trials - count) / (count + 1)
        count += 1
    return count
