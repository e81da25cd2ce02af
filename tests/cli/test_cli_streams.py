"""The command line as a process: pipes, signals, locales, closed and full streams, terminals, shell completion."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM = [sys.executable, "-m", "rollback_console"]


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An empty home, no agent, no keyring."""
    strange = ("SSH_", "ROLLBACK_", "XDG_", "LC_", "LANG", "PYTHON", "NO_COLOR", "TMUX")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(strange)}
    return clean | {
        "HOME": str(tmp_path),
        "LC_ALL": "C.UTF-8",
        "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
    }


@pytest.fixture(scope="module")
def drill(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The journal of one headless drill, larger than a pipe holds."""
    path = tmp_path_factory.mktemp("drill") / "drill.db"
    subprocess.run(
        [*PROGRAM, "rehearse", "demo", "--headless", "--seed", "3", "--journal", str(path)],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    return path


def _run(environ: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *words], env=environ, capture_output=True, text=True, timeout=60, check=False,
        stdin=subprocess.DEVNULL, encoding="utf-8",
    )  # fmt: skip


def _shell(environ: dict[str, str], line: str) -> subprocess.CompletedProcess[str]:
    """A line of bash in which `rc` is this program."""
    script = f'rc() {{ "{sys.executable}" -m rollback_console "$@"; }}\n{line}'
    return subprocess.run(["bash", "-c", script], env=environ, capture_output=True, text=True, timeout=60, check=False)


# -- readers that leave, disks that are full, streams that are closed -------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("journal list --limit 100000 --journal {drill}", 0),
        ("journal list --json --limit 100000 --journal {drill}", 0),
        ("journal export --journal {drill}", 0),
        ("review {drill} --plain", 0),
        ("review {drill} --json", 0),
        ("policy schema", 0),
        ("runbook show model-version-rollback", 0),
        ("doctor --json", 1),  # nothing is configured: the answer stays the answer
        ("whoami", 4),
    ],
)
def test_a_reader_that_leaves_changes_no_answer(environ: dict[str, str], drill: Path, words: str, code: int) -> None:
    line = f"rc {words.format(drill=drill)} | head -c 10; code=${{PIPESTATUS[0]}}; echo; echo $code"
    done = _shell(environ, line)
    assert done.stdout.splitlines()[-1] == str(code)
    assert done.stderr == ""


@pytest.mark.parametrize("words", ["runbook list", "journal export --journal {drill}", "policy schema", "--version"])
def test_a_full_disk_is_said(environ: dict[str, str], drill: Path, words: str) -> None:
    done = _shell(environ, f"rc {words.format(drill=drill)} > /dev/full")
    assert done.returncode != 0
    if words != "--version":  # which answers before anything of ours is loaded
        assert done.returncode == 1
        assert done.stderr == "error: the output cannot be written: No space left on device: send it elsewhere\n"


def test_closed_streams_end_nothing(environ: dict[str, str], drill: Path) -> None:
    for line, code in (
        ("rc runbook list <&-", 0),
        ("rc executions --journal {drill} 0<&- 2>&-", 0),
        ("rc executions --journal none.db 2>&-", 2),
        ("rc runbook list >&-", 0),
        ("rc journal verify {drill} >&- 2>&- <&-", 0),
        ("rc journal note hello --journal {note} <&- >&- 2>&-", 0),
        ("rc demo <&-", 2),
    ):
        note = drill.parent / "note.db"
        done = _shell(environ, line.format(drill=drill, note=note))
        assert done.returncode == code, line + done.stderr
        assert "Traceback" not in done.stderr
        assert "Exception ignored" not in done.stderr
    assert _run(environ, "journal", "verify", str(note)).returncode == 0  # nothing was printed into it
    assert _run(environ, "journal", "verify", str(drill)).returncode == 0
    closed = _shell(environ, f"rc journal export --journal {drill} >&-")
    assert closed.returncode == 2
    assert "--output PATH writes a file" in closed.stderr


# -- locales, colours, hostile words ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "locale",
    [
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"LC_ALL": "POSIX"},
        {"LC_ALL": "C", "PYTHONIOENCODING": "latin-1"},
        {"LC_ALL": "C", "PYTHONIOENCODING": "ascii:strict"},
        {"LC_ALL": "xx_XX.nonsense"},
    ],
    ids=lambda value: value.get("PYTHONIOENCODING", value["LC_ALL"]),
)
def test_a_locale_that_is_not_utf_8_is_no_reason_to_fail(environ: dict[str, str], locale: dict[str, str]) -> None:
    for words, code in ((["runbook", "list"], 0), (["runbook", "show", "blind-telemetry"], 0), (["doctor"], 1)):
        done = subprocess.run(
            [*PROGRAM, *words], env=environ | locale, capture_output=True, timeout=60, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        assert b"defect" not in done.stderr
        assert b"Traceback" not in done.stderr
        assert b"\x1b" not in done.stdout


def test_no_word_that_was_typed_reaches_the_terminal_raw(environ: dict[str, str], tmp_path: Path) -> None:
    hostile = b"\x1b]0;owned\x07\xff\xe2\x80\xae"
    for words in ([hostile], [b"status", b"--config", hostile], [b"runbook", b"show", hostile], [b"x", hostile]):
        done = subprocess.run(
            [*map(os.fsencode, PROGRAM), *words], env=environ, capture_output=True, timeout=60, check=False,
            stdin=subprocess.DEVNULL, cwd=tmp_path,
        )  # fmt: skip
        assert done.returncode == 2
        assert done.stdout == b""
        assert b"\x1b" not in done.stderr
        assert "\u202e".encode() not in done.stderr
        assert b"Traceback" not in done.stderr


def test_nothing_is_coloured_where_nobody_sees_it(environ: dict[str, str], drill: Path) -> None:
    for extra in ({"NO_COLOR": "1"}, {"FORCE_COLOR": "1", "TERM": "xterm-256color"}, {"TERM": "dumb"}):
        for words in (["journal", "list", "--journal", str(drill)], ["doctor"], ["runbook", "list"], ["--help"]):
            done = _run(environ | extra, *words)
            assert "\x1b" not in done.stdout + done.stderr


# -- on a terminal ----------------------------------------------------------------------------------------------------


def _on_terminal(environ: dict[str, str], seconds: float, *words: str, keys: bytes = b"") -> tuple[int, bytes]:
    """The command in a terminal of its own, 80x24; `keys` are typed after a painted second."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(sys.executable, [*PROGRAM, *words], environ | {"COLUMNS": "80", "LINES": "24"})
    said, begun, typed = b"", time.monotonic(), False
    while time.monotonic() - begun < seconds:
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                part = os.read(terminal, 65536)
            except OSError:
                break
            if not part:
                break
            said += part
        if keys and not typed and time.monotonic() - begun > 2.5 and said:
            os.write(terminal, keys)
            typed = True
    else:
        os.kill(pid, signal.SIGKILL)
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said


def test_the_demo_paints_leaves_on_q_and_says_where_its_journal_is(environ: dict[str, str]) -> None:
    code, said = _on_terminal(environ | {"TERM": "xterm-256color"}, 30, "demo", keys=b"q")
    assert code == 0, said[-2000:]
    assert b"REHEARSAL" in said
    left = said.rpartition(b"\x1b[?1049l")[2].decode()
    assert "this rehearsal's journal: " in left
    journal = left.partition("this rehearsal's journal: ")[2].split()[0]
    assert _run(environ, "journal", "verify", journal).returncode == 0


def test_no_color_is_heard_by_the_screen(environ: dict[str, str]) -> None:
    _, said = _on_terminal(environ | {"TERM": "xterm-256color", "NO_COLOR": "1"}, 30, "demo", keys=b"q")
    assert b"REHEARSAL" in said
    for colour in (b"\x1b[31m", b"38;2;", b"48;2;", b"\x1b[91m"):
        assert colour not in said.replace(b"38;2;0;0;0", b"").replace(b"48;2;0;0;0", b"")


def test_ctrl_c_is_130(environ: dict[str, str], tmp_path: Path) -> None:
    """In the middle of a drill, of a passphrase, and of a look at a Prometheus that never answers."""
    import socket

    silent = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{silent.getsockname()[1]}"
    for words in (
        ["init", "--prometheus", url],
        ["rehearse", "demo", "--headless", "--journal", str(tmp_path / "d.db")],
    ):
        process = subprocess.Popen(
            [*PROGRAM, *words], env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
        )
        time.sleep(0.1)
        end = time.monotonic() + 20
        if words[0] == "init":
            silent.settimeout(20)
            waiting, _ = silent.accept()  # it asks, and gets no answer
        else:
            while not (tmp_path / "d.db").exists() and time.monotonic() < end:
                time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        assert process.returncode == 130, (words, out, err)
        assert b"Traceback" not in err
    waiting.close()
    silent.close()
    code, said = _on_terminal(
        environ, 20, "identity", "init", "--operator", "ana", "--file", str(tmp_path / "key"), keys=b"\x03"
    )
    assert code == 130, said
    assert b"Traceback" not in said
    assert not (tmp_path / "key").exists()


# -- shell completion -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(environ: dict[str, str], shell: str) -> None:
    done = _run_named(environ | {"_ROLLBACK_CONSOLE_COMPLETE": f"{shell}_source"})
    assert done.returncode == 0
    assert f"_ROLLBACK_CONSOLE_COMPLETE={shell}_complete" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("typed", "word", "offers"),
    [
        ("rollback-console jour", 1, {"plain,journal"}),
        ("rollback-console re", 1, {"plain,resume", "plain,rehearse", "plain,review"}),
        ("rollback-console journal ", 2, {"plain,verify", "plain,export", "plain,note"}),
        ("rollback-console journal verify --de", 3, {"plain,--decisions", "plain,--device"}),
        ("rollback-console status --js", 2, {"plain,--json"}),
        ("rollback-console journal export --format c", 4, {"plain,csv", "plain,cloudevents"}),
        ("rollback-console --de", 1, {"plain,--debug"}),
    ],
)
def test_completion_knows_commands_that_are_not_loaded_yet(
    environ: dict[str, str], typed: str, word: int, offers: set[str]
) -> None:
    done = _run_named(
        environ | {"_ROLLBACK_CONSOLE_COMPLETE": "bash_complete", "COMP_WORDS": typed, "COMP_CWORD": str(word)}
    )
    assert done.returncode == 0
    assert offers <= set(done.stdout.split())
    assert done.stderr == ""


def _run_named(environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """The installed script: completion goes by the program's name."""
    return subprocess.run(
        [str(Path(sys.executable).with_name("rollback-console"))], env=environ, capture_output=True, text=True,
        timeout=60, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


# -- what is loaded when ----------------------------------------------------------------------------------------------


def test_what_a_script_asks_often_loads_no_screen_and_no_network(environ: dict[str, str], drill: Path) -> None:
    for words in (["journal", "verify", str(drill)], ["executions", "--journal", str(drill)], ["--help"]):
        code = (
            "import sys, json\nfrom rollback_console.cli.main import run\n"
            f"code = run({words!r})\n"
            "print(json.dumps([code, sorted({'textual', 'httpx', 'requests', 'keyring'} & set(sys.modules))]))"
        )
        done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
        assert json.loads(done.stdout.splitlines()[-1]) == [0, []]
