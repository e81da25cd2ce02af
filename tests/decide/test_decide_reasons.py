"""Why, and why not: what the reason tree says of a verdict, and that what would have to change is what would do it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from decide_strategies import NAMES, expressions, knowns
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from rollback_console.decide.change import why_not
from rollback_console.decide.condition import Support, evaluate
from rollback_console.decide.explain import LONGEST, percent_words, sentence, signal_words
from rollback_console.decide.judge import FRESH, decide
from rollback_console.decide.reasons import LONGEST as LONGEST_REASON
from rollback_console.decide.reasons import document, tree, why
from rollback_console.decide.turns import Turn, turns
from rollback_console.model.countdown import eta, eta_words
from rollback_console.model.identity import Deployment, DeploymentId
from rollback_console.model.observation import Blind, Observation, Reading
from rollback_console.model.rules import (
    And,
    AtLeast,
    Baseline,
    BaselineKind,
    BlindPolicy,
    BlindPolicyKind,
    Breach,
    DeploymentRule,
    EvidenceRule,
    Expression,
    ImpactRule,
    Or,
    SignalRule,
    Tiered,
    TriggerRule,
    Uses,
    Weighted,
    Worse,
)
from rollback_console.model.text import about
from rollback_console.model.verdict import (
    Reason,
    SignalVerdict,
    TriggerMemory,
    TriggerState,
    Verdict,
)

NAME = DeploymentId("production", "ranker")
AT = 1_763_640_000.0  # 12:00 UTC
ERRORS = SignalRule(
    "errors", "Errors", "technical", Worse.HIGHER, Breach(above=0.02), 60.0, value="e", unit="%",
)  # fmt: skip
LATENCY = SignalRule("latency", "p95 latency", "technical", Worse.HIGHER, Breach(above=0.4), 60.0, value="l", unit="s")
CONVERSION = SignalRule(
    "conversion", "Conversion", "business", Worse.LOWER, Breach(degraded_by=0.05), 60.0, x="x", n="n", unit="%",
    baseline=Baseline(BaselineKind.LAST_WEEK), minimum=200.0,
)  # fmt: skip
WEIGHED = replace(CONVERSION, evidence=EvidenceRule(), baseline=Baseline(BaselineKind.SEASONAL))


def rule_of(
    *signals: SignalRule, when: Expression | None = None, dwell: float = 300.0, hold: float = 600.0
) -> DeploymentRule:
    return DeploymentRule(
        Deployment(NAME, "high", "m", "champion", ()), signals,
        TriggerRule(when or Uses(signals[0].name), "as written", dwell, hold), (), "ranking", 1, "0" * 64,
        impact=ImpactRule(revenue_per_minute="r", users_per_minute="u"),
    )  # fmt: skip


def judged(rule: DeploymentRule, *rows: tuple[Reading, ...], step: float = 60.0) -> Verdict:
    memory, verdict = FRESH, None
    for number, row in enumerate(rows):
        seen = Observation(NAME, AT + step * number, row, "8", 4_000.0, 2_100.0)
        verdict, memory = decide(rule, seen, memory)
    assert verdict is not None
    return verdict


def by_evidence(**more: Any) -> SignalVerdict:
    facts: dict[str, Any] = {
        "name": "conversion", "value": 0.0271, "baseline": 0.0301, "limit": 0.0295, "degradation": 0.003,
        "degradation_pct": 10.0, "breached": False, "blind": None, "n": 2000.0, "evidence": 7.1, "bar": 11.77,
        "onset": AT + 7_320.0, "interval": (7.0, 13.0),
    }  # fmt: skip
    return SignalVerdict(**(facts | more))


def plain_verdict(name: str, value: float, limit: float, *, breached: bool) -> SignalVerdict:
    return SignalVerdict(name, value, None, limit, None, None, breached, None)


def verdict_of(rule: DeploymentRule, state: TriggerState, *signals: SignalVerdict, **more: Any) -> Verdict:
    memory = TriggerMemory(at=AT + 9_000.0, active_since=AT, fired_at=AT if state is TriggerState.FIRED else None)
    condition = more.pop("condition", state in (TriggerState.PENDING, TriggerState.FIRED))
    said = sentence(rule, state, memory, condition, signals, ())
    facts: dict[str, Any] = {"dwell_remaining_s": None, "hold_remaining_s": None, "eta_s": None} | more
    return Verdict(
        NAME, AT + 9_000.0, "8", state, AT, condition, (), False, facts["dwell_remaining_s"], facts["hold_remaining_s"],
        None, False, False, signals, said, eta_s=facts["eta_s"],
    )  # fmt: skip


# ── signals judged by evidence, in words


def test_evidence_is_said_as_people_read_it() -> None:
    assert signal_words(WEIGHED, by_evidence()) == (
        "conversion 2.71 % vs 3.01 % -10 % [-7, -13] since 14:02 UTC, evidence 7.1 of 11.8"
    )
    calm = by_evidence(value=0.0295, degradation_pct=2.0, onset=None, interval=None, evidence=-0.4)
    assert signal_words(WEIGHED, calm) == "conversion 2.95 % vs 3.01 % -2.0 %, within normal, evidence 0.0 of 11.8"
    yesterday = by_evidence(onset=AT - 80_000.0)
    assert "since 19 Nov 13:46 UTC" in signal_words(WEIGHED, yesterday, AT)
    small = by_evidence(degradation_pct=4.0, interval=(2.5, 5.5))
    assert "-4.0 % [-2.5, -5.5]" in signal_words(WEIGHED, small)


def test_who_agrees_stands_in_the_sentence_and_who_stands_alone_is_told_so() -> None:
    rule = rule_of(WEIGHED, ERRORS, when=Tiered((Uses("conversion"), Uses("errors"))))
    full = by_evidence(evidence=12.4, breached=True)
    alone = verdict_of(rule, TriggerState.PENDING, full, plain_verdict("errors", 0.004, 0.02, breached=False))
    assert "nothing else agrees (lost tracking looks like this), so it must hold for 30m; fires" in alone.sentence
    other = replace(WEIGHED, name="orders", title="Orders")
    two = rule_of(WEIGHED, other, when=Tiered((Uses("conversion"), Uses("orders"))))
    agreeing = verdict_of(two, TriggerState.FIRED, full, by_evidence(name="orders", evidence=9.4))
    assert agreeing.sentence.endswith("evidence 12.4 of 11.8, orders agree (-10 %, evidence 9.4)")
    assert "held for" not in agreeing.sentence  # its dwell is in the evidence


@pytest.mark.parametrize(("percent", "said"), [(-8.44, "-8.4 %"), (-10.2, "-10 %"), (375.0, "+375 %"), (0.01, "0 %")])
def test_changes_are_signed_as_the_number_moved(percent: float, said: str) -> None:
    assert percent_words(percent) == said


# ── why not


def test_calm_it_says_what_would_fire() -> None:
    rule = rule_of(
        CONVERSION, ERRORS, LATENCY,
        when=And((Uses("conversion"), AtLeast(1, (Uses("errors"), Uses("latency"))))),
    )  # fmt: skip
    row = (Reading(0.0297, 0.03, 2000.0), Reading(0.03), Reading(0.2))
    assert why_not(rule, judged(rule, row)) == ("fires if conversion falls below 2.85 % (now 2.97 %), for 5m",)
    calm = judged(rule, (Reading(0.0297, 0.03, 2000.0), Reading(0.01), Reading(0.2)))
    assert why_not(rule, calm) == (
        "fires if conversion falls below 2.85 % (now 2.97 %) and errors pass 2 % (now 1 %), for 5m",
        "fires if conversion falls below 2.85 % (now 2.97 %) and p95 latency passes 0.4 s (now 0.2 s), for 5m",
    )
    assert calm.sentence == "all 3 signals are inside their margins; nearest: errors 1 %, limit 2 %"


def test_pending_it_counts_the_rest_of_the_dwell_and_says_what_would_stop_it() -> None:
    rule = rule_of(ERRORS)
    verdict = judged(rule, (Reading(0.01),), (Reading(0.03),), (Reading(0.03),), (Reading(0.03),))
    assert why_not(rule, verdict) == (
        "fires if errors stay above 2 % (now 3 %) for 3m more",
        "does not fire if errors come down to 2 % (now 3 %)",
    )
    assert eta_words(verdict) == "fires in 3:00"


def test_pending_by_evidence_the_time_left_is_an_estimate_and_reads_so() -> None:
    rule = rule_of(WEIGHED)
    verdict = verdict_of(rule, TriggerState.PENDING, by_evidence(), eta_s=372.0)
    assert eta_words(verdict) == "≈ 6 m if it stays"
    assert why_not(rule, verdict) == (
        "fires if evidence on conversion reaches 11.8 (now 7.1)",
        "≈ 6 m until it fires, if it stays as it is",
        "does not fire if conversion comes back above 2.95 % (now 2.71 %), and evidence is below half of its bar "
        "for 10m",
    )


def test_fired_it_says_what_would_clear() -> None:
    rule = rule_of(CONVERSION, ERRORS, when=Or((Uses("conversion"), Uses("errors"))), dwell=0.0)
    verdict = judged(rule, (Reading(0.027, 0.03, 2000.0), Reading(0.03)))
    assert verdict.state is TriggerState.FIRED
    assert why_not(rule, verdict) == (
        "clears if conversion comes up to 2.85 % (now 2.7 %) and errors come down to 2 % (now 3 %), for 10m",
    )
    assert why(rule, verdict)[:3] == (
        "conversion 2.7 % is 10.0 % below last week's 3 % (margin 5 %)",
        "errors 3 % is above 2 %",
        "the trigger: 2 of 2 hold, 1 needed",
    )


def test_too_few_and_blind_signals_have_to_be_seen_first() -> None:
    rule = rule_of(CONVERSION)
    few = judged(rule, (Reading(0.02, 0.03, 12.0),))
    assert why_not(rule, few)[-1] == (
        "fires if conversion has at least 200 trials and falls below 2.85 % (now 2 %), for 5m"
    )
    blind = judged(rule_of(ERRORS), (Reading(blind=Blind.NO_DATA),))
    assert why_not(rule_of(ERRORS), blind) == (
        "can tell again once errors can be judged",
        "fires as blind if errors stay unseen for 5m more",
        "fires if errors are seen again and pass 2 %, for 5m",
    )


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(5, "≈ 1 m"), (372, "≈ 6 m"), (2_500, "≈ 40 m"), (10_000, "≈ 3 h"), (1e6, "≈ 2 days or more")],
)
def test_an_estimate_is_no_finer_than_it_is(seconds: float, said: str) -> None:
    assert about(seconds) == said


def test_nothing_is_on_its_way_where_the_clock_stands_still() -> None:
    rule = rule_of(ERRORS)
    frozen = judged(rule, (Reading(0.03),), (Reading(blind=Blind.QUERY_FAILED),))
    assert frozen.state is TriggerState.PENDING
    assert eta(frozen) is None


# ── the tree


def _all(reason: Reason) -> list[Reason]:
    return [reason, *(found for below in reason.because for found in _all(below))]


def test_the_tree_holds_the_numbers_and_is_plain_json() -> None:
    rule = rule_of(CONVERSION, ERRORS, when=Or((Uses("conversion"), Uses("errors"))), dwell=60.0)
    verdict = judged(rule, (Reading(0.027, 0.03, 2000.0), Reading(0.03)))
    found = {(each.kind, each.name): each for each in _all(tree(rule, verdict))}
    signal = found["signal", "conversion"]
    assert next(value for name, value, _ in signal.numbers if name == "limit") == pytest.approx(0.0285)
    assert signal.holds is True
    assert found["dwell", "dwell"].numbers[0] == ("remaining_s", 60.0, "s")
    assert found["impact", "impact"].numbers[0][1] == verdict.impact.score
    assert "60 x log10(1 + 444.444) / log10(1 + 10,000) = 39.7" in found["cost", "revenue"].text
    assert json.loads(json.dumps(document(tree(rule, verdict)), allow_nan=False))["name"] == "pending"


def test_a_weight_and_the_tiered_rule_say_how_far_they_are() -> None:
    weighted = rule_of(ERRORS, LATENCY, when=Weighted(((Uses("errors"), 2.0), (Uses("latency"), 1.0)), 3.0))
    verdict = verdict_of(
        weighted, TriggerState.HEALTHY, plain_verdict("errors", 0.03, 0.02, breached=True),
        plain_verdict("latency", 0.2, 0.4, breached=False), condition=False,
    )  # fmt: skip
    assert tree(weighted, verdict).because[0].text == "weight 2 of 3"
    assert why_not(weighted, verdict) == ("fires if p95 latency passes 0.4 s (now 0.2 s), for 5m",)
    tiered = rule_of(WEIGHED, ERRORS, when=Tiered((Uses("conversion"), Uses("errors"))))
    full = by_evidence(evidence=12.4, breached=True)
    pending = verdict_of(tiered, TriggerState.PENDING, full, plain_verdict("errors", 0.004, 0.02, breached=False))
    assert why_not(tiered, pending)[:2] == (
        "fires if errors pass 2 % (now 0.4 %)",
        "fires if conversion keeps its evidence full for 30m with nothing else agreeing",
    )


# ── what would have to change is what would do it

_more = st.one_of(
    expressions,
    st.lists(st.tuples(expressions, st.sampled_from([0.5, 1.0, 2.0])), min_size=1, max_size=4).flatmap(
        lambda items: st.sampled_from([0.5, 1.0, 2.5]).map(lambda bar: Weighted(tuple(items), bar))
    ),
)


def _turned(known: dict[str, bool | None], way: tuple[Turn, ...]) -> dict[str, bool | None]:
    return known | {turn.signal: turn.to != "calm" for turn in way}


@given(_more, knowns, st.booleans())
def test_every_way_turns_the_condition(expression: Expression, known: dict[str, bool | None], want: bool) -> None:
    ways = turns(expression, want, known, {})
    if evaluate(expression, known) is want:
        assert ways == ((),)
    for way in ways:
        assert evaluate(expression, _turned(known, way)) is want


@given(st.permutations(NAMES), knowns, st.booleans())
def test_a_plain_trigger_always_has_a_way(names: list[str], known: dict[str, bool | None], want: bool) -> None:
    expression = And((Uses(names[0]), AtLeast(1, (Uses(names[1]), Uses(names[2])))))
    smallest = min(map(len, turns(expression, want, known, {})))
    if want:
        assert smallest == (known[names[0]] is not True) + (True not in (known[names[1]], known[names[2]]))
    else:
        others = sum(known[name] is not False for name in names[1:3])
        assert smallest == min(int(known[names[0]] is not False), others)


@given(st.lists(st.sampled_from(NAMES), min_size=1, unique=True), knowns, st.data())
def test_the_tiered_rule_is_turned_by_each_of_its_ways(
    names: list[str], known: dict[str, bool | None], data: st.DataObject
) -> None:
    expression = Tiered(tuple(map(Uses, names)))
    alone = data.draw(st.fixed_dictionaries(dict.fromkeys(NAMES, st.booleans())))
    support = {name: Support(known[name], known[name], alone[name]) for name in NAMES}
    for want in (True, False):
        for way in turns(expression, want, known, support):
            now = _turned(known, way)
            standing = {turn.signal for turn in way if turn.to == "alone"}
            then = {name: Support(now[name], now[name], alone[name] or name in standing) for name in NAMES}
            assert evaluate(expression, now, then) is want


# ── thousands of sentences

titles = st.sampled_from(["Conversion", "p95 latency", "Errors", "CTR", "[bold]Orders[/bold] of all the shops"])
units = st.sampled_from(["%", "s", "", "USD"])
values = st.floats(0.0, 1e6, allow_subnormal=False) | st.sampled_from([0.0, 0.0271, 2.0, 1e-9, 1e300])


@st.composite
def signal_rules(draw: st.DrawFn) -> SignalRule:
    number = draw(st.integers(0, 3))
    worse = draw(st.sampled_from(Worse))
    bound = draw(st.floats(0.01, 100.0))
    breach = draw(st.sampled_from([Breach(above=bound), Breach(below=bound), Breach(degraded_by=0.05)]))
    kind = draw(st.sampled_from(BaselineKind))
    return SignalRule(
        f"s{number}", draw(titles), draw(st.sampled_from(["business", "technical"])), worse, breach, 60.0, value="q",
        baseline=Baseline(kind, 3.0) if breach.degraded_by else None, minimum=draw(st.sampled_from([None, 200.0])),
        unit=draw(units), blind=BlindPolicy(draw(st.sampled_from(BlindPolicyKind)), 60.0),
    )  # fmt: skip


@st.composite
def streams(draw: st.DrawFn) -> tuple[DeploymentRule, list[tuple[Reading, ...]]]:
    signals = draw(st.lists(signal_rules(), min_size=1, max_size=4, unique_by=lambda rule: rule.name))
    uses = tuple(Uses(signal.name) for signal in signals)
    ways: list[Expression] = [Or(uses), And(uses), AtLeast(1, uses), Tiered(uses), Weighted(((uses[0], 1.0),), 1.0)]
    when = draw(st.integers(0, len(ways) - 1))
    reading = st.one_of(
        st.builds(Reading, values, values, st.sampled_from([None, 12.0, 2000.0])),
        st.sampled_from([Reading(blind=kind) for kind in Blind]),
    )
    rows = draw(st.lists(st.tuples(*[reading] * len(signals)), min_size=1, max_size=6))
    return rule_of(*signals, when=ways[when], dwell=draw(st.sampled_from([0.0, 60.0, 180.0])), hold=60.0), rows


_SIDE = re.compile(r"(?P<value>\S+)(?: \S+)? is (?P<side>above|below|not above|not below) ")


@settings(max_examples=250)
@given(streams())
def test_sentences_are_short_hold_their_number_and_name_the_side(
    stream: tuple[DeploymentRule, list[tuple[Reading, ...]]],
) -> None:
    rule, rows = stream
    memory = FRESH
    for number, row in enumerate(rows):
        seen = Observation(NAME, AT + 60.0 * number, row, "8", 4_000.0, 2_100.0)
        verdict, memory = decide(rule, seen, memory)
        said = verdict.sentence
        assert 0 < len(said) <= LONGEST, said
        assert said.isprintable()
        assert "\n" not in said
        seen_any = any(each.value is not None for each in verdict.signals)
        unseen = any(f": {kind}" in said for kind in Blind)  # then it is no number that decided
        assert re.search(r"\d", said) or unseen or not seen_any, said
        for each in (*why(rule, verdict), *why_not(rule, verdict)):
            assert 0 < len(each) <= LONGEST_REASON
            assert each.isprintable()
        for signal, found in zip(rule.signals, verdict.signals, strict=True):
            words = signal_words(signal, found)
            if found.breached is None:
                continue
            above, below = signal.breach.above, signal.breach.below
            assert (" is above " in words) is (above is not None and found.breached) or signal.breach.degraded_by
            assert (" is below " in words) is (below is not None and found.breached) or signal.breach.degraded_by
            if signal.breach.degraded_by and found.breached and found.degradation_pct and found.degradation_pct > 0.1:
                assert (" % below " if signal.worse is Worse.LOWER else " % above ") in words
        json.dumps(document(tree(rule, verdict)), allow_nan=False)


@example(11.75, 2.0, 1.0, 0.5, False, Worse.LOWER)  # it reads as its bar only when that is reached
@given(
    st.floats(0.0, 15.0), st.floats(0.5, 60.0), st.floats(0.1, 10.0), st.floats(0.001, 0.9), st.booleans(),
    st.sampled_from(Worse),
)  # fmt: skip
def test_sentences_of_evidence_hold_both_its_numbers_and_the_direction(
    evidence: float, percent: float, reach: float, base: float, breached: bool, worse: Worse
) -> None:
    assume(reach < percent)
    signal = replace(WEIGHED, worse=worse)
    found = by_evidence(
        evidence=evidence, breached=breached, degradation_pct=percent, baseline=base,
        interval=(percent - reach, percent + reach), value=base * (1 - percent / 100),
    )  # fmt: skip
    words = signal_words(signal, found)
    full = evidence >= (found.bar or 0.0)
    assert f"evidence {11.7 if not full and f'{evidence:.1f}' == '11.8' else evidence:.1f} of 11.8" in words
    low, high = re.findall(r"\[(\S+), (\S+)\]", words)[0]
    sign = "-" if worse is Worse.LOWER else "+"
    assert all(end.startswith(sign) or end == "0" for end in (low, high))
    assert len(words) <= 140
