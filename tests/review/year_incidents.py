"""Incidents without a rollback, papers that change, and the routine of the simulated year."""

from __future__ import annotations

from review.year_story import DAY_S, FALSE_ALARM, HOUR_S, MINUTE_S, START, UPSTREAM, Effect, Story
from review.year_world import MODELS, Model

_KINDS = ("upstream", "blip", "fixed forward", "blip", "telemetry", "infrastructure")


def plan_incidents(plan: Story) -> None:
    """A fire that nobody rolls back for: an upstream fault, a blip, a fault that is mended forward, a dead exporter."""
    for number in range(max(6, round(plan.days * 0.06))):
        kind = _KINDS[number % len(_KINDS)]
        members = _members(plan, kind)
        lasts = {"blip": plan.rng.uniform(6.0, 8.0), "telemetry": 30.0}.get(kind, plan.rng.uniform(25.0, 60.0))
        length = lasts * MINUTE_S
        onset = _free_moment(plan, members, length)
        if onset is None:
            continue
        _happens(plan, kind, members, onset, length)


def _members(plan: Story, kind: str) -> list[Model]:
    if kind == "upstream":
        shared = plan.rng.choice(["feature-view/user-activity", "feature-view/payments", "feature-view/catalogue"])
        return [model for model in MODELS if model.depends_on == shared]
    return [plan.rng.choice(MODELS)]


def _free_moment(plan: Story, members: list[Model], length: float) -> float | None:
    for _ in range(50):
        onset = plan.moment(START + plan.rng.uniform(0.02, 0.97) * plan.days * DAY_S)
        if all(plan.free(model, onset - 2 * HOUR_S, onset + length + 2 * HOUR_S) for model in members):
            return onset
    return None


def _happens(plan: Story, kind: str, members: list[Model], onset: float, length: float) -> None:
    first = members[0]
    shown = {
        "upstream": {"conversion": 0.85}, "blip": {"errors": 0.03}, "fixed forward": {"latency": 1.8},
        "telemetry": {"silent": True}, "infrastructure": {"latency": 1.6, "errors": 0.03},
    }[kind]  # fmt: skip
    for model in members:
        plan.busy[model.number].append((onset - 2 * HOUR_S, onset + length + 2 * HOUR_S))
        plan.effects.append(Effect(model.number, onset, onset + length, **shown))  # type: ignore[arg-type]
    fired = onset + max(plan.dwell_s(model, onset) for model in members)
    if kind == "telemetry":
        fired = onset + 10 * MINUTE_S
    plan.watch(onset, fired, onset + length)
    who, key = plan.person(onset), f"incident {first.key} {onset}"
    plan.do(fired + 50.0, lambda s: s.remember_incident(key, first))
    plan.do(fired + 60.0, lambda s: s.claim(key, who))
    judged = {"upstream": UPSTREAM, "blip": FALSE_ALARM, "telemetry": FALSE_ALARM,
              "infrastructure": "infrastructure incompatibility"}.get(kind, "performance degradation")  # fmt: skip
    if kind != "telemetry":  # that one fires as blind: an incident, and no degradation that a measure counts
        plan.truth.fired.append((first.key, plan.wall(onset), ""))
    if plan.rng.random() < 0.15:
        return
    at = plan.office(onset + plan.rng.uniform(1.0, 3.0) * DAY_S)
    facts = {"root_cause": judged, "right": "right", "lessons": [f"{kind}: seen before"]}
    plan.do(at, lambda s: s.judge("incident", key, first, who, facts))
    if kind != "telemetry" and at < plan.end:
        plan.truth.fired[-1] = (first.key, plan.wall(onset), judged)
    if kind == "upstream":
        plan.do(fired + 5 * MINUTE_S, lambda s: s.tell(key, who))
        plan.do(at + 60.0, lambda s: s.exclude(first, onset, onset + length, who))


def plan_papers(plan: Story) -> None:
    """What the team changed: a dwell, a tier, owners, who a deployment belongs to, who is on call."""
    day = plan.days * DAY_S

    def dwell(s):  # type: ignore[no-untyped-def]
        s.papers["ranking"].version, s.papers["ranking"].dwell = 2, "3m"
        s.in_force("ranking")

    def tier(s):  # type: ignore[no-untyped-def]
        s.papers["logistics"].version = 2
        s.papers["logistics"].tiers = {**s.papers["logistics"].tiers, "stock-forecast": "critical"}
        s.in_force("logistics")

    def owners(s):  # type: ignore[no-untyped-def]
        s.papers["growth"].version, s.papers["growth"].owners = 2, ("team-lifecycle", "team-growth")
        s.in_force("growth")

    def moves_house(s):  # type: ignore[no-untyped-def]
        for team, version in (("ranking", 3), ("growth", 3)):
            s.papers[team].version = version
        s.papers["ranking"].members = tuple(n for n in s.papers["ranking"].members if n != "recs-similar")
        s.papers["growth"].members = (*s.papers["growth"].members, "recs-similar")
        s.in_force("ranking", "growth")

    for share, act in ((0.30, dwell), (0.38, tier), (0.50, owners), (0.65, moves_house)):
        plan.do(START + share * day + 90.0, act)
    plan.do(plan.people_change, lambda s: s.roster([*plan.people[:-1], "fay"]))
    plan.truth.left = "emil"


def plan_routine(plan: Story) -> None:
    """Drills, notes, refusals, a backend that fails for minutes, expected changes, the clock."""
    for day in range(6, plan.days, 9):
        at = plan.office(START + day * DAY_S)
        if at < plan.end:
            plan.truth.drills += 1
        passed, who = plan.rng.random() < 0.7, plan.person(at)
        plan.do(at, lambda s, passed=passed, who=who, day=day: s.drill(day, passed, who))  # type: ignore[misc]
    for day in range(3, plan.days, 11):
        at, model = plan.office(START + day * DAY_S), plan.rng.choice(MODELS)
        plan.do(at, lambda s, at=at: s.note(f"handed over on day {int((at - START) // DAY_S)}", plan.person(at)))  # type: ignore[misc]
        plan.do(at + 7.0, lambda s, model=model, at=at: s.refusal(model, plan.person(at)))  # type: ignore[misc]
        plan.do(at + 100.0, lambda s: s.backend("failing", "no answer within 5 s"))
        plan.do(at + 400.0, lambda s: s.backend("ok", ""))
        plan.do(at + 900.0, lambda s, model=model, at=at: s.expect(model, at, plan.person(at)))  # type: ignore[misc]
    plan.do(plan.jump[0], lambda s: s.note("the machine woke with a clock that was wrong", "ada"))
    plan.do(plan.jump[1], lambda s: s.note("the clock was put right", "ada"))
    plan.truth.jumps = 2


def plan_the_end(plan: Story) -> None:
    """The journal ends within an incident: fired, somebody on it, nothing decided."""
    model = MODELS[3]
    onset = plan.moment(plan.end - 25 * MINUTE_S)
    fired = onset + plan.dwell_s(model, onset)
    plan.effects.append(Effect(model.number, onset, plan.end + HOUR_S, conversion=0.84))
    plan.dense.append((onset - 5 * MINUTE_S, plan.end, 60.0))
    plan.do(fired + 50.0, lambda s: s.remember_incident("the end", model))
    plan.do(fired + 60.0, lambda s: s.claim("the end", plan.person(fired)))
    plan.do(fired + 70.0, lambda s: s.walk("the end", model, plan.person(fired)))
    plan.truth.fired.append((model.key, plan.wall(onset), ""))
