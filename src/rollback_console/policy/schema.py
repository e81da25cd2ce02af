"""JSON Schemas of the five kinds of file, for editors."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from rollback_console.errors import UsageError
from rollback_console.policy import operator_script, policy, roster, scenario, settings
from rollback_console.policy.load import KINDS

_MODELS: dict[str, type[BaseModel]] = {
    policy.SCHEMA: policy.Policy,
    settings.SCHEMA: settings.Settings,
    roster.SCHEMA: roster.Roster,
    scenario.SCHEMA: scenario.Scenario,
    operator_script.SCHEMA: operator_script.OperatorScript,
}


def schema(kind: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a kind of file (`KINDS`). Raises UsageError for another kind."""
    if kind not in KINDS:
        raise UsageError(f"there is no kind of file {kind!r}", f"The kinds are {', '.join(KINDS)}")
    name = KINDS[kind]
    made = _MODELS[name].model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"urn:{name.replace('/', ':')}", **made}
