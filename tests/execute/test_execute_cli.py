"""`rollback`, `adopt`, `executions`, `resume`, `abort`, as typed.

The console behind `rollback` is a small fake of the composition: the real runner, driver and journal on the fake
registry, without an engine. The end-to-end tests drive the real one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from exec_support import ID, MODEL, START, Bench, in_child, plan_for, was_killed

from rollback_console.cli import compose
from rollback_console.cli.executions import left_unfinished
from rollback_console.cli.main import run
from rollback_console.errors import NotAuthorized
from rollback_console.execute.plan import phrase
from rollback_console.journal.kinds import Requested
from rollback_console.journal.timeline import sentence
from rollback_console.model.identity import DeploymentId
from rollback_console.model.plan import Execution, Plan


class FakeConsole:
    """The few commands that these command lines call, over a `Bench`."""

    def __init__(self, folder: Path, start: float) -> None:
        self.bench = Bench(folder, start=start)
        self.refusal: NotAuthorized | None = None

    def find(self, text: str) -> DeploymentId:
        return DeploymentId.parse(text)

    async def plan(self, deployment: DeploymentId, path: str | None = None, to: str | None = None) -> Plan:
        return await plan_for(self.bench.driver, self.bench.clock.now(), to=to or "7")

    def phrase(self, plan: Plan) -> str:
        return phrase(plan)

    async def execute(self, plan: Plan, reason: str, typed: str, *, planned: bool = False) -> str:
        if self.refusal is not None:
            raise self.refusal
        return await self.bench.runner.start(plan, "ana", reason, typed, planned=planned)

    async def resume(self, execution: str) -> None:
        await self.bench.runner.resume(execution, "bo")

    async def abort(self, execution: str, reason: str) -> None:
        await self.bench.runner.abort(execution, "bo", reason)

    async def wait(self, execution: str) -> Execution:
        return await self.bench.runner.wait(execution)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeConsole:
    made = FakeConsole(tmp_path, START)

    @contextlib.asynccontextmanager
    async def console(ctx: object) -> AsyncIterator[FakeConsole]:
        yield made

    monkeypatch.setattr(compose, "console", console)
    return made


def test_plan_prints_the_plan_its_digest_and_its_manual_equivalent_and_moves_nothing(
    fake: FakeConsole, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["rollback", str(ID), "--plan"]) == 0
    said = capsys.readouterr().out
    plan = asyncio.run(fake.plan(ID))
    assert plan.digest in said
    assert "curl --silent" in said
    assert "from v8 to v7" in said
    assert fake.bench.files.moves() == []
    assert run(["rollback", str(ID), "--plan", "--to", "5"]) == 5
    assert "NO  exists and READY: checkout-ranker has no v5" in capsys.readouterr().out


def test_advice_against_and_the_way_around_a_mark_are_printed_and_in_the_json(
    fake: FakeConsole, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asyncio.run(fake.bench.files.write_tag(MODEL, "7", "rollback-console.known_bad", "rolled back from by ex-0"))
    plan, against = fake.plan, "the console advises against: upstream: rolling back will not help"

    async def advised(deployment: DeploymentId, path: str | None = None, to: str | None = None) -> Plan:
        return replace(await plan(deployment, path, to), against=against)

    monkeypatch.setattr(fake, "plan", advised)
    assert run(["rollback", str(ID), "--plan"]) == 5
    said = capsys.readouterr().out
    assert f"AGAINST   {against}" in said
    known_bad = next(i for i, line in enumerate(said.splitlines()) if "NO  not known bad" in line)
    assert said.splitlines()[known_bad].endswith("take the mark off")
    assert "--request DELETE" in said.splitlines()[known_bad + 1]
    assert run(["rollback", str(ID), "--plan", "--json"]) == 5
    facts = json.loads(capsys.readouterr().out)
    assert facts["against"] == against
    assert [bool(check["remedy"]) for check in facts["checks"]] == [
        c["name"] == "not known bad" for c in facts["checks"]
    ]


def test_a_script_gives_the_digest_it_saw(fake: FakeConsole, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rollback", str(ID), "--plan", "--json"]) == 0
    digest = json.loads(capsys.readouterr().out)["digest"]
    assert run(["rollback", str(ID), "--reason", "v8 hurts", "--digest", digest, "--yes", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["execution"]["state"] == "done"
    assert facts["plan"]["digest"] == digest
    assert fake.bench.files.moves() == ["7"]


@pytest.mark.parametrize("planned", [False, True])
def test_a_planned_switch_is_asked_for_as_one(
    fake: FakeConsole, capsys: pytest.CaptureFixture[str], planned: bool
) -> None:
    assert run(["rollback", str(ID), "--plan", "--json"]) == 0
    digest = json.loads(capsys.readouterr().out)["digest"]
    words = ["rollback", str(ID), "--reason", "season's end", "--digest", digest, "--yes"]
    assert run([*words, *(["--planned"] if planned else [])]) == 0
    (asked,) = fake.bench.journal.entries(kinds=("request",))
    body = asked.parsed()
    assert isinstance(body, Requested)
    assert body.planned is planned
    assert ("a planned switch" in sentence(asked)) is planned


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--yes", "--reason", "x"], 2, "--yes without --digest"),
        ([], 2, "needs a reason"),
        (["--reason", "x"], 2, "nobody is here to type"),
        (["--reason", "x", "--digest", "0" * 64, "--yes"], 5, "not the one of that digest any more"),
    ],
)
def test_what_is_refused_and_with_which_code(
    fake: FakeConsole, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, words: str
) -> None:
    assert run(["rollback", str(ID), *arguments]) == code
    assert words in capsys.readouterr().err
    assert fake.bench.files.moves() == []


def test_not_authorized_not_confirmed_and_a_changed_world_have_their_codes(
    fake: FakeConsole, capsys: pytest.CaptureFixture[str]
) -> None:
    def go() -> int:
        digest = asyncio.run(fake.plan(ID)).digest
        return run(["rollback", str(ID), "--reason", "x", "--digest", digest, "--yes"])

    fake.refusal = NotAuthorized("the permission rollback is in none of your roles (viewer)", "ask bo (oncall)")
    assert go() == 4
    assert "ask bo (oncall)" in capsys.readouterr().err
    fake.refusal = None
    fake.bench.serving.after_s = 1e9
    assert go() == 1
    assert "not confirmed" in capsys.readouterr().out


@pytest.mark.usefixtures("fake")
def test_unfinished_ones_are_listed_resumed_and_aborted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def killed(folder: Path) -> str:
        folder.mkdir()
        assert was_killed(in_child(lambda: asyncio.run(Bench(folder, at=20).whole()) and None))
        made = FakeConsole(folder, START + 400)

        @contextlib.asynccontextmanager
        async def console(ctx: object) -> AsyncIterator[FakeConsole]:
            yield made

        monkeypatch.setattr(compose, "console", console)
        assert run(["executions", "--journal", str(folder / "journal.db"), "--json"]) == 0
        (facts,) = json.loads(capsys.readouterr().out)
        assert facts["state"] == "unfinished"
        return str(facts["id"])

    first = killed(tmp_path / "one")
    assert run(["executions", "--journal", str(tmp_path / "one" / "journal.db")]) == 0
    book = tmp_path / "one" / "journal.db"
    said = capsys.readouterr().out
    assert f"go on: rollback-console resume {first} --journal {book}" in said
    assert f'or stop: rollback-console abort {first} --reason "WHY" --journal {book}' in said
    assert left_unfinished(book, None) == [
        f"unfinished: {first} on {ID}: rollback-console resume {first} (or abort {first})"
    ]
    assert f"resume {first} --journal '{tmp_path}/a b.db'" in left_unfinished(book, tmp_path / "a b.db")[0]
    assert run(["resume", first]) == 0
    assert "done" in capsys.readouterr().out
    assert run(["executions", "--unfinished", "--journal", str(tmp_path / "one" / "journal.db")]) == 0
    assert "nothing is unfinished" in capsys.readouterr().out
    assert left_unfinished(book, None) == []
    assert left_unfinished(tmp_path / "none.db", None) == []
    second = killed(tmp_path / "two")
    assert run(["abort", second, "--reason", "by hand"]) == 0
    assert "aborted by bo: by hand" in capsys.readouterr().out
    assert run(["resume", second]) == 5
    assert "has ended" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["rollback", "adopt", "executions", "resume", "abort", "whoami"])
def test_every_command_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([command, "--help"]) == 0
    assert "Example: rollback-console" in capsys.readouterr().out
