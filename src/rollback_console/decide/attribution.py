"""Where a degradation likely comes from (first form), and what is then advised.

`release`: the onset follows a version change of this deployment. `upstream`: others that share a dependency degrade
too and none of them released. `infrastructure`: several that share nothing degrade at once, none released.
`telemetry`: what cannot be seen, not what is bad. Only `release` recommends a rollback.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from rollback_console.model.identity import DeploymentId
from rollback_console.model.incident import Attribution, AttributionKind, Recommendation
from rollback_console.model.observation import Blind
from rollback_console.model.rules import DeploymentRule
from rollback_console.model.text import span
from rollback_console.model.verdict import TriggerState, Verdict

RELEASE_CAUSE_S = 7200.0  # a release this long before the first breach explains it
RELEASE_LOOK_BACK_S = 2 * 86_400.0  # how far back "no release here" looks
_SLACK_S = 60.0  # serving may report a version a scrape later than users meet it


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
        return not self.rollback and -_SLACK_S <= onset - self.at <= within


@dataclass(frozen=True, slots=True)
class Case:
    """Deployments in trouble together, and what is known about them. Members: first to degrade first. `executing`: to
    which version a rollback of a deployment is under way now."""

    members: Sequence[DeploymentId]
    onsets: Mapping[DeploymentId, float]
    verdicts: Mapping[DeploymentId, Verdict]
    rules: Mapping[DeploymentId, DeploymentRule]
    releases: Sequence[Release]
    fleet: int
    blind: int
    executing: Mapping[DeploymentId, str] = field(default_factory=dict)


Finding = tuple[Attribution, tuple[Recommendation, ...], str]


def attribute(case: Case) -> Finding:
    """The attribution with its reasons, a recommendation a member, and the incident's sentence."""
    attribution, advice, sentence = _attributed(case)
    return attribution, tuple(_as_it_runs(case, attribution.kind, each) for each in advice), sentence


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
    if all(silent(case.verdicts[name]) for name in case.members):
        return _silent(case)
    if len(case.members) >= 2:
        return _together(case)
    return _alone(case)


def release_before(case: Case, name: DeploymentId) -> Release | None:
    """The last release of `name` that could explain its onset, or None."""
    found = [r for r in case.releases if r.deployment == name and r.explains(case.onsets[name])]
    return found[-1] if found else None


def silent(verdict: Verdict) -> bool:
    """Is it in trouble only for not being seen. What fired before it fell silent is not: it is known to be bad."""
    if verdict.state is TriggerState.BLIND:
        return True
    return verdict.state is TriggerState.PENDING and verdict.condition is None and verdict.fired_as_blind


def unanswered(verdict: Verdict) -> bool:
    """Silent, and because the backend answers none of its queries."""
    blind = [signal.blind for signal in verdict.signals if signal.blind is not None]
    return silent(verdict) and bool(blind) and all(kind is Blind.QUERY_FAILED for kind in blind)


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
        later = max(0.0, case.onsets[release.deployment] - release.at)
        verb = "fell silent" if silent(case.verdicts[release.deployment]) else "degraded"
        reasons.append(
            f"{release.deployment.name} {verb} {span(later)} after v{release.after} began to serve"
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
    return Attribution(AttributionKind.RELEASE, tuple(reasons)), tuple(advice), f"release: {reasons[0]}"


def _release_advice(case: Case, release: Release) -> Recommendation:
    name, rule, verdict = release.deployment, case.rules[release.deployment], case.verdicts[release.deployment]
    if verdict.cooling:
        sentence = "a rollback was made within the cool-down: a second one needs a person's judgement"
        return Recommendation(name, None, None, sentence, "rollback-of-a-rollback")
    if silent(verdict):
        sentence = f"look at serving by hand first: if v{release.after} does not serve, roll back"
        return Recommendation(name, None, release.before, sentence, "blind-telemetry")
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


def _no_release(case: Case) -> str:
    onset = case.onsets[case.members[0]]
    recent = {
        r.deployment
        for r in case.releases
        if r.deployment in case.onsets and not r.rollback and r.explains(onset, RELEASE_LOOK_BACK_S)
    }
    if recent:
        return f"no release here in the {span(RELEASE_CAUSE_S)} before ({len(recent)} released in the last 2 days)"
    return "no release here in the last 2 days"


def shared_dependency(case: Case) -> str | None:
    """The dependency that most members share (at least two), or None. Ties go to the first by name."""
    counts: dict[str, int] = {}
    for name in case.members:
        for dependency in case.rules[name].deployment.depends_on:
            counts[dependency] = counts.get(dependency, 0) + 1
    best = max(sorted(counts), key=lambda dependency: counts[dependency], default=None)
    return best if best is not None and counts[best] >= 2 else None


def _together(case: Case) -> Finding:
    onsets = [case.onsets[name] for name in case.members]
    apart, others = max(onsets) - min(onsets), len(case.members) - 1
    when = f"degraded within {span(apart)}" if apart else "degraded at the same moment"
    shared = shared_dependency(case)
    count = f"{others} other{'s' if others > 1 else ''}"
    if shared is not None:
        reason = f"{_no_release(case)}, and {count} on {shared} {when}"
        sentence = f"upstream: {reason}; rolling back will not help"
        advice = f"do not roll back: mend {shared}, which {len(case.members)} deployments share"
        return Attribution(AttributionKind.UPSTREAM, (reason,)), _advice(case, advice, "upstream-fault"), sentence
    reason = f"{_no_release(case)}, and {count} that share no named dependency {when}"
    advice = "do not roll back: look at what they run on"
    sentence = f"infrastructure: {reason}; rolling back will not help"
    return Attribution(AttributionKind.INFRASTRUCTURE, (reason,)), _advice(case, advice, "upstream-fault"), sentence


def _alone(case: Case) -> Finding:
    name = case.members[0]
    reason = f"{_no_release(case)}, and no other deployment degraded with it"
    verdict, rule = case.verdicts[name], case.rules[name]
    if verdict.cooling:
        advice = "fired again after an action: a second rollback needs a person's judgement"
        runbook: str | None = "rollback-of-a-rollback"
    else:
        advice = "look at its inputs and its serving first: the version did not change"
        runbook = rule.runbook
    return (
        Attribution(AttributionKind.UNKNOWN, (reason,)),
        (Recommendation(name, None, None, advice, runbook),),
        f"unknown: {reason}",
    )
