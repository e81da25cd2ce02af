"""Every act an operator can do. Bindings, palette, footer, help and the gate at execution all read this one table.

An act is *shown* as possible or not by `disabled_reason`; it is *gated* where it is done (`engine.acts`), by the same
function and by the roster. Looking is always allowed. What is then asked for stands in `commands`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rollback_console.model.identity import DeploymentId
from rollback_console.model.operator import Permission
from rollback_console.model.plan import ExecutionState
from rollback_console.model.snapshot import DeploymentView, Snapshot


@dataclass(frozen=True, slots=True)
class Context:
    """What an act would apply to."""

    snapshot: Snapshot | None
    deployment: DeploymentId | None = None

    @property
    def view(self) -> DeploymentView | None:
        if self.snapshot is None or self.deployment is None:
            return None
        return self.snapshot.view(self.deployment)


Reason = Callable[[Context], str | None]


@dataclass(frozen=True, slots=True)
class Action:
    """One act. `key` is a Textual key name; `permission` None means anyone may (looking, copying)."""

    id: str
    title: str
    key: str
    help: str
    disabled_reason: Reason
    permission: Permission | None = None
    dangerous: bool = False
    rare: bool = False  # the footer names it only while it is possible
    screens: tuple[str, ...] = ("fleet", "deployment")  # where its key is bound; the palette has it everywhere


def _always(context: Context) -> str | None:
    return None


def _needs_deployment(context: Context) -> str | None:
    return None if context.view is not None else "no deployment is selected"


def _may_write(context: Context) -> str | None:
    if context.snapshot is None:
        return "still connecting"
    if context.snapshot.look_only:
        return context.snapshot.look_only
    if context.snapshot.journal.problem:
        return f"the journal cannot record it: {context.snapshot.journal.problem}"
    return None


def _write_on_deployment(context: Context) -> str | None:
    return _needs_deployment(context) or _may_write(context)


def _rollback(context: Context) -> str | None:
    """Opening the screen is looking: also while something executes, which it then shows."""
    view = context.view
    if view is None:
        return "no deployment is selected"
    if not view.rule.recovery:
        return f"the policy {view.rule.policy} names no recovery path for {view.id}"
    return None


def _runbook(context: Context) -> str | None:
    if context.snapshot is None:
        return "still connecting"
    if context.snapshot.review:
        return context.snapshot.look_only
    return None if context.snapshot.runbooks else "no runbooks were found; settings name their folders"


def _incident(context: Context) -> str | None:
    if context.snapshot is None:
        return "still connecting"
    return None if any(i.closed_at is None for i in context.snapshot.incidents) else "no incident is open"


def _unfinished(context: Context) -> str | None:
    if context.snapshot is None:
        return "still connecting"
    if not any(e.state is ExecutionState.UNFINISHED for e in context.snapshot.executions):
        return "no execution is unfinished"
    return _may_write(context)


def _end_expected(context: Context) -> str | None:
    if context.snapshot is None:
        return "still connecting"
    if context.view is None:
        return "no deployment is selected"
    if not any(str(context.view.id) in each.deployments for each in context.snapshot.expectations):
        return f"no change that somebody declared goes on with {context.view.id}"
    return _may_write(context)


def _restore(context: Context) -> str | None:
    if context.snapshot is None:
        return "still connecting"
    if not any(
        context.deployment is None or each.concerns(str(context.deployment)) for each in context.snapshot.exclusions
    ):
        return "no stretch was excluded by hand"
    return _may_write(context)


def _locked(context: Context) -> str | None:
    if context.snapshot is None:
        return "still connecting"
    return None if context.snapshot.key_locked else "no key here waits for its passphrase"


def _unwritable(context: Context) -> str | None:
    if context.snapshot is None:
        return "still connecting"
    if context.snapshot.look_only:
        return context.snapshot.look_only
    return None if context.snapshot.journal.problem else "the journal can be written: there is no glass to break"


def _running(context: Context) -> str | None:
    if context.snapshot is None:
        return "still connecting"
    live = (ExecutionState.RUNNING, ExecutionState.VERIFYING, ExecutionState.UNFINISHED)
    if not any(e.state in live for e in context.snapshot.executions):
        return "nothing is executing"
    return _may_write(context)


def _on_incident(context: Context) -> str | None:
    if context.snapshot is None:
        return "still connecting"
    if context.deployment is None or context.snapshot.incident_of(context.deployment) is None:
        return "no incident is open here"
    return _may_write(context)


def _drill(context: Context) -> str | None:
    if context.snapshot is None:
        return "still connecting"
    return "no drill goes on here" if context.snapshot.drill is None else None


def _in_drill(context: Context) -> str | None:
    over = context.snapshot is not None and context.snapshot.drill is not None and context.snapshot.drill.over
    return "the drill is over" if over else _drill(context)


def _judge(context: Context) -> str | None:
    """In a review too: whose journal it is, is found out where it is done."""
    snapshot = context.snapshot
    if snapshot is None:
        return "still connecting"
    over = (*snapshot.over, *(i for i in snapshot.incidents if i.closed_at is not None))
    if not over and not any(e.ended_at is not None for e in snapshot.executions):
        return "nothing is over yet that could be judged"
    return None if snapshot.review else _may_write(context)


def _tell(context: Context) -> str | None:
    if context.snapshot is None:
        return "still connecting"
    if not context.snapshot.incidents and not context.snapshot.over:
        return "there is no incident to tell of"
    return None if context.snapshot.review else _may_write(context)


def _announced(context: Context) -> str | None:
    if context.snapshot is None:
        return "still connecting"
    if context.deployment is None or context.snapshot.announcement(context.deployment) is None:
        return "nothing is about to happen by itself here"
    return _may_write(context)


ACTIONS: tuple[Action, ...] = (
    Action(
        "open", "Open the deployment", "enter", "Signals, trigger, what changed", _needs_deployment, screens=("fleet",)
    ),
    Action(
        "rollback",
        "Plan a rollback",
        "r",
        "Shows the plan; nothing moves before a typed confirmation",
        _rollback,
        screens=("fleet", "deployment"),
    ),
    Action(
        "execute",
        "Execute the plan",
        "x",
        "Asks for the typed phrase, then moves the pointer",
        _write_on_deployment,
        Permission.ROLLBACK,
        dangerous=True,
        screens=("rollback",),
    ),
    Action(
        "resume",
        "Resume an unfinished execution",
        "u",
        "Goes on where the journal says it stopped",
        _unfinished,
        Permission.ROLLBACK,
        dangerous=True,
        screens=("fleet", "deployment", "rollback"),
    ),
    Action(
        "abort",
        "Abort the execution",
        "a",
        "Stops before the next touch; says what stands as it is",
        _running,
        Permission.ABORT,
        rare=True,
        screens=("fleet", "deployment", "rollback"),
    ),
    Action(
        "hold",
        "Hold the automatic rollback",
        "H",
        "It does not go by itself until the deployment was healthy again",
        _announced,
        Permission.ABORT,
        rare=True,
        screens=("fleet", "deployment", "rollback"),
    ),
    Action(
        "adopt",
        "Adopt a rollback done by hand",
        "A",
        "Takes a flip that the console did not make into the journal",
        _write_on_deployment,
        Permission.ADOPT,
        screens=("deployment",),
    ),
    Action("runbook", "Open the runbook", "b", "The proposed runbook beside the panel, step by step", _runbook),
    Action(
        "timeline",
        "Timeline",
        "t",
        "Everything that happened, filterable",
        _always,
        screens=("fleet", "deployment", "rollback", "runbook"),
    ),
    Action(
        "note",
        "Add a note",
        "n",
        "One signed line in the journal",
        _may_write,
        Permission.NOTE,
        screens=("fleet", "deployment", "timeline"),
    ),
    Action(
        "snooze",
        "Snooze for 30 minutes",
        "z",
        "Holds back noise for one deployment, never the state",
        _write_on_deployment,
        Permission.NOTE,
    ),
    Action(
        "unlock",
        "Unlock your key",
        "K",
        "Asks for its passphrase; the key stays in memory, and goes when you leave",
        _locked,
        rare=True,
    ),
    Action(
        "break_glass",
        "Go on with an emergency journal",
        "B",
        "Only while the journal cannot be written: a journal that stands in for it, with your reason",
        _unwritable,
        Permission.BREAK_GLASS,
        dangerous=True,
        rare=True,
        screens=("fleet", "deployment", "rollback"),
    ),
    Action(
        "copy_summary",
        "Copy the incident's ten lines",
        "y",
        "State, sentence, who, next update, UTC",
        _incident,
        screens=("fleet", "deployment", "rollback", "runbook", "timeline"),
    ),
    Action(
        "why",
        "Why, and what would change it",
        "w",
        "The numbers behind the state, what would make it fire or clear, what it costs",
        _needs_deployment,
    ),
    Action(
        "expect",
        "Expect a change",
        "e",
        "Maintenance, an experiment: alarms and advice wait until it is over; the state does not",
        _write_on_deployment,
        Permission.DECLARE,
    ),
    Action(
        "end_expected",
        "End an expected change early",
        "E",
        "Alarms and advice are given again from now on",
        _end_expected,
        Permission.DECLARE,
        rare=True,
    ),
    Action(
        "exclude",
        "Exclude a stretch from baselines",
        "X",
        "An incident, a holiday, a drill: nothing is learned from it any more",
        _may_write,
        Permission.DECLARE,
        screens=("deployment", "timeline"),
    ),
    Action(
        "restore",
        "Put an excluded stretch back",
        "R",
        "Baselines learn from it again",
        _restore,
        Permission.DECLARE,
        rare=True,
        screens=("deployment", "timeline"),
    ),
    Action(
        "claim",
        "Work on the incident",
        "c",
        "Everybody sees that you are on it; again: you are not",
        _on_incident,
        Permission.NOTE,
        rare=True,
        screens=("deployment",),
    ),
    Action(
        "command",
        "Take command of the incident",
        "C",
        "From somebody else only with a reason",
        _on_incident,
        Permission.NOTE,
        rare=True,
        screens=("deployment",),
    ),
    Action(
        "hand_over",
        "Hand over command",
        "O",
        "Asks to whom; you command until they take it",
        _on_incident,
        Permission.NOTE,
        rare=True,
        screens=("deployment",),
    ),
    Action(
        "judge",
        "Judge it afterwards",
        "J",
        "Root cause, right or wrong, margins, lessons, follow-ups: signed, and never erased",
        _judge,
        Permission.JUDGE,
        rare=True,
        screens=("fleet", "deployment", "timeline", "review"),
    ),
    Action(
        "message",
        "Tell stakeholders",
        "M",
        "A message by template, inside or outside; y copies it, and the journal keeps its words",
        _tell,
        Permission.NOTE,
        rare=True,
        screens=("fleet", "deployment", "timeline"),
    ),
)

_EVERYWHERE = ("fleet", "deployment", "rollback", "runbook", "timeline")
# What there is in a drill alone: footer, help and palette name these only there.
DRILL_ACTIONS: tuple[Action, ...] = (
    Action(
        "jump", "Jump to the next event", ">", "On to the next thing that changes, at most half an hour",
        _in_drill, rare=True, screens=_EVERYWHERE,
    ),
    Action(
        "drill_end", "End the drill", "D", "Asks, then shows the report; once it is over: shows it again",
        _drill, rare=True, screens=_EVERYWHERE,
    ),
    Action(
        "step_on", "Go on by one evaluation", ".", "Pauses, and lets the next evaluation come",
        _in_drill, rare=True, screens=_EVERYWHERE,
    ),
    Action(
        "story", "The story again", "S", "What you were told at the beginning, and what the tutorial has said",
        _drill, rare=True, screens=_EVERYWHERE,
    ),
)  # fmt: skip

BY_ID = {action.id: action for action in (*ACTIONS, *DRILL_ACTIONS)}
