"""The typed confirmation: what moves is named, and the operator types that name. Nothing else executes.

What it refuses, and why:

- *Paste.* A pasted phrase was not read. Terminals mark pastes (bracketed paste); such an event is refused in words. A
  terminal that does not mark them sends keys, faster than any hand: more than 15 of them within 50 ms, or the whole of
  a shorter phrase, are a paste as well, and empty the field. What a slow line holds back and delivers at once may be
  refused too; typing on is all it costs.
- *Keys that were meant for something else.* What arrives within 300 ms of the dialog's opening, or of the terminal's
  getting the focus back, is swallowed: the repeat of the key that opened it, a word typed into the wrong window.
- *Enter with anything but the exact phrase.* It says which part differs. Enter alone never executes.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.screen import ModalScreen

from rollback_console.model.text import plain
from rollback_console.tui.widgets.lines import Lines, against_lines, chop, heading, line, paragraph

QUIET_S = 0.3  # keys within this time of opening, or of the focus coming back, are swallowed
BURST_S = 0.05  # more than BURST_KEYS within this time were not typed
BURST_KEYS = 15


def parts_of(phrase: str) -> list[tuple[str, str]]:
    """A phrase as its named parts, in order: what stands before, environment, name, version. Joined they are it."""
    head, _, version = phrase.rpartition(" ")
    before, space, where = head.rpartition(" ")
    environment, slash, name = where.partition("/")
    parts = [("the first word", before + space)] if before else []
    parts.append(("the environment", environment + slash))
    if name:
        parts.append(("the name", name + " "))
    elif head:
        parts.append(("the space", " "))
    parts.append(("the version", version))
    return [(label, text) for label, text in parts if text]


def what_differs(typed: str, phrase: str) -> str:
    """In one sentence, which part of `typed` is not as in `phrase`; "" when they are the same."""
    if typed == phrase:
        return ""
    if not typed:
        return "nothing is typed yet"
    if typed.strip() == phrase:
        return "there is a space before or after it"
    if typed.casefold() == phrase.casefold():
        return "upper and lower case differ"
    if phrase.startswith(typed):
        return "it ends too early"
    if typed.startswith(phrase):
        return f"something follows after it: {plain(typed[len(phrase) :], 40)!r}"
    given = dict(parts_of(typed))
    for label, needed in parts_of(phrase):
        found = given.get(label)
        if found is None:
            return f"{label} is missing: {plain(needed.strip(), 60)!r}"
        if found != needed:
            return f"{label} differs: {plain(found.strip(), 60)!r} is typed, {plain(needed.strip(), 60)!r} is needed"
    return f"{plain(typed, 60)!r} is typed"


class ConfirmScreen(ModalScreen[str | None]):
    """Asks for the phrase; gives it when it was typed exactly, None on escape.

    `what` are plain sentences on what will happen, `against` the one in which the console advises against it ("": it
    does not). `monotonic` is the wall's, never a rehearsal's: it times a hand.
    """

    DEFAULT_CSS = """
    ConfirmScreen { align: center middle; }
    ConfirmScreen Lines { width: 76; max-width: 100%; max-height: 100%; background: $surface; border: heavy $warning;
                          padding: 0 1; }
    """

    def __init__(
        self,
        phrase: str,
        what: tuple[str, ...],
        *,
        against: str = "",
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._against = against
        self._burst: deque[float] = deque()  # when the newest characters came
        self._burst_most = max(1, min(BURST_KEYS, len(phrase) - 1))
        self._refused_until = 0.0  # the rest of a paste is swallowed
        self._phrase = phrase
        self._what = what
        self._monotonic = monotonic
        self._quiet_until = 0.0
        self._typed = ""
        self._word = ""

    @property
    def typed(self) -> str:
        """What stands in the field now."""
        return self._typed

    def compose(self) -> ComposeResult:
        yield Lines(self._draw, grow=True, focusable=False)

    def on_mount(self) -> None:
        self._hush()
        self.watch(self.app, "app_focus", self._focus_moved, init=False)
        if plain(self._phrase, 10_000) != self._phrase:
            self._say(
                "this name holds characters that cannot be typed here; use the command line with the plan's digest"
            )

    def _hush(self) -> None:
        self._quiet_until = self._monotonic() + QUIET_S

    def _focus_moved(self, focus: bool) -> None:
        if focus:
            self._hush()

    def _draw(self, width: int, height: int) -> list[Text]:
        room = max(6, self.app.size.height - 2)  # the border
        # The end of what is typed stays in sight, and so do the lines below it, however long a name is.
        typed = chop(plain(self._typed, 600), max(4, width - 3))[-3:]
        field = [line(("> " if i == 0 else "  ", "dim"), (piece, "bold")) for i, piece in enumerate(typed)]
        field[-1].append("▏", "accent")
        field += paragraph(self._word, width, "warn", most=3) if self._word else [line("")]
        field += paragraph("enter executes · escape cancels · paste is refused", width, "dim", most=2)
        asked = [
            line(("type exactly", "dim")),
            *(line("  ", (piece, "title")) for piece in chop(plain(self._phrase, 600), max(4, width - 2))[:4]),
        ]
        left = room - len(field) - len(asked)
        warned = against_lines(self._against, width, most=max(1, min(4, left)))
        left -= len(warned)
        told = [heading("Type it to execute", width)]
        for sentence in self._what:
            told += paragraph(sentence, width, most=2)
        return [*warned, *[*told, line("")][: max(0, left)], *asked, *field]

    def _say(self, word: str) -> None:
        self._word = word
        self.query_one(Lines).rebuild()

    def on_paste(self, event: events.Paste) -> None:
        event.stop()
        event.prevent_default()
        self._say("paste is refused: type it, so that it is read")

    def on_key(self, event: events.Key) -> None:
        event.stop()
        event.prevent_default()
        now = self._monotonic()
        if now < self._quiet_until or (now < self._refused_until and event.key != "escape"):
            self._refused_until = now + BURST_S if now < self._refused_until else 0.0
            return
        if event.key == "escape":
            self.dismiss(None)
        elif event.key == "enter":
            self._submit()
        elif event.key in ("backspace", "ctrl+h"):
            self._typed = self._typed[:-1]
            self._say("")
        elif event.key in ("ctrl+u", "ctrl+w"):
            self._typed = ""
            self._say("")
        elif event.key == "ctrl+v":
            self._say("paste is refused: type it, so that it is read")
        elif event.is_printable and event.character:
            # When the terminal gave it, not when a busy program came to it: typing held back by us is no paste.
            self._type(event.character, event.time if self._monotonic is time.monotonic else now)

    def _type(self, character: str, now: float) -> None:
        while self._burst and now - self._burst[0] > BURST_S:
            self._burst.popleft()
        self._burst.append(now)
        if len(self._burst) > self._burst_most:
            self._burst.clear()
            self._typed, self._refused_until = "", now + BURST_S
            self._say("that came too fast to be typed: paste is refused")
        elif len(self._typed) < len(self._phrase) + 40:
            self._typed += character
            self._say("")

    def _submit(self) -> None:
        different = what_differs(self._typed, self._phrase)
        if different:
            self._say(f"not executed: {different}")
        else:
            self.dismiss(self._typed)
