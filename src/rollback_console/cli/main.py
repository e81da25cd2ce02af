"""The command table. Each family is one thin module, imported only when it is called."""

from __future__ import annotations

import errno
import io
import os
import re
import sys
from collections.abc import Sequence

import click

from rollback_console.cli import common
from rollback_console.cli.lazy import LazyGroup
from rollback_console.errors import ConsoleError, FileProblems, UsageError
from rollback_console.model.text import plain, plain_block

# name -> (module, attribute, one line for --help)
COMMANDS: dict[str, tuple[str, str, str]] = {
    "console": ("console", "command", "The live console (the default)."),
    "demo": ("demo", "command", "The console on a simulated fleet with an incident under way."),
    "status": ("status", "command", "One evaluation of the fleet."),
    "watch": ("watch", "command", "The same engine without a screen."),
    "rollback": ("rollback", "command", "Plan, request and execute a rollback."),
    "adopt": ("rollback", "adopt", "Take a rollback done by hand into the journal."),
    "executions": ("executions", "executions", "What was executed, and what is unfinished."),
    "resume": ("executions", "resume", "Go on with an unfinished execution."),
    "abort": ("executions", "abort", "Stop an execution before its next touch."),
    "hold": ("executions", "hold", "Hold what is announced to go by itself."),
    "expect": ("declaring", "expect", "Declare a change that is expected, or its end."),
    "baseline": ("declaring", "command", "Take stretches out of the baselines, list them, put them back."),
    "summary": ("summary", "command", "Ten plain lines for the incident channel."),
    "judge": ("judge", "command", "Root cause, right or wrong, lessons, follow-ups: afterwards."),
    "init": ("init", "command", "Draft settings, policy and roster from live servers."),
    "policy": ("policy", "command", "Check, explain, compare and import policies."),
    "backtest": ("backtest", "command", "Replay a policy over the past; compare settings."),
    "runbook": ("runbook", "command", "Check, list and show runbooks."),
    "rehearse": ("rehearse", "command", "A drill on a simulated world."),
    "review": ("review", "command", "Read a journal, offline."),
    "report": ("report", "command", "What journals tell: rollback rate, history, coverage and more."),
    "journal": ("journal", "command", "Verify, list, note and export the journal."),
    "hub": ("hub", "command", "The team's upstream service, and what its keeper does."),
    "identity": ("identity", "command", "Keys: make one, show it."),
    "whoami": ("identity", "whoami", "Who you are to the roster, and what you may do."),
    "doctor": ("doctor", "command", "Every dependency and permission, and what to do about each."),
}

_DEFAULT = "console"
_ANSWERS = {"--version", "-V", "--help", "-h"}
_OWN_OPTIONS = {"--debug", *_ANSWERS}


class _Families(LazyGroup):
    """An unknown first word is a deployment or an alert to open the console on."""

    table = COMMANDS

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """What is neither an option of ours nor a command is the console's: `rollback-console --theme light ranker`."""
        first = next((index for index, word in enumerate(args) if word not in _OWN_OPTIONS), None)
        if first is None:
            if not set(args) & _ANSWERS and not ctx.resilient_parsing:  # completion offers the commands
                args = [*args, _DEFAULT]
        elif args[first] not in COMMANDS:
            if not ctx.resilient_parsing:
                _not_a_slip(args[first:])
            args = [*args[:first], _DEFAULT, *args[first:]]
        return super().parse_args(ctx, args)


def _not_a_slip(words: list[str]) -> None:
    """Raises UsageError where a command was meant: mistyped, or behind its options."""
    values = {"--config", "--journal", "--theme"}
    named = [
        word
        for before, word in zip(["", *words], words, strict=False)
        if not word.startswith("-") and before not in values
    ]
    if not named:
        return
    if named[0] in COMMANDS:
        rest = " ".join(plain(word) for word in words if word != named[0])
        raise UsageError("options stand behind the command", f"rollback-console {named[0]} {rest}")
    from difflib import get_close_matches

    near = get_close_matches(named[0], COMMANDS, n=1, cutoff=0.75)
    if not near and len(named) == 1:
        return
    from rollback_console.cli.common import known_deployment

    if len(named) > 1 or not known_deployment(named[0], words):
        raise UsageError(
            f"{plain(named[0], 80)} is no command" + ("" if len(named) > 1 else " and no deployment"),
            f"did you mean `rollback-console {near[0]}`?" if near else "`rollback-console --help` lists the commands",
        )


def _version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from rollback_console.version import __version__

        click.echo(f"rollback-console {__version__}")
        ctx.exit(0)


@click.command(
    cls=_Families,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: rollback-console checkout-ranker    (opens the console on that deployment)",
)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.option(
    "--version",
    "-V",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Print the version and leave.",
)
def group(debug: bool) -> None:
    """The incident console for machine-learning models in production.

    Without a command: the live console, opened on DEPLOYMENT or ALERT when one is named.
    """


def run(arguments: Sequence[str]) -> int:
    """Run the command line; returns the exit code. An error is one line (a file's problems one line each)."""
    words = list(arguments)
    debug = "--debug" in words or bool(os.environ.get("ROLLBACK_CONSOLE_DEBUG"))
    if "--" not in words and "_ROLLBACK_CONSOLE_COMPLETE" not in os.environ:
        words = [word for word in words if word != "--debug"]  # wherever it stands
    common.debugging = debug  # for whoever puts an engine together
    _prepare_streams()
    try:
        code = _run(words)
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        return code
    except (click.exceptions.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        return _unread()
    except Exception as error:
        if debug and not isinstance(error, click.ClickException):
            import traceback  # 8 ms that nobody else pays

            traceback.print_exc()
        return _say(error)


def _run(words: list[str]) -> int:
    try:
        result = group.main(args=words, prog_name="rollback-console", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except SystemExit as leave:  # shell completion ends so; click does when a pipe's reader leaves
        return leave.code if isinstance(leave.code, int) else 0


def _prepare_streams() -> None:
    """No descriptor below 3 is free for a journal to land on; no character is a reason to fail."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="backslashreplace")


def _unread() -> int:
    from rollback_console.cli.common import mute

    mute(sys.stdout)
    mute(sys.stderr)
    return 0  # the reader left with what it wanted


def _meant_as_journal(error: click.ClickException) -> str:
    """A word too many to a command that reads a journal was most likely the journal: how to say that; else ""."""
    found = re.fullmatch(r"Got unexpected extra arguments? \((.*)\)", error.format_message().rstrip("."))
    context = getattr(error, "ctx", None)
    if found is None or context is None or "journal" not in {each.name for each in context.command.params}:
        return ""
    return f"did you mean `{context.command_path} --journal {plain(found[1], 200)}`?"


def _say(error: Exception) -> int:
    """One line (a file's problems: one each) on stderr; the exit code."""
    code = 1
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return error.exit_code
    if isinstance(error, FileProblems):
        text, code = str(error), error.exit_code
    elif isinstance(error, ConsoleError):
        text, code = f"error: {error}", error.exit_code
    elif isinstance(error, click.ClickException):
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "rollback-console"
        hint = _meant_as_journal(error) or f"see {path} --help"
        text, code = f"error: {plain(error.format_message(), 600).rstrip('.')}: {hint}", error.exit_code
    elif isinstance(error, RuntimeError) and "home directory" in str(error):  # platformdirs and pathlib say it so
        text, code = "error: this account has no home folder: set HOME, or name the files (--config, --journal)", 2
    elif isinstance(error, OSError) and error.filename is not None:
        text, code = f"error: {error.filename}: {error.strerror}: check the path, its permissions and its disk", 2
    elif isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EBADF, errno.EIO):
        from rollback_console.cli.common import mute

        text = f"error: the output cannot be written: {error.strerror}: send it elsewhere"
        mute(sys.stdout)
    else:
        text = f"error: {type(error).__name__}: {error}: this is a defect; --debug shows where"
    try:
        click.echo(plain_block(text), err=True)
    except OSError:
        _unread()
    return code
