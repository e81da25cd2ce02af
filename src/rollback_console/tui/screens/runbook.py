"""The Runbook screen: a document walked step by step beside the live panel of its deployment.

Every mark is a command that is journaled where it is done. A step that is one of the console's own acts is marked done
only when the journal shows that the act was done.
"""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal

from rollback_console.actions import BY_ID
from rollback_console.model.identity import DeploymentId
from rollback_console.model.plan import StepState
from rollback_console.model.snapshot import DeploymentView, Snapshot
from rollback_console.model.text import plain
from rollback_console.model.walk import StepKind, Walk, WalkStep
from rollback_console.tui.keys import OwnKey, act_bindings
from rollback_console.tui.screens.base import ConsoleScreen
from rollback_console.tui.widgets import walk as walks
from rollback_console.tui.widgets.lines import Lines, line, redraw
from rollback_console.tui.widgets.walk_acts import Awaited, await_act
from rollback_console.tui.widgets.walk_checks import StepChecks

_WIDE = 100
_OVER = (StepState.DONE, StepState.SKIPPED)


class RunbookScreen(ConsoleScreen):
    """A walk, or the list to choose a runbook from: with no `name`, unless one is proposed or being walked."""

    place = "runbook"
    DEFAULT_CSS = """
    RunbookScreen #columns { height: 1fr; }
    RunbookScreen #steps { width: 42%; min-width: 40; max-width: 72; padding: 0 1; }
    RunbookScreen #page { width: 1fr; padding: 0 1; }
    RunbookScreen #head { padding: 0 1; background: $surface; }
    """
    BINDINGS = [  # noqa: RUF012 - Textual's own form
        *act_bindings("runbook"),
        Binding("enter", "screen.enter", "done / choose", show=False, priority=True),
        Binding("d", "screen.enter", "done", show=False),
        Binding("s", "screen.mark('skipped')", "skip", show=False),
        Binding("f", "screen.mark('failed')", "failed", show=False),
        Binding("c", "screen.copy_command", "copy the command", show=False),
        Binding("e", "screen.end_walk", "end the walk", show=False),
        Binding("l", "screen.library", "other runbooks", show=False),
        Binding("j", "screen.move(1)", "next step", show=False, priority=True),
        Binding("k", "screen.move(-1)", "step before", show=False, priority=True),
        Binding("down", "screen.scroll_or_move(1)", "down", show=False, priority=True),
        Binding("up", "screen.scroll_or_move(-1)", "up", show=False, priority=True),
        Binding("escape", "app.pop_screen", "back", show=False),
    ]

    own_keys: ClassVar[tuple[OwnKey, ...]] = (
        OwnKey("enter d", "The step is done", "one that is an act of the console is performed", "enter"),
        OwnKey("s", "Skip the step", "asks for the reason", "mark('skipped')"),
        OwnKey("f", "The step failed", "asks for the reason", "mark('failed')"),
        OwnKey("j k", "Another step", "↑ ↓ scroll the page"),
        OwnKey("c", "Copy the step's command", "the first, where there are several", "copy_command"),
        OwnKey("e", "End the walk", "asks", "end_walk"),
        OwnKey("l", "The other runbooks", "the walk stays open", "library"),
    )

    def __init__(self, deployment_id: DeploymentId | None, name: str | None) -> None:
        super().__init__()
        self._deployment = deployment_id
        self._wanted = name
        self._book_name: str | None = None  # the runbook that shows; None: the list
        self._decided = False  # was it decided whether to list or to walk
        self._walk_id: str | None = None
        self._problem = ""  # why no walk could be started
        self._chosen = 0
        self._follow = True  # the cursor goes with the current step
        self._drawn: tuple[str | None, int] | None = None
        self._awaited: Awaited | None = None
        self._checks = StepChecks()

    @property
    def acts_on(self) -> DeploymentId | None:
        return self._deployment

    def compose_body(self) -> ComposeResult:
        yield Lines(self._head, id="head", grow=True, focusable=False)
        with Horizontal(id="columns"):
            yield Lines(self._steps, id="steps", focusable=False)
            yield Lines(self._page, id="page")

    def on_mount(self) -> None:
        self._arrange()

    def on_resize(self) -> None:
        self._arrange()

    def _arrange(self) -> None:
        if not self.query("#page"):
            return
        self.query_one("#steps").display = self.size.width >= _WIDE and self._book_name is not None
        self.query_one("#page", Lines).focus()
        self._draw()

    def _draw(self) -> None:
        if not redraw(self):
            return
        self._run_checks()
        shown = (self._book_name, self._chosen)
        if shown != self._drawn:
            self._drawn = shown
            page = self.query_one("#page", Lines)
            if self._book_name is None:
                page.reveal(self._chosen * 2 + 1, 2)
            else:
                page.scroll_home(animate=False)
                steps = self.query_one("#steps", Lines)
                row = next((i for i, t in enumerate(steps.text.split("\n")) if t.startswith("▸")), 0)
                steps.reveal(row, 3)
        self.refresh_frame()

    def on_snapshot(self, snapshot: Snapshot) -> None:
        if not self._decided and snapshot.runbooks and self.commands is not None:
            self._decide(snapshot)
        walk = self.walk()
        if walk is not None and walk.ended_at is None:
            self._look_for_done(snapshot, walk)
            if self._follow and walk.current is not None:
                self._chosen = walk.current
        self._draw()

    def on_second(self) -> None:
        redraw(self, "head", "steps", "page")

    def footer_hints(self) -> tuple[tuple[str, str], ...]:
        if self._book_name is None:
            return (("enter", "walk it"), ("jk", "choose"))
        return (
            ("enter", "done"),
            ("s", "skip"),
            ("f", "failed"),
            ("jk", "step"),
            ("c", "copy"),
            ("e", "end"),
            ("l", "list"),
        )

    # ── which runbook, which walk

    def _view(self) -> DeploymentView | None:
        return self.snapshot.view(self._deployment) if self.snapshot and self._deployment else None

    def _decide(self, snapshot: Snapshot) -> None:
        self._decided = True
        if self._wanted is not None:
            name = walks.book_named(snapshot, self._wanted)
            if name is None:
                self.say(f"there is no runbook {self._wanted} in the library", "warning")
            else:
                self._open(name)
            return
        fitting = walks.fitting_book(snapshot, self._view())
        if fitting is not None:
            self._open(fitting)

    def _open(self, name: str) -> None:
        self._book_name, self._problem = name, ""
        self._chosen, self._follow, self._awaited = 0, True, None
        self._checks.forget()
        snapshot, commands = self.snapshot, self.commands
        going = walks.open_walk_of(snapshot, name, self._view()) if snapshot is not None else None
        self._walk_id = going.id if going is not None else None
        self._arrange()
        if snapshot is None or commands is None:
            return
        if going is not None:
            self.on_snapshot(snapshot)
        elif snapshot.look_only:
            self._problem = snapshot.look_only
            self._draw()
        else:
            self._start(name)

    def _start(self, name: str) -> None:
        if self.commands is None:
            return

        def started(walk: str) -> None:
            if self._book_name == name:
                self._walk_id = walk
                self._changed()

        def failed(text: str) -> None:
            if self._book_name == name:
                self._problem = text
                self._changed()

        self.run_command(self.commands.start_walk(name, self._deployment), "start the walk", started, failed)

    def _changed(self) -> None:
        if self.is_mounted and self.snapshot is not None:
            self.on_snapshot(self.snapshot)

    def walk(self) -> Walk | None:
        """The walk that shows. Before it has begun (or where none may): the document with every step waiting, id ""."""
        if self.snapshot is None or self._book_name is None:
            return None
        return walks.shown_walk(self.snapshot, self._book_name, self._walk_id, self._deployment)

    # ── checks

    def _run_checks(self) -> None:
        """Ask the checks of the step that shows, if they were not asked yet of this evaluation."""
        snapshot, commands = self.snapshot, self.commands
        if snapshot is None or commands is None:
            return
        entry = self._checks.take(self.walk(), self._chosen, snapshot.evaluated_at)
        if entry is not None:
            asked = self._checks.ask(entry, commands.check, self._deployment, lambda: redraw(self, "page"))
            self.run_command(asked, "check", lambda _: self._asked_checks())

    def _asked_checks(self) -> None:
        """Another step may have come on the screen meanwhile, or another evaluation."""
        if self.is_mounted and self.is_current:
            self._run_checks()

    # ── keys

    def action_move(self, step: int) -> None:
        if self._book_name is None:
            count = len(self.snapshot.runbooks) if self.snapshot else 0
        else:
            walk = self.walk()
            count = len(walk.steps) if walk else 0
            self._follow = False
        self._chosen = max(0, min(count - 1, self._chosen + step))
        self._draw()

    def action_scroll_or_move(self, step: int) -> None:
        if self._book_name is None:
            self.action_move(step)
        else:
            self.query_one("#page", Lines).scroll_relative(y=step, animate=False, force=True)

    def action_library(self) -> None:
        self._book_name, self._walk_id, self._chosen, self._awaited = None, None, 0, None
        self._decided = True
        self._arrange()

    def on_lines_chosen(self, message: Lines.Chosen) -> None:
        if message.view.id == "page" and self._book_name is None and message.row >= 1:
            chosen = (message.row - 1) // 2
            if chosen == self._chosen:
                self.action_enter()
            else:
                self.action_move(chosen - self._chosen)

    def action_enter(self) -> None:
        """In the list: walk the chosen one. In a walk: the step is done, or its act is performed."""
        if self.snapshot is None:
            return
        if self._book_name is None:
            books = walks.ordered(self.snapshot, self._view())
            if books:
                self._open(books[min(self._chosen, len(books) - 1)].name)
            return
        found = self._markable()
        if found is None:
            return
        walk, entry = found
        if entry.step.kind is StepKind.ACT and entry.step.act:
            self._perform(walk, entry)
        else:
            self._mark(walk, entry, StepState.DONE)

    def _markable(self) -> tuple[Walk, WalkStep] | None:
        """The open walk and its chosen step, or None with the reason said."""
        walk = self.walk()
        if walk is None or not walk.steps:
            self.say("there is no step to mark", "warning")
            return None
        if not walk.id:
            self.say(f"no walk: {self._problem}" if self._problem else "the walk is being started", "warning")
            return None
        if walk.ended_at is not None:
            self.say("this walk has ended; l lists the runbooks", "warning")
            return None
        entry = walk.steps[min(self._chosen, len(walk.steps) - 1)]
        if entry.state in _OVER:
            self.say(f"step {self._chosen + 1} is {entry.state} already", "warning")
            return None
        return walk, entry

    def _mark(self, walk: Walk, entry: WalkStep, state: StepState, reason: str = "") -> None:
        if self.commands is None:
            return
        self._follow = state is not StepState.FAILED
        self.run_command(
            self.commands.mark_step(walk.id, entry.step.id, state, reason), f"step {plain(entry.step.title, 60)}"
        )

    def action_mark(self, word: str) -> None:
        found = self._markable() if self._book_name is not None else None
        if found is None:
            return
        walk, entry = found
        from rollback_console.tui.widgets.prompt import PromptScreen

        state = StepState(word)
        title = f"Why is it {'skipped' if state is StepState.SKIPPED else 'failed'}? {plain(entry.step.title, 200)}"
        self.app.push_screen(
            PromptScreen(title, "one line; it stands in the journal"),
            lambda why: self._mark(walk, entry, state, why) if why else None,
        )

    def _perform(self, walk: Walk, entry: WalkStep) -> None:
        act = BY_ID.get(entry.step.act or "")
        if act is None or self.snapshot is None:
            self.say(f"this console has no act {entry.step.act}: do it by hand, then skip with that reason", "warning")
            return
        self._awaited = await_act(self.snapshot, walk, entry, self._deployment)
        if self._look_for_done(self.snapshot, walk):
            return
        reason = act.disabled_reason(self.context)
        if reason is not None:
            self._awaited = None
            self.say(f"{act.title}: {reason}", "warning")
            return
        self.action_act(act.id)
        if self._awaited.at_once:
            self._awaited = None
            self._mark(walk, entry, StepState.DONE)
        else:
            self._draw()

    def _look_for_done(self, snapshot: Snapshot, walk: Walk) -> bool:
        """Marks the step whose act the journal now shows as done; says so where it ended otherwise."""
        awaited = self._awaited
        if awaited is None or awaited.walk != walk.id:
            return False
        entry = next((s for s in walk.steps if s.step.id == awaited.step), None)
        if entry is None or entry.state in _OVER:
            self._awaited = None
            return False
        outcome = awaited.outcome(snapshot)
        if outcome is None:
            return False
        self._awaited = None
        if outcome.done:
            self._mark(walk, entry, StepState.DONE, outcome.sentence)
        else:
            self.say(f"{plain(entry.step.title, 80)}: {outcome.sentence}; the step stays open", "warning")
        return True

    def action_copy_command(self) -> None:
        walk = self.walk()
        commands = walk.steps[min(self._chosen, len(walk.steps) - 1)].step.commands if walk and walk.steps else ()
        if commands:
            self.console_app.copy_text(commands[0])
        else:
            self.say("this step has no command", "warning")

    def action_end_walk(self) -> None:
        walk, commands = self.walk(), self.commands
        if walk is None or not walk.id or walk.ended_at is not None or commands is None:
            self.say("no walk is open here", "warning")
            return
        from rollback_console.tui.widgets.prompt import YesNoScreen

        open_steps = sum(step.state not in _OVER for step in walk.steps)
        hint = f"{open_steps} of {len(walk.steps)} steps are open." if open_steps else "Every step is done or skipped."

        def answered(yes: bool | None) -> None:
            if yes:
                self.run_command(commands.end_walk(walk.id), "end the walk", lambda _: self.say("the walk has ended"))

        self.app.push_screen(YesNoScreen("End this walk?", hint), answered)

    # ── drawing

    def _head(self, width: int, height: int) -> list[Text]:
        snapshot = self.snapshot
        if snapshot is None:
            return [line(("… connecting", "dim"))]
        now, walk = self.console_app.now(), self.walk()
        rows = walks.panel_lines(snapshot, self._view(), width, now)
        if walk is None:
            return rows
        rows += walks.walk_head(snapshot, walk, width)
        rows += walks.stands_lines(self._problem, self._awaited.act if self._awaited else "", width)
        return rows if self.size.width >= _WIDE else rows + walks.compact_steps(walk, self._chosen, width, now)

    def _steps(self, width: int, height: int) -> list[Text]:
        walk = self.walk()
        return walks.step_list(walk, self._chosen, width, self.console_app.now()) if walk else []

    def _page(self, width: int, height: int) -> list[Text]:
        snapshot = self.snapshot
        if snapshot is None:
            return []
        if self._book_name is None:
            if not snapshot.runbooks:
                return [line(("no runbooks were found; settings name their folders", "dim"))]
            return walks.choice_lines(snapshot, self._view(), self._chosen, width)
        walk = self.walk()
        return (
            walks.step_lines(walk, self._chosen, width, self._checks, self.console_app.now())
            if walk
            else [line(("this runbook is gone from the library", "warn"))]
        )
