"""The floor of a first paint: a Textual app with one Static, and nothing else."""

from __future__ import annotations

from textual.app import App, ComposeResult
from textual.widgets import Static


class OneStatic(App[None]):
    def compose(self) -> ComposeResult:
        yield Static("one static line")


if __name__ == "__main__":
    OneStatic().run()
