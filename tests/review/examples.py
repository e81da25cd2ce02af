"""``python -m tests.review.examples --write``: three drills, judged afterwards, and what is written of them, into
``docs/examples/``. Without ``--write`` it says which files are not what the program makes now (exit code 1)."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent))  # so that `drilled` is the same here and in tests

from drilled import play, seated

from rollback_console.cli.report_postmortem import draft as postmortem_of
from rollback_console.engine.acts import Acts
from rollback_console.journal.store import Journal
from rollback_console.model.judgement import Judgement
from rollback_console.model.message import Message
from rollback_console.review.case import case_of
from rollback_console.review.messages import SHIPPED, draft, named

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "examples"
SEED = 7


@dataclass(frozen=True)
class Example:
    """A drill by the perfect operator, and what people made of its incident of one deployment afterwards."""

    scenario: str
    deployment: str
    judgement: Judgement
    follow_ups: tuple[tuple[str, str, str], ...]  # what, who, until when


EXAMPLES = (
    Example(
        "demo",
        "production/checkout-ranker",
        Judgement(
            "", root_cause="performance degradation", right="right", expected="conversion back where it was last week",
            actual="conversion was back minutes after v7 served again", margins="held", gate="shadow traffic",
            deviations=("the channel was told after the plan was made, not before: one person was on it",),
            lessons=("v8 was compared on all visits together; returning visitors alone would have shown it",),
        ),
        (
            ("compare candidates on returning visitors before release", "ana", "2026-06-12"),
            ("hold the release of v9 until that stands", "ben", "2026-06-05"),
        ),
    ),
    Example(
        "tracking-loss",
        "production/gear-search",
        Judgement(
            "", root_cause="upstream data issue", right="right", expected="orders are counted again",
            actual="orders came in all the time; their events did not", margins="held", gate="data validation",
            lessons=("no orders at all in several deployments at once is the tracking, not the models",),
        ),
        (("an alarm on order events against the warehouse's own count", "cleo", "2026-06-19"),),
    ),
    Example(
        "bad-candidate",
        "production/product-search",
        Judgement(
            "", root_cause="performance degradation", right="right", expected="v38 serves as it did on Sunday",
            actual="it did", margins="too wide", gate="offline evaluation",
            deviations=("v39, the version before, was passed over: it is marked known bad",),
            lessons=("two bad releases in a row came from one changed training set",),
            published="https://wiki.example/postmortems/product-search-v40",
        ),
        (("the training set is pinned, and a change of it is a release of its own", "dora", "2026-06-30"),),
    ),
)  # fmt: skip


async def _afterwards(acts: Acts, example: Example) -> str:
    """What people do once it is over, in the console: told, judged, and what is to be done. The incident's id."""
    docket = await acts.docket()
    incident = next(
        s.id for s in docket.subjects if s.kind == "incident" and example.deployment in map(str, s.deployments)
    )
    first = next(m for m in await acts.drafts(incident) if (m.template, m.audience) == ("first-notice", "internal"))
    await acts.told(Message(incident, first.template, first.audience, first.text), "sent", "#incidents")
    await acts.judge(replace(example.judgement, subject=incident))
    for what, owner, due in example.follow_ups:
        await acts.follow_up(incident, what, owner, due)
    return incident


def made(example: Example, folder: Path) -> Iterator[tuple[str, str]]:
    """(file's name below docs/examples, its text) of one example, played in `folder`."""
    played = play(folder / f"{example.scenario}.db", example.scenario, SEED)
    judged = folder / f"{example.scenario}-judged.db"

    async def go() -> str:
        async with seated(played, judged) as seat:
            return await _afterwards(seat.acts, example)

    incident = asyncio.run(go())
    _, _, text = postmortem_of(judged, incident)
    yield f"{example.scenario}/postmortem.md", text
    with Journal.open_read_only(judged) as journal:
        case = case_of(journal, incident)
    template = "resolved" if case.ended_at is not None else "update"
    for audience in ("internal", "external"):
        yield f"{example.scenario}/{audience}.md", draft(case, named(SHIPPED, template, audience)).text


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.review.examples", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the files anew")
    asked = parser.parse_args()
    differing = []
    with tempfile.TemporaryDirectory() as folder:
        for example in EXAMPLES:
            for name, text in made(example, Path(folder)):
                path = FOLDER / name
                if path.exists() and path.read_text(encoding="utf-8") == text:
                    continue
                differing.append(name)
                if asked.write:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(text, encoding="utf-8", newline="\n")
    print("\n".join(f"{'written' if asked.write else 'differs'}: {name}" for name in differing) or "all as it is made")
    return 1 if differing and not asked.write else 0


if __name__ == "__main__":
    raise SystemExit(main())
