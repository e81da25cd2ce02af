"""Kayenta's judge (NetflixACAJudge-v1.0) on an hour of minutes: Mann-Whitney's confidence interval against a
tolerance.

Source: Spinnaker's documentation (guides/user/canary: judge, best-practices) and the judge's published description.
Experiment and control are compared by the Mann-Whitney U test with a 98 % confidence interval of the location shift
(as R's wilcox.test gives it, by the normal approximation) and its Hodges-Lehmann estimate. The metric is Low where the
interval's upper end lies under -0.25 times the estimate's size (the tolerance), and for `direction: decrease` Low
fails. Missing values are removed (`nanStrategy: remove`); no data at all is no verdict. Effect sizes are at their
default of 1, so any significant drop fails; with one metric its failure is a score of 0, under every threshold. As the
best practices begin: an hour of 60 points a run, no warm-up.
"""

from __future__ import annotations

import math

import numpy as np

from quality.noises import Flags, Floats, Stream
from quality.rivals import Facts

_Z = 2.3263478740408408  # the standard normal's 99th percentile: 98 % between the ends
TOLERANCE = 0.25
RUN = 60


def low(experiment: Floats, control: Floats) -> bool:
    """Is the experiment judged Low. Values in any unit; NaN removed."""
    experiment, control = experiment[~np.isnan(experiment)], control[~np.isnan(control)]
    first, second = len(experiment), len(control)
    if not first or not second or (first == second and bool((experiment == control).all())):
        return False
    shifts = np.sort((experiment[:, None] - control[None, :]).ravel())
    spread = math.sqrt(first * second * (first + second + 1) / 12)
    rank = max(0, round(first * second / 2 - _Z * spread))  # this many shifts lie outside on either side
    return bool(shifts[len(shifts) - 1 - rank] < -TOLERANCE * abs(float(np.median(shifts))))


def kayenta(stream: Stream, facts: Facts, start: int, end: int) -> Flags:
    """Judged once an hour against a control of the same traffic beside it, which costs the deployment none of its
    own."""
    del facts
    flags = np.zeros(end - start, dtype=bool)
    with np.errstate(invalid="ignore", divide="ignore"):
        for i in range(-(-start // RUN) * RUN, end, RUN):
            part = slice(i - RUN + 1, i + 1)
            seen = stream.seen[part]
            ours = np.where(seen, stream.x[part] / stream.n[part], np.nan)
            theirs = np.where(seen, stream.cx[part] / stream.cn[part], np.nan)
            flags[i - start] = low(ours, theirs)
    return flags
