"""The sentences of simulated days, thousands of them, held to what a reader relies on."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from quality.sentences import Said, day, lines, varied
from rollback_console.decide.change import why_not
from rollback_console.decide.explain import LONGEST
from rollback_console.decide.reasons import why
from rollback_console.model.observation import Blind
from rollback_console.model.text import number
from rollback_console.model.verdict import TriggerState

CLOCK = re.compile(r"\d\d?:\d\d")


@pytest.fixture(scope="module")
def said() -> list[Said]:
    return day(1)


def test_a_day_has_every_state_and_every_kind_of_sentence(said: list[Said]) -> None:
    states = Counter(each.verdict.state for each in said)
    assert set(states) == set(TriggerState)
    assert states[TriggerState.HEALTHY] > 0.7 * len(said)
    assert len({each.shape for each in said}) >= 40


def test_every_sentence_is_short_names_no_clock_but_the_onset_and_holds_a_number(said: list[Said]) -> None:
    for each in said:
        sentence = each.verdict.sentence
        assert len(sentence) <= LONGEST
        assert sentence.isprintable()
        assert len(CLOCK.findall(sentence)) == len(re.findall(r"since (?:\d+ \w+ )?\d\d:\d\d UTC", sentence)), sentence
        unseen = any(f": {kind}" in sentence for kind in Blind)
        assert unseen or re.search(r"\d", sentence), sentence


def test_what_is_said_of_a_signal_is_what_was_seen_of_it(said: list[Said]) -> None:
    """Every breached signal that a sentence names stands there with its own value and on its own side."""
    checked = 0
    for each in said[::7]:
        for rule, verdict in zip(each.rule.signals, each.verdict.signals, strict=True):
            if not verdict.breached or verdict.limit is None or each.verdict.state is TriggerState.CLEARING:
                continue
            title = rule.title[:1].lower() + rule.title[1:]
            found = re.search(re.escape(f"{title} {number(verdict.value, rule.unit)} "), each.verdict.sentence)
            if found is None:
                assert (
                    " more" in each.verdict.sentence or "agree" in each.verdict.sentence or "(" in each.verdict.sentence
                )
                continue
            after = each.verdict.sentence[found.end() :]
            if rule.breach.above is not None:
                assert after.startswith("is above ")
            elif rule.evidence is None:
                assert re.match(r"is [\d.,]+ % (below|above) ", after)
                assert (" % below " in after[:20]) is (rule.worse == "lower")
            checked += 1
    assert checked > 20


def test_what_would_have_to_change_is_always_told(said: list[Said]) -> None:
    for each in said[::11]:
        told = why_not(each.rule, each.verdict)
        assert told, each.verdict.sentence
        assert all(len(line) <= 240 for line in (*told, *why(each.rule, each.verdict)))
        state, first = each.verdict.state, " ".join(told)
        if state in (TriggerState.HEALTHY, TriggerState.COOLING):
            assert "fires if " in first
        elif state is TriggerState.FIRED and each.verdict.condition is not None:
            assert "clears if " in first or "fires as blind" in first


def test_the_same_seed_says_the_same_and_fifty_are_printed(said: list[Said]) -> None:
    assert [each.verdict for each in day(1, 300)] == [each.verdict for each in said[:3000]]
    printed = [line for line in lines(varied(said, 50, 1)) if re.match(r"[ \d]\d ", line)]
    assert len(printed) == 50
