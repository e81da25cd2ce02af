"""`rollback-console report criteria`: how each trigger and signal did, and a change of one value with its backtest."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rollback_console.cli.common import config_option, emit_lines
from rollback_console.cli.progress import progress
from rollback_console.cli.report_reading import (
    day,
    exit_code,
    format_option,
    journals_option,
    moment_of,
    print_sheets,
    read,
    sheet_option,
    sources_sheet,
)
from rollback_console.cli.sheets import Cell, Column, Sheet
from rollback_console.errors import UsageError
from rollback_console.model.text import plain, span

if TYPE_CHECKING:
    from rollback_console.review.criteria import Policies, TriggerAudit
    from rollback_console.review.criteria_change import Proposal
    from rollback_console.review.criteria_samples import Drifted, Sampled
    from rollback_console.review.past import Past
    from rollback_console.review.rates import Window


@click.command("criteria", epilog="Example: rollback-console report criteria --since 180d")
@click.option("--since", metavar="T", help="From then on: 2026-09-01, RFC 3339, or 180d ago (default: all).")
@click.option(
    "--diff", "policy", metavar="POLICY", help="Print the change proposed for it alone, as `patch -p1` takes it."
)
@journals_option
@config_option
@format_option
@sheet_option
@click.pass_context
def command(
    ctx: click.Context, since: str | None, policy: str | None, journals: tuple[Path, ...], config: Path | None,
    form: str, as_json: bool, only: tuple[str, ...],
) -> None:  # fmt: skip
    """How each policy's trigger and signals did: fires right and wrong as people judged them, what was missed, which
    signal led, how good the data were; and a change to review where the record calls for one.

    Judge fires with `judge` (root cause `false alarm`: there was nothing). Needs no backend and no configuration.
    """
    from rollback_console.review.criteria import audit, recorded
    from rollback_console.review.criteria_change import propose
    from rollback_console.review.rates import Window

    window = Window(moment_of("--since", since), None)
    past = read(journals, config)
    paths = [source.path for source in past.sources if not source.rehearsal]
    policies, fires = recorded(past, paths)
    audits = audit(past, policies, fires, window)
    sampled = _sampled(past, policies, paths, window)
    proposals = [propose(each, policies.last(each.policy).loaded, sampled) for each in audits]
    if policy is not None:
        emit_lines(_diff_of(policy, proposals))
        ctx.exit(exit_code(past))
    print_sheets((*sheets(audits, sampled, proposals), sources_sheet(past)), form, as_json, only)
    ctx.exit(exit_code(past))


def _diff_of(policy: str, proposals: Sequence[Proposal]) -> tuple[str, ...]:
    """The proposed diff of one policy. Raises UsageError where there is none, with why."""
    found = next((each for each in proposals if each.policy == policy), None)
    if found is None:
        names = ", ".join(each.policy for each in proposals) or "none"
        raise UsageError(f"the journal knows no policy {plain(policy, 60)}", f"there are: {names}")
    if found.tried is None:
        raise UsageError(f"no change of {policy} is proposed", found.why)
    return found.diff


def _sampled(past: Past, policies: Policies, paths: Sequence[Path], window: Window) -> Sampled:
    """Every recorded sample judged by the policies as they are now; a year of them takes some ten seconds."""
    from rollback_console.review.criteria_samples import Walk

    walk = Walk(policies.rules())
    total = sum(source.entries for source in past.sources if not source.rehearsal)
    with progress(total, "reading samples", as_json=False) as bar:
        for number, _ in enumerate(step for path in paths for step in walk.read(path, window)):
            bar.come_to(min(number + 1, total))
    return walk.found()


def sheets(audits: Sequence[TriggerAudit], sampled: Sampled, proposals: Sequence[Proposal]) -> tuple[Sheet, ...]:
    """The whole audit."""
    return (
        _triggers(audits),
        _dwells(audits),
        _signals(audits),
        _missed(audits),
        _quality(sampled),
        _drift(sampled),
        _proposals(proposals),
        *(sheet for each in proposals for sheet in _proposed(each)),
    )


def _n(key: str, title: str, digits: int = 1) -> Column:
    return Column(key, title, ">", digits)


def _date(at: float) -> str:
    return (day(at) or "")[:10]


def _minutes(seconds: float | None) -> float | None:
    return None if seconds is None else seconds / 60.0


def _percent(fraction: float | None) -> float | None:
    return None if fraction is None else 100.0 * fraction


def _triggers(audits: Sequence[TriggerAudit]) -> Sheet:
    columns = (
        Column("policy", "policy"), Column("since", "so since"), _n("deployments", "depl."),
        _n("fires", "fires"), _n("right", "right"), _n("wrong", "wrong"), _n("unjudged", "not judged"),
        _n("missed", "missed"), Column("review", "review"),
    )  # fmt: skip
    rows: list[tuple[Cell, ...]] = [
        (
            each.policy, _date(each.since), len(each.deployments), len(each.fires), each.judged("right"),
            each.judged("wrong"), each.judged(""), len(each.missed), _review(each),
        )
        for each in audits
    ]  # fmt: skip
    notes = [
        "right, wrong: by the judgement of the fire's rollback, else of its incident; `false alarm` is wrong",
        *(f"{each.policy}: the policy cannot be read: {each.problem}" for each in audits if each.problem),
    ]
    return Sheet("triggers", "Triggers", columns, tuple(rows), tuple(notes))


def _review(audit: TriggerAudit) -> str:
    if audit.overdue_s is None:
        return "no review_every"
    length = _roughly(abs(audit.overdue_s))
    return f"OVERDUE {length}" if audit.overdue_s > 0 else f"due in {length}"


def _roughly(seconds: float) -> str:
    """To the day, or below one to the hour."""
    unit = 86_400.0 if seconds >= 86_400.0 else 3_600.0
    return span(max(unit, round(seconds / unit) * unit))


def _dwells(audits: Sequence[TriggerAudit]) -> Sheet:
    columns = (
        Column("policy", "policy"), _n("dwell_min", "dwell min"), _n("kept_min", "kept min"),
        _n("needed_min", "needed min"), _n("earlier_min", "earlier min"),
    )  # fmt: skip
    rows: list[tuple[Cell, ...]] = [
        (each.policy, *(_minutes(v) for v in (each.dwell_s, each.kept_s, each.needed_s, each.earlier_s)))
        for each in audits
    ]
    return Sheet(
        "dwell", "Dwell", columns, tuple(rows),
        (
            "kept: from the condition's beginning to the fire, the median",
            "needed: the longest wrong fire's condition held so long; a longer dwell avoids them all",
            "earlier: so much earlier right fires could have come without any dwell, in the mean",
        ),
    )  # fmt: skip


def _signals(audits: Sequence[TriggerAudit]) -> Sheet:
    columns = (
        Column("policy", "policy"), Column("signal", "signal"), Column("since", "so since"),
        _n("fires", "fires"), _n("right", "right"), _n("wrong", "wrong"), _n("led", "led"),
        _n("lead_min", "lead min"),
    )  # fmt: skip
    rows: list[tuple[Cell, ...]] = [
        (s.policy, s.signal, _date(s.since), s.fires, s.right, s.wrong, s.led, _minutes(s.lead_s))
        for each in audits
        for s in each.signals
    ]
    notes = ("fires: in which it had broken; led: it broke first, by so much where another followed",)
    return Sheet("signals", "Signals", columns, tuple(rows), notes)


def _missed(audits: Sequence[TriggerAudit]) -> Sheet:
    columns = (Column("at", "at (UTC)"), Column("policy", "policy"), Column("deployment", "deployment"),
               Column("what", "what"))  # fmt: skip
    found = sorted((miss for each in audits for miss in each.missed), key=lambda miss: miss.at)
    rows = tuple((day(miss.at), miss.policy, miss.deployment, miss.what) for miss in found)
    return Sheet("missed", "Missed: trouble that no trigger told of", columns, rows)


def _quality(sampled: Sampled) -> Sheet:
    columns = (
        Column("policy", "policy"), Column("signal", "signal"), _n("hours", "hours", 0),
        _n("judged_pct", "judged", 2), _n("no_data_pct", "none", 2), _n("not_a_number_pct", "NaN", 2),
        _n("query_failed_pct", "fail", 2), _n("stale_pct", "stale", 2), _n("too_few_pct", "few", 2),
        _n("no_baseline_pct", "base", 2),
    )  # fmt: skip
    rows = tuple(
        (each.policy, each.signal, each.hours,
         *(_percent(share) for share in (each.seen, *each.blind, each.too_few, each.no_baseline)))
        for each in sampled.quality
    )  # fmt: skip
    notes = [
        "hours: of its deployments together; none: no data; NaN: not a number; fail: the query failed",
        "few: too few trials; base: nothing to compare it with yet",
        f"of {sampled.ticks:,} recorded evaluations, each standing for the time to the next, at most an hour",
    ]
    if sampled.gone:
        notes.append(f"the samples of {sampled.gone:,} of them are gone (retention)")
    if sampled.other:
        notes.append(f"{sampled.other:,} observations have other signals than their policy has now: not judged")
    return Sheet("quality", "Data quality: % of the time", columns, rows, tuple(notes))


def _drift(sampled: Sampled) -> Sheet:
    columns = (
        Column("policy", "policy"), Column("signal", "signal"), _n("median_pct", "median %"),
        _n("most_pct", "most %"), Column("deployment", "of"), _n("a_month_pct", "a month %", 2),
    )  # fmt: skip
    groups: dict[tuple[str, str], list[Drifted]] = {}
    for each in sampled.drift:
        if each.change is not None and each.months:
            groups.setdefault((each.policy, each.signal), []).append(each)
    rows: list[tuple[Cell, ...]] = []
    for (policy, signal), found in groups.items():
        changes = [each.change for each in found if each.change is not None]
        most = max(found, key=lambda each: abs(each.change or 0.0))
        rows.append((policy, signal, _percent(statistics.median(changes)), _percent(most.change), most.deployment,
                     _percent(most.a_month)))  # fmt: skip
    notes = ("the mean of the last month's baseline against the first month's; of fixed ones there is none to tell",)
    return Sheet("drift", "Drift of baselines", columns, tuple(rows), notes)


def _proposals(proposals: Sequence[Proposal]) -> Sheet:
    columns = (
        Column("policy", "policy"),
        Column("change", "change"),
        Column("why", "why"),
    )
    rows = tuple((each.policy, _in_words(each), each.why) for each in proposals)
    return Sheet("proposals", "Proposed changes", columns, rows,
                 ("a proposal is a diff to review: nothing is changed by this report",))  # fmt: skip


def _in_words(proposal: Proposal) -> str | None:
    if proposal.tried is None:
        return None
    change = proposal.tried.change
    return f"{change.where}: {change.before} to {change.after}"


def _proposed(proposal: Proposal) -> Iterator[Sheet]:
    """What a change would have done to each known fire, and its diff."""
    tried = proposal.tried
    if tried is None:
        return
    columns = (
        Column("deployment", "deployment"), Column("fired", "fired (UTC)"), Column("judged", "judged"),
        Column("root_cause", "root cause"), Column("with_it", "with the change"),
    )  # fmt: skip
    rows: list[tuple[Cell, ...]] = []
    for each in tried.outcomes:
        delay = each.delay_s
        told = "does not fire" if delay is None else "the same" if abs(delay) < 1.0 else _shift(delay)
        rows.append((each.fire.deployment, day(each.fire.at), each.fire.judged, each.fire.root_cause, told))
    title = f"{proposal.policy}: {_in_words(proposal)}, over the recorded samples"
    yield Sheet(f"backtest_{proposal.policy}", title, columns, tuple(rows), (proposal.why,))
    lines = tuple((line,) for line in proposal.diff)
    yield Sheet(f"diff_{proposal.policy}", f"{proposal.policy}: the diff", (Column("line", ""),), lines)


def _shift(delay: float) -> str:
    return f"{span(abs(delay))} {'later' if delay > 0 else 'earlier'}"
