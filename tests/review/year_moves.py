"""Releases, rollbacks of every kind, planned switches and mistakes of the simulated year."""

from __future__ import annotations

from dataclasses import replace

from review.year_story import (
    CAUSES,
    DAY_S,
    FALSE_ALARM,
    HOUR_S,
    KINDS,
    LAG_S,
    MINUTE_S,
    MODELS,
    OLDER,
    SLOT_D,
    START,
    UPSTREAM,
    Effect,
    Model,
    Story,
    Truth,
)

_EXECUTED = ("executed", "slow", "late", "executed wrongly", "not recorded", "at the edge", "just late")
_WEEK_S = 7 * DAY_S
EMERGENCY = 0.35  # of the year: the next rollback that is executed is, in a journal that stands in


def plan_moves(plan: Story) -> None:
    """All moves, deployment by deployment."""
    slots = max(2, round(plan.days / SLOT_D))
    count = round(plan.days * 0.15)
    older = min(OLDER, max(1, count // 8))
    for model in MODELS[1 : 1 + older]:
        _older(plan, model)
    chosen = _chosen(plan, slots, count - older)
    others = [(i, j) for i in range(len(MODELS)) for j in range(slots - 1) if (i, j) not in chosen]
    plan.rng.shuffle(others)
    planned = dict(zip(others, _in_turn(("switched", "adopted", "judged"), round(plan.days * 0.03)), strict=False))
    rest = others[len(planned) :]
    slips = dict(zip(rest, _in_turn(("slip", "undoing"), max(2, round(plan.days * 0.015))), strict=False))
    again = set(rest[len(slips) : len(slips) + max(1, plan.days // 100)])
    for number, model in enumerate(MODELS):
        for slot in range(slots):
            day = START + (slot * plan.days / slots + 0.4 + plan.rng.uniform(0.0, 1.5)) * DAY_S
            place = (number, slot)
            released = plan.release(model, plan.moment(plan.office(day)))
            if place in chosen:
                _rollback(plan, model, released, chosen[place])
            elif place in planned:
                _planned(plan, model, released, planned[place])
            elif place in slips:
                _mistake(plan, model, slips[place])
            elif place in again:
                plan.newest[number] += 1  # registered, and never deployed


def _in_turn(words: tuple[str, ...], count: int) -> list[str]:
    return [words[number % len(words)] for number in range(count)]


def _chosen(plan: Story, slots: int, count: int) -> dict[tuple[int, int], str]:
    """Which releases are rolled back, and how: some deployments twice within a month."""
    places: list[tuple[int, int]] = []
    for number in range(min(5, count // 4)):
        slot = plan.rng.randrange(0, slots - 2) if slots > 2 else 0
        places += [(number * 3, slot), (number * 3, slot + 1)]
    rest = [(i, j) for i in range(len(MODELS)) for j in range(slots - 1) if (i, j) not in places]
    places += plan.rng.sample(rest, count - len(places))
    kinds = _in_turn(KINDS, count)
    found = dict(zip(sorted(places, key=lambda place: (place[1], place[0])), kinds, strict=True))
    for (number, slot), kind in found.items():
        if MODELS[number].team == "risk" and kind == "executed":
            found[number, slot] = "automatic"
    return found


def _older(plan: Story, model: Model) -> None:
    """A rollback on the first morning, of a release that the journal never saw."""
    at = START + 5 * HOUR_S + model.number * 20 * MINUTE_S
    before, after = model.version, model.version - 1
    who = plan.person(at)
    plan.do(at, lambda s: s.pointer(model, before, after, f"older {model.key}"))
    plan.do(at + 4 * MINUTE_S, lambda s: s.adopt(model, before, after, at, who, "conversion fell over the weekend"))
    plan.serve(model, at + LAG_S, after)
    plan.newest[model.number] = before
    plan.truth.rollbacks.append(Truth("older", model.key, plan.wall(at), None, plan.wall(at)))


def _rollback(plan: Story, model: Model, released: tuple[float, int, int], kind: str) -> None:
    at, to, now = released
    rng = plan.rng
    cause = rng.choice(sorted(CAUSES))
    shown, gate = CAUSES[cause]
    if kind in ("executed wrongly", "not confirmed"):
        cause, shown, gate = UPSTREAM, {"conversion": 0.88}, "data validation"
    late = {"late": 7.3 * DAY_S, "just late": _WEEK_S, "at the edge": _WEEK_S}.get(kind)
    soon = rng.random() < 0.6
    delay = late if late is not None else rng.uniform(0.1, 1.6) * HOUR_S if soon else rng.uniform(2.0, 30.0) * HOUR_S
    onset = plan.moment(at + delay)
    while not plan.free(model, onset - HOUR_S, onset + 3 * HOUR_S) and onset < plan.end and late is None:
        onset += HOUR_S
    fired = onset + plan.dwell_s(model, onset)
    decided = fired + rng.uniform(2.0, 14.0) * MINUTE_S
    if kind == "slow":
        decided += rng.uniform(20.0, 55.0) * MINUTE_S
    if kind in ("at the edge", "just late"):  # the move itself is what counts: a week after the release, or a second on
        decided = at + _WEEK_S + (1.0 if kind == "just late" else 0.0) - 4.0
        onset = plan.moment(decided - 20 * MINUTE_S)
        fired = onset + plan.dwell_s(model, onset)
    if plan.end - 6 * HOUR_S < decided:
        return  # the year ends before
    plan.busy[model.number].append((at, decided + 8 * HOUR_S))
    unseen = kind in ("adopted unseen", "hotfix")
    cured = decided + 4.0 + LAG_S if kind not in ("executed wrongly", "not confirmed") else decided + 70 * MINUTE_S
    if kind == "failed, then by hand":
        cured = decided + 6 * MINUTE_S + LAG_S
    if unseen:
        shown = {"conversion": 0.98}  # within the margin: people saw it, no trigger did
    for number, (what, size) in enumerate(shown.items()):  # what shows second does two minutes later
        plan.effects.append(Effect(model.number, onset + 120.0 * number, cured, **{what: size}))
    if not unseen:
        plan.watch(onset, fired, cured)
        plan.truth.fired.append((model.key, plan.wall(onset), "right" if cause != UPSTREAM else cause))
    told = Truth(kind, model.key, plan.wall(decided), plan.wall(at), plan.wall(decided))
    plan.truth.rollbacks.append(told)
    key = f"rollback {model.key} {onset}"
    if kind in (*_EXECUTED, "automatic", "not confirmed"):
        _by_execution(plan, model, told, key, (decided, now, to, fired, cured))
    else:
        _by_hand(plan, model, told, key, (decided, now, to))
    _judged(plan, model, told, key, decided, (cause, gate))
    if not unseen:
        _worked_on(plan, model, key, fired, decided)


def _by_execution(
    plan: Story, model: Model, told: Truth, key: str, what: tuple[float, int, int, float, float]
) -> None:  # fmt: skip
    """The console's own: a request, its steps, its end."""
    decided, now, to, fired, cured = what
    who = plan.person(decided)
    emergency = (
        told.kind == "executed"
        and decided > START + EMERGENCY * plan.days * DAY_S
        and not plan.pauses
        and model.team != "risk"
    )
    if told.kind == "automatic":
        decided = fired + 75.0
        who = f"policy {model.team}"
        plan.do(fired + 15.0, lambda s: s.announce(model, to, fired + 75.0))
        plan.effects = [
            replace(each, end=decided + 4.0 + LAG_S) if each.end == cured else each for each in plan.effects
        ]  # it is cured as much earlier
        told.automatic, told.decision_at = True, plan.wall(decided)
    if emergency:
        told.kind, plan.urgent = "emergency", True
        plan.pauses.append((decided - 60.0, decided + 40 * MINUTE_S))
        plan.do(decided - 30.0, lambda s: s.break_glass(who, "the disk is full, and conversion falls"))
        plan.do(decided + 38 * MINUTE_S, lambda s: s.merge(who, "the disk has space again"))
    plan.do(decided, lambda s: s.request(key, model, now, to, who, "it began with the release"))
    moved = decided + 4.0
    for number, step in enumerate(("lock", "compare", "set", "registry", "tag")):
        plan.do(decided + 1.0 + number, lambda s, step=step: s.intent(key, step))  # type: ignore[misc]
        plan.do(decided + 2.0 + number, lambda s, step=step: s.outcome(key, step))  # type: ignore[misc]
    if told.kind == "automatic":
        plan.do(decided + 0.5, lambda s: s.started(model, to, fired + 75.0, key))
    if told.kind != "not recorded":  # the pointer's watcher was down for that one
        plan.do(moved, lambda s: s.pointer(model, now, to, key, ours=key, at=plan.wall(moved)))
    plan.serve(model, moved + LAG_S, to)
    told.at = plan.wall(moved)
    ends = moved + LAG_S + 8 * MINUTE_S + plan.rng.uniform(5.0, 90.0)
    if told.kind == "slow":
        ends += plan.rng.uniform(7.0, 14.0) * MINUTE_S  # over the standard
    state = "not confirmed" if told.kind == "not confirmed" else "done"
    if state == "not confirmed":
        ends = moved + 30 * MINUTE_S
    plan.do(moved + LAG_S, lambda s: s.intent(key, "serving"))
    plan.do(moved + LAG_S + 5.0, lambda s: s.outcome(key, "serving"))
    plan.do(moved + LAG_S + 6.0, lambda s: s.intent(key, "signals"))
    plan.do(ends - 2.0, lambda s: s.outcome(key, "signals", "done" if state == "done" else "failed"))
    plan.do(ends - 1.0, lambda s: s.outcome(key, "unlock"))
    plan.do(ends, lambda s: s.ended(key, state))
    plan.urgent = False
    if emergency:  # another console, which slept meanwhile, finds where the pointer stands
        plan.do(decided + 39 * MINUTE_S, lambda s: s.pointer(model, now, to, f"{key} found late"))
    told.completed_at = plan.wall(ends) if state == "done" else None


def _by_hand(plan: Story, model: Model, told: Truth, key: str, what: tuple[float, int, int]) -> None:
    """Somebody moved the pointer: adopted afterwards, or not, or after an execution had failed; or on to a repair."""
    decided, now, to = what
    who = plan.person(decided)
    if told.kind == "failed, then by hand":
        plan.do(decided - 3 * MINUTE_S, lambda s: s.request(f"{key} failed", model, now, to, who, "it is the release"))
        plan.do(decided - 170.0, lambda s: s.intent(f"{key} failed", "lock"))
        plan.do(decided - 160.0, lambda s: s.outcome(f"{key} failed", "lock", "failed"))
        plan.do(decided - 150.0, lambda s: s.ended(f"{key} failed", "failed"))
        decided += 6 * MINUTE_S
    if told.kind == "hotfix":  # on, not back: only a judgement makes it a rollback
        plan.newest[model.number] += 1
        to = plan.newest[model.number]
    moved, after = decided, to
    plan.do(moved, lambda s: s.pointer(model, now, after, key))
    if told.kind.startswith("adopted") or told.kind == "failed, then by hand":
        late = plan.rng.uniform(2.0, 9.0) * MINUTE_S
        # its own idea of when it moved, within the ten minutes that make the two one move
        said = plan.wall(moved) + plan.rng.uniform(-240.0, 240.0)
        plan.do(moved + late, lambda s: s.adopt(model, now, after, said, who, "done in the registry's own screen"))
    plan.serve(model, moved + LAG_S, after)
    told.at = told.decision_at = plan.wall(moved)


def _judged(plan: Story, model: Model, told: Truth, key: str, decided: float, why: tuple[str, str]) -> None:
    """What people made of it: most within days, some again later, some never."""
    cause, gate = why
    if told.kind != "hotfix" and plan.rng.random() < 0.12:
        return
    at = plan.office(decided + plan.rng.uniform(1.0, 4.0) * DAY_S)
    who = plan.person(at)
    right = "wrong" if cause == UPSTREAM else "right"
    if at >= plan.end:
        if told.kind == "hotfix":  # nobody has said that it was one
            plan.truth.rollbacks.remove(told)
            plan.truth.deployments.append((model.key, told.at))
        return
    counts = "unplanned" if told.kind == "hotfix" else ""
    subject = {"executed": ("execution", "incident", "move")[int(decided) % 3]}.get(told.kind, "move")
    if told.kind in (*_EXECUTED[1:], "automatic", "not confirmed", "emergency"):
        subject = "execution"
    published = plan.rng.random() < 0.6
    first, says = cause, right
    again = plan.office(at + 9 * DAY_S)
    superseded = plan.rng.random() < 0.25
    if superseded:
        first, says = "", "cannot tell"
    facts = {"root_cause": first, "right": says, "gate": "" if superseded else gate, "counts_as": counts,
             "published": f"https://wiki.invalid/{model.name}" if published and not superseded else ""}  # fmt: skip
    plan.do(at, lambda s: s.judge(subject, key, model, who, facts))
    told.root_cause, told.right = first, says
    told.gate, told.published = str(facts["gate"]), bool(facts["published"])
    if superseded and again < plan.end:
        better = {**facts, "root_cause": cause, "right": right, "gate": gate,
                  "published": f"https://wiki.invalid/{model.name}" if published else ""}  # fmt: skip
        plan.do(again, lambda s: s.judge(subject, key, model, plan.person(again), better))
        told.root_cause, told.right, told.gate, told.published = cause, right, gate, published
    due = plan.office(at + 30 * DAY_S)
    plan.do(at + 60.0, lambda s: s.follow_up(key, who, f"add {gate} to {model.name}'s pipeline", due))
    if plan.rng.random() < 0.8:
        plan.do(plan.office(at + 12 * DAY_S), lambda s: s.followed(key, who))
    if cause not in ("", FALSE_ALARM):
        plan.do(at + 90.0, lambda s: s.tag(key, model, cause))


def _worked_on(plan: Story, model: Model, key: str, fired: float, decided: float) -> None:
    """A claim, a walk with skipped steps, a message, a snooze."""
    who = plan.person(decided)
    plan.do(fired + 50.0, lambda s: s.remember_incident(key, model))
    plan.do(fired + 60.0, lambda s: s.claim(key, who))
    plan.do(fired + 70.0, lambda s: s.walk(key, model, who))
    plan.do(decided + 30.0, lambda s: s.walk_on(key, who))
    if plan.rng.random() < 0.4:
        plan.do(decided + 60.0, lambda s: s.tell(key, who))
    if plan.rng.random() < 0.3:
        plan.do(fired + 90.0, lambda s: s.snooze(model, who))


def _planned(plan: Story, model: Model, released: tuple[float, int, int], kind: str) -> None:
    """Back to the version before for a reason that is no trouble: by request, adopted, or judged so afterwards."""
    at, to, now = released
    moved = plan.moment(plan.office(at + 3 * DAY_S))
    if not plan.free(model, moved, moved + HOUR_S):
        return
    who, key = plan.person(moved), f"planned {model.key} {moved}"
    if kind == "switched":
        plan.do(moved, lambda s: s.request(key, model, now, to, who, "the other version for a fair", planned=True))
        plan.do(moved + 3.0, lambda s: s.intent(key, "set"))
        plan.do(moved + 4.0, lambda s: s.outcome(key, "set"))
        plan.do(moved + 5.0, lambda s: s.pointer(model, now, to, key, ours=key))
        plan.do(moved + 600.0, lambda s: s.ended(key, "done"))
        plan.truth.planned.append((model.key, plan.wall(moved + 5.0)))
    else:
        plan.do(moved, lambda s: s.pointer(model, now, to, key))
        plan.truth.planned.append((model.key, plan.wall(moved)))
        if kind == "adopted":
            said = plan.wall(moved)
            plan.do(moved + 300.0, lambda s: s.adopt(model, now, to, said, who, "an experiment", planned=True))
        else:
            facts = {"counts_as": "planned", "actual": "a comparison of two versions, announced"}
            plan.do(moved + DAY_S, lambda s: s.judge("move", key, model, who, facts))
    plan.serve(model, moved + LAG_S, to)


def _mistake(plan: Story, model: Model, judged: str) -> None:
    """A wrong version, and back within minutes."""
    slip = plan.moment(plan.office(plan.serving[model.number][-1][0] + 3 * DAY_S))
    if not plan.free(model, slip, slip + HOUR_S):
        return
    right, wrong = plan.current[model.number], plan.newest[model.number] + 1
    plan.newest[model.number] = wrong
    undone = slip + plan.rng.uniform(3.0, 12.0) * MINUTE_S
    key = f"mistake {model.key} {slip}"
    plan.do(slip, lambda s: s.pointer(model, right, wrong, f"{key} slip"))
    plan.do(undone, lambda s: s.pointer(model, wrong, right, f"{key} undoing"))
    plan.do(undone + 2 * HOUR_S, lambda s: s.judge("move", f"{key} {judged}", model, plan.person(slip),
                                                   {"counts_as": "mistake"}))  # fmt: skip
    plan.truth.mistakes += [(model.key, plan.wall(slip)), (model.key, plan.wall(undone))]
