"""The wheel is whole: built, installed into a virtual environment of its own, and run outside the source tree."""

from __future__ import annotations

import os
import pty
import select
import signal
import site
import subprocess
import sys
import sysconfig
import time
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.real, pytest.mark.xdist_group("fresh-install")]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built as `pipx install .` builds it, with the build tools that are here already."""
    out = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", str(ROOT), "--no-deps", "--no-build-isolation", "--no-index",
         "--disable-pip-version-check", "--wheel-dir", str(out)],
        capture_output=True, text=True, timeout=300, check=False, cwd=out,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = out.glob("rollback_console-*.whl")
    return made


@pytest.fixture(scope="module")
def program(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`rollback-console` of a fresh environment: our wheel, and all else lent by the environment of the tests."""
    folder = tmp_path_factory.mktemp("fresh") / "venv"
    venv.create(folder, with_pip=False)
    packages = folder / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install", "--no-deps", "--no-index",
         "--disable-pip-version-check", "--quiet", str(wheel)],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    # behind ours on the path, and without the editable install of the source tree, whose .pth is not read from here
    lent = [path for path in site.getsitepackages() if Path(path).is_dir()]
    (packages / "lent.pth").write_text("\n".join(lent) + "\n")
    return folder / "bin" / "rollback-console"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An empty home, and nothing of Python's or ours."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "TMPDIR")}
    return kept | {"HOME": str(tmp_path), "LC_ALL": "C.UTF-8", "TERM": "xterm-256color"}


def test_a_wheel_is_whole(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = next(name for name in names if name.endswith("METADATA"))
        about = archive.read(metadata).decode()
    for runbook in sorted((ROOT / "runbooks").glob("*.md")):
        assert f"rollback_console/_data/runbooks/{runbook.name}" in names
    assert "rollback_console/rehearse/data/demo-policy.yaml" in names
    assert "rollback_console/py.typed" in names
    sources = {str(path.relative_to(ROOT / "src")) for path in (ROOT / "src" / "rollback_console").rglob("*.py")}
    assert sources <= names
    assert not [name for name in names if "__pycache__" in name or name.startswith(("tests/", "tools/"))]
    assert any(name.endswith("licenses/LICENSE") for name in names)
    required = [line for line in about.splitlines() if line.startswith("Requires-Dist") and "extra ==" not in line]
    assert not [line for line in required if "mlflow" in line or "pytest" in line]  # light: the servers are extras
    assert "Requires-Python: >=3.11" in about


def test_the_installed_program_runs_from_elsewhere(program: Path, environ: dict[str, str], tmp_path: Path) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(program), *words], env=environ, capture_output=True, text=True, timeout=120, check=False,
            stdin=subprocess.DEVNULL, cwd=tmp_path,
        )  # fmt: skip

    where = subprocess.run(
        [str(program.with_name("python")), "-c", "import rollback_console.cli.main as m; print(m.__file__)"],
        env=environ, capture_output=True, text=True, check=True, cwd=tmp_path,
    ).stdout  # fmt: skip
    assert str(ROOT) not in where
    assert str(program.parents[1]) in where
    assert run("--version").stdout.startswith("rollback-console ")
    listed = run("runbook", "list")
    assert listed.returncode == 0, listed.stderr
    for runbook in (ROOT / "runbooks").glob("*.md"):
        assert runbook.stem in listed.stdout
    drill = run("rehearse", "demo", "--headless", "--seed", "3", "--journal", str(tmp_path / "drill.db"))
    assert drill.returncode == 0, drill.stdout + drill.stderr
    assert "PASSED" in drill.stdout
    verified = run("journal", "verify", str(tmp_path / "drill.db"), "--decisions")
    assert verified.returncode == 0, verified.stdout
    assert "decisions recomputed alike" in verified.stdout
    assert {path.name for path in tmp_path.iterdir()} <= {"drill.db", ".rollback-console", "drill.db.lock"} | {
        path.name for path in tmp_path.glob("drill.db*")
    }


def test_the_installed_demo_paints_its_fleet(program: Path, environ: dict[str, str], tmp_path: Path) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.execve(program, [str(program), "demo"], environ | {"COLUMNS": "120", "LINES": "40"})
    said, end = b"", time.monotonic() + 30
    try:
        while b"checkout-ranker" not in said or b"REHEARSAL" not in said:
            assert time.monotonic() < end, said[-2000:]
            if select.select([terminal], [], [], 0.2)[0]:
                said += os.read(terminal, 65536)
        os.write(terminal, b"q")
        while time.monotonic() < end:
            try:
                said += os.read(terminal, 65536)
            except OSError:
                break
        _, status = os.waitpid(pid, 0)
        pid = 0
        assert os.waitstatus_to_exitcode(status) == 0
    finally:
        if pid:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        os.close(terminal)
    assert b"Traceback" not in said
    assert b"this rehearsal's journal: " in said
