"""The noises: healthy streams of a ratio, minute by minute, as a production fleet shows them, and degradations put on.

Each is what the design's page on evidence says of it. A stream is a function of (noise, visits a minute, seed) alone,
whoever draws it and in whatever order. Figures where the design gives a range are drawn once a stream, uniformly
within it.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

MINUTE_S = 60.0
DAY = 1440  # minutes
START_S = 1_767_571_200.0  # Monday 2026-01-05 00:00 UTC: minute 0 of every stream
RATE = 0.03
HISTORY, JUDGED = 14 * DAY, 30 * DAY
NOISES = ("clean", "season", "autocorrelated", "blips", "gaps", "mix", "lag")
LAG_MEAN = 5.0  # minutes from a visit to its conversion, exponential; see `_lagged`
MATURITY = 5  # minutes by which visits are asked earlier than conversions, there: what a policy calls `maturity`


@dataclass(frozen=True)
class Stream:
    """One deployment's ratio. Minute i is [START_S + 60 i, START_S + 60 (i + 1)); it is judged at its end.

    `n` visits, `x` conversions among them, `seen`: did the minute reach the metric store. The first `history` minutes
    are for learning. `cn`, `cx`: a control beside it, of the same traffic and under the same noise, that no
    degradation touches. `lagged`: conversions are counted in the minute they arrive in, visits MATURITY minutes after
    they came.
    """

    noise: str
    visits: float
    history: int
    n: Floats
    x: Floats
    seen: Flags
    cn: Floats
    cx: Floats
    lagged: bool = False

    def __len__(self) -> int:
        return len(self.n)


def generator(*key: str | float) -> np.random.Generator:
    """Randomness that depends on the key alone."""
    return np.random.default_rng(zlib.crc32("/".join(str(part) for part in key).encode()))


def draw(noise: str, visits: float, seed: int, *, history: int = HISTORY, judged: int = JUDGED) -> Stream:
    """A healthy stream. `visits`: on average a minute (of the design's 2,000, before the day's shape)."""
    if noise not in NOISES:
        raise ValueError(f"no noise {noise}: {', '.join(NOISES)}")
    rng = generator("stream", noise, float(visits), seed)
    length = history + judged
    minutes = np.arange(length)
    traffic = np.full(length, float(visits))
    log_rate = np.full(length, math.log(RATE))
    seen = np.ones(length, dtype=bool)
    if noise in ("season", "mix", "lag"):
        traffic *= _day_of_traffic(minutes, rng)
        log_rate += _day_of_rate(minutes, rng)
    if noise in ("autocorrelated", "mix"):
        log_rate += _autocorrelated(length, 0.04 if noise == "autocorrelated" else 0.03, rng)
    if noise == "mix":
        log_rate += rng.choice((-1.0, 1.0)) * math.log1p(0.005) * (minutes - history) / DAY
    if noise == "lag":
        traffic *= _spikes(length, rng)
    rate = np.minimum(np.exp(log_rate), 0.5)
    if noise in ("blips", "mix"):
        rate = rate * _blips(length, rng)
    if noise in ("gaps", "mix"):
        seen = _gaps(length, rng)
    n = rng.poisson(traffic).astype(float)
    x = rng.binomial(n.astype(np.int64), rate).astype(float)
    cn = rng.poisson(traffic).astype(float)
    cx = rng.binomial(cn.astype(np.int64), rate).astype(float)
    if noise == "lag":
        x, cx = _lagged(x, rng), _lagged(cx, rng)
        n, cn = _later(n), _later(cn)
    return Stream(noise, visits, history, n, x, seen, cn, cx, lagged=noise == "lag")


def degraded(stream: Stream, onset: int, share: float, *, length: int = DAY, seed: int = 0) -> Stream:
    """The same stream with conversions down by `share` (0.1 = -10 %) for `length` minutes from minute `onset`.

    Thinning a binomial leaves a binomial, so all else about the stream stays as drawn. Where conversions lag, those of
    visits before the onset still arrive.
    """
    rng = generator("degraded", stream.noise, float(stream.visits), onset, share, seed)
    end = min(onset + length, len(stream))
    x = stream.x.copy()
    lost = np.full(end - onset, share)
    if stream.lagged:
        lost *= -np.expm1(-(np.arange(end - onset) + 0.5) / LAG_MEAN)
    x[onset:end] = rng.binomial(x[onset:end].astype(np.int64), 1.0 - lost)
    return replace(stream, x=x)


def without(stream: Stream, share: float, seed: int = 0) -> Stream:
    """The same stream with `share` of its minutes missing, each by itself."""
    rng = generator("without", stream.noise, float(stream.visits), share, seed)
    return replace(stream, seen=stream.seen & (rng.random(len(stream)) >= share))


# -- the parts ---------------------------------------------------------------------------------------------------------


def _day_of_traffic(minutes: npt.NDArray[np.int64], rng: np.random.Generator) -> Floats:
    """x0.45 at the day's low to x1.8 at its high, a sine in the logarithm."""
    turn = 2 * math.pi * (minutes / DAY + rng.random())
    shaped: Floats = np.exp(0.5 * math.log(0.45 * 1.8) + 0.5 * math.log(1.8 / 0.45) * np.sin(turn))
    return shaped


def _day_of_rate(minutes: npt.NDArray[np.int64], rng: np.random.Generator) -> Floats:
    """±8 to 15 % over the day, ±3 % by weekday; in the logarithm."""
    turn = 2 * math.pi * (minutes / DAY + rng.random())
    weekday = rng.uniform(-0.03, 0.03, 7)[(minutes // DAY) % 7]
    shaped: Floats = np.log1p(rng.uniform(0.08, 0.15) * np.sin(turn)) + weekday
    return shaped


def _autocorrelated(length: int, sd: float, rng: np.random.Generator) -> Floats:
    """AR(1) of time constant 30 min and the standard deviation given, and 1 % by day."""
    keep = math.exp(-1 / 30)
    shocks = rng.normal(0.0, sd * math.sqrt(1 - keep * keep), length)
    walk = np.empty(length)
    value = rng.normal(0.0, sd)
    for i, shock in enumerate(shocks.tolist()):
        value = keep * value + shock
        walk[i] = value
    by_day: Floats = rng.normal(0.0, 0.01, length // DAY + 1)[np.arange(length) // DAY]
    return walk + by_day


def _blips(length: int, rng: np.random.Generator) -> Floats:
    """A factor: 2 to 4 min of -50 to -100 %, one in two days on average."""
    factor = np.ones(length)
    for at in np.flatnonzero(rng.random(length) < 1 / (2 * DAY)):
        factor[at : at + rng.integers(2, 5)] = 1.0 - rng.uniform(0.5, 1.0)
    return factor


def _gaps(length: int, rng: np.random.Generator) -> Flags:
    """2 % of minutes missing, and a stretch of 10 to 60 min every day."""
    seen: Flags = rng.random(length) >= 0.02
    for day in range(length // DAY):
        at = day * DAY + int(rng.integers(0, DAY - 60))
        seen[at : at + int(rng.integers(10, 61))] = False
    return seen


def _spikes(length: int, rng: np.random.Generator) -> Floats:
    """A factor on traffic: twice a week on average, x1.5 to x3 for 20 to 90 min (a mailing, an advertisement)."""
    factor = np.ones(length)
    for at in np.flatnonzero(rng.random(length) < 2 / (7 * DAY)):
        factor[at : at + rng.integers(20, 91)] = rng.uniform(1.5, 3.0)
    return factor


def _lagged(x: Floats, rng: np.random.Generator) -> Floats:
    """Each conversion moved to the minute it arrives in, an exponential time after its visit."""
    total = int(x.sum())
    visit = np.repeat(np.arange(len(x)), x.astype(np.int64)) + rng.random(total)
    arrives = (visit + rng.exponential(LAG_MEAN, total)).astype(np.int64)
    return np.bincount(arrives[arrives < len(x)], minlength=len(x)).astype(float)


def _later(n: Floats) -> Floats:
    """Visits, MATURITY minutes later."""
    return np.concatenate((n[:MATURITY], n[:-MATURITY]))
