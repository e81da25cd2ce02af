"""One sentence for a person, with the numbers that decided."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from math import floor

from rollback_console.decide.evidence import AGREES, RELEASE_BAR, REST
from rollback_console.decide.signals import baseline_words
from rollback_console.decide.trigger import blind_remaining
from rollback_console.decide.weighing import ALONE_HOLD_S
from rollback_console.model.countdown import budget_words, minutes, stood_words
from rollback_console.model.rules import BlindPolicyKind, DeploymentRule, SignalKind, SignalRule, Tiered, Worse
from rollback_console.model.text import number, plain, span
from rollback_console.model.verdict import Alone, SignalVerdict, TriggerMemory, TriggerState, Verdict

LONGEST = 300  # characters of a sentence, whatever the policy calls its signals
_NAMED = 3  # how many signals a sentence names before it counts ...
_ROOM = 170  # ... and how many characters they may take before it counts sooner
_TITLE = 32
_NOTE = 120
_DAY_S = 86_400.0
# How a sentence ends while a clock runs. It names no countdown: the sentence is of its evaluation, the numbers are in
# the verdict's fields, and who shows them counts on.
_FIRES, _CLEARS, _FIRES_BLIND = "fires if it stays", "clears if it stays away", "fires as blind if it stays"

_COUNTS = {BlindPolicyKind.BREACH: "counts as degraded", BlindPolicyKind.LAST: "counts as last known"}

Pair = tuple[SignalRule, SignalVerdict]


# ── one signal


def title_of(rule: SignalRule) -> str:
    """What a signal is called inside a sentence: its title without its capital, unless it is an acronym."""
    title = plain(rule.title or rule.name, _TITLE)
    return title if title[:2].isupper() else title[:1].lower() + title[1:]


def verb(title: str, one: str, many: str) -> str:
    """The verb's form that fits a title: `errors pass`, `error rate passes`."""
    return many if title.endswith("s") and not title.endswith(("ss", "us", "is")) else one


def moved_by(rule: SignalRule, percent: float) -> float:
    """A degradation (percent, positive on the worse side) as the number moved: a drop is negative."""
    return (-percent if rule.worse is Worse.LOWER else percent) + 0.0


def percent_words(percent: float) -> str:
    """A signed change: `-8.4 %`, `-10 %`, `+375 %`."""
    return f"{_signed(percent, abs(percent) < 9.95)} %"


def _signed(percent: float, fine: bool) -> str:
    if abs(percent) >= 1e6:
        return "+>999,999" if percent > 0 else "->999,999"
    text = f"{percent:+.1f}" if fine else f"{percent:+,.0f}"
    return "0" if text.strip("+-0.") == "" else text


def agreement(verdict: SignalVerdict) -> float | None:
    """The log evidence from which on a signal backs another; None where it is not judged by evidence."""
    if verdict.evidence is None or verdict.bar is None:
        return None
    return AGREES * verdict.bar if verdict.bar == RELEASE_BAR else REST + AGREES * (verdict.bar - REST)


def backs(verdict: SignalVerdict) -> bool:
    """Does this signal agree with another that is degraded: breached itself, or most of the way to its bar."""
    level = agreement(verdict)
    return verdict.breached is True or (level is not None and (verdict.evidence or 0.0) >= level)


def suspected(verdict: SignalVerdict) -> bool:
    """Judged by evidence, not breached, and at least half-way at some time since (it has an onset)."""
    return verdict.onset is not None and not verdict.breached


def onset_words(onset: float, at: float | None = None) -> str:
    """`since 14:02 UTC`, with its day where that is another than the evaluation's (`at`, Unix seconds)."""
    moment = datetime.fromtimestamp(onset, UTC)
    same = at is None or datetime.fromtimestamp(at, UTC).date() == moment.date()
    return moment.strftime("since %H:%M UTC" if same else "since %-d %b %H:%M UTC")


def evidence_words(verdict: SignalVerdict) -> str:
    """`evidence 7.1 of 11.8`; never below 0, where it says nothing."""
    if verdict.evidence is None:
        return "no evidence yet" if verdict.onset is None else "evidence starts anew"
    return f"evidence {evidence_number(verdict)} of {verdict.bar or 0.0:.1f}"


def evidence_number(verdict: SignalVerdict) -> str:
    """Log evidence with one digit, rounded down: it reads as its bar only when that is reached."""
    found, bar = max(0.0, verdict.evidence or 0.0), verdict.bar or 0.0
    text = f"{found:.1f}"
    return f"{floor(found * 10) / 10:.1f}" if found < bar and text == f"{bar:.1f}" else text


def signal_words(rule: SignalRule, verdict: SignalVerdict, at: float | None = None) -> str:
    """One signal in words: `conversion 2.91 % is 8.4 % below last week's 3.18 % (margin 5 %)`; one judged by evidence:
    `conversion 2.71 % vs 3.01 % -10 % [-7, -13] since 14:02 UTC, evidence 7.1 of 11.8`."""
    title = title_of(rule)
    if verdict.aside:
        return f"{title}: {plain(verdict.note, 160)}{_drifted(verdict, at)}"
    if verdict.blind is not None:
        since = f", suspected {onset_words(verdict.onset, at)}" if verdict.onset is not None else ""
        return f"{title}: {_unseen_words(verdict)}{since}"
    if verdict.note and verdict.breached is None:
        return f"{title} {plain(verdict.note, _NOTE)}"
    value, breach = number(verdict.value, rule.unit), rule.breach
    if rule.evidence is not None or verdict.evidence is not None:
        return f"{title} {_judged(rule, verdict, at)}"
    if breach.above is not None or breach.below is not None:
        side = "above" if breach.above is not None else "below"
        return f"{title} {value} is {'' if verdict.breached else 'not '}{side} {number(verdict.limit, rule.unit)}"
    percent = verdict.degradation_pct
    if percent is None:  # a baseline of zero: any distance is infinite percent
        return f"{title} {value} against {baseline_words(rule.baseline)} {number(verdict.baseline, rule.unit)}"
    low = (rule.worse is Worse.LOWER) == (percent >= 0)
    share = breach.degraded_by or 0.0
    if breach.clear is not None and verdict.breached and percent <= 100.0 * share:
        share = breach.clear  # its trigger fired, and it is not over yet
    margin = f"margin {100 * share:.3g} %"
    base = f"{baseline_words(rule.baseline)} {number(verdict.baseline, rule.unit)}"
    size = _signed(abs(percent), abs(percent) < 99.95).lstrip("+")
    if size == "0":
        return f"{title} {value} is at {base} ({margin})"
    return f"{title} {value} is {size} % {'below' if low else 'above'} {base} ({margin})"


def _drifted(verdict: SignalVerdict, at: float | None) -> str:
    return f" {onset_words(verdict.onset, at)}" if verdict.onset is not None else ""


def _unseen_words(verdict: SignalVerdict) -> str:
    return plain(verdict.note or verdict.blind or "not judged", 60)


def _judged(rule: SignalRule, verdict: SignalVerdict, at: float | None) -> str:
    """A signal judged by evidence, without its title. Since an onset the change is the mean since then (the middle of
    its interval), else the one of now."""
    if rule.kind is SignalKind.GAUGE:
        return f"{_gauge(rule, verdict, at)}, {evidence_words(verdict)}"
    pair = f"{number(verdict.value, rule.unit)} vs {number(verdict.baseline, rule.unit)}"
    ends, change = verdict.interval, verdict.degradation_pct
    if verdict.onset is None:
        moved = "" if change is None else f" {percent_words(moved_by(rule, change))}"
        calm = not verdict.breached
        inside = ", within normal" if calm and (change is None or _inside(rule, verdict)) else ""
        return f"{pair}{moved}{inside}, {evidence_words(verdict)}"
    change = _mean_change(verdict)
    moved = "" if change is None else f" {percent_words(moved_by(rule, change))}"
    if ends is not None:
        near, far = (moved_by(rule, end) for end in sorted(ends))
        fine = max(abs(near), abs(far)) < 9.95
        moved += f" [{_signed(near, fine)}, {_signed(far, fine)}]"
    return f"{pair}{moved} {onset_words(verdict.onset, at)}, {evidence_words(verdict)}"


def _gauge(rule: SignalRule, verdict: SignalVerdict, at: float | None) -> str:
    """`42 (usually 18, seldom above 31)`; once suspected `42, above 31 in 78 % [70, 85] since 14:02 UTC (usually
    20 %)`: the value, its healthy band, and how often it was beyond."""
    side = "below" if rule.worse is Worse.LOWER else "above"
    value, limit = number(verdict.value, rule.unit), number(verdict.limit, rule.unit)
    if verdict.beyond is None or verdict.onset is None:
        out = "" if _inside(rule, verdict) else ", beyond that now"
        return f"{value} (usually {number(verdict.baseline, rule.unit)}, seldom {side} {limit}){out}"
    share, low, high, usual = (100 * each for each in verdict.beyond)
    often = f"in {share:.0f} % [{low:.0f}, {high:.0f}] {onset_words(verdict.onset, at)}"
    return f"{value}, {side} {limit} {often} (usually {usual:.0f} %)"


def _inside(rule: SignalRule, verdict: SignalVerdict) -> bool:
    """Is the value of now on the good side of the limit."""
    if verdict.limit is None or verdict.value is None:
        return True
    return verdict.value >= verdict.limit if rule.worse is Worse.LOWER else verdict.value <= verdict.limit


def in_absolute_times(verdict: Verdict, clock: Callable[[float], str]) -> str:
    """The verdict's sentence for text that is copied and read later: not "fires" but "fires at 10:31:04 UTC". `clock`
    puts Unix seconds into words. A clock that stands still has no time to name."""
    if verdict.frozen and verdict.state is not TriggerState.BLIND:
        return verdict.sentence
    for tail, left in (
        (_FIRES_BLIND, verdict.blind_remaining_s),
        (_FIRES, verdict.dwell_remaining_s),
        (_CLEARS, verdict.hold_remaining_s),
    ):
        if left is not None and verdict.sentence.endswith(tail):
            return _timed(verdict.sentence, tail, f"at {clock(verdict.at + left)}")
    if verdict.eta_s is not None and verdict.sentence.endswith(_FIRES):  # an estimate, and it reads so
        return _timed(verdict.sentence, _FIRES, f"at about {clock(verdict.at + verdict.eta_s)}")
    return verdict.sentence


def _timed(sentence: str, tail: str, when: str) -> str:
    what, _, condition = tail.partition(" if ")
    return f"{sentence.removesuffix(tail)}{what} {when} if {condition}"


# ── the deployment


def _list(words: Sequence[str]) -> str:
    """The first few, as far as there is room, and how many more there are; the first always."""
    shown: list[str] = []
    used = 0
    for each in words[:_NAMED]:
        used += len(each)
        if shown and used > _ROOM:
            break
        shown.append(each)
    more = len(words) - len(shown)
    return ", ".join([*shown, f"{more} more"] if more else shown)


def _pairs(rule: DeploymentRule, verdicts: Iterable[SignalVerdict]) -> list[Pair]:
    """Each signal with its verdict, without those that stand aside: they decide nothing."""
    return [(signal, found) for signal, found in zip(rule.signals, verdicts, strict=True) if not found.aside]


def sentence(
    rule: DeploymentRule,
    state: TriggerState,
    memory: TriggerMemory,
    condition: bool | None,
    signals: Sequence[SignalVerdict],
    blind: Sequence[str],
    alone: Alone | None = None,
) -> str:
    """Why the deployment is in this state, at this evaluation; at most `LONGEST` characters. `alone`: whose hold runs
    for want of another that agrees, or has just run out."""
    pairs, at = _pairs(rule, signals), memory.at
    if state in (TriggerState.HEALTHY, TriggerState.COOLING):
        return _calm(rule, state, pairs, at)
    unseen = _unseen([(s, v) for s, v in pairs if v.name in blind])
    few = [signal_words(s, v) for s, v in pairs if v.note and v.breached is None and v.blind is None]
    if state is TriggerState.PENDING:
        if condition is None:
            return f"cannot tell now ({_list(unseen or few)}): the dwell stands still"
        return f"{_degraded(rule, pairs, at)}{_alone(rule, pairs, alone)}; {_FIRES}"
    if state is TriggerState.FIRED:
        if condition is None:
            return f"fired, and cannot tell now: {_list(unseen or few)}"
        return f"{_degraded(rule, pairs, at)}{_held(rule, pairs, memory)}{stood_words(alone) if alone else ''}"
    if state is TriggerState.CLEARING:
        if condition is None:
            return f"cannot tell now ({_list(unseen or few)}): the hold stands still"
        return f"{_list(_gone(pairs, memory)) or 'the condition is gone'}; {_CLEARS}"
    if not blind:
        return f"cannot tell yet: {_list(few + _unseen([(s, v) for s, v in pairs if v.blind is not None]))}"
    tail = "has fired as blind" if blind_remaining(rule.trigger, memory) is None else _FIRES_BLIND
    if condition is False:  # what is seen settles it, whatever the blind signals are
        return f"{_list(unseen)}; what is seen does not trigger; {tail}"
    return f"cannot tell: {_list(unseen)}; {tail}"


def _unseen(pairs: Sequence[Pair]) -> list[str]:
    """Signals that cannot be seen, together where the reason is the same: `conversion, errors and 2 more: no data`."""
    groups: dict[str, list[str]] = {}
    for rule, verdict in pairs:
        groups.setdefault(_unseen_words(verdict), []).append(title_of(rule))
    return [f"{and_(titles)}: {reason}" for reason, titles in groups.items()]


def and_(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`, `a, b and 2 more`."""
    if len(words) > _NAMED:
        words = [*words[: _NAMED - 1], f"{len(words) - _NAMED + 1} more"]
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def _degraded(rule: DeploymentRule, pairs: Sequence[Pair], at: float | None) -> str:
    """What makes the condition true, and who agrees."""
    words = _troubled(pairs, at)
    words += [
        f"{signal_words(s, v)}, {_COUNTS[s.blind.kind]}"
        for s, v in pairs
        if v.value is None and v.breached is None and s.blind.kind in _COUNTS
    ]
    return _list(words) if words else plain(rule.trigger.text, 120)


def _troubled(pairs: Sequence[Pair], at: float | None) -> list[str]:
    """What is breached or suspected, the fullest said in full; of others that are judged by evidence only the change
    and whether they agree: `errors agree (+15 %, evidence 9.4)`."""
    found = [(s, v) for s, v in pairs if v.breached or suspected(v)]
    found.sort(key=lambda pair: not pair[1].breached)  # in the policy's order otherwise
    words: list[str] = []
    led = False
    for s, v in found:
        if s.evidence is None or v.blind is not None or not led:
            words.append(signal_words(s, v, at))
            led = led or s.evidence is not None
            continue
        change = _mean_change(v)
        moved = "" if change is None else f"{percent_words(moved_by(s, change))}, "
        title = title_of(s)
        what = f"{title} {verb(title, 'agrees', 'agree')}" if backs(v) else title
        words.append(f"{what} ({moved}{evidence_words(v).split(' of ')[0]})")
    return words


def _mean_change(verdict: SignalVerdict) -> float | None:
    """The degradation since the onset, in percent: the middle of its interval where there is one."""
    if verdict.interval is not None and verdict.onset is not None:
        return (verdict.interval[0] + verdict.interval[1]) / 2
    return verdict.degradation_pct


def _held(rule: DeploymentRule, pairs: Sequence[Pair], memory: TriggerMemory) -> str:
    """How long the condition held before it fired: the dwell, or what an adaptive one came to. Nothing where evidence
    has a part: its dwell is in the evidence; but that it stays fired on suspicion, where nothing is full any more."""
    if any(s.evidence is not None for s, _ in pairs):
        doubted = any(suspected(v) and v.blind is None for _, v in pairs) and not any(v.breached for _, v in pairs)
        return "; suspected still" if doubted else ""
    dwell = rule.trigger.dwell_s
    if rule.trigger.adaptive is not None and memory.fired_at is not None and memory.active_since is not None:
        dwell = memory.fired_at - memory.active_since
    return f"; held for {span(dwell)}" if dwell > 0 else ""


def _alone(rule: DeploymentRule, pairs: Sequence[Pair], alone: Alone | None = None) -> str:
    """Why what is degraded has not fired under the tiered rule: nobody agrees, and it has not held for long enough
    (`alone`: which the loss budget may have shortened)."""
    if not isinstance(rule.trigger.when, Tiered):
        return ""
    full = [s for s, v in pairs if v.breached]
    if len(full) != 1 or full[0].sufficient_alone or any(backs(v) for s, v in pairs if s is not full[0]):
        return ""
    only = full[0].evidence
    held = span(only.alone_hold_s if only is not None else ALONE_HOLD_S)
    if alone is not None and alone.budget is not None:
        held = f"{minutes(alone.length_s)}: {budget_words(alone)}"
    return f"; nothing else agrees{' (lost tracking looks like this)' if only else ''}, so it must hold for {held}"


def _gone(pairs: Sequence[Pair], memory: TriggerMemory) -> list[str]:
    """What had fired and is not degraded any more, with its numbers; else what is degraded still; else all of it."""
    began = [(s, v) for s, v in pairs if v.name in memory.onset_signals and not v.breached]
    began.sort(key=lambda pair: pair[1].breached is None)  # what is seen before what is not
    still = [f"{signal_words(s, v)}, not enough to stay" for s, v in pairs if v.breached]
    return [signal_words(s, v) for s, v in began] or still or [signal_words(s, v) for s, v in pairs]


def _calm(rule: DeploymentRule, state: TriggerState, pairs: Sequence[Pair], at: float | None) -> str:
    cooling = "cooling after an action; " if state is TriggerState.COOLING else ""
    if troubled := _troubled(pairs, at):
        return f"{cooling}{_list(troubled)}{_alone(rule, pairs)}; not enough to trigger"
    few = [signal_words(s, v) for s, v in pairs if v.note and v.breached is None and v.blind is None]
    dark = [(s, v) for s, v in pairs if v.blind is not None]
    silent = _unseen(dark)
    if few or silent:
        inside = len(pairs) - len(few) - len(dark)
        well = "not suspected" if any(s.evidence is not None for s, _ in pairs) else "inside their margins"
        return f"{cooling}{_list(few + silent)}; {inside} of {len(pairs)} signals are {well}"
    nearest = nearest_of(pairs)
    weighed = any(s.evidence is not None for s, _ in pairs)
    if len(pairs) == 1:
        return f"{cooling}{_place(*pairs[0])}: its signal is {'not suspected' if weighed else 'inside its margin'}"
    many = len(pairs)
    count = f"none of {many} signals is suspected" if weighed else f"all {many} signals are inside their margins"
    return f"{cooling}{count}; nearest: {_place(*nearest)}" if nearest is not None else f"{cooling}{count}"


def _place(rule: SignalRule, verdict: SignalVerdict) -> str:
    """A calm signal and what it is judged by, in short."""
    value = number(verdict.value, rule.unit)
    if rule.kind is SignalKind.GAUGE:
        return f"{title_of(rule)} {_gauge(rule, verdict, None)}, {evidence_words(verdict)}"
    if rule.evidence is not None:
        return f"{title_of(rule)} {value} vs {number(verdict.baseline, rule.unit)}, {evidence_words(verdict)}"
    return f"{title_of(rule)} {value}, limit {number(verdict.limit, rule.unit)}"


def nearness(rule: SignalRule, verdict: SignalVerdict) -> float:
    """How near a calm signal is to being degraded: 0 far or better than its baseline, 1 at its limit."""
    if rule.evidence is not None:
        return max(0.0, (verdict.evidence or 0.0) / verdict.bar) if verdict.bar else 0.0
    value, limit = verdict.value, verdict.limit
    if value is None or limit is None:
        return -1.0
    whole = abs(limit - verdict.baseline) if verdict.baseline is not None else abs(limit)
    left = (value - limit) if degrades_below(rule) else (limit - value)
    return 1.0 - min(1.0, left / whole) if whole > 0 else 0.0


def degrades_below(rule: SignalRule) -> bool:
    """Is a value below its limit the degraded one."""
    return rule.breach.below is not None or (rule.breach.above is None and rule.worse is Worse.LOWER)


def nearest_of(pairs: Sequence[Pair]) -> Pair | None:
    """The calm signal that is nearest to being degraded; None without signals."""
    return max(pairs, key=lambda pair: nearness(*pair), default=None)
