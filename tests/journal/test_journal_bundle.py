"""A bundle verifies by its own script with stock tools alone, and no file of it can be changed unseen."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from journal_tools import (
    BLOB,
    CAMPAIGN,
    CHAIN,
    SAMPLES,
    START,
    copy,
    device,
    full_journal,
    new_journal,
    stored,
    unguarded,
)

from rollback_console.authorize.keys import PersonKey
from rollback_console.cli.main import run
from rollback_console.errors import InputError, JournalBroken, UsageError
from rollback_console.journal import bundle, merkle
from rollback_console.journal.against import Against
from rollback_console.journal.chain import Row, canonical, digest
from rollback_console.journal.create import seal
from rollback_console.journal.device import DeviceKey
from rollback_console.journal.hubstate import HubStore
from rollback_console.journal.kinds import Note, PolicyInForce, Requested
from rollback_console.journal.receipt import Receipt, leaf_of
from rollback_console.journal.rotate import rotate
from rollback_console.journal.signednote import Checkpoint, NoteKey
from rollback_console.journal.sources import open_source
from rollback_console.journal.store import Journal
from rollback_console.journal.verify import Verification, verify

HUB = NoteKey("hub.example/log", Ed25519PrivateKey.from_private_bytes(b"h" * 32))
BODIES = [body for body in SAMPLES if getattr(body, "person", None) is None]
LAST = len(BODIES) + 3
ADA = PersonKey.from_seed("tests", "ada")
GRACE = PersonKey.from_seed("tests", "grace")
BO = PersonKey.from_seed("tests", "bo")
ROSTER = b"the roster's own bytes, which only its reader understands"


def signers(data: bytes) -> list[bundle.Signer]:
    assert data == ROSTER
    return [
        bundle.Signer("ada", ADA.line),
        bundle.Signer("grace", GRACE.line, START - 60.0),
        bundle.Signer("bo", BO.line, START + 3600.0),
    ]


def request(key: PersonKey, reason: str = "conversion fell") -> Requested:
    told = {"execution": "x-1", "plan": digest(BLOB), "phrase": "p", "reason": reason}
    statement = canonical({"schema": "rollback-console/request/v1", "at": START, **told})
    return Requested(**told, plan_blob=digest(BLOB), person=key.sign(statement))


def journal(path: Path) -> Path:
    """Every kind that nobody signs, a recorded roster, a request that ada signed."""
    with new_journal(path) as opened:
        opened.put_blob(BLOB)
        roster = opened.put_blob(ROSTER)
        opened.append(PolicyInForce(what="roster", name="roster.yaml", version=1, digest=roster))
        for body in BODIES:
            opened.append(body, operator="ada")
        opened.append(request(ADA, "naïve ✓ {} \\ 'quoted'\n\ttwo lines"), operator="ada")
    return path


def receipt_of(chain: str, seq: int, hash_: str) -> Receipt:
    """As a hub with eleven other heads in its log would give it."""
    nodes: dict[tuple[int, int], bytes] = {}
    leaves = [f"other {n}".encode() for n in range(11)]
    at = round(START) * 10**9
    leaves.insert(4, leaf_of(chain, seq, hash_, at))

    def node(level: int, index: int) -> bytes:
        return nodes[level, index]

    for size, data in enumerate(leaves):
        for level, index, value in merkle.new_nodes(size, merkle.leaf_hash(data), node):
            nodes[level, index] = value
    note = HUB.sign(Checkpoint(HUB.name, 12, merkle.root_of(12, node)).text())
    return Receipt(chain, seq, hash_, at, 4, tuple(merkle.inclusion_proof(4, 12, node)), note)


def export(path: Path, output: Path, *, exporter: DeviceKey | None = None, receipts: bool = True) -> Path:
    with Journal.open_read_only(path) as reader:
        found = [(HUB.vkey, receipt_of(reader.chain, *reader.head()))] if receipts else []
        bundle.write(reader, output, roster=signers, exporter=exporter or device(), receipts=found)
    return output


def unpack(archive: Path, folder: Path) -> Path:
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    (inside,) = folder.iterdir()
    return inside


def script(folder: Path, name: str = "verify.sh") -> subprocess.CompletedProcess[str]:
    """No arguments, from its own folder, with /usr/bin and /bin and nothing else of the environment."""
    return subprocess.run(
        ["/bin/sh", name], cwd=folder, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, timeout=120
    )


def python(archive: Path) -> Verification:
    source = open_source(archive)
    return verify(source.rows, blobs=source.blobs, others=source.others, against=Against(source.witnesses))


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    return export(journal(folder / "journal.db"), folder / "journal.tar")


@pytest.fixture(scope="module")
def folder(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack(archive, tmp_path_factory.mktemp("unpacked"))


@pytest.fixture
def own(folder: Path, tmp_path: Path) -> Path:
    """A folder of the bundle for a test to tamper with."""
    return Path(shutil.copytree(folder, tmp_path / "own"))


def test_the_script_verifies_an_untouched_bundle(folder: Path) -> None:
    done = script(folder)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    entries = LAST
    assert f"OK: {entries} entries of the chain {CHAIN}" in done.stdout
    assert f"{entries} entries: every hash made again, every link followed, 2 signatures of the device" in done.stdout
    assert "1 signatures of people, 0 of them by people whom no recorded roster names" in done.stdout
    assert "2 blobs are what their names say" in done.stdout
    assert f"the hub hub.example/log saw entry {entries} at 2025-11-20T08:42:33Z (its key: {HUB.vkey})" in done.stdout
    assert device().fingerprint() in done.stdout
    assert "is signed by whoever exported it" in done.stdout
    every = script(folder, "verify-every-signature.sh")
    assert (every.returncode, f"{entries} signatures of the device" in every.stdout) == (0, True), every.stdout
    assert script(folder).stdout == done.stdout  # it left nothing behind


def test_it_is_the_same_bytes_every_time(archive: Path, tmp_path: Path) -> None:
    again = export(archive.with_name("journal.db"), tmp_path / "again.tar")
    assert again.read_bytes() == archive.read_bytes()


def test_journal_verify_reads_a_bundle(archive: Path) -> None:
    found = python(archive)
    assert (found.ok, found.entries, found.problems) == (True, LAST, ())
    assert (found.blobs_missing, found.witnessed) == (0, 1)
    assert list(open_source(archive).rows) == rows_of(archive.with_name("journal.db"))  # type: ignore[arg-type]


def rows_of(path: Path) -> list[object]:
    with Journal.open_read_only(path) as reader:
        return list(reader.rows())


def files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def _packed(folder: Path, archive: Path) -> Path:
    with tarfile.open(archive, "w") as tar:
        tar.add(folder, arcname="journal-x")
    return archive


def test_every_file_of_it_flipped_is_found_and_named(own: Path, tmp_path: Path) -> None:
    """One flipped bit in each file: the script and `journal verify` both say no, and which file."""
    dice = random.Random(4)
    names = [path.relative_to(own).as_posix() for path in files(own)]
    assert {"MANIFEST.sha256", "MANIFEST.sha256.sig", "README.md", "verify.sh", "allowed_signers"} <= set(names)
    for name in names:
        for _ in range(20 if CAMPAIGN else 1):
            path = own / name
            good = path.read_bytes()
            flipped = bytearray(good)
            flipped[dice.randrange(len(good))] ^= 1 << dice.randrange(8)
            path.write_bytes(flipped)
            if (
                name == "verify.sh"
            ):  # a script cannot be trusted to judge itself: the sum that it would print is what counts
                done = subprocess.run(["sha256sum", "-c", "--strict", "MANIFEST.sha256"], cwd=own, capture_output=True)
                assert done.returncode == 1
            else:
                done = script(own)
                assert done.returncode == 1, (name, done.stdout)
                assert "BAD" in done.stdout
                assert "NOT OK" in done.stdout
                assert name in done.stdout or name.startswith("MANIFEST"), (name, done.stdout)
            found = python(_packed(own, tmp_path / "flipped.tar"))
            assert not found.ok, name
            path.write_bytes(good)
    assert script(own).returncode == 0


def test_files_added_and_taken_away_are_found(own: Path) -> None:
    (own / "blobs" / "extra").write_text("x")
    assert "blobs/extra is not in the manifest: it was added" in script(own).stdout
    (own / "blobs" / "extra").unlink()
    (own / "receipts" / "0001.json").unlink()
    assert "receipts/0001.json is in the manifest and not here" in script(own).stdout


def _resum(folder: Path) -> None:
    """As somebody would who makes the manifest anew, without the exporter's key."""
    names = sorted(path.relative_to(folder).as_posix() for path in files(folder) if "MANIFEST" not in path.name)
    lines = [f"{digest((folder / name).read_bytes())}  {name}\n" for name in names]
    (folder / "MANIFEST.sha256").write_text("".join(lines))


def _change(folder: Path, end: str, line: int, change: object) -> None:
    (path,) = folder.glob(f"entries/*.{end}")
    lines = path.read_bytes().split(b"\n")
    assert callable(change)
    lines[line - 1 : line] = change(lines[line - 1])
    path.write_bytes(b"\n".join(lines))


TAMPERED = {
    "a body": (("bodies", 9, lambda line: [line.replace(b"x", b"y", 1) + b" "]), "entry 9: its body is not the one"),
    "an envelope's operator": (
        ("envelopes", 5, lambda line: [line.replace(b'"ada"', b'"eve"')]),
        "entry 6 does not follow the one before",
    ),
    "an envelope's number": (
        ("envelopes", 5, lambda line: [line.replace(b'"seq":5', b'"seq":6')]),
        "entry 5 is not in its",
    ),
    "another chain": (
        ("envelopes", 5, lambda line: [line.replace(CHAIN.encode(), b"other")]),
        "entry 5 is of another chain",
    ),
    "a signature": (("signatures", 1, lambda line: [b"A" * 86 + b"=="]), "the device did not sign entry 1"),
    "a line that is no JSON": (("envelopes", 7, lambda line: [b"x"]), "entry 7"),
    "an entry less": (("envelopes", 7, lambda line: []), "entry 7 is not in its place"),
    "an entry twice": (("envelopes", 7, lambda line: [line, line]), "entry 8 is not in its place"),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_a_changed_entry_is_found_without_the_manifest(own: Path, what: str) -> None:
    """The manifest made anew and its signature taken out: the chain itself says which entry."""
    change, said = TAMPERED[what]
    _change(own, *change)
    (own / "MANIFEST.sha256.sig").unlink()
    allowed = own / "allowed_signers"
    allowed.write_text(
        "".join(line for line in allowed.read_text().splitlines(True) if not line.startswith("exporter"))
    )
    _resum(own)
    done = script(own)
    assert (done.returncode, said in done.stdout) == (1, True), done.stdout
    assert "note MANIFEST.sha256 is not signed" in done.stdout


def test_a_cut_off_end_is_found_by_the_receipt(own: Path, tmp_path: Path) -> None:
    for end in ("bodies", "envelopes", "signatures"):
        (path,) = own.glob(f"entries/*.{end}")
        path.write_bytes(b"".join(path.read_bytes().splitlines(True)[:12]))
    about = json.loads((own / "bundle.json").read_text())
    hashes = [json.loads(line)["prev"] for line in next(own.glob("entries/*.envelopes")).read_text().splitlines()]
    assert len(hashes) == 12
    head = subprocess.run("tail -n 1 entries/*.envelopes | tr -d '\\n' | sha256sum | cut -c1-64", shell=True, cwd=own,
                          capture_output=True, text=True).stdout.strip()  # fmt: skip
    about |= {"entries": 12, "first": 1, "head": {"seq": 12, "hash": head}}
    (own / "bundle.json").write_text(json.dumps(about))
    _resum(own)
    done = script(own)
    assert done.returncode == 1
    assert f"the hub saw entry {LAST}, and the entries here end at 12: the end was cut off" in done.stdout
    assert "the signature over MANIFEST.sha256 does not hold" in done.stdout
    found = python(_packed(own, tmp_path / "cut.tar"))
    assert [problem.what for problem in found.problems] == ["bundle", "truncated"]
    assert found.first_bad_seq == 13
    about["head"]["seq"] = 13
    (own / "bundle.json").write_text(json.dumps(about))
    assert any("names another head" in str(problem) for problem in python(_packed(own, tmp_path / "cut.tar")).problems)


@pytest.mark.parametrize("change", ["hash", "index", "proof", "checkpoint", "at"])
def test_a_forged_receipt_does_not_hold(own: Path, tmp_path: Path, change: str) -> None:
    path = own / "receipts" / "0001.json"
    document = json.loads(path.read_text())
    receipt = document["receipt"]
    receipt |= {
        "hash": {"hash": "0" * 64}, "index": {"index": 5}, "at": {"at": receipt["at"][:-1] + "1"},
        "proof": {"proof": receipt["proof"][1:]},
        "checkpoint": {"checkpoint": receipt["checkpoint"].replace("\n12\n", "\n13\n")},
    }[change]  # fmt: skip
    path.write_text(json.dumps(document))
    _resum(own)
    done = script(own)
    assert (done.returncode, "BAD  receipts/0001.json" in done.stdout) == (1, True), done.stdout
    assert any(
        "receipts/0001.json does not hold" in str(each) for each in python(_packed(own, tmp_path / "f")).problems
    )


def test_people_are_checked_against_the_recorded_roster(tmp_path: Path) -> None:
    """Whose key the roster gave somebody else, whose time was over, whose statement is not what was signed."""
    stranger = PersonKey.from_seed("tests", "\x1b[31mhedy")
    thief = PersonKey.from_seed("thief", "ada")
    with new_journal(tmp_path / "j.db") as opened:
        opened.append(PolicyInForce(what="roster", name="r", version=1, digest=opened.put_blob(ROSTER)))
        opened.append(request(ADA))
        opened.append(request(GRACE))  # her key was valid until a minute before
        opened.append(request(thief))
        opened.append(request(stranger))
        forged = request(ADA)
        assert forged.person is not None
        opened.append(forged.model_copy(update={"person": forged.person.model_copy(update={"statement": "other"})}))
        opened.append(forged.model_copy(update={"reason": "another reason"}))
        opened.append(request(BO))  # whose key is valid for an hour to come: nothing is said of it
    done = script(unpack(export(tmp_path / "j.db", tmp_path / "j.tar", receipts=False), tmp_path / "u"))
    lines = [line for line in done.stdout.splitlines() if "entry" in line]
    assert done.returncode == 1
    assert [line[:13] for line in lines] == [
        "BAD  entry 4:", "BAD  entry 5:", "note entry 6:", "BAD  entry 7:", "BAD  entry 7:", "BAD  entry 8:",
    ]  # fmt: skip
    assert "entry 8: its reason is not what ada signed" in lines[5]
    assert "a key that the recorded rosters do not give grace then" in lines[0]
    assert stranger.fingerprint in lines[2]
    assert ("[31mhedy" in lines[2], "\x1b" in done.stdout) == (True, False)


def test_several_ranges_and_what_text_may_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "RANGE", 7)
    odd = "é \x1b[31m \U0001f602 \t \\ \" ' $(id) `id` %s \u2028 \x7f \0 \uffff " + "x" * 9_000
    with new_journal(tmp_path / "j.db") as opened:
        for number in range(30):
            opened.append(Note(text=f"{odd[: number * 300]}\n{odd}"), operator=odd[:40], deployment="a/b")
    archive = export(tmp_path / "j.db", tmp_path / "j.tar", receipts=False)
    done = script(inside := unpack(archive, tmp_path / "u"))
    assert (done.returncode, "31 entries: every hash" in done.stdout, "6 signatures of the device" in done.stdout) == (
        0, True, True,
    ), done.stdout  # fmt: skip
    assert len(list(inside.glob("entries/*.envelopes"))) == 5
    assert python(archive).ok
    one = inside / "entries" / "000000015-000000021.bodies"
    one.write_bytes(one.read_bytes().replace(b"xxx", b"xyx", 1))
    assert "entry 15: its body is not the one that was signed" in script(inside).stdout
    found = python(_packed(inside, tmp_path / "t.tar"))
    assert (found.first_bad_seq, found.problems[0].what) == (15, "changed")


def test_a_chain_in_several_files_is_one_bundle(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    with new_journal(path) as opened:
        for number in range(3):
            opened.append(PolicyInForce(what="policy", name="p", version=1, digest=opened.put_blob(b"%d" % number)))
            if number < 2:
                rotate(opened)
    archive = export(path, tmp_path / "j.tar")
    done = script(inside := unpack(archive, tmp_path / "u"))
    assert (done.returncode, "6 entries: every hash" in done.stdout) == (0, True), done.stdout
    assert sorted(file.read_bytes() for file in (inside / "blobs").iterdir()) == [b"0", b"1", b"2"]
    found = python(archive)
    assert (found.ok, found.entries, found.blobs_missing) == (True, 6, 0)


class _Rows:
    """A journal whose earlier files are not here, as a bundle reads it."""

    chain, device, rehearsal = CHAIN, device().public_openssh(), True

    def __init__(self, rows: list[Row]) -> None:
        self._rows = rows

    def rows(self) -> Iterator[Row]:
        return iter(self._rows)

    def blob_digests(self) -> list[str]:
        return []

    def get_blob(self, digest: str) -> bytes | None:
        return None


def test_a_chain_whose_earlier_files_are_not_here(tmp_path: Path) -> None:
    """It begins with an entry that names the last one of the file before."""
    prev = "ab" * 32
    about = {
        "v": 1, "chain": CHAIN, "device": device().public_openssh(), "program": "p", "rehearsal": True, "number": 2,
        "before": "1-40.db", "digest": "cd" * 32, "first_seq": 1, "last_seq": 40, "last": prev,
    }  # fmt: skip
    made = []
    for seq in range(41, 49):
        kind, body = ("segment", canonical(about).decode()) if seq == 41 else ("note", '{"text":"x","v":1}')
        made.append(seal(device(), CHAIN, seq, (round(START) * 10**9 + seq, seq), (kind, body, "", ""), prev))
        prev = made[-1].hash
    receipts = [(HUB.vkey, receipt_of(CHAIN, 20, "ef" * 32)), (HUB.vkey, receipt_of(CHAIN, 45, made[4].hash))]
    bundle.write(_Rows(made), tmp_path / "j.tar", roster=signers, exporter=device(), receipts=receipts)
    done = script(inside := unpack(tmp_path / "j.tar", tmp_path / "u"))
    assert done.returncode == 0, done.stdout
    assert "note entries 1 to 40 are in files that are not here" in done.stdout
    assert "ok   8 entries: every hash" in done.stdout
    assert "note receipts/0001.json is for entry 20, which is not here" in done.stdout
    assert "saw entry 45 at" in done.stdout
    _change(inside, "bodies", 3, lambda line: [line + b" "])
    assert "entry 43: its body is not the one that was signed" in script(inside).stdout


def test_reading_a_changed_bundle_names_the_entry_and_the_column(own: Path, tmp_path: Path) -> None:
    def found(end: str, line: int, change: object) -> tuple[int | None, str | None, str]:
        fresh = Path(shutil.copytree(own, tmp_path / f"{end}{line}"))
        _change(fresh, end, line, change)
        result = python(_packed(fresh, tmp_path / "t.tar"))
        return result.first_bad_seq, result.problems[0].what, result.problems[0].message

    assert found("envelopes", 5, lambda line: [line.replace(b'"ada"', b'"eve"')])[:2] == (5, "changed")
    assert found("envelopes", 6, lambda line: [line.replace(b'"prev":"', b'"prev":"0', 1)])[:2] == (6, "changed")
    assert found("bodies", 9, lambda line: [line + b" "])[:2] == (9, "changed")
    assert found("signatures", 9, lambda line: [b"A" * 86 + b"=="])[:2] == (9, "re-signed")
    assert found("envelopes", 7, lambda line: [b"x"])[1:][0] == "bundle"


def test_a_bundle_of_a_bad_journal_says_so_itself(tmp_path: Path) -> None:
    path = copy(full_journal(tmp_path / "a.db"), tmp_path / "b.db")
    connection = unguarded(path)
    connection.execute("UPDATE entries SET operator = 'mallory' WHERE seq = 6")
    connection.close()
    done = script(unpack(export(path, tmp_path / "b.tar", receipts=False), tmp_path / "u"))
    assert (done.returncode, "entry 7 does not follow the one before" in done.stdout) == (1, True), done.stdout
    connection = unguarded(path)
    assert stored(connection)
    connection.execute("UPDATE entries SET body = body || x'0a' WHERE seq = 6")
    connection.close()
    with pytest.raises(JournalBroken, match="entry 6 is not one line"), Journal.open_read_only(path) as reader:
        bundle.write(reader, tmp_path / "c.tar", roster=signers)
    assert not (tmp_path / "c.tar").exists()


def test_what_is_no_bundle(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    with pytest.raises(InputError, match="an archive and no bundle"):
        open_source(_packed(tmp_path / "x", tmp_path / "x.tar"))
    (tmp_path / "cut.tar").write_bytes(archive.read_bytes()[:5000])
    with pytest.raises(InputError, match="cannot be read as an archive"):
        open_source(tmp_path / "cut.tar")
    with Journal.open_read_only(archive.with_name("journal.db")) as reader, pytest.raises(UsageError, match="exists"):
        bundle.write(reader, archive, roster=signers)


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    path = journal(tmp_path / "journal.db")
    assert run(["journal", "export", "--journal", str(path), "--format", "bundle"]) == 2
    assert "--output PATH" in capfd.readouterr().err
    out = tmp_path / "j.tar"
    assert run(["journal", "export", "--journal", str(path), "--format", "bundle", "--output", str(out)]) == 0
    assert "no device key: the list of the bundle's files is not signed" in capfd.readouterr().err
    assert run(["journal", "verify", str(out)]) == 0
    assert script(unpack(out, tmp_path / "u")).returncode == 0
    DeviceKey.default()
    with Journal.open_read_only(path) as reader:
        receipt = receipt_of(CHAIN, *reader.head())
    store = HubStore(path, HUB.vkey)  # the console's own, beside the journal
    store.proven(receipt, receipt.at)
    store.close()
    assert (
        run(["journal", "export", "--journal", str(path), "--format", "bundle", "--output", str(out), "--force"]) == 0
    )
    done = script(unpack(out, tmp_path / "v"))
    assert (done.returncode, f"exported it: {DeviceKey.default().fingerprint()}" in done.stdout) == (0, True), (
        done.stdout
    )
    assert f"the hub hub.example/log saw entry {LAST}" in done.stdout
    raw = bytearray(out.read_bytes())
    raw[raw.index(b'"kind":"note"') + 9] ^= 1
    out.write_bytes(raw)
    capfd.readouterr()
    assert run(["journal", "verify", str(out), "--json"]) == 1
    found = json.loads(capfd.readouterr().out)
    assert {problem["what"] for problem in found["problems"]} == {"changed", "bundle"}
