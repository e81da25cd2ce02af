"""Who stops an execution signs for it, as who asked for it does."""

from __future__ import annotations

import json
from pathlib import Path

from rollback_console.authorize.roster_view import from_roster
from rollback_console.cli.rehearsal import HEADLESS_START, rehearsal
from rollback_console.clock import VirtualClock
from rollback_console.journal.entry import Entry
from rollback_console.journal.kinds import Ordered
from rollback_console.journal.persons import People
from rollback_console.journal.store import Journal
from rollback_console.journal.verify import verify
from rollback_console.model.identity import DeploymentId
from rollback_console.model.plan import ExecutionState
from rollback_console.policy.load import parse_roster
from rollback_console.rehearse.demo import demo_setup

CHECKOUT = DeploymentId("production", "checkout-ranker")
_STEP_S = 15.0


async def test_an_abort_is_a_signed_order_and_stands_before_the_end(tmp_path: Path) -> None:
    clock = VirtualClock(HEADLESS_START)
    setup = demo_setup(7, clock.now(), clock)
    seat = rehearsal(setup, tmp_path / "journal.db", command="test")
    await seat.engine.start()
    try:
        await seat.engine.step(clock.now())
        plan = await seat.acts.plan(CHECKOUT)
        execution = await seat.acts.execute(plan, "conversion fell", seat.acts.phrase(plan))
        for _ in range(4):
            await clock.advance(_STEP_S)
            await seat.engine.step(clock.now())
        await seat.acts.abort(execution, "the wrong one")
        for _ in range(4):
            await clock.advance(_STEP_S)
            found = await seat.engine.step(clock.now())
        assert found.executions[-1].state is ExecutionState.ABORTED
    finally:
        await seat.close()

    with Journal.open_read_only(tmp_path / "journal.db") as journal:
        entries: list[Entry] = list(journal.entries(kinds=("order", "execution")))
    assert [entry.kind for entry in entries] == ["order", "execution"]
    order = entries[0].parsed()
    assert isinstance(order, Ordered)
    assert (order.execution, order.order, order.reason) == (execution, "abort", "the wrong one")
    assert order.person is not None
    said = json.loads(order.person.statement)
    assert (said["schema"], said["order"], said["deployment"]) == ("rollback-console/order/v1", "abort", str(CHECKOUT))

    people = from_roster(parse_roster(setup.roster_bytes, "roster").roster).operators
    checked = verify(
        tmp_path / "journal.db", people=People({p.id: dict.fromkeys(p.blobs(), p.valid_until) for p in people})
    )
    assert checked.ok, checked.problems
    assert checked.persons == 2  # who asked for it, and who stopped it
