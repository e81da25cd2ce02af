"""`rollback-console report rollback-rate`: the rollback rate, and all that is counted beside it (docs/measures.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rollback_console.cli.common import config_option
from rollback_console.cli.report_reading import (
    day,
    exit_code,
    format_option,
    journals_option,
    length_of,
    moment_of,
    print_sheets,
    read,
    sheet_option,
    sources_sheet,
)
from rollback_console.cli.sheets import Cell, Column, Sheet
from rollback_console.errors import UsageError
from rollback_console.model.text import span

if TYPE_CHECKING:
    from rollback_console.review.measures import Group, Left, Measures
    from rollback_console.review.rates import Rate, Spread

_BY = ("model", "team", "tier", "environment", "all")
_PLOT = 29  # characters between the ends of the plot
_Value = Callable[["Group"], Cell]


@click.command(
    "rollback-rate", epilog="Example: rollback-console report rollback-rate --from 90d --by team --format md"
)
@click.option("--from", "start", metavar="T", help="From then on: 2026-09-01, RFC 3339, or 90d ago (default: all).")
@click.option("--to", "end", metavar="T", help="Up to then, not included.")
@click.option("--within", metavar="D", default="7d", show_default=True, help="A rollback so long after counts.")
@click.option("--by", type=click.Choice(_BY), default="model", show_default=True, help="Cut by what.")
@journals_option
@config_option
@format_option
@sheet_option
@click.pass_context
def command(
    ctx: click.Context, start: str | None, end: str | None, within: str, by: str, journals: tuple[Path, ...],
    config: Path | None, form: str, as_json: bool, only: tuple[str, ...],
) -> None:  # fmt: skip
    """How many deployments were rolled back, how fast, why, and what it cost.

    Drills, planned switches and mistakes are not counted; each is listed. Needs no backend and no configuration.
    """
    from rollback_console.review.measures import measures
    from rollback_console.review.rates import Window

    window = Window(moment_of("--from", start), moment_of("--to", end))
    if window.start is not None and window.end is not None and window.end <= window.start:
        raise UsageError("the window ends before it begins", "give --from an earlier time than --to")
    past = read(journals, config)
    found = measures(past, window, length_of("--within", within), by)
    drawn = form == "table" and not as_json
    print_sheets((*sheets(found, plot=drawn), sources_sheet(past)), form, as_json, only)
    ctx.exit(exit_code(past))


def sheets(found: Measures, *, plot: bool = False) -> tuple[Sheet, ...]:
    """All that was counted; `plot`: with the trend drawn."""
    groups = (found.whole, *found.groups)
    return (
        _rates(found, groups),
        _times(groups),
        _causes(groups),
        *_words(found.whole),
        _incidents(groups),
        _costs(groups),
        _trend(found.trend, plot),
        _left("excluded", "Not counted, and why", found.excluded, "planned switches and mistakes"),
        _left("unanchored", "Rollbacks of what was deployed before the journal begins", found.unanchored,
              "in no rate; their times from decision to completion count"),
        _drills(found),
    )  # fmt: skip


def _sheet(
    key: str, title: str, groups: Sequence[Group], columns: Sequence[tuple[Column, _Value]], notes: Sequence[str] = ()
) -> Sheet:
    rows = tuple((group.key, *(value(group) for _, value in columns)) for group in groups)
    return Sheet(key, title, (Column("of", "of"), *(column for column, _ in columns)), rows, tuple(notes))


def _n(key: str, title: str, digits: int = 1) -> Column:
    return Column(key, title, ">", digits)


def _percent(fraction: float | None) -> float | None:
    return None if fraction is None else 100.0 * fraction


def _share(part: tuple[int, int]) -> float | None:
    return None if part[1] == 0 else 100.0 * part[0] / part[1]


def _over(seconds: float | None, unit_s: float) -> float | None:
    return None if seconds is None else seconds / unit_s


def _rates(found: Measures, groups: Sequence[Group]) -> Sheet:
    rate = found.whole.rate
    notes = [_in_words(rate, found.within_s), *_window(found)]
    if rate.open:
        notes.append(f"{rate.open} of them are younger than {span(found.within_s)}: they may still be rolled back")
    notes.append("from, to: Wilson's interval, 95 %; (few): below 20 deployments, go by the interval")
    notes.append("below 5 % rare, below 10 % usual, up to 20 % high, above alarming")
    return _sheet(
        "rollback_rate", f"Rollback rate: rolled back within {span(found.within_s)}, of the deployments", groups,
        (
            (_n("deployments", "depl."), lambda g: g.rate.deployments),
            (_n("rolled_back", "back"), lambda g: g.rate.rolled_back),
            (_n("rate_pct", "rate %"), lambda g: _percent(g.rate.rate)),
            (_n("low_pct", "from %"), lambda g: _percent(g.rate.low)),
            (_n("high_pct", "to %"), lambda g: _percent(g.rate.high)),
            (Column("band", "band"), lambda g: _band(g.rate)),
            (_n("open", "open"), lambda g: g.rate.open),
        ),
        notes,
    )  # fmt: skip


def _window(found: Measures) -> list[str]:
    """Which window was asked for, where one was."""
    start, end = found.window.start, found.window.end
    if start is None and end is None:
        return []
    return [f"window: from {day(start) or 'the beginning'} to {day(end) or 'the end'} (UTC), by the deployment's time"]


def _band(rate: Rate) -> str | None:
    from rollback_console.review.rates import SMALL

    return None if rate.rate is None else rate.band + (" (few)" if rate.deployments < SMALL else "")


def _in_words(rate: Rate, within_s: float) -> str:
    if rate.rate is None or rate.low is None or rate.high is None:
        return "no deployment in this window"
    return (
        f"{rate.rolled_back} of {rate.deployments} deployments were rolled back within {span(within_s)}:"
        f" {100 * rate.rate:.1f} %, {rate.band}; 95 % sure: {100 * rate.low:.1f} to {100 * rate.high:.1f} %"
        f" ({rate.words})"
    )


def _times(groups: Sequence[Group]) -> Sheet:
    unknown = groups[0].times.to_decision.unknown + groups[0].times.to_completion.unknown
    notes = [
        "decide: hours from the deployment to the request (or to the move, where nobody asked), mean and p90",
        "do: minutes from there to done; <=15m: within the standard; again: within 30 days of another",
    ]
    if unknown:
        notes.append(f"{unknown} times are unknown: the request is in no journal here, or a clock was put back between")
    return _sheet(
        "times", "Times of rollbacks", groups,
        (
            (_n("rollbacks", "rollbacks"), lambda g: g.times.automatic[1]),
            (_n("to_decision_mean_h", "decide h"), lambda g: _mean(g.times.to_decision, 3_600)),
            (_n("to_decision_p90_h", "p90"), lambda g: _over(g.times.to_decision.p90, 3_600)),
            (_n("to_completion_mean_min", "do min"), lambda g: _mean(g.times.to_completion, 60)),
            (_n("to_completion_p90_min", "p90"), lambda g: _over(g.times.to_completion.p90, 60)),
            (_n("completed", "done"), lambda g: g.times.within_standard[1]),
            (_n("within_standard_pct", "<=15m %"), lambda g: _share(g.times.within_standard)),
            (_n("automatic_pct", "auto %"), lambda g: _share(g.times.automatic)),
            (_n("repeat_pct", "again %"), lambda g: _share(g.times.repeated)),
        ),
        notes,
    )  # fmt: skip


def _mean(spread: Spread, unit_s: float) -> float | None:
    return _over(spread.mean, unit_s)


def _causes(groups: Sequence[Group]) -> Sheet:
    return _sheet(
        "learning", "What was learnt", groups,
        (
            (_n("rollbacks", "rollbacks"), lambda g: g.learnt.rollbacks),
            (_n("judged", "judged"), lambda g: g.learnt.judged),
            (_n("published", "published"), lambda g: g.learnt.published),
            (_n("published_pct", "published %"), lambda g: _share((g.learnt.published, g.learnt.rollbacks))),
            (_n("repeated_causes", "repeated causes"), lambda g: len(g.learnt.repeated)),
            (_n("judged_wrong", "judged wrong"), lambda g: dict(g.learnt.right).get("wrong", 0)),
        ),
    )  # fmt: skip


def _words(whole: Group) -> Iterator[Sheet]:
    learnt = whole.learnt
    count = _n("rollbacks", "rollbacks")
    yield Sheet("causes", "Root causes", (Column("cause", "root cause"), count), learnt.causes)
    columns = (Column("deployment", "deployment"), Column("cause", "root cause"), count)
    yield Sheet("repeated", "Root causes that came again", columns, learnt.repeated)
    yield Sheet("gates", "Which gate would have caught it", (Column("gate", "gate"), count), learnt.gates)


def _incidents(groups: Sequence[Group]) -> Sheet:
    lead = groups[0].incidents.lead
    notes = ["an incident counts where a trigger fired; a month is 30 days that a deployment was observed"]
    if lead.unknown:
        notes.append(f"lead time (registered to serving) is unknown of {lead.unknown} deployments")
    return _sheet(
        "incidents", "Incidents, lead time and pages", groups,
        (
            (_n("incidents", "incidents"), lambda g: g.incidents.incidents),
            (_n("deployment_months", "depl.-months"), lambda g: g.incidents.months),
            (_n("per_deployment_month", "a month", 2), lambda g: g.incidents.per_month),
            (_n("lead_mean_h", "lead h"), lambda g: _mean(g.incidents.lead, 3_600)),
            (_n("lead_p90_h", "p90 h"), lambda g: _over(g.incidents.lead.p90, 3_600)),
            (_n("pages", "pages"), lambda g: g.incidents.pages),
            (_n("pages_per_shift", "a shift", 2), lambda g: g.incidents.pages_per_shift),
            (_n("most_pages", "most"), lambda g: g.incidents.most),
        ),
        notes,
    )  # fmt: skip


def _costs(groups: Sequence[Group]) -> Sheet:
    rows: list[tuple[Cell, ...]] = []
    for group in groups:
        units = dict.fromkeys(cost.unit for cost in group.incidents.costs if cost.priced)
        for unit in units:
            found = [cost for cost in group.incidents.costs if cost.unit == unit and cost.priced]
            before, after = sum(c.before for c in found), sum(c.after for c in found)
            rows.append((group.key, unit, len(found), before, after, before + after))
    silent = sum(1 for cost in groups[0].incidents.costs if not cost.priced)
    notes = [f"{silent} incidents have no price: their policy does not say what comes in"] if silent else []
    columns = (
        Column("of", "of"), Column("unit", "unit"), _n("incidents", "incidents"),
        _n("before", "before the decision", 0), _n("after", "after it", 0), _n("total", "in all", 0),
    )  # fmt: skip
    return Sheet("cost", "What degradation cost", columns, tuple(rows), tuple(notes))


def _trend(months: Sequence[Rate], plot: bool) -> Sheet:
    columns = (
        Column("month", "month"), _n("deployments", "deployed"), _n("rolled_back", "back"), _n("rate_pct", "rate %"),
        _n("low_pct", "from %"), _n("high_pct", "to %"),
    )  # fmt: skip
    rows: list[tuple[Cell, ...]] = [
        (m.key, m.deployments, m.rolled_back, _percent(m.rate), _percent(m.low), _percent(m.high)) for m in months
    ]
    if not plot or not months:
        return Sheet("trend", "Rate by month (UTC)", columns, tuple(rows))
    drawn, top = drawing(months)
    title = f"0 {'%':<{_PLOT - 6}}{100 * top:3.0f} %"
    return Sheet(
        "trend", "Rate by month (UTC)", (*columns, Column("plot", title)),
        tuple((*row, line) for row, line in zip(rows, drawn, strict=True)), ("o: the rate; the line: 95 %",),
    )  # fmt: skip


def drawing(months: Sequence[Rate]) -> tuple[list[str], float]:
    """A line a month, with its interval and the rate on it, and the fraction that the right end stands for."""
    top = max((m.high for m in months if m.high is not None), default=1.0)
    top = min(1.0, max(0.1, -(-top // 0.1) * 0.1))  # the next ten per cent
    lines = []
    for each in months:
        if each.rate is None or each.low is None or each.high is None:
            lines.append("·")
            continue
        low, at, high = (round(min(1.0, part / top) * (_PLOT - 1)) for part in (each.low, each.rate, each.high))
        line = ["·" if place < low or place > high else "─" for place in range(_PLOT)]
        line[at] = "o"
        lines.append("".join(line))
    return lines, top


def _drills(found: Measures) -> Sheet:
    columns = (
        _n("entry", "entry"), Column("at", "at (UTC)"), Column("scenario", "scenario"), Column("by", "by"),
        Column("passed", "passed"),
    )  # fmt: skip
    rows = tuple((each.seq, day(each.at), each.scenario, each.operator or None, each.passed) for each in found.drills)
    return Sheet("drills", "Drills, which count nowhere", columns, rows)


def _left(key: str, title: str, found: Sequence[Left], note: str) -> Sheet:
    columns = (
        _n("entry", "entry"), Column("at", "at (UTC)"), Column("deployment", "deployment"), Column("what", "what"),
        Column("why", "why"),
    )  # fmt: skip
    rows = tuple((each.seq, day(each.at), each.deployment, each.what, each.why) for each in found)
    return Sheet(key, title, columns, rows, (note,) if found else ())
