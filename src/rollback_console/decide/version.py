"""Which engine decides here: not the program's version, but that of what `decide` says of the same inputs.

`ENGINE` is two numbers. The first is raised when a state, a number or a memory comes out otherwise for some input; the
second when only words do. Whoever recomputes a recorded decision compares states, numbers and memories where the first
agrees, and sentences where both do. `tests/engine/golden` holds decisions of this very engine and fails when it decides
or speaks otherwise without having been raised.
"""

from __future__ import annotations

ENGINE = "1.1"

# Raised when what is learned from the same history comes out otherwise: what was kept of before is learned anew.
LEARNING = 1

# Every engine whose decisions may stand in a journal, and what it decided otherwise than the one before.
ENGINES = {1: "the first"}


def decides_alike(engine: str) -> bool:
    """Does this program decide what the named engine decided: can a decision of its be recomputed here."""
    return _numbers(engine)[0] == _numbers(ENGINE)[0]


def speaks_alike(engine: str) -> bool:
    """Does this program say it in the very words, too."""
    return engine == ENGINE


def why_not(engine: str) -> str:
    """Why a decision of another engine is not recomputed, in words."""
    theirs, ours = _numbers(engine)[0], _numbers(ENGINE)[0]
    said = f"made by engine {engine}, this program has {ENGINE}"
    if theirs is None:
        return f"{said}, and knows no engine of that name"
    if theirs not in ENGINES:
        return f"{said}: a newer program can recompute it"
    since = "; ".join(what for number, what in ENGINES.items() if ours is not None and theirs < number <= ours)
    return f"{said}, which decides otherwise ({since})"


def _numbers(engine: str) -> tuple[int | None, int]:
    """(decisions, words) of an engine's name; (None, 0) of what is none."""
    decisions, _, words = engine.partition(".")
    if decisions.isascii() and decisions.isdigit() and words.isascii() and words.isdigit() and len(engine) < 20:
        return int(decisions), int(words)
    return None, 0
