"""What runs beside a deployment (a canary's control, a hold-out) in the same window: the counts that evidence is
measured against where the baseline is a control."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from rollback_console.decide.baselines import control_margin
from rollback_console.decide.calendar import DAY_S, LAG_S
from rollback_console.engine.queries import Answer, Splitter, split_points
from rollback_console.errors import BackendError
from rollback_console.model.observation import Blind, Norm
from rollback_console.model.rules import BaselineKind, DeploymentRule, SignalRule
from rollback_console.observe.protocol import MetricBackend

_ALONE = (1.0,)  # what both arms share cancels: what is left is as noisy as chance
_ON_GRID = 1e-6
_LEAST_HOURS = 24  # of a week's, behind a split that is learned


def labels_beside(rule: DeploymentRule, control: str) -> tuple[tuple[str, str], ...]:
    """What metrics know the control by: the deployment's own labels, with the control's value in the place of its own
    in the label that names it (the one that holds its name, else `deployment`, else the first)."""
    own = rule.deployment.labels
    named = [name for name, value in own if value == rule.deployment.id.name]
    naming = named[0] if named else next((name for name, _ in own if name == "deployment"), own[0][0] if own else "")
    return tuple((name, control if name == naming else value) for name, value in own)


def beside_of(rule: DeploymentRule, control: str) -> DeploymentRule:
    """The rule as it would be of the control."""
    return replace(rule, deployment=replace(rule.deployment, labels=labels_beside(rule, control)))


def asked_beside(promql: str, rule: DeploymentRule, beside: DeploymentRule) -> str:
    """A deployment's query as its control is asked: one that names its deployment names the control instead."""
    for (_, own), (_, other) in zip(rule.deployment.labels, beside.deployment.labels, strict=True):
        promql = promql.replace(f'="{_escaped(own)}"', f'="{_escaped(other)}"')
    return promql


@dataclass(slots=True)
class _Asked:
    """One query for the controls of some deployments: `members` in the order of the splitter's numbers."""

    promql: str
    step: float
    late: float
    members: list[tuple[int, int]] = field(default_factory=list)
    rules: list[DeploymentRule] = field(default_factory=list)
    splitter: Splitter | None = None
    answers: dict[float, Answer] = field(default_factory=dict)  # by evaluation time


_UNSPLIT: tuple[tuple[_Asked | None, int], ...] = ((None, -1),) * 3


class Beside:
    """The controls of a fleet. `prepare` reads, `norm` answers; evaluations count once a window, at whole multiples of
    it, so that is what is asked for."""

    def __init__(self, rules: Sequence[DeploymentRule], metrics: MetricBackend) -> None:
        self._metrics = metrics
        self._asked: dict[tuple[str, float, float], _Asked] = {}
        self._places: dict[tuple[int, int], tuple[SignalRule, _Asked | None, _Asked | None, int, int]] = {}
        self._splits: dict[tuple[int, int], tuple[tuple[_Asked | None, int], ...]] = {}  # own, the control's, hours
        for index, rule in enumerate(rules):
            for number, signal in enumerate(rule.signals):
                base = signal.baseline
                if base is not None and base.kind is BaselineKind.CONTROL and base.control is not None:
                    self._enter(index, number, rule, signal, base.control)
        for asked in self._asked.values():
            asked.splitter = Splitter(asked.rules)

    def _enter(self, index: int, number: int, rule: DeploymentRule, signal: SignalRule, control: str) -> None:
        beside = beside_of(rule, control)
        late = signal.evidence.maturity_s if signal.evidence is not None else 0.0  # of trials, as in `queries`
        place, step = (index, number), signal.window_s
        events, at_events = self._ask(signal.x or signal.value, (step, 0.0), rule, beside, place)
        trials, at_trials = self._ask(signal.n, (step, late), rule, beside, place)
        self._places[place] = signal, events, trials, at_events, at_trials
        if signal.n_hour is not None and signal.baseline is not None and signal.baseline.share is None:
            week = f"sum_over_time(({signal.n_hour}\n)[7d:1h])"
            hours = f"count_over_time(({signal.n_hour}\n)[7d:1h])"
            pace = (DAY_S, LAG_S + late)
            self._splits[place] = (
                self._ask(week, pace, rule, rule, place),
                self._ask(week, pace, rule, beside, place),
                self._ask(hours, pace, rule, beside, place),
            )

    def _ask(
        self,
        promql: str | None,
        pace: tuple[float, float],
        rule: DeploymentRule,
        beside: DeploymentRule,
        place: tuple[int, int],
    ) -> tuple[_Asked | None, int]:
        """The query that the control's part of an answer comes from, and the control's number in it. `pace`: it is
        asked at whole multiples of the one, the other as much earlier (seconds). A query that names its deployment is
        asked with the control's name."""
        if promql is None:
            return None, -1
        promql = asked_beside(promql, rule, beside)
        key = (promql, *pace)
        asked = self._asked.setdefault(key, _Asked(*key))
        asked.members.append(place)
        asked.rules.append(beside)
        return asked, len(asked.members) - 1

    async def prepare(self, at: float, since: float) -> None:
        """Read what the evaluations from `since` to `at` need and is not here; never raises."""
        for asked in self._asked.values():
            last = at // asked.step * asked.step
            count = max(0, round((last - since // asked.step * asked.step) / asked.step))
            times = [last - k * asked.step for k in range(count, -1, -1)]
            missing = [time for time in times if time not in asked.answers or asked.answers[time].failed]
            if missing:
                await self._read(asked, missing[0], missing[-1])
            kept = set(times)
            asked.answers = {time: found for time, found in asked.answers.items() if time in kept}

    async def _read(self, asked: _Asked, first: float, last: float) -> None:
        step, count = asked.step, round((last - first) / asked.step) + 1
        if asked.splitter is None:
            return
        scope = set(range(len(asked.members)))
        start = first - asked.late
        try:
            series = await self._metrics.query_range(asked.promql, start, last - asked.late, step)
        except BackendError:
            found: Iterable[Answer] = [Answer(failed=True)] * count
        else:
            found = split_points(asked.splitter, series, scope, count, start, step, False)
        for k, answer in enumerate(found):
            asked.answers[first + k * step] = answer

    def norm(self, index: int, number: int, at: float) -> tuple[float, Norm] | Blind:
        """The control's rate and its counts in the last window at or before `at`, or why there is none."""
        place = self._places.get((index, number))
        if place is None:
            return Blind.NO_DATA
        signal, events, trials, at_events, at_trials = place
        x = _look(events, at, at_events)
        if isinstance(x, Blind):
            return x
        margin = control_margin(signal.evidence)
        if trials is None:
            return x, Norm(margin, _ALONE)
        n = _look(trials, at, at_trials)
        if isinstance(n, Blind):
            return n
        if n <= 0.0:
            return Blind.NO_DATA
        return x / n, Norm(margin, _ALONE, (x, n), split=self._split(index, number, at))

    def _split(self, index: int, number: int, at: float) -> float | None:
        """The part of all trials that the control is meant to get: as written, or as it got in the week before today
        (UTC) began; None where that is less than a day."""
        signal = self._places[index, number][0]
        if signal.baseline is not None and signal.baseline.share is not None:
            return signal.baseline.share
        own, control, hours = (_look(asked, at, place) for asked, place in self._splits.get((index, number), _UNSPLIT))
        if isinstance(own, Blind) or isinstance(control, Blind) or isinstance(hours, Blind) or hours < _LEAST_HOURS:
            return None
        return control / (own + control) if own > 0.0 and control > 0.0 else None


def _escaped(value: str) -> str:
    """A label's value as it stands between double quotes in a query."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _look(asked: _Asked | None, at: float, number: int) -> float | Blind:
    if asked is None:
        return Blind.NO_DATA
    answer = asked.answers.get((at + _ON_GRID) // asked.step * asked.step)
    return answer.of(number) if answer is not None else Blind.QUERY_FAILED
