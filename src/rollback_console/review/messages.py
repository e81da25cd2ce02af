"""Messages to stakeholders: what was decided, what is affected, what comes next and what is at risk, filled from a
journal into templates.

Inside, names and money stand in them; outside, a message names nobody, no machine and no version, and money only where
a template asks for `{revenue}` by name. No free text of the journal (notes, reasons) goes into either.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rollback_console.errors import UsageError
from rollback_console.journal.timeline import clock_text
from rollback_console.model.incident import AttributionKind
from rollback_console.model.message import INTERNAL, PLACEHOLDERS, Message, Template
from rollback_console.model.plan import ExecutionState
from rollback_console.model.text import number, plain, span
from rollback_console.policy.templates import filled
from rollback_console.review.case import Case

NEXT_UPDATE_S = 900.0
_NOT_YET = "not yet"
_CAUSES = {
    AttributionKind.RELEASE: ("a release", "a recent change of ours"),
    AttributionKind.UPSTREAM: ("something upstream", "a system that we depend on"),
    AttributionKind.INFRASTRUCTURE: ("the infrastructure", "our infrastructure"),
    AttributionKind.TELEMETRY: (
        "the telemetry: what happens cannot be seen",
        "our measurements, not the service itself",
    ),
    AttributionKind.UNKNOWN: ("not known yet", "not known yet"),
}
_OUTSIDE = {
    ExecutionState.RUNNING: "We are returning to the version that worked before.",
    ExecutionState.VERIFYING: "We have returned to the version that worked before and are checking that it helps.",
    ExecutionState.DONE: "We have returned to the version that worked before, and we see that it helped.",
    ExecutionState.NOT_CONFIRMED: "We are back at the version that worked before, and do not know yet if it helped.",
    ExecutionState.FAILED: "We tried to return to the version that worked before, and are still at it.",
    ExecutionState.ABORTED: "We began to return to the version that worked before, and stopped.",
    ExecutionState.UNFINISHED: "We began to return to the version that worked before, and are still at it.",
}

SHIPPED = (
    Template("first-notice", "internal", """\
**Incident {incident}: {deployments}** (began {since}, {state}, written {time})

- Decision: {decision}
- Scope: {scope}
- Likely cause: {cause}
- Expected: {expected}
- Risk: {risk}
- Evidence: {evidence}
- Commander: {commander}; working on it: {responders}
- Links: {links}

Next message: {next_update}. Record: {journal}.
"""),
    Template("first-notice", "external", """\
**We are looking into a problem** (written {time}, reference {incident})

Since {since} some results of our service may be worse than you are used to. Affected: {scope}.

- What we decided: {decision}
- Likely cause: {cause}
- What to expect: {expected}
- Extent: {risk}

Next message: {next_update}.
"""),
    Template("update", "internal", """\
**Update on {incident}: {deployments}** ({state}, {duration} from the first breach, written {time})

- Decision: {decision}
- Versions: {versions}
- Advice of the console: {advice}
- Expected: {expected}
- Risk: {risk}
- Noticed {detected}, decided {decided}, recovered {recovered}
- Commander: {commander}; working on it: {responders}

Next message: {next_update}. Record: {journal}.
"""),
    Template("update", "external", """\
**Update** (written {time}, reference {incident})

The problem that began at {since} is {state}. Affected: {scope}.

- What we decided: {decision}
- What to expect: {expected}
- Extent: {risk}

Next message: {next_update}.
"""),
    Template("resolved", "internal", """\
**{incident} is {state}: {deployments}** (lasted {duration}, written {time})

- Decision: {decision}
- Versions: {versions}
- Likely cause: {cause}
- Noticed {detected}, decided {decided}, recovered {recovered}
- Cost: {risk}
- Worked on it: {responders}

What follows: {expected} Record: {journal}.
"""),
    Template("resolved", "external", """\
**The problem is {state}** (written {time}, reference {incident})

From {since} on, for {duration}, some results of our service were worse than you are used to. Affected: {scope}.

- What we did: {decision}
- Likely cause: {cause}
- Extent: {risk}

{expected}
"""),
)  # fmt: skip


def with_own(shipped: Sequence[Template], own: Iterable[Template]) -> tuple[Template, ...]:
    """The shipped templates and a team's own, which take the place of those with their name and audience."""
    found = {(each.name, each.audience): each for each in (*shipped, *own)}
    return tuple(found.values())


def named(templates: Sequence[Template], name: str, audience: str) -> Template:
    """One of them. Raises UsageError with what there is."""
    for each in templates:
        if (each.name, each.audience) == (name, audience):
            return each
    there = ", ".join(sorted({each.name for each in templates if each.audience == audience}))
    raise UsageError(f"there is no {audience} template {plain(name, 60)}", f"there are: {there}")


def drafts(case: Case, templates: Sequence[Template]) -> tuple[Message, ...]:
    """The incident in every template, in their order."""
    return tuple(draft(case, template) for template in templates)


def draft(case: Case, template: Template) -> Message:
    """The incident in one template. A function of the journal alone: `time` is that of its last entry."""
    values = facts(case, template.audience)
    return Message(case.incident.id, template.name, template.audience, filled(template.text, values).rstrip() + "\n")


def facts(case: Case, audience: str) -> dict[str, str]:
    """What each placeholder becomes for an audience; those in `INTERNAL` for the internal one alone."""
    inside, incident = audience == "internal", case.incident
    over = case.ended_at
    fired = case.fired
    values = {
        "time": _utc(case.until),
        "incident": incident.id,
        "state": "over" if over is not None else "going on",
        "since": _utc(incident.onset),
        "duration": span(max(60.0, (over or case.until) - incident.onset) // 60 * 60),
        "decision": _decision(case) if inside else _decision_outside(case),
        "scope": _scope(case, inside),
        "expected": _expected(case),
        "risk": _risk(case, inside),
        "cause": _CAUSES[incident.attribution.kind][0 if inside else 1],
        "detected": _utc(fired.at) if fired is not None else _NOT_YET,
        "decided": _utc(case.decided_at) if case.decided_at is not None else _NOT_YET,
        "recovered": _utc(over) if over is not None else _NOT_YET,
        "next_update": _utc(case.until + NEXT_UPDATE_S) if over is None else "none: it is over",
        "users": _amount(case, "users") or "not counted",
        "revenue": _amount(case, "revenue") or "not counted",
    }
    if inside:
        values |= _inside(case)
    return {name: plain(values[name], 1_000) for name in (*PLACEHOLDERS, *(INTERNAL if inside else ()))}


def _inside(case: Case) -> dict[str, str]:
    members = [str(member) for member in case.incident.members]
    more = f" and {len(members) - 3} more" if len(members) > 3 else ""
    fired = [f"{d.deployment.partition('/')[2]}: {d.sentence}" for d in case.decisions if d.after == "fired" or d.blind]
    first, last = (case.lines[0].seq, case.lines[-1].seq) if case.lines else (0, 0)
    return {
        "deployments": ", ".join(members[:3]) + more,
        "versions": "; ".join(dict.fromkeys(
            f"{run.plan.deployment.name} from v{run.plan.from_version} to v{run.plan.to_version}" for run in case.runs
        )) or "nothing was moved",
        "commander": case.commander or "nobody took command",
        "responders": ", ".join(responders(case)) or "nobody that the journal names",
        "evidence": "; ".join(fired[:3]) + (f"; and {len(fired) - 3} more" if len(fired) > 3 else "") or "none yet",
        "advice": (case.incident.recommendations[0].sentence if case.incident.recommendations else "none"),
        "links": ", ".join(f"{title} {url}" for title, url in case.links) or "none in the policy",
        "journal": f"journal {case.chain[:12]}, entries {first} to {last}, head {case.head[0]} ({case.head[1][:12]})",
    }  # fmt: skip


def as_measured(case: Case) -> bool:
    """Is it the telemetry that likely failed: then what was lost is what it says, and perhaps nothing."""
    return case.incident.attribution.kind is AttributionKind.TELEMETRY


def responders(case: Case) -> tuple[str, ...]:
    """Who acted while it lasted, by their operator's names, in the order in which they came."""
    return tuple(dict.fromkeys(plain(line.operator, 100) for line in case.lines if line.operator))


def _decision(case: Case) -> str:
    told = []
    for run in case.runs:
        plan = run.plan
        state = {
            ExecutionState.DONE: "done and confirmed", ExecutionState.NOT_CONFIRMED: "done, not confirmed",
        }.get(run.state, str(run.state))  # fmt: skip
        at = f" at {_utc(run.ended_at)}" if run.ended_at is not None else ""
        by = f", asked for by {run.operator} at {_utc(run.started_at)}"
        told.append(f"roll {plan.deployment} back from v{plan.from_version} to v{plan.to_version}{by}: {state}{at}")
    told += [f"{line.deployment} was rolled back by hand at {_utc(line.at)}" for line in case.adopted]
    if told:
        return "; ".join(told)
    if case.ended_at is not None:
        return "nothing was rolled back; it ended by itself or elsewhere"
    return "nothing was rolled back so far"


def _decision_outside(case: Case) -> str:
    if case.runs:
        return _OUTSIDE[case.runs[-1].state]
    if case.adopted:
        return "We have returned to the version that worked before."
    if case.ended_at is not None:
        return "We did not have to change anything on our side."
    return "We have not changed anything on our side so far."


def _scope(case: Case, inside: bool) -> str:
    count = len(case.incident.members)
    models = "1 model" if count == 1 else f"{count} models"
    if not inside:
        return f"{models} of ours"
    environments = sorted({member.environment for member in case.incident.members})
    owners = f", owned by {', '.join(case.owners)}" if case.owners else ""
    return f"{models} in {', '.join(environments)}{owners}"


def _expected(case: Case) -> str:
    if case.ended_at is not None:
        return f"It is over since {_utc(case.ended_at)}; we look into what is to be learned from it."
    running = [run for run in case.runs if run.ended_at is None]
    if running:
        latest = max(run.started_at + run.plan.verify_within_s for run in running)
        return f"We expect to know by {_utc(latest)} whether it helped."
    return "No time can be promised yet."


def _risk(case: Case, inside: bool) -> str:
    """In numbers, with what they lack. Outside: users, and no money."""
    if not inside and as_measured(case):
        return "not known: it is our measurements that are in doubt"
    users, revenue = _amount(case, "users"), _amount(case, "revenue")
    told = [f"{users} affected"] if users else []
    if inside:
        told += [f"{revenue} lost"] if revenue else []
        told += [_worst(case)] if _worst(case) else []
    if not told:
        return "not counted: the policy prices nothing here, or nothing was lost"
    counted = min((cost.until for cost in case.costs), default=case.until)
    doubt = ", if what was measured can be believed" if as_measured(case) else ""
    return "; ".join(told) + doubt + ("" if case.ended_at is not None else f" (counted up to {_utc(counted)})")


def _worst(case: Case) -> str:
    """The worst minute, where a decision of then says what it cost."""
    worst = max(case.costs, key=lambda cost: cost.score, default=None)
    part = next((p for p in worst.worst if p.name == "revenue" and p.value), None) if worst is not None else None
    return f"{number(part.value)} {part.unit} at the worst decision" if part is not None else ""


def _amount(case: Case, name: str) -> str:
    """`about 12.3k USD` of all deployments together; "" where nothing was counted. Units are not added up across
    policies: each is told."""
    sums: dict[str, float] = {}
    for cost in case.costs:
        for each, amount, unit in cost.totals:
            if each == name and amount > 0:
                sums[unit] = sums.get(unit, 0.0) + amount
    least = any(cost.at_least for cost in case.costs)
    return " and ".join(f"{'at least' if least else 'about'} {number(total)} {unit}" for unit, total in sums.items())


def _utc(at: float | None) -> str:
    """To the minute: `2026-11-20 14:06 UTC`."""
    return clock_text(at).removesuffix(" UTC").rpartition(":")[0] + " UTC" if at is not None else _NOT_YET
