"""Runs the console on a sample Snapshot in a real terminal, to look at it: `python tests/tui/show_sample.py [WHAT]`.

WHAT: incident (default), calm, few, many, live (1,000 rows, all changing each second), empty, backfill, broken, failed,
rehearsal, connecting.
"""

from __future__ import annotations

import asyncio
import dataclasses
import sys
import time
from collections.abc import Callable

import tui_samples as samples

from rollback_console.errors import BackendUnreachable
from rollback_console.model.observation import BackendHealth, BackendState
from rollback_console.model.snapshot import DeploymentView, Snapshot
from rollback_console.model.verdict import TriggerState
from rollback_console.tui.app import ConsoleApp

BROKEN = (
    BackendHealth("prometheus", BackendState.FAILING, None, samples.AT - 130, "connection refused: is it running?"),
    BackendHealth("registry", BackendState.FAILING, None, None, "401: the token has expired"),
)


def many(count: int, turn: int = 0) -> tuple[DeploymentView, ...]:
    """`count` deployments; another `turn` changes every one of them."""
    states = (TriggerState.FIRED, TriggerState.PENDING, TriggerState.HEALTHY)
    out = []
    for i in range(count):
        value = samples.HEALTHY[0] * (0.9 + 0.05 * ((i + turn) % 3))
        state = states[min(2, i * 40 // count)]
        out.append(
            samples.view(
                f"model-{i:04}", state, (value, 0.004, 0.2), breached=(0,) if state is TriggerState.FIRED else (),
                since=samples.AT - 300 - i, dwell=250.0 + i % 40, revision=turn,
            )
        )  # fmt: skip
    return tuple(out)


SAMPLES: dict[str, Callable[[], Snapshot]] = {
    "incident": samples.snapshot,
    "calm": lambda: samples.snapshot(deployments=samples.fleet(12)[6:], incidents=()),
    "few": lambda: samples.snapshot(deployments=samples.fleet(0)[:4]),
    "many": lambda: samples.snapshot(deployments=many(1000), incidents=()),
    "empty": lambda: samples.snapshot(deployments=(), incidents=()),
    "backfill": lambda: samples.snapshot(deployments=(), incidents=(), notice="Back-filling 12 of 40 minutes …"),
    "broken": lambda: samples.snapshot(deployments=(), incidents=(), backends=BROKEN),
    "rehearsal": lambda: samples.snapshot(band="REHEARSAL x10", simulated=True, speed=10.0, look_only="no key is here"),
}


async def _start(what: str, publish: Callable[[Snapshot], None]) -> samples.FakeCommands:
    if what == "connecting":
        await asyncio.Event().wait()
    if what == "failed":
        raise BackendUnreachable("prometheus at http://localhost:9090 did not answer", "is it running?")
    if what == "live":
        turns = [many(1000, turn) for turn in range(6)]
        base = samples.snapshot(incidents=())

        async def run() -> None:
            turn = 0
            while True:
                turn += 1
                views = tuple(dataclasses.replace(view, revision=turn) for view in turns[turn % 6])
                publish(dataclasses.replace(base, deployments=views, at=samples.AT + turn))
                await asyncio.sleep(1.0)

        samples.LIVE = asyncio.create_task(run())  # type: ignore[attr-defined]  # kept alive as long as the module
    else:
        publish(SAMPLES[what]())
    return samples.FakeCommands()


def main() -> None:
    what = sys.argv[1] if len(sys.argv) > 1 else "incident"
    theme = sys.argv[2] if len(sys.argv) > 2 else "auto"
    app = ConsoleApp(lambda publish: _start(what, publish), theme=theme)  # type: ignore[arg-type,return-value]  # a fake
    app.run()
    print(f"used {time.process_time():.2f} s of CPU")


if __name__ == "__main__":
    main()
