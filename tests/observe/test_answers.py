"""The strict reading of answers: whatever the bytes, Series or a BackendError."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rollback_console.errors import BackendError, BackendNonsense, BackendRefused
from rollback_console.model.observation import Series
from rollback_console.observe import alerts, answers
from rollback_console.observe.http import http_date, retry_after, server

TO = server("prometheus", "http://prometheus:9090")

labels = st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=4)
stamps = st.one_of(st.integers(0, 2_000_000_000), st.floats(0, 2e9, allow_nan=False))
values = st.one_of(st.floats(allow_nan=False).map(repr), st.sampled_from(["NaN", "+Inf", "-Inf", "1e+06"]))
matrices = st.lists(
    st.fixed_dictionaries({"metric": labels, "values": st.lists(st.tuples(stamps, values).map(list), max_size=6)}),
    max_size=6,
)
junk = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.sampled_from(["status", "data", "result", "resultType", "metric", "value", "values"]), inner
        ),
    ),
    max_leaves=20,
)


def envelope(kind: str, result: Any, **more: Any) -> bytes:
    document = {"status": "success", "data": {"resultType": kind, "result": result}, **more}
    return json.dumps(document, separators=(",", ":")).encode()


def read_instant(body: bytes) -> tuple[Series, ...]:
    return answers.instant(TO, answers.query_data(TO, body, ("vector", "scalar"))["result"])


def read_matrix(body: bytes) -> list[Any]:
    return answers.matrix(TO, answers.query_data(TO, body, ("matrix",))["result"])


@settings(max_examples=120, deadline=None)
@given(matrices, st.booleans())
def test_decoding_by_series_equals_decoding_at_once(result: list[Any], warned: bool) -> None:
    body = envelope("matrix", result, **({"warnings": ["]}", "x"]} if warned else {}))
    assert answers._by_series(body) == json.loads(body)
    found = read_matrix(body)
    assert [(dict(metric), len(points)) for metric, points in found] == [
        (item["metric"], len(item["values"])) for item in result
    ]
    for (_, points), item in zip(found, result, strict=True):
        for (at, value), (raw_at, raw) in zip(points, item["values"], strict=True):
            assert at == raw_at
            assert value == float(raw) or math.isnan(value)


@settings(max_examples=120, deadline=None)
@given(st.lists(st.fixed_dictionaries({"metric": labels, "value": st.tuples(stamps, values).map(list)}), max_size=6))
def test_a_vector_is_its_series_with_sorted_labels(result: list[Any]) -> None:
    found = read_instant(envelope("vector", result))
    assert [one.labels for one in found] == [tuple(sorted(item["metric"].items())) for item in result]
    assert [one.points[0][0] for one in found] == [item["value"][0] for item in result]


@settings(max_examples=200, deadline=None)
@given(st.one_of(junk.map(lambda value: json.dumps(value).encode()), st.binary(max_size=80)))
@example(b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,NaN]}]}}')
def test_junk_is_a_backend_error_and_nothing_else(body: bytes) -> None:
    for read in (read_instant, read_matrix, lambda raw: alerts.rules(TO, answers.data(TO, raw))):
        try:
            read(body)
        except BackendError as error:
            said = str(error)
        else:
            said = ""
        assert all(char.isprintable() for char in said)


@settings(max_examples=60, deadline=None)
@given(junk)
def test_junk_results_in_a_right_envelope_are_too(result: Any) -> None:
    for kind, read in (("vector", read_instant), ("matrix", read_matrix)):
        try:
            read(envelope(kind, result))
        except BackendError:
            continue


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 400))
def test_half_a_document_is_nonsense_however_it_is_decoded(cut: int) -> None:
    body = envelope("matrix", [{"metric": {"a": "b"}, "values": [[1, "2"]] * 10}] * 3)
    half = body[: -min(cut, len(body))]
    with pytest.raises(BackendNonsense):
        answers.data(TO, half)
    with pytest.raises(ValueError):
        answers._by_series(half)


@pytest.mark.parametrize(
    "item",
    [
        {"metric": {}, "value": [1, 2]},
        {"metric": {}, "value": ["1", "2"]},
        {"metric": {}, "value": [1]},
        {"metric": {}, "value": [1, "2", 3]},
        {"metric": {}, "value": [1, "two"]},
        {"metric": {"a": 1}, "value": [1, "2"]},
        {"metric": [], "value": [1, "2"]},
        {"metric": {}},
        {"value": [1, "2"]},
        [],
        None,
    ],
)
def test_a_sample_of_another_shape_is_nonsense(item: Any) -> None:
    good = {"metric": {}, "value": [1, "2"]}
    with pytest.raises(BackendNonsense):
        read_instant(envelope("vector", [good, item]))
    with pytest.raises(BackendNonsense):
        read_instant(envelope("vector", [item]))


def test_native_histograms_are_named() -> None:
    with pytest.raises(BackendNonsense, match="histogram_quantile"):
        read_instant(envelope("vector", [{"metric": {}, "histogram": [1, {"count": "1"}]}]))


def test_another_type_is_the_policys_mistake() -> None:
    with pytest.raises(BackendRefused, match="is a matrix, not a vector"):
        read_instant(envelope("matrix", []))


def test_a_large_body_is_read_like_a_small_one() -> None:
    result = [{"metric": {"d": str(n)}, "values": [[t, str(t)] for t in range(300)]} for n in range(200)]
    body = envelope("matrix", result)
    assert len(body) > 512 * 1024
    assert answers.document(TO, body) == json.loads(body)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2023-11-14T22:13:20Z", 1_700_000_000.0),
        ("2023-11-14T22:13:20.5Z", 1_700_000_000.5),
        ("2023-11-14T22:13:20.123456789+00:00", 1_700_000_000.123456),
        ("2023-11-14T23:13:20.000000001+01:00", 1_700_000_000.0),
        ("", None),
        ("yesterday", None),
    ],
)
def test_times_as_prometheus_writes_them(text: str, expected: float | None) -> None:
    assert alerts.rfc3339(text) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("", None),
        ("5", 5.0),
        ("-5", 0.0),
        ("nan", None),
        ("inf", None),
        ("soon", None),
        ("Tue, 14 Nov 2023 22:13:30 GMT", 10.0),
        ("Tue, 14 Nov 2023 22:13:10 GMT", 0.0),
    ],
)
def test_retry_after_in_both_its_forms(value: str | None, expected: float | None) -> None:
    assert retry_after(value, 1_700_000_000.0) == expected
    assert http_date(None) is None
