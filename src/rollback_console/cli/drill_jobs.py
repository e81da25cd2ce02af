"""Many headless drills, in this process or shared out between several: the same results, whoever plays which.

A drill is a function of scenario, operator, seed, policy and version, and shares nothing with the one before it. So the
processes take them from one list as they come to be free, and what they say is put back into the list's order.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rollback_console.cli.drilling import collected_between, ends_when_asked, headless_drill, scratch
from rollback_console.errors import ConsoleError
from rollback_console.model.text import plain
from rollback_console.model.value import dataclass

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from rollback_console.rehearse.score import DrillResult

_MOST_JOBS = 64


@dataclass(frozen=True, slots=True)
class Task:
    """One drill of many. `scenario`: a name or a file; `keep`: where the journal goes if the drill failed."""

    number: int
    scenario: str
    operator: str
    seed: int
    policy: Path | None = None
    keep: Path | None = None


@dataclass(frozen=True, slots=True)
class Played:
    """What became of a task: a result, and where its journal is, if it is kept; or why it could not be played."""

    number: int
    result: DrillResult | None
    journal: str = ""
    problem: str = ""
    exit_code: int = 0


def jobs_of(wanted: int | None, tasks: int) -> int:
    """In how many processes: as many as were asked for, else one a core; never more than there are drills."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return max(1, min(cores if wanted is None else wanted, tasks, _MOST_JOBS))


def play_all(tasks: Sequence[Task], jobs: int, take: Callable[[Played], None]) -> list[Played]:
    """Play them all; `take` is told of each as it ends, in whatever order. Returns them in the order of the tasks.
    Raises ConsoleError where a process of ours is gone."""
    found: dict[int, Played] = {}

    def keep(played: Played) -> None:
        found[played.number] = played
        take(played)

    with ends_when_asked(), scratch() as folder:
        if jobs == 1:
            for task in tasks:
                keep(play(task, folder))
        else:
            _together(tasks, jobs, folder, keep)
    return [found[task.number] for task in tasks]


def play(task: Task, folder: Path) -> Played:
    """One drill, with its journal in `folder` while it is played. Never raises: what went wrong is told."""
    from rollback_console.rehearse.scenario import find

    journal = folder / f"{task.number}.db"
    try:
        with collected_between():
            scenario = find(task.scenario)
            result, _ = asyncio.run(headless_drill(scenario, task.operator, task.seed, journal, task.policy))
        kept = "" if result.passed or task.keep is None else _kept(journal, task.keep, scenario.name, task)
        return Played(task.number, result, kept)
    except ConsoleError as error:
        return Played(task.number, None, problem=str(error), exit_code=error.exit_code)
    except Exception as error:  # an operator's script is anybody's code: the other drills go on, and this one is told
        from rollback_console.cli import common

        if common.debugging:
            raise
        said = f"{type(error).__name__}: {plain(str(error), 300)}: this is a defect; --debug shows where"
        return Played(task.number, None, problem=said, exit_code=1)
    finally:
        for left in folder.glob(f"{task.number}.db*"):
            left.unlink(missing_ok=True)


def _kept(journal: Path, folder: Path, scenario: str, task: Task) -> str:
    """Move a journal to where it stays; returns its path there."""
    folder.mkdir(parents=True, exist_ok=True)
    word = "".join(c if c.isalnum() or c in "-_" else "-" for c in scenario)[:80]
    operator = "".join(c if c.isalnum() or c in "-_" else "-" for c in Path(task.operator).stem)[:40]
    target = folder / f"{word}-{operator}-{task.seed}.db"
    target.unlink(missing_ok=True)  # of the same drill, played before
    shutil.move(journal, target)
    return str(target)


# -- several processes ------------------------------------------------------------------------------------------------


def _together(tasks: Sequence[Task], jobs: int, folder: Path, take: Callable[[Played], None]) -> None:
    """Each process asks for the next task when it has done one. Whatever ends this, ends them all at once."""
    import multiprocessing
    from multiprocessing.connection import wait

    forked = sys.platform == "linux"
    context: Any = multiprocessing.get_context("fork" if forked else "spawn")
    if forked:
        _load()
    waiting = list(reversed(tasks))
    ends: list[Connection] = []
    workers: list[Any] = []
    try:
        for _ in range(jobs):
            ours, theirs = context.Pipe()
            others = [*ends, ours] if forked else []  # forked with this process's ends in hand: closed there
            worker = context.Process(target=_work, args=(theirs, others, folder), daemon=True)
            worker.start()
            theirs.close()
            workers.append(worker)
            ends.append(ours)
        busy = set(ends)
        for end in ends:
            end.send(waiting.pop() if waiting else None)
        while busy:
            ready = wait(list(busy))
            for end in [each for each in ends if each in ready]:
                played = _received(end)
                if isinstance(played, BaseException):
                    raise played
                if played is None:
                    busy.discard(end)
                    continue
                take(played)
                end.send(waiting.pop() if waiting else None)
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.join()
        for end in ends:
            end.close()


def _received(end: Any) -> Any:
    try:
        return end.recv()
    except (EOFError, ConnectionResetError):
        raise ConsoleError("a process of the rehearsal has ended", "is there memory enough? give --jobs 1") from None


def _load() -> None:
    """What every drill needs, once, before this process is divided."""
    import rollback_console.cli.rehearsal
    import rollback_console.engine.acts
    import rollback_console.journal.schema
    import rollback_console.journal.store
    import rollback_console.policy.load
    import rollback_console.rehearse.headless
    import rollback_console.rehearse.operators
    import rollback_console.rehearse.scenario  # noqa: F401 - for what they leave in memory


def _work(end: Connection, others: Sequence[Connection], folder: Path) -> None:
    """One process: plays what it is given until there is no more, or nobody listens."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever began it hears Ctrl-C, and ends it
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # which is how
    for other in others:
        other.close()
    gc.freeze()  # what was loaded before stays: between two drills it need not be looked through
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while (task := end.recv()) is not None:
            try:
                told: Played | Exception = play(task, folder)
            except Exception as error:  # with --debug: whoever began it shows it
                told = error
            end.send(told)
        end.send(None)
    end.close()
