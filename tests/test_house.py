"""The rules of the house, proven: by import-linter on the source, and by fresh subprocesses at run time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "rollback_console"
HEAVY = ("textual", "rich", "httpx", "requests", "sqlite3", "sqlite_utils", "keyring")


def modules_after(code: str, *arguments: str, env: dict[str, str] | None = None) -> set[str]:
    """The modules that a fresh interpreter has loaded after running `code`."""
    tail = "\nimport sys\nprint('MODULES', ' '.join(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code + tail, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **(env or {})},
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("MODULES"))
    return set(line.split()[1:])


def test_the_import_contracts_hold() -> None:
    linter = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run([linter], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("package", ["model", "policy", "decide"])
def test_the_pure_rooms_load_no_io_library(package: str) -> None:
    names = sorted(p.stem for p in (SOURCE / package).glob("*.py") if p.stem != "__init__")
    code = "\n".join(f"import rollback_console.{package}.{name}" for name in names)
    assert not modules_after(code) & set(HEAVY)


def test_version_answers_before_the_command_line_library_loads() -> None:
    code = (
        "import sys; sys.argv = ['rollback-console', '--version']\n"
        "from rollback_console.__main__ import main\nassert main() == 0"
    )
    loaded = modules_after(code)
    assert not loaded & {*HEAVY, "click", "pydantic", "asyncio", "typing"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["journal", "verify", "{journal}"],
        ["journal", "verify", "{journal}", "--decisions"],
        ["status", "--config", "{settings}", "--json"],
        ["executions", "--journal", "{journal}"],
        ["policy", "check", "{policy}"],
        ["runbook", "list"],
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_these_commands_never_load_textual(arguments: list[str], tmp_path: Path) -> None:
    files = _files(tmp_path)
    words = [word.format(**files) for word in arguments]
    code = f"from rollback_console.cli.main import run\nrun({words!r})"
    loaded = modules_after(code, env={"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)})
    assert "textual" not in loaded
    assert f"rollback_console.cli.{words[0]}" in loaded


def _files(folder: Path) -> dict[str, str]:
    from rollback_console.clock import VirtualClock
    from rollback_console.journal.device import DeviceKey
    from rollback_console.journal.store import Journal

    journal = folder / "journal.db"
    Journal.open(journal, device=DeviceKey.from_seed(b"7" * 32), clock=VirtualClock(1_780_000_000)).close()
    policy = folder / "policy.yaml"
    policy.write_text((SOURCE / "rehearse" / "data" / "demo-policy.yaml").read_text())
    settings = folder / "settings.yaml"
    settings.write_text(
        "schema: rollback-console/settings/v1\n"
        "prometheus: {url: 'http://127.0.0.1:9', timeout: 1s}\n"
        "policies: [policy.yaml]\n"
    )
    return {"journal": str(journal), "policy": str(policy), "settings": str(settings)}


def test_package_init_files_stay_empty() -> None:
    full = [p for p in SOURCE.rglob("__init__.py") if p.read_text().strip()]
    assert not full


def test_importing_the_engine_loads_no_concrete_backend() -> None:
    names = sorted(p.stem for p in (SOURCE / "engine").glob("*.py") if p.stem != "__init__")
    loaded = modules_after("\n".join(f"import rollback_console.engine.{name}" for name in names))
    assert not loaded & {"textual", "httpx", "requests", "keyring", "rollback_console.observe.prometheus"}


def test_the_screens_first_frame_loads_nothing_that_can_wait() -> None:
    loaded = modules_after("import rollback_console.tui.app")
    assert not loaded & {"httpx", "requests", "sqlite3", "keyring", "pydantic", "prometheus_api_client", "click"}
