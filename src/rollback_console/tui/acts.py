"""Acts that belong to no screen, and what the app asks about a Snapshot. Loaded after the first paint.

Each act was allowed by `ConsoleScreen.action_act` before it comes here, and is gated again where it is done.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from rollback_console.errors import ConsoleError
from rollback_console.model.identity import DeploymentId
from rollback_console.model.plan import ExecutionState
from rollback_console.model.snapshot import Snapshot

if TYPE_CHECKING:
    from rollback_console.commands import DrillControl
    from rollback_console.model.judgement import Docket
    from rollback_console.model.message import Message
    from rollback_console.tui.app import ConsoleApp

_SNOOZE_S = 1800.0
_WHY = 1  # the section of the Deployment screen


class Acts:
    """One method `act_<id>` for each act that is not a screen's own."""

    def __init__(self, app: ConsoleApp) -> None:
        self._app = app

    def _here(self) -> DeploymentId | None:
        screen = self._app.top()
        return screen.acts_on if screen else None

    def open(self, deployment: DeploymentId, section: int = 0) -> None:
        """Show the Deployment screen, at one of its sections, and ask the engine for its details."""
        from rollback_console.tui.screens.deployment import DeploymentScreen

        if self._app.commands is not None:
            self._app.run_command(self._app.commands.focus(deployment), "details")
        self._app.push_screen(DeploymentScreen(deployment, section))

    def act_open(self) -> None:
        deployment = self._here()
        if deployment is not None:
            self.open(deployment)

    def act_why(self) -> None:
        deployment = self._here()
        if deployment is not None:
            self.open(deployment, _WHY)

    def act_rollback(self) -> None:
        deployment = self._here()
        if deployment is not None:
            from rollback_console.tui.screens.rollback import RollbackScreen

            self._app.push_screen(RollbackScreen(deployment))

    def act_execute(self) -> None:
        """From the palette: the plan is shown first, always."""
        self.act_rollback()

    def act_abort(self) -> None:
        """From elsewhere than the Rollback screen: go there, where what runs can be seen."""
        live = (ExecutionState.RUNNING, ExecutionState.VERIFYING, ExecutionState.UNFINISHED)
        running = [e for e in self._app.snapshot.executions if e.state in live] if self._app.snapshot else []
        mine = [e for e in running if e.plan.deployment == self._here()] or running
        if mine:
            from rollback_console.tui.screens.rollback import RollbackScreen

            self._app.push_screen(RollbackScreen(mine[0].plan.deployment))

    def act_resume(self) -> None:
        """From elsewhere than the Rollback screen: go there, where the execution can be seen; it asks."""
        executions = self._app.snapshot.executions if self._app.snapshot is not None else ()
        open_ones = [e for e in executions if e.state is ExecutionState.UNFINISHED]
        mine = [e for e in open_ones if e.plan.deployment == self._here()] or open_ones
        if mine:
            from rollback_console.tui.screens.rollback import RollbackScreen

            self._app.push_screen(RollbackScreen(mine[0].plan.deployment, resume=True))

    def act_runbook(self) -> None:
        from rollback_console.tui.screens.runbook import RunbookScreen

        self._app.push_screen(RunbookScreen(self._here(), None))

    def act_timeline(self) -> None:
        from rollback_console.tui.screens.timeline import TimelineScreen

        if not isinstance(self._app.top(), TimelineScreen):
            screen = self._app.top()
            self._app.push_screen(TimelineScreen(None if screen is None or screen.place == "fleet" else screen.acts_on))

    def _ask(self, title: str, hint: str, then: Callable[[str], None]) -> None:
        screen = self._app.top()
        if screen is not None:
            screen.ask(title, hint, then)

    def act_note(self) -> None:
        deployment = self._here()

        def write(text: str) -> None:
            if self._app.commands is not None:
                self._app.run_command(
                    self._app.commands.note(text, deployment), "note", lambda _: self._app.say("noted in the journal")
                )

        self._ask("Add a note", f"on {deployment}" if deployment else "on no deployment in particular", write)

    def act_adopt(self) -> None:
        deployment = self._here()

        def adopt(text: str) -> None:
            if self._app.commands is not None and deployment is not None:
                self._app.run_command(
                    self._app.commands.adopt(deployment, text),
                    "adopt",
                    lambda _: self._app.say("adopted into the journal"),
                )

        self._ask("Adopt a rollback done by hand", f"{deployment}: why, and who did it", adopt)

    def act_snooze(self) -> None:
        deployment = self._here()

        def snooze(text: str) -> None:
            if self._app.commands is not None and deployment is not None:
                self._app.run_command(
                    self._app.commands.snooze(deployment, _SNOOZE_S, text),
                    "snooze",
                    lambda _: self._app.say(f"{deployment} snoozed for 30 minutes; its state stays on the screen"),
                )

        self._ask("Snooze for 30 minutes", f"{deployment}: the reason", snooze)

    def act_claim(self) -> None:
        deployment = self._here()
        if self._app.commands is not None and deployment is not None:
            self._app.run_command(self._app.commands.claim(deployment), "claim", self._app.say)

    def act_command(self) -> None:
        deployment = self._here()
        snapshot = self._app.snapshot
        incident = snapshot.incident_of(deployment) if snapshot is not None and deployment is not None else None
        if incident is None or deployment is None:
            return

        def take(text: str) -> None:
            if self._app.commands is not None:
                self._app.run_command(self._app.commands.command(deployment, text), "command", self._app.say)

        me = snapshot.operator.id if snapshot is not None and snapshot.operator is not None else ""
        if incident.commander not in (None, "", me):
            self._ask("Take command", f"{incident.commander} commands {incident.id}: why you take it", take)
        else:
            take("")

    def act_hand_over(self) -> None:
        deployment = self._here()

        def hand_over(text: str) -> None:
            if self._app.commands is not None and deployment is not None:
                self._app.run_command(self._app.commands.hand_over(deployment, text), "hand over", self._app.say)

        self._ask("Hand over command", f"the incident of {deployment}: to whom, by their name in the roster", hand_over)

    def act_hold(self) -> None:
        deployment = self._here()

        def hold(text: str) -> None:
            if self._app.commands is not None and deployment is not None:
                self._app.run_command(
                    self._app.commands.hold(deployment, text),
                    "hold",
                    lambda _: self._app.say("held: it does not go by itself until it was healthy again"),
                )

        self._ask("Hold the automatic rollback", f"{deployment}: the reason", hold)

    def act_expect(self) -> None:
        from rollback_console.tui.declaring import ask_expect

        deployment = self._here()
        if self._app.commands is not None and deployment is not None:
            ask_expect(self._app, self._app.commands, deployment)

    def act_end_expected(self) -> None:
        from rollback_console.tui.declaring import ask_end

        deployment = self._here()
        if self._app.commands is not None and deployment is not None:
            ask_end(self._app, self._app.commands, deployment)

    def act_exclude(self) -> None:
        from rollback_console.tui.declaring import ask_exclude

        if self._app.commands is not None:
            ask_exclude(self._app, self._app.commands, self._here())

    def act_restore(self) -> None:
        from rollback_console.tui.declaring import ask_restore

        if self._app.commands is not None:
            ask_restore(self._app, self._app.commands, self._here())

    def act_break_glass(self) -> None:
        """The one dialog: what cannot be recorded, and the reason to go on all the same."""
        app = self._app
        problem = app.snapshot.journal.problem if app.snapshot is not None else ""

        def go_on(reason: str) -> None:
            if app.commands is not None:
                app.run_command(
                    app.commands.break_glass(reason),
                    "emergency journal",
                    lambda path: app.say(f"emergency journal: {path}; `journal merge` takes it in later", "warning"),
                )

        self._ask("Go on with an emergency journal", f"{problem}. Signed; why can it not wait?", go_on)

    def act_judge(self, about: str = "") -> None:
        """The form: on what a line `about` names, else on what is nearest: here, and waiting for judgement."""
        app, here = self._app, self._here()

        def show(docket: Docket) -> None:
            if not docket.subjects:
                app.say("nothing is in the journal that could be judged", "warning")
                return
            from rollback_console.tui.screens.judging import JudgingScreen

            nearest = sorted(
                docket.subjects,
                key=lambda each: (
                    here not in each.deployments,
                    each.id not in docket.waiting,
                    each.kind != "incident",
                    -each.began_at,
                ),
            )
            words = set(about.replace(",", " ").replace(":", " ").split())
            named = next((each for each in nearest if each.id in words), nearest[0])
            app.push_screen(JudgingScreen(docket, named.id))

        if app.commands is not None:
            app.run_command(app.commands.docket(), "judge", show)

    def act_message(self) -> None:
        """The drafts of the incident here; without one, of the most urgent, or the last."""
        app, here, snapshot = self._app, self._here(), self._app.snapshot
        incidents = (*snapshot.incidents, *reversed(snapshot.over)) if snapshot is not None else ()
        found = next((i for i in incidents if here in i.members), next(iter(incidents), None))

        def show(messages: tuple[Message, ...]) -> None:
            from rollback_console.tui.screens.message import MessageScreen

            app.push_screen(MessageScreen(messages))

        if app.commands is not None and found is not None:
            app.run_command(app.commands.drafts(found.id), "message", show)

    def act_unlock(self) -> None:
        from rollback_console.tui.widgets.prompt import PromptScreen

        app = self._app
        where = app.snapshot.key_locked if app.snapshot is not None else ""

        def unlock(passphrase: str | None) -> None:
            if app.commands is not None and passphrase:
                app.run_command(app.commands.unlock(passphrase), "unlock", lambda _: app.say("your key is open"))

        app.push_screen(PromptScreen("Unlock your key", where, placeholder="its passphrase", masked=True), unlock)

    def act_step_on(self) -> None:
        if self._app.drill is not None:
            self._app.run_command(self._app.drill.step(), "one evaluation on", self._app.say)

    def act_jump(self) -> None:
        if self._app.drill is not None:
            self._app.run_command(self._app.drill.jump(), "jump", self._app.say)

    def act_story(self) -> None:
        if self._app.drill is not None:
            from rollback_console.tui.screens.drill import StoryScreen

            self._app.push_screen(StoryScreen(self._app.drill.view, begun=True))

    def act_drill_end(self) -> None:
        """Ask, end it, and the report comes with the next Snapshot; or show the report of one that is over."""
        drill = self._app.drill
        if drill is None:
            return
        if drill.view.over:
            self._app.show_report()
            return
        if drill.view.asks:
            self._decide(drill)
            return
        from rollback_console.tui.screens.leave import LeaveScreen

        asks = LeaveScreen("This ends the drill", "It is scored as it stands.", ("end it", "go on"))
        self._app.push_screen(asks, lambda yes: drill.end() if yes else None)

    def _decide(self, drill: DrillControl) -> None:
        """Ask what one would do, and why; the report comes with the next Snapshot."""
        from rollback_console.tui.widgets.prompt import PromptScreen

        def why(decision: str | None) -> None:
            if decision:
                asks = PromptScreen("Why?", decision, placeholder="the reason, in one line")
                self._app.push_screen(asks, lambda reason: drill.end(decision, reason) if reason else None)

        hint = "; or ".join(drill.view.choices)
        asks = PromptScreen(drill.view.asks, hint, placeholder="leave, or ENVIRONMENT/NAME vN", check=drill.check)
        self._app.push_screen(asks, why)

    def act_copy_summary(self) -> None:
        if self._app.commands is None:
            return
        try:
            text = self._app.commands.summary(self._here())
        except ConsoleError as error:
            self._app.say(f"copy: {error}", "error")
            return
        self._app.copy_text(text)


def why_stay(snapshot: Snapshot | None) -> str | None:
    """What leaving would abandon, as a sentence; None when nothing."""
    if snapshot is None:
        return None
    if snapshot.drill is not None:
        return None if snapshot.drill.over else "the drill goes on: leaving ends it, and it is scored as it stands"
    for execution in snapshot.executions:
        if execution.state in (ExecutionState.RUNNING, ExecutionState.VERIFYING):
            return f"execution {execution.id} of {execution.plan.deployment} is {execution.state}"
    if not snapshot.simulated:
        for walk in snapshot.walks:
            if walk.ended_at is None and not walk.outcome:
                return f"the walk of {walk.runbook.title or walk.runbook.name} is open"
    return None


def find(name: str, snapshot: Snapshot) -> DeploymentId | str:
    """The deployment that `name` means: `environment/name`, a bare name where unique, an incident's id (its first
    member); else the sentence that says why not."""
    for view in snapshot.deployments:
        if str(view.id) == name:
            return view.id
    bare = [view.id for view in snapshot.deployments if view.id.name == name]
    if len(bare) == 1:
        return bare[0]
    if bare:
        return f"{name} stands in {len(bare)} environments: name it as {' or '.join(str(i) for i in bare[:3])}"
    for incident in snapshot.incidents:
        if incident.id == name and incident.members:
            return incident.members[0]
    return f"there is no deployment {name} in this fleet"
