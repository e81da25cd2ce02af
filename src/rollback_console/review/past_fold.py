"""Entries of journals become a `Past`: one streaming pass, several journals as one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from rollback_console.errors import ConsoleError
from rollback_console.journal.entry import Entry
from rollback_console.journal.kinds import (
    Adopted,
    AutomaticRecorded,
    DrillSummary,
    ExecutionEnded,
    IncidentRecorded,
    Judged,
    Outcome,
    PointerMoved,
    PolicyInForce,
    Requested,
    TransitionRecorded,
)
from rollback_console.journal.merged import KIND as MERGE
from rollback_console.journal.merged import expanded
from rollback_console.model.judgement import Judgement
from rollback_console.model.text import plain
from rollback_console.review.judgements import judgement_of
from rollback_console.review.past import (
    SAME_S,
    Adoption,
    Drilled,
    Episode,
    Paper,
    Past,
    Point,
    Pointer,
    Ruled,
    Run,
    Seen,
    Source,
    Turn,
)

KINDS = (
    "policy",
    "pointer",
    "adopt",
    "request",
    "outcome",
    "execution",
    "automatic",
    "transition",
    "incident",
    "judgement",
    "drill",
)
Blobs = Callable[[str], bytes | None]


class Fold:
    """Entries become a `Past`. Not for several threads."""

    def __init__(self) -> None:
        self._pointers: list[Pointer] = []
        self._adoptions: list[Adoption] = []
        self._runs: dict[str, Run] = {}
        self._automatic: set[str] = set()
        self._episodes: dict[str, dict[str, tuple[float, Episode]]] = {}  # by id and chain, with its last entry's time
        self._turns: dict[str, dict[tuple[float, str], Turn]] = {}
        self._papers: list[Paper] = []
        self._judgements: dict[tuple[str, str], Judgement] = {}
        self._ruled: dict[str, tuple[Ruled, ...]] = {}
        self._taken: set[str] = set()
        self._unread = 0
        self._drills: list[Drilled] = []
        self._homes: dict[str, str] = {}

    def take(self, entries: Iterable[Entry], blobs: Blobs) -> None:
        """Entries of one journal in their order (of `KINDS` and `merge`; others are passed over). What was taken
        already, by its hash, is not taken again."""
        for entry in entries:
            if entry.kind == MERGE:
                merged = _expanded(entry, blobs)
                self._homes |= {each.chain: entry.chain for each in merged[:1]}
                self.take(merged, blobs)
            elif entry.kind in KINDS and entry.hash not in self._taken:
                self._taken.add(entry.hash)
                self._one(entry, blobs)

    def _one(self, entry: Entry, blobs: Blobs) -> None:
        body = entry.parsed()
        who = plain(entry.deployment, 200)
        if body is None:
            self._unread += 1
        elif isinstance(body, PointerMoved):
            self._pointers.append(
                Pointer(body.at, entry.chain, entry.seq, who, body.model, body.alias, body.before, body.after,
                        body.ours or "", body.registered_at)
            )  # fmt: skip
        elif isinstance(body, Adopted):
            at = body.moved_at if body.moved_at is not None else entry.at
            self._adoptions.append(
                Adoption(at, entry.chain, entry.seq, who, body.model, body.alias, body.from_version, body.to_version,
                         body.reason, body.moved_by or entry.operator, body.planned)
            )  # fmt: skip
        elif isinstance(body, TransitionRecorded):
            turn = _turn(entry, body, who)
            self._turns.setdefault(who, {}).setdefault((turn.at, turn.after), turn)
        elif isinstance(body, IncidentRecorded):
            self._incident(entry, body)
        elif isinstance(body, PolicyInForce):
            if body.what == "policy":
                if body.digest not in self._ruled:
                    self._ruled[body.digest] = ruled(_blob(blobs, body.digest))
                self._papers.append(
                    Paper(entry.at, entry.chain, entry.seq, body.name, body.digest, self._ruled[body.digest])
                )
        elif isinstance(body, Judged):
            key, known = (entry.chain, body.subject), self._judgements.get((entry.chain, body.subject))
            if known is None or known.seq <= entry.seq:
                self._judgements[key] = judgement_of(entry, body)
        elif isinstance(body, DrillSummary):
            who, what = plain(entry.operator, 80), plain(body.scenario, 80)
            self._drills.append(Drilled(entry.at, entry.chain, entry.seq, what, who, body.passed))
        elif isinstance(body, AutomaticRecorded):
            if body.event == "started" and body.execution:
                self._automatic.add(body.execution)
        else:
            self._execution(entry, body, blobs)

    def _execution(self, entry: Entry, body: object, blobs: Blobs) -> None:
        if isinstance(body, Requested):
            run = Run(
                body.execution, entry.chain, entry.seq, plain(entry.deployment, 200), entry.operator, entry.at,
                body.reason, body.planned, _plan(_blob(blobs, body.plan_blob)),
            )  # fmt: skip
            self._runs.setdefault(body.execution, run)
            return
        if not isinstance(body, Outcome | ExecutionEnded):
            return
        known = self._runs.get(body.execution)
        if known is None:
            return
        if isinstance(body, ExecutionEnded):
            known = replace(known, state=body.state, ended_at=entry.at, ended_seq=entry.seq)
        elif body.state == "done" and known.set_at is None and (body.step == "set" or body.step.startswith("stage")):
            known = replace(known, set_at=entry.at)
        self._runs[body.execution] = known

    def _incident(self, entry: Entry, body: IncidentRecorded) -> None:
        told = self._episodes.setdefault(body.id, {})
        known = told[entry.chain][1] if entry.chain in told else None
        first = known is None
        advised = tuple(
            plain(str(each["deployment"]), 200)
            for each in body.recommendations
            if each.get("path") and "deployment" in each
        )
        found = Episode(
            id=plain(body.id, 40),
            chain=entry.chain if known is None else known.chain,
            seq=entry.seq if known is None else known.seq,
            onset=body.onset if known is None else known.onset,
            opened_at=entry.at if known is None else known.opened_at,
            members=tuple(plain(each, 200) for each in body.members),
            attribution=plain(body.attribution, 40),
            sentence=plain(body.sentence),
            closed_at=entry.at if body.event == "closed" else None,
            advised=advised if first or known is None else known.advised or advised,
            drilled=_drilled(body.inputs) or (known.drilled if known is not None else ()),
        )
        told[entry.chain] = entry.at, found

    def past(self, sources: Iterable[Source] = ()) -> Past:
        """What was folded so far."""
        return Past(
            tuple(sources),
            one_of_several(sorted(self._pointers, key=lambda each: (each.at, each.chain, each.seq))),
            tuple(sorted(self._adoptions, key=lambda each: (each.at, each.chain, each.seq))),
            dict(self._runs),
            frozenset(self._automatic),
            {each.id: each for each in sorted(map(_as_one, self._episodes.values()), key=lambda e: (e.onset, e.id))},
            {name: tuple(sorted(turns.values(), key=lambda t: (t.at, t.seq))) for name, turns in self._turns.items()},
            tuple(sorted(self._papers, key=lambda each: (each.at, each.chain, each.seq))),
            dict(self._judgements),
            self._unread,
            tuple(sorted(self._drills, key=lambda each: (each.at, each.chain, each.seq))),
            dict(self._homes),
        )


def _as_one(told: dict[str, tuple[float, Episode]]) -> Episode:
    """An incident as several journals tell of it: its beginning by the first, how it stands by the last to speak."""
    first = min((each for _, each in told.values()), key=lambda each: (each.opened_at, each.chain))
    _, last = max(told.values(), key=lambda each: (each[0], each[1].chain))
    return replace(
        last, chain=first.chain, seq=first.seq, onset=first.onset, opened_at=first.opened_at,
        advised=first.advised or last.advised, drilled=last.drilled or first.drilled,
    )  # fmt: skip


def one_of_several(pointers: Iterable[Pointer]) -> tuple[Pointer, ...]:
    """Pointer moves in the order of their times; what two journals saw of one move is the earlier's."""
    kept: list[Pointer] = []
    last: dict[tuple[str, str, str | None, str | None], int] = {}
    for each in pointers:
        key = (each.model, each.alias, each.before, each.after)
        place = last.get(key)
        if place is not None and kept[place].chain != each.chain and each.at - kept[place].at <= SAME_S:
            known = kept[place]
            registered = known.registered_at if known.registered_at is not None else each.registered_at
            also = (*known.also, (each.chain, each.seq))
            kept[place] = replace(known, ours=known.ours or each.ours, registered_at=registered, also=also)
            continue
        last[key] = len(kept)
        kept.append(each)
    return tuple(kept)


def ruled(data: bytes | None) -> tuple[Ruled, ...]:
    """Which deployments a policy names, read as leniently as its bytes allow: an old one need not pass today's
    checks."""
    from rollback_console.policy import yaml_marks

    if data is None:
        return ()
    try:
        document = yaml_marks.parse(data, "policy").data
    except ConsoleError:
        return ()
    impact, named = document.get("impact"), document.get("deployments")
    owners = document.get("owners")
    revenue = impact.get("revenue_per_minute") if isinstance(impact, dict) else None
    unit = revenue.get("unit") if isinstance(revenue, dict) else None
    found = []
    for each in named if isinstance(named, list) else ():
        if isinstance(each, dict) and each.get("name") and each.get("environment"):
            model = each.get("model") if isinstance(each.get("model"), dict) else {}
            found.append(
                Ruled(
                    plain(f"{each['environment']}/{each['name']}", 200),
                    plain(str(each.get("tier") or "normal"), 40),
                    tuple(plain(str(owner), 200) for owner in owners) if isinstance(owners, list) else (),
                    plain(str(unit), 20) if unit else "USD",
                    str((model or {}).get("name") or ""),
                    str((model or {}).get("alias") or ""),
                )
            )
    return tuple(found)


def _drilled(inputs: dict[str, Any]) -> tuple[tuple[str, float], ...]:
    found = inputs.get("drilled")
    told = (
        {}
        if not isinstance(found, dict)
        else {
            plain(name, 200): seconds
            for name, record in found.items()
            if isinstance(record, dict) and (seconds := _number(record.get("recover_s"))) is not None
        }
    )
    return tuple(told.items())


def _turn(entry: Entry, body: TransitionRecorded, who: str) -> Turn:
    points = [_point(memory) for memory in (body.memory_before, body.memory_after)]
    verdict = body.verdict
    version = verdict.get("version")
    signals = verdict.get("signals") if body.after in ("fired", "pending", "healthy") else ()
    return Turn(
        body.at, entry.chain, entry.seq, who, body.before, body.after,
        version if isinstance(version, str) else None, body.backfilled,
        tuple(each for each in points if each is not None),
        isinstance(body.memory_after.get("cost"), dict),
        tuple(_seen(each) for each in signals if isinstance(each, dict)) if isinstance(signals, list) else (),
    )  # fmt: skip


def _point(memory: dict[str, Any]) -> Point | None:
    cost, at = memory.get("cost"), _number(memory.get("at"))
    if not isinstance(cost, dict) or at is None:
        return None
    lost = cost.get("lost")
    amount = _number(lost[0]) if isinstance(lost, list) and lost else None
    since = _number(cost.get("since"))
    return None if amount is None or since is None else Point(at, amount, since)


def _seen(signal: dict[str, Any]) -> Seen:
    breached = signal.get("breached")
    return Seen(plain(str(signal.get("name")), 80), breached if isinstance(breached, bool) else None, _beyond(signal))


def _beyond(signal: dict[str, Any]) -> float | None:
    value, limit, base = (_number(signal.get(name)) for name in ("value", "limit", "baseline"))
    if limit is None:
        return None
    if base:
        off, margin = _number(signal.get("degradation_pct")), 100.0 * abs(limit - base) / abs(base)
        return off / margin if off is not None and margin > 0 else None
    if value is None or value <= 0 or limit <= 0:
        return None
    return max(value / limit, limit / value) if signal.get("breached") is True else min(value / limit, limit / value)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _plan(data: bytes | None) -> tuple[str, str, str, str, str] | None:
    from rollback_console.errors import InputError
    from rollback_console.execute.plan import plan_from_bytes

    if data is None:
        return None
    try:
        plan = plan_from_bytes(data)
    except InputError:
        return None
    return plan.model, plan.alias, plan.from_version, plan.to_version, plan.path


def _blob(blobs: Blobs, digest: str) -> bytes | None:
    """What is not what its digest says is as good as gone: the verification tells of it."""
    try:
        return blobs(digest)
    except (ConsoleError, ValueError):
        return None


def _expanded(entry: Entry, blobs: Blobs) -> list[Entry]:
    try:
        return list(expanded(entry, blobs, KINDS))
    except (ConsoleError, ValueError):
        return []
