"""A policy with other settings in it, as if they had been written there: what a sweep compares.

The words are put into the file's own data, which is then checked and compiled as ever: a setting means in a sweep what
it would mean in the policy.
"""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Sequence, Set
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from rollback_console.errors import UsageError
from rollback_console.model.backtest import Setting
from rollback_console.model.rules import DeploymentRule
from rollback_console.model.text import plain
from rollback_console.model.value import dataclass
from rollback_console.policy import yaml_marks
from rollback_console.policy.compile import compile_policy
from rollback_console.policy.load import LoadedPolicy
from rollback_console.policy.policy import Policy
from rollback_console.policy.problems import problems_of
from rollback_console.policy.quantities import parse_duration, parse_percentage

SWEPT = ("dwell", "margin", "budget")
MOST_SETTINGS = 64
_EXAMPLES = {"dwell": "dwell=1m,5m,15m", "margin": "margin=1%,2%,5%", "budget": "budget=30d,90d,365d"}
_OF_ONE = ".margin"  # after a signal's name: of that signal alone
_WEEKLY = re.compile(r"[0-9]+(\.[0-9]+)?")  # a budget without a unit: false alarms a week, all signals together
_WEEK_S = 7 * 86_400.0


@dataclass(frozen=True, slots=True)
class Sweep:
    """One setting and the values to try, as typed."""

    key: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Variant:
    """A setting and the rules that the policy would have with it."""

    setting: Setting
    rules: tuple[DeploymentRule, ...]


def parse_sweep(text: str) -> Sweep:
    """`dwell=1m,5m,15m`, `conversion.margin=1%,2%`. Raises UsageError for a setting that there is not, or a value that
    it cannot have."""
    key, equals, rest = text.partition("=")
    key = key.strip()
    if not (key in SWEPT or (key.endswith(_OF_ONE) and key != _OF_ONE)) or not equals:
        raise UsageError(f"--sweep {plain(text, 80)}: what is swept is dwell, margin, budget or SIGNAL.margin",
                         f"write --sweep {_example(key)}")  # fmt: skip
    values = tuple(dict.fromkeys(value.strip() for value in rest.split(",")))
    for value in values:
        try:
            _size(key, value)
        except ValueError as error:
            raise UsageError(f"--sweep {plain(key, 80)}: {_said(error)}", f"write --sweep {_example(key)}") from None
    return Sweep(key, values)


def _example(key: str) -> str:
    if key.endswith(_OF_ONE) and key != _OF_ONE:
        return f"{plain(key, 60)}=1%,2%,5%"
    return _EXAMPLES.get(key, _EXAMPLES["dwell"])


def _said(error: ValueError) -> str:
    """What pydantic's error says, or Python's."""
    message = getattr(error, "message", None)
    return plain(message() if callable(message) else error, 200)


def variants(loaded: LoadedPolicy, sweeps: Sequence[Sweep]) -> tuple[Variant, ...]:
    """The policy as it stands, and with every combination of the settings that makes another policy of it, in the order
    typed. Raises UsageError for a setting that this policy cannot have, or in which it changes nothing."""
    keys = [sweep.key for sweep in sweeps]
    if len(set(keys)) != len(keys):
        raise UsageError(f"--sweep {max(keys, key=keys.count)} stands there twice", "give all its values at once")
    count = 1
    for sweep in sweeps:
        count *= len(sweep.values)
        _known(loaded, sweep.key, keys)
        _changes(loaded, sweep)
    if count > MOST_SETTINGS:
        raise UsageError(f"{count} settings, more than {MOST_SETTINGS}", "sweep fewer values at once")
    plain_one = Variant(Setting(as_written=True), loaded.rules)
    out: list[Variant] = []
    for values in itertools.product(*(sweep.values for sweep in sweeps)) if sweeps else ():
        words = tuple(zip(keys, values, strict=True))
        caution = sum(_rank(sweep, value) for sweep, value in zip(sweeps, values, strict=True))
        rules = _with(loaded, words)
        written = rules == loaded.rules
        out.append(Variant(Setting(words, caution, written), loaded.rules if written else rules))
    return tuple(out) if any(each.setting.as_written for each in out) else (plain_one, *out)


def _rank(sweep: Sweep, value: str) -> int:
    """How cautious a value is among the sweep's: the number of those below it."""
    sizes = sorted(_size(sweep.key, each) for each in sweep.values)
    return sizes.index(_size(sweep.key, value))


def _size(key: str, value: str) -> float:
    """A value as a number, the larger the more cautious. Raises ValueError for what is none."""
    if key == "margin" or key.endswith(_OF_ONE):
        return parse_percentage(value)
    if key == "budget" and _WEEKLY.fullmatch(value) and float(value) > 0:
        return _WEEK_S / float(value)
    return parse_duration(value)


def _known(loaded: LoadedPolicy, key: str, keys: Sequence[str]) -> None:
    """Raises UsageError for a setting of a signal that the policy does not have, or of one where all are swept."""
    if not key.endswith(_OF_ONE):
        return
    name, names = key.removesuffix(_OF_ONE), list(_signals(loaded))
    if name not in names:
        near = get_close_matches(name, names, 1, 0.6)
        remedy = f"did you mean {near[0]}{_OF_ONE}" if near else f"it has {', '.join(names[:12])}"
        raise UsageError(f"--sweep {plain(key, 80)}: {loaded.path} has no signal {plain(name, 60)!r}", remedy)
    if "margin" in keys:
        raise UsageError(f"--sweep {plain(key, 80)}: --sweep margin is of every signal, this one too", "leave one out")


def _signals(loaded: LoadedPolicy) -> dict[str, Any]:
    """The policy's signals, as they are written."""
    found: dict[str, Any] = yaml_marks.parse(loaded.data, str(loaded.path)).data["signals"]
    return found


def _changes(loaded: LoadedPolicy, sweep: Sweep) -> None:
    """Raises UsageError where no value of the sweep makes another policy of this one than the others do."""
    if len(sweep.values) > 1 and len({_with(loaded, ((sweep.key, value),)) for value in sweep.values}) == 1:
        why = {
            "margin": "no signal has a margin (`margin:`, or `breach: {degraded_by: …}`)",
            "budget": "no signal is judged by evidence (x and n, a baseline, and no `breach:`)",
        }.get(sweep.key, "it says so in another way")
        if sweep.key.endswith(_OF_ONE):
            why = "that signal has no margin (`margin:`, or `breach: {degraded_by: …}`)"
        raise UsageError(f"--sweep {sweep.key} changes nothing in {loaded.path}: {why}", "leave it out")


def _with(loaded: LoadedPolicy, words: Sequence[tuple[str, str]]) -> tuple[DeploymentRule, ...]:
    document = yaml_marks.parse(loaded.data, str(loaded.path))
    data = copy.deepcopy(document.data)
    judged = {each.name for rule in loaded.rules for each in rule.signals if each.evidence is not None}
    for key, value in words:
        _put(data, key, value, judged)
    try:
        return compile_policy(Policy.model_validate(data), loaded.digest)
    except ValidationError as error:
        problem = problems_of(error, document, Policy)[0]
        said = " ".join(f"{key}={value}" for key, value in words)
        raise UsageError(f"--sweep {said}: {re.sub(r'[.]$', '', problem.path)}: {problem.message}",
                         problem.remedy or "take that value out") from None  # fmt: skip


def _put(data: dict[str, Any], key: str, value: str, judged: Set[str]) -> None:
    """Write one setting into a policy's data. A margin goes to every signal that has one, written or learned: these are
    `judged` by evidence; or to the one that is named."""
    if key == "margin" or key.endswith(_OF_ONE):
        for name, signal in data["signals"].items():
            if key not in ("margin", name + _OF_ONE):
                continue
            breach = signal.get("breach")
            if breach is not None and "degraded_by" in breach:
                breach["degraded_by"] = value
            elif "margin" in signal or name in judged:
                signal["margin"] = value
        return
    trigger = data.get("trigger") or {}
    written: Any = value
    if key == "budget":
        weekly = _WEEKLY.fullmatch(value)
        written = {"false_alarms_a_week": float(value)} if weekly else {"one_false_alarm_in": value}
    data["trigger"] = trigger | {key: written}
