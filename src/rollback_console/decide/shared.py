"""What deployments have in common: the dependency that most of them share."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from rollback_console.model.identity import DeploymentId
from rollback_console.model.rules import DeploymentRule
from rollback_console.model.value import dataclass


@dataclass(frozen=True, slots=True)
class Shared:
    """What members of an incident share: who of them depend on it (over other deployments too), or are it; and how many
    of the fleet do."""

    dependency: str
    members: tuple[DeploymentId, ...]
    readers: int


class Dependencies:
    """Who depends on what, over other deployments too. Made anew for each grouping, and worked out where it is asked:
    mostly nobody is in trouble."""

    def __init__(self, rules: Mapping[DeploymentId, DeploymentRule]) -> None:
        self._rules = rules
        self._of: dict[DeploymentId, dict[str, None]] = {}
        self._readers: dict[str, Counter[str]] = {}

    def of(self, name: DeploymentId) -> Collection[str]:
        """What a deployment depends on; its own dependencies first."""
        found = self._of.get(name)
        if found is None:
            found = self._of[name] = {}
            waiting = [name]
            for each in waiting:
                rule = self._rules.get(each)
                for dependency in rule.deployment.depends_on if rule is not None else ():
                    if dependency not in found:
                        found[dependency] = None
                        if (other := behind(name, dependency)) is not None:
                            waiting.append(other)
        return found

    def readers(self, environment: str, dependency: str) -> int:
        """How many of an environment's deployments depend on it."""
        counts = self._readers.get(environment)
        if counts is None:
            names = (name for name in self._rules if name.environment == environment)
            counts = self._readers[environment] = Counter(itertools.chain.from_iterable(map(self.of, names)))
        return counts[dependency]


def behind(name: DeploymentId, dependency: str) -> DeploymentId | None:
    """The deployment that a dependency of `name` is, or None where it is something else."""
    other = dependency.removeprefix("deployment/")
    return DeploymentId(name.environment, other) if other != dependency else None


def shared_dependency(members: Sequence[DeploymentId], dependencies: Dependencies) -> Shared | None:
    """The dependency that most members share (at least two), or None. Ties go to what the fewest others depend on (it
    explains best who is well), then to the first by name."""
    first, among = members[0], set(members)
    counts: dict[str, list[DeploymentId]] = {}
    for name in members:
        for dependency in dependencies.of(name):
            counts.setdefault(dependency, []).append(name)
    for dependency, those in counts.items():
        itself = behind(first, dependency)
        if itself in among and itself not in those:
            those.append(itself)
    most = max((len(those) for those in counts.values()), default=0)
    if most < 2:
        return None
    candidates = sorted(dependency for dependency, those in counts.items() if len(those) == most)
    best = min(candidates, key=lambda each: dependencies.readers(first.environment, each))
    return Shared(best, tuple(counts[best]), max(dependencies.readers(first.environment, best), most))
