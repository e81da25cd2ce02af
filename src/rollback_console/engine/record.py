"""Model values become journal bodies and blobs, and back: what a decision was made from, to be made again by anyone.

A tick's samples are one blob: a JSON head line, then packed little-endian columns (`docs/journal-format.md` has the
layout). The head names the *layout* (which deployments and signals, by which policies), itself a blob that changes only
when the configuration does.
"""

from __future__ import annotations

import array
import itertools
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Any

from rollback_console.decide.judge import decide
from rollback_console.decide.version import ENGINE, decides_alike, speaks_alike, why_not
from rollback_console.engine.compact import evidence_packed, evidence_unpacked
from rollback_console.errors import ConsoleError, OtherEngine
from rollback_console.journal.entry import Entry
from rollback_console.model.identity import DeploymentId
from rollback_console.model.observation import Blind, Drift, Norm, Observation, Reading, Tick
from rollback_console.model.rules import DeploymentRule
from rollback_console.model.text import plain
from rollback_console.model.value import dataclass
from rollback_console.model.verdict import (
    CostMemory,
    EvidenceMemory,
    SignalVerdict,
    TriggerMemory,
    TriggerState,
    Verdict,
)

if TYPE_CHECKING:
    from rollback_console.journal.kinds import TransitionRecorded  # pydantic: 80 ms that the first states do without

_BLINDS: tuple[Blind | None, ...] = (
    None,
    Blind.NO_DATA,
    Blind.NOT_A_NUMBER,
    Blind.QUERY_FAILED,
    Blind.STALE,
    Blind.LEARNING,
)
_CODES = {blind: code for code, blind in enumerate(_BLINDS)}
_DRIFT = 128  # among a reading's codes: it has a place in the columns of drifts
_DRIFT_COLUMNS = 9
_NORMS = ("bound", "share", "split", "budget_s")  # of a norm, that few signals have: columns where any has
_WEIGHED = 8  # among a reading's codes: it has a place in the columns of evidence
_WEIGHED_COLUMNS = 6  # ... which are so many, and one an alternative
_NAN = math.nan
_MEMORY = tuple(each.name for each in fields(TriggerMemory))
_EVIDENCE = tuple(each.name for each in fields(EvidenceMemory))
_EMPTY = EvidenceMemory()
_COSTS = ("satisfaction_per_minute", "market_per_minute")  # columns of a deployment that few policies ask for
_WORDS = frozenset({"sentence", "note"})  # what an engine of other wording may say otherwise
_DIGITS = 9  # settled: verdicts agree everywhere, numbers to nine digits
Compile = Callable[[bytes, str], Sequence[DeploymentRule]]  # (policy bytes, digest) -> its rules
Blobs = Callable[[str], bytes | None]


def layout_bytes(rules: Sequence[DeploymentRule]) -> bytes:
    """Which rows and columns a tick has: deployments in order, each with its policy's digest and its signals."""
    signals: dict[str, list[str]] = {}
    rows = []
    for rule in rules:
        names = [signal.name for signal in rule.signals]
        signals.setdefault(rule.policy_digest, names)
        rows.append([str(rule.deployment.id), rule.policy_digest])
    return json.dumps({"v": 1, "rows": rows, "signals": signals}, separators=(",", ":"), sort_keys=True).encode()


def _packed(values: list[float]) -> bytes:
    column = array.array("d", values)
    if sys.byteorder == "big":
        column.byteswap()
    return column.tobytes()


def pack(tick: Tick, layout: str) -> bytes:
    """A tick as bytes; `layout` is the digest of its layout blob. NaN stands for "none" and nothing else: a sample that
    is not a number is a blind code."""
    readings = [reading for observation in tick.observations for reading in observation.readings]
    versions = sorted({o.version for o in tick.observations if o.version is not None})
    numbers = {version: number for number, version in enumerate(versions)}
    weighed = [reading for reading in readings if _is_weighed(reading)]
    head = {
        "v": 2 if weighed else 1,
        "at": tick.at,
        "layout": layout,
        "deployments": len(tick.observations),
        "readings": len(readings),
        "versions": versions,
        "version_of": [-1 if o.version is None else numbers[o.version] for o in tick.observations],
    }
    costs = [name for name in _COSTS if any(getattr(o, name) is not None for o in tick.observations)]
    if costs:
        head["costs"] = costs
    phis = max((len(reading.norm.phi) for reading in weighed if reading.norm is not None), default=0)
    if weighed:
        head["weighed"], head["phi"] = len(weighed), phis
    norms = [name for name in _NORMS if any(getattr(r.norm, name, None) is not None for r in weighed)]
    drifts = [reading.drift for reading in readings if reading.drift is not None]
    if norms or drifts:
        head["v"], head["norms"], head["drifts"] = 3, norms, len(drifts)
    return b"".join(
        (
            json.dumps(head, separators=(",", ":")).encode(),
            b"\n",
            _packed([_NAN if r.value is None else r.value for r in readings]),
            _packed([_NAN if r.baseline is None else r.baseline for r in readings]),
            _packed([_NAN if r.n is None else r.n for r in readings]),
            bytes([_code(reading) for reading in readings]),
            _packed([_NAN if o.revenue_per_minute is None else o.revenue_per_minute for o in tick.observations]),
            _packed([_NAN if o.users_per_minute is None else o.users_per_minute for o in tick.observations]),
            *(_packed([_nan(getattr(o, name)) for o in tick.observations]) for name in costs),
            *(_packed(column) for column in _weighed_columns(weighed, phis)),
            *(_packed([_nan(getattr(r.norm, name, None)) for r in weighed]) for name in norms),
            *(_packed(list(column)) for column in zip(*map(_drift_numbers, drifts), strict=True)),
        )
    )


def _code(reading: Reading) -> int:
    """Why its value and its baseline are blind, and which further columns it has a place in."""
    more = _WEIGHED * _is_weighed(reading) | _DRIFT * (reading.drift is not None)
    return _CODES[reading.blind] | _CODES[reading.baseline_blind] << 4 | more


def _drift_numbers(drift: Drift) -> list[float]:
    return [drift.psi, drift.deviations, drift.n, drift.m, float(drift.buckets), *drift.moved, _nan(drift.since)]


def _drift_of(psi: float, deviations: float, n: float, m: float, buckets: float, *more: float | None) -> Drift:
    bound, before, now = (each if each is not None else math.inf for each in more[:3])
    return Drift(psi, deviations, n, m, int(buckets), (bound, before, now), more[3])


def _is_weighed(reading: Reading) -> bool:
    """Does it carry what evidence is made from, besides the rest."""
    return reading.x is not None or reading.norm is not None


def _weighed_columns(readings: Sequence[Reading], phis: int) -> list[list[float]]:
    """Events, margin, the control's events and trials, hours of history, an adaptive dwell, and the dispersions (`phis`
    columns, the last ones of a shorter norm empty), one number a reading."""
    norms = [reading.norm for reading in readings]
    controls = [None if norm is None else norm.control for norm in norms]
    return [
        [_nan(reading.x) for reading in readings],
        [_NAN if norm is None else norm.margin for norm in norms],
        [_NAN if control is None else control[0] for control in controls],
        [_NAN if control is None else control[1] for control in controls],
        [_NAN if norm is None else _nan(norm.hours) for norm in norms],
        [_NAN if norm is None else _nan(norm.dwell_s) for norm in norms],
        *([_NAN if norm is None or k >= len(norm.phi) else norm.phi[k] for norm in norms] for k in range(phis)),
    ]


def _weighed_facts(columns: Sequence[Sequence[float | None]]) -> Iterator[tuple[float | None, Norm | None]]:
    """(events, norm) a reading, out of the columns of `_weighed_columns`."""
    for x, margin, events, trials, hours, dwell, *phi in zip(*columns, strict=True):
        control = None if events is None or trials is None else (events, trials)
        phis = tuple(each for each in phi if each is not None)
        yield x, None if margin is None else Norm(margin, phis, control, hours, dwell)


def _with_extras(
    facts: Iterator[tuple[float | None, Norm | None]], names: Sequence[str], columns: Sequence[Sequence[float | None]]
) -> Iterator[tuple[float | None, Norm | None]]:
    """The same, with what only some norms have."""
    for (x, norm), values in zip(facts, zip(*columns, strict=True), strict=True):
        yield x, None if norm is None else replace(norm, **dict(zip(names, values, strict=True)))


def _nan(value: float | None) -> float:
    return _NAN if value is None else value


def _column(data: bytes) -> list[float | None]:
    column = array.array("d")
    column.frombytes(data)
    if sys.byteorder == "big":
        column.byteswap()
    return [None if value != value else value for value in column]


def unpack(data: bytes, blobs: Blobs) -> Tick:
    """The tick in `data`. Raises ValueError when it is not one, or its layout is gone."""
    line, _, rest = data.partition(b"\n")
    head = json.loads(line)
    stored = blobs(head["layout"])
    if stored is None:
        raise ValueError("its layout blob is gone")
    layout = json.loads(stored)
    count, rows = head["readings"], head["deployments"]
    costs: list[str] = head.get("costs", [])
    if not set(costs) <= set(_COSTS):
        raise ValueError("it has columns that are not known here")
    norms: list[str] = head.get("norms", [])
    if not set(norms) <= set(_NORMS):
        raise ValueError("it has columns that are not known here")
    weighed, wide, drifts = head.get("weighed", 0), _WEIGHED_COLUMNS + head.get("phi", 0), head.get("drifts", 0)
    more_bytes = (weighed * (wide + len(norms)) + drifts * _DRIFT_COLUMNS) * 8
    if len(layout["rows"]) != rows or len(rest) != count * 25 + rows * 8 * (2 + len(costs)) + more_bytes:
        raise ValueError("its columns do not fit its head")
    cuts = [0, count * 8, count * 16, count * 24, count * 25, count * 25 + rows * 8, count * 25 + rows * 16]
    value, base, trials, codes, revenue, users = (rest[a:b] for a, b in itertools.pairwise(cuts))
    values, bases, ns = _column(value), _column(base), _column(trials)
    revenues, served = _column(revenue), _column(users)
    more = [_column(rest[cuts[-1] + k * rows * 8 : cuts[-1] + (k + 1) * rows * 8]) for k in range(len(costs))]
    start = cuts[-1] + len(costs) * rows * 8
    facts = _weighed_facts(
        [_column(rest[start + k * weighed * 8 : start + (k + 1) * weighed * 8]) for k in range(wide)]
    )
    start += weighed * wide * 8
    extras = [_column(rest[start + k * weighed * 8 : start + (k + 1) * weighed * 8]) for k in range(len(norms))]
    facts = _with_extras(facts, norms, extras) if norms else facts
    start += weighed * len(norms) * 8
    moved = [_column(rest[start + k * drifts * 8 : start + (k + 1) * drifts * 8]) for k in range(_DRIFT_COLUMNS)]
    drifted = map(_drift_of, *moved)
    observations, offset = [], 0
    for row, (name, policy) in enumerate(layout["rows"]):
        width = len(layout["signals"][policy])
        readings = tuple(
            Reading(
                values[i],
                bases[i],
                ns[i],
                _BLINDS[codes[i] & 7],
                _BLINDS[codes[i] >> 4 & 7],
                *(next(facts) if codes[i] & _WEIGHED else (None, None)),
                next(drifted) if codes[i] & _DRIFT else None,
            )
            for i in range(offset, offset + width)
        )
        offset += width
        number = head["version_of"][row]
        version = head["versions"][number] if number >= 0 else None
        also = {cost: column[row] for cost, column in zip(costs, more, strict=True)}
        who = DeploymentId.parse(name)
        observations.append(Observation(who, head["at"], readings, version, revenues[row], served[row], **also))
    return Tick(head["at"], tuple(observations))


def memory_document(memory: TriggerMemory, *, compact: bool = False) -> dict[str, Any]:
    """A trigger's memory as JSON; `compact`: for the live row. (Not `asdict`, which copies for ten times as long: every
    memory that is not calm is written at every tick.)"""
    document = {name: getattr(memory, name) for name in _MEMORY}
    if memory.evidence:
        told = evidence_packed if compact else _evidence_document
        document["evidence"] = [None if each is None else told(each) for each in memory.evidence]
    else:
        del document["evidence"]  # most policies judge by bounds alone
    if not memory.held:
        del document["held"]
    if memory.cost is not None:
        document["cost"] = asdict(memory.cost)
    else:
        del document["cost"]
    return document


def memory_from(document: Mapping[str, Any]) -> TriggerMemory:
    """The memory in a document that `memory_document` made."""
    found = dict(document)
    found["last_known"] = tuple(None if last is None else (last[0], last[1]) for last in found.get("last_known", ()))
    found["onset_signals"] = tuple(found.get("onset_signals", ()))
    found["evidence"] = tuple(
        None if each is None else evidence_unpacked(each) if isinstance(each, str) else _evidence_from(each)
        for each in found.get("evidence", ())
    )
    found["held"] = tuple(None if each is None else tuple(each) for each in found.get("held", ()))
    if (cost := found.get("cost")) is not None:
        found["cost"] = CostMemory(**{**cost, "lost": tuple(cost["lost"])})
    return TriggerMemory(**found)


def _evidence_document(memory: EvidenceMemory) -> dict[str, Any]:
    """A detector's memory as JSON, without what is as it begins."""
    document = {name: getattr(memory, name) for name in _EVIDENCE}
    return {name: value for name, value in document.items() if value != getattr(_EMPTY, name)}


def _evidence_from(document: Mapping[str, Any]) -> EvidenceMemory:
    found: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in document.items()
    }
    if "since" in found:
        found["since"] = tuple(tuple(each) for each in found["since"])
    return EvidenceMemory(**found)


def verdict_document(verdict: Verdict) -> dict[str, Any]:
    """What a verdict says, as JSON: the fields that a recomputation must reach again."""
    return {
        "state": str(verdict.state),
        "since": verdict.since,
        "condition": verdict.condition,
        "version": verdict.version,
        "blind": list(verdict.blind),
        "dwell_remaining_s": verdict.dwell_remaining_s,
        "fired_as_blind": verdict.fired_as_blind,
        "signals": [
            {
                "name": s.name,
                "value": s.value,
                "baseline": s.baseline,
                "limit": s.limit,
                "degradation_pct": s.degradation_pct,
                "breached": s.breached,
                "blind": None if s.blind is None else str(s.blind),
                "n": s.n,
                "evidence": s.evidence,
                **_by_evidence(s),
            }
            for s in verdict.signals
        ],
        "impact": verdict.impact.score,
        "sentence": verdict.sentence,
    }


def _by_evidence(signal: SignalVerdict) -> dict[str, Any]:
    """What the verdict on a signal that is judged by evidence says besides."""
    if signal.bar is None:
        return {}
    interval = None if signal.interval is None else list(signal.interval)
    found = {"bar": signal.bar, "onset": signal.onset, "interval": interval, "note": signal.note}
    return found if signal.beyond is None else {**found, "beyond": list(signal.beyond)}


@dataclass(frozen=True, slots=True)
class Decided:
    """One transition to be recorded."""

    rule: DeploymentRule
    before: TriggerMemory
    state_before: TriggerState
    verdict: Verdict
    after: TriggerMemory
    tick: str  # digest of the tick's blob
    backfilled: bool = False


def transition_body(decided: Decided, declared: Mapping[str, Any] | None = None) -> TransitionRecorded:
    """The journal's body of a transition: everything it was decided from, by digest or in full; and what people had
    `declared` by then that bears on it (`engine.declared`)."""
    from rollback_console.journal.kinds import TransitionRecorded

    verdict = decided.verdict
    return TransitionRecorded(
        at=verdict.at,
        before=str(decided.state_before),
        after=str(verdict.state),
        sentence=verdict.sentence,
        tick=decided.tick,
        policy=decided.rule.policy_digest,
        engine=ENGINE,
        memory_before=memory_document(decided.before),
        memory_after=memory_document(decided.after),
        verdict=verdict_document(verdict),
        cooling=verdict.cooling,
        backfilled=decided.backfilled,
        declared=dict(declared or {}),
    )


@dataclass(frozen=True, slots=True)
class Redecided:
    """A recorded decision, made again: the verdict that this program comes to (None where it cannot), and the first
    place where what is recorded differs, or why there is no verdict ("": it is the same)."""

    verdict: Verdict | None
    difference: str


def recompute(entry: Entry, blobs: Blobs, compile_policy: Compile) -> str | None:
    """Decide again from what a `transition` entry holds. None when the verdict is the same, else what differs.

    The same verdict everywhere, numbers equal to nine digits, and the very words where the entry names an engine that
    speaks as this one does. Raises OtherEngine where it names one that decides otherwise, or that nobody here knows.
    """
    found = redecide(entry, blobs, compile_policy)
    return found.difference or None if found is not None else None


def redecide(entry: Entry, blobs: Blobs, compile_policy: Compile) -> Redecided | None:
    """As `recompute`, with the verdict. None for what is no `transition`."""
    from rollback_console.journal.kinds import TransitionRecorded

    body = entry.parsed()
    if not isinstance(body, TransitionRecorded):
        return None
    if not decides_alike(body.engine):
        raise OtherEngine(f"not recomputed: {plain(why_not(plain(body.engine, 40)), 300)}")
    policy, samples = blobs(body.policy), blobs(body.tick)
    if policy is None or samples is None:
        gone = "policy" if policy is None else "samples"
        return Redecided(None, f"cannot be recomputed: its {gone} are gone (retention)")
    try:
        rules = compile_policy(policy, body.policy)
    except ConsoleError as error:
        return Redecided(None, f"its policy cannot be read: {error.message}")
    rule = next((r for r in rules if str(r.deployment.id) == entry.deployment), None)
    if rule is None:
        return Redecided(None, f"its policy does not name {entry.deployment}")
    try:
        tick = unpack(samples, blobs)
        observation = next((o for o in tick.observations if str(o.deployment) == entry.deployment), None)
        if observation is None:
            return Redecided(None, f"its samples do not hold {entry.deployment}")
        verdict, after = decide(rule, observation, memory_from(body.memory_before), cooling=body.cooling)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        return Redecided(None, f"its samples cannot be read: {error}")
    told = {"at": body.at, "after": body.after, "sentence": body.sentence}
    apart = frozenset() if speaks_alike(body.engine) else _WORDS
    for name, recorded, computed in (
        (
            "entry",
            {"after": body.after},
            {"after": str(verdict.state)},
        ),  # of several differences the one that tells most
        ("verdict", body.verdict, verdict_document(verdict)),
        ("memory", body.memory_after, memory_document(after)),
        ("entry", told, {"at": verdict.at, "after": str(verdict.state), "sentence": verdict.sentence}),
    ):
        if difference := _difference(recorded, json.loads(json.dumps(computed)), name, apart):
            return Redecided(verdict, difference)
    return Redecided(verdict, "")


def _difference(recorded: Any, computed: Any, where: str, apart: frozenset[str]) -> str | None:
    """The first place where the two differ, the fields in `apart` left out; None where there is none."""
    if isinstance(recorded, dict) and isinstance(computed, dict):
        for key in sorted({*recorded, *computed} - apart):
            if found := _difference(recorded.get(key), computed.get(key), f"{where}.{key}", apart):
                return found
        return None
    if isinstance(recorded, list) and isinstance(computed, list) and len(recorded) == len(computed):
        for index, (one, other) in enumerate(zip(recorded, computed, strict=True)):
            if found := _difference(one, other, f"{where}[{index}]", apart):
                return found
        return None
    same_kind = isinstance(recorded, bool) == isinstance(computed, bool)
    if same_kind and isinstance(recorded, int | float) and isinstance(computed, int | float):
        close = math.isclose(recorded, computed, rel_tol=10.0**-_DIGITS, abs_tol=1e-12)
        return None if close else f"{where}: recorded {recorded!r}, recomputed {computed!r}"
    return None if recorded == computed else f"{where}: recorded {recorded!r}, recomputed {computed!r}"
