"""How fast it opens: first paint and first states in tmux against a one-Static app; `--version` against `pass`."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from tests.benchmarks.figures import Figure, alternating, median
from tests.benchmarks.fleets import write_settings
from tests.benchmarks.terminal import CONSOLE, Tmux, home

_ONE_STATIC = str(Path(__file__).parent / "programs" / "one_static.py")
_FRAME = "Connecting"  # stands in the frame until the first states arrive
_STATES = (" FIRED ", " PENDING ")


def paint(quick: bool) -> list[Figure]:
    """First paint: spawn to the frame on the pane of a tmux of 120x40."""
    with home() as env:
        settings = write_settings(Path(env["TMPDIR"]), "http://127.0.0.1:9", 12)  # the discard port: nobody answers
        tmux = Tmux(env)
        try:
            found = alternating(
                3 if quick else 11,
                floor=lambda: tmux.seen(tmux.start([sys.executable, _ONE_STATIC]), "one static line"),
                demo=lambda: tmux.seen(tmux.start([CONSOLE, "demo"]), _FRAME, _STATES),
                live=lambda: tmux.seen(tmux.start([CONSOLE, "--config", str(settings)]), _FRAME),
            )
        finally:
            tmux.stop()
    floor = median(times[0] for times in found["floor"]) * 1000

    def figure(what: str, ours: float, target: float) -> Figure:
        return Figure("paint", what, ours * 1000, "ms", target, floor, "a one-Static app")

    return [
        figure("demo: first paint", median(times[0] for times in found["demo"]), 1.4),
        figure("demo: first states", median(times[1] for times in found["demo"]), 3.0),
        figure("live console, no backend there: first paint", median(times[0] for times in found["live"]), 1.4),
    ]


def version(quick: bool) -> list[Figure]:
    """`rollback-console --version`, spawn to exit."""
    with home() as env:

        def run(*command: str) -> float:
            began = time.perf_counter()
            subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL)
            return time.perf_counter() - began

        found = alternating(
            9 if quick else 41,
            floor=lambda: run(sys.executable, "-c", "pass"),
            ours=lambda: run(CONSOLE, "--version"),
        )
    return [
        Figure(
            "version", "--version", median(found["ours"]) * 1000, "ms", 6.0,
            median(found["floor"]) * 1000, "python -c pass",
        )
    ]  # fmt: skip
