"""Where the evidence library is, what its results are held against, and how they are made anew."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rollback_console.cli.common import data_folder, find_config
from rollback_console.errors import ConsoleError
from rollback_console.rehearse.library import FILE, Library, Now, Result, result_of, stale

if TYPE_CHECKING:
    from rollback_console.rehearse.score import DrillResult


def library_path(explicit: Path | None, config: Path | None = None) -> Path:
    """The evidence library: the option; the file beside the settings, where a team keeps one; else the data folder's.
    Raises UsageError where nobody has a home."""
    if explicit is not None:
        return explicit
    settings = find_config(config)
    if settings is not None and (settings.parent / FILE).is_file():
        return settings.parent / FILE
    return data_folder() / FILE


def as_kept(file: Path | None, library: Path) -> str:
    """A file as the library names it: from the library's folder, so that both may be committed together."""
    if file is None:
        return ""
    try:
        return Path(os.path.relpath(file.resolve(), library.resolve().parent)).as_posix()
    except ValueError:  # another drive
        return str(file.resolve())


def from_kept(name: str, library: Path) -> Path | None:
    """The file that the library names; None where it names none."""
    return Path(os.path.normpath(library.resolve().parent / name)) if name else None


def checker(library: Path) -> Callable[[Result], str]:
    """Why a result says nothing of today, "" where it does: scenarios and policies are read once each."""
    known: dict[tuple[str, str, str], Now] = {}

    def check(result: Result) -> str:
        key = (result.scenario, result.scenario_file, result.policy_file)
        if key not in known:
            known[key] = _now(result, library)
        return stale(result, known[key])

    return check


def _now(result: Result, library: Path) -> Now:
    """The digests of today. What cannot be read any more is not there."""
    from rollback_console.cli.drilling import policy_digest, staged
    from rollback_console.rehearse.scenario import find

    try:
        scenario = find(str(from_kept(result.scenario_file, library) or result.scenario))
        seed = result.runs[0].seed if result.runs else 0
        try:
            digest = policy_digest(staged(scenario, seed, from_kept(result.policy_file, library), result.operator))
        except ConsoleError:
            return Now(scenario.digest, None)
        return Now(scenario.digest, digest)
    except ConsoleError:
        return Now(None, None)


def gathered(drills: Sequence[DrillResult], scenario_file: str, policy_file: str) -> Result:
    """The drills of one scenario, in the order of their seeds, as the library keeps them."""
    from rollback_console.rehearse.montecarlo import run_of

    return result_of(scenario_file, policy_file, [(drill, run_of(drill)) for drill in drills])


def again(result: Result, library: Path) -> str:
    """The command that plays a stale result again."""
    words = ["rollback-console", "rehearse"]
    file = from_kept(result.scenario_file, library)
    words += [str(file)] if file is not None else ["--all"]
    words += ["--headless", "--runs", str(max(1, len(result.runs))), "--refresh"]
    if result.operator != "perfect":
        words += ["--operator", result.operator]
    if result.runs and result.runs[0].seed != 7:
        words += ["--seed", str(result.runs[0].seed)]
    policy = from_kept(result.policy_file, library)
    if policy is not None:
        words += ["--policy", str(policy)]
    return shlex.join([*words, "--library", str(library)])


def current(library: Library, wanted: Result, check: Callable[[Result], str]) -> bool:
    """Does the library hold this result already: of the same seeds and more, and nothing has changed since. `wanted`
    has its seeds in `runs`."""
    found = next((result for result in library.results if result.key == wanted.key), None)
    if found is None or check(found):
        return False
    return {run.seed for run in wanted.runs} <= {run.seed for run in found.runs}
