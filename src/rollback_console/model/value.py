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
    from operator import attrgetter

    def dataclass(cls=None, /, *, frozen=False, slots=False, order=False):
        """As `dataclasses.dataclass`, but that nothing freezes at run time; and what a frozen one is compared, hashed
        and shown by is not compiled anew for each class, which is most of what making a class costs."""
        if cls is None:
            return lambda decorated: dataclass(decorated, frozen=frozen, slots=slots, order=order)
        if not frozen or order:
            return dataclasses.dataclass(cls, slots=slots, order=order, unsafe_hash=frozen)
        made = dataclasses.dataclass(cls, slots=slots, eq=False, repr="__repr__" in vars(cls))
        names = [field.name for field in dataclasses.fields(made) if field.compare]
        made._compared = attrgetter(*names) if names else lambda _: ()
        made.__eq__ = _equal
        made.__hash__ = _hash
        if "__repr__" not in vars(cls):
            made.__repr__ = _shown
        return made

    def _equal(self, other):
        if other.__class__ is not self.__class__:
            return NotImplemented
        compared = self.__class__._compared
        return compared(self) == compared(other)

    def _hash(self):
        return hash(self.__class__._compared(self))

    def _shown(self):
        fields = (f"{f.name}={getattr(self, f.name)!r}" for f in dataclasses.fields(self) if f.repr)
        return f"{self.__class__.__qualname__}({', '.join(fields)})"
