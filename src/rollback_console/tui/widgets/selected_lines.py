"""What is said of the selected deployment: in a few lines, or in a panel."""

from __future__ import annotations

from rich.style import Style

from rollback_console.model.declaring import expected_words
from rollback_console.model.snapshot import DeploymentView, Snapshot
from rollback_console.model.text import duration, plain, span
from rollback_console.model.verdict import TriggerState
from rollback_console.tui.themes import WORDS, Ink
from rollback_console.tui.widgets import fleet_rows
from rollback_console.tui.widgets.band import utc
from rollback_console.tui.widgets.cells import Part, fit, width_of, wrap
from rollback_console.tui.widgets.selected import recommended

Line = list[Part]


def _heading(view: DeploymentView, width: int, ink: Ink) -> Line:
    tier = plain(view.deployment.tier, 12)
    version = fleet_rows.version_text(view)
    name = fit(plain(view.id, 160), min(width_of(plain(view.id, 160)), max(8, width - len(tier) - len(version) - 9)))
    parts: Line = [
        ("── ", ink.rule),
        (f"{name} ", ink.strong),
        (version, ink.bad if view.disagrees else ink.text),
        (f" · {tier} ", ink.dim),
    ]
    used = sum(width_of(text) for text, _ in parts)
    return [*parts, ("─" * max(0, width - used), ink.rule)]


def _paragraph(label: str, text: str, width: int, most: int, ink: Ink, style: Style | None = None) -> list[Line]:
    indent = len(label)
    lines = wrap(plain(text, 600), width - indent - 1, most)
    body = style if style is not None else ink.text
    return [[(label if at == 0 else " " * indent, ink.dim), (line, body)] for at, line in enumerate(lines)]


def short_lines(view: DeploymentView, snapshot: Snapshot, width: int, height: int, ink: Ink) -> list[Line]:
    """Heading, sentence, advice, impact: as many as fit in `height`, the sentence first."""
    lines = [_heading(view, width, ink)]
    verdict = view.verdict
    if verdict is None:
        return [*lines, [(" waiting for the first evaluation", ink.dim)]]
    tail = _advice(view, snapshot, width, max(1, height - 4), ink, ink.text)
    if verdict.impact.score > 0 and (height >= 5 or not tail):
        tail.append([(" " + fit(fleet_rows.impact_sentence(verdict.impact, width - 2), width - 2), ink.text)])
    if not tail:
        signals = fleet_rows.worst_first(view)[: max(0, height - 3)]
        tail = [[(" ", ink.text), *fleet_rows.signal_parts(view, s, width - 2, ink)] for s in signals]
    room = max(1, height - 1 - len(tail))
    lines += _paragraph(" ", verdict.sentence, width, min(2, room), ink)
    return [*lines, *tail][:height]


def tall_lines(view: DeploymentView, snapshot: Snapshot, now: float, width: int, ink: Ink) -> list[Line]:
    """The side panel: state, sentence, signals, impact, advice, where it comes from, what it hangs on."""
    lines = [_heading(view, width, ink)]
    verdict = view.verdict
    if verdict is None:
        return [*lines, [], [(" waiting for the first evaluation", ink.dim)]]
    lines.append(_state_line(view, now, ink))
    if people := snapshot.people_at(view.id):
        lines += _paragraph(" ", people, width, 2, ink, ink.dim)
    if view.expected is not None and view.expected.until > now:
        lines += _paragraph(" ", expected_words(view.expected, now), width, 2, ink, ink.good)
    lines += [*_paragraph(" ", verdict.sentence, width, 4, ink), []]
    for signal in fleet_rows.worst_first(view):
        lines.append([(" ", ink.text), *fleet_rows.signal_parts(view, signal, width - 2, ink)])
        if signal.note:
            lines.append([("   " + fit(plain(signal.note, 200), width - 4), ink.dim)])
    lines.append([])
    if verdict.impact.score > 0:
        lines += _paragraph(" ", fleet_rows.impact_sentence(verdict.impact), width, 2, ink)
    lines += _advice(view, snapshot, width, 4, ink, ink.strong)
    incident = next((i for i in snapshot.incidents if i.id == view.incident and i.closed_at is None), None)
    if incident is not None:
        lines.append([])
        who = f" · commander {plain(incident.commander, 30)}" if incident.commander else ""
        kind = incident.attribution.kind.value
        lines.append([(" likely ", ink.dim), (kind, ink.strong), (who, ink.dim)])
        for reason in incident.attribution.reasons[:4]:
            lines += _paragraph("  · ", reason, width, 2, ink)
    return [*lines, [], *_about(view, width, ink)]


def _advice(view: DeploymentView, snapshot: Snapshot, width: int, most: int, ink: Ink, style: Style) -> list[Line]:
    """What is advised; while something is executed, that instead: there is nothing to decide."""
    running = fleet_rows.live_execution(snapshot, view.id)
    if running is not None:
        text = f"{fleet_rows.busy_text(running)}; a leads to it (by {running.operator} since {utc(running.started_at)})"
        return _paragraph(" ", text, width, most, ink, ink.good)
    advice = recommended(view, snapshot)
    return _paragraph(" advice  ", advice.sentence, width, most, ink, style) if advice is not None else []


def _state_line(view: DeploymentView, now: float, ink: Ink) -> Line:
    verdict = view.verdict
    if verdict is None:
        return []
    parts: Line = [(" ", ink.text), *fleet_rows.state_parts(view, ink)]
    clock = fleet_rows.clock_text(verdict, now)
    what = {
        TriggerState.PENDING: "fires in ",
        TriggerState.CLEARING: "clears in ",
        TriggerState.BLIND: "fires as blind in ",
    }.get(verdict.state, "")
    if clock == "frozen":
        left = verdict.dwell_remaining_s if verdict.state is TriggerState.PENDING else verdict.hold_remaining_s
        what, clock = "the clock is ", "frozen" + (f" at {duration(left)}" if left is not None else "")
    elif clock == "due":
        what = "at the next evaluation: "
    elif clock.startswith("≈"):
        what, clock = "", f"{clock} if it stays"
    if clock:
        parts.append((what + clock, ink.states[verdict.state]))
    if verdict.since is not None:
        parts.append((f"  since {utc(verdict.since)} UTC", ink.dim))
    if verdict.cooling:
        parts.append((f"  {WORDS[TriggerState.COOLING].lower()}: no automatic action", ink.dim))
    return parts


def _about(view: DeploymentView, width: int, ink: Ink) -> list[Line]:
    rule, deployment = view.rule, view.deployment
    facts = [
        ("trigger", f"{rule.trigger.text} for {span(rule.trigger.dwell_s)}"),
        ("needs", ", ".join(deployment.depends_on)),
        ("owners", ", ".join(deployment.owners)),
        ("runbook", rule.runbook or ""),
        ("policy", f"{rule.policy} {rule.policy_version} · {rule.mode.value}"),
    ]
    lines: list[Line] = []
    for label, text in facts:
        if text:
            lines += _paragraph(f" {label:8}", text, width, 2, ink, ink.dim)
    return lines
