"""Where to go back to: the last version that served healthily, computed, explained, then named. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum

from rollback_console.model.registry import ModelVersion
from rollback_console.model.text import span
from rollback_console.model.value import dataclass

MINIMUM_HEALTHY_S = 600.0  # shorter than a usual dwell and hold together, a service proves nothing


class Service(StrEnum):
    """How a version fared while it served."""

    HEALTHY = "healthy"
    FIRED = "fired"
    UNKNOWN = "unknown"  # no verdict: blind, or nobody watched


@dataclass(frozen=True, slots=True)
class Served:
    """One version served from `start` until `end` (Unix seconds), and the trigger was in this state throughout.

    One service of a version may come as several of these, one for each change of the trigger's state; `pending` and
    `cooling` count as healthy only if the trigger did not fire out of them, so whoever makes these says `UNKNOWN`.
    """

    version: str
    start: float
    end: float
    state: Service


@dataclass(frozen=True, slots=True)
class Target:
    """The version to go back to, named, and why it is that one."""

    version: str
    why: str


@dataclass(frozen=True, slots=True)
class NoTarget:
    """Nothing to go back to: why, with each version's own reason."""

    why: str
    reasons: tuple[tuple[str, str], ...] = ()  # (version, why not)

    def __str__(self) -> str:
        return "; ".join([self.why, *(f"v{version} {reason}" for version, reason in self.reasons)])


def last_known_good(
    *,
    current: str,
    history: Iterable[Served],
    versions: Iterable[ModelVersion],
    known_bad: Mapping[str, str],
    minimum_healthy_s: float = MINIMUM_HEALTHY_S,
) -> Target | NoTarget:
    """The version other than `current` whose healthy service ended last.

    It counts as healthy when its last judged service was, and its healthy time adds up to `minimum_healthy_s`; it must
    be READY in the registry and not marked known bad (`known_bad`: version -> the mark's words). The order of the
    arguments does not matter. Refuses rather than guesses: a version that nobody watched is never named.
    """
    served: dict[str, list[Served]] = {}
    for interval in sorted(history, key=lambda item: (item.start, item.end, item.version, item.state)):
        if interval.end > interval.start:
            served.setdefault(interval.version, []).append(interval)
    registered = {version.version: version for version in versions}
    reasons: dict[str, str] = {}
    good: list[tuple[float, str]] = []
    for version, intervals in served.items():
        if version == current:
            continue
        reason = _why_not(intervals, registered.get(version), known_bad.get(version), minimum_healthy_s)
        if reason:
            reasons[version] = reason
        else:
            good.append((_healthy_until(intervals), version))
    if not good:
        return _none(current, reasons, registered)
    good.sort(key=lambda item: (item[0], _order(item[1])))
    until, chosen = good[-1]
    return Target(chosen, _explain(chosen, served[chosen], until, _passed_over(until, served, reasons)))


def named(version: str, by: str) -> Target:
    """A version that the policy or a person named."""
    return Target(version, f"v{version} was named by {by}, not computed")


def _why_not(intervals: list[Served], version: ModelVersion | None, bad: str | None, minimum_healthy_s: float) -> str:
    if version is None:
        return "is no longer in the registry"
    if version.status != "READY":
        return f"is {version.status} in the registry, not READY"
    if bad is not None:
        return f"is marked known bad: {bad}"
    judged = [item for item in intervals if item.state is not Service.UNKNOWN]
    if not judged:
        return "served while nobody could judge it"
    if max(judged, key=lambda item: (item.end, item.state is Service.FIRED)).state is Service.FIRED:
        return f"was last seen with its trigger fired ({_when(judged[-1].end)})"
    healthy = _healthy_s(intervals)
    if healthy < minimum_healthy_s:
        return f"served healthily for only {span(healthy)}, less than {span(minimum_healthy_s)}"
    return ""


def _healthy_s(intervals: list[Served]) -> float:
    """Time covered by healthy intervals; overlapping ones count once. `intervals` are sorted by start."""
    total, reach = 0.0, float("-inf")
    for item in intervals:
        if item.state is Service.HEALTHY:
            total += max(0.0, item.end - max(item.start, reach))
            reach = max(reach, item.end)
    return total


def _healthy_until(intervals: list[Served]) -> float:
    return max(item.end for item in intervals if item.state is Service.HEALTHY)


def _passed_over(until: float, served: dict[str, list[Served]], reasons: dict[str, str]) -> list[str]:
    """Versions that served after the chosen one and were not taken, each with its reason."""
    later = {version for version, items in served.items() if max(item.end for item in items) > until}
    return [f"v{version} {reason}" for version, reason in sorted(reasons.items(), key=_by_version) if version in later]


def _explain(version: str, intervals: list[Served], until: float, passed_over: list[str]) -> str:
    text = (
        f"v{version} is the last version that served healthily: for {span(_healthy_s(intervals))}, until {_when(until)}"
    )
    return f"{text}; passed over: {', '.join(passed_over)}" if passed_over else text


def _none(current: str, reasons: dict[str, str], registered: Mapping[str, ModelVersion]) -> NoTarget:
    if reasons:
        return NoTarget(
            f"no version other than v{current} is known to have served healthily",
            tuple(sorted(reasons.items(), key=_by_version)),
        )
    others = len([version for version in registered if version != current])
    return NoTarget(
        f"nothing is known of any version but v{current} serving; the registry holds {others} other"
        f"{'' if others == 1 else 's'}"
    )


def _by_version(item: tuple[str, str]) -> tuple[int, int, str]:
    return _order(item[0])


def _order(version: str) -> tuple[int, int, str]:
    return (1, int(version), "") if version.isascii() and version.isdigit() and len(version) < 18 else (0, 0, version)


def _when(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")
