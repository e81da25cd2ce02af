"""What every command shares: its options, where files are, and how facts and errors are printed."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rollback_console.errors import ConsoleError, UsageError
from rollback_console.model.text import plain

if TYPE_CHECKING:
    from rollback_console.model.snapshot import Snapshot

_F = TypeVar("_F", bound=Callable[..., Any])
APP = "rollback-console"
CONFIG_VARIABLE = "ROLLBACK_CONSOLE_CONFIG"
debugging = False  # --debug, as `main.run` found it: an unforeseen error then shows where


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
    """Where settings, policies and the roster live unless told otherwise. Raises UsageError where nobody has a home."""
    import platformdirs

    return _at_home(platformdirs.user_config_dir(APP, appauthor=False))


def data_folder() -> Path:
    """Where the journal and the device key live unless told otherwise. Raises UsageError where nobody has a home."""
    import platformdirs

    return _at_home(platformdirs.user_data_dir(APP, appauthor=False))


def _at_home(folder: str) -> Path:
    """Without HOME and without an account, `~` stays as it is: a path below the current folder, never to be used."""
    if not os.path.isabs(folder):
        raise UsageError("this account has no home folder", "set HOME, or name the files (--config, --journal)")
    return Path(folder)


def find_config(explicit: Path | None) -> Path | None:
    """The settings file: the option, the environment, the platform's folder; never the current folder by itself.

    None where there is none. Raises UsageError when a named one does not exist.
    """
    variable = os.environ.get(CONFIG_VARIABLE)
    named, by = (explicit, "--config") if explicit is not None else (Path(variable) if variable else None, "")
    if named is not None:
        if not _is_file(named):
            what = "is a folder" if os.path.isdir(named) else "does not exist, or may not be read"
            raise UsageError(
                f"the settings {plain(named, 200)} (from {by or '$' + CONFIG_VARIABLE}): {what}",
                f"name the file itself; `{APP} init` drafts one, `{APP} demo` needs none",
            )
        return named
    default = config_folder() / "settings.yaml"
    return default if _is_file(default) else None


def _is_file(path: Path) -> bool:
    """`Path.is_file`, which raises where a folder on the way may not be entered or a name is too long."""
    try:
        return path.is_file()
    except OSError:
        return False


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
            return (settings.parent / _expanded(named, settings)).resolve()
    return data_folder() / "journal.db"


def _expanded(named: str, settings: Path) -> Path:
    try:
        return Path(named).expanduser()
    except RuntimeError:
        raise UsageError(f"{settings}: journal: {named} names a home that does not exist", "write the path") from None


def known_deployment(name: str, words: Sequence[str]) -> bool:
    """Does a policy of the settings (of `--config` among `words`, else found as ever) name this deployment?"""
    explicit = next((Path(after) for word, after in pairwise(words) if word == "--config"), None)
    explicit = next((Path(word[9:]) for word in words if word.startswith("--config=")), explicit)
    try:
        settings = find_config(explicit)
        if settings is None:
            return False
        from rollback_console.policy.load import load_all

        ids = [rule.deployment.id for rule in load_all(settings).rules]
    except ConsoleError:
        return False
    return any(name in (str(each), each.name) for each in ids)


def need_terminal(instead: str) -> None:
    """Raises UsageError where a screen cannot be drawn: no terminal to read keys from, or none to draw on."""
    if not all(stream is not None and stream.isatty() for stream in (sys.__stdin__, sys.__stderr__)):
        raise UsageError("a screen needs a terminal, and there is none here", instead)


# What is printed. A reader that leaves early (`| head -1`) ends nothing: a command goes on to its answer, which is its
# exit code, and says no more.


def write(text: str) -> bool:
    """`text` and a newline on stdout. False when its reader has left."""
    try:
        click.echo(text)
    except BrokenPipeError:
        mute(sys.stdout)
        return False
    return True


def mute(stream: Any) -> None:
    """Send what else is written there nowhere, so that leaving does not fail on it."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def emit_json(document: object) -> None:
    """One JSON document on stdout, ASCII-safe for any terminal."""
    write(json.dumps(document, indent=2, ensure_ascii=True, allow_nan=False))


def emit_json_line(document: object) -> bool:
    """One JSON line, where facts stream. False when nobody reads them any more."""
    return write(json_line(document))


def json_line(document: object) -> str:
    """A fact as one line of JSON."""
    return json.dumps(document, ensure_ascii=True, allow_nan=False, separators=(",", ":"))


def emit_lines(lines: Iterable[str]) -> bool:
    """Lines for a person, each made safe for the terminal. False when nobody reads them any more."""
    return all(write(plain(line, 4_000)) for line in lines)


def warn(text: str) -> None:
    """One line on stderr, made safe: something is not as it should be, and the command goes on."""
    with contextlib.suppress(OSError):
        click.echo(plain(text, 4_000), err=True)


def rfc3339(at: float | None) -> str | None:
    """Unix seconds as RFC 3339 UTC with milliseconds; None stays None."""
    if at is None:
        return None
    from datetime import UTC, datetime

    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def settling(publish: Callable[[Snapshot], None]) -> Callable[[Snapshot], None]:
    """`publish`, and once the first evaluation is shown, all that was loaded and built until then is taken out of the
    collector's rounds: it stays, and looking through it again and again would hold up keys."""
    settled = False

    def tell(snapshot: Snapshot) -> None:
        nonlocal settled
        publish(snapshot)
        if not settled and snapshot.evaluated_at is not None and not snapshot.notice:
            settled = True
            gc.freeze()

    return tell
