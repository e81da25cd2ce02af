"""A hub of its own for each file that asks for one, and a console enrolled with it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hub.hub_tools import Console
from servers.hub import Hub


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    one = Hub(tmp_path_factory.mktemp("hub"))
    yield one
    one.stop()


@pytest.fixture
def console(hub: Hub) -> Iterator[Console]:
    one = Console(hub.url, hub.code())
    yield one
    one.close()
