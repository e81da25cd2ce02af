"""What deployments have in common: the dependency that most of them share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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


def shared_dependency(members: Sequence[DeploymentId], rules: Mapping[DeploymentId, DeploymentRule]) -> Shared | None:
    """The dependency that most members share (at least two), or None. Ties go to what the fewest others depend on (it
    explains best who is well), then to the first by name."""
    environment = members[0].environment
    fleet = {name: all_dependencies(rules, name) for name in rules if name.environment == environment}
    counts: dict[str, list[DeploymentId]] = {}
    for name in members:
        for dependency in fleet.get(name) or all_dependencies(rules, name):
            counts.setdefault(dependency, []).append(name)
    for dependency, those in counts.items():
        itself = DeploymentId(environment, dependency.removeprefix("deployment/"))
        if dependency.startswith("deployment/") and itself in members and itself not in those:
            those.append(itself)
    readers = {dependency: sum(dependency in on for on in fleet.values()) for dependency in counts}
    best = max(sorted(counts), key=lambda each: (len(counts[each]), -readers[each]), default=None)
    if best is None or len(counts[best]) < 2:
        return None
    return Shared(best, tuple(counts[best]), max(readers[best], len(counts[best])))


def all_dependencies(rules: Mapping[DeploymentId, DeploymentRule], name: DeploymentId) -> dict[str, None]:
    """What a deployment depends on, over other deployments too; its own first."""
    found: dict[str, None] = {}
    waiting = [name]
    while waiting:
        rule = rules.get(waiting.pop(0))
        for dependency in rule.deployment.depends_on if rule is not None else ():
            if dependency not in found:
                found[dependency] = None
                if dependency.startswith("deployment/"):
                    waiting.append(DeploymentId(name.environment, dependency.removeprefix("deployment/")))
    return found
