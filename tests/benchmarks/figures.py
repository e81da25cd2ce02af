"""What a benchmark found, beside the floor measured in the same run and the target, and how it is written down."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TypeVar

T = TypeVar("T")
BEGIN, END = "<!-- figures: written by `python -m tests.benchmarks --write` -->", "<!-- end of figures -->"


@dataclass(frozen=True)
class Figure:
    """One measured figure. With a floor the target is a ratio to it; without one it bounds the figure itself.

    `target` None: stated, not judged.
    """

    bench: str
    what: str
    ours: float
    unit: str
    target: float | None = None
    floor: float | None = None
    floor_is: str = ""
    note: str = ""

    @property
    def ratio(self) -> float | None:
        return self.ours / self.floor if self.floor else None

    @property
    def over(self) -> bool:
        """Is a target missed."""
        judged = self.ratio if self.floor is not None else self.ours
        return self.target is not None and judged is not None and judged > self.target

    @property
    def verdict(self) -> str:
        return "stated" if self.target is None else "OVER" if self.over else "OK"

    def as_json(self) -> dict[str, object]:
        return asdict(self) | {"ratio": self.ratio, "verdict": self.verdict}


def number(value: float | None, unit: str = "") -> str:
    """A figure for a table: three digits that matter."""
    if value is None:
        return "–"
    shown = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
    return f"{shown} {unit}".strip()


def cells(figure: Figure) -> tuple[str, ...]:
    target = "–"
    if figure.target is not None:
        target = f"≤ {figure.target:g}x" if figure.floor is not None else f"≤ {figure.target:g} {figure.unit}"
    ratio = "–" if figure.ratio is None else f"{figure.ratio:.2f}x"
    floor = "–" if figure.floor is None else f"{number(figure.floor, figure.unit)} ({figure.floor_is})"
    return (figure.what, number(figure.ours, figure.unit), floor, ratio, target, figure.verdict)


HEADER = ("what", "ours", "floor", "ratio", "target", "")


def as_text(figures: Iterable[Figure]) -> str:
    """A plain table for the terminal; notes below their lines."""
    rows = [(cells(figure), figure.note) for figure in figures]
    widths = [max(len(row[i]) for row, _ in [(HEADER, ""), *rows]) for i in range(len(HEADER))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(HEADER, widths, strict=True)).rstrip()]
    for row, note in rows:
        lines.append("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        if note:
            lines.append(f"    {note}")
    return "\n".join(lines)


def as_markdown(figures: Sequence[Figure]) -> str:
    """The table for docs/speed.md, with its notes under it."""
    lines = ["| " + " | ".join((*HEADER[:-1], "verdict")) + " |", "|---|---:|---:|---:|---:|---|"]
    lines += ["| " + " | ".join(cells(figure)) + " |" for figure in figures]
    notes = [f"- {figure.what}: {figure.note}" for figure in figures if figure.note]
    return "\n".join([*lines, "", *notes]).rstrip()


def alternating(rounds: int, **candidates: Callable[[], T]) -> dict[str, list[T]]:
    """Run every candidate `rounds` times, in turns: what else the machine does hits all of them alike."""
    found: dict[str, list[T]] = {name: [] for name in candidates}
    for turn in range(rounds):
        names = list(candidates) if turn % 2 == 0 else list(reversed(candidates))
        for name in names:
            found[name].append(candidates[name]())
    return found


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value with at least `share` of all at or below it."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, max(0, -(-int(share * len(ranked) * 1000) // 1000) - 1))]


def median(values: Iterable[float]) -> float:
    return statistics.median(values)
