"""A Snapshot as the JSON that `status` and `watch` promise (command-line.md), and as lines for a person."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rollback_console.cli.common import rfc3339
from rollback_console.decide.change import why_not
from rollback_console.decide.impact import total_words, waiting, waiting_words
from rollback_console.decide.reasons import document, tree, why
from rollback_console.model.countdown import eta_words, hold_words
from rollback_console.model.identity import DeploymentId
from rollback_console.model.incident import Recommendation
from rollback_console.model.snapshot import DeploymentView, Snapshot
from rollback_console.model.text import duration, number
from rollback_console.model.verdict import Alone, TriggerState, Verdict

_GLYPHS = {
    TriggerState.FIRED: "▲",
    TriggerState.PENDING: "◔",
    TriggerState.CLEARING: "◑",
    TriggerState.COOLING: "◌",
    TriggerState.BLIND: "?",
    TriggerState.HEALTHY: "●",
}


def advice(snapshot: Snapshot) -> dict[DeploymentId, Recommendation]:
    """The recommendation for each deployment that has one."""
    return {each.deployment: each for each in snapshot.recommendations}


def deployment_facts(
    view: DeploymentView, recommended: Recommendation | None, *, explained: bool = False
) -> dict[str, Any]:
    """One deployment's facts, by the names of the contract; `explained`: with the reason tree, and what would have to
    change."""
    verdict = view.verdict
    facts: dict[str, Any] = {
        "deployment": view.id.name,
        "environment": view.id.environment,
        "version": verdict.version if verdict else None,
        "registry_version": view.registry_version,
        "state": str(verdict.state) if verdict else "unknown",
        "since": rfc3339(verdict.since) if verdict else None,
        "dwell_remaining_s": verdict.dwell_remaining_s if verdict else None,
        "eta_s": verdict.eta_s if verdict else None,
        "alone": alone_facts(verdict.alone) if verdict and verdict.alone else None,
        "blind": list(verdict.blind) if verdict else [],
        "fired_as_blind": bool(verdict and verdict.fired_as_blind),
        "signals": signal_facts(verdict) if verdict else [],
        "impact": impact_facts(verdict) if verdict else None,
        "incident": view.incident,
        "expected": expected_facts(view),
        "sentence": verdict.sentence if verdict else "not evaluated yet",
        "recommended": None,
    }
    if recommended is not None:
        facts["recommended"] = {
            "path": recommended.path,
            "to": recommended.to_version,
            "sentence": recommended.sentence,
            "runbook": recommended.runbook,
        }
    if explained and verdict is not None:
        facts["reasons"] = document(tree(view.rule, verdict))
        facts["why_not"] = list(why_not(view.rule, verdict))
    return facts


def expected_facts(view: DeploymentView) -> dict[str, Any] | None:
    """The change that is expected of it now, by hand or by its policy: alarms and advice wait."""
    change = view.expected
    return None if change is None else {"until": rfc3339(change.until), "reason": change.reason, "by": change.by}


def alone_facts(alone: Alone) -> dict[str, Any]:
    """Whose hold runs for want of another signal that agrees, and what shortened it."""
    return {
        "signal": alone.signal,
        "since": rfc3339(alone.since),
        "held_s": alone.held_s,
        "length_s": alone.length_s,
        "loss_per_minute": alone.loss_per_minute,
        "loss_budget": alone.budget,
        "unit": alone.unit or None,
        "words": hold_words(alone),
    }


def signal_facts(verdict: Verdict) -> list[dict[str, Any]]:
    return [
        {
            "name": s.name,
            "value": s.value,
            "baseline": s.baseline,
            "degradation_pct": s.degradation_pct,
            "breached": s.breached,
            "evidence": s.evidence,
            "bar": s.bar,
            "onset": rfc3339(s.onset),
            "degradation_pct_interval": list(s.interval) if s.interval is not None else None,
            "blind": str(s.blind) if s.blind else None,
        }
        for s in verdict.signals
    ]


def impact_facts(verdict: Verdict) -> dict[str, Any]:
    """The score and its parts. `total`: since `since`; `in_10_minutes`: what waiting costs, at what it costs now."""
    impact = verdict.impact
    later = {part.name: part.value for part in waiting(impact)}
    parts = [
        {
            "name": p.name,
            "value": p.value,
            "unit": p.unit,
            "interval": list(p.interval) if p.interval is not None else None,
            "points": round(p.points, 3),
            "most": p.most,
            "source": p.source,
            "total": p.total,
            "in_10_minutes": later.get(p.name),
        }
        for p in impact.parts
    ]
    return {
        "score": round(impact.score, 3),
        "parts": parts,
        "since": rfc3339(impact.since),
        "at_least": impact.at_least,
    }


def exit_code(views: Iterable[DeploymentView]) -> int:
    """1 if any fired; else 3 if any is blind (or not evaluated); else 0, pending included."""
    verdicts = [view.verdict for view in views]
    if any(v is not None and v.state in (TriggerState.FIRED, TriggerState.CLEARING) for v in verdicts):
        return 1
    return 3 if any(v is None or v.state is TriggerState.BLIND for v in verdicts) else 0


def lines(
    views: Iterable[DeploymentView], advised: Mapping[DeploymentId, Recommendation], *, explained: bool = False
) -> list[str]:
    """The fleet for a person: a line a deployment, and why, where it is not healthy; `explained`: for each the numbers
    behind it, what would have to change, and what it costs."""
    out = []
    for view in views:
        verdict = view.verdict
        if verdict is None:
            out.append(f"? unknown   {view.id}: not evaluated yet")
            continue
        told = hold_words(verdict.alone) if verdict.alone is not None else eta_words(verdict)
        if not told and verdict.dwell_remaining_s is not None:  # it stands still
            told = duration(verdict.dwell_remaining_s)
        left = f"  {told}" if told else ""
        frozen = " frozen" if verdict.frozen else ""
        served = f"v{verdict.version}" if verdict.version else "v?"
        if view.disagrees:
            served += f" (the registry says v{view.registry_version})"
        score = f"  impact {number(verdict.impact.score)}" if verdict.impact.score else ""
        out.append(f"{_GLYPHS[verdict.state]} {verdict.state.upper():<9} {view.id}  {served}{left}{frozen}{score}")
        if explained or verdict.state is not TriggerState.HEALTHY:
            out.append(f"    {verdict.sentence}")
            if view.id in advised:
                out.append(f"    advice: {advised[view.id].sentence}")
        if explained:
            costs = (total_words(verdict.impact), waiting_words(verdict.impact))
            out += [f"    why: {each}" for each in why(view.rule, verdict) if each != verdict.sentence]
            out += [f"    why not: {each}" for each in why_not(view.rule, verdict)]
            out += [f"    cost: {each}" for each in costs if each]
    return out
