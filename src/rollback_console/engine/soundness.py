"""Is an evaluation that came from elsewhere one that could have been made: every value of its kind, every time past.

What is read back from this machine's own journal needs none of this; what anybody on the network may have written does,
before it is judged, kept and shown.
"""

from __future__ import annotations

import math
import types
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from functools import lru_cache
from typing import Any, Union, get_args, get_origin, get_type_hints

from rollback_console.model.observation import Tick
from rollback_console.model.verdict import TriggerMemory

_TIMES = ("at", "active_since", "fired_at", "clear_since", "blind_since", "blind_fired_at")
_LONGEST = 1_000  # characters of a version or a signal's name


def sound(tick: Tick, memories: Sequence[TriggerMemory]) -> bool:
    """Can this be judged and shown."""
    seen: set[int] = set()
    for memory in memories:
        if id(memory) in seen:
            continue  # most are one and the same: calm
        seen.add(id(memory))
        if not is_of(TriggerMemory, memory):
            return False
        times = [at for name in _TIMES if (at := getattr(memory, name)) is not None]
        if any(not 0.0 <= at <= tick.at for at in times) or not 0.0 <= memory.frozen_s < math.inf:
            return False
    for observation in tick.observations:
        if not is_of(str | None, observation.version):
            return False
        numbers = [number for reading in observation.readings for number in (reading.value, reading.n, reading.x)]
        if any(number is not None and not math.isfinite(number) for number in numbers):
            return False
    return True


def is_of(kind: Any, value: object) -> bool:
    """Is a value what an annotation of the model says: numbers that are not NaN, short texts, tuples, values."""
    if kind is float:
        return type(value) in (int, float) and value == value
    if kind is str:
        return isinstance(value, str) and len(value) <= _LONGEST
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return any(is_of(each, value) for each in get_args(kind))
    if origin is tuple:
        parts = get_args(kind)
        if not isinstance(value, tuple):
            return False
        if len(parts) == 2 and parts[1] is Ellipsis:
            return all(is_of(parts[0], each) for each in value)
        return len(value) == len(parts) and all(is_of(part, each) for part, each in zip(parts, value, strict=True))
    if is_dataclass(kind):
        return type(value) is kind and all(is_of(hint, getattr(value, name)) for name, hint in _hints(kind))
    return type(value) is kind


@lru_cache(maxsize=32)
def _hints(kind: type) -> tuple[tuple[str, Any], ...]:
    hints = get_type_hints(kind)
    return tuple((each.name, hints[each.name]) for each in fields(kind))
