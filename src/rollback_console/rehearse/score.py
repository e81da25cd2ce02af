"""What a drill was worth (first form): the decision, how long each part took, what was skipped or done wrongly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rollback_console.model.identity import DeploymentId
from rollback_console.model.plan import Execution, ExecutionState, StepState
from rollback_console.model.snapshot import Snapshot
from rollback_console.model.value import dataclass
from rollback_console.rehearse.desk import Act
from rollback_console.rehearse.truth import Cure, Truth

_NOTICING = ("focus", "start_walk", "plan", "note", "execute")


@dataclass(frozen=True, slots=True)
class DrillResult:
    """One scored drill. Times are seconds of the drill's clock after the trigger fired; None: it never came to that.

    `decision`: `right` (every cure executed, nothing else), `wrong` (something else was executed), `none`.
    """

    scenario: str
    seed: int
    operator: str
    passed: bool
    decision: str
    noticed_s: float | None
    decided_s: float | None
    acted_s: float | None
    recovered_s: float | None
    steps_done: int
    steps_skipped: int
    wrong_turns: tuple[str, ...]
    refused: tuple[str, ...]
    failed_because: tuple[str, ...]
    elapsed_s: float
    # Where something else than the cures was rolled back: when that was noticed, decided, done, after the first fire.
    noticed_wrongly_s: float | None = None
    decided_wrongly_s: float | None = None
    acted_wrongly_s: float | None = None

    def detail(self) -> dict[str, Any]:
        """Plain values for the journal's `drill` entry and for `--json`."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


class Scorer:
    """Watches a drill evaluation by evaluation."""

    def __init__(self, truth: Truth) -> None:
        self._truth = truth
        self._fired: dict[DeploymentId, float] = {}
        self._first_fire: float | None = None  # of any deployment
        self._recovered: dict[DeploymentId, float] = {}
        self._last: Snapshot | None = None

    def see(self, snapshot: Snapshot) -> None:
        """Take note of one evaluation."""
        self._last = snapshot
        if self._first_fire is None and any(v.verdict is not None and v.verdict.alarming for v in snapshot.deployments):
            self._first_fire = snapshot.at
        for cure in self._truth.cures:
            view = snapshot.view(cure.deployment)
            if view is not None and view.verdict is not None and view.verdict.alarming:
                self._fired.setdefault(cure.deployment, snapshot.at)
            for execution in snapshot.executions:
                if _is(execution, cure) and execution.state is ExecutionState.DONE:
                    self._recovered.setdefault(cure.deployment, snapshot.at)

    @property
    def recovered(self) -> bool:
        """Has every cure been executed and confirmed."""
        return all(cure.deployment in self._recovered for cure in self._truth.cures)

    def result(self, scenario: str, seed: int, operator: str, acts: Sequence[Act], elapsed_s: float) -> DrillResult:
        """The score, once the drill is over."""
        done = [a for a in acts if not a.refused]
        executed = [(a.deployment, a.detail) for a in done if a.act == "execute"]
        right = {(cure.deployment, cure.to_version) for cure in self._truth.cures}
        mistaken = {name for name, to in executed if name is not None and (name, to) not in right}
        wrong = tuple(f"rolled back {name} to v{to}" for name, to in executed if (name, to) not in right)
        decision = "wrong" if wrong else "right" if right <= set(executed) else "none"
        recovered = self._after(self._recovered)
        steps = [s.state for walk in (self._last.walks if self._last else ()) for s in walk.steps]
        skipped = steps.count(StepState.SKIPPED)
        because: list[str] = []
        if not right <= set(executed):
            because.append("the release that did the damage was not rolled back")
        elif recovered is None:
            because.append("the rollback was not confirmed by the signals")
        elif recovered > self._truth.recover_within_s:
            because.append(f"recovered after {recovered:.0f} s; the band ends at {self._truth.recover_within_s:.0f} s")
        if skipped:
            because.append(f"{skipped} steps of a runbook were skipped")
        return DrillResult(
            scenario=scenario,
            seed=seed,
            operator=operator,
            passed=not because and not wrong,
            decision=decision,
            noticed_s=self._first(acts, _NOTICING),
            decided_s=self._first(done, ("plan",)),
            acted_s=self._first(done, ("execute",)),
            recovered_s=recovered,
            steps_done=steps.count(StepState.DONE),
            steps_skipped=skipped,
            wrong_turns=wrong,
            refused=tuple(f"{a.act} {a.deployment}: {a.refused}" for a in acts if a.refused),
            failed_because=tuple(because),
            elapsed_s=elapsed_s,
            noticed_wrongly_s=self._wrongly(acts, _NOTICING, mistaken),
            decided_wrongly_s=self._wrongly(done, ("plan",), mistaken),
            acted_wrongly_s=self._wrongly(done, ("execute",), mistaken),
        )

    def _wrongly(self, acts: Sequence[Act], kinds: tuple[str, ...], mistaken: set[DeploymentId]) -> float | None:
        """Seconds from the first fire of all to the first act of these kinds on what was rolled back mistakenly."""
        moments = [act.at for act in acts if act.act in kinds and act.deployment in mistaken]
        begin = self._first_fire
        return round(max(0.0, min(moments) - begin), 3) if moments and begin is not None else None

    def _first(self, acts: Sequence[Act], kinds: tuple[str, ...]) -> float | None:
        """Seconds from the fire to the first act of these kinds on it; the slowest of several cures counts."""
        found: dict[DeploymentId, float] = {}
        for act in acts:
            if act.act in kinds and act.deployment in self._fired:
                found.setdefault(act.deployment, act.at)
        return self._after(found)

    def _after(self, moments: dict[DeploymentId, float]) -> float | None:
        spans = []
        for cure in self._truth.cures:
            if cure.deployment not in moments or cure.deployment not in self._fired:
                return None
            spans.append(round(max(0.0, moments[cure.deployment] - self._fired[cure.deployment]), 3))
        return max(spans, default=None)


def _is(execution: Execution, cure: Cure) -> bool:
    return execution.plan.deployment == cure.deployment and execution.plan.to_version == cure.to_version
