"""Headless operators: short scripts that see what a person sees, and do what depends on the screen alone.

`perfect` reads before it acts and acts on what a rollback can mend. `slow` does the same, late. `careless` acts on the
first thing that is red. `asleep` does nothing (`asleep:20`: until the twentieth minute, then what is right).
`automatic` is nobody at all: the policy carries out what it may. A team writes others, in files
(`rehearse.operators_file`).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

from rollback_console.errors import UsageError
from rollback_console.model.identity import DeploymentId
from rollback_console.model.plan import StepState
from rollback_console.model.text import plain
from rollback_console.rehearse import operators_sight as sight
from rollback_console.rehearse.desk import Desk, Script
from rollback_console.rehearse.operators_perfect import Attentive, Pace

AUTOMATIC = "automatic"
_SLOW = Pace(notice_s=240.0, reading_s=90.0, step_s=40.0)
_FILES = (".yaml", ".yml")


def operator_named(name: str) -> Script:
    """The script of that name, or of the file of that path. Raises `UsageError`; `FileProblems` for a bad file."""
    script = OPERATORS.get(name)
    if script is not None:
        return script
    if name.startswith("asleep:"):
        return _asleep_until(name.removeprefix("asleep:"))
    if name.endswith(_FILES) or Path(name).is_file():
        from rollback_console.policy.load import load_operator
        from rollback_console.rehearse.operators_file import script_of

        return script_of(load_operator(Path(name)).operator)
    raise UsageError(
        f"there is no headless operator {plain(name, 60)}",
        f"take one of {', '.join(OPERATORS)}, or a file (docs/scenarios.md says how they are written)",
    )


def mode_for(name: str) -> str | None:
    """The mode that the policy has to be in for this operator; None: the mode that it is written in."""
    return "act" if name == AUTOMATIC else None


async def perfect(desk: Desk) -> AsyncGenerator[None, None]:
    """Does what is right, without haste and without delay (`rehearse.operators_perfect`)."""
    async for _ in Attentive(desk, Pace()).shift():
        yield


async def slow(desk: Desk) -> AsyncGenerator[None, None]:
    """Does what is right; notices after minutes, reads long, thinks over every step."""
    async for _ in Attentive(desk, _SLOW).shift():
        yield


async def careless(desk: Desk) -> AsyncGenerator[None, None]:
    """Takes the first red row, skips the runbook unread, goes back to any version at hand; then the next row."""
    tried: set[DeploymentId] = set()
    while len(tried) < 3:
        red = [view for view in sight.alarming(desk.seen) if view.id not in tried]
        if not red:
            yield
            continue
        view = red[0]
        tried.add(view.id)
        walk = await desk.start_walk(sight.runbook_named(desk.seen, view.rule.runbook), view.id)
        yield
        if walk is not None:
            for step in sight.open_steps(desk.seen, walk):
                await desk.mark(walk, step.step.id, StepState.SKIPPED, "no time")
            await desk.end_walk(walk)
        plan = await desk.plan(view.id)
        if plan is None:
            served = view.serving_version
            if served is not None and served.isdecimal() and int(served) > 1:
                plan = await desk.plan(view.id, to=str(int(served) - 1))
        if plan is not None:
            await desk.execute(plan, "it is red")
        yield


async def nobody(desk: Desk) -> AsyncGenerator[None, None]:
    """Never does anything."""
    while True:
        yield


def _asleep_until(minutes: str) -> Script:
    if not minutes.isascii() or not minutes.isdecimal() or len(minutes) > 4:
        raise UsageError(f"asleep until minute {plain(minutes, 20)} is no time", "write `asleep:20`, in whole minutes")
    seconds = int(minutes) * 60.0

    async def asleep(desk: Desk) -> AsyncGenerator[None, None]:
        async for _ in desk.wait(seconds):
            yield
        async for _ in perfect(desk):
            yield

    return asleep


OPERATORS: dict[str, Script] = {
    "perfect": perfect,
    "slow": slow,
    "careless": careless,
    "asleep": nobody,
    AUTOMATIC: nobody,
}
