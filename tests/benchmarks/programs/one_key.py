"""The floor of a key's answer: a Textual app with one Static, which moves a cursor on j and k."""

from __future__ import annotations

from textual import events
from textual.app import App, ComposeResult
from textual.widgets import Static


class OneKey(App[None]):
    place = 0

    def compose(self) -> ComposeResult:
        yield Static("ranker-")

    def on_key(self, event: events.Key) -> None:
        self.place = max(0, self.place + (1 if event.key == "j" else -1))
        self.query_one(Static).update(" " * (self.place % 60) + "▌")


if __name__ == "__main__":
    OneKey().run()
