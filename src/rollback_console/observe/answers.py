"""A Prometheus answer's bytes, checked strictly and turned into `Series`. Shapes: the HTTP API's query formats,
https://prometheus.io/docs/prometheus/latest/querying/api/#expression-query-result-formats.

Speed matters here: 1,000 deployments x 6 signals pass through at every poll.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

from rollback_console.errors import BackendRefused
from rollback_console.model.observation import Series
from rollback_console.observe.http import Server, not_json, wrong_shape
from rollback_console.observe.text import whole

# `json.loads` holds the interpreter until it is through; past this size the series are decoded one at a time, so that
# the event loop gets its turn between them.
_WHOLE = 512 * 1024
_START = re.compile(r'\s*\{"status":"success",(?:"isPartial":(?:true|false),)?"data":\{"resultType":"\w+","result":\[')
_DECODE = json.JSONDecoder()
# One answer is decoded at a time: threads that want the interpreter hand it to each other as likely as to the event
# loop, and a key would wait for all of them instead of for one.
_TURN = threading.Lock()

_SHAPES = (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError)


def document(to: Server, body: bytes) -> dict[str, Any]:
    """One JSON object, or BackendNonsense."""
    try:
        with _TURN:
            loaded = whole(_by_series(body) if len(body) > _WHOLE else json.loads(body), body)
    except (ValueError, RecursionError) as error:
        raise not_json(to, body) from error
    if not isinstance(loaded, dict):
        raise wrong_shape(to, f"a {type(loaded).__name__} instead of an object")
    return loaded


def data(to: Server, body: bytes) -> Any:
    """The `data` of a successful answer of any API call."""
    loaded = document(to, body)
    if loaded.get("status") != "success" or "data" not in loaded:
        raise wrong_shape(to, "no status success with data")
    return loaded["data"]


def query_data(to: Server, body: bytes, allowed: tuple[str, ...]) -> dict[str, Any]:
    """The `data` of a query's answer: {resultType, result}. Raises BackendRefused where the expression has another
    type than asked for (a policy's mistake), BackendNonsense for any other shape."""
    found = data(to, body)
    if not isinstance(found, dict) or not isinstance(found.get("result"), list):
        raise wrong_shape(to, "data without a list of results")
    kind = found.get("resultType")
    if kind in allowed:
        return found
    if kind in ("matrix", "vector", "scalar", "string"):
        raise BackendRefused(
            f"the query's answer is a {kind}, not a {allowed[0]}", "a signal is an instant vector: one number a series"
        )
    raise wrong_shape(to, f"result type {kind}")


def error_message(body: bytes) -> tuple[str, str]:
    """(errorType, error) of a failed call, ("", "") where the body is not Prometheus' own."""
    try:
        loaded = json.loads(body[:100_000])
    except (ValueError, RecursionError):
        return "", ""
    if not isinstance(loaded, dict) or loaded.get("status") != "error":
        return "", ""
    return str(loaded.get("errorType", "")), str(loaded.get("error", ""))


def instant(to: Server, result: list[Any]) -> tuple[Series, ...]:
    """A vector's or a scalar's result: one point a series."""
    try:
        if len(result) == 2 and isinstance(result[0], int | float):  # a scalar: [time, "value"]
            return (Series((), (_point(*result),)),)
        if not result:
            return ()
        with _TURN:  # column by column: a third faster than item by item, and the checks are single calls
            metrics: list[dict[str, str]] = [item["metric"] for item in result]
            times, texts = zip(*[item["value"] for item in result], strict=True)
            _all_text(metrics, texts, times)
            labels = [tuple(m.items()) if len(m) < 2 else tuple(sorted(m.items())) for m in metrics]
            points = zip(zip(map(float, times), map(float, texts), strict=True))
            return tuple(map(Series, labels, points))
    except _SHAPES as error:
        raise wrong_shape(to, _complaint(result)) from error


def matrix(to: Server, result: list[Any]) -> list[tuple[tuple[tuple[str, str], ...], list[tuple[float, float]]]]:
    """A matrix's result as (labels, points), so that the parts of a split range can be joined."""
    try:
        out = []
        for item in result:
            metric, values = item["metric"], item["values"]
            times, texts = zip(*values, strict=True) if values else ((), ())
            _all_text((metric,), texts, times)
            points = list(zip(map(float, times), map(float, texts), strict=True))
            out.append((tuple(sorted(metric.items())), points))
        return out
    except _SHAPES as error:
        raise wrong_shape(to, _complaint(result)) from error


def _all_text(metrics: Iterable[dict[str, str]], texts: Sequence[str], times: Sequence[float]) -> None:
    """TypeError unless labels and samples are text and times are numbers."""
    "".join(chain.from_iterable(map(dict.values, metrics)))
    "".join(texts)
    sum(times)


def _point(at: object, value: object) -> tuple[float, float]:
    if not isinstance(value, str) or not isinstance(at, int | float):
        raise TypeError("a sample is [number, string]")
    return float(at), float(value)


def _complaint(result: list[Any]) -> str:
    if any(isinstance(item, dict) and ("histogram" in item or "histograms" in item) for item in result):
        return "native histograms; take histogram_quantile() or histogram_avg() of them"
    return "series without labels and [time, value]"


def _by_series(body: bytes) -> Any:
    """`json.loads` for a long list of results. Raises ValueError as it does."""
    text = body.decode("utf-8")
    start = _START.match(text)
    if start is None:
        return json.loads(text)
    position = start.end()
    result: list[Any] = []
    if not text.startswith("]", position):
        while True:
            item, position = _DECODE.raw_decode(text, position)
            result.append(item)
            if not text.startswith(",", position):
                break
            position += 1
    envelope = json.loads(text[: start.end()] + text[position:])  # fails unless the list is closed as it must be
    envelope["data"]["result"] = result
    return envelope
