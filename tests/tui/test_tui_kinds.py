"""Gauges, distributions and slow signals on the Deployment screen: a word in the table, and words below the plot."""

from __future__ import annotations

import dataclasses

import tui_evidence_samples as samples

from rollback_console.model.rules import BaselineKind, Breach, SignalKind, SignalRule, Worse
from rollback_console.model.snapshot import DeploymentView
from rollback_console.model.verdict import SignalVerdict
from rollback_console.tui.widgets.fleet_rows import lead, worst_first
from rollback_console.tui.widgets.signals import facts_of, judgement, plot_section, signal_lines

AT = samples.AT
GAUGE = SignalRule(
    "depth", "Queue depth", "technical", Worse.HIGHER, Breach(), 60.0, value="d", kind=SignalKind.GAUGE,
    baseline=samples.SEASONAL, evidence=samples.SIGNALS[0].evidence,
)  # fmt: skip
SCORE = SignalRule(
    "score", "Score", "inputs", Worse.HIGHER, Breach(), 3_600.0, kind=SignalKind.DISTRIBUTION, buckets="b",
    baseline=dataclasses.replace(samples.SEASONAL, kind=BaselineKind.LAST_WEEK),
)  # fmt: skip
CHURN = dataclasses.replace(
    SCORE, name="churn", title="Churn", kind=SignalKind.SLOW, maturity_s=259_200.0, buckets=None
)
DRIFT = "large drift (stability index 0.84): the bucket up to 0.2 held 20 % and holds 50 %"
MATURE = "as of 20 Nov 2025, mature: 7.5 % vs 5.0 %, +50.0 % [+41.2, +58.8]"
JUDGED = (
    SignalVerdict("score", 0.84, None, 0.1, None, None, True, None, 400.0, DRIFT, onset=AT - 7_200, aside=True),
    SignalVerdict("churn", 0.075, 0.05, None, 0.025, 50.0, True, None, 9_000.0, MATURE, aside=True),
    SignalVerdict("depth", 49.2, 33.0, 44.8, 16.2, 49.1, True, None, None, "", 14.3, 11.8, AT - 1_800, None,
                  (0.72, 0.6, 0.85, 0.03)),
)  # fmt: skip


def view() -> DeploymentView:
    seen = samples.view()
    assert seen.verdict is not None
    rule = dataclasses.replace(seen.rule, signals=(SCORE, CHURN, GAUGE))
    return dataclasses.replace(seen, rule=rule, verdict=dataclasses.replace(seen.verdict, signals=JUDGED), traces=())


def below(number: int) -> str:
    return " ".join(" ".join(str(row) for row in plot_section(view(), None, None, number, (100, 20))).split())


def test_each_has_a_word_of_its_own_in_the_table() -> None:
    score, churn, depth = facts_of(view())
    assert judgement(score) == ("◔ drifted", "warn")
    assert judgement(churn) == ("◔ worse", "warn")
    assert judgement(depth) == ("✗ full", "bad")
    calm = dataclasses.replace(JUDGED[0], breached=False)
    assert judgement(dataclasses.replace(score, verdict=calm)) == ("● as usual", "ok")
    rows = "\n".join(str(row) for row in signal_lines(view(), 0, 120))
    assert "49.2" in rows
    assert "44.8" in rows


def test_below_the_plot_stand_the_words() -> None:
    assert f"{DRIFT} since" in below(0)
    assert "it explains, and never triggers" in below(0)
    assert MATURE in below(1)
    assert "it is shown, and never triggers" in below(1)
    assert "normal to 44.8 · beyond that in 72 % [60, 85], usually 3 %" in below(2)


def test_what_stands_aside_leads_no_row() -> None:
    found = lead(view())
    assert found is not None
    assert found.name == "depth"
    assert [signal.name for signal in worst_first(view())] == ["depth"]
