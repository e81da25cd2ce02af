"""Signals as lines: a table row each (value, baseline, change, limit, sparkline, judgement), and the plot of one."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rich.style import Style
from rich.text import Text

from rollback_console.model.rules import EvidenceRule, SignalKind, SignalRule, Worse
from rollback_console.model.snapshot import DeploymentDetail, DeploymentView, Snapshot, Trace
from rollback_console.model.text import number, plain, span
from rollback_console.model.verdict import SignalVerdict
from rollback_console.tui.widgets.fleet_rows import lead
from rollback_console.tui.widgets.glyphs import glyph_set as glyph_set_of
from rollback_console.tui.widgets.lines import Part, clip, fit, heading, line, paragraph, utc, version_word
from rollback_console.tui.widgets.plot import PlotData, plot_lines
from rollback_console.tui.widgets.spark import spark
from rollback_console.tui.widgets.state import clock_of, evidence_pair, meter, state_word

_GAP = " "
_PAIR = 9  # `11.8/11.8`
_KNOWN_START = math.log(1_000.0)  # the bar from the minute of a deployment on, whatever the budget is
_HOUR_S = 3_600.0


@dataclass(frozen=True, slots=True)
class SignalFacts:
    """One signal's rule with what is known of it now."""

    rule: SignalRule
    verdict: SignalVerdict | None
    trace: Trace | None


def facts_of(view: DeploymentView) -> list[SignalFacts]:
    """The deployment's signals in the policy's order."""
    judged = {s.name: s for s in view.verdict.signals} if view.verdict else {}
    traces = {t.signal: t for t in view.traces}
    return [SignalFacts(rule, judged.get(rule.name), traces.get(rule.name)) for rule in view.rule.signals]


def judgement(facts: SignalFacts) -> tuple[str, str]:
    """(glyph and word, role): `✗ breach`, `● ok`, `? stale`; of evidence `✗ full`, `◔ suspected`."""
    verdict = facts.verdict
    if verdict is None:
        return "… waiting", "dim"
    if verdict.blind is not None:
        return f"? {verdict.blind}", "blind"
    if verdict.aside and verdict.breached is not None:
        word = "drifted" if facts.rule.kind is SignalKind.DISTRIBUTION else "worse"
        return (f"◔ {word}", "warn") if verdict.breached else ("● as usual", "ok")
    if verdict.breached is None:
        return f"? {plain(verdict.note, 60) or 'cannot tell'}", "blind"
    if verdict.evidence is not None:
        if verdict.breached:
            return "✗ full", "bad"
        return ("◔ suspected", "warn") if verdict.onset is not None else ("● ok", "ok")
    return ("✗ breach", "bad") if verdict.breached else ("● ok", "ok")


def change_word(facts: SignalFacts) -> str:
    """The change against the baseline in percent, signed as the number moved: `−8.4 %`."""
    verdict = facts.verdict
    if verdict is None or verdict.degradation_pct is None:
        return "–"
    moved = -verdict.degradation_pct if facts.rule.worse is Worse.LOWER else verdict.degradation_pct
    size = abs(moved)
    text = f"{size:,.0f}" if size >= 100 else f"{size:.1f}"
    if text in ("0.0", "0"):
        return "0.0 %"
    return f"{'−' if moved < 0 else '+'}{text} %" if size < 1e6 else f"{'−' if moved < 0 else '+'}>999,999 %"


def margin_word(rule: SignalRule) -> str:
    """How much is allowed, as the policy says it."""
    breach = rule.breach
    if breach.curve is not None:
        bounds = [bound for _, bound in breach.curve.points]
        by = {"hour_of_day": "the hour", "impact": "what is lost"}.get(breach.curve.by, "traffic")
        side = "above" if breach.above is not None else "below"
        return f"{side} {number(min(bounds), rule.unit)} to {number(max(bounds), rule.unit)} by {by}"
    if breach.above is not None:
        return f"above {number(breach.above, rule.unit)}"
    if breach.below is not None:
        return f"below {number(breach.below, rule.unit)}"
    if breach.degraded_by is not None:
        return f"{number(breach.degraded_by, '%')} {'below' if rule.worse is Worse.LOWER else 'above'} base"
    return "–"


def signal_lines(view: DeploymentView, chosen: int, width: int, *, glyph_set: str = "braille") -> list[Text]:
    """The table, one line a signal under its heading; a narrow screen sheds the sparkline, then the limit."""
    facts = facts_of(view)
    weighed = any(item.verdict is not None and item.verdict.evidence is not None for item in facts)
    columns = _columns(width, bars=glyph_set != "ascii", weighed=weighed)
    head: list[Part] = [("  " + fit("signal", columns.title), "dim")]
    for name, size in (("value", columns.value), ("baseline", columns.base), ("change", columns.change)):
        head.append((_GAP + fit(name, size, right=True), "dim"))
    if columns.limit:
        head.append((_GAP + fit("limit", columns.limit, right=True), "dim"))
    if columns.meter:
        head.append(("  " + fit("evidence", columns.meter), "dim"))
    if columns.spark:
        head.append(("  " + fit("over time", columns.spark), "dim"))
    head.append(("  now", "dim"))
    rows = [line(*head)]
    rows += [_row(item, index == chosen, columns, width) for index, item in enumerate(facts)]
    return rows if facts else [*rows, line(("the policy names no signals", "dim"))]


@dataclass(frozen=True, slots=True)
class _Columns:
    title: int
    value: int
    base: int
    change: int
    limit: int
    spark: int
    word: int
    meter: int = 0


def _columns(width: int, bars: bool, weighed: bool = False) -> _Columns:
    """Where signals are judged by evidence its meter comes before the limit, which the plot has as well; a screen too
    narrow for the meter has its two numbers in the judgement."""
    value = base = change = 9
    word = 14 if width >= 76 else 12
    meter = 0 if not weighed or width < 76 else _PAIR + (11 if width >= 92 else 7)
    limit = 9 if width >= (98 if weighed else 70) else 0
    if weighed:
        word = 12 if meter else 10 + len("◔ ")
    fixed = 2 + value + base + change + 3 + (limit + 1 if limit else 0) + 2 + word + (meter + 2 if meter else 0)
    rest = max(8, width - fixed)
    title = min(22, max(8, rest if rest < 24 else rest - 12))
    spark_cells = min(40, rest - title - 2)
    return _Columns(title, value, base, change, limit, spark_cells if bars and spark_cells >= 8 else 0, word, meter)


def _row(facts: SignalFacts, chosen: bool, columns: _Columns, width: int) -> Text:
    rule, verdict = facts.rule, facts.verdict
    word, role = judgement(facts)
    judged = verdict is not None and verdict.evidence is not None and verdict.breached is not None
    if verdict is not None and judged and not columns.meter:
        word = f"{word[:1]} {evidence_pair(verdict)}"
    blind = verdict is None or verdict.blind is not None
    row = line(
        ("▸ " if chosen else "  ", "accent"),
        (fit(rule.title or rule.name, columns.title), "chosen" if chosen else "bold"),
        (
            _GAP + fit(number(verdict.value if verdict else None, rule.unit), columns.value, right=True),
            "dim" if blind else "",
        ),
        (_GAP + fit(number(verdict.baseline if verdict else None, rule.unit), columns.base, right=True), "dim"),
        (_GAP + fit(change_word(facts), columns.change, right=True), role if verdict and verdict.breached else ""),
    )
    if columns.limit:
        limit = number(verdict.limit if verdict else None, rule.unit)
        row.append(_GAP + fit(limit, columns.limit, right=True), "dim")
    if columns.meter:
        row.append("  ")
        row.append(
            fit(meter(verdict, columns.meter - _PAIR - 1) if verdict is not None and judged else "", columns.meter),
            role if judged else "",
        )
    if columns.spark:
        row.append_text(line("  ", *_spark(facts, columns.spark)))
    row.append("  ")
    row.append(clip(word, max(4, width - row.cell_len)), role)
    return row


def live_lines(snapshot: Snapshot, view: DeploymentView, size: tuple[int, int], now: float) -> list[Text]:
    """The deployment as it is now, beside something else that goes on: state and clock, every signal, the worst one
    over time. `size` is (width, lines)."""
    width, height = size
    glyph, word, role = state_word(view.verdict)
    clock = clock_of(view, now, snapshot)
    rows = [heading("Signals now", width), line((f"{glyph} {word}", role), f"  {clock}" if clock else "")]
    if view.verdict is not None:
        rows += paragraph(view.verdict.sentence, width, most=3)
    worst = lead(view)
    chosen = next((i for i, rule in enumerate(view.rule.signals) if worst and rule.name == worst.name), 0)
    rows += [line(""), *signal_lines(view, chosen, width, glyph_set=glyph_set_of()), line("")]
    incident = snapshot.incident_of(view.id)
    onset = incident.onset if incident else None
    room = (width, max(9, min(16, height - len(rows))))
    return [*rows, *plot_section(view, snapshot.detail(view.id), onset, chosen, room, glyph_set=glyph_set_of())]


def plot_data(facts: SignalFacts, marks: tuple[tuple[float, str], ...] = ()) -> PlotData | None:
    """A signal's trace as a plot, or None before there is one."""
    trace, verdict = facts.trace, facts.verdict
    if trace is None or not trace.values:
        return None
    return PlotData(
        values=trace.values,
        start=trace.until - trace.step_s * max(0, len(trace.values) - 1),
        end=trace.until,
        baselines=trace.baselines,
        baseline=verdict.baseline if verdict else None,
        limit=verdict.limit if verdict else None,
        limits=_limits(facts.rule, trace, verdict),
        bad_from=_bad_from(verdict),
        worse_higher=facts.rule.worse is Worse.HIGHER,
        unit=facts.rule.unit,
        marks=marks,
    )


def _bad_from(verdict: SignalVerdict | None) -> float | None:
    """Where a signal is judged by evidence: from its onset on, or not at all; a bound counts at any time."""
    if verdict is None or verdict.evidence is None:
        return None
    return verdict.onset if verdict.onset is not None else math.inf


def _limits(rule: SignalRule, trace: Trace, verdict: SignalVerdict | None) -> tuple[float | None, ...]:
    """The limit over time, as far from the baseline of then, in proportion, as it is from the baseline now: with it the
    band that counts as normal. Nothing where the limit is a bound of its own."""
    bound = rule.breach.above is not None or rule.breach.below is not None
    if verdict is None or verdict.limit is None or not verdict.baseline or bound:
        return ()
    share = verdict.limit / verdict.baseline
    return tuple([None if base is None else base * share for base in trace.baselines])


# The fleet's sparkline speaks in styles, lines speak in roles: each role's stand-in, and the way back.
_STAND_INS = {role: Style.from_meta({"role": role}) for role in ("ok", "bad", "blind")}


def _spark(facts: SignalFacts, width: int) -> list[Part]:
    """The newest values as a sparkline of `width` cells, drawn as the fleet draws it."""
    if facts.trace is None:
        return [" " * width]
    verdict = facts.verdict
    baseline, limit = (verdict.baseline, verdict.limit) if verdict else (None, None)
    drawn = spark(facts.trace.values, width, baseline, limit, facts.rule.worse, *_STAND_INS.values())
    return [(text, str(style.meta["role"])) for text, style in drawn]


def marks_of(
    view: DeploymentView, detail: DeploymentDetail | None, onset: float | None
) -> tuple[tuple[float, str], ...]:
    """What the time axis marks: moves of this deployment's own pointer, and onset."""
    moves = detail.moves if detail else ()
    own = [(move.at, version_word(move.after)) for move in moves if move.deployment == str(view.id)]
    return (*own, *([(onset, "onset")] if onset is not None else []))


def plot_section(
    view: DeploymentView,
    detail: DeploymentDetail | None,
    onset: float | None,
    chosen: int,
    size: tuple[int, int],
    *,
    glyph_set: str = "braille",
) -> list[Text]:
    """The chosen signal over time, with what it is judged by. `size` is (width, lines) for all of it."""
    width, height = size
    facts = facts_of(view)
    if not facts:
        return []
    item = facts[max(0, min(chosen, len(facts) - 1))]
    rule = item.rule
    area = f"{plain(rule.area, 20)} · window {span(rule.window_s)} · worse {rule.worse}"
    rows = [heading(clip(rule.title or rule.name, max(8, width - len(area) - 8)), width, area)]
    found = item.verdict.onset if item.verdict is not None else None  # this signal's own, where evidence found one
    data = plot_data(item, marks_of(view, detail, found if found is not None else onset))
    if data is None:
        rows.append(line(("no values yet", "dim")))
    else:
        rows += plot_lines(data, width, max(5, height - 3), glyph_set=glyph_set)
    return [*rows, *_told(item, width)]


def _told(facts: SignalFacts, width: int) -> list[Text]:
    """In words, below the plot: what counts as degraded, how many trials, since when nothing came."""
    rule, verdict = facts.rule, facts.verdict
    if verdict is not None and verdict.aside:
        parts = [_aside_told(rule, verdict)]
    elif verdict is not None and verdict.evidence is not None:
        parts = _evidence_told(rule, verdict)
    else:
        parts = [f"degraded when {margin_word(rule)}"]
    if verdict is not None and verdict.n is not None and verdict.evidence is None and not verdict.aside:
        least = f" of at least {rule.minimum:,.0f}" if rule.minimum is not None else ""
        parts.append(f"{verdict.n:,.0f} trials{least}")
    if verdict is not None and verdict.note and not verdict.aside:
        parts.append(plain(verdict.note, 200))
    if facts.trace is not None and verdict is not None and verdict.blind is not None:
        seen = [i for i, value in enumerate(facts.trace.values) if value is not None]
        if seen:
            last = facts.trace.until - (len(facts.trace.values) - 1 - seen[-1]) * facts.trace.step_s
            parts.append(f"{verdict.blind}; last value at {utc(last)}")
        else:
            parts.append(f"{verdict.blind}; no value in the whole window")
    return paragraph(" · ".join(parts), width, "dim", most=2)


def _aside_told(rule: SignalRule, verdict: SignalVerdict) -> str:
    """What a signal says that never triggers, and that it never does."""
    since = f" since {utc(verdict.onset, seconds=False)} UTC" if verdict.onset is not None else ""
    what = "explains" if rule.kind is SignalKind.DISTRIBUTION else "is shown"
    return f"{plain(verdict.note or verdict.blind or 'not judged', 160)}{since} · it {what}, and never triggers"


def _evidence_told(rule: SignalRule, verdict: SignalVerdict) -> list[str]:
    """What the meter means, in words: since when and by how much, what was counted, how often full evidence may be a
    false alarm."""
    parts = [f"evidence {evidence_pair(verdict).replace('/', ' of ')}"]
    if verdict.onset is not None:
        size = ""
        if verdict.interval is not None:
            ends = sorted(verdict.interval)
            near, far = (f"{-end if rule.worse is Worse.LOWER else end:+.1f}" for end in ends)
            size = f" by {near} to {far} %"
        parts.append(f"likely since {utc(verdict.onset, seconds=False)} UTC{size}")
    if verdict.n is not None and verdict.value is not None and verdict.baseline is not None:
        seen, due = verdict.value * verdict.n, verdict.baseline * verdict.n
        parts.append(f"{number(seen)} of {number(verdict.n)}, {number(due)} expected")
    if verdict.limit is not None:
        parts.append(f"normal to {number(verdict.limit, rule.unit)}")
    if verdict.beyond is not None:
        share, low, high, usual = (100 * each for each in verdict.beyond)
        parts.append(f"beyond that in {share:.0f} % [{low:.0f}, {high:.0f}], usually {usual:.0f} %")
    if rule.evidence is not None:
        parts.append(f"full: at most one false alarm in {span(_budget_s(rule.evidence, verdict))}")
    return parts


def _budget_s(judged: EvidenceRule, verdict: SignalVerdict) -> float:
    """The mean time between false alarms that the signal is held to: its bar is the logarithm of it in minutes, where
    it is a share of a rotation's that traffic moved; the bar of a known start is not."""
    if verdict.bar is None or math.isclose(verdict.bar, _KNOWN_START):
        return judged.budget_s
    told = 60.0 * math.exp(verdict.bar)
    if math.isclose(told, judged.budget_s, rel_tol=0.01):
        return judged.budget_s
    return round(told / _HOUR_S) * _HOUR_S if told > 48 * _HOUR_S else told
