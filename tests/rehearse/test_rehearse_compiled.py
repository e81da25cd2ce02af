"""The demo's policy compiled ahead is the policy that people read."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from rollback_console import rehearse
from rollback_console.policy.load import parse_policy
from rollback_console.rehearse.compiled import decode, encode

DATA = Path(next(iter(rehearse.__path__))) / "data"


def test_what_is_shipped_is_what_the_policy_compiles_to() -> None:
    """`UPDATE_DATA=1` writes it anew: after a change of the demo's policy, or of what policies compile to."""
    policy = (DATA / "demo-policy.yaml").read_bytes()
    rules = parse_policy(policy, "demo-policy.yaml").rules
    if os.environ.get("UPDATE_DATA"):
        (DATA / "demo-policy.json").write_bytes(encode(rules))
    shipped = (DATA / "demo-policy.json").read_bytes()
    assert shipped == encode(rules), "run this test with UPDATE_DATA=1"
    found = decode(shipped, policy)
    assert found == rules
    assert len({id(rule.signals) for rule in found}) == 1, "one query serves the fleet only where signals are shared"


def test_another_policy_is_not_taken_for_it() -> None:
    policy = (DATA / "demo-policy.yaml").read_bytes()
    assert decode((DATA / "demo-policy.json").read_bytes(), policy + b"\n") is None


def test_deployments_with_parts_of_their_own_are_refused() -> None:
    rules = parse_policy((DATA / "demo-policy.yaml").read_bytes(), "demo-policy.yaml").rules
    with pytest.raises(ValueError, match="do not share"):
        encode((rules[0], replace(rules[1], runbook="another.md")))
