"""The criteria audit: fires as they were judged, what was missed, and changes that are tried on recorded samples."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from review.year import SMALL, write_year
from review.year_story import YearTruth
from review.year_world import START, Papers, SetClock, World, first_papers
from rollback_console.cli.rehearsal import HEADLESS_START, rehearsal
from rollback_console.cli.report import command
from rollback_console.clock import VirtualClock
from rollback_console.decide.judge import FRESH
from rollback_console.engine.backtest import Lane
from rollback_console.errors import UsageError
from rollback_console.journal import kinds as k
from rollback_console.journal.device import DeviceKey
from rollback_console.journal.store import Journal
from rollback_console.model.judgement import Judgement
from rollback_console.model.observation import Blind, Observation, Reading, Tick
from rollback_console.policy import yaml_marks
from rollback_console.policy.load import LoadedPolicy, parse_policy
from rollback_console.rehearse.headless import Drill, run_headless
from rollback_console.rehearse.operators import operator_named
from rollback_console.rehearse.scenario import find
from rollback_console.review.criteria import Missed, TriggerAudit, audit, recorded
from rollback_console.review.criteria import verdict_on as verdict
from rollback_console.review.criteria_change import Proposal, changed, propose
from rollback_console.review.criteria_fires import Fire
from rollback_console.review.criteria_samples import Sampled, Stretch, Walk
from rollback_console.review.past_reading import read_past
from rollback_console.review.rates import Window

MINUTE_S = 60.0
CHECKOUT = "production/checkout-ranker"


# -- a year


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, YearTruth]:
    path = tmp_path_factory.mktemp("criteria") / "year.db"
    return path, write_year(path, days=SMALL)


@pytest.fixture(scope="module")
def found(year: tuple[Path, YearTruth]) -> tuple[tuple[TriggerAudit, ...], Sampled]:
    """The audit of the whole year, made once."""
    return audited(year[0])


@pytest.fixture(scope="module")
def told(year: tuple[Path, YearTruth]) -> dict[str, Any]:
    """The report of the whole year, printed once."""
    return report(year[0])


def audited(path: Path, window: Window | None = None) -> tuple[tuple[TriggerAudit, ...], Sampled]:
    """What the report is made of."""
    past = read_past([path])
    policies, fires = recorded(past, [path])
    walk = Walk(policies.rules())
    for _ in walk.read(path, window or Window()):
        pass
    return audit(past, policies, fires, window or Window()), walk.found()


def report(path: Path, *options: str) -> dict[str, Any]:
    found = CliRunner().invoke(command, ["criteria", "--journal", str(path), "--json", *options])
    assert found.exit_code == 0, found.output
    answer: dict[str, Any] = json.loads(found.stdout)
    return answer


def test_fires_are_those_of_the_journal_and_judged_as_planted(
    year: tuple[Path, YearTruth], told: dict[str, Any]
) -> None:
    path, truth = year
    rows = told["triggers"]["rows"]
    (fired,) = (
        sqlite3.connect(path)
        .execute(
            "SELECT count(*) FROM entries WHERE kind = 'transition' AND json_extract(body, '$.after') = 'fired'"
            " AND json_extract(body, '$.before') <> 'clearing'"
        )
        .fetchone()
    )
    assert sum(row["fires"] for row in rows) == fired
    assert all(row["fires"] == row["right"] + row["wrong"] + row["unjudged"] for row in rows)
    planted = Counter("wrong" if judged == "false alarm" else "" for _, _, judged in truth.fired)
    assert sum(row["wrong"] for row in rows) == planted["wrong"]
    unseen = [r for r in truth.rollbacks if r.kind in ("older", "adopted unseen", "hotfix")]
    assert sum(row["missed"] for row in rows) == len(unseen)
    assert {row["deployment"] for row in told["missed"]["rows"]} == {r.deployment for r in unseen}


def test_a_dwell_that_was_tightened_says_since_when(
    year: tuple[Path, YearTruth], found: tuple[tuple[TriggerAudit, ...], Sampled]
) -> None:
    truth = year[1]
    ranking = next(each for each in found[0] if each.policy == "ranking")
    assert ranking.dwell_s == 180.0
    assert ranking.since == pytest.approx(truth.begins + 0.3 * truth.days * 86_400.0, abs=120.0)
    conversion = next(each for each in ranking.signals if each.signal == "conversion")
    assert conversion.since == pytest.approx(truth.begins, abs=1.0)
    assert {each.at - each.since for each in ranking.fires} <= {180.0, 300.0}
    risk = next(each for each in found[0] if each.policy == "risk")
    assert risk.overdue_s == pytest.approx(truth.ends - truth.begins - 180 * 86_400.0, abs=120.0)


def test_quality_and_drift_are_of_what_was_sampled(found: tuple[tuple[TriggerAudit, ...], Sampled]) -> None:
    sampled = found[1]
    for each in sampled.quality:
        assert each.seen + sum(each.blind) + each.too_few + each.no_baseline == pytest.approx(1.0)
        assert each.hours > SMALL * 24 * 0.9
    assert any(each.blind[0] > 0 for each in sampled.quality), "an exporter was dead for half an hour"
    drift = {(each.deployment, each.signal): each for each in sampled.drift}
    falling = drift["production/ads-ctr", "conversion"]
    assert falling.change is not None
    assert falling.change < -0.005
    assert falling.a_month == pytest.approx(falling.change)  # one month on
    assert (sampled.gone, sampled.other) == (0, 0)


def test_stretches_hold_all_that_a_change_could_fire_on(
    year: tuple[Path, YearTruth], found: tuple[tuple[TriggerAudit, ...], Sampled]
) -> None:
    """Trying a policy on what was kept gives the fires that it would have over everything."""
    path, _ = year
    papers = replace(first_papers()["logistics"], dwell="2m")
    rules = parse_policy(papers.text().replace(b"above: 2%", b"above: 1%"), "tighter").rules
    every: dict[str, list[tuple[float, float | None]]] = {}
    for rule in rules:
        name = str(rule.deployment.id)
        lane = Lane((rule,))
        for at, observation in _observations(path, name):
            for _ in lane.take(Tick(at, (observation,))):
                pass
        every[name] = [(each.start, each.end) for each in lane.fires(0)]
    kept: dict[str, list[tuple[float, float | None]]] = {str(rule.deployment.id): [] for rule in rules}
    for stretch in found[1].stretches["logistics"]:
        rule = next(each for each in rules if str(each.deployment.id) == stretch.deployment)
        lane = Lane((rule,), {0: stretch.before})
        for observation in stretch.observations:
            for _ in lane.take(Tick(observation.at, (observation,))):
                pass
        kept[stretch.deployment] += [(each.start, each.end) for each in lane.fires(0)]
    assert kept == every
    assert sum(map(len, every.values())) > 0


def _observations(path: Path, name: str) -> Iterator[tuple[float, Observation]]:
    from rollback_console.engine.record import unpack

    with Journal.open_read_only(path) as journal:
        last = 0.0
        for entry in journal.entries(kinds=("tick",)):
            body = entry.parsed()
            assert isinstance(body, k.TickRecorded)
            data = journal.get_blob(body.blob)
            assert data is not None
            tick = unpack(data, journal.get_blob)
            if tick.at > last:
                last = tick.at
                yield tick.at, next(each for each in tick.observations if str(each.deployment) == name)


def test_the_report_in_every_window(year: tuple[Path, YearTruth], told: dict[str, Any]) -> None:
    path, _ = year
    printed = CliRunner().invoke(command, ["criteria", "--journal", str(path), "--since", "2025-10-01"])
    assert printed.exit_code == 0, printed.output
    assert "Proposed changes" in printed.stdout
    assert max(map(len, printed.stdout.splitlines())) <= 120
    half = report(path, "--since", "2025-10-01")
    fires = [sum(row["fires"] for row in each["triggers"]["rows"]) for each in (half, told)]
    assert 0 < fires[0] < fires[1]
    none = report(path, "--since", "2026-06-01")
    assert sum(row["fires"] for row in none["triggers"]["rows"]) == 0
    assert none["quality"]["rows"] == []
    assert all(row["change"] is None and "too few" in row["why"] for row in none["proposals"]["rows"])


# -- drills of the demo, played with two policies


@pytest.fixture(scope="module")
def drilled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two drills, a week apart, the second by a policy of its own, as one journal that is no rehearsal."""
    folder = tmp_path_factory.mktemp("drilled")
    path, clock = folder / "team.db", SetClock(HEADLESS_START - 60.0)
    with Journal.open(path, device=DeviceKey.from_seed(b"criteria"), clock=clock, chain="5" * 32) as journal:
        for number in range(2):
            source = folder / f"drill-{number}.db"
            _play(source, 3 + number, HEADLESS_START + number * 7 * 86_400.0, _other(folder) if number else None)
            _copied(source, journal, clock)
    return path


def _other(folder: Path) -> Path:
    """The demo's policy under another name, with a longer dwell."""
    with Journal.open_read_only(folder / "drill-0.db") as journal:
        entry = next(e for e in journal.entries(kinds=("policy",)) if json.loads(e.body)["what"] == "policy")
        data = journal.get_blob(json.loads(entry.body)["digest"])
    assert data is not None
    path = folder / "other.yaml"
    path.write_bytes(data.replace(b"name: demo-shop", b"name: patient-shop").replace(b"dwell: 2m", b"dwell: 4m"))
    return path


def _play(path: Path, seed: int, start: float, policy: Path | None) -> None:
    clock = VirtualClock(start)
    setup = find("demo").stage(seed, start, clock, policy=policy)

    async def go() -> None:
        seat = rehearsal(setup, path, command="rehearse")
        try:
            await seat.engine.start()
            script = operator_named("perfect")
            await run_headless(
                Drill("demo", seed, "perfect", script, setup.truth, setup.step_s), seat.engine, seat.acts, clock
            )
        finally:
            await seat.close()

    asyncio.run(go())


def _copied(source: Path, journal: Journal, clock: SetClock) -> None:
    """What was recorded, with its times, as if it had been live."""
    with Journal.open_read_only(source) as drill:
        for digest in drill.blob_digests():
            data = drill.get_blob(digest)
            assert data is not None
            journal.put_blob(data)
        for entry in drill.entries():
            body = entry.parsed()
            if entry.kind != "genesis" and body is not None:
                clock.wall = clock.true = entry.at
                journal.append(body, deployment=entry.deployment, operator=entry.operator)


def test_two_policies_of_two_drills_are_told_apart(drilled: Path) -> None:
    found, sampled = audited(drilled)
    by_name = {each.policy: each for each in found}
    assert set(by_name) == {"demo-shop", "patient-shop"}
    for name, dwell in (("demo-shop", 120.0), ("patient-shop", 240.0)):
        trigger = by_name[name]
        assert trigger.dwell_s == dwell
        assert trigger.kept_s == pytest.approx(dwell, abs=15.0)
        fired = next(fire for fire in trigger.fires if fire.deployment == CHECKOUT)
        assert fired.led == ("conversion",)
        assert fired.lead_s is None or fired.lead_s >= 15.0  # told at transitions: at the fire, at the earliest
        assert fired.rolled_back is not None
        assert fired.at < fired.rolled_back < (fired.ended or 0.0)
        assert trigger.missed == ()
    assert all(each.judged("") == len(each.fires) for each in found)
    proposal = propose(by_name["demo-shop"], None, sampled)
    assert proposal.tried is None
    rows = report(drilled)["proposals"]["rows"]
    assert all(row["change"] is None and row["why"].startswith("too few to say: 0 judged") for row in rows)


def test_judged_drills_change_the_audit(drilled: Path, tmp_path: Path) -> None:
    """The rollback was right; the upstream fault was real; what nobody judges stays apart."""
    path = tmp_path / "judged.db"
    path.write_bytes(drilled.read_bytes())
    clock = SetClock(HEADLESS_START + 8 * 86_400.0)
    with Journal.open(path, device=DeviceKey.from_seed(b"criteria"), clock=clock) as journal:
        executions = [json.loads(e.body)["execution"] for e in journal.entries(kinds=("request",))]
        journal.append(k.Judged(subject=executions[0], root_cause="performance degradation", right="right"))
        journal.append(k.Judged(subject=executions[1], right="wrong"))
        found = {}
        for entry in journal.entries(kinds=("incident",)):
            body = json.loads(entry.body)
            found[body["id"]] = (body["members"], entry.at)
        upstream = [name for name, (members, _) in found.items() if len(members) >= 4]
        journal.append(k.Judged(subject=upstream[0], root_cause="upstream data issue", right="right"))
        journal.append(k.Judged(subject=upstream[1], root_cause="false alarm", right="right"))
    by_name = {each.policy: each for each in audited(path)[0]}
    first, second = by_name["demo-shop"], by_name["patient-shop"]
    assert (first.judged("right"), first.judged("wrong")) == (len(first.fires) - first.judged(""), 0)
    assert first.judged("right") >= 5
    assert {f.deployment: f.judged for f in second.fires}[CHECKOUT] == "wrong"
    assert second.judged("right") == 0
    assert second.needed_s is not None
    assert second.needed_s >= 240.0


def test_a_diff_that_there_is_not_says_why(drilled: Path) -> None:
    for policy, words in (("demo-shop", "no change of demo-shop is proposed"), ("other", "knows no policy other")):
        found = CliRunner().invoke(command, ["criteria", "--journal", str(drilled), "--diff", policy])
        assert isinstance(found.exception, UsageError)
        assert words in str(found.exception)


def test_a_rehearsal_counts_nowhere(tmp_path: Path) -> None:
    path = tmp_path / "drill.db"
    Journal.open(path, device=DeviceKey.from_seed(b"x"), clock=SetClock(START), rehearsal=True, chain="6" * 32).close()
    found = CliRunner().invoke(command, ["criteria", "--journal", str(path), "--json"])
    assert found.exit_code == 0
    assert json.loads(found.stdout)["triggers"]["rows"] == []
    assert "a rehearsal: nothing of it counts" in found.stderr


# -- judgements, words by words


@pytest.mark.parametrize(
    ("cause", "right", "rolled_back", "expected"),
    [
        ("performance degradation", "", False, "right"),
        ("upstream data issue", "wrong", True, "right"),  # the trouble was real, though rolling back was not the cure
        ("false alarm", "right", False, "wrong"),
        ("False Alarm", "", False, "wrong"),
        ("", "wrong", True, "wrong"),
        ("", "right", True, "right"),
        ("", "right", False, ""),  # not rolling back was right: of the fire that says nothing
        ("", "cannot tell", True, ""),
        ("", "", True, ""),
    ],
)
def test_a_fire_is_right_or_wrong_by_its_judgement(cause: str, right: str, rolled_back: bool, expected: str) -> None:
    assert verdict(Judgement("i-1", root_cause=cause, right=right), rolled_back=rolled_back) == expected


# -- one value of a file


@pytest.mark.parametrize(
    ("text", "loc", "new", "expected"),
    [
        ("trigger:\n  dwell: 5m  # why\n  hold: 1m\n", ("trigger", "dwell"), "8m",
         "trigger:\n  dwell: 8m  # why\n  hold: 1m\n"),
        ('trigger: {hold: 1m, dwell: "5m"}\n', ("trigger", "dwell"), "8m", "trigger: {hold: 1m, dwell: 8m}\n"),
        ("name: x\ntrigger:\n    hold: 1m\n", ("trigger", "dwell"), "8m",
         "name: x\ntrigger:\n    dwell: 8m\n    hold: 1m\n"),
        ("trigger: {hold: 1m}\nname: x\n", ("trigger", "dwell"), "8m", "trigger: {dwell: 8m, hold: 1m}\nname: x\n"),
        ("name: x\n", ("trigger", "dwell"), "8m", "name: x\ntrigger: {dwell: 8m}\n"),
        ("signals:\n  a: {breach: {above: 2%}}\n  b: {breach: {above: 2%}}\n", ("signals", "b", "breach", "above"),
         "3%", "signals:\n  a: {breach: {above: 2%}}\n  b: {breach: {above: 3%}}\n"),
    ],
)  # fmt: skip
def test_one_value_is_changed_and_nothing_else(text: str, loc: tuple[str, ...], new: str, expected: str) -> None:
    found = changed(yaml_marks.parse(text.encode(), "policy"), loc, new)
    assert found == expected
    value = yaml_marks.parse(found.encode(), "policy").value(loc)
    assert value == new


# -- proposals


def loaded(dwell: str = "5m") -> LoadedPolicy:
    papers = Papers("risk", owners=("team-risk",), members=("fraud-score",), tiers={"fraud-score": "critical"},
                    dwell=dwell)  # fmt: skip
    return parse_policy(papers.text(), "risk.yaml")


def trouble(policy: LoadedPolicy, number: int, errors: float, minutes: int, judged: str) -> tuple[Fire, Stretch]:
    """An hour a minute apart, with errors for so many minutes of it; and the fire that the policy makes of it."""
    rule = policy.rules[0]
    begin = START + number * 86_400.0
    seen = []
    for minute in range(60):
        bad = 10 <= minute < 10 + minutes
        readings = (Reading(0.9, 0.9, 5_000.0), Reading(errors if bad else 0.003), Reading(0.03, 0.03))
        seen.append(Observation(rule.deployment.id, begin + minute * MINUTE_S, readings, "12"))
    lane = Lane((rule,), {0: FRESH})
    for each in seen:
        for _ in lane.take(Tick(each.at, (each,))):
            pass
    (made,) = lane.fires(0)
    since = begin + 10 * MINUTE_S
    fire = Fire(str(rule.deployment.id), "risk", made.start, since, since + minutes * MINUTE_S, made.end,
                (("error_rate", since),), judged)  # fmt: skip
    return fire, Stretch(str(rule.deployment.id), FRESH, tuple(seen))


def proposed(policy: LoadedPolicy, troubles: list[tuple[Fire, Stretch]], missed: tuple[Missed, ...] = (),
             more: tuple[Stretch, ...] = ()) -> Proposal:  # fmt: skip
    found = TriggerAudit("risk", 1, START, ("production/fraud-score",), tuple(fire for fire, _ in troubles), missed,
                         300.0, None, None, None, START, None, ())  # fmt: skip
    stretches = (*(stretch for _, stretch in troubles), *more)
    return propose(found, policy, Sampled((), (), {"risk": stretches}, 0, 0, 0))


def test_a_margin_that_avoids_what_was_wrong_is_proposed_with_its_backtest() -> None:
    policy = loaded()
    real = [trouble(policy, number, 0.06, 20, "right") for number in range(3)]
    blips = [trouble(policy, number, 0.024, 7, "wrong") for number in range(3, 6)]
    found = proposed(policy, [*real, *blips])
    assert found.tried is not None
    assert found.tried.change.where == "signals.error_rate.breach.above"
    assert (found.tried.change.before, found.tried.change.after) == ("2%", "2.5%")
    assert (found.tried.kept("right"), found.tried.kept("wrong"), found.tried.more) == (3, 0, 0)
    assert found.why == "avoids 3 of 3 wrong fires and keeps all 3 right ones"
    assert [line for line in found.diff if line[0] in "+-"][2:] == [
        "-    breach: {above: 2%}", "+    breach: {above: 2.5%}",
    ]  # fmt: skip
    again = parse_policy(found.tried.change.data, "again")
    assert again.rules[0].signals[1].breach.above == pytest.approx(0.025)


def test_the_diff_is_one_that_patch_takes() -> None:
    """Its headers name the file twice, and its lines are the file's own."""
    policy = loaded()
    real = [trouble(policy, number, 0.06, 20, "right") for number in range(5)]
    found = proposed(policy, real)
    assert found.tried is not None
    assert found.diff[:2] == ("--- a/risk.yaml", "+++ b/risk.yaml")
    kept = [line[1:] for line in found.diff[3:] if line[0] in " -"]
    made = [line[1:] for line in found.diff[3:] if line[0] in " +"]
    assert "\n".join(kept) in policy.data.decode()
    assert "\n".join(made) in found.tried.change.data.decode()


def test_a_dwell_is_proposed_where_only_time_tells_blips_apart() -> None:
    """As bad as the real ones, and over within eight minutes: a dwell of nine avoids them, and is paid in minutes."""
    policy = loaded()
    real = [trouble(policy, number, 0.06, 20, "right") for number in range(3)]
    blips = [trouble(policy, number, 0.09, 7, "wrong") for number in range(3, 5)]
    found = proposed(policy, [*real, *blips])
    assert found.tried is not None
    assert (found.tried.change.where, found.tried.change.after) == ("trigger.dwell", "7m")
    assert [each.delay_s for each in found.tried.outcomes] == [120.0, 120.0, 120.0, None, None]
    assert found.why == "avoids 2 of 2 wrong fires and keeps all 3 right ones, 2m later in the mean"


def test_no_change_is_proposed_that_would_lose_a_right_fire() -> None:
    policy = loaded()
    real = [trouble(policy, number, 0.03, 7, "right") for number in range(3)]
    blips = [trouble(policy, number, 0.09, 20, "wrong") for number in range(3, 6)]
    found = proposed(policy, [*real, *blips])
    assert found.tried is None
    assert found.why.startswith("no change of one value avoids any of 3 wrong fires")


def test_too_few_are_said_to_be_too_few() -> None:
    policy = loaded()
    one = [trouble(policy, number, 0.06, 20, "right") for number in range(4)]
    assert proposed(policy, one).why == "too few to say: 4 judged fires with samples, 5 are needed"
    blip = [trouble(policy, 5, 0.024, 7, "wrong")]
    assert proposed(policy, [*one, *blip]).why.startswith("too few to say: 4 right and 1 wrong fires")
    unjudged = [trouble(policy, number, 0.06, 20, "") for number in range(10, 20)]
    assert proposed(policy, [*one, *unjudged]).tried is None


def test_a_shorter_dwell_is_proposed_only_if_it_adds_no_fire() -> None:
    policy = loaded()
    real = [trouble(policy, number, 0.06, 20, "right") for number in range(5)]
    found = proposed(policy, real)
    assert found.tried is not None
    assert (found.tried.change.where, found.tried.change.after) == ("trigger.dwell", "1m")
    assert found.tried.delay_s == -240.0
    _, short = trouble(loaded("1m"), 7, 0.06, 3, "")  # over within three minutes: nobody heard of it
    patient = proposed(policy, real, more=(short,))
    assert patient.tried is not None
    assert patient.tried.change.after == "3m"


def test_a_tighter_margin_is_proposed_for_what_was_missed() -> None:
    policy = loaded("1m")
    real = [trouble(policy, number, 0.06, 20, "right") for number in range(5)]
    quiet = parse_policy(policy.data.replace(b"above: 2%", b"above: 1.5%"), "tight")
    _, unseen = trouble(quiet, 7, 0.018, 20, "")
    miss = Missed(START + 7 * 86_400.0 + 20 * MINUTE_S, "risk", "production/fraud-score", "rollback without a fire")
    found = proposed(policy, real, (miss,), (unseen,))
    assert found.tried is not None
    assert (found.tried.change.where, found.tried.change.after) == ("signals.error_rate.breach.above", "1.6%")
    assert found.why == "would have told of 1 of 1 that were missed, with no wrong fire more"


def test_samples_of_other_signals_are_left_out_and_counted(tmp_path: Path) -> None:
    """A policy whose signals were others judges nothing of then, and the walk says how much that was."""
    path = tmp_path / "short.db"
    write_year(path, days=12)
    text = first_papers()["risk"].text().replace(b"error_rate", b"failures")
    rules = parse_policy(text, "renamed").rules
    walk = Walk({str(rule.deployment.id): ("risk", rule) for rule in rules})
    for _ in walk.read(path, Window()):
        pass
    found = walk.found()
    assert found.quality == ()
    assert found.other == found.ticks * len(rules)


def test_blindness_is_kept_apart_by_kind() -> None:
    world, papers = World(1, ()), first_papers()["risk"]
    assert world.observe.__name__ == "observe"
    rule = parse_policy(papers.text(), "risk").rules[0]
    readings = (Reading(blind=Blind.STALE), Reading(blind=Blind.QUERY_FAILED), Reading(0.03, None))
    walk = Walk({str(rule.deployment.id): ("risk", rule)})
    few = (Reading(0.9, 0.9, 10.0), Reading(0.003), Reading(0.03, 0.03))
    walk._signals["here"] = [(str(rule.deployment.id), [signal.name for signal in rule.signals])]
    walk._take(Tick(START, (Observation(rule.deployment.id, START, readings, "1"),)), "here", 60.0)
    walk._take(Tick(START + 60, (Observation(rule.deployment.id, START + 60, few, "1"),)), "here", 180.0)
    conversion, errors, latency = walk.found().quality
    assert (conversion.blind[3], conversion.too_few) == (0.25, 0.75)
    assert (errors.blind[2], errors.seen) == (0.25, 0.75)
    assert (latency.no_baseline, latency.seen) == (0.25, 0.75)
