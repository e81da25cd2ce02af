"""The console's app: it paints a frame at once, starts the engine beside it, and hands Snapshots to the screens.

Nothing that opens slowly is imported here; screens other than the fleet, dialogs and the palette load when used.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

from textual.app import App
from textual.message import Message

from rollback_console.tui import themes
from rollback_console.tui.keys import shell_bindings
from rollback_console.tui.notify import Herald
from rollback_console.tui.screens.base import ConsoleScreen
from rollback_console.tui.screens.fleet import FleetScreen

if TYPE_CHECKING:
    from textual.command import Provider
    from textual.screen import Screen

    from rollback_console.commands import Commands, DrillControl
    from rollback_console.errors import ConsoleError
    from rollback_console.model.snapshot import Snapshot
    from rollback_console.tui.acts import Acts

T = TypeVar("T")
Publish = Callable[["Snapshot"], None]
SPEEDS = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0)
_CLOSE_LIMIT_S = 3.0
_NOTICES = 2  # shown at a time, or kept for when a dialog closes: the newest
_NOTICE_LIMIT = 240  # characters of one


class SnapshotArrived(Message):
    """A newer Snapshot. One that still waits in the queue is replaced: only the newest is worth drawing."""

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__()
        self.snapshot = snapshot

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, SnapshotArrived)


def _acts_provider() -> type[Provider]:
    from rollback_console.tui.palette import ActsProvider

    return ActsProvider


class ConsoleApp(App[None]):
    """The console.

    `start(publish)` is awaited beside the painted frame; it builds backends and engine and returns the `Commands`.
    `publish(snapshot)` must be called on the app's event loop. `open_at` names a deployment (`environment/name`, a
    unique bare name, or an incident's id) to open on; `start_on` is `fleet` or `timeline`. `theme` is auto, dark,
    light or mono. `monotonic` is injectable for tests. `herald_simulated` lets a simulation ring the bell;
    `tracebacks` shows a defect's (for --debug). `drill`: this is one: its story is told first, its report last.
    """

    TITLE = "rollback-console"
    ENABLE_COMMAND_PALETTE = True
    COMMANDS: ClassVar[set[Any]] = {_acts_provider}
    BINDINGS = shell_bindings()
    CSS = """
    Screen { background: $background; color: $foreground; }
    ModalScreen { background: $background 60%; }
    ModalScreen:ansi { background: transparent; }
    Toast { max-width: 76; padding: 0 1; margin-top: 0; max-height: 4; }
    ModalScreen Toast { display: none; }
    .-tutorial ToastRack { margin-bottom: 5; }
    """  # under a dialog what it is about stays in sight, dimmed

    def __init__(
        self,
        start: Callable[[Publish], Awaitable[Commands]],
        *,
        open_at: str | None = None,
        start_on: str = "fleet",
        theme: str = "auto",
        title: str = "",
        monotonic: Callable[[], float] = time.monotonic,
        herald_simulated: bool = False,
        tracebacks: bool = False,
        drill: DrillControl | None = None,
    ) -> None:
        # With NO_COLOR the terminal's own two colours are used: Textual's other way turns hues into greys.
        super().__init__(ansi_color=True if os.environ.get("NO_COLOR") is not None else None)
        themes.install(self, theme, self.no_color)
        if title:
            self.title = title
        self.snapshot: Snapshot | None = None
        self.commands: Commands | None = None
        self.problem: ConsoleError | None = None  # why the engine did not start
        self.begun = False  # the first paint is done: what opens slowly may load
        self._start_engine = start
        self._open_at = open_at
        self._start_on = start_on
        self._tracebacks = tracebacks
        self._monotonic = monotonic
        self._received = monotonic()
        self._resume_speed = 1.0
        self._asked_speed: float | None = None  # until a Snapshot tells: keys may follow each other faster
        self._held: list[tuple[str, str, Any, float]] = []  # notices that wait for a dialog to close
        self._herald = Herald(self, herald_simulated)
        self.drill = drill
        self._reported = False  # the drill's report was shown by itself

    # ── time

    def now(self) -> float:
        """Unix seconds by the console's clock: the Snapshot's time, carried on at its speed since it arrived."""
        if self.snapshot is None:
            return time.time()
        return self.snapshot.at + (self._monotonic() - self._received) * self.snapshot.speed

    # ── life

    def get_default_screen(self) -> Screen[None]:
        if self._start_on == "timeline":
            from rollback_console.tui.screens.timeline import TimelineScreen

            return TimelineScreen(None)
        return FleetScreen()

    def on_mount(self) -> None:
        self.call_after_refresh(self._begin)

    def _begin(self) -> None:
        from rollback_console.tui.resume import guard_resume

        guard_resume()
        self.begun = True
        self.run_worker(self._connect(), group="engine", description="start the engine", exit_on_error=False)
        self.set_interval(1.0, self._second)
        if self.drill is not None:
            from rollback_console.tui.screens.drill import StoryScreen

            begin = self.drill.begin
            self.push_screen(StoryScreen(self.drill.view, begun=False), lambda _: begin())

    async def _connect(self) -> None:
        from rollback_console.errors import ConsoleError

        try:
            self.commands = await self._start_engine(self.publish)
        except ConsoleError as error:
            self.problem = error
        except Exception as error:  # whatever it was, the screen stays and says so
            self.log.error(repr(error))
            self.problem = ConsoleError(f"the engine did not start: {type(error).__name__}: {error}", "see --debug")
        for screen in self.console_screens():
            screen.refresh(recompose=False)
            screen.refresh_frame()
        self._deliver()
        self._open_asked()

    async def on_unmount(self) -> None:
        self._herald.clear()
        if self.commands is not None:
            with contextlib.suppress(Exception):  # leaving: what is durable is durable already
                await asyncio.wait_for(self.commands.close(), _CLOSE_LIMIT_S)

    # ── snapshots

    def publish(self, snapshot: Snapshot) -> None:
        """Hand over a newer Snapshot; called by the engine on the app's event loop."""
        self.post_message(SnapshotArrived(snapshot))

    def on_snapshot_arrived(self, message: SnapshotArrived) -> None:
        before, self.snapshot = self.snapshot, message.snapshot
        self._asked_speed = None
        self._received = self._monotonic()
        self._herald.tell(before, message.snapshot)
        self._deliver()
        self._open_asked()
        if message.snapshot.drill is not None and message.snapshot.drill.over and not self._reported:
            self._reported = True
            self.show_report()

    def show_report(self) -> None:
        """The report of the drill that is over."""
        from rollback_console.tui.screens.drill import DrillReportScreen

        if not isinstance(self.top(), DrillReportScreen):
            self.push_screen(DrillReportScreen())

    def looked(self, what: str) -> None:
        """The operator looks at something, which a drill remembers."""
        top = self.top()
        if self.drill is not None and what and top is not None:
            self.drill.looked(top.acts_on, what)

    def console_screens(self) -> list[ConsoleScreen]:
        """The console screens in the stack that can be seen: the topmost, also under dialogs."""
        for screen in reversed(self.screen_stack):
            if isinstance(screen, ConsoleScreen):
                return [screen]
        return []

    def _deliver(self) -> None:
        if self.snapshot is None:
            for screen in self.console_screens():
                screen.on_second()
            return
        for screen in reversed(self.screen_stack):
            draw = getattr(screen, "on_snapshot", None)
            if draw is not None and screen.is_mounted:
                draw(self.snapshot)
            if isinstance(screen, ConsoleScreen):
                screen.refresh_frame()
                return

    def _second(self) -> None:
        for screen in self.console_screens():
            if screen.is_mounted:  # pushed this moment and not composed yet: it draws itself when it is
                screen.on_second()
                screen.tick_band()

    def _open_asked(self) -> None:
        """Open what the console was started on, once there is a fleet and somebody to ask about other names."""
        name, snapshot, commands = self._open_at, self.snapshot, self.commands
        if name is None or snapshot is None or not snapshot.deployments or commands is None:
            return
        from rollback_console.tui.acts import find

        self._open_at = None
        found = find(name, snapshot)
        if not isinstance(found, str):
            self.acts.open(found)
        elif any(view.id.name == name for view in snapshot.deployments):
            self.say(found, "warning")  # the name of several
        else:  # perhaps an alert's: the metric backend knows
            self.run_command(commands.locate(name), "open", self.acts.open, lambda why: self.say(why, "warning"))

    def _fatal_error(self) -> None:
        """A defect of ours that reached Textual: one line instead of a traceback with everybody's data in it."""
        from rich.text import Text

        from rollback_console.model.text import plain

        if self._tracebacks:
            super()._fatal_error()
            return
        if self._exit_renderables:
            return  # the first one is the cause; what follows from it helps nobody
        error = self._exception
        words = f"{type(error).__name__}: {plain(error, 200)}" if error is not None else "unknown"
        self._exit_renderables.append(
            Text(f"The console met a defect of its own and ended: {words}. The journal is intact; --debug shows more.")
        )
        self._close_messages_no_wait()

    # ── notices and commands

    def say(self, text: str, severity: str = "information") -> None:
        """A notice at the bottom right; data in it is safe."""
        self.notify(text, severity=severity)

    def notify(
        self,
        message: str,
        *,
        title: str = "",
        severity: Any = "information",
        timeout: float | None = None,
        markup: bool = False,
    ) -> None:
        """Textual's notice, with markup off whoever calls: a bracket in a model's name must not end the app."""
        if timeout is None:
            timeout = 4.0 if severity == "information" else 8.0
        from rollback_console.model.text import plain, plain_block

        notice = (plain_block(message, _NOTICE_LIMIT), plain(title, 60), severity, timeout)
        if self._in_dialog():
            self._held = [*self._held, notice][-_NOTICES:]
        else:
            self._show_notice(*notice)

    def _in_dialog(self) -> bool:
        from textual.screen import ModalScreen

        return isinstance(self.screen, ModalScreen)

    def _show_notice(self, message: str, title: str, severity: Any, timeout: float) -> None:
        super().notify(message, title=title, severity=severity, timeout=timeout, markup=False)

    def _refresh_notifications(self) -> None:
        """Textual's, of no more than the newest few: a heap of notices covers the screen it speaks of."""
        for old in sorted(self._notifications, key=lambda notice: notice.raised_at)[:-_NOTICES]:
            self._unnotify(old, refresh=False)
        super()._refresh_notifications()

    def tell_held(self) -> None:
        """Show the notices that came while a dialog was open: there they would cover what is decided."""
        if not self._in_dialog():
            held, self._held = self._held, []
            for notice in held:
                self._show_notice(*notice)

    def run_command(
        self,
        coro: Coroutine[Any, Any, T],
        describe: str,
        then: Callable[[T], None] | None = None,
        failed: Callable[[str], None] | None = None,
    ) -> None:
        """Run a coroutine of `Commands` in a worker that outlives the screen.

        `then` gets its result. A ConsoleError is shown as `describe: what went wrong: next step`, or handed to
        `failed` as that text when given. Any other error is shown likewise, and never ends the app.
        """

        from rollback_console.errors import ConsoleError

        async def run() -> None:
            try:
                result = await coro
            except ConsoleError as error:
                text = f"{describe}: {error}"
            except Exception as error:  # a defect of ours: the console must go on
                self.log.error(repr(error))
                text = f"{describe}: unexpected {type(error).__name__}: {error}"
            else:
                if then is not None:
                    then(result)
                return
            if failed is not None:
                failed(text)
            else:
                self.say(text, "error")

        self.run_worker(run(), group="commands", description=describe, exit_on_error=False)

    # ── acts

    def top(self) -> ConsoleScreen | None:
        """The console screen that the operator looks at."""
        screens = self.console_screens()
        return screens[0] if screens else None

    @property
    def acts(self) -> Acts:
        """The acts that belong to no screen."""
        from rollback_console.tui.acts import Acts

        return Acts(self)

    def copy_text(self, text: str) -> None:
        """Copy text by every way there is, and say which took it."""
        from rollback_console.tui.clipboard import copy

        async def run() -> str:
            return await copy(self, text)

        self.run_command(run(), "copy", self.say)

    # ── the shell's own keys

    def action_keys(self) -> None:
        from rollback_console.tui.screens.help import HelpScreen

        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen(self.top()))

    def action_palette(self) -> None:
        from textual.command import CommandPalette

        from rollback_console.tui.palette import ActsPalette

        if not CommandPalette.is_open(cast("App[object]", self)):
            self.push_screen(ActsPalette(id="--command-palette"))

    def action_command_palette(self) -> None:
        """Textual's own name for it."""
        self.action_palette()

    def action_next_theme(self) -> None:
        self.say(f"theme: {themes.cycle(self)}")

    def action_pause(self) -> None:
        if self._simulated() and self.snapshot is not None:
            running = self._speed(self.snapshot)
            if running:
                self._resume_speed = running
            self._set_speed(0.0 if running else self._resume_speed)

    def action_speed(self, step: int) -> None:
        if self._simulated() and self.snapshot is not None:
            current = self._speed(self.snapshot) or self._resume_speed
            at = min(range(len(SPEEDS)), key=lambda i: abs(SPEEDS[i] - current))
            self._set_speed(SPEEDS[max(0, min(len(SPEEDS) - 1, at + step))])

    def _speed(self, snapshot: Snapshot) -> float:
        return snapshot.speed if self._asked_speed is None else self._asked_speed

    def _simulated(self) -> bool:
        if self.commands is None or self.snapshot is None:
            self.say("still connecting", "warning")
            return False
        if not self.snapshot.simulated:
            self.say("this is the wall's clock: it cannot be paused or sped up", "warning")
            return False
        return True

    def _set_speed(self, speed: float) -> None:
        from rollback_console.errors import ConsoleError

        if self.commands is None:
            return
        try:
            self.commands.set_speed(speed)
        except ConsoleError as error:
            self.say(str(error), "warning")
        else:
            self._asked_speed = speed
            self.say(f"speed x{speed:g}" if speed else "paused: space goes on")

    def action_leave(self) -> None:
        """Leave at once with code 0, unless something is open that leaving would abandon: then ask."""
        from rollback_console.tui.acts import why_stay

        reason = why_stay(self.snapshot)
        if reason is None:
            self.exit(return_code=0)
            return
        from rollback_console.tui.screens.leave import LeaveScreen

        if not isinstance(self.screen, LeaveScreen):
            asks = LeaveScreen(reason, "Its report is printed.") if self.drill is not None else LeaveScreen(reason)
            self.push_screen(asks, lambda leave: self.exit(return_code=0) if leave else None)

    async def action_quit(self) -> None:
        self.action_leave()
