"""What the signals of a policy can find at a traffic that somebody names: for `policy explain`."""

from __future__ import annotations

from collections.abc import Callable

from rollback_console.decide.detectability import detectability, in_words
from rollback_console.errors import UsageError
from rollback_console.model.observation import Norm
from rollback_console.model.rules import DeploymentRule, EvidenceRule, SignalRule
from rollback_console.model.text import number, plain

_RATE = 0.03  # a share to reckon with, where nobody names one: a usual conversion


def parse_rate(text: str | None) -> float | None:
    """A share of the trials from `3%`. Raises UsageError."""
    from rollback_console.policy.quantities import parse_percentage

    if text is None:
        return None
    try:
        rate = parse_percentage(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate < 1:
        raise UsageError(f"--rate {plain(text, 40)} is not a share of the trials", "write it as 3%")
    return rate


def detects_at(traffic: float, rate: float | None) -> Callable[[DeploymentRule, SignalRule], str]:
    """What each signal that is judged by evidence finds, and how soon, with `traffic` trials a minute of which `rate`
    are events (None: a fixed baseline's own share, else 3 %). Raises UsageError for no traffic."""
    if not 0 < traffic <= 1e12:
        raise UsageError(f"--traffic {traffic:g} is no number of trials a minute", "write it as --traffic 2000")

    def words(_: DeploymentRule, signal: SignalRule) -> str:
        judged = signal.evidence or EvidenceRule()
        fixed = signal.baseline.value if signal.baseline is not None else None
        p = rate if rate is not None else fixed if fixed is not None else _RATE
        margin = judged.margin if judged.margin is not None else judged.least_margin
        trials = traffic * signal.window_s / 60.0
        found = detectability(judged, signal.worse, p, trials, Norm(margin, ()), window_s=signal.window_s)
        seen = f"at {number(traffic)} trials a minute and a share of {number(p, '%')} it finds {in_words(found)}"
        return f"{seen} (noise no more than chance, margin {number(margin, '%')}; real noise takes longer)"

    return words
