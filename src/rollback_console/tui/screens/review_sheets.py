"""Sheets of a review: one entry whole, a decision beside the same one made again; what differs; what if."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from rollback_console.model.review import Supposed
from rollback_console.model.snapshot import TimelineItem
from rollback_console.model.text import number, plain, span
from rollback_console.tui import themes
from rollback_console.tui.screens.entry import EntryScreen
from rollback_console.tui.screens.sheet import SheetScreen
from rollback_console.tui.themes import GLYPHS, WORDS, Ink
from rollback_console.tui.widgets.band import utc
from rollback_console.tui.widgets.timeline import day_of

if TYPE_CHECKING:
    from rollback_console.model.identity import DeploymentId
    from rollback_console.review.scrub import Scrub
    from rollback_console.tui.screens.review_base import ReviewBase

_HINT = "\n\nescape back · y copy"
_MOST = 200  # differing decisions in the list
WHAT_IF = "dwell=2m   margin=3%   conversion.margin=2%   budget=30d   path=NAME   (several: dwell=2m, margin=3%)"


class WholeEntry(EntryScreen):
    """An entry; of a decision also what it comes to when it is made again."""

    def __init__(self, item: TimelineItem, scrub: Scrub, number: int) -> None:
        super().__init__(item)
        self._scrub, self._number = scrub, number

    def text(self) -> Text:
        whole, ink = super().text(), themes.ink(self.app)
        place = self._scrub.replay.index.item_places[self._number]
        decision = self._scrub.decision(place)
        if decision is None:
            return whole
        whole.right_crop(len(_HINT))  # it stands at the end
        whole.append("\n\nThis decision, made again\n", ink.strong)
        recorded = decision.recorded.body if decision.recorded is not None else None
        if recorded is not None:
            _side(whole, "recorded", plain(recorded.after, 20), plain(recorded.sentence, 600), ink)
        if decision.recomputed is not None:
            again = decision.recomputed
            _side(whole, "recomputed", str(again.state), plain(again.sentence, 600), ink)
        if decision.differs:
            whole.append(f"≠ {plain(decision.difference, 400)}\n", ink.bad)
        elif decision.recomputed is not None:
            whole.append("✓ the same: its state, every number to nine digits, and its words\n", ink.good)
        else:
            whole.append(f"not made again: {plain(decision.difference, 400)}\n", ink.warn)
        whole.append(_HINT, ink.dim)
        return whole


def _side(text: Text, label: str, state: str, sentence: str, ink: Ink) -> None:
    text.append(f"{label:11}", ink.dim)
    text.append(f"{GLYPHS.get(state, '·')} {WORDS.get(state, state)}", ink.states.get(state, ink.text))
    text.append(f"  {sentence}\n", ink.text)


class DifferencesScreen(SheetScreen):
    """Every decision that this program comes to otherwise."""

    def __init__(self, scrub: Scrub) -> None:
        super().__init__()
        self._scrub = scrub

    def text(self) -> Text:
        ink, checked, found = themes.ink(self.app), self._scrub.checked, self._scrub.differences
        text = Text()
        text.append("Decisions made again\n\n", ink.strong)
        if checked.done < 1.0:
            text.append(f"{checked.words}: decisions are made again meanwhile\n", ink.warn)
        else:
            text.append(f"{checked.decisions:,} come out as they were recorded", ink.text)
            text.append(f", {len(found):,} otherwise", ink.bad if found else ink.text)
            if checked.untold:
                text.append(f", {checked.untold:,} cannot be made again (samples, policy or engine of then)", ink.warn)
            text.append("\n", ink.text)
        for each in found[:_MOST]:
            text.append(f"\n≠ entry {each.seq:,}  {day_of(each.at)} {utc(each.at)}  ", ink.bad)
            text.append(f"{plain(each.deployment, 120)}\n", ink.strong)
            text.append(f"  {plain(each.text, 300)}\n", ink.text)
        if len(found) > _MOST:
            text.append(f"\nand {len(found) - _MOST:,} more: review --json lists them all\n", ink.dim)
        text.append("\nescape back", ink.dim)
        return text


def ask_what_if(screen: ReviewBase, scrub: Scrub, deployment: DeploymentId) -> None:
    """Ask for settings, and show what they would have done."""
    from rollback_console.errors import ConsoleError
    from rollback_console.tui.widgets.prompt import PromptScreen

    found: list[Supposed] = []

    def check(words: str) -> str:
        try:
            found[:] = [scrub.suppose(deployment, words)]
        except ConsoleError as error:
            return str(error)
        return ""

    def show(words: str | None) -> None:
        if words and found:
            screen.app.push_screen(SupposedScreen(found[0]))

    prompt = PromptScreen(f"What if {deployment} had had", WHAT_IF, placeholder="dwell=2m", check=check)
    screen.app.push_screen(prompt, show)


class SupposedScreen(SheetScreen):
    """When another setting would have fired, and what it would have cost by then."""

    def __init__(self, supposed: Supposed) -> None:
        super().__init__()
        self._supposed = supposed

    def text(self) -> Text:
        return supposed_text(self._supposed, themes.ink(self.app))


def supposed_text(found: Supposed, ink: Ink) -> Text:
    """Recorded and supposed, line by line, then what cannot be told."""
    text = Text()
    words = ", ".join(f"{plain(key, 60)}={plain(value, 60)}" for key, value in found.setting)
    text.append("What if ", ink.strong)
    text.append(f"{found.deployment}: {words}\n\n", ink.strong)

    def row(label: str, recorded: str, supposed: str) -> None:
        text.append(f"{label:22}", ink.dim)
        text.append(f"{recorded:22}", ink.text)
        text.append(f"{supposed}\n", ink.text)

    row("", "as recorded", "with it")
    row("degraded since", utc(found.began) if found.began is not None else "–", "")
    row(
        "fires",
        _when(found.fired_at),
        _when(found.would_fire_at) + ("" if found.certain or found.would_fire_at is None else " at the latest"),
    )
    if found.began is not None:
        row("after", _after(found.began, found.fired_at), _after(found.began, found.would_fire_at))
    until = "cost until back" if any(key == "path" for key, _ in found.setting) else "cost until it fires"
    would = _money(found.would_cost, found.unit) if found.would_fire_at is not None else "–"
    row(until, _money(found.cost, found.unit) if found.fired_at is not None else "–", would)
    if found.cost is not None and found.would_cost is not None and until != "cost until back":
        more = found.would_cost - found.cost
        sign = "more" if more > 0 else "less"
        text.append(f"\n{_money(abs(more), found.unit)} {sign} by the recorded impact\n", ink.strong)
    for note in found.notes:
        text.append(f"\n· {plain(note, 300)}\n", ink.warn)
    text.append("\nover the recorded samples, by the very engine · escape back", ink.dim)
    return text


def _when(at: float | None) -> str:
    return utc(at) if at is not None else "does not"


def _after(began: float, at: float | None) -> str:
    return span(at - began) if at is not None else "–"


def _money(amount: float | None, unit: str) -> str:
    return "not known" if amount is None else f"{number(amount)} {plain(unit, 12)}"
