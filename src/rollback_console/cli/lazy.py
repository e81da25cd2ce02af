"""Commands that are imported only when they are called."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import ClassVar

import click

Table = Mapping[str, tuple[str, str, str]]  # name -> (module of cli, attribute, one line for --help)


class LazyGroup(click.Group):
    """A group whose commands stand in `table`, under the title `heading` in its help."""

    table: ClassVar[Table] = {}
    heading: ClassVar[str] = "Commands"

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.table:
            return None
        module, attribute, _ = self.table[cmd_name]
        loaded = getattr(importlib.import_module(f"rollback_console.cli.{module}"), attribute)
        if not isinstance(loaded, click.Command):
            raise TypeError(f"cli.{module}.{attribute} is not a command")
        return loaded

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section(self.heading):
            formatter.write_dl([(name, line) for name, (_, _, line) in self.table.items()])
