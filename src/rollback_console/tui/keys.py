"""Keys of the shell that are no acts: moving, filtering, leaving. Bindings, footer and help read this table.

What an operator *does* stands in `actions.ACTIONS`; what a hand does to look around stands here. The acts are imported
when asked for: they bring the whole model, and the first paint does not wait for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from textual.binding import Binding, BindingType

if TYPE_CHECKING:
    from rollback_console.actions import Action


class ShellKey(NamedTuple):
    """One key of the shell: what the footer calls it, what the help says. `action` is a Textual action string."""

    key: str
    shown: str  # as a person reads the key
    word: str
    help: str
    action: str
    priority: bool = False


class OwnKey(NamedTuple):
    """One key of a screen's own that is no act. With an `action` (a Textual one of the screen) the palette has it."""

    shown: str
    title: str
    help: str
    action: str = ""


SHELL_KEYS: tuple[ShellKey, ...] = (
    ShellKey("question_mark", "?", "keys", "This list of keys", "app.keys"),
    ShellKey("ctrl+p", "^p", "commands", "Every act by name, with its reason when it cannot be done", "app.palette"),
    ShellKey("T", "T", "theme", "Dark, light, monochrome", "app.next_theme"),
    ShellKey("space", "space", "pause", "Pause or go on (simulated time only)", "app.pause"),
    ShellKey("plus,equals_sign", "+", "faster", "Faster (simulated time only)", "app.speed(1)"),
    ShellKey("minus", "-", "slower", "Slower (simulated time only)", "app.speed(-1)"),
    ShellKey("q", "q", "leave", "Leaves; asks first while something is being executed", "app.leave"),
    ShellKey("ctrl+q", "^q", "leave", "Leaves, from any field", "app.leave", priority=True),
    ShellKey("ctrl+c", "^c", "leave", "Leaves, unless text is selected: then it copies", "app.leave"),
)

MOVES: tuple[tuple[str, str], ...] = (
    ("↑ ↓ / k j", "one up, one down"),
    ("PgUp PgDn", "a page"),
    ("g G / Home End", "first, last"),
    ("enter", "into what is selected"),
    ("escape", "back, or clears the filter"),
    ("/", "filter: words of a name, a state, a version"),
    ("mouse", "click selects, a second click opens, the wheel scrolls"),
)


def shell_bindings() -> list[BindingType]:
    """The shell's keys as Textual bindings, for the app."""
    return [Binding(k.key, k.action, k.word, show=False, priority=k.priority) for k in SHELL_KEYS]


def act_bindings(screen: str) -> list[BindingType]:
    """The acts whose keys are bound on `screen` (a name of `Action.screens`), as Textual bindings."""
    return [Binding(a.key, f"screen.act('{a.id}')", a.title, show=False) for a in acts_on(screen, drill=True)]


def acts_on(screen: str, *, drill: bool = False) -> tuple[Action, ...]:
    """The acts whose keys are bound on `screen`, in the table's order; `drill`: with those of a drill."""
    return tuple(action for action in acts(drill=drill) if screen in action.screens)


def acts(*, drill: bool) -> tuple[Action, ...]:
    """All acts in the table's order; `drill`: with those that there are only in a drill, its two most wanted first."""
    from rollback_console.actions import ACTIONS, DRILL_ACTIONS

    return (*DRILL_ACTIONS[:2], *ACTIONS, *DRILL_ACTIONS[2:]) if drill else ACTIONS


def word_of(action: Action) -> str:
    """What the footer calls an act: the first word of its id."""
    first, _, last = action.id.partition("_")
    return last if first == "drill" else first
