"""Servers that several rooms' tests share. They are real; one that is missing fails the test that needs it."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))  # so that `from servers.prometheus import Prometheus` works from every room

from servers.faulty import FaultyServer  # noqa: E402 - needs the line above
from servers.hub import Hub  # noqa: E402
from servers.mlflow import Mlflow  # noqa: E402
from servers.postgresql import PostgreSQL  # noqa: E402
from servers.prometheus import Prometheus  # noqa: E402

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts its background jobs so, and whom we start would inherit it: the tests of Ctrl-C need it heard.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def prometheus_server(tmp_path: Path) -> Iterator[Callable[..., Prometheus]]:
    """Starts real Prometheus servers: `prometheus_server(openmetrics=..., scrape_configs=[...])`; ends them all."""
    started: list[Prometheus] = []

    def start(**options: object) -> Prometheus:
        one = Prometheus(tmp_path / f"prometheus-{len(started)}", **options)  # type: ignore[arg-type]
        started.append(one)
        return one

    yield start
    for one in started:
        one.stop()


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mlflow]:
    """One real MLflow for the whole session (6 s to start): use names of your own in it."""
    server = Mlflow(tmp_path_factory.mktemp("mlflow"))
    yield server
    server.stop()


@pytest.fixture
def faulty_server() -> Iterator[FaultyServer]:
    """A server that answers wrongly in the way its `fault` says."""
    server = FaultyServer()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgreSQL]:
    """One real PostgreSQL for the whole session: `postgresql_server.database()` is one of your own."""
    server = PostgreSQL()
    yield server
    server.stop()


@pytest.fixture
def hub_server(tmp_path: Path) -> Iterator[Callable[..., Hub]]:
    """Starts real hubs, each a process: `hub_server()`, `hub_server(folder=..., database=URL)`; ends them all."""
    started: list[Hub] = []

    def start(folder: Path | None = None, **options: object) -> Hub:
        one = Hub(folder or tmp_path / f"hub-{len(started)}", **options)  # type: ignore[arg-type]
        started.append(one)
        return one

    yield start
    for one in started:
        one.stop()


_LIVE = ("faults", "e2e", "cli", "servers", "rehearse", "hub")
# Minutes on the wall's clock, nearly all of it waiting: begun first, they are over when the others are.
_LONG_FILES = ("test_rehearse_real.py", "test_e2e_real_stack.py", "test_cli_live.py", "test_rehearse_sandbox.py")
_LIVE_FILES = ("test_execute_held.py",)  # another program on the file, and a clock beside it


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What drives a real terminal or server on a shared machine may lose a race with the machine: it is run again,
    and the report counts it as rerun. Whatever is pure is never run twice: there a failure is a failure."""
    items.sort(key=lambda item: item.path.name not in _LONG_FILES)
    for item in items:
        live = item.path.parent.name in _LIVE or item.path.name in _LIVE_FILES
        if live or item.get_closest_marker("real") is not None:
            item.add_marker(pytest.mark.flaky(reruns=2))
