"""What stands in the fleet's place while there is nothing to show: why, and what to do."""

from __future__ import annotations

from rollback_console.model.observation import BackendState
from rollback_console.model.snapshot import Snapshot
from rollback_console.model.text import duration, plain


def trouble(snapshot: Snapshot, now: float) -> tuple[str, ...]:
    """One line for each backend that fails: since when, and why."""
    lines = []
    for backend in snapshot.backends:
        if backend.state is BackendState.FAILING:
            since = f", last answer {duration(now - backend.last_ok)} ago" if backend.last_ok is not None else ""
            lines.append(plain(f"{backend.name} fails{since}: {backend.detail or 'no reason given'}", 300))
    return tuple(lines)


def nothing_yet(snapshot: Snapshot | None, problem: str, filtered: str, now: float) -> tuple[str, ...]:
    """What stands in the fleet's place while there is nothing to show: why, and what to do."""
    if snapshot is None:
        remedy = "q leaves; `rollback-console doctor` looks closer."
        return ("The console could not start.", plain(problem, 300), "", remedy)
    if filtered:
        return (f"No deployment matches “{plain(filtered, 80)}”.", "escape clears the filter")
    if snapshot.notice:
        return (plain(snapshot.notice, 300), *trouble(snapshot, now))
    broken = trouble(snapshot, now)
    if broken:
        return ("No backend has answered yet.", *broken)
    return (
        "No deployments: no policy names one.",
        "`rollback-console init` drafts a policy from a live Prometheus and MLflow;",
        "`rollback-console demo` shows a simulated fleet.",
    )
