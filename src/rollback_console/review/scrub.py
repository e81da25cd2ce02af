"""A review under way: what a screen asks to move through a journal, while it is still read and verified.

Everything answers at once with what is at hand and catches up in slices of a few milliseconds; verification runs in a
process of its own. `published` gets a Snapshot whenever what is shown changes.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rollback_console.errors import ConsoleError
from rollback_console.model.identity import DeploymentId
from rollback_console.model.review import Again, Checked, Difference, Episode, Mark, Moment
from rollback_console.model.snapshot import DeploymentDetail, Explanation, Snapshot
from rollback_console.model.text import plain
from rollback_console.review.episodes import episodes, marks_in, window
from rollback_console.review.replay import CHANGES_NOTHING, Decision, Replay

if TYPE_CHECKING:
    from rollback_console.model.registry import PointerMove
    from rollback_console.model.review import Supposed
    from rollback_console.review.sources import Source

_SLICE_S = 0.004  # of work between two chances for a key
_TOLD_S = 0.2  # between two words on how far the reading is
_MOVES_S = 2 * 3600.0


class Scrub:
    """One journal under a scrubber."""

    def __init__(self, source: Source, published: Callable[[Snapshot], None]) -> None:
        self.replay = Replay(source)
        self.checked = Checked()
        self.problem = ""  # why it could not be read to its end
        self.episode: Episode | None = None
        self.moment: Moment | None = None
        self.changed: Callable[[], None] = lambda: None  # more was read or verified, or another moment is shown
        self._published = published
        self._focus: DeploymentId | None = None
        self._explanation: Explanation | None = None
        self._place = 0
        self._window: tuple[int, int] | None = None
        self._episodes: tuple[int, tuple[Episode, ...]] = (-1, ())
        self._differences: dict[int, Difference] = {}
        self._bad: frozenset[int] = frozenset()
        self._approach: Iterator[Moment | None] | None = None
        self._wanted = asyncio.Event()
        self._done_reading = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    # -- life ---------------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Read and verify, beside whoever looks. Needs a running event loop."""
        for work in (self._read(), self._verify(), self._catch_up()):
            self._tasks.append(asyncio.get_running_loop().create_task(work))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self.replay.close()

    async def known(self) -> None:
        """Wait until all is read and verified."""
        await asyncio.gather(*self._tasks[:2])

    async def settled(self) -> None:
        """Wait until all is read and verified, and the moment is whole."""
        await self.known()
        while self._approach is not None:
            self._go_on(1.0)

    async def _read(self) -> None:
        told = time.monotonic()
        growing = self.replay.index.grow()
        try:
            while True:
                until = time.monotonic() + _SLICE_S
                while time.monotonic() < until:
                    if next(growing, None) is None:
                        return
                if time.monotonic() - told > _TOLD_S:
                    told = time.monotonic()
                    self._say()
                await asyncio.sleep(0)
        except ConsoleError as error:
            self.problem = str(error)
        finally:
            await self._compile()
            self._done_reading.set()
            if len(self.replay.index):
                self.go(self._place if self._window else len(self.replay.index) - 1)
            self._say()

    async def _compile(self) -> None:
        """Have the policies' rules at hand: making them takes longer than a key may wait."""
        samples, source = self.replay.samples, self.replay.source
        for digest in dict.fromkeys(self.replay.index.policies()):
            data = source.get_blob(digest)
            if data is not None:
                samples.keep(digest, await asyncio.to_thread(samples.compiled, data, digest))

    async def _verify(self) -> None:
        from rollback_console.review.replay_verifying import checking

        def told(done: float) -> None:
            self.checked = replace(self.checked, done=min(done, 0.99))
            self._say()

        self.checked = await checking(self.replay.source.path, told)
        await self._done_reading.wait()
        self._bad = frozenset(self.checked.bad)
        for each in self.checked.differences:
            place = self._place_of(each)
            if place is not None:
                self._differences[place] = replace(each, place=place)
        self._say()

    def _place_of(self, difference: Difference) -> int | None:
        index = self.replay.index
        if len(index.chains) == 1:
            return index.place_of(difference.seq)
        found = (p for p in index.turns if index.seqs[p] == difference.seq and index.ats[p] == difference.at)
        return next(found, None)

    async def _catch_up(self) -> None:
        """Make the moment whole that is shown so far as it was at hand."""
        while True:
            await self._wanted.wait()
            self._go_on(_SLICE_S)
            if self._approach is None:
                self._wanted.clear()
            await asyncio.sleep(0)

    # -- what there is ------------------------------------------------------------------------------------------------

    @property
    def read(self) -> float:
        """How much of it was read, from 0 to 1."""
        index = self.replay.index
        return 1.0 if index.whole else min(0.99, len(index) / max(1, self.replay.source.total))

    @property
    def ready(self) -> bool:
        """Is there anything to look at."""
        return len(self.replay.index) > 0

    @property
    def episodes(self) -> tuple[Episode, ...]:
        """The incidents read so far, the newest last."""
        index = self.replay.index
        if self._episodes[0] != len(index):
            self._episodes = (len(index), episodes(index))
        return self._episodes[1]

    @property
    def window(self) -> tuple[int, int]:
        """(first, last) place that can be looked at."""
        return self._window if self._window is not None else window(self.replay.index, None)

    @property
    def place(self) -> int:
        return self._place

    def marks(self) -> list[Mark]:
        """What happened in the window, with the decisions that come out otherwise."""
        first, last = self.window
        found = marks_in(self.replay.index, first, last)
        differing = [
            Mark(place, self.replay.index.ats[place], "differs", each.deployment)
            for place, each in self._differences.items()
            if first <= place <= last
        ]
        return sorted([*found, *differing], key=lambda mark: mark.place)

    def difference(self, place: int) -> Difference | None:
        """What is otherwise about the decision at a place, as far as verification came."""
        return self._differences.get(place)

    def bad(self, place: int) -> bool:
        """Is the entry at a place not what was signed, as far as verification came."""
        index = self.replay.index
        return bool(self._bad) and len(index.chains) == 1 and index.seqs[place] in self._bad

    @property
    def differences(self) -> tuple[Difference, ...]:
        """All decisions that come out otherwise, in the journal's order."""
        return tuple(self._differences[place] for place in sorted(self._differences))

    def differing(self, episode: Episode) -> int:
        """How many of an incident's decisions come out otherwise."""
        return sum(1 for place in self._differences if episode.first <= place <= episode.last)

    def decision(self, place: int) -> Decision | None:
        """The recorded decision at a place beside the one made again; None where none stands there."""
        return self.replay.decision(place)

    def again(self, deployment: DeploymentId | None) -> Again | None:
        """A deployment's recorded state at this moment beside the one that the engine comes to."""
        if self.moment is None:
            return None
        return next((each for each in self.moment.again if each.deployment == deployment), None)

    @property
    def times(self) -> tuple[float, float]:
        """The earliest and the latest time in the window, Unix seconds."""
        first, last = self.window
        if not self.ready:
            return 0.0, 0.0
        ats = self.replay.index.ats
        return ats[first], max(ats[first], ats[last])

    def at_of(self, place: int) -> float:
        return self.replay.index.ats[place]

    # -- moving -------------------------------------------------------------------------------------------------------

    def enter(self, episode: Episode | None) -> None:
        """Look at one incident, from its first breach on; without one at everything, from its end."""
        self.episode = episode
        self._window = window(self.replay.index, episode) if episode is not None else None
        self.go(episode.first if episode is not None else self.window[1])

    def go(self, place: int) -> None:
        """To a place of the window: what is at hand is shown at once."""
        if not self.ready:
            return
        first, last = self.window
        self._place = max(first, min(place, last))
        self._approach = self.replay.approach(self._place)
        self._go_on(2 * _SLICE_S)
        if self._approach is not None:
            self._wanted.set()
        self.changed()

    def _go_on(self, seconds: float) -> None:
        """Let the approach come nearer, for so long."""
        until = time.monotonic() + seconds
        while self._approach is not None:
            moment = next(self._approach, None)
            if moment is not None:
                self.moment = moment
                if moment.whole:
                    self._approach = None
                self.publish()
            if time.monotonic() >= until:
                return

    def tick(self, step: int) -> None:
        """To the next recorded evaluation (or the one before)."""
        index = self.replay.index
        number = index.ticks.until(self._place)
        if step < 0 and number >= 0 and index.settled(index.ticks.places[number]) < self._place:
            step += 1  # first back to the evaluation that stands
        number += step
        if not len(index.ticks):
            self.entry(step)
        elif number < 0:
            self.go(self.window[0])
        elif number >= len(index.ticks):
            self.go(self.window[1])
        else:
            self.go(index.settled(index.ticks.places[number]))

    def entry(self, step: int) -> None:
        """To the next happening (or the one before): any entry but an evaluation's."""
        self._along(self.replay.index.item_places, step)

    def turn(self, step: int) -> None:
        """To the next change of state (or the one before). What turned at one evaluation is one moment, one key."""
        index = self.replay.index
        here = index.settled(self._place)
        number = bisect_right(index.turns, here) if step > 0 else bisect_left(index.turns, self._place) - 1
        while step < 0 <= number and index.settled(index.turns[number]) == here:
            number -= 1
        self._to_place(index.turns, number, step)

    def _along(self, places: array[int], step: int) -> None:
        number = bisect_right(places, self._place) if step > 0 else bisect_left(places, self._place) - 1
        self._to_place(places, number, step)

    def _to_place(self, places: array[int], number: int, step: int) -> None:
        self.go(places[number] if 0 <= number < len(places) else self.window[1 if step > 0 else 0])

    def edge(self, end: bool) -> None:
        """To the window's beginning or end."""
        self.go(self.window[1 if end else 0])

    def tenth(self, number: int) -> None:
        """To so many tenths of the window's time."""
        begins, ends = self.times
        self.go(self.replay.index.place_at(begins + (ends - begins) * number / 10.0))

    def to_item(self, number: int) -> None:
        """To a line of the timeline, by its number among all lines; also to one before or after the incident, whose
        window then reaches there."""
        places = self.replay.index.item_places
        if 0 <= number < len(places):
            first, last = self.window
            if self._window is not None:
                self._window = min(first, places[number]), max(last, places[number])
            self.go(places[number])

    # -- publishing ---------------------------------------------------------------------------------------------------

    def focus(self, deployment: DeploymentId | None) -> None:
        """Somebody looks at this deployment: its explanation comes with the Snapshot."""
        if deployment != self._focus:
            self._focus = deployment
            self.publish()

    def _say(self) -> None:
        self.publish()
        self.changed()

    def publish(self) -> None:
        """Hand over the moment as it stands."""
        if self.moment is None:
            return
        self._published(self.snapshot())

    def snapshot(self) -> Snapshot:
        """The moment's Snapshot, with what is told of the deployment that somebody looks at."""
        assert self.moment is not None  # noqa: S101 - whoever asks has looked
        shown = self.moment.snapshot
        journal = shown.journal
        if self.checked.done >= 1.0 and not self.checked.verified:
            journal = replace(journal, problem=self.checked.words)
        details, explanations = self._about(shown)
        return replace(
            shown,
            band=f"{shown.band} {_day(shown.at)}",
            journal=journal,
            look_only=CHANGES_NOTHING,
            details=details,
            explanations=explanations,
        )

    def _about(self, shown: Snapshot) -> tuple[tuple[DeploymentDetail, ...], tuple[Explanation, ...]]:
        view = shown.view(self._focus) if self._focus is not None else None
        if view is None:
            return (), ()
        incident = shown.incident_of(view.id)
        onset = incident.onset if incident is not None else shown.at
        moves = tuple(each for each in reversed(self._moves()) if onset - _MOVES_S <= each.at <= shown.at)
        detail = DeploymentDetail(
            view.id, problem="a review asks no registry: versions are told by their moves alone",
            moves=moves, trigger=view.rule.trigger.when,
        )  # fmt: skip
        if view.verdict is None:
            return (detail,), ()
        from rollback_console.engine.explaining import explain

        self._explanation = explain(view.rule, view.verdict, self._explanation)
        return (detail,), (self._explanation,)

    def _moves(self) -> list[PointerMove]:
        from rollback_console.model.registry import PointerMove

        found = []
        for entry, body in self.replay.index.moves(self._place):
            by = f"execution {plain(body.ours, 60)}" if body.ours else ""
            where = plain(entry.deployment, 200)
            found.append(PointerMove(body.at, where, body.model, body.alias, body.before, body.after, by))
        return found

    # -- what if ------------------------------------------------------------------------------------------------------

    def suppose(self, deployment: DeploymentId, words: str) -> Supposed:
        """What another setting would have done to a deployment in the incident (or in everything). Raises UsageError
        for words that are no setting."""
        from rollback_console.review.whatif import suppose

        return suppose(self.replay, str(deployment), self.window, words)


def _day(at: float) -> str:
    try:
        return datetime.fromtimestamp(at, tz=UTC).strftime("%Y-%m-%d")
    except (ValueError, OverflowError, OSError):
        return ""
