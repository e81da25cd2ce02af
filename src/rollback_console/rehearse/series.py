"""The series of a simulated metric store: what each is called, and its samples at every slot's boundary."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence

from rollback_console.errors import BackendRefused
from rollback_console.rehearse.evaluate import Column, Labels
from rollback_console.rehearse.world import COUNTERS, RARE, World

_DAY = 86_400.0
GAUGES = ("model_info", "up", "feature_age_seconds")
METRICS = (*COUNTERS, RARE, "latency_seconds_bucket", "latency_seconds_count", *GAUGES)


class Names:
    """What a world's metrics and labels are called, where that is not as this program calls them."""

    def __init__(self, metrics: Mapping[str, str] | None = None, labels: Mapping[str, str] | None = None) -> None:
        """By the names of this program."""
        self._metrics, self._labels = dict(metrics or {}), dict(labels or {})
        self._own = {name: name for name in METRICS if name not in self._metrics}
        self._own |= {called: own for own, called in self._metrics.items()}

    def of(self, own: str) -> str:
        """What a metric is called."""
        return self._metrics.get(own, own)

    def own(self, called: str) -> str | None:
        """The metric that is called so, or None."""
        return self._own.get(called)

    def label(self, own: str) -> str:
        """What a label is called."""
        return self._labels.get(own, own)

    def labelled(self, labels: Labels, known_as: Labels) -> Labels:
        """Labels as they are called, with a deployment's own ones beside them or in their place."""
        return tuple(sorted(({self.label(key): value for key, value in labels} | dict(known_as)).items()))


class Simulated:
    """One series: a deployment's metric, scraped at every slot's boundary."""

    def __init__(
        self, world: World, index: int, name: str, extra: Labels = (), counts: str | None = None,
        names: Names | None = None,
    ) -> None:  # fmt: skip
        """`counts`: the world's counter behind it, None for a gauge. `names`: what it and its labels are called."""
        self._world, self._index, self._name, self._counts = world, index, name, counts
        self._deployment = world.deployments[index]
        self._extra = dict(extra)
        self._unit = 0.01 if counts == "revenue_total" else 1.0
        self.counter = counts is not None
        labels: Labels = (*self._deployment.labels, *extra)
        if names is not None:
            name, labels = names.of(name), names.labelled(labels, self._deployment.known_as)
        self.labels: Labels = tuple(sorted((("__name__", name), *labels)))

    def at(self, times: Sequence[float]) -> Column:
        slot_s = self._world.slot_s
        slots = [math.floor(at / slot_s) for at in times]
        if self._name == "model_info" and len(slots) > 3:
            return self._served([slot * slot_s for slot in slots])
        midnight = self._midnight(slots[0])
        if self._counts is None or len(slots) < 4 or midnight != self._midnight(slots[-1]):
            return [self._sample(slot) for slot in slots]
        sums = self._world.cumulative(self._index, self._counts, midnight, slots[-1])
        alive = (self._world.exporter_alive(self._deployment, slot * slot_s) for slot in slots)
        return [sums[s - midnight] * self._unit if is_alive else None for s, is_alive in zip(slots, alive, strict=True)]

    def _served(self, times: Sequence[float]) -> Column:
        """1 where the version of this series serves: two days of it are asked for at every start."""
        services, wanted = self._world.services(self._deployment), self._extra["version"]
        starts = [since for since, _ in services]
        ours = [version == wanted for _, version in services]
        out: Column = [1.0 if ours[max(0, bisect_right(starts, at) - 1)] else None for at in times]
        if self._world.may_be_silent(self._deployment, times[0], times[-1]):
            alive = (self._world.exporter_alive(self._deployment, at) for at in times)
            return [value if is_alive else None for value, is_alive in zip(out, alive, strict=True)]
        return out

    def _midnight(self, slot: int) -> int:
        """The slot at which the service was last restarted: every midnight, UTC."""
        return int(slot * self._world.slot_s // _DAY * _DAY / self._world.slot_s)

    def sampled_at(self, times: Sequence[float]) -> Column:
        slot_s = self._world.slot_s
        slots = [math.floor(at / slot_s) for at in times]
        return [None if self._sample(slot) is None else slot * slot_s for slot in slots]

    def _sample(self, slot: int) -> float | None:
        at = slot * self._world.slot_s
        alive = self._world.exporter_alive(self._deployment, at)
        if self._name == "up":
            return 1.0 if alive else 0.0
        if not alive:
            return None
        if self._counts is not None:
            return self._world.growth(self._index, self._counts, self._midnight(slot), slot) * self._unit
        if self._name == "model_info":
            return 1.0 if self._world.serving(self._deployment, at)[0] == self._extra["version"] else None
        return self._world.feature_age(self._index, at)

    def counted(self, times: Sequence[float], window_s: float) -> Column:
        """Samples in the closed window, as of Prometheus 2.42."""
        slot_s = self._world.slot_s
        out: Column = []
        for at in times:
            slots = range(math.ceil((at - window_s) / slot_s - 1e-9), math.floor(at / slot_s + 1e-9) + 1)
            count = sum(self._there(slot * slot_s) for slot in slots)
            out.append(float(count) if count else None)
        return out

    def _there(self, at: float) -> bool:
        """Was this series scraped at a slot's boundary."""
        if self._name == "up":
            return True
        if self._name == "model_info" and self._world.serving(self._deployment, at)[0] != self._extra["version"]:
            return False
        return self._world.exporter_alive(self._deployment, at)

    def increase(self, times: Sequence[float], window_s: float) -> Column:
        """`extrapolatedRate` of Prometheus 2.42, over the samples in the closed window."""
        if self._counts is None:
            raise BackendRefused(f"{self._name} is not a counter", "use it without rate() and increase()")
        slot_s = self._world.slot_s
        silent = self._world.may_be_silent(self._deployment, times[0] - window_s, times[-1])
        slots = window_s / slot_s
        if not silent and slots >= 1 and slots.is_integer() and _on_grid(times, slot_s):
            return self._full(times, int(slots), self._counts)
        grow = self._grower(times, window_s, self._counts)
        alive_at = self._alive(times, window_s) if silent else {}
        out: Column = []
        for at in times:
            start = at - window_s
            first, last = math.ceil(start / slot_s - 1e-9), math.floor(at / slot_s + 1e-9)
            count = last - first + 1
            if silent:
                alive = [s for s in range(first, last + 1) if alive_at[s]]
                count = len(alive)
                first, last = (alive[0], alive[-1]) if alive else (first, last)
            if count < 2:
                out.append(None)
                continue
            sampled = (last - first) * slot_s
            average = sampled / (count - 1)
            before, after = first * slot_s - start, at - last * slot_s
            reach = sampled + (before if before < average * 1.1 else average / 2)
            reach += after if after < average * 1.1 else average / 2
            out.append(grow(first, last) * self._unit * reach / sampled)
        return out

    def _full(self, times: Sequence[float], slots: int, counts: str) -> Column:
        """Increases where a scrape stands at both ends of every window: nothing to extrapolate."""
        slot_s, unit = self._world.slot_s, self._unit
        low, high = int(times[0] // slot_s) - slots, int(times[-1] // slot_s)
        if len(times) == 1 or high - low > 2 * len(times) * slots:  # sums are whole numbers: the same either way
            ends = [int(at // slot_s) for at in times]
            return [self._world.growth(self._index, counts, end - slots, end) * unit for end in ends]
        sums = self._world.cumulative(self._index, counts, low, high)
        apart = (high - low - slots) // (len(times) - 1) if len(times) > 1 else 1
        return [(b - a) * unit for a, b in zip(sums[:-slots:apart], sums[slots::apart], strict=True)]

    def _alive(self, times: Sequence[float], window_s: float) -> dict[int, bool]:
        """Was it scraped, for every slot of every window."""
        slot_s = self._world.slot_s
        low, high = math.ceil((times[0] - window_s) / slot_s - 1e-9), math.floor(times[-1] / slot_s + 1e-9)
        return {s: self._world.exporter_alive(self._deployment, s * slot_s) for s in range(low, high + 1)}

    def _grower(self, times: Sequence[float], window_s: float, counts: str) -> Callable[[int, int], float]:
        """Growth between two slots: out of one running sum where windows overlap, else asked one by one."""
        world, index, slot_s = self._world, self._index, self._world.slot_s
        low, high = math.ceil((times[0] - window_s) / slot_s - 1e-9), math.floor(times[-1] / slot_s + 1e-9)
        if (high - low) * slot_s > 2 * len(times) * window_s:
            return lambda first, last: world.growth(index, counts, first, last)
        sums = world.cumulative(index, counts, low, high)
        return lambda first, last: sums[last - low] - sums[first - low]


class Wrong:
    """A series whose numbers are wrong by a factor."""

    def __init__(self, source: Simulated, factor: float) -> None:
        self._source, self._factor = source, factor
        self.labels, self.counter = source.labels, source.counter

    def at(self, times: Sequence[float]) -> Column:
        return [None if value is None else value * self._factor for value in self._source.at(times)]

    def sampled_at(self, times: Sequence[float]) -> Column:
        return self._source.sampled_at(times)

    def counted(self, times: Sequence[float], window_s: float) -> Column:
        return self._source.counted(times, window_s)

    def increase(self, times: Sequence[float], window_s: float) -> Column:
        return [None if value is None else value * self._factor for value in self._source.increase(times, window_s)]


def _on_grid(times: Sequence[float], slot_s: float) -> bool:
    """Are evenly spaced times all on slots' boundaries."""
    return not times[0] % slot_s and (len(times) < 2 or not (times[1] - times[0]) % slot_s)
