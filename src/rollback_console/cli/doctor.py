"""`rollback-console doctor`: every dependency, version, permission, clock skew, and what to do about each."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rollback_console.cli.common import (
    config_option,
    emit_json,
    emit_lines,
    find_config,
    find_journal,
    journal_option,
    json_option,
)
from rollback_console.errors import ConsoleError, FileProblems

if TYPE_CHECKING:
    from rollback_console.policy.load import Configuration

_SKEW_S = 2.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: `ok` True, False, or None for "worth knowing"."""

    name: str
    ok: bool | None
    detail: str
    remedy: str = ""


@click.command("doctor", epilog="Example: rollback-console doctor --json")
@config_option
@journal_option
@json_option
@click.pass_context
def command(ctx: click.Context, config: Path | None, journal: Path | None, as_json: bool) -> None:
    """Look at everything the console depends on, and say what to do about each. Exit 0, or 1 if anything is wrong."""
    findings = [*_machine(), *_settings(config), *_journal(config, journal), *_hub(config, journal), *_keys(config)]
    if as_json:
        emit_json([{"name": f.name, "ok": f.ok, "detail": f.detail, "remedy": f.remedy} for f in findings])
    else:
        marks = {True: "✓", False: "✗", None: "·"}
        for f in findings:
            emit_lines([f"{marks[f.ok]} {f.name:<22} {f.detail}", *([f"    {f.remedy}"] if f.remedy else [])])
    ctx.exit(1 if any(f.ok is False for f in findings) else 0)


def _machine() -> Iterator[Finding]:
    import sqlite3

    from rollback_console.version import __version__

    yield Finding("rollback-console", True, f"{__version__} on Python {sys.version.split()[0]}")
    fixed = sqlite3.sqlite_version_info >= (3, 51, 3)
    yield Finding(
        "SQLite",
        True,
        f"{sqlite3.sqlite_version}: {'WAL' if fixed else 'rollback journal'}, synchronous FULL",
        "" if fixed else "older than 3.51.3, whose WAL has a reset bug with several writers: WAL is not used",
    )
    term, colour = os.environ.get("TERM", ""), os.environ.get("COLORTERM", "")
    words = f"TERM={term or 'unset'} COLORTERM={colour or 'unset'}{' in tmux' if os.environ.get('TMUX') else ''}"
    yield Finding("terminal", True if term not in ("", "dumb") else None, words)
    encoding = (sys.stdout.encoding or "").lower()
    utf8 = encoding.replace("-", "") == "utf8"
    yield Finding("encoding", utf8, encoding or "unknown", "" if utf8 else "set LC_ALL=C.UTF-8")


def _settings(config: Path | None) -> Iterator[Finding]:
    try:
        path = find_config(config)
    except ConsoleError as error:
        yield Finding("settings", False, error.message, error.next_step)
        return
    if path is None:
        yield Finding(
            "settings", False, "none found", "rollback-console init --prometheus URL --mlflow URL drafts them"
        )
        return
    from rollback_console.policy.load import load_all

    try:
        configuration = load_all(path)
    except FileProblems as error:
        for problem in error.problems:
            yield Finding("settings", False, str(problem))
        return
    except ConsoleError as error:
        yield Finding("settings", False, error.message, error.next_step)
        return
    yield Finding(
        "settings", True, f"{path}: {len(configuration.policies)} policies, {len(configuration.rules)} deployments"
    )
    for warning in configuration.warnings:
        yield Finding("settings", None, str(warning))
    yield from asyncio.run(_backends(configuration, path))


async def _backends(configuration: Configuration, path: Path) -> list[Finding]:
    import random

    from rollback_console.clock import WallClock
    from rollback_console.observe.connect import connect

    settings = configuration.settings.settings
    try:
        backends = connect(settings, path.parent, clock=WallClock(), random=random.Random())  # noqa: S311 - jitter
    except ConsoleError as error:
        return [Finding("backends", False, error.message, error.next_step)]
    found = []
    try:
        try:
            info = await backends.metrics.buildinfo()
            skew = info.skew_s
            found.append(Finding("prometheus", True, f"{settings.prometheus.url}: version {info.version or 'unknown'}"))
            if skew is not None:
                late = abs(skew) > _SKEW_S
                remedy = "set this machine's clock (NTP): evaluations are aligned to it" if late else ""
                found.append(Finding("clock", not late, f"{skew:+.1f} s against prometheus", remedy))
        except ConsoleError as error:
            found.append(Finding("prometheus", False, error.message, error.next_step))
        if backends.registry is None or settings.registry is None:
            found.append(Finding("registry", None, "not configured", "without one nothing can be rolled back"))
        else:
            try:
                models = await backends.registry.models()
                found.append(Finding("registry", True, f"{settings.registry.url}: {len(models)} registered models"))
            except ConsoleError as error:
                found.append(Finding("registry", False, error.message, error.next_step))
    finally:
        await backends.close()
    return found


def _journal(config: Path | None, journal: Path | None) -> Iterator[Finding]:
    from rollback_console.journal.device import DeviceKey
    from rollback_console.journal.store import Journal

    try:
        path = find_journal(journal, config)
    except ConsoleError:
        return  # the settings say it already
    if not path.exists():
        yield Finding("journal", None, f"{path}: made when the console first runs")
        return
    try:
        with Journal.open_read_only(path) as book:
            seq, _ = book.head()
        device = DeviceKey.default()
        yield Finding("journal", True, f"{path}: {seq} entries")
        yield Finding(
            "device key", True, f"{device.fingerprint()}: a file that only you can read (0600), not a keyring's"
        )
    except ConsoleError as error:
        yield Finding("journal", False, error.message, error.next_step)


def _hub(config: Path | None, journal: Path | None) -> Iterator[Finding]:
    from rollback_console.cli import hub_link
    from rollback_console.clock import WallClock

    try:
        for found in hub_link.findings(config, find_journal(journal, config), WallClock()):
            yield Finding(*found)
    except ConsoleError:
        return  # the settings and the journal say it already


def _keys(config: Path | None) -> Iterator[Finding]:
    from rollback_console.authorize.roster_view import RosterView
    from rollback_console.cli.identity import roster_of, search

    try:
        roster: RosterView = roster_of(config)
    except ConsoleError:
        return
    begun = time.monotonic()
    found = search(roster)
    took = time.monotonic() - begun
    for attempt in found.attempts:
        yield Finding(f"key: {attempt.place}", None, attempt.detail)
    if found.key is None:
        yield Finding("your key", None, found.problem or "none: look-only", "rollback-console identity init makes one")
    else:
        who = roster.identify(found.key)
        named = f"{who.id} ({', '.join(who.roles)})" if who is not None else "in no roster entry"
        yield Finding("your key", who is not None, f"{found.key.fingerprint}: {named}, found in {took:.1f} s")
