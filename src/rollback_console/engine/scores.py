"""Settings of a sweep side by side: what each fired at, what it missed, what it would have cost; and which to take."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from rollback_console.engine.backtest import Lane, Losses, rows_of
from rollback_console.model.backtest import Costs, Fire, Mark, Score, Setting
from rollback_console.model.rules import DeploymentRule, EvidenceRule
from rollback_console.model.text import number, span

_MONTH_S = 30 * 86_400.0


def score(
    setting: Setting, lane: Lane, marks: Sequence[Mark], losses: Losses, costs: Costs, evaluated_s: float
) -> Score:
    """How one lane did against the marked incidents that the backtest saw. `evaluated_s`: how long a time it judged."""
    numbers = {rule.deployment.id: index for index, rule in enumerate(lane.rules)}
    fires = {index: lane.fires(index) for index in range(len(lane.rules))}
    right: set[tuple[int, Fire]] = set()
    delays: list[float] = []
    waiting: float | None = 0.0 if marks else None
    missed = 0
    for mark in marks:
        index = numbers[mark.deployment]
        hits = [fire for fire in fires[index] if overlaps(fire, mark)]
        right.update((index, fire) for fire in hits)
        noticed = max(mark.start, hits[0].start) if hits else mark.end
        if hits:
            delays.append(noticed - mark.start)
        else:
            missed += 1
        lost = losses.until(mark, noticed)
        waiting = None if waiting is None or lost is None else waiting + lost
    counted = [each for _, each in rows_of(lane)]
    false = sum((index, fire) not in right and not fire.before for index, found in fires.items() for fire in found)
    rollbacks = sum(each.rollbacks for each in counted)
    return Score(
        setting,
        sum(each.fires for each in counted),
        false,
        len(delays),
        missed,
        statistics.median(delays) if delays else None,
        sum(each.minutes_fired for each in counted),
        rollbacks * _MONTH_S / evaluated_s if evaluated_s > 0 else 0.0,
        waiting,
        None if costs.per_rollback is None else false * costs.per_rollback,
    )


def overlaps(fire: Fire, mark: Mark) -> bool:
    """Was it firing at any time of the incident. A fire that ends as the incident begins does not."""
    return fire.start <= mark.end and (fire.end is None or fire.end > mark.start)


def allowed_false(rules: Sequence[DeploymentRule], evaluated_s: float) -> int:
    """How many false fires the budget has room for: those of all signals that are judged by evidence together; one in
    90 days for each deployment where none is."""
    budgets = [each.evidence.budget_s for rule in rules for each in rule.signals if each.evidence is not None]
    return int(sum(evaluated_s / budget_s for budget_s in budgets or [EvidenceRule().budget_s] * len(rules)) + 1e-9)


def recommend(scores: Sequence[Score], costs: Costs, allowed: int) -> tuple[Score, str]:
    """The setting to take, and why, in one sentence. `allowed`: false fires that the budget has room for.

    Where waiting and false rollbacks both have a price, the lowest sum. Else the setting within the budget that misses
    least and waits least; where none is within it, the one with the fewest false fires. What catches nothing is never
    taken for making no mistakes. Without marked incidents every fire counts as false, and the least cautious setting
    within the budget is taken. Of equals the policy as it stands.
    """
    marked = any(each.caught + each.missed for each in scores)
    priced = [each for each in scores if each.cost is not None]
    if marked and len(priced) == len(scores):
        best = min(scores, key=lambda each: (each.cost, *_last(each)))
        return best, _priced(best, scores, costs)
    if marked and not any(each.caught for each in scores):
        best = min(scores, key=_last)
        many = _count(best.missed, "incident")
        return best, f"{best.setting.text}: no setting catches any of {many}, so that nothing speaks for another one"
    within = [each for each in scores if each.false <= allowed and (each.caught or not marked)]
    room = f"the budget's {allowed} in this time"
    if not within:
        scores = [each for each in scores if each.caught or not marked]
        best = min(scores, key=lambda each: (each.false, each.missed, each.delay_s or 0.0, *_last(each)))
        which = "setting that catches anything" if marked else "setting"
        why = f"no {which} keeps false fires within {room}; it has the fewest, {best.false}"
        return best, f"{best.setting.text}: {why}"
    if not marked:
        best = min(within, key=lambda each: (each.setting.caution, *_last(each)))
        return best, (
            f"{best.setting.text}: no incident is marked, so every fire counts as false; "
            f"the least cautious whose {_count(best.false, 'fire')} stay{'s' if best.false == 1 else ''} within {room}"
        )
    best = min(within, key=lambda each: (each.missed, each.delay_s or 0.0, each.false, *_last(each)))
    delay = f", half of them within {span(best.delay_s)}" if best.delay_s is not None else ""
    return best, (
        f"{best.setting.text}: catches {best.caught} of {_count(best.caught + best.missed, 'incident')}{delay}, "
        f"with {_count(best.false, 'false fire')}; none within {room} does better"
    )


def _last(each: Score) -> tuple[bool, int]:
    return not each.setting.as_written, each.setting.caution


def _priced(best: Score, scores: Sequence[Score], costs: Costs) -> str:
    said = (
        f"{best.setting.text}: waiting costs {number(best.waiting)} {costs.unit} and false rollbacks "
        f"{number(best.false_cost)} {costs.unit}, together the least; it catches {best.caught} of "
        f"{_count(best.caught + best.missed, 'incident')}"
    )
    written = next((each for each in scores if each.setting.as_written and each is not best), None)
    if written is None:
        return said
    return f"{said} (as written: {number(written.cost)} {costs.unit})"


def _count(many: int, what: str) -> str:
    return f"{many} {what}" + ("" if many == 1 else "s")
