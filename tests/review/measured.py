"""Every measure of docs/measures.md, counted a second time: from the journal's SQLite file alone, by the definitions.

Nothing of the program is used but the file's layout. Written from the words, so that it errs otherwise than the code
that it is held against. `Measured(path, ...)` reads; `sheets()` gives {sheet: [row, ...]} with the report's own keys.
"""

from __future__ import annotations

import bisect
import itertools
import json
import math
import sqlite3
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

NS, DAY, SHIFT = 1_000_000_000, 86_400.0, 43_200.0
STANDARD_S, REPEAT_S, SAME_MOVE_S = 900.0, 30 * DAY, 600.0


@dataclass
class Line:
    """An entry."""

    seq: int
    order: int
    at: float
    kind: str
    deployment: str
    operator: str
    body: dict[str, Any]
    merged: int = 0  # the number of the `merge` entry that took it in


@dataclass
class Mv:
    """A move. `subjects`: what a judgement on it may name; `execution`: whose it is."""

    at: float
    line: Line
    deployment: str
    pointer: tuple[str, str]
    before: str
    after: str
    subjects: set[str]
    execution: str = ""
    adopted: bool = False
    says_planned: bool = False
    kind: str = ""
    bare: str = ""  # its class as it would be without judgements
    undoes: Mv | None = None
    registered: float | None = None
    why: str = ""


@dataclass
class Inc:
    id: str
    begins: float
    ends: float
    members: list[str] = field(default_factory=list)
    order: int = 0
    fired: bool = False


def wilson(k: int, n: int) -> tuple[float, float] | None:
    """Wilson's score interval as his paper's equation is solved: the two p with (k/n - p)^2 = z^2 p (1 - p) / n."""
    if n == 0:
        return None
    z2 = 1.959964**2
    # (n + z2) p^2 - (2k + z2) p + k^2/n = 0
    a, b, c = n + z2, -(2 * k + z2), k * k / n
    root = math.sqrt(max(0.0, b * b - 4 * a * c))
    return (-b - root) / (2 * a), (-b + root) / (2 * a)


def mean_p90(values: list[float]) -> tuple[float | None, float | None]:
    """The mean, and the 90th percentile by nearest rank."""
    if not values:
        return None, None
    ranked = sorted(values)
    return math.fsum(values) / len(values), ranked[math.ceil(0.9 * len(ranked)) - 1]


class Measured:
    """One journal, one window, one cut."""

    def __init__(
        self, path: Path, *, since: float | None = None, until: float | None = None, within_s: float = 7 * DAY,
        by: str = "model",
    ) -> None:  # fmt: skip
        self._db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        self.lines = self._read()
        self.first, self.last = self.lines[0].at, self.lines[-1].at
        self.since = -math.inf if since is None else since
        self.until = math.inf if until is None else until
        self.within_s, self.by = within_s, by
        self.policies = list(self._policies())
        self.judgements = [line for line in self.lines if line.kind == "judgement"]
        self.moves = self._moves()
        self._class()
        self.incidents = self._incidents()
        self.rollbacks = [m for m in self.moves if m.kind == "rollback" and self._in(m.at)]
        self.deployed = [m for m in self.moves if m.kind == "deployment" and self._in(m.at)]
        self._db.close()

    def _in(self, at: float) -> bool:
        return self.since <= at < self.until

    # -- reading

    def _read(self) -> list[Line]:
        found: list[Line] = []
        for seq, at, kind, deployment, operator, body in self._db.execute(
            "SELECT seq, at, kind, deployment, operator, body FROM entries ORDER BY seq"
        ):
            found.append(Line(seq, len(found), at / NS, kind, deployment, operator, json.loads(body)))
            if kind == "merge":
                for text in self._blob(found[-1].body["blob"]).decode().splitlines():
                    row = json.loads(text)
                    found.append(Line(seq, len(found), int(row["at"]) / NS, row["kind"], row["deployment"],
                                      row["operator"], json.loads(row["body"]), seq))  # fmt: skip
        return found

    def _blob(self, digest: str) -> bytes:
        row = self._db.execute("SELECT data FROM blobs WHERE digest = ?", (digest,)).fetchone()
        return zlib.decompress(row[0])

    def _policies(self) -> Iterator[tuple[float, dict[str, tuple[str, str, str]]]]:
        """(entry's time, deployment -> (team, tier, unit)), in the journal's order."""
        for line in self.lines:
            if line.kind != "policy" or line.body["what"] != "policy":
                continue
            words = yaml.safe_load(self._blob(line.body["digest"]))
            team = (words.get("owners") or ["no owner"])[0]
            unit = ((words.get("impact") or {}).get("revenue_per_minute") or {}).get("unit", "USD")
            named = {f"{d['environment']}/{d['name']}": (team, d.get("tier", "normal"), unit)
                     for d in words["deployments"]}  # fmt: skip
            yield line.at, named

    def _in_force(self, deployment: str, at: float) -> tuple[str, str, str]:
        naming = [(when, named[deployment]) for when, named in self.policies if deployment in named]
        before = [facts for when, facts in naming if when <= at]
        if before:
            return before[-1]
        return naming[0][1] if naming else ("unknown", "unknown", "USD")

    def _last_policy(self, deployment: str) -> tuple[str, str, str]:
        return self._in_force(deployment, math.inf)

    # -- moves

    def _moves(self) -> list[Mv]:
        requests = {x.body["execution"]: x for x in self.lines if x.kind == "request"}
        states = {x.body["execution"]: x.body["state"] for x in self.lines if x.kind == "execution"}
        found: list[Mv] = []
        for x in self.lines:
            if x.kind != "pointer":
                continue
            b = x.body
            if b["before"] is None or b["after"] is None or b["before"] == b["after"]:
                continue
            ours = b.get("ours") or ""
            move = Mv(b["at"], x, x.deployment, (b["model"], b["alias"]), b["before"], b["after"],
                      {f"move:{x.seq}"}, ours, registered=b.get("registered_at"))  # fmt: skip
            if ours:
                move.subjects.add(ours)
                move.says_planned = ours in requests and requests[ours].body.get("planned", False)
            found.append(move)
        pointers = list(found)
        for x in self.lines:
            if x.kind != "adopt":
                continue
            b = x.body
            at = b["moved_at"] if b.get("moved_at") is not None else x.at
            near = [m for m in pointers if m.pointer == (b["model"], b["alias"]) and m.after == b["to_version"]
                    and abs(m.at - at) <= SAME_MOVE_S]  # fmt: skip
            if near:
                mine = min(near, key=lambda m: abs(m.at - at))
                mine.adopted, mine.says_planned = True, mine.says_planned or b.get("planned", False)
                mine.subjects.add(f"move:{x.seq}")
            else:
                found.append(Mv(at, x, x.deployment, (b["model"], b["alias"]), b["from_version"], b["to_version"],
                                {f"move:{x.seq}"}, adopted=True, says_planned=b.get("planned", False)))  # fmt: skip
        named = {m.execution for m in found if m.execution}
        for name, state in states.items():
            if state in ("done", "not confirmed") and name not in named:
                found.append(self._of_execution(name, requests[name]))
        found.sort(key=lambda m: (m.at, m.line.order))
        return _found_late(found)

    def _of_execution(self, name: str, request: Line) -> Mv:
        plan = json.loads(self._blob(request.body["plan_blob"]))
        mine = [x for x in self.lines if x.body.get("execution") == name]
        done = [x for x in mine if x.kind == "outcome" and x.body["state"] == "done"
                and (x.body["step"] == "set" or x.body["step"].startswith("stage"))]  # fmt: skip
        end = [x for x in mine if x.kind == "execution"][-1]
        line = done[0] if done else end
        return Mv(line.at, line, plan["deployment"], (plan["model"], plan["alias"]), plan["from_version"],
                  plan["to_version"], {name}, name, says_planned=request.body.get("planned", False))  # fmt: skip

    def _judgement(self, subjects: Iterable[str]) -> Line | None:
        wanted = set(subjects)
        return next((x for x in reversed(self.judgements) if x.body["subject"] in wanted), None)

    def _class(self) -> None:
        served: dict[tuple[str, str], set[str]] = {}
        for move in self.moves:
            on_it = served.setdefault(move.pointer, {move.before})
            if move.says_planned:
                move.bare = "planned"
            elif move.execution or move.adopted or (move.after in on_it and not _higher(move)):
                move.bare = "rollback"
            else:
                move.bare = "deployment"
            on_it.add(move.after)
            said = self._judgement(move.subjects)
            counts = said.body["counts_as"] if said is not None else ""
            move.kind = {"planned": "planned", "mistake": "mistake", "unplanned": "rollback"}.get(counts, move.bare)
        self._mistakes()
        for number, move in enumerate(self.moves):
            if move.kind == "rollback":
                move.undoes = self._undone(number, lambda m: m.kind)

    def _undone(self, number: int, kind: Callable[[Mv], str]) -> Mv | None:
        move = self.moves[number]
        earlier = (m for m in reversed(self.moves[:number]) if m.pointer == move.pointer and kind(m) == "deployment")
        return next((m for m in earlier if m.after == move.before), None)

    def _mistakes(self) -> None:
        for number, move in enumerate(self.moves):
            said = self._judgement(move.subjects)
            if said is None or said.body["counts_as"] != "mistake":
                continue
            if move.bare == "rollback":
                slip = self._undone(number, lambda m: m.bare)
                if slip is not None:
                    slip.kind = "mistake"
            else:
                following = next((m for m in self.moves[number + 1 :] if m.pointer == move.pointer), None)
                if following is not None and following.after == move.before:
                    following.kind = "mistake"

    # -- rollbacks

    def decision(self, move: Mv) -> float | None:
        """When it was decided; None where its request is not in the journal."""
        if not move.execution:
            return move.at
        return next((x.at for x in self.lines if x.kind == "request" and x.body["execution"] == move.execution), None)

    def completion(self, move: Mv) -> float | None:
        ends = [x for x in self.lines if x.kind == "execution" and x.body["execution"] == move.execution]
        return ends[-1].at if ends and ends[-1].body["state"] == "done" else None

    def judged(self, move: Mv) -> dict[str, Any] | None:
        """The judgement that counts of a rollback."""
        if move.execution and (said := self._judgement([move.execution])) is not None:
            return said.body
        if (said := self._judgement(move.subjects - {move.execution})) is not None:
            return said.body
        decided = self.decision(move)
        decided = move.at if decided is None else decided
        around = [i for i in self.incidents if move.deployment in i.members and i.begins <= decided <= i.ends]
        if not around:
            return None
        last = max(around, key=lambda i: (i.begins, i.order))
        said = self._judgement([last.id])
        return said.body if said is not None else None

    # -- incidents

    def _incidents(self) -> list[Inc]:
        found: dict[str, Inc] = {}
        for x in self.lines:
            if x.kind != "incident":
                continue
            known = found.setdefault(x.body["id"], Inc(x.body["id"], x.body["onset"], math.inf, order=x.order))
            known.members = x.body["members"]
            known.ends = x.at if x.body["event"] == "closed" else self.last
        fires: dict[str, list[float]] = {}
        for x in self.lines:
            if x.kind == "transition" and x.body["after"] == "fired":
                fires.setdefault(x.deployment, []).append(x.body["at"])
        for each in found.values():
            each.fired = any(each.begins <= at <= each.ends for m in each.members for at in fires.get(m, ()))
        return list(found.values())

    def cost(self, incident: Inc, members: Iterable[str]) -> tuple[float, float]:
        """(before the decision, in all) of these members' part."""
        decisions = [self.decision(m) for m in self.moves if m.kind == "rollback" and m.deployment in incident.members]
        inside = [at for at in decisions if at is not None and incident.begins <= at <= incident.ends]
        cut = min(inside) if inside else None
        before = total = 0.0
        for member in members:
            for since, points in self._troubles(incident, member):
                whole = max(0.0, points[-1][1])
                total += whole
                if cut is None:
                    before += whole
                else:
                    before += min(max(0.0, _read([(since, 0.0), *points], cut)), whole)
        return before, total

    def _troubles(self, incident: Inc, member: str) -> Iterator[tuple[float, list[tuple[float, float]]]]:
        since, points = 0.0, []
        for x in self.lines:
            if x.kind != "transition" or x.deployment != member:
                continue
            if not incident.begins <= x.body["at"] <= incident.ends:
                continue
            for memory in (x.body["memory_before"], x.body["memory_after"]):
                cost = memory.get("cost")
                if cost is not None and cost["lost"][0] is not None and memory["at"] is not None:
                    since = since if points else cost["since"]
                    points.append((memory["at"], cost["lost"][0]))
            if x.body["memory_after"].get("cost") is None and points:
                yield since, points
                since, points = 0.0, []
        if points:
            yield since, points

    # -- sheets

    def group(self, deployment: str, at: float | None = None) -> str:
        """What a move (`at` its time), or a deployment as it is last, is counted under."""
        team, tier, _ = self._last_policy(deployment) if at is None else self._in_force(deployment, at)
        names = {"model": deployment, "team": team, "tier": tier, "environment": deployment.split("/")[0]}
        return names.get(self.by, "all")

    def sheets(self, of: str) -> dict[str, dict[str, Any]]:
        """The row of each sheet for one group ("all": everything)."""

        def mine(deployment: str, at: float | None = None) -> bool:
            return of == "all" or self.group(deployment, at) == of

        deployed = [m for m in self.deployed if mine(m.deployment, m.at)]
        rollbacks = [m for m in self.rollbacks if mine(m.deployment, m.at)]
        return {
            "rollback_rate": self._rate(deployed),
            "times": self._times(rollbacks),
            "learning": self._learning(rollbacks),
            "incidents": self._incident_row(mine, deployed),
            "cost": self._cost_row(of),
        }

    def undone_within(self, move: Mv) -> bool:
        """Is a deployment rolled back within the observation window."""
        return any(m.kind == "rollback" and m.undoes is move and m.at - move.at <= self.within_s for m in self.moves)

    def _rate(self, deployed: list[Mv]) -> dict[str, Any]:
        back = [m for m in deployed if self.undone_within(m)]
        ends = wilson(len(back), len(deployed))
        rate = 100.0 * len(back) / len(deployed) if deployed else None
        still = [m for m in deployed if m.at + self.within_s > self.last and m not in back]
        return {
            "deployments": len(deployed), "rolled_back": len(back), "rate_pct": rate,
            "low_pct": None if ends is None else 100.0 * ends[0], "high_pct": None if ends is None else 100.0 * ends[1],
            "band": band(rate), "open": len(still),
        }  # fmt: skip

    def _times(self, rollbacks: list[Mv]) -> dict[str, Any]:
        to_decision, to_completion = [], []
        for m in rollbacks:
            decided, completed = self.decision(m), self.completion(m)
            if decided is not None and m.undoes is not None and decided >= m.undoes.at:
                to_decision.append(decided - m.undoes.at)
            if decided is not None and completed is not None and completed >= decided:
                to_completion.append(completed - decided)
        started = {x.body["execution"] for x in self.lines if x.kind == "automatic" and x.body["event"] == "started"}
        by_itself = [m for m in rollbacks if m.execution in started and m.execution]
        every = [m for m in self.moves if m.kind == "rollback"]
        again = [m for m in rollbacks if any(o.deployment == m.deployment and o is not m and _before(o, m)
                                             and m.at - o.at <= REPEAT_S for o in every)]  # fmt: skip
        mean_d, p90_d = mean_p90(to_decision)
        mean_c, p90_c = mean_p90(to_completion)
        return {
            "rollbacks": len(rollbacks),
            "to_decision_mean_h": _over(mean_d, 3600), "to_decision_p90_h": _over(p90_d, 3600),
            "to_completion_mean_min": _over(mean_c, 60), "to_completion_p90_min": _over(p90_c, 60),
            "completed": len(to_completion),
            "within_standard_pct": _share(sum(t <= STANDARD_S for t in to_completion), len(to_completion)),
            "automatic_pct": _share(len(by_itself), len(rollbacks)), "repeat_pct": _share(len(again), len(rollbacks)),
        }  # fmt: skip

    def _learning(self, rollbacks: list[Mv]) -> dict[str, Any]:
        said = [self.judged(m) for m in rollbacks]
        published = sum(1 for s in said if s is not None and s["published"])
        return {
            "rollbacks": len(rollbacks), "judged": sum(s is not None for s in said), "published": published,
            "published_pct": _share(published, len(rollbacks)),
            "repeated_causes": len(self._repeated(rollbacks)),
            "judged_wrong": sum(1 for s in said if s is not None and s["right"] == "wrong"),
        }  # fmt: skip

    def _repeated(self, rollbacks: list[Mv]) -> dict[tuple[str, str], int]:
        pairs = Counter((m.deployment, s["root_cause"]) for m in rollbacks
                        if (s := self.judged(m)) is not None and s["root_cause"])  # fmt: skip
        return {pair: count for pair, count in pairs.items() if count >= 2}

    def repeated(self) -> list[dict[str, Any]]:
        """Root causes that came again, of all."""
        return [{"deployment": d, "cause": c, "rollbacks": n} for (d, c), n in self._repeated(self.rollbacks).items()]

    def counted(self, what: str) -> Counter[str]:
        """Rollbacks by `root_cause` (also not known yet) or `gate`."""
        said = [self.judged(m) or {} for m in self.rollbacks]
        words = [s.get(what, "") for s in said]
        return Counter(w or "not known yet" for w in words if w or what == "root_cause")

    def _incident_row(self, mine: Callable[..., bool], deployed: list[Mv]) -> dict[str, Any]:
        counted = [i for i in self.incidents if i.fired and self._in(i.begins) and any(mine(m) for m in i.members)]
        observed = 0.0
        for name in {name for _, named in self.policies for name in named}:
            if mine(name):
                first = min(at for at, named in self.policies if name in named)
                observed += max(0.0, min(self.until, self.last) - max(self.since, first)) / DAY
        leads = [m.at - m.registered for m in deployed if m.registered is not None and m.at >= m.registered]
        pages = [x.body["at"] for x in self.lines if x.kind == "transition" and x.body["after"] == "fired"
                 and not x.body.get("backfilled") and self._in(x.body["at"]) and mine(x.deployment)]  # fmt: skip
        shifts = self._shifts()
        by_shift = Counter(_shift_of(at) for at in pages)
        lead_mean, lead_p90 = mean_p90(leads)
        return {
            "incidents": len(counted), "deployment_months": observed / 30.0,
            "per_deployment_month": len(counted) / (observed / 30.0) if observed else None,
            "lead_mean_h": _over(lead_mean, 3600), "lead_p90_h": _over(lead_p90, 3600), "pages": len(pages),
            "pages_per_shift": None if shifts is None else len(pages) / shifts,
            "most_pages": max(by_shift.values(), default=0),
        }  # fmt: skip

    def _shifts(self) -> int | None:
        begin, end = max(self.since, self.first), min(self.until, self.last)
        if end < begin:
            return None
        first = _shift_of(begin)
        return max(1, math.ceil((end - (first * SHIFT + 8 * 3600.0)) / SHIFT))

    def _cost_row(self, of: str) -> dict[str, Any]:
        mine = [i for i in self.incidents if i.fired and self._in(i.begins)
                and (of == "all" or any(self.group(m) == of for m in i.members))]  # fmt: skip
        sums = [self.cost(i, [m for m in i.members if of == "all" or self.group(m) == of]) for i in mine]
        before, total = math.fsum(b for b, _ in sums), math.fsum(t for _, t in sums)
        units = {self._last_policy(m)[2] for i in mine for m in i.members if of == "all" or self.group(m) == of}
        return {"unit": "/".join(sorted(units)), "incidents": len(mine), "before": before, "after": total - before,
                "total": total}  # fmt: skip

    def trend(self) -> list[dict[str, Any]]:
        """The rate by calendar month of the deployments."""
        months: dict[str, list[Mv]] = {}
        for m in self.deployed:
            months.setdefault(datetime.fromtimestamp(m.at, UTC).strftime("%Y-%m"), []).append(m)
        return [{"month": month, **self._rate(mine)} for month, mine in sorted(months.items())]

    def excluded(self) -> list[tuple[int, str]]:
        """(entry, class) of what is left out in the window."""
        return [(m.line.seq, m.kind) for m in self.moves if m.kind in ("planned", "mistake") and self._in(m.at)]

    def unanchored(self) -> list[int]:
        """Entries of rollbacks that undo nothing known."""
        return [m.line.seq for m in self.rollbacks if m.undoes is None]


def band(rate: float | None) -> str | None:
    """The word for a rate in percent."""
    if rate is None:
        return None
    words = ("rare", "usual", "high")
    return words[bisect.bisect_right([5.0, 10.0], rate)] if rate <= 20.0 else "alarming"


def _read(points: list[tuple[float, float]], at: float) -> float:
    """A line through the points: the first's value before it, the last's after it."""
    if at <= points[0][0]:
        return points[0][1]
    for (a, x), (b, y) in itertools.pairwise(points):
        if at <= b:
            return y if b <= a else x + (y - x) * (at - a) / (b - a)
    return points[-1][1]


def _found_late(moves: list[Mv]) -> list[Mv]:
    """Without what one journal tells of a move that another told before it: it stays one move, judged by any name."""
    kept: list[Mv] = []
    last: dict[tuple[str, str], Mv] = {}
    for move in moves:
        known = last.get(move.pointer)
        if known is not None and known.line.merged != move.line.merged and known.after == move.after:
            known.subjects |= move.subjects
            continue
        kept.append(move)
        last[move.pointer] = move
    return kept


def _higher(move: Mv) -> bool:
    """Is it to a higher number, where both are numbers."""
    return move.after.isdigit() and move.before.isdigit() and int(move.after) >= int(move.before)


def _before(one: Mv, other: Mv) -> bool:
    return (one.at, one.line.order) < (other.at, other.line.order)


def _shift_of(at: float) -> int:
    """Which shift, counted from the first one that began at 08:00 UTC in 1970."""
    return math.floor((at - 8 * 3600.0) / SHIFT)


def _over(value: float | None, unit: float) -> float | None:
    return None if value is None else value / unit


def _share(part: int, whole: int) -> float | None:
    return 100.0 * part / whole if whole else None
