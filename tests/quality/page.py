"""The tables as they stand in docs/decision-quality.md."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from quality.cases import Case, summed
from quality.intervals import Estimate, quantile, rate
from quality.months import OURS, RIVALS, SIZES, Month
from quality.noises import NOISES

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "decision-quality.md"
ALL = "python -m tests.quality --write"
COMMANDS = {  # blocks that have a command of their own each
    "incidents": "python -m tests.quality.incidents --write",
    "fleet": "python -m tests.quality.fleet_month --write",
}
RULES = (OURS, *(rival.name for rival in RIVALS))
MEDIAN, LATE = 0.5, 0.95


@dataclass(frozen=True)
class Target:
    """One figure that was promised, and what came of it."""

    what: str
    found: Estimate
    bound: float
    unit: str = ""

    @property
    def over(self) -> bool:
        return not self.found.value <= self.bound

    def cells(self) -> tuple[str, ...]:
        unit = f" {self.unit}" if self.unit else ""
        interval = f"{number(self.found.low)} to {number(self.found.high)}"
        return (
            self.what, f"{number(self.found.value)}{unit}", interval, f"{self.found.of:,}", f"≤ {self.bound:g}{unit}",
            "OVER" if self.over else "OK",
        )  # fmt: skip


TARGET_HEADER = ("what", "found", "95 % interval", "behind it", "promised", "verdict")
# noise, visits a minute, false rollbacks in 30 days, {size: median minutes}
PROMISED: tuple[tuple[str, float, float, dict[float, float]], ...] = (
    ("clean", 2_000.0, 0.35, {0.05: 220, 0.10: 52, 0.30: 11, 0.60: 9}),
    ("mix", 2_000.0, 0.5, {0.10: 190, 0.30: 14, 0.60: 10}),
    ("clean", 200.0, 0.5, {}),
    ("mix", 200.0, 1.2, {}),
)
PROMISED_CASES = {
    "outage": ("an outage of 2 to 3 min by itself fires", 0.01, ""),
    "half missing": ("half of the minutes missing: -30 %, median", 20.0, "min"),
    "hovering": ("a day at -10 %: changes of state", 2.0, ""),
    "business only": ("conversion alone at -30 %: acted on, median", 45.0, "min"),
    "tracking loss": ("20 min of tracking lost: acted on", 0.2, ""),
}


def number(value: float) -> str:
    """A figure for a table; NEVER as such."""
    if math.isinf(value):
        return "> a day"
    if value == round(value) or abs(value) >= 20:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 2 else f"{value:.2f}" if abs(value) >= 0.05 else f"{value:.3f}"


def targets(months: Sequence[Month], cases: dict[str, list[Case]]) -> list[Target]:
    """Every promise about what was run."""
    found = []
    for noise, visits, bound, delays in PROMISED:
        chosen = among(months, noise, visits)
        if not chosen:
            continue
        found.append(Target(f"{noise}, {visits:,.0f} visits/min: false in 30 days", false(chosen, OURS), bound))
        for size, minutes in delays.items():
            what = f"{noise}, {visits:,.0f} visits/min: -{size:.0%}, median"
            found.append(Target(what, quantile(delays_of(chosen, OURS, size), MEDIAN), minutes, "min"))
    for name, (what, bound, unit) in PROMISED_CASES.items():
        if name in cases:
            found.append(Target(what, summed(cases[name]), bound, unit))
    return found


def among(months: Iterable[Month], noise: str, visits: float) -> list[Month]:
    return [month for month in months if month.job.noise == noise and month.job.visits == visits]


def false(months: Sequence[Month], rule: str) -> Estimate:
    return rate(sum(month.false[rule] for month in months), len(months))


def delays_of(months: Sequence[Month], rule: str, size: float) -> list[float]:
    return [delay for month in months for delay in month.delays.get((rule, size), [])]


def table(header: Sequence[str], rows: Iterable[Sequence[str]], right: int = 1) -> str:
    """Markdown; columns from `right` on to the right."""
    lines = ["| " + " | ".join(header) + " |"]
    lines.append("|" + "|".join("---:" if i >= right else "---" for i in range(len(header))) + "|")
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def target_table(found: Sequence[Target]) -> str:
    return table(TARGET_HEADER, (target.cells() for target in found))


def false_table(months: Sequence[Month], visits: float = 2_000.0) -> str:
    """False rollbacks in 30 healthy days, a rule a line and a noise a column, with intervals."""
    noises = [noise for noise in NOISES if among(months, noise, visits)]
    rows = []
    for rule in RULES:
        cells = []
        for noise in noises:
            found = false(among(months, noise, visits), rule)
            cells.append(f"{number(found.value)} ({number(found.low)}–{number(found.high)})")
        rows.append((rule, *cells))
    behind = ("months behind it", *(str(len(among(months, noise, visits))) for noise in noises))
    return table(("rule", *noises), [*rows, behind])


def delay_table(months: Sequence[Month], noise: str, visits: float = 2_000.0) -> str:
    """Median and 95th percentile of the delay, a rule a line and a size a column; and how many trials."""
    chosen = among(months, noise, visits)
    rows = []
    for rule in RULES:
        cells = []
        for size in SIZES:
            delays = delays_of(chosen, rule, size)
            cells.append(f"{_both(delays)}" if delays else "never quiet")
        trials = len(delays_of(chosen, rule, SIZES[0]))
        rows.append((rule, *cells, str(trials)))
    return table(("rule", *(f"-{size:.0%}" for size in SIZES), "trials"), rows)


def ours_table(months: Sequence[Month]) -> str:
    """Ours on every noise and at every traffic."""
    rows = []
    for noise, visits in dict.fromkeys((month.job.noise, month.job.visits) for month in months):
        chosen = among(months, noise, visits)
        found = false(chosen, OURS)
        cells = [_with_interval(delays_of(chosen, OURS, size)) for size in SIZES]
        rows.append(
            (noise, f"{visits:,.0f}", f"{number(found.value)} ({number(found.low)}–{number(found.high)})", *cells)
        )
    return table(("noise", "visits/min", "false in 30 days", *(f"-{size:.0%}" for size in SIZES)), rows)


def _both(delays: Sequence[float]) -> str:
    middle = quantile(delays, MEDIAN).value
    return _unseen(delays) if math.isinf(middle) else f"{number(middle)} / {number(quantile(delays, LATE).value)}"


def _with_interval(delays: Sequence[float]) -> str:
    if not delays:
        return "–"
    middle = quantile(delays, MEDIAN)
    if math.isinf(middle.value):
        return _unseen(delays)
    between = f"{number(middle.low)}–{number(middle.high)}"
    return f"{number(middle.value)} ({between}) / {number(quantile(delays, LATE).value)}"


def _unseen(delays: Sequence[float]) -> str:
    """Where more than half was not seen within a day: how much was."""
    return f"> a day ({sum(not math.isinf(delay) for delay in delays) / len(delays):.0%} seen)"


def write(block: str, text: str) -> None:
    """Replace what stands between a block's markers. Raises ValueError where the page has none."""
    page = PAGE.read_text(encoding="utf-8")
    begin, end = f"<!-- {block}: written by `{COMMANDS.get(block, ALL)}` -->", f"<!-- end of {block} -->"
    if begin not in page or end not in page:
        raise ValueError(f"{PAGE} has no block {block!r}")
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    PAGE.write_text(f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}", encoding="utf-8")
