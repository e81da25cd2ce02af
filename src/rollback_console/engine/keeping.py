"""What the book of baselines keeps on a shelf between runs: hours, the noise of minutes, excursions, profiles.

All of it is derived. Hours are kept by their query, the rest by everything that it hangs on (`Place.name`), profiles
with a digest of the very hours that they were learned of: what does not fit is learned anew, and comes out the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from rollback_console.decide import baselines
from rollback_console.decide.baselines import Hours, Profile
from rollback_console.decide.calendar import HOUR_S, LAG_S
from rollback_console.engine.hourbook import Column, Trailing
from rollback_console.engine.places import Place, Places
from rollback_console.engine.shelf import (
    Profiles,
    Shelf,
    check_of,
    key_of,
    noises_packed,
    noises_unpacked,
    profiles_packed,
    profiles_unpacked,
)
from rollback_console.model.rules import DeploymentRule

_KEPT_S = 6 * HOUR_S  # of new hours that are kept in memory alone


class Keeping:
    """Puts on the shelf what is new, and has what is there."""

    def __init__(
        self, rules: Sequence[DeploymentRule], columns: Mapping[Trailing, Column], places: Places, shelf: Shelf | None
    ) -> None:
        self._rules, self._columns, self._places, self._shelf = rules, columns, places, shelf
        self.noise_is_new = False
        self._profile_is_new = False
        self._looked = shelf is None
        self._profiles: Profiles = {}  # found on the shelf, and not asked for yet
        self._checks: dict[tuple[str, float], str] = {}

    async def look(self) -> None:
        """Take what is on the shelf, once."""
        if self._looked or self._shelf is None:
            return
        self._looked = True
        for column in self._columns.values():
            data = await asyncio.to_thread(self._shelf.get, column.key(self._rules))
            if data is not None:
                await asyncio.to_thread(column.unpack, data, self._rules)
        names = [place.name for place in self._places.in_force]
        found = noises_unpacked(await asyncio.to_thread(self._shelf.get, key_of("noises", *names)), names)
        for place in self._places.in_force:
            place.noise, place.past = found.get(place.name, ({}, {}))
        data = await asyncio.to_thread(self._shelf.get, key_of("profiles", *names))
        self._profiles = await asyncio.to_thread(profiles_unpacked, data)

    def learned(self, place: Place, anchor: float, hours: Hours) -> Profile | None:
        """What these hours say of a place as of `anchor`: as it was learned before, where it was, or now."""
        check = ""
        if self._shelf is not None:
            check = check_of(hours, anchor - LAG_S - place.history_s, anchor - LAG_S)
            self._checks[place.name, anchor] = check
            shelved = self._profiles.pop((place.name, anchor), None)
            if shelved is not None and shelved[0] == check:
                return shelved[1]
        self._profile_is_new = True
        return baselines.learn(hours, anchor, place.history_s, place.calendar, place.baseline.exclude)

    async def put_away(self) -> None:
        """Keep what is new, once it is worth it."""
        if self._shelf is None:
            return
        for column in self._columns.values():
            low, high = column.saved
            if column.low < low or column.high >= high + _KEPT_S:
                data = await asyncio.to_thread(column.packed, self._rules)
                await asyncio.to_thread(self._shelf.put, column.key(self._rules), data)
                column.saved = (column.low, column.high)
        names = [place.name for place in self._places.in_force]
        if self.noise_is_new:
            self.noise_is_new = False
            noises = {place.name: (place.noise, place.past) for place in self._places.in_force}
            data = await asyncio.to_thread(noises_packed, noises)
            await asyncio.to_thread(self._shelf.put, key_of("noises", *names), data)
        if self._profile_is_new:
            self._profile_is_new, self._profiles = False, {}
            kept: Profiles = {
                (place.name, anchor): (self._checks[place.name, anchor], profile)
                for place in self._places.in_force
                for anchor, profile in place.profiles.items()
                if profile is not None
            }
            self._checks = {key: check for key, (check, _) in kept.items()}
            data = await asyncio.to_thread(profiles_packed, kept)
            await asyncio.to_thread(self._shelf.put, key_of("profiles", *names), data)
