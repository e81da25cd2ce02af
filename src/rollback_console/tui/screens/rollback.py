"""The Rollback screen: the plan, who must say yes, the typed confirmation, the execution as it goes, the outcome.

Nothing moves before the phrase was typed. Leaving the screen never stops an execution. What may be done is decided
where it is done; this screen asks, and says why not.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal

from rollback_console.model.drill import CONFIRMATION
from rollback_console.model.identity import DeploymentId
from rollback_console.model.plan import Execution, ExecutionState, Plan
from rollback_console.model.snapshot import DeploymentView, Snapshot
from rollback_console.model.text import plain
from rollback_console.tui.keys import OwnKey, act_bindings
from rollback_console.tui.screens.base import ConsoleScreen
from rollback_console.tui.widgets.lines import Lines, alarm_lines, clip, line, paragraph, redraw, version_word
from rollback_console.tui.widgets.plan import (
    authority_lines,
    check_lines,
    execution_lines,
    manual_lines,
    plan_lines,
    stage_lines,
    target_lines,
    title_lines,
)
from rollback_console.tui.widgets.signals import live_lines

LIVE = (ExecutionState.RUNNING, ExecutionState.VERIFYING, ExecutionState.UNFINISHED)
_WIDE = 110
_PATIENCE_S = 3.0  # for so long keys wait for a plan; after that they are keys again, whatever keeps the plan


class RollbackScreen(ConsoleScreen):
    """One deployment's way back."""

    place = "rollback"
    DEFAULT_CSS = """
    RollbackScreen #columns { height: 1fr; }
    RollbackScreen #left, RollbackScreen #right { width: 1fr; padding: 0 1; }
    RollbackScreen #head { padding: 0 1; }
    """
    BINDINGS = [  # noqa: RUF012 - Textual's own form
        *act_bindings("rollback"),
        Binding("p", "screen.next_path", "plan anew, next path", show=False),
        Binding("o", "screen.other_version", "another version", show=False),
        Binding("c", "screen.copy_manual", "copy the manual equivalent", show=False),
        Binding("tab", "screen.other_column", "other column", show=False, priority=True),
        Binding("escape", "app.pop_screen", "back", show=False),
    ]

    own_keys: ClassVar[tuple[OwnKey, ...]] = (
        OwnKey("p", "Plan anew", "by the next path of the policy, where there are several", "next_path"),
        OwnKey("o", "Plan for another version", "by its number; nothing moves yet", "other_version"),
        OwnKey("c", "Copy the manual equivalent", "what one would type by hand", "copy_manual"),
        OwnKey("tab", "The other column", "where there are two"),
    )

    def __init__(
        self,
        deployment_id: DeploymentId,
        *,
        resume: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`resume`: ask at once whether the unfinished execution goes on."""
        super().__init__()
        self._resume = resume
        self._hand_clock = monotonic  # times the operator's hand in the confirmation: the wall's, also in a rehearsal
        self._deployment = deployment_id
        self._plan: Plan | None = None
        self._problem = ""
        self._asked = 0  # how many plans were asked for: an answer to an older question is dropped
        self._planning = False
        self._asked_at = monotonic()  # since when a plan is waited for
        self._kept = False  # x was pressed before the plan was there: it is answered when it is
        self.due = False  # a dialog is about to open: what is typed is meant for it
        self._path_index = 0
        self._to: str | None = None
        self._shown: str | None = None  # the execution whose end stays on the screen

    @property
    def acts_on(self) -> DeploymentId:
        return self._deployment

    @property
    def plan(self) -> Plan | None:
        """The plan on the screen."""
        return self._plan

    def compose_body(self) -> ComposeResult:
        yield Lines(self._head, id="head", grow=True, focusable=False)
        with Horizontal(id="columns"):
            yield Lines(self._left, id="left")
            yield Lines(self._right, id="right")

    def on_mount(self) -> None:
        self._arrange()

    def on_resize(self) -> None:
        self._arrange()

    def _arrange(self) -> None:
        if not self.query("#right"):
            return
        wide = self.size.width >= _WIDE
        self.query_one("#right").display = wide
        if not wide or self.focused is None:
            self.query_one("#left", Lines).focus()
        self._draw()

    def _draw(self) -> None:
        self.query("#head").set(display=self.execution() is None)
        redraw(self)
        self.refresh_frame()

    def on_snapshot(self, snapshot: Snapshot) -> None:
        running = self.execution()
        if running is not None:
            if self._shown != running.id or self._plan is not None:
                self.query("#left").first(Lines).scroll_home(animate=False) if self.query("#left") else None
            self._shown, self._plan, self._kept = running.id, None, False
        elif self._asked == 0 and self.commands is not None:
            self._ask_plan()
        self._draw()
        if self._resume and self.commands is not None and self.is_mounted:
            self._resume = False
            self.action_act("resume")

    def on_second(self) -> None:
        redraw(self, "head")
        running = self.execution()
        if running is not None and running.ended_at is None:
            redraw(self, "left", "right")

    def footer_hints(self) -> tuple[tuple[str, str], ...]:
        running = self.execution()
        if running is not None:
            return () if running.state in LIVE else (("p", "plan anew"),)
        return (("p", "path"), ("o", "version"), ("c", "by hand"))

    def hidden_acts(self) -> frozenset[str]:
        return frozenset({"execute"}) if self.execution() is not None else frozenset()

    @property
    def _waiting(self) -> bool:
        """Is a plan waited for, and not for long yet."""
        if self.execution() is not None or self._hand_clock() - self._asked_at > _PATIENCE_S:
            return False
        return self._planning or (self._plan is None and not self._problem)

    def on_key(self, event: events.Key) -> None:
        """What is typed while a plan is made or a dialog opens is no hotkey: x is kept, other characters go."""
        if event.is_printable and (self.due or self._waiting):
            event.stop()
            event.prevent_default()
            if event.key == "x" and not self.due and not self._kept:
                self._kept = True
                self._draw()

    # ── the plan

    def execution(self) -> Execution | None:
        """The execution to show: one that is open on this deployment, else the one whose end was awaited here."""
        if self.snapshot is None:
            return None
        mine = [e for e in self.snapshot.executions if e.plan.deployment == self._deployment]
        live = next((e for e in reversed(mine) if e.state in LIVE), None)
        return live or next((e for e in mine if e.id == self._shown), None)

    def _paths(self) -> tuple[str, ...]:
        view = self._view()
        return tuple(path.name for path in view.rule.recovery) if view else ()

    def _ask_plan(self) -> None:
        if self.commands is None:
            self.say("plan: still connecting", "warning")
            return
        self._asked += 1
        self._planning, self._problem, self._asked_at = True, "", self._hand_clock()
        asked, paths = self._asked, self._paths()
        path = paths[self._path_index % len(paths)] if paths else None

        def arrived(plan: Plan) -> None:
            if asked == self._asked:
                self._plan, self._planning = plan, False
                self._changed()

        def failed(text: str) -> None:
            if asked == self._asked:
                self._plan, self._problem, self._planning = None, text, False
                self._changed()

        self.run_command(self.commands.plan(self._deployment, path, self._to), "plan", arrived, failed)
        self._draw()

    def _changed(self) -> None:
        if self.is_mounted:
            self._draw()
            if self._kept and not self._planning:
                self._kept = False
                if self.is_current:
                    self.action_act("execute")

    def action_next_path(self) -> None:
        running = self.execution()
        if running is not None and running.state in LIVE:
            self.say(f"execution {running.id} is {running.state}: nothing else is planned meanwhile", "warning")
            return
        paths = self._paths()
        if self._shown is None and self._plan is not None and len(paths) > 1:
            self._path_index = (self._path_index + 1) % len(paths)
        self._shown, self._to = None, None
        self._ask_plan()

    def action_other_version(self) -> None:
        running = self.execution()
        if running is not None:
            self.say(
                "p plans anew first" if running.state not in LIVE else f"execution {running.id} is open", "warning"
            )
            return
        from rollback_console.tui.widgets.prompt import PromptScreen

        def chosen(version: str | None) -> None:
            if version:
                bare = version[1:] if version[:1] in "vV" and version[1:].isdigit() else version
                self._to = bare
                self._ask_plan()

        prompt = PromptScreen(
            f"Which version of {self._deployment}?", "by its number; nothing moves yet", placeholder="version"
        )
        self.app.push_screen(prompt, chosen)

    def action_copy_manual(self) -> None:
        if self._plan is None or not self._plan.manual:
            self.say("there is no manual equivalent to copy", "warning")
            return
        self.console_app.copy_text("\n".join(self._plan.manual))

    def action_other_column(self) -> None:
        right = self.query_one("#right", Lines)
        (self.query_one("#left", Lines) if right.has_focus or not right.display else right).focus()

    # ── acts

    def why_not(self, plan: Plan | None) -> str | None:
        """Why the plan on the screen may not be executed now, or None."""
        running = self.execution()
        if running is not None and running.state in LIVE:
            return f"execution {running.id} by {running.operator} is {running.state}"
        if running is not None:
            return "this one has ended: p plans anew"
        if self._shown is not None:
            return f"execution {self._shown} has begun"
        if self._planning:
            return "the plan is still being made"
        if plan is None:
            return self._problem or "there is no plan"
        if plan.expires_at <= self.console_app.now():
            return "the plan has expired: p plans it anew"
        if not plan.checks:
            return "no preflight check was made"
        failed = [check for check in plan.checks if check.ok is not True]
        if failed:
            word = "does not hold" if failed[0].ok is False else "cannot be told"
            more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
            return f"preflight: {plain(failed[0].name, 60)} {word}: {plain(failed[0].detail, 200)}{more}"
        return None

    def act_execute(self) -> None:
        plan = self._plan
        reason = self.why_not(plan)
        if reason is not None or plan is None:
            self.say(f"Execute the plan: {reason}", "warning")
            return
        from rollback_console.tui.widgets.prompt import PromptScreen

        title = f"Why is {plan.deployment} moved {version_word(plan.from_version)} → {version_word(plan.to_version)}?"
        hint = f"AGAINST ADVICE: {plan.against}" if plan.against else "one line; it stands in the journal"
        self.due = True
        self.app.push_screen(PromptScreen(title, hint), lambda why: self._confirm(plan, why))

    def _confirm(self, plan: Plan, why: str | None) -> None:
        from rollback_console.tui.widgets.confirm import ConfirmScreen

        self.due = False
        if self.commands is None or not why:
            return
        what = (
            f"{version_word(plan.from_version)} → {version_word(plan.to_version)} on {plan.deployment}: the pointer"
            f" @{plain(plan.alias, 40)} of {plain(plan.model, 60)} moves.",
            f"Reason: {plain(why, 200)}",
        )
        phrase = self.commands.phrase(plan)
        self.console_app.looked(CONFIRMATION)
        dialog = ConfirmScreen(phrase, what, against=plan.against, monotonic=self._hand_clock)
        self.app.push_screen(dialog, lambda typed: self._execute(plan, why, typed) if typed else None)

    def _execute(self, plan: Plan, why: str, typed: str) -> None:
        if self.commands is None:
            return

        def started(execution: str) -> None:
            self._shown = execution
            self.say(f"execution {execution} has begun")
            self._changed()

        self.run_command(self.commands.execute(plan, why, typed), "execute", started)

    def act_abort(self) -> None:
        running, commands = self.execution(), self.commands
        if running is None or running.state not in LIVE or commands is None:
            self.say("Abort: nothing is executing on this deployment", "warning")
            return
        from rollback_console.tui.screens.rollback_asks import ask_abort

        ask_abort(self, running, commands)

    def act_resume(self) -> None:
        running, commands = self.execution(), self.commands
        if running is None or running.state is not ExecutionState.UNFINISHED or commands is None:
            self.say("Resume: no execution of this deployment is unfinished", "warning")
            return
        from rollback_console.tui.screens.rollback_asks import ask_resume

        ask_resume(self, running, commands)

    # ── drawing

    def _view(self) -> DeploymentView | None:
        return self.snapshot.view(self._deployment) if self.snapshot else None

    def _alarms(self, width: int) -> list[Text]:
        return alarm_lines(self.snapshot.alarms_of(self._deployment), width) if self.snapshot else []

    def _head(self, width: int, height: int) -> list[Text]:
        return [*self._alarms(width), *self._plan_head(width)]

    def _plan_head(self, width: int) -> list[Text]:
        if self._plan is None:
            title = line(("ROLLBACK ", "bold"), (clip(str(self._deployment), max(8, width - 10)), "title"))
            if self._problem:
                return [title, *paragraph(self._problem, width, "bad", first="✗ ", most=4)]
            why = "… planning: target, checks, manual equivalent" if self._planning else "… connecting"
            why += "; x is kept until then" if self._kept else ""
            return [title, line((why, "dim"))]
        rows = title_lines(self._plan, width, self.console_app.now(), roomy=self.size.height > 22)
        paths = self._paths()
        if len(paths) > 1:
            rows.append(
                line(
                    (
                        clip(f"path {self._path_index % len(paths) + 1} of {len(paths)}: {', '.join(paths)}", width),
                        "dim",
                    )
                )
            )
        look = self.snapshot.look_only if self.snapshot else ""
        reason = look or self.why_not(self._plan)
        if reason is not None and reason:
            return [*rows, *paragraph(reason, width, "bad", first="✗ may not be executed: ", indent="  ", most=3)]
        return [*rows, line(("✓ ready", "ok"), ": x asks for a reason and the typed phrase")]

    def _left(self, width: int, height: int) -> list[Text]:
        view, now = self._view(), self.console_app.now()
        running = self.execution()
        if running is not None:
            rows = [*self._alarms(width), *execution_lines(running, view, width, now, self._polled_at())]
            return rows if self._two() else [*rows, line(""), *plan_lines(running.plan, view, width)]
        plan = self._plan
        if plan is None:
            return []
        if self._two():
            return plan_lines(plan, view, width)
        # On one column, what stands in the way comes first, and who must say yes before what happens.
        checks, stages = check_lines(plan, width), stage_lines(plan, view, width)
        authority, target = self._authority(plan, width), target_lines(plan, width)
        order = (target, authority, stages, checks) if plan.executable else (checks, authority, target, stages)
        return [row for part in (*order, manual_lines(plan, width)) for row in (*part, line(""))][:-1]

    def _polled_at(self) -> float | None:
        """When the registry last answered the console's own poll."""
        backends = self.snapshot.backends if self.snapshot else ()
        return next((backend.last_ok for backend in backends if backend.name in ("registry", "mlflow")), None)

    def _right(self, width: int, height: int) -> list[Text]:
        if not self._two():
            return []
        running, view = self.execution(), self._view()
        if running is not None:
            if view is None or self.snapshot is None:
                return []
            return live_lines(self.snapshot, view, (width, height), self.console_app.now())
        if self._plan is None:
            return []
        checks, authority = check_lines(self._plan, width), self._authority(self._plan, width)
        return [*checks, line(""), *authority, line(""), *manual_lines(self._plan, width)]

    def _authority(self, plan: Plan, width: int) -> list[Text]:
        return authority_lines(plan, self.snapshot.operator if self.snapshot else None, width)

    def _two(self) -> bool:
        return self.size.width >= _WIDE
