"""How values are made: frozen to the type checker, and cheap when it counts.

A dataclass that freezes at run time sets every field by a call of its own. An evaluation of a large fleet makes tens of
thousands of values, of seven to twenty fields each: that was ten times what making them costs without, and a third of
the time that importing this program took. So `mypy --strict`, which every commit passes, is what keeps values frozen.
Equality, hashing, slots and `replace` are a frozen dataclass's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:
    import dataclasses

    def dataclass(cls=None, /, *, frozen=False, slots=False, order=False):
        """As `dataclasses.dataclass`, but that nothing freezes at run time."""
        return dataclasses.dataclass(cls, slots=slots, order=order, unsafe_hash=frozen)
