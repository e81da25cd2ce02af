"""Shows a detail screen on a sample in a real terminal, to look at it: `python tests/tui/show_detail.py SCREEN SAMPLE`.

SCREEN: deployment, rollback, runbook or library. SAMPLE: plain, pending, evidence, blocked, walk, or an
execution's state.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import tui_detail_samples as samples
import tui_evidence_samples as evidence

from rollback_console.model.plan import ExecutionState
from rollback_console.model.snapshot import Snapshot


def _sample(name: str) -> tuple[Snapshot, samples.FakeCommands]:
    state = next((s for s in ExecutionState if s.name.lower() == name), None)
    if state is not None:
        return samples.snapshot(executions=(samples.execution(state),)), samples.FakeCommands()
    if name == "pending":
        return samples.snapshot(samples.pending_view()), samples.FakeCommands()
    if name == "evidence":
        return evidence.snapshot(), samples.FakeCommands()
    if name == "walk":
        return samples.snapshot(walks=(samples.WALK,)), samples.FakeCommands()
    if name == "blocked":
        return samples.snapshot(), samples.FakeCommands(samples.BLOCKED)
    return samples.snapshot(), samples.FakeCommands()


def main() -> None:
    """Shows deployment, rollback, runbook or library with a sample: pending, blocked, walk or an execution's state."""
    from rollback_console.tui.screens.deployment import DeploymentScreen
    from rollback_console.tui.screens.rollback import RollbackScreen
    from rollback_console.tui.screens.runbook import RunbookScreen

    which = sys.argv[1] if len(sys.argv) > 1 else "deployment"
    shown, commands = _sample(sys.argv[2] if len(sys.argv) > 2 else "plain")
    screens: dict[str, Callable[[], Any]] = {
        "deployment": lambda: DeploymentScreen(samples.ID),
        "rollback": lambda: RollbackScreen(samples.ID),
        "runbook": lambda: RunbookScreen(samples.ID, None),
        "library": lambda: RunbookScreen(None, None),
    }
    samples.app_on(screens[which], shown, commands, time.monotonic).run()


if __name__ == "__main__":
    main()
