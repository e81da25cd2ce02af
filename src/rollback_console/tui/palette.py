"""The palette's provider: every act by its title, with its help, or the reason why it cannot be done now."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, cast

from textual.command import CommandPalette, DiscoveryHit, Hit, Hits, Provider, SearchIcon
from textual.content import Content
from textual.markup import escape

from rollback_console.actions import Context
from rollback_console.model.text import plain
from rollback_console.tui.keys import SHELL_KEYS, acts

if TYPE_CHECKING:
    from rollback_console.tui.app import ConsoleApp


class ActsPalette(CommandPalette):
    """Textual's palette without its magnifying glass: two cells wide in some terminals, one in others."""

    def on_mount(self) -> None:
        self.query_one(SearchIcon).icon = "/"


class ActsProvider(Provider):
    """The keys of the screen on top, the acts in the table's order, the shell's own keys."""

    def _offers(self) -> list[tuple[str, str, Callable[[], object]]]:
        """(title, help, what it does) of everything that can be asked for."""
        app = cast("ConsoleApp", self.app)
        screen = app.top()
        context = screen.context if screen else Context(app.snapshot)
        offers: list[tuple[str, str, Callable[[], object]]] = []
        for action in acts(drill=context.snapshot is not None and context.snapshot.drill is not None):
            reason = action.disabled_reason(context)
            mark = "! changes what serves · " if action.dangerous else ""
            help_text = plain(f"not now: {reason}" if reason else f"{action.key} · {mark}{action.help}", 200)
            if screen is not None:
                offers.append((action.title, help_text, partial(screen.action_act, action.id)))
        if screen is not None:
            own = [key for key in screen.own_keys if key.action]
            here = [
                (key.title, f"{key.shown} · {key.help}", partial(app.run_action, key.action, screen)) for key in own
            ]
            offers = [*here, *offers]  # what this screen alone can do comes first
        for key in SHELL_KEYS:
            if key.word != "commands" and not key.shown.startswith("^"):
                run = partial(app.run_action, key.action)
                offers.append((f"{key.word.capitalize()}: {key.help}", key.shown, run))
        return offers

    async def discover(self) -> Hits:
        for title, help_text, run in self._offers():
            yield DiscoveryHit(Content(title), run, title, escape(help_text))

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for title, help_text, run in self._offers():
            score = matcher.match(title)
            if score > 0:
                yield Hit(score, matcher.highlight(title), run, title, escape(help_text))
