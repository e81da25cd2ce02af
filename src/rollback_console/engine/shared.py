"""Evaluations shared by the hub: one console of a team asks the metric backend, the others judge what it saw.

To who follows it is the same as the live row of a journal that another process records (`engine.live`): a tick and the
memories before it, judged again here. Around them stand the terms: rules, step and what was left out by hand must be
the same, or a console asks for itself. Nothing vouches for the bytes; whatever does not fit is refused with words.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
from typing import TYPE_CHECKING, Any

from rollback_console.decide.version import ENGINE
from rollback_console.engine.backfill import Known
from rollback_console.engine.live import read_live
from rollback_console.engine.outages import Outages
from rollback_console.engine.present import ON_GRID
from rollback_console.engine.record import layout_bytes
from rollback_console.engine.soundness import sound
from rollback_console.model.observation import BackendState, Blind, Tick
from rollback_console.model.sharing import MAX_SHARED, SharedFleet
from rollback_console.model.text import plain
from rollback_console.model.value import dataclass
from rollback_console.model.verdict import TriggerMemory
from rollback_console.version import __version__

if TYPE_CHECKING:
    from rollback_console.engine.loop import Engine
    from rollback_console.engine.options import FleetHub

OLD_STEPS = 3  # what is older than so many evaluations is followed no longer
_FIRST_S = 1.0  # how long a start waits for a hub before it asks the metric backend itself
_ALONE = "this console asks for itself: "


@dataclass(frozen=True, slots=True)
class _Read:
    """A snapshot that was read: its evaluation, by whom, or why it is refused."""

    refused: str = ""
    by: str = ""
    at: float = 0.0
    tick: Tick = Tick(0.0, ())
    memories: tuple[TriggerMemory, ...] = ()
    versions: tuple[Any, ...] = ()


class Shared:
    """One engine's part. `following`: what is shown was evaluated elsewhere; `words`: that, or why not, in a line."""

    def __init__(self, engine: Engine, hub: FleetHub) -> None:
        self._engine, self._hub = engine, hub
        self._layout = hashlib.sha256(layout_bytes(engine.rules)).hexdigest()
        self.following = False
        self.words = ""
        self._shown = False  # the evaluation that stands was made elsewhere
        self._unseen: Known | None = None  # before the holder ceased to see all of it
        self._etag, self._read = "", _Read()
        self._newest = -math.inf  # the newest evaluation that was accepted

    def terms(self) -> str:
        """What two consoles must have in common to judge alike: rules, step, program, and what is left out by hand."""
        engine = self._engine
        declared = engine.folded.declared.standing() if engine.folded is not None else ()
        left_out = sorted([each.start, each.end, each.made_at, *sorted(each.deployments)] for each in declared)
        document = [ENGINE, __version__, self._layout, engine.options.step_s, engine.options.lookback_s, left_out]
        return hashlib.sha256(json.dumps(document).encode()).hexdigest()

    # -- who asks for all ---------------------------------------------------------------------------------------------

    def offer(self, live: bytes, at: float) -> None:
        """Leave this console's evaluation for the others. One that does not reach its metric backend says so instead:
        another may reach it."""
        engine = self._engine
        if engine.metrics.health().state is BackendState.FAILING:
            self._hub.offer(None)
            return
        head = {
            "v": 1, "terms": self.terms(), "at": at, "by": self._hub.holder(), "versions": engine.versions.known(),
        }  # fmt: skip
        self._hub.offer(json.dumps(head, separators=(",", ":")).encode() + b"\n" + live)

    # -- who follows --------------------------------------------------------------------------------------------------

    async def begin(self) -> bool:
        """At the start, before anything is asked: as `follow`, once the hub had a moment to answer."""
        self._hub.allow(self._engine.recording)
        await asyncio.to_thread(self._hub.first, _FIRST_S)
        if not await self.follow():
            return False
        if self._engine.recording and self._engine.writer is not None:
            await self._engine.writer.flush()  # that it records here from now on, and by which policies acts are made
        return True

    async def follow(self) -> bool:
        """Show what the holder evaluated. False where this console is to evaluate for itself; `words` say why."""
        self._engine.fold()
        self._hub.allow(self._engine.recording)
        self.following, self.words = False, ""
        found = None if self._hub.holds() else self._hub.newest()
        if found is None:
            if self._hub.problem and not self._hub.holds():
                self.words = _ALONE + self._hub.problem
            return False
        if found.etag != self._etag or self._read.refused:
            # thousands of memories are looked through: beside the keys, not before them
            self._etag, self._read = found.etag, await asyncio.to_thread(self._judged, found, self.terms())
        read = self._read
        refused = read.refused or self._own(read)
        if not refused and not await self._take(read):
            refused = f"what {read.by} shares cannot be judged"
            self._read = _Read(refused)
        self.following = not refused
        self.words = _ALONE + refused if refused else f"following {read.by} by the hub"
        return self.following

    def resume(self, at: float) -> Known | None:
        """From where this console goes on at `at` by itself, after it followed; None where it did not."""
        engine = self._engine
        last = engine.evaluated_at
        if not self._shown or last is None or at <= last + ON_GRID:
            return None
        known = self._unseen or Known(last, dict(engine.board.memories))
        self._shown, self._unseen = False, None
        return known

    def _own(self, read: _Read) -> str:
        """Why this console asks for itself although there is something to follow."""
        engine, options = self._engine, self._engine.options
        if engine.executes():
            return "it executes"
        if engine.recording and engine.after_evaluation is not None:
            return "what goes by itself here is decided on what is seen and recorded here"
        if read.at <= engine.clock.now() - options.delay_s - OLD_STEPS * options.step_s:
            return f"what {read.by} shares is {OLD_STEPS} evaluations old"
        return ""

    async def _take(self, read: _Read) -> bool:
        """Make an evaluation that is newer than what stands the present."""
        engine = self._engine
        if engine.evaluated_at is not None and read.at <= engine.evaluated_at + ON_GRID:
            return True
        try:
            versions = engine.versions.checked(read.versions)
            await engine.take_over(read.tick, read.memories)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError):
            return False  # well formed, and still no evaluation: this console makes its own
        engine.versions.believe(versions)
        engine.note_versions(read.tick)
        self._shown, self._newest = True, read.at
        engine.outages = Outages(engine.options.step_s)
        if not _whole(read.tick):
            before = max((m.at for m in read.memories if m.at is not None), default=read.at - engine.options.step_s)
            self._unseen = self._unseen or Known(before, dict(enumerate(read.memories)))
        else:
            self._unseen = None
        return True

    def _judged(self, found: SharedFleet, ours: str) -> _Read:
        """A snapshot read, or refused."""
        if len(found.data) > MAX_SHARED:
            return _Read("the snapshot at the hub is larger than any can be")
        line, _, live = found.data.partition(b"\n")
        try:
            head = json.loads(line)
            version, terms, at, by, versions = (head[name] for name in ("v", "terms", "at", "by", "versions"))
        except (ValueError, LookupError, TypeError, RecursionError):
            return _Read("the snapshot at the hub is none")
        who = plain(by, 80) if isinstance(by, str) and by else "somebody"
        if version != 1 or terms != ours:
            return _Read(f"{who} has other policies or settings, or another version of the program")
        if type(at) not in (int, float) or not isinstance(versions, list):
            return _Read(f"what {who} shares has another form")
        if wrong := self._wrong(at):
            return _Read(f"what {who} shares {wrong}")
        state = read_live(live, self._engine.rules)
        if state is None or state[0].at != at or not sound(*state):
            return _Read(f"what {who} shares is not an evaluation of these rules")
        return _Read("", who, float(at), state[0], tuple(state[1]), tuple(versions))

    def _wrong(self, at: float) -> str:
        """What is wrong with the time of an evaluation, "" where nothing is."""
        step, now = self._engine.options.step_s, self._engine.clock.now()
        if self._newest > now + step:
            self._newest = -math.inf  # this machine's clock was set back
        if not math.isfinite(at) or abs(at / step - round(at / step)) * step > ON_GRID * max(1.0, step):
            return "is at no time at which one evaluates"
        if at > now + step:
            return "lies in the future"
        if at < self._newest - ON_GRID:
            return "goes back in time"
        return ""


def _whole(tick: Tick) -> bool:
    """Did every query answer."""
    return not any(
        Blind.QUERY_FAILED in (reading.blind, reading.baseline_blind)
        for observation in tick.observations
        for reading in observation.readings
    )
