"""What a backtest prints: JSON Lines as the contract has them, or tables for a person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rollback_console.decide.detectability import in_words
from rollback_console.decide.trigger import dwell_remaining
from rollback_console.engine.backtest import Judged, Lane, Seen, Turn, rows_of
from rollback_console.engine.history import Span
from rollback_console.model.backtest import Costs, Score
from rollback_console.model.rules import DeploymentRule
from rollback_console.model.text import duration, number
from rollback_console.model.times import written
from rollback_console.model.verdict import SignalVerdict, TriggerState

MOST_FIRES = 200  # lines of the table
MOST_SEEN = 20
_MONTH_S = 30 * 86_400.0
_FIRING = (TriggerState.FIRED, TriggerState.CLEARING)


def signals_facts(signals: Sequence[SignalVerdict]) -> list[dict[str, Any]]:
    """Each signal by the names of the contract."""
    return [
        {
            "name": each.name,
            "value": each.value,
            "baseline": each.baseline,
            "degradation_pct": each.degradation_pct,
            "evidence": each.evidence,
            "breached": each.breached,
            "blind": str(each.blind) if each.blind else None,
        }
        for each in signals
    ]


def turn_facts(rule: DeploymentRule, turn: Turn) -> dict[str, Any]:
    """A transition. `from` is null where the backtest began in that state."""
    verdict = turn.verdict
    return {
        "at": written(verdict.at),
        "deployment": str(verdict.deployment),
        "trigger": rule.trigger.text,
        "from": str(turn.before) if turn.before is not None else None,
        "to": str(verdict.state),
        "reason": verdict.sentence,
        "signals": signals_facts(verdict.signals),
    }


def trace_facts(rule: DeploymentRule, judged: Judged) -> dict[str, Any]:
    """An evaluation."""
    return {
        "at": written(judged.observation.at),
        "deployment": str(judged.observation.deployment),
        "state": str(judged.state),
        "dwell_remaining_s": dwell_remaining(rule.trigger, judged.step.memory),
        "signals": signals_facts(judged.step.signals),
    }


def summary_facts(lane: Lane, spans: Sequence[Span], score: Score) -> dict[str, Any]:
    """The last line: what it came to in all, and for each deployment that fired."""
    rows = [(rule, counted) for rule, counted in rows_of(lane)]
    days = evaluated_s(spans) / 86_400.0
    return {
        "summary": True,
        "start": written(spans[0].start),
        "end": written(spans[-1].end),
        "evaluations": sum(span.count for span in spans),
        "deployments": len(lane.rules),
        "fires": score.fires,
        "minutes_fired": round(score.minutes_fired, 3),
        "rollbacks_per_30d": round(score.rollbacks_per_30d, 3),
        "fired_as_blind": sum(counted.blind_fires for _, counted in rows),
        "by_deployment": [
            {
                "deployment": str(rule.deployment.id),
                "fires": counted.fires,
                "minutes_fired": round(counted.minutes_fired, 3),
                "rollbacks_per_30d": round(counted.rollbacks * 30 / days, 3) if days else 0.0,
                "fired_as_blind": counted.blind_fires,
            }
            for rule, counted in rows
            if counted.minutes_fired or counted.fires or counted.blind_fires
        ],
    }


def score_facts(score: Score, marked: bool) -> dict[str, Any]:
    """A setting of a sweep. Without marked incidents nothing is false or missed."""
    return {
        "setting": dict(score.setting.words),
        "as_written": score.setting.as_written,
        "fires": score.fires,
        "false": score.false if marked else None,
        "missed": score.missed if marked else None,
        "median_delay_s": score.delay_s,
        "minutes_fired": round(score.minutes_fired, 3),
        "rollbacks_per_30d": round(score.rollbacks_per_30d, 3),
        "cost_of_waiting": _rounded(score.waiting),
        "cost_of_false_rollbacks": _rounded(score.false_cost) if marked else None,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def seen_facts(seen: Sequence[Seen]) -> list[dict[str, Any]]:
    """What can be detected of each signal that is judged by evidence. `after_s` is null for not within a day."""
    return [
        {
            "deployment": str(each.deployment),
            "signal": each.signal,
            "trials_per_window": round(each.trials, 3),
            "baseline": each.p,
            "margin": each.norm.margin,
            "detects": [{"change_pct": round(100 * one.size, 6), "after_s": one.delay_s} for one in each.detectable],
        }
        for each in seen
    ]


def seen_lines(seen: Sequence[Seen]) -> list[str]:
    """The same for a person, of the first deployments."""
    lines = [
        f"{each.deployment} {each.signal}: sees {in_words(each.detectable)} at {number(each.trials)} a window"
        for each in seen[:MOST_SEEN]
    ]
    return lines + ([f"and {len(seen) - MOST_SEEN} more: --json has them all"] if len(seen) > MOST_SEEN else [])


def evaluated_s(spans: Sequence[Span]) -> float:
    """How long a time was judged, from the first evaluation to the last."""
    return spans[-1].end - spans[0].start


class Fires:
    """The fires of the policy as it stands, for the table: when, who, how long, why."""

    def __init__(self, rules: Sequence[DeploymentRule]) -> None:
        self._rules = tuple(rules)
        self._open: dict[int, int] = {}
        self._rows: list[list[str]] = []
        self._began: list[float] = []
        self._more = 0

    def take(self, turn: Turn) -> None:
        """Take note of a transition."""
        verdict, firing = turn.verdict, turn.before in _FIRING
        if verdict.state in _FIRING and not firing:
            if len(self._rows) >= MOST_FIRES:
                self._more += 1
                return
            self._open[turn.index] = len(self._rows)
            began = written(verdict.at) + ("" if turn.before is not None else " or before")
            self._rows.append([began, str(verdict.deployment), "not over", verdict.sentence])
            self._began.append(verdict.at)
        elif firing and verdict.state not in _FIRING and turn.index in self._open:
            row = self._open.pop(turn.index)
            self._rows[row][2] = duration(verdict.at - self._began[row])

    def lines(self) -> list[str]:
        """The table; nothing where nothing fired."""
        if not self._rows:
            return []
        out = table(["fired at", "deployment", "for", "why"], self._rows, left=4)
        return [*out, *([f"and {self._more} more: --json has them all"] if self._more else []), ""]


def summary_lines(lane: Lane, spans: Sequence[Span], score: Score) -> list[str]:
    """What it came to, for a person."""
    count, blind = sum(span.count for span in spans), sum(counted.blind_fires for _, counted in rows_of(lane))
    who, fires = len(lane.rules), score.fires
    lines = [
        f"{fires:,} fire{'' if fires == 1 else 's'}, {score.minutes_fired:,.0f} minutes fired, "
        f"{number(score.rollbacks_per_30d)} would-be rollbacks per 30 days",
        f"{who:,} deployment{'' if who == 1 else 's'}, {count:,} evaluation{'' if count == 1 else 's'}, "
        f"{written(spans[0].start)} to {written(spans[-1].end)}",
    ]
    if blind:
        lines.append(f"blindness fired {blind:,} time{'' if blind == 1 else 's'}: signals that could not be judged")
    return lines


def score_lines(scores: Sequence[Score], costs: Costs, marked: bool) -> list[str]:
    """The table of a sweep, a line a setting."""
    rows = []
    for each in scores:
        dash = "–"
        rows.append(
            [
                each.setting.text,
                f"{each.fires:,}",
                f"{each.false:,}" if marked else dash,
                f"{each.missed:,}" if marked else dash,
                duration(each.delay_s) if each.delay_s is not None else dash,
                number(each.rollbacks_per_30d),
                number(each.waiting),
                number(each.false_cost) if marked else dash,
            ]
        )
    header = [
        "setting", "fires", "false", "missed", "median delay", "rollbacks/30d", f"waiting, {costs.unit}",
        f"false rollbacks, {costs.unit}",
    ]  # fmt: skip
    return table(header, rows, left=1)


def table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """Columns as wide as their widest; the first `left` of them are set to the left, numbers to the right."""
    widths = [max(len(row[place]) for row in (header, *rows)) for place in range(len(header))]
    return [
        "  ".join(
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (header, *rows)
    ]
