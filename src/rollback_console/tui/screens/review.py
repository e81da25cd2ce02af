"""Review: the incidents of a journal, from first breach until recovered; enter opens one under the scrubber."""

from __future__ import annotations

import asyncio
import importlib
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding

from rollback_console.model.text import plain, span
from rollback_console.tui.keys import OwnKey, act_bindings
from rollback_console.tui.screens.review_base import ReviewBase
from rollback_console.tui.widgets.band import utc as clock
from rollback_console.tui.widgets.lines import Lines, clip, fit, heading, line, paragraph, redraw
from rollback_console.tui.widgets.timeline import day_of

if TYPE_CHECKING:
    from rollback_console.model.identity import DeploymentId
    from rollback_console.model.review import Episode
    from rollback_console.model.snapshot import Snapshot
    from rollback_console.review.scrub import Scrub

_PROBLEMS = 4


class ReviewScreen(ReviewBase):
    """The list. The first row is the whole journal; the newest incident comes next."""

    DEFAULT_CSS = """
    ReviewScreen #head, ReviewScreen #chosen { padding: 0 1; }
    ReviewScreen #list { padding: 0 0 0 1; }
    ReviewScreen #chosen { background: $surface; }
    """
    BINDINGS = [  # noqa: RUF012 - Textual's own form
        *act_bindings("review"),
        Binding("down,j", "screen.move(1)", show=False, priority=True),
        Binding("up,k", "screen.move(-1)", show=False, priority=True),
        Binding("pagedown", "screen.move(10)", show=False, priority=True),
        Binding("pageup", "screen.move(-10)", show=False, priority=True),
        Binding("g,home", "screen.move(-1000000)", show=False, priority=True),
        Binding("G,end", "screen.move(1000000)", show=False, priority=True),
        Binding("enter", "screen.enter", show=False),
        Binding("t,slash", "screen.journal", show=False),
        Binding("d", "screen.differences", show=False),
    ]
    own_keys: ClassVar[tuple[OwnKey, ...]] = (
        OwnKey("enter", "Open it under the scrubber", "the first row: the whole journal", "enter"),
        OwnKey("t", "The timeline of everything", "/ searches it", "journal"),
        OwnKey("d", "Decisions that differ", "recorded, and made again", "differences"),
    )

    def __init__(self) -> None:
        super().__init__()
        self._row = 0
        self._by_hand = False
        self._lines: dict[tuple[Episode, int, int], Text] = {}

    @property
    def chosen(self) -> Episode | None:
        """The incident that is selected; None: the whole journal."""
        found = self._episodes()
        return found[self._row - 1] if 0 < self._row <= len(found) else None

    @property
    def acts_on(self) -> DeploymentId | None:
        episode = self.chosen
        return episode.incident.members[0] if episode is not None and episode.incident.members else None

    def compose_body(self) -> ComposeResult:
        yield Lines(self._head, id="head", grow=True, focusable=False)
        yield Lines(self._list, id="list")
        yield Lines(self._chosen, id="chosen", grow=True, focusable=False)

    def on_mount(self) -> None:
        self.query_one("#list", Lines).focus()
        self.run_worker(asyncio.to_thread(_load), group="load", exit_on_error=False)

    def footer_hints(self) -> tuple[tuple[str, str], ...]:
        return (("enter", "open"), ("t", "timeline"), ("/", "search"), ("d", "differences"))

    def on_snapshot(self, snapshot: Snapshot) -> None:
        if self.scrub is not None and self.scrub.changed != self.on_scrubbed:
            self.scrub.changed = self.on_scrubbed  # it came after this screen
        self.on_scrubbed()

    def on_screen_resume(self) -> None:
        super().on_screen_resume()
        redraw(self)

    def on_scrubbed(self) -> None:
        super().on_scrubbed()
        if not self._by_hand and self._episodes():
            self._row = 1
        redraw(self)

    def on_second(self) -> None:
        if self.scrub is None or self.scrub.checked.done < 1.0:
            redraw(self, "head")

    # ── moving

    def action_move(self, step: int) -> None:
        self._by_hand = True
        self._row = max(0, min(len(self._episodes()), self._row + step))
        redraw(self, "list", "chosen")
        self.query_one("#list", Lines).reveal(self._row + 1)
        self.refresh_footer()

    def action_enter(self) -> None:
        scrub = self.scrub
        if scrub is None or not scrub.ready:
            self.say("still reading", "warning")
            return
        from rollback_console.tui.screens.review_moment import ReplayScreen

        scrub.enter(self.chosen)
        self.app.push_screen(ReplayScreen())

    def act_judge(self) -> None:
        """The incident that is chosen."""
        episode = self.chosen
        self.console_app.acts.act_judge(episode.incident.id if episode is not None else "")

    def action_journal(self) -> None:
        if self.scrub is None or not self.scrub.ready:
            self.say("still reading", "warning")
            return
        from rollback_console.tui.screens.review_timeline import ReviewTimeline

        self.scrub.enter(None)
        self.app.push_screen(ReviewTimeline(typing=False))

    def on_lines_chosen(self, message: Lines.Chosen) -> None:
        if message.view.id == "list" and message.row >= 1:
            again = self._row == message.row - 1
            self._by_hand, self._row = True, min(message.row - 1, len(self._episodes()))
            redraw(self, "list", "chosen")
            if again:
                self.action_enter()

    # ── drawing

    def _episodes(self) -> tuple[Episode, ...]:
        return self.scrub.episodes[::-1] if self.scrub is not None else ()

    def _head(self, width: int, height: int) -> list[Text]:
        scrub = self.scrub
        if scrub is None:
            why = str(self.console_app.problem) if self.console_app.problem is not None else "opening …"
            return [line((clip(why, width), "dim"))]
        source, index, checked = scrub.replay.source, scrub.replay.index, scrub.checked
        name = clip(source.path.name, max(10, width - 40))
        reading = "" if index.whole or scrub.problem else f"  reading {int(scrub.read * 100)} %"
        rows = [line((name, "title"), (f"  {source.what} of {len(index):,} entries", "dim"), (reading, "warn"))]
        rows += _believed(scrub, width)
        if checked.done >= 1.0:
            made = f"{checked.decisions:,} decisions made again, the same"
            differ = f", ≠ {len(checked.differences):,} otherwise" if checked.differences else ""
            untold = f", {checked.untold:,} cannot be" if checked.untold else ""
            rows.append(line((made, "dim"), (differ, "bad"), (clip(untold, width), "dim")))
        return rows

    def _list(self, width: int, height: int) -> list[Text]:
        scrub = self.scrub
        rows = [heading("Incidents", width - 1, "first breach to recovered, the newest first")]
        if scrub is None:
            return rows
        begins, ends = scrub.replay.index.ats[:1], scrub.replay.index.ats[-1:]
        stretch = f"{day_of(begins[0])} to {day_of(ends[0])}" if len(begins) else ""
        whole = line("▌" if self._row == 0 else " ", ("the whole journal", "bold"), (f"  {stretch}", "dim"))
        rows.append(_over(whole) if self._row == 0 else whole)
        for number, episode in enumerate(self._episodes(), 1):
            row = self._line(episode, scrub.differing(episode), width - 1)
            rows.append(_over(row) if number == self._row else row)
        if len(rows) == 2 and scrub.replay.index.whole:
            rows.append(line(("  no incident stands in this journal", "dim")))
        return rows

    def _line(self, episode: Episode, differing: int, width: int) -> Text:
        key = (episode, differing, width)
        if key not in self._lines:
            if len(self._lines) > 5_000:
                self._lines.clear()
            self._lines[key] = _episode_line(episode, differing, width)
        return self._lines[key]

    def _chosen(self, width: int, height: int) -> list[Text]:
        episode, scrub = self.chosen, self.scrub
        if episode is None or scrub is None:
            return [line(("enter opens all of it under the scrubber, from its end", "dim"))]
        rows = paragraph(episode.incident.sentence, width, "bold", most=2)
        reasons = episode.incident.attribution.reasons
        said = [reason for reason in reasons if reason not in episode.incident.sentence]
        rows += paragraph(said[0], width, first="· ", most=1) if said else []
        times = [f"first breach {clock(episode.begins)}"]
        times += [f"fired {clock(episode.fired_at)}"] if episode.fired_at is not None else []
        times += [f"rollback asked {clock(episode.decided_at)}"] if episode.decided_at is not None else []
        times.append(f"recovered {clock(episode.ends)}" if episode.ends is not None else "not recovered by the end")
        rows += paragraph(", ".join(times), width, "dim", most=2)
        judged = f"judged: {plain(episode.judged, 80)}" if episode.judged else "not judged"
        rows.append(line((f"incident {plain(episode.incident.id, 40)}, {judged}", "dim")))
        return rows


def _load() -> None:
    """What opens with the first keys, before they are pressed."""
    for name in ("review_moment", "review_timeline", "review_sheets", "deployment"):
        importlib.import_module(f"rollback_console.tui.screens.{name}")


def _believed(scrub: Scrub, width: int) -> list[Text]:
    """Why it may not be believed, or not all of it."""
    checked = scrub.checked
    rows: list[Text] = []
    if scrub.problem:
        rows += paragraph(scrub.problem, width, "bad", first="✗ ", most=2)
    if checked.done < 1.0:
        return rows
    for problem in checked.problems[:_PROBLEMS]:
        rows += paragraph(problem, width, "bad", first="✗ ", most=2)
    if len(checked.problems) > _PROBLEMS:
        rows.append(line((f"  and {len(checked.problems) - _PROBLEMS} more: review --plain lists them", "bad")))
    if checked.warnings:
        more = f" (and {len(checked.warnings) - 1} more)" if len(checked.warnings) > 1 else ""
        rows += paragraph(checked.warnings[0] + more, width, "warn", first="! ", most=2)
    return rows


def _episode_line(episode: Episode, differing: int, width: int) -> Text:
    """When, how long, what became of it, who, whence, and what was done."""
    incident = episode.incident
    over = episode.ends is not None
    lasted = span(max(0.0, (episode.ends or episode.begins) - episode.begins)) if over else "open"
    state, role = ("● recovered", "ok") if over else ("▲ open", "bad")
    if over and episode.fired_at is None:
        state, role = "◔ passed", "dim"
    done = f"→ {plain(episode.moved_to, 12)}" if episode.moved_to else "–"
    flags = f" ≠{differing}" if differing else ""
    first = incident.members[0].name if incident.members else "?"
    others = f" +{len(incident.members) - 1}" if len(incident.members) > 1 else ""
    origin = 15 if width >= 100 else 10
    room = max(8, width - 13 - 8 - 12 - origin - 1 - 8 - len(flags) - len(others) - 1)
    who = fit(clip(plain(first, 120), room) + others, room + len(others))
    return line(
        " ", f"{day_of(episode.begins)} {clock(episode.begins)[:5]}  ", (fit(lasted, 8), "dim"), (fit(state, 12), role),
        (who, "bold"), " ", (fit(str(incident.attribution.kind), origin), "dim"), fit(done, 8), (flags, "bad"),
    )  # fmt: skip


def _over(row: Text) -> Text:
    """The same line, selected."""
    chosen = line(("▌", "accent"))
    chosen.append_text(row[1:])
    chosen.stylize("chosen")
    return chosen
