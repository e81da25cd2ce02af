"""The scenarios there are: scripted incidents, each staged on a world of its own."""

from __future__ import annotations

from collections.abc import Callable

from rollback_console.clock import Clock
from rollback_console.errors import UsageError
from rollback_console.model.drill import Hint
from rollback_console.model.text import plain
from rollback_console.model.value import dataclass
from rollback_console.rehearse.setup import Setup


@dataclass(frozen=True, slots=True)
class Listed:
    """A scenario as a list shows it. `klass` is its class of incident; `right`: what is right to do, in a sentence;
    `needs`: what the console does not have yet that its full play asks for."""

    name: str
    title: str
    klass: str
    right: str
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario. `digest` is the SHA-256 of the file it was read from; `stage(seed, start, clock)` sets its stage
    (start in Unix seconds, on a step; the clock stands there)."""

    listed: Listed
    digest: str
    stage: Callable[[int, float, Clock], Setup]
    story: str = ""  # what the operator is told when it begins
    hints: tuple[Hint, ...] = ()  # the tutorial's, in their order
    lasts_s: float = 3600.0  # the drill ends then at the latest

    @property
    def name(self) -> str:
        return self.listed.name


def shipped() -> tuple[Listed, ...]:
    """The scenarios that come with the console, in the order in which one would rehearse them."""
    return (
        Listed(
            "demo",
            "A bad release and an upstream fault at once",
            "release",
            "roll checkout-ranker back to v7, and nothing else",
        ),
    )


def find(name: str) -> Scenario:
    """The scenario of that name, or in the file of that path. Raises `UsageError`; `FileProblems` for a bad file."""
    for listed in shipped():
        if listed.name == name:
            from rollback_console.rehearse.demo import demo_setup

            return Scenario(listed, "", demo_setup)
    raise UsageError(f"no scenario is called {plain(name, 80)}", "`rollback-console rehearse --list` shows them")
