"""Several hub processes on one real PostgreSQL, and a serving role that can only add."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from hub.hub_tools import Console, chain_of
from hub.test_hub_team import Following
from rollback_console.hub.tables import MUTABLE, RECORD
from rollback_console.journal import merkle
from rollback_console.journal.signednote import Checkpoint, open_note
from servers.hub import PROGRAM, Hub
from servers.postgresql import PostgreSQL

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("postgresql")]


@pytest.fixture(scope="module")
def database(postgresql_server: PostgreSQL) -> str:
    """A migrated database whose serving role is `hub_app`; its name."""
    name = postgresql_server.database()
    owner = postgresql_server.url(name)
    command = [*PROGRAM, "hub", "migrate", "--database", owner, "--grant-to", "hub_app"]
    for _ in range(2):  # again changes nothing
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "hub_app may read all, add to the record" in done.stdout
    return name


@pytest.fixture(scope="module")
def hubs(database: str, postgresql_server: PostgreSQL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Hub]]:
    """Two processes of one hub: the same key, a data folder each."""
    url = postgresql_server.url(database, "hub_app")
    one = Hub(tmp_path_factory.mktemp("one"), database=url)
    second = tmp_path_factory.mktemp("two")
    (second / "hub.key").write_bytes((one.folder / "hub.key").read_bytes())
    (second / "hub.key").chmod(0o600)
    two = Hub(second, database=url)
    yield [one, two]
    one.stop()
    two.stop()


def test_two_hubs_take_what_many_consoles_send_exactly_once(hubs: list[Hub]) -> None:
    """Eight consoles, each sending every batch to both hubs at once: every entry is there once, in one log."""
    consoles = [Console(hubs[n % 2].url, hubs[n % 2].code()) for n in range(8)]
    chains = [chain_of(console.device, 120) for console in consoles]
    results: list[tuple[int, int]] = []
    failed: list[str] = []

    def send(number: int, hub: Hub) -> None:
        import httpx

        with httpx.Client(base_url=hub.url, headers=consoles[number].http.headers, timeout=60) as http:
            from hub.hub_tools import range_json

            for start in range(0, 120, 30):
                rows = chains[number][start : start + 30]
                answer = http.post(f"/v1/chains/{rows[0].chain}/entries", json=range_json(rows))
                while (
                    answer.status_code == 409 and answer.json()["code"] == "gap"
                ):  # the other one is behind: no matter
                    answer = http.post(
                        f"/v1/chains/{rows[0].chain}/entries", json=range_json(chains[number][: start + 30])
                    )
                if answer.status_code != 200:
                    failed.append(answer.text)
                    return
                consoles[number].checked(answer.json()["receipt"])
                results.append((answer.json()["accepted"], answer.json()["duplicates"]))

    threads = [threading.Thread(target=send, args=(n, hub)) for n in range(8) for hub in hubs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert sum(accepted for accepted, _ in results) == 8 * 120
    assert sum(duplicates for _, duplicates in results) >= 8 * 120
    for rows in chains:
        found = consoles[0].http.get(f"/v1/chains/{rows[0].chain}/entries", params={"limit": 1000}).json()["entries"]
        assert [each["hash"] for each in found] == [row.hash for row in rows]
    everything = consoles[1].http.get("/v1/entries", params={"limit": 1000}).json()["entries"]
    positions = [each["position"] for each in everything]
    assert positions == sorted(set(positions))
    notes = [Console(hub.url, hub.code()) for hub in hubs]
    trees = [Checkpoint.parse(open_note(each.http.get("/v1/log/checkpoint").text, consoles[0].vkeys)) for each in notes]
    assert trees[0] == trees[1]
    leaves = [
        bytes.fromhex(each)
        for each in (
            consoles[0].http.get("/v1/log/inclusion", params={"index": 0, "size": trees[0].size}).json()["proof"]
        )
    ]
    assert len(leaves) == (trees[0].size - 1).bit_length()
    for each in (*consoles, *notes):
        each.close()


def test_one_hubs_followers_see_what_came_to_the_other(hubs: list[Hub]) -> None:
    console, other = Console(hubs[0].url, hubs[0].code()), Console(hubs[1].url, hubs[1].code())
    following = Following(other)
    following.until("ready")
    rows = chain_of(console.device, 1)
    began = time.monotonic()
    console.send(rows)
    assert following.until("entry")[-1][2]["hash"] == rows[0].hash
    assert time.monotonic() - began < 1.0
    console.http.post("/v1/presence", json={"operator": "ana", "where": "fleet"})
    assert following.until("presence")[-1][2]["operator"] == "ana"
    lease = console.http.post("/v1/leases/deployment/prod/m", json={"ttl_s": 30, "holder": "ana"}).json()
    assert following.until("lease")[-1][2]["token"] == lease["token"]
    refused = other.http.post("/v1/leases/deployment/prod/m", json={"ttl_s": 30, "holder": "bo"})
    assert refused.json()["holder"] == "ana"
    following.close()


def test_the_serving_role_can_neither_change_nor_delete_the_record(
    hubs: list[Hub], database: str, postgresql_server: PostgreSQL
) -> None:
    console = Console(hubs[0].url, hubs[0].code())
    console.send(chain_of(console.device, 3))
    with psycopg.connect(postgresql_server.url(database, "hub_app"), autocommit=True) as role:
        for table in RECORD:
            column = next(iter(table.columns)).name
            for statement in (
                f'UPDATE {table.name} SET "{column}" = "{column}"',
                f"DELETE FROM {table.name}",
                f"TRUNCATE {table.name}",
                f"ALTER TABLE {table.name} DISABLE TRIGGER ALL",
                f"DROP TABLE {table.name}",
            ):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    role.execute(statement.encode())
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            role.execute("CREATE TABLE entries2 (x int)")
        for table in MUTABLE:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                role.execute(f"TRUNCATE {table.name}".encode())
        assert role.execute("SELECT count(*) FROM entries").fetchone() != (0,)
    log = (hubs[0].folder / "hub.log").read_text()
    assert "may change the record" not in log
    assert '"event": "defect"' not in log


def test_even_the_owner_does_not_change_the_record_by_a_slip(
    hubs: list[Hub], database: str, postgresql_server: PostgreSQL
) -> None:
    with psycopg.connect(postgresql_server.url(database), autocommit=True) as owner:
        for table in RECORD:
            column = next(iter(table.columns)).name
            for statement in (
                f'UPDATE {table.name} SET "{column}" = "{column}"',
                f"DELETE FROM {table.name}",
                f"TRUNCATE {table.name}",
            ):
                with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
                    owner.execute(statement.encode())


def test_a_role_that_could_change_the_record_is_told(postgresql_server: PostgreSQL, tmp_path: Path) -> None:
    url = postgresql_server.url(postgresql_server.database())
    serve = [*PROGRAM, "hub", "serve", "--data", str(tmp_path), "--database", url, "--listen", "127.0.0.1:0"]
    done = subprocess.run(serve, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "the database has none of the hub's tables: as its owner: rollback-console hub migrate" in done.stderr
    subprocess.run([*PROGRAM, "hub", "migrate", "--database", url], check=True, capture_output=True)
    hub = Hub(tmp_path, database=url)
    hub.stop()
    assert "this role may change the record" in (tmp_path / "hub.log").read_text()
    other = tmp_path / "other"
    done = subprocess.run(
        [str(other) if word == str(tmp_path) else word for word in serve], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "witnessed by another key" in done.stderr


def test_a_database_that_goes_away_is_said_and_waited_for(
    postgresql_server: PostgreSQL, tmp_path: Path, hub_server: Callable[..., Hub]
) -> None:
    """Its connections are cut: requests are answered again at once, by new ones; nothing is half done."""
    name = postgresql_server.database()
    url = postgresql_server.url(name)
    subprocess.run([*PROGRAM, "hub", "migrate", "--database", url], check=True, capture_output=True)
    hub = hub_server(database=url)
    console = Console(hub.url, hub.code())
    rows = chain_of(console.device, 4)
    console.send(rows[:2])
    with psycopg.connect(postgresql_server.url("postgres"), autocommit=True) as admin:
        cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = %s"
        assert admin.execute(cut, (name,)).fetchone() != (0,)
        assert console.send(rows).json()["accepted"] == 2
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        admin.execute(cut, (name,))
        answer = console.http.get("/v1/chains")
        assert (answer.status_code, answer.json()["code"]) == (503, "busy")
        assert int(answer.headers["retry-after"]) >= 1
        assert console.http.get("/readyz").status_code == 503
        assert console.http.get("/healthz").status_code == 200
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
    assert console.send(rows).json()["duplicates"] == 4


def test_a_tree_of_many_leaves_is_the_one_the_leaves_make(
    hubs: list[Hub], database: str, postgresql_server: PostgreSQL
) -> None:
    """The nodes in the table against a tree made anew from the leaves alone."""
    from rollback_console.journal.receipt import leaf_of

    console = Console(hubs[0].url, hubs[0].code())
    for row in chain_of(console.device, 12):
        assert console.send([row]).status_code == 200
    with psycopg.connect(postgresql_server.url(database)) as connection:
        leaves = connection.execute('SELECT chain, seq, hash, at FROM log_leaves ORDER BY "index"').fetchall()
        nodes = {
            (level, index): bytes(hash_)
            for level, index, hash_ in connection.execute('SELECT level, "index", hash FROM log_nodes').fetchall()
        }
    made: dict[tuple[int, int], bytes] = {}
    for size, leaf in enumerate(leaves):
        for level, index, hash_ in merkle.new_nodes(
            size, merkle.leaf_hash(leaf_of(*leaf)), lambda level, index: made[level, index]
        ):
            made[level, index] = hash_
    assert made == nodes
    assert len(leaves) > 10
