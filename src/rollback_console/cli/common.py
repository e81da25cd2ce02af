"""What every command shares: its options, where files are, and how facts and errors are printed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click

from rollback_console.errors import UsageError
from rollback_console.model.text import plain

_F = TypeVar("_F", bound=Callable[..., Any])
APP = "rollback-console"
CONFIG_VARIABLE = "ROLLBACK_CONSOLE_CONFIG"


def config_option(function: _F) -> _F:
    """`--config FILE`, as `config: Path | None`."""
    return click.option(
        "--config",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help=f"The settings file (else ${CONFIG_VARIABLE}, else the platform's config folder).",
    )(function)


def journal_option(function: _F) -> _F:
    """`--journal FILE`, as `journal: Path | None`."""
    return click.option(
        "--journal",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="The journal (else the settings', else the platform's data folder).",
    )(function)


def json_option(function: _F) -> _F:
    """`--json`, as `as_json: bool`."""
    return click.option("--json", "as_json", is_flag=True, help="Print facts as JSON.")(function)


def config_folder() -> Path:
    """Where settings, policies and the roster live unless told otherwise."""
    import platformdirs

    return Path(platformdirs.user_config_dir(APP, appauthor=False))


def data_folder() -> Path:
    """Where the journal and the device key live unless told otherwise."""
    import platformdirs

    return Path(platformdirs.user_data_dir(APP, appauthor=False))


def find_config(explicit: Path | None) -> Path | None:
    """The settings file: the option, the environment, the platform's folder; never the current folder by itself.

    None where there is none. Raises UsageError when a named one does not exist.
    """
    named = explicit or (Path(os.environ[CONFIG_VARIABLE]) if os.environ.get(CONFIG_VARIABLE) else None)
    if named is not None:
        if not named.is_file():
            raise UsageError(f"{named} is not a file", f"`{APP} init` drafts one, `{APP} demo` needs none")
        return named
    default = config_folder() / "settings.yaml"
    return default if default.is_file() else None


def need_config(explicit: Path | None) -> Path:
    """As `find_config`; raises UsageError where there is none."""
    found = find_config(explicit)
    if found is None:
        raise UsageError(
            f"no settings: {config_folder() / 'settings.yaml'} does not exist",
            f"`{APP} init --prometheus URL --mlflow URL` drafts them; `{APP} demo` needs none",
        )
    return found


def find_journal(explicit: Path | None, config: Path | None = None) -> Path:
    """The journal's path: the option, the settings' (read lightly), else the platform's data folder."""
    if explicit is not None:
        return explicit
    settings = find_config(config)
    if settings is not None:
        from rollback_console.policy.load import load_settings

        named = load_settings(settings).settings.journal
        if named:
            return (settings.parent / Path(named).expanduser()).resolve()
    return data_folder() / "journal.db"


def emit_json(document: object) -> None:
    """One JSON document on stdout, ASCII-safe for any terminal."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=True, allow_nan=False))


def emit_json_line(document: object) -> None:
    """One JSON line, where facts stream."""
    click.echo(json.dumps(document, ensure_ascii=True, allow_nan=False, separators=(",", ":")))


def emit_lines(lines: Iterable[str]) -> None:
    """Lines for a person, each made safe for the terminal."""
    for line in lines:
        click.echo(plain(line, 4_000))


def rfc3339(at: float | None) -> str | None:
    """Unix seconds as RFC 3339 UTC with milliseconds; None stays None."""
    if at is None:
        return None
    from datetime import UTC, datetime

    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
