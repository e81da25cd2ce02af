"""What every kind is made of: the base of all bodies, a person's signature, and the rule each field is under.

A field's rule of redaction stands beside its type (`Free`, `Name`, `Hex`, …, or any type `Annotated` with a `Rule`);
numbers, truth values and closed sets of words have theirs by their type. `rules_of` reads them off.
"""

from __future__ import annotations

import types
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field

from rollback_console.journal.redact import Fields, Rule

Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$"), Rule.DIGEST]
Free = Annotated[str, Rule.FREE]
Quoting = Annotated[str, Rule.QUOTING]
Name = Annotated[str, Rule.IDENTIFIER]
Exact = Annotated[str, Rule.EXACT]
ExactDocument = Annotated[dict[str, Any], Rule.EXACT]
Nanoseconds = Annotated[str, Field(pattern=r"^-?[0-9]{1,20}$"), Rule.NUMBER]


class Body(BaseModel):
    """Base of every kind. `v` is the version of the kind's own schema."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    kind: ClassVar[str]
    v: int = 1


class PersonSignature(BaseModel):
    """A person's signature over the bytes named in the docs: SSHSIG, armoured. What is signed was cleaned before."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    operator: Name
    fingerprint: Exact
    signed: Hex  # SHA-256 of the signed bytes
    statement: Exact  # the signed bytes themselves, as text
    signature: Exact


@lru_cache(maxsize=256)
def rules_of(model: type[BaseModel]) -> Fields:
    """The rule of each of a model's fields; of a model in a field, its own fields' rules. Raises TypeError for a field
    that holds text and declares none."""
    return {name: _rule(info.annotation, info.metadata, f"{model.__name__}.{name}") for name, info in
            model.model_fields.items()}  # fmt: skip


def _rule(annotation: Any, metadata: list[Any] | tuple[Any, ...], where: str) -> Rule | Fields:
    for each in metadata:
        if isinstance(each, Rule):
            return each
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _rule(arguments[0], arguments[1:], where)
    if origin is Literal or annotation is bool:
        return Rule.WORD
    if annotation in (int, float):
        return Rule.NUMBER
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return rules_of(annotation)
    if origin in (Union, types.UnionType, list, tuple):
        inner = [_rule(each, (), where) for each in arguments if each not in (type(None), Ellipsis)]
        if len(inner) == 1:
            return inner[0]
    raise TypeError(f"{where} declares no rule of redaction: annotate it, see journal/redact.py")
