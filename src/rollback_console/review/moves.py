"""The moves of every pointer and what each counts as, by `docs/measures.md`: a deployment, a rollback, neither."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from enum import StrEnum

from rollback_console.model.judgement import Judgement
from rollback_console.model.value import dataclass
from rollback_console.review.past import SAME_S, Adoption, Episode, Past, Run

_MOVED = ("done", "not confirmed")


class MoveClass(StrEnum):
    DEPLOYMENT = "deployment"
    ROLLBACK = "rollback"
    BY_HAND = "rollback by hand"
    PLANNED = "planned"
    MISTAKE = "mistake"


@dataclass(frozen=True, slots=True)
class Move:
    """One change of a pointer. Times are Unix seconds. `why` says what made it this class. `undoes` is the index of the
    deployment that it undoes, among all moves; of a deployment, `undone_by` is the index of the first that undid it.

    `decided_at` and `completed_at` are a rollback's; None where they are not known.
    """

    at: float
    chain: str
    seq: int
    deployment: str
    model: str
    alias: str
    before: str
    after: str
    klass: MoveClass = MoveClass.DEPLOYMENT
    why: str = ""
    execution: str = ""
    adopted: int = 0  # the number of the adopt entry
    operator: str = ""
    reason: str = ""
    path: str = ""
    planned: bool = False
    automatic: bool = False
    registered_at: float | None = None
    decided_at: float | None = None
    completed_at: float | None = None
    state: str = ""  # how its execution ended
    undoes: int | None = None
    undone_by: int | None = None
    judgement: Judgement | None = None
    also: tuple[tuple[str, int], ...] = ()  # (chain, number) of other journals' entries on it

    @property
    def is_rollback(self) -> bool:
        return self.klass in (MoveClass.ROLLBACK, MoveClass.BY_HAND)

    @property
    def pointer(self) -> tuple[str, str]:
        return self.model, self.alias


def moves_of(past: Past) -> tuple[Move, ...]:
    """Every move in the order of their times, classed, each rollback with the deployment that it undoes."""
    found = _seen_once(sorted(_raw(past), key=lambda move: (move.at, move.seq, move.chain)))
    judged = [_judged(past, move) for move in found]
    classed = list(_by_record(judged))
    natural = list(classed)  # what each would be without its judgement
    own = _by_pointer(found)
    for index, move in enumerate(classed):
        said = move.judgement.counts_as if move.judgement is not None else ""
        if said and move.judgement is not None:
            why = f"judged {said} in entry {move.judgement.seq}"
            klass = {"planned": MoveClass.PLANNED, "mistake": MoveClass.MISTAKE}.get(said, MoveClass.ROLLBACK)
            if klass is MoveClass.ROLLBACK and move.klass is MoveClass.BY_HAND:
                klass = MoveClass.BY_HAND
            classed[index] = replace(move, klass=klass, why=why)
    for index in [index for index, move in enumerate(classed) if move.klass is MoveClass.MISTAKE]:
        other = _other_half(natural, index, own)
        if other is not None and classed[other].klass is not MoveClass.MISTAKE:
            why = f"undone at once: a mistake, see entry {classed[index].seq}"
            if natural[index].is_rollback:
                why = f"a mistake, undone by entry {classed[index].seq}"
            classed[other] = replace(classed[other], klass=MoveClass.MISTAKE, why=why)
    return tuple(_undoing(past, classed, own))


def by_deployment(moves: Iterable[Move]) -> dict[str, list[Move]]:
    """The moves of every deployment, in their order."""
    found: dict[str, list[Move]] = {}
    for move in moves:
        found.setdefault(move.deployment, []).append(move)
    return found


def unmoved(past: Past) -> tuple[Run, ...]:
    """Executions that moved a pointer of which nothing tells from where to where: no entry, and the plan is gone."""
    named = {each.ours for each in past.pointers}
    return tuple(run for run in past.runs.values() if run.state in _MOVED and run.plan is None and run.id not in named)


def _raw(past: Past) -> Iterator[Move]:
    """The moves as they are recorded: pointers, with their executions and adoptions; then what no pointer tells of."""
    adopted = _adoptions(past)
    executed: set[str] = set()
    for number, each in enumerate(past.pointers):
        if each.before is None or each.after is None or each.before == each.after:
            continue
        move = Move(
            each.at, each.chain, each.seq, each.deployment, each.model, each.alias, each.before, each.after,
            registered_at=each.registered_at, also=each.also,
        )  # fmt: skip
        if each.ours:
            executed.add(each.ours)
            run = past.runs.get(each.ours)
            yield _executed(move, each.ours, run, past)
        elif number in adopted:
            yield _adopted(move, adopted[number])
        else:
            yield move
    taken = {id(adoption) for adoption in adopted.values()}
    for adoption in past.adoptions:
        if id(adoption) not in taken and adoption.before != adoption.after:
            move = Move(
                adoption.at, adoption.chain, adoption.seq, adoption.deployment, adoption.model, adoption.alias,
                adoption.before, adoption.after,
            )  # fmt: skip
            yield _adopted(move, adoption)
    for run in past.runs.values():
        if run.state in _MOVED and run.id not in executed and run.plan is not None:
            at = run.set_at if run.set_at is not None else run.ended_at
            model, alias, before, after, _ = run.plan
            if before != after and at is not None:
                move = Move(at, run.chain, run.ended_seq, run.deployment, model, alias, before, after)
                yield _executed(move, run.id, run, past)


def _seen_once(moves: Iterable[Move]) -> list[Move]:
    """Without what another journal tells late: a console that slept, or that could not write, finds the pointer where
    it was brought long ago, and takes that for a move of then."""
    kept: list[Move] = []
    last: dict[tuple[str, str], int] = {}
    for move in moves:
        place = last.get(move.pointer)
        if place is not None and kept[place].after == move.after and kept[place].chain != move.chain:
            also = (*kept[place].also, (move.chain, move.seq), *move.also)
            kept[place] = replace(kept[place], also=also)
            continue
        last[move.pointer] = len(kept)
        kept.append(move)
    return kept


def _adoptions(past: Past) -> dict[int, Adoption]:
    """Which pointer entry each adoption speaks of: of those to the same version near enough, the nearest in time."""
    found: dict[int, Adoption] = {}
    brought: dict[tuple[str, str, str | None], list[tuple[int, float]]] = {}
    for number, each in enumerate(past.pointers):
        if each.before not in (None, each.after):
            brought.setdefault((each.model, each.alias, each.after), []).append((number, each.at))
    for adoption in past.adoptions:
        near = [
            (abs(at - adoption.at), number)
            for number, at in brought.get((adoption.model, adoption.alias, adoption.after), ())
            if abs(at - adoption.at) <= SAME_S and number not in found
        ]
        if near:
            found[min(near)[1]] = adoption
    return found


def _executed(move: Move, execution: str, run: Run | None, past: Past) -> Move:
    automatic = execution in past.automatic
    if run is None:
        return replace(move, execution=execution, automatic=automatic)
    return replace(
        move, execution=execution, automatic=automatic, operator=run.operator, reason=run.reason, planned=run.planned,
        path=run.plan[4] if run.plan is not None else "", decided_at=run.requested_at, state=run.state,
        completed_at=run.ended_at if run.state == "done" else None,
    )  # fmt: skip


def _adopted(move: Move, adoption: Adoption) -> Move:
    return replace(
        move, adopted=adoption.seq, operator=adoption.operator, reason=adoption.reason, planned=adoption.planned,
        decided_at=move.at, also=(*move.also, (adoption.chain, adoption.seq)),
    )  # fmt: skip


def _judged(past: Past, move: Move) -> Move:
    """With the last judgement on the execution, the pointer's entry or the adoption."""
    entries = [(move.chain, move.seq), *move.also]
    entries += [(home, seq) for chain, seq in entries if (home := past.homes.get(chain))]  # under the merge's number
    found = [past.judgement(f"move:{seq}", chain) for chain, seq in entries]
    if move.execution:
        found.append(past.judgement(move.execution))
    told = [each for each in found if each is not None]
    return replace(move, judgement=max(told, key=lambda each: (each.at, each.seq))) if told else move


def _by_record(moves: Sequence[Move]) -> Iterator[Move]:
    """What each is by what was recorded, before anybody judged it."""
    served: dict[tuple[str, str], set[str]] = {}
    for move in moves:
        known = served.setdefault(move.pointer, {move.before})
        if move.planned:
            yield replace(move, klass=MoveClass.PLANNED, why="its request says planned" if move.execution else
                          "its adoption says planned")  # fmt: skip
        elif move.execution:
            yield replace(move, klass=MoveClass.ROLLBACK, why=f"execution {move.execution}")
        elif move.adopted:
            yield replace(move, klass=MoveClass.ROLLBACK, why=f"adopted in entry {move.adopted}")
        elif move.after in known and _lower(move.after, move.before):
            why = f"nobody's execution, back to v{move.after}, which served before"
            yield replace(move, klass=MoveClass.BY_HAND, why=why, decided_at=move.at)
        else:
            yield replace(move, klass=MoveClass.DEPLOYMENT, why="a version that is rolled out")
        known.add(move.after)


def _lower(after: str, before: str) -> bool:
    """Is it a lower number, where both are numbers (what is none has no order)."""
    return int(after) < int(before) if after.isdecimal() and before.isdecimal() else True


_Own = dict[tuple[str, str], list[int]]  # the indexes of a pointer's moves, in order


def _by_pointer(moves: Sequence[Move]) -> _Own:
    found: _Own = {}
    for index, move in enumerate(moves):
        found.setdefault(move.pointer, []).append(index)
    return found


def _other_half(moves: Sequence[Move], index: int, own: _Own) -> int | None:
    """The other of the two that make a mistake: what undid this deployment, or what this rollback undid."""
    move = moves[index]
    if move.is_rollback:
        return _undone(moves, index, own)
    same = own[move.pointer]
    place = bisect_right(same, index)
    return same[place] if place < len(same) and moves[same[place]].after == move.before else None


def _undone(moves: Sequence[Move], index: int, own: _Own) -> int | None:
    """The last deployment of the same pointer before it that brought what this one takes away."""
    move = moves[index]
    same = own[move.pointer]
    for place in range(bisect_right(same, index) - 2, -1, -1):
        before = moves[same[place]]
        if before.klass is MoveClass.DEPLOYMENT and before.after == move.before:
            return same[place]
    return None


def _undoing(past: Past, moves: list[Move], own: _Own) -> list[Move]:
    incidents = past.by_member()
    for index, move in enumerate(moves):
        if not move.is_rollback:
            continue
        undone = _undone(moves, index, own)
        decided = move.decided_at
        if decided is None and not move.execution:
            decided = move.at  # judged a rollback: by the move itself
        during = incidents.get(move.deployment, ())
        judgement = move.judgement or _of_incident(past, during, decided if decided is not None else move.at)
        moves[index] = replace(move, undoes=undone, decided_at=decided, judgement=judgement)
        if undone is not None and moves[undone].undone_by is None:
            moves[undone] = replace(moves[undone], undone_by=index)
    return moves


def _of_incident(past: Past, incidents: Sequence[Episode], decided: float) -> Judgement | None:
    """The judgement on the incident of these that a rollback decided then belongs to."""
    open_then = [
        each for each in incidents if each.onset <= decided and (each.closed_at is None or each.closed_at >= decided)
    ]
    if not open_then:
        return None
    return past.judgement(max(open_then, key=lambda each: (each.onset, each.id)).id)
