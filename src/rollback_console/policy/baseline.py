"""What a signal is compared with, and the bound or share beyond which it counts as degraded."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import PlainValidator, WithJsonSchema, model_validator

from rollback_console.model.rules import BlindPolicy, BlindPolicyKind, Curve
from rollback_console.policy.curves import Bound, laxer
from rollback_console.policy.quantities import Amount, Percentage, Span, parse_duration, refusal
from rollback_console.policy.times import Holiday, PolicyStretch, TimeZone
from rollback_console.policy.words import Complaint, Text, Words, several

_DAY_S = 86_400.0
_HISTORY_S = {"version": _DAY_S, "seasonal": 28 * _DAY_S}  # how much of the past a baseline uses
_LONGEST_HISTORY_S = 90 * _DAY_S  # more than that is another season, and more than most Prometheus keep
_OF_KIND = {  # the keys that only some kinds have, and what is wrong with them elsewhere
    "value": (("fixed",), "a {kind} baseline measures its value"),
    "history": (("version", "seasonal"), "a {kind} baseline has no history"),
    "control": (("control",), "a {kind} baseline has no control"),
    "share": (("control",), "a {kind} baseline has no control to share traffic with"),
    "period": (("period",), "a {kind} baseline names no period"),
    "timezone": (("seasonal", "last_week"), "a {kind} baseline knows no time of the week"),
    "holidays": (("seasonal", "last_week"), "a {kind} baseline knows no holidays"),
}


class PolicyBaseline(Words):
    """What a signal is compared with. `history`: how much of the past (version 24h, seasonal 28d). `control`: what
    metrics call the deployment that runs beside it, `$deployment` being this one's name; `share`: of all trials, the
    part that it is meant to get. `period`: the stretch that a distribution is compared with."""

    kind: Literal["fixed", "last_week", "version", "seasonal", "control", "period"]
    value: Amount | None = None
    history: Span | None = None
    control: Text | None = None
    share: Percentage | None = None
    period: PolicyStretch | None = None
    timezone: TimeZone | None = None
    holidays: tuple[Holiday, ...] | None = None

    @property
    def history_s(self) -> float:
        """Seconds of the past that are used; of a kind without history it has no meaning."""
        return self.history if self.history is not None else _HISTORY_S.get(self.kind, _DAY_S)

    @model_validator(mode="after")
    def _fits(self) -> PolicyBaseline:
        found = []
        if self.kind == "fixed" and self.value is None:
            found.append(Complaint((), "a fixed baseline needs its value", "Write `{kind: fixed, value: 3.1%}`"))
        if self.kind == "control" and self.control is None:
            found.append(Complaint((), "a control needs its name", "Write `{kind: control, control: checkout-canary}`, "
                                   "the name that metrics have for what runs beside it"))  # fmt: skip
        if self.kind == "period" and self.period is None:
            remedy = "Write `period: {from: 2026-10-05, to: 2026-10-11, why: a usual week}`"
            found.append(Complaint((), "a period needs its stretch", remedy))
        if self.share is not None and not 0 < self.share < 1:
            found.append(Complaint(("share",), "is not a part of the traffic", "Write `share: 50%`"))
        for key, (kinds, message) in _OF_KIND.items():
            if key in self.model_fields_set and self.kind not in kinds:
                found.append(Complaint((key,), message.format(kind=self.kind), f"Take `{key}` out"))
        if self.kind == "seasonal" and not 3_600 <= self.history_s <= _LONGEST_HISTORY_S:
            found.append(Complaint(("history",), "is out of range", "It lies between 1h and 90d; 28d is usual"))
        if self.control is not None and re.search(r"\$(?!deployment\b)", self.control):
            found.append(Complaint(("control",), "holds a `$` that is no placeholder", "Only $deployment is filled in"))
        if found:
            raise several(found)
        return self


class PolicyBreach(Words):
    """When a signal counts as degraded: beyond a bound, or worse than a baseline by more than a share of it. `clear`:
    what fired is over only on this bound's healthy side."""

    above: Bound | None = None
    below: Bound | None = None
    degraded_by: Percentage | None = None
    clear: Amount | None = None
    baseline: PolicyBaseline | None = None

    @model_validator(mode="after")
    def _one(self) -> PolicyBreach:
        given = [key for key in ("above", "below", "degraded_by") if getattr(self, key) is not None]
        if not given:
            raise refusal("names no bound", "Write one of `above:`, `below:`, `degraded_by:`")
        if len(given) > 1:
            raise refusal(f"has {' and '.join(given)}", "Keep one; another signal can hold the other")
        if self.clear is not None:
            self._clears(given[0], getattr(self, given[0]), self.clear)
        if found := laxer(getattr(self, given[0]), above=given[0] == "above"):
            what = f"lets more pass where more is lost: {found}"
            remedy = f"Let the bound {'fall' if given[0] == 'above' else 'rise'} with the impact"
            raise several([Complaint((given[0],), what, remedy)])
        return self

    @staticmethod
    def _clears(key: str, bound: float | Curve, clear: float) -> None:
        """`clear` lies on the healthy side of the bound."""
        if isinstance(bound, Curve):
            raise several([Complaint(("clear",), "stands beside a bound that varies", "Keep one of them")])
        if (clear <= bound) if key == "below" else (clear >= bound):
            healthy = "more" if key == "below" else "less"
            raise several(
                [Complaint(("clear",), "is not on the healthy side of the bound", f"Write {healthy} than it")]
            )


def _blind(value: object) -> BlindPolicy:
    """`freeze`, `reset`, `healthy`, `breach`, `last: 5m` (as text or as a mapping)."""
    if isinstance(value, dict) and set(value) == {"last"}:
        return BlindPolicy(BlindPolicyKind.LAST, _last(value["last"]))
    if isinstance(value, str):
        match = re.fullmatch(r"last: *(\S+)", value)
        if match:
            return BlindPolicy(BlindPolicyKind.LAST, _last(match[1]))
        if value in ("freeze", "reset", "healthy", "breach"):
            return BlindPolicy(BlindPolicyKind(value))
        if value == "last":
            raise refusal("`last` needs a time", "Write `last: 5m`")
    raise refusal("is not a way to be blind", "Write freeze, reset, healthy, breach or `last: 5m`")


def _last(text: object) -> float:
    seconds = parse_duration(text)
    if not 1 <= seconds <= 86_400:
        raise refusal("the last known judgement is kept between 1s and 24h", "Write `last: 5m`")
    return seconds


_BLIND_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"enum": ["freeze", "reset", "healthy", "breach"]},
        {"type": "string", "pattern": r"^last: *[0-9]"},
        {"type": "object", "required": ["last"], "properties": {"last": {"type": "string"}},
         "additionalProperties": False},
    ]
}  # fmt: skip
BlindWords = Annotated[BlindPolicy, PlainValidator(_blind), WithJsonSchema(_BLIND_SCHEMA)]
