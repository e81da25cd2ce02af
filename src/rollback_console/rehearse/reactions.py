"""What happens because the console moved a pointer: what breaks in that moment, and who moves it back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from rollback_console.rehearse.fleet import Breakage, Fault, Flip, Rival, SimulatedDeployment


class Reactions:
    """All that waits for the console. Breakages begin with its first move of any pointer; a rival answers its moves of
    one deployment's."""

    def __init__(self, breakages: tuple[Breakage, ...] = (), rivals: tuple[Rival, ...] = ()) -> None:
        self._breakages = breakages
        self._rivals = rivals
        self._left = [rival.times for rival in rivals]
        self.faults = tuple(each.fault for each in breakages)  # what may still begin, for whoever asks beforehand

    def breakages(self, now: float) -> tuple[tuple[Fault, ...], bool]:
        """What begins with a move at `now` (Unix seconds), and whether the answer to that very write is lost."""
        waiting, self._breakages = self._breakages, ()
        begun = []
        for each in waiting:
            starts, lasts = now + each.after_s, each.fault.ends_at
            begun.append(replace(each.fault, starts_at=starts, ends_at=None if lasts is None else starts + lasts))
        return tuple(begun), any(each.loses_answer for each in waiting)

    def flips(self, deployments: Sequence[SimulatedDeployment], ours: Flip, before: str | None) -> Iterator[Flip]:
        """How others answer a flip of the console; `before` is where the pointer stood."""
        moved = {each.id for each in deployments if (each.model, each.alias) == (ours.model, ours.alias)}
        for number, rival in enumerate(self._rivals):
            version = rival.version or before
            if not self._left[number] or rival.deployment not in moved or version is None or version == ours.version:
                continue
            self._left[number] -= 1
            yield Flip(ours.at + rival.after_s, ours.model, ours.alias, version, rival.by)
