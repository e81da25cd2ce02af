"""Whether a deployment's own release is to blame for its trouble, judged before anybody is grouped with anybody.

That a release came first is no proof: in a fleet that retrains every night, every outage of the morning follows
somebody's release. What acquits a release, each with its numbers:

- others that share a dependency with it, and that nothing of their own explains, degraded at the same moment, much
  nearer to its onset than the release was;
- what it depends on degraded as well, or released;
- its inputs went bad, while the release had long been serving well;
- a control beside it, which did not get the release, degraded as well;
- it was no release at all, but a way back to the version before.

A release within two minutes of the onset is never acquitted: that near, coincidence is the lesser explanation, and a
rollback undoes little. The reasoning is Bayes' with round numbers: an onset g after a release and d from the others'
is likelier theirs once d is well below g.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence

from rollback_console.decide.attribution import RELEASE_CAUSE_S, SLACK_S, Release, went_back
from rollback_console.decide.clues import inputs_words, silent, unanswered
from rollback_console.decide.evidence import AGREES, REST
from rollback_console.decide.shared import behind
from rollback_console.model.identity import DeploymentId
from rollback_console.model.rules import BaselineKind, DeploymentRule
from rollback_console.model.text import span
from rollback_console.model.value import dataclass
from rollback_console.model.verdict import TriggerState, Verdict

AT_ONCE_S = 120.0  # a release this near to the onset is to blame whatever else is true
_NEARER = 3.0  # others' onset must be so many times nearer than the release ...
_NEAR_S = 600.0  # ... and within this, where they share a dependency,
BARE_NEAR_S = 120.0  # ... or within this, where they share the moment and the signal alone
_ALIKE_S = 600.0  # releases that preceded their onsets by times more alike than this may be one cause: a train
_ESTIMATED, _MOST_OFF_S = 0.25, 900.0  # an estimated onset may be off by this share of the time since, at most so much


@dataclass(frozen=True, slots=True)
class Onset:
    """When a deployment's trouble began: `at`, as estimated where it is judged by evidence; `off_s`: by how much that
    may be off; `signals` that were breached first."""

    at: float
    off_s: float
    signals: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Origin:
    """What is known of one deployment's trouble by itself and its neighbourhood. `release`: its own, where one could
    explain the onset. `acquitted`: why that release is not to blame, else empty."""

    onset: Onset
    release: Release | None = None
    acquitted: str = ""

    @property
    def blamed(self) -> Release | None:
        """Its own release, where that is to blame."""
        return self.release if not self.acquitted else None


def onset_of(verdict: Verdict, first_breach: float, signals: tuple[str, ...]) -> Onset:
    """The likely beginning of trouble that was first noticed at `first_breach`, by `signals`: evidence fills long after
    a small degradation began, and then estimates when that was."""
    concerned = [s for s in verdict.signals if not s.aside and (s.name in signals or s.breached)]
    estimates = [s.onset for s in concerned if s.onset is not None]
    if not estimates:
        return Onset(first_breach, 0.0, signals)
    plain = any(s.onset is None and s.evidence is None for s in concerned)
    at = min([*estimates, first_breach] if plain else estimates)
    seen = verdict.since if verdict.since is not None and verdict.since > at else verdict.at
    return Onset(at, min(_MOST_OFF_S, _ESTIMATED * max(0.0, seen - at)), signals)


def merely_suspected(verdict: Verdict) -> bool:
    """Pending only because some evidence is on its way, and not far: with a thousand signals some always is. It is
    shown as pending, and says nothing of others."""
    if (
        verdict.state is not TriggerState.PENDING
        or verdict.alarming
        or any(s.breached and not s.aside for s in verdict.signals)
    ):
        return False
    meters = [(s.evidence, s.bar) for s in verdict.signals if s.evidence is not None and s.bar is not None]
    return bool(meters) and all(found < REST + AGREES * (bar - REST) for found, bar in meters)


def origins(
    rules: Mapping[DeploymentId, DeploymentRule],
    verdicts: Mapping[DeploymentId, Verdict],
    onsets: Mapping[DeploymentId, Onset],
    releases: Sequence[Release],
) -> dict[DeploymentId, Origin]:
    """The origin of every deployment in trouble (the keys of `onsets`). `releases`: oldest first."""
    of: dict[DeploymentId, list[Release]] = {}
    for release in releases:
        of.setdefault(release.deployment, []).append(release)
    found = {name: Origin(onset, _own_release(of.get(name, ()), onset)) for name, onset in onsets.items()}
    if all(origin.release is None for origin in found.values()):
        return found
    scene = _Scene(rules, verdicts, found, of)
    return {
        name: Origin(origin.onset, origin.release, scene.acquits(name, origin.onset, origin.release))
        if origin.release is not None
        else origin
        for name, origin in found.items()
    }


def explains(release: Release, onset: Onset, within: float = RELEASE_CAUSE_S) -> bool:
    """Could trouble that began so come from this release. An estimated onset may be off."""
    return not release.rollback and -SLACK_S - onset.off_s <= onset.at - release.at <= within


def _own_release(history: Sequence[Release], onset: Onset) -> Release | None:
    """The last release that could explain the onset; a way back to an older version is none."""
    found = [r for r in history if explains(r, onset) and not went_back(r, history)]
    return found[-1] if found else None


class _Scene:
    """Everything in trouble at once, by what it shares."""

    def __init__(
        self,
        rules: Mapping[DeploymentId, DeploymentRule],
        verdicts: Mapping[DeploymentId, Verdict],
        origins: Mapping[DeploymentId, Origin],
        releases: Mapping[DeploymentId, Sequence[Release]],
    ) -> None:
        self._rules, self._verdicts, self._origins, self._releases = rules, verdicts, origins, releases
        by_onset = sorted(origins, key=lambda name: (origins[name].onset.at, name))
        self._on: dict[tuple[str, str], list[DeploymentId]] = {}  # (environment, dependency) -> who depends on it
        self._with: dict[tuple[str, str], list[DeploymentId]] = {}  # (environment, symptom) -> who has it
        for name in by_onset:
            if unanswered(verdicts[name]):
                continue  # that a backend does not answer says nothing of what is shared
            for dependency in rules[name].deployment.depends_on:
                self._on.setdefault((name.environment, dependency), []).append(name)
            for symptom in symptoms(verdicts[name], origins[name].onset.signals):
                self._with.setdefault((name.environment, symptom), []).append(name)
        self._readers: dict[tuple[str, str], int] = {}
        for name, rule in rules.items():
            for dependency in rule.deployment.depends_on:
                self._readers[name.environment, dependency] = self._readers.get((name.environment, dependency), 0) + 1

    def acquits(self, name: DeploymentId, onset: Onset, release: Release) -> str:
        """Why its own release is not to blame for `name`'s trouble, or ""."""
        gap = onset.at - release.at
        if gap <= AT_ONCE_S + onset.off_s:
            return ""
        return (
            self._what_it_depends_on(name, onset, gap)
            or self._who_shares(name, onset, gap)
            or self._the_control(name, onset, gap)
            or self._the_inputs(name, onset, gap)
            or self._who_looks_alike(name, onset, gap)
        )

    def _near(self, name: DeploymentId, onset: Onset, gap: float, within: float) -> bool:
        other = self._origins[name].onset
        return abs(other.at - onset.at) <= min(within, gap / _NEARER) + max(onset.off_s, other.off_s)

    def _what_it_depends_on(self, name: DeploymentId, onset: Onset, gap: float) -> str:
        for dependency in self._rules[name].deployment.depends_on:
            other = behind(name, dependency)
            if other is None:
                continue
            if other in self._origins and self._near(other, onset, gap, _NEAR_S):
                apart = span(abs(self._origins[other].onset.at - onset.at))
                return f"{dependency}, on which it depends, degraded within {apart} of it"
            for release in self._releases.get(other, ()):
                later = onset.at - release.at
                if not release.rollback and -SLACK_S <= later <= min(_NEAR_S, gap / _NEARER):
                    return f"v{release.after} of {dependency}, on which it depends, began to serve {span(later)} before"
        return ""

    def _who_shares(self, name: DeploymentId, onset: Onset, gap: float) -> str:
        for dependency in self._rules[name].deployment.depends_on:
            others = self._companions(self._on.get((name.environment, dependency), []), name, onset, gap, _NEAR_S)
            readers = self._readers[name.environment, dependency] - 1
            if len(others) >= 2 or (others and readers <= 3):
                return self._told(others, f" of {readers} others on {dependency}", onset)
        return ""

    def _who_looks_alike(self, name: DeploymentId, onset: Onset, gap: float) -> str:
        for symptom in symptoms(self._verdicts[name], onset.signals):
            alike = self._with.get((name.environment, symptom), [])
            others = self._companions(alike, name, onset, gap, BARE_NEAR_S)
            if len(others) >= 2:
                return self._told(others, " others with the same symptom", onset)
        return ""

    def _told(self, others: Sequence[DeploymentId], what: str, onset: Onset) -> str:
        apart = max(abs(self._origins[other].onset.at - onset.at) for other in others)
        when = f"within {span(apart)} of it" if apart else "at the same moment"
        return f"{len(others)}{what} degraded {when}, and no release explains those"

    def _companions(
        self, candidates: Sequence[DeploymentId], name: DeploymentId, onset: Onset, gap: float, within: float
    ) -> list[DeploymentId]:
        """Who degraded so near to it, by nothing of its own, and not because of it."""
        widest = min(within, gap / _NEARER) + max(onset.off_s, _NEAR_S)
        low = bisect_left(candidates, onset.at - widest, key=self._onset_at)
        high = bisect_right(candidates, onset.at + widest, key=self._onset_at)
        return [
            other
            for other in candidates[low:high]
            if other != name
            and self._near(other, onset, gap, within)
            and self._by_nothing_of_its_own(other, gap)
            and not self._depends(other, name)
        ]

    def _onset_at(self, name: DeploymentId) -> float:
        return self._origins[name].onset.at

    def _by_nothing_of_its_own(self, other: DeploymentId, gap: float) -> bool:
        """No release of its own explains it, or one that preceded its onset by quite another time: two releases half an
        hour apart that both turn bad in the same minute are a coincidence, a train of releases is not."""
        theirs = self._origins[other]
        if theirs.release is None:
            return True
        later = theirs.onset.at - theirs.release.at
        return later > AT_ONCE_S + theirs.onset.off_s and abs(later - gap) > _ALIKE_S

    def _depends(self, other: DeploymentId, name: DeploymentId) -> bool:
        """Does it depend, over however many others, on `name`: then its trouble may be what this release made."""
        seen, waiting = {other}, [other]
        while waiting:
            rule = self._rules.get(waiting.pop())
            for dependency in rule.deployment.depends_on if rule is not None else ():
                found = behind(other, dependency)
                if found == name:
                    return True
                if found is not None and found not in seen:
                    seen.add(found)
                    waiting.append(found)
        return False

    def _the_control(self, name: DeploymentId, onset: Onset, gap: float) -> str:
        for control in controls(self._rules[name], self._rules):
            if control in self._origins and self._near(control, onset, gap, _NEAR_S):
                return f"its control {control.name}, which runs beside it, degraded as well"
        return ""

    def _the_inputs(self, name: DeploymentId, onset: Onset, gap: float) -> str:
        words = inputs_words(self._rules[name], self._verdicts[name], onset.at + onset.off_s)
        return f"it had served well for {span(gap)} when its inputs went bad: {words}" if words else ""


def controls(rule: DeploymentRule, rules: Mapping[DeploymentId, DeploymentRule]) -> Iterable[DeploymentId]:
    """Those of the fleet that a deployment is compared with as its control, by their own `deployment` label."""
    wanted = {
        signal.baseline.control
        for signal in rule.signals
        if signal.baseline is not None and signal.baseline.kind is BaselineKind.CONTROL and signal.baseline.control
    }
    if not wanted:
        return ()
    return (
        name
        for name, other in rules.items()
        if name != rule.deployment.id and dict(other.deployment.labels).get("deployment") in wanted
    )


def symptoms(verdict: Verdict, signals: tuple[str, ...]) -> list[str]:
    """What a deployment can have in common with another but a dependency: a signal that was breached at its onset (it
    may be seen no longer, while it clears or is blind), or silence of one kind."""
    if silent(verdict):
        return [f"silent/{kind}" for kind in dict.fromkeys(signal.blind for signal in verdict.signals) if kind]
    return list(signals)
