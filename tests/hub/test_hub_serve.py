"""Running a hub: addresses and TLS, limits, logs, signals, backup and restore."""

from __future__ import annotations

import contextlib
import datetime
import io
import ipaddress
import itertools
import json
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from hub.hub_tools import Console, chain_of, tables_at
from hub.test_hub_team import Following
from rollback_console.cli.main import run
from rollback_console.hub.hub import Hub as Opened
from rollback_console.hub.limits import Rates, body_cap
from rollback_console.hub.problems import Problem
from rollback_console.hub.settings import HubSettings
from servers.hub import PROGRAM, Hub
from servers.processes import free_port

pytestmark = pytest.mark.real
Start = Callable[..., Hub]


def command(*words: str) -> subprocess.CompletedProcess[str]:
    """A command of the keeper's, in this process: starting Python costs more than most of them do."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(list(words))
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


def lines(hub: Hub) -> list[dict[str, object]]:
    return [json.loads(line) for line in (hub.folder / "hub.log").read_text().splitlines()]


# -- where it answers -------------------------------------------------------------------------------------------------


def certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hub")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    folder.mkdir(exist_ok=True)
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "cert.pem", folder / "key.pem"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")  # the old versions are what is being refused
def test_it_speaks_tls_of_today_and_nothing_older(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    port = free_port()
    serve = [*PROGRAM, "hub", "serve", "--data", str(tmp_path / "hub"), "--listen", f"0.0.0.0:{port}",
             "--tls-certificate", str(cert), "--tls-key", str(key)]  # fmt: skip
    process = subprocess.Popen(serve, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if '"listening"' in line:
                break
        context = ssl.create_default_context(cafile=str(cert))
        with httpx.Client(verify=context) as http:
            assert http.get(f"https://127.0.0.1:{port}/healthz").text == "ok\n"
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.set_ciphers("ALL:@SECLEVEL=0")
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(httpx.ConnectError), httpx.Client(verify=old) as http:
            http.get(f"https://127.0.0.1:{port}/healthz")
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert process.stderr is not None
        process.stderr.close()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--listen", "0.0.0.0:8790"], "without TLS tokens would cross the network in clear"),
        (["--listen", ":8790"], "without TLS tokens would cross the network in clear"),
        (["--listen", "hub.example:1"], "without TLS tokens would cross the network in clear"),
        (["--listen", "8790"], "is no address with a port"),
        (["--listen", "[::1]:99999"], "is no address with a port"),
        (["--tls-certificate", "x.pem"], "TLS needs a certificate and its key"),
        (["--tls-certificate", "x.pem", "--tls-key", "y.pem"], "cannot be used"),
        (["--database", "mysql://x/y"], "is not a database that the hub knows"),
        (["--database", "nonsense"], "the database's URL cannot be read"),
        (["--database", "postgresql://u:secret@127.0.0.1:9/x"], "does not answer"),
    ],
)
def test_what_it_will_not_begin_with_is_one_line(words: Sequence[str], said: str, tmp_path: Path) -> None:
    done = command("hub", "serve", "--data", str(tmp_path), *words)
    assert done.returncode in (2, 3)
    last = done.stderr.splitlines()[-1]
    assert said in last
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr


def test_without_the_extra_one_line_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys, importlib.util as u\n"
        "found = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'fastapi' else found(name, *rest)\n"
        "from rollback_console.cli.main import run\n"
        f"sys.exit(run(['hub', 'serve', '--data', {str(tmp_path)!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "error: the hub needs fastapi: pip install 'rollback-console[hub]'\n"


def test_nothing_of_a_server_is_loaded_by_the_help_of_hub() -> None:
    code = (
        "from rollback_console.cli.main import run\nrun(['hub', 'serve', '--help'])\nimport sys\n"
        "heavy = {'fastapi', 'sqlalchemy', 'alembic', 'uvicorn', 'psycopg', 'textual'}\n"
        "print('LOADED', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "LOADED []" in done.stdout


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """One hub for the tests that leave it as it is."""
    one = Hub(tmp_path_factory.mktemp("hub"))
    yield one
    one.stop()


def test_one_hub_a_data_folder(running: Hub) -> None:
    hub = running
    done = command("hub", "serve", *hub.where, "--listen", "127.0.0.1:0")
    assert done.returncode == 5
    assert "a hub serves from" in done.stderr
    taken = command("hub", "serve", "--data", str(hub.folder / "x"), "--listen", f"127.0.0.1:{hub.server.port}")
    assert taken.returncode == 2
    assert "cannot be listened on" in taken.stderr.splitlines()[-1]


# -- limits -----------------------------------------------------------------------------------------------------------


def test_a_device_that_asks_too_fast_is_told_when_to_come_back(hub_server: Start) -> None:
    hub = hub_server(rate=2)
    console, other = Console(hub.url, hub.code()), Console(hub.url, hub.code())
    answers = [console.http.get("/v1/log/checkpoint") for _ in range(9)]
    refused = [each for each in answers if each.status_code == 429]
    assert len(refused) >= 2
    assert refused[0].json()["code"] == "too-fast"
    assert int(refused[0].headers["retry-after"]) >= 1
    assert other.http.get("/v1/log/checkpoint").status_code == 200  # a bucket a device
    guesses = [httpx.get(f"{hub.url}/v1/chains").status_code for _ in range(12)]
    assert 429 in guesses


def test_a_bucket_fills_with_time() -> None:
    now = 100.0
    rates = Rates(rate=2.0, burst=3, monotonic=lambda: now)

    def taken() -> int:
        for count in itertools.count():
            try:
                rates.take("one")
            except Problem as problem:
                refused.append(problem.headers)
                return count
        return 0

    refused: list[dict[str, str]] = []
    assert taken() == 3
    now += 1.0
    assert taken() == 2
    now += 60.0
    assert taken() == 3
    rates.take("another")
    assert refused == [{"Retry-After": "1"}] * 3


def test_every_path_has_a_cap() -> None:
    assert body_cap("/v1/chains/x/entries") == 4 * 1024 * 1024
    assert body_cap("/v1/environments/prod/snapshot") == 4 * 1024 * 1024
    assert body_cap("/v1/blobs/" + "0" * 64) == 8 * 1024 * 1024
    assert body_cap("/v1/devices") == 256 * 1024


# -- logs and leaving -------------------------------------------------------------------------------------------------


def test_sigterm_ends_streams_finishes_requests_and_writes_the_mark(hub_server: Start) -> None:
    hub = hub_server()
    console = Console(hub.url, hub.code())
    following = Following(console)
    following.until("ready")
    rows = chain_of(console.device, 3000)
    answers: list[int] = []

    def send() -> None:
        with contextlib.suppress(httpx.TransportError):
            for start in range(0, 3000, 500):
                answers.append(console.send(rows[start : start + 500]).status_code)  # noqa: PERF401 - some, and it ends

    sender = threading.Thread(target=send)
    sender.start()
    following.until("entry")
    began = time.monotonic()
    hub.server.process.send_signal(signal.SIGTERM)
    assert hub.server.process.wait(20) == 0
    assert time.monotonic() - began < 10
    assert following.ended.wait(5)
    sender.join()
    assert set(answers) == {200}
    with tables_at(hub.folder / "hub.db") as database:
        ((count,),) = database.execute("SELECT count(*) FROM entries")
        ((leaves,),) = database.execute("SELECT count(*) FROM log_leaves")
    assert count == 500 * leaves >= 500 * len(answers)  # what was answered is there, and nothing is there by half
    mark = json.loads((hub.folder / "hub.mark").read_text())
    assert (mark["size"], mark["clean"]) == (leaves, True)
    assert lines(hub)[-1]["event"] == "stopped"


def test_logs_are_json_lines_without_secrets(hub_server: Start) -> None:
    hub = hub_server()
    code = hub.code()
    console = Console(hub.url, code)
    console.send(chain_of(console.device, 2))
    console.http.get("/v1/entries", params={"operator": "somebody-private"})
    httpx.get(f"{hub.url}/v1/chains", headers={"Authorization": "Bearer rbh_wrong-secret"})
    hub.stop()
    logged = lines(hub)
    routes = {line.get("route") for line in logged}
    assert {"/v1/devices", "/v1/chains/{chain}/entries", "/v1/entries"} <= routes
    assert all({"time", "level", "event"} <= set(line) for line in logged)
    text = (hub.folder / "hub.log").read_text()
    for secret in (code, console.token, "rbh_", "somebody-private"):
        assert secret not in text
    assert console.id in text  # who it was


# -- backup and restore -----------------------------------------------------------------------------------------------


def test_a_backup_taken_while_it_serves_is_whole(running: Hub, tmp_path: Path) -> None:
    hub = running
    console = Console(hub.url, hub.code())
    rows = chain_of(console.device, 4000)
    stop = threading.Event()

    def send() -> None:
        for start in range(0, 4000, 100):
            if stop.is_set():
                return
            assert console.send(rows[start : start + 100]).status_code == 200

    sender = threading.Thread(target=send)
    sender.start()
    for number in range(3):
        done = command("hub", "backup", str(tmp_path / f"{number}.db"), *hub.where)
        assert done.returncode == 0, done.stderr
        with tables_at(tmp_path / f"{number}.db") as kept:
            ((count,),) = kept.execute("SELECT count(*) FROM entries")
            ((leaves,),) = kept.execute("SELECT count(*) FROM log_leaves")
        assert count == leaves * 100
    stop.set()
    sender.join()
    assert (tmp_path / "0.db").stat().st_mode & 0o077 == 0
    again = command("hub", "backup", str(tmp_path / "0.db"), *hub.where)
    assert (again.returncode, "overwrites nothing" in again.stderr) == (2, True)
    running = command("hub", "restore", str(tmp_path / "0.db"), *hub.where)
    assert (running.returncode, "a hub serves from" in running.stderr) == (5, True)


def test_a_hub_restored_from_an_old_backup_cannot_pass_for_the_one_before(hub_server: Start, tmp_path: Path) -> None:
    hub = hub_server()
    console = Console(hub.url, hub.code())
    rows = chain_of(console.device, 9)
    console.send(rows[:3])
    assert command("hub", "backup", str(tmp_path / "old.db"), *hub.where).returncode == 0
    newest = console.send(rows[3:6]).json()["receipt"]
    held = console.checked(newest)
    hub.stop()
    done = command("hub", "restore", str(tmp_path / "old.db"), *hub.where)
    assert done.returncode == 0, done.stderr
    assert "the log goes on under another key" in done.stdout
    key = done.stdout.splitlines()[-1]

    again = hub_server(hub.folder)
    back = httpx.Client(base_url=again.url, headers=console.http.headers)
    about = back.get("/v1/about").json()
    assert (about["key"], about["epoch"]) == (key, 2)
    assert about["key"] not in console.vkeys
    # a console that does nothing but what it always did finds out: its proof fails, and no receipt verifies
    assert back.get("/v1/log/consistency", params={"first": held.size}).json()["code"] == "log-shorter"
    console.http = back
    receipt = console.send(rows[3:6]).json()["receipt"]
    with pytest.raises(ValueError, match="no key is trusted"):
        console.checked(receipt)
    witness = back.post("/v1/log/witness", content=newest["checkpoint"], headers={"Content-Type": "text/plain"})
    assert (witness.status_code, witness.json()["code"]) == (409, "restored")
    console.vkeys = [
        key
    ]  # a person has said yes: what is missing goes up again, and the same tree size is another log's
    assert console.checked(console.send(rows).json()["receipt"]).origin != held.origin


def test_a_restore_that_loses_nothing_changes_nothing(hub_server: Start, tmp_path: Path) -> None:
    hub = hub_server()
    console = Console(hub.url, hub.code())
    console.send(chain_of(console.device, 3))
    hub.stop()
    command("hub", "backup", str(tmp_path / "new.db"), *hub.where)
    done = command("hub", "restore", str(tmp_path / "new.db"), *hub.where)
    assert "nothing that this hub has signed is missing" in done.stdout
    assert len(list(hub.folder.glob("hub.db.before-restore-*Z"))) == 1
    again = hub_server(hub.folder)
    assert httpx.get(f"{again.url}/v1/about").json()["key"] == console.vkeys[0]
    again.server.process.send_signal(signal.SIGKILL)  # what it signed last is not certain any more
    again.server.process.wait()
    done = command("hub", "restore", str(tmp_path / "new.db"), *hub.where)
    assert "the log goes on under another key" in done.stdout


def test_an_old_database_put_there_by_hand_is_refused_at_the_start(hub_server: Start, tmp_path: Path) -> None:
    hub = hub_server()
    console = Console(hub.url, hub.code())
    rows = chain_of(console.device, 4)
    console.send(rows[:1])
    hub.stop()
    shutil.copy(hub.folder / "hub.db", tmp_path / "old.db")
    later = hub_server(hub.folder)
    console.http.base_url = httpx.URL(later.url)
    console.send(rows)
    later.stop()
    shutil.copy(tmp_path / "old.db", hub.folder / "hub.db")
    done = command("hub", "serve", *hub.where, "--listen", "127.0.0.1:0")
    assert done.returncode == 2
    assert "older than what this hub has signed (1 leaves, 2 were signed)" in done.stderr
    assert "rollback-console hub restore" in done.stderr
    assert "another key" in command("hub", "restore", *hub.where).stdout
    hub_server(hub.folder)


def test_a_hub_that_is_shown_its_own_newer_checkpoint_signs_no_more(hub_server: Start, tmp_path: Path) -> None:
    """The mark is gone too (a machine restored as a whole): only consoles can know, and one tells."""
    hub = hub_server()
    console = Console(hub.url, hub.code())
    rows = chain_of(console.device, 4)
    console.send(rows[:1])
    hub.stop()
    shutil.copytree(hub.folder, tmp_path / "image")
    later = hub_server(hub.folder)
    console.http.base_url = httpx.URL(later.url)
    newest = console.send(rows[:3]).json()["receipt"]["checkpoint"]
    told = console.http.post("/v1/log/witness", content=newest, headers={"Content-Type": "text/plain"})
    assert told.json() == {"size": 2, "proof": []}
    later.stop()
    rolled_back = hub_server(tmp_path / "image")
    console.http.base_url = httpx.URL(rolled_back.url)
    forged = newest.replace("\n2\n", "\n3\n")
    for wrong in (forged, "nonsense"):
        answer = console.http.post("/v1/log/witness", content=wrong, headers={"Content-Type": "text/plain"})
        assert answer.json()["code"] == "not-ours"
    assert console.http.get("/readyz").status_code == 200
    shown = console.http.post("/v1/log/witness", content=newest, headers={"Content-Type": "text/plain"})
    assert (shown.status_code, shown.json()["code"]) == (409, "rolled-back")
    for answer in (console.send(rows), console.http.get("/v1/log/checkpoint"), console.http.get("/readyz")):
        assert (answer.status_code, answer.json()["code"]) == (503, "rolled-back")
    assert console.http.get("/v1/entries").status_code == 200  # what it holds can still be read
    rolled_back.stop()
    assert "another key" in command("hub", "restore", "--data", str(tmp_path / "image")).stdout
    console.http.base_url = httpx.URL(hub_server(tmp_path / "image").url)
    assert console.send(rows).json()["accepted"] == 3


def test_what_cannot_be_restored_is_one_line_and_moves_nothing(tmp_path: Path) -> None:
    ours, others = tmp_path / "ours", tmp_path / "others"
    for folder in (ours, others):
        Opened(HubSettings(folder)).close()
    before = (ours / "hub.db").read_bytes()
    (tmp_path / "text.db").write_text("not a database at all")
    command("hub", "backup", str(tmp_path / "other.db"), "--data", str(others))
    for name, said in (
        ("text.db", "is not a hub's database"),
        ("other.db", "witnessed by another key"),
        ("no.db", "is not"),
    ):
        done = command("hub", "restore", str(tmp_path / name), "--data", str(ours))
        assert (done.returncode, said in done.stderr, done.stderr.count("\n")) == (2, True, 1), done.stderr
    assert (ours / "hub.db").read_bytes() == before
    nowhere = command("hub", "backup", str(tmp_path / "x.db"), "--data", str(tmp_path / "nothing"))
    assert (nowhere.returncode, "there is no hub" in nowhere.stderr) == (2, True)
