"""Samples for the Deployment, Rollback and Runbook screens: one deployment in trouble with all its details."""

from __future__ import annotations

import asyncio
import dataclasses
import unicodedata
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import tui_samples as base
from rich.cells import cell_len
from textual import events
from textual.keys import _character_to_key
from textual.pilot import Pilot

from rollback_console.commands import Commands
from rollback_console.errors import ConsoleError, NotAuthorized
from rollback_console.model.identity import DeploymentId
from rollback_console.model.observation import Blind
from rollback_console.model.operator import Operator
from rollback_console.model.plan import Check, Execution, ExecutionState, ExecutionStep, Plan, Stage, StepState
from rollback_console.model.registry import Difference, ModelVersion, PointerMove
from rollback_console.model.rules import And, AtLeast, AuthorityRule, RecoveryPath, Uses
from rollback_console.model.snapshot import DeploymentDetail, DeploymentView, Snapshot, TimelineItem
from rollback_console.model.verdict import TriggerState
from rollback_console.model.walk import Runbook, RunbookStep, StepKind, Walk, WalkStep
from rollback_console.tui.app import ConsoleApp

AT = base.AT
ID = DeploymentId("production", "checkout-ranker")
HOSTILE = (
    "a[/b] [red]x[@click=app.quit]y",
    "esc\x1b[2J\x1b]8;;https://evil\x07link\x9b31m",
    "\u202eright-to-left \u2066iso",
    "宽字符モデル한글" * 8,
    "z" + "\u0301" * 60 + "algo",
    "long " * 2_000,
    "one\ntwo\r\nthree\u2028four\x00",
)

HOSTILE_NAMES = ("brackets", "escapes", "bidi", "wide", "combining", "long", "newlines")


def detailed_view(**more: Any) -> DeploymentView:
    """The fired deployment with two hours of traces and links; v8 serves, the onset is 6 minutes old."""
    view = base.fired(**more)
    traces = []
    for trace in view.traces:
        longer = base.wave(
            base.HEALTHY[0 if trace.signal == "conversion" else 1 if "err" in trace.signal else 2], 80, 0.3
        )
        traces.append(dataclasses.replace(trace, values=(*longer, *trace.values)))
    when = And((Uses("conversion"), AtLeast(1, (Uses("error_rate"), Uses("latency")))))
    trigger = dataclasses.replace(
        view.rule.trigger, when=when, text="conversion and any 1 of [error_rate, latency]", hold_s=600.0
    )
    deployment = dataclasses.replace(
        view.deployment,
        links=(("dashboard", "https://grafana.example/d/model?var-model=checkout-ranker"), ("logs", "file:///etc/x")),
    )
    paths = (*view.rule.recovery, RecoveryPath("freeze", "mlflow_alias", "8"))
    rule = dataclasses.replace(view.rule, trigger=trigger, deployment=deployment, recovery=paths)
    return dataclasses.replace(view, rule=rule, traces=tuple(traces))


DETAIL = DeploymentDetail(
    ID,
    versions=(
        ModelVersion(
            "checkout-ranker", "8", "READY", AT - 5_400, "r8", tags=(("owner", "ranking"), ("stage", "canary"))
        ),
        ModelVersion("checkout-ranker", "7", "READY", AT - 9 * 86_400, "r7", description="the autumn model"),
        ModelVersion("checkout-ranker", "6", "FAILED_REGISTRATION", AT - 30 * 86_400, "r6"),
    ),
    compared=("7", "8"),
    differences=(
        Difference("param", "learning_rate", "0.05", "0.3"),
        Difference("param", "objective", "lambdarank", "binary"),
        Difference("metric", "auc", "0.871", "0.874"),
        Difference("tag", "dataset", "2026-11-08", "2026-11-17"),
        Difference("tag", "approved_by", "kim", None),
        Difference("signature", "inputs.session_length", "long", "double"),
        Difference("source", "git commit", None, "9f3c2d1"),
    ),
    moves=(
        PointerMove(AT - 1_140, "production/checkout-ranker", "checkout-ranker", "champion", "7", "8", "ci-release"),
        PointerMove(AT - 5_000, "production/ads-ctr", "ads-ctr", "champion", "20", "21", ""),
    ),
    trigger=And((Uses("conversion"), AtLeast(1, (Uses("error_rate"), Uses("latency"))))),
)

STEPS = (
    RunbookStep("look", "Look at the panel", 5, 1, StepKind.CHECK,
                "Is it *this* deployment alone? See **Why**.\n\n- `conversion` below its margin\n- nobody else on "
                "[feature-view:sessions](https://wiki.example/fv) degrades", checks=("release is the likely origin",)),
    RunbookStep("tell", "Tell the channel", 12, 1, StepKind.COMMAND,
                "Copy the ten lines with `y`, or:\n\n```sh\n$ slack post '#incident' \"checkout-ranker is degraded, "
                "on-call looks at it, next update in ten minutes\"\n```", ("slack post '#incident' x",)),
    RunbookStep("freeze", "Stop tonight's training job", 20, 2, StepKind.PROSE, "1. open the scheduler\n2. pause it"),
    RunbookStep("back", "Roll back to the last known good", 26, 1, StepKind.ACT, "The plan names it.", act="rollback"),
    RunbookStep("note", "Write down what you saw", 30, 1, StepKind.ACT, "One line.", act="note"),
)  # fmt: skip
BOOK = Runbook("model-version-rollback", "Model version rollback", "cd" * 32, "rb.md", "# x", STEPS)
OTHERS = (
    Runbook("upstream-fault", "Upstream fault: do not roll back", "aa" * 32, "up.md", "# x", STEPS[:2]),
    Runbook("blind-telemetry", "Blind telemetry", "bb" * 32, "blind.md", "# x", STEPS[:3]),
)
WALK = Walk(
    "W-1", BOOK, str(ID), "I-7f3a", "oncall-1", AT - 240,
    (
        WalkStep(STEPS[0], StepState.DONE, "oncall-1", AT - 240, AT - 200),
        WalkStep(STEPS[1], StepState.SKIPPED, "oncall-1", AT - 200, AT - 150, "the commander has told them"),
        WalkStep(STEPS[2], StepState.WAITING),
        WalkStep(STEPS[3], StepState.WAITING),
        WalkStep(STEPS[4], StepState.WAITING),
    ),
)  # fmt: skip

CHECKS = (
    Check("target exists and is READY", True, "checkout-ranker v7 is READY"),
    Check("not the current version", True, "the pointer names v8"),
    Check("target is not known bad", True, "v7 has no rollback tag"),
    Check("pointer is where the plan says", True, "@champion names v8"),
    Check("nobody else executes", True, "the lock is free"),
)
PLAN = Plan(
    ID, "checkout-ranker", "champion", "8", "7", "version rollback", "mlflow_alias",
    (
        Stage("compare", "reads @champion again just before", "it must still name v8"),
        Stage("set", "sets @champion of checkout-ranker to v7", "the registry names v7"),
        Stage("serve", "waits for serving to report v7", "model_info says version 7"),
    ),
    600.0, 1800.0, AuthorityRule(("oncall", "commander"), ("lead",), 0), "ab" * 32,
    ("curl -X POST https://mlflow.example/api/2.0/mlflow/registered-models/alias -H 'Content-Type: application/json'"
     " -d '{\"name\": \"checkout-ranker\", \"alias\": \"champion\", \"version\": \"7\"}'",),
    "v7 served healthily for 9 days until 13:43, the last version before v8 to do so",
    CHECKS, AT, AT + 900, "ef12ab34" * 8,
)  # fmt: skip
BLOCKED = dataclasses.replace(
    PLAN,
    checks=(
        *CHECKS[:3],
        Check("pointer is where the plan says", False, "@champion names v9 since 14:01"),
        Check("nobody else executes", None, "the registry did not answer within 3 s"),
    ),
)


def execution(state: ExecutionState = ExecutionState.VERIFYING, **more: Any) -> Execution:
    """An execution of `PLAN` in a state, its steps accordingly."""
    names = (
        ("compare", "compare the pointer"), ("set", "set the pointer"), ("registry", "verify the registry"),
        ("tag", "tag v8"), ("serving", "serving reports v7"), ("signals", "signals recover"),
    )  # fmt: skip
    reached = {
        ExecutionState.RUNNING: 1,
        ExecutionState.UNFINISHED: 1,
        ExecutionState.FAILED: 2,
        ExecutionState.DONE: 6,
    }
    done = reached.get(state, 5)
    steps = []
    for index, (name, title) in enumerate(names):
        begun = AT - 90 + index * 9
        if index < done:
            steps.append(ExecutionStep(name, title, StepState.DONE, begun, begun + 2))
        elif index == done and state in (ExecutionState.RUNNING, ExecutionState.VERIFYING, ExecutionState.UNFINISHED):
            gate = "verifying, cannot confirm before 14:13" if name == "signals" else ""
            steps.append(ExecutionStep(name, title, StepState.RUNNING, begun, detail=gate))
        elif index == done and state in (ExecutionState.FAILED, ExecutionState.NOT_CONFIRMED):
            steps.append(ExecutionStep(name, title, StepState.FAILED, begun, begun + 9, "conversion stays 6 % below"))
        else:
            steps.append(ExecutionStep(name, title, StepState.WAITING))
    over = state not in (ExecutionState.RUNNING, ExecutionState.VERIFYING, ExecutionState.UNFINISHED)
    values: dict[str, Any] = {"started_at": AT - 90, "ended_at": AT - 5 if over else None, "detail": ""}
    return Execution("X-1", PLAN, state, tuple(steps), "oncall-1", "conversion fell after v8", **(values | more))


def snapshot(view: DeploymentView | None = None, **more: Any) -> Snapshot:
    """The base sample with all the details of its first deployment."""
    views = (view or detailed_view(), *base.fleet()[1:])
    values: dict[str, Any] = {"deployments": views, "details": (DETAIL,), "runbooks": (*OTHERS, BOOK)}
    return base.snapshot(**(values | more))


class FakeCommands(base.FakeCommands):
    """A fake of `Commands` that answers plans and walks; `plan_error` and `refuse` make it say no."""

    def __init__(self, plan: Plan = PLAN, plan_error: ConsoleError | None = None) -> None:
        super().__init__()
        self.plan_made = plan
        self.plan_error = plan_error
        self.plan_waits: asyncio.Event | None = None  # a plan is made once it is set

    async def plan(self, deployment: DeploymentId, path: str | None = None, to: str | None = None) -> Plan:
        self.asked.append(("plan", deployment, path, to))
        if self.plan_waits is not None:
            await self.plan_waits.wait()
        if self.plan_error is not None:
            raise self.plan_error
        return dataclasses.replace(
            self.plan_made, path=path or self.plan_made.path, to_version=to or self.plan_made.to_version
        )

    def phrase(self, plan: Plan) -> str:
        return f"{plan.deployment} v{plan.to_version}"

    async def start_walk(self, runbook: str, deployment: DeploymentId | None = None) -> str:
        self.asked.append(("start_walk", runbook, deployment))
        if self.refuse:
            raise NotAuthorized(self.refuse, "ask the lead")
        return "W-1"

    def of(self, name: str) -> list[tuple[Any, ...]]:
        """Everything asked under a name."""
        return [asked for asked in self.asked if asked[0] == name]


def hostile_snapshot(text: str) -> Snapshot:
    """`text` in every field of the detail screens that comes from elsewhere."""
    rule = detailed_view().rule
    signals = tuple(dataclasses.replace(s, title=text, unit=text[:9], area=text) for s in rule.signals)
    here = DeploymentId("production", text)
    deployment = dataclasses.replace(
        rule.deployment, id=here, model=text, alias=text, tier=text, links=((text, text),), repromoted_by=text
    )
    trigger = dataclasses.replace(rule.trigger, text=text)
    rule = dataclasses.replace(
        rule, signals=signals, deployment=deployment, trigger=trigger, policy=text, runbook="model-version-rollback",
        recovery=(RecoveryPath(text, text, text), RecoveryPath(text + "2", text, text)),
    )  # fmt: skip
    seen = detailed_view()
    assert seen.verdict is not None
    judged = tuple(dataclasses.replace(s, note=text) for s in seen.verdict.signals[:2])
    blind = dataclasses.replace(seen.verdict.signals[2], breached=None, blind=Blind.STALE, value=None, note=text)
    impact = dataclasses.replace(
        seen.verdict.impact,
        parts=tuple(dataclasses.replace(p, name=text, unit=text, source=text) for p in seen.verdict.impact.parts),
    )
    verdict = dataclasses.replace(
        seen.verdict, deployment=here, version=text, sentence=text, signals=(*judged, blind), impact=impact,
        blind=(text,),
    )  # fmt: skip
    view = dataclasses.replace(seen, rule=rule, verdict=verdict, registry_version=text + "r")
    plan = hostile_plan(text)
    incident = dataclasses.replace(
        base.INCIDENTS[0], id=text, members=(here, DeploymentId(text, text)), sentence=text, commander=text,
        attribution=dataclasses.replace(base.INCIDENTS[0].attribution, reasons=(text, text)),
        recommendations=tuple(
            dataclasses.replace(r, deployment=here, sentence=text) for r in base.INCIDENTS[0].recommendations
        ),
    )  # fmt: skip
    detail = DeploymentDetail(
        here, problem=text, versions=(ModelVersion(text, text, text, 1e300, text, text, text, ((text, text),)),),
        compared=(text, text), differences=tuple(Difference(w, text, text, text) for w in ("param", text)),
        moves=(PointerMove(AT, text, text, text, text, text, text),), trigger=Uses(text), plans=(plan,),
    )  # fmt: skip
    steps = tuple(
        RunbookStep(f"s{i}", text, 1, 3, StepKind.COMMAND, body, (text,), (text,), None, text)
        for i, body in enumerate((text, f"```\n{text}\n```", f"- **{text}**\n> {text}\n# {text}"))
    )
    book = Runbook("model-version-rollback", text, text, text, text, steps)
    walk = Walk(
        "W-1", dataclasses.replace(book, digest="0" * 64), str(here), text, text, AT,
        tuple(WalkStep(s, StepState.SKIPPED, text, AT, AT, text) for s in steps),
    )  # fmt: skip
    return snapshot(
        view, details=(detail,), runbooks=(book,), walks=(walk,), incidents=(incident,), band=text, look_only="",
        operator=Operator(text, text, (text,)),
    )  # fmt: skip


def hostile_plan(text: str) -> Plan:
    """`text` in every field of a plan."""
    return dataclasses.replace(
        PLAN, deployment=DeploymentId("production", text), model=text, alias=text, from_version=text, to_version=text,
        path=text, driver=text, stages=(Stage(text, text, text),), manual=(text,), why_target=text,
        authority=AuthorityRule((text,), (text,), 2), checks=(Check(text, True, text), Check(text, None, text)),
    )  # fmt: skip


def note_item(seq: int) -> TimelineItem:
    """A note's line in the timeline."""
    return TimelineItem(seq, AT, "note", str(ID), "oncall-1", "seen")


def pending_view(frozen: bool = False) -> DeploymentView:
    """The same deployment before it fired."""
    view = detailed_view(dwell=161.0, since=AT - 139, frozen=frozen)
    assert view.verdict is not None
    return dataclasses.replace(view, verdict=dataclasses.replace(view.verdict, state=TriggerState.PENDING))


def app_on(
    screen: Callable[[], Any], shown: Snapshot | None, commands: FakeCommands, clock: Callable[[], float] | None = None
) -> ConsoleApp:
    """The console with one screen over its fleet once it has begun. Its clock stands still unless one is given."""

    inner: Callable[..., Awaitable[Commands]] = base.starter(shown, commands)

    async def start(publish: Callable[[Snapshot], None]) -> Commands:
        app.call_later(lambda: app.push_screen(screen()))
        return await inner(publish)

    app = ConsoleApp(start, theme="dark", monotonic=clock or (lambda: 0.0))
    return app


async def settle(pilot: Pilot[None], until: Callable[[], bool] | None = None) -> None:
    """Lets everything that is under way happen, until something is so (a test fails when it never becomes so)."""
    await pilot.pause()
    if until is None:
        return
    for _ in range(200):
        if until():
            break
        await pilot.pause()
    else:
        raise AssertionError("it never became so")
    await pilot.pause()


async def press(pilot: Pilot[None], *keys: str) -> None:
    """Presses keys by their names as fast as a terminal can deliver them, as bursts over SSH and from tmux come.

    `Pilot.press` waits twice for an idle process after each key; hundreds of keys make that the tests' whole time.
    """
    driver = pilot.app._driver
    assert driver is not None
    for key in keys:
        event = events.Key(key, {"space": " ", "enter": "\r", "tab": "\t"}.get(key, key if len(key) == 1 else None))
        if len(key) == 1:
            event = events.Key(_character_to_key(key), key)
        event.set_sender(pilot.app)
        driver.send_message(event)
    await pilot.pause()


async def type_text(pilot: Pilot[None], text: str) -> None:
    """Types a text."""
    await press(pilot, *text)


@asynccontextmanager
async def opened(
    screen: Callable[[], Any],
    shown: Snapshot | None = None,
    commands: FakeCommands | None = None,
    size: tuple[int, int] = (80, 24),
    clock: Callable[[], float] | None = None,
) -> AsyncIterator[tuple[ConsoleApp, Pilot[None], FakeCommands]]:
    """A screen on a sample under Pilot, with everything drawn that follows from opening it."""
    asked = commands or FakeCommands()
    app = app_on(screen, shown or snapshot(), asked, clock)
    async with app.run_test(size=size) as pilot:
        kind = type(screen())
        await settle(pilot, lambda: isinstance(app.screen, kind) and app.snapshot is not None)
        await settle(pilot)
        yield app, pilot, asked


async def publish(app: ConsoleApp, pilot: Pilot[None], shown: Snapshot) -> None:
    """A newer Snapshot, drawn."""
    app.publish(shown)
    await settle(pilot, lambda: app.snapshot is shown)
    await settle(pilot)


def told(app: ConsoleApp) -> str:
    """The notices on the screen, newest last."""
    return "\n".join(notice.message for notice in app._notifications)


def assert_safe(app: ConsoleApp) -> None:
    """Nothing raw is drawn, and every line is exactly as wide as the screen."""
    for strip in app.screen._compositor.render_strips():
        text = "".join(segment.text for segment in strip)
        assert cell_len(text) == app.size.width, repr(text)
        raw = [c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")]
        assert not raw, repr(text)
