"""`rollback-console report coverage`: who could not be helped in an incident, and the line to add."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rollback_console.cli.common import config_option, find_config, find_journal, need_config, warn
from rollback_console.cli.report_reading import (
    exit_code,
    format_option,
    journals_option,
    print_sheets,
    read,
    sheet_option,
)
from rollback_console.cli.sheets import Column, Sheet
from rollback_console.errors import ConsoleError, InputError

if TYPE_CHECKING:
    from rollback_console.model.rules import DeploymentRule
    from rollback_console.policy.load import Configuration
    from rollback_console.review.coverage import Coverage, Gap, Known

_Rules = list[tuple["DeploymentRule", str]]


@click.command("coverage", epilog="Example: rollback-console report coverage --strict")
@click.option("--offline", is_flag=True, help="From the journal alone: no settings, no registry.")
@click.option("--strict", is_flag=True, help="Exit 1 when something is missing.")
@journals_option
@config_option
@format_option
@sheet_option
@click.pass_context
def command(
    ctx: click.Context, offline: bool, strict: bool, journals: tuple[Path, ...], config: Path | None, form: str,
    as_json: bool, only: tuple[str, ...],
) -> None:  # fmt: skip
    """Deployments without a policy, business signal, recovery path, runbook, owner, dashboard or second version.

    Asks the registry; with --offline nothing but the journal, by the policies last in force.
    """
    found, bad = _of_journals(journals, config) if offline or journals else (_live(need_config(config)), 0)
    print_sheets(_sheets(found), form, as_json, only)
    ctx.exit(bad or (1 if strict and not found.complete else 0))


def _live(settings: Path) -> Coverage:
    from rollback_console.policy.load import load_all
    from rollback_console.review.coverage import coverage

    configuration = load_all(settings)
    rules: _Rules = [
        (rule, _shown(policy.path, settings)) for policy in configuration.policies for rule in policy.rules
    ]
    known, unjudged = asyncio.run(_registry(configuration, [rule for rule, _ in rules]))
    return coverage(rules, known, _runbooks(configuration.settings.runbook_paths), unjudged)


def _shown(path: Path, settings: Path) -> str:
    folder = settings.parent.resolve()
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)


async def _registry(
    configuration: Configuration, rules: Sequence[DeploymentRule]
) -> tuple[Mapping[str, Known], tuple[Gap, ...]]:
    """What the registry knows of each; nothing, and a word about it, where it does not answer."""
    from rollback_console.clock import WallClock
    from rollback_console.observe.connect import registry
    from rollback_console.review.coverage import in_registry, without_policy

    loaded = configuration.settings
    backend = registry(loaded.settings, loaded.path.parent, clock=WallClock(), random=random.Random())  # noqa: S311 - jitter
    if backend is None:
        warn("no registry is configured: who has no policy, and who has no second version, cannot be told")
        return {}, ()
    try:
        models = {model.name: model for model in await backend.models()}
        versions = {
            name: await backend.versions(name)
            for name in sorted({rule.deployment.model for rule in rules} & models.keys())
        }
    except ConsoleError as error:
        warn(f"the registry was not read: {error}; who has no policy, and no second version, cannot be told")
        return {}, ()
    finally:
        await backend.close()
    known = {
        str(rule.deployment.id): in_registry(
            rule, models.get(rule.deployment.model), versions.get(rule.deployment.model, ())
        )
        for rule in rules
    }
    return known, without_policy(tuple(models.values()), rules)


def _runbooks(folders: Sequence[Path]) -> Callable[[str], str | None]:
    """Says what is wrong with a runbook that a policy names: a function of its name."""
    from rollback_console.runbook.library import Library

    library, said = Library(folders), dict[str, str]()

    def look(name: str) -> str:
        if name not in said:
            try:
                runbook = library.get(name)
                wrong = next((problem.message for problem in runbook.problems if not runbook.steps), "")
                said[name] = f"{name}: {wrong}" if wrong else ""
            except InputError as error:
                said[name] = str(error)
        return said[name]

    return look


def _of_journals(journals: Sequence[Path], config: Path | None) -> tuple[Coverage, int]:
    from rollback_console.review.coverage import coverage
    from rollback_console.review.coverage_past import known_of, rules_of, without_policy
    from rollback_console.review.past_reading import blobs_of

    paths = [*journals] or [find_journal(None, find_config(config))]
    past = read(paths, config)
    with blobs_of(paths) as blobs:
        rules, gone = rules_of(past, blobs)
    for each in gone:
        warn(each)
    judged = [rule for rule, _ in rules]
    shipped = _runbooks(())
    # a team's own runbook is not in the journal: only one of the shipped ones is known to be there
    found = coverage(
        rules, known_of(past, judged), lambda name: "" if shipped(name) == "" else None, without_policy(past, judged)
    )
    return found, exit_code(past)


def _sheets(found: Coverage) -> tuple[Sheet, ...]:
    from rollback_console.review.coverage import ASKED

    complete = sum(1 for each in found.deployments if not each.gaps and None not in each.holds)
    untold = sum(1 for each in found.deployments if None in each.holds)
    notes = [f"{complete} of {len(found.deployments)} deployments have all of it"]
    if untold:
        notes.append(f"- : it cannot be told here ({untold} deployments)")
    columns = (
        Column("deployment", "deployment"), Column("policy", "policy"),
        *(Column(word.replace(" ", "_"), word) for word in ASKED),
    )  # fmt: skip
    rows = tuple((each.deployment, each.policy, *each.holds) for each in found.deployments)
    gaps = tuple((gap.deployment, gap.what, gap.detail, gap.where or None, gap.add) for gap in found.gaps)
    gap_columns = (
        Column("deployment", "deployment"), Column("missing", "missing"), Column("detail", "what is wrong"),
        Column("where", "where"), Column("add", "the line to add"),
    )  # fmt: skip
    return (
        Sheet("coverage", "Who has what an incident asks for", columns, rows, tuple(notes)),
        Sheet("gaps", "What is missing", gap_columns, gaps),
    )
