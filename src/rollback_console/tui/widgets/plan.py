"""A plan and an execution as lines: from, to, why, what must hold, who must say yes, how it goes, what now stands."""

from __future__ import annotations

from rich.cells import cell_len
from rich.text import Text

from rollback_console.model.operator import Operator
from rollback_console.model.plan import Check, Execution, ExecutionState, ExecutionStep, Plan, StepState
from rollback_console.model.snapshot import DeploymentView
from rollback_console.model.text import duration, plain, span
from rollback_console.tui.widgets.lines import against_lines, clip, fit, heading, line, paragraph, version_word

_FRESH_S = 5.0  # younger answers need no age
CHECK_WORDS = {True: ("✓", "ok", "ok"), False: ("✗", "no", "bad"), None: ("?", "cannot tell", "blind")}
STEP_WORDS = {
    StepState.WAITING: ("○", "waiting", "dim"),
    StepState.RUNNING: ("▶", "running", "accent"),
    StepState.DONE: ("✓", "done", "ok"),
    StepState.FAILED: ("✗", "failed", "bad"),
    StepState.SKIPPED: ("–", "skipped", "dim"),
}


def title_lines(plan: Plan, width: int, now: float, *, roomy: bool = True) -> list[Text]:
    """From, to and the expiry: what nobody may overlook; with air around it where the screen is `roomy`."""
    move = f"  {version_word(plan.from_version)}  ──▶  {version_word(plan.to_version)}  "
    where = clip(f"{plan.deployment}", max(8, width - 12))
    left = plan.expires_at - now
    expiry = (f"expires in {duration(left)}", "dim" if left > 120 else "warn") if left > 0 else ("EXPIRED", "bad")
    return [
        *against_lines(plan.against, width),
        line(("ROLLBACK ", "bold"), (where, "title")),
        *([line("")] if roomy else []),
        line("  ", ("FROM ", "dim"), (move, "inverse"), (" TO", "dim")),
        *([line("")] if roomy else []),
        line(
            (f"plan {plain(plan.digest[:12])} · ", "dim"),
            expiry,
            (f" · path {clip(plan.path, max(8, width - 46))}", "dim"),
            *([("  p plans it anew", "dim")] if left <= 0 else []),
        ),
    ]


def plan_lines(plan: Plan, view: DeploymentView | None, width: int) -> list[Text]:
    """Why this target, the stages with their gates, and what is verified within when."""
    return [*target_lines(plan, width), line(""), *stage_lines(plan, view, width)]


def target_lines(plan: Plan, width: int) -> list[Text]:
    """Why this version."""
    return [heading(f"Why {version_word(plan.to_version)}", width), *paragraph(plan.why_target, width, most=6)]


def stage_lines(plan: Plan, view: DeploymentView | None, width: int) -> list[Text]:
    """The stages with their gates, and what is verified within when."""
    rows = [heading("What happens", width, f"driver {plain(plan.driver, 24)}")]
    for index, stage in enumerate(plan.stages, 1):
        rows += paragraph(f"{plain(stage.name, 60)}: {plain(stage.does, 300)}", width, first=f"{index:>2} ")
        if stage.gate:
            rows += paragraph(stage.gate, width, "dim", first="   gate: ")
    if not plan.stages:
        rows += paragraph(f"@{plain(plan.alias, 40)} of {plain(plan.model, 60)} moves in one step", width)
    rows += paragraph(
        f"registry and serving report {version_word(plan.to_version)}, and the signals are back inside their envelope"
        f" for {span(plan.verify_for_s)}, within {span(plan.verify_within_s)}; else it reads NOT CONFIRMED",
        width,
        first="verified: ",
        indent="   ",
    )
    if view is not None and view.deployment.repromoted_by:
        rows += paragraph(
            f"{plain(view.deployment.repromoted_by, 60)} moves this pointer by itself and may undo this",
            width,
            "warn",
            first="▲ ",
        )
    return rows


def check_lines(plan: Plan, width: int) -> list[Text]:
    """The preflight checks with their sentences."""
    good = sum(check.ok is True for check in plan.checks)
    rows = [heading("Preflight", width, f"{good} of {len(plan.checks)} hold")]
    if not plan.checks:
        rows.append(line(("? no checks were made: nothing may be executed", "blind")))
    for check in plan.checks:
        rows += _check(check, width)
    return rows


def _check(check: Check, width: int) -> list[Text]:
    glyph, word, role = CHECK_WORDS[check.ok]
    shown = "" if check.ok else f"{word}: "
    lead = line((f"{glyph} ", role))
    body = paragraph(
        f"{shown}{plain(check.name, 60)} – {plain(check.detail, 300)}", width, "" if check.ok else role, first="  "
    )
    body[0] = lead.append_text(body[0][2:])
    return body


def authority_lines(plan: Plan, operator: Operator | None, width: int) -> list[Text]:
    """Who may ask, who must say yes."""
    rule = plan.authority
    rows = [heading("Authority", width)]
    asks = ", ".join(plain(role, 30) for role in rule.request) or "nobody"
    rows += paragraph(f"may ask and execute: {asks}", width)
    if rule.approve_count:
        of = ", ".join(plain(role, 30) for role in rule.approve_of) or "anyone else"
        rows += paragraph(f"must say yes: {rule.approve_count} of {of}; none has yet", width, "warn")
    else:
        rows += paragraph("nobody else must say yes for this path", width)
    if operator is None:
        rows += paragraph("you: no key is at hand, this console only looks", width, "warn")
    else:
        roles = ", ".join(plain(role, 30) for role in operator.roles) or "no role"
        holds = not rule.request or bool(set(rule.request) & set(operator.roles))
        rows += paragraph(f"you: {plain(operator.id, 40)} ({roles})", width, "" if holds else "warn")
    return rows


def manual_lines(plan: Plan, width: int) -> list[Text]:
    """What a person would type instead, broken at spaces alone: what is copied from the screen can be pasted, joined
    or not. A word longer than the line is cut with an ellipsis; `c` copies the whole."""
    rows = [heading("By hand", width, "c copies the whole")]
    for command in plan.manual:
        pieces = [""]
        for word in plain(command, 2_000).split(" "):
            joined = f"{pieces[-1]} {word}" if pieces[-1] else word
            if cell_len(joined) <= width - 4 or not pieces[-1]:
                pieces[-1] = joined
            else:
                pieces.append(word)
        rows += [
            line(("$ " if i == 0 else "  ↪ ", "dim"), (clip(piece, max(8, width - 4)), "code"))
            for i, piece in enumerate(pieces)
        ]
    if not plan.manual:
        rows.append(line(("the driver names none", "dim")))
    return rows


def _outcome(execution: Execution) -> tuple[str, str, str]:
    """(word, role, what now stands) of an execution's state."""
    plan = execution.plan
    here, there = version_word(plan.from_version), version_word(plan.to_version)
    return {
        ExecutionState.RUNNING: ("EXECUTING", "accent", f"{here} → {there} is under way"),
        ExecutionState.VERIFYING: ("VERIFYING", "accent", f"the pointer is moved; {there} must prove itself"),
        ExecutionState.DONE: ("DONE", "ok", f"registry and serving report {there}, and the signals recovered"),
        ExecutionState.NOT_CONFIRMED: (
            "NOT CONFIRMED",
            "warn",
            "the move was made, but recovery was not proven within the policy's time",
        ),
        ExecutionState.FAILED: ("FAILED", "bad", "a step failed; what was done before it stands as it is"),
        ExecutionState.ABORTED: ("ABORTED", "warn", "it was stopped; what was done before stands as it is"),
        ExecutionState.UNFINISHED: ("UNFINISHED", "warn", "an intent has no outcome: the program that ran it is gone"),
    }[execution.state]


_NEXT = {
    ExecutionState.RUNNING: "a aborts before the next touch; escape leaves the screen, never the execution",
    ExecutionState.VERIFYING: "a aborts; escape leaves the screen, never the execution",
    ExecutionState.DONE: "watch the pointer until the incident is closed; p plans anew, y copies the ten lines",
    ExecutionState.NOT_CONFIRMED: "look at the deployment's signals; o plans another target, y copies the ten lines",
    ExecutionState.FAILED: "read the failed step; p plans anew from where the pointer stands now",
    ExecutionState.ABORTED: "compare registry and serving on the deployment; p plans anew",
    ExecutionState.UNFINISHED: "u resumes where the journal stops, a aborts and leaves all as it is",
}


def execution_lines(
    execution: Execution, view: DeploymentView | None, width: int, now: float, polled_at: float | None = None
) -> list[Text]:
    """An execution under way or ended: its state in a word, what stands, what to do next, and each step. `polled_at`:
    when the registry last answered the console's own poll."""
    word, role, stands = _outcome(execution)
    plan = execution.plan
    end = execution.ended_at if execution.ended_at is not None else now
    rows = [
        line(("ROLLBACK ", "bold"), (clip(str(plan.deployment), max(8, width - 10)), "title")),
        line(
            (f" {word} ", "inverse"),
            "  ",
            (f"{version_word(plan.from_version)} → {version_word(plan.to_version)}", role or "bold"),
            (f"   {duration(end - execution.started_at)} elapsed", "dim"),
        ),
    ]
    rows += paragraph(stands, width, role)
    if execution.detail:
        rows += paragraph(execution.detail, width, most=4)
    rows += paragraph(now_stands(execution, view, now, polled_at), width, "dim") if view else []
    rows += paragraph(_NEXT[execution.state], width, "bold", first="next: ")
    rows += [line(""), heading("Steps", width, f"{plain(execution.id, 24)} by {plain(execution.operator, 24)}")]
    for step in execution.steps:
        glyph, state, step_role = STEP_WORDS[step.state]
        took = ""
        if step.started_at is not None:
            took = duration((step.ended_at if step.ended_at is not None else end) - step.started_at)
        room = max(8, width - 19)
        rows.append(
            line(
                (f"{glyph} {fit(state, 8)}", step_role), f" {fit(step.title or step.name, room)}", (f"{took:>7}", "dim")
            )
        )
        if step.detail:
            rows += paragraph(step.detail, width, "dim", first="           ", most=4)
    return [*rows, *paragraph(execution.reason, width, "dim", first="reason: ", most=4)]


def now_stands(execution: Execution, view: DeploymentView, now: float, polled_at: float | None) -> str:
    """What stands now, each thing by its newest witness, the execution's own step or the console's poll, with the
    witness' age where it is not this moment's."""
    steps = {step.name: step for step in execution.steps if step.state is StepState.DONE and step.ended_at is not None}
    plan = execution.plan
    registry = _witnessed("the registry says", view.registry_version, polled_at, plan, steps.get("registry"), now)
    verdict = view.verdict
    seen_at = verdict.at if verdict is not None and verdict.version is not None else view.last_seen_at
    serving = _witnessed("serving reports", view.serving_version, seen_at, plan, steps.get("serving"), now)
    state = str(verdict.state).upper() if verdict else "not evaluated yet"
    return f"now: {registry}, {serving}; the trigger is {state}"


def _witnessed(
    words: str, seen: str | None, seen_at: float | None, plan: Plan, step: ExecutionStep | None, now: float
) -> str:
    polled = f"{words} {version_word(seen)}"
    age = max(0.0, now - seen_at) if seen_at is not None else None
    if step is None or step.ended_at is None or (seen_at is not None and seen_at >= step.ended_at):
        return polled + (f" (polled {span(age)} ago)" if age is not None and age > _FRESH_S else "")
    found = (
        f"{words} {version_word(plan.to_version)}, as this execution found {span(max(0.0, now - step.ended_at))} ago"
    )
    return found + (f" (polled {span(age)} ago: {version_word(seen)})" if age is not None else "")
