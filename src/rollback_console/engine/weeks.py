"""Last week's value where last week is no example: a stretch that the policy or a person left out of the baselines. The
same time of the newest week before that was not left out stands in its place, four weeks back at the most."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from rollback_console.decide.calendar import touched
from rollback_console.engine.queries import FAILED, WEEK_S, Answer, QueryPlan, Splitter, split_instant, split_points
from rollback_console.errors import BackendError
from rollback_console.model.rules import BaselineKind, DeploymentRule, SignalRule

if TYPE_CHECKING:
    from rollback_console.engine.book import LeftOut
    from rollback_console.observe.protocol import MetricBackend

MOST_WEEKS = 4
Asked = Awaitable[list[Answer]]


class WeeksBefore:
    """The queries of last week's values. `bases`: by number, the signals that read them (deployment's number, rule);
    those judged by evidence go by hours (`decide.baselines.week_before`) and are not among them."""

    def __init__(self, rules: Sequence[DeploymentRule], plan: QueryPlan, metrics: MetricBackend) -> None:
        self.left_out: LeftOut | None = None
        self._rules = tuple(rules)
        self._plan = plan
        self._metrics = metrics
        self._splitter = Splitter(self._rules)
        self._bases: dict[int, dict[int, SignalRule]] = {}
        self._by_policy: set[int] = set()
        for index, (rule, columns) in enumerate(zip(self._rules, plan.columns, strict=True)):
            for signal, own in zip(rule.signals, columns.signals, strict=True):
                base = signal.baseline
                if base is None or base.kind is not BaselineKind.LAST_WEEK or signal.evidence is not None:
                    continue
                for number in {own.base_value, own.base_x, own.base_n} - {-1}:
                    self._bases.setdefault(number, {})[index] = signal
                    if base.exclude:
                        self._by_policy.add(number)

    def concerns(self, number: int) -> bool:
        """May an answer of this query have to be replaced at all."""
        if number not in self._bases:
            return False
        return number in self._by_policy or (self.left_out is not None and bool(self.left_out.moments()))

    async def instant(self, number: int, at: float, answer: Answer) -> Answer:
        """The answer at `at`, each deployment's value that of the week that counts."""
        query = self._plan.queries[number]

        async def ask(weeks: int, first: int, last: int) -> list[Answer]:
            series = await self._metrics.query(query.promql, at - query.offset_s - weeks * WEEK_S)
            return [split_instant(self._splitter, series, self._plan.scopes[number], False)]

        return (await self._replaced(number, [at], [answer], ask))[0]

    async def between(self, number: int, start: float, step: float, answers: list[Answer]) -> list[Answer]:
        """The answers at the evaluations ``start + k * step``, likewise."""
        query, scope = self._plan.queries[number], self._plan.scopes[number]

        async def ask(weeks: int, first: int, last: int) -> list[Answer]:
            begin = start + first * step - query.offset_s - weeks * WEEK_S
            series = await self._metrics.query_range(query.promql, begin, begin + (last - first) * step, step)
            return split_points(self._splitter, series, scope, last - first + 1, begin, step, False)

        return await self._replaced(number, [start + k * step for k in range(len(answers))], answers, ask)

    async def _replaced(
        self, number: int, times: Sequence[float], answers: list[Answer], ask: Callable[[int, int, int], Asked]
    ) -> list[Answer]:
        """`ask` gives the answers so many weeks earlier, from one place among the `times` to another."""
        wanted: dict[int, list[tuple[int, int]]] = {}  # weeks earlier -> (place, deployment)
        for place, at in enumerate(times):
            for index, signal in self._bases[number].items():
                weeks = self._weeks(index, signal, at, self._plan.queries[number].offset_s)
                if weeks:
                    wanted.setdefault(weeks, []).append((place, index))
        if not wanted:
            return answers
        found = [Answer(dict(each.values), each.versions, set(each.ambiguous), each.failed) for each in answers]
        for weeks, who in wanted.items():
            low, high = min(place for place, _ in who), max(place for place, _ in who)
            try:
                earlier = await ask(weeks, low, high) if weeks < MOST_WEEKS else [Answer()] * (high - low + 1)
            except BackendError:
                earlier = [FAILED] * (high - low + 1)
            for place, index in who:
                _put(found[place], earlier[place - low], index)
        return found

    def _weeks(self, index: int, signal: SignalRule, at: float, offset_s: float) -> int:
        """How many weeks before last week is the newest that was not left out; `MOST_WEEKS`: none is."""
        stretches = signal.baseline.exclude if signal.baseline is not None else ()
        if self.left_out is not None:
            stretches = (*stretches, *self.left_out.excluded(str(self._rules[index].deployment.id), at))
        weeks = 0
        while weeks < MOST_WEEKS:
            end = at - offset_s - weeks * WEEK_S
            if not stretches or not touched(stretches, end - signal.window_s, end):
                return weeks
            weeks += 1
        return weeks


def _put(answer: Answer, other: Answer, index: int) -> None:
    """Put a deployment's part of another answer in the place of what it has in this one."""
    answer.values.pop(index, None)
    answer.ambiguous.discard(index)
    if other.unanswered(index):
        answer.ambiguous.add(index)  # as if its query had failed, for it alone
    elif index in other.values:
        answer.values[index] = other.values[index]
