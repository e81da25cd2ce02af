"""Whether a release is to blame: what acquits it, what does not, and in which words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollback_console.decide.attribution import Release, went_back
from rollback_console.decide.incidents import Fleet, Trouble, group
from rollback_console.decide.origin import merely_suspected, onset_of
from rollback_console.decide.shared import Dependencies, shared_dependency
from rollback_console.model.identity import Deployment, DeploymentId
from rollback_console.model.incident import AttributionKind, Incident
from rollback_console.model.rules import (
    Baseline,
    BaselineKind,
    Breach,
    DeploymentRule,
    RecoveryPath,
    SignalRule,
    TriggerRule,
    Uses,
    Worse,
)
from rollback_console.model.verdict import SignalVerdict, TriggerState, Verdict

NOW = 1_000_000.0
VIEW = "feature-view/activity"
MINUTE = 60.0


def name(text: str) -> DeploymentId:
    return DeploymentId("production", text)


def rule(text: str, on: Sequence[str] = (), *, control: str | None = None) -> DeploymentRule:
    baseline = Baseline(BaselineKind.CONTROL, control=control) if control else None
    signals = (
        SignalRule("orders", "Orders", "business", Worse.LOWER, Breach(degraded_by=0.1), 60.0, baseline=baseline),
        SignalRule("age", "Age of features", "inputs", Worse.HIGHER, Breach(above=180.0), 60.0, unit="s"),
    )
    facts = Deployment(name(text), "high", text, "champion", (("deployment", text),), depends_on=tuple(on))
    paths = (RecoveryPath("version", "mlflow-alias", "last_known_good"),)
    return DeploymentRule(facts, signals, TriggerRule(Uses("orders"), "orders"), paths, "p", 1, "0" * 64)


def verdict(text: str, *, age: float = 40.0, orders: float = 70.0, version: str = "8", n: float = 5e3) -> Verdict:
    signals = (
        SignalVerdict("orders", orders, 100.0, 90.0, 100.0 - orders, 100.0 - orders, orders < 90, None, n),
        SignalVerdict("age", age, None, 180.0, None, None, age > 180.0, None),
    )
    return Verdict(
        name(text), NOW, version, TriggerState.FIRED, NOW, True, (), False, None, None, None, False, False, signals,
        "fired",
    )  # fmt: skip


class Scene:
    """A fleet in which some degraded, some were released: minutes count back from now."""

    def __init__(self, fleet: dict[str, Sequence[str]], **controls: str) -> None:
        self.rules = {name(text): rule(text, on, control=controls.get(text)) for text, on in fleet.items()}
        self.verdicts = {
            who: replace(verdict(who.name, orders=100.0), state=TriggerState.HEALTHY, since=None, condition=False)
            for who in self.rules
        }
        self.troubles: dict[DeploymentId, Trouble] = {}
        self.releases: list[Release] = []

    def bad(self, text: str, ago: float = 10.0, **how: float | str) -> Scene:
        self.verdicts[name(text)] = verdict(text, **how)  # type: ignore[arg-type]  # numbers and a version
        self.troubles[name(text)] = Trouble(NOW - ago * MINUTE, ("orders",))
        return self

    def released(self, text: str, ago: float, before: str = "7", after: str = "8", *, ours: bool = False) -> Scene:
        self.releases.append(Release(name(text), NOW - ago * MINUTE, before, after, ours))
        self.releases.sort(key=lambda release: release.at)
        return self

    def incidents(self) -> tuple[Incident, ...]:
        return group(Fleet(self.rules, self.releases), self.verdicts, self.troubles)

    def only(self) -> Incident:
        (incident,) = self.incidents()
        return incident


READERS: dict[str, Sequence[str]] = {"a": (VIEW,), "b": (VIEW,), "c": (VIEW,), "x": (), "y": (), "z": ()}


def rollbacks(*incidents: Incident) -> list[str]:
    return [r.deployment.name for incident in incidents for r in incident.recommendations if r.path is not None]


def test_a_release_long_before_is_acquitted_by_others_on_the_same_view_and_says_so() -> None:
    incident = Scene(READERS).released("a", 50).bad("a", 10).bad("b", 9).bad("c", 10).only()
    assert incident.attribution.kind is AttributionKind.UPSTREAM
    assert len(incident.members) == 3
    assert rollbacks(incident) == []
    assert incident.sentence == (
        "upstream: no release explains it (1 released in the 2h before), and 2 others on feature-view/activity "
        "degraded within 1m; rolling back will not help"
    )
    assert incident.attribution.reasons[1] == (
        "a's release of v8 40m before is not to blame: 2 of 2 others on feature-view/activity degraded within 1m of "
        "it, and no release explains those"
    )


def test_a_release_in_the_minutes_before_is_not_acquitted() -> None:
    incidents = Scene(READERS).released("a", 11).bad("a", 10).bad("b", 10).bad("c", 10).incidents()
    assert {i.attribution.kind for i in incidents} == {AttributionKind.RELEASE, AttributionKind.UPSTREAM}
    assert rollbacks(*incidents) == ["a"]


def test_others_that_degraded_at_another_time_acquit_nothing() -> None:
    incidents = Scene(READERS).released("a", 50).bad("a", 35).bad("b", 9).bad("c", 8).incidents()
    assert rollbacks(*incidents) == ["a"], "15 min after its release, 26 min before the others"


def test_a_train_of_releases_acquits_nobody_and_staggered_ones_acquit_each_other() -> None:
    train = Scene(READERS).bad("a").bad("b").bad("c")
    for each in "abc":
        train.released(each, 30)
    assert sorted(rollbacks(*train.incidents())) == ["a", "b", "c"]
    nightly = Scene(READERS).bad("a").bad("b").bad("c")
    for each, ago in (("a", 25.0), ("b", 60.0), ("c", 95.0)):
        nightly.released(each, ago)
    assert rollbacks(nightly.only()) == []
    assert nightly.only().attribution.kind is AttributionKind.UPSTREAM


def test_who_follows_a_bad_release_does_not_acquit_it() -> None:
    fleet: dict[str, Sequence[str]] = {
        "a": (VIEW,), "b": (VIEW, "deployment/a"), "c": (VIEW, "deployment/b"), "x": (),
    }  # fmt: skip
    incident = Scene(fleet).released("a", 40).bad("a", 10).bad("b", 9).bad("c", 9).only()
    assert incident.attribution.kind is AttributionKind.RELEASE
    assert rollbacks(incident) == ["a"]
    assert "its inputs are well: age of features 40 s is not above 180 s" in incident.attribution.reasons


def test_what_it_depends_on_acquits_it_degraded_or_released() -> None:
    fleet: dict[str, Sequence[str]] = {"embedder": (), "a": ("deployment/embedder",), "x": ()}
    degraded = Scene(fleet).released("a", 50).bad("embedder", 11).bad("a", 10).only()
    assert degraded.attribution.kind is AttributionKind.UPSTREAM
    assert rollbacks(degraded) == []
    assert "deployment/embedder, on which it depends, degraded within 1m of it" in degraded.attribution.reasons[1]
    released = Scene(fleet).released("a", 50).released("embedder", 12, "3", "4").bad("a", 10).only()
    assert released.attribution.kind is AttributionKind.UPSTREAM
    assert released.sentence.startswith("upstream: v4 of deployment/embedder, on which it depends, began to serve 2m")
    assert "look at deployment/embedder" in released.recommendations[0].sentence


def test_inputs_gone_bad_acquit_a_release_that_served_well() -> None:
    incident = Scene(READERS).released("x", 70).bad("x", 10, age=640.0).only()
    assert incident.attribution.kind is AttributionKind.UPSTREAM
    assert rollbacks(incident) == []
    assert "its inputs went bad: age of features 640 s is above 180 s" in incident.sentence
    assert "it had served well for 1h when its inputs went bad" in incident.attribution.reasons[1]


def test_the_control_beside_it_acquits_or_accuses() -> None:
    both = Scene(READERS, x="y").released("x", 40).bad("x").bad("y", 9)
    assert rollbacks(*both.incidents()) == []
    assert any("its control y" in reason for i in both.incidents() for reason in i.attribution.reasons)
    alone = Scene(READERS, x="y").released("x", 40).bad("x").only()
    assert rollbacks(alone) == ["x"]
    assert "its control y, without that release, did not degrade" in alone.attribution.reasons


def test_the_same_symptom_at_the_same_moment_elsewhere_acquits() -> None:
    incident = Scene(READERS).released("x", 60).bad("x").bad("y").bad("z").only()
    assert incident.attribution.kind is AttributionKind.INFRASTRUCTURE
    assert rollbacks(incident) == []
    pair = Scene(READERS).released("x", 60).bad("x").bad("y")
    assert rollbacks(*pair.incidents()) == ["x"], "one other alone may be chance"


def test_a_version_brought_back_is_no_release_to_blame() -> None:
    scene = Scene(READERS).released("x", 90).released("x", 40, "8", "7").bad("x", 10, version="7")
    incident = scene.only()
    assert incident.attribution.kind is AttributionKind.RELEASE or rollbacks(incident) == []
    assert rollbacks(incident) == []
    history = scene.releases
    assert went_back(history[1], history)
    assert not went_back(history[0], history)
    again = Scene(READERS).released("x", 90).released("x", 70, "8", "7").released("x", 40).bad("x")
    assert rollbacks(again.only()) == ["x"], "brought out once more, it is a release once more"


def test_a_rollback_made_elsewhere_meanwhile_is_waited_for() -> None:
    incident = Scene(READERS).released("x", 20).released("x", 2, "8", "7").bad("x", 15, version="7").only()
    assert incident.attribution.kind is AttributionKind.RELEASE
    assert rollbacks(incident) == []
    assert incident.recommendations[0].sentence.startswith("v7 serves again: see whether it recovers")


def test_a_dependency_has_to_explain_who_is_well_too() -> None:
    fleet: dict[str, Sequence[str]] = {f"d{k}": (VIEW,) for k in range(9)} | {"x": (), "y": ()}
    zone = Scene(fleet).bad("d0").bad("d1").bad("x").only()
    assert zone.attribution.kind is AttributionKind.INFRASTRUCTURE
    assert (
        "that no one dependency explains (feature-view/activity: 2 of 3, and 7 more that depend on it are well)"
        in zone.sentence
    )
    view = Scene(fleet)
    for k in range(7):
        view.bad(f"d{k}")
    assert view.only().attribution.kind is AttributionKind.UPSTREAM
    shared = shared_dependency([name("d0"), name("d1"), name("x")], Dependencies(zone_rules(fleet)))
    assert shared is not None
    assert (shared.dependency, len(shared.members), shared.readers) == (VIEW, 2, 9)


def zone_rules(fleet: dict[str, Sequence[str]]) -> dict[DeploymentId, DeploymentRule]:
    return {name(text): rule(text, on) for text, on in fleet.items()}


def test_events_no_longer_counted_at_all_are_telemetry() -> None:
    incident = Scene(READERS).bad("x", orders=0.0).only()
    assert incident.attribution.kind is AttributionKind.TELEMETRY
    assert "of x no orders at all is counted, out of 5,000, and nothing else is bad" in incident.sentence
    assert rollbacks(incident) == []


def test_a_version_that_served_well_for_hours_is_not_rolled_back_first() -> None:
    incident = Scene(READERS).released("x", 60 * 5).bad("x").only()
    assert incident.attribution.kind is AttributionKind.UNKNOWN
    (advice,) = incident.recommendations
    assert advice.path is None
    assert advice.sentence == (
        "look at its inputs and its serving first: v8 had served well for 4h50m; "
        "if nothing is found, v7 served before it"
    )


def measured(evidence: float | None, onset: float | None, *, breached: bool = False) -> SignalVerdict:
    return SignalVerdict(
        "orders", 0.03, 0.03, None, None, None, breached, None, 1e3, evidence=evidence, bar=12.0, onset=onset
    )


def test_onsets_are_estimated_where_evidence_knows_better() -> None:
    fired = replace(verdict("x"), signals=(measured(12.5, NOW - 3000.0, breached=True),), since=NOW - 60.0)
    onset = onset_of(fired, NOW - 2400.0, ("orders",))
    assert onset.at == NOW - 3000.0
    assert onset.off_s == pytest.approx(0.25 * 2940.0)
    plain = onset_of(verdict("x"), NOW - 2400.0, ("orders",))
    assert (plain.at, plain.off_s) == (NOW - 2400.0, 0.0)


def test_a_small_drop_that_took_hours_to_prove_is_still_its_releases() -> None:
    scene = Scene(READERS).released("x", 200).bad("x", 120)
    estimated = measured(12.5, NOW - 196 * MINUTE, breached=True)
    scene.verdicts[name("x")] = replace(scene.verdicts[name("x")], signals=(estimated,), since=NOW)
    incident = scene.only()
    assert incident.attribution.kind is AttributionKind.RELEASE
    assert "degraded 4m after v8 began to serve" in incident.sentence


def test_evidence_that_is_not_far_says_nothing_of_others() -> None:
    def pending(text: str, evidence: float) -> Verdict:
        signals = (measured(evidence, NOW - 600.0),)
        return replace(verdict(text), state=TriggerState.PENDING, condition=True, signals=signals)

    assert merely_suspected(pending("a", 6.5))
    assert not merely_suspected(pending("a", 10.0))
    assert not merely_suspected(replace(pending("a", 6.5), state=TriggerState.FIRED))
    scene = Scene(READERS).bad("a").bad("b")
    for each, evidence in (("a", 6.5), ("b", 7.0)):
        scene.verdicts[name(each)] = pending(each, evidence)
    assert scene.incidents() == (), "two that are half suspected are no incident, whatever they share"
    for each in "ab":
        scene.verdicts[name(each)] = pending(each, 10.5)
    assert len(scene.only().members) == 2


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcxyz"), st.integers(0, 30)), max_size=6), st.integers(0, 110))
def test_a_rollback_is_advised_only_for_a_release_that_came_before_and_is_not_acquitted(
    bad: list[tuple[str, int]], ago: int
) -> None:
    scene = Scene(READERS).released("a", ago)
    for each, when in bad:
        scene.bad(each, when)
    for incident in scene.incidents():
        for advice in incident.recommendations:
            if advice.path is not None:
                assert advice.deployment == name("a")
                assert -60.0 <= scene.troubles[name("a")].onset - scene.releases[0].at <= 7200.0
                assert not any("a's release" in reason for reason in incident.attribution.reasons)
