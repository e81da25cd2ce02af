"""Who could not be helped: deployments that nobody judges, or that lack what an incident asks for. Pure: what policies
say, what the registry or the journal knows, and which runbooks there are, in; gaps with the line to add, out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from rollback_console.execute.marks import KNOWN_BAD_TAG
from rollback_console.model.registry import ModelVersion, RegisteredModel
from rollback_console.model.rules import DeploymentRule
from rollback_console.model.value import dataclass

READY = "READY"  # the registry's word for a version that can be deployed
ASKED = ("signal", "recovery path", "runbook", "owner", "dashboard", "second version")


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a deployment's model. `serving`: the version that its pointer names; `others`: those that could
    be gone back to. None: it cannot be told; `why` says why, or what stands in the way of the others."""

    serving: str | None
    others: tuple[str, ...] | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Gap:
    """What is missing, and the line that mends it. `where` is the file it belongs in, "" outside any."""

    deployment: str
    what: str
    detail: str
    where: str
    add: str


@dataclass(frozen=True, slots=True)
class Covered:
    """One deployment. `holds`: for each of `ASKED` True, False, or None where it cannot be told."""

    deployment: str
    policy: str
    where: str
    holds: tuple[bool | None, ...]
    gaps: tuple[Gap, ...]


@dataclass(frozen=True, slots=True)
class Coverage:
    """`unjudged`: what has a pointer in the registry, or moved in the journal, and no policy."""

    deployments: tuple[Covered, ...]
    unjudged: tuple[Gap, ...]

    @property
    def gaps(self) -> tuple[Gap, ...]:
        return (*self.unjudged, *(gap for each in self.deployments for gap in each.gaps))

    @property
    def complete(self) -> bool:
        return not self.gaps


def coverage(
    rules: Sequence[tuple[DeploymentRule, str]],
    known: Mapping[str, Known],
    runbook: Callable[[str], str | None],
    unjudged: Sequence[Gap] = (),
) -> Coverage:
    """Look at every rule (with the file it stands in). `known` by `environment/name`; `runbook` says what is wrong with
    one ("" nothing, None: it cannot be told)."""
    return Coverage(tuple(_covered(rule, where, known, runbook) for rule, where in rules), tuple(unjudged))


def _covered(
    rule: DeploymentRule, where: str, known: Mapping[str, Known], runbook: Callable[[str], str | None]
) -> Covered:
    name = str(rule.deployment.id)
    looked = [
        _signal(rule), _path(rule), _runbook(rule, runbook), _owner(rule), _dashboard(rule),
        _second(rule, known.get(name)),
    ]  # fmt: skip
    gaps = tuple(
        Gap(name, what, detail, "" if what == "second version" else where, add)
        for what, (holds, detail, add) in zip(ASKED, looked, strict=True)
        if holds is False
    )
    return Covered(name, rule.policy, where, tuple(holds for holds, _, _ in looked), gaps)


_Looked = tuple[bool | None, str, str]  # holds, what is wrong, the line to add
_HOLDS: _Looked = (True, "", "")


def _signal(rule: DeploymentRule) -> _Looked:
    if any(signal.area == "business" and not signal.aside for signal in rule.signals):
        return _HOLDS
    line = "conversion: {area: business, worse: lower, x: PROMQL, n: PROMQL, baseline: {kind: seasonal}}  # in signals:"
    return False, "no signal of the business: what hurts customers alone is not seen", line


def _path(rule: DeploymentRule) -> _Looked:
    if rule.recovery:
        return _HOLDS
    line = "recovery: [{path: version, driver: mlflow-alias, target: last_known_good}]"
    return False, "no recovery path: nothing can be rolled back from here", line


def _runbook(rule: DeploymentRule, look: Callable[[str], str | None]) -> _Looked:
    line = "runbook: model-version-rollback.md"
    if not rule.runbook:
        return False, "no runbook", line
    wrong = look(rule.runbook)
    return (None, "", "") if wrong is None else (False, wrong, line) if wrong else _HOLDS


def _owner(rule: DeploymentRule) -> _Looked:
    if rule.deployment.owners:
        return _HOLDS
    return False, "no owner: nobody is told, and no team's rate counts it", "owners: [team-NAME]"


def _dashboard(rule: DeploymentRule) -> _Looked:
    titles = [title for title, _ in rule.deployment.links]
    if any("dashboard" in title.casefold() for title in titles):
        return _HOLDS
    told = f"links: {', '.join(titles)}; none is called a dashboard" if titles else "no link to a dashboard"
    return False, told, 'links: {dashboard: "https://HOST/d/ID?var-model=$deployment"}'


def _second(rule: DeploymentRule, known: Known | None) -> _Looked:
    if known is None or known.others is None:
        return None, "", ""
    if known.others:
        return _HOLDS
    model = rule.deployment.model
    why = known.why or f"v{known.serving} of {model} is the only one"
    return False, f"nothing to go back to: {why}", f"register a second version of {model} that is {READY}"


def in_registry(rule: DeploymentRule, model: RegisteredModel | None, versions: Sequence[ModelVersion]) -> Known:
    """What the registry says of a deployment's model."""
    alias, name = rule.deployment.alias, rule.deployment.model
    if model is None:
        return Known(None, (), f"the registry has no model {name}")
    serving = model.pointer(alias)
    if serving is None:
        return Known(None, (), f"{name} has no alias {alias}")
    others = [each for each in versions if each.version != serving]
    bad = [each.version for each in others if KNOWN_BAD_TAG in dict(each.tags)]
    unready = [each.version for each in others if each.status != READY and each.version not in bad]
    good = tuple(each.version for each in others if each.version not in bad and each.version not in unready)
    why = ", ".join(
        [f"v{version} is known bad" for version in bad[:3]] + [f"v{version} is not {READY}" for version in unready[:3]]
    )
    return Known(serving, good, why)


def without_policy(models: Sequence[RegisteredModel], rules: Sequence[DeploymentRule]) -> tuple[Gap, ...]:
    """The pointers in the registry that no policy names, each with the line to put under a policy's `deployments:`."""
    named = {(rule.deployment.model, rule.deployment.alias) for rule in rules}
    judged = {rule.deployment.model for rule in rules}
    found = []
    for model in sorted(models, key=lambda each: each.name):
        for alias, version in sorted(model.aliases):
            if (model.name, alias) in named:
                continue
            detail = f"{model.name}@{alias} (v{version}) is in no policy"
            if model.name in judged:
                detail += "; another alias of it is"
            line = f"- {{name: {model.name}, environment: NAME, model: {{name: {model.name}, alias: {alias}}}}}"
            found.append(Gap(f"{model.name}@{alias}", "policy", detail, "deployments:", line))
    return tuple(found)
