"""`rollback-console hub …`: the upstream service, and what its keeper does. Nothing here is loaded by a console."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rollback_console.cli.common import data_folder, emit_json, emit_lines, json_option, rfc3339
from rollback_console.cli.hub_join import join_command
from rollback_console.errors import UsageError

if TYPE_CHECKING:
    from rollback_console.hub.database import Database
    from rollback_console.hub.settings import HubSettings

DATABASE_VARIABLE = "ROLLBACK_CONSOLE_HUB_DATABASE"
_FILE = click.Path(path_type=Path, dir_okay=False)


def _data_option(function: Any) -> Any:
    return click.option(
        "--data",
        type=click.Path(path_type=Path, file_okay=False),
        metavar="FOLDER",
        help="The hub's key, its mark and its SQLite file (default: `hub` in the platform's data folder).",
    )(function)


def _database_option(function: Any) -> Any:
    return click.option(
        "--database",
        metavar="URL",
        help=f"PostgreSQL, as postgresql://role@host/name (else ${DATABASE_VARIABLE}, else SQLite in --data).",
    )(function)


def _settings(data: Path | None, database: str | None, **more: Any) -> HubSettings:
    """Raises UsageError without the extra."""
    _need_extra()
    from rollback_console.hub.settings import HubSettings

    url = database or os.environ.get(DATABASE_VARIABLE, "")
    return HubSettings(data=data or data_folder() / "hub", database=url, **more)


def _need_extra() -> None:
    from importlib.util import find_spec

    wanted = ("alembic", "fastapi", "prometheus_client", "psycopg", "sqlalchemy", "uvicorn")
    missing = [name for name in wanted if find_spec(name) is None]
    if missing:
        raise UsageError(f"the hub needs {', '.join(missing)}", "pip install 'rollback-console[hub]'")


@contextlib.contextmanager
def _opened(data: Path | None, database: str | None) -> Iterator[Database]:
    """The database, with tables that fit this program; closed afterwards."""
    settings = _settings(data, database)
    from rollback_console.hub.hub import opened, speaking

    found = opened(settings)
    try:
        with speaking(found):
            yield found
    finally:
        found.close()


@click.group("hub", epilog="Example: rollback-console hub serve")
def command() -> None:
    """The team's upstream: keeps entries, witnesses heads, lets consoles see each other."""


command.add_command(join_command)


@command.command("serve", epilog="Example: rollback-console hub serve --listen 127.0.0.1:8790")
@_data_option
@_database_option
@click.option("--listen", default="127.0.0.1:8790", metavar="ADDRESS:PORT", show_default=True, help="Where to answer.")
@click.option(
    "--name", default="", metavar="NAME", help="The hub's name, chosen at the first start (default: the host's)."
)
@click.option(
    "--tls-certificate", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="PEM, with its chain."
)
@click.option(
    "--tls-key", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="PEM, without a passphrase."
)
@click.option("--insecure-behind-proxy", is_flag=True, help="Answer without TLS: a proxy in front speaks it.")
@click.option(
    "--rate", default=20.0, type=click.FloatRange(0.1), show_default=True, help="Requests a second of one device."
)
@click.option(
    "--otlp", default="", metavar="URL", help="Copy entries to this OpenTelemetry collector (OTLP/HTTP logs)."
)
@click.option("--cloudevents", default="", metavar="URL", help="Copy entries there, as CloudEvents over HTTP.")
def serve_command(
    data: Path | None, database: str | None, listen: str, name: str, tls_certificate: Path | None, tls_key: Path | None,
    insecure_behind_proxy: bool, rate: float, otlp: str, cloudevents: str,
) -> int:  # fmt: skip
    """Answer consoles until SIGTERM. Logs are JSON lines on stderr."""
    host, port = _address(listen)
    settings = _settings(
        data, database, name=name, host=host, port=port, tls_certificate=tls_certificate, tls_key=tls_key,
        behind_proxy=insecure_behind_proxy, rate=rate, burst=max(1, round(rate * 3)),
        otlp=otlp, cloudevents=cloudevents,
    )  # fmt: skip
    from rollback_console.hub.server import serve

    return serve(settings)


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise UsageError(f"--listen {text} is no address with a port", "write it as 127.0.0.1:8790 or [::]:8790")
    return host.removeprefix("[").removesuffix("]") or "0.0.0.0", int(port)  # noqa: S104 - check_address wants TLS there


@command.command("migrate", epilog="Example: rollback-console hub migrate --database postgresql://owner@db/hub")
@_data_option
@_database_option
@click.option("--grant-to", metavar="ROLE", help="PostgreSQL: the role that `hub serve` will have; it can only add.")
def migrate_command(data: Path | None, database: str | None, grant_to: str | None) -> None:
    """Make or update the tables, as the database's owner; say what the serving role may do."""
    settings = _settings(data, database)
    from rollback_console.hub import migrate
    from rollback_console.hub.hub import database_of, speaking

    found = database_of(settings)
    if grant_to and not found.postgresql:
        raise UsageError("SQLite has no roles", "leave --grant-to out: triggers keep the record append-only there")
    with speaking(found):
        migrate.upgrade(found)
        if grant_to:
            migrate.grant(found, grant_to)
    lines = [f"{found.shown}: tables at revision {migrate.newest()}"]
    if grant_to:
        lines.append(f"{grant_to} may read all, add to the record, and neither change nor delete what is recorded")
    emit_lines(lines)


@command.command("enrol", epilog="Example: rollback-console hub enrol --name ana-laptop")
@_data_option
@_database_option
@click.option("--name", required=True, metavar="NAME", help="What the device will be called.")
@json_option
def enrol_command(data: Path | None, database: str | None, name: str, as_json: bool) -> None:
    """Make a one-time code by which one device enrols within a day."""
    from rollback_console.model.text import plain

    with _opened(data, database) as opened:
        from rollback_console.hub.devices import CODE_LASTS_S, make_code

        code = make_code(opened, plain(name, 100))
    if as_json:
        emit_json({"name": name, "code": code, "lasts_s": CODE_LASTS_S})
    else:
        emit_lines([f"code for {name}, good once, for {CODE_LASTS_S // 3600} hours:", code])


@command.command("devices", epilog="Example: rollback-console hub devices")
@_data_option
@_database_option
@json_option
def devices_command(data: Path | None, database: str | None, as_json: bool) -> None:
    """The devices that are enrolled, and those that were revoked."""
    with _opened(data, database) as opened:
        from rollback_console.hub.devices import all_devices

        found = [(each, _when(each.enrolled_at), _when(each.revoked_at)) for each in all_devices(opened)]
    if as_json:
        names = ("enrolled_at", "revoked_at")
        emit_json(
            [{"device": each.id, "name": each.name, **dict(zip(names, times, strict=True))} for each, *times in found]
        )
        return
    lines = [
        f"{each.id}  {each.name}  since {since}" + (f"  revoked {revoked}" if revoked else "")
        for each, since, revoked in found
    ]
    emit_lines(lines or ["no device is enrolled: `rollback-console hub enrol --name NAME` makes a code"])


def _when(nanos: int | None) -> str | None:
    return rfc3339(nanos / 1e9) if nanos is not None else None


@command.command("revoke", epilog="Example: rollback-console hub revoke ana-laptop")
@click.argument("device", metavar="DEVICE")
@_data_option
@_database_option
def revoke_command(device: str, data: Path | None, database: str | None) -> None:
    """Shut a device out, at once and for good; what it sent stays. DEVICE is its id or its name."""
    with _opened(data, database) as opened:
        from rollback_console.hub.devices import revoke

        gone = revoke(opened, device)
    emit_lines([f"{gone.name} ({gone.id}) is revoked; its entries stay"])


@command.command("evidence", epilog="Example: rollback-console hub evidence --json")
@_data_option
@_database_option
@json_option
def evidence_command(data: Path | None, database: str | None, as_json: bool) -> None:
    """What devices sent that did not fit their chain, kept with its signatures. Exit 1: there is a fork."""
    with _opened(data, database) as opened:
        from rollback_console.hub.devices import all_devices
        from rollback_console.hub.reads import shown_evidence

        found = [{**each, "at": _when(each["at"])} for each in shown_evidence(opened)]
        names = {each.id: each.name for each in all_devices(opened)}
    if as_json:
        emit_json(found)
    else:
        lines = [
            f"{each['at']}  {each['code']}  {names.get(each['device'], '')} ({each['device']})  chain {each['chain']}  "
            f"entry {each['seq']}  {each['hash']}"
            for each in found
        ]
        emit_lines(lines or ["nothing was refused"])
    if any(each["code"] == "fork" for each in found):
        raise click.exceptions.Exit(1)


@command.command("backup", epilog="Example: rollback-console hub backup hub-2026-11-20.db")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE")
@_data_option
@_database_option
def backup_command(file: Path, data: Path | None, database: str | None) -> None:
    """Copy the SQLite database into FILE, whole, also while the hub serves. Keep hub.key too, once, elsewhere."""
    settings = _settings(data, database)
    from rollback_console.hub.backup import backup

    kept = backup(settings, file)
    emit_lines([
        f"{file}: {kept.entries:,} entries, {kept.leaves:,} leaves of the log, {kept.size:,} bytes",
        f"it is of no use without {settings.key_path}: keep a copy of that apart from it",
    ])  # fmt: skip


@command.command("restore", epilog="Example: rollback-console hub restore hub-2026-11-20.db")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), metavar="[FILE]", required=False)
@_data_option
@_database_option
def restore_command(file: Path | None, data: Path | None, database: str | None) -> None:
    """Put a backup in the place of the SQLite database. Without FILE: it was put there by
    other means (`pg_restore`), and this takes note of it.

    Where anything that was signed may be missing, the log goes on under another name, so that no console takes it for
    the one it knew: each of them says so, and sends what is missing again.
    """
    settings = _settings(data, database)
    from rollback_console.hub.backup import restore

    done = restore(settings, file)
    lines = [f"restored: {done.entries:,} entries, {done.leaves:,} leaves of the log"]
    if done.aside is not None:
        lines.append(f"what was there before is {done.aside}")
    if done.vkey:
        lines += ["what consoles hold may be newer than this: the log goes on under another key, and each will say so",
                  done.vkey]  # fmt: skip
    else:
        lines.append("nothing that this hub has signed is missing: consoles go on as before")
    emit_lines(lines)
