"""docs/hub.md is run as it stands: every block of commands, with this test's places in place of the document's."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from docs_reading import ROOT, blocks_of
from hub.hub_tools import Console, chain_of
from hub.test_hub_serve import certificate
from rollback_console.hub.problems import Problem
from servers.postgresql import PostgreSQL
from servers.processes import free_port

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("postgresql")]


class Shell:
    """Runs the document's commands in `folder`; words of the document are replaced by this machine's."""

    def __init__(self, folder: Path, words: dict[str, str], path: str = "") -> None:
        self.folder = folder
        self.words = words
        bins = [str(Path(sys.executable).parent), *([path] if path else []), os.environ["PATH"]]
        self.env = {**os.environ, "HOME": str(folder), "PATH": os.pathsep.join(bins)}
        for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "ROLLBACK_CONSOLE_CONFIG"):
            self.env.pop(name, None)
        self.serving: list[subprocess.Popen[str]] = []

    def _real(self, command: str) -> list[str]:
        for word, real in self.words.items():
            command = command.replace(word, real)
        return shlex.split(command)

    def block(self, starts: str) -> list[str]:
        """What each command of the block printed."""
        (found,) = [block for block in blocks_of("docs/hub.md") if block.text.startswith(f"$ {starts}")]
        printed = []
        for command in found.commands:
            done = subprocess.run(
                self._real(command), cwd=self.folder, env=self.env, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
            printed.append(done.stdout)
        return printed

    def serve(self, starts: str, *more: str) -> str:
        """The block's server, running; its first log line that says where it listens."""
        (found,) = [block for block in blocks_of("docs/hub.md") if block.text.startswith(f"$ {starts}")]
        (command,) = found.commands
        process = subprocess.Popen(
            [*self._real(command), *more], cwd=self.folder, env=self.env, stderr=subprocess.PIPE, text=True
        )
        self.serving.append(process)
        assert process.stderr is not None
        for line in process.stderr:
            if '"listening"' in line:
                threading.Thread(target=process.stderr.read, daemon=True).start()
                return line
        raise AssertionError(f"{command} ended with {process.wait()}")

    def end(self) -> None:
        for process in self.serving:
            process.terminate()
            assert process.wait(30) == 0
        self.serving.clear()


@pytest.fixture
def shell(tmp_path: Path, postgresql_server: PostgreSQL) -> Iterator[Shell]:
    name, port = postgresql_server.database(), free_port()
    words = {
        "postgresql://owner@db/hub": postgresql_server.url(name),
        "postgresql://hub_app@db/hub": postgresql_server.url(name, "hub_app"),
        "0.0.0.0:8790": f"127.0.0.1:{port}",
        "127.0.0.1:8790": f"127.0.0.1:{port}",
    }
    one = Shell(tmp_path, words, str(postgresql_server.bin))
    one.words["PORT"] = str(port)
    yield one
    for process in one.serving:
        process.kill()
        process.wait()


def test_the_first_five_minutes_and_a_backup(shell: Shell) -> None:
    port = shell.words["PORT"]
    shell.serve("rollback-console hub serve --data hub-data\n", "--listen", f"127.0.0.1:{port}")
    (said,) = shell.block("rollback-console hub enrol")
    assert "good once, for 24 hours" in said
    shell.words["CODE"] = said.splitlines()[-1]
    (joined,) = shell.block("rollback-console hub join")
    assert f'url: "http://127.0.0.1:{port}"' in joined
    key = json.loads(re.search(r'^  key: (".*")$', joined, re.MULTILINE)[1])  # type: ignore[index]
    assert key == httpx.get(f"http://127.0.0.1:{port}/v1/about").json()["key"]
    (kept,) = shell.block("rollback-console hub backup")
    assert "0 entries, 0 leaves" in kept
    listed, revoked = shell.block("rollback-console hub devices")
    assert "ana-laptop" in listed
    assert "is revoked; its entries stay" in revoked
    shell.end()
    (restored,) = shell.block("rollback-console hub restore hub-2026")
    assert "nothing that this hub has signed is missing" in restored


def test_a_team_on_postgresql_its_backup_and_its_restore(shell: Shell, postgresql_server: PostgreSQL) -> None:
    certificate(shell.folder)
    shell.block("rollback-console hub migrate")
    serve = "rollback-console hub serve --data hub-data --database"
    shell.serve(serve)
    url = f"https://127.0.0.1:{shell.words['PORT']}"
    code = subprocess.run(
        [sys.executable, "-m", "rollback_console", "hub", "enrol", "--name", "x", "--json", "--data", "hub-data",
         "--database", shell.words["postgresql://hub_app@db/hub"]],
        cwd=shell.folder, env=shell.env, capture_output=True, text=True, check=True,
    )  # fmt: skip
    console = Console(url, json.loads(code.stdout)["code"], verify=str(shell.folder / "cert.pem"))
    rows = chain_of(console.device, 8)
    console.checked(console.send(rows[:5]).json()["receipt"])
    shell.block("pg_dump")
    console.checked(console.send(rows).json()["receipt"])  # more than the backup has
    shell.end()
    empty = postgresql_server.database()
    shell.words["postgresql://owner@db/hub"] = postgresql_server.url(empty)
    shell.words["postgresql://hub_app@db/hub"] = postgresql_server.url(empty, "hub_app")
    _, told = shell.block("pg_restore")
    assert "restored: 5 entries, 1 leaves of the log" in told
    assert "the log goes on under another key" in told
    shell.serve(serve)
    answer = console.send(rows).json()
    assert (answer["accepted"], answer["duplicates"]) == (3, 5)
    with pytest.raises(ValueError, match="no key is trusted"):
        console.checked(answer["receipt"])
    console.vkeys = [told.splitlines()[-1]]
    console.checked(answer["receipt"])
    role = psycopg.connect(shell.words["postgresql://hub_app@db/hub"], autocommit=True)
    with role, pytest.raises(psycopg.errors.InsufficientPrivilege):  # the grants came back with the dump
        role.execute("DELETE FROM entries")
    shell.end()


def test_the_table_of_refusals_names_codes_that_are_given() -> None:
    text = (ROOT / "docs" / "hub.md").read_text()
    table = text.partition("## What it refuses")[2].partition("\n\nErrors")[0]
    named = set(re.findall(r"`([a-z]+-?[a-z]*-?[a-z]*)`", table)) - {"head", "seq", "detail"}
    source = "".join(path.read_text() for path in (ROOT / "src" / "rollback_console" / "hub").glob("*.py"))
    given = set(re.findall(r'\d{3}, "([a-z-]+)"', source))
    assert Problem(409, "gap", "x").document()["code"] in named
    assert named <= given
