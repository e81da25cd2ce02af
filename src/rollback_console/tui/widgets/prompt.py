"""One-line questions: a reason (which must be given), a yes or no, or a yes or no followed by its reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from rollback_console.model.text import plain


class PromptScreen(ModalScreen[str | None]):
    """Asks for one line; enter gives it, escape gives None. An empty line is refused in words.

    With `ask_first` it asks y or n before: `n` gives None, `y` goes on to the reason. Enter is never a yes. `value`
    stands there at first. What `check` says is wrong with a line ("": nothing) is shown, and the line asked for again.
    """

    DEFAULT_CSS = """
    PromptScreen { align: center bottom; }
    PromptScreen Vertical { width: 100%; height: auto; background: $surface; border-top: solid $border; padding: 0 1; }
    PromptScreen Static { height: auto; }
    PromptScreen Input { padding: 0; background: $background; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "cancel")]

    def __init__(
        self,
        title: str,
        hint: str = "",
        *,
        ask_first: bool = False,
        placeholder: str = "the reason, in one line",
        limit: int = 2000,
        masked: bool = False,
        check: Callable[[str], str] = lambda _: "",
        value: str = "",
    ) -> None:
        super().__init__()
        self._check, self._value = check, value
        self._asks = plain(title, 300)
        self._hint = plain(hint, 400)
        self._asking = ask_first
        self._placeholder = placeholder
        self._limit = limit
        self._masked = masked

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static(self._asks, markup=False)
            yield Static(self._hint, markup=False)
            yield Input(
                self._value,
                placeholder=self._placeholder,
                max_length=self._limit,
                disabled=self._asking,
                compact=True,
                password=self._masked,
            )
            yield Static(self._keys(), markup=False, id="keys")

    def on_mount(self) -> None:
        self.query_one(Input).display = not self._asking
        if not self._asking:
            self.query_one(Input).focus()

    def _keys(self) -> str:
        return "y  yes      n, escape  no" if self._asking else "enter  goes on      escape  cancels"

    def on_key(self, event: events.Key) -> None:
        if not self._asking or event.key == "escape":
            if event.is_printable:  # the field is not there yet: a typed word is no row of hotkeys
                event.stop()
            return
        event.stop()
        if event.key == "y":
            self._asking = False
            field = self.query_one(Input)
            field.disabled, field.display = False, True
            field.focus()
            self.query_one("#keys", Static).update(self._keys())
        elif event.key == "n":
            self.dismiss(None)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        value = event.value.strip()
        wrong = self._check(value) if value else ""
        if wrong:
            self.query_one("#keys", Static).update(plain(f"{wrong}      escape  cancels", 300))
        elif value:
            self.dismiss(value)
        else:
            self.query_one("#keys", Static).update(f"{self._placeholder}: it cannot be empty      escape  cancels")


class YesNoScreen(ModalScreen[bool]):
    """Asks y or n. Enter is neither."""

    DEFAULT_CSS = """
    YesNoScreen { align: center bottom; }
    YesNoScreen Static { width: 100%; height: auto; background: $surface; border-top: solid $border; padding: 0 1; }
    """

    def __init__(self, question: str, hint: str = "") -> None:
        super().__init__()
        self._question = plain(question, 300)
        self._hint = plain(hint, 400)

    def compose(self) -> ComposeResult:
        yield Static(f"{self._question}\n{self._hint}\ny  yes      n, escape  no", markup=False)

    def on_key(self, event: events.Key) -> None:
        event.stop()
        if event.key in ("y", "n", "escape"):
            self.dismiss(event.key == "y")
