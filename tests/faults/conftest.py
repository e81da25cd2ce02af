"""What the fault tests share: a fake of each backend, and a disk that can be full."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults_bench import Disk, FakeMlflow, FakePrometheus


@pytest.fixture
def fakes() -> Iterator[tuple[FakePrometheus, FakeMlflow]]:
    prometheus, mlflow = FakePrometheus(), FakeMlflow()
    prometheus.versions = lambda name, at: mlflow.aliases[name]["champion"]
    yield prometheus, mlflow
    prometheus.server.stop()
    mlflow.server.stop()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    one = Disk(folder)
    if one.mounted:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=True)
    yield one
    one.free() if not one.mounted else subprocess.run(["umount", "-l", str(folder)], check=True)
