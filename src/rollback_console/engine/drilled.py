"""What drills have measured of the advised way back, said with the advice: "14 of 15 drills held, 4 m median"."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from rollback_console.model.identity import DeploymentId
from rollback_console.model.incident import AttributionKind, Incident, PathRecord, Recommendation
from rollback_console.model.rules import DeploymentRule

# (policy digest, recovery path, origin) -> what drills under that very policy came to
Records = Callable[[str, str, AttributionKind], PathRecord | None]


def with_records(
    incidents: tuple[Incident, ...], rules: Mapping[DeploymentId, DeploymentRule], records: Records
) -> tuple[Incident, ...]:
    """The incidents, each advice of a recovery path with its record where there is one."""
    return tuple(_recorded(incident, rules, records) for incident in incidents)


def _recorded(incident: Incident, rules: Mapping[DeploymentId, DeploymentRule], records: Records) -> Incident:
    said, kind = [], incident.attribution.kind
    for advice in incident.recommendations:
        rule = rules.get(advice.deployment)
        if advice.path is None or advice.record is not None or rule is None:
            said.append(advice)
            continue
        record = records(rule.policy_digest, advice.path, kind)
        said.append(advice if record is None else with_record(advice, record))
    if all(one is other for one, other in zip(said, incident.recommendations, strict=True)):
        return incident
    return replace(incident, recommendations=tuple(said))


def with_record(advice: Recommendation, record: PathRecord) -> Recommendation:
    """The advice and what drills say of it: a function of both, so that the sentence can be made again."""
    return replace(advice, sentence=f"{advice.sentence} ({words(record)})", record=record)


def words(record: PathRecord) -> str:
    """The record in a few words."""
    drills = "drill" if record.drills == 1 else "drills"
    said = f"{record.held} of {record.drills} {drills} held"
    return said if record.recover_s is None else f"{said}, {_span(record.recover_s)} median"


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} m"
