"""The alarm budget: shares sum to the whole however many there are, and what a share can detect is what it detects."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollback_console.decide.baselines import margin_of
from rollback_console.decide.budget import (
    TIER_WEIGHTS,
    WEEK_S,
    Claim,
    budgeted,
    caution,
    claims_of,
    share_in_words,
    shares,
)
from rollback_console.decide.detectability import Detectable, delay_of, detectability, in_words
from rollback_console.decide.evidence import EMPTY, advance, bar
from rollback_console.model.identity import Deployment, DeploymentId
from rollback_console.model.observation import Norm
from rollback_console.model.rules import Breach, DeploymentRule, EvidenceRule, Or, SignalRule, TriggerRule, Uses, Worse

PLAIN = Norm(0.005, ())


def claim(number: int, tier: str = "normal", trials: float | None = 500.0, slices: int = 1) -> Claim:
    return Claim(DeploymentId("production", f"d{number}"), "conversion", tier, trials, slices)


claim_lists = st.lists(
    st.tuples(st.sampled_from([*TIER_WEIGHTS, "?"]), st.none() | st.floats(0.0, 1e7), st.integers(1, 20)),
    min_size=1,
    max_size=30,
).map(lambda rows: [claim(k, *row) for k, row in enumerate(rows)])
budgets = st.floats(0.01, 100.0)


@settings(max_examples=60, deadline=None)
@given(budgets, claim_lists)
def test_the_shares_of_a_rotation_sum_to_its_budget_slices_and_all(per_week: float, claims: list[Claim]) -> None:
    given_out = shares(per_week, claims)
    rates = [WEEK_S / share.budget_s * each.slices for share, each in zip(given_out, claims, strict=True)]
    assert math.fsum(rates) == pytest.approx(per_week, rel=1e-9)
    assert math.fsum(share.fraction for share in given_out) == pytest.approx(1.0, rel=1e-9)
    assert [(s.deployment, s.signal) for s in given_out] == [(c.deployment, c.signal) for c in claims]


@settings(max_examples=60, deadline=None)
@given(budgets, claim_lists, st.integers(1, 1000))
def test_more_deployments_raise_every_bar_and_add_no_pages(per_week: float, claims: list[Claim], more: int) -> None:
    before = shares(per_week, claims)
    after = shares(per_week, [*claims, *(claim(1000 + k) for k in range(more))])
    assert all(new.budget_s > old.budget_s for old, new in zip(before, after, strict=False))
    assert math.fsum(share.per_week for share in after) == pytest.approx(per_week, rel=1e-9)


@settings(max_examples=40, deadline=None)
@given(budgets, claim_lists, st.randoms(use_true_random=False))
def test_the_order_of_claims_changes_no_share(per_week: float, claims: list[Claim], draw: object) -> None:
    mixed = list(claims)
    draw.shuffle(mixed)  # type: ignore[attr-defined]  # hypothesis types it as an object
    one = {share.deployment: share.budget_s for share in shares(per_week, claims)}
    two = {share.deployment: share.budget_s for share in shares(per_week, mixed)}
    assert one == pytest.approx(two, rel=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.floats(0.0, 1e6), st.floats(0.0, 1e6))
def test_higher_tiers_and_more_traffic_get_no_less(one: float, two: float) -> None:
    low, high = sorted((one, two))
    tiers = shares(1.0, [claim(k, tier) for k, tier in enumerate(("critical", "high", "normal", "low"))])
    assert [share.fraction for share in tiers] == sorted((share.fraction for share in tiers), reverse=True)
    quiet, busy = shares(1.0, [claim(0, trials=low), claim(1, trials=high)])
    assert quiet.fraction <= busy.fraction <= 10 * quiet.fraction


def test_slices_share_what_their_signal_was_given() -> None:
    whole, cut = (shares(2.0, [claim(0), claim(1, slices=slices)])[1] for slices in (1, 12))
    assert cut.per_week == whole.per_week
    assert cut.budget_s == pytest.approx(12 * whole.budget_s)


def test_what_is_no_budget_is_refused() -> None:
    for per_week in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="above 0"):
            shares(per_week, [claim(0)])
    with pytest.raises(ValueError, match="twice"):
        shares(1.0, [claim(0), claim(0)])
    with pytest.raises(ValueError, match="slice"):
        shares(1.0, [claim(0, slices=0)])
    assert shares(1.0, []) == ()


def rule(number: int, tier: str) -> DeploymentRule:
    ratio = SignalRule("conversion", "Conversion", "business", Worse.LOWER, Breach(), 60.0, x="x", n="n")
    signals = (
        replace(ratio, evidence=EvidenceRule(dwell_s=240.0)),
        replace(ratio, name="refunds", evidence=EvidenceRule()),
        SignalRule("errors", "Errors", "technical", Worse.HIGHER, Breach(above=0.02), 60.0, value="errors"),
    )
    facts = Deployment(DeploymentId("production", f"d{number}"), tier, "m", "champion", ())
    return DeploymentRule(
        facts, signals, TriggerRule(Or((Uses("conversion"), Uses("refunds"))), "either"), (), "p", 1, "0" * 64
    )


def test_a_rotations_rules_get_their_budgets_and_keep_everything_else() -> None:
    rules = [rule(0, "critical"), rule(1, "low")]
    assert [(c.deployment.name, c.signal, c.tier) for c in claims_of(rules)] == [
        ("d0", "conversion", "critical"), ("d0", "refunds", "critical"),
        ("d1", "conversion", "low"), ("d1", "refunds", "low"),
    ]  # fmt: skip
    done = budgeted(rules, 1.0, {(rules[0].deployment.id, "conversion"): 3000.0})
    rates = [WEEK_S / s.evidence.budget_s for each in done for s in each.signals if s.evidence is not None]
    assert math.fsum(rates) == pytest.approx(1.0)
    assert rates[0] == pytest.approx(4 * rates[1])
    assert rates[1] == pytest.approx(8 * rates[2])
    assert done[0].signals[2] == rules[0].signals[2], "a plain bound has no budget"
    assert done[0].signals[0].evidence is not None
    assert done[0].signals[0].evidence.dwell_s == 240.0
    (share, *_) = shares(1.0, claims_of(rules))
    assert share_in_words(share) == "0.44 false alarms a week: one in 2 weeks"


def test_slices_of_a_signal_are_one_claim_and_what_no_trigger_uses_is_none() -> None:
    plain = rule(0, "high")
    conversion, refunds, errors = plain.signals
    parts = tuple(replace(conversion, name=f"conversion_{c}", slice_of="conversion") for c in ("DE", "FR"))
    when = Or(tuple(Uses(each) for each in ("conversion", "conversion_DE", "conversion_FR")))
    cut = replace(plain, signals=(conversion, *parts, refunds, errors), trigger=replace(plain.trigger, when=when))
    assert [(c.signal, c.slices) for c in claims_of([cut])] == [("conversion", 3)]
    (done,) = budgeted([cut], 1.0)
    assert [s.evidence.budget_s / WEEK_S for s in done.signals[:3] if s.evidence is not None] == pytest.approx(
        [3.0] * 3
    )
    assert done.signals[3] == refunds, "what no trigger uses pages nobody"


def test_a_share_says_what_it_can_detect_in_the_words_of_the_design() -> None:
    found = detectability(EvidenceRule(), Worse.LOWER, 0.03, 2000.0, Norm(0.01, (1.1,)))
    assert [round(each.size, 2) for each in found] == [-0.3, -0.1, -0.05, -0.03]
    assert in_words(found) == "-30 % in 8m, -10 % in 48m, -5 % in 3h45m, -3 % not within a day"
    assert in_words(detectability(EvidenceRule(), Worse.HIGHER, 0.003, 3000.0, PLAIN)).startswith("+200 % in 7m, ")
    assert in_words([Detectable(-0.1, None)], 3600.0) == "-10 % not within 1h"
    with pytest.raises(ValueError, match="rate"):
        detectability(EvidenceRule(), Worse.LOWER, 0.0, 100.0, PLAIN)
    assert delay_of(EvidenceRule(), Worse.LOWER, 0.03, 0.0, PLAIN, -0.3) == math.inf
    assert delay_of(EvidenceRule(), Worse.LOWER, 0.03, 2000.0, PLAIN, 0.0) == math.inf, "what is well is never full"


@settings(max_examples=60, deadline=None)
@given(st.floats(0.005, 0.9), st.floats(20.0, 1e5), st.floats(0.06, 0.9), st.floats(0.0, 0.04), st.floats(1.0, 20.0))
def test_delays_shrink_with_size_traffic_and_budget_and_never_below_the_dwell(
    p: float, n: float, drop: float, margin: float, phi: float
) -> None:
    rule, norm = EvidenceRule(), Norm(margin, (phi,))

    def delay(rule: EvidenceRule, n: float, drop: float, norm: Norm) -> float:
        return delay_of(rule, Worse.LOWER, p, n, norm, -drop)

    base = delay(rule, n, drop, norm)
    assert base >= rule.dwell_s
    assert delay(rule, 2 * n, drop, norm) <= base + 60.0
    assert delay(rule, n, min(0.95, drop + 0.05), norm) <= base + 60.0
    assert delay(replace(rule, budget_s=rule.budget_s * 10), n, drop, norm) >= base - 60.0
    assert delay(rule, n, drop, Norm(margin, (2 * phi,))) >= base - 60.0
    assert delay(replace(rule, maturity_s=300.0), n, drop, norm) == pytest.approx(base + 300.0)


@pytest.mark.parametrize(
    ("worse", "p", "n", "change"),
    [
        (Worse.LOWER, 0.03, 2000, -0.6), (Worse.LOWER, 0.03, 2000, -0.3), (Worse.LOWER, 0.03, 2000, -0.1),
        (Worse.LOWER, 0.03, 200, -0.3), (Worse.LOWER, 0.4, 300, -0.1), (Worse.HIGHER, 0.003, 3000, 2.0),
        (Worse.HIGHER, 0.003, 3000, 0.5),
    ],
)  # fmt: skip
def test_the_delay_that_is_said_is_the_delay_that_comes(worse: Worse, p: float, n: int, change: float) -> None:
    rule, draw, found = (
        EvidenceRule(budget_s=shares(1.0, [claim(0), claim(1)])[0].budget_s),
        np.random.default_rng(4),
        [],
    )
    said = delay_of(rule, worse, p, n, PLAIN, change) / 60.0
    for _ in range(60):
        memory, minute = EMPTY, 0
        while minute < 180 + 3 * said + 20 and (minute < 180 or memory.full_since is None):
            minute += 1
            trials = int(draw.poisson(n))
            events = int(draw.binomial(trials, p * (1 + change * (minute > 180))))
            memory = advance(rule, worse, memory, 60.0 * minute, events, trials, p, PLAIN)
        found.append(minute - 180)
    assert bar(rule) > 9
    assert statistics.median(found) == pytest.approx(said, rel=0.25, abs=1.0)


def test_margins_widen_with_the_budget_and_are_as_they_were_at_the_usual_one() -> None:
    day = 86_400.0
    assert [caution(days * day) for days in (0.1, 7, 90)] == [1.0, 1.0, 1.0]
    assert caution(900 * day) == pytest.approx(3.059 / 2.287, abs=0.001)  # normal quantiles of 1 in 900, 1 in 90
    grown = [caution(10.0**k * day) for k in range(2, 20)]
    assert grown == sorted(grown)
    assert grown[-1] < 4.0
    narrow, wide = (margin_of(EvidenceRule(budget_s=b * day), 0.008, 0.005, Worse.LOWER) for b in (90, 10_000))
    assert narrow == pytest.approx(0.02)
    assert wide == pytest.approx(0.02 * caution(10_000 * day))
    own = EvidenceRule(budget_s=10_000 * day, margin=0.03)
    assert margin_of(own, 0.008, 0.0, Worse.LOWER) == 0.03, "what a policy names stays"
