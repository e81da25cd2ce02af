"""Pydantic's errors as Problems: where in the file, what, and the remedy, in the words of this program."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from rollback_console.errors import Problem
from rollback_console.model.text import plain
from rollback_console.policy.words import Complaint
from rollback_console.policy.yaml_marks import Document, Loc, dotted

# (model, key) -> (message, remedy): what a later release brings, and the words of neighbouring programs.
_STRANGERS: dict[tuple[str, str], tuple[str, str]] = {
    ("PolicySignal", "weight"): ("is not a key here", "Write `when: weight(this: 2, that: 1) >= 2` in the trigger"),
    ("PolicySignal", "expr"): ("is not a key here", "Write `value:`"),
    ("PolicySignal", "query"): ("is not a key here", "Write `value:`"),
    ("PolicySignal", "threshold"): ("is not a key here", "Write `breach: {above: …}` or `breach: {below: …}`"),
    ("PolicySignal", "for"): ("is not a key here", "How long it must hold is the trigger's `dwell:`"),
    ("PolicySignal", "above"): ("is not a key here", "Write `breach: {above: …}`"),
    ("PolicySignal", "below"): ("is not a key here", "Write `breach: {below: …}`"),
    ("PolicySignal", "dwell"): ("is not a key here", "The trigger's `dwell:` is every signal's"),
    ("PolicySignal", "budget"): ("is not a key here", "The trigger's `budget:` is every signal's"),
    ("PolicySignal", "exclude"): ("is not a key here", "`exclude:` stands beside `signals:`, for all of them"),
    ("PolicyBaseline", "exclude"): ("is not a key here", "`exclude:` stands beside `signals:`, for all of them"),
    ("PolicyBaseline", "margin"): ("is not a key here", "`margin:` stands beside `baseline:`"),
    ("PolicyExpected", "reason"): ("is not a key here", "Write `why:`"),
    ("PolicyStretch", "reason"): ("is not a key here", "Write `why:`"),
    ("PolicySignal", "direction"): ("is not a key here", "Write `worse: lower` or `worse: higher`"),
    ("PolicyTrigger", "for"): ("is not a key here", "Write `dwell:`"),
    ("PolicyTrigger", "keep_firing_for"): ("is not a key here", "Write `hold:`"),
    ("PolicyTrigger", "cooldown"): ("is not a key here", "Write `cool_down:`"),
    ("PolicyTrigger", "expr"): ("is not a key here", "Write `when:`; queries are the signals'"),
    ("PolicyPath", "stages"): ("stages are not there yet", "A path moves in one step now; take `stages` out"),
    ("PolicyPath", "automatic"): ("automatic rollback is not there yet", "Take it out; a person rolls back"),
    ("PolicyDeployment", "alias"): ("is not a key here", "Write `model: {name: …, alias: …}`"),
    ("Tls", "insecure"): ("certificate checks cannot be switched off", "Name the authority's file: `ca_file: PATH`"),
    ("Tls", "verify"): ("certificate checks cannot be switched off", "Name the authority's file: `ca_file: PATH`"),
    ("Scenario", "deployments"): ("is not a key here", "Deployments stand under `world:`"),
    ("ScenarioEvent", "kind"): ("is not a key here", "Write `fault:` and the kind of fault"),
    ("ScenarioEvent", "until"): ("is not a key here", "Write how long it lasts: `for:`"),
    ("ScenarioEvent", "deployment"): ("is not a key here", "Write `target:`, or `flip:`"),
    ("ScenarioVersion", "error_rate"): ("is not a key here", "Write `errors:`, the share of requests that is added"),
    ("ScenarioDeployment", "error_rate"): ("is not a key here", "Write `errors:`"),
    ("ScenarioDeployment", "version"): ("is not a key here", "Write `serves:`"),
    ("RosterPerson", "key"): ("is not a key here", "Write `keys: [\"ssh-ed25519 AAAA… name\"]`"),
}  # fmt: skip
for _server in ("PrometheusServer", "RegistryServer"):
    _STRANGERS[(_server, "token")] = ("is not a key here", "Write `auth: {kind: bearer, token: {env: NAME}}`")
    _STRANGERS[(_server, "password")] = ("is not a key here", "Write `auth: {kind: basic, username: …, password: …}`")
    _STRANGERS[(_server, "insecure")] = _STRANGERS[("Tls", "insecure")]

# pydantic's error type -> (message, remedy); `{…}` from the error's own context.
_PLAIN = {
    "string_type": ("is not text", "Put it in quotes"),
    "int_type": ("is not a whole number", "Write digits alone"),
    "bool_type": ("is not true or false", "Write `true` or `false`"),
    "float_type": ("is not a number", "Write digits"),
    "float_parsing": ("is not a number", "Write digits"),
    "finite_number": ("is not a finite number", "Write digits"),
    "model_type": ("is not a mapping", "Write `key: value` lines under it"),
    "model_attributes_type": ("is not a mapping", "Write `key: value` lines under it"),
    "dict_type": ("is not a mapping", "Write `key: value` lines under it"),
    "tuple_type": ("is not a list", "Write `[…]`, or lines that begin with `- `"),
    "too_short": ("is empty", "Write at least one"),
    "string_too_short": ("is empty", "Write something, or take the key out"),
    "string_too_long": ("is longer than {max_length} characters", "Shorten it"),
    "greater_than": ("is not more than {gt}", "Write more"),
    "greater_than_equal": ("is less than {ge}", "Write {ge} or more"),
    "less_than_equal": ("is more than {le}", "Write {le} or less"),
    "string_pattern_mismatch": ("is not in the form that belongs here", "It looks like {pattern}"),
}


def problems_of(error: ValidationError, document: Document, model: type[BaseModel]) -> list[Problem]:
    """All of a validation's errors as Problems, in the order of the file's lines. No value of the file is repeated:
    it may be a secret in the wrong place."""
    found: list[Problem] = []
    for item in error.errors(include_url=False, include_input=False):
        found.extend(_translate(item["type"], item["loc"], item.get("ctx", {}), item["msg"], document, model))
    return in_order(found)


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """By line and column, each said once."""
    return sorted(
        dict.fromkeys(problems), key=lambda problem: (problem.file, problem.line, problem.column, problem.path)
    )


def _translate(
    kind: str, loc: Loc, context: dict[str, Any], message: str, document: Document, model: type[BaseModel]
) -> Iterator[Problem]:
    at_key = loc[-1:] == ("[key]",)
    if kind == "several":
        for complaint in context["complaints"]:
            yield _complaint(complaint, loc, document)
    elif kind == "said":
        yield _complaint(
            Complaint((), context["message"], context["remedy"], context.get("offset", -1)), loc, document, at_key
        )
    elif kind == "missing":
        line, column = document.of_value(loc)
        path = dotted((*document.actual(loc), loc[-1]))
        form = f"`schema: {_schema_of(model)}`" if loc == ("schema",) else f"`{loc[-1]}: …`"
        yield Problem(document.file, line, column, path, "is missing", f"Write {form}")
    elif kind == "extra_forbidden":
        line, column = document.of_key(loc)
        what, remedy = _stranger(loc, model)
        yield Problem(document.file, line, column, document.path(loc), what, remedy)
    elif (kind.endswith("_type") or kind in ("literal_error", "enum")) and document.value(loc) is None:
        line, column = document.of_key(loc)
        yield Problem(document.file, line, column, document.path(loc), "has no value", "Write one, or take the key out")
    elif kind == "too_short" and document.value(loc):
        return  # pydantic counts what is right: each entry that is not has its own problem
    elif kind in ("literal_error", "enum"):
        words = re.findall(r"'([^']*)'", str(context.get("expected", "")))
        yield document.problem(loc, f"is not {_either(words)}", _closest(document.value(loc), words))
    elif kind in _PLAIN:
        what, remedy = (
            text.format_map({key: plain(_told(value), 80) for key, value in context.items()}) for text in _PLAIN[kind]
        )
        yield document.problem(loc, what, remedy)
    else:
        yield document.problem(loc, plain(message, 200))


def _told(value: object) -> object:
    return f"{value:g}" if isinstance(value, float) else value


def _schema_of(model: type[BaseModel]) -> str:
    """The one value that a file's `schema:` key may have."""
    return str(get_args(model.model_fields["schema_"].annotation)[0])


def _complaint(complaint: Complaint, loc: Loc, document: Document, at_key: bool = False) -> Problem:
    where = (*loc, *complaint.loc)
    if at_key:
        line, column = document.of_key(where)
        return Problem(document.file, line, column, document.path(where), complaint.message, complaint.remedy)
    return document.problem(where, complaint.message, complaint.remedy, offset=complaint.offset)


def _either(words: list[str]) -> str:
    return ", ".join(words[:-1]) + f" or {words[-1]}" if len(words) > 1 else "".join(words)


def _closest(value: object, words: Iterable[str]) -> str:
    words = list(words)
    close = difflib.get_close_matches(value, words, 1, 0.6) if isinstance(value, str) else []
    return f"Did you mean {close[0]}" if close else f"Write {_either(words)}"


def _stranger(loc: Loc, root: type[BaseModel]) -> tuple[str, str]:
    """What to say of an unknown key: a known neighbour's word, the nearest key, or the keys there are."""
    key = str(loc[-1])
    models = list(_models_at(root, loc[:-1]))
    for model in models:
        if (known := _STRANGERS.get((model.__name__, key))) is not None:
            return known
    keys = [field.alias or name for model in models for name, field in model.model_fields.items()]
    close = difflib.get_close_matches(key, keys, 1, 0.6)
    if close:
        return "unknown key", f"Did you mean {close[0]}"
    return "unknown key", "The keys here are " + ", ".join(sorted(set(keys))) if keys else "Take it out"


def _models_at(root: type[BaseModel], loc: Loc) -> Iterator[type[BaseModel]]:
    """The models that stand at `loc`, found along the annotations; a union's branch in `loc` is passed over."""
    here: list[Any] = [root]
    for step in loc:
        further: list[Any] = []
        for annotation in here:
            further.extend(_inside(annotation, step))
        here = further or here
    for annotation in here:
        yield from _unwrapped(annotation)


def _unwrapped(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    else:
        for argument in get_args(annotation):
            yield from _unwrapped(argument)


def _inside(annotation: Any, step: int | str) -> Iterator[Any]:
    """The annotations one step further in."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield from (f.annotation for name, f in annotation.model_fields.items() if step in (name, f.alias))
    elif origin is Annotated:
        yield from _inside(arguments[0], step)
    elif origin in (Union, UnionType):
        for argument in arguments:
            yield from _inside(argument, step)
    elif origin is tuple and isinstance(step, int):
        yield arguments[0]
    elif origin is dict:
        yield arguments[1]
