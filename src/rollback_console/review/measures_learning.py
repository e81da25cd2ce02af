"""What was learnt from rollbacks: root causes, those that come again, analyses, gates that would have caught them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from rollback_console.model.text import plain
from rollback_console.model.value import dataclass
from rollback_console.review.moves import Move

UNKNOWN = "not known yet"


@dataclass(frozen=True, slots=True)
class Learnt:
    """Of some rollbacks. Counts are (word, how many), the most frequent first; `repeated` (deployment, root cause, how
    many); `published` and `judged` out of `rollbacks`."""

    rollbacks: int
    causes: tuple[tuple[str, int], ...]
    repeated: tuple[tuple[str, str, int], ...]
    gates: tuple[tuple[str, int], ...]
    published: int
    judged: int
    right: tuple[tuple[str, int], ...]


def learnt(found: Sequence[Move]) -> Learnt:
    """Count them, each by the judgement that counts on it."""
    pairs = Counter((move.deployment, cause) for move in found if (cause := _word(move, "root_cause")))
    repeated = sorted(((*pair, n) for pair, n in pairs.items() if n > 1), key=lambda each: (-each[2], *each[:2]))
    return Learnt(
        len(found),
        _counted(found, lambda move: _word(move, "root_cause") or UNKNOWN),
        tuple(repeated),
        _counted(found, lambda move: _word(move, "gate")),
        sum(1 for move in found if _word(move, "published").strip()),
        sum(1 for move in found if move.judgement is not None),
        _counted(found, lambda move: _word(move, "right")),
    )


def _word(move: Move, field: str) -> str:
    return plain(str(getattr(move.judgement, field)), 200) if move.judgement is not None else ""


def _counted(found: Sequence[Move], word: Callable[[Move], str]) -> tuple[tuple[str, int], ...]:
    counts = Counter(word(move) for move in found)
    counts.pop("", None)
    return tuple(sorted(counts.items(), key=lambda each: (-each[1], each[0])))
