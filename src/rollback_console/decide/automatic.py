"""May a deployment be rolled back by itself now: everything that has to hold, asked of one evaluation.

Nothing here acts. `engine.automatic` announces what this lets through, asks again at every evaluation while it is
announced, and carries it out when the time is over and everything still holds.
"""

from __future__ import annotations

from rollback_console.decide.guards import Acts, clock, holding
from rollback_console.model.incident import AttributionKind, Incident, Recommendation
from rollback_console.model.rules import DeploymentRule, Mode, RecoveryPath
from rollback_console.model.text import plain
from rollback_console.model.value import dataclass
from rollback_console.model.verdict import TriggerState, Verdict


@dataclass(frozen=True, slots=True)
class Go:
    """What may be done by itself: the path, the version it goes back to, and why, in one sentence."""

    path: RecoveryPath
    to_version: str
    words: str


def automatic(
    rule: DeploymentRule,
    verdict: Verdict,
    incident: Incident | None,
    acts: Acts,
    *,
    snoozed_until: float | None = None,
) -> Go | str:
    """What may be done by itself at the time of `verdict`, or the sentence that says why nothing may.

    All of these: the policy's mode is `act`; the trigger fired, and not for blindness; its incident is attributed to a
    release, and what is advised is a rollback to a known version by a path that may go by itself; nobody snoozed the
    deployment, no rollback of it is under way; and no guard holds back (`decide.guards`).
    """
    if rule.mode is not Mode.ACT:
        return f"the mode is {rule.mode}"
    if verdict.state is not TriggerState.FIRED:
        return f"it is {verdict.state}"
    if verdict.fired_as_blind:
        return "it fired for not being seen"
    if incident is None or incident.attribution.kind is not AttributionKind.RELEASE:
        return f"attributed to {incident.attribution.kind}, not to a release" if incident else "no incident is open"
    advice = next((each for each in incident.recommendations if each.deployment == rule.deployment.id), None)
    path = _path(rule, advice)
    if advice is None or path is None or advice.to_version is None:
        return plain(advice.sentence, 200) if advice is not None else "nothing is advised for it"
    if path.authority.automatic_after_s is None:
        return f"the path {path.name} waits for people"
    if snoozed_until is not None and verdict.at < snoozed_until:
        return f"snoozed until {clock(snoozed_until, verdict.at)}"
    held = holding(rule.trigger, verdict.at, acts)
    if held:
        return "; ".join(each.words for each in held)
    return Go(path, advice.to_version, plain(advice.sentence, 200))


def _path(rule: DeploymentRule, advice: Recommendation | None) -> RecoveryPath | None:
    """The path that is advised, where its target is free or is the version that is advised."""
    if advice is None or advice.path is None:
        return None
    found = next((path for path in rule.recovery if path.name == advice.path), None)
    return found if found is not None and found.target in ("last_known_good", advice.to_version) else None
