"""Coverage out of journals alone: the policies that were last in force, and the versions that served."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from rollback_console.errors import ConsoleError
from rollback_console.model.rules import DeploymentRule
from rollback_console.review.coverage import Gap, Known
from rollback_console.review.moves import Move, moves_of
from rollback_console.review.past import Past


def last_policies(past: Past) -> tuple[tuple[str, str], ...]:
    """(name, digest) of the last form of every policy that the journals name."""
    return tuple({paper.name: paper.digest for paper in past.papers}.items())


def rules_of(past: Past, blobs: Callable[[str], bytes | None]) -> tuple[list[tuple[DeploymentRule, str]], list[str]]:
    """The rules of the policies that were last in force, and which of these cannot be read any more."""
    from rollback_console.policy.load import parse_policy

    found: list[tuple[DeploymentRule, str]] = []
    gone = []
    for name, digest in last_policies(past):
        data = blobs(digest)
        try:
            if data is None:
                gone.append(f"the policy {name} is no longer kept in the journal")
            else:
                found += [(rule, name) for rule in parse_policy(data, name).rules]
        except ConsoleError as error:
            gone.append(f"the policy {name} of the journal cannot be read here: {error}")
    return found, gone


def known_of(past: Past, rules: Sequence[DeploymentRule]) -> Mapping[str, Known]:
    """What moves tell of each deployment: what serves, and what served before and was not rolled back from. One whose
    pointer never moved tells nothing."""
    moves = moves_of(past)
    return {str(rule.deployment.id): _known(rule, moves) for rule in rules}


def _known(rule: DeploymentRule, moves: Sequence[Move]) -> Known:
    pointer = (rule.deployment.model, rule.deployment.alias)
    own = [move for move in moves if move.pointer == pointer]
    if not own:
        return Known(None, None, "its pointer never moved in the journal")
    serving = own[-1].after
    left = {move.before for move in own if move.is_rollback}
    served = dict.fromkeys([own[0].before, *(move.after for move in own)])
    others = tuple(version for version in served if version != serving and version not in left)
    return Known(serving, others, "what served before was rolled back from")


def without_policy(past: Past, rules: Sequence[DeploymentRule]) -> tuple[Gap, ...]:
    """Pointers that moved in the journal, which none of the last policies names."""
    named = {(rule.deployment.model, rule.deployment.alias) for rule in rules}
    found: dict[tuple[str, str], Gap] = {}
    for move in moves_of(past):
        if move.pointer in named:
            continue
        environment, _, name = move.deployment.partition("/")
        line = f"- {{name: {name}, environment: {environment}, model: {{name: {move.model}, alias: {move.alias}}}}}"
        what = f"{move.model}@{move.alias} moved, and no policy in force names it"
        found[move.pointer] = Gap(move.deployment, "policy", what, "deployments:", line)
    return tuple(found.values())
