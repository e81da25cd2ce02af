"""Incidents with a known cause, by seed: a fleet, its policy, its releases, its faults, and what is true of them.

Every scenario is a story that on-call people know; what varies by seed is the fleet (size, traffic, tiers, what depends
on what, bounds and dwells of its policy), the sizes, the moments, and who released innocently shortly before.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from rollback_console.clock import VirtualClock
from rollback_console.model.identity import DeploymentId
from rollback_console.model.registry import ModelVersion
from rollback_console.model.rules import DeploymentRule
from rollback_console.policy.load import parse_policy
from rollback_console.rehearse.fleet import Behaviour, Effect, Fault, FaultKind, Flip, SimulatedDeployment
from rollback_console.rehearse.world import World

EPOCH = 1_763_640_000.0
DAY = 86_400.0
MINUTE = 60.0
SLOT_S = 15.0
STEP_S = 30.0
KINDS = ("release", "upstream", "infrastructure", "telemetry", "none")


@dataclass(frozen=True)
class Cause:
    """What is true. `members`: who suffers; `cures`: whom a rollback to which version truly mends. `quiet`: nothing
    need alarm, and if something does it must not be blamed on a version."""

    kind: str
    members: frozenset[DeploymentId]
    cures: Mapping[DeploymentId, str] = field(default_factory=dict)
    quiet: bool = False
    unseen: bool = False  # the culprit is silent: to look at serving by hand first is the right advice


@dataclass(frozen=True)
class Story:
    """One seeded incident, ready to be watched from `watch_from` to `until` (Unix seconds)."""

    seed: int
    scenario: str
    world: World
    rules: tuple[DeploymentRule, ...]
    causes: tuple[Cause, ...]
    watch_from: float
    until: float
    step_s: float = STEP_S
    mild: bool = False


@dataclass
class Draft:
    """A story being written: `at` is the moment at which its cause sets in."""

    draw: random.Random
    at: float
    deployments: list[SimulatedDeployment]
    flips: list[Flip]
    faults: list[Fault] = field(default_factory=list)
    causes: list[Cause] = field(default_factory=list)
    versions: dict[DeploymentId, int] = field(default_factory=dict)
    lasts_s: float = 32 * MINUTE
    mild: bool = False  # small degradations at any traffic, judged by evidence

    def effect(self) -> Effect:
        """How a version or a fault degrades: business only, technical, or both."""
        draw = self.draw
        if self.mild:
            return draw.choice(
                (
                    Effect(conversion=draw.uniform(0.75, 0.93)),
                    Effect(conversion=draw.uniform(0.8, 0.93), latency=draw.uniform(1.0, 1.3)),
                    Effect(conversion=draw.uniform(0.85, 0.95), errors=draw.uniform(0.002, 0.02)),
                )
            )
        return draw.choice(
            (
                Effect(conversion=draw.uniform(0.6, 0.86)),
                Effect(conversion=draw.uniform(0.75, 0.88), latency=draw.uniform(1.1, 2.5)),
                Effect(errors=draw.uniform(0.04, 0.3)),
                Effect(errors=draw.uniform(0.03, 0.1), latency=draw.uniform(1.5, 4.0)),
            )
        )

    def loses(self, low: float, high: float) -> float:
        """What is left of conversion when this much is lost; a third of it where the story is a mild one."""
        lost = 1.0 - self.draw.uniform(low, high)
        return 1.0 - lost * (0.4 if self.mild else 1.0)

    def named(self, number: int) -> DeploymentId:
        return self.deployments[number].id

    def pick(self, count: int, among: list[int] | None = None) -> list[int]:
        numbers = list(range(len(self.deployments))) if among is None else among
        return self.draw.sample(numbers, min(count, len(numbers)))

    def dependents(self, dependency: str) -> list[int]:
        return [k for k, each in enumerate(self.deployments) if dependency in each.depends_on]

    def depend(self, number: int, dependency: str) -> None:
        each = self.deployments[number]
        if dependency not in each.depends_on:
            self.deployments[number] = replace(each, depends_on=(*each.depends_on, dependency))

    def release(self, number: int, at: float, behaviour: Effect | None = None, **how: float | bool) -> str:
        """A new version of a deployment serves from `at` on; returns the version before."""
        each = self.deployments[number]
        before = self.versions[each.id]
        self.versions[each.id] = before + 1
        after = str(before + 1)
        behaviours = each.behaviours
        if behaviour is not None:
            behaviours += (Behaviour(after, behaviour, **how),)  # type: ignore[arg-type]  # floats but one flag
        version = ModelVersion(each.model, after, "READY", at - 600.0)
        self.deployments[number] = replace(each, behaviours=behaviours, versions=(version, *each.versions))
        self.flips.append(Flip(at - each.lag_s, each.model, each.alias, after, "ci"))
        return str(before)

    def innocent(self, number: int, low: float, high: float) -> None:
        """A release that has nothing to do with it, `low` to `high` minutes before."""
        self.release(number, self.at - self.draw.uniform(low, high) * MINUTE)

    def hit(self, numbers: list[int], effect: Effect, spread_s: float = 0.0, ends: float | None = None) -> None:
        for number in numbers:
            starts = self.at + self.draw.uniform(0.0, spread_s)
            self.faults.append(Fault(FaultKind.DEPLOYMENT, str(self.named(number)), starts, ends, effect))

    def caused(self, kind: str, numbers: list[int], **facts: object) -> None:
        self.causes.append(Cause(kind, frozenset(self.named(k) for k in numbers), **facts))  # type: ignore[arg-type]


# -- what makes a fleet ------------------------------------------------------------------------------------------------


def _fleet(draw: random.Random, at: float, mild: bool) -> Draft:
    size = draw.randint(5, 12)
    views = [f"feature-view/{name}" for name in ("activity", "catalogue", "basket", "prices")][: draw.randint(2, 4)]
    deployments, flips, versions = [], [], {}
    for k in range(size):
        conversion = draw.uniform(0.2, 0.9)
        visits = max(4_000.0 * 10 ** draw.uniform(0.0, 1.0), 3_000.0 / conversion)
        if mild:
            conversion, visits = 0.03 * 10 ** draw.uniform(0.0, 1.2), 1_000.0 * 10 ** draw.uniform(0.0, 1.5)
        first = draw.randint(2, 40)
        on = tuple(sorted(draw.sample(views, draw.choice((0, 1, 1, 1, 2)))))
        model = f"m{k:02d}"
        deployments.append(
            SimulatedDeployment(
                DeploymentId("production", model), model, "champion", visits, conversion, draw.uniform(0.5, 30.0),
                draw.uniform(0.02, 0.2), draw.uniform(0.001, 0.004), 20.0, on,
                versions=(ModelVersion(model, str(first), "READY", at - 20 * DAY),),
            )
        )  # fmt: skip
        versions[deployments[-1].id] = first
        flips.append(Flip(at - draw.uniform(5.0, 60.0) * DAY, model, "champion", str(first), "ci"))
    return Draft(draw, at, deployments, flips, versions=versions, mild=mild)


# -- release -----------------------------------------------------------------------------------------------------------


def bad_at_once(d: Draft) -> None:
    (k,) = d.pick(1)
    before = d.release(k, d.at, d.effect())
    d.caused("release", [k], cures={d.named(k): before})


def bad_after_a_while(d: Draft) -> None:
    """Caches of the version before keep it alive for a while."""
    (k,) = d.pick(1)
    after = d.draw.uniform(4.0, 75.0) * MINUTE
    before = d.release(k, d.at - after, d.effect(), after_s=after)
    d.caused("release", [k], cures={d.named(k): before})


def bad_slowly(d: Draft) -> None:
    (k,) = d.pick(1)
    before = d.release(k, d.at, Effect(conversion=d.loses(0.6, 0.82)), over_s=d.draw.uniform(10, 30) * MINUTE)
    d.caused("release", [k], cures={d.named(k): before})


def kills_its_exporter(d: Draft) -> None:
    (k,) = d.pick(1)
    before = d.release(k, d.at, Effect(), after_s=d.draw.uniform(0.0, 90.0), kills_exporter=True)
    d.caused("release", [k], cures={d.named(k): before}, unseen=True)


def bad_with_dependents(d: Draft) -> None:
    """An embedder's new version; those that call it suffer with it."""
    k, *others = d.pick(d.draw.randint(2, 5))
    itself = f"deployment/{d.named(k).name}"
    for other in others:
        d.depend(other, itself)
    before = d.release(k, d.at, d.effect())
    lag = d.draw.uniform(0.0, 120.0)
    d.faults.append(Fault(FaultKind.DEPENDENCY, itself, d.at + lag, None, d.effect()))
    if d.draw.random() < 0.4:
        d.innocent(d.draw.choice(others), 10, 100)
    d.caused("release", [k, *others], cures={d.named(k): before})


def bad_beside_innocent_releases(d: Draft) -> None:
    k, *others = d.pick(d.draw.randint(3, 6))
    for other in others:
        d.innocent(other, -5, 60)
    before = d.release(k, d.at, d.effect())
    d.caused("release", [k], cures={d.named(k): before})


def bad_in_a_release_train(d: Draft) -> None:
    """Everybody was released within minutes; one of them is bad."""
    numbers = list(range(len(d.deployments)))
    bad = d.draw.choice(numbers)
    after = d.draw.uniform(0.0, 20.0) * MINUTE
    before = ""
    for k in numbers:
        at = d.at - after - d.draw.uniform(0.0, 300.0) * (k != bad)
        found = d.release(k, at, d.effect() if k == bad else None, after_s=after if k == bad else 0.0)
        before = found if k == bad else before
    d.caused("release", [bad], cures={d.named(bad): before})


def two_bad_releases(d: Draft) -> None:
    one, two = d.pick(2)
    for k, later in ((one, 0.0), (two, d.draw.uniform(-600.0, 600.0))):
        before = d.release(k, d.at + later, d.effect())
        d.caused("release", [k], cures={d.named(k): before})


def bad_hours_later(d: Draft) -> None:
    """A leak, a cache of a day: nothing points at the version but that it is the newest thing."""
    (k,) = d.pick(1)
    after = d.draw.uniform(2.5, 8.0) * 3600.0
    before = d.release(k, d.at - after, d.effect(), after_s=after)
    d.caused("release", [k], cures={d.named(k): before})


# -- upstream ----------------------------------------------------------------------------------------------------------


def _view(d: Draft, least: int) -> tuple[str, list[int]]:
    """A feature view and who depends on it, `least` at the least."""
    view = "feature-view/activity"
    for k in d.pick(max(0, least - len(d.dependents(view)))):
        d.depend(k, view)
    for k in d.pick(len(d.deployments)):
        if len(d.dependents(view)) >= least:
            break
        d.depend(k, view)
    return view, d.dependents(view)


def _outage(d: Draft, view: str, over_s: float) -> None:
    effect = Effect(conversion=d.loses(0.65, 0.85), latency=d.draw.uniform(1.0, 1.3), feature_age=True)
    d.faults.append(Fault(FaultKind.DEPENDENCY, view, d.at, None, effect, over_s))


def feature_store_out(d: Draft) -> None:
    view, hit = _view(d, d.draw.randint(2, 6))
    _outage(d, view, d.draw.choice((0.0, 60.0, 300.0)))
    d.caused("upstream", hit)


def feature_store_out_after_an_innocent_release(d: Draft) -> None:
    view, hit = _view(d, d.draw.randint(2, 6))
    for k in d.draw.sample(hit, d.draw.choice((1, 1, 2)) if len(hit) > 2 else 1):
        d.innocent(k, 3, 110)
    _outage(d, view, d.draw.choice((0.0, 60.0, 300.0)))
    d.caused("upstream", hit)


def feature_store_out_after_the_nightly_releases(d: Draft) -> None:
    view, hit = _view(d, d.draw.randint(3, 6))
    for k in range(len(d.deployments)):
        d.innocent(k, 4, 115)
    _outage(d, view, d.draw.choice((0.0, 60.0)))
    d.caused("upstream", hit)


def feature_store_slowly_stale(d: Draft) -> None:
    view, hit = _view(d, d.draw.randint(3, 7))
    if d.draw.random() < 0.4:
        d.innocent(d.draw.choice(hit), 5, 100)
    _outage(d, view, d.draw.uniform(10.0, 30.0) * MINUTE)
    d.lasts_s = 55 * MINUTE
    d.caused("upstream", hit)


def the_only_reader_of_a_view(d: Draft) -> None:
    (k,) = d.pick(1)
    d.depend(k, "feature-view/own")
    if d.draw.random() < 0.4:
        d.innocent(k, 8, 110)
    _outage(d, "feature-view/own", 0.0)
    d.caused("upstream", [k])


def an_embedder_breaks(d: Draft) -> None:
    """Nobody released: the embedder itself degrades, and who calls it."""
    k, *others = d.pick(d.draw.randint(2, 5))
    itself = f"deployment/{d.named(k).name}"
    for other in others:
        d.depend(other, itself)
    d.hit([k], d.effect())
    d.faults.append(Fault(FaultKind.DEPENDENCY, itself, d.at + d.draw.uniform(0.0, 180.0), None, d.effect()))
    if d.draw.random() < 0.4:
        d.innocent(d.draw.choice(others), 8, 110)
    d.caused("upstream", [k, *others])


def an_embedders_release_breaks_its_callers(d: Draft) -> None:
    """Its own signals stay well: the vectors mean something else now."""
    k, *others = d.pick(d.draw.randint(2, 5))
    itself = f"deployment/{d.named(k).name}"
    for other in others:
        d.depend(other, itself)
    d.release(k, d.at)
    effect = Effect(conversion=d.loses(0.6, 0.85))
    d.faults.append(Fault(FaultKind.DEPENDENCY, itself, d.at + d.draw.uniform(0.0, 60.0), None, effect))
    d.caused("upstream", others)


def upstream_and_a_bad_release(d: Draft) -> None:
    """Two things at once, which share nothing."""
    view, hit = _view(d, d.draw.randint(2, 4))
    free = [k for k in range(len(d.deployments)) if k not in hit]
    if not free:
        return feature_store_out(d)
    k = d.draw.choice(free)
    _outage(d, view, 0.0)
    d.caused("upstream", hit)
    before = d.release(k, d.at + d.draw.uniform(-300.0, 600.0), d.effect())
    d.caused("release", [k], cures={d.named(k): before})
    return None


def brought_back_by_hand_before_an_outage(d: Draft) -> None:
    """Somebody went back to the version before half an hour ago: that is no release to blame."""
    view, hit = _view(d, d.draw.randint(1, 3))
    k = hit[0]
    each = d.deployments[k]
    back = d.draw.uniform(20.0, 90.0) * MINUTE
    before = d.release(k, d.at - back - d.draw.uniform(30.0, 300.0) * MINUTE)
    d.flips.append(Flip(d.at - back, each.model, each.alias, before, "hand"))
    _outage(d, view, 0.0)
    d.caused("upstream", hit)


# -- shared infrastructure ---------------------------------------------------------------------------------------------


def _zone(d: Draft, count: int, spread_s: float) -> list[int]:
    hit = d.pick(count)
    effect = Effect(errors=d.draw.uniform(0.04, 0.3), latency=d.draw.uniform(1.5, 5.0))
    d.hit(hit, effect, spread_s)
    return hit


def a_zone_fails(d: Draft) -> None:
    d.caused("infrastructure", _zone(d, d.draw.randint(2, 7), d.draw.choice((0.0, 45.0))))


def a_zone_fails_after_an_innocent_release(d: Draft) -> None:
    hit = _zone(d, d.draw.randint(3, 7), d.draw.choice((0.0, 45.0)))
    for k in d.draw.sample(hit, d.draw.choice((1, 1, 2))):
        d.innocent(k, 5, 110)
    d.caused("infrastructure", hit)


def everything_fails(d: Draft) -> None:
    numbers = list(range(len(d.deployments)))
    for k in d.pick(d.draw.randint(0, 4)):
        d.innocent(k, 5, 115)
    effect = Effect(errors=d.draw.uniform(0.05, 0.4), latency=d.draw.uniform(1.0, 5.0))
    d.hit(numbers, effect, 20.0)
    d.caused("infrastructure", numbers)


def a_zone_fails_bit_by_bit(d: Draft) -> None:
    d.caused("infrastructure", _zone(d, d.draw.randint(4, 8), 240.0))


# -- telemetry ---------------------------------------------------------------------------------------------------------


def an_exporter_dies(d: Draft) -> None:
    (k,) = d.pick(1)
    d.faults.append(Fault(FaultKind.EXPORTER, str(d.named(k)), d.at))
    d.caused("telemetry", [k])


def a_scrape_outage(d: Draft) -> None:
    """One scraper dies: a part of the fleet goes silent at once."""
    hit = d.pick(d.draw.randint(2, 8))
    if d.draw.random() < 0.4:
        d.innocent(hit[0], 10, 110)
    for k in hit:
        d.faults.append(Fault(FaultKind.EXPORTER, str(d.named(k)), d.at, d.at + d.draw.uniform(20, 40) * MINUTE))
    d.caused("telemetry", hit)


def the_backend_is_down(d: Draft) -> None:
    d.faults.append(Fault(FaultKind.METRICS, "", d.at, d.at + d.draw.uniform(10, 30) * MINUTE))
    for k in d.pick(d.draw.randint(0, 2)):
        d.innocent(k, 5, 110)
    d.caused("telemetry", list(range(len(d.deployments))))


def orders_are_not_counted(d: Draft) -> None:
    """Tracking loss: serving is well, no order is counted any more."""
    (k,) = d.pick(1)
    d.hit([k], Effect(conversion=0.0, order_value=1.0), ends=d.at + d.draw.uniform(20, 40) * MINUTE)
    d.caused("telemetry", [k])


def orders_are_not_counted_anywhere(d: Draft) -> None:
    hit = d.pick(d.draw.randint(2, 6))
    d.hit(hit, Effect(conversion=0.0), 10.0, d.at + d.draw.uniform(20, 40) * MINUTE)
    if d.draw.random() < 0.5:
        d.innocent(hit[0], 10, 110)
    d.caused("telemetry", hit)


# -- none --------------------------------------------------------------------------------------------------------------


def nothing_but_innocent_releases(d: Draft) -> None:
    for k in d.pick(d.draw.randint(0, 6)):
        d.innocent(k, -20, 60)
    d.caused("none", [], quiet=True)


def a_blip(d: Draft) -> None:
    """Half a minute to a minute and a half of errors, healed by itself; sometimes just after a release."""
    (k,) = d.pick(1)
    if d.draw.random() < 0.5:
        d.innocent(k, 1, 60)
    d.hit([k], Effect(errors=0.2, latency=2.0), ends=d.at + d.draw.uniform(30.0, 90.0))
    d.caused("none", [k], quiet=True)


def a_holiday(d: Draft) -> None:
    """Fewer people everywhere, buying a little less; releases go on."""
    numbers = list(range(len(d.deployments)))
    effect = Effect(volume=d.draw.uniform(0.4, 0.7), conversion=d.draw.uniform(0.97, 1.0))
    d.faults.extend(Fault(FaultKind.DEPLOYMENT, str(d.named(k)), d.at - 6 * 3600.0, None, effect) for k in numbers)
    for k in d.pick(2):
        d.innocent(k, 5, 60)
    d.caused("none", numbers, quiet=True)


def an_experiment(d: Draft) -> None:
    """A new version tries something that costs a little: as agreed, within the bounds."""
    (k,) = d.pick(1)
    d.release(k, d.at, Effect(conversion=d.draw.uniform(0.975, 0.99), latency=1.05))
    d.caused("none", [k], quiet=True)


def drift_without_a_release(d: Draft) -> None:
    """The world changed, slowly; the version is weeks old. Somebody should look; no rollback helps."""
    (k,) = d.pick(1)
    effect = Effect(conversion=d.loses(0.7, 0.85))
    d.faults.append(Fault(FaultKind.DEPLOYMENT, str(d.named(k)), d.at, None, effect, d.draw.uniform(20, 40) * MINUTE))
    d.lasts_s = 60 * MINUTE
    d.caused("none", [k])


def its_own_fault(d: Draft) -> None:
    """One deployment fails by itself, weeks after its release: a disk, a host."""
    (k,) = d.pick(1)
    d.hit([k], d.effect())
    for other in d.pick(d.draw.randint(0, 3), [n for n in range(len(d.deployments)) if n != k]):
        d.innocent(other, -10, 60)
    d.caused("none", [k])


Scenario = Callable[[Draft], None]
SCENARIOS: tuple[tuple[Scenario, int], ...] = (  # how many of each, by plain bounds; a third as many mild ones
    (bad_at_once, 12), (bad_after_a_while, 10), (bad_slowly, 6), (kills_its_exporter, 5), (bad_with_dependents, 8),
    (bad_beside_innocent_releases, 6), (bad_in_a_release_train, 6), (two_bad_releases, 4), (bad_hours_later, 3),
    (feature_store_out, 9), (feature_store_out_after_an_innocent_release, 10),
    (feature_store_out_after_the_nightly_releases, 6), (feature_store_slowly_stale, 6), (the_only_reader_of_a_view, 6),
    (an_embedder_breaks, 6), (an_embedders_release_breaks_its_callers, 5), (upstream_and_a_bad_release, 5),
    (brought_back_by_hand_before_an_outage, 4),
    (a_zone_fails, 10), (a_zone_fails_after_an_innocent_release, 10), (everything_fails, 6),
    (a_zone_fails_bit_by_bit, 6),
    (an_exporter_dies, 6), (a_scrape_outage, 6), (the_backend_is_down, 5), (orders_are_not_counted, 5),
    (orders_are_not_counted_anywhere, 4),
    (nothing_but_innocent_releases, 6), (a_blip, 6), (a_holiday, 4), (an_experiment, 4), (drift_without_a_release, 5),
    (its_own_fault, 6),
)  # fmt: skip

NOT_MILD = {
    a_blip,
    a_holiday,
    an_experiment,
    the_backend_is_down,
    an_exporter_dies,
    kills_its_exporter,
    everything_fails,
}
Chosen = tuple[Scenario, int, bool]


def plan(seed: int, every: int = 1) -> list[Chosen]:
    """The benchmark's stories, each `every`-th of them: (scenario, seed, mild). A third as many mild ones on top."""
    found = [
        (scenario, seed * 1_000_000 + number * 1_000 + turn + 500 * mild, mild)
        for number, (scenario, count) in enumerate(SCENARIOS)
        for mild in (False, True)
        for turn in range((count + 2) // 3 * (scenario not in NOT_MILD) if mild else count)
    ]
    return found[::every]


def tell(scenario: Scenario, seed: int, mild: bool = False) -> Story:
    """The story of a scenario by seed."""
    draw = random.Random(seed)
    at = EPOCH + round(draw.uniform(0.0, 7 * DAY) / SLOT_S) * SLOT_S
    draft = _fleet(draw, at, mild)
    scenario(draft)
    step = 60.0 if mild else STEP_S
    start = (at - draw.uniform(6.0, 15.0) * MINUTE * (4 if mild else 1)) // step * step
    world = World(seed, VirtualClock(start), tuple(draft.deployments), tuple(draft.flips), tuple(draft.faults), SLOT_S)
    until = at + draft.lasts_s + (2 * 3600.0 if mild else 0.0)
    rules = _by_evidence(draft) if mild else _rules(draft)
    return Story(seed, scenario.__name__, world, rules, tuple(draft.causes), start, until, step, mild)


RATIO = "sum by (deployment) (increase({}[$window]))"
LATENCY = {
    "worse": "higher", "window": "2m", "unit": "s", "breach": {"degraded_by": "40%", "baseline": {"kind": "last_week"}},
    "value": "histogram_quantile(0.95, sum by (deployment, le) (rate(latency_seconds_bucket[$window])))",
}  # fmt: skip
FEATURE_AGE = {
    "area": "inputs", "worse": "higher", "value": "max by (deployment) (feature_age_seconds)", "window": "1m",
    "unit": "s", "breach": {"above": 180}, "blind": {"last": "5m"},
}  # fmt: skip
VOLUME = {
    "worse": "lower", "value": "sum by (deployment) (rate(requests_total[$window]))", "window": "1m",
    "breach": {"degraded_by": "80%", "baseline": {"kind": "last_week"}},
}  # fmt: skip


def _rules(d: Draft) -> tuple[DeploymentRule, ...]:
    """The fleet's policy of plain bounds, through the very reader of policies."""
    draw = d.draw
    signals = {
        "conversion": {
            "area": "business", "worse": "lower", "x": RATIO.format("orders_total"), "n": RATIO.format("visits_total"),
            "window": "5m", "minimum": 1000,
            "breach": {"degraded_by": f"{100 * draw.uniform(0.06, 0.09):.1f}%", "baseline": {"kind": "last_week"}},
        },
        "error_rate": {
            "worse": "higher", "window": "1m", "breach": {"above": "2%"}, "unit": "%",
            "value": "sum by (deployment) (rate(errors_total[$window])) "
            "/ sum by (deployment) (rate(requests_total[$window]))",
        },
        "latency_p95": LATENCY, "feature_age": FEATURE_AGE, "volume": VOLUME,
    }  # fmt: skip
    trigger = {
        "when": "conversion or error_rate or volume or latency_p95",
        "dwell": f"{draw.choice((60, 120, 180, 240))}s", "hold": "5m", "cool_down": "1h", "blind_dwell": "5m",
    }  # fmt: skip
    return _parsed(d.deployments, signals, trigger, d)


def _by_evidence(d: Draft) -> tuple[DeploymentRule, ...]:
    """The same judged by evidence, each deployment against its own known rate, by the default trigger."""
    found: list[DeploymentRule] = []
    for each in d.deployments:
        signals = {
            "conversion": {
                "area": "business", "worse": "lower", "x": RATIO.format("orders_total"),
                "n": RATIO.format("visits_total"), "window": "1m", "margin": "1%",
                "baseline": {"kind": "fixed", "value": round(each.conversion, 6)}, "sufficient_alone": True,
            },
            "error_rate": {
                "worse": "higher", "x": RATIO.format("errors_total"), "n": RATIO.format("requests_total"),
                "window": "1m", "margin": "5%", "baseline": {"kind": "fixed", "value": round(each.error_rate, 6)},
                "sufficient_alone": True,
            },
            "feature_age": FEATURE_AGE,
        }  # fmt: skip
        trigger = {"when": "conversion or error_rate", "hold": "5m", "cool_down": "1h", "blind_dwell": "5m"}
        found.extend(_parsed([each], signals, trigger, d))
    return tuple(found)


def _parsed(
    deployments: list[SimulatedDeployment], signals: Mapping[str, object], trigger: Mapping[str, object], d: Draft
) -> tuple[DeploymentRule, ...]:
    policy = {
        "schema": "rollback-console/policy/v1", "name": "benchmark", "version": 1, "mode": "advise",
        "deployments": [
            {
                "name": each.id.name, "environment": each.id.environment,
                "tier": d.draw.choice(("critical", "high", "normal", "low")),
                "model": {"name": each.model, "alias": each.alias}, "labels": {"deployment": each.id.name},
                "serving_version": 'model_info{deployment="$deployment"}', "depends_on": list(each.depends_on),
            }
            for each in deployments
        ],
        "signals": signals, "trigger": trigger,
        "recovery": [
            {"path": "version", "driver": "mlflow-alias", "target": "last_known_good",
             "verify": {"for": "2m", "within": "20m"}, "authority": {"request": ["oncall"]}},
        ],
        "runbook": "model-version-rollback.md",
    }  # fmt: skip
    return tuple(parse_policy(json.dumps(policy).encode(), "benchmark.yaml").rules)
