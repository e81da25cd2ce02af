"""The scenarios there are: scripted incidents, each staged on a world of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from rollback_console.clock import Clock
from rollback_console.errors import UsageError
from rollback_console.model.drill import Hint
from rollback_console.model.text import plain
from rollback_console.model.value import dataclass
from rollback_console.rehearse.setup import Setup

if TYPE_CHECKING:
    from rollback_console.policy.load import LoadedScenario
    from rollback_console.policy.scenario import Scenario as Words

DEMO = "demo"
_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class Listed:
    """A scenario as a list shows it. `klass` is its class of incident; `right`: what is right to do, in a sentence;
    `needs`: what the console does not have yet that its full play asks for."""

    name: str
    title: str
    klass: str
    right: str
    needs: tuple[str, ...] = ()


class Stage(Protocol):
    """Sets a scenario's stage."""

    def __call__(
        self, seed: int, start: float, clock: Clock, *, policy: Path | None = None, mode: str | None = None,
        noise: str | None = None,
    ) -> Setup:  # fmt: skip
        """`start` in Unix seconds, on a step; the clock stands there. `policy`: a file that judges in place of the
        scenario's own; `mode`: in place of the policy's; `noise`: in place of the world's. Raises FileProblems and
        UsageError for a policy that does not do, UsageError for a noise that is none."""
        ...


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario. `digest` is the SHA-256 of the file it was read from; `stage` sets its stage. `careless`: whether
    the careless operator `fails` or `passes`."""

    listed: Listed
    digest: str
    stage: Stage
    story: str = ""  # what the operator is told when it begins
    hints: tuple[Hint, ...] = ()  # the tutorial's, in their order
    lasts_s: float = 3600.0  # the drill ends then at the latest
    careless: str = "fails"
    begins_s: float | None = None  # the time of the week at which its story begins, seconds since Monday, 00:00 UTC

    @property
    def name(self) -> str:
        return self.listed.name


_DEMO = Listed(
    DEMO,
    "A bad release and an upstream fault at once",
    "release",
    "roll checkout-ranker back to v7, and nothing else",
)


def shipped() -> tuple[Listed, ...]:
    """The scenarios that come with the console, in the order in which one would rehearse them: the demo, then those
    that need nothing the console does not have, by name."""
    found = [listed(loaded.scenario) for _, loaded in _wheel()]
    return (_DEMO, *sorted(found, key=lambda each: (bool(each.needs), each.name)))


def find(name: str) -> Scenario:
    """The scenario of that name, or in the file of that path. Raises `UsageError`; `FileProblems` for a bad file."""
    if name == DEMO:
        return Scenario(_DEMO, "", _demo)
    data = _shipped_bytes(name)
    if data is not None:
        from rollback_console.policy.load import parse_scenario

        return _scenario(parse_scenario(data, f"{name}.yaml"), None)
    path = Path(name).expanduser()
    if path.suffix in _SUFFIXES or path.is_file():
        from rollback_console.policy.load import load_scenario

        return _scenario(load_scenario(path), path)
    close = _close(name)
    remedy = f"did you mean {close}? " if close else ""
    raise UsageError(
        f"no scenario is called {plain(name, 80)}", f"{remedy}`rollback-console rehearse --list` shows them"
    )


def _demo(
    seed: int, start: float, clock: Clock, *, policy: Path | None = None, mode: str | None = None,
    noise: str | None = None,
) -> Setup:  # fmt: skip
    """The demo is Python, so that it opens fast. Its policy can be replaced as any scenario's can; its noise is its
    own."""
    from rollback_console.rehearse.demo import demo_setup

    if noise not in (None, "everyday"):
        raise UsageError("the demo has a noise of its own", "rehearse another scenario under that noise")

    found = demo_setup(seed, start, clock)
    if policy is None and mode is None:
        return found
    from rollback_console.rehearse.papers import judged_by

    return judged_by(found, policy, mode)


def _scenario(loaded: LoadedScenario, path: Path | None) -> Scenario:
    words = loaded.scenario

    def stage(
        seed: int, start: float, clock: Clock, *, policy: Path | None = None, mode: str | None = None,
        noise: str | None = None,
    ) -> Setup:  # fmt: skip
        from rollback_console.rehearse import staging

        return staging.stage(words, seed, start, clock, path=path, policy=policy, mode=mode, noise=noise)

    hints = tuple(Hint(hint.when, hint.say) for hint in words.hints)
    return Scenario(
        listed(words), loaded.digest, stage, " ".join(words.story.split()), hints, words.lasts, words.careless,
        words.begins.seconds,
    )  # fmt: skip


def listed(words: Words) -> Listed:
    """A scenario's words as a list shows them."""
    return Listed(words.name, words.title, words.class_, right(words), words.needs)


def right(words: Words) -> str:
    """What is right to do, in a sentence."""
    moves = [f"{move.deployment} back to v{move.to}" for move in words.right.rollback]
    left = _counted(words.right.leave)
    if not moves:
        return f"roll nothing back, and leave {left} alone" if left else "roll nothing back"
    rest = f"leave {left} alone" if left else "nothing else"
    return f"roll {_joined(moves)}, and {rest}"


def _counted(names: Sequence[str]) -> str:
    """Names as a list holds them: many are counted."""
    return _joined(names) if len(names) <= 3 else f"{', '.join(names[:2])} and {len(names) - 2} more"


def _joined(parts: Sequence[str]) -> str:
    return ", ".join(parts[:-1]) + f" and {parts[-1]}" if len(parts) > 1 else "".join(parts)


def _folder() -> Path:
    return Path(__file__).parent / "data" / "scenarios"


def _shipped_bytes(name: str) -> bytes | None:
    """The wheel's scenario of that name; a name with a slash in it is a path's."""
    path = _folder() / f"{name}.yaml"
    return path.read_bytes() if Path(name).name == name and path.is_file() else None


def _wheel() -> Iterator[tuple[Path, LoadedScenario]]:
    from rollback_console.policy.load import load_scenario

    for path in sorted(_folder().glob("*.yaml")):
        yield path, load_scenario(path)


def _close(name: str) -> str:
    import difflib

    known = [DEMO, *(path.stem for path in _folder().glob("*.yaml"))]
    return "".join(difflib.get_close_matches(name, known, 1, 0.6))
