"""`rollback-console report`: what journals tell about rollbacks, people and policies. Each report is one module."""

from __future__ import annotations

import click

from rollback_console.cli.lazy import LazyGroup

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


class _Reports(LazyGroup):
    table = REPORTS
    heading = "Reports"


@click.command("report", cls=_Reports, epilog="Example: rollback-console report rollback-rate --format md")
def command() -> None:
    """The measures: rollback rate, history, coverage, practice, evidence, criteria, postmortems."""
