"""The Deployment screen: what it does now, why, what changed, and which versions there are.

Four sections, `1` to `4`. Below 110 columns one shows at a time under a head that always shows; above, signals and
logic stand at the left, changes and versions at the right. Nothing is left out at any size: sections scroll.
"""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal

from rollback_console.model.declared import said_by
from rollback_console.model.declaring import expected_words, stretch_words
from rollback_console.model.identity import DeploymentId
from rollback_console.model.incident import Incident
from rollback_console.model.snapshot import DeploymentDetail, DeploymentView, Explanation, Snapshot
from rollback_console.model.text import number, plain
from rollback_console.model.verdict import ImpactPart
from rollback_console.tui.keys import OwnKey, act_bindings
from rollback_console.tui.offers import offered, standing_here
from rollback_console.tui.screens.base import ConsoleScreen
from rollback_console.tui.widgets.changes import difference_lines, link_lines, move_lines, version_lines
from rollback_console.tui.widgets.fleet_rows import busy_text, live_execution
from rollback_console.tui.widgets.glyphs import glyph_set
from rollback_console.tui.widgets.lines import (
    Lines,
    alarm_lines,
    clip,
    heading,
    line,
    paragraph,
    redraw,
    utc,
    version_word,
    wrap,
)
from rollback_console.tui.widgets.selected import recommended
from rollback_console.tui.widgets.signals import plot_section, signal_lines
from rollback_console.tui.widgets.state import clock_of, dwell_bar, state_word
from rollback_console.tui.widgets.trigger import trigger_lines

SECTIONS = ("Signals", "Why", "Changed", "Versions")
_WIDE = 110


class DeploymentScreen(ConsoleScreen):
    """One deployment. Asks for its details on entering, and says on leaving that nobody looks any more."""

    place = "deployment"
    DEFAULT_CSS = """
    DeploymentScreen #columns { height: 1fr; }
    DeploymentScreen #left, DeploymentScreen #right { width: 1fr; padding: 0 1; }
    DeploymentScreen #head, DeploymentScreen #tabs { padding: 0 1; }
    DeploymentScreen #tabs { background: $surface; }
    """
    BINDINGS = [  # noqa: RUF012 - Textual's own form
        *act_bindings("deployment"),
        *(Binding(str(i + 1), f"screen.section({i})", name, show=False) for i, name in enumerate(SECTIONS)),
        Binding("tab,right,l", "screen.next_section(1)", "next section", show=False, priority=True),
        Binding("shift+tab,left,h", "screen.next_section(-1)", "section before", show=False, priority=True),
        Binding("down,j", "screen.move(1)", "signal below", show=False, priority=True),
        Binding("up,k", "screen.move(-1)", "signal above", show=False, priority=True),
        Binding("escape", "app.pop_screen", "back", show=False),
    ]

    own_keys: ClassVar[tuple[OwnKey, ...]] = (
        *(
            OwnKey(str(i + 1), name, help_text, f"section({i})")
            for i, (name, help_text) in enumerate(
                zip(
                    SECTIONS,
                    (
                        "with plots over time",
                        "the trigger's logic, what would change it, the cost",
                        "since when",
                        "and links",
                    ),
                    strict=True,
                )
            )
        ),
        OwnKey("tab", "The next section", "shift+tab: the one before"),
        OwnKey("↑ ↓", "Which signal is plotted", "elsewhere they scroll"),
    )

    def __init__(self, deployment_id: DeploymentId, section: int = 0) -> None:
        super().__init__()
        self._deployment = deployment_id
        self._section = section
        self._chosen = 0
        self._looking = False  # did we tell the engine that somebody looks
        self._tops: dict[int, int] = {}  # with two columns: the line at which each section begins

    @property
    def acts_on(self) -> DeploymentId:
        return self._deployment

    @property
    def looking(self) -> str:
        return {0: "signals", 1: "why", 2: "what changed", 3: "versions"}[self._section]

    @property
    def section(self) -> int:
        """Index of the section that shows (or, with two columns, that the keys move in)."""
        return self._section

    def compose_body(self) -> ComposeResult:
        yield Lines(self._head, id="head", grow=True, focusable=False)
        yield Lines(self._tabs, id="tabs", grow=True, focusable=False)
        with Horizontal(id="columns"):
            yield Lines(self._left, id="left")
            yield Lines(self._right, id="right")

    def on_mount(self) -> None:
        self._arrange()
        self._tell_focus()

    def on_unmount(self) -> None:
        if self._looking and self.commands is not None:
            self.run_command(self.commands.focus(None), "details")

    def _tell_focus(self) -> None:
        if not self._looking and self.commands is not None:
            self._looking = True
            self.run_command(self.commands.focus(self._deployment), "details")

    @property
    def _wide(self) -> bool:
        return self.size.width >= _WIDE

    def on_resize(self) -> None:
        self._arrange()

    def _arrange(self) -> None:
        if not self.query("#right"):
            return
        self.query_one("#right").display = self._wide
        self.query_one("#right" if self._wide and self._section > 1 else "#left", Lines).focus()
        self._draw()

    def _draw(self) -> None:
        redraw(self)

    def on_snapshot(self, snapshot: Snapshot) -> None:
        self._tell_focus()
        self._draw()

    def on_second(self) -> None:
        redraw(self, "head")

    def hidden_acts(self) -> frozenset[str]:
        return frozenset({"why"})  # one of the sections that the footer names

    def footer_hints(self) -> tuple[tuple[str, str], ...]:
        return (("1-4", "sections"), ("↑↓", "signal" if self._section == 0 else "scroll"))

    def act_why(self) -> None:
        self.action_section(SECTIONS.index("Why"))

    # ── moving

    def action_section(self, index: int) -> None:
        changed = index != self._section
        self._section = index
        self.console_app.looked(self.looking)
        self._arrange()
        self.refresh_frame()
        if self._wide:
            column = self.query_one("#right" if index > 1 else "#left", Lines)
            column.scroll_to(y=self._tops.get(index, 0), animate=False, force=True)
        elif changed:
            self.query_one("#left", Lines).scroll_home(animate=False)

    def action_next_section(self, step: int) -> None:
        self.action_section((self._section + step) % len(SECTIONS))

    def action_move(self, step: int) -> None:
        view = self.snapshot.view(self._deployment) if self.snapshot else None
        if self._section == 0 and view is not None and view.rule.signals:
            self._chosen = max(0, min(len(view.rule.signals) - 1, self._chosen + step))
            left = self.query_one("#left", Lines)
            left.rebuild()
            left.reveal(self._chosen + 1)
            return
        column = self.query_one("#right" if self._wide and self._section > 1 else "#left", Lines)
        column.scroll_relative(y=step, animate=False, force=True)

    def on_lines_chosen(self, message: Lines.Chosen) -> None:
        view = self.snapshot.view(self._deployment) if self.snapshot else None
        if message.view.id == "left" and view and 1 <= message.row <= len(view.rule.signals):
            if self._wide or self._section == 0:
                self._section, self._chosen = 0, message.row - 1
                self._draw()
        elif message.view.id == "tabs":
            self.action_next_section(1)

    # ── drawing

    def _view(self) -> DeploymentView | None:
        return self.snapshot.view(self._deployment) if self.snapshot else None

    def _head(self, width: int, height: int) -> list[Text]:
        snapshot, view = self.snapshot, self._view()
        if snapshot is None or view is None:
            why = "connecting" if snapshot is None else "this deployment is not in the fleet any more"
            return [line((clip(str(self._deployment), width), "title")), line((why, "dim"))]
        return head_lines(snapshot, view, width, self.console_app.now(), height=self.size.height)

    def _tabs(self, width: int, height: int) -> list[Text]:
        text = line("")
        for index, name in enumerate(SECTIONS):
            here = index == self._section
            text.append(f"[{index + 1} {name}]" if here else f" {index + 1} {name} ", "chosen" if here else "dim")
        if self._wide:
            text.append("   tab goes on, ↑↓ moves in it", "dim")
        return [text]

    def _left(self, width: int, height: int) -> list[Text]:
        snapshot, view = self.snapshot, self._view()
        if snapshot is None or view is None:
            return []
        if not self._wide:
            return self._one(self._section, snapshot, view, (width, height))
        signals = self._one(0, snapshot, view, (width, min(height, len(view.rule.signals) + 15)))
        self._tops[0], self._tops[1] = 0, len(signals) + 1
        return [*signals, line(""), *self._one(1, snapshot, view, (width, height))]

    def _right(self, width: int, height: int) -> list[Text]:
        snapshot, view = self.snapshot, self._view()
        if snapshot is None or view is None or not self._wide:
            return []
        changed = self._one(2, snapshot, view, (width, height))
        self._tops[2], self._tops[3] = 0, len(changed) + 1
        return [*changed, line(""), *self._one(3, snapshot, view, (width, height))]

    def _one(self, section: int, snapshot: Snapshot, view: DeploymentView, size: tuple[int, int]) -> list[Text]:
        width, height = size
        detail = snapshot.detail(self._deployment)
        incident = snapshot.incident_of(self._deployment)
        onset = incident.onset if incident else None
        if section == 0:
            glyphs = glyph_set()
            rows = signal_lines(view, self._chosen, width, glyph_set=glyphs)
            rows += [line("")] if height >= 20 else []
            room = max(9, height - len(rows))
            return [
                *rows,
                *plot_section(view, detail, onset, self._chosen, (width, min(16, room)), glyph_set=glyphs),
            ]
        if section == 1:
            return why_lines(snapshot, view, detail, width)
        if section == 2:
            return [
                *difference_lines(detail, width),
                line(""),
                *move_lines(detail, width, onset, str(self._deployment)),
            ]
        return [*version_lines(view, detail, width), line(""), *link_lines(view, width)]


def head_lines(snapshot: Snapshot, view: DeploymentView, width: int, now: float, *, height: int = 40) -> list[Text]:
    """What always shows: which deployment, its state and clock, why, the incident, and what is advised. On a screen
    that is not high its sentences are cut; section 2 has them in full."""
    most = 1 if height < 22 else 2
    verdict, deployment = view.verdict, view.deployment
    serving = version_word(view.serving_version)
    tail = f"  {plain(deployment.tier, 12)}"
    where = f"  {clip(deployment.id.environment, 24)}{tail}"
    name = clip(deployment.id.name, max(8, width - len(serving) - len(where) - 2))
    rows = [line((f"{name} {serving}", "title"), (where, "dim"))]
    if view.disagrees:
        text = f"▲ the registry says {version_word(view.registry_version)}, serving reports {serving}"
        rows.append(line((clip(text, width), "warn")))
    if view.last_seen_at is not None and (verdict is None or verdict.version is None):
        text = f"? serving reports no version now; it last reported {serving} at {utc(view.last_seen_at)}"
        rows.append(line((clip(text, width), "blind")))
    rows += alarm_lines(snapshot.alarms_of(view.id), width)
    rows += _state_lines(snapshot, view, width, now, short=height < 30)
    if verdict is not None:
        rows += paragraph(verdict.sentence, width, most=most)
    incident = snapshot.incident_of(view.id)
    if incident is not None:
        rows += _incident_line(incident, width)
    elif (over := offered(snapshot, view.id)) is not None and over.closed_at is not None:
        when = stretch_words(over.onset, over.closed_at, now)
        rows.append(line((clip(f"incident {when} is over: X excludes it from the baselines", width), "dim")))
    running, advice = live_execution(snapshot, view.id), recommended(view, snapshot)
    if running is not None:
        text = f"{busy_text(running)}; a leads to it (by {plain(running.operator, 24)} since {utc(running.started_at)})"
        rows += paragraph(text, width, "accent", most=most)
    elif advice is not None:
        said = advice.sentence.startswith("do not roll back")
        what = "recommended: " if advice.path else "" if said else "no rollback: "
        rows += paragraph(advice.sentence, width, "bold", first=what, indent="  ", most=most)
    if height >= 30:
        rows += impact_lines(view, snapshot.explanation(view.id), width)
    return rows


def _state_lines(snapshot: Snapshot, view: DeploymentView, width: int, now: float, *, short: bool) -> list[Text]:
    """Glyph and word, the clock that runs, blind signals, and what holds noise back."""
    verdict = view.verdict
    glyph, word, role = state_word(verdict)
    clock = clock_of(view, now, snapshot)
    bar = dwell_bar(view, now, snapshot)
    state = line((f"{glyph} {word}", role), f"  {clock}" if clock else "", (f"  {bar}" if bar else "", role))
    if verdict is not None and verdict.blind and verdict.state.value != "blind":
        state.append(clip(f"  ? blind: {', '.join(verdict.blind)}", max(4, width - state.cell_len)), "blind")
    if verdict is not None and verdict.impact.score > 0 and short:
        state.append(f"  impact {verdict.impact.score:.0f} of 100", "dim")
    if view.snoozed_until is not None and view.snoozed_until > now:
        state.append(f"  snoozed until {utc(view.snoozed_until, seconds=False)}", "dim")
    if view.expected is None or view.expected.until <= now:
        return [state]
    words = expected_words(view.expected, now)
    if state.cell_len + len(words) + 2 <= width:
        state.append(f"  {words}", "accent")
        return [state]
    return [state, line((clip(words, width), "accent"))]


def _incident_line(incident: Incident, width: int) -> list[Text]:
    who = f" · {plain(incident.commander, 24)} commands" if incident.commander else ""
    count = f" · {len(incident.members)} deployments" if len(incident.members) > 1 else ""
    reason = f" · {plain(incident.attribution.reasons[0], 200)}" if incident.attribution.reasons else ""
    text = f"incident since {utc(incident.onset)} · {incident.attribution.kind}{count}{reason}{who}"
    return [line((clip(text, width), "dim"))]


def impact_lines(view: DeploymentView, told: Explanation | None, width: int) -> list[Text]:
    """What the degradation costs, with its parts, and what it comes to; nothing where it costs nothing."""
    impact = view.verdict.impact if view.verdict else None
    if impact is None or (impact.score <= 0 and not impact.parts):
        return []
    parts = [f"{plain(p.name, 20)} {_cost(p)} ({p.points:.0f})" for p in impact.parts]
    rows = [line((clip(f"impact {impact.score:.0f}: {' · '.join(parts)}", width), "dim"))]
    costs = "; ".join(filter(None, (told.total, told.waiting))) if told is not None else ""
    return [*rows, *paragraph(costs, width, "bold", most=1)] if costs else rows


def _cost(part: ImpactPart) -> str:
    """A part of the impact: a number with its unit, or the word that stands for it (`regulatory low`)."""
    unit = plain(part.unit, 16)
    return number(part.value, unit) if part.value is not None else unit or "–"


def why_lines(snapshot: Snapshot, view: DeploymentView, detail: DeploymentDetail | None, width: int) -> list[Text]:
    """All that is behind the head's sentences: the verdict, the trigger, the incident, the advice, the impact."""
    rows = []
    if view.verdict is None:
        rows += [line(("not evaluated yet", "dim")), line("")]
    elif len(wrap(view.verdict.sentence, width)) > 1:  # one line of it always shows in the head
        rows += [heading("In full", width), *paragraph(view.verdict.sentence, width), line("")]
    told = snapshot.explanation(view.id)
    rows += _told_lines("Why not", "what would have to change", told.why_not if told is not None else (), width)
    rows += trigger_lines(view.rule, view.verdict, detail.trigger if detail else None, width)
    rows += [line(""), *_told_lines("Why", "the numbers behind it", told.why, width)[:-1]] if told is not None else []
    rows += cost_lines(view, told, width)
    incident = snapshot.incident_of(view.id)
    if incident is not None:
        rows += [line(""), heading("Incident", width, f"{plain(incident.id, 40)} since {utc(incident.onset)}")]
        rows += paragraph(incident.sentence, width)
        rows += paragraph(f"likely origin: {incident.attribution.kind}", width, "bold")
        for reason in incident.attribution.reasons:
            rows += paragraph(reason, width, first="  · ")
        others = [str(member) for member in incident.members if member != view.id]
        if others:
            rows += paragraph(", ".join(others), width, "dim", first="with: ", most=6)
    rows += left_out_lines(snapshot, view, width)
    advice = recommended(view, snapshot)
    if advice is not None:
        rows += [line(""), heading("Advice", width, f"runbook {advice.runbook}" if advice.runbook else "")]
        rows += paragraph(advice.sentence, width)
    return rows


def left_out_lines(snapshot: Snapshot, view: DeploymentView, width: int) -> list[Text]:
    """The stretches that a person took out of its baselines, the newest first; nothing where there are none."""
    standing = sorted(standing_here(snapshot, view.id), key=lambda each: -each.start)
    if not standing:
        return []
    rows = [line(""), heading("Left out of its baselines", width, "R puts the last one back")]
    for each in standing[:5]:
        words = f"{stretch_words(each.start, each.end, snapshot.at)} UTC  {plain(said_by(each.by, each.reason), 200)}"
        rows += paragraph(words, width, first="· ", most=2)
    if len(standing) > 5:
        rows.append(line((f"  and {len(standing) - 5} more: rollback-console baseline list", "dim")))
    return rows


def _told_lines(title: str, note: str, sentences: tuple[str, ...], width: int) -> list[Text]:
    """Sentences under their heading, and an empty line; nothing where there are none."""
    rows = [row for sentence in sentences for row in paragraph(sentence, width, first="· ", most=4)]
    return [heading(title, width, note), *rows, line("")] if rows else []


def cost_lines(view: DeploymentView, told: Explanation | None, width: int) -> list[Text]:
    """What it costs: each part with its value, range, source, and how it came to its points; the sums."""
    impact = view.verdict.impact if view.verdict else None
    if impact is None or not impact.parts:
        return []
    rows = [line(""), heading("Impact", width, f"score {impact.score:.0f} of 100")]
    formulas = told.formulas if told is not None and len(told.formulas) == len(impact.parts) else ()
    for index, part in enumerate(impact.parts):
        ends = part.interval
        between = f" [{number(ends[0])} to {number(ends[1])}]" if ends is not None else ""
        text = f"{_cost(part)}{between}, {part.points:.0f} points; {plain(part.source, 300)}"
        rows += paragraph(text, width, first=f"{clip(part.name, 16)}: ", indent="  ", most=3)
        if formulas and part.points > 0:
            rows += paragraph(formulas[index], width, "dim", first="  ", most=2)
    if told is not None and told.total:
        since = f", since {utc(impact.since)} UTC" if impact.since is not None else ""
        rows += paragraph(told.total + since, width, "bold", most=3)
    if told is not None and told.waiting:
        rows += paragraph(told.waiting, width, "bold", most=3)
    return rows
