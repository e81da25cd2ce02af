"""Files in, values out. Every function returns, or raises `FileProblems` with all that is wrong at once, so that a
reload that fails leaves its caller with what it had."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ValidationError

from rollback_console.errors import FileProblems, Problem
from rollback_console.model.identity import DeploymentId
from rollback_console.model.message import Template
from rollback_console.model.rules import DeploymentRule
from rollback_console.model.text import plain
from rollback_console.model.value import dataclass
from rollback_console.policy import lint, policy, yaml_marks
from rollback_console.policy.compile import compile_policy
from rollback_console.policy.policy import Policy
from rollback_console.policy.problems import in_order, problems_of
from rollback_console.policy.yaml_marks import Document, Loc

if TYPE_CHECKING:
    from rollback_console.policy.operator_script import OperatorScript
    from rollback_console.policy.roster import Roster
    from rollback_console.policy.scenario import Scenario
    from rollback_console.policy.settings import Settings

_M = TypeVar("_M", bound=BaseModel)
KINDS = {kind: f"rollback-console/{kind}/v1" for kind in ("policy", "settings", "roster", "scenario", "operator")}
_MAX_FILES = 1_000  # that the patterns of `policies:` may match


@dataclass(frozen=True, slots=True)
class LoadedPolicy:
    """A policy that is right: its words, its rules, and the very bytes they came from (SHA-256 in hex)."""

    policy: Policy
    rules: tuple[DeploymentRule, ...]
    digest: str
    data: bytes
    warnings: tuple[Problem, ...]
    path: Path


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """Settings that are right. The paths in `settings` are as written; the ones here are absolute."""

    settings: Settings
    data: bytes
    digest: str
    path: Path
    warnings: tuple[Problem, ...] = ()
    policy_paths: tuple[Path, ...] = ()
    templates: tuple[Template, ...] = ()  # the team's own, of the folder that the settings name

    def resolve(self, written: str) -> Path:
        """A path of the settings, relative to their folder; `~` is the home folder."""
        return (self.path.parent / Path(written).expanduser()).resolve()

    @property
    def roster_path(self) -> Path | None:
        return self.resolve(self.settings.roster) if self.settings.roster else None

    @property
    def journal_path(self) -> Path | None:
        return self.resolve(self.settings.journal) if self.settings.journal else None

    @property
    def runbook_paths(self) -> tuple[Path, ...]:
        return tuple(self.resolve(written) for written in self.settings.runbooks)

    @property
    def templates_path(self) -> Path | None:
        return self.resolve(self.settings.templates) if self.settings.templates else None


@dataclass(frozen=True, slots=True)
class LoadedRoster:
    """A roster that is right."""

    roster: Roster
    data: bytes
    digest: str
    path: Path
    warnings: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class LoadedScenario:
    """A scenario that is right. `digest` is the SHA-256 of its bytes, in hex."""

    scenario: Scenario
    data: bytes
    digest: str
    path: Path
    warnings: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class LoadedOperator:
    """A headless operator that is right. `digest` is the SHA-256 of its bytes, in hex."""

    operator: OperatorScript
    digest: str
    path: Path
    warnings: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Configuration:
    """Everything that belongs together. `rules` of all policies, in the order of the settings and of the files."""

    settings: LoadedSettings
    policies: tuple[LoadedPolicy, ...]
    roster: LoadedRoster | None
    rules: tuple[DeploymentRule, ...]
    warnings: tuple[Problem, ...] = ()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _validate(document: Document, model: type[_M], schema: str, more: Iterator[Problem]) -> _M:
    """The model of a document. `more` are the problems between its parts. Raises FileProblems."""
    found = document.data.get("schema")
    if found is not None and found != schema:
        raise FileProblems((_wrong_schema(document, found, schema),))
    problems: list[Problem] = []
    value: _M | None = None
    try:
        value = model.model_validate(document.data)
    except ValidationError as error:
        problems.extend(problems_of(error, document, model))
    places = {(problem.line, problem.column) for problem in problems}
    problems.extend(problem for problem in more if (problem.line, problem.column) not in places)
    if problems or value is None:
        raise FileProblems(tuple(in_order(problems)))
    return value


def _a(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


def _wrong_schema(document: Document, found: object, schema: str) -> Problem:
    kind = schema.split("/")[1]
    if isinstance(found, str) and found in KINDS.values():
        return document.problem(("schema",), f"this is {_a(found.split('/')[1])} file, {_a(kind)} was expected",
                                f"Name a file with `schema: {schema}`")  # fmt: skip
    if isinstance(found, str) and found.startswith(f"rollback-console/{kind}/"):
        return document.problem(("schema",), f"{plain(found, 60)} is another version than this program reads",
                                f"It reads {schema}")  # fmt: skip
    return document.problem(("schema",), "is not a schema of this program", f"Write `schema: {schema}`")


def _policy_of(data: bytes, path: Path, file: str) -> tuple[LoadedPolicy, Document]:
    document = yaml_marks.parse(data, file)
    value = _validate(document, Policy, policy.SCHEMA, lint.check_policy(document))
    digest = _digest(data)
    warnings = tuple(in_order(lint.warnings(document, value)))
    return LoadedPolicy(value, compile_policy(value, digest), digest, data, warnings, path), document


def _bytes(path: Path, file: str | None = None) -> bytes:
    return yaml_marks.read(path, file or str(path))


def parse_policy(data: bytes, file: str) -> LoadedPolicy:
    """A policy from bytes that are no file of their own (shipped ones, blobs of a journal). Raises FileProblems."""
    return _policy_of(data, Path(file), file)[0]


def load_policy(path: Path) -> LoadedPolicy:
    """A policy file. Raises FileProblems with everything wrong in it."""
    return _policy_of(_bytes(path), path, str(path))[0]


def load_settings(path: Path) -> LoadedSettings:
    """A settings file; the patterns of `policies` are followed. Raises FileProblems."""
    loaded, problems = _settings_of(path)
    if problems:
        raise FileProblems(tuple(in_order(problems)))
    return loaded


def _settings_of(path: Path) -> tuple[LoadedSettings, list[Problem]]:
    """Settings that are right by themselves, and what is wrong with the files they name."""
    from rollback_console.policy.settings import Settings  # a policy alone does not need it: 15 ms

    data = _bytes(path)
    document = yaml_marks.parse(data, str(path))
    value = _validate(document, Settings, KINDS["settings"], iter(()))
    paths, problems = _policy_paths(value, path, document)
    if value.roster is not None and not (path.parent / Path(value.roster).expanduser()).is_file():
        problems.append(document.problem(("roster",), "there is no such file", "`rollback-console init` drafts one"))
    templates = _templates(value, path, document, problems)
    warnings = tuple(in_order(_settings_warnings(value, document, path)))
    return LoadedSettings(value, data, _digest(data), path, warnings, paths, templates), problems


def _templates(value: Settings, path: Path, document: Document, problems: list[Problem]) -> tuple[Template, ...]:
    """The team's own templates; what is wrong with them goes to `problems`."""
    if value.templates is None:
        return ()
    from rollback_console.policy.templates import load_templates

    folder = path.parent / Path(value.templates).expanduser()
    if not folder.is_dir():
        problems.append(document.problem(("templates",), "there is no such folder", "Make it, or take it out"))
        return ()
    try:
        return load_templates(folder)
    except FileProblems as error:
        problems.extend(error.problems)
        return ()


def _policy_paths(value: Settings, path: Path, document: Document) -> tuple[tuple[Path, ...], list[Problem]]:
    found: dict[Path, None] = {}
    problems = []
    for index, pattern in enumerate(value.policies):
        written = Path(pattern).expanduser()
        if any(char in pattern for char in "*?["):
            folder = Path(written.anchor) if written.is_absolute() else path.parent
            parts = written.relative_to(written.anchor) if written.is_absolute() else written
            matches = sorted(match for match in folder.glob(str(parts)) if match.is_file())
        else:
            matches = [match for match in (path.parent / written,) if match.is_file()]
        if not matches:
            problems.append(document.problem(("policies", index), "no file is there",
                                             f"Paths are relative to {path.parent}"))  # fmt: skip
        found.update(dict.fromkeys(match.resolve() for match in matches))
    if len(found) > _MAX_FILES:
        problems.append(document.problem(("policies",), f"{len(found):,} files, more than {_MAX_FILES:,}",
                                         "Is a pattern too wide?"))  # fmt: skip
        return (), problems
    return tuple(found), problems


def _settings_warnings(value: Settings, document: Document, path: Path) -> Iterator[Problem]:
    for key, server in (("prometheus", value.prometheus), ("registry", value.registry), ("hub", value.hub)):
        if server is None or not server.carries_a_secret or not server.url.startswith("http://"):
            continue
        host = server.url.removeprefix("http://").split("/")[0].rsplit(":", 1)[0]
        if host not in ("localhost", "127.0.0.1", "[::1]"):
            yield document.problem((key, "url"), "a secret travels to it in clear", "Use https://", "warning")
    for index, folder in enumerate(value.runbooks):
        if not (path.parent / Path(folder).expanduser()).is_dir():
            yield document.problem(("runbooks", index), "there is no such folder", "Make it, or take it out", "warning")


def parse_roster(data: bytes, file: str) -> LoadedRoster:
    """A roster from bytes that are no file of their own. Raises FileProblems."""
    return _roster_of(data, Path(file))[0]


def load_roster(path: Path) -> LoadedRoster:
    """A roster file. Raises FileProblems."""
    return _roster_of(_bytes(path), path)[0]


def _roster_of(data: bytes, path: Path) -> tuple[LoadedRoster, Document]:
    from rollback_console.policy.roster import Roster

    document = yaml_marks.parse(data, str(path))
    value = _validate(document, Roster, KINDS["roster"], iter(()))
    warnings = []
    for index, person in enumerate(value.operators):
        if not person.keys:
            warnings.append(document.problem(("operators", index), f"{person.id} has no key and can only look",
                                             "`rollback-console identity init` makes one", "warning"))  # fmt: skip
    return LoadedRoster(value, data, _digest(data), path, tuple(warnings)), document


def parse_scenario(data: bytes, file: str) -> LoadedScenario:
    """A scenario from bytes that are no file of their own (shipped ones). Raises FileProblems."""
    return _scenario_of(data, Path(file))


def load_scenario(path: Path) -> LoadedScenario:
    """A scenario file. Raises FileProblems with everything wrong in it."""
    return _scenario_of(_bytes(path), path)


def _scenario_of(data: bytes, path: Path) -> LoadedScenario:
    from rollback_console.policy import scenario_lint  # what is only rehearsed, the console does without
    from rollback_console.policy.scenario import Scenario

    document = yaml_marks.parse(data, str(path))
    value = _validate(document, Scenario, KINDS["scenario"], scenario_lint.check_scenario(document))
    warnings = tuple(in_order(scenario_lint.warnings(document, value)))
    return LoadedScenario(value, data, _digest(data), path, warnings)


def load_operator(path: Path) -> LoadedOperator:
    """A headless operator's file. Raises FileProblems with everything wrong in it."""
    from rollback_console.policy.operator_script import OperatorScript

    data = _bytes(path)
    document = yaml_marks.parse(data, str(path))
    return LoadedOperator(_validate(document, OperatorScript, KINDS["operator"], iter(())), _digest(data), path)


def load_all(settings_path: Path) -> Configuration:
    """Settings and every file they name, checked together: deployments are unique across policies, and the roles that
    policies ask for are the roster's. Raises FileProblems with the problems of all files."""
    loaded, problems = _settings_of(settings_path)
    policies: list[tuple[LoadedPolicy, Document]] = []
    for path in loaded.policy_paths:
        try:
            policies.append(_policy_of(_bytes(path), path, str(path)))
        except FileProblems as error:
            problems.extend(error.problems)
    people: tuple[LoadedRoster, Document] | None = None
    if loaded.roster_path is not None and loaded.roster_path.is_file():
        try:
            people = _roster_of(_bytes(loaded.roster_path), loaded.roster_path)
        except FileProblems as error:
            problems.extend(error.problems)
    problems.extend(_twice(policies))
    warnings = [*loaded.warnings, *(warning for item, _ in policies for warning in item.warnings)]
    scrape_s, every_s = loaded.settings.prometheus.step, loaded.settings.evaluate_every
    for item, document in policies:
        warnings.extend(lint.against_settings(document, item.policy, scrape_s, every_s))
    if people is not None:
        problems.extend(_roles(policies, people[0].roster))
        warnings.extend(people[0].warnings)
        warnings.extend(_environments(policies, *people))
        problems.extend(_operator(loaded, people[0].roster))
    if problems:
        raise FileProblems(tuple(dict.fromkeys(problems)))
    rules = tuple(rule for item, _ in policies for rule in item.rules)
    return Configuration(
        loaded, tuple(item for item, _ in policies), people[0] if people else None, rules, tuple(warnings)
    )


def _twice(policies: list[tuple[LoadedPolicy, Document]]) -> Iterator[Problem]:
    first: dict[DeploymentId, Path] = {}
    for loaded, document in policies:
        for index, rule in enumerate(loaded.rules):
            known = first.setdefault(rule.deployment.id, loaded.path)
            if known is not loaded.path:
                what = f"{rule.deployment.id} stands in {known} as well"
                yield document.problem(("deployments", index, "name"), what, "One policy judges a deployment")


def _roles(policies: list[tuple[LoadedPolicy, Document]], people: Roster) -> Iterator[Problem]:
    known = list(people.roles)
    for loaded, document in policies:
        for index, path in enumerate(loaded.policy.recovery):
            asked: list[tuple[Loc, str]] = [(("request", at), role) for at, role in enumerate(path.authority.request)]
            asked += [(("approve", "of", at), role) for at, role in enumerate(path.authority.approve.of)]
            for where, role in asked:
                if role not in people.roles:
                    yield document.problem(("recovery", index, "authority", *where), f"the roster has no role {role}",
                                           lint.nearest(role, known, "Its roles"))  # fmt: skip


def _environments(
    policies: list[tuple[LoadedPolicy, Document]], people: LoadedRoster, document: Document
) -> Iterator[Problem]:
    known = sorted({rule.deployment.id.environment for loaded, _ in policies for rule in loaded.rules})
    for name, role in people.roster.roles.items():
        for index, environment in enumerate(role.environments or ()):
            if known and environment not in known:
                yield document.problem(("roles", name, "in", index), f"no deployment is in {environment}",
                                       lint.nearest(environment, known, "The environments"), "warning")  # fmt: skip


def _operator(loaded: LoadedSettings, people: Roster) -> Iterator[Problem]:
    name = loaded.settings.operator
    if name is not None and people.operator(name) is None:
        document = yaml_marks.parse(loaded.data, str(loaded.path))
        known = [person.id for person in people.operators]
        yield document.problem(("operator",), f"the roster has no operator {name}", lint.nearest(name, known, "It has"))


def check(path: Path) -> tuple[str, tuple[Problem, ...]]:
    """The kind of a file by its `schema:` key (policy, settings, roster, scenario, operator; "" where it cannot be
    told), and its problems and warnings, errors included. Never raises for what is in the file."""
    try:
        document = yaml_marks.parse(_bytes(path), str(path))
    except FileProblems as error:
        return "", error.problems
    schema = document.data.get("schema")
    try:
        if schema == KINDS["policy"]:
            return "policy", load_policy(path).warnings
        if schema == KINDS["settings"]:
            return "settings", load_settings(path).warnings
        if schema == KINDS["roster"]:
            return "roster", load_roster(path).warnings
        if schema == KINDS["scenario"]:
            return "scenario", load_scenario(path).warnings
        if schema == KINDS["operator"]:
            return "operator", load_operator(path).warnings
    except FileProblems as error:
        return str(schema).split("/")[1], error.problems
    names = ", ".join(KINDS.values())
    if schema is None:
        return "", (Problem(str(path), 1, 1, "schema", "is missing", f"Write one of {names}"),)
    return "", (document.problem(("schema",), "is not a schema of this program", f"Write one of {names}"),)
