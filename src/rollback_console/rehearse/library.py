"""The evidence library: what drills have measured of each recovery path, in a file that people read and CI commits.

One result stands for one scenario played by one operator under one policy, over a row of seeds; a newer one takes the
place of the one before. Everything in the file is a function of seeds and versions: made again, it is the same file.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rollback_console.decide.version import ENGINE, decides_alike
from rollback_console.errors import ConsoleError, UsageError
from rollback_console.model.incident import AttributionKind, PathRecord
from rollback_console.model.text import plain
from rollback_console.model.value import dataclass
from rollback_console.rehearse.montecarlo import Outcome, Run, outcomes, quantile
from rollback_console.rehearse.montecarlo import share as share_of
from rollback_console.version import __version__

SCHEMA = "rollback-console/evidence/v1"
FILE = "evidence.json"
ADVISING = "perfect"  # whose drills say how good a path is: a careless operator's say how careless that is
_COLUMNS = ("seed", "origin", "path", "held", "passed", "recovered_s", "cost")
_MOST_BYTES = 64_000_000
_MENDED = "take the file away, or name another --library; `rehearse --all --headless --runs N` makes it anew"


@dataclass(frozen=True, slots=True)
class Result:
    """The drills of one scenario by one operator under one policy. `scenario`: its name; `scenario_file`: where it is,
    "" for one that comes with the console; `policy_file`: what `--policy` named, "" for the scenario's own. Digests are
    SHA-256 in hexadecimal. `program`: the version that played."""

    scenario: str
    scenario_file: str
    scenario_digest: str
    klass: str
    operator: str
    policy_file: str
    policy_digest: str
    engine: str
    program: str
    cost_unit: str
    runs: tuple[Run, ...]

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What a newer result of the same takes the place of."""
        return self.scenario, self.scenario_file, self.operator, self.policy_file

    @property
    def seeds(self) -> str:
        """The seeds in words: `7..206`."""
        seeds = [run.seed for run in self.runs]
        return "" if not seeds else f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]}..{seeds[-1]}"


@dataclass(frozen=True, slots=True)
class Library:
    """All results, by scenario, operator and policy."""

    results: tuple[Result, ...] = ()

    def with_results(self, new: Iterable[Result]) -> Library:
        """These, in place of what stood there of the same."""
        kept = {result.key: result for result in self.results}
        kept.update((result.key, result) for result in new)
        return Library(tuple(kept[key] for key in sorted(kept)))


@dataclass(frozen=True, slots=True)
class Now:
    """What a result is held against: the digests of its scenario and its policy as they are now, None where there is
    none any more."""

    scenario_digest: str | None
    policy_digest: str | None


def result_of(scenario_file: str, policy_file: str, drills: Sequence[tuple[Any, Run]]) -> Result:
    """A result out of (DrillResult, Run) pairs of one scenario, operator and policy, in the order of their seeds."""
    first = drills[0][0]
    return Result(
        scenario=first.scenario,
        scenario_file=scenario_file,
        scenario_digest=first.digest,
        klass=first.klass,
        operator=first.operator,
        policy_file=policy_file,
        policy_digest=first.policy,
        engine=first.engine or ENGINE,
        program=__version__,
        cost_unit=first.cost_unit,
        runs=tuple(run for _, run in drills),
    )


def stale(result: Result, now: Now) -> str:
    """Why a result says nothing of today, in words; "" where it does."""
    if now.scenario_digest is None:
        return "the scenario is not there any more"
    if now.scenario_digest != result.scenario_digest:
        return "the scenario has changed since"
    if now.policy_digest is None:
        return "the policy is not there any more"
    if now.policy_digest != result.policy_digest:
        return "the policy has changed since"
    if not decides_alike(result.engine):
        return f"engine {result.engine} played it, this program has {ENGINE}"
    return ""


def by_path(results: Iterable[Result]) -> tuple[Outcome, ...]:
    """Outcomes by class of incident and recovery path, over all of them."""
    return outcomes((run, result.cost_unit) for result in results for run in result.runs)


def record(results: Iterable[Result], policy_digest: str, path: str, origin: AttributionKind) -> PathRecord | None:
    """What drills under that very policy say of a recovery path where the console named that origin; None where none
    were played."""
    runs = [
        run
        for result in results
        if result.policy_digest == policy_digest and result.operator == ADVISING and decides_alike(result.engine)
        for run in result.runs
        if run.path == path and run.origin == origin
    ]
    if not runs:
        return None
    share = share_of(sum(run.held for run in runs), len(runs))
    middle = quantile([run.recovered_s for run in runs], 0.5)
    return PathRecord(
        path, origin, share.runs, share.held, round(share.low, 4), round(share.high, 4),
        middle.value if middle is not None and math.isfinite(middle.value) else None,
    )  # fmt: skip


# -- the file ---------------------------------------------------------------------------------------------------------


def load(path: Path) -> Library:
    """The library in a file; an empty one where there is none. Raises UsageError for what is not one."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise _bad(path, 1, "is larger than 64 MB")
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return Library()
    except UnicodeDecodeError:
        raise _bad(path, 1, "is not UTF-8") from None
    except OSError as error:
        raise UsageError(f"{plain(path, 200)}: {error.strerror}", "check the path and its permissions") from None
    try:
        document = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        line = error.lineno if isinstance(error, json.JSONDecodeError) else 1
        raise _bad(path, line, "is not JSON") from None
    return _library(document, path)


def save(library: Library, path: Path) -> None:
    """Write it whole or not at all. The same library is the same bytes. Raises ConsoleError where that fails."""
    data = written(library)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        finally:
            Path(temporary).unlink(missing_ok=True)
    except OSError as error:
        raise ConsoleError(
            f"the evidence library {plain(path, 200)} cannot be written: {error.strerror}",
            "check its folder, or name another --library",
        ) from None


def written(library: Library) -> str:
    """The library as text: one line a drill, so that a change of one is a line in a review."""
    head = json.dumps(SCHEMA)
    results = ",\n".join(_written(result) for result in library.results)
    return f'{{\n "schema": {head},\n "results": [{chr(10) if results else ""}{results}\n ]\n}}\n'


def _written(result: Result) -> str:
    facts = {
        "scenario": result.scenario,
        "scenario_file": result.scenario_file,
        "scenario_digest": result.scenario_digest,
        "class": result.klass,
        "operator": result.operator,
        "policy_file": result.policy_file,
        "policy_digest": result.policy_digest,
        "engine": result.engine,
        "program": result.program,
        "cost_unit": result.cost_unit,
        "columns": list(_COLUMNS),
    }
    lines = [f"   {json.dumps(name)}: {json.dumps(value)}," for name, value in facts.items()]
    drills = ",\n".join(
        "    " + json.dumps([getattr(run, name) for name in _COLUMNS], allow_nan=False) for run in result.runs
    )
    return "\n".join(["  {", *lines, f'   "drills": [\n{drills}\n   ]', "  }"])


def _library(document: Any, path: Path) -> Library:
    if not isinstance(document, dict) or not isinstance(document.get("schema"), str):
        raise _bad(path, 1, "is not an evidence library")
    if document["schema"] != SCHEMA:
        raise _bad(path, 1, f"has the schema {plain(document['schema'], 60)}; this program reads {SCHEMA}")
    results = document.get("results")
    if not isinstance(results, list):
        raise _bad(path, 1, "has no list `results`")
    return Library(tuple(_result(each, f"results[{number}]", path) for number, each in enumerate(results)))


_WORDS = (
    "scenario", "scenario_file", "scenario_digest", "class", "operator", "policy_file", "policy_digest", "engine",
    "program", "cost_unit",
)  # fmt: skip


def _result(facts: Any, where: str, path: Path) -> Result:
    if not isinstance(facts, dict):
        raise _bad(path, 1, f"{where} is not an object")
    words: list[str] = []
    for name in _WORDS:
        word = facts.get(name)
        if not isinstance(word, str) or len(word) > 4_096:
            raise _bad(path, 1, f"{where}.{name} is not a text")
        words.append(word)
    if facts.get("columns") != list(_COLUMNS):
        raise _bad(path, 1, f"{where}.columns are not {', '.join(_COLUMNS)}")
    drills = facts.get("drills")
    if not isinstance(drills, list):
        raise _bad(path, 1, f"{where}.drills is not a list")
    runs = tuple(_run(row, words[3], f"{where}.drills[{number}]", path) for number, row in enumerate(drills))
    scenario, file, digest, klass, operator, policy, policy_digest, engine, program, unit = words
    return Result(scenario, file, digest, klass, operator, policy, policy_digest, engine, program, unit, runs)


def _run(row: Any, klass: str, where: str, path: Path) -> Run:
    if not isinstance(row, list) or len(row) != len(_COLUMNS):
        raise _bad(path, 1, f"{where} is not a row of {len(_COLUMNS)}")
    seed, origin, taken, held, passed, recovered, cost = row
    fits = (
        isinstance(seed, int) and not isinstance(seed, bool) and isinstance(origin, str) and isinstance(taken, str)
        and isinstance(held, bool) and isinstance(passed, bool) and _number(recovered) and _number(cost)
    )  # fmt: skip
    if not fits:
        raise _bad(path, 1, f"{where} is not {', '.join(_COLUMNS)}")
    return Run(seed, klass, taken, origin, held, passed, recovered, cost)


def _number(value: Any) -> bool:
    """A finite number, or null."""
    if value is None:
        return True
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")


def _bad(path: Path, line: int, what: str) -> UsageError:
    return UsageError(f"{plain(path, 200)}:{line}: the evidence library {what}", _MENDED)


class Drilled:
    """What a live console says of a recovery path: read when it is first asked, and again when the file changes. A
    library that cannot be read says nothing here; `report evidence` says why."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._library = Library()
        self._known: dict[tuple[str, str, AttributionKind], PathRecord | None] = {}

    def __call__(self, policy_digest: str, path: str, origin: AttributionKind) -> PathRecord | None:
        self._look()
        key = (policy_digest, path, origin)
        if key not in self._known:
            self._known[key] = record(self._library.results, *key)
        return self._known[key]

    def _look(self) -> None:
        try:
            found = self._path.stat()
        except OSError:
            stamp = None
        else:
            stamp = (found.st_mtime_ns, found.st_size)
        if stamp == self._stamp:
            return
        self._stamp, self._known = stamp, {}
        try:
            self._library = load(self._path) if stamp is not None else Library()
        except ConsoleError:
            self._library = Library()
