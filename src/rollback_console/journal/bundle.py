"""A journal as one archive that a stranger verifies with a shell: `recipe/verify.sh` inside it, and stock tools.

The archive is a plain tar, the same bytes for the same journal and exporter. Entries stand in ranges of RANGE, each in
three files of a line an entry: envelopes and bodies as their exact bytes, signatures in base64. `bundle_reading` reads
it back. recipe/README.md, which goes along, says what each file is and what the whole shows.
"""

from __future__ import annotations

import base64
import io
import json
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import resources
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from rollback_console.authorize import sshsig
from rollback_console.errors import JournalBroken
from rollback_console.journal import chain as chains
from rollback_console.journal.chain import SECOND, Row
from rollback_console.journal.device import DeviceKey, public_key
from rollback_console.journal.export import whole_file
from rollback_console.journal.receipt import Receipt
from rollback_console.model.value import dataclass

FORMAT = "rollback-console/bundle/v1"
NAMESPACE = "rollback-console-bundle"  # of the exporter's signature over the manifest
PERSONS = "rollback-console"  # of people's signatures: `authorize.keys.NAMESPACE`
RANGE = 2000
EXPORTER = "exporter"
MANIFEST = "MANIFEST.sha256"
SCRIPTS = ("verify.sh", "verify-every-signature.sh")
_PLAIN = re.compile(r"[A-Za-z0-9_-]+")


class Reader(Protocol):
    """What a bundle is made from: a journal opened for reading."""

    chain: str
    device: str
    rehearsal: bool

    def rows(self) -> Iterator[Row]: ...

    def blob_digests(self) -> Iterable[str]: ...

    def get_blob(self, digest: str) -> bytes | None: ...


@dataclass(frozen=True, slots=True)
class Signer:
    """A person's key as a recorded roster has it: `line` in OpenSSH's form; `until` in Unix seconds, None for ever."""

    operator: str
    line: str
    until: float | None = None


Roster = Callable[[bytes], Iterable[Signer]]  # the signers of a roster's bytes; none where they cannot be read


def write(
    reader: Reader, output: Path, *, roster: Roster, exporter: DeviceKey | None = None,
    receipts: Sequence[tuple[str, Receipt]] = (), force: bool = False,
) -> int:  # fmt: skip
    """Write the bundle, whole or not at all: how many entries. `receipts` are (the hub's vkey, receipt); `exporter`
    signs the list of files, None leaves it unsigned. Memory grows with the number of blobs, not with the entries.

    Raises UsageError when `output` exists and `force` is not given, JournalUnwritable when it cannot be written,
    JournalBroken for a journal that no bundle can hold: then `--format jsonl` takes it as it is.
    """
    with (
        whole_file(output, force=force) as file,
        tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        made = _Bundle(tar, reader)
        return made.write(roster, exporter, receipts)


class _Bundle:
    """The archive as it grows."""

    def __init__(self, tar: tarfile.TarFile, reader: Reader) -> None:
        self._tar, self._reader = tar, reader
        name = reader.chain[:12]
        self._folder = f"journal-{name}" if _PLAIN.fullmatch(name) else "journal"
        self._sums: dict[str, str] = {}
        self._rosters: list[str] = []
        self._time = 0  # of every file: the first entry's, whole seconds

    def write(self, roster: Roster, exporter: DeviceKey | None, receipts: Sequence[tuple[str, Receipt]]) -> int:
        rows = self._reader.rows()
        first = next(rows, None)
        if first is None:
            raise JournalBroken("the journal has no entry", "see `rollback-console journal verify`")
        self._time = max(0, first.at // SECOND)
        recipe = resources.files("rollback_console.journal") / "recipe"
        self._add("README.md", (recipe / "README.md").read_bytes())
        for script in SCRIPTS:
            self._add(script, (recipe / script).read_bytes(), 0o755)
        head = self._entries(first, rows)
        self._blobs()
        self._keys(roster, exporter)
        for number, (vkey, receipt) in enumerate(receipts, 1):
            self._add(f"receipts/{number:04}.json", _json({"hub": vkey, "receipt": receipt.to_json()}))
        about = {
            "format": FORMAT, "chain": self._reader.chain, "rehearsal": self._reader.rehearsal,
            "entries": head.seq - first.seq + 1, "first": first.seq,
            "head": {"seq": head.seq, "hash": head.hash}, "range": RANGE,
        }  # fmt: skip
        self._add("bundle.json", _json(about))
        manifest = "".join(f"{self._sums[name]}  {name}\n" for name in sorted(self._sums)).encode()
        self._add(MANIFEST, manifest)
        if exporter is not None:
            blob = sshsig.parse_line(exporter.public_openssh())
            self._add(f"{MANIFEST}.sig", sshsig.sign(manifest, NAMESPACE, blob, exporter.sign).encode())
        return head.seq - first.seq + 1

    def _entries(self, first: Row, rows: Iterator[Row]) -> Row:
        """All of them, a range at a time; the last one."""
        last, batch = first, [first, *islice(rows, RANGE - 1)]
        while batch:
            envelopes, bodies, signatures = io.BytesIO(), io.BytesIO(), io.BytesIO()
            for row in batch:
                body, envelope = _exact(row)
                envelopes.write(envelope + b"\n")
                bodies.write(body + b"\n")
                signatures.write(base64.b64encode(row.signature) + b"\n")
                self._look(row)
            last = batch[-1]
            stem = f"entries/{batch[0].seq:09}-{last.seq:09}"
            for end, data in (("bodies", bodies), ("envelopes", envelopes), ("signatures", signatures)):
                self._add(f"{stem}.{end}", data.getvalue())
            batch = list(islice(rows, RANGE))
        return last

    def _look(self, row: Row) -> None:
        """Keep the digest of a roster that the entry records."""
        if row.kind == "policy" and '"what":"roster"' in row.body:
            body = json.loads(row.body)
            if isinstance(body, dict) and body.get("what") == "roster" and body.get("digest") not in self._rosters:
                self._rosters.append(str(body["digest"]))

    def _blobs(self) -> None:
        for digest in self._reader.blob_digests():
            data = self._reader.get_blob(digest)
            if data is not None:
                self._add(f"blobs/{digest}", data)

    def _keys(self, roster: Roster, exporter: DeviceKey | None) -> None:
        key = public_key(self._reader.device)
        self._add("device.pub", f"{self._reader.device}\n".encode())
        self._add("device.pem", key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        lines = []
        if exporter is not None:
            lines.append(f'{EXPORTER} namespaces="{NAMESPACE}" {exporter.public_openssh()}')
        blobs = (self._reader.get_blob(digest) for digest in self._rosters)
        signers = {signer: None for data in blobs if data is not None for signer in roster(data)}
        lines += [_allowed(signer) for signer in signers if signer.operator != EXPORTER]
        self._add("allowed_signers", "".join(f"{line}\n" for line in lines).encode())

    def _add(self, name: str, data: bytes, mode: int = 0o644) -> None:
        info = tarfile.TarInfo(f"{self._folder}/{name}")
        info.size, info.mode, info.mtime = len(data), mode, self._time
        self._tar.addfile(info, io.BytesIO(data))
        self._sums[name] = chains.digest(data)


def _exact(row: Row) -> tuple[bytes, bytes]:
    """(body, envelope) as their bytes. Raises JournalBroken where they are not a line each."""
    if column := chains.malformed(row):
        raise JournalBroken(f"entry {row.seq} has no proper {column}, so no bundle can hold it", _AS_IT_IS)
    try:
        body = row.body.encode()
        envelope = chains.envelope(
            row.chain, row.seq, row.at, row.mono, row.kind, row.deployment, row.operator, body, row.prev
        )
    except UnicodeEncodeError as error:
        raise JournalBroken(f"entry {row.seq} is not UTF-8, so no bundle can hold it", _AS_IT_IS) from error
    if b"\n" in body:
        raise JournalBroken(f"the body of entry {row.seq} is not one line, so no bundle can hold it", _AS_IT_IS)
    return body, envelope


_AS_IT_IS = "see `rollback-console journal verify`; `--format jsonl` takes the journal as it is"


def _allowed(signer: Signer) -> str:
    """A line of `allowed_signers` (ssh-keygen(1)). Names are quoted there as in no shell, so only plain ones pass."""
    until = ""
    if signer.until is not None:
        from datetime import UTC, datetime

        until = f',valid-before="{datetime.fromtimestamp(signer.until, UTC):%Y%m%d%H%M%S}"'
    key = " ".join(signer.line.split()[:2])
    return f'{signer.operator} namespaces="{PERSONS}"{until} {key}'


def _json(value: Any) -> bytes:
    return chains.canonical(value) + b"\n"
