"""A signal that stands alone: its hold counts on the screen and in `status`, and says what shortened it."""

from __future__ import annotations

import math
from dataclasses import replace

from tui_samples import AT, view

from rollback_console.cli.facts import deployment_facts, lines
from rollback_console.model.rules import EvidenceRule
from rollback_console.model.snapshot import DeploymentView
from rollback_console.model.text import span
from rollback_console.model.verdict import Alone, TriggerState
from rollback_console.tui.widgets.signals import _budget_s
from rollback_console.tui.widgets.state import clock_of
from rollback_console.tui.widgets.trigger import trigger_lines

SHORT = Alone("conversion", AT - 360.0, 360.0, 714.3, 420.0, 5_000.0, "USD")
WORDS = "HOLD 6m of 12m: at 420 USD/min the loss budget of 5,000 USD is reached at 14:08 UTC"


def holding(alone: Alone) -> DeploymentView:
    shown = view("checkout-ranker", TriggerState.PENDING, since=AT - 900.0, breached=(0,))
    assert shown.verdict is not None
    return replace(shown, verdict=replace(shown.verdict, alone=alone, eta_s=alone.length_s - alone.held_s))


def test_the_hold_counts_on_between_evaluations() -> None:
    shown = holding(SHORT)
    assert clock_of(shown, AT, None) == "HOLD 6m of 12m"
    later = replace(SHORT, held_s=700.0)
    assert clock_of(holding(later), AT + 3_600.0, None) == "HOLD 12m of 12m", "never beyond its end"
    assert clock_of(holding(replace(SHORT, held_s=0.0)), AT, None) == "≈ 12 m if it stays", "not begun yet"


def test_the_trigger_says_what_shortened_it() -> None:
    shown = holding(SHORT)
    drawn = "\n".join(row.plain for row in trigger_lines(shown.rule, shown.verdict, None, 110))
    assert f"now    {WORDS}" in drawn
    own = holding(Alone("conversion", AT - 360.0, 360.0, 1_800.0))
    drawn = "\n".join(row.plain for row in trigger_lines(own.rule, own.verdict, None, 110))
    assert "HOLD 6m of 30m: nothing else agrees" in drawn


def test_status_says_it_in_words_and_in_numbers() -> None:
    shown = holding(SHORT)
    assert WORDS in lines([shown], {})[0]
    alone = deployment_facts(shown, None)["alone"]
    assert (alone["signal"], alone["length_s"], alone["loss_per_minute"]) == ("conversion", 714.3, 420.0)
    assert (alone["loss_budget"], alone["unit"], alone["words"]) == (5_000.0, "USD", WORDS)
    pending = view("checkout-ranker", TriggerState.PENDING, since=AT - 60.0, dwell=161.0)
    assert "  fires in 2:41" in lines([pending], {})[0]
    assert deployment_facts(pending, None)["alone"] is None


def test_the_budget_on_the_plot_is_the_share_that_counts() -> None:
    judged, shown = EvidenceRule(), view("checkout-ranker").verdict
    assert shown is not None
    bars = (None, math.log(129_600.0), math.log(1_000.0), 13.0)
    told = [span(_budget_s(judged, replace(shown.signals[0], bar=bar))) for bar in bars]
    assert told == ["90d", "90d", "90d", "307d6h"]
