"""Which queries one evaluation asks, each once for the whole fleet, and whose answer each series is.

A signal is one PromQL that groups `by (label)`; a thousand deployments that share it cost one query. The answer is
split by the labels that policies give their deployments.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import field
from math import isfinite

from rollback_console.model.observation import Blind, Series
from rollback_console.model.rules import BaselineKind, DeploymentRule, SignalKind, SignalRule
from rollback_console.model.value import dataclass

WEEK_S = 7 * 86_400.0
_BARE_SELECTOR = re.compile(r"^\s*([a-zA-Z_:][a-zA-Z0-9_:]*)\s*\{(.*)\}\s*$", re.DOTALL)
ROLL_OUT = " + "  # joins the versions that serve at once
_MATCHER = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"\s*(?:,|$)')
_ESCAPE = re.compile(r"""\\(["'\\nt])""")


@dataclass(frozen=True, slots=True)
class Query:
    """One PromQL, asked `offset_s` seconds before the evaluation (last week's baseline, trials whose events
    trail them); `version`: for its labels; `buckets`: of a histogram, a series each by `le`."""

    promql: str
    offset_s: float = 0.0
    version: bool = False
    buckets: bool = False


@dataclass(frozen=True, slots=True)
class SignalColumns:
    """Which queries (by number) make one signal's reading; -1 where there is none."""

    value: int
    x: int = -1
    n: int = -1
    base_value: int = -1
    base_x: int = -1
    base_n: int = -1
    heartbeat: int = -1
    buckets: int = -1

    def asked(self) -> tuple[int, int, int, int]:
        """The queries of the value itself."""
        return self.value, self.x, self.n, self.buckets


@dataclass(frozen=True, slots=True)
class DeploymentColumns:
    signals: tuple[SignalColumns, ...]
    version: int = -1
    revenue: int = -1
    users: int = -1
    satisfaction: int = -1
    market: int = -1


@dataclass(slots=True)
class QueryPlan:
    """The queries of one evaluation, and for each deployment (in the rules' order) where its readings come from."""

    rules: tuple[DeploymentRule, ...]
    queries: list[Query] = field(default_factory=list)
    columns: list[DeploymentColumns] = field(default_factory=list)
    version_queries: set[int] = field(default_factory=set)
    scopes: list[set[int]] = field(default_factory=list)  # per query: the deployments that read it

    def number(
        self, promql: str | None, deployment: int, offset_s: float = 0.0, *, version: bool = False,
        buckets: bool = False,
    ) -> int:  # fmt: skip
        """The number of a query, added on first use; -1 for None."""
        if promql is None:
            return -1
        query = Query(promql, offset_s, version, buckets)
        index = self._numbers.get(query)
        if index is None:
            index = self._numbers[query] = len(self.queries)
            self.queries.append(query)
            self.scopes.append(set())
        self.scopes[index].add(deployment)
        return index

    _numbers: dict[Query, int] = field(default_factory=dict)


def plan_queries(rules: Sequence[DeploymentRule]) -> QueryPlan:
    """The plan for a fleet. Deployments of one policy share its signals, and so its queries."""
    plan = QueryPlan(tuple(rules))
    shared: dict[int, tuple[SignalColumns, ...]] = {}
    served = _version_queries(rules)
    for index, rule in enumerate(rules):
        columns = shared.get(id(rule.signals))
        if columns is None:
            columns = shared[id(rule.signals)] = tuple(_signal(plan, signal, index) for signal in rule.signals)
        else:
            for signal in rule.signals:  # only to put this deployment into the queries' scopes
                _signal(plan, signal, index)
        version = plan.number(served[index], index, version=True)
        if version >= 0:
            plan.version_queries.add(version)
        plan.columns.append(
            DeploymentColumns(
                columns,
                version,
                plan.number(rule.impact.revenue_per_minute, index),
                plan.number(rule.impact.users_per_minute, index),
                plan.number(rule.impact.satisfaction.value if rule.impact.satisfaction else None, index),
                plan.number(rule.impact.market.value if rule.impact.market else None, index),
            )
        )
    return plan


def _signal(plan: QueryPlan, signal: SignalRule, deployment: int) -> SignalColumns:
    """A signal's queries. Events are counted when they happen, `maturity_s` after their trials: the trials of the
    events that a window counts are those of a window so much earlier. Asked at the same time, a jump in traffic would
    read as a fall, however late both were asked. What stands aside is not asked here (`engine.seldom`)."""
    if signal.aside:
        return SignalColumns(-1)
    learned = signal.kind in (SignalKind.GAUGE, SignalKind.VALUE)  # whose last week the book of baselines knows
    last_week = signal.baseline is not None and signal.baseline.kind is BaselineKind.LAST_WEEK and not learned
    late = signal.evidence.maturity_s if signal.evidence is not None else 0.0
    return SignalColumns(
        plan.number(signal.value, deployment),
        plan.number(signal.x, deployment),
        plan.number(signal.n, deployment, late),
        plan.number(signal.value if last_week else None, deployment, WEEK_S),
        plan.number(signal.x if last_week else None, deployment, WEEK_S),
        plan.number(signal.n if last_week else None, deployment, WEEK_S + late),
        plan.number(signal.heartbeat, deployment),
        plan.number(signal.buckets, deployment, buckets=True),
    )


def _version_queries(rules: Sequence[DeploymentRule]) -> list[str | None]:
    """What to ask for each deployment's serving version: one query for all that can share it, else its own words. For
    one alone its own matchers stay: they also keep out series that name no deployment at all."""
    wide = [_fleet_wide(rule) for rule in rules]
    sharing = Counter(promql for promql in wide if promql is not None)
    return [
        promql if promql is not None and sharing[promql] > 1 else rule.deployment.serving_version
        for promql, rule in zip(wide, rules, strict=True)
    ]


def _fleet_wide(rule: DeploymentRule) -> str | None:
    """A deployment's `serving_version` without the matchers that name it, so that one query serves the fleet.

    Only for a bare selector, where dropping a matcher and splitting by its label is the same thing.
    """
    promql = rule.deployment.serving_version
    if promql is None or (bare := _BARE_SELECTOR.match(promql)) is None:
        return promql
    own = set(rule.deployment.labels)
    kept, position, body = [], 0, bare[2]
    while position < len(body):
        matcher = _MATCHER.match(body, position)
        if matcher is None:
            return promql  # nothing we can read: ask it as it stands
        label, operator, value = matcher.groups()
        if operator != "=" or (label, _unescaped(value)) not in own:
            kept.append(f'{label}{operator}"{value}"')
        position = matcher.end()
    return f"{bare[1]}{{{','.join(kept)}}}" if kept else bare[1]


def _unescaped(value: str) -> str:
    """A PromQL string's text. An escape that is not one of the plain ones is left, and then matches no label."""
    return _ESCAPE.sub(lambda found: {"n": "\n", "t": "\t"}.get(found[1], found[1]), value)


class Splitter:
    """Whose series is it: a deployment's, when every label that both name agrees and at least one is named by both.

    A query that only one deployment reads may answer without labels (`sum(...)` of its own selector).
    """

    def __init__(self, rules: Sequence[DeploymentRule]) -> None:
        self._labels = [dict(rule.deployment.labels) for rule in rules]
        self._by_label: dict[tuple[str, str], list[int]] = {}
        for index, labels in enumerate(self._labels):
            for pair in labels.items():
                self._by_label.setdefault(pair, []).append(index)
        self._cache: dict[tuple[tuple[str, str], ...], tuple[int, ...]] = {}

    def owners(self, labels: tuple[tuple[str, str], ...], scope: set[int]) -> Iterable[int]:
        """The deployments (by number) within `scope` that a series belongs to."""
        found = self._cache.get(labels)
        if found is None:
            if len(self._cache) > 200_000:  # churning labels must not grow without end
                self._cache.clear()
            found = self._cache[labels] = self._match(labels)
        if found:
            return found if len(found) == 1 and found[0] in scope else [index for index in found if index in scope]
        if len(scope) == 1 and not self._conflicts(labels, next(iter(scope))):
            return scope
        return ()

    def _match(self, labels: tuple[tuple[str, str], ...]) -> tuple[int, ...]:
        candidates = dict.fromkeys(index for pair in labels for index in self._by_label.get(pair, ()))
        return tuple(index for index in candidates if not self._conflicts(labels, index))

    def _conflicts(self, labels: tuple[tuple[str, str], ...], index: int) -> bool:
        own = self._labels[index]
        return any(own.get(name, value) != value for name, value in labels)


@dataclass(slots=True)
class Answer:
    """One query's answer at one time: a value a deployment, or why there is none for anybody."""

    values: dict[int, float] = field(default_factory=dict)
    versions: dict[int, str] = field(default_factory=dict)  # of a serving-version query
    ambiguous: set[int] = field(default_factory=set)  # two series for one deployment
    failed: bool = False
    buckets: dict[int, dict[float, float]] = field(default_factory=dict)  # of a histogram: count by upper bound

    def unanswered(self, index: int) -> bool:
        """Did the query fail for this deployment. Two series for one deployment is a query that fails."""
        return self.failed or index in self.ambiguous

    def of(self, index: int) -> float | Blind:
        """One number of one deployment, or why there is none."""
        if self.failed or index in self.ambiguous:
            return Blind.QUERY_FAILED
        value = self.values.get(index)
        if value is None:
            return Blind.NO_DATA
        return value if isfinite(value) else Blind.NOT_A_NUMBER


FAILED = Answer(failed=True)


@dataclass(frozen=True, slots=True)
class Before:
    """What a distribution was until `ended` (Unix seconds), when the version before ended: cumulative buckets."""

    ended: float
    buckets: tuple[tuple[float, float], ...]


VersionBaseline = float | Blind | Before  # of the version before; or why there is none


def split_points(
    splitter: Splitter, series: Iterable[Series], scope: set[int], times: int, start: float, step: float, version: bool,
    *, buckets: bool = False,
) -> list[Answer]:  # fmt: skip
    """A range answer as `times` answers, one an evaluation at ``start + k * step``."""
    answers = [Answer() for _ in range(times)]
    seen: dict[int, dict[int, set[str]]] = {}
    for one in series:
        name = dict(one.labels).get("version", "") if version else ""
        if version and not name:
            continue  # says that something serves, not what
        bound = bound_of(one) if buckets else None
        if buckets and bound is None:
            continue
        for owner in splitter.owners(one.labels, scope):
            for at, value in one.points:
                k = round((at - start) / step)
                if not 0 <= k < times:
                    continue
                answer = answers[k]
                if bound is not None:
                    found = answer.buckets.setdefault(owner, {})
                    if bound in found:
                        answer.ambiguous.add(owner)
                    found[bound] = value
                elif version:
                    seen.setdefault(k, {}).setdefault(owner, set()).add(name)
                elif owner in answer.values:
                    answer.ambiguous.add(owner)
                else:
                    answer.values[owner] = value
    for k, owners in seen.items():
        for owner, names in owners.items():
            answers[k].versions[owner] = ROLL_OUT.join(sorted(names))  # two at once: a roll-out under way
    return answers


def bound_of(series: Series) -> float | None:
    """The upper bound of a histogram's bucket; None of what is none."""
    for name, value in series.labels:
        if name == "le":
            try:
                return float(value)
            except ValueError:
                return None
    return None


def split_instant(
    splitter: Splitter, series: Iterable[Series], scope: set[int], version: bool, *, buckets: bool = False
) -> Answer:
    """An instant answer. The hot path: a thousand series an answer, several answers a tick."""
    if version or buckets:
        return split_points(splitter, series, scope, 1, 0.0, float("inf"), version, buckets=buckets)[0]
    answer = Answer()
    values, owners_of = answer.values, splitter.owners
    for one in series:
        for owner in owners_of(one.labels, scope):
            if owner in values:
                answer.ambiguous.add(owner)
            else:
                values[owner] = one.points[-1][1]
    return answer
