"""CloudWatch's M-out-of-N alarms with their four ways to treat missing data, against policies that say the same.

`cloudwatch` is that service's evaluation as its documentation describes it ("Configuring how CloudWatch alarms treat
missing data" in its user guide): of an evaluation range that is longer than N it takes the N newest data points that
exist; only where fewer exist it fills in, as told; with fewer than M that all breach it cannot tell, unless the oldest
of them is M periods old. DOCUMENTED holds the examples of two editions of that page, which `cloudwatch` must meet.

The policy for M out of N asks for the signal now and one and two periods ago (`offset`), and counts:
`any M of [now, ago_1, ago_2]`. What it cannot express:

- Reaching back. CloudWatch passes over a missing point and takes an older one instead; a policy judges the last N
  periods. So "0 X X - X" is ALARM there, and here the missing point is what `blind:` makes of it.
- Deciding with too little. With `missing` and `ignore` CloudWatch says OK or ALARM as soon as one data point exists.
  A policy with `blind: freeze` says so only where the missing points could not change it; else it cannot tell, and
  shows `blind` (or stays as it was: fired stays fired).
"""

from __future__ import annotations

import itertools

import pytest

from rollback_console.decide.judge import FRESH, step
from rollback_console.decide.trigger import state_of
from rollback_console.model.observation import Blind, Observation, Reading
from rollback_console.model.rules import DeploymentRule
from rollback_console.model.verdict import TriggerMemory, TriggerState
from rollback_console.policy.load import parse_policy

PERIOD_S = 600.0
RANGE = 5  # data points that CloudWatch looks at for N = 3
N = 3
BAD, GOOD, GONE = "X", "0", "-"
BLIND = {"missing": "freeze", "ignore": "freeze", "breaching": "breach", "notBreaching": "healthy"}
OK, ALARM, NO_DATA, KEEP = "OK", "ALARM", "INSUFFICIENT_DATA", "keep"
WINDOWS = ["".join(points) for points in itertools.product(GOOD + BAD + GONE, repeat=RANGE)]

# (oldest to newest, M) -> missing, ignore, breaching, notBreaching; N = 3
DOCUMENTED = {
    ("0-X-X", 3): (OK, OK, OK, OK),
    ("0----", 3): (OK, OK, OK, OK),
    ("-----", 3): (NO_DATA, KEEP, ALARM, OK),
    ("0XX-X", 3): (ALARM, ALARM, ALARM, ALARM),
    ("----X", 3): (NO_DATA, KEEP, ALARM, OK),
    ("X----", 3): (ALARM, KEEP, ALARM, OK),
    ("--X--", 3): (ALARM, KEEP, ALARM, OK),
    ("0-X-X", 2): (ALARM, ALARM, ALARM, ALARM),
    ("00X0X", 2): (ALARM, ALARM, ALARM, ALARM),
    ("0-X--", 2): (OK, OK, ALARM, OK),
    ("----0", 2): (OK, OK, ALARM, OK),
    ("----X", 2): (NO_DATA, KEEP, ALARM, OK),
    ("---X-", 2): (ALARM, KEEP, ALARM, OK),
}
# What our policy says of the same rows, where it is not the same: "blind" is "cannot tell", "keep" is as it was.
OTHERWISE = {
    ("0XX-X", 3): {"missing": "blind", "ignore": KEEP, "notBreaching": OK},  # reaches back to a third X
    ("0-X-X", 3): {"missing": "blind", "ignore": KEEP, "breaching": ALARM},  # reaches back to the 0
    ("0----", 3): {"missing": "blind", "ignore": KEEP, "breaching": ALARM},  # reaches back to the 0
    ("X----", 3): {"missing": "blind"},  # decides on one data point, which is no longer of the last N
    ("--X--", 3): {"missing": "blind"},  # decides on one data point
    ("0-X--", 2): {"missing": "blind", "ignore": KEEP},  # decides on two
    ("----0", 2): {"missing": "blind", "ignore": KEEP},  # decides on one
    ("---X-", 2): {"missing": "blind"},  # decides on one
}


def cloudwatch(window: str, m: int, mode: str) -> str:
    """The alarm's state after a range of data points, oldest first, by the documented rules."""
    present = [point for point in window if point != GONE]
    if len(present) >= N:
        return ALARM if present[-N:].count(BAD) >= m else OK
    if not present and mode == "missing":
        return NO_DATA
    if not present and mode == "ignore":
        return KEEP
    bad = present.count(BAD) + (N - len(present) if mode == "breaching" else 0)
    if bad >= m:
        return ALARM
    if mode in ("missing", "ignore") and len(present) < m and BAD in window:
        oldest = window.index(BAD)
        if RANGE - oldest >= m and GOOD not in window[oldest:]:
            return ALARM if mode == "missing" else KEEP
        if GOOD not in window:
            return NO_DATA if mode == "missing" else KEEP
    return OK


def m_of_n(m: int, mode: str) -> DeploymentRule:
    """The policy, as a person writes it."""
    signals = "".join(
        f"  {name}: {{worse: higher, value: load{offset}, breach: {{above: 5}}, blind: {BLIND[mode]}}}\n"
        for name, offset in (("now", ""), ("ago_1", " offset 10m"), ("ago_2", " offset 20m"))
    )
    text = (
        "schema: rollback-console/policy/v1\nname: cloudwatch\nversion: 1\n"
        "deployments:\n  - {name: a, environment: test, model: {name: a, alias: champion}}\n"
        f"signals:\n{signals}trigger: {{when: 'any {m} of [now, ago_1, ago_2]', dwell: 0, hold: 0}}\n"
    )
    return parse_policy(text.encode(), "cloudwatch.yaml").rules[0]


def n_of_n(mode: str) -> DeploymentRule:
    """N of N is also a dwell of N - 1 periods over the signal alone."""
    text = (
        "schema: rollback-console/policy/v1\nname: cloudwatch\nversion: 1\n"
        "deployments:\n  - {name: a, environment: test, model: {name: a, alias: champion}}\n"
        f"signals:\n  now: {{worse: higher, value: load, breach: {{above: 5}}, blind: {BLIND[mode]}}}\n"
        f"trigger: {{dwell: {round(PERIOD_S * (N - 1))}s, hold: 0}}\n"
    )
    return parse_policy(text.encode(), "cloudwatch.yaml").rules[0]


READINGS = {BAD: Reading(9.0), GOOD: Reading(1.0), GONE: Reading(blind=Blind.NO_DATA)}


def run(rule: DeploymentRule, points: str) -> list[tuple[bool, bool | None]]:
    """Fired or not, and the condition, at each of the points, one a period; before the first they are missing."""
    memory: TriggerMemory = FRESH
    found = []
    for k in range(len(points)):
        row = [points[k - back] if k >= back else GONE for back in range(len(rule.signals))]
        done = step(rule, Observation(rule.deployment.id, k * PERIOD_S, tuple(READINGS[each] for each in row)), memory)
        memory = done.memory
        found.append((state_of(memory, cooling=False)[0] is TriggerState.FIRED, done.condition))
    return found


def said(rule: DeploymentRule, window: str, mode: str) -> str:
    """What the policy says at the newest point, in CloudWatch's words: ALARM, OK, or that it cannot tell. That it shows
    as `blind`, and then what has fired stays fired and what has not does not: KEEP."""
    (_, (fired, condition)) = run(rule, window)[-2:]
    if condition is None:
        return KEEP if mode == "ignore" else "blind"
    assert fired is condition, "no dwell and no hold"
    return ALARM if fired else OK


def test_the_reference_meets_every_example_that_is_documented() -> None:
    for (window, m), states in DOCUMENTED.items():
        for mode, state in zip(BLIND, states, strict=True):
            assert cloudwatch(window, m, mode) == state, (window, m, mode)


@pytest.mark.parametrize(("window", "m"), list(DOCUMENTED))
def test_each_documented_example_is_the_same_or_written_down_as_different(window: str, m: int) -> None:
    for mode, state in zip(BLIND, DOCUMENTED[window, m], strict=True):
        same = {NO_DATA: "blind"}.get(state, state)
        expected = OTHERWISE.get((window, m), {}).get(mode, same)
        assert said(m_of_n(m, mode), window, mode) == expected, mode
        if mode in OTHERWISE.get((window, m), {}):
            assert expected != same, "what is written down as different is different"


@pytest.mark.parametrize("mode", list(BLIND))
@pytest.mark.parametrize("m", [1, 2, 3])
def test_all_windows(m: int, mode: str) -> None:
    """Every one of the 243 ranges, for each M and each mode."""
    rule = m_of_n(m, mode)
    same = 0
    for window in WINDOWS if mode == "ignore" else ():
        (before, _), (fired, condition) = run(rule, window)[-2:]
        assert condition is not None or fired is before, "what cannot be told stays as it was"
    for window in WINDOWS:
        theirs, mine = cloudwatch(window, m, mode), said(rule, window, mode)
        newest, older = window[-N:], window[:-N]
        equal = mine == {NO_DATA: "blind"}.get(theirs, theirs)
        same += equal
        if GONE not in newest:
            assert equal, (window, theirs, mine)  # nothing is missing that counts
        elif older == GONE * len(older) and mode in ("breaching", "notBreaching"):
            assert equal, (window, theirs, mine)  # nothing to reach back to: filled in alike
        elif mode in ("missing", "ignore") and mine in (OK, ALARM):
            assert equal, (window, theirs, mine)  # what is said is right; the rest is "cannot tell"
        elif not equal:
            reached_back = any(point != GONE for point in older)
            decided_early = mode in ("missing", "ignore") and mine in ("blind", KEEP)
            assert reached_back or decided_early, (window, theirs, mine)
    assert same == SAME[mode][m - 1]


# Of 243 ranges, how many a policy says the same of, for M = 1, 2, 3.
SAME = {
    "missing": (181, 128, 184),
    "ignore": (181, 132, 199),
    "breaching": (228, 200, 211),
    "notBreaching": (211, 200, 228),
}


def test_n_of_n_is_a_dwell() -> None:
    """Without missing points, a dwell of N - 1 periods is N out of N, in every mode."""
    for mode in BLIND:
        rule = n_of_n(mode)
        for points in itertools.product(GOOD + BAD, repeat=RANGE):
            window = "".join(points)
            assert run(rule, window)[-1][0] is (cloudwatch(window, N, mode) == ALARM), (window, mode)


def test_a_dwell_counts_missing_points_as_the_blind_policy_says() -> None:
    """`breach` and `healthy` fill in at every evaluation; `freeze` counts only time whose both ends were seen."""
    fired = {
        mode: {window for window in ("XXX", "X-X", "X-XX", "XX-X", "X-XXX", "X--", "-XX") if
               run(n_of_n(mode), window)[-1][0]}
        for mode in BLIND
    }  # fmt: skip
    assert fired["breaching"] == {"XXX", "X-X", "X-XX", "XX-X", "X-XXX", "X--", "-XX"}
    assert fired["notBreaching"] == {"XXX", "X-XXX"}
    assert fired["missing"] == fired["ignore"] == {"XXX", "X-XXX"}
