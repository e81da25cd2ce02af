"""`policy import` against Prometheus itself: rules of many shapes and random ones, over random data, state by state."""

from __future__ import annotations

import json
import math
import os
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from import_oracle import (
    APART,
    RANDOM_METRICS,
    Data,
    Lone,
    Metric,
    all_states,
    draw_data,
    draw_rules,
    import_each,
    labelled,
    openmetrics,
    write_test,
)

from decide.promtool_oracle import ask
from rollback_console.policy import conditions
from rollback_console.policy.import_options import ImportOptions, named_deployment
from rollback_console.policy.importing import ImportedAlert, import_rules
from rollback_console.policy.load import parse_policy
from servers.prometheus import Prometheus

pytestmark = pytest.mark.real
CAMPAIGN = bool(os.environ.get("ROLLBACK_CONSOLE_CAMPAIGN"))
SEEDS = range(40 if CAMPAIGN else 2)
RULES, EVALUATIONS = 60, 80
FILES = Path(__file__).parent / "rules"
BY = ("deployment",)
WHO = ("alpha", "beta", "gamma")
FLEET = ImportOptions(by=BY, deployments=tuple(named_deployment(name, BY) for name in WHO))
Start = Callable[..., Prometheus]

_MODELS: dict[str, tuple[dict[str, Sequence[str]], tuple[float, ...]]] = {
    "latency_mean_seconds": ({"pod": ("p0", "p1")}, (0.2, 0.4, 0.9, 1.5)),
    "slo_seconds": ({}, (0.5, 0.5, 1.0)),
    "maintenance": ({}, (0.0, 0.0, 1.0)),
    "up": ({"instance": ("i0", "i1")}, (1.0, 1.0, 0.0)),
    "replicas_ready": ({}, (0.0, 1.0, 2.0, 3.0, 6.0)),
    "replicas_wanted": ({}, (2.0, 3.0)),
    "queue_depth": ({"shard": ("s0", "s1")}, (0.0, 4.0, 9.0, 9.0)),
    "gpu_utilisation": ({"gpu": ("0", "1", "2")}, (5.0, 30.0, 80.0, 97.0)),
    "feature_age_seconds": ({"view": ("user", "item")}, (20.0, 300.0, 301.0, 900.0)),
    "drift_score": ({"feature": ("age", "price", "country")}, (0.05, 0.2, 0.4)),
    "prediction_mean": ({}, (0.5, 0.5, 0.1, 0.95)),
}
_COUNTS: dict[str, dict[str, Sequence[str]]] = {
    "errors_total": {"code": ("200", "500", "503")},
    "requests_total": {"code": ("200", "500")},
    "orders_total": {}, "visits_total": {}, "refunds_total": {}, "fallbacks_total": {},
}  # fmt: skip
BUCKETS = (("0.1", 0.3), ("0.5", 0.8), ("1", 0.95), ("+Inf", 1.0))
METRICS = (
    *(Metric(name, labelled(deployment=WHO, **more), levels) for name, (more, levels) in _MODELS.items()),
    *(Metric(name, labelled(deployment=WHO, **more), (0.0, 1.0, 6.0, 30.0), True) for name, more in _COUNTS.items()),
    *(
        Metric("latency_seconds_bucket", labelled(deployment=(name,), le=[le for le, _ in BUCKETS]),
               (0.0, 10.0, 40.0), True, tuple(share for _, share in BUCKETS))
        for name in WHO
    ),
    Metric("latency_seconds_count", labelled(deployment=WHO), (0.0, 10.0, 40.0), True),
    Metric("store_up", ((("job", "feature-store"),),), (0.0, 1.0)),
)  # fmt: skip
_PLACE = {"namespace": ("shop", "lab"), "service": ("ranker", "embedder")}
SERVING = (
    Metric("serving_errors_total", labelled(**_PLACE, pod=("p0", "p1")), (0.0, 6.0, 30.0), True),
    Metric("serving_inflight", labelled(**_PLACE, pod=("p0", "p1")), (0.0, 2.0, 9.0)),
    Metric("serving_limit", labelled(**_PLACE, reason=("quota",)), (0.0, 10.0)),
    Metric("serving_ready", labelled(**_PLACE, pod=("p0", "p1")), (0.0, 1.0, 1.0)),
)


def proven(
    folder: Path, start: Start, lones: list[Lone], data: Data, by: tuple[str, ...], every: float, count: int
) -> tuple[int, str, int, int]:
    """promtool's exit code and words; how many assertions, and how many of the rows were ever pending or firing."""
    server = start(openmetrics=openmetrics(data))
    found = all_states(server.url, lones, every, count)
    path, assertions = write_test(folder, lones, found, data, by, every, count)
    code, words = ask([path])
    return code, words, assertions, sum(any(row) for rows in found for row in rows)


@pytest.mark.parametrize("seed", SEEDS)
def test_random_rules_over_random_data(seed: int, tmp_path: Path, prometheus_server: Start) -> None:
    draw = random.Random(seed)
    every = draw.choice((60.0, 30.0, 20.0))
    data = draw_data(draw, RANDOM_METRICS, int(every * EVALUATIONS / APART) + 1)
    lones, refused = import_each(draw_rules(draw, RULES, every), "rules.json", FLEET)
    assert len(lones) + refused == RULES
    assert refused <= RULES // 10
    code, words, assertions, active = proven(tmp_path, prometheus_server, lones, data, BY, every, EVALUATIONS)
    assert code == 0, words[:3000]
    assert assertions == len(lones) * len(WHO) * EVALUATIONS
    assert active > len(lones) * len(WHO) // 2, "most rules were pending or firing at some time"


@pytest.mark.parametrize(
    ("file", "options", "metrics", "imported"),
    [
        ("models.yml", FLEET, METRICS, 41),
        ("namespaced.yml",
         ImportOptions(by=("namespace", "service"), deployments=tuple(
             named_deployment(f"{n}-{s}:namespace={n},service={s}", ("namespace", "service"))
             for n in _PLACE["namespace"] for s in _PLACE["service"])), SERVING, 6),
        ("lone.yml", ImportOptions(by=BY, deployments=(named_deployment("alpha", BY),)), METRICS, 6),
    ],
)  # fmt: skip
def test_rules_as_people_write_them(
    file: str, options: ImportOptions, metrics: tuple[Metric, ...], imported: int, tmp_path: Path,
    prometheus_server: Start,
) -> None:  # fmt: skip
    lones, refused = import_each((FILES / file).read_bytes(), file, options)
    assert (len(lones), refused) == (imported, 0)
    data = draw_data(random.Random(20), metrics, EVALUATIONS)
    by = options.by if file != "lone.yml" else ()
    code, words, assertions, active = proven(tmp_path, prometheus_server, lones, data, by, APART, EVALUATIONS)
    assert code == 0, words[:3000]
    assert assertions == len(lones) * len(options.deployments) * EVALUATIONS
    never = len(lones) * len(options.deployments) - active
    assert never <= len(lones) // 2, "nearly all were pending or firing at some time, for most deployments"


def test_alerts_together_fire_whenever_one_of_them_does(tmp_path: Path, prometheus_server: Start) -> None:
    """One trigger with the shortest `for` and the longest `keep_firing_for` of the rules joined by `or`."""
    draw = random.Random(77)
    data = draw_data(draw, RANDOM_METRICS, EVALUATIONS)
    rules = draw_rules(draw, 40, APART)
    lones, _ = import_each(rules, "rules.json", FLEET)
    found = []
    server = prometheus_server(openmetrics=openmetrics(data))
    alone = all_states(server.url, lones, APART, EVALUATIONS)
    for at in range(0, len(lones) - 2, 3):
        three = lones[at : at + 3]
        names = frozenset(lone.alert.name for lone in three)
        got = import_rules(rules, "rules.json", replace(FLEET, alerts=names))
        expr = " or ".join(f"(group by (deployment) ({alert.expr}))" for alert in got.alerts)
        both: ImportedAlert = replace(
            got.alerts[0], expr=expr, exact=True,
            dwell_s=min(alert.dwell_s for alert in got.alerts), hold_s=max(alert.hold_s for alert in got.alerts),
        )  # fmt: skip
        together = Lone(f"t{at}", both, parse_policy(got.policy.encode(), "p").rules)
        (rows,) = all_states(server.url, [together], APART, EVALUATIONS)
        found.append((together, rows))
        for single in alone[at : at + 3]:
            for mine, one in zip(rows, single, strict=True):
                fires = [k for k, state in enumerate(one) if state == "firing"]
                assert all(mine[k] == "firing" for k in fires)
    path, assertions = write_test(
        tmp_path, [one for one, _ in found], [rows for _, rows in found], data, BY, APART, EVALUATIONS
    )
    code, words = ask([path])
    assert code == 0, words[:3000]
    assert assertions >= 2_500


@pytest.mark.parametrize("mutant", ["strict", "other side", "and is or", "no clamp"])
def test_an_import_that_is_slightly_wrong_is_caught(
    mutant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prometheus_server: Start
) -> None:
    """The oracle's own proof: `>=` read as `>`; `max` for `min`; `and` read as `or`; infinities left as they are."""
    if mutant == "strict":
        monkeypatch.setattr(math, "nextafter", lambda number, _: number)
    elif mutant == "no clamp":
        monkeypatch.setattr(conditions, "may_be_infinite", lambda _: False)
    elif mutant == "other side":
        monkeypatch.setattr(conditions, "_MIN", "max")
    else:
        real = conditions._flat
        monkeypatch.setattr(conditions, "_flat", lambda kind, a, b: real("or" if kind == "and" else kind, a, b))
    rules = {
        "strict": ["sum by (deployment) (g1) >= 3", "sum by (deployment) (g2) <= 0.5"],
        "other side": ["m1 < 1"],
        "and is or": ["sum by (deployment) (g1) > 1 and sum by (deployment) (g2) > 1"],
        "no clamp": ["sum by (deployment) (g1) / sum by (deployment) (g2) > 2"],
    }[mutant]
    file = {"groups": [{"rules": [{"alert": f"A{k}", "expr": expr} for k, expr in enumerate(rules)]}]}
    lones, _ = import_each(json.dumps(file).encode(), "rules.json", FLEET)
    data = draw_data(random.Random(3), RANDOM_METRICS, EVALUATIONS)
    code, words, _, active = proven(tmp_path, prometheus_server, lones, data, BY, APART, EVALUATIONS)
    assert active
    assert code != 0
    assert "FAILED" in words
