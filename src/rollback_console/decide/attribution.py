"""Where a degradation likely comes from, and what is then advised.

`release`: the onset follows a version change of this deployment, and nothing acquits that (`decide.origin`).
`upstream`: others that share a dependency degrade too, or what it depends on degraded or released, or its inputs went
bad. `infrastructure`: several degrade at once that no named dependency explains. `telemetry`: what cannot be seen, or
is no longer counted, not what is bad. Only `release` recommends a rollback. Each says why, in words and numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, replace

from rollback_console.decide.clues import INPUTS, inputs_words, mismatch_words, not_counted, pairs, silent, unanswered
from rollback_console.decide.explain import signal_words
from rollback_console.decide.guards import Acts, Guard, advice_held, holding
from rollback_console.decide.shared import Dependencies, Shared, behind, shared_dependency
from rollback_console.model.identity import DeploymentId
from rollback_console.model.incident import Attribution, AttributionKind, Recommendation
from rollback_console.model.rules import DeploymentRule, ExpectedChange
from rollback_console.model.text import span
from rollback_console.model.value import dataclass
from rollback_console.model.verdict import Verdict

RELEASE_CAUSE_S = 7200.0  # a release this long before the first breach explains it
RELEASE_LOOK_BACK_S = 2 * 86_400.0  # how far back "no release here" looks
SLACK_S = 60.0  # serving may report a version a scrape later than users meet it
_ITS_RELEASE_S = 1800.0  # a release of what it depends on, this long before, is named where nobody else degraded
_EXPLAINED = 0.75  # a dependency explains a group when so many of it depend on it, ...
_COVERED = 0.4  # ... and so many of those who depend on it are among the group


@dataclass(frozen=True, slots=True)
class Release:
    """A version change of a deployment, as serving reported it. `rollback`: one of our own ways back, not a release."""

    deployment: DeploymentId
    at: float
    before: str | None
    after: str | None
    rollback: bool = False

    def explains(self, onset: float, within: float = RELEASE_CAUSE_S) -> bool:
        """Could a degradation that began at `onset` come from this release."""
        return not self.rollback and -SLACK_S <= onset - self.at <= within


def went_back(release: Release, history: Sequence[Release]) -> bool:
    """Does a version change undo the one before it: the way back to an older version, whoever took it. `history`: the
    releases of the same deployment, oldest first."""
    before = [other for other in history if other.at < release.at]
    if not before or (before[-1].before, before[-1].after) != (release.after, release.before):
        return False
    return _age(release.after) < _age(release.before)


def _age(version: str | None) -> tuple[int, str]:
    """Versions in the order in which they were made: registries number them."""
    return (int(version), "") if version is not None and version.isdecimal() else (-1, version or "")


@dataclass(frozen=True, slots=True)
class Case:
    """Deployments in trouble together, and what is known about them. Members: first to degrade first. `onsets`: their
    likely beginnings. `executing`: to which version a rollback of a deployment is under way now. `blamed`: whose own
    release is to blame (None: whichever release explains an onset). `acquitted`: the release of whom is not, and why.
    `control_well`: beside whom a control runs on, and which."""

    members: Sequence[DeploymentId]
    onsets: Mapping[DeploymentId, float]
    verdicts: Mapping[DeploymentId, Verdict]
    rules: Mapping[DeploymentId, DeploymentRule]
    releases: Sequence[Release]
    fleet: int
    blind: int
    executing: Mapping[DeploymentId, str] = field(default_factory=dict)
    blamed: Mapping[DeploymentId, Release] | None = None
    acquitted: Mapping[DeploymentId, tuple[Release, str]] = field(default_factory=dict)
    control_well: Mapping[DeploymentId, DeploymentId] = field(default_factory=dict)
    dependencies: Dependencies | None = None  # of the whole fleet; None: worked out here
    expected: Mapping[DeploymentId, tuple[ExpectedChange, ...]] = field(default_factory=dict)  # declared by hand


Finding = tuple[Attribution, tuple[Recommendation, ...], str]


def attribute(case: Case) -> Finding:
    """The attribution with its reasons, a recommendation a member, and the incident's sentence."""
    attribution, advice, sentence = _attributed(case)
    advice = tuple(_as_it_runs(case, attribution.kind, _as_guarded(case, each)) for each in advice)
    return attribution, advice, sentence


def _as_guarded(case: Case, advice: Recommendation) -> Recommendation:
    """The advice, unless it is a rollback and the policy says that now is no time to tell (an expected change is going
    on, the release is too young), or that a person has to, after so many of them (`decide.guards`)."""
    if advice.path is None:
        return advice
    release = release_before(case, advice.deployment)
    acts = Acts(
        released=release.at if release is not None else None,
        expected=case.expected.get(advice.deployment, ()),
        back=_ways_back(case, advice.deployment),
    )
    held = holding(case.rules[advice.deployment].trigger, case.verdicts[advice.deployment].at, acts)
    if not advice_held(held):
        return advice
    first = next(each for each in held if each.advice)
    if first.guard is Guard.LOOP:
        return replace(advice, path=None, to_version=None, sentence=first.words, runbook="rollback-of-a-rollback")
    return replace(advice, path=None, sentence=f"{first.words}; no rollback is advised before")


def _ways_back(case: Case, name: DeploymentId) -> tuple[float, ...]:
    """When a deployment went back to an older version, by whomever."""
    own = [release for release in case.releases if release.deployment == name]
    return tuple(release.at for release in own if release.rollback or went_back(release, own))


def _as_it_runs(case: Case, kind: AttributionKind, advice: Recommendation) -> Recommendation:
    """The advice for a deployment while a rollback of it is under way: no second one, and what made it stays said
    where a rollback was not what was advised."""
    to = case.executing.get(advice.deployment)
    if to is None:
        return advice
    words = f"a rollback to v{to} is under way"
    if kind in (AttributionKind.RELEASE, AttributionKind.UNKNOWN):
        runbook = case.rules[advice.deployment].runbook or "model-version-rollback"
        return Recommendation(advice.deployment, None, None, words, runbook)
    return replace(advice, path=None, to_version=None, sentence=f"{words}; {advice.sentence}")


def _attributed(case: Case) -> Finding:
    if all(unanswered(case.verdicts[name]) for name in case.members):
        return _backend_down(case)
    culprits = [found for name in case.members if (found := release_before(case, name)) is not None]
    if culprits:
        return _release(case, culprits)
    if all(_uneven(case, name) for name in case.members):
        return _mismatched(case)
    if all(silent(case.verdicts[name]) for name in case.members):
        return _silent(case)
    if len(case.members) >= 2:
        return _together(case)
    return _alone(case)


def release_before(case: Case, name: DeploymentId) -> Release | None:
    """The release of `name` that explains its onset, or None."""
    if case.blamed is not None:
        return case.blamed.get(name)
    found = [r for r in case.releases if r.deployment == name and r.explains(case.onsets[name])]
    return found[-1] if found else None


def _advice(case: Case, sentence: str, runbook: str) -> tuple[Recommendation, ...]:
    return tuple(Recommendation(name, None, None, sentence, runbook) for name in case.members)


def _backend_down(case: Case) -> Finding:
    count = f"{len(case.members)} of {case.fleet} deployments cannot be judged"
    if case.blind >= case.fleet:
        reason = f"the metric backend does not answer: {count}"
        sentence = "telemetry: the metric backend is down; clocks stand still, nothing is known to be bad"
        advice = "restore the metric backend; rolling back a model will not help"
    else:
        reason = f"queries fail for {'one' if len(case.members) == 1 else 'some'} and not for others: {count}"
        sentence = f"telemetry: {reason}; clocks stand still"
        advice = "ask their queries by hand (two series for one deployment fail too); rolling back will not help"
    return Attribution(AttributionKind.TELEMETRY, (reason,)), _advice(case, advice, "blind-telemetry"), sentence


def _release(case: Case, culprits: Sequence[Release]) -> Finding:
    first = culprits[0]
    reasons = []
    advice = []
    for release in culprits:
        name, verdict = release.deployment, case.verdicts[release.deployment]
        later = max(0.0, case.onsets[name] - release.at)
        verb = "fell silent" if silent(verdict) else "degraded"
        reasons.append(
            f"{name.name} {verb} {span(later)} after v{release.after} began to serve"
            + (f" in place of v{release.before}" if release.before else "")
        )
        advice.append(_release_advice(case, release))
    names = {release.deployment for release in culprits}
    for name in case.members:
        if name not in names:
            sentence = f"depends on {first.deployment.name}, whose release came first: mend that, not this"
            advice.append(Recommendation(name, None, None, sentence, case.rules[name].runbook))
    if len(case.members) > len(culprits):
        reasons.append(f"{len(case.members) - len(culprits)} more that depend on it followed")
    elif case.fleet > len(case.members):
        reasons.append(f"{case.fleet - len(case.members)} other deployments do not share it")
    reasons.extend(_in_its_favour(case, first.deployment))
    reasons.extend(_acquittals(case))
    return Attribution(AttributionKind.RELEASE, tuple(reasons)), tuple(advice), f"release: {reasons[0]}"


def _in_its_favour(case: Case, name: DeploymentId) -> Iterator[str]:
    """What else points at a release: its inputs and its control are as they were."""
    rule, verdict = case.rules[name], case.verdicts[name]
    inputs = [(s, v) for s, v in pairs(rule, verdict) if s.area == INPUTS]
    if inputs and all(found.breached is False for _, found in inputs):
        yield "its inputs are well: " + ", ".join(signal_words(signal, found) for signal, found in inputs)
    if words := mismatch_words(rule, verdict):
        yield f"its control tells nothing: {words}"
    elif name in case.control_well:
        yield f"its control {case.control_well[name].name}, without that release, did not degrade"


def _acquittals(case: Case) -> Iterator[str]:
    """Whose releases are not to blame, and why."""
    for name in case.members:
        if name in case.acquitted:
            release, why = case.acquitted[name]
            before = span(max(0.0, case.onsets[name] - release.at))
            yield f"{name.name}'s release of v{release.after} {before} before is not to blame: {why}"


def _release_advice(case: Case, release: Release) -> Recommendation:
    name, rule, verdict = release.deployment, case.rules[release.deployment], case.verdicts[release.deployment]
    if verdict.cooling:
        sentence = "a rollback was made within the cool-down: a second one needs a person's judgement"
        return Recommendation(name, None, None, sentence, "rollback-of-a-rollback")
    if silent(verdict):
        sentence = f"look at serving by hand first: if v{release.after} does not serve, roll back"
        return Recommendation(name, None, release.before, sentence, "blind-telemetry")
    if release.before is not None and verdict.version == release.before:
        sentence = f"v{release.before} serves again: see whether it recovers before anything else is done"
        return Recommendation(name, None, None, sentence, rule.runbook or "model-version-rollback")
    if not rule.recovery:
        return Recommendation(name, None, None, "the policy names no recovery path", rule.runbook)
    to = f" to v{release.before}" if release.before else ""
    sentence = f"roll back{to}: the degradation follows the release of v{release.after}"
    return Recommendation(
        name, rule.recovery[0].name, release.before, sentence, rule.runbook or "model-version-rollback"
    )


def _silent(case: Case) -> Finding:
    first = case.members[0]
    seeing = case.fleet - case.blind
    many = f"{len(case.members)} deployments" if len(case.members) > 1 else first.name
    kinds = sorted({str(s.blind) for name in case.members for s in case.verdicts[name].signals if s.blind is not None})
    others = f"while {seeing} other{'' if seeing == 1 else 's'} report" if seeing > 0 else "and nobody else reports"
    reason = f"{many} went silent ({', '.join(kinds)}) {others}"
    advice = "find out whether it still serves; a rollback cannot be judged while nothing is seen"
    return (
        Attribution(AttributionKind.TELEMETRY, (reason,)),
        _advice(case, advice, "blind-telemetry"),
        f"telemetry: {reason}",
    )


def _fed(case: Case, name: DeploymentId) -> str:
    """Which inputs went bad before it did, or ""."""
    return inputs_words(case.rules[name], case.verdicts[name], case.onsets[name])


def _uneven(case: Case, name: DeploymentId) -> bool:
    """Is all that is wrong with it that its arms do not get their share of the traffic."""
    rule, verdict = case.rules[name], case.verdicts[name]
    bad = any(found.breached or found.blind is not None for _, found in pairs(rule, verdict) if not found.aside)
    return not bad and bool(mismatch_words(rule, verdict))


def _mismatched(case: Case) -> Finding:
    first = case.members[0]
    reason = f"{first.name} {mismatch_words(case.rules[first], case.verdicts[first])}"
    advice = "find out who is lost before the arms are counted; a rollback cannot be judged by this control"
    attribution = Attribution(AttributionKind.TELEMETRY, (reason,))
    return attribution, _advice(case, advice, "blind-telemetry"), f"telemetry: {reason}"


def _no_release(case: Case) -> str:
    onset = case.onsets[case.members[0]]
    if case.acquitted:
        return f"no release explains it ({len(case.acquitted)} released in the {span(RELEASE_CAUSE_S)} before)"
    recent = {
        r.deployment
        for r in case.releases
        if r.deployment in case.onsets and not r.rollback and r.explains(onset, RELEASE_LOOK_BACK_S)
    }
    if recent:
        return f"no release here in the {span(RELEASE_CAUSE_S)} before ({len(recent)} released in the last 2 days)"
    return "no release here in the last 2 days"


def _dependencies(case: Case) -> Dependencies:
    return case.dependencies or Dependencies(case.rules)


def _its_release(case: Case, dependency: str, within: float) -> Release | None:
    """The release of the deployment behind a dependency that could explain the first onset, or None."""
    name = behind(case.members[0], dependency)
    if name is None:
        return None
    history = [release for release in case.releases if release.deployment == name]
    onset = case.onsets[case.members[0]]
    found = [r for r in history if r.explains(onset, within) and not went_back(r, history)]
    return found[-1] if found and name not in case.members else None


def _together(case: Case) -> Finding:
    if all(not_counted(case.rules[name], case.verdicts[name]) for name in case.members):
        return _lost_track(case)
    shared = shared_dependency(case.members, _dependencies(case))
    if shared is not None and _explained(case, shared):
        return _upstream(case, shared)
    others = len(case.members) - 1
    what = "share no named dependency"
    if shared is not None:
        what = (
            f"no one dependency explains ({shared.dependency}: {len(shared.members)} of {len(case.members)}, and "
            f"{shared.readers - len(shared.members)} more that depend on it are well)"
        )
    reason = f"{_no_release(case)}, and {others} other{'s' if others > 1 else ''} that {what} {_when(case)}"
    return _elsewhere(case, AttributionKind.INFRASTRUCTURE, reason, "do not roll back: look at what they run on")


def _when(case: Case) -> str:
    onsets = [case.onsets[name] for name in case.members]
    apart = max(onsets) - min(onsets)
    return f"degraded within {span(apart)}" if apart else "degraded at the same moment"


def _explained(case: Case, shared: Shared) -> bool:
    """Is what they share what happened to them: most of them depend on it, and not most of those who do are well;
    inputs gone bad settle it."""
    if len(shared.members) < _EXPLAINED * len(case.members):
        return False
    fed = sum(bool(_fed(case, name)) for name in shared.members)
    if 2 * fed >= len(shared.members) or _its_release(case, shared.dependency, RELEASE_CAUSE_S):
        return True
    return len(shared.members) >= _COVERED * shared.readers


def _upstream(case: Case, shared: Shared) -> Finding:
    count, dependency = len(shared.members), shared.dependency
    itself = behind(case.members[0], dependency)
    release = _its_release(case, dependency, RELEASE_CAUSE_S)
    if release is not None:
        before = span(max(0.0, case.onsets[case.members[0]] - release.at))
        reason = (
            f"v{release.after} of {dependency} began to serve {before} before {count} that depend on it {_when(case)}"
        )
        advice = f"do not roll this back: look at {dependency}, whose v{release.after} came first"
    else:
        of = f"and {count - 1} other{'s' if count > 2 else ''} on {dependency}"
        if itself in shared.members:
            of = f"and {dependency} with {count - 1} that depend{'s' if count == 2 else ''} on it"
        reason = f"{_no_release(case)}, {of} {_when(case)}"
        advice = f"do not roll back: mend {dependency}, which {count} deployments share"
    finding = _elsewhere(case, AttributionKind.UPSTREAM, reason, advice)
    return _but_itself(finding, itself)


def _but_itself(finding: Finding, itself: DeploymentId | None) -> Finding:
    """The same, where the shared dependency is itself among the members: what is advised for it is to look at it."""
    attribution, advice, sentence = finding
    own = "others follow it: look at its inputs and its serving first, the version did not change"
    return attribution, tuple(replace(a, sentence=own) if a.deployment == itself else a for a in advice), sentence


def _elsewhere(case: Case, kind: AttributionKind, reason: str, advice: str) -> Finding:
    """What comes from elsewhere: no rollback."""
    fed = [words for name in case.members if (words := _fed(case, name))]
    reasons = [reason, *_acquittals(case)]
    if fed:
        reasons.append(f"inputs went bad in {len(fed)} of {len(case.members)}: {fed[0]}")
    sentence = f"{kind}: {reason}; rolling back will not help"
    return Attribution(kind, tuple(reasons)), _advice(case, advice, "upstream-fault"), sentence


def _lost_track(case: Case) -> Finding:
    words = not_counted(case.rules[case.members[0]], case.verdicts[case.members[0]])
    who = case.members[0].name if len(case.members) == 1 else f"{len(case.members)} deployments at once"
    reason = f"{_no_release(case)}, and of {who} {words}"
    advice = "find out whether events are lost on their way to the metrics; a rollback would not bring them back"
    attribution = Attribution(AttributionKind.TELEMETRY, (reason, *_acquittals(case)))
    return attribution, _advice(case, advice, "blind-telemetry"), f"telemetry: {reason}"


def _alone(case: Case) -> Finding:
    name = case.members[0]
    verdict, rule = case.verdicts[name], case.rules[name]
    if not_counted(rule, verdict) and not verdict.cooling:
        return _lost_track(case)
    for dependency in _dependencies(case).of(name):
        if (release := _its_release(case, dependency, _ITS_RELEASE_S)) is not None:
            before = span(max(0.0, case.onsets[name] - release.at))
            reason = f"v{release.after} of {dependency}, on which it depends, began to serve {before} before"
            advice = f"do not roll this back: look at {dependency}, whose v{release.after} came first"
            return _elsewhere(case, AttributionKind.UPSTREAM, reason, advice)
    if (words := _fed(case, name)) and not verdict.cooling:
        on = ", ".join(rule.deployment.depends_on) or "where they come from"
        reason = f"{_no_release(case)}, and its inputs went bad: {words}"
        advice = f"do not roll back: mend what feeds it ({on})"
        return _elsewhere(case, AttributionKind.UPSTREAM, reason, advice)
    reason = f"{_no_release(case)}, and no other deployment degraded with it"
    if verdict.cooling:
        advice = "fired again after an action: a second rollback needs a person's judgement"
        runbook: str | None = "rollback-of-a-rollback"
    else:
        advice = "look at its inputs and its serving first: " + _how_long(case, name)
        runbook = rule.runbook
    return (
        Attribution(AttributionKind.UNKNOWN, (reason, *_acquittals(case))),
        (Recommendation(name, None, None, advice, runbook),),
        f"unknown: {reason}",
    )


def _how_long(case: Case, name: DeploymentId) -> str:
    """For how long the version had served well when it degraded, where that is known."""
    onset = case.onsets[name]
    history = [r for r in case.releases if r.deployment == name and not r.rollback]
    found = [r for r in history if r.explains(onset, RELEASE_LOOK_BACK_S)]
    if not found:
        return "the version did not change"
    last = found[-1]
    if went_back(last, history):
        return f"v{last.after} had been brought back {span(onset - last.at)} before, and was well since"
    then = f"; if nothing is found, v{last.before} served before it" if last.before else ""
    return f"v{last.after} had served well for {span(max(0.0, onset - last.at))}{then}"
