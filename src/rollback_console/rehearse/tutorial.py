"""What a newcomer is told in a drill, step by step: why the step is needed, and by which keys it goes."""

from __future__ import annotations

from collections.abc import Sequence

from rollback_console.model.drill import CONFIRMATION, WHEN, Hint
from rollback_console.model.plan import ExecutionState
from rollback_console.model.snapshot import Snapshot
from rollback_console.model.verdict import TriggerState
from rollback_console.rehearse.desk import Act

# Why each step is needed, where the scenario does not say it in its own words.
HOUSE = (
    Hint("start", "Nothing here is real, and nothing breaks by trying. The most urgent deployment stands at the top."),
    Hint("pending", "PENDING: a signal is beyond its margin. It must stay so for the dwell, so that a blip moves "
                    "nothing. Use the time: look what it is, and who else has it."),
    Hint("fired", "It fired: the degradation held. Look before you act: what is degraded, since when, and what changed "
                  "just before."),
    Hint("blind", "BLIND: the console cannot see it. That says nothing of how it serves, and no rollback gives sight."),
    Hint("focus", "One deployment alone, soon after its own release: going back may help. Several together: look for "
                  "what they share; going back would mend nothing."),
    Hint("walk", "The runbook asks what is forgotten at three in the morning. A skipped step wants a reason."),
    Hint("plan", "The plan names where from and where to, and what is checked on the way. Nothing has moved yet."),
    Hint("authorize", "What is typed is what happens. Read the environment, the name and the version once more."),
    Hint("execute", "The pointer moves only if nobody moved it meanwhile; serving follows some seconds later."),
    Hint("verify", "Recovered is what the signals say on windows that began after it served. Until then it is a hope."),
    Hint("recovered", "Write down what you saw while you remember it: whoever reads it next week was not here."),
    Hint("over", "The report says what each part took, what it cost, and what the best drill did otherwise."),
)  # fmt: skip

KEYS = {
    "start": "space pauses · + faster · > to the next event · j k move · enter opens",
    "pending": "enter opens it · w why · > to the next event",
    "fired": "j k move to it · enter opens it",
    "blind": "enter opens it · escape back · D ends the drill",
    "focus": "w why · 3 what changed · b runbook · r plans a rollback · D leaves it be",
    "walk": "enter does the step · s skips it · escape back · r plans a rollback",
    "plan": "x executes: asks for a reason and the phrase · o another version",
    "authorize": "type the phrase as it stands there · escape: nothing happens",
    "execute": "a aborts · > to the next event",
    "verify": "> to the next event · + faster",
    "recovered": "n adds a note · D ends the drill and shows its report",
    "over": "D shows the report · q leaves",
}


class Tutor:
    """Says what belongs to the step that was reached. A step once reached is not gone back behind."""

    def __init__(self, hints: Sequence[Hint]) -> None:
        self._hints = tuple(hints)
        self._reached = 0
        self._said: list[str] = []
        self.hint = ""
        self.keys = ""

    @property
    def said(self) -> tuple[str, ...]:
        """All that was told so far, the newest last."""
        return tuple(self._said)

    def see(self, snapshot: Snapshot, acts: Sequence[Act], *, recovered: bool, over: bool) -> bool:
        """Take note of where the operator is; True where that is a step further, and something else is said."""
        steps = reached(snapshot, acts, recovered=recovered, over=over)
        now = max(WHEN.index(step) for step in steps)
        if now < self._reached or (now == self._reached and self.hint):
            return False
        self._reached = now
        step = WHEN[now]
        own = " ".join(" ".join(each.say.split()) for each in self._hints if each.when == step)
        said = own or next(hint.say for hint in HOUSE if hint.when == step)
        self.hint, self.keys = said, KEYS[step]
        self._said.append(said)
        return True


def reached(snapshot: Snapshot, acts: Sequence[Act], *, recovered: bool, over: bool) -> set[str]:
    """Every step of `WHEN` that the operator and the world have come to."""
    verdicts = [view.verdict for view in snapshot.deployments if view.verdict is not None]
    done = {act.act for act in acts if not act.refused}
    running = {execution.state for execution in snapshot.executions}
    found = {
        "start": True,
        "pending": any(v.state is TriggerState.PENDING for v in verdicts),
        "fired": any(v.alarming and v.state is not TriggerState.BLIND for v in verdicts),
        "blind": any(v.alarming and v.state is TriggerState.BLIND for v in verdicts),
        "focus": "focus" in done,
        "walk": "start_walk" in done,
        "plan": "plan" in done,
        "authorize": any(act.act == "look" and act.detail == CONFIRMATION for act in acts),
        "execute": bool(running),
        "verify": bool(running & {ExecutionState.VERIFYING, ExecutionState.DONE, ExecutionState.NOT_CONFIRMED}),
        "recovered": recovered,
        "over": over,
    }
    return {step for step, holds in found.items() if holds}
