"""What the signals of a policy can find at a traffic that somebody names: for `policy explain`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from rollback_console.decide.budget import Share, budgeted, claims_of, quantised, share_in_words, shares
from rollback_console.decide.detectability import delay_of, detectability, in_words
from rollback_console.decide.ranks import SELDOM
from rollback_console.errors import UsageError
from rollback_console.model.identity import DeploymentId
from rollback_console.model.observation import Norm
from rollback_console.model.rules import DeploymentRule, EvidenceRule, SignalKind, SignalRule, Worse
from rollback_console.model.text import number, plain, span

_RATE = 0.03  # a share to reckon with, where nobody names one: a usual conversion
_BEYOND = (0.95, 0.5, 0.25)  # of a gauge's evaluations, beyond its bound

Traffic = Mapping[str, float]  # trials a minute by deployment; "": of all the others


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


def parse_traffic(texts: Sequence[str]) -> Traffic:
    """Trials a minute from `2000` (of every deployment) and `checkout-ranker=20000` (of one). Raises UsageError."""
    found: dict[str, float] = {}
    for text in texts:
        name, equals, amount = text.rpartition("=")
        try:
            trials = float(amount)
        except ValueError:
            trials = 0.0
        if not 0 < trials <= 1e12 or (equals and not name):
            example = "--traffic 2000, or for one deployment --traffic checkout-ranker=20000"
            raise UsageError(f"--traffic {plain(text, 80)} is no number of trials a minute", f"write it as {example}")
        found[name] = trials
    return found


def detects_at(
    rules: Sequence[DeploymentRule], traffic: Traffic, rate: float | None
) -> Callable[[DeploymentRule, SignalRule], str]:
    """What each signal that is judged by evidence finds, and how soon, with so many trials a minute of which `rate` are
    events (None: a fixed baseline's own share, else 3 %); where false alarms are divided, its share by tier and by
    this traffic. Raises UsageError for a deployment that the policy does not name."""
    trials = _trials(rules, traffic)
    weekly = rules[0].trigger.false_alarms_a_week
    given: dict[tuple[DeploymentId, str], Share] = {}
    if weekly is not None:
        known = {
            (rule.deployment.id, signal.name): quantised(trials[rule.deployment.id])
            for rule in rules
            for signal in rule.signals
            if rule.deployment.id in trials
        }
        given = {(each.deployment, each.signal): each for each in shares(weekly, claims_of(rules, known))}
        rules = budgeted(rules, weekly, known)
    judging = {(rule.deployment.id, signal.name): signal.evidence for rule in rules for signal in rule.signals}

    def words(rule: DeploymentRule, signal: SignalRule) -> str:
        name = rule.deployment.id
        judged, share = judging[name, signal.name] or EvidenceRule(), given.get((name, signal.name))
        by = "tier and traffic" if trials else "tier"
        told = [f"its share by {by} is {share_in_words(share)}"] if share is not None else []
        if name in trials:
            told.append(_finds(judged, signal, trials[name], rate))
        return "; ".join(told)

    return words


def _trials(rules: Sequence[DeploymentRule], traffic: Traffic) -> dict[DeploymentId, float]:
    names = {name: rule.deployment.id for rule in rules for name in (rule.deployment.id.name, str(rule.deployment.id))}
    if unknown := [name for name in traffic if name and name not in names]:
        raise UsageError(f"--traffic: the policy names no deployment {plain(unknown[0], 80)}", "look at its `name:`")
    found = {rule.deployment.id: traffic[""] for rule in rules} if "" in traffic else {}
    return found | {names[name]: trials for name, trials in traffic.items() if name}


def _finds(judged: EvidenceRule, signal: SignalRule, traffic: float, rate: float | None) -> str:
    if signal.kind is SignalKind.GAUGE:
        return _gauge(judged, signal.window_s)
    fixed = signal.baseline.value if signal.baseline is not None else None
    p = rate if rate is not None else fixed if fixed is not None else _RATE
    margin = judged.margin if judged.margin is not None else judged.least_margin
    trials = traffic * signal.window_s / 60.0
    found = detectability(judged, signal.worse, p, trials, Norm(margin, ()), window_s=signal.window_s)
    seen = f"at {number(traffic)} trials a minute and a share of {number(p, '%')} it finds {in_words(found)}"
    return f"{seen} (noise no more than chance, margin {number(margin, '%')}; real noise takes longer)"


def _gauge(judged: EvidenceRule, window_s: float) -> str:
    """What a gauge finds, whatever the traffic: one evaluation a window, one in twenty of them beyond its bound."""
    norm = Norm(judged.least_margin, ())
    found = []
    for share in _BEYOND:
        change = share / SELDOM - 1.0
        delay = delay_of(judged, Worse.HIGHER, SELDOM, 1.0, norm, change, window_s=window_s)
        found.append(f"{share:.0%} of the time".replace("%", " %") + f" in {span(max(60.0, round(delay / 60) * 60.0))}")
    told = f"whatever the traffic, it finds that it is beyond its bound (usually {number(SELDOM, '%')} of the time)"
    return f"{told} {', '.join(found)}; where its values resemble each other it takes longer"
