"""The explanation of the deployment that somebody looks at: made anew only when its verdict is another."""

from __future__ import annotations

from rollback_console.decide.change import why_not
from rollback_console.decide.impact import formula, total_words, waiting_words
from rollback_console.decide.reasons import why
from rollback_console.model.rules import DeploymentRule
from rollback_console.model.snapshot import Explanation
from rollback_console.model.verdict import Verdict


def explain(rule: DeploymentRule, verdict: Verdict, before: Explanation | None = None) -> Explanation:
    """The explanation of a verdict; `before`, where that is of the same evaluation."""
    if before is not None and before.deployment == verdict.deployment and before.at == verdict.at:
        return before
    impact = verdict.impact
    return Explanation(
        verdict.deployment,
        verdict.at,
        why(rule, verdict),
        why_not(rule, verdict),
        tuple(formula(rule.impact, part) for part in impact.parts),
        total_words(impact),
        waiting_words(impact),
    )
