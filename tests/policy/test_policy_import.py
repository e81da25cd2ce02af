"""`policy import`: what it writes, what it refuses and where, and the command. That it is right: `…_promtool.py`."""

from __future__ import annotations

import json
import re
import shlex
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docs_reading import blocks_of
from rollback_console.cli.main import run
from rollback_console.errors import FileProblems, UsageError
from rollback_console.model.rules import Breach, Worse
from rollback_console.policy import conditions
from rollback_console.policy.import_options import ImportOptions, named_deployment
from rollback_console.policy.importing import Imported, import_rules, signal_name
from rollback_console.policy.load import LoadedPolicy, parse_policy
from rollback_console.policy.promql_words import PromqlError, one_line, seconds, tokens

FILES = Path(__file__).parent / "rules"
ANY = ImportOptions()
ONE = ImportOptions(deployments=(named_deployment("checkout", ("deployment",)),))


def rule(expr: str, **more: object) -> bytes:
    return json.dumps({"groups": [{"name": "g", "rules": [{"alert": "Bad", "expr": expr, **more}]}]}).encode()


def imported(expr: str, options: ImportOptions = ANY, **more: object) -> tuple[Imported, LoadedPolicy]:
    got = import_rules(rule(expr, **more), "rules.yml", options)
    assert not got.refused, got.refused
    return got, parse_policy(got.policy.encode(), "policy.yaml")


# -- what is written --------------------------------------------------------------------------------------------------


def test_a_rule_as_most_people_write_it() -> None:
    got, loaded = imported(
        "sum by (deployment) (rate(errors_total[5m])) / sum by (deployment) (rate(requests_total[5m])) > 0.05",
        keep_firing_for="5m",
        labels={"severity": "critical", "team": "ranking"},
        annotations={"summary": "Errors", "runbook_url": "https://runbooks.example/{{ $labels.deployment }}"},
    )
    (found,) = loaded.rules
    (signal,) = found.signals
    assert (signal.name, signal.title, signal.worse, signal.breach) == ("bad", "Bad", Worse.HIGHER, Breach(above=0.05))
    assert signal.value == (
        "clamp_max(sum by (deployment) (rate(errors_total[5m])) / sum by (deployment)"
        " (rate(requests_total[5m])), 1e300)"
    )
    assert (signal.window_s, signal.unit, signal.blind.kind) == (300.0, "%", "healthy")
    assert (found.trigger.text, found.trigger.dwell_s, found.trigger.hold_s) == ("bad", 0.0, 300.0)
    assert found.deployment.tier == "critical"
    assert found.deployment.links == (("Bad runbook", "https://runbooks.example/fill-me-in"),)
    assert found.deployment.owners == ("ranking",)
    assert "# FILL IN" in got.policy
    assert "above: 5%" in got.policy
    assert "for without data Prometheus' alerts do not fire" in got.policy


@pytest.mark.parametrize(
    ("expr", "value", "breach"),
    [
        ("max by (deployment) (q) > 5", "max by (deployment) (q)", Breach(above=5)),
        ("max by (deployment) (q) < 5", "max by (deployment) (q)", Breach(below=5)),
        ("5 < max by (deployment) (q)", "max by (deployment) (q)", Breach(above=5)),
        ("max by (deployment) (q) >= 5", "max by (deployment) (q)", Breach(above=4.999999999999999)),
        ("max by (deployment) (q) <= 0", "max by (deployment) (q)", Breach(below=5e-324)),
        ("max by (deployment) (q) == 5", "max by (deployment) (q) == bool 5", Breach(above=0)),
        ("max by (deployment) (q) != -0x10", "max by (deployment) (q) != bool -16", Breach(above=0)),
        ("q > 2 ^ 3 * 10", "max by (deployment) (q)", Breach(above=80)),
        ("q < -(7 % 4)", "min by (deployment) (q)", Breach(below=-3)),
        ("q > 1 < 9", "min by (deployment) (q > 1)", Breach(below=9)),
        ("(((q)) > (5))", "max by (deployment) (((q)))", Breach(above=5)),
        ("q > r", "max by (deployment) ((q) - (r))", Breach(above=0)),
        ("q > on (deployment) group_left sum by (deployment) (r)",
         "max by (deployment) ((q) - on(deployment) group_left() (sum by (deployment) (r)))", Breach(above=0)),
        ("time() - q > 3600", "max by (deployment) (time() - q)", Breach(above=3600)),
        ("q", "group by (deployment) (q)", Breach(above=0)),
        ('absent(q{deployment="a"})', 'group by (deployment) (absent(q{deployment="a"}))', Breach(above=0)),
        ("q > 5 and on (region) r == 1", "max by (deployment) (q and on(region) r == 1)", Breach(above=5)),
        ("topk by (deployment) (1, q) > 5", "max by (deployment) (topk by (deployment) (1, q))", Breach(above=5)),
        ("q offset 1w > 5 # why", "max by (deployment) (q offset 1w)", Breach(above=5)),
        ("max_over_time(rate(q[5m])[1h:1m]) > 5", "max by (deployment) (max_over_time(rate(q[5m])[1h:1m]))",
         Breach(above=5)),
        ('q{a="# not \\" a comment > 3"} > 5', 'max by (deployment) (q{a="# not \\" a comment > 3"})', Breach(above=5)),
    ],
)  # fmt: skip
def test_the_comparison_becomes_the_bound(expr: str, value: str, breach: Breach) -> None:
    _, loaded = imported(expr)
    (signal,) = loaded.rules[0].signals
    assert (signal.value, signal.breach) == (value, breach)


@pytest.mark.parametrize(
    ("expr", "when"),
    [
        ("S(a) > 1 and S(b) < 2", "bad_1 and bad_2"),
        ("S(a) > 1 or S(b) < 2 or S(c) > 3", "bad_1 or bad_2 or bad_3"),
        ("S(a) > 1 unless S(b) < 2", "bad_1 and not bad_2"),
        ("S(a) > 1 and (S(b) < 2 or S(c) > 3)", "bad_1 and (bad_2 or bad_3)"),
        ("S(a) > 1 unless (S(b) < 2 and S(c) > 3)", "bad_1 and not (bad_2 and bad_3)"),
        ("(S(a) > 1 unless S(b) < 2) and S(c) > 3", "(bad_1 and not bad_2) and bad_3"),
        ("a > 1 and on (deployment) b < 2", "bad_1 and bad_2"),
        ("a > 1 or b < 2", "bad_1 or bad_2"),
        ("sum by (deployment, pod) (a) > 1 and ignoring (pod) S(b) > 2", "bad_1 and bad_2"),
        ("a > 1 and b < 2", "bad"),
        ("a > 1 unless on (region) b < 2", "bad"),
    ],
)
def test_and_or_unless_become_the_trigger_where_they_mean_the_same(expr: str, when: str) -> None:
    _, loaded = imported(expr.replace("S(", "sum by (deployment) ("))
    assert loaded.rules[0].trigger.text == when


def test_two_alerts_of_one_name_and_clocks_that_differ() -> None:
    rules = [
        {"alert": "Errors", "expr": "sum by (deployment) (e) > 5", "for": "5m", "labels": {"severity": "warning"}},
        {"alert": "Errors", "expr": "sum by (deployment) (e) > 9", "for": "1m", "keep_firing_for": "2m"},
        {"record": "e:sum", "expr": "sum(e)"},
    ]
    got = import_rules(json.dumps({"groups": [{"name": "g", "rules": rules}]}).encode(), "r.yml", ImportOptions())
    loaded = parse_policy(got.policy.encode(), "p")
    assert loaded.rules[0].trigger.text == "errors or errors_v2"
    assert (loaded.rules[0].trigger.dwell_s, loaded.rules[0].trigger.hold_s) == (60.0, 120.0)
    assert got.recorded == 1
    said = [str(problem) for problem in got.warnings]
    assert any("the policy waits 1m, the shortest `for`" in text for text in said)
    assert any("the policy holds 2m, the longest `keep_firing_for`" in text for text in said)
    assert any("the time of one counts for the next" in text for text in said)


def test_deployments_are_told_by_the_labels_one_names() -> None:
    by = ("namespace", "service")
    who = tuple(named_deployment(f"{name}:namespace=shop,service={name}", by) for name in ("ranker", "embedder"))
    _, loaded = imported("rate(errors_total[5m]) > 1", ImportOptions(by=by, deployments=who))
    assert [rule.deployment.labels for rule in loaded.rules] == [
        (("namespace", "shop"), ("service", "ranker")),
        (("namespace", "shop"), ("service", "embedder")),
    ]
    assert loaded.rules[0].signals[0].value == "max by (namespace, service) (rate(errors_total[5m]))"
    assert not loaded.warnings


def test_one_deployment_may_be_what_an_answer_without_labels_is_about() -> None:
    _, loaded = imported("sum(rate(errors_total[5m])) > 1", ONE)
    assert loaded.rules[0].signals[0].value == "sum(rate(errors_total[5m]))"
    _, loaded = imported("sum without (pod) (e) > 1", ONE, labels={"deployment": "checkout"})
    assert loaded.rules[0].deployment.labels == (("deployment", "checkout"),)


def test_a_deployment_that_is_asked_for_by_name_and_is_none_of_the_policys() -> None:
    got, _ = imported('max by (deployment) (q{deployment="ranker"}) > 5', ONE)
    assert [problem.message for problem in got.warnings] == [
        'asks for deployment="ranker", which is none of --deployment'
    ]
    for options in (ANY, ImportOptions(deployments=(named_deployment("ranker", ("deployment",)),))):
        got, _ = imported('max by (deployment) (q{deployment="ranker"}) > 5', options)
        assert not got.warnings


@pytest.mark.parametrize(("file", "count"), [("models.yml", 41), ("namespaced.yml", 6), ("lone.yml", 6)])
def test_how_many_are_imported(file: str, count: int) -> None:
    one = named_deployment("alpha", ("deployment",))
    options = (
        ImportOptions(by=("namespace", "service")) if file == "namespaced.yml" else ImportOptions(deployments=(one,))
    )
    got = import_rules((FILES / file).read_bytes(), file, options)
    assert (len(got.alerts), len(got.refused)) == (count, 0)
    assert len(parse_policy(got.policy.encode(), "p").rules[0].signals) >= count


@pytest.mark.parametrize(
    ("alert", "name"),
    [("HighErrorRate", "high_error_rate"), ("API5xxErrors", "api5xx_errors"), ("p99 > 5 s", "p99_5_s"),
     ("5xx", "alert_5xx"),
     ("any", "any_signal"), ("FALSE", "false_signal"), ("日本", "alert"), ("a" * 99, "a" * 60),
     ("kube:PodLoop", "kube_pod_loop")],
)  # fmt: skip
def test_names_are_cleaned(alert: str, name: str) -> None:
    assert signal_name(alert) == name


NASTY = st.text(st.characters(codec="utf-8", max_codepoint=0xD7FF), max_size=40)


@settings(max_examples=150, deadline=None)
@given(NASTY, NASTY, NASTY, NASTY, NASTY)
def test_whatever_stands_in_names_and_annotations_the_policy_is_one_that_loads(
    alert: str, summary: str, severity: str, team: str, group: str
) -> None:
    one = {
        "alert": alert,
        "expr": "e > 5",
        "labels": {"severity": severity, "team": team},
        "annotations": {"summary": summary},
    }
    got = import_rules(json.dumps({"groups": [{"name": group, "rules": [one]}]}).encode(), "r.yml", ImportOptions())
    if got.alerts:
        loaded = parse_policy(got.policy.encode(), "p")
        assert loaded.rules[0].signals[0].value == "max by (deployment) (e)"
    else:
        assert got.refused


def attempt(text: str) -> tuple[conditions.Condition | None, PromqlError | None]:
    try:
        return conditions.read(text, ("deployment",), alone=True), None
    except PromqlError as error:
        return None, error


@pytest.mark.parametrize(
    ("annotations", "runbook"),
    [
        ({"runbook_url": "https://wiki.example/runbooks/errors.md#first-steps"}, "errors.md"),
        ({"runbook": "errors.md"}, "errors.md"),
        ({"runbook_url": "https://wiki.example/errors"}, None),
        ({"runbook_url": "https://wiki.example/{{ $labels.deployment }}.md"}, None),
    ],
)
def test_a_runbook_that_is_a_markdown_file(annotations: dict[str, str], runbook: str | None) -> None:
    _, loaded = imported("e > 5", annotations=annotations)
    assert loaded.policy.runbook == runbook


# -- reading PromQL ---------------------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from([
    "sum", "by", "(", ")", "(deployment)", "rate", "e", "[5m]", "{", "}", 'a="b"', ",", ">", "5", "-", "and", "on",
    "offset", "1w", "bool", "unless", "==", "@", "0x", '"', "#", "\n", "group_left", "^", "or", "1e", ":", "[1h:5m]",
]), max_size=14), st.sampled_from(["", " "]))  # fmt: skip
def test_any_text_is_read_or_refused_at_a_place_in_it(words: list[str], between: str) -> None:
    text = between.join(words)
    found, error = attempt(text)
    assert (found is None) is not (error is None)
    assert error is None or (0 <= error.offset <= len(text) and error.message)
    for bound in found.bounds() if found else ():
        again = f"({bound.value.replace('$window', '5m')}) > 5"
        assert conditions.read(again, ("deployment",), alone=True).bounds()


@pytest.mark.parametrize("depth", [25, 2_000])
def test_nesting_ends_reading_not_the_process(depth: int) -> None:
    for text in ("(" * depth + "e > 5" + ")" * depth, "-" * depth + "e > 5", "sum(" * depth + "e" + ")" * depth):
        _, error = attempt(text)
        assert (error is not None and "nested more than" in error.message) is (depth > 25)


def test_durations_are_prometheus_own() -> None:
    known = {"5m": 300.0, "1h30m": 5400.0, "1d12h": 129_600.0, "1y2w": 32_745_600.0, "0": 0.0, "100ms": 0.1}
    assert {text: seconds(text) for text in known} == known
    assert [seconds(text) for text in ("", "5", "5 m", "30m1h", "m", "1.5h", "-5m")] == [None] * 7


def test_a_query_on_one_line_keeps_its_words() -> None:
    text = "sum  by(a)(\n rate(x{b=~\"a  b\", c!='d'}[5m] offset -1h)) # why\n / -2 ^ 3 - 1 > bool -1 and on() y"
    line = one_line(tokens(text)[:-1])
    assert line == "sum by (a) (rate(x{b=~\"a  b\", c!='d'}[5m] offset -1h)) / -2 ^ 3 - 1 > bool -1 and on() y"
    assert [token.text for token in tokens(line)] == [token.text for token in tokens(text)]


# -- refusals ---------------------------------------------------------------------------------------------------------


def test_what_is_refused_is_refused_in_words_with_its_place_and_what_to_do() -> None:
    got = import_rules((FILES / "refused.yml").read_bytes(), "refused.yml", ImportOptions())
    assert not got.alerts
    assert not got.policy
    expected = (FILES / "refused.txt").read_text().splitlines()
    assert [str(problem) for problem in (*got.refused, *got.warnings)] == expected
    assert all(problem.remedy for problem in got.refused)
    source = (FILES / "refused.yml").read_text()
    assert len(got.refused) == source.count("alert:") + 2  # one has no name, one is no rule


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "rules.yml:1:1: the file is empty. Rules begin with `groups:`"),
        ("schema: x\n", "rules.yml:1:1: there are no `groups:` of rules here"),
        ("groups: 5\n", "rules.yml:1:9: groups: there are no `groups:` of rules here"),
        ("- a\n", "rules.yml:1:1: the file is a list"),
        ("groups:\n\t- a\n", "rules.yml:2:1: a tab in the indentation"),
        ("kind: PrometheusRule\nspec: {a: 1}\n", "rules.yml:2:1: spec: there are no `groups:` of rules here"),
    ],
)
def test_what_is_no_file_of_rules(text: str, said: str) -> None:
    with pytest.raises(FileProblems) as caught:
        import_rules(text.encode(), "rules.yml", ImportOptions())
    assert str(caught.value).startswith(said)


def test_too_many_alerts_for_one_trigger() -> None:
    rules = [{"alert": f"SomeRatherLongNameOfAnAlert{number}", "expr": "e > 5"} for number in range(200)]
    with pytest.raises(UsageError, match="200 alerts are too many for one trigger"):
        import_rules(json.dumps({"groups": [{"rules": rules}]}).encode(), "r.yml", ImportOptions())


def test_a_file_of_any_size_ends() -> None:
    begun = time.monotonic()
    rules = [{"alert": "Same", "expr": f"e > {number}", "annotations": {"a": "{{" * 200}} for number in range(2_000)]
    with pytest.raises(UsageError, match="too many for one trigger"):
        import_rules(json.dumps({"groups": [{"rules": rules}]}).encode()[:5_000_000], "r.yml", ImportOptions())
    got = import_rules(rule("e + " * 5_000 + "e > 5"), "r.yml", ImportOptions())
    assert "longer than 15,000 characters" in str(got.refused[0])
    assert time.monotonic() - begun < 20


# -- the command ------------------------------------------------------------------------------------------------------


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rules, out = tmp_path / "models.rules.yml", tmp_path / "policy.yaml"
    rules.write_bytes((FILES / "models.yml").read_bytes())
    words = ["policy", "import", str(rules), "--deployment", "alpha", "--deployment", "beta", "--output", str(out)]
    assert run(words) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert "41 alerts imported, 0 refused; 1 recording rule passed over" in said.err
    assert "example deployment" not in said.err
    assert run(["policy", "check", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}: policy ok\n"
    assert "name: models\n" in out.read_text()
    assert run(words) == 2
    assert "is there already" in capsys.readouterr().err
    assert run([*words, "--force", "--alert", "Drift", "--alert", "GpuHot"]) == 0
    assert "when: gpu_hot or drift" in out.read_text()


def test_the_command_says_what_it_could_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "r.yml"
    good, bad = {"alert": "A", "expr": "e > 5"}, {"alert": "B\x1b[31m", "expr": "sum(e) > 5"}
    path.write_text(json.dumps({"groups": [{"name": "g", "rules": [good, bad]}]}))
    assert run(["policy", "import", str(path)]) == 1
    said = capsys.readouterr()
    assert parse_policy(said.out.encode(), "p").rules[0].trigger.text == "a"
    assert "the answer has no label deployment" in said.err
    assert "(refused)" in said.err
    assert "fill it in, or name yours with --deployment" in said.err
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", said.out + said.err)
    assert run(["policy", "import", str(path), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["ok"], len(found["imported"]), len(found["refused"])) == (False, 1, 1)
    assert found["refused"][0]["path"] == "groups[0].rules[1].expr"
    assert run(["policy", "import", str(FILES / "refused.yml")]) == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--by", "a b"], "--by: 'a b' is not a label"),
        (["--by", "namespace,service", "--deployment", "x"], "told by 2 labels"),
        (["--deployment", "x:service=y"], "its labels are not those of --by"),
        (["--deployment", "x:deployment"], "'deployment' is not LABEL=VALUE"),
        (["--deployment", "a b"], "'a b' is not a name here"),
        (["--deployment", "x", "--deployment", "x:deployment=y"], "two have the same name or the same labels"),
        (["--deployment", "x", "--deployment", "y:deployment=x"], "two have the same name or the same labels"),
        (["--environment", "a/b"], "--environment: 'a/b' is not a name here"),
        (["--alert", "Nothing"], "has no alert Nothing: Its alerts are AvailabilityLow"),
        (["--output", "/nowhere/at/all.yaml"], "cannot be written"),
    ],
)
def test_words_that_cannot_be(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["policy", "import", str(FILES / "models.yml"), *words]) == 2
    assert said in capsys.readouterr().err


def test_a_file_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["policy", "import", "nowhere.yml"]) == 2
    assert capsys.readouterr().err.startswith("nowhere.yml:1:1: cannot be read")


def test_the_commands_of_the_documents_answer_as_they_have_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    blocks = blocks_of("docs/policies.md")
    (rules,) = [block.text for block in blocks if block.language == "yml"]
    (session,) = [block for block in blocks if block.language == "console" and "policy import" in block.text]
    (tmp_path / "rules.yml").write_text(rules)
    monkeypatch.chdir(tmp_path)
    said = []
    for command in session.commands:
        words = shlex.split(command)
        assert words.pop(0) == "rollback-console"
        expected = {"import": int("--alert" not in words), "check": 0, "diff": 1}[words[1]]
        assert run(words) == expected, command
        out, err = capsys.readouterr()
        said += [f"$ {command}", *out.splitlines(), *err.splitlines()]
    assert said == session.text.splitlines()
