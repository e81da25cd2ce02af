"""Do the arms of an experiment get the share of the traffic that they were meant to get: sample ratio mismatch.

Where they do not, something decides who lands where (a crash before the count, a redirect, a bot filter), and the arms
are no longer alike: no comparison between them can be trusted, in either direction.

The test is anytime-valid, since it is looked at every minute: the Bayes factor of a beta mixture over the control's
share against the nearest share that is still as planned; by Ville's inequality it exceeds 1/a with a probability of
at most a, ever. Sources: Lindon & Malek 2022 ("Anytime-valid inference for multinomial count data", NeurIPS); Fabijan
et al. 2019 (KDD, doi 10.1145/3292500.3330722) for what mismatches come from.

Two safeguards, both of which only lower it: planned is a range around the expected share, not a point, and counts weigh
a quarter, because visits come in sessions and are no independent draws (the dispersion taken for unknown traffic).
Like evidence it forgets at marks (`decide.evidence.SPAN_S`): a cold start that has read a day holds the same tally.
"""

from __future__ import annotations

from math import lgamma, log

from rollback_console.decide.evidence import SPAN_S

Tally = tuple[float, float, float, float]  # (own, the control's) trials since the last mark, and in the span before it

NOTHING: Tally = (0.0, 0.0, 0.0, 0.0)
MISMATCH = "sample ratio mismatch"
LIKELY = log(100_000.0)  # of the Bayes factor: one in a hundred thousand, in each span of half a day
TOLERANCE = 0.01  # of all trials: a share that is off by less is as planned ...
_RELATIVE = 0.1  # ... or by less than this part of the smaller arm
_DISPERSION = 4.0
_PRIOR = 2.0  # trials that the mixture is worth


def added(tally: Tally, last: float | None, at: float, own: float, control: float) -> Tally:
    """The tally after a window that ended at `at`, the one before at `last` (Unix seconds)."""
    marks = 0 if last is None else at // SPAN_S - last // SPAN_S
    if marks > 1:
        tally = NOTHING
    elif marks == 1:
        tally = (0.0, 0.0, tally[0], tally[1])
    return (tally[0] + own, tally[1] + control, tally[2], tally[3])


def log_factor(own: float, control: float, expected: float) -> float:
    """The log Bayes factor of "the control gets another share than `expected` (0 to 1) of own + control trials"."""
    one, two = control / _DISPERSION, own / _DISPERSION
    near = min(TOLERANCE, _RELATIVE * min(expected, 1.0 - expected))
    seen = one / (one + two) if one + two > 0.0 else expected
    null = min(max(seen, expected - near), expected + near)
    a, b = _PRIOR * expected, _PRIOR * (1.0 - expected)
    mixed = _log_beta(one + a, two + b) - _log_beta(a, b)
    return mixed - one * log(null) - two * log(1.0 - null)


def _log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)


def mismatch(tally: Tally, expected: float | None) -> float | None:
    """The control's share of all trials where that is not the `expected` one, beyond doubt; else None. Looked for since
    the last mark, which finds what is new, and since the one before, which finds what is small."""
    if expected is None or not 0.0 < expected < 1.0:
        return None
    for own, control in ((tally[0], tally[1]), (tally[0] + tally[2], tally[1] + tally[3])):
        if own + control > 0.0 and log_factor(own, control, expected) >= LIKELY:
            return control / (own + control)
    return None
