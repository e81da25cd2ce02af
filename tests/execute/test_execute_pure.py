"""Targets, plans, checks, folds, watching and adopting: values in, values out."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from exec_support import ALIAS, ID, MODEL, SIGNATURE, START, Bench, changed, plan_for, rule
from hypothesis import given, settings
from hypothesis import strategies as st

from rollback_console.errors import BackendNonsense, BackendUnreachable, InputError, Refused
from rollback_console.execute.adopt import adopt, adoptions
from rollback_console.execute.drivers.mlflow_alias import MlflowAliasDriver
from rollback_console.execute.fold import executions
from rollback_console.execute.plan import make_plan, phrase, plan_bytes, plan_digest, plan_from_bytes
from rollback_console.execute.preflight import check_signatures, preflight
from rollback_console.execute.protocol import Pointer
from rollback_console.execute.target import NoTarget, Served, Service, Target, last_known_good, named
from rollback_console.execute.watch import Expectation, expectations, flips, whose
from rollback_console.journal.kinds import Adopted
from rollback_console.model.identity import DeploymentId
from rollback_console.model.plan import Check, Execution, ExecutionState
from rollback_console.model.registry import ModelVersion, PointerMove
from rollback_console.model.rules import AuthorityRule

H, F, U = Service.HEALTHY, Service.FIRED, Service.UNKNOWN
DAY = 86_400.0


def _ready(*versions: str) -> list[ModelVersion]:
    return [ModelVersion(MODEL, version, "READY") for version in versions]


# Target


def test_the_last_version_that_served_healthily_is_named_with_its_reasons() -> None:
    found = last_known_good(
        current="9",
        history=[
            Served("6", 0, 10 * DAY, H),
            Served("7", 10 * DAY, 16 * DAY, H),
            Served("8", 16 * DAY, 16 * DAY + 3600, F),
            Served("9", 16 * DAY + 3600, 17 * DAY, F),
        ],
        versions=_ready("6", "7", "8", "9"),
        known_bad={},
    )
    assert isinstance(found, Target)
    assert found.version == "7"
    assert found.why == (
        "v7 is the last version that served healthily: for 6d, until 1970-01-17 00:00 UTC; passed over: "
        "v8 was last seen with its trigger fired (1970-01-17 01:00 UTC)"
    )


@pytest.mark.parametrize(
    ("history", "versions", "bad", "words"),
    [
        ([], ["7", "8"], {}, "nothing is known of any version but v8 serving; the registry holds 1 other"),
        ([Served("8", 0, DAY, H)], ["7", "8"], {}, "nothing is known of any version but v8"),
        ([Served("7", 0, DAY, H)], ["8"], {}, "v7 is no longer in the registry"),
        ([Served("7", 0, DAY, H)], ["7", "8"], {"7": "by ex-1"}, "v7 is marked known bad: by ex-1"),
        ([Served("7", 0, DAY, U)], ["7", "8"], {}, "v7 served while nobody could judge it"),
        (
            [Served("7", 0, DAY, H), Served("7", DAY, DAY + 60, F)],
            ["7", "8"],
            {},
            "v7 was last seen with its trigger fired",
        ),
        ([Served("7", 0, 599, H)], ["7", "8"], {}, "v7 served healthily for only 9m59s, less than 10m"),
    ],
)
def test_nothing_is_guessed(history: list[Served], versions: list[str], bad: dict[str, str], words: str) -> None:
    found = last_known_good(current="8", history=history, versions=_ready(*versions), known_bad=bad)
    assert isinstance(found, NoTarget)
    assert words in str(found)


def test_not_ready_is_said_and_a_later_healthy_service_redeems() -> None:
    history = [Served("7", 0, DAY, F), Served("7", 2 * DAY, 3 * DAY, H), Served("6", 4 * DAY, 5 * DAY, H)]
    versions = [*_ready("7", "8"), ModelVersion(MODEL, "6", "FAILED_REGISTRATION")]
    found = last_known_good(current="8", history=history, versions=versions, known_bad={})
    assert isinstance(found, Target)
    assert found.version == "7"
    assert "v6 is FAILED_REGISTRATION in the registry, not READY" in found.why
    assert "computed" in named("5", "ana").why


_intervals = st.builds(
    lambda version, start, length, state: Served(version, float(start), float(start + length), state),
    st.sampled_from(["5", "6", "7", "8"]), st.integers(0, 5000), st.integers(0, 2000), st.sampled_from(list(Service)),
)  # fmt: skip


@given(
    st.lists(_intervals, max_size=12),
    st.sets(st.sampled_from(["5", "6", "7", "8"])),
    st.sets(st.sampled_from(["5", "6", "7"])),
    st.randoms(use_true_random=False),
)
@settings(max_examples=200, deadline=None)
def test_whatever_is_named_may_be_named_and_nothing_better_was_left(
    history: list[Served], ready: set[str], bad: set[str], random: Any
) -> None:
    def find(items: list[Served]) -> Target | NoTarget:
        return last_known_good(
            current="8", history=items, versions=_ready(*sorted(ready)), known_bad=dict.fromkeys(bad, "x")
        )

    found = find(history)
    shuffled = list(history)
    random.shuffle(shuffled)
    assert find(shuffled) == found

    # By brute force, second by second: who served healthily, how long, and what was last seen.
    def eligible(version: str) -> float | None:
        items = [item for item in history if item.version == version and item.end > item.start]
        healthy = {second for item in items if item.state is H for second in range(int(item.start), int(item.end))}
        judged = [item for item in items if item.state is not U]
        if version == "8" or version not in ready or version in bad or len(healthy) < 600 or not judged:
            return None
        last = max(item.end for item in judged)
        if any(item.end == last and item.state is F for item in judged):
            return None
        return max(item.end for item in items if item.state is H)

    ends = {version: end for version in ("5", "6", "7", "8") if (end := eligible(version)) is not None}
    if isinstance(found, NoTarget):
        assert ends == {}
        assert str(found)
    else:
        assert ends[found.version] == max(ends.values())
        assert f"v{found.version}" in found.why


# Plan

_words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30)


@given(_words, _words, _words, st.floats(1, 1e6), st.booleans() | st.none())
@settings(max_examples=80, deadline=None)
def test_a_plans_bytes_give_the_very_plan_back(name: str, to: str, why: str, within: float, ok: bool | None) -> None:
    about = rule()
    path = replace(about.recovery[0], verify_within_s=within, name=to)
    driver = MlflowAliasDriver(None, now=lambda: START)  # type: ignore[arg-type] # no registry is asked
    plan = make_plan(
        rule=replace(about, deployment=replace(about.deployment, id=DeploymentId("production", name), model=name)),
        path=path, from_version="8", target=Target(to, why), manual=driver.manual, now=START,
    )  # fmt: skip
    whole = replace(plan, checks=(Check("c", ok, why),))
    again = plan_from_bytes(plan_bytes(whole))
    assert again == whole
    assert plan_bytes(again) == plan_bytes(whole)
    assert again.digest == plan_digest(plan)


async def test_the_digest_is_of_what_people_approve(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    plan = await plan_for(bench.driver, START)
    later = await plan_for(bench.driver, START + 60)
    assert later.digest == plan.digest
    assert later.expires_at == plan.expires_at + 60
    same = changed(plan, checks=(), created_at=0.0, expires_at=0.0, why_target="", digest="")
    assert plan_digest(same) == plan.digest
    for field, value in (
        ("deployment", DeploymentId("staging", "x")), ("model", "m"), ("alias", "a"), ("from_version", "1"),
        ("to_version", "1"), ("path", "p"), ("driver", "d"), ("stages", ()), ("verify_for_s", 1.0),
        ("verify_within_s", 1.0), ("authority", AuthorityRule(approve_count=1)), ("policy_digest", "0" * 64),
        ("manual", ("rm",)),
    ):  # fmt: skip
        assert plan_digest(changed(plan, **{field: value})) != plan.digest
    assert phrase(plan) == "production/checkout-ranker v7"
    assert phrase(plan, rehearsal=True) == "rehearsal production/checkout-ranker v7"


async def test_bytes_that_are_no_plan_or_another_are_refused(tmp_path: Path) -> None:
    plan = await plan_for(Bench(tmp_path).driver, START)
    document = json.loads(plan_bytes(plan))
    for data in (b"", b"[]", b"{}", json.dumps(document | {"schema": "x"}).encode()):
        with pytest.raises(InputError, match="not a plan's bytes"):
            plan_from_bytes(data)
    with pytest.raises(InputError, match="not the one its digest names"):
        plan_from_bytes(json.dumps(document | {"to_version": "6"}).encode())


def test_the_manual_equivalent_is_quoted_for_a_shell() -> None:
    evil = 'a\'b $(rm -rf /) `x` "y" \n é&='
    driver = MlflowAliasDriver(None, now=lambda: 0.0, base_url="https://u:secret@mlflow.example:5000/x/")  # type: ignore[arg-type] # no registry is asked
    about = rule()
    plan = make_plan(
        rule=replace(about, deployment=replace(about.deployment, model=evil)), path=about.recovery[0],
        from_version="8", target=Target("7", ""), manual=driver.manual, now=START,
    )  # fmt: skip
    read, move, again, mark = plan.manual
    assert read == again
    assert "secret" not in "".join(plan.manual)
    assert all("\n" not in line for line in plan.manual)
    words = shlex.split(move)
    assert words[-1] == "https://mlflow.example:5000/x/api/2.0/mlflow/registered-models/alias"
    assert json.loads(words[words.index("--data") + 1]) == {"name": evil, "alias": ALIAS, "version": "7"}
    assert words[words.index("--request") + 1] == "POST"
    assert json.loads(shlex.split(mark)[-2])["version"] == "8"


# Preflight


async def _checks(bench: Bench, **more: Any) -> dict[str, Check]:
    plan = await plan_for(bench.driver, START, of=more.get("of"))
    deployment = (more.get("of") or rule()).deployment
    lock = bench.runner._lock_of(str(ID))
    return {check.name: check for check in await preflight(plan, bench.driver, deployment, lock, bench.clock.now())}


async def test_all_checks_of_a_sound_plan_pass_each_with_a_sentence(tmp_path: Path) -> None:
    found = await _checks(Bench(tmp_path))
    assert all(check.ok is True and len(check.detail) > 10 for check in found.values())
    assert list(found) == [
        "not expired", "another version", "nobody else executes", "pointer as planned", "exists and READY",
        "not known bad", "signature compatible", "advisory lock",
    ]  # fmt: skip


async def test_known_bad_names_the_way_to_take_the_mark_off(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    await bench.files.write_tag(MODEL, "7", "rollback-console.known_bad", "rolled back from by ex-0")
    check = (await _checks(bench))["not known bad"]
    assert check.ok is False
    assert "rolled back from by ex-0" in check.detail
    assert "--request DELETE" in check.remedy
    assert "curl" not in check.detail


async def test_a_job_that_re_promotes_refuses_until_it_is_marked_as_paused(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    about = rule(repromoted_by="nightly-retrain")
    check = (await _checks(bench, of=about))["nothing re-promotes"]
    assert check.ok is None
    assert "nightly-retrain moves this pointer by itself" in check.detail
    assert "rollback-console.paused=nightly-retrain" in check.detail
    await bench.files.write_tag(MODEL, None, "rollback-console.paused", "other, nightly-retrain")
    assert (await _checks(bench, of=about))["nothing re-promotes"].ok is True


async def test_a_local_execution_and_a_registry_that_is_down_refuse(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    lock = bench.runner._lock_of(str(ID))
    lock.try_acquire("ex-5 by cy")
    check = (await _checks(bench))["nobody else executes"]
    assert check.ok is False
    assert "ex-5 by cy (pid" in check.detail
    plan = await plan_for(bench.driver, START)

    class Down:
        async def preflight(self, plan: object) -> tuple[Check, ...]:
            raise BackendUnreachable("the registry did not answer", "is it up?")

    checks = await preflight(plan, Down(), rule().deployment, None, START)  # type: ignore[arg-type] # fake: down
    assert [check.ok for check in checks if check.name == "registry"] == [None]


def _signed(version: str, inputs: object = None, outputs: object = None) -> ModelVersion:
    document = {"inputs": json.dumps(inputs), "outputs": json.dumps(outputs)}
    return ModelVersion(MODEL, version, "READY", signature=json.dumps(document))


def test_signatures_are_compared_by_inputs_and_outputs() -> None:
    x, y = {"name": "x", "type": "double"}, {"name": "y", "type": "long"}
    base = _signed("8", [x, y], [{"type": "double"}])
    assert check_signatures(base, _signed("7", [x, y], [{"type": "double"}])).ok is True
    gone = check_signatures(base, _signed("7", [x], [{"type": "double"}]))
    assert gone.ok is True, "MLflow ignores an input that a model does not name"
    assert gone.detail == "v7 takes and gives what v8 does, but for what breaks no caller: input y is missing"
    more = check_signatures(_signed("8", [x], [{"type": "double"}]), _signed("7", [x, y], [{"type": "double"}]))
    assert (more.ok, more.detail) == (False, "v7 differs from v8: input y is new")
    optional = {"name": "y", "type": "long", "required": False}
    assert check_signatures(_signed("8", [x]), _signed("7", [x, optional])).ok is True
    assert check_signatures(_signed("8", [x], [x, y]), _signed("7", [x], [x])).ok is False, "somebody reads y"
    assert check_signatures(_signed("8", [x], [x]), _signed("7", [x], [x, y])).ok is True
    assert check_signatures(_signed("8", [{"type": "long"}] * 2), _signed("7", [{"type": "long"}])).ok is False
    typed = check_signatures(base, _signed("7", [x, {"name": "y", "type": "string"}], [{"type": "double"}]))
    assert typed.detail == "v7 differs from v8: input y is string, was long"
    many = check_signatures(_signed("8", []), _signed("7", [{"name": str(n), "type": "long"} for n in range(9)]))
    assert many.detail.endswith("input 3 is new and 5 more")
    assert check_signatures(base, _signed("7", [y, x], [{"type": "double"}])).ok is True, "named ones are put in order"
    nothing = check_signatures(base, ModelVersion(MODEL, "7", "READY"))
    assert nothing.ok is True
    assert "no signature is recorded for v7" in nothing.detail
    assert check_signatures(base, None).ok is None
    assert check_signatures(base, ModelVersion(MODEL, "7", "READY", signature="{")).ok is None
    odd = check_signatures(base, ModelVersion(MODEL, "7", "READY", signature='{"inputs": 7}'))
    assert odd.ok is False
    assert check_signatures(*(ModelVersion(MODEL, v, "READY", signature=SIGNATURE) for v in "78")).ok is True


# The advisory lock


async def test_the_advisory_lock_is_taken_renewed_taken_over_and_freed(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    driver, pointer = bench.driver, Pointer(MODEL, ALIAS)
    assert await driver.hold_lock(pointer, "ex-1 by ana", START + 100) is None
    assert await driver.hold_lock(pointer, "ex-1 by ana", START + 200) is None
    assert await driver.hold_lock(pointer, "ex-2 by bo", START + 100) == "ex-1 by ana (until 2026-09-21T14:16:40Z)"
    await driver.free_lock(pointer, "ex-2 by bo")
    assert await driver.lock_holder(pointer) is not None
    assert await driver.lock_holder(Pointer(MODEL, "challenger")) is None
    await bench.clock.sleep(200)
    assert await driver.lock_holder(pointer) is None
    assert await driver.hold_lock(pointer, "ex-2 by bo", START + 500) is None
    await driver.free_lock(pointer, "ex-1 by ana")
    assert "ex-2 by bo" in str(await driver.lock_holder(pointer))
    await driver.free_lock(pointer, "ex-2 by bo")
    await driver.free_lock(pointer, "ex-2 by bo")
    assert await bench.files.read_tags(MODEL, None) == {}


async def test_two_that_write_the_lock_at_once_do_not_both_hold_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    other = '{"holder": "ex-9 by cy", "until": 1.9e9}'
    write = bench.files.write_tag

    async def write_tag(model: str, version: str | None, key: str, value: str) -> None:
        await write(model, version, key, value)
        await write(model, version, key, other)  # the other one's write lands last

    bench.files.write_tag = write_tag
    held = await bench.driver.hold_lock(Pointer(MODEL, ALIAS), "ex-1 by ana", START + 100)
    assert held is not None
    assert held.startswith("ex-9 by cy")


@pytest.mark.parametrize("value", ["garbage", "{}", '{"holder": "x", "until": "never"}', "[]"])
async def test_a_lock_that_cannot_be_read_is_not_ignored(tmp_path: Path, value: str) -> None:
    bench = Bench(tmp_path)
    await bench.files.write_tag(MODEL, None, f"rollback-console.lock.{ALIAS}", value)
    with pytest.raises(BackendNonsense, match="cannot be read: if nobody executes, remove it: curl"):
        await bench.driver.hold_lock(Pointer(MODEL, ALIAS), "me", START + 1)


# Fold, watch, adopt


async def _done(tmp_path: Path) -> tuple[Bench, Execution]:
    bench = Bench(tmp_path)
    return bench, await bench.whole()


async def test_a_plan_whose_bytes_are_gone_is_still_shown_and_cannot_be_executed(tmp_path: Path) -> None:
    bench, done = await _done(tmp_path)
    entries = list(bench.real_journal.entries())
    (found,) = executions(entries, lambda digest: None, lambda _: True)
    assert found.id == done.id
    assert found.state is ExecutionState.DONE
    assert "no longer kept" in found.plan.why_target
    other = plan_bytes(await plan_for(bench.driver, START, to="6"))
    (swapped,) = executions(entries, lambda digest: other, lambda _: True)
    assert "not those that were asked for" in swapped.plan.why_target
    assert not swapped.plan.executable


async def test_every_prefix_of_the_journal_folds(tmp_path: Path) -> None:
    bench, done = await _done(tmp_path)
    entries = list(bench.real_journal.entries())
    for count in range(len(entries)):
        for free in (True, False):
            found = executions(entries[:count], bench.real_journal.get_blob, lambda _, free=free: free)  # type: ignore[misc]
            if count >= 2:
                (one,) = found
                assert one.id == done.id
                assert (one.state is ExecutionState.UNFINISHED) is free
            else:
                assert found == ()


def _move(at: float, before: str, after: str, by: str = "") -> PointerMove:
    return PointerMove(at, str(ID), MODEL, ALIAS, before, after, by)


async def test_somebody_elses_flip_alarms_while_the_incident_is_open(tmp_path: Path) -> None:
    _, done = await _done(tmp_path)
    expected = expectations([done], [], {ID})
    assert [item.version for item in expected] == ["7"]
    assert expectations([done], [], set()) == ()
    key = (MODEL, ALIAS)
    assert flips(expected, {key: "7"}, []) == ()
    assert flips(expected, {}, []) == (), "a pointer that was not read raises nothing"
    (flip,) = flips(expected, {key: "8"}, [_move(START + 7200, "7", "8", "retrain-bot")])
    assert flip.sentence == (
        f"retrain-bot moved champion of production/checkout-ranker from v7 to v8 at 2026-09-21T16:13:20Z, 2h after "
        f"execution {done.id} had brought it there"
    )
    (gone,) = flips(expected, {key: None}, [])
    assert "somebody else moved champion" in gone.sentence
    assert "away altogether" in gone.sentence
    later = Expectation(ID, MODEL, ALIAS, "8", START + 8000, "the adoption by bo")
    assert expectations([done], [later], {ID}) == (later,)
    assert flips([later], {key: "8"}, []) == ()


async def test_whose_move_it_was(tmp_path: Path) -> None:
    _, done = await _done(tmp_path)
    assert whose([done], MODEL, ALIAS, "7", START + 15) == done.id
    assert whose([done], MODEL, ALIAS, "8", START + 15) is None
    assert whose([done], MODEL, ALIAS, "7", START + 9999) is None
    assert whose([done], MODEL, "other", "7", START + 15) is None
    assert whose([done], MODEL, ALIAS, "7", START - 60) is None


async def test_adopting_what_was_done_by_hand(tmp_path: Path) -> None:
    bench, done = await _done(tmp_path)
    deployment = rule().deployment
    by_hand = [_move(START + 9000, "7", "6", "bo")]
    body = adopt(deployment, "6", by_hand, [done], [], "bo flipped it")
    assert (body.from_version, body.to_version, body.moved_at, body.moved_by) == ("7", "6", START + 9000, "bo")
    entry = bench.real_journal.append(body, deployment=str(ID), operator="ana")
    (brought,) = adoptions([entry])
    assert brought.by == "the adoption by ana"

    def refused(current: str | None, moves: list[PointerMove], words: str, adopted: tuple[Adopted, ...] = ()) -> None:
        with pytest.raises(Refused, match=words):
            adopt(deployment, current, moves, [done], adopted, "because")

    refused("6", by_hand, "adopted already", (body,))
    refused("8", [], "nothing moved")
    refused("9", by_hand, "last seen moving to v6")
    refused(None, by_hand, "points to nothing")
    refused("7", [_move(START + 10, "8", "7")], f"execution {done.id} made that move")
    with pytest.raises(Refused, match="needs a reason"):
        adopt(deployment, "6", by_hand, [done], [], " ")
