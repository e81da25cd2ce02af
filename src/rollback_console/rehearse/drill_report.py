"""What a drill was worth, in the words of its report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rollback_console.model.drill import DrillReport, DrillTime
from rollback_console.model.text import duration, plain
from rollback_console.model.value import dataclass
from rollback_console.rehearse.score import DrillResult

COMPUTING = "best: computing … (the perfect operator plays the same minutes in another process)"


@dataclass(frozen=True, slots=True)
class Past:
    """One earlier drill of the same scenario by the same person."""

    day: str
    passed: bool
    acted_s: float | None
    recovered_s: float | None
    cost: float
    unit: str


def report(
    title: str, right: str, result: DrillResult, best: DrillResult | None = None, why_no_best: str = COMPUTING,
    past: Sequence[Past] = (), recorded: str = "", *, hands_off: bool = False,
) -> DrillReport:  # fmt: skip
    """The report of one drill. `right`: what was right, in a sentence; `best`: the best headless operator's, once it is
    known, else `why_no_best`; `past`: earlier ones, the newest first; `recorded`: where the summary went; `hands_off`:
    nothing was to be rolled back, and no band holds."""
    theirs: Mapping[str, float | None] = dict(best.times) if best is not None else {}
    times = tuple(
        DrillTime(name, took, None if hands_off else result.bands.get(name), theirs.get(name))
        for name, took in result.times
    )
    sections = (
        ("What was right", (right, *_standard(result))),
        ("What it cost", tuple(_cost(result, best, hands_off=hands_off))),
        ("Wrong turns and blind alleys", (*result.wrong_turns, *result.blind_alleys, *_refused(result))),
        ("The runbook", tuple(_steps(result))),
        ("What you looked at before you acted", result.evidence_used),
        ("Your own drills of it", tuple(_earlier(each) for each in past[:5]) or ("this is the first one",)),
        *((("The record", (recorded,)),) if recorded else ()),
    )
    by = "best: the perfect headless operator, the same seed and minutes" if best is not None else why_no_best
    return DrillReport(
        result.scenario, title, result.operator, result.seed, result.passed, _headline(result), result.failed_because,
        times, by, sections,
    )  # fmt: skip


def from_document(document: Mapping[str, Any]) -> DrillResult:
    """A result as `DrillResult.detail` wrote it; what another program's has beside it is left out. Raises TypeError
    where something is missing."""
    known = DrillResult.__dataclass_fields__
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in document.items()
    }
    return DrillResult(**{key: value for key, value in values.items() if key in known})


def _headline(result: DrillResult) -> str:
    if result.decision == "right":
        return "the decision was right" + ("" if result.acted_s is not None else ": nothing was to be rolled back")
    if result.decision == "wrong":
        return "the decision was wrong: " + "; ".join(result.wrong_turns[:2])
    return "nothing was decided"


def _standard(result: DrillResult) -> Iterator[str]:
    """Beside the scenario's own bands, what a team is measured by."""
    if result.within_standard is None:
        return
    took, limit = duration(result.acted_s or 0.0), duration(result.standard_s)
    yield f"the pointer was set after {took}: {'within' if result.within_standard else 'past'} the {limit} standard"


def _cost(result: DrillResult, best: DrillResult | None, *, hands_off: bool) -> Iterator[str]:
    unit = f" {result.cost_unit}" if result.cost_unit else ""
    if result.cost or result.unavoidable:
        yield f"{_money(result.cost)}{unit} from its onset to the end of the drill"
        yield f"{_money(result.unavoidable)}{unit} of it before the trigger fired: nobody could have saved that"
        if result.recovered_s is None:
            yield "and it goes on: nothing that mends it was done, or confirmed"
        if best is not None and result.recovered_s is None:
            yield f"the best drill lost {_money(best.cost)}{unit} in all"
        elif best is not None:
            more = result.cost - best.cost
            word = "more" if more > 0 else "less"
            same = "as much as the best drill" if abs(more) < 1.0 else f"{_money(abs(more))}{unit} {word} than the best"
            yield f"{same} ({_money(best.cost)}{unit})"
    else:
        yield (
            "nothing that you could have saved" if hands_off else "no money: what it harmed has no price in this world"
        )
    if result.cost_elsewhere >= 1.0:
        yield f"{_money(result.cost_elsewhere)}{unit} elsewhere, which no rollback would have saved"


def _steps(result: DrillResult) -> Iterator[str]:
    if not result.steps_done and not result.steps_skipped:
        yield "no runbook was walked"
        return
    yield f"{result.steps_done} steps done, {result.steps_skipped} skipped"


def _refused(result: DrillResult) -> Iterator[str]:
    for each in result.refused:
        yield f"refused: {plain(each, 160)}"


def _earlier(each: Past) -> str:
    took = f"acted after {duration(each.acted_s)}" if each.acted_s is not None else "did not act"
    done = f", recovered after {duration(each.recovered_s)}" if each.recovered_s is not None else ""
    cost = f", {_money(each.cost)} {each.unit}".rstrip() if each.cost else ""
    return f"{each.day}  {'passed' if each.passed else 'not passed'}, {took}{done}{cost}"


def _money(value: float) -> str:
    return f"{value:,.0f}"
