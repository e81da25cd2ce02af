"""`rollback-console init`: first drafts of settings, policy and roster from live servers."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rollback_console.cli.common import config_folder, emit_lines
from rollback_console.errors import BackendError, BackendUnreachable, ConsoleError, FileProblems, UsageError

if TYPE_CHECKING:
    from rollback_console.observe.protocol import MetricBackend, ModelRegistry
    from rollback_console.policy.draft import MetricFact, ModelFact

_MOST = 40  # guesses that are told on the terminal; the files have them all
_FILES = ("settings.yaml", "policy.yaml", "roster.yaml")


@click.command(
    "init",
    epilog="Example: rollback-console init --prometheus http://prometheus:9090 --mlflow http://mlflow:5000"
    " --operator ana --key ~/.ssh/id_ed25519.pub",
)
@click.option("--prometheus", required=True, metavar="URL", help="A server that speaks Prometheus' query API.")
@click.option("--mlflow", metavar="URL", help="The MLflow tracking server whose registry holds the models.")
@click.option("--directory", type=click.Path(path_type=Path, file_okay=False), help="Where the files go.")
@click.option("--environment", default="production", show_default=True, help="The environment of what is found.")
@click.option("--operator", metavar="ID", help="Who you are, for the roster.")
@click.option("--key", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Your PUBLIC key (.pub).")
@click.option("--force", is_flag=True, help="Overwrite files that exist.")
def command(
    prometheus: str,
    mlflow: str | None,
    directory: Path | None,
    environment: str,
    operator: str | None,
    key: Path | None,
    force: bool,
) -> None:
    """Draft settings, policy and roster from what the servers hold, and say what could not be guessed.

    Reads only. Files that exist are left alone without --force.
    """
    from rollback_console.policy import draft

    folder = directory or config_folder()
    there = [name for name in _FILES if (folder / name).exists()]
    if there and not force:
        raise UsageError(f"{folder} has {', '.join(there)} already", "--force overwrites, --directory goes elsewhere")
    _check_words(prometheus, mlflow, operator, environment)
    public = _public_key(key) if key is not None else None
    found, models, notes = asyncio.run(_discover(prometheus, mlflow))
    label = draft.choose_label(found, models)
    texts = (
        draft.draft_settings(prometheus, mlflow, operator),
        draft.draft_policy(found[label] if label else (), models, label, environment),
        draft.draft_roster(operator, public),
    )
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name, text in zip(_FILES, texts, strict=True):
        _write(folder / name, text)
    emit_lines([*notes, *_summary(folder, texts, label, len(models))])


def _check_words(prometheus: str, mlflow: str | None, operator: str | None, environment: str) -> None:
    """What is written into the files must be what may stand there. Raises UsageError."""
    from pydantic import TypeAdapter, ValidationError

    from rollback_console.policy.words import Address, Name

    asked = [("--prometheus", prometheus, Address), ("--mlflow", mlflow, Address)]
    asked += [("--operator", operator, Name), ("--environment", environment, Name)]
    for option, value, kind in asked:
        if value is None:
            continue
        try:
            TypeAdapter(kind).validate_python(value)
        except ValidationError as error:
            item = error.errors(include_url=False)[0]
            raise UsageError(f"{option}: {item['msg']}", str(item.get("ctx", {}).get("remedy", ""))) from None


def _public_key(path: Path) -> str:
    from rollback_console.policy.roster import key_blob

    try:
        with path.open(encoding="ascii", errors="replace") as handle:
            text = handle.read(20_000).strip()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", "Name your .pub file") from None
    try:
        key_blob(text)
    except ValueError as error:
        remedy = str((getattr(error, "context", None) or {}).get("remedy", ""))
        raise UsageError(f"{path}: {error}", remedy) from None
    if "\n" in text:
        raise UsageError(f"{path} holds several lines", "Name the .pub file of one key")
    return text


async def _discover(
    prometheus: str, mlflow: str | None
) -> tuple[dict[str, tuple[MetricFact, ...]], tuple[ModelFact, ...], list[str]]:
    """Metrics by each label that may tell deployments apart, registered models, and what could not be asked."""
    from random import SystemRandom

    from rollback_console.clock import WallClock
    from rollback_console.observe.mlflow import MlflowRegistry
    from rollback_console.observe.prometheus import PrometheusBackend

    clock, chance = WallClock(), SystemRandom()
    metrics = PrometheusBackend(prometheus, auth=None, headers={}, clock=clock, random=chance, timeout_s=30.0)
    registry = (
        MlflowRegistry(mlflow, auth=None, headers={}, clock=clock, random=chance, timeout_s=30.0) if mlflow else None
    )
    try:
        models = await _models(registry) if registry else ()
        found, notes = await _metrics(metrics, clock.now())
    finally:
        await metrics.close()
        if registry is not None:
            await registry.close()
    return found, models, notes


async def _models(registry: ModelRegistry) -> tuple[ModelFact, ...]:
    from rollback_console.policy.draft import ModelFact

    return tuple(
        ModelFact(model.name, tuple(sorted(alias for alias, _ in model.aliases))) for model in await registry.models()
    )


async def _metrics(backend: MetricBackend, at: float) -> tuple[dict[str, tuple[MetricFact, ...]], list[str]]:
    """One query a label, only over series that have it. A label that cannot be asked is noted and passed over; a
    server that is not there is an error."""
    from rollback_console.policy.draft import LABELS, MetricFact

    found: dict[str, tuple[MetricFact, ...]] = {}
    notes: list[str] = []
    for label in LABELS:
        try:
            series = await backend.query(f'count by (__name__, {label}) ({{__name__=~".+", {label}!=""}})', at)
        except BackendUnreachable:
            raise
        except BackendError as error:
            notes.append(f"the label {label} could not be asked for: {error.message}")
            continue
        values: dict[str, set[str]] = {}
        for one in series:
            labels = dict(one.labels)
            values.setdefault(labels.get("__name__", ""), set()).add(labels.get(label, ""))
        found[label] = tuple(MetricFact(name, tuple(sorted(all_))) for name, all_ in sorted(values.items()) if name)
    if not found:
        raise BackendError(f"{len(notes)} queries for metrics failed: {notes[-1]}", "Is this a Prometheus?")
    return found, notes


def _write(path: Path, text: str) -> None:
    """Whole or not at all."""
    try:
        with tempfile.NamedTemporaryFile("w", dir=path.parent, encoding="utf-8", delete=False) as handle:
            handle.write(text)
        os.chmod(handle.name, 0o644)  # no secret stands in it; a team shares it
        os.replace(handle.name, path)
    except OSError as error:
        raise ConsoleError(f"{path} cannot be written: {error.strerror}", "--directory names another folder") from None


def _summary(folder: Path, texts: tuple[str, str, str], label: str | None, models: int) -> list[str]:
    from rollback_console.policy.load import load_all

    lines = [f"wrote {folder / name}" for name in _FILES]
    apart = f"metrics tell deployments apart by {label!r}" if label else "no metric tells deployments apart"
    lines.append(f"found {models} registered model{'' if models == 1 else 's'}; {apart}")
    told = [
        f"{name}:{number}: {line.strip().lstrip('# ')}"
        for name, text in zip(_FILES, texts, strict=True)
        for number, line in enumerate(text.splitlines(), 1)
        if "could not be guessed" in line or "left out" in line
    ]
    lines += [line for line in told if "left out" in line]
    guesses = [line for line in told if "left out" not in line]
    lines += guesses[:_MOST]
    if len(guesses) > _MOST:
        lines.append(f"and {len(guesses) - _MOST} more lines that say `could not be guessed`")
    try:
        lines += [str(problem) for problem in load_all(folder / _FILES[0]).warnings]
    except FileProblems as error:
        lines += ["to mend first:", *(str(problem) for problem in error.problems[:40])]
    return [*lines, f"next: rollback-console doctor --config {folder / _FILES[0]}"]
