"""`rehearse --headless` of more than one drill: every scenario once, or many seeds of each."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rollback_console.cli import drill_junit, drill_words
from rollback_console.cli.common import emit_json, emit_lines, warn
from rollback_console.cli.drill_jobs import Played, Task, jobs_of, play_all
from rollback_console.cli.drill_junit import Case
from rollback_console.cli.drill_library import as_kept, checker, current, gathered, library_path
from rollback_console.cli.drill_words import Many, Skipped
from rollback_console.cli.drilling import NotCovered, policy_digest, staged
from rollback_console.cli.progress import progress
from rollback_console.cli.sheets import show
from rollback_console.errors import UsageError
from rollback_console.model.text import plain
from rollback_console.model.value import dataclass
from rollback_console.rehearse.scenario import Scenario, find, shipped

if TYPE_CHECKING:
    from rollback_console.rehearse.library import Library, Result


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be played. `scenario`: a name, a file or a folder of them, None for the shipped; `every`: the shipped
    ones too; `runs`: so many seeds of each, None for one drill each; `at_least`: the share of runs that is to pass."""

    scenario: str | None
    every: bool
    operator: str
    seed: int
    runs: int | None
    jobs: int | None
    policy: Path | None
    junit: Path | None
    keep_failed: Path | None
    library: Path | None
    refresh: bool
    at_least: float
    as_json: bool
    config: Path | None = None


@dataclass(frozen=True, slots=True)
class Chosen:
    """A scenario that is played. `word`: what finds it again; `file`: its file, where it did not come with us."""

    word: str
    scenario: Scenario
    file: Path | None
    policy_digest: str


def rehearse_many(order: Order) -> int:
    """Play it, tell it; the exit code."""
    from rollback_console.rehearse.operators import operator_named

    operator_named(order.operator)  # a name that nobody bears is said before anything is played
    for written, option in ((order.junit and order.junit.parent, "--junit"), (order.keep_failed, "--keep-failed")):
        if written is not None:
            _usable(written, option)
    path = library_path(order.library, order.config) if order.runs is not None else None
    library = _library(path)
    chosen, skipped = choose(order)
    if order.refresh and path is not None and library is not None:
        chosen, fresh = _stale_only(chosen, order, library, path)
        skipped += fresh
    if not chosen and not order.refresh:
        raise UsageError(
            "there is nothing to rehearse: " + "; ".join(f"{each.name} ({each.why})" for each in skipped)[:600],
            "`rollback-console rehearse --list` shows what there is",
        )
    if not chosen:
        warn("nothing is stale: the evidence library is as it would be made now")
    tasks = _tasks(chosen, order)
    played = _play(tasks, order) if tasks else []
    count = order.runs or 1
    groups = [played[first : first + count] for first in range(0, len(played), count)]
    if order.runs is None:
        return _tell_each(order, chosen, [group[0] for group in groups], skipped)
    return _tell_runs(order, chosen, groups, skipped, library, path)


# -- what is played ---------------------------------------------------------------------------------------------------


def choose(order: Order) -> tuple[list[Chosen], list[Skipped]]:
    """The scenarios to play, and those that are left out, with the reason. Raises FileProblems for bad files."""
    words: list[tuple[str, Path | None]] = []
    folder = Path(order.scenario) if order.scenario is not None else None
    if folder is not None and folder.is_dir():
        files = sorted(each for each in folder.iterdir() if each.suffix in (".yaml", ".yml") and each.is_file())
        if not files:
            raise UsageError(f"{plain(str(folder), 200)} holds no *.yaml", "name a folder of scenarios, or one of them")
        words += [(str(each), each) for each in files]
    elif order.scenario is not None:
        words.append((order.scenario, Path(order.scenario) if Path(order.scenario).is_file() else None))
    if order.every:
        words += [(listed.name, None) for listed in shipped()]
    several = len(words) > 1
    chosen, skipped = [], []
    for word, file in words:
        scenario = find(word)
        listed = scenario.listed
        if several and listed.needs:
            skipped.append(Skipped(listed.name, listed.klass, f"needs {', '.join(listed.needs)}"))
            continue
        try:
            digest = policy_digest(staged(scenario, order.seed, order.policy, order.operator))
        except NotCovered as error:
            if not several:
                raise
            skipped.append(Skipped(listed.name, listed.klass, error.message))
            continue
        chosen.append(Chosen(word, scenario, file, digest))
    return chosen, skipped


def _stale_only(
    chosen: Sequence[Chosen], order: Order, library: Library, path: Path
) -> tuple[list[Chosen], list[Skipped]]:
    check, left, fresh = checker(path), [], []
    for each in chosen:
        listed = each.scenario.listed
        if current(library, _wanted(each, order, path), check):
            fresh.append(Skipped(listed.name, listed.klass, "the library has it, and nothing has changed since"))
        else:
            left.append(each)
    return left, fresh


def _wanted(each: Chosen, order: Order, path: Path) -> Result:
    """What the library would hold of it: by name, operator and policy, with these seeds."""
    from rollback_console.rehearse.library import Result
    from rollback_console.rehearse.montecarlo import Run

    seeds = range(order.seed, order.seed + (order.runs or 1))
    runs = tuple(Run(seed, "", "", "", False, False, None, None) for seed in seeds)
    return Result(
        each.scenario.name, as_kept(each.file, path), each.scenario.digest, each.scenario.listed.klass, order.operator,
        as_kept(order.policy, path), each.policy_digest, "", "", "", runs,
    )  # fmt: skip


def _tasks(chosen: Sequence[Chosen], order: Order) -> list[Task]:
    """One drill each, or `runs` of each, in the order in which they are told."""
    keep = order.keep_failed
    if order.runs is None and keep is None:
        keep = Path(tempfile.gettempdir()) / f"rollback-console-failed-{_free()}"
    seeds = range(order.seed, order.seed + (order.runs or 1))
    places = [(each.word, seed) for each in chosen for seed in seeds]
    return [Task(k, word, order.operator, seed, order.policy, keep) for k, (word, seed) in enumerate(places)]


def _free() -> str:
    import secrets

    return secrets.token_hex(4)  # a folder that nobody has yet, made when a drill fails


def _play(tasks: Sequence[Task], order: Order) -> list[Played]:
    done = 0
    with progress(len(tasks), "rehearse", as_json=order.as_json, lines=True) as bar:

        def take(_: Played) -> None:
            nonlocal done
            done += 1
            bar.come_to(done)

        return play_all(tasks, jobs_of(order.jobs, len(tasks)), take)


# -- what is told -----------------------------------------------------------------------------------------------------


def _tell_each(order: Order, chosen: Sequence[Chosen], played: Sequence[Played], skipped: Sequence[Skipped]) -> int:
    if order.junit is not None:
        cases = [_case(each, one) for each, one in zip(chosen, played, strict=True)]
        drill_junit.write(order.junit, [*cases, *map(_skipped_case, skipped)], _properties(order))
    if order.as_json:
        emit_json(
            {
                "drills": [
                    {"scenario": each.scenario.name} | drill_words.drill_facts(one)
                    for each, one in zip(chosen, played, strict=True)
                ],
                "skipped": [{"scenario": each.name, "reason": each.why} for each in skipped],
            }
        )
    else:
        show([drill_words.drills_sheet(played, skipped)], "table")
        emit_lines(drill_words.failure_lines(played))
    return _code(played, all(one.result is None or one.result.passed for one in played))


def _tell_runs(
    order: Order, chosen: Sequence[Chosen], groups: Sequence[Sequence[Played]], skipped: Sequence[Skipped],
    library: Library | None, path: Path | None,
) -> int:  # fmt: skip
    from rollback_console.rehearse.library import by_path, save

    results, many = [], []
    for each, group in zip(chosen, groups, strict=True):
        drills = [one.result for one in group if one.result is not None]
        if not drills:
            continue
        assert path is not None  # noqa: S101 - there are runs, so there is a library
        result = gathered(drills, as_kept(each.file, path), as_kept(order.policy, path))
        results.append(result)
        many.append(_many(result, group))
    whole = [each for each, one in zip(results, many, strict=True) if not any(played.problem for played in one.played)]
    if path is not None and library is not None and whole:
        save(library.with_results(whole), path)
    if order.junit is not None:
        cases = [_runs_case(each, order.at_least) for each in many]
        drill_junit.write(order.junit, [*cases, *map(_skipped_case, skipped)], _properties(order))
    found = by_path(results)
    if order.as_json:
        emit_json(
            {
                "scenarios": [drill_words.many_facts(each) for each in many],
                "outcomes": [drill_words.outcome_facts(each) for each in found],
                "skipped": [{"scenario": each.name, "reason": each.why} for each in skipped],
                "library": str(path),
            }
        )
    else:
        sheets = [drill_words.runs_sheet(many, skipped)]
        show([*sheets, drill_words.outcomes_sheet(found)] if len(many) > 1 else sheets, "table")
        emit_lines(_problem_lines(groups))
        emit_lines([f"evidence library: {path}"])
    played = [one for group in groups for one in group]
    return _code(played, all(each.passed.share >= order.at_least for each in many))


def _many(result: Result, group: Sequence[Played]) -> Many:
    from rollback_console.rehearse.library import by_path
    from rollback_console.rehearse.montecarlo import share

    passed = share(sum(run.passed for run in result.runs), len(result.runs))
    return Many(
        result.scenario, result.klass, result.operator, result.seeds, passed, by_path([result]), tuple(group)
    )  # fmt: skip


def _problem_lines(groups: Sequence[Sequence[Played]]) -> list[str]:
    """What could not be played, the same problem once; and the journals that were kept."""
    problems = dict.fromkeys(one.problem for group in groups for one in group if one.problem)
    kept = [one.journal for group in groups for one in group if one.journal]
    lines = [f"could not be played: {each}" for each in problems]
    return [*lines, f"{len(kept)} journals of failed drills: {Path(kept[0]).parent}"] if kept else lines


def _code(played: Sequence[Played], passed: bool) -> int:
    """What could not be played at all is worse than what failed."""
    problems = [one.exit_code for one in played if one.problem]
    return max(problems) if problems else 0 if passed else 1


def _library(path: Path | None) -> Library | None:
    """The library as it stands, read before anything is played: twenty minutes later is no time to say it is broken."""
    if path is None:
        return None
    from rollback_console.rehearse.library import load

    library = load(path)
    _usable(path.parent, "--library")
    return library


def _usable(folder: Path, option: str) -> None:
    """Raises UsageError for a folder that nothing can be written in, before anything is played."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{plain(str(folder), 200)}: {error.strerror}", f"name another place for {option}") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"nothing may be written in {plain(str(folder), 200)}", f"name another place for {option}")


# -- JUnit ------------------------------------------------------------------------------------------------------------


def _case(each: Chosen, one: Played) -> Case:
    listed, result = each.scenario.listed, one.result
    where = f"rehearse.{listed.klass}"
    if result is None:
        return Case(where, f"{listed.name}", "error", message=one.problem, text=one.problem)
    name = f"{listed.name} by {result.operator}, seed {result.seed}"
    told = "\n".join(drill_words.drill_lines(result, one.journal or "not kept"))
    if result.passed:
        return Case(where, name, "passed", result.elapsed_s, told=told)
    return Case(where, name, "failed", result.elapsed_s, drill_words.why_failed(result), told)


def _runs_case(many: Many, at_least: float) -> Case:
    where, name = f"rehearse.{many.klass}", f"{many.scenario} by {many.operator}, seeds {many.seeds}"
    elapsed = sum(one.result.elapsed_s for one in many.played if one.result is not None)
    share = many.passed
    told = f"{share.held} of {share.runs} passed ({100 * share.low:.1f} to {100 * share.high:.1f} %)"
    lines = [told, *(f"{word}: {count} runs, first with seed {seed}" for word, count, seed in many.reasons)]
    lines += [f"journal: {one.journal}" for one in many.played if one.journal]
    problems = dict.fromkeys(one.problem for one in many.played if one.problem)
    text = "\n".join([*lines, *problems])
    if problems:
        return Case(where, name, "error", elapsed, next(iter(problems)), text)
    if many.passed.share < at_least:
        return Case(where, name, "failed", elapsed, f"{told}; {100 * at_least:g} % were asked for", text, text)
    return Case(where, name, "passed", elapsed, told=text)


def _skipped_case(each: Skipped) -> Case:
    return Case(f"rehearse.{each.klass}", each.name, "skipped", message=each.why)


def _properties(order: Order) -> list[tuple[str, str]]:
    from rollback_console.decide.version import ENGINE
    from rollback_console.version import __version__

    found = [("program", __version__), ("engine", ENGINE), ("operator", order.operator), ("seed", str(order.seed))]
    return [*found, ("policy", str(order.policy))] if order.policy is not None else found
