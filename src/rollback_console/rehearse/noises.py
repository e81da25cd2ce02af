"""The noises of healthy traffic, for any moment in any order: what a deployment shows while nothing is wrong.

They are those that detection is measured against (docs/decision-quality.md), and three more that a fleet shows. A
factor on traffic, a factor on the share that converts, and whether a scrape is answered: each a function of (seed,
deployment, moment) alone.

- `clean`: none of it; counts are Poisson, conversions binomial.
- `season`: traffic x0.45 to x1.8 over the day, the share ±8 to 15 % over the day and ±3 % by weekday.
- `autocorrelated`: the share wanders by 4 % with a memory of half an hour, and by 1 % from day to day.
- `overdispersed`: minutes differ by far more than chance: traffic by 15 %, the share by 3 %.
- `bursty`: traffic x1.5 to x3 for 20 to 90 minutes, twice a week on average: a mailing, an advertisement.
- `jumps`: traffic stands at another level every few hours, by up to a third.
- `blips`: for 2 to 4 minutes the share falls by 50 to 100 %, once in two days on average.
- `gaps`: 2 % of minutes are missing, and a stretch of 10 to 60 minutes every day.
- `mix`: `season`, `autocorrelated` (3 %), `blips`, `gaps`, and a drift of 0.5 % a day.
"""

from __future__ import annotations

import math

from rollback_console.rehearse import noise

KINDS = ("clean", "season", "autocorrelated", "overdispersed", "bursty", "jumps", "blips", "gaps", "mix")
_DAY = 86_400.0
_MEMORY_S = 1_800.0
_LEVEL_S = 4.5 * 3_600.0
_BURST_MOST_S, _BLIP_MOST = 5_400, 4  # seconds, minutes


class Wander:
    """The Ornstein-Uhlenbeck process (what an AR(1) is between its steps) of unit size and memory `memory_s`, at whole
    multiples of `grain_s`, for any moment in any order.

    Between two knots it is drawn by halving: the process is Markov, so the value in the middle of an interval is normal
    given its two ends (Glasserman 2003, Monte Carlo Methods in Financial Engineering, 3.1 and 3.3). The knots lie 1,024
    grains apart and are drawn independently of each other: at 8.5 memories their correlation would be 0.0002.
    """

    _SPAN = 1024

    def __init__(self, stream: int, memory_s: float, grain_s: float) -> None:
        self._stream = stream
        self._keep = math.exp(-grain_s / memory_s)
        self._drawn: dict[int, list[float]] = {}

    def at(self, grain: int) -> float:
        """The value at grain number `grain`."""
        knot, place = divmod(grain, self._SPAN)
        found = self._drawn.get(knot)
        if found is None:
            if len(self._drawn) > 16:
                self._drawn.clear()  # they can be drawn again, alike
            found = self._drawn[knot] = self._between(knot)
        return found[place]

    def _between(self, knot: int) -> list[float]:
        """Every value from one knot to the next, both included."""
        span, stream = self._SPAN, self._stream
        values = [0.0] * (span + 1)
        values[0], values[span] = noise.normal(stream, knot * span), noise.normal(stream, (knot + 1) * span)
        half = span // 2
        while half:
            rho = self._keep**half
            weight, spread = rho / (1.0 + rho * rho), math.sqrt((1.0 - rho * rho) / (1.0 + rho * rho))
            for place in range(half, span, 2 * half):
                middle = weight * (values[place - half] + values[place + half])
                values[place] = middle + spread * noise.normal(stream, knot * span + place)
            half //= 2
        return values


class Noises:
    """The noises of one kind, of one deployment. `slot_s`: the grain of the world."""

    def __init__(self, kind: str, seed: int, name: object, slot_s: float, start: float) -> None:
        """`start`: where a drift is zero, Unix seconds. Raises ValueError for a kind that is none."""
        if kind not in KINDS:
            raise ValueError(f"no noise {kind}: {', '.join(KINDS)}")
        self.kind = kind
        self._start = start
        self._slot_s = slot_s
        words = ("day", "rate", "walk", "daily", "blip", "gap", "gap-day", "burst", "level", "minute", "minute-rate")
        self._streams = {word: noise.key(seed, name, "noise", word) for word in words}
        day = self._streams["day"]
        self._phase = 2 * math.pi * noise.uniform(day, 0)
        self._rate_phase = 2 * math.pi * noise.uniform(day, 1)
        self._swing = 0.08 + 0.07 * noise.uniform(day, 2)
        self._weekdays = [0.06 * noise.uniform(day, 10 + number) - 0.03 for number in range(7)]
        self._drift = math.copysign(math.log1p(0.005), noise.uniform(day, 3) - 0.5)
        self._size = {"autocorrelated": 0.04, "mix": 0.03}.get(kind, 0.0)
        self._walk = Wander(self._streams["walk"], _MEMORY_S, slot_s)

    @property
    def has_gaps(self) -> bool:
        """May a scrape go unanswered."""
        return self.kind in ("gaps", "mix")

    def traffic(self, at: float) -> float:
        """The factor on traffic at `at` (Unix seconds)."""
        if self.kind in ("season", "mix"):
            turn = math.sin(2 * math.pi * at / _DAY + self._phase)
            return math.exp(0.5 * math.log(0.45 * 1.8) + 0.5 * math.log(1.8 / 0.45) * turn)
        if self.kind == "overdispersed":
            return math.exp(0.15 * noise.normal(self._streams["minute"], int(at // 60)) - 0.5 * 0.15**2)
        if self.kind == "jumps":
            return math.exp(0.6 * noise.uniform(self._streams["level"], self._level(at)) - 0.3)
        return self._burst(at) if self.kind == "bursty" else 1.0

    def share(self, at: float) -> float:
        """The factor on the share that converts."""
        log = 0.0
        if self.kind in ("season", "mix"):
            log += math.log1p(self._swing * math.sin(2 * math.pi * at / _DAY + self._rate_phase))
            log += self._weekdays[int(at // _DAY + 3) % 7]
        if self._size:
            log += self._size * self._walk.at(round(at / self._slot_s))
            log += 0.01 * noise.normal(self._streams["daily"], int(at // _DAY))
        if self.kind == "overdispersed":
            log += 0.03 * noise.normal(self._streams["minute-rate"], int(at // 60))
        if self.kind == "mix":
            log += self._drift * (at - self._start) / _DAY
        factor = math.exp(log)
        return factor * self._blip(at) if self.kind in ("blips", "mix") else factor

    def seen(self, at: float) -> bool:
        """Is a scrape at `at` answered."""
        if not self.has_gaps:
            return True
        if noise.uniform(self._streams["gap"], int(at // 60)) < 0.02:
            return False
        day = int(at // _DAY)
        begins = noise.uniform(self._streams["gap-day"], 2 * day) * (_DAY - 3_600.0)
        length = 600.0 + 3_000.0 * noise.uniform(self._streams["gap-day"], 2 * day + 1)
        return not begins <= at - day * _DAY < begins + length

    def _level(self, at: float) -> int:
        """The number of the level that traffic stands at; each lasts two to seven hours."""
        number, place = divmod(at, _LEVEL_S)
        begins = 0.5 * _LEVEL_S * noise.uniform(self._streams["level"], -int(number) - 1)
        return int(number) if place >= begins else int(number) - 1

    def _blip(self, at: float) -> float:
        """The factor of a blip that began up to four minutes ago."""
        stream, minute = self._streams["blip"], int(at // 60)
        for began in range(minute, minute - _BLIP_MOST, -1):
            drawn = noise.uniform(stream, began)
            if drawn < 1 / 2_880:
                shape = noise.bits(stream, -began - 1)
                if minute - began < 2 + shape % 3:
                    return 0.5 * ((shape >> 8) % 1_000) / 1_000
        return 1.0

    def _burst(self, at: float) -> float:
        """The factor of a burst that is on: of each half week one, somewhere in it."""
        stream, length = self._streams["burst"], 3.5 * _DAY
        number = int(at // length)
        begins = number * length + noise.uniform(stream, 3 * number) * (length - _BURST_MOST_S)
        lasts = 1_200.0 + 4_200.0 * noise.uniform(stream, 3 * number + 1)
        return 1.5 + 1.5 * noise.uniform(stream, 3 * number + 2) if begins <= at < begins + lasts else 1.0
