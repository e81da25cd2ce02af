"""What must hold before anyone may execute a plan. Each check is a sentence; "cannot be told" refuses as well."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Protocol, runtime_checkable

from rollback_console.errors import BackendError
from rollback_console.execute.locks import DeploymentLock, words
from rollback_console.execute.marks import PAUSED_TAG
from rollback_console.execute.protocol import Driver
from rollback_console.model.identity import Deployment
from rollback_console.model.plan import Check, Plan
from rollback_console.model.registry import ModelVersion

_NAMED = 4  # differences that a sentence names


@runtime_checkable
class KnowsPaused(Protocol):
    """A driver whose system can say which re-promoting jobs are paused for a model."""

    async def paused(self, model: str) -> tuple[str, ...]: ...


async def preflight(
    plan: Plan, driver: Driver, deployment: Deployment, lock: DeploymentLock | None, now: float
) -> tuple[Check, ...]:
    """All checks of a plan: what is known here, then what only the driver's system can answer. Never raises
    `BackendError`: a backend that does not answer makes checks that cannot be told. `lock` None: not asked (the caller
    holds it)."""
    checks = [check_not_expired(plan, now), check_not_current(plan)]
    if lock is not None:
        holder = lock.holder()
        checks.append(check_lock(words(holder) if holder is not None else None))
    if deployment.repromoted_by:
        checks.append(await _check_repromotion(plan, driver, deployment.repromoted_by))
    try:
        checks.extend(await driver.preflight(plan))
    except BackendError as error:
        checks.append(Check("registry", None, f"the registry cannot be asked: {error}"))
    return tuple(checks)


def check_not_expired(plan: Plan, now: float) -> Check:
    at = datetime.fromtimestamp(plan.expires_at, UTC).strftime("%H:%M:%S UTC")
    if now >= plan.expires_at:
        return Check("not expired", False, f"the plan expired at {at}: plan again")
    return Check("not expired", True, f"the plan holds until {at}")


def check_not_current(plan: Plan) -> Check:
    if plan.to_version == plan.from_version:
        return Check("another version", False, f"v{plan.to_version} is the version it already points to")
    return Check("another version", True, f"from v{plan.from_version} to v{plan.to_version}")


def check_lock(holder: str | None) -> Check:
    if holder is not None:
        return Check("nobody else executes", False, f"{holder} is executing on this deployment")
    return Check("nobody else executes", True, "no execution runs on this deployment from this machine")


def check_advisory(holder: str | None) -> Check:
    """The registry's advisory lock: `holder` in words, None when free or expired."""
    if holder is not None:
        return Check("advisory lock", False, f"{holder} holds the registry's advisory lock")
    return Check("advisory lock", True, "nobody holds the registry's advisory lock (not every tool looks at it)")


def check_pointer(plan: Plan, current: str | None) -> Check:
    if current == plan.from_version:
        return Check("pointer as planned", True, f"{plan.alias} points to v{current}")
    if current is None:
        return Check("pointer as planned", False, f"{plan.model} has no pointer {plan.alias}")
    return Check(
        "pointer as planned", False, f"{plan.alias} points to v{current}, not v{plan.from_version}: plan again"
    )


def check_exists(plan: Plan, version: ModelVersion | None) -> Check:
    if version is None:
        return Check("exists and READY", False, f"{plan.model} has no v{plan.to_version}")
    if version.status != "READY":
        return Check("exists and READY", False, f"v{plan.to_version} is {version.status}, not READY")
    return Check("exists and READY", True, f"v{plan.to_version} is in the registry and READY")


def check_not_known_bad(plan: Plan, tags: Mapping[str, str], key: str, remedy: str) -> Check:
    """`tags` are the target's; `key` the mark's name; `remedy` how to take it off (a shell line)."""
    if key in tags:
        words = f"v{plan.to_version} is marked known bad ({tags[key]})"
        return Check("not known bad", False, f"{words}; if that is no longer so, take the mark off", remedy)
    return Check("not known bad", True, f"nobody marked v{plan.to_version} as known bad")


def check_signatures(before: ModelVersion | None, after: ModelVersion | None) -> Check:
    """Callers built for the current version must be understood by the target, and find in its answers what they read.

    MLflow's schema enforcement ignores inputs that a model does not name and refuses a call that lacks a required one;
    so an input that the target does not take is harmless, one that only the target requires is not. For outputs it is
    the other way round: a missing one breaks whoever reads it, a new one breaks nobody.

    A signature that was never recorded passes, and says so. Refusing would block the way back for every team that does
    not log signatures, and the target's own past service under the same callers is the stronger evidence.
    """
    name = "signature compatible"
    if before is None or after is None:
        return Check(name, None, "one of the two versions is not in the registry")
    if not before.signature or not after.signature:
        which = " and ".join(f"v{item.version}" for item in (before, after) if not item.signature)
        return Check(name, True, f"no signature is recorded for {which}, so there is nothing to compare")
    try:
        old, new = _signature(before.signature), _signature(after.signature)
    except ValueError:
        return Check(name, None, "a recorded signature cannot be read")
    harmless: list[str] = []
    differences = [
        words for part in ("inputs", "outputs") for words in _differences(part, old.get(part), new.get(part), harmless)
    ]
    if not differences:
        words = f"v{after.version} takes and gives what v{before.version} does"
        but = f", but for what breaks no caller: {', '.join(harmless[:_NAMED])}" if harmless else ""
        return Check(name, True, words + but)
    rest = f" and {len(differences) - _NAMED} more" if len(differences) > _NAMED else ""
    return Check(
        name, False, f"v{after.version} differs from v{before.version}: {', '.join(differences[:_NAMED])}{rest}"
    )


async def _check_repromotion(plan: Plan, driver: Driver, job: str) -> Check:
    name = "nothing re-promotes"
    hint = f"the policy says that {job} moves this pointer by itself, which would undo the rollback"
    if not isinstance(driver, KnowsPaused):
        return Check(name, None, f"{hint}; whether it is paused cannot be seen from here")
    try:
        paused = await driver.paused(plan.model)
    except BackendError as error:
        return Check(name, None, f"{hint}; whether it is paused cannot be told: {error}")
    if job in paused:
        return Check(name, True, f"{job} is marked as paused in the registry")
    return Check(name, None, f"{hint}; pause it, and say so in the registry: tag {plan.model} {PAUSED_TAG}={job}")


def _signature(text: str) -> dict[str, Any]:
    """A signature as {"inputs": [...], "outputs": [...]}; MLflow keeps each part as JSON text inside JSON."""
    document = json.loads(text)
    if not isinstance(document, dict):
        raise ValueError("not a signature")
    return {part: json.loads(value) if isinstance(value, str) else value for part, value in document.items()}


def _differences(part: str, old: Any, new: Any, harmless: list[str]) -> list[str]:
    """What would break callers, in words; what would not goes to `harmless`."""
    if old == new:
        return []
    if not (_columns(old) and _columns(new)):
        return [f"{part} changed"]
    before = {str(item.get("name", index)): item for index, item in enumerate(old)}
    after = {str(item.get("name", index)): item for index, item in enumerate(new)}
    single = part.removesuffix("s")
    named = all("name" in item for item in (*old, *new))  # without names the position counts, and nothing is harmless
    breaks: list[str] = []
    for name in (each for each in before if each not in after):
        (harmless if named and part == "inputs" else breaks).append(f"{single} {name} is missing")
    for name, item in ((each, item) for each, item in after.items() if each not in before):
        unneeded = named and (part == "outputs" or not item.get("required", True))
        (harmless if unneeded else breaks).append(f"{single} {name} is new")
    breaks += [
        f"{single} {name} is {_type(after[name])}, was {_type(item)}"
        for name, item in before.items()
        if name in after and after[name] != item
    ]
    if not breaks and not harmless:
        (harmless if named else breaks).append(f"the order of {part} changed")  # MLflow puts named ones in order
    return breaks


def _columns(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _type(column: dict[str, Any]) -> str:
    kind = column.get("type", "of unknown type")
    if kind == "tensor" and isinstance(column.get("tensor-spec"), dict):
        spec = column["tensor-spec"]
        return f"tensor {spec.get('dtype')} {spec.get('shape')}"
    return str(kind) if column.get("required", True) else f"optional {kind}"
