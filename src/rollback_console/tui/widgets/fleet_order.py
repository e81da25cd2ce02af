"""Which deployments the fleet shows, and under which incident."""

from __future__ import annotations

from rollback_console.model.incident import Incident
from rollback_console.model.snapshot import DeploymentView, Snapshot
from rollback_console.tui.widgets import fleet_rows


def matches(view: DeploymentView, words: list[str]) -> bool:
    """Does a deployment show every word of a filter: in its name, environment, state, version, tier or incident."""
    verdict = view.verdict
    text = " ".join(
        (
            str(view.id),
            view.deployment.tier,
            view.rule.policy,
            verdict.state.value if verdict else "waiting",
            fleet_rows.version_text(view),
            view.incident or "",
            "blind" if verdict and verdict.blind else "",
            "alarm" if verdict and verdict.alarming else "",
            "snoozed" if view.snoozed_until is not None else "",
            "expected" if view.expected is not None else "",
        )
    ).lower()
    return all(word in text for word in words)


def grouped(snapshot: Snapshot, views: list[DeploymentView]) -> list[tuple[Incident | None, list[DeploymentView]]]:
    """The views by open incident in the order they come, most urgent first; those of none at the end."""
    open_ones = {incident.id: incident for incident in snapshot.incidents if incident.closed_at is None}
    groups: dict[str | None, list[DeploymentView]] = {}
    rest: list[DeploymentView] = []
    for view in views:
        if view.incident is not None and view.incident in open_ones:
            groups.setdefault(view.incident, []).append(view)
        else:
            rest.append(view)
    found: list[tuple[Incident | None, list[DeploymentView]]] = [
        (open_ones[key], members) for key, members in groups.items() if key is not None
    ]
    return [*found, (None, rest)] if rest else found
