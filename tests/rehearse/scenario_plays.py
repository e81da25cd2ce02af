"""Small scenarios for tests: words in, a stage out."""

from __future__ import annotations

from pathlib import Path

from rollback_console.clock import VirtualClock
from rollback_console.model.observation import Series
from rollback_console.policy.load import parse_scenario
from rollback_console.policy.scenario import Scenario
from rollback_console.rehearse.setup import Setup
from rollback_console.rehearse.staging import stage

START = 1_780_000_200.0
HEAD = "schema: rollback-console/scenario/v1\nname: play\ntitle: A play\nclass: release\n"
SHOP = """\
world:
  deployments:
    - name: ranker
      depends_on: [feature-view/basket]
      serves: "8"
      since: 20m
      versions: [{version: "8"}, {version: "7"}]
    - {name: feed, depends_on: [feature-view/users], visits_per_minute: 9000}
    - {name: search, depends_on: [feature-view/users], visits_per_minute: 9000}
"""
RIGHT = "right: {leave: []}\n"


def words(text: str) -> Scenario:
    """A scenario from the part that a test is about; what it leaves out is filled in."""
    whole = text
    for key, part in (("schema:", HEAD), ("world:", SHOP), ("right:", RIGHT)):
        if not any(line.startswith(key) for line in text.split("\n")):
            whole += part
    return parse_scenario(whole.encode(), "play.yaml").scenario


def play(
    text: str = "", seed: int = 7, start: float = START, *, path: Path | None = None, policy: Path | None = None,
    mode: str | None = None,
) -> Setup:  # fmt: skip
    """The stage of that scenario, on a virtual clock of its own."""
    return stage(words(text), seed, start, VirtualClock(start), path=path, policy=policy, mode=mode)


def by(answer: tuple[Series, ...], label: str = "deployment") -> dict[str, float]:
    """The newest value of each series, by a label."""
    return {dict(series.labels)[label]: series.points[-1][1] for series in answer}


async def measured(setup: Setup, promql: str, at: float, label: str = "deployment") -> dict[str, float]:
    """The answer to a query at a moment, by deployment."""
    return by(await setup.metrics.query(promql, at), label)
