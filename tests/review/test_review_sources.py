"""What a review opens: files in every form, whole or damaged, of today or tomorrow; on a machine that has nothing."""

from __future__ import annotations

import base64
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from review.review_past import RANKER, incident, make
from rollback_console.cli.main import run
from rollback_console.clock import WallClock
from rollback_console.journal.create import INSERT
from rollback_console.journal.device import DeviceKey
from rollback_console.journal.emergency import open_emergency
from rollback_console.journal.kinds import Note, StandsIn
from rollback_console.journal.rotate import rotate
from rollback_console.journal.store import Journal
from rollback_console.review.episodes import episodes
from rollback_console.review.replay import Replay
from rollback_console.review.replay_verifying import check

SEED = b"p" * 32
GUARDS = ("entries_no_update", "entries_no_delete", "entries_append")


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("sources") / "past.db")


def tampered(past: Path, to: Path, *statements: str) -> Path:
    """A copy in which somebody with a database tool has done something."""
    shutil.copy(past, to)
    connection = sqlite3.connect(to)
    for guard in GUARDS:
        connection.execute(f"DROP TRIGGER {guard}")
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()
    return to


def same(path: Path, past: Path) -> Replay:
    """What stands at `path` shows what the journal itself shows, at every moment that has samples."""
    mine, whole = Replay.open(path), Replay.open(past)
    assert len(mine.index) == len(whole.index)
    assert mine.index.items == whole.index.items
    for place in (len(whole.index) // 2, len(whole.index) - 1):
        one, other = mine.moment(place), whole.moment(place)
        assert [v.verdict for v in one.snapshot.deployments] == [v.verdict for v in other.snapshot.deployments]
        assert one.again == other.again
    assert episodes(mine.index) == episodes(whole.index)
    whole.close()
    return mine


def test_a_bundle_is_opened_packed_and_unpacked(past: Path, tmp_path: Path) -> None:
    packed = tmp_path / "past.tar"
    assert run(["journal", "export", "--journal", str(past), "--format", "bundle", "--output", str(packed)]) == 0
    with tarfile.open(packed) as tar:
        tar.extractall(tmp_path / "unpacked", filter="data")
    (folder,) = (tmp_path / "unpacked").iterdir()
    for path in (packed, tmp_path / "unpacked", folder):
        replay = same(path, past)
        assert replay.source.what == "bundle"
        found = check(path)
        assert found.verified, found.problems
        assert (found.decisions, found.differences) == (4, ())
        replay.close()
    (folder / "device.pub").write_text("ssh-ed25519 AAAA somebody\n")
    found = check(folder)
    assert not found.verified
    assert any("device.pub" in problem for problem in found.problems)


def test_lines_of_an_export_are_opened_without_their_samples(past: Path, tmp_path: Path) -> None:
    path = tmp_path / "past.jsonl"
    assert run(["journal", "export", "--journal", str(past), "--output", str(path)]) == 0
    with Replay.open(path) as replay, Replay.open(past) as whole:
        assert replay.index.items == whole.index.items
        moment = replay.moment(len(replay.index) - 1)
        assert not moment.snapshot.deployments, "neither samples nor policies travel in lines"
        assert moment.snapshot.timeline == whole.moment(len(whole.index) - 1).snapshot.timeline
        assert moment.snapshot.executions, "what was executed does"
    found = check(path)
    assert found.verified
    assert (found.decisions, found.untold) == (0, 4)


def test_a_journal_in_several_files_is_one_and_its_closed_files_can_be_opened_alone(past: Path, tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    shutil.copy(past, path)
    with Journal.open(path, device=DeviceKey.from_seed(SEED), clock=WallClock()) as journal:
        rotate(journal)
        journal.append(Note(text="in the second file"))
    with Replay.open(path) as replay:
        assert [i.kind for i in replay.index.items][-2:] == ["segment", "note"]
        assert replay.moment(len(replay.index) - 10).snapshot.deployments
        assert len(episodes(replay.index)) == 1
    assert check(path).verified
    alone = Path(f"{path}.segments")
    path.rename(tmp_path / "elsewhere.db")
    for each in (alone, next(alone.iterdir())):
        same(each, past).close()
        assert check(each).verified
    with Replay.open(tmp_path / "elsewhere.db") as rest:
        assert rest.index.items[-1].text == "note: in the second file"
    found = check(tmp_path / "elsewhere.db")
    assert found.verified
    assert any("are in files that are not here" in warning for warning in found.warnings)


def test_an_emergency_journal_is_opened_like_any_other(tmp_path: Path) -> None:
    path = tmp_path / "emergency.db"
    device = DeviceKey.from_seed(SEED)
    with open_emergency(path, device, WallClock(), StandsIn(chain="ab" * 16, seq=7, hash="0" * 64)) as journal:
        journal.append(Note(text="the disk was full"))
    with Replay.open(path) as replay:
        assert replay.index.items[-1].text == "note: the disk was full"
    assert check(path).verified


def hub_lines(path: Path, chain_from: int = 1) -> list[str]:
    """As GET /v1/entries of a hub gives them."""
    with Journal.open_read_only(path) as journal:
        return [
            json.dumps({
                "position": row.seq, "incident": "", "received": str(row.at), **row._asdict(), "at": str(row.at),
                "mono": str(row.mono), "signature": base64.b64encode(row.signature).decode(),
            })
            for row in journal.rows()
            if row.seq >= chain_from
        ]  # fmt: skip


def blob_lines(path: Path) -> list[str]:
    with Journal.open_read_only(path) as journal:
        return [
            json.dumps({"blob": digest, "data": base64.b64encode(journal.get_blob(digest) or b"").decode()})
            for digest in journal.blob_digests()
        ]


def test_a_hub_download_holds_several_chains_in_the_order_of_their_times(past: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    with Journal.open(other, device=DeviceKey.from_seed(b"o" * 32), clock=WallClock()) as journal:
        journal.append(Note(text="from another machine, later"), operator="ben")
    path = tmp_path / "hub.jsonl"
    path.write_text("\n".join([*hub_lines(other), *hub_lines(past), *blob_lines(past)]))
    with Replay.open(path) as replay:
        assert replay.source.what == "hub download"
        assert len(replay.index.chains) == 2
        assert replay.index.items[-1].text == "note: from another machine, later"
        assert list(replay.index.ats) == sorted(replay.index.ats)
        assert len(episodes(replay.index)) == 1
        assert [d.differs for d in replay.decisions()] == [False] * 4
    found = check(path)
    assert found.verified, found.problems
    assert found.decisions == 4
    answer = tmp_path / "answer.json"  # one answer of the hub, as somebody's tool laid it out
    document = {"entries": [json.loads(line) for line in hub_lines(past, 5)], "next": 99}
    answer.write_text(json.dumps(document, indent=2))
    with Replay.open(answer) as replay:
        assert replay.index.items
    found = check(answer)
    assert not found.verified
    assert "begins with entry 5 here" in found.problems[0]


def test_two_machines_that_watch_the_same_fleet_are_shown_as_one(past: Path, tmp_path: Path) -> None:
    other = make(tmp_path / "other.db", device=DeviceKey.from_seed(b"o" * 32), chain="cd" * 16)
    path = tmp_path / "hub.jsonl"
    path.write_text("\n".join([*hub_lines(past), *hub_lines(other), *blob_lines(past)]))
    with Replay.open(path) as replay, Replay.open(past) as alone:
        for place in range(0, len(alone.index), 5):
            at = alone.index.ats[place]
            mine, both = alone.at(at), replay.at(at)
            assert [(v.id, v.verdict and v.verdict.state) for v in both.deployments] == [
                (v.id, v.verdict and v.verdict.state) for v in mine.deployments
            ]
        assert not any(a.differs for p in replay.index.ticks.places for a in replay.moment(p).again)


# ── what is wrong


def test_a_changed_entry_is_named_and_the_rest_is_shown(past: Path, tmp_path: Path) -> None:
    path = tampered(past, tmp_path / "t.db", "UPDATE entries SET body = replace(body, 'v8', 'v9') WHERE kind = 'note'")
    with Replay.open(path) as replay:
        assert len(replay.index) == 43
        assert replay.moment(40).snapshot.deployments
    found = check(path)
    assert not found.verified
    assert found.first_bad == 15
    assert "body was changed" in " ".join(found.problems)
    assert found.bad == (15,)
    assert found.words.startswith("NOT VERIFIED: entry 15: changed: ")


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("DELETE FROM entries WHERE seq = 20", "20"),
        ("DELETE FROM entries WHERE seq = 1", "does not say whose journal this is"),
        ("UPDATE entries SET body = x'ff00' WHERE seq = 12", "12"),
        ("UPDATE entries SET body = cast(x'7b22ff227d' as text) WHERE seq = 12", "12"),
        ("UPDATE entries SET at = 'yesterday' WHERE seq = 12", "12"),
        ("UPDATE entries SET body = '{' WHERE kind = 'tick'", "body"),
        ("UPDATE entries SET kind = 'brand-new' WHERE kind = 'transition'", "kind was changed"),
        ("UPDATE blobs SET data = x'00'", "blob"),
        ("DELETE FROM blobs", ""),
        ("DELETE FROM entries", "there is no entry"),
        ("UPDATE entries SET seq = seq + 100 WHERE seq > 30", "31"),
    ],
)
def test_whatever_was_done_to_it_it_opens_as_far_as_it_can(
    past: Path, tmp_path: Path, statement: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    strict = (
        "STRICT" in sqlite3.connect(past).execute("SELECT sql FROM sqlite_master WHERE name = 'entries'").fetchone()[0]
    )
    try:
        path = tampered(past, tmp_path / "t.db", statement)
    except sqlite3.IntegrityError:
        assert strict, "the table itself refuses it"
        return
    with Replay.open(path) as replay:
        for place in range(0, len(replay.index), 7):
            for moment in replay.approach(place):
                assert moment is None or moment.snapshot.timeline is not None
        assert not any(decision.differs for decision in replay.decisions()), "what cannot be read differs from nothing"
        episodes(replay.index)
    found = check(path)
    assert found.verified == (not says), found
    assert says in " ".join(found.problems)
    assert run(["review", str(path), "--plain"]) == 0
    told = capsys.readouterr()
    assert "Traceback" not in told.err + told.out
    assert ("NOT VERIFIED" in told.out) == bool(says)


@pytest.mark.parametrize("lost", [5_000, 20_000, 40_000])
def test_a_file_that_was_cut_short_shows_what_is_left_or_says_why_not(
    past: Path, tmp_path: Path, lost: int, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cut.db"
    path.write_bytes(past.read_bytes()[:-lost])
    code = run(["review", str(path), "--plain"])
    told = capsys.readouterr()
    assert "Traceback" not in told.out + told.err
    if code == 0:
        assert told.out.startswith("NOT VERIFIED")
    else:
        assert told.err.startswith("error: ")
        assert told.err.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("none.db", None, "there is no journal at"),
        ("list.db", b"this is not a database, it is a grocery list\n" * 50, "is broken"),
        ("other.jsonl", b'{"hello": "world"}\n' * 3, "holds no entry of a journal"),
        ("empty.jsonl", b"", "holds no entry of a journal"),
        ("http://hub.example/v1/entries", None, "a review reads files and asks no network"),
        ("folder", "folder", "holds no journal and is no bundle"),
    ],
)
def test_what_is_no_journal_is_said_in_a_line(
    tmp_path: Path, name: str, data: bytes | str | None, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(name) if ":" in name else tmp_path / name
    if isinstance(data, bytes):
        path.write_bytes(data)
    elif data == "folder":
        path.mkdir()
    assert run(["review", str(path), "--plain"]) in (1, 2)
    told = capsys.readouterr()
    assert says in told.err
    assert told.err.count("\n") == 1


def test_a_newer_programs_journal_opens_and_says_what_it_cannot_read(past: Path, tmp_path: Path) -> None:
    """A schema of tomorrow with a column more, entries of kinds that nobody here knows, and known kinds in newer
    forms: all signed as they should be."""
    path = tmp_path / "newer.db"
    shutil.copy(past, path)
    device = DeviceKey.from_seed(SEED)
    with Journal.open(path, device=device, clock=WallClock()) as journal:
        journal.append(incident("changed"))
        rows = list(journal.rows())
    lines = newer(rows[-1], device)
    connection = sqlite3.connect(path)
    for line in lines:
        connection.execute(INSERT, line)
    connection.execute("ALTER TABLE meta ADD COLUMN mood TEXT")
    connection.execute("PRAGMA user_version = 99")
    connection.commit()
    connection.close()
    with Replay.open(path) as replay:
        texts = [item.text for item in replay.index.items]
        assert any("an entry of the unknown kind hologram" in text for text in texts)
        assert any("a newer form of transition" in text for text in texts)
        last = replay.moment(len(replay.index) - 1)
        shown = next(each for each in last.again if str(each.deployment) == RANKER)
        assert shown.recorded == "?"
        assert "newer program" in shown.note
        assert [d.difference for d in replay.decisions()][-1] == "a newer program wrote it"
    found = check(path)
    assert found.verified, found.problems
    assert found.untold == 1
    assert any("newer program (schema 99)" in warning for warning in found.warnings)


def newer(last: object, device: DeviceKey) -> list[tuple[object, ...]]:
    """Two rows that go on where `last` ends, as a program of tomorrow would sign them."""
    from rollback_console.journal.chain import Row
    from rollback_console.journal.create import seal

    assert isinstance(last, Row)
    found: list[tuple[object, ...]] = []
    for kind, body, name in (
        ("hologram", '{"beam":"blue"}', ""),
        ("transition", '{"after":"simmering","at":1795190000,"warmth":3}', RANKER),
    ):
        last = seal(device, last.chain, last.seq + 1, (last.at + 1, last.mono + 1), (kind, body, name, ""), last.hash)
        found.append(tuple(last))
    return found


# ── a machine that has nothing

_NOTHING = """
import socket, sys
def refused(*_, **__):
    raise OSError("no network here")
socket.socket.connect = socket.socket.connect_ex = socket.create_connection = socket.getaddrinfo = refused
"""  # for machines that let nobody have a network namespace of their own: sockets that refuse


def test_it_works_without_network_configuration_home_or_keyring(past: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    alone = ["unshare", "--user", "--net", "--map-root-user"]
    try:
        has = subprocess.run([*alone, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        has = False
    (empty / "sitecustomize.py").write_text("" if has else _NOTHING)
    code = (
        "import sys\n"
        "from rollback_console.cli.main import run\n"
        "code = run(['review', sys.argv[1], '--json'])\n"
        "ours = ('engine.loop', 'engine.sampler', 'engine.backfill', 'observe', 'rehearse', 'tui', 'hub')\n"
        "heavy = ['keyring', 'httpx', 'requests', 'textual', 'mlflow', *('rollback_console.' + n for n in ours)]\n"
        "heavy = [n for n in heavy if n in sys.modules]\n"
        "print(heavy, file=sys.stderr)\n"
        "sys.exit(code)\n"
    )
    read_only = tmp_path / "media"
    read_only.mkdir()
    shutil.copy(past, read_only / "past.db")
    (read_only / "past.db").chmod(0o400)
    read_only.chmod(0o500)
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join([str(empty), *sys.path[1:]])}
    done = subprocess.run(
        [*(alone if has else ()), sys.executable, "-c", code, str(read_only / "past.db")],
        capture_output=True, text=True, check=False, cwd=empty, env=environment,
    )  # fmt: skip
    read_only.chmod(0o700)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "[]"
    told = json.loads(done.stdout)
    assert told["verified"] is True
    assert told["decisions"] == {"same": 4, "differ": [], "not_recomputed": 0}
    assert [each["id"] for each in told["incidents"]] == ["inc-1"]
    assert [entry["differs"] for entry in told["timeline"] if entry["kind"] == "transition"] == [False] * 4
    assert list(read_only.iterdir()) == [read_only / "past.db"], "and it leaves nothing behind"


# ── an engine that decides otherwise

_PLANTED = """
import sys
import rollback_console.decide.trigger as trigger
dwelt = trigger.dwelt
trigger.dwelt = lambda length, dwell: dwelt(length, dwell + {more})  # a minute more than the policy says
from rollback_console.cli.main import run
sys.exit(run(sys.argv[1:]))
"""


def planted(*words: str, more: float = 60.0) -> subprocess.CompletedProcess[str]:
    code = _PLANTED.replace("{more}", str(more))
    return subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)


def test_a_planted_difference_in_the_engine_is_flagged_where_it_decides_otherwise(past: Path) -> None:
    """An engine that lets a trigger dwell a minute longer comes to another decision at one entry: where it fired."""
    with Replay.open(past) as replay:
        fired = [replay.index.seqs[mark.place] for mark in replay.index.marks if mark.kind == "fired"]
    sound = planted("review", str(past), "--json", more=0.0)
    assert json.loads(sound.stdout)["decisions"] == {"same": 4, "differ": [], "not_recomputed": 0}
    done = planted("review", str(past), "--json")
    told = json.loads(done.stdout)
    assert told["verified"] is True, "what was signed was signed"
    assert [each["seq"] for each in told["decisions"]["differ"]] == fired
    assert told["decisions"]["same"] == 3
    assert "recorded 'fired', recomputed 'pending'" in told["decisions"]["differ"][0]["what"]
    assert [e["seq"] for e in told["timeline"] if e.get("differs")] == fired
    text = planted("review", str(past), "--plain").stdout
    assert "decisions made again: 3 the same, 1 otherwise" in text
    assert sum("≠ pending → fired" in line for line in text.splitlines()) == 1
    assert "1 decisions differ" in text
    verified = planted("journal", "verify", str(past), "--decisions", "--json")
    assert verified.returncode == 1
    problems = json.loads(verified.stdout)["problems"]
    assert [(each["seq"], each["what"]) for each in problems] == [(seq, "decision") for seq in fired]


def test_ticks_between_decisions_show_a_planted_difference_too(past: Path) -> None:
    """The way from `pending` on leads elsewhere, minute by minute, until the next recorded decision."""
    code = """
import sys
from pathlib import Path
import rollback_console.decide.trigger as trigger
dwelt = trigger.dwelt
trigger.dwelt = lambda length, dwell: dwelt(length, 60.0)
from rollback_console.review.replay import Replay
with Replay.open(Path(sys.argv[1])) as replay:
    places = replay.index.ticks.places
    print([n for n, place in enumerate(places) if any(a.differs for a in replay.moment(place).again)])
"""
    done = subprocess.run([sys.executable, "-c", code, str(past)], capture_output=True, text=True, check=True)
    with Replay.open(past) as replay:
        turns = {mark.kind: replay.index.ticks.until(mark.place) for mark in replay.index.marks}
    flagged = json.loads(done.stdout)
    assert flagged
    assert set(flagged) <= set(range(turns["pending"] + 1, turns["fired"])), "fired a minute after it was pending"
