"""A postmortem's draft: all that the journal knows of an incident, and apart from it what a person must say.

A function of the journal alone: the same bytes whenever and wherever it is made. Nothing is guessed; what the journal
does not hold is asked for in the last section.
"""

from __future__ import annotations

from collections.abc import Iterator

from rollback_console.journal.timeline import clock_text
from rollback_console.model.judgement import FollowUp, Judgement
from rollback_console.model.plan import Execution
from rollback_console.model.text import number, span
from rollback_console.model.value import dataclass
from rollback_console.review.case import Asked, Case
from rollback_console.review.case_cost import Cost
from rollback_console.review.markdown import link, table, text, verbatim
from rollback_console.review.messages import as_measured, responders

STANDARD_S = 900.0  # decision to completion: the 15-minute standard
_HASH = 10  # characters of a hash that are shown: enough to find the entry, and to see that it is another


@dataclass(frozen=True, slots=True)
class Checked:
    """Whether the journal may be believed: what the walk over it said, its first problems, and which decisions come out
    otherwise when they are made again."""

    ok: bool
    headline: str
    problems: tuple[str, ...] = ()
    differing: tuple[str, ...] = ()


def postmortem(case: Case, checked: Checked) -> str:
    """The draft, as markdown."""
    sections = (
        _head(case, checked), _times(case), _people(case), _scope(case), _versions(case), _decided(case), _plans(case),
        _signatures(case), _steps(case), _impact(case), _messages(case), _judged(case), _timeline(case), _data(case),
        _blanks(case),
    )  # fmt: skip
    lines: list[str] = []
    for section in sections:
        lines += [*section, ""]
    return "\n".join(lines).rstrip() + "\n"


def _head(case: Case, checked: Checked) -> Iterator[str]:
    yield f"# Postmortem draft: {text(case.incident.id)}"
    yield ""
    if not checked.ok:
        yield f"> **{text(checked.headline)}.** What follows may have been tampered with."
        yield from (f"> - {text(problem)}" for problem in checked.problems[:5])
        yield ""
    if checked.differing:
        yield f"> **{len(checked.differing)} decisions come out otherwise** when they are made again:"
        yield from (f"> - {text(each)}" for each in checked.differing[:5])
        yield ""
    if case.rehearsal:
        yield "> **REHEARSAL**: a drill in a simulated world. No customer was hurt, and no rate counts it."
        yield ""
    said = text(checked.headline) if checked.ok else "not verified"
    yield (
        f"Made by the console from journal `{text(case.chain[:12])}` as it stood at {_utc(case.until)}, "
        f"entry {case.head[0]} (`{text(case.head[1][:_HASH])}`); {said}."
    )
    yield ""
    yield "## Summary"
    yield ""
    yield _summary(case)


def _summary(case: Case) -> str:
    members = [str(member) for member in case.incident.members]
    named = members[0] if len(members) == 1 else f"{len(members)} deployments, first {members[0]}"
    lasted = (case.ended_at if case.ended_at is not None else case.until) - case.incident.onset
    state = "was over after" if case.ended_at is not None else "was still going on after"
    done = "; ".join(
        f"{run.plan.deployment} was rolled back from v{run.plan.from_version} to v{run.plan.to_version} ({run.state})"
        for run in case.runs
    )
    by_hand = "; ".join(f"{line.deployment} was rolled back by hand" for line in case.adopted)
    acts = "; ".join(filter(None, (done, by_hand))) or "nothing was rolled back"
    cost = "; ".join(filter(None, (_total(case, "revenue"), _total(case, "users"))))
    doubt = ", as far as what was measured can be believed" if as_measured(case) else ""
    cost = f" It cost {cost}{doubt}." if cost else ""
    what = case.incident.sentence.rstrip(".")
    return text(f"{named}: {what}. It began at {_utc(case.incident.onset)} and {state} {_span(lasted)}; {acts}.{cost}")


def _total(case: Case, name: str) -> str:
    sums: dict[str, float] = {}
    for cost in case.costs:
        for each, amount, unit in cost.totals:
            if each == name and amount > 0:
                sums[unit] = sums.get(unit, 0.0) + amount
    least = "at least" if any(cost.at_least for cost in case.costs) else "about"
    return " and ".join(f"{least} {number(amount)} {unit}" for unit, amount in sums.items())


def _times(case: Case) -> Iterator[str]:
    yield "## Detection, decision, recovery"
    yield ""
    fired, onset = case.fired, case.incident.onset
    rows: list[tuple[str, float | None, str]] = [("It began (first breach)", onset, "")]
    if fired is not None:
        rows.append(("It was noticed (the trigger fired)", fired.at, f"entry {fired.seq}"))
        if fired.backfilled:
            rows.append(("A console saw it, back-filling", fired.written_at, f"entry {fired.seq}"))
    first = next((line for line in case.lines if line.operator), None)
    if first is not None:
        rows.append((f"A person acted ({first.operator})", first.at, f"entry {first.seq}"))
    asked = min(case.asked, key=lambda each: each.at, default=None)
    where = f"entry {asked.seq}" if asked is not None else ""
    rows.append(("A way back was decided", case.decided_at, where))
    rows.append(("It was completed (confirmed by the signals)", case.completed_at, ""))
    rows.append(("It was over", case.ended_at, ""))
    rows.sort(key=lambda row: row[1] if row[1] is not None else float("inf"))
    yield from table(
        ("What", "When (UTC)", "After it began", "Where"),
        ((text(what), _utc(at) if at is not None else "not in the journal",
          _span(at - onset) if at is not None else "", where) for what, at, where in rows),
    )  # fmt: skip
    yield ""
    yield _standard(case)


def _standard(case: Case) -> str:
    if case.decided_at is None:
        return "No way back was decided in this journal, so the 15-minute standard does not apply."
    if case.completed_at is None:
        return "The way back was not confirmed, so the 15-minute standard (decision to completion) is not met."
    took = case.completed_at - case.decided_at
    met = "met" if took <= STANDARD_S else "**not met**"
    return f"Decision to completion took {_span(took)}; the 15-minute standard is {met}."


def _people(case: Case) -> Iterator[str]:
    yield "## Responders"
    yield ""
    yield f"- Commander: {text(case.commander) or 'nobody took command in this journal'}"
    for name in responders(case):
        mine = [line.kind for line in case.lines if line.operator == name]
        told = ", ".join(f"{mine.count(kind)} {kind}" for kind in dict.fromkeys(mine))
        yield f"- {text(name)}: {text(told)}"
    if not responders(case):
        yield "- Nobody acted at this console."


def _scope(case: Case) -> Iterator[str]:
    yield "## What was affected"
    yield ""
    yield from (f"- {text(member)}" for member in case.incident.members)
    yield f"- Owners, by the policy: {text(', '.join(case.owners)) or 'none named'}"


def _versions(case: Case) -> Iterator[str]:
    yield "## Versions"
    yield ""
    for run in case.runs:
        plan = run.plan
        yield f"- {text(plan.deployment)}: from v{text(plan.from_version)} to v{text(plan.to_version)} ({text(run.id)})"
    yield from (f"- {_entry(line.seq, line.hash)} {_utc(line.at)}: {text(line.text)}" for line in case.moves)
    if not case.runs and not case.moves:
        yield "- No pointer moved in this journal; what was released before it began, the registry knows."
    yield f"- Likely origin, as the console saw it: {text(case.incident.attribution.kind)}"
    yield from (f"  - {text(reason)}" for reason in case.incident.attribution.reasons)


def _decided(case: Case) -> Iterator[str]:
    yield "## Why: the decisions and what they rest on"
    yield ""
    yield from table(
        ("Evaluated (UTC)", "Entry", "Deployment", "State", "Sentence", "Samples"),
        ((_utc(d.at), _entry(d.seq, d.hash), text(d.deployment), f"{text(d.before)} → {text(d.after)}",
          text(d.sentence) + (" (found when back-filling)" if d.backfilled else ""), f"`{text(d.tick[:_HASH])}`")
         for d in case.decisions),
    )  # fmt: skip
    if not case.decisions:
        yield "The journal holds no decision of it."
    yield ""
    yield from (f"- Advice when it was opened: {text(advice)}" for advice in dict.fromkeys(case.first_advice))


def _plans(case: Case) -> Iterator[str]:
    yield "## Plan and stages"
    if not case.runs:
        yield ""
        yield "No plan was executed."
    for run in case.runs:
        yield from _plan(run)


def _plan(run: Execution) -> Iterator[str]:
    plan = run.plan
    yield ""
    yield f"### {text(run.id)}: {text(plan.deployment)} v{text(plan.from_version)} → v{text(plan.to_version)}"
    yield ""
    yield f"- Path {text(plan.path)} by {text(plan.driver)}; plan `{text(plan.digest[:16])}`; {text(plan.why_target)}"
    yield f"- State: {text(run.state)}; {text(run.detail)}"
    if plan.against:
        yield f"- **Against advice**: {text(plan.against)}"
    yield from (f"- Stage {text(s.name)}: {text(s.does)}; gate: {text(s.gate)}" for s in plan.stages)
    words = {True: "holds", False: "does not hold", None: "cannot be told"}
    yield from (f"- Preflight {text(c.name)} {words[c.ok]}: {text(c.detail)}" for c in plan.checks)
    yield ""
    yield from table(
        ("Step", "State", "Began (UTC)", "Took", "What came of it"),
        ((text(s.title), text(s.state), _utc(s.started_at) if s.started_at is not None else "",
          _span(s.ended_at - s.started_at) if s.ended_at is not None and s.started_at is not None else "",
          text(s.detail)) for s in run.steps),
    )  # fmt: skip


def _signatures(case: Case) -> Iterator[str]:
    yield "## Requests and approvals"
    yield ""
    for asked in case.asked:
        yield f"- {_entry(asked.seq, asked.hash)} {_utc(asked.at)}: {_request(asked)}"
        run = next((each for each in case.runs if each.id == asked.execution), None)
        count = run.plan.authority.approve_count if run is not None else 0
        yield f"  - Approvals asked for by the policy: {count or 'none'}"
    yield from (f"- {_entry(line.seq, line.hash)} {_utc(line.at)}: {text(line.text)}" for line in case.adopted)
    if not case.asked and not case.adopted:
        yield "Nobody asked for a rollback."


def _request(asked: Asked) -> str:
    signed = f"signed with `{text(asked.signed)}`" if asked.signed else "**not signed by a person**"
    planned = " (a planned switch)" if asked.planned else ""
    against = f"; against advice: {text(asked.against)}" if asked.against else ""
    who = f"{text(asked.operator) or 'nobody named'} asked for “{text(asked.phrase)}”{planned}"
    return f"{who}, plan `{text(asked.plan[:16])}`, {signed}; reason: {text(asked.reason)}{against}"


def _steps(case: Case) -> Iterator[str]:
    yield "## Runbooks, and steps that were skipped or failed"
    yield ""
    yield f"- Walked: {text(', '.join(case.runbooks)) or 'none'}"
    for step in case.steps:
        why = text(step.reason) or "no reason given"
        who = text(step.operator) or "somebody"
        yield f"- {text(step.state)} in {text(step.runbook)}, entry {step.seq}, by {who}: {text(step.title)}: {why}"
    if case.runbooks and not case.steps:
        yield "- No step was skipped, and none failed."


def _impact(case: Case) -> Iterator[str]:
    yield "## Impact, and where its numbers come from"
    yield ""
    yield from table(
        ("Deployment", "Total", "Counted", "By", "At the worst decision", "Source"),
        (row for cost in case.costs for row in _cost(cost)),
    )
    if as_measured(case):
        yield ""
        yield "The likely origin is the telemetry: these numbers say what was measured, and not what was lost."
    if not any(cost.totals for cost in case.costs):
        yield ""
        yield "No amount was counted: the policy prices nothing here, or nothing was lost."


def _cost(cost: Cost) -> Iterator[tuple[str, ...]]:
    totals = {name: (amount, unit) for name, amount, unit in cost.totals}
    parts = {part.name: part for part in cost.worst}
    counted = f"{'at least; ' if cost.at_least else ''}up to {_utc(cost.until)}"
    for name in dict.fromkeys([*totals, *parts]):
        amount, part = totals.get(name), parts.get(name)
        told = f"{number(amount[0])} {text(amount[1])}" if amount is not None else "not an amount"
        now = ""
        if part is not None and part.value is not None:
            now = f"{number(part.value)} {text(part.unit)}"
        elif part is not None:  # a tier is its own word; of an amount that is blind there is none
            now = "not told" if "/min" in part.unit else text(part.unit)
        source = text(part.source) if part is not None else text(cost.why)
        yield (
            text(cost.deployment), f"{text(name)}: {told}", counted if amount is not None else "",
            f"entry {cost.seq}" if amount is not None else "", f"{now} (entry {cost.worst_seq})" if now else "", source,
        )  # fmt: skip


def _messages(case: Case) -> Iterator[str]:
    yield "## Messages to stakeholders"
    for line, audience, template, words in case.messages:
        yield ""
        yield (
            f"{_entry(line.seq, line.hash)} {_utc(line.at)}, {text(audience)}, template {text(template)}, by"
            f" {text(line.operator) or 'somebody'}:"
        )
        yield ""
        yield from verbatim(words.rstrip("\n"))
    if not case.messages:
        yield ""
        yield "None is in the journal."


def _judged(case: Case) -> Iterator[str]:
    yield "## Judgement and follow-ups"
    yield ""
    for judgement in case.judgements:
        signed = f"signed with `{text(judgement.signed)}`" if judgement.signed else "not signed"
        standing = f", supersedes entry {judgement.supersedes}" if judgement.supersedes else ""
        yield (
            f"- {_entry(judgement.seq, judgement.hash)} {_utc(judgement.at)}: {text(judgement.by) or 'somebody'} on"
            f" {text(judgement.subject)} ({signed}{standing})"
        )
        yield from (f"  - {line}" for line in _answers(judgement))
    yield from (f"- {_follow_up(each)}" for each in case.follow_ups)
    yield from (f"- {_entry(line.seq, line.hash)} {_utc(line.at)}: {text(line.text)}" for line in case.tags)
    if not case.judgements:
        yield "- Not judged yet."


def _answers(judgement: Judgement) -> Iterator[str]:
    for name, value in (
        ("Root cause", judgement.root_cause), ("The decision was", judgement.right), ("Expected", judgement.expected),
        ("Actual", judgement.actual), *(("Deviation from the plan", each) for each in judgement.deviations),
        ("Margins", judgement.margins), ("Would have been caught by", judgement.gate),
        *(("Lesson", each) for each in judgement.lessons), ("Published at", judgement.published),
        ("Counts as", judgement.counts_as),
    ):  # fmt: skip
        if value:
            yield f"{name}: {text(value, 4_000)}"


def _follow_up(each: FollowUp) -> str:
    ended = f" by {text(each.ended_by) or 'somebody'}" if each.state != "open" else ""
    why = f" ({text(each.reason)})" if each.reason else ""
    due = f", until {text(each.due)}" if each.due else ""
    return f"Follow-up {text(each.id)}, {text(each.owner)}{due}, {each.state}{ended}{why}: {text(each.what, 4_000)}"


def _timeline(case: Case) -> Iterator[str]:
    yield "## Timeline"
    yield ""
    yield from table(
        ("Written (UTC)", "Entry", "Kind", "On", "By", "What happened"),
        ((_utc(line.at), _entry(line.seq, line.hash), text(line.kind), text(line.deployment) or "-",
          text(line.operator) or "-", text(line.text)) for line in case.lines),
    )  # fmt: skip


def _data(case: Case) -> Iterator[str]:
    yield "## Data"
    yield ""
    yield from (f"- {link(title, url)}" for title, url in case.links)
    yield "- An entry whole, with its full hash: `rollback-console journal show ENTRY`"
    yield "- Every decision made again: `rollback-console journal verify --decisions`"
    yield "- The panels as they were: `rollback-console review JOURNAL`"


def _blanks(case: Case) -> Iterator[str]:
    """What the journal cannot know, and why it is asked. What was judged already is not asked again."""
    said = {name for j in case.judgements for name in ("root_cause", "right", "expected", "actual", "margins", "gate",
            "published", "deviations", "lessons") if getattr(j, name)}  # fmt: skip
    yield "## To be filled in by a person"
    yield ""
    yield "The journal does not know these. `rollback-console judge` (J on the screen) records those with a †, signed."
    yield ""
    for name, what, why in _ASKED:
        if name not in said and not (name == "follow_ups" and case.follow_ups):
            yield f"- [ ] **{what}** {why}"
            yield ""
            yield "      …"


_ASKED = (
    ("root_cause", "Root cause †:", "one of the team's words, because causes are counted by it."),
    ("why", "What led to it, step by step:", "the console sees when something changed, not why somebody changed it."),
    ("differed", "What differed between the versions, and who knew:", "the registry's facts are not the reasons."),
    ("right", "Was the decision right? †", "only somebody who knows what happened afterwards can say; rates need it."),
    ("expected", "What was expected of it †:", "so that the outcome can be held against it."),
    ("actual", "What came of it †:", "beside the signals: what users and the business saw."),
    ("deviations", "Deviations from the plan, with reasons †:", "what was done by other ways than planned."),
    ("margins", "Did the margins hold? †", "too tight ones page for nothing, too wide ones find it late."),
    ("gate", "Which validation gate would have caught it? †", "that is where the next one can be kept out."),
    ("others", "Who else worked on it:", "only those who acted at a console are known here."),
    ("outside", "What was said outside this journal:", "calls, chats, the status page."),
    ("well", "What went well, and where luck helped:", "it is as instructive as what did not."),
    ("lessons", "Lessons †:", "in sentences that somebody else can act on."),
    ("follow_ups", "Follow-ups, each with an owner and a day †:", "what has no owner is not done."),
    ("published", "Where this analysis is published †:", "an analysis that nobody can find teaches nobody."),
)


def _entry(seq: int, digest: str) -> str:
    return f"{seq} `{text(digest[:_HASH])}`"


def _utc(at: float) -> str:
    return clock_text(at).removesuffix(" UTC")


def _span(seconds: float) -> str:
    return span(max(0.0, seconds))
