"""A collapse of the traffic: what else would tell has no trials left, and the volume tells it all the same."""

from __future__ import annotations

from rollback_console.decide.judge import FRESH, decide
from rollback_console.model.identity import Deployment, DeploymentId
from rollback_console.model.observation import Blind, Norm, Observation, Reading
from rollback_console.model.rules import (
    Baseline,
    BaselineKind,
    Breach,
    DeploymentRule,
    EvidenceRule,
    Expression,
    Or,
    SignalRule,
    Tiered,
    TriggerRule,
    Uses,
    Worse,
)
from rollback_console.model.verdict import TriggerState, Verdict

WHO = DeploymentId("production", "ranker")
START = 1_763_942_400.0
VOLUME = SignalRule(
    "volume", "Volume", "technical", Worse.LOWER, Breach(degraded_by=0.6), 300.0, value="v",
    baseline=Baseline(BaselineKind.LAST_WEEK),
)  # fmt: skip
CONVERSION = SignalRule(
    "conversion", "Conversion", "business", Worse.LOWER, Breach(), 60.0, x="x", n="n",
    baseline=Baseline(BaselineKind.SEASONAL), evidence=EvidenceRule(),
)  # fmt: skip
ERRORS = SignalRule("errors", "Errors", "technical", Worse.HIGHER, Breach(above=0.02), 300.0, x="e", n="r")
NORM = Norm(0.02, (1.0,))
WELL = (Reading(100.0, 100.0), Reading(0.03, 0.03, 1_000.0, x=30.0, norm=NORM), Reading(0.001, n=1_000.0))
DEAD = (
    Reading(0.0, 100.0),
    Reading(None, 0.03, 0.0, Blind.NO_DATA, norm=NORM),
    Reading(None, n=0.0, blind=Blind.NO_DATA),
)


def collapse(when: Expression, minutes: int) -> list[Verdict]:
    """The verdicts of each minute after the traffic fell to nothing."""
    facts = Deployment(WHO, "high", "m", "champion", ())
    rule = DeploymentRule(facts, (VOLUME, CONVERSION, ERRORS), TriggerRule(when, "t"), (), "p", 1, "0" * 64)
    memory, found = FRESH, []
    for k in range(1, 11 + minutes):
        seen = Observation(WHO, START + 60.0 * k, WELL if k <= 10 else DEAD)
        verdict, memory = decide(rule, seen, memory)
        found.append(verdict)
    return found[10:]


def test_named_in_an_or_it_fires_after_its_dwell_though_all_else_is_blind() -> None:
    found = collapse(Or((Uses("volume"), Uses("errors"))), 8)
    assert [verdict.state for verdict in found].index(TriggerState.FIRED) == 5
    assert found[5].sentence.startswith("volume 0 is 100 % below last week's 100")


def test_by_the_tiered_rule_people_hear_of_it_at_once_and_it_fires_alone_after_its_hold() -> None:
    found = collapse(Tiered((Uses("volume"), Uses("conversion"), Uses("errors"))), 35)
    assert found[0].state is TriggerState.PENDING
    assert "volume 0 is 100 % below last week's 100" in found[0].sentence
    assert [verdict.alarming for verdict in found].index(True) == 5, "blind for its own dwell: nobody else can tell"
    assert [verdict.state for verdict in found].index(TriggerState.FIRED) == 30
    assert all(verdict.signals[0].breached for verdict in found)
    assert all(verdict.signals[1].blind is Blind.NO_DATA for verdict in found)
