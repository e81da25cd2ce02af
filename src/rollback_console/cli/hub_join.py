"""`rollback-console hub join`: make this device known to the team's hub."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rollback_console.cli.common import config_option, data_folder, emit_json, emit_lines, find_config, json_option
from rollback_console.errors import InputError, UsageError
from rollback_console.model.text import plain

if TYPE_CHECKING:
    from rollback_console.journal.upstream import About, HubClient

_DOMAIN = b"rollback-console/enrol/v1\n"


@click.command("join", epilog="Example: rollback-console hub join https://hub.example --code 9cWq…")
@click.argument("url")
@click.option("--code", required=True, help="The one-time code that `hub enrol` printed on the server.")
@click.option("--name", default="", help="What this device is called there (default: the name the code was made for).")
@click.option("--key", "pinned", metavar="VKEY", help="The hub's key, where you know it: any other is refused.")
@click.option("--ca-file", type=click.Path(path_type=Path, dir_okay=False, exists=True), metavar="FILE",
              help="Certificates to trust beside the system's.")  # fmt: skip
@click.option("--token-file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Where the token goes, mode 0600 (default: `hub-token` in the platform's data folder).")  # fmt: skip
@click.option("--write", is_flag=True, help="Add the lines to the settings file.")
@config_option
@json_option
def join_command(
    url: str, code: str, name: str, pinned: str | None, ca_file: Path | None, token_file: Path | None, write: bool,
    config: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Enrol this device at a hub: prints the hub's key (compare it with what its keeper tells you), keeps the token in
    a file that only you can read, and prints the lines for the settings."""
    from rollback_console.clock import WallClock
    from rollback_console.journal.device import DeviceKey, default_path
    from rollback_console.journal.succession import settle_device
    from rollback_console.journal.upstream import HubClient

    settings = find_config(config) if write else None
    if write and (settings is None or _has_hub(settings)):
        what = "there is no settings file" if settings is None else f"{settings} names a hub already"
        raise UsageError(f"--write: {what}", "leave it out, and put the lines there yourself")
    to = token_file or data_folder() / "hub-token"
    _check_place(to)
    copied = settle_device(default_path(), WallClock())  # a copy enrols under a key of its own
    device = DeviceKey.default()
    client = HubClient(url, ca_file=str(ca_file) if ca_file else None)
    try:
        about = client.about()
        _check_key(about, pinned, client)
        fingerprint, token = client.enrol(device.public_openssh(), name, code, device.sign(_DOMAIN + code.encode()))
    finally:
        client.close()
    if fingerprint != device.fingerprint():
        raise InputError("the hub enrolled another key than this device's", "do not use it; ask whoever runs it")
    _keep_token(to, token)
    lines = _lines(url.rstrip("/"), about.key, to, ca_file)
    if settings is not None:
        _append(settings, lines)
    if as_json:
        emit_json({"device": fingerprint, "hub": plain(about.name, 100), "key": about.key, "token_file": str(to),
                   "settings": lines, "written": str(settings) if settings is not None else None})  # fmt: skip
        return
    trusted = "as you gave it" if pinned else "trusted on first use: compare it with what the hub's keeper tells you"
    emit_lines([
        *([f"this device has a new key: {copied}"] if copied else []),
        f"enrolled {fingerprint} at {plain(about.name, 100)}",
        f"the hub's key, {trusted}:",
        f"  {about.key}",
        f"token kept in {to} (mode 0600)",
        "",
        f"added to {settings}:" if settings is not None else "put these lines into the settings:",
        *lines,
    ])  # fmt: skip


def _check_key(about: About, pinned: str | None, client: HubClient) -> None:
    from rollback_console.journal.signednote import parse_vkey

    try:
        parse_vkey(about.key)
    except ValueError as error:
        raise client.wrong(f"a key that is none ({error})") from None
    if pinned is not None and pinned.strip() != about.key:
        raise InputError(
            f"the hub shows another key than the one given: {plain(about.key, 200)}",
            "do not enrol there: ask the hub's keeper which is right",
        )


def _lines(url: str, key: str, token: Path, ca_file: Path | None) -> list[str]:
    import json

    tls = [f"  tls: {{ca_file: {json.dumps(str(ca_file.absolute()))}}}"] if ca_file else []
    place = json.dumps(str(token.absolute()))
    return ["hub:", f"  url: {json.dumps(url)}", f"  key: {json.dumps(key)}", f"  token: {{file: {place}}}", *tls]


def _has_hub(settings: Path) -> bool:
    from rollback_console.policy.load import load_settings

    return load_settings(settings).settings.hub is not None


def _check_place(to: Path) -> None:
    """A code is good once: what would go wrong afterwards is said before."""
    to.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if to.is_dir() or not os.access(to.parent, os.W_OK):
        raise UsageError(f"the token cannot be kept in {to}", "name another --token-file")


def _keep_token(to: Path, token: str) -> None:
    """Under another name first: a token that is there stays whole until the new one is."""
    temporary = to.with_name(f".{to.name}.{os.getpid()}")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(token + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, to)


def _append(settings: Path, lines: list[str]) -> None:
    """Add the lines at the end of the file, which is checked with them before it is replaced. Raises FileProblems."""
    from rollback_console.policy.load import load_settings

    before = settings.read_text(encoding="utf-8")
    temporary = settings.with_name(f".{settings.name}.{os.getpid()}")
    temporary.write_text(before.rstrip("\n") + "\n" + "\n".join(lines) + "\n", encoding="utf-8")
    try:
        load_settings(temporary)
        os.replace(temporary, settings)
    finally:
        temporary.unlink(missing_ok=True)
