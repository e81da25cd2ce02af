"""What a command line says of an import: which labels are a deployment's, which deployments there are."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rollback_console.errors import UsageError
from rollback_console.model.text import plain
from rollback_console.model.value import dataclass

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class NamedDeployment:
    """A deployment as an option names it, and the labels its metrics carry."""

    name: str
    labels: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """`by`: the labels by which a series is a deployment. `alerts`: only these (none: all). `name`: the policy's, else
    from the file's."""

    by: tuple[str, ...] = ("deployment",)
    deployments: tuple[NamedDeployment, ...] = ()
    environment: str = "production"
    alias: str = "champion"
    alerts: frozenset[str] = frozenset()
    name: str = ""


def options_of(
    by: str, deployments: Sequence[str], environment: str, alias: str, alerts: Sequence[str], name: str
) -> ImportOptions:
    """What a command line says: `by` is one label or several with commas. Raises UsageError."""
    labels = tuple(label.strip() for label in by.split(","))
    for label in labels:
        if not _LABEL.fullmatch(label):
            raise UsageError(f"--by: {plain(repr(label), 80)} is not a label", "Labels are letters, digits and `_`")
    for option, text in (("--environment", environment), ("--alias", alias), ("--name", name or "x")):
        if not _NAME.fullmatch(text):
            raise UsageError(f"{option}: {plain(repr(text), 80)} is not a name here",
                             "Letters, digits, `.`, `_` and `-`, beginning with a letter or digit")  # fmt: skip
    named = tuple(named_deployment(text, labels) for text in deployments)
    for which in ([one.name for one in named], [one.labels for one in named]):
        if len(set(which)) < len(named):
            raise UsageError("--deployment: two have the same name or the same labels", "Name each once")
    return ImportOptions(labels, named, environment, alias, frozenset(alerts), name)


def named_deployment(text: str, by: tuple[str, ...]) -> NamedDeployment:
    """`checkout-ranker`, or with its labels `checkout-ranker:namespace=shop,service=ranker`. Raises UsageError."""
    name, colon, rest = text.partition(":")
    remedy = f"Write NAME, or NAME:{','.join(f'{label}=VALUE' for label in by)}"
    if not _NAME.fullmatch(name):
        raise UsageError(f"--deployment: {plain(repr(name), 80)} is not a name here", remedy)
    if not colon:
        if len(by) > 1:
            raise UsageError(f"--deployment {name}: which series are its own is told by {len(by)} labels", remedy)
        return NamedDeployment(name, ((by[0], name),))
    labels = {}
    for part in rest.split(","):
        label, equals, value = part.partition("=")
        if not equals or not value or plain(value) != value:
            raise UsageError(f"--deployment {name}: {plain(repr(part), 80)} is not LABEL=VALUE", remedy)
        labels[label] = value
    if set(labels) != set(by):
        raise UsageError(f"--deployment {name}: its labels are not those of --by", remedy)
    return NamedDeployment(name, tuple(sorted(labels.items())))
