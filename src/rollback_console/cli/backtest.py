"""`rollback-console backtest`: a policy over the past, and settings beside each other."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rollback_console.cli.common import config_option, emit_json_line, emit_lines, json_option, need_config, warn
from rollback_console.errors import BackendError, UsageError
from rollback_console.model.text import plain

if TYPE_CHECKING:
    from rollback_console.engine.backtest import Lane, Losses, Traffic
    from rollback_console.engine.history import History, Span
    from rollback_console.model.backtest import Costs, Mark
    from rollback_console.model.rules import DeploymentRule
    from rollback_console.observe.protocol import MetricBackend
    from rollback_console.observe.samples import Samples
    from rollback_console.policy.load import LoadedPolicy
    from rollback_console.policy.variants import Variant

_FILE = click.Path(path_type=Path, dir_okay=False)
_BEFORE_S = 7 * 86_400.0  # of a file, judged before --from to know how things stand: no memory is older


@click.command("backtest", epilog="Example: rollback-console backtest policy.yaml --from 28d --sweep dwell=1m,5m,15m")
@click.argument("policy", type=_FILE)
@click.option("--from", "start", metavar="T", help="Begin there: 2026-11-20T09:00:00Z, Unix seconds, or 28d ago.")
@click.option("--to", "end", metavar="T", help="End there (default: now).")
@click.option("--step", metavar="D", help="Time between evaluations (default: as live; of a file: its own times).")
@click.option("--samples", type=_FILE, metavar="FILE", help="A CSV or JSON Lines in place of a Prometheus.")
@click.option("--sweep", "sweeps", multiple=True, metavar="KEY=V,V…", help="Compare settings: dwell, margin, budget.")
@click.option("--incidents", type=_FILE, metavar="FILE", help="What was real: deployment, from, to (YAML or CSV).")
@click.option("--rollback-cost", type=click.FloatRange(min=0), help="What one false rollback costs.")
@click.option("--trace", is_flag=True, help="Print every evaluation, as JSON.")
@config_option
@json_option
@click.pass_context
def command(
    ctx: click.Context, policy: Path, start: str | None, end: str | None, step: str | None, samples: Path | None,
    sweeps: tuple[str, ...], incidents: Path | None, rollback_cost: float | None, trace: bool, config: Path | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Replay POLICY over Prometheus' history, or over a file of samples: what would have fired, when and why.

    Nothing is acted on and nothing is written. Ctrl-C ends it with code 130.
    """
    from rollback_console.model.backtest import Costs
    from rollback_console.policy.load import load_policy
    from rollback_console.policy.marks import load_marks
    from rollback_console.policy.variants import parse_sweep, variants

    parsed = tuple(parse_sweep(text) for text in sweeps)
    loaded = load_policy(policy)
    settings = variants(loaded, parsed)
    marks = load_marks(incidents, [rule.deployment.id for rule in loaded.rules]) if incidents is not None else ()
    costs = Costs(loaded.rules[0].impact.unit, rollback_cost)
    seconds = _seconds("--step", step) if step is not None else None
    wanted = _Wanted(_time("--from", start), _time("--to", end), seconds)
    if samples is not None:
        past = _of_file(samples, loaded, settings, wanted)
    else:
        past = _of_prometheus(need_config(config), loaded, settings, wanted)
    backtest = _Backtest(past, marks, costs, bool(parsed) or incidents is not None, as_json or trace, trace)
    asyncio.run(backtest.run())


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What was asked for, in Unix seconds and seconds."""

    start: float | None
    end: float | None
    step: float | None


@dataclass(frozen=True, slots=True)
class _Past:
    """What is replayed: where it is read from, when, and by which settings. `cold`: there is history before it.
    `before`: what is judged first, only to know how things stand when it begins."""

    metrics: MetricBackend
    variants: tuple[Variant, ...]
    spans: tuple[Span, ...]
    step_s: float
    lookback_s: float
    cold: bool
    before: tuple[Span, ...] = ()


def _of_file(path: Path, loaded: LoadedPolicy, settings: Sequence[Variant], wanted: _Wanted) -> _Past:
    from rollback_console.engine.history import grid, spans_of
    from rollback_console.observe.sampled import SampledMetrics, asking
    from rollback_console.observe.samples import read_samples
    from rollback_console.policy.variants import Variant

    if sys.stderr.isatty():
        warn(f"reading {path} …")
    samples = read_samples(path, loaded.rules)
    rules = _named_in(path, samples, loaded.rules)
    kept = {rule.deployment.id for rule in rules}
    low = samples.times[0] if wanted.start is None else max(wanted.start, samples.times[0])
    high = samples.times[-1] if wanted.end is None else min(wanted.end, samples.times[-1])
    known = low - _BEFORE_S
    if wanted.step is not None:
        last = high if wanted.end is not None else high + wanted.step * 0.999
        spans: tuple[Span, ...] = (grid(low, last, wanted.step),)
        before: tuple[Span, ...] = (grid(max(known, samples.times[0]), spans[0].start - wanted.step, wanted.step),)
        step_s = wanted.step
    else:
        spans = spans_of([at for at in samples.times if low <= at <= high])
        before = spans_of([at for at in samples.times if known <= at < low])
        step_s = min((span.step for span in spans if span.count > 1), default=60.0)
    spans = _some(spans, f"{path} has no rows in that time")
    _never_due(rules, spans)
    metrics = SampledMetrics(samples, asking(loaded.rules, samples), within_s=wanted.step)
    asked = tuple(
        Variant(each.setting, tuple(rule for rule in asking(each.rules, samples) if rule.deployment.id in kept))
        for each in settings
    )
    return _Past(metrics, asked, spans, step_s, 0.0, False, before)


def _named_in(path: Path, samples: Samples, rules: tuple[DeploymentRule, ...]) -> tuple[DeploymentRule, ...]:
    """The deployments that a file says anything of; what it says nothing of is said."""
    for name in samples.ignored:
        warn(f"{path}: the column {plain(name, 60)!r} is not read")
    named = {deployment for deployment, _ in samples.columns}
    known = tuple(rule for rule in rules if rule.deployment.id in named) or rules
    missing = [str(rule.deployment.id) for rule in rules if rule.deployment.id not in named]
    if missing and len(known) < len(rules):
        warn(f"{path} has no rows of {_few(missing)}: left out")
    given = {signal for _, signal in samples.columns}
    silent = [name for name in dict.fromkeys(each.name for rule in known for each in rule.signals) if name not in given]
    if silent:
        warn(f"{path} has no rows of {_few(silent)}: no data throughout")
    return known


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown


def _never_due(rules: Sequence[DeploymentRule], spans: Sequence[Span]) -> None:
    """Raises UsageError for a signal that no evaluation would judge: evidence counts once a window, at whole multiples
    of it."""
    from rollback_console.decide.weighing import due
    from rollback_console.policy.quantities import format_duration

    signals = {each.name: each.window_s for rule in rules for each in rule.signals if each.evidence is not None}
    for name, window_s in signals.items():
        if not any(due(window_s, span.start + k * span.step) for span in spans for k in range(span.count)):
            window = format_duration(window_s)
            what = f"{name} is judged once every {window}, at whole multiples of it, and no evaluation is at one"
            raise UsageError(what, f"give --step {window}")


def _of_prometheus(settings_path: Path, loaded: LoadedPolicy, settings: Sequence[Variant], wanted: _Wanted) -> _Past:
    import random

    from rollback_console.clock import WallClock
    from rollback_console.engine.history import grid
    from rollback_console.observe.connect import prometheus
    from rollback_console.policy.load import load_settings

    if wanted.start is None:
        raise UsageError("a backtest needs its beginning", "give --from 28d, or --samples FILE")
    found = load_settings(settings_path).settings
    clock = WallClock()
    newest = clock.now() - found.delay
    if wanted.end is not None and wanted.end > newest:
        warn("--to is not over yet: the backtest ends now")
    step_s = wanted.step or found.evaluate_every
    span = grid(wanted.start, newest if wanted.end is None else min(wanted.end, newest), step_s)
    metrics = prometheus(found, settings_path.parent, clock=clock, random=random.Random())  # noqa: S311 - jitter
    spans = _some((span,), "there is no evaluation between --from and --to")
    return _Past(metrics, tuple(settings), spans, step_s, found.lookback, cold=True)


def _some(spans: tuple[Span, ...], otherwise: str) -> tuple[Span, ...]:
    if not any(span.count for span in spans):
        raise UsageError(otherwise, "look at --from, --to and --step")
    return spans


class _Backtest:
    """One run: reads, judges, prints."""

    def __init__(
        self, past: _Past, marks: tuple[Mark, ...], costs: Costs, compares: bool, as_json: bool, trace: bool
    ) -> None:
        from rollback_console.cli.backtest_words import Fires
        from rollback_console.engine.backtest import Losses, Traffic
        from rollback_console.engine.history import History

        self._past, self._marks, self._costs = past, marks, costs
        self._compares, self._json, self._trace = compares, as_json, trace
        self._written = next(n for n, each in enumerate(past.variants) if each.setting.as_written)
        self._rules: tuple[DeploymentRule, ...] = past.variants[self._written].rules
        self._history: History = History(self._rules, past.metrics, past.step_s, past.lookback_s)
        known = {rule.deployment.id for rule in self._rules}
        self._losses: Losses = Losses(self._rules, [mark for mark in marks if mark.deployment in known])
        self._traffic: Traffic = Traffic(self._rules)
        self._fires = Fires(self._rules)
        self._read = True  # somebody reads what is printed

    async def run(self) -> None:
        """Raises BackendError where history cannot be read."""
        past = self._past
        at = past.spans[0].start
        try:
            rules = [each.rules for each in past.variants]
            if past.cold and sys.stderr.isatty():
                warn(f"reading what came before {_stamp(at)} …")
            await self._history.begin(rules, at - past.step_s, cold=past.cold)
            with _progress(sum(span.count for span in (*past.before, *past.spans)), self._json) as bar:
                async for _ in self._judged(past.before, bar, silent=True):
                    pass
                if past.before:
                    for lane in self._history.lanes:
                        lane.begin(lane.memories())
                async for came_to in self._judged(past.spans, bar):
                    at = came_to
                    if not self._read:
                        return
        except BackendError as error:
            raise type(error)(f"the backtest came to {_stamp(at)}: {error.message}", error.next_step) from None
        finally:
            await past.metrics.close()
        self._conclude(self._history.lanes)

    async def _judged(self, spans: Sequence[Span], bar: Any, *, silent: bool = False) -> AsyncIterator[float]:
        """Every evaluation judged by every setting, its time when that is done."""
        async for tick in self._history.ticks(spans):
            for number, lane in enumerate(self._history.lanes):
                for judged in lane.take(tick):
                    if number == self._written and not silent:
                        self._losses.add(judged)
                        self._traffic.add(judged)
                        self._tell(judged)
            bar.update(1)
            yield tick.at
            await asyncio.sleep(0)

    def _tell(self, judged: Any) -> None:
        from rollback_console.cli.backtest_words import trace_facts, turn_facts

        rule = self._rules[judged.index]
        if self._json and self._trace:
            self._read = emit_json_line(trace_facts(rule, judged)) and self._read
        if judged.turn is None:
            return
        if self._json:
            self._read = emit_json_line(turn_facts(rule, judged.turn)) and self._read
        else:
            self._fires.take(judged.turn)

    def _conclude(self, lanes: Sequence[Lane]) -> None:
        from rollback_console.cli import backtest_words as words
        from rollback_console.engine.scores import allowed_false, recommend, score

        spans, variants = self._past.spans, self._past.variants
        seconds = words.evaluated_s(spans)
        marks = [mark for mark in self._marks if self._losses.seen(mark)]
        if len(marks) < len(self._marks):
            warn(f"{len(self._marks) - len(marks)} of the marked incidents lie outside the backtest and do not count")
        scores = [
            score(each.setting, lane, marks, self._losses, self._costs, seconds)
            for each, lane in zip(variants, lanes, strict=True)
        ]
        written = scores[self._written]
        summary = words.summary_facts(lanes[self._written], spans, written)
        advice = ""
        if len(scores) > 1:
            allowed = allowed_false(self._rules, seconds)
            best, advice = recommend(scores, self._costs, allowed)
            summary["recommended"] = {"setting": dict(best.setting.words), "reason": advice}
        marked, seen = bool(marks), self._traffic.told()
        if seen:
            summary["detectability"] = words.seen_facts(seen)
        if self._json:
            if self._compares:
                for each in scores:
                    emit_json_line(words.score_facts(each, marked))
            emit_json_line(summary)
            return
        emit_lines(self._fires.lines())
        emit_lines(words.summary_lines(lanes[self._written], spans, written))
        if seen:
            emit_lines(["", *words.seen_lines(seen)])
        if self._compares:
            emit_lines(["", *words.score_lines(scores, self._costs, marked)])
        if advice:
            emit_lines(["", f"take {advice}"])


class _NoBar:
    """Where nobody watches."""

    def update(self, n_steps: int) -> None:
        """Nothing to draw."""


@contextlib.contextmanager
def _progress(length: int, as_json: bool) -> Iterator[Any]:
    """A bar on stderr with the time left: only on a terminal, and not into the lines that are printed there."""
    if not sys.stderr.isatty() or (as_json and sys.stdout.isatty()):
        yield _NoBar()
        return
    with click.progressbar(length=length, label="backtest", file=sys.stderr, show_eta=True, update_min_steps=20) as bar:
        yield bar


def _stamp(at: float) -> str:
    from rollback_console.model.times import written

    return written(at)


def _seconds(option: str, text: str) -> float:
    """A duration of at least a second. Raises UsageError."""
    from rollback_console.policy.quantities import parse_duration

    try:
        seconds = parse_duration(text)
    except ValueError:
        seconds = 0.0
    if seconds < 1 or seconds != int(seconds):
        raise UsageError(f"{option} {plain(text, 60)!r} is not a time between evaluations", "give 15s, 1m or 5m")
    return seconds


def _time(option: str, text: str | None) -> float | None:
    """A time, `now`, or how long ago. Raises UsageError."""
    import time

    from rollback_console.model.times import NotATime, moment
    from rollback_console.policy.quantities import parse_duration

    if text is None:
        return None
    word = text.strip()
    if word == "now":
        return time.time()
    with contextlib.suppress(ValueError):
        if not word.isdigit():
            return time.time() - parse_duration(word.removeprefix("-"))
    try:
        return moment(word, dates=True)
    except NotATime as error:
        what = f"{option} {plain(text, 60)!r} {error.message}"
        raise UsageError(what, "give 2026-11-20T09:00:00Z, 2026-11-20 or 28d") from None
