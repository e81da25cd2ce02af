"""Which deployment an alert is about: the metric backend's own alerts, told apart by the labels that policies give."""

from __future__ import annotations

from collections.abc import Sequence

from rollback_console.engine.queries import Splitter
from rollback_console.errors import UsageError
from rollback_console.model.identity import DeploymentId
from rollback_console.model.rules import DeploymentRule
from rollback_console.observe.protocol import KnowsAlerts, MetricBackend


async def alerting(
    name: str, metrics: MetricBackend, rules: Sequence[DeploymentRule], order: Sequence[DeploymentId]
) -> DeploymentId:
    """The deployment of the active alerts called `name`: of those that fire, else of those pending, the first in
    `order` (the fleet's, most urgent first). Raises UsageError with the reason, and what the backend raises."""
    nothing = f"there is no deployment {name} in this fleet"
    look = "/ filters the fleet by name"
    if not isinstance(metrics, KnowsAlerts):
        raise UsageError(nothing, look)
    called = [rule for rule in await metrics.rules() if rule.name == name]
    if not called:
        raise UsageError(f"{nothing}, and no alerting rule of that name", look)
    alerts = [alert for rule in called for alert in rule.alerts]
    if not alerts:
        raise UsageError(f"the alert {name} is {called[0].state}: there is nothing to open", look)
    splitter = Splitter(rules)
    anybody = set(range(len(rules))) | {-1}  # never a scope of one: that one would own what names nobody
    for state in ("firing", "pending"):
        found = {
            rules[index].deployment.id
            for alert in alerts
            if alert.state == state
            for index in splitter.owners(alert.labels, anybody)
        }
        if found:
            return next((each for each in order if each in found), min(found))
    raise UsageError(f"the alert {name} is {alerts[0].state}, but its labels name no deployment of this fleet", look)
