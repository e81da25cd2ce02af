"""The real console app on Snapshots made beforehand: no engine, no backend. Every row changes with every Snapshot.

Arguments: deployments, seconds between Snapshots (0: one Snapshot, then none).
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections.abc import Callable
from dataclasses import replace

from tests.benchmarks.fleets import SIGNALS, InProcess, Values, rules

from rollback_console.__main__ import COLLECT_AT
from rollback_console.commands import Commands
from rollback_console.decide.judge import FRESH, decide
from rollback_console.engine.board import Board
from rollback_console.engine.queries import Answer
from rollback_console.engine.sampler import Sampler
from rollback_console.model.observation import BackendHealth, BackendState
from rollback_console.model.snapshot import DeploymentView, JournalStatus, Snapshot
from rollback_console.review.desk import ReviewCommands
from rollback_console.tui.app import ConsoleApp

_RING = 8  # sets of values, shown in turn
_BAD = 12


async def made(deployments: int) -> list[tuple[DeploymentView, ...]]:
    """`_RING` fleets of views: real verdicts of real rules over changing values, in one order throughout."""
    fleet = rules(deployments)
    sampler, board = Sampler(fleet, InProcess(deployments)), Board(fleet, 1.0)
    values = Values(deployments, _BAD)
    memories = dict.fromkeys(range(deployments), FRESH)
    found: list[dict[object, DeploymentView]] = []
    start = time.time() - 40 - _RING
    for k in range(40 + _RING):
        at = start + k
        answers = [Answer(dict(enumerate(values.column(number, at)))) for number in range(SIGNALS)]
        answers += [Answer() for _ in sampler.plan.queries[SIGNALS:]]
        tick = await sampler.assemble(at, answers, {})
        for index, observation in enumerate(tick.observations):
            verdict, after = decide(fleet[index], observation, memories[index], cooling=False)
            board.put(index, memories[index], verdict, after)
            board.trace(index, (observation,))
            memories[index] = after
        if k >= 40:
            found.append({view.id: view for view in board.views((), {})})
    order = list(found[0])
    return [tuple(views[one] for one in order) for views in found]


def main(deployments: int, every: float) -> None:
    fleets = asyncio.run(made(deployments))
    # New revisions are given beforehand, so that the publishing costs next to nothing in this process.
    ring = [tuple(replace(view, revision=1000 + k) for view in fleets[k % _RING]) for k in range(150)]
    health = (BackendHealth("prometheus", BackendState.OK, 0.012, time.time()),)
    first = Snapshot(
        time.time(), time.time(), 1.0, "PRODUCTION", fleets[0], (), health,
        journal=JournalStatus("bench", 1204, True),
    )  # fmt: skip
    gc.set_threshold(*COLLECT_AT)  # as the console's own entry point and its first evaluation do
    gc.freeze()
    running: set[asyncio.Task[None]] = set()

    async def start(publish: Callable[[Snapshot], None]) -> Commands:
        publish(first)

        async def pour() -> None:
            number = 0
            while True:
                await asyncio.sleep(every)
                number += 1
                now = time.time()
                publish(replace(first, at=now, evaluated_at=now, deployments=ring[number % len(ring)]))

        if every:
            running.add(asyncio.create_task(pour()))
        return ReviewCommands()  # nothing is asked of it here

    ConsoleApp(start, theme="dark", title="rollback-console").run()


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
