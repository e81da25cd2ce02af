"""When a trigger fires if nothing changes: to the second where a dwell runs, an estimate that reads so by evidence."""

from __future__ import annotations

from rollback_console.model.text import about, duration
from rollback_console.model.value import dataclass
from rollback_console.model.verdict import TriggerState, Verdict


@dataclass(frozen=True, slots=True)
class Eta:
    """`seconds` from the verdict's evaluation; `exact`: a dwell's own clock, else an estimate from the present drift of
    evidence."""

    seconds: float
    exact: bool


def eta(verdict: Verdict) -> Eta | None:
    """When it fires if it stays as it is; None where nothing is on its way, or the clock stands still."""
    if verdict.state is not TriggerState.PENDING or verdict.frozen:
        return None
    if verdict.dwell_remaining_s is not None:
        return Eta(verdict.dwell_remaining_s, True)
    return None if verdict.eta_s is None else Eta(verdict.eta_s, False)


def eta_words(verdict: Verdict) -> str:
    """`fires in 2:41` to the second, or `≈ 6 m if it stays`; "" where nothing is on its way."""
    found = eta(verdict)
    if found is None:
        return ""
    return f"fires in {duration(found.seconds)}" if found.exact else f"{about(found.seconds)} if it stays"
