"""What has to hold before anything goes by itself: each condition alone keeps it back, and says which it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from rollback_console.decide.automatic import Go, automatic
from rollback_console.decide.guards import Acts
from rollback_console.model.identity import Deployment, DeploymentId
from rollback_console.model.incident import Attribution, AttributionKind, Incident, Recommendation
from rollback_console.model.rules import (
    AuthorityRule,
    DeploymentRule,
    ExpectedChange,
    Mode,
    RecoveryPath,
    TriggerRule,
    Uses,
)
from rollback_console.model.verdict import TriggerState, Verdict

NAME = DeploymentId("production", "checkout-ranker")
AT = 1_763_640_000.0
PATH = RecoveryPath("version", "mlflow-alias", "last_known_good", authority=AuthorityRule(automatic_after_s=60.0))
RULE = DeploymentRule(
    Deployment(NAME, "high", "checkout-ranker", "champion", ()), (), TriggerRule(Uses("x"), "x", re_arm_s=1800.0),
    (PATH,), "ranking", 7, "0" * 64, Mode.ACT,
)  # fmt: skip
VERDICT = Verdict(
    NAME, AT, "8", TriggerState.FIRED, AT - 60.0, True, (), False, None, None, None, False, False, (), "degraded"
)
ADVICE = Recommendation(NAME, "version", "7", "roll back to v7: the degradation follows the release of v8")
INCIDENT = Incident(
    "i-1", (NAME,), AT - 300.0, Attribution(AttributionKind.RELEASE, ("it was released",)), "release", (ADVICE,)
)
FACTS = Acts(released=AT - 1200.0, fired=AT - 60.0)


def ask(**changed: Any) -> Go | str:
    given = {"rule": RULE, "verdict": VERDICT, "incident": INCIDENT, "acts": FACTS, **changed}
    return automatic(
        given["rule"], given["verdict"], given["incident"], given["acts"], snoozed_until=given.get("snoozed")
    )


def test_it_goes_where_everything_holds() -> None:
    found = ask()
    assert isinstance(found, Go)
    assert (found.path.name, found.to_version) == ("version", "7")
    assert "v8" in found.words


def incident(**changed: Any) -> Incident:
    return replace(INCIDENT, **changed)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"rule": replace(RULE, mode=Mode.ADVISE)}, "the mode is advise"),
        ({"rule": replace(RULE, recovery=(replace(PATH, authority=AuthorityRule()),))}, "version waits for people"),
        ({"rule": replace(RULE, recovery=(replace(PATH, target="5"),))}, "roll back to v7"),
        ({"verdict": replace(VERDICT, state=TriggerState.PENDING)}, "it is pending"),
        ({"verdict": replace(VERDICT, state=TriggerState.COOLING)}, "it is cooling"),
        ({"verdict": replace(VERDICT, fired_as_blind=True)}, "not being seen"),
        ({"incident": None}, "no incident"),
        ({"incident": incident(attribution=Attribution(AttributionKind.UPSTREAM, ()))}, "attributed to upstream"),
        ({"incident": incident(attribution=Attribution(AttributionKind.UNKNOWN, ()))}, "attributed to unknown"),
        ({"incident": incident(recommendations=())}, "nothing is advised"),
        ({"incident": incident(recommendations=(replace(ADVICE, path=None, sentence="mend that"),))}, "mend that"),
        ({"incident": incident(recommendations=(replace(ADVICE, to_version=None),))}, "roll back to v7"),
        ({"snoozed": AT + 1.0}, "snoozed until"),
        ({"acts": replace(FACTS, acted=AT - 600.0)}, "cooling down until"),
        ({"acts": replace(FACTS, cleared=AT - 300.0)}, "fired again"),
        ({"acts": replace(FACTS, automatic=(AT - 50_000.0, AT - 40_000.0))}, "a person has to look"),
        ({"acts": replace(FACTS, expected=(ExpectedChange("the sale", AT - 9.0, AT + 9.0),))}, "the sale"),
    ],
)  # fmt: skip
def test_each_condition_alone_keeps_it_back_and_is_named(changed: dict[str, Any], why: str) -> None:
    found = ask(**changed)
    assert isinstance(found, str)
    assert why in found


@pytest.mark.parametrize(
    "over",
    [
        lambda: ask(snoozed=AT),
        lambda: ask(acts=replace(FACTS, acted=AT - 3600.0)),
        lambda: ask(acts=replace(FACTS, cleared=AT - 60.0 - 1800.0)),
        lambda: ask(acts=replace(FACTS, automatic=(AT - 86_400.0, AT - 40_000.0))),
        lambda: ask(rule=replace(RULE, recovery=(replace(PATH, target="7"),))),
    ],
)
def test_what_is_over_keeps_nothing_back(over: Callable[[], Go | str]) -> None:
    assert isinstance(over(), Go)
