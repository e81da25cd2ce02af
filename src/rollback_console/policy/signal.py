"""A signal as people write it: how it is measured, what it is compared with, when it counts as degraded."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StrictBool, model_validator

from rollback_console.model.rules import BlindPolicy, Curve
from rollback_console.model.text import plain
from rollback_console.policy import kinds
from rollback_console.policy.baseline import BlindWords, PolicyBaseline, PolicyBreach
from rollback_console.policy.defaults import VOLUME_FALLS_BY
from rollback_console.policy.kinds import ASIDE, BurnRate, Kind, Metric, Objective, Target
from rollback_console.policy.promql import SignalQuery, names_slice
from rollback_console.policy.quantities import Duration, Percentage, Span
from rollback_console.policy.words import Complaint, LabelName, Text, Words, several

_WINDOW_S, _STEP_S = 300.0, 60.0  # the default window of a plain bound; of evidence, which steps once a window
_HOUR_S, _DAY_S = 3_600.0, 86_400.0  # of a distribution; of a slow signal
Edge = Annotated[float, Field(allow_inf_nan=False)]
_LEARNED = ("seasonal", "control")  # baselines that only evidence is measured against


def _worse_by_kind(document: dict[str, Any]) -> None:
    """For editors: `worse` may stay away where the kind says it."""
    if "worse" in document.get("required", []):
        document["required"].remove("worse")


def _in_percent(bound: Any) -> bool:
    """Is a bound, or every point of a curve, written in percent."""
    if isinstance(bound, dict) and isinstance(points := bound.get("points"), dict):
        return bool(points) and all(_in_percent(point) for point in points.values())
    return isinstance(bound, str) and bound.strip().endswith("%")


class PolicySlices(Words):
    """The same signal for each of some values of a label (countries, cohorts), all sharing one budget."""

    label: LabelName
    values: Annotated[tuple[Text, ...], Field(min_length=1, max_length=20)]

    @model_validator(mode="after")
    def _fits(self) -> PolicySlices:
        seen: dict[str, str] = {}
        found = []
        for index, value in enumerate(self.values):
            if (other := seen.setdefault(slice_name("", value), value)) != value or value in self.values[:index]:
                found.append(
                    Complaint(("values", index), f"is called as {plain(other, 40)} is", "Name each value once")
                )
        if found:
            raise several(found)
        return self


def slice_name(name: str, value: str) -> str:
    """What the part of a signal is called: `conversion_DE`."""
    return f"{name}_{re.sub('[^A-Za-z0-9_-]', '_', value)}"


class PolicySignal(Words):
    """One measured quantity: how it is measured, what it is compared with, when it counts as degraded."""

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_extra=_worse_by_kind)

    title: Text | None = None
    area: Literal["business", "technical", "inputs"] = "technical"
    kind: Kind | None = None
    worse: Literal["lower", "higher"]
    value: SignalQuery | None = None
    x: SignalQuery | None = None
    n: SignalQuery | None = None
    buckets: Metric | None = None
    histogram: Metric | None = None
    target: Target | None = None
    edges: Annotated[tuple[Edge, ...], Field(min_length=2, max_length=100)] | None = None
    objective: Objective | None = None
    burn: Annotated[tuple[BurnRate, ...], Field(min_length=1)] | None = None
    window: Span | None = None
    maturity: Duration | None = None
    baseline: PolicyBaseline | None = None
    minimum: Annotated[float, Field(ge=1, allow_inf_nan=False)] | None = None
    margin: Percentage | None = None
    breach: PolicyBreach | None = None
    blind: BlindWords = BlindPolicy()
    heartbeat: SignalQuery | None = None
    stale_after: Span | None = None
    unit: Annotated[Text, Field(max_length=20)] | None = None
    sufficient_alone: StrictBool = False
    critical: StrictBool = False
    slices: PolicySlices | None = None

    @model_validator(mode="before")
    @classmethod
    def _what_is_meant(cls, raw: Any) -> Any:
        """A signal whose bound is written in percent is shown in percent; some kinds have one worse direction."""
        if not isinstance(raw, dict):
            return raw
        more = {}
        if "unit" not in raw and isinstance(raw.get("breach"), dict):
            bounds = (raw["breach"].get("above"), raw["breach"].get("below"))
            if any(_in_percent(bound) for bound in bounds):
                more["unit"] = "%"
        if "worse" not in raw and isinstance(kind := raw.get("kind"), str) and kind in kinds.WORSE:
            more["worse"] = kinds.WORSE[kind]
        return {**raw, **more} if more else raw

    @property
    def counted(self) -> bool:
        """Is it events out of trials, whoever writes the queries."""
        return (self.x is not None and self.n is not None) or self.buckets is not None or self.histogram is not None

    @property
    def by_evidence(self) -> bool:
        """Is it judged by evidence: events out of trials (or a gauge), a baseline, and no bound of its own."""
        counted = self.kind == "gauge" or (self.counted and self.kind != "burn_rate" and not self.aside)
        return counted and self.breach is None and self.baseline is not None

    @property
    def aside(self) -> bool:
        """Is it shown, and evidence of where trouble comes from, but never a part of a trigger."""
        return self.kind in ASIDE

    @property
    def learns_target(self) -> bool:
        """Is the order's usual value learned, above which orders are counted."""
        return self.kind == "value_per_order" and self.buckets is not None and self.target is None

    @property
    def window_s(self) -> float:
        """Seconds over which it is counted; evidence steps once in each."""
        if self.window is not None:
            return self.window
        if self.aside:
            return _HOUR_S if self.kind == "distribution" else _DAY_S
        return _STEP_S if self.by_evidence else _WINDOW_S

    @property
    def compared_with(self) -> PolicyBaseline | None:
        """The baseline, wherever it was written."""
        return self.breach.baseline if self.breach and self.breach.baseline else self.baseline

    @property
    def degraded_by(self) -> float | None:
        """The share of the baseline beyond which it is degraded, or None where something else judges."""
        if self.breach is not None:
            return self.breach.degraded_by
        return VOLUME_FALLS_BY if self.margin is None and self.kind == "volume" else self.margin

    @model_validator(mode="after")
    def _fits(self) -> PolicySignal:
        found = [*kinds.complaints(self)]
        if self.aside:
            found += [*self._measure()]
        elif self.kind != "burn_rate" and not any(complaint.loc == () for complaint in found):
            found += [*self._measure(), *self._judgement(), *self._compared()]
        elif self.kind == "burn_rate":
            found += [*self._measure()]
        found += [*self._freshness(), *self._sliced()]
        if self.critical and (self.area == "inputs" or self.aside):
            remedy = "Take `critical:` out, or give it another area"
            found.append(Complaint(("critical",), "explains where trouble comes from, and never fires alone", remedy))
        if found:
            raise several({(complaint.loc, complaint.message): complaint for complaint in found}.values())
        return self

    def _measure(self) -> list[Complaint]:
        found = []
        if self.buckets is not None or self.histogram is not None or self.kind in ("gauge", "distribution"):
            pass  # its kind says what is wrong with it
        elif self.value is None and self.x is None and self.n is None:
            found.append(Complaint((), "has no query", "Write `value:`, or `x:` (events) and `n:` (out of trials)"))
        elif self.value is not None and (self.x is not None or self.n is not None):
            found.append(Complaint(("value",), "stands beside x or n", "Keep `value`, or `x` with `n`"))
        elif self.value is None and (self.x is None or self.n is None):
            have, lack = ("x", "n") if self.n is None else ("n", "x")
            found.append(Complaint((have,), f"{have} needs {lack}", f"Write `{lack}:` too; the value is x / n"))
        if self.minimum is not None and not self.counted and self.n is None:
            found.append(Complaint(("minimum",), "counts trials, and this signal has no n", "Write `x:` and `n:`"))
        return found

    def _judgement(self) -> list[Complaint]:
        found = []
        if self.breach is None and self.degraded_by is None and not self.by_evidence:
            remedy = "Write `breach: {above: 2%}`, or `margin: 2%` with a baseline"
            if self.counted:
                remedy = "Write `baseline: {kind: seasonal}` and evidence judges it, or `breach: {above: 2%}`"
            found.append(Complaint((), "never counts as degraded", remedy))
        if self.breach is not None and self.margin is not None:
            found.append(Complaint(("margin",), "stands beside breach", "Keep one; `margin` is `degraded_by`"))
        if self.breach is not None and self.breach.baseline is not None and self.baseline is not None:
            found.append(Complaint(("breach", "baseline"), "the signal has a baseline already", "Keep one of them"))
        wrong = "above" if self.worse == "lower" else "below"
        if self.breach is not None and getattr(self.breach, wrong) is not None:
            right = "below" if wrong == "above" else "above"
            found.append(Complaint(("breach", wrong), f"`{wrong}` does not go with `worse: {self.worse}`",
                                   f"Write `{right}:`, or turn `worse:` round"))  # fmt: skip
        bounds = (self.breach.above, self.breach.below) if self.breach is not None else ()
        if not self.counted and any(isinstance(bound, Curve) and bound.by == "traffic" for bound in bounds):
            found.append(Complaint(("breach",), "varies with a traffic that nothing counts", "Write `x:` and `n:`"))
        share = self.degraded_by
        if share is not None:
            found += self._share(share, ("breach", "degraded_by") if self.breach else ("margin",))
        return found

    def _share(self, share: float, loc: tuple[str, ...]) -> list[Complaint]:
        found = []
        if self.compared_with is None:
            found.append(Complaint(loc, "has no baseline to degrade from", "Write `baseline: {kind: last_week}`"))
        elif self.compared_with.value == 0 and not self.by_evidence:
            found.append(Complaint(loc, "no share of a baseline of zero can be taken", "Use `breach: {above: …}`"))
        if share <= 0:
            found.append(Complaint(loc, "is not more than 0%", "A signal at its baseline is healthy"))
        elif share >= 1 and self.worse == "lower":
            found.append(Complaint(loc, "nothing falls by more than 100%", "Write less than 100%"))
        return found

    def _compared(self) -> list[Complaint]:
        """What is wrong with the baseline for the way in which the signal is judged."""
        baseline = self.compared_with
        if baseline is None:
            return []
        loc = ("breach", "baseline") if self.breach and self.breach.baseline else ("baseline",)
        if baseline.kind == "period":
            return [
                Complaint((*loc, "kind"), "a period is for distributions", "Write `{kind: seasonal}`, or last_week")
            ]
        if baseline.kind in _LEARNED and not self.by_evidence:
            remedy = "Write `x:` and `n:` and leave `breach:` out, or use `kind: last_week`"
            return [Complaint((*loc, "kind"), f"{baseline.kind} is for signals that are judged by evidence", remedy)]
        if baseline.kind == "last_week" and not self.by_evidence:
            return [
                Complaint((*loc, key), "a bound is compared with seven times 24 hours earlier", f"Take `{key}` out")
                for key in ("timezone", "holidays")
                if getattr(baseline, key) is not None
            ]
        if self.by_evidence and self.kind != "gauge" and baseline.kind == "fixed" and not 0 < (baseline.value or 0) < 1:
            return [Complaint((*loc, "value"), "x out of n lies between 0% and 100%", "Write it as `3.1%`")]
        return []

    def _sliced(self) -> list[Complaint]:
        found = []
        for key in ("value", "x", "n"):
            names = names_slice(getattr(self, key))
            if self.slices is None and names:
                found.append(Complaint((key,), "$slice has no meaning without slices",
                                       "Write `slices: {label: country, values: [DE, FR]}`"))  # fmt: skip
            if self.slices is not None and self.by_evidence and getattr(self, key) is not None and not names:
                found.append(
                    Complaint((key,), "does not say where the slice goes", "Write `{$slice}` after the metric")
                )
        if self.slices is not None and not self.by_evidence:
            found.append(Complaint(("slices",), "are for signals that are judged by evidence",
                                   "Write `x:`, `n:` and a `baseline:`, without `breach:`"))  # fmt: skip
        return found

    def _freshness(self) -> list[Complaint]:
        if self.heartbeat is not None and self.stale_after is None:
            return [Complaint(("heartbeat",), "needs stale_after", "Write `stale_after: 2m`")]
        if self.stale_after is not None and self.heartbeat is None:
            remedy = "Write `heartbeat:`, the Unix time of the newest sample: `max by (deployment) (timestamp(x))`"
            return [Complaint(("stale_after",), "needs heartbeat", remedy)]
        return []
