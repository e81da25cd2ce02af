"""The command table. Each family is one thin module, imported only when it is called."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

import click

from rollback_console.errors import ConsoleError, FileProblems
from rollback_console.model.text import plain_block

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
    "summary": ("summary", "command", "Ten plain lines for the incident channel."),
    "init": ("init", "command", "Draft settings, policy and roster from live servers."),
    "policy": ("policy", "command", "Check, explain and describe policies."),
    "runbook": ("runbook", "command", "Check, list and show runbooks."),
    "rehearse": ("rehearse", "command", "A drill on a simulated world."),
    "review": ("review", "command", "Read a journal, offline."),
    "journal": ("journal", "command", "Verify, list, note and export the journal."),
    "identity": ("identity", "command", "Keys: make one, show it."),
    "whoami": ("identity", "whoami", "Who you are to the roster, and what you may do."),
    "doctor": ("doctor", "command", "Every dependency and permission, and what to do about each."),
}

_DEFAULT = "console"
_ANSWERS = {"--version", "-V", "--help", "-h"}
_OWN_OPTIONS = {"--debug", *_ANSWERS}


class _Families(click.Group):
    """Loads a family when it is called; an unknown first word is a deployment or an alert to open the console on."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        loaded = getattr(importlib.import_module(f"rollback_console.cli.{module}"), attribute)
        if not isinstance(loaded, click.Command):
            raise TypeError(f"cli.{module}.{attribute} is not a command")
        return loaded

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_line) for name, (_, _, help_line) in COMMANDS.items()])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """What is neither an option of ours nor a command is the console's: `rollback-console --theme light ranker`."""
        first = next((index for index, word in enumerate(args) if word not in _OWN_OPTIONS), None)
        if first is None:
            if not set(args) & _ANSWERS:
                args = [*args, _DEFAULT]
        elif args[first] not in COMMANDS:
            args = [*args[:first], _DEFAULT, *args[first:]]
        return super().parse_args(ctx, args)


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
    debug = "--debug" in arguments or bool(os.environ.get("ROLLBACK_CONSOLE_DEBUG"))
    try:
        result = group.main(args=list(arguments), prog_name="rollback-console", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except (click.exceptions.Abort, KeyboardInterrupt):
        return 130
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except ConsoleError as error:
        if debug:
            raise
        return _say(error)
    except BrokenPipeError:
        sys.stderr.close()  # the reader left: nobody is there to be told
        return 0
    except Exception as error:
        if debug:
            raise
        click.echo(
            plain_block(f"error: {type(error).__name__}: {error}: this is a defect; --debug shows where"), err=True
        )
        return 1


def _say(error: ConsoleError) -> int:
    lines = str(error) if isinstance(error, FileProblems) else f"error: {error}"
    click.echo(plain_block(lines), err=True)
    return error.exit_code
