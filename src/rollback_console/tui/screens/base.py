"""What every screen of the console has in common: the band above, the footer below, acts, and safe notices."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

from textual.app import ComposeResult
from textual.screen import Screen

from rollback_console.tui.widgets.band import Band
from rollback_console.tui.widgets.footer import Footer

if TYPE_CHECKING:
    from rollback_console.actions import Context
    from rollback_console.commands import Commands
    from rollback_console.model.identity import DeploymentId
    from rollback_console.model.snapshot import Snapshot
    from rollback_console.tui.app import ConsoleApp
    from rollback_console.tui.keys import OwnKey

T = TypeVar("T")
_LOOKING = ("open", "timeline", "runbook", "rollback")  # acts that open a screen and touch nothing


class ConsoleScreen(Screen[None]):
    """A screen of the console.

    Subclasses set `place` (their name in `Action.screens`), add `BINDINGS = act_bindings(place) + [...]`, compose their
    own part in `compose_body`, draw in `on_snapshot`, and may answer an act themselves with a method `act_<id>()`;
    acts they do not answer are done by `tui.acts`. `on_snapshot` is called with the newest Snapshot whenever one
    arrives while the screen is visible (also under a dialog), and when the screen becomes visible again. `on_second`
    is called once a second while visible, for countdowns.
    """

    place: ClassVar[str] = "fleet"
    teaches: ClassVar[bool] = True  # in a tutorial: does its strip stand here
    own_keys: ClassVar[tuple[OwnKey, ...]] = ()  # what help and palette know of the screen beside the acts
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (81, "-normal"), (110, "-wide")]  # noqa: RUF012 - Textual's own form

    @property
    def console_app(self) -> ConsoleApp:
        """The app, typed."""
        return cast("ConsoleApp", self.app)

    @property
    def snapshot(self) -> Snapshot | None:
        """The newest Snapshot, None while connecting."""
        return self.console_app.snapshot

    @property
    def commands(self) -> Commands | None:
        """What may be asked of the engine, None while connecting."""
        return self.console_app.commands

    @property
    def acts_on(self) -> DeploymentId | None:
        """The deployment an act would apply to. Subclasses say which."""
        return None

    @property
    def context(self) -> Context:
        """What the acts' reasons are asked about."""
        from rollback_console.actions import Context

        return Context(self.snapshot, self.acts_on)

    def compose(self) -> ComposeResult:
        yield Band()
        yield from self.compose_body()
        if self.teaches and self.console_app.drill is not None and self.console_app.drill.view.tutorial:
            from rollback_console.tui.widgets.tutorial import TutorialStrip

            self.add_class("-tutorial")
            yield TutorialStrip()
        yield Footer()

    def compose_body(self) -> ComposeResult:
        """The screen's own widgets, between band and footer."""
        yield from ()

    def on_snapshot(self, snapshot: Snapshot) -> None:
        """A newer Snapshot is there: draw it."""

    def on_second(self) -> None:
        """A second has passed: redraw what counts, and nothing else."""

    def footer_hints(self) -> tuple[tuple[str, str], ...]:
        """(key, word) pairs of the screen's own that the footer shows before the acts."""
        return ()

    def hidden_acts(self) -> frozenset[str]:
        """Ids of acts that make no sense now, so that the footer does not name them."""
        return frozenset()

    @property
    def looking(self) -> str:
        """What one looks at here, for a drill's report; "" where that is only the way to somewhere."""
        return {"rollback": "the plan", "runbook": "the runbook", "timeline": "the timeline"}.get(self.place, "")

    def on_screen_resume(self) -> None:
        self.console_app.looked(self.looking)
        if self.snapshot is not None:
            self.on_snapshot(self.snapshot)
        self.refresh_frame()
        self.console_app.tell_held()

    def on_screen_suspend(self) -> None:
        """Something opens above: no notice may lie over it."""
        from textual.widgets._toast import ToastRack  # Textual has no public name for it

        self.query(ToastRack).set(display=False)

    def refresh_frame(self) -> None:
        """Redraw band and footer (after a selection changed what can be done, or a Snapshot arrived)."""
        self.tick_band()
        self.refresh_footer()

    def refresh_footer(self) -> None:
        """Redraw the footer alone: what can be done changed."""
        for footer in self.query(Footer):
            footer.tick()

    def action_act(self, action_id: str) -> None:
        """Do an act, or say why it cannot be done. Bound to the acts' keys; the palette calls it as well."""
        from rollback_console.actions import BY_ID

        action = BY_ID[action_id]
        if self.console_app.commands is None and action_id not in _LOOKING:
            self.say(f"{action.title}: still connecting", "warning")
            return
        reason = action.disabled_reason(self.context)
        if reason is not None:
            self.say(f"{action.title}: {reason}", "warning")
            return
        own = getattr(self, f"act_{action_id}", None) or getattr(self.console_app.acts, f"act_{action_id}")
        own()

    def say(self, text: str, severity: str = "information") -> None:
        """A notice. Data in it is safe: no markup is read, control characters do not come through."""
        self.console_app.say(text, severity)

    def run_command(
        self,
        coro: Coroutine[Any, Any, T],
        describe: str,
        then: Callable[[T], None] | None = None,
        failed: Callable[[str], None] | None = None,
    ) -> None:
        """Run a coroutine of `Commands` beside the screen. See `ConsoleApp.run_command`."""
        self.console_app.run_command(coro, describe, then, failed)

    def ask(self, title: str, hint: str, then: Callable[[str], None]) -> None:
        """Ask for one line of text; `then` gets it, stripped and not empty. Escape asks nothing of anybody."""
        from rollback_console.tui.widgets.prompt import PromptScreen

        prompt = PromptScreen(title, hint, placeholder="one line; it stands in the journal")
        self.app.push_screen(prompt, lambda text: then(text) if text else None)

    def tick_band(self) -> None:
        """The band's clocks move on; in a drill what the tutorial says, too."""
        if self.console_app.drill is not None:
            from rollback_console.tui.widgets.tutorial import TutorialStrip

            for strip in self.query(TutorialStrip):
                strip.tick()
        for band in self.query(Band):
            band.tick()
