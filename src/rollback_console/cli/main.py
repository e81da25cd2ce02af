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

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            return "console", self.get_command(ctx, "console"), args
        return super().resolve_command(ctx, args)


@click.command(
    cls=_Families,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: rollback-console checkout-ranker    (opens the console on that deployment)",
)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.option("--version", "-V", is_flag=True, help="Print the version and leave.")
@click.pass_context
def group(ctx: click.Context, debug: bool, version: bool) -> None:
    """The incident console for machine-learning models in production.

    Without a command: the live console, opened on DEPLOYMENT or ALERT when one is named.
    """
    if version:
        from rollback_console.version import __version__

        click.echo(f"rollback-console {__version__}")
        ctx.exit(0)
    if ctx.invoked_subcommand is None:
        command = importlib.import_module("rollback_console.cli.console").command
        ctx.exit(ctx.invoke(command) or 0)


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
