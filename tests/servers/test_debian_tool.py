"""`tools/debian.py`: what is on PATH is used; what is not is unpacked once, or its lack is one clear line."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from servers.processes import ROOT, binary


@pytest.fixture(scope="module")
def debian() -> ModuleType:
    spec = importlib.util.spec_from_file_location("debian_under_test", ROOT / "tools" / "debian.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def script(path: Path, text: str) -> None:
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)


def test_what_is_on_path_is_used(debian: ModuleType, tmp_path: Path) -> None:
    script(tmp_path / "promtool", "echo mine\n")
    assert debian.binary("promtool", cache=tmp_path / "cache", path=str(tmp_path)) == tmp_path / "promtool"
    assert not (tmp_path / "cache").exists()


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fake apt-get, named as such, that serves a package built here by the real dpkg-deb, and counts its calls."""
    package = tmp_path / "package"
    (package / "DEBIAN").mkdir(parents=True)
    (package / "DEBIAN" / "control").write_text(
        "Package: prometheus\nVersion: 9.9\nArchitecture: all\nMaintainer: tests <t@example.invalid>\nDescription: x\n"
    )
    (package / "usr" / "bin").mkdir(parents=True)
    script(package / "usr" / "bin" / "promtool", 'echo "unpacked $1"\n')
    deb = tmp_path / "prometheus_9.9_all.deb"
    subprocess.run(["dpkg-deb", "-b", str(package), str(deb)], check=True, capture_output=True)
    tools = tmp_path / "tools"
    tools.mkdir()
    script(
        tools / "apt-get",
        f'echo "$@" >> {tmp_path}/calls\n'
        f'case "$*" in *update) touch {tmp_path}/lists; exit 0;; esac\n'
        f"[ -e {tmp_path}/lists ] || {{ echo 'E: Unable to locate package' >&2; exit 100; }}\n"
        f"cp {deb} .\n",
    )
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def test_what_is_not_is_unpacked_once_with_lists_of_its_own(debian: ModuleType, apt: Path) -> None:
    cache = apt / "cache"
    for _ in range(2):
        found = debian.binary("promtool", cache=cache, path="/nonexistent")
        assert subprocess.run([found, "x"], capture_output=True, text=True, check=True).stdout == "unpacked x\n"
    calls = (apt / "calls").read_text().splitlines()
    assert len(calls) == 3, "download fails, update with a state of our own, download; and nothing the second time"
    assert calls[1].endswith("update")
    assert f"Dir::State={cache}" in calls[1]


def test_a_lack_is_one_line_with_what_to_do(
    debian: ModuleType, apt: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script(apt / "tools" / "apt-get", "echo 'E: no network' >&2; exit 100\n")
    with pytest.raises(debian.Missing, match=r"no network.*by hand"):
        debian.binary("promtool", cache=apt / "cache", path="/nonexistent")
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None)
    with pytest.raises(debian.Missing, match="no apt-get here"):
        debian.binary("promtool", cache=apt / "cache")
    assert debian.main(["no-such-tool"]) == 1
    assert "no-such-tool" in capsys.readouterr().err


@pytest.mark.real
def test_the_real_binaries_are_there() -> None:
    for name in ("prometheus", "promtool"):
        done = subprocess.run([binary(name), "--version"], capture_output=True, text=True, timeout=30, check=True)
        assert "version" in done.stdout + done.stderr
