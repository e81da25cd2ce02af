"""JSON can spell halves of surrogate pairs that no text can hold: they are replaced where answers come in.

One of them in a version's label would otherwise reach the journal, which cannot record it.
"""

from __future__ import annotations

import re
from typing import Any

# `\ud83d` in JSON's escapes, or the three bytes that Python's json takes for one.
_HALVES = re.compile(rb"\\u[dD][89a-fA-F]|\xed[\xa0-\xbf]")


def whole(loaded: Any, body: bytes) -> Any:
    """What `json.loads` made of `body`, every lone half a U+FFFD. Costs one search where there is none.

    Raises RecursionError for what is nested as deeply as only a mistake or malice is.
    """
    return _whole(loaded) if _HALVES.search(body) else loaded


def _whole(value: Any) -> Any:
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_whole(item) for item in value]
    if isinstance(value, dict):
        return {_whole(key): _whole(item) for key, item in value.items()}
    return value
