"""`rollback-console report`: what journals tell about rollbacks, people and policies. Each report is one module."""

from __future__ import annotations

import importlib

import click

# name -> (module, attribute, one line for --help)
REPORTS: dict[str, tuple[str, str, str]] = {
    "postmortem": ("report_postmortem", "command", "A draft with all that the journal knows of an incident."),
    "message": ("report_message", "command", "What stakeholders are told of an incident, inside or outside."),
    "rollback-rate": ("report_rollback_rate", "command", "How many deployments were rolled back, how fast, and why."),
    "history": ("report_history", "command", "What became of each version of a model, for release notes."),
    "coverage": ("report_coverage", "command", "Who lacks a policy, signal, way back, runbook, owner or dashboard."),
    "calibration": ("report_calibration", "command", "What was foretold against what came; margins, misses."),
    "criteria": ("report_criteria", "command", "How triggers and signals did, and what to change, with a backtest."),
    "evidence": ("report_evidence", "command", "What drills have measured of each recovery path."),
    "practice": ("report_practice", "command", "Who rehearsed and walked what, how well, and what is overdue."),
}


class _Reports(click.Group):
    """Loads a report when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(REPORTS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in REPORTS:
            return None
        module, attribute, _ = REPORTS[cmd_name]
        loaded = getattr(importlib.import_module(f"rollback_console.cli.{module}"), attribute)
        if not isinstance(loaded, click.Command):
            raise TypeError(f"cli.{module}.{attribute} is not a command")
        return loaded

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Reports"):
            formatter.write_dl([(name, line) for name, (_, _, line) in REPORTS.items()])


@click.command("report", cls=_Reports, epilog="Example: rollback-console report rollback-rate --format md")
def command() -> None:
    """The measures: rollback rate, history, coverage, practice, evidence, criteria, postmortems."""
