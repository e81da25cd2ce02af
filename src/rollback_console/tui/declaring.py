"""Asking for what a person declares by hand: a change that is expected, a stretch that leaves the baselines; and the
other way round."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rollback_console.model.declaring import expected_words, parse_change, parse_stretch, stretch_words
from rollback_console.model.text import plain
from rollback_console.tui.offers import going_on_here, offered, standing_here
from rollback_console.tui.widgets.prompt import PromptScreen

if TYPE_CHECKING:
    from rollback_console.commands import Commands
    from rollback_console.model.declared import Exclusion, Expectation
    from rollback_console.model.identity import DeploymentId
    from rollback_console.model.incident import Incident
    from rollback_console.tui.app import ConsoleApp


def ask_expect(app: ConsoleApp, commands: Commands, deployment: DeploymentId) -> None:
    """For how long and why, in one line."""

    def told(text: str | None) -> None:
        if text:
            seconds, why = parse_change(text)
            app.run_command(
                commands.expect([deployment], seconds, why),
                "expect",
                lambda found: app.say(
                    f"{deployment}: {expected_words(found, app.now())}; its state stays on the screen"
                ),
            )

    title = f"Expect a change of {deployment}"
    hint = "For how long, and why. Alarms and advice wait until then; the state on the screen does not."
    app.push_screen(PromptScreen(title, hint, placeholder="40m index rebuild", check=_wrong(parse_change)), told)


def ask_end(app: ConsoleApp, commands: Commands, deployment: DeploymentId) -> None:
    """Why it is over; all that goes on with the deployment ends."""
    snapshot = app.snapshot
    going_on = going_on_here(snapshot, deployment) if snapshot is not None else ()
    if not going_on:
        return

    async def end(why: str) -> None:
        for each in going_on:
            await commands.end_expected(each.id, why)

    def told(why: str | None) -> None:
        if why:
            app.run_command(
                end(why), "end", lambda _: app.say(f"{deployment}: over; alarms and advice are given again")
            )

    app.push_screen(PromptScreen("End the expected change early?", _said(going_on, app.now())), told)


def ask_exclude(
    app: ConsoleApp, commands: Commands, deployment: DeploymentId | None, incident: Incident | None = None
) -> None:
    """When and why; what a closed incident took is offered, for all of its members where it was chosen itself."""
    snapshot, now = app.snapshot, app.now()
    about: Sequence[DeploymentId | None] = (deployment,)
    if incident is not None:
        about = incident.members
    elif deployment is not None and snapshot is not None:
        incident = offered(snapshot, deployment)
    value, title = "", "Exclude a stretch from baselines"
    if incident is not None and incident.closed_at is not None:
        words = stretch_words(incident.onset, incident.closed_at, now)
        title = f"Exclude {words} from baselines?"
        value = f"{_exact(incident, now)} incident {plain(incident.id, 24)}"

    async def exclude(start: float, end: float, why: str) -> None:
        for each in about:
            await commands.exclude(start, end, each, why)

    def told(text: str | None) -> None:
        if text:
            start, end, why = parse_stretch(text, app.now())
            app.run_command(
                exclude(start, end, why),
                "exclude",
                lambda _: app.say(f"no baseline of {_whose(about)} learns from {stretch_words(start, end, app.now())}"),
            )

    hint = f"Of {_whose(about)}: times in UTC, and why. Nothing is learned from it any more; R takes that back."
    check = _wrong(lambda text: parse_stretch(text, app.now()))
    app.push_screen(PromptScreen(title, hint, placeholder="14:02-15:10 bad release", check=check, value=value), told)


def ask_restore(app: ConsoleApp, commands: Commands, deployment: DeploymentId | None) -> None:
    """Why; of several the one that was excluded last."""
    snapshot = app.snapshot
    standing = standing_here(snapshot, deployment) if snapshot is not None else ()
    if not standing:
        return
    last = max(standing, key=lambda each: each.made_at)

    def told(why: str | None) -> None:
        if why:
            app.run_command(
                commands.restore(last.id, why), "restore", lambda _: app.say("put back: baselines learn from it again")
            )

    words = stretch_words(last.start, last.end, app.now())
    more = f" ({len(standing) - 1} more: baseline list)" if len(standing) > 1 else ""
    hint = f"{_exclusion(last)}{more}"
    app.push_screen(PromptScreen(f"Put {words} back into the baselines?", hint), told)


def _exclusion(each: Exclusion) -> str:
    who = plain(", ".join(each.deployments), 120) or "the whole fleet"
    return f"{who}; {plain(each.by, 40) or 'somebody'} excluded it: {plain(each.reason, 200)}"


def _said(going_on: Sequence[Expectation], now: float) -> str:
    return "; ".join(expected_words(each, now) for each in going_on)


def _whose(about: Sequence[DeploymentId | None]) -> str:
    named = [str(each) for each in about if each is not None]
    if not named:
        return "the whole fleet"
    return named[0] if len(named) == 1 else f"{named[0]} and {len(named) - 1} more"


def _exact(incident: Incident, now: float) -> str:
    """An incident's times as they are typed: whole minutes around it, and nothing that is still to come."""
    from datetime import UTC, datetime

    first = datetime.fromtimestamp(incident.onset // 60 * 60, UTC)
    end = -(-(incident.closed_at or incident.onset) // 60) * 60
    last = f"{datetime.fromtimestamp(end, UTC):%Y-%m-%d %H:%M}" if end <= now else "now"
    return f"{first:%Y-%m-%d %H:%M} to {last}"


def _wrong(parse: Callable[[str], object]) -> Callable[[str], str]:
    """What is wrong with a line, "" where nothing is."""

    def wrong(text: str) -> str:
        try:
            parse(text)
        except ValueError as error:
            return str(error)
        return ""

    return wrong
