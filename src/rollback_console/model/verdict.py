"""What `decide` says of one deployment at one time, and the memory it carries to the next evaluation."""

from __future__ import annotations

from dataclasses import field
from enum import StrEnum

from rollback_console.model.identity import DeploymentId
from rollback_console.model.observation import Blind
from rollback_console.model.value import dataclass


class TriggerState(StrEnum):
    """The trigger's state. `CLEARING` is fired with its hold running; `COOLING` is healthy after an action, while no
    automatic action may follow; `BLIND` is "cannot tell" where the trigger was healthy or unknown."""

    HEALTHY = "healthy"
    PENDING = "pending"
    FIRED = "fired"
    CLEARING = "clearing"
    COOLING = "cooling"
    BLIND = "blind"


@dataclass(frozen=True, slots=True)
class EvidenceMemory:
    """What one signal's detector carries on (`decide.evidence`). Times are Unix seconds.

    `at`: of the last step. `sums`: evidence, one an alternative, of the starts since the last mark; then as many of the
    span before it. `walks`, `since`: of each alternative the excursion (the log likelihood ratio since it began, and
    never below nothing), when it began, and the tally then; where those of the span before are others, as many more.
    `tally`: (events missing, events expected) since the last mark, then the same since the mark before. `full_since`:
    the bar is reached;
    `calm_since`: evidence is below half of it, and was not. `onset`: the likely beginning of the degradation, while one
    is suspected; `frozen_at`: whose baseline stays in use meanwhile. `version`, `released_at`, `release_sums`: the
    known start of the first day after a deployment. `acted_at`: when the cool-down that is running began; `seen`:
    (events missing, events expected) since the onset; `drop`, `meter`: the degradation (a fraction) that is suspected
    or was acted on, and the log likelihood ratio for "it is gone"; once that is believed, `recovered`, and the meter is
    the one for "it is back", `onset` and `seen` are of what may be coming back. `arms`: beside a control, (own, its)
    trials since the last mark, then in the span before it.
    """

    at: float | None = None
    sums: tuple[float, ...] = ()
    full_since: float | None = None
    calm_since: float | None = None
    onset: float | None = None
    frozen_at: float | None = None
    walks: tuple[float, ...] = ()
    since: tuple[tuple[float, float, float], ...] = ()
    tally: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    version: str | None = None
    released_at: float | None = None
    release_sums: tuple[float, ...] = ()
    acted_at: float | None = None
    seen: tuple[float, float] = (0.0, 0.0)
    drop: float | None = None
    meter: float = 0.0
    recovered: bool = False
    arms: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class CostMemory:
    """What the present trouble has cost so far. `since`: its onset (Unix seconds); `whole`: nothing before the first
    evaluation that knew of it is missing; `seen_s`, `unseen_s`: how much of it was priced, and how much nobody saw;
    `lost`: in the order of `decide.impact.AMOUNTS`, None where nothing is priced."""

    since: float
    whole: bool = True
    seen_s: float = 0.0
    unseen_s: float = 0.0
    lost: tuple[float | None, ...] = (None, None, None, None)


@dataclass(frozen=True, slots=True)
class TriggerMemory:
    """All that one evaluation hands to the next. A value: serialise it, cut the stream anywhere, go on.

    Times are evaluation times in Unix seconds. `frozen_s` is how much of the running clock (dwell or hold) did not
    count because an end of the interval was unknown.
    """

    at: float | None = None  # the last evaluation
    active_since: float | None = None  # condition true since (pending or fired)
    fired_at: float | None = None
    clear_since: float | None = None  # condition gone since (fired only)
    frozen_s: float = 0.0
    known: bool = False  # was the condition known at the last evaluation
    blind_since: float | None = None
    blind_fired_at: float | None = None
    last_known: tuple[tuple[bool, float] | None, ...] = ()  # per signal: (breached, at), for `last: 5m`
    onset_signals: tuple[str, ...] = ()  # which signals counted as breached at `active_since`
    evidence: tuple[EvidenceMemory | None, ...] = ()  # per signal; empty where none is judged by evidence
    held: tuple[tuple[float, float, bool] | None, ...] = ()  # per plain signal beside them: since, counted s, known
    cost: CostMemory | None = None  # what the present trouble has cost; None while there is none, or nothing is priced


@dataclass(frozen=True, slots=True)
class SignalVerdict:
    """One signal judged. `degradation` is on the worse side of the baseline, in the signal's unit (negative: better);
    `degradation_pct` in percent of the baseline. `breached` is None when it cannot be judged (`blind`, or too few).

    Of a signal judged by evidence `value` is the last window's and so is the degradation, but while one is suspected
    (`onset` is set): then `degradation`, `degradation_pct` and `interval` are the mean since the onset. Of a gauge they
    stay the last value's, against its median; `beyond` says how often it passed its `limit`."""

    name: str
    value: float | None
    baseline: float | None
    limit: float | None  # the value at which it counts as degraded
    degradation: float | None
    degradation_pct: float | None
    breached: bool | None
    blind: Blind | None
    n: float | None = None
    note: str = ""  # "too few: 12 of 200", "no baseline: no data"
    evidence: float | None = None  # log evidence (logM), where the signal is judged by evidence ...
    bar: float | None = None  # ... and what it must reach, ln of the budget in minutes
    onset: float | None = None  # Unix seconds: the likely beginning of the degradation
    interval: tuple[float, float] | None = None  # of `degradation_pct`: 95 %, in percent
    beyond: tuple[float, float, float, float] | None = None  # of a gauge since its onset: share, 95 %, usual
    aside: bool = False  # no part of any trigger: what its note says is shown, and explains


@dataclass(frozen=True, slots=True)
class ImpactPart:
    """One part of the impact, with its unit and where the number comes from. `interval`: the 95 % range of `value`;
    `total`: what came together since `Impact.since`, in the unit without its "/min"."""

    name: str  # revenue | users | satisfaction | market | regulatory
    value: float | None
    unit: str
    points: float  # its share of the score ...
    source: str
    most: float = 0.0  # ... and how much that can be
    interval: tuple[float, float] | None = None
    total: float | None = None


@dataclass(frozen=True, slots=True)
class Impact:
    """What the degradation costs now. `score` 0-100 is the sum of its parts' points, at most 100, by the formula in
    `decide.impact`. `since`: the parts' totals count from here (Unix seconds); `at_least`: they lack time that nobody
    saw."""

    score: float
    parts: tuple[ImpactPart, ...] = ()
    since: float | None = None
    at_least: bool = False


@dataclass(frozen=True, slots=True)
class Alone:
    """A signal that is full, or passed, with which nothing agrees: it has to hold for `length_s` since `since` (Unix
    seconds; for `held_s` it has) before its trigger fires. `loss_per_minute`, `budget`: what shortened that (`unit`'s);
    None where nothing did, and it is the policy's own."""

    signal: str
    since: float
    held_s: float
    length_s: float
    loss_per_minute: float | None = None
    budget: float | None = None
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What `decide` says of one deployment at one time.

    `state` is what the screen shows; `condition` is the trigger's condition now (None: unknown), where evidence has a
    part: of what is suspected, which keeps it pending or fired. `since` is when the
    state began (None while healthy). `dwell_remaining_s` counts down while pending (None otherwise), `frozen` says
    that the running clock stands still.
    """

    deployment: DeploymentId
    at: float
    version: str | None
    state: TriggerState
    since: float | None
    condition: bool | None
    blind: tuple[str, ...]  # names of the trigger's blind signals: the flag beside the state
    frozen: bool
    dwell_remaining_s: float | None
    hold_remaining_s: float | None
    blind_remaining_s: float | None
    fired_as_blind: bool
    cooling: bool
    signals: tuple[SignalVerdict, ...]
    sentence: str
    impact: Impact = field(default_factory=lambda: Impact(0.0))
    eta_s: float | None = None  # pending by evidence: about so long until it fires if it stays; an estimate
    alone: Alone | None = None  # pending: whose hold runs because nothing agrees with it

    @property
    def alarming(self) -> bool:
        """Does this deployment need a person now."""
        return self.state in (TriggerState.FIRED, TriggerState.CLEARING) or self.fired_as_blind


@dataclass(frozen=True, slots=True)
class Reason:
    """A node of the reason tree (`decide.reasons`): what was asked, how it came out, the number that decided, and what
    that rests on. `holds` is None where it cannot be told. `numbers` are (name, value, unit), in the signal's unit."""

    kind: str  # state | condition | signal | evidence | dwell | hold | blind | impact | ...
    name: str
    holds: bool | None
    text: str
    numbers: tuple[tuple[str, float, str], ...] = ()
    because: tuple[Reason, ...] = ()
