"""A recovery path bound to a deployment now: its bytes, its digest, its phrase.

The digest is SHA-256 over RFC 8785 JSON, so that anyone can recompute it from the stored plan.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import rfc8785

from rollback_console.errors import InputError
from rollback_console.execute.target import Target
from rollback_console.model.identity import DeploymentId
from rollback_console.model.plan import Check, Plan, Stage
from rollback_console.model.rules import AuthorityRule, DeploymentRule, RecoveryPath
from rollback_console.model.text import span

_NOT_IN_DIGEST = ("checks", "created_at", "expires_at", "digest", "why_target", "against")


def make_plan(
    *,
    rule: DeploymentRule,
    path: RecoveryPath,
    from_version: str,
    target: Target,
    manual: Callable[[Plan], tuple[str, ...]],
    now: float,
    against: str = "",
) -> Plan:
    """A plan without its checks yet (`preflight` makes those, `with_checks` adds them). `manual` is the driver's;
    `against` why the console advises against it, or ""."""
    deployment = rule.deployment
    draft = Plan(
        deployment=deployment.id,
        model=deployment.model,
        alias=deployment.alias,
        from_version=from_version,
        to_version=target.version,
        path=path.name,
        driver=path.driver,
        stages=_stages(deployment.alias, from_version, target.version, path),
        verify_for_s=float(path.verify_for_s),
        verify_within_s=float(path.verify_within_s),
        authority=path.authority,
        policy_digest=rule.policy_digest,
        manual=(),
        why_target=target.why,
        checks=(),
        created_at=float(now),
        expires_at=float(now + path.authority.expires_s),
        digest="",
        against=against,
    )
    whole = replace(draft, manual=manual(draft))
    return replace(whole, digest=plan_digest(whole))


def with_checks(plan: Plan, checks: tuple[Check, ...]) -> Plan:
    """The same plan (the digest does not cover checks) with what preflight said."""
    return replace(plan, checks=checks)


def phrase(plan: Plan, *, rehearsal: bool = False) -> str:
    """What must be typed to execute it: ``production/checkout-ranker v7``, in a rehearsal after ``rehearsal``."""
    words = f"{plan.deployment} v{plan.to_version}"
    return f"rehearsal {words}" if rehearsal else words


def _stages(alias: str, before: str, after: str, path: RecoveryPath) -> tuple[Stage, ...]:
    within, steady = span(path.verify_within_s), span(path.verify_for_s)
    return (
        Stage("compare", f"reads {alias}", f"it must still name v{before}"),
        Stage("set", f"points {alias} to v{after}", "only if nobody moved it meanwhile"),
        Stage("registry", f"reads {alias} again", f"it must name v{after}"),
        Stage("tag", f"tags v{before} as rolled back from", "a failure is said, and does not undo the move"),
        Stage("serving", "asks serving what it serves", f"it must report v{after} within {within}"),
        Stage(
            "signals",
            f"watches the signals, from then on; marks v{before} known bad once they have recovered",
            f"healthy for {steady}, within {within}",
        ),
    )


def _document(plan: Plan) -> dict[str, Any]:
    authority = plan.authority
    return {
        "deployment": str(plan.deployment),
        "model": plan.model,
        "alias": plan.alias,
        "from_version": plan.from_version,
        "to_version": plan.to_version,
        "path": plan.path,
        "driver": plan.driver,
        "stages": [[stage.name, stage.does, stage.gate] for stage in plan.stages],
        "verify_for_s": plan.verify_for_s,
        "verify_within_s": plan.verify_within_s,
        "authority": {
            "request": list(authority.request),
            "approve_of": list(authority.approve_of),
            "approve_count": authority.approve_count,
            "expires_s": authority.expires_s,
        },
        "policy_digest": plan.policy_digest,
        "manual": list(plan.manual),
        "why_target": plan.why_target,
        "checks": [[check.name, check.ok, check.detail, check.remedy] for check in plan.checks],
        "created_at": plan.created_at,
        "expires_at": plan.expires_at,
        "digest": plan.digest,
        "against": plan.against,
    }


def plan_digest(plan: Plan) -> str:
    """SHA-256, hex, over the fields that make it the same plan (see `Plan`)."""
    document = {"schema": "rollback-console/plan/v1", **_document(plan)}
    return hashlib.sha256(_canonical({k: v for k, v in document.items() if k not in _NOT_IN_DIGEST})).hexdigest()


def plan_bytes(plan: Plan) -> bytes:
    """The whole plan as RFC 8785 JSON; `plan_from_bytes` gives it back exactly."""
    return _canonical({"schema": "rollback-console/plan/v1", **_document(plan)})


def _canonical(document: dict[str, Any]) -> bytes:
    try:
        return rfc8785.dumps(document)
    except (rfc8785.CanonicalizationError, UnicodeError) as error:
        raise InputError(f"the plan cannot be written down exactly: {error}", "is a name not valid text?") from error


def plan_from_bytes(data: bytes) -> Plan:
    """The plan in `data`. Raises InputError when these are not a plan's bytes, or its digest is not its text's."""
    try:
        raw = json.loads(data)
        if raw["schema"] != "rollback-console/plan/v1":
            raise ValueError(f"schema {raw['schema']}")
        authority = raw["authority"]
        plan = Plan(
            deployment=DeploymentId.parse(raw["deployment"]),
            model=raw["model"],
            alias=raw["alias"],
            from_version=raw["from_version"],
            to_version=raw["to_version"],
            path=raw["path"],
            driver=raw["driver"],
            stages=tuple(Stage(*stage) for stage in raw["stages"]),
            verify_for_s=float(raw["verify_for_s"]),
            verify_within_s=float(raw["verify_within_s"]),
            authority=AuthorityRule(
                tuple(authority["request"]),
                tuple(authority["approve_of"]),
                authority["approve_count"],
                float(authority["expires_s"]),
            ),
            policy_digest=raw["policy_digest"],
            manual=tuple(raw["manual"]),
            why_target=raw["why_target"],
            checks=tuple(Check(*check) for check in raw["checks"]),
            created_at=float(raw["created_at"]),
            expires_at=float(raw["expires_at"]),
            digest=raw["digest"],
            against=raw.get("against", ""),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"these are not a plan's bytes: {error}", "plan again") from error
    if plan_digest(plan) != plan.digest:
        raise InputError("the plan's text is not the one its digest names", "plan again")
    return plan
