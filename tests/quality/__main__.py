"""``python -m tests.quality``: how good the decisions are, on simulated streams. Exit code 1: a promise was missed."""

from __future__ import annotations

import argparse
import math
import os
import pickle
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # so that `quality` is one package, here and in tests

from quality import anytime, cost, gauges, page
from quality.campaign import run_cases, run_months, spread
from quality.cases import Case
from quality.intervals import quantile, share
from quality.months import Month
from rollback_console.model.rules import EvidenceRule

PARTS = ("tables", "anytime", "gauges", "cost")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.quality", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of: {', '.join(PARTS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="few streams: to see, not to quote")
    parser.add_argument("--write", action="store_true", help=f"put what was found into docs/{page.PAGE.name}")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="how many at once (default: cores)")
    parser.add_argument("--keep", metavar="FILE", help="every single result of the tables, pickled")
    asked = parser.parse_args()
    if unknown := set(asked.parts) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}")
    over: list[str] = []
    for part in asked.parts or PARTS:
        began = time.monotonic()
        if part == "tables":
            months = run_months(asked.quick, asked.processes)
            cases = run_cases(asked.quick, asked.processes)
            if asked.keep:
                Path(asked.keep).write_bytes(pickle.dumps((months, cases)))
            text, missed = tables(months, cases)
        elif part == "anytime":
            text, missed = validity(asked.quick, asked.processes)
        elif part == "gauges":
            text, missed = ranked(asked.quick, asked.processes)
        else:
            text, missed = costs(asked.quick)
        how = f"{time.strftime('%Y-%m-%d', time.gmtime())}, {time.monotonic() - began:.0f} s on {os.cpu_count()} cores"
        text = f"{text}\n\n({how}{', quick' if asked.quick else ''}.)"
        print(f"\n{part}\n\n{text}", flush=True)
        if asked.write:
            page.write(part, text)
        over += missed
    print("\n" + (f"over what was promised: {'; '.join(over)}" if over else "every promise is kept"))
    return 1 if over else 0


def tables(months: Sequence[Month], cases: dict[str, list[Case]]) -> tuple[str, list[str]]:
    """The promises and the tables, as markdown; and what was missed."""
    found = page.targets(months, cases)
    parts = [
        "### What was promised", page.target_table(found),
        "### False rollbacks in 30 healthy days, 2,000 visits a minute (95 % interval)", page.false_table(months),
        "### Minutes to fire, clean stream, 2,000 visits a minute: median / 95th percentile",
        page.delay_table(months, "clean"),
        "### Minutes to fire, all noises at once (mix): median / 95th percentile", page.delay_table(months, "mix"),
        "### Ours on every noise: minutes to fire, median (95 % interval) / 95th percentile", page.ours_table(months),
    ]  # fmt: skip
    return "\n\n".join(parts), [target.what for target in found if target.over]


def validity(quick: bool, processes: int) -> tuple[str, list[str]]:
    """Anytime validity and its delay, on known baselines."""
    streams = 100 if quick else 2_000
    found = []
    for learned in (False, True):
        hits = spread(_ever, [(seed, learned) for seed in range(streams)], processes, "known starts")
        what = "baseline learned from one hour" if learned else "baseline known"
        found.append(page.Target(f"P(ever E ≥ 20 within a day), {what}", share(sum(hits), streams), 0.061))
    rows = []
    for budget, dwell in ((100.0, 0.0), (100.0, 5.0), (500.0, 0.0), (500.0, 5.0)):
        jobs = [(seed, budget, dwell) for seed in range(30 if quick else 300)]
        lengths = spread(_run_length, jobs, processes, "run lengths")
        mean = sum(lengths) / len(lengths)
        verdict = "OK" if mean >= budget else "OVER"
        rows.append(
            (f"budget {budget:.0f} min, dwell {dwell:.0f} min", f"≥ {mean:,.0f} min", str(len(lengths)), verdict)
        )
    delays = []
    for drop in (0.05, 0.12, 0.20, 0.35, 0.60):
        values = spread(_delay, [(seed, drop) for seed in range(30 if quick else 300)], processes, "delays")
        needed = math.log(EvidenceRule().budget_s / 60.0) / anytime.information(drop)
        for level, bound in ((0.5, needed + 2), (0.95, 1.7 * needed + 4)):
            delays.append(page.Target(f"-{drop:.0%}: {level:.0%} fire within", quantile(values, level), round(bound, 1),
                                      "min"))  # fmt: skip
    text = "\n\n".join(
        (
            page.target_table(found),
            page.table(("mean time between false alarms", "found", "streams", "verdict"), rows),
            page.target_table(delays),
        )
    )
    missed = [target.what for target in (*found, *delays) if target.over]
    return text, missed + [row[0] for row in rows if row[-1] == "OVER"]


def ranked(quick: bool, processes: int) -> tuple[str, list[str]]:
    """A gauge judged by rank, on every noise of its own: false alarms and delays."""
    months = spread(gauges.judge, gauges.jobs(quick), processes, "gauges")
    return gauges.table(months), gauges.missed(months)


def costs(quick: bool) -> tuple[str, list[str]]:
    """A million evaluations of signals: time, memory, growth."""
    found = cost.measure(20_000, cost.FLEETS[:2]) if quick else cost.measure(1_000_000)
    rows = [
        (f"{one.deployments:,}", f"{one.evaluations:,}", f"{one.us:.1f} µs", f"{one.bytes / 1024:.1f} KiB")
        for one in found
    ]
    exponent = cost.slope(found)
    table = page.table(
        ("deployments of 3 signals", "evaluations timed", "a signal and evaluation", "memory a deployment"), rows
    )
    verdict = f"An evaluation of a whole fleet grows as its size to the power of {exponent:.2f} (1 is linear)."
    return f"{table}\n\n{verdict}", ["growth with deployments"] if exponent > 1.15 else []


def _ever(job: tuple[int, bool]) -> bool:
    return anytime.ever(job[0], learned=job[1])


def _run_length(job: tuple[int, float, float]) -> float:
    return anytime.run_length(*job)


def _delay(job: tuple[int, float]) -> float:
    return anytime.delay(*job)


if __name__ == "__main__":
    sys.exit(main())
