"""Kinds of signals: what each needs, in plain words where it lacks it.

`kind:` may stay away: a signal with `x` and `n` is then a ratio, one with `value` is judged by its bound. Named, it
says what is meant, and what is missing for it is said too.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, WithJsonSchema, model_validator

from rollback_console.policy.promql import check_matchers
from rollback_console.policy.quantities import (
    DURATION_PATTERN,
    Percentage,
    Span,
    format_duration,
    parse_duration,
    refusal,
)  # fmt: skip
from rollback_console.policy.words import Complaint, Words, several

if TYPE_CHECKING:
    from rollback_console.policy.signal import PolicySignal

Kind = Literal[
    "ratio", "latency", "value_per_order", "count", "volume", "absolute", "burn_rate", "gauge", "distribution", "slow"
]
# What is worse, where a kind has only one answer.
WORSE = {
    "latency": "higher", "burn_rate": "higher", "volume": "lower", "value_per_order": "lower", "distribution": "higher",
}  # fmt: skip
ASIDE = ("distribution", "slow")  # shown, and evidence of where trouble comes from; no part of any trigger
_HISTOGRAMS = ("latency", "value_per_order", "distribution")
_OF_KIND = {
    "buckets": _HISTOGRAMS, "histogram": _HISTOGRAMS, "target": ("latency", "value_per_order"),
    "edges": ("distribution",), "objective": ("burn_rate",), "burn": ("burn_rate",),
}  # fmt: skip
_DAY_S = 86_400.0

_METRIC = re.compile(r"\s*([A-Za-z_:][A-Za-z0-9_:]*)\s*(?:\{(.*)\}\s*)?", re.DOTALL)


def _metric(text: str) -> str:
    match = _METRIC.fullmatch(text)
    if match is None:
        raise refusal("is not a metric", 'Write its name, as in `latency_seconds_bucket`, or with `{code="200"}`')
    check_matchers(match[2] or "")
    if re.search(r"(^|,)\s*le\s*(=|!)", match[2] or ""):
        raise refusal("names a bucket itself", "Take `le` out; `target:` chooses the bucket")
    return text.strip()


Metric = Annotated[str, StringConstraints(max_length=2_000), AfterValidator(_metric)]


def parts_of(metric: str) -> tuple[str, str]:
    """The name of a metric as people write it, and the matchers in its braces ("" where there are none)."""
    name, _, rest = metric.partition("{")
    return name.strip(), rest.strip().removesuffix("}").strip().rstrip(",").rstrip()


def _target(value: object) -> object:
    """A duration as its seconds in text (`"0.25s"`), so that it can be told from a plain number of the metric."""
    if isinstance(value, str):
        seconds = parse_duration(value)
        if seconds <= 0:
            raise refusal("is not more than 0", "Write `250ms`, or a number in the metric's own unit")
        return f"{seconds:.15g}s"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise refusal("is not a number", "Write `250ms`, or a number in the metric's own unit")
    if not 0 < value < 1e15:
        raise refusal("is not more than 0", "Write `250ms`, or a number in the metric's own unit")
    return f"{value:.15g}"


Target = Annotated[
    str,
    BeforeValidator(_target),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string", "pattern": DURATION_PATTERN}]}),
]


class BurnRate(Words):
    """The error budget is burnt `rate` times as fast as it lasts, over `long` and, still now, over `short`."""

    rate: Annotated[float, Field(gt=1, le=10_000, allow_inf_nan=False)]
    long: Span
    short: Span

    @model_validator(mode="after")
    def _fits(self) -> BurnRate:
        if self.short >= self.long:
            raise several([Complaint(("short",), "is not shorter than `long`", "A twelfth of it is usual")])
        return self


# The two pairs that page (Google, The Site Reliability Workbook, 2018, chapter 5, table 5-8): 2 % of a month's budget
# in an hour, 5 % in six.
_USUAL = ((14.4, 3_600.0, 300.0), (6.0, 21_600.0, 1_800.0))

Objective = Percentage


def burn_rates(signal: PolicySignal) -> tuple[BurnRate, ...]:
    """The pairs of windows by which a burn rate is judged."""
    return signal.burn or tuple(
        BurnRate.model_construct(rate=rate, long=long, short=short) for rate, long, short in _USUAL
    )


def burn_names(name: str, signal: PolicySignal) -> tuple[tuple[str, str], ...]:
    """What the two signals of each pair are called: `slo_1h` and `slo_5m`."""
    return tuple(
        (f"{name}_{format_duration(pair.long)}", f"{name}_{format_duration(pair.short)}") for pair in burn_rates(signal)
    )


def complaints(signal: PolicySignal) -> Iterator[Complaint]:
    """What a signal's kind lacks or does not take."""
    for key, kinds in _OF_KIND.items():
        if key in signal.model_fields_set and signal.kind not in kinds:
            yield Complaint((key,), f"belongs to `kind: {kinds[0]}`", f"Write that kind, or take `{key}` out")
    expected = WORSE.get(signal.kind or "")
    if expected is not None and signal.worse != expected:
        yield Complaint(("worse",), f"does not go with `kind: {signal.kind}`", f"Write {expected}, or leave it out")
    match signal.kind:
        case "ratio":
            yield from _counted(signal, "a ratio is counted", "x: orders, n: visits")
        case "count":
            yield from _counted(signal, "a count alone rises with the traffic", "x: tickets, n: orders")
        case "latency" | "value_per_order":
            yield from _histogram(signal)
        case "volume":
            yield from _volume(signal)
        case "absolute":
            yield from _absolute(signal)
        case "burn_rate":
            yield from _burn_rate(signal)
        case "gauge":
            yield from _gauge(signal)
        case "distribution":
            yield from _distribution(signal)
        case "slow":
            yield from _slow(signal)


def _counted(signal: PolicySignal, why: str, example: str) -> Iterator[Complaint]:
    if signal.value is not None:
        yield Complaint(("value",), f"{why}: it needs x (events) out of n (trials)", f"Write `{example}` as queries")


def _histogram(signal: PolicySignal) -> Iterator[Complaint]:
    what = "requests over a target" if signal.kind == "latency" else "orders above a value"
    if signal.x is not None or signal.n is not None:
        for key in ("buckets", "histogram", "target"):
            if getattr(signal, key) is not None:
                yield Complaint((key,), "stands beside x and n", f"Keep one; with it the {what} are counted for you")
        return
    if signal.value is not None:
        remedy = "Write `buckets: …_bucket` and `target: 250ms`; a percentile has a bound: leave `kind` out"
        yield Complaint(("value",), f"a {signal.kind} is the share of {what}", remedy)
        return
    if signal.buckets is not None and signal.histogram is not None:
        yield Complaint(("histogram",), "stands beside buckets", "Keep one: `buckets` are classic, `histogram` native")
    if signal.target is None and signal.kind == "latency":
        yield Complaint((), "a latency needs its target", "Write `target: 250ms`, a bucket's upper bound")
    elif signal.target is None and signal.histogram is not None:
        yield Complaint((), "a native histogram needs its target", "Write `target: 40`, the usual order")
    elif signal.target is None and (signal.breach is not None or signal.baseline is None):
        yield Complaint((), "what is not compared with a baseline needs its target", "Write `target: 40`")
    elif signal.target is None and (signal.baseline is None or signal.baseline.kind not in ("seasonal", "last_week")):
        yield Complaint(("baseline", "kind"), "is no history to learn the usual order from",
                        "Write `seasonal` or `last_week`, or the usual order as `target: 40`")  # fmt: skip
    elif signal.target is None and signal.slices is not None:
        yield Complaint(("slices",), "need one target for all of them", "Write `target: 40`, the usual order")
    if signal.buckets is None and signal.histogram is None:
        remedy = "Write `buckets: request_latency_seconds_bucket`, or `histogram:` for a native one"
        yield Complaint((), f"a {signal.kind} needs its histogram", remedy)
    if signal.buckets is not None and not parts_of(signal.buckets)[0].endswith("_bucket"):
        yield Complaint(("buckets",), "does not end in _bucket", "A native histogram goes under `histogram:`")
    if signal.histogram is not None and parts_of(signal.histogram)[0].endswith(("_bucket", "_count", "_sum")):
        yield Complaint(("histogram",), "is a part of a classic histogram", "Write `buckets: …_bucket`")
    metric = signal.buckets or signal.histogram
    if metric is not None and signal.target is not None and signal.target.endswith("s") and _scale(metric) is None:
        yield Complaint(("target",), "is a time, and the metric's name does not say its unit",
                        "Write a number in the metric's own unit")  # fmt: skip


def _gauge(signal: PolicySignal) -> Iterator[Complaint]:
    if signal.x is not None or signal.n is not None:
        key = "x" if signal.x is not None else "n"
        yield Complaint((key,), "a gauge is one value", "Write `value:`, or `kind: ratio`")
    elif signal.value is None:
        yield Complaint((), "a gauge needs its value", "Write `value: max by (deployment) (queue_depth)`")
    if signal.breach is not None:
        yield Complaint(("breach",), "a gauge is judged by what its history rarely passed",
                        "Take it out, or take `kind` out: a plain bound judges then")  # fmt: skip
    elif signal.baseline is None:
        yield Complaint((), "a gauge needs its baseline", "Write `baseline: {kind: seasonal}`")
    elif signal.baseline.share is not None:
        yield Complaint(("baseline", "share"), "a gauge counts no trials to share", "Take `share` out")
    for key in ("margin", "minimum", "maturity", "slices"):
        if key in signal.model_fields_set:
            yield Complaint((key,), "has no place in a gauge", "How noisy it is is learned; take it out")


def _distribution(signal: PolicySignal) -> Iterator[Complaint]:
    for key in ("value", "x", "n"):
        if getattr(signal, key) is not None:
            yield Complaint((key,), "a distribution is a whole histogram", "Write `buckets: …_bucket`")
    if signal.buckets is None and signal.histogram is None and not (signal.value or signal.x or signal.n):
        yield Complaint((), "a distribution needs its histogram", "Write `buckets: prediction_score_bucket`")
    if signal.buckets is not None and signal.histogram is not None:
        yield Complaint(("histogram",), "stands beside buckets", "Keep one: `buckets` are classic, `histogram` native")
    if signal.buckets is not None and not parts_of(signal.buckets)[0].endswith("_bucket"):
        yield Complaint(("buckets",), "does not end in _bucket", "A native histogram goes under `histogram:`")
    if signal.buckets is not None and signal.edges is not None:
        yield Complaint(("edges",), "classic buckets have edges of their own", "Take `edges` out")
    if signal.histogram is not None and signal.edges is None:
        yield Complaint((), "a native histogram is compared between edges", "Write `edges: [0.1, 0.2, 0.5, 0.9]`")
    if signal.edges is not None and any(high <= low for low, high in itertools.pairwise(signal.edges)):
        yield Complaint(("edges",), "do not rise", "Write them from the smallest to the largest")
    if signal.baseline is None:
        yield Complaint((), "a distribution is compared with another", "Write `baseline: {kind: last_week}`")
    elif signal.baseline.kind not in ("last_week", "version", "period"):
        yield Complaint(("baseline", "kind"), "is no histogram to compare with", "Write last_week, version or period")
    for key in ("breach", "margin", "minimum", "maturity", "slices", "sufficient_alone"):
        if key in signal.model_fields_set:
            yield Complaint((key,), "has no place in a distribution", "It explains and never triggers; take it out")


def _slow(signal: PolicySignal) -> Iterator[Complaint]:
    if signal.maturity is None or signal.maturity < _DAY_S:
        yield Complaint(("maturity",) if signal.maturity is not None else (), "a slow signal matures for days",
                        "Write `maturity: 3d`, or take `kind` out")  # fmt: skip
    if signal.window is not None and (signal.window % _DAY_S or signal.window > 31 * _DAY_S):
        yield Complaint(("window",), "is not a number of whole days", "Write `1d`, `7d` or `30d`")
    if signal.baseline is not None and signal.baseline.kind not in ("last_week", "fixed"):
        yield Complaint(("baseline", "kind"), "a slow signal is compared with the window before", "Write `last_week`")
    elif signal.baseline is None:
        yield Complaint((), "a slow signal is compared with what it was", "Write `baseline: {kind: last_week}`")
    for key in ("breach", "slices", "sufficient_alone"):
        if key in signal.model_fields_set:
            yield Complaint((key,), "has no place in a slow signal", "It is shown and never triggers; take it out")


def _scale(metric: str) -> float | None:
    """How many of the metric's units make a second, by its name (Prometheus' conventions); None: it does not say."""
    words = parts_of(metric)[0].lower().split("_")
    if {"milliseconds", "millis", "ms"} & set(words):
        return 1_000.0
    if {"microseconds", "micros", "us"} & set(words):
        return 1_000_000.0
    return 1.0 if {"seconds", "second"} & set(words) else None


def target_of(signal: PolicySignal) -> float:
    """A latency's or a value's target in the unit of its metric."""
    written = signal.target or "0"  # validated: its kind needs one
    if not written.endswith("s"):
        return float(written)
    return float(f"{float(written[:-1]) * (_scale(signal.buckets or signal.histogram or '') or 1.0):.12g}")


def _volume(signal: PolicySignal) -> Iterator[Complaint]:
    if signal.value is None:
        yield Complaint(
            (), "a volume is one number", "Write `value: sum by (deployment) (rate(requests_total[$window]))`"
        )
    bounds = signal.breach is not None and (signal.breach.above is not None or signal.breach.below is not None)
    if not bounds and signal.compared_with is None:
        yield Complaint((), "a volume collapses against a baseline", "Write `baseline: {kind: last_week}`")


def _absolute(signal: PolicySignal) -> Iterator[Complaint]:
    if signal.breach is None or (signal.breach.above is None and signal.breach.below is None):
        yield Complaint((), "an absolute signal has a bound", "Write `breach: {above: …}` or `breach: {below: …}`")
    if signal.baseline is not None:
        yield Complaint(("baseline",), "an absolute signal is compared with nothing", "Take `baseline` out")


def _burn_rate(signal: PolicySignal) -> Iterator[Complaint]:
    if signal.x is None and signal.n is None:
        yield Complaint((), "a burn rate is counted", "Write `x:` (bad events) and `n:` (all), with $window in both")
    elif signal.value is None:
        for key in ("x", "n"):
            if "$window" not in (getattr(signal, key) or "$window"):
                yield Complaint((key,), "is asked over several windows", "Write `[$window]` where its range stands")
    if signal.objective is None:
        yield Complaint((), "a burn rate needs its objective", "Write `objective: 99.9%`")
    elif not 0 < signal.objective < 1:
        yield Complaint(("objective",), "leaves no error budget", "Write less than 100%, as in `99.9%`")
    else:
        for index, pair in enumerate(signal.burn or ()):
            if pair.rate * (1 - signal.objective) >= 1:
                yield Complaint(("burn", index, "rate"), "is never reached: it asks for more than 100% errors",
                                f"At this objective less than {1 / (1 - signal.objective):.4g}")  # fmt: skip
    seen: set[float] = set()
    for index, pair in enumerate(signal.burn or ()):
        for key, seconds in (("long", pair.long), ("short", pair.short)):
            if seconds in seen:
                yield Complaint(("burn", index, key), f"a window of {format_duration(seconds)} stands twice",
                                "Each window holds one bound")  # fmt: skip
            seen.add(seconds)
    for key in ("breach", "margin", "baseline", "window", "maturity"):
        if key in signal.model_fields_set:
            yield Complaint((key,), "has no place in a burn rate", "`objective:` and `burn:` say it all; take it out")
