"""What the Rollback screen asks before an execution is aborted or resumed, and after it was aborted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollback_console.tui.widgets.lines import version_word
from rollback_console.tui.widgets.prompt import PromptScreen, YesNoScreen

if TYPE_CHECKING:
    from rollback_console.commands import Commands
    from rollback_console.model.plan import Execution
    from rollback_console.tui.screens.rollback import RollbackScreen


def ask_abort(screen: RollbackScreen, running: Execution, commands: Commands) -> None:
    """y aborts at once: what hurts does not wait for a sentence. Why is asked afterwards, and noted."""

    def answered(yes: bool | None) -> None:
        screen.due = False
        if yes:
            screen.run_command(commands.abort(running.id, ""), "abort", lambda _: screen.say("abort is asked for"))
            _ask_why(screen, running, commands)

    screen.due = True
    hint = "y stops it before the next touch, at once; why is asked afterwards. What was done stands as it is."
    screen.app.push_screen(YesNoScreen(f"Abort execution {running.id}?", hint), answered)


def _ask_why(screen: RollbackScreen, aborted: Execution, commands: Commands) -> None:
    def told(why: str | None) -> None:
        if why:
            text = f"execution {aborted.id} was aborted: {why}"
            screen.run_command(commands.note(text, screen.acts_on), "note", lambda _: screen.say("noted"))

    title = f"Why was execution {aborted.id} aborted?"
    hint = "The abort is asked for already; escape leaves it without a word."
    screen.app.push_screen(PromptScreen(title, hint), told)


def ask_resume(screen: RollbackScreen, unfinished: Execution, commands: Commands) -> None:
    """y goes on where the journal stops."""

    def answered(yes: bool | None) -> None:
        if yes:
            screen.run_command(commands.resume(unfinished.id), "resume", lambda _: screen.say("resumed"))

    plan = unfinished.plan
    move = f"{version_word(plan.from_version)} → {version_word(plan.to_version)}"
    hint = f"{plan.deployment} {move}: it goes on where the journal stops, and checks the world first."
    screen.app.push_screen(YesNoScreen(f"Resume execution {unfinished.id}?", hint), answered)
