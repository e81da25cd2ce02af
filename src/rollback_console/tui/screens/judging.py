"""Judging afterwards: one form for whatever is over; signed with one key, and nothing lost by a no."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding

from rollback_console.model.judgement import Docket, FollowUp, Judgement, Subject
from rollback_console.tui.keys import OwnKey
from rollback_console.tui.screens.base import ConsoleScreen
from rollback_console.tui.widgets import judging
from rollback_console.tui.widgets.judging import Row
from rollback_console.tui.widgets.lines import Lines, line, paragraph, redraw
from rollback_console.tui.widgets.prompt import PromptScreen, YesNoScreen


class JudgingScreen(ConsoleScreen):
    """The form. It begins with what the last judgement on the subject says; what is written here stays, for each
    subject, until it is signed or thrown away."""

    place = "judging"
    DEFAULT_CSS = "JudgingScreen Lines { padding: 0 1; }"
    BINDINGS = [  # noqa: RUF012 - Textual's own form
        Binding("down,j,tab", "screen.move(1)", show=False),  # none first: keys that come in a burst keep their order
        Binding("up,k,shift+tab", "screen.move(-1)", show=False),
        Binding("right,l", "screen.turn(1)", show=False),
        Binding("left,h", "screen.turn(-1)", show=False),
        Binding("enter", "screen.edit", show=False),
        Binding("x,delete", "screen.remove", show=False),
        Binding("s", "screen.sign", show=False),
        Binding("escape", "screen.back", show=False),
    ]
    own_keys: ClassVar[tuple[OwnKey, ...]] = (
        OwnKey("← →", "Another answer", "of a row that chooses"),
        OwnKey("enter", "Write, or the next answer", "a follow-up: it is done"),
        OwnKey("x", "Take an item out", "a deviation, a lesson; a follow-up is dropped, with a reason"),
        OwnKey("s", "Sign and write", "a later judgement supersedes, and erases nothing", "sign"),
        OwnKey("escape", "Back", "asks first where something is not signed"),
    )

    def __init__(self, docket: Docket, subject: str) -> None:
        super().__init__()
        self._docket = docket
        self._order = sorted(docket.subjects, key=lambda each: (each.kind == "move", -each.began_at))
        self._subject = docket.subject(subject) or self._order[0]
        self._drafts: dict[str, Judgement] = {}
        self._chosen = 0
        self._problem = ""
        self._meanwhile: Judgement | None = None
        self._busy = False

    # -- what is shown

    @property
    def draft(self) -> Judgement:
        """What stands in the form."""
        return self._drafts.get(self._subject.id) or self._fresh(self._subject)

    def _fresh(self, subject: Subject) -> Judgement:
        last = self._docket.judgement(subject.id)
        if last is None:
            return Judgement(subject.id)
        from dataclasses import replace

        return replace(last, supersedes=last.seq, seq=0, at=0.0, by="", hash="", signed="")

    @property
    def _changed(self) -> bool:
        return any(
            draft != self._fresh(subject)
            for subject in self._docket.subjects
            if (draft := self._drafts.get(subject.id)) is not None
        )

    @property
    def _follow_ups(self) -> tuple[FollowUp, ...]:
        return tuple(each for each in self._docket.follow_ups if each.incident == self._subject.id)

    @property
    def _rows(self) -> list[Row]:
        return judging.rows(self.draft, self._follow_ups)

    @property
    def _row(self) -> Row:
        rows = self._rows
        return rows[min(self._chosen, len(rows) - 1)]

    def compose_body(self) -> ComposeResult:
        yield Lines(self._lines, id="form", focusable=False)
        yield Lines(self._note, id="note", grow=True, focusable=False)  # always in sight: why not, and what is asked

    def footer_hints(self) -> tuple[tuple[str, str], ...]:
        what = {
            "choice": ("←→", "choose"), "text": ("enter", "write"), "item": ("enter", "write"), "add": ("enter", "add"),
            "follow": ("enter", "done"), "open": ("enter", "add"),
        }[self._row.kind]  # fmt: skip
        more = (("x", "take out"),) if self._row.kind in ("item", "follow") else ()
        return (("s", "sign"), what, *more, ("↑↓", "row"), ("escape", "back"))

    def _lines(self, width: int, height: int) -> list[Text]:
        width = min(width - 1, 110)
        draft, rows = self.draft, self._rows
        shown = judging.subject_words(self._subject, self._subject.id in self._docket.waiting)
        lines = [*judging.head(self._subject, self._docket.judgement(self._subject.id), width), line("")]
        self._first = len(lines)
        lines += [
            judging.drawn(row, draft, self._follow_ups, shown, width, chosen=index == self._chosen)
            for index, row in enumerate(rows)
        ]
        return lines

    def _note(self, width: int, height: int) -> list[Text]:
        width = min(width - 1, 110)
        lines = [line((judging.HINTS[self._row.field], "dim"))]
        if self._meanwhile is not None:
            said = self._meanwhile
            words = ", ".join(filter(None, (said.root_cause, said.right, said.actual, *said.lessons))) or "little"
            told = f"entry {said.seq} by {said.by or 'somebody'} says: {words}. s again puts yours in its place."
            lines += paragraph(f"Judged meanwhile: {told}", width, "warn", most=4)
        elif self._problem:
            lines += paragraph(self._problem, width, "bad", first="✗ ", most=4)
        return lines

    def _draw(self) -> None:
        if redraw(self, "form", "note"):
            self.query_one("#form", Lines).reveal(getattr(self, "_first", 0) + self._chosen)
        self.refresh_footer()

    # -- what keys do

    def action_move(self, step: int) -> None:
        self._chosen = max(0, min(len(self._rows) - 1, self._chosen + step))
        self._draw()

    def on_lines_chosen(self, message: Lines.Chosen) -> None:
        at = message.row - getattr(self, "_first", 0)
        if message.view.id == "form" and 0 <= at < len(self._rows):
            again, self._chosen = at == self._chosen, at
            self._draw()
            if again:
                self.action_edit()

    def action_turn(self, step: int) -> None:
        row = self._row
        if row.field == "subject":
            at = self._order.index(self._subject)
            self._subject = self._order[(at + step) % len(self._order)]
            self._problem, self._meanwhile = "", None
        elif row.kind == "choice":
            self._keep(judging.turned(self.draft, row.field, self._docket, step))
        self._draw()

    def action_edit(self) -> None:
        row = self._row
        if row.kind == "choice":
            self.action_turn(1)
        elif row.kind == "follow":
            self._end_follow_up(self._follow_ups[row.index])
        elif row.kind == "open":
            self._ask_follow_up()
        else:
            self._write(row)

    def _write(self, row: Row) -> None:
        index = row.index if row.kind == "item" else len(getattr(self.draft, row.field))

        def told(text: str | None) -> None:
            if text and row.kind == "text":
                self._keep(judging.with_answer(self.draft, row.field, text))
            elif text:
                self._keep(judging.with_item(self.draft, row.field, index, text))
            self._draw()

        title = f"{judging.HINTS[row.field][:1].upper()}{judging.HINTS[row.field][1:]}"
        prompt = PromptScreen(
            title, self._subject.id, placeholder="one line", value=judging.text_of(self.draft, row), limit=4_000
        )
        self.app.push_screen(prompt, told)

    def action_remove(self) -> None:
        row = self._row
        if row.kind == "item":
            self._keep(judging.with_item(self.draft, row.field, row.index, None))
        elif row.kind == "text":
            self._keep(judging.with_answer(self.draft, row.field, ""))
        elif row.kind == "follow" and self._follow_ups[row.index].state == "open":
            follow_up = self._follow_ups[row.index]
            self.ask("Drop the follow-up?", follow_up.what, lambda why: self._ended(follow_up, why, dropped=True))
        self._draw()

    def _keep(self, judgement: Judgement) -> None:
        self._drafts[self._subject.id] = judgement
        self._problem = ""

    # -- writing

    def action_sign(self) -> None:
        if self._busy or self.commands is None:
            return
        self._busy = True
        self.run_command(self.commands.judge(self.draft), "judge", self._written, self._refused)

    def _written(self, judgement: Judgement) -> None:
        self._busy, self._problem, self._meanwhile = False, "", None
        self._drafts.pop(self._subject.id, None)
        self.say(f"judged {judgement.subject}: entry {judgement.seq}" + (", signed" if judgement.signed else ""))
        self._reload()

    def _refused(self, why: str) -> None:
        """Nothing is lost: what stands in the form stays, and what somebody else wrote meanwhile is shown."""
        self._busy, self._problem = False, why
        self._keep_problem(why)
        self._draw()
        self._reload()

    def _keep_problem(self, why: str) -> None:
        self._drafts[self._subject.id] = self.draft
        self._problem = why

    def _reload(self) -> None:
        if self.commands is not None:
            self.run_command(self.commands.docket(), "judge", self._loaded)

    def _loaded(self, docket: Docket) -> None:
        from dataclasses import replace

        draft, self._docket = self._drafts.get(self._subject.id), docket
        last = docket.judgement(self._subject.id)
        if draft is not None and last is not None and draft.supersedes != last.seq:
            self._meanwhile = last
            self._drafts[self._subject.id] = replace(draft, supersedes=last.seq)
        self._subject = docket.subject(self._subject.id) or self._subject
        self._order = [docket.subject(each.id) or each for each in self._order]
        self._draw()

    def _ask_follow_up(self) -> None:
        def wrong(text: str) -> str:
            try:
                judging.parse_follow_up(text)
            except ValueError as error:
                return str(error)
            return ""

        def told(text: str | None) -> None:
            if text and self.commands is not None:
                owner, day, what = judging.parse_follow_up(text)
                self.run_command(
                    self.commands.follow_up(self._subject.id, what, owner, day), "follow-up", lambda _: self._reload()
                )

        prompt = PromptScreen("A follow-up", judging.HINTS["follow_up"], placeholder="ana 2026-12-24 what", check=wrong)
        self.app.push_screen(prompt, told)

    def _end_follow_up(self, follow_up: FollowUp) -> None:
        if follow_up.state != "open":
            self.say(f"{follow_up.id} is {follow_up.state} already")
            return

        def told(yes: bool | None) -> None:
            if yes:
                self._ended(follow_up, "")

        self.app.push_screen(YesNoScreen("Is it done?", follow_up.what), told)

    def _ended(self, follow_up: FollowUp, why: str, *, dropped: bool = False) -> None:
        if self.commands is not None:
            self.run_command(
                self.commands.end_follow_up(follow_up.id, why, dropped=dropped), "follow-up", lambda _: self._reload()
            )

    def action_back(self) -> None:
        if not self._changed:
            self.app.pop_screen()
            return

        def told(yes: bool | None) -> None:
            if yes:
                self.app.pop_screen()

        hint = "What you wrote here is thrown away; s signs it."
        self.app.push_screen(YesNoScreen("Leave without signing?", hint), told)
