"""Which changes of state the journal is told: each once, none missing, whatever was seen live and replayed later.

What a replay of an outage comes through was partly recorded live; what it takes back (a deployment that was blind only
for the outage) was recorded too. So the recorder remembers what it told, and ends every replay on the state that is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from rollback_console.engine.backfill import Change, Replayed
from rollback_console.engine.record import Decided
from rollback_console.engine.writer import Writer
from rollback_console.model.observation import Tick
from rollback_console.model.rules import DeploymentRule
from rollback_console.model.verdict import TriggerState, Verdict


class Chronicle:
    """The recorder's account of states, by deployment's number."""

    def __init__(self, rules: Sequence[DeploymentRule], writer: Writer) -> None:
        self._rules = rules
        self._numbers = {rule.deployment.id: number for number, rule in enumerate(rules)}
        self._writer = writer
        self.said: dict[int, TriggerState] = {}  # the state that the journal's last word leaves each deployment in
        self._told: set[tuple[int, float, TriggerState]] = set()  # while something may be replayed

    def live(self, tick: Tick, verdicts: Sequence[Verdict], changed: Sequence[Decided]) -> bytes:
        """Tell one evaluation. Returns the tick's packed bytes."""
        packed = self._writer.tick(tick, verdicts, always=bool(changed))
        for decided in changed:
            self._tell(replace(decided, tick=packed.digest))
        return packed.data

    def replayed(self, replayed: Replayed, recorded: float | None) -> bytes | None:
        """Tell what a replay came through after `recorded`, the newest evaluation that the journal held before this
        process wrote to it. Returns the last tick's packed bytes, or None where the replay has none."""
        complete = min((len(rows) for rows in replayed.rows.values()), default=0)
        if not complete:
            return None
        last = replayed.rows[0][-1].at
        step = (last - replayed.rows[0][-complete].at) / (complete - 1) if complete > 1 else 1.0
        found: dict[float, list[Change]] = {last: []}
        told = dict(self.said)
        for change in replayed.changes:
            at = change.observation.at
            back = round((last - at) / step)
            known = (change.index, at, change.verdict.state) in self._told
            if back >= complete or known or (recorded is not None and at <= recorded):
                continue
            found.setdefault(at, []).append(change)
            told[change.index] = change.verdict.state
        for index, verdict in replayed.verdicts.items():
            before = told.get(index, TriggerState.HEALTHY)
            if verdict.state is not before:  # the journal's last word is another: say how it stands
                observation = replayed.rows[index][-1]
                found[last].append(
                    Change(index, observation, replayed.before[index], before, verdict, replayed.memories[index])
                )
        packed = None
        for at in sorted(found):
            back = round((last - at) / step) + 1
            tick = Tick(at, tuple(replayed.rows[index][-back] for index in range(len(self._rules))))
            shown = replayed.verdicts.values() if at == last else [change.verdict for change in found[at]]
            packed = self._writer.tick(tick, tuple(shown), always=bool(found[at]))
            for change in found[at]:
                self._tell(self._decided(change, packed.digest))
        return packed.data if packed is not None else None

    def forget(self, before: float) -> None:
        """Nothing that was told of evaluations before will be replayed any more."""
        if self._told:
            self._told = {told for told in self._told if told[1] >= before}

    def begin(self, said: Mapping[int, TriggerState]) -> None:
        """This process records from here on; the journal's last word on each deployment is `said`."""
        self.said = dict(said)
        self._told.clear()

    def _tell(self, decided: Decided) -> None:
        index = self._numbers[decided.rule.deployment.id]
        self.said[index] = decided.verdict.state
        self._told.add((index, decided.verdict.at, decided.verdict.state))
        self._writer.decided(decided)

    def _decided(self, change: Change, digest: str) -> Decided:
        rule = self._rules[change.index]
        return Decided(rule, change.before, change.state_before, change.verdict, change.after, digest, backfilled=True)
