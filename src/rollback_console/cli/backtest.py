"""`rollback-console backtest`: a policy over the past, and settings beside each other."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rollback_console.cli.common import config_option, emit_json_line, emit_lines, json_option, need_config, warn, write
from rollback_console.cli.progress import progress
from rollback_console.errors import UsageError
from rollback_console.model.text import plain

if TYPE_CHECKING:
    from rollback_console.cli.backtest_run import Batch, Outcome, Past
    from rollback_console.engine.history import Span
    from rollback_console.model.backtest import Costs, Mark
    from rollback_console.model.rules import DeploymentRule
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
@click.option("--sweep", "sweeps", multiple=True, metavar="KEY=V,V…",
              help="Compare settings: dwell, margin, SIGNAL.margin, budget.")  # fmt: skip
@click.option("--incidents", type=_FILE, metavar="FILE", help="What was real: deployment, from, to (YAML or CSV).")
@click.option("--rollback-cost", type=click.FloatRange(min=0), help="What one false rollback costs.")
@click.option("--jobs", type=click.IntRange(min=1), metavar="N",
              help="Processes (default: of a long file one a core; of a Prometheus one, to spare it).")  # fmt: skip
@click.option("--trace", is_flag=True, help="Print every evaluation, as JSON.")
@click.option("--journal", type=_FILE, metavar="FILE",
              help="What people declared by hand in this journal counts, as each evaluation knew it.")  # fmt: skip
@config_option
@json_option
@click.pass_context
def command(
    ctx: click.Context, policy: Path, start: str | None, end: str | None, step: str | None, samples: Path | None,
    sweeps: tuple[str, ...], incidents: Path | None, rollback_cost: float | None, jobs: int | None, trace: bool,
    journal: Path | None, config: Path | None, as_json: bool,
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
    wanted = _Wanted(_time("--from", start), _time("--to", end), seconds, jobs)
    if samples is not None:
        past = _of_file(samples, loaded, settings, wanted)
    else:
        past = _of_prometheus(need_config(config), loaded, settings, wanted)
    if journal is not None:
        from rollback_console.cli.declaring import declared_in

        past = replace(past, declared=declared_in(journal))
    told = _Told(past, bool(parsed) or incidents is not None, as_json or trace)
    told.run(marks, costs, trace)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What was asked for, in Unix seconds and seconds."""

    start: float | None
    end: float | None
    step: float | None
    jobs: int | None


def _of_file(path: Path, loaded: LoadedPolicy, settings: Sequence[Variant], wanted: _Wanted) -> Past:
    from rollback_console.cli.backtest_run import Past
    from rollback_console.engine.history import grid, spans_of
    from rollback_console.observe.sampled import SampledMetrics, asking, of_some
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
    everybody = asking(loaded.rules, samples)
    asked = tuple(
        Variant(each.setting, tuple(rule for rule in asking(each.rules, samples) if rule.deployment.id in kept))
        for each in settings
    )
    return Past(
        lambda some: SampledMetrics(of_some(samples, some), everybody, within_s=wanted.step),
        asked, spans, step_s, 0.0, False, before, wanted.jobs,
    )  # fmt: skip


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


def _of_prometheus(settings_path: Path, loaded: LoadedPolicy, settings: Sequence[Variant], wanted: _Wanted) -> Past:
    import random

    from rollback_console.cli.backtest_run import Past
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
    spans = _some((span,), "there is no evaluation between --from and --to")
    return Past(
        lambda _: prometheus(found, settings_path.parent, clock=clock, random=random.Random()),  # noqa: S311 - jitter
        tuple(settings), spans, step_s, found.lookback, True, (), wanted.jobs or 1,
    )  # fmt: skip


def _some(spans: tuple[Span, ...], otherwise: str) -> tuple[Span, ...]:
    if not any(span.count for span in spans):
        raise UsageError(otherwise, "look at --from, --to and --step")
    return spans


class _Told:
    """What is told while it runs, and at the end."""

    def __init__(self, past: Past, compares: bool, as_json: bool) -> None:
        from rollback_console.cli.backtest_words import Fires

        self._past, self._compares, self._json = past, compares, as_json
        self._fires = Fires(past.rules)
        self._read = True  # somebody reads what is printed

    def run(self, marks: Sequence[Mark], costs: Costs, trace: bool) -> None:
        """Raises BackendError where history cannot be read."""
        from rollback_console.cli.backtest_run import run

        past = self._past
        if past.cold and sys.stderr.isatty():
            warn(f"reading what came before {_stamp(past.spans[0].start)} …")
        with progress(past.evaluations, "backtest", as_json=self._json) as bar:

            def take(batch: Batch) -> bool:
                self._tell(batch)
                bar.come_to(batch.evaluations)
                return self._read

            outcome = run(past, marks, take, as_json=self._json, trace=trace)
        if outcome is not None:
            self._conclude(outcome, marks, costs)

    def _tell(self, batch: Batch) -> None:
        for told in batch.told:
            for line in told.lines:
                self._read = write(line) and self._read
            if told.turn is not None and not self._json:
                self._fires.take(told.turn)

    def _conclude(self, outcome: Outcome, all_marks: Sequence[Mark], costs: Costs) -> None:
        from rollback_console.cli import backtest_words as words
        from rollback_console.engine.scores import allowed_false, recommend, score

        past, lane = self._past, outcome.lanes[self._past.written]
        seconds = words.evaluated_s(past.spans)
        marks = [mark for mark in all_marks if outcome.losses.seen(mark)]
        if len(marks) < len(all_marks):
            warn(f"{len(all_marks) - len(marks)} of the marked incidents lie outside the backtest and do not count")
        scores = [
            score(each.setting, of, marks, outcome.losses, costs, seconds)
            for each, of in zip(past.variants, outcome.lanes, strict=True)
        ]
        summary = words.summary_facts(lane, past.spans, scores[past.written])
        advice = ""
        if len(scores) > 1:
            best, advice = recommend(scores, costs, allowed_false(past.rules, seconds))
            summary["recommended"] = {"setting": dict(best.setting.words), "reason": advice}
        seen = outcome.traffic.told()
        if seen:
            summary["detectability"] = words.seen_facts(seen)
        if self._json:
            for each in scores if self._compares else ():
                emit_json_line(words.score_facts(each, bool(marks)))
            emit_json_line(summary)
            return
        emit_lines(self._fires.lines())
        emit_lines(words.summary_lines(lane, past.spans, scores[past.written]))
        if seen:
            emit_lines(["", *words.seen_lines(seen)])
        if self._compares:
            emit_lines(["", *words.score_lines(scores, costs, bool(marks))])
        if advice:
            emit_lines(["", f"take {advice}"])


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
