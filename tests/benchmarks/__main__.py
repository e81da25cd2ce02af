"""``python -m tests.benchmarks``: speed, as ratios to floors measured in the same run. Exit code 1: a target missed."""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # where the tests' servers and their helpers are

from tests.benchmarks import (
    bench_append,
    bench_decide,
    bench_hub,
    bench_journal,
    bench_learn,
    bench_observe,
    bench_open,
    bench_review,
    bench_screen,
    bench_verify,
)
from tests.benchmarks.figures import BEGIN, END, Figure, as_markdown, as_text

from rollback_console.__main__ import COLLECT_AT

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "speed.md"


gc.set_threshold(*COLLECT_AT)  # what is measured in this process runs as it does in the console's


def benches() -> dict[str, Callable[[bool], list[Figure]]]:
    """By name, in the order they run."""
    found: dict[str, Callable[[bool], list[Figure]]] = {
        "paint": bench_open.paint,
        "version": bench_open.version,
        "observe": bench_observe.observe,
        "decide": decide,
        "learn": bench_learn.learning,
        "keys": bench_screen.keys,
        "drill": bench_screen.drill,
        "rows": bench_screen.rows,
        "memory": bench_screen.memory,
        "journal": bench_journal.journal,
        "append": bench_append.append,
        "hub": bench_hub.hub,
        "verify": bench_verify.verify,
        "review": bench_review.review,
    }
    return found


def decide(quick: bool) -> list[Figure]:
    """Deciding and recording 1,000 x 6, a twentieth degraded: time a signal, the longest slice of the event loop."""
    with tempfile.TemporaryDirectory(prefix="rollback-console-bench-") as folder:
        found = asyncio.run(bench_decide.measure(1000, 10 if quick else 40, 50, Path(folder)))
    what = "deciding and recording 1,000 x 6"
    return [
        Figure("decide", f"{what}, a signal", found["wall_us"], "µs", 20.0),
        Figure("decide", f"{what}: the longest slice of a tick", found["slice_wall_ms"], "ms",
               note=f"{found['slice_cpu_ms']:.1f} ms of it on the processor"),
        Figure("decide", "a Snapshot of 1,000 made", found["publish_ms"], "ms"),
    ]  # fmt: skip


def main() -> int:
    known = benches()
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(known)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="fewer rounds and shorter ones: to see, not to quote")
    parser.add_argument("--json", metavar="FILE", help="the figures as JSON, too")
    parser.add_argument("--write", action="store_true", help=f"put the table into docs/{PAGE.name}")
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(known):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}")
    figures: list[Figure] = []
    for name in asked.names or known:
        began = time.monotonic()
        found = known[name](asked.quick)
        print(f"\n{name} ({time.monotonic() - began:.0f} s)\n{as_text(found)}", flush=True)
        figures += found
    if asked.json:
        Path(asked.json).write_text(json.dumps({"on": machine(), "figures": [f.as_json() for f in figures]}, indent=1))
    if asked.write:
        write(figures, asked.quick)
    missed = [figure.what for figure in figures if figure.over]
    print("\n" + (f"over target: {'; '.join(missed)}" if missed else "every target is met"))
    return 1 if missed else 0


def machine() -> str:
    """What it ran on, and how busy that was: absolute figures of a busy machine are not to be quoted."""
    busy = os.getloadavg()[0]
    python = f"Python {platform.python_version()}"
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {python}, load average {busy:.1f}"


def write(figures: list[Figure], quick: bool) -> None:
    """Replace what stands between the page's markers."""
    text = PAGE.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    how = f"{time.strftime('%Y-%m-%d', time.gmtime())}, {machine()}{', quick' if quick else ''}."
    PAGE.write_text(f"{before}{BEGIN}\n\n{how}\n\n{as_markdown(figures)}\n\n{END}{after}")


if __name__ == "__main__":
    sys.exit(main())
