"""Signals into rules: queries made and filled in, how they are judged, the defaults that `risk:` chose."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from rollback_console.model.rules import (
    AdaptiveDwell,
    And,
    Baseline,
    BaselineKind,
    Breach,
    EvidenceRule,
    Expression,
    Or,
    SignalKind,
    SignalRule,
    Stretch,
    Uses,
    Worse,
)  # fmt: skip
from rollback_console.policy.curves import breach_of
from rollback_console.policy.defaults import Defaults
from rollback_console.policy.kinds import burn_names, burn_rates, parts_of, target_of
from rollback_console.policy.promql import escaped, fill, names_slice, sliced
from rollback_console.policy.quantities import format_duration
from rollback_console.policy.signal import PolicySignal, slice_name
from rollback_console.policy.trigger import PolicyTrigger, dwell_of

Queries = tuple[str | None, str | None, str | None]  # value, x, n, with their placeholders


def meaning(name: str, signal: PolicySignal) -> Expression:
    """The condition that a burn rate's name stands for: one of its pairs burns, over both windows."""
    pairs = tuple(And((Uses(long), Uses(short))) for long, short in burn_names(name, signal))
    return pairs[0] if len(pairs) == 1 else Or(pairs)


def compile_signals(
    signals: Iterable[tuple[str, PolicySignal]],
    trigger: PolicyTrigger,
    defaults: Defaults,
    budget_s: float,
    labels: Sequence[str] | None,
    exclude: tuple[Stretch, ...],
) -> tuple[SignalRule, ...]:
    """The rules of a policy's signals with `$window` filled in; placeholders that differ between deployments stay.

    `budget_s`: the mean time between false alarms of one signal. `labels`: the names of the labels that tell the
    deployments apart; None where these differ between them.
    """
    found: list[SignalRule] = []
    for name, signal in signals:
        if signal.kind == "burn_rate":
            found += _burning(name, signal)
            continue
        evidence = _evidence(signal, trigger, defaults, budget_s) if signal.by_evidence else None
        if signal.slices is None:
            rule = _rule(name, signal, queries_of(signal, labels), evidence, exclude)
            buckets = buckets_of(signal, labels)
            found.append(rule if buckets is None else _with_buckets(rule, buckets, signal))
        elif evidence is not None:
            found += _slices(name, signal, queries_of(signal, labels), evidence, exclude)
    return tuple(found)


def _slices(
    name: str, signal: PolicySignal, queries: Queries, evidence: EvidenceRule, exclude: tuple[Stretch, ...]
) -> list[SignalRule]:
    """The whole and its parts. Each keeps a false alarm for as many times as long as there are of them: together they
    keep the budget."""
    slices = signal.slices
    parts = slices.values if slices is not None else ()
    shared = replace(evidence, budget_s=evidence.budget_s * (1 + len(parts)))
    found = []
    for part in (None, *parts):
        matcher = f'{slices.label}="{escaped(part)}"' if slices is not None and part is not None else ""
        value, x, n = (None if query is None else sliced(query, matcher) for query in queries)
        rule = _rule(name, signal, (value, x, n), shared, exclude)
        if part is not None:
            rule = replace(rule, name=slice_name(name, part), title=f"{rule.title} ({part})", slice_of=name)
        found.append(rule)
    return found


def queries_of(signal: PolicySignal, labels: Sequence[str] | None) -> Queries:
    """A signal's queries as written, or as its histogram asks for them: x counts what is above the target."""
    if signal.learns_target or signal.kind == "distribution":
        return None, None, None  # its buckets are asked, all of them
    if signal.buckets is None and signal.histogram is None:
        return signal.value, signal.x, signal.n
    by = f" by ({', '.join(labels)})" if labels is not None else ""
    metric, own = parts_of(signal.buckets or signal.histogram or "")
    matchers = [part for part in (own, None if labels is not None else "$selector") if part]
    if signal.slices is not None and not names_slice(own):
        matchers.insert(0, "$slice")
    if signal.buckets is not None:
        every = _increase(metric, [*matchers, 'le="+Inf"'], by)
        under = _increase(metric, [*matchers, _bucket(target_of(signal))], by)
        # Increases are extrapolated series by series: their difference may be less than nothing by a hair.
        return None, f"clamp_min({every} - {under}, 0)", every
    seen = _increase(metric, matchers, by)
    count = f"histogram_count({seen})"
    over = f"(1 - histogram_fraction(-Inf, {target_of(signal):.12g}, {seen})) * {count}"
    return None, f"({over} and {count} > 0) or {count}", count  # nothing seen: no share, and none above it


def buckets_of(signal: PolicySignal, labels: Sequence[str] | None) -> str | None:
    """The query of a whole histogram, cumulative buckets by `le`; None of a signal that asks for none. Of a native one:
    its share below each edge times its count, and all of it, named as buckets are."""
    if not (signal.learns_target or signal.kind == "distribution"):
        return None
    metric, own = parts_of(signal.buckets or signal.histogram or "")
    matchers = [part for part in (own, None if labels is not None else "$selector") if part]
    if signal.buckets is not None:
        return _increase(metric, matchers, f" by ({', '.join([*(labels or ()), 'le'])})")
    seen = _increase(metric, matchers, f" by ({', '.join(labels)})" if labels is not None else "")
    count = f"histogram_count({seen})"
    below = [
        (f"{edge:.12g}", f"histogram_fraction(-Inf, {edge:.12g}, {seen}) * {count}") for edge in signal.edges or ()
    ]
    return " or ".join(f'label_replace({query}, "le", "{edge}", "", "")' for edge, query in [*below, ("+Inf", count)])


def _increase(metric: str, matchers: Sequence[str], by: str) -> str:
    selector = f"{{{','.join(matchers)}}}" if matchers else ""
    return f"sum{by} (increase({metric}{selector}[$window]))"


def _bucket(bound: float) -> str:
    """The matcher of a bucket's upper bound; whole numbers are written with and without `.0`."""
    text = f"{bound:.12g}"
    return f'le=~"{text}([.]0)?"' if text.isdigit() else f'le="{text}"'


def _baseline(signal: PolicySignal, exclude: tuple[Stretch, ...]) -> Baseline | None:
    written = signal.compared_with
    if written is None:
        return None
    return Baseline(
        kind=BaselineKind(written.kind),
        value=written.value,
        history_s=written.history_s,
        control=written.control,
        timezone=written.timezone or "UTC",
        holidays=written.holidays or (),
        exclude=exclude,
        share=written.share,
        period=written.period.stretch() if written.period is not None else None,
    )


def _evidence(signal: PolicySignal, trigger: PolicyTrigger, defaults: Defaults, budget_s: float) -> EvidenceRule:
    adaptive = trigger.dwell if isinstance(trigger.dwell, AdaptiveDwell) else None
    return EvidenceRule(
        budget_s=budget_s,
        dwell_s=dwell_of(trigger, defaults),
        alone_hold_s=trigger.alone_hold if trigger.alone_hold is not None else defaults.alone_hold_s,
        margin=signal.margin,
        maturity_s=signal.maturity or 0.0,
        least_margin=defaults.least_margin,
        adaptive=adaptive,
    )


def _breach(signal: PolicySignal) -> Breach:
    if signal.breach is not None:
        bound = breach_of(signal.breach.above, signal.breach.below, signal.breach.degraded_by)
        return bound if signal.breach.clear is None else replace(bound, clear=signal.breach.clear)
    return Breach(degraded_by=signal.degraded_by)


def _rule(
    name: str,
    signal: PolicySignal,
    queries: Queries,
    evidence: EvidenceRule | None,
    exclude: tuple[Stretch, ...],
) -> SignalRule:
    value, x, n = queries
    words = {"window": format_duration(signal.window_s)}
    return SignalRule(
        name=name,
        title=title_of(name, signal),
        area=signal.area,
        worse=Worse(signal.worse),
        breach=Breach() if evidence is not None else _breach(signal),
        window_s=signal.window_s,
        baseline=_baseline(signal, exclude),
        minimum=signal.minimum,
        blind=signal.blind,
        stale_s=signal.stale_after,
        unit=signal.unit if signal.unit is not None else "%" if x is not None else "",
        evidence=evidence,
        sufficient_alone=signal.sufficient_alone or signal.critical,
        value=filled(value, words),
        x=filled(x, words),
        n=filled(n, words),
        heartbeat=filled(signal.heartbeat, words),
        x_hour=_hourly(x, signal.window_s) if evidence is not None else None,
        n_hour=_hourly(n, signal.window_s) if evidence is not None else None,
        kind=_kind_of(signal),
        maturity_s=(signal.maturity or 0.0) if signal.aside else 0.0,
    )


def _with_buckets(rule: SignalRule, buckets: str, signal: PolicySignal) -> SignalRule:
    """The rule with its histogram's queries: over its window, over what it is compared with, over an hour."""
    then = None
    if rule.baseline is not None and rule.baseline.kind is BaselineKind.VERSION:
        then = fill(buckets, {"window": format_duration(rule.baseline.history_s)})
    elif rule.baseline is not None and rule.baseline.period is not None:
        length = rule.baseline.period.end - rule.baseline.period.start
        then = fill(buckets, {"window": format_duration(max(60.0, round(length)))})
    return replace(
        rule,
        unit=signal.unit if signal.unit is not None else "%" if rule.kind is SignalKind.VALUE else "",
        buckets=fill(buckets, {"window": format_duration(rule.window_s)}),
        buckets_then=then,
        buckets_hour=fill(buckets, {"window": "1h"}) if rule.kind is SignalKind.VALUE else None,
    )


def _kind_of(signal: PolicySignal) -> SignalKind:
    if signal.learns_target:
        return SignalKind.VALUE
    return SignalKind(signal.kind) if signal.kind in ("gauge", "distribution", "slow") else SignalKind.PLAIN


def title_of(name: str, signal: PolicySignal) -> str:
    """What a signal is called on the screen."""
    return signal.title or name.replace("_", " ").capitalize()


def _burning(name: str, signal: PolicySignal) -> list[SignalRule]:
    """The plain bounds of a burn rate: the share of bad events above `rate` times what the objective allows."""
    objective = signal.objective if signal.objective is not None else 1.0  # validated: a burn rate has one
    found = []
    for pair, names in zip(burn_rates(signal), burn_names(name, signal), strict=True):
        bound = float(f"{pair.rate * (1 - objective):.12g}")
        for own, window in zip(names, (pair.long, pair.short), strict=True):
            words = {"window": format_duration(window)}
            found.append(
                SignalRule(
                    name=own,
                    title=f"{title_of(name, signal)} over {words['window']}",
                    area=signal.area,
                    worse=Worse(signal.worse),
                    breach=Breach(above=bound),
                    window_s=window,
                    minimum=signal.minimum,
                    blind=signal.blind,
                    stale_s=signal.stale_after,
                    unit="%",
                    sufficient_alone=signal.sufficient_alone,
                    x=filled(signal.x, words),
                    n=filled(signal.n, words),
                    heartbeat=filled(signal.heartbeat, words),
                )
            )
    return found


def _hourly(query: str | None, window: float) -> str | None:
    """The query over one hour, which baselines are learned from: by its own `$window`, or as the sum of its windows."""
    if query is None:
        return None
    hour = fill(query, {"window": "1h"})
    if hour != query:
        return hour
    return (
        f"sum_over_time(({query}\n)[1h:{format_duration(window)}])"  # on its own line: the query may end in a comment
    )


def filled(query: str | None, words: dict[str, str]) -> str | None:
    """A query with these placeholders filled in."""
    return fill(query, words) if query is not None else None
