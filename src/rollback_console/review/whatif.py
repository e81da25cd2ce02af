"""What another dwell, margin, budget or recovery path would have done, over the samples that a journal holds.

The very engine decides again over the recorded evaluations; what it cannot tell from them it says. After the rollback
that was made, samples tell of a world with it, and nothing of one without.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from rollback_console.decide.judge import FRESH, step, weighed
from rollback_console.decide.trigger import state_of
from rollback_console.engine.backtest import lost_per_minute
from rollback_console.errors import ConsoleError, UsageError
from rollback_console.journal.chain import nanoseconds
from rollback_console.journal.export import rfc3339
from rollback_console.model.observation import Observation
from rollback_console.model.plan import ExecutionState, StepState
from rollback_console.model.review import Supposed
from rollback_console.model.rules import DeploymentRule
from rollback_console.model.text import plain, span
from rollback_console.model.value import dataclass
from rollback_console.model.verdict import TriggerMemory, TriggerState
from rollback_console.review.replay import Replay
from rollback_console.review.replay_samples import Turned, row_of

EXAMPLE = "dwell=2m, margin=3%, conversion.margin=2%, budget=30d, or path=NAME"
_ON_GRID = 1e-6
_MOST = 20_000  # evaluations of one incident that are judged again
_ACTED = (ExecutionState.DONE, ExecutionState.NOT_CONFIRMED, ExecutionState.VERIFYING)


@dataclass(frozen=True, slots=True)
class _Past:
    """What the journal holds of one deployment in a window. `turns`: its changes of state there; `memory`: what its
    trigger carried before the first of `seen`; `acted_at`: when a rollback of it first moved the pointer."""

    rule: DeploymentRule
    policy: bytes
    seen: tuple[Observation, ...]
    memory: TriggerMemory
    turns: tuple[Turned, ...]
    acted_at: float | None
    step_s: float


def suppose(replay: Replay, deployment: str, window: tuple[int, int], words: str) -> Supposed:
    """A deployment (environment/name) with other settings, typed as a backtest sweeps them, between two places of the
    journal. Raises UsageError for words that are no setting of its policy, and where the samples are not kept."""
    settings = _settings(words)
    past = _past(replay, deployment, window)
    path = dict(settings).get("path")
    changed = [(key, value) for key, value in settings if key != "path"]
    rule = _variant(past, changed) if changed else past.rule
    fired = next((turn.body.at for turn in past.turns if turn.body.after == TriggerState.FIRED), None)
    began = _began(past)
    notes: list[str] = []
    would, certain = _would_fire(past, rule, changed, notes) if changed else (fired, True)
    losses = _losses(past)
    until = None if would is None else _lost(losses, began, would)
    if path is not None and would is not None:
        until = _by_path(replay, past, (path, began, fired, would), losses, notes)
    return Supposed(
        past.rule.deployment.id, settings, began, fired, would, None if fired is None else _lost(losses, began, fired),
        until, past.rule.impact.unit, tuple(notes), certain,
    )  # fmt: skip


def _settings(words: str) -> tuple[tuple[str, str], ...]:
    found = []
    for each in re.split(r"[,;]\s*|\s+(?=\S+=)", words.strip()):
        key, equals, value = each.partition("=")
        if not key.strip() or not equals or not value.strip():
            raise UsageError(f"{plain(each, 60) or 'nothing'} is no setting", f"write {EXAMPLE}")
        found.append((key.strip(), value.strip()))
    return tuple(found)


def _past(replay: Replay, deployment: str, window: tuple[int, int]) -> _Past:
    index, samples = replay.index, replay.samples
    places = index.transitions.get(deployment)
    inside = [p for p in places if window[0] <= p <= window[1]] if places is not None else []
    turns = tuple(turned for turned in map(samples.turn, inside) if turned is not None)
    low, high = max(0, index.ticks.until(window[0])), index.ticks.until(window[1])
    if high - low >= _MOST:
        raise UsageError("that is too long a time for a what-if", "open an incident, and ask there")
    last = turns[0].body if turns else None
    rows = [row for n in range(low, high + 1) if (row := row_of(samples.tick(n), deployment)) is not None]
    policy = last.policy if last is not None else rows[-1][0].policy_digest if rows else ""
    kept = [(rule, seen) for rule, seen in rows if rule.policy_digest == policy]
    data = replay.source.get_blob(policy) if policy else None
    if not kept or data is None:
        raise UsageError(
            f"the samples of {plain(deployment, 80)} from then are not kept", "without them nothing is told"
        )
    before = index.last_turn(deployment, window[0] - 1) if window[0] else None
    known = samples.turn(before) if before is not None else None
    memory = known.after if known is not None else FRESH
    rule, first = kept[0]
    if weighed(rule) and turns:  # its evidence before the first change of state stands there alone
        memory = turns[0].before
        kept = [(rule, seen) for rule, seen in kept if seen.at >= turns[0].body.at - _ON_GRID]
    seen = _rising([seen for _, seen in kept], memory.at)
    if not seen:
        memory, seen = FRESH, _rising([seen for _, seen in kept] or [first], None)
    return _Past(rule, data, seen, memory, turns, _acted(replay, deployment, window), index.ticks.step_s)


def _rising(seen: Sequence[Observation], after: float | None) -> tuple[Observation, ...]:
    """Observations later than a memory, each later than the one before: a clock that was put back says things again."""
    found: list[Observation] = []
    last = after if after is not None else float("-inf")
    for each in seen:
        if each.at > last + _ON_GRID:
            found.append(each)
            last = each.at
    return tuple(found)


def _acted(replay: Replay, deployment: str, window: tuple[int, int]) -> float | None:
    """When a rollback of it moved the pointer, within the window."""
    begins = replay.index.ats[window[0]]
    done = [e for e in replay.executions(window[1]) if str(e.plan.deployment) == deployment and e.state in _ACTED]
    moved = [
        each.ended_at
        for execution in done
        if execution.started_at >= begins
        for each in execution.steps
        if each.name == "set" and each.state is StepState.DONE and each.ended_at is not None
    ]
    moved += [at for name, at, _ in replay.index.adopted(window[1]) if name == deployment and at >= begins]
    return min(moved, default=None)


def _began(past: _Past) -> float | None:
    """When the recorded degradation began."""
    for turn in past.turns:
        if turn.after.active_since is not None:
            return turn.after.active_since
    return None


def _variant(past: _Past, settings: Sequence[tuple[str, str]]) -> DeploymentRule:
    """Its rule as the policy would make it with these settings in it."""
    from rollback_console.policy.load import parse_policy
    from rollback_console.policy.variants import parse_sweep, variants

    try:
        loaded = parse_policy(past.policy, "the recorded policy")
        found = variants(loaded, [parse_sweep(f"{key}={value}") for key, value in settings])[-1]
    except UsageError as error:
        raise UsageError(error.message.replace("--sweep ", ""), error.next_step.replace("--sweep ", "")) from None
    except ConsoleError as error:
        raise UsageError(f"the recorded policy cannot be read: {error.message}", "a newer program may") from None
    return next(rule for rule in found.rules if rule.deployment.id == past.rule.deployment.id)


def _would_fire(
    past: _Past, rule: DeploymentRule, changed: Sequence[tuple[str, str]], notes: list[str]
) -> tuple[float | None, bool]:
    """When it would have fired, and whether no evaluation that matters is missing; what cannot be told is noted."""
    memory, at, since = past.memory, None, None
    if state_of(memory, cooling=False)[0] in (TriggerState.FIRED, TriggerState.CLEARING):
        notes.append("it had fired before what is looked at: open the incident that this belongs to")
        return None, False
    for seen in past.seen:
        try:
            memory = step(rule, seen, memory).memory
        except (ValueError, IndexError):
            continue
        if state_of(memory, cooling=False)[0] is TriggerState.FIRED:
            at, since = seen.at, memory.active_since
            break
    if weighed(rule) and past.turns:
        when = _clock(past.seen[0].at)
        notes.append(f"evidence up to {when} was gathered by the policy as it stood: an earlier beginning is not told")
    if past.acted_at is not None and (at is None or at > past.acted_at):
        notes.append(
            f"not before the rollback of {_clock(past.acted_at)}: what would have come without it, no sample tells"
        )
    gap = _widest(past, since, at, calm=any(key != "dwell" for key, _ in changed))
    certain = gap <= 1.5 * past.step_s
    if not certain:
        more = "it may be that much earlier" if at is not None else "a shorter trouble between them is not told"
        notes.append(f"recorded evaluations are up to {span(gap)} apart here: {more}")
    return at, certain and not (weighed(rule) and bool(past.turns))


def _widest(past: _Past, since: float | None, until: float | None, *, calm: bool) -> float:
    """The longest time between two recorded evaluations, from when it began until it fired; where it never fired, in
    all of the recorded trouble. `calm`: another setting may have seen trouble where the policy saw none and little was
    recorded, so that the time before counts, too."""
    ats = [seen.at for seen in past.seen]
    began = since if since is not None else _began(past)
    low = bisect_right(ats, (began if began is not None else ats[0]) - _ON_GRID)
    low = max(0, low - 1) if calm else low
    over = max((turn.body.at for turn in past.turns), default=ats[-1])
    high = bisect_right(ats, (until if until is not None else over) + _ON_GRID)
    return max((b - a for a, b in pairwise(ats[low:high])), default=0.0)


def _losses(past: _Past) -> list[tuple[float, float | None]]:
    """(at, revenue lost a minute) at every recorded evaluation, by the policy as it stood."""
    memory, found = past.memory, []
    for seen in past.seen:
        try:
            done = step(past.rule, seen, memory)
        except (ValueError, IndexError):
            continue
        memory = done.memory
        found.append((seen.at, lost_per_minute(past.rule, seen, done.signals)))
    return found


def _lost(losses: Sequence[tuple[float, float | None]], began: float | None, until: float) -> float | None:
    """What was lost from the beginning of the degradation until then; None where revenue was never known."""
    if not any(loss is not None for _, loss in losses):
        return None
    total = 0.0
    for (at, loss), (following, _) in pairwise(losses):
        start, end = max(at, began if began is not None else at), min(following, until)
        if loss is not None and end > start:
            total += loss * (end - start) / 60.0
    return total


def _by_path(
    replay: Replay, past: _Past, case: tuple[str, float | None, float | None, float],
    losses: Sequence[tuple[float, float | None]], notes: list[str],
) -> float | None:  # fmt: skip
    """What it would have cost until a recovery path had brought it back, by how long that path took in this journal."""
    path, began, fired, would = case
    names = [each.name for each in past.rule.recovery]
    if path not in names:
        raise UsageError(f"path={plain(path, 60)}: its policy has no such recovery path", f"it has {', '.join(names)}")
    done = [e for e in replay.executions(len(replay.index) - 1) if e.plan.path == path and e.ended_at is not None]
    took = [e.ended_at - e.started_at for e in done if e.ended_at is not None and e.state is ExecutionState.DONE]
    if not took:
        notes.append(f"no execution by {plain(path, 60)} is in this journal: how long it takes, it cannot tell")
        return None
    mine = [e for e in replay.executions(len(replay.index) - 1) if e.plan.deployment == past.rule.deployment.id]
    asked = next((e.started_at for e in mine if fired is not None and e.started_at >= fired), None)
    lag = asked - fired if asked is not None and fired is not None else 0.0
    back = would + lag + median(took)
    notes.append(
        f"back by {_clock(back)}: {span(lag)} to decide as recorded, and {span(median(took))} by {plain(path, 60)}"
        f" (the median of {len(took)} in this journal)"
    )
    stand = min(back, past.acted_at) if past.acted_at is not None else back
    total = _lost(losses, began, stand)
    if total is not None and back > stand:
        rate = next((loss for at, loss in reversed(losses) if at <= stand and loss is not None), 0.0)
        total += rate * (back - stand) / 60.0
        notes.append(f"after {_clock(stand)} the loss of then is carried on: no sample tells it")
    return total


def _clock(at: float) -> str:
    return rfc3339(nanoseconds(at))[11:19]
