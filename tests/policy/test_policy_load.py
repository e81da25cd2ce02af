"""Good files: what they become, what deployments share, what several files are together."""

from __future__ import annotations

import hashlib
import json
import re
import time
from pathlib import Path

import pytest

from rollback_console.errors import FileProblems
from rollback_console.model.operator import Permission
from rollback_console.model.rules import (
    BaselineKind,
    BlindPolicy,
    BlindPolicyKind,
    Breach,
    EvidenceRule,
    ExpectedChange,
    Stretch,
    Tiered,
    Uses,
    Weekly,
    Worse,
)  # fmt: skip
from rollback_console.policy.draft import (
    MetricFact,
    ModelFact,
    choose_label,
    draft_policy,
    draft_roster,
    draft_settings,
)
from rollback_console.policy.explain import explain
from rollback_console.policy.load import load_all, load_policy, load_roster, load_settings, parse_policy, parse_roster
from rollback_console.policy.schema import schema

DOCS = Path(__file__).parents[2] / "docs" / "policies.md"
BLOCKS = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(), re.S)
FULL = next(block for block in BLOCKS if "conversion" in block)
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB"


def policy(signals: str, deployments: str = "", rest: str = "") -> str:
    deployments = deployments or "  - {name: a, environment: production, model: {name: m, alias: champion}}\n"
    return (
        "schema: rollback-console/policy/v1\nname: p\nversion: 1\n"
        f"deployments:\n{deployments}signals:\n{signals}"
        f"recovery: [{{path: version, driver: mlflow-alias}}]\n{rest}"
    )


def fleet(count: int) -> str:
    return "".join(
        f"  - name: d{i}\n    environment: production\n    model: {{name: m{i}, alias: champion}}\n"
        f"    labels: {{deployment: d{i}}}\n    depends_on: [feature-view/f{i % 10}]\n"
        for i in range(count)
    )


def test_every_block_of_the_docs_loads(tmp_path: Path) -> None:
    (tmp_path / "company-ca.pem").write_text("")
    (tmp_path / "templates").mkdir()
    kinds = []
    for block in BLOCKS:
        kind = re.match(r"schema: rollback-console/(\w+)/v1", block)
        assert kind
        kinds.append(kind[1])
        path = tmp_path / (f"{kind[1]}.yaml" if kind[1] != "policy" or block == FULL else f"policy-{len(kinds)}.yaml")
        path.write_text(block)
        if kind[1] == "policy":
            assert {warning.path for warning in load_policy(path).warnings} <= {""}  # the smallest has no way back
    assert sorted(kinds) == ["policy"] * 3 + ["roster", "settings"]
    together = load_all(tmp_path / "settings.yaml")
    assert [str(rule.deployment.id) for rule in together.rules] == [
        "production/checkout-ranker",
        "production/search-embed",
    ]
    assert together.roster is not None
    assert together.warnings == ()


def test_a_policy_becomes_rules() -> None:
    loaded = parse_policy(FULL.encode(), "f")
    assert loaded.digest == hashlib.sha256(FULL.encode()).hexdigest()
    rule = loaded.rules[0]
    conversion, errors, volume = rule.signals
    assert conversion.x == "sum by (deployment) (increase(orders_total[1m]))"
    assert conversion.n_hour == "sum by (deployment) (increase(visits_total[1h]))"
    assert (conversion.breach, conversion.window_s, conversion.worse) == (Breach(), 60, Worse.LOWER)
    assert conversion.evidence == EvidenceRule(90 * 86_400, 300, 1_800, None, 180)
    assert conversion.baseline is not None
    assert (conversion.baseline.kind, conversion.baseline.history_s) == (BaselineKind.SEASONAL, 28 * 86_400)
    assert conversion.baseline.holidays == ("12-25", "12-26", "2027-03-26")
    assert conversion.baseline.exclude == (Stretch(1_795_737_600.0, 1_796_083_200.0, "Black Friday"),)
    assert (errors.breach, errors.blind.kind, errors.unit) == (Breach(above=0.02), BlindPolicyKind.HEALTHY, "%")
    assert (volume.breach.degraded_by, volume.stale_s, volume.title) == (0.6, 120, "Volume")
    assert (rule.trigger.dwell_s, rule.trigger.hold_s, rule.trigger.cool_down_s) == (300, 600, 3600)
    assert rule.trigger.text == "tiered of [conversion, error_rate, volume]"
    assert rule.trigger.when == Tiered((Uses("conversion"), Uses("error_rate"), Uses("volume")))
    assert (rule.trigger.not_before_s, rule.trigger.loop_guard) == (600, 2)
    assert rule.trigger.expected == (ExpectedChange("reindexing", weekly=Weekly((6,), 7_200, 7_200, "Europe/Berlin")),)
    assert rule.deployment.links == (("dashboard", "https://grafana.example/d/models?var-model=checkout-ranker"),)
    assert rule.deployment.labels == (("deployment", "checkout-ranker"),)
    assert loaded.rules[1].deployment.labels == (("deployment", "search-embed"),)
    assert loaded.rules[1].deployment.repromoted_by == "nightly-retraining"
    assert (rule.recovery[0].verify_for_s, rule.recovery[0].authority.request) == (600, ("oncall",))


def test_every_key_of_the_design_is_understood() -> None:
    loaded = parse_policy((Path(__file__).parent / "every_key.yaml").read_bytes(), "f")
    assert [warning.path for warning in loaded.warnings] == ["stakeholders", "escalation"]
    evidence = loaded.rules[0].signals[0].evidence
    assert evidence is not None
    assert (evidence.margin, evidence.maturity_s, evidence.least_margin) == (0.02, 180, 0.02)  # the last by risk: high
    assert loaded.rules[0].deployment.owners == ("team-ranking",)
    assert loaded.rules[0].recovery[0].authority.approve_of == ("lead", "commander")


def test_a_thousand_deployments_load_fast_and_share_their_signals() -> None:
    text = FULL[: FULL.index("deployments:")] + "deployments:\n" + fleet(1_000) + FULL[FULL.index("signals:") :]
    started = time.perf_counter()
    loaded = parse_policy(text.encode(), "f")
    seconds = time.perf_counter() - started
    assert len(loaded.rules) == 1_000
    assert all(rule.signals is loaded.rules[0].signals for rule in loaded.rules)
    assert all(rule.impact is loaded.rules[0].impact for rule in loaded.rules)
    assert seconds < 2.0, f"{seconds:.2f} s"  # 0.13 s where it was measured; the bound is for a busy machine


def test_only_what_differs_between_deployments_is_made_for_each() -> None:
    signals = (
        "  fleet: {worse: higher, value: sum by (deployment) (x), breach: {above: 1}}\n"
        "  own: {worse: higher, value: 'sum(y{$selector}) + z{d=\"$deployment\"}', breach: {above: 1}}\n"
    )
    deployments = (
        "  - {name: a, environment: production, labels: {b: 'q\"\\', a: x}, model: {name: m, alias: champion}}\n"
        "  - {name: b, environment: production, model: {name: m, alias: champion}}\n"
    )
    first, second = parse_policy(policy(signals, deployments).encode(), "f").rules
    assert first.signals[0] is second.signals[0]
    assert first.signals[1].value == 'sum(y{a="x",b="q\\"\\\\"}) + z{d="a"}'
    assert second.signals[1].value == 'sum(y{deployment="b"}) + z{d="b"}'


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("freeze", BlindPolicy()),
        ("reset", BlindPolicy(BlindPolicyKind.RESET)),
        ("breach", BlindPolicy(BlindPolicyKind.BREACH)),
        ("{last: 5m}", BlindPolicy(BlindPolicyKind.LAST, 300)),
        ('"last: 5m"', BlindPolicy(BlindPolicyKind.LAST, 300)),
        ("\n      last: 90s", BlindPolicy(BlindPolicyKind.LAST, 90)),
    ],
)
def test_ways_to_be_blind(written: str, expected: BlindPolicy) -> None:
    text = f"  s:\n    worse: higher\n    value: x\n    breach: {{above: 1}}\n    blind: {written}\n"
    assert parse_policy(policy(text).encode(), "f").rules[0].signals[0].blind == expected


def test_warnings_say_what_nothing_uses_and_what_cannot_be_split() -> None:
    signals = (
        "  a: {worse: higher, value: sum(x), breach: {above: 1}, maturity: 3m}\n"
        "  b: {worse: higher, value: sum by (model) (x), breach: {above: 1}}\n"
        "  c: {worse: higher, value: x, breach: {above: 1}}\n"
    )
    rest = "risk: high\ntrigger: {when: a or b, budget: {one_false_alarm_in: 90d}}\n"
    said = [f"{w.line} {w.path} {w.message}" for w in parse_policy(policy(signals, rest=rest).encode(), "f").warnings]
    assert said == [
        "7 signals.a.value the answer cannot be told apart by deployment",
        "7 signals.a.maturity nothing uses it yet",
        "8 signals.b.value the answer cannot be told apart by deployment",
        "9 signals.c the trigger does not use it",
        "12 trigger.budget nothing uses it yet",
    ]


def test_problems_of_all_files_come_together(tmp_path: Path) -> None:
    signal = "  s: {worse: higher, value: x, breach: {above: 1}}\n"
    (tmp_path / "a.yaml").write_text(policy(signal))
    (tmp_path / "b.yaml").write_text(policy(signal))
    (tmp_path / "c.yaml").write_text(policy(signal).replace("above: 1", "above: many"))
    (tmp_path / "roster.yaml").write_text(
        "schema: rollback-console/roster/v1\noperators: [{id: ana}]\n"
        "roles: {on-call: {may: [look], in: [produktion]}}\n"
    )
    settings = tmp_path / "settings.yaml"
    settings.write_text(
        "schema: rollback-console/settings/v1\nprometheus: {url: 'http://p:9090'}\n"
        "policies: ['[abc].yaml', none/*.yaml]\nroster: roster.yaml\noperator: anna\n"
    )
    with pytest.raises(FileProblems) as caught:
        load_all(settings)
    said = [str(problem).replace(str(tmp_path), "") for problem in caught.value.problems]
    assert said == [
        "/settings.yaml:3:26: policies[1]: no file is there. Paths are relative to ",
        "/c.yaml:7:48: signals.s.breach.above: 'many' is not a number. Write a number in the signal's unit, or a"
        " percentage as in `2%`",
        "/b.yaml:5:12: deployments[0].name: production/a stands in /a.yaml as well. One policy judges a deployment",
        "/a.yaml:8:12: recovery[0]: the roster has no role oncall. Did you mean on-call",
        "/b.yaml:8:12: recovery[0]: the roster has no role oncall. Did you mean on-call",
        "/settings.yaml:5:11: operator: the roster has no operator anna. Did you mean ana",
    ]


def test_a_reload_that_fails_leaves_what_was(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(FULL)
    before = load_policy(path)
    kept = (before.rules, before.digest, before.data)
    path.write_text(FULL.replace("dwell: 5m", "dwell: 5"))
    with pytest.raises(FileProblems, match="5 has no unit"):
        load_policy(path)
    assert (before.rules, before.digest, before.data) == kept
    path.write_text(FULL.replace("dwell: 5m", "dwell: 6m"))
    assert load_policy(path).rules[0].trigger.dwell_s == 360


def test_settings_resolve_their_paths(tmp_path: Path) -> None:
    (tmp_path / "policies").mkdir()
    for name in ("b.yaml", "a.yaml", "notes.txt"):
        (tmp_path / "policies" / name).write_text(FULL)
    path = tmp_path / "settings.yaml"
    path.write_text(
        "schema: rollback-console/settings/v1\n"
        "prometheus: {url: 'http://prometheus:9090/', auth: {kind: bearer, token: {env: T}}, headers: {X-A: b}}\n"
        "policies: [policies/*.yaml, policies/a.yaml]\njournal: state/journal.db\nrunbooks: [books]\n"
    )
    loaded = load_settings(path)
    assert [found.name for found in loaded.policy_paths] == ["a.yaml", "b.yaml"]
    assert loaded.journal_path == (tmp_path / "state" / "journal.db").resolve()
    assert loaded.settings.prometheus.url == "http://prometheus:9090"
    assert [warning.message for warning in loaded.warnings] == [
        "a secret travels to it in clear",
        "there is no such folder",
    ]


def test_the_default_roles_let_oncall_roll_back_and_viewers_look(tmp_path: Path) -> None:
    path = tmp_path / "roster.yaml"
    path.write_text(
        f"schema: rollback-console/roster/v1\noperators:\n  - {{id: ana, roles: [oncall], keys: ['{KEY} ana']}}\n"
        "  - {id: ben, roles: [viewer], valid_until: 2027-01-31}\n"
    )
    loaded = load_roster(path)
    assert parse_roster(path.read_bytes(), "elsewhere").roster == loaded.roster
    roles = loaded.roster.roles
    assert set(roles) == {"viewer", "oncall", "lead", "commander"}
    assert roles["viewer"].may == (Permission.LOOK,)
    assert Permission.ROLLBACK in roles["oncall"].may
    assert Permission.BREAK_GLASS not in roles["lead"].may
    assert roles["oncall"].environments is None
    ben = loaded.roster.operator("ben")
    assert ben is not None
    assert ben.valid_until == 1_801_440_000.0  # 2027-02-01T00:00:00Z
    assert [warning.message for warning in loaded.warnings] == ["ben has no key and can only look"]


def test_explain_says_the_numbers() -> None:
    said = "\n".join(explain(parse_policy(FULL.encode(), "f")))
    for sentence in (
        "judged by evidence that it is below what is usual at this time of the week in Europe/Berlin, learned from 28d",
        "degraded when more than 60 % below the same time last week",
        "margin learned from its noise, at least 0.5 % (risk normal of the policy)",
        "bar 11.77, the logarithm of one false alarm in 90d in minutes (written)",
        "alone it must stay full for 30m (risk normal of the policy)",
        "Nothing is learned from 1 stretch: Black Friday.",
        "counts as degraded when above 2 %; it needs nobody to agree; while it cannot be judged it counts as healthy",
        "one of conversion, error_rate, volume is degraded, and it is sufficient alone, or another agrees, or",
        "a plain bound counts once passed for 5m without a break.",
        "Expected: reindexing, sun 02:00-04:00 Europe/Berlin.",
        "In the first 10m after a release nothing is advised or done.",
        "It stays fired for 10m after the condition ended.",
        "When it cannot tell for 5m, it fires as blind.",
        "stale when the newest sample is older than 2m",
        "the last version that served healthily",
    ):
        assert sentence in said


def test_explain_says_when_the_trigger_is_the_default() -> None:
    signals = "".join(f"  {name}: {{worse: higher, value: x, breach: {{above: 1}}}}\n" for name in "abc")
    signals = signals.replace("above: 1}}", "above: 1}, sufficient_alone: true}", 1)
    said = "\n".join(explain(parse_policy(policy(signals).encode(), "f")))
    assert "No `when:` is written; the default is" in said
    assert "`a or any 2 of [a, b, c]`: a is degraded, or at least 2 of a, b, c are degraded" in said


@pytest.mark.parametrize("kind", ["policy", "settings", "roster", "scenario"])
def test_schemas_are_json_and_closed(kind: str) -> None:
    made = schema(kind)
    json.dumps(made)
    assert made["properties"]["schema"]["const"] == f"rollback-console/{kind}/v1"
    assert made["additionalProperties"] is False
    objects = [part for part in made["$defs"].values() if part.get("type") == "object"]
    assert all(part["additionalProperties"] is False for part in objects)


def test_the_schema_of_durations_has_the_pattern() -> None:
    dwell = schema("policy")["$defs"]["PolicyTrigger"]["properties"]["dwell"]
    patterns = [option["pattern"] for option in dwell["anyOf"] if "pattern" in option]
    assert [bool(re.search(patterns[0], text)) for text in ("5m", "1h30m", "5 min", "300")] == [
        True,
        True,
        False,
        False,
    ]


METRICS = [
    MetricFact(name, ("checkout", "search"))
    for name in (
        "orders_total", "visits_total", "errors_total", "requests_total", "request_latency_seconds_bucket",
        "model_info", "revenue_total",
    )
]  # fmt: skip
HOSTILE = [
    "a\x1b[31m",
    "x\ny: z",
    "[/bold]",
    "ü ß",
    "\u202eevil",
    "'\"",
    "#{}",
    "- ",
    "a" * 500,
    "checkout",
    "CHECKOUT",
]


def test_drafts_load_and_hold_what_was_found(tmp_path: Path) -> None:
    models = [ModelFact("checkout", ("champion", "shadow")), ModelFact("search", ("prod",)), ModelFact("old")]
    models += [ModelFact(f"retired-{number}-" + "x" * 40) for number in range(40)]
    text = draft_policy(METRICS, models, "deployment")
    (tmp_path / "policy.yaml").write_text(text)
    (tmp_path / "settings.yaml").write_text(draft_settings("http://p:9090", "http://m:5000", "ana"))
    (tmp_path / "roster.yaml").write_text(draft_roster("ana", KEY + " ana"))
    together = load_all(tmp_path / "settings.yaml")
    assert [(r.deployment.model, r.deployment.alias) for r in together.rules] == [
        ("checkout", "champion"),
        ("search", "prod"),
    ]
    assert {s.name for s in together.rules[0].signals} == {"conversion", "error_rate", "latency_p95", "volume"}
    assert together.rules[0].impact.revenue_per_minute is not None
    assert "left out, for they have no alias that serving could follow (41):\n#   old retired-0-x" in text
    assert all(model.name in text for model in models)  # however many: whoever misses one looks for it here
    assert max(map(len, text.splitlines())) <= 120
    assert "could not be guessed" in text
    assert together.warnings == ()


@pytest.mark.parametrize("label", ["deployment", None])
def test_drafts_of_nothing_and_of_hostile_names_load(label: str | None) -> None:
    models = [ModelFact(name, (name, "b")) for name in HOSTILE]
    metrics = [MetricFact(name, tuple(HOSTILE)) for name in ("errors_total", "requests_total", "x\x1b_total")]
    for text in (
        draft_policy([], [], label),
        draft_policy(metrics, models, label),
        draft_policy(metrics, [], label),
        draft_policy([], models, label),
    ):
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)
        assert parse_policy(text.encode(), "draft").rules


def test_the_label_is_the_one_whose_values_are_models() -> None:
    found = {
        "deployment": (MetricFact("kube_deployment_status", ("nginx", "api")),) * 3,
        "model_name": (MetricFact("predictions_total", ("Checkout_Ranker",)),),
        "job": (MetricFact("up", ("node",)),) * 9,
    }
    assert choose_label(found, [ModelFact("checkout-ranker")]) == "model_name"
    assert choose_label({"job": found["job"]}, []) == "job"
    assert choose_label({}, []) is None
