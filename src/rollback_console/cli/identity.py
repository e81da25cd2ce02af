"""`rollback-console identity …` and `whoami`: a person's key, and what the roster makes of it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rollback_console.cli.common import config_option, emit_json, emit_lines, find_config, json_option, rfc3339
from rollback_console.errors import InputError, NotAuthorized, UsageError

if TYPE_CHECKING:
    from rollback_console.authorize.keys import Found, PersonKey
    from rollback_console.authorize.roles import Authority
    from rollback_console.authorize.roster_view import RosterView


def roster_of(config: Path | None) -> RosterView:
    """The roster that the settings name, as authority reads it; an empty one where there is none."""
    from rollback_console.authorize.roster_view import RosterView, from_roster
    from rollback_console.policy.load import load_roster, load_settings

    path = find_config(config)
    roster = load_settings(path).roster_path if path is not None else None
    return from_roster(load_roster(roster).roster) if roster is not None else RosterView()


def search(roster: RosterView) -> Found:
    """Where a key is, without asking for a passphrase. Blocks up to about 6 s where a keyring or an agent hangs."""
    from rollback_console.authorize.keys import find_key

    return find_key(known=roster.all_blobs())


def unlocked(found: Found, *, ask: bool) -> PersonKey | None:
    """The key at hand; a locked one after its passphrase, three tries, when `ask` and a terminal is there."""
    if found.key is not None or found.locked is None or not ask or not sys.stdin.isatty():
        return found.key
    for left in (2, 1, 0):
        try:
            return found.locked.unlock(
                click.prompt(f"Passphrase of {found.locked.path}", hide_input=True, err=True, default="")
            )
        except NotAuthorized as error:
            if not left or "does not open" not in error.message:
                raise
            click.echo("that does not open it", err=True)
    return None


def authority_at_hand(roster: RosterView, *, ask: bool, now: Callable[[], float] = time.time) -> Authority:
    """What whoever sits here may do. For `compose`: `ask` where a passphrase may be asked for on the terminal."""
    from rollback_console.authorize.roles import Authority

    return Authority.of_key(roster, unlocked(search(roster), ask=ask), now=now)


@click.group("identity", epilog="Example: rollback-console identity init --operator ana")
def command() -> None:
    """Your key: make one, show it, and the line that a roster needs."""


@command.command("init", epilog="Example: rollback-console identity init --operator ana --file ~/.ssh/rollback-console")
@click.option("--operator", required=True, metavar="ID", help="Who you are in the roster.")
@click.option(
    "--file",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="PATH",
    help="Keep the key in this file, encrypted by a passphrase, instead of the platform's keyring.",
)
@json_option
def init_command(operator: str, file: Path | None, as_json: bool) -> None:
    """Make an Ed25519 key and print the roster's entry for it.

    The key goes to the platform's keyring; where there is none, or with --file, to a file that only you can read and
    that your passphrase encrypts. It is never kept in plain text.
    """
    from rollback_console.authorize import keys

    where = file
    key: PersonKey | None = None
    if where is None:
        try:
            key = keys.make_in_keyring(operator)
        except keys.KeyProblem as error:
            if "already holds" in error.message:
                raise
            where = keys.default_key_file()
            click.echo(f"{error.message}: a file encrypted by a passphrase instead ({where})", err=True)
    if key is None and where is not None:
        key = keys.make_in_file(operator, where.expanduser(), _new_passphrase())
    if key is None:
        raise InputError("no key was made", "name a file with --file")
    if as_json:
        emit_json(_key_facts(key) | {"operator": operator})
        return
    emit_lines(
        [
            f"made {key.fingerprint}, kept in: {key.source}",
            "ask an owner of the roster to add, under `operators:`",
            "",
            *_roster_entry(operator, key),
        ]
    )
    if where is not None and file is not None:
        emit_lines(["", f"tell the console where it is: export {keys.KEY_FILE_VARIABLE}={where}"])


def _new_passphrase() -> str:
    if not sys.stdin.isatty():
        raise UsageError(
            "a passphrase must be typed, and there is no terminal",
            "in CI give a key in ROLLBACK_CONSOLE_KEY or ROLLBACK_CONSOLE_KEY_FD; ssh-keygen -t ed25519 makes one",
        )
    return str(click.prompt("A passphrase for the key", hide_input=True, confirmation_prompt=True, err=True))


def _roster_entry(operator: str, key: PersonKey) -> list[str]:
    return [f"  - id: {operator}", "    roles: [oncall]", "    keys:", f'      - "{key.named(operator).line}"']


def _key_facts(key: PersonKey) -> dict[str, object]:
    return {"fingerprint": key.fingerprint, "public_key": key.line, "kept_in": key.source}


@command.command("show", epilog="Example: rollback-console identity show --json")
@config_option
@json_option
def show_command(config: Path | None, as_json: bool) -> None:
    """Where a key is looked for, what is there, and the line that a roster needs. Exit 4 where there is none."""
    found = search(roster_of(config))
    key = found.key
    if as_json:
        emit_json(
            {
                "key": _key_facts(key) if key is not None else None,
                "locked": str(found.locked.path) if found.locked is not None else None,
                "places": [{"place": a.place, "found": a.found, "detail": a.detail} for a in found.attempts],
            }
        )
    else:
        emit_lines(f"{'+' if a.found else '-'} {a.place}: {a.detail}" for a in found.attempts)
        if key is not None:
            emit_lines(["", key.fingerprint, key.line])
        else:
            emit_lines(["", found.problem + (": make one with `identity init`" if found.locked is None else "")])
    if key is None and found.locked is None:
        click.get_current_context().exit(4)


@click.command("whoami", epilog="Example: rollback-console whoami")
@config_option
@json_option
def whoami(config: Path | None, as_json: bool) -> None:
    """Who you are to the roster, and what you may do where. Exit 4 when you can only look."""
    from rollback_console.model.operator import Permission

    roster = roster_of(config)
    authority = authority_at_hand(roster, ask=not as_json)
    operator, key = authority.operator, authority.key
    entry = roster.operator(operator.id) if operator is not None else None
    grants = roster.grants(entry.roles) if entry is not None else ()
    allowed: dict[str, list[str]] = {}
    for permission in Permission:
        where: set[str] = set()
        for _, grant in grants:
            if permission in grant.permissions:
                where |= {"all"} if grant.environments is None else set(grant.environments)
        if where:
            allowed[permission.value] = ["all"] if "all" in where else sorted(where)
    reason = authority.look_only_reason()
    if as_json:
        emit_json(
            {
                "operator": operator.id if operator is not None else None,
                "name": operator.name if operator is not None else None,
                "roles": list(entry.roles) if entry is not None else [],
                "fingerprint": key.fingerprint if key is not None else None,
                "key_kept_in": key.source if key is not None else None,
                "valid_until": rfc3339(entry.valid_until) if entry is not None else None,
                "permissions": allowed,
                "look_only": reason or None,
            }
        )
    else:
        who = f"{operator.id} ({', '.join(operator.roles) or 'no role'})" if operator is not None else "nobody"
        emit_lines([f"{who}, key {key.fingerprint} from {key.source}" if key is not None else f"{who}, no key at hand"])
        emit_lines(f"  {name}: {', '.join(where)}" for name, where in allowed.items())
        if reason:
            emit_lines([f"look-only: {reason}"])
    if reason:
        click.get_current_context().exit(4)
