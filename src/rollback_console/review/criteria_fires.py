"""Fires: transitions folded into the times that triggers fired, with what broke first and for how long it held."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from rollback_console.journal.entry import Entry
from rollback_console.journal.kinds import TransitionRecorded
from rollback_console.model.text import plain
from rollback_console.model.value import dataclass

_FIRING = ("fired", "clearing")
_TROUBLE = ("pending", *_FIRING)


@dataclass(frozen=True, slots=True)
class Fire:
    """One time that a trigger fired (Unix seconds). `since`: its condition held from then on, until `gone`; `ended`:
    when it was over; both None where that had not come by the end. `breaches`: when each signal broke, first first;
    `judged`: right, wrong or "" (nobody said, or nobody can tell). `rolled_back`: a rollback was decided meanwhile."""

    deployment: str
    policy: str
    at: float
    since: float
    gone: float | None
    ended: float | None
    breaches: tuple[tuple[str, float], ...]
    judged: str = ""
    root_cause: str = ""
    rolled_back: float | None = None

    @property
    def led(self) -> tuple[str, ...]:
        """The signals that broke first: several where they did at once."""
        return tuple(name for name, at in self.breaches if at == self.breaches[0][1])

    @property
    def lead_s(self) -> float | None:
        """By how much the first led the next; None where none followed."""
        later = [at for _, at in self.breaches if at > self.breaches[0][1]]
        return min(later) - self.breaches[0][1] if later else None

    @property
    def held_s(self) -> float | None:
        """For how long its condition held."""
        return None if self.gone is None else self.gone - self.since


class Fires:
    """Folds transitions into fires, deployment by deployment."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names
        self._open: dict[str, Fire] = {}
        self._breaches: dict[str, dict[str, float]] = {}
        self._seen: set[tuple[str, float, str]] = set()
        self.found: list[Fire] = []

    def take(self, entry: Entry) -> None:
        """One entry, in order; what another journal told already is passed over."""
        body = entry.parsed()
        if not isinstance(body, TransitionRecorded):
            return
        name = plain(entry.deployment, 200)
        if (name, body.at, body.after) in self._seen:
            return
        self._seen.add((name, body.at, body.after))
        self._note_breaches(name, body)
        fire = self._open.get(name)
        if fire is None:
            if body.after == "fired" and body.before != "clearing":
                since = body.memory_after.get("active_since")
                self._open[name] = Fire(
                    name, self._names.get(body.policy, ""), body.at,
                    since if isinstance(since, int | float) else body.at, None, None, (),
                )  # fmt: skip
            return
        if body.after == "clearing":
            self._open[name] = replace(fire, gone=body.at)
        elif body.after == "fired":
            self._open[name] = replace(fire, gone=None)
        elif body.after not in _FIRING:
            self._close(replace(fire, gone=fire.gone if fire.gone is not None else body.at, ended=body.at))

    def _note_breaches(self, name: str, body: TransitionRecorded) -> None:
        if body.after not in _TROUBLE:
            if name not in self._open:
                self._breaches.pop(name, None)
            return
        known = self._breaches.setdefault(name, {})
        for signal in body.verdict.get("signals", ()):
            if isinstance(signal, dict) and signal.get("breached") is True:
                onset = signal.get("onset")
                at = onset if isinstance(onset, int | float) else body.at
                known.setdefault(plain(str(signal.get("name")), 80), float(at))

    def _close(self, fire: Fire) -> None:
        self._open.pop(fire.deployment, None)
        broke = sorted(self._breaches.pop(fire.deployment, {}).items(), key=lambda each: (each[1], each[0]))
        self.found.append(replace(fire, breaches=tuple(broke)))

    def all(self) -> tuple[Fire, ...]:
        """Every fire, oldest first, those that are not over included."""
        for fire in list(self._open.values()):
            self._close(fire)
        return tuple(sorted(self.found, key=lambda fire: (fire.at, fire.deployment)))
