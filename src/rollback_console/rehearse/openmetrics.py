"""The world's metrics as an OpenMetrics file, for `promtool tsdb create-blocks-from openmetrics`: the way a rehearsal's
past gets into a real Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

from rollback_console.rehearse.backends import WorldMetrics
from rollback_console.rehearse.series import METRICS
from rollback_console.rehearse.world import World


def openmetrics(world: World, start: float, end: float, names: tuple[str, ...] = METRICS) -> Iterator[str]:
    """Lines of an OpenMetrics exposition with a timestamp at every scrape from `start` to `end`, both included.

    Times are rounded down to the scrape interval. Families that are no counters are written as `unknown`: the
    histogram's buckets stand without their sum, and a gauge needs no more.
    """
    metrics = WorldMetrics(world)
    first, last = int(start // world.slot_s), int(end // world.slot_s)
    times = [slot * world.slot_s for slot in range(first, last + 1)]
    for name in names:
        if name.endswith("_total"):
            yield f"# TYPE {name.removesuffix('_total')} counter\n"
        else:
            yield f"# TYPE {name} unknown\n"
        for source in metrics.select(name, ()):
            labels = ",".join(f'{key}="{_escaped(value)}"' for key, value in source.labels if key != "__name__")
            for at, value in zip(times, source.at(times), strict=True):
                if value is not None:
                    yield f"{name}{{{labels}}} {value!r} {at:.3f}\n"
    yield "# EOF\n"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
