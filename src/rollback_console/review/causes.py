"""The words of a judgement: root causes, and validation gates that could have caught one."""

from __future__ import annotations

from collections.abc import Sequence

from rollback_console.errors import InputError
from rollback_console.model.judgement import CAUSES, GATES
from rollback_console.model.text import plain

__all__ = ["CAUSES", "GATES", "chosen", "with_own"]


def with_own(own: Sequence[str]) -> tuple[str, ...]:
    """The root causes that every team has, then the team's own (settings key `causes`)."""
    return (*CAUSES, *own)


def chosen(what: str, text: str, words: Sequence[str], key: str) -> str:
    """The word of `words` that `text` means: itself in any case, with `-` or `_` for a space, or the only one that
    begins so. "" stays "". Raises InputError with the words there are, and the settings' key that adds one."""
    said = " ".join(text.replace("-", " ").replace("_", " ").split()).casefold()
    if not said:
        return ""
    for word in words:
        if " ".join(word.replace("-", " ").replace("_", " ").split()).casefold() == said:
            return word
    begun = [word for word in words if word.casefold().startswith(said)]
    if len(begun) == 1:
        return begun[0]
    remedy = f"there are: {', '.join(words)}; the settings' key {key} names a team's own"
    raise InputError(f"{plain(text, 60)!r} is no {what}", remedy)
