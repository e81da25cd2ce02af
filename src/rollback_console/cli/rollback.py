"""`rollback-console rollback` and `adopt`: thin; what is asked for here is gated and done where the console does it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import click

from rollback_console.cli.common import config_option, emit_json, emit_lines, journal_option, json_option, rfc3339
from rollback_console.cli.emergency import emergency_option
from rollback_console.commands import Commands
from rollback_console.errors import Refused, UsageError
from rollback_console.model.text import plain

if TYPE_CHECKING:
    from rollback_console.model.identity import DeploymentId
    from rollback_console.model.plan import Check, Execution, Plan


class ConsoleCommands(Commands, Protocol):
    """What `compose.console` hands over: the console's commands, and what a command line needs besides."""

    async def execute(self, plan: Plan, reason: str, typed: str, *, planned: bool = False) -> str:
        """As the console's; `planned`: a planned switch, not a remedy."""
        ...

    async def adopt(self, deployment: DeploymentId, reason: str, *, planned: bool = False) -> None: ...

    def find(self, text: str) -> DeploymentId:
        """`environment/name`, or a bare name where it is unique. Raises UsageError with what there is."""
        ...

    async def wait(self, execution: str) -> Execution:
        """Until an execution of this process is over; one of the journal as it stands. Raises what stopped it."""
        ...


@click.command(
    "rollback", epilog='Example: rollback-console rollback production/checkout-ranker --reason "v8 hurts conversion"'
)
@click.argument("deployment", metavar="ENVIRONMENT/DEPLOYMENT")
@click.option("--to", metavar="VERSION", help="This version, instead of the one that is computed.")
@click.option("--path", metavar="NAME", help="This recovery path of the policy, instead of its first.")
@click.option("--reason", metavar="TEXT", default="", help="Why, in one line. It is signed and journaled.")
@click.option("--plan", "plan_only", is_flag=True, help="Print the plan, its digest and its manual equivalent; stop.")
@click.option(
    "--digest", metavar="D", help="The digest of the plan that you saw: execute only if it still is the plan."
)
@click.option("--yes", is_flag=True, help="Do not ask for the typed phrase. Only together with --digest.")
@click.option("--planned", is_flag=True, help="A planned switch, not a remedy: it counts in no rollback rate.")
@emergency_option
@config_option
@journal_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    deployment: str,
    to: str | None,
    path: str | None,
    reason: str,
    plan_only: bool,
    digest: str | None,
    yes: bool,
    planned: bool,
    emergency: str | None,
    config: Path | None,
    journal: Path | None,
    as_json: bool,
) -> None:
    """Plan a rollback, and execute it once it is confirmed and authorized. The same checks as in the console.

    Exit 0 confirmed; 1 done but not confirmed, or aborted; 4 not authorized; 5 refused by a check or a lock.
    """
    if yes and not digest:
        raise UsageError("--yes without --digest", "look at `--plan` first, and give its digest: --digest D --yes")
    if not plan_only and not reason.strip():
        raise UsageError("a rollback needs a reason", 'say why in one line: --reason "v8 hurts conversion"')
    ctx.exit(asyncio.run(_rollback(ctx, deployment, to, path, reason, plan_only, digest, yes, planned, as_json)))


async def _rollback(
    ctx: click.Context, text: str, to: str | None, path: str | None, reason: str, plan_only: bool,
    digest: str | None, yes: bool, planned: bool, as_json: bool,
) -> int:  # fmt: skip
    from rollback_console.cli.compose import console

    async with console(ctx) as commands:
        plan = await commands.plan(commands.find(text), path, to)
        if plan_only:
            emit_json(plan_facts(plan)) if as_json else emit_lines(plan_lines(plan))
            return 0 if plan.executable else 5
        if digest is not None and plan.from_version == plan.to_version:
            raise Refused(
                f"{plan.alias} of {plan.model} names v{plan.to_version} already: somebody moved it since that plan",
                "`rollback-console executions` says whether it was done from here",
            )
        if digest is not None and digest.lower() != plan.digest:
            raise Refused(
                f"the plan is not the one of that digest any more: it is v{plan.from_version} to v{plan.to_version},"
                f" {plan.digest}",
                "look at it with --plan, and give its digest",
            )
        if not as_json:
            emit_lines(plan_lines(plan))
        typed = commands.phrase(plan) if yes else _typed(commands.phrase(plan))
        execution = await commands.wait(await commands.execute(plan, reason, typed, planned=planned))
    if as_json:
        emit_json({"plan": plan_facts(plan), "execution": execution_facts(execution)})
    else:
        emit_lines(["", *execution_lines(execution)])
    return exit_code(execution)


def _typed(phrase: str) -> str:
    if not sys.stdin.isatty():
        raise UsageError("nobody is here to type the confirmation", "look at --plan, then give --digest D --yes")
    return str(click.prompt(f"Type {plain(phrase)} to execute", err=True, default="", show_default=False)).strip()


@click.command("adopt", epilog='Example: rollback-console adopt production/ads-ctr --reason "bo flipped it by hand"')
@click.argument("deployment", metavar="ENVIRONMENT/DEPLOYMENT")
@click.option("--reason", metavar="TEXT", required=True, help="Who moved it and why, in one line.")
@click.option("--planned", is_flag=True, help="It was a planned switch: it counts in no rollback rate.")
@config_option
@journal_option
@click.pass_context
def adopt(
    ctx: click.Context, deployment: str, reason: str, planned: bool, config: Path | None, journal: Path | None
) -> None:
    """Take a rollback that somebody did by hand into the journal and the measures. Moves nothing."""
    ctx.exit(asyncio.run(_adopt(ctx, deployment, reason, planned)))


async def _adopt(ctx: click.Context, text: str, reason: str, planned: bool) -> int:
    from rollback_console.cli.compose import console

    async with console(ctx) as commands:
        deployment = commands.find(text)
        await commands.adopt(deployment, reason, planned=planned)
    emit_lines([f"adopted: {deployment}"])
    return 0


# How plans and executions are printed; also for `executions`, `resume` and `abort`.


def plan_lines(plan: Plan) -> list[str]:
    """The plan for a person: what moves, why there, the checks, the stages, the manual equivalent."""
    marks = {True: "ok  ", False: "NO  ", None: "?   "}
    return [
        f"plan      {plan.deployment}: {plan.model}@{plan.alias} from v{plan.from_version} to v{plan.to_version}",
        f"why       {plan.why_target}",
        *([f"AGAINST   {plan.against}"] if plan.against else []),
        f"path      {plan.path} ({plan.driver}), holds until {rfc3339(plan.expires_at)}",
        f"digest    {plan.digest}",
        "checks",
        *(line for check in plan.checks for line in _check_lines(marks[check.ok], check)),
        "stages",
        *(f"  {stage.name}: {stage.does}; {stage.gate}" for stage in plan.stages),
        "by hand",
        *(f"  {line}" for line in plan.manual),
    ]


def _check_lines(mark: str, check: Check) -> list[str]:
    remedy = [f"      {check.remedy}"] if check.remedy and check.ok is not True else []
    return [f"  {mark}{check.name}: {check.detail}", *remedy]


def plan_facts(plan: Plan) -> dict[str, Any]:
    """The plan as JSON."""
    return {
        "deployment": str(plan.deployment),
        "model": plan.model,
        "alias": plan.alias,
        "from": plan.from_version,
        "to": plan.to_version,
        "path": plan.path,
        "driver": plan.driver,
        "why": plan.why_target,
        "against": plan.against or None,
        "digest": plan.digest,
        "executable": plan.executable,
        "expires_at": rfc3339(plan.expires_at),
        "checks": [{"name": c.name, "ok": c.ok, "detail": c.detail, "remedy": c.remedy or None} for c in plan.checks],
        "stages": [{"name": s.name, "does": s.does, "gate": s.gate} for s in plan.stages],
        "manual": list(plan.manual),
    }


def execution_lines(execution: Execution) -> list[str]:
    """An execution for a person: how it stands, and its steps."""
    plan = execution.plan
    head = f"{execution.id}  {execution.state}  {plan.deployment} v{plan.from_version} to v{plan.to_version}"
    lines = [f"{head}  by {execution.operator or 'unknown'} at {rfc3339(execution.started_at)}"]
    lines += [f"  {step.state:<8} {step.name}: {step.detail or step.title}" for step in execution.steps]
    return [*lines, f"  {execution.detail}"] if execution.detail else lines


def execution_facts(execution: Execution) -> dict[str, Any]:
    """An execution as JSON."""
    plan = execution.plan
    return {
        "id": execution.id,
        "state": str(execution.state),
        "deployment": str(plan.deployment),
        "from": plan.from_version,
        "to": plan.to_version,
        "plan": plan.digest,
        "operator": execution.operator,
        "reason": execution.reason,
        "started_at": rfc3339(execution.started_at),
        "ended_at": rfc3339(execution.ended_at),
        "detail": execution.detail,
        "steps": [
            {
                "name": step.name,
                "title": step.title,
                "state": str(step.state),
                "started_at": rfc3339(step.started_at),
                "ended_at": rfc3339(step.ended_at),
                "detail": step.detail,
            }
            for step in execution.steps
        ],
    }


def exit_code(execution: Execution) -> int:
    """0 confirmed; 5 the world or a lock said no; 1 everything else that is not a yes."""
    return {"done": 0, "failed": 5}.get(str(execution.state), 1)
