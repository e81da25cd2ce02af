"""A runbook's checks, asked: a step's PromQL with its placeholders filled in, answered in a few safe lines."""

from __future__ import annotations

import heapq
import math

from rollback_console.errors import BackendError
from rollback_console.model.observation import Series
from rollback_console.model.rules import DeploymentRule
from rollback_console.model.text import plain
from rollback_console.model.walk import CheckResult
from rollback_console.observe.protocol import MetricBackend
from rollback_console.policy.promql import WINDOW, fill, is_per_deployment, words_of
from rollback_console.policy.quantities import format_duration

SHOWN = 8  # series of an answer that are shown; the others are counted
_WINDOW_S = 300.0  # where no signal of a deployment says another
_LONGEST = 20_000  # characters of a query: as long as a policy's may be
_NAME = "__name__"


async def run_check(metrics: MetricBackend, promql: str, rule: DeploymentRule | None, at: float | None) -> CheckResult:
    """Ask `promql` about the deployment of `rule` (None: about none) at `at` (Unix seconds). Never raises: what went
    wrong is the answer's `problem`."""
    if at is None:
        return CheckResult(problem="nothing was evaluated yet")
    query = filled(promql, rule)
    if len(query) > _LONGEST:
        return CheckResult((), at, f"the query is longer than {_LONGEST:,} characters")
    if is_per_deployment(query):
        return CheckResult((), at, "it asks about one deployment: open the runbook on one (b on its row)", query)
    try:
        series = await metrics.query(query, at)
    except BackendError as error:
        return CheckResult((), at, plain(error, 300), query)
    own = dict(rule.deployment.labels) if rule is not None else {}
    return CheckResult(_lines(series, own), at, "", query)


def filled(promql: str, rule: DeploymentRule | None) -> str:
    """The query with `$window` (the first signal's, else 5m), `$selector` and `$deployment` filled in, as a policy's
    are. Without a deployment the last two stay."""
    window = rule.signals[0].window_s if rule is not None and rule.signals else _WINDOW_S
    words = {WINDOW: format_duration(window)}
    if rule is not None:
        words |= words_of(rule.deployment.id.name, rule.deployment.labels)
    return fill(promql, words)


def _lines(series: tuple[Series, ...], own: dict[str, str]) -> tuple[str, ...]:
    """One line a series, in the labels' order; past `SHOWN` of them their number."""
    told = [(one.labels, one.points[-1][1]) for one in series if one.points]
    shown = [_line(labels, value, own) for labels, value in heapq.nsmallest(SHOWN, told, key=lambda each: each[0])]
    more = len(told) - len(shown)
    return (*shown, f"and {more:,} more") if more else tuple(shown)


def _line(labels: tuple[tuple[str, str], ...], value: float, own: dict[str, str]) -> str:
    """What tells this series from others, and its value; the deployment's own labels say nothing new."""
    told = dict(labels)
    words = [plain(told[_NAME], 60)] if _NAME in told else []
    words += [
        f"{plain(name, 40)} {plain(text, 60)}" for name, text in labels if name != _NAME and own.get(name) != text
    ]
    said = plain(", ".join(words), 200)
    return f"{said}: {_number(value)}" if said else _number(value)


def _number(value: float) -> str:
    """A value as a query's answer shows it: six digits, no unit is known."""
    if math.isnan(value):
        return "not a number"
    return f"{value:.0f}" if value.is_integer() and abs(value) < 1e12 else f"{value:.6g}"
