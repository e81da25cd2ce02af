"""Random alerting rules and series, what `decide` makes of them, and the file in which promtool says if it agrees.

`ALERTS` is asked at every evaluation, so that pending and firing and neither are all asserted. Our side takes the
instant value of a series as Prometheus does (newest point, unless it is a stale marker or older than the look-back);
a signal with `blind: healthy` and a plain `above` bound is then what an alerting rule's expression is.
"""

from __future__ import annotations

import json
import math
import random
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from rollback_console.decide.judge import FRESH, step
from rollback_console.decide.trigger import state_of
from rollback_console.model.identity import Deployment, DeploymentId
from rollback_console.model.observation import Blind, Observation, Reading
from rollback_console.model.rules import (
    BlindPolicy,
    BlindPolicyKind,
    Breach,
    DeploymentRule,
    SignalRule,
    TriggerRule,
    Uses,
    Worse,
)
from rollback_console.model.verdict import TriggerState

LOOKBACK_S = 300.0
ABOVE = 5.0
_FIRING = (TriggerState.FIRED, TriggerState.CLEARING)
Points = list[tuple[float, float | None]]  # None: a stale marker


@dataclass(frozen=True)
class Case:
    """One alerting rule over one series. Seconds."""

    name: str
    hold_s: float
    keep_s: float
    written: str  # the series' values as promtool reads them
    points: Points
    sign: str = ">"

    @property
    def breach(self) -> Breach:
        """Bounds are strict: `>=` and `<=` are beyond the number next to theirs."""
        if self.sign in (">", ">="):
            return Breach(above=ABOVE if self.sign == ">" else math.nextafter(ABOVE, -math.inf))
        return Breach(below=ABOVE if self.sign == "<" else math.nextafter(ABOVE, math.inf))

    def rule(self) -> DeploymentRule:
        name = DeploymentId("test", self.name)
        signal = SignalRule(
            "s", "S", "technical", Worse.HIGHER if ">" in self.sign else Worse.LOWER, self.breach, 60.0, value="s",
            blind=BlindPolicy(BlindPolicyKind.HEALTHY),
        )  # fmt: skip
        trigger = TriggerRule(Uses("s"), "s", dwell_s=self.hold_s, hold_s=self.keep_s)
        return DeploymentRule(Deployment(name, "normal", "m", "a", ()), (signal,), trigger, (), "p", 1, "0" * 64)


def promtool() -> str:
    found = shutil.which("promtool")
    assert found, "promtool is missing: apt install prometheus"
    return found


def lookback_is_open() -> bool:
    """Since Prometheus 3 a point exactly as old as the look-back is no longer seen."""
    words = subprocess.run([promtool(), "--version"], capture_output=True, text=True, check=True)
    found = re.search(r"version (\d+)\.", words.stdout + words.stderr)
    assert found, words
    return int(found[1]) >= 3


def duration(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"


def draw_case(draw: random.Random, name: str, every: float, apart: float, end: float) -> Case:
    """A rule evaluated each `every` seconds up to `end`, over a series with a point each `apart` seconds: with short
    and long gaps, stale markers, numbers that are none; late, ended early, or with no sample at all."""

    def length() -> float:
        kind = draw.randrange(8)
        if kind == 0:
            return 0.0
        whole = draw.randint(1, 6) * every
        return whole if kind < 5 else max(0.0, whole + draw.choice((-1.0, 1.0, 0.001, -0.001, every / 2, -every / 3)))

    words: list[str] = []
    points: Points = []
    while len(words) * apart <= end:
        at = len(words) * apart
        kind = draw.random()
        if kind < 0.15:
            words.extend("_" for _ in range(draw.choice((1, 1, 2, 3, round(LOOKBACK_S / apart) + draw.randint(-2, 2)))))
            continue
        if kind < 0.25:
            words.append("stale")
            points.append((at, None))
            continue
        value = draw.choice((math.nan, ABOVE, ABOVE + 1e-9)) if kind < 0.32 else draw.choice((1.0, 9.0, -2.5, 7.25))
        for _ in range(draw.randint(1, 5)):
            at = len(words) * apart
            words.append("NaN" if math.isnan(value) else repr(value))
            points.append((at, value))
    kind = draw.random()
    kept = range(len(words))
    if kind < 0.04:
        kept = range(0)
    elif kind < 0.14:
        kept = range(draw.randrange(len(words)), len(words))
    elif kind < 0.24:
        kept = range(draw.randrange(len(words)))
    words = [word if index in kept else "_" for index, word in enumerate(words)]
    points = [point for point in points if round(point[0] / apart) in kept]
    return Case(name, length(), length(), " ".join(words), points, draw.choice((">", ">", "<", ">=", "<=")))


def instant(points: Points, at: float, *, open_end: bool) -> Reading:
    """The value of a series at `at`, as an observation of it."""
    seen = [point for point in points if point[0] <= at]
    if not seen or seen[-1][1] is None:
        return Reading(blind=Blind.NO_DATA)
    age, value = at - seen[-1][0], seen[-1][1]
    if age > LOOKBACK_S or (open_end and age == LOOKBACK_S):
        return Reading(blind=Blind.NO_DATA)
    return Reading(blind=Blind.NOT_A_NUMBER) if math.isnan(value) else Reading(value)


def states(case: Case, every: float, end: float, *, open_end: bool) -> list[str]:
    """What `decide` says at each evaluation, in Prometheus' words: "", pending or firing."""
    rule, memory, found = case.rule(), FRESH, []
    for k in range(int(end / every) + 1):
        at = k * every
        observation = Observation(rule.deployment.id, at, (instant(case.points, at, open_end=open_end),))
        memory = step(rule, observation, memory).memory
        state, _ = state_of(memory, cooling=False)
        found.append("firing" if state in _FIRING else "pending" if state is TriggerState.PENDING else "")
    return found


def write_batch(folder: Path, seed: int, rules: int, evaluations: int) -> tuple[Path, int]:
    """One test file of promtool's with `rules` rules, each asserted at every evaluation; and how many assertions."""
    draw = random.Random(seed)
    open_end = lookback_is_open()
    every = draw.choice((10.0, 15.0, 20.0, 30.0, 60.0, 7.0))
    apart = draw.choice((every, every, every, every * 2, every / 2, 13.0))
    end = every * evaluations
    cases = [draw_case(draw, f"a{number}", every, apart, end) for number in range(rules)]
    found = [states(case, every, end, open_end=open_end) for case in cases]
    alerts = []
    for number, case in enumerate(cases):
        alert = {"alert": case.name, "expr": f"m{number} {case.sign} {ABOVE}", "for": duration(case.hold_s)}
        if case.keep_s or draw.random() < 0.5:
            alert["keep_firing_for"] = duration(case.keep_s)
        alerts.append(alert)
    expressions = []
    for k in range(evaluations + 1):
        samples = [
            {"labels": f'ALERTS{{alertname="{case.name}", alertstate="{row[k]}"}}', "value": 1}
            for case, row in zip(cases, found, strict=True)
            if row[k]
        ]
        expressions.append({"expr": "ALERTS", "eval_time": duration(k * every), "exp_samples": samples})
    listed = [
        {
            "alertname": case.name,
            "eval_time": duration(k * every),
            "exp_alerts": [{"exp_labels": {}}] if row[k] == "firing" else [],
        }
        for case, row in zip(cases, found, strict=True)
        for k in draw.sample(range(evaluations + 1), 3)
    ]
    series = [{"series": f"m{number}", "values": case.written} for number, case in enumerate(cases)]
    (folder / f"rules-{seed}.json").write_text(json.dumps({"groups": [{"name": "g", "rules": alerts}]}))
    test = {
        "interval": duration(apart), "input_series": series,
        "promql_expr_test": expressions, "alert_rule_test": listed,
    }  # fmt: skip
    path = folder / f"test-{seed}.json"  # JSON is YAML
    path.write_text(
        json.dumps({"rule_files": [f"rules-{seed}.json"], "evaluation_interval": duration(every), "tests": [test]})
    )
    return path, rules * (evaluations + 1) + len(listed)


def ask(paths: list[Path]) -> tuple[int, str]:
    """promtool's verdict on test files: its exit code (0: it agrees with all of it), and its words."""
    words = [promtool(), "test", "rules", *(path.name for path in paths)]
    done = subprocess.run(words, cwd=paths[0].parent, capture_output=True, text=True, timeout=900)
    return done.returncode, done.stdout + done.stderr
