"""How one deployment is drawn: as a row of one line, or as a panel of four. Pure: a view and a width in, parts out."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rich.style import Style

from rollback_console.model.identity import DeploymentId
from rollback_console.model.incident import Incident
from rollback_console.model.plan import Execution, ExecutionState
from rollback_console.model.rules import SignalRule, Worse
from rollback_console.model.snapshot import DeploymentView, Snapshot, Trace
from rollback_console.model.text import about, duration, number, plain
from rollback_console.model.verdict import Impact, SignalVerdict, TriggerState, Verdict
from rollback_console.tui.themes import GLYPHS, WORDS, Ink
from rollback_console.tui.widgets.band import utc
from rollback_console.tui.widgets.cells import Part, fit, fit_words, width_of
from rollback_console.tui.widgets.spark import spark

_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Columns:
    """Widths of a row's columns in cells; 0 is shed. They are shed from the least telling: impact, sparkline."""

    name: int
    version: int
    spark: int
    change: int
    clock: int
    impact: int
    signal: int = 0  # which signal the change is of

    @classmethod
    def of(cls, width: int, longest_version: int = 6) -> Columns:
        """The columns that fit into `width` cells: a row is 13 cells of state, then each column with one before it."""
        if width >= 110:
            version, line, change, clock, impact = 16, 30, 9, 9, 12
        elif width >= 92:
            version, line, change, clock, impact = 12, 18, 9, 9, 12
        elif width >= 84:  # the fleet of a screen of 160
            version, line, change, clock, impact = 9, 10, 8, 9, 11
        elif width >= 72:
            version, line, change, clock, impact = 9, 10, 8, 9, 10
        elif width >= 58:
            version, line, change, clock, impact = 5, 8, 8, 9, 0
        elif width >= 48:
            version, line, change, clock, impact = 5, 0, 8, 8, 0
        else:
            version, line, change, clock, impact = 0, 0, 0, 8, 0
        version = min(version, max(3, longest_version))
        signal = 12 if width >= 96 else 0
        taken = 13 + sum(column + 1 for column in (version, line, signal, change, clock, impact) if column)
        return cls(max(4, width - taken), version, line, change, clock, impact, signal)


def word_of_version(version: str | None) -> str:
    """`v8` for `8`; a version that is a word stays one; `–` where none is known."""
    if not version:
        return "–"
    text = plain(version, 24)
    return f"v{text}" if text[:1].isdigit() else text


def version_text(view: DeploymentView) -> str:
    """The serving version, and `≠v7` where the registry's pointer says another; `v8?` where serving
    reports none now and that was the last."""
    served = view.verdict.version if view.verdict else None
    if served is None and view.last_version is not None:
        return f"{word_of_version(view.last_version)}?"  # what it reported last
    text = word_of_version(served or view.registry_version)
    return f"{text}≠{word_of_version(view.registry_version)}" if view.disagrees else text


def lead(view: DeploymentView) -> SignalVerdict | None:
    """The signal that decides: the worst of the breached ones; else, while blind, the first blind one; else the
    policy's first, so that a healthy row does not flicker between signals."""
    verdict = view.verdict
    if verdict is None or not verdict.signals:
        return None
    signals = [s for s in verdict.signals if not s.aside] or list(verdict.signals)
    breached = [s for s in signals if s.breached]
    if breached:
        return max(breached, key=lambda s: s.degradation_pct if s.degradation_pct is not None else 0.0)
    if verdict.state is TriggerState.BLIND:
        return next((s for s in signals if s.blind is not None), signals[0])
    return signals[0]


def worst_first(view: DeploymentView) -> list[SignalVerdict]:
    """All signals that can decide something: breached (worst first), blind, then the others in the policy's order."""
    signals = [s for s in view.verdict.signals if not s.aside] if view.verdict else []
    return sorted(
        signals, key=lambda s: (0, -(s.degradation_pct or 0.0)) if s.breached else (1, 0.0) if s.blind else (2, 0.0)
    )


def rule_of(view: DeploymentView, signal: str) -> SignalRule | None:
    """The rule of a signal by its name."""
    return next((rule for rule in view.rule.signals if rule.name == signal), None)


def trace_of(view: DeploymentView, signal: str) -> Trace | None:
    """The recent values of a signal by its name."""
    return next((trace for trace in view.traces if trace.signal == signal), None)


def change_text(signal: SignalVerdict, rule: SignalRule | None) -> str:
    """The number that decides: the change against the baseline (`−8.4 %`, `+375 %`), else the value; else why not."""
    if signal.blind is not None:
        return str(signal.blind.value)
    pct = signal.degradation_pct
    if pct is None or not math.isfinite(pct):
        return number(signal.value, rule.unit if rule else "")
    signed = -pct if rule is not None and rule.worse is Worse.LOWER else pct
    if abs(signed) >= 1000:
        return f"×{1 + signed / 100:.0f}" if signed > 0 else "−∞ %"
    size = abs(signed)
    digits = f"{size:.0f}" if size >= 99.95 else f"{size:.1f}"
    sign = "" if digits == "0.0" else "+" if signed > 0 else "−"
    return f"{sign}{digits} %"


def clock_text(verdict: Verdict | None, now: float) -> str:
    """The running clock: what is left of dwell, hold or blind dwell, carried on from the evaluation to `now`;
    `frozen` while it stands still, `due` at zero; `≈ 6 m` where evidence decides; for a fired trigger how long it has
    been."""
    if verdict is None:
        return ""
    left = {
        TriggerState.PENDING: verdict.dwell_remaining_s,
        TriggerState.CLEARING: verdict.hold_remaining_s,
        TriggerState.BLIND: verdict.blind_remaining_s,
    }.get(verdict.state)
    if left is not None:
        if verdict.frozen and verdict.state is not TriggerState.BLIND:
            return "frozen"
        left -= max(0.0, now - verdict.at)
        if not math.isfinite(left):
            return duration(left)
        return "due" if left <= 0 else duration(math.ceil(left))
    if verdict.frozen:
        return "frozen"
    if verdict.state is TriggerState.PENDING and verdict.eta_s is not None:
        return about(verdict.eta_s - max(0.0, now - verdict.at))  # by evidence: an estimate
    if verdict.state is TriggerState.FIRED and verdict.since is not None:
        lasted = max(0.0, now - verdict.since)
        if not math.isfinite(lasted):
            return ""
        if lasted < _HOUR:
            return f"for {duration(math.floor(lasted))}"
        if lasted < 100 * _HOUR:
            return f"for {int(lasted // _HOUR)}h{int(lasted % _HOUR // 60):02}"
        return f"for {int(lasted // (24 * _HOUR))} d"
    return ""


def impact_text(impact: Impact, whole: bool = False) -> str:
    """What waiting costs: revenue a minute where it is known, else the score; nothing where it costs nothing. In short
    form unless `whole`."""
    if impact.score <= 0:
        return ""
    for part in impact.parts:
        if part.name == "revenue" and part.value:
            return money(part.value, part.unit) + ("/min" if whole else "/m")
    return f"impact {impact.score:.0f}"


def money(value: float, unit: str) -> str:
    """An amount with its currency: `$412`, `1.2k EUR`."""
    currency = plain(unit, 12).split("/")[0].strip()
    return f"${number(value)}" if currency in ("USD", "$") else number(value, currency)


def impact_sentence(impact: Impact, width: int = 200) -> str:
    """The score with its parts: `impact 78: revenue $412/min · users 2,100/min · regulatory low`; of parts that do not
    fit into `width` cells none is cut, an ellipsis stands for them."""
    parts = []
    for part in impact.parts:
        if part.name == "revenue" and part.value is not None:
            parts.append(f"revenue {money(part.value, part.unit)}/min")
        elif part.value is not None and part.name == "users":
            parts.append(f"users {number(part.value)}/min")
        else:
            word = part.unit if part.value is None else number(part.value, part.unit)
            parts.append(f"{part.name} {word}".rstrip())
    for count in range(len(parts), -1, -1):
        told = f": {' · '.join(parts[:count])}" if count else ""
        text = plain(f"impact {impact.score:.0f}{told}{' …' if count < len(parts) else ''}", 200)
        if width_of(text) <= width:
            break
    return text


_LIVE = (ExecutionState.RUNNING, ExecutionState.VERIFYING, ExecutionState.UNFINISHED)


def live_execution(snapshot: Snapshot, deployment: DeploymentId) -> Execution | None:
    """The execution that is open on a deployment, the newest of several, or None."""
    mine = (e for e in reversed(snapshot.executions) if e.state in _LIVE and e.plan.deployment == deployment)
    return next(mine, None)


def busy_text(execution: Execution | None) -> str:
    """What an open execution does, in short: `⟳ v8→v7 verifying`; "" for none."""
    if execution is None:
        return ""
    plan = execution.plan
    return f"⟳ {word_of_version(plan.from_version)}→{word_of_version(plan.to_version)} {execution.state}"


def asleep_text(view: DeploymentView, now: float) -> str:
    """Until when noise is held back: `expected until 15:40`, `zz until 14:32` (UTC), "" where it is not."""
    if view.expected is not None and view.expected.until > now:
        return f"expected until {utc(view.expected.until)[:5]}"
    if view.snoozed_until is None or view.snoozed_until <= now:
        return ""
    return f"zz until {utc(view.snoozed_until)[:5]}"


def state_style(view: DeploymentView, ink: Ink) -> Style:
    """The style of a deployment's state; dim before its first evaluation; an alarm's where it fired as blind."""
    if view.verdict and view.verdict.fired_as_blind:
        return ink.states[TriggerState.FIRED]
    return ink.states[view.verdict.state] if view.verdict else ink.dim


def state_parts(view: DeploymentView, ink: Ink) -> list[Part]:
    """The 12 cells of a state after the marker: glyph, word, and `?` where a signal is blind beside it; one that fired
    as blind is `▲? BLIND`."""
    verdict = view.verdict
    if verdict is None:
        return [(fit("… waiting", 12), ink.dim)]
    state = verdict.state
    if verdict.fired_as_blind and state is TriggerState.BLIND:
        return [(fit(f"{GLYPHS[TriggerState.FIRED]}? {WORDS[state]}", 12), ink.states[TriggerState.FIRED])]
    flag = "?" if verdict.blind and state is not TriggerState.BLIND else " "
    style = ink.states[TriggerState.FIRED] if verdict.fired_as_blind else ink.states[state]
    return [(fit(f"{GLYPHS[state]} {WORDS[state]}", 10), style), (flag + " ", ink.states[TriggerState.BLIND])]


def name_text(view: DeploymentView, several: bool, width: int) -> str:
    """The name, led by its environment where there are several: whole while it fits, else its first four letters."""
    name = plain(view.id.name, 120)
    if not several:
        return name
    environment = plain(view.id.environment, 40)
    whole = f"{environment}/{name}"
    return whole if width_of(whole) <= width else f"{environment[:4]}/{name}"


def row(
    view: DeploymentView, columns: Columns, clock: str, asleep: str, several: bool, ink: Ink, busy: str = ""
) -> list[Part]:
    """A deployment in one line, without its marker. What is executed on it (`busy`) stands in place of version,
    sparkline and change; until when it sleeps (`asleep`) in place of sparkline and change."""
    quiet = view.verdict is None or view.verdict.state is TriggerState.HEALTHY
    state = state_style(view, ink)
    parts = state_parts(view, ink)
    name = name_text(view, several, columns.name)
    parts.append((fit(name, columns.name), ink.text if quiet else ink.strong))
    inner = (columns.spark, columns.signal, columns.change)
    behind = sum(column + 1 for column in inner if column)
    room = behind + (columns.version + 1 if columns.version else 0)
    if busy and room:
        parts.append((" " + fit(busy, room - 1), ink.good))
    else:
        if columns.version:
            parts.append(_version_part(view, columns.version, quiet, ink))
        if asleep and behind:
            word = asleep if behind > width_of(asleep) else asleep.replace("until ", "")
            parts.append((" " + fit(word, behind - 1, right=True), ink.dim))
        else:
            parts += _signal_columns(view, columns, quiet, ink)
    if columns.clock:
        word = clock or ("" if behind else busy or asleep.replace("until ", ""))
        parts.append((" " + fit(word, columns.clock, right=True), state if clock else ink.dim))
    if columns.impact:
        text = impact_text(view.verdict.impact, columns.impact > 10) if view.verdict else ""
        parts.append((" " + fit(text, columns.impact, right=True), ink.text))
    return parts


def _version_part(view: DeploymentView, width: int, quiet: bool, ink: Ink) -> Part:
    text = version_text(view)
    if view.disagrees and len(text) > width:
        text = f"{text.partition('≠')[0][: width - 1]}≠"  # which one the registry says stands below
    return (" " + fit(text, width), ink.bad if view.disagrees else ink.dim if quiet else ink.text)


def _signal_columns(view: DeploymentView, columns: Columns, quiet: bool, ink: Ink) -> list[Part]:
    signal = lead(view)
    rule = rule_of(view, signal.name) if signal else None
    parts: list[Part] = []
    if columns.spark:
        parts.append((" ", ink.text))
        parts += _spark(view, signal, rule, columns.spark, ink)
    style = ink.bad if signal and signal.breached else ink.dim if quiet else ink.text
    if columns.signal:
        title = plain(rule.title or rule.name if rule else signal.name if signal else "", 60)
        parts.append((" " + fit(title, columns.signal, right=True), ink.dim))
    if columns.change:
        text = change_text(signal, rule) if signal else ""
        parts.append((" " + fit(text, columns.change, right=True), style))
    return parts


def _spark(
    view: DeploymentView, signal: SignalVerdict | None, rule: SignalRule | None, width: int, ink: Ink
) -> list[Part]:
    trace = trace_of(view, signal.name) if signal else None
    if signal is None or rule is None or trace is None:
        return [(" " * width, ink.dim)]
    return spark(
        trace.values,
        width,
        signal.baseline,
        signal.limit,
        rule.worse,
        ink.calm,
        ink.bad,
        ink.states[TriggerState.BLIND],
    )


def signal_parts(view: DeploymentView, signal: SignalVerdict, width: int, ink: Ink) -> list[Part]:
    """One signal in `width` cells: mark, title, value, baseline, change, sparkline; shed from the right."""
    rule = rule_of(view, signal.name)
    unit = rule.unit if rule else ""
    mark, style = (
        ("✗", ink.bad)
        if signal.breached
        else ("?", ink.states[TriggerState.BLIND])
        if signal.blind
        else (
            "·" if signal.breached is None else "✓",
            ink.dim if signal.breached is None else ink.good,
        )
    )
    title = plain(rule.title or rule.name if rule else signal.name, 60)
    title_width = 16 if width >= 50 else 13
    base = f"of {number(signal.baseline, unit)}" if signal.baseline is not None else ""
    parts: list[Part] = [(f"{mark} ", style), (fit(title, title_width), ink.text)]
    used = 2 + title_width
    room = width - used
    change = change_text(signal, rule)
    for text, size, part_style, at_least in (
        (number(signal.value, unit), 9, ink.strong, 9),
        (base, 12, ink.dim, 36),
        (change if signal.degradation_pct is not None or signal.blind else "", 10, style, 20),
    ):
        if width - 18 >= at_least and room > size:
            parts.append((" " + fit(text, size, right=text is not base), part_style))
            room -= size + 1
    if room >= 6:
        parts.append(("  ", ink.text))
        parts += _spark(view, signal, rule, min(40, room - 2), ink)
    return parts


def panel(
    view: DeploymentView, line: int, width: int, clock: str, asleep: str, several: bool, ink: Ink, busy: str = ""
) -> list[Part]:
    """One of the four lines of a deployment's panel, without its marker."""
    verdict = view.verdict
    if line == 0:
        head = state_parts(view, ink)
        word = f"{clock}  {asleep}" if clock and asleep else clock or asleep
        version = busy or version_text(view)
        room = width - 12 - width_of(word) - width_of(version) - 3
        name = name_text(view, several, max(4, room))
        head.append((fit(name, max(4, min(room, width_of(name)))) + " ", ink.strong))
        head.append((version, ink.good if busy else ink.bad if view.disagrees else ink.dim))
        used = sum(width_of(text) for text, _ in head)
        head.append((fit(word, max(0, width - used - 1), right=True), state_style(view, ink)))
        return head
    if verdict is None:
        return [("  not evaluated yet", ink.dim)] if line == 1 else []
    if line in (1, 2):
        signals = worst_first(view)
        return (
            [("  ", ink.text), *signal_parts(view, signals[line - 1], width - 2, ink)] if line <= len(signals) else []
        )
    if verdict.impact.score > 0:
        return [("  " + fit(impact_sentence(verdict.impact, width - 3), width - 3), ink.text)]
    return [("  " + fit_words(plain(verdict.sentence, 300), width - 3), ink.dim)]


def incident_header(incident: Incident, members: list[DeploymentView], width: int, ink: Ink) -> list[Part]:
    """The line above an incident's members: where it likely comes from, what they share, how many, what happened, and
    its id where there is room left."""
    kind = incident.attribution.kind.value.upper()
    identity = f" · {plain(incident.id, 24)}"
    count = f"{len(members)} deployment" + ("" if len(members) == 1 else "s")
    common = [set(view.deployment.depends_on) for view in members]
    shared = sorted(set.intersection(*common)) if len(common) > 1 else []
    parts: list[Part] = [("── ", ink.dim), (kind, ink.strong)]
    if shared:
        parts.append((f" {fit_words(plain(', '.join(shared), 120), max(8, width - 30)).rstrip()}", ink.strong))
    parts.append((f" · {count}", ink.text))
    room = width - sum(width_of(text) for text, _ in parts) - 4
    sentence = plain(incident.sentence, 400)
    if room >= 12:
        left = room - width_of(identity) if width_of(sentence) + width_of(identity) <= room else room
        parts.append((" · " + fit_words(sentence, left).rstrip(), ink.dim))
    if width - sum(width_of(text) for text, _ in parts) - 1 >= width_of(identity):
        parts.append((identity, ink.dim))
    return parts
