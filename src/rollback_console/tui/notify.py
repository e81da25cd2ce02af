"""Telling a person who looks elsewhere: the bell, a desktop notification, the terminal's title."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rollback_console.tui.themes import GLYPHS

if TYPE_CHECKING:
    from rollback_console.model.snapshot import DeploymentView, Snapshot
    from rollback_console.tui.app import ConsoleApp

_JUST_S = 600.0  # an incident that closed longer ago is no news
_ORDER = ("fired", "blind", "clearing", "pending")  # the worst first


def worst(snapshot: Snapshot) -> str:
    """The worst state in the fleet with its count, as the terminal's title says it: `▲ 1 fired`."""
    if snapshot.review:
        return "review"
    counts: dict[str, int] = {}
    for view in snapshot.deployments:
        if view.verdict is not None:
            counts[view.verdict.state] = counts.get(view.verdict.state, 0) + 1
    for state in _ORDER:
        if counts.get(state):
            return f"{GLYPHS[state]} {counts[state]} {state}"
    return f"● {len(snapshot.deployments)} healthy" if snapshot.deployments else "no deployments"


def newly_fired(before: Snapshot | None, after: Snapshot) -> list[str]:
    """One line for each deployment that began to need a person between two Snapshots. The first one tells nothing:
    what had fired before the console was opened is on its screen."""
    if before is None or before.evaluated_at is None:
        return []
    from rollback_console.model.text import plain

    alarming = {
        view.id
        for view in before.deployments
        if view.verdict is not None and view.verdict.alarming and not _expected(view, before.at)
    }  # one that alarms still when a change that was expected is over, begins to need a person then
    now = after.at
    return [
        f"{view.id} fired: {plain(view.verdict.sentence, 120)}"
        for view in after.deployments
        if view.verdict is not None
        and view.verdict.alarming
        and view.id not in alarming
        and not (view.snoozed_until is not None and view.snoozed_until > now)
        and not _expected(view, now)
    ]


def _expected(view: DeploymentView, now: float) -> bool:
    return view.expected is not None and view.expected.until > now


def newly_moved(before: Snapshot | None, after: Snapshot) -> list[str]:
    """The alarms that were not there before: pointers that somebody else moved. Not what only reads otherwise now."""
    if before is None or before.evaluated_at is None or len(after.alarms) <= len(before.alarms):
        return []
    return [alarm for alarm in after.alarms if alarm not in before.alarms]


def newly_over(before: Snapshot | None, after: Snapshot) -> list[str]:
    """A line for each incident that closed between two Snapshots, where whoever looks may say what is learned from."""
    if before is None or before.evaluated_at is None or after.look_only:
        return []
    from rollback_console.model.declaring import stretch_words

    known = {incident.id for incident in before.over}
    return [
        f"incident {stretch_words(incident.onset, incident.closed_at, after.at)} of {incident.members[0]} is over: "
        "exclude it from baselines? X, on its screen"
        for incident in after.over
        if incident.id not in known
        and incident.members
        and incident.closed_at is not None
        and after.at - incident.closed_at < _JUST_S
    ]


class Herald:
    """Rings when a trigger fires, unless time is simulated (or a simulation was asked to ring)."""

    def __init__(self, app: ConsoleApp, simulated_too: bool) -> None:
        self._app = app
        self._simulated_too = simulated_too
        self._title = ""

    def tell(self, before: Snapshot | None, after: Snapshot) -> None:
        """Compare two Snapshots and tell what is new."""
        from rollback_console.model.text import plain

        title = f"{worst(after)} · {self._app.title}"
        if title != self._title:
            self._title = title
            self._write(f"\x1b]0;{plain(title, 120)}\x07")
        for line in newly_over(before, after):
            self._app.say(line)
        if after.simulated and not self._simulated_too:
            return
        fired, moved = newly_fired(before, after), newly_moved(before, after)
        news = [*moved, *fired]
        if not news:
            return
        if len(news) == 1:
            text = news[0]
        else:
            text = f"{len(news)} alarms: {news[0]} …" if moved else f"{len(news)} deployments fired: {news[0]} …"
        self._app.bell()
        # Two dialects: OSC 9 (iTerm2, kitty, Windows Terminal, WezTerm) and OSC 777 (urxvt, foot, Ghostty, VTE).
        safe = plain(text, 200).replace(";", ",")
        self._write(f"\x1b]9;{safe}\x07\x1b]777;notify;rollback-console;{safe}\x07")

    def clear(self) -> None:
        """Give the terminal its title back, as far as one can: an empty one."""
        self._write("\x1b]0;\x07")

    def _write(self, sequence: str) -> None:
        driver = self._app._driver  # Textual offers no public way to send a sequence
        if driver is not None and not self._app.is_headless and os.environ.get("TERM") != "dumb":
            driver.write(sequence)
