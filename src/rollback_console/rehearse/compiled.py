"""The demo's policy, compiled ahead: reading one takes a tenth of a second of imports that the first states do without.

`data/demo-policy.json` holds what `policy.load` makes of `data/demo-policy.yaml`; a test holds the two together, and
`UPDATE_DATA=1` writes it anew. A file of another policy is not believed: then the policy is read.
"""

from __future__ import annotations

import enum
import hashlib
import json
from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

from rollback_console.model import identity
from rollback_console.model import rules as model
from rollback_console.model.rules import DeploymentRule

_CLASS = "class"


def encode(rules: Sequence[DeploymentRule]) -> bytes:
    """The rules of one policy whose deployments share every part but themselves. Raises ValueError for others."""
    first = rules[0]
    if any(replace(rule, deployment=first.deployment) != first for rule in rules):
        raise ValueError("its deployments do not share their signals")
    document = {"rule": _document(first), "deployments": [_document(rule.deployment) for rule in rules]}
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()


def decode(data: bytes, policy: bytes) -> tuple[DeploymentRule, ...] | None:
    """The rules that `encode` wrote, where they are those of these bytes of a policy; else None."""
    document = json.loads(data)
    rule: DeploymentRule = _value(document["rule"])
    if rule.policy_digest != hashlib.sha256(policy).hexdigest():
        return None
    return tuple(replace(rule, deployment=_value(each)) for each in document["deployments"])


def _document(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return {_CLASS: type(value).__name__, "value": value.value}
    if is_dataclass(value):
        found = {f.name: getattr(value, f.name) for f in fields(value)}
        return {_CLASS: type(value).__name__, **{name: _document(each) for name, each in found.items()}}
    return [_document(each) for each in value] if isinstance(value, tuple) else value


def _value(document: Any) -> Any:
    if isinstance(document, list):
        return tuple([_value(each) for each in document])
    if not isinstance(document, dict):
        return document
    name = document[_CLASS]
    made = getattr(model, name, None) or getattr(identity, name)
    if issubclass(made, enum.Enum):
        return made(document["value"])
    return made(**{key: _value(each) for key, each in document.items() if key != _CLASS})
