"""What a policy says and hardly means: conditions that cannot be, numbers that work against each other."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from rollback_console.model.rules import AdaptiveDwell, And, AtLeast, Expression, Not, Or, Tiered, Uses, Weighted
from rollback_console.model.value import dataclass
from rollback_console.policy.defaults import BY_RISK
from rollback_console.policy.expression import holds, names, unparse
from rollback_console.policy.policy import Policy
from rollback_console.policy.quantities import format_duration, format_percentage
from rollback_console.policy.signal import PolicySignal
from rollback_console.policy.trigger import dwell_of

_MOST_SIGNALS = 12  # 4,096 cases to look at; a trigger with more is not looked through
_WIDE_MARGIN = 0.3
_WEEK_S = 7 * 86_400.0


@dataclass(frozen=True, slots=True)
class Doubt:
    """Something allowed and probably not meant, and where it stands."""

    loc: tuple[int | str, ...]
    message: str
    remedy: str


def doubts(policy: Policy, when: Expression) -> Iterator[Doubt]:
    """All of a policy's, its trigger being `when`."""
    if policy.trigger.when is not None:
        yield from _conditions(when)
    yield from _inputs(policy, when)
    yield from _clocks(policy)
    for name, signal in policy.signals.items():
        if signal.by_evidence:
            for doubt in _evidence(policy, signal):
                yield Doubt(("signals", name, *doubt.loc), doubt.message, doubt.remedy)


def _conditions(when: Expression) -> Iterator[Doubt]:
    """Looked through case by case: never true, true while all is well, parts that change nothing."""
    loc = ("trigger", "when")
    used = sorted(set(names(when)))
    if len(used) > _MOST_SIGNALS:
        return
    cases = [frozenset(case) for size in range(len(used) + 1) for case in itertools.combinations(used, size)]
    table = [holds(when, case) for case in cases]
    if not any(table):
        yield Doubt(loc, "this condition can never be true", "It will never fire; look at `not` and the brackets")
    elif table[0]:
        remedy = "It fires while all is well; did you mean it the other way round"
        yield Doubt(loc, "this condition holds while no signal is degraded", remedy)
    else:
        for name in used:
            if all(holds(when, case | {name}) == holds(when, case - {name}) for case in cases):
                yield Doubt(
                    loc, f"{name} makes no difference to this condition", "Take it out, or look at the brackets"
                )
        for part in _branches(when):
            if not any(holds(part, case) for case in cases):
                yield Doubt(loc, f"the part `{unparse(part)[:80]}` can never be true", "Take it out, or look at `not`")


def _inputs(policy: Policy, when: Expression) -> Iterator[Doubt]:
    inputs = {name for name, signal in policy.signals.items() if signal.area == "inputs"}
    if inputs and holds(when, inputs):
        loc = ("trigger", "when") if policy.trigger.when is not None else ("signals",)
        yield Doubt(
            loc, "what watches the inputs fires by itself", "Drifted inputs may be served well; ask for an `and`"
        )


def _branches(when: Expression) -> Iterator[Expression]:
    """The parts of which one would do."""
    match when:
        case Or(items) | AtLeast(_, items):
            for item in items:
                yield item
                yield from _branches(item)
        case Weighted(weighed, _):
            for item, _ in weighed:
                yield item
        case And(items):
            for item in items:
                yield from _branches(item)
        case Not() | Uses() | Tiered():
            return


def _clocks(policy: Policy) -> Iterator[Doubt]:
    trigger = policy.trigger
    dwell = trigger.dwell if isinstance(trigger.dwell, float | int) else None
    if isinstance(trigger.dwell, AdaptiveDwell):
        dwell = trigger.dwell.from_s
        if not any(signal.by_evidence for signal in policy.signals.values()):
            risks = {deployment.risk or policy.risk or "normal" for deployment in policy.deployments}
            now = sorted({dwell_of(trigger, BY_RISK[risk]) for risk in risks})
            yield Doubt(("trigger", "dwell"), "nothing here is judged by evidence, which alone adapts its dwell",
                        f"It is {' or '.join(format_duration(each) for each in now)}")  # fmt: skip
    if dwell is not None and "hold" in trigger.model_fields_set and trigger.hold < dwell:
        yield Doubt(("trigger", "hold"), f"is shorter than the dwell of {format_duration(dwell)}",
                    "What comes and goes would fire and end again and again; make it as long at least")  # fmt: skip
    if trigger.cool_down and trigger.re_arm > trigger.cool_down:
        yield Doubt(("trigger", "re_arm"), f"is longer than the cool-down of {format_duration(trigger.cool_down)}",
                    "The cool-down then changes nothing; is that meant")  # fmt: skip
    if trigger.loop_guard == 0:
        yield Doubt(("trigger", "loop_guard"), "allows no automatic action at all", "`mode: advise` says the same")


def _evidence(policy: Policy, signal: PolicySignal) -> Iterator[Doubt]:
    window = signal.window_s
    risks = {deployment.risk or policy.risk or "normal" for deployment in policy.deployments}
    written = policy.trigger.dwell
    least = written.from_s if isinstance(written, AdaptiveDwell) else written
    dwell = least if least is not None else min(BY_RISK[risk].dwell_s for risk in risks)
    if dwell < 2 * window:
        spans = "one window" if dwell >= window else "no whole window"
        yield Doubt(("window",) if signal.window is not None else (),
                    f"a dwell of {format_duration(dwell)} spans {spans} of {format_duration(window)}",
                    "One bad window could then fire; shorten the window or lengthen the dwell")  # fmt: skip
    if signal.margin is not None and signal.margin >= _WIDE_MARGIN:
        yield Doubt(("margin",), f"nothing smaller than {format_percentage(signal.margin)} will ever be seen",
                    "Leave it out, and it is learned from the noise")  # fmt: skip
    baseline = signal.baseline
    if baseline is not None and baseline.kind == "seasonal" and baseline.history_s < _WEEK_S:
        yield Doubt(("baseline", "history"), "is shorter than a week: no time of the week is seen twice",
                    "Write 14d or more; 28d is usual")  # fmt: skip
    counted = signal.kind not in ("gauge", "value_per_order")  # of orders that have come in already
    if counted and signal.minimum is None and signal.maturity is None and signal.area == "business":
        yield Doubt((), "a business signal without maturity: late events read as a fall when traffic rises",
                    "Write `maturity: 3m`, how late its events follow; `0s` where they do not")  # fmt: skip
