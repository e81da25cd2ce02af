"""The policy that a scenario is judged by: its own, one of the wheel's, or a team's."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from rollback_console.model.value import dataclass
from rollback_console.policy import yaml_marks
from rollback_console.policy.load import LoadedPolicy, parse_policy

if TYPE_CHECKING:
    from rollback_console.model.rules import DeploymentRule
    from rollback_console.policy.scenario import Scenario, ScenarioDeployment
    from rollback_console.rehearse.setup import Setup

DEFAULT = "practice.yaml"
_ANNOUNCED = "1m"  # for how long a path that may be taken by itself is announced, where its policy says nothing


@dataclass(frozen=True, slots=True)
class Paper:
    """A policy's bytes. `generated`: its deployments are the scenario's own."""

    name: str
    data: bytes
    generated: bool

    def rules(self) -> tuple[DeploymentRule, ...]:
        """What it compiles to. Raises FileProblems."""
        return _parsed(self.data, self.name).rules


@lru_cache(maxsize=8)
def _parsed(data: bytes, name: str) -> LoadedPolicy:
    return parse_policy(data, name)


def paper(words: Scenario, path: Path | None, policy: Path | None, mode: str | None) -> Paper:
    """The policy of a scenario (`path`: its file, None for one of the wheel's), or the one in the file `policy`.

    One that names no deployments gets the scenario's; one of the wheel's always does. `mode` takes the place of the
    policy's. Raises FileProblems for a policy that is not right.
    """
    name, data, shipped = _found(words, path, policy)
    document = yaml_marks.parse(data, name)
    generated = shipped or "deployments" not in document.data
    if not generated and mode in (None, document.data.get("mode", "advise")):
        found = Paper(name, data, generated=False)
    else:
        changed = dict(document.data)
        if generated:
            changed["deployments"] = [_deployment(words, each) for each in words.world.deployments]
        found = Paper(name, _written(_in_mode(changed, mode)), generated)
    found.rules()  # what is wrong with it is said now
    return found


def _found(words: Scenario, path: Path | None, policy: Path | None) -> tuple[str, bytes, bool]:
    """Name and bytes of the policy's file, and whether it is one of the wheel's."""
    if policy is not None:
        return str(policy), yaml_marks.read(policy, str(policy)), False
    written = words.policy or DEFAULT
    beside = path.parent / Path(written).expanduser() if path is not None and words.policy else None
    if beside is not None and beside.is_file():
        return str(beside), yaml_marks.read(beside, str(beside)), False
    for name, data in _shipped():
        if name == written:
            return name, data, True
    missing = beside or Path(written)
    return str(missing), yaml_marks.read(missing, str(missing)), False  # which says that it is not there


@lru_cache(maxsize=1)
def _shipped() -> tuple[tuple[str, bytes], ...]:
    """The wheel's policies for scenarios: (name, bytes)."""
    folder = resources.files("rollback_console.rehearse") / "data" / "policies"
    return tuple(sorted((each.name, each.read_bytes()) for each in folder.iterdir() if each.name.endswith(".yaml")))


def _deployment(words: Scenario, each: ScenarioDeployment) -> dict[str, Any]:
    """A deployment as a policy has it."""
    called = words.world.labels
    labels = {called.get("deployment", "deployment"): each.name, **each.labels}
    if len([other for other in words.world.deployments if other.name == each.name]) > 1:
        labels.setdefault(called.get("environment", "environment"), each.environment)
    selector = ",".join(f'{label}="{_quoted(value)}"' for label, value in sorted(labels.items()))
    return {
        "name": each.name,
        "environment": each.environment,
        "tier": each.tier,
        "model": {"name": each.model or each.name, "alias": each.alias},
        "labels": labels,
        "serving_version": f"{words.world.metrics.get('model_info', 'model_info')}{{{selector}}}",
        "depends_on": list(each.depends_on),
    }


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')


def _in_mode(policy: dict[str, Any], mode: str | None) -> dict[str, Any]:
    """The policy in another mode. To act it takes a path that may be taken by itself: the first one is."""
    if mode is None:
        return policy
    changed = {**policy, "mode": mode}
    paths = policy.get("recovery")
    if mode == "act" and isinstance(paths, list) and paths and isinstance(paths[0], dict):
        authority = paths[0].get("authority")
        known = authority if isinstance(authority, dict) else {}
        own = {**known, "automatic": known.get("automatic") or {"after": _ANNOUNCED}}
        changed["recovery"] = [{**paths[0], "authority": own}, *paths[1:]]
    return changed


class _Dumper(yaml.SafeDumper):
    """Writes every text that is not a plain word in quotes, so that what is read back is what was meant."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    plainly = yaml_marks.resolve(text) == text and yaml.safe_load(text) == text if _simple(text) else False
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plainly else '"')


def _simple(text: str) -> bool:
    return text.isascii() and text.replace("-", "").replace("_", "").isalnum()


_Dumper.add_representer(str, _text)


def _written(policy: dict[str, Any]) -> bytes:
    """A policy's words as YAML, the same bytes for the same words."""
    return yaml.dump(policy, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110).encode()


def judged_by(setup: Setup, policy: Path | None, mode: str | None) -> Setup:
    """A stage under another policy, or in another mode. Raises FileProblems."""
    if policy is not None:
        name, data = str(policy), yaml_marks.read(policy, str(policy))
    else:
        name, data = setup.policy_name, setup.policy_bytes
    written = yaml_marks.parse(data, name).data
    if mode is not None and mode != written.get("mode", "advise"):
        data = _written(_in_mode(written, mode))
    Paper(name, data, generated=False).rules()
    return replace(setup, policy_name=name, policy_bytes=data, compiled=None)
