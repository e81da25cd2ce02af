"""What the screens of a review have in common: a band that says what was verified, the scrubber, and its keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import Binding
from textual.strip import Strip

from rollback_console.model.observation import BackendState
from rollback_console.model.text import plain
from rollback_console.tui import themes
from rollback_console.tui.keys import OwnKey
from rollback_console.tui.screens.base import ConsoleScreen
from rollback_console.tui.widgets.band import Band, Piece, lay_out
from rollback_console.tui.widgets.cells import strip_of
from rollback_console.tui.widgets.footer import Footer
from rollback_console.tui.widgets.scrubber import Scrubber

if TYPE_CHECKING:
    from rollback_console.review.scrub import Scrub
    from rollback_console.tui.review_app import ReviewApp

_HERE = frozenset({"open", "why", "judge", "message", "copy_summary"})  # acts that a review has


class ReviewBand(Band):
    """The band; its second line says how far the journal may be believed, and how things stood then."""

    def strip(self, y: int) -> Strip:
        scrub = cast("ReviewApp", self.app).scrub
        if y == 0 or scrub is None:
            return super().strip(y)
        ink, width, checked = themes.ink(self.app), self.size.width, scrub.checked
        style = ink.warn if checked.done < 1.0 else ink.good if checked.verified else ink.bad
        sign = "…" if checked.done < 1.0 else "✓" if checked.verified else "✗"
        left: list[Piece] = [(0, [(f"{sign} {plain(checked.words, max(20, width - 24))}", style)])]
        if scrub.problem:
            left.append((1, [(plain(scrub.problem, 120), ink.bad)]))
        snapshot = cast("ReviewApp", self.app).snapshot
        right: list[Piece] = []
        if snapshot is not None and snapshot.deployments:
            alarms = sum(1 for view in snapshot.deployments if view.verdict is not None and view.verdict.alarming)
            word = "alarm" if alarms == 1 else "alarms"
            right.append(
                (2, [(f"▲ {alarms} {word} then" if alarms else "no alarm then", ink.bad if alarms else ink.dim)])
            )
            down = [each.name for each in snapshot.backends if each.state is BackendState.FAILING]
            if down:
                right.insert(0, (3, [(plain(f"{', '.join(down)} failing then", 40), ink.bad)]))
        return strip_of(lay_out(left, right, width), width, self.base())


class ReviewBase(ConsoleScreen):
    """A screen of a review."""

    place = "review"

    def compose(self) -> ComposeResult:
        yield ReviewBand()
        yield from self.compose_body()
        yield Footer()

    @property
    def scrub(self) -> Scrub | None:
        """The journal under its scrubber; None while it is opened."""
        return cast("ReviewApp", self.console_app).scrub

    def hidden_acts(self) -> frozenset[str]:
        from rollback_console.actions import BY_ID

        return frozenset(BY_ID) - _HERE

    def action_act(self, action_id: str) -> None:
        """As live, of what a review has: the live screens bind the keys of all the others, too."""
        if action_id in self.hidden_acts():
            self.say("a review changes nothing: open the live console for that", "warning")
            return
        super().action_act(action_id)

    def on_screen_resume(self) -> None:
        super().on_screen_resume()
        if self.scrub is not None:
            self.scrub.changed = self.on_scrubbed

    def on_scrubbed(self) -> None:
        """More was read or verified, or another moment is shown."""
        self.refresh_frame()

    def action_differences(self) -> None:
        """The decisions that come out otherwise."""
        if self.scrub is not None:
            from rollback_console.tui.screens.review_sheets import DifferencesScreen

            self.app.push_screen(DifferencesScreen(self.scrub))


class Driven(ReviewBase):
    """A live screen at a moment of the journal, under the scrubber. Mixed in before that screen."""

    BINDINGS = [  # noqa: RUF012 - Textual's own form
        Binding("left", "screen.scrub_by('tick', -1)", show=False, priority=True),
        Binding("right", "screen.scrub_by('tick', 1)", show=False, priority=True),
        Binding("shift+left,left_square_bracket", "screen.scrub_by('entry', -1)", show=False, priority=True),
        Binding("shift+right,right_square_bracket", "screen.scrub_by('entry', 1)", show=False, priority=True),
        Binding("n", "screen.scrub_by('turn', 1)", show=False, priority=True),
        Binding("N,p", "screen.scrub_by('turn', -1)", show=False, priority=True),
        Binding("home", "screen.scrub_by('edge', 0)", show=False, priority=True),
        Binding("end", "screen.scrub_by('edge', 1)", show=False, priority=True),
        *(Binding(str(n), f"screen.scrub_by('tenth', {n})", show=False, priority=True) for n in range(10)),
        Binding("slash", "screen.search", show=False, priority=True),
        Binding("t", "screen.journal", show=False, priority=True),
        Binding("W", "screen.what_if", show=False, priority=True),
        Binding("d", "screen.differences", show=False, priority=True),
        Binding("escape", "screen.back", show=False),
    ]
    own_keys: ClassVar[tuple[OwnKey, ...]] = (
        OwnKey("← →", "The evaluation before, after", "as they were recorded"),
        OwnKey("[ ]", "The entry before, after", "shift+← →, too"),
        OwnKey("n N", "The next change of state, the one before", "p goes back, too"),
        OwnKey("home end", "The beginning, the end", "digits jump to tenths"),
        OwnKey("/", "Search the timeline", "the moment follows what is found", "search"),
        OwnKey("t", "The timeline", "the moment follows the line", "journal"),
        OwnKey("W", "What if", "another dwell, margin, budget or path", "what_if"),
        OwnKey("d", "Decisions that differ", "recorded, and made again", "differences"),
    )

    def compose(self) -> ComposeResult:
        yield ReviewBand()
        if self.scrub is not None:
            yield Scrubber(self.scrub)
        yield from self.compose_body()
        yield Footer()

    def footer_hints(self) -> tuple[tuple[str, str], ...]:
        return (
            ("←→", "tick"),
            ("[]", "entry"),
            ("n", "next change"),
            ("0-9", "jump"),
            ("/", "search"),
            ("W", "what if"),
            ("escape", "back"),
        )

    def on_scrubbed(self) -> None:
        """Band and footer follow with the Snapshot."""
        for scrubber in self.query(Scrubber):
            scrubber.about(self.acts_on)
            scrubber.tick()

    def refresh_footer(self) -> None:
        """Another deployment may be selected: the scrubber tells of that one."""
        super().refresh_footer()
        for scrubber in self.query(Scrubber):
            scrubber.about(self.acts_on)

    def on_screen_resume(self) -> None:
        super().on_screen_resume()
        self.on_scrubbed()

    # ── moving through time

    def action_scrub_by(self, what: str, step: int) -> None:
        scrub = self.scrub
        if scrub is None:
            return
        if what == "edge":
            scrub.edge(bool(step))
        else:
            {"tick": scrub.tick, "entry": scrub.entry, "turn": scrub.turn, "tenth": scrub.tenth}[what](step)

    def action_search(self) -> None:
        self._open_journal(typing=True)

    def action_journal(self) -> None:
        self._open_journal(typing=False)

    def _open_journal(self, *, typing: bool) -> None:
        from rollback_console.tui.screens.review_timeline import ReviewTimeline

        self.app.push_screen(ReviewTimeline(typing=typing))

    def action_what_if(self) -> None:
        from rollback_console.tui.screens.review_sheets import ask_what_if

        if self.scrub is None:
            return
        if self.acts_on is None:
            self.say("what if: no deployment is selected", "warning")
            return
        ask_what_if(self, self.scrub, self.acts_on)

    def action_back(self) -> None:
        if len(self.app.screen_stack) > 1:
            self.app.pop_screen()
