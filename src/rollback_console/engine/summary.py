"""Ten plain lines for the incident channel: state, sentence, who, next update, UTC."""

from __future__ import annotations

from datetime import UTC, datetime

from rollback_console.decide.explain import in_absolute_times, signal_words
from rollback_console.model.declared import said_by
from rollback_console.model.identity import DeploymentId
from rollback_console.model.incident import Incident
from rollback_console.model.plan import ExecutionState
from rollback_console.model.snapshot import DeploymentView, Snapshot
from rollback_console.model.text import number, plain, span

NEXT_UPDATE_S = 900.0


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M UTC")


def _to_the_second(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S UTC")


def summarize(snapshot: Snapshot, deployment: DeploymentId | None = None) -> str:
    """The lines, newline-separated; at most ten, each safe for any terminal and plain in any chat.

    `deployment` chooses its incident (or itself where it has none); None the most urgent one.
    """
    incident = snapshot.incident_of(deployment) if deployment else next(iter(snapshot.incidents), None)
    views = _views(snapshot, incident, deployment)
    lines = [_headline(snapshot, incident, views)]
    if incident is not None:
        lines.append(f"Cause: {incident.sentence}")
    lines.extend(_view_line(view) for view in views[:3])
    if len(views) > 3:
        lines.append(f"And {len(views) - 3} more: {', '.join(view.id.name for view in views[3:9])}")
    lines.extend(_beside(views[:3]))
    if incident is not None and incident.recommendations:
        lines.append(f"Advice: {incident.recommendations[0].sentence}")
    if (doing := _doing(snapshot, views)) is not None:
        lines.append(doing)
    lines.append(_who(snapshot, incident))
    at = snapshot.evaluated_at
    seen = f"evaluated {_clock(at)}" if at is not None else "not evaluated yet"
    lines.append(f"Next update {_clock(snapshot.at + NEXT_UPDATE_S)} ({seen})")
    return "\n".join(plain(line, 300) for line in lines[:10])


def _views(snapshot: Snapshot, incident: Incident | None, deployment: DeploymentId | None) -> list[DeploymentView]:
    names = incident.members if incident is not None else ((deployment,) if deployment else ())
    return [view for view in snapshot.deployments if view.id in names]


def _headline(snapshot: Snapshot, incident: Incident | None, views: list[DeploymentView]) -> str:
    band = f"[{snapshot.band}] " if snapshot.simulated else ""
    if incident is None:
        what = str(views[0].id) if views else "fleet"
        state = views[0].verdict.state.upper() if views and views[0].verdict else "NO INCIDENT"
        return f"{band}{state} {what} at {_clock(snapshot.at)}"
    first = views[0] if views else None
    state = first.verdict.state.upper() if first is not None and first.verdict else "OPEN"
    since = f"since {_clock(incident.onset)} ({span(max(0.0, snapshot.at - incident.onset) // 60 * 60)})"
    count = f" and {len(incident.members) - 1} more" if len(incident.members) > 1 else ""
    return f"{band}{state} {incident.members[0]}{count}, {incident.id}, {since}"


def _view_line(view: DeploymentView) -> str:
    verdict = view.verdict
    if verdict is None:
        return f"{view.id}: not evaluated yet"
    cost = next((part for part in verdict.impact.parts if part.name == "revenue" and part.value is not None), None)
    money = f"; about {number(cost.value)} {cost.unit} at risk" if cost is not None else ""
    seen = f", last seen {_clock(view.last_seen_at)}" if view.last_seen_at is not None else ""
    change = view.expected
    said = plain(said_by(change.by, change.reason), 100) if change is not None else ""
    waits = f"; expected until {_clock(change.until)} ({said})" if change is not None else ""
    told = in_absolute_times(verdict, _to_the_second)
    return f"{view.id} v{view.serving_version or '?'}{seen}: {told}{waits}{money}"


def _beside(views: list[DeploymentView]) -> list[str]:
    """What else is to be known of them: inputs that drifted, slow signals that came out worse. One line at most."""
    told = [
        f"{view.id.name} {signal_words(rule, found, view.verdict.at)}"
        for view in views
        if view.verdict is not None
        for rule, found in zip(view.rule.signals, view.verdict.signals, strict=True)
        if found.aside and found.breached
    ]
    return [f"Besides: {'; '.join(told)}"] if told else []


def _doing(snapshot: Snapshot, views: list[DeploymentView]) -> str | None:
    names = {view.id for view in views}
    for execution in reversed(snapshot.executions):
        if execution.plan.deployment in names:
            plan = execution.plan
            said = execution.detail if execution.state is not ExecutionState.RUNNING else ""
            stands = said if said.startswith(execution.state) else ": ".join(filter(None, (execution.state, said)))
            return f"Rollback v{plan.from_version} to v{plan.to_version} by {execution.operator}: {stands}"
    return None


def _who(snapshot: Snapshot, incident: Incident | None) -> str:
    at_console = snapshot.operator.id if snapshot.operator is not None else "somebody without a key"
    commander = incident.commander if incident is not None and incident.commander else "none named"
    return f"At the console: {at_console}; commander: {commander}; {snapshot.hub}"
