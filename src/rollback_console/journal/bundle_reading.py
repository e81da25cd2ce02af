"""A bundle read back without unpacking it: its rows for `verify`, its blobs, and whatever else is wrong with it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from rollback_console.authorize import sshsig
from rollback_console.errors import ConsoleError, InputError
from rollback_console.journal import chain as chains
from rollback_console.journal.against import Witness
from rollback_console.journal.bundle import EXPORTER, MANIFEST, NAMESPACE
from rollback_console.journal.chain import Row
from rollback_console.journal.device import public_key, signed_by
from rollback_console.journal.receipt import Receipt, check

_LARGEST = 1 << 30  # bytes of one file that are read at once
_LINE = re.compile(r"([0-9a-f]{64})  ([A-Za-z0-9._/-]+)")
_HASH = re.compile(r"[0-9a-f]{64}")
_CHUNK = 1 << 20


class Files(Protocol):
    """The files of a bundle by their names below its folder: in an archive, or unpacked."""

    @property
    def sizes(self) -> Mapping[str, int]: ...

    def open(self, name: str) -> IO[bytes] | None: ...


class Bundle:
    """What `bundle.write` made, or something that was made to look like it."""

    def __init__(self, path: Path, files: Files, odd: list[str]) -> None:
        self._path, self._files, self._members, self._odd = path, files, files.sizes, odd
        self._unread: list[str] = []
        self._key: Ed25519PublicKey | None = None
        self._last: Row | None = None
        self._count = 0

    def rows(self) -> Iterator[Row]:
        """The entries in order. A line that is none ends them, and `problems` says so."""
        number = 1
        waiting: Row | None = None
        try:
            for stem in sorted(n.removesuffix(".envelopes") for n in self._members if n.endswith(".envelopes")):
                files = [self._lines(f"{stem}.{end}") for end in ("envelopes", "bodies", "signatures")]
                for envelope, body, signature in zip(*files, strict=True):
                    row = _row(envelope, body, signature)
                    if waiting is not None:
                        yield self._as_stored(waiting, row.prev)
                    waiting, number = row, number + 1
                    self._last, self._count = row, self._count + 1
        except (ValueError, KeyError, TypeError) as error:  # UnicodeDecodeError and binascii.Error are ValueErrors
            self._unread.append(f"entry {number} cannot be read from it ({error}); nothing after it was looked at")
        if waiting is not None:
            yield waiting

    def _as_stored(self, row: Row, prev: str) -> Row:
        """An entry's hash stands in the next one's `prev`. Where that is not what its envelope hashes to, the one that
        the device signed is the true one: `verify` then says which of the two was changed."""
        if self._key is None:
            try:
                self._key = public_key(str(json.loads(row.body)["device"]))
            except (ValueError, KeyError, TypeError, ConsoleError):
                return row
        if prev != row.hash and _HASH.fullmatch(prev) and signed_by(self._key, prev, row.signature):
            return row._replace(hash=prev)
        return row

    @property
    def count(self) -> int:
        """How many entries it says that it holds; 0 where it does not say."""
        try:
            return int(json.loads(self._text("bundle.json"))["entries"])
        except (ValueError, KeyError, TypeError, ConsoleError):
            return 0

    def blob(self, digest: str) -> bytes | None:
        """As `verify` asks: None where there is none, ValueError where the bytes are not the digest's."""
        if f"blobs/{digest}" not in self._members:
            return None
        data = self._read(f"blobs/{digest}")
        if chains.digest(data) != digest:
            raise ValueError("is not what its digest says")
        return data

    def witnesses(self) -> tuple[Witness, ...]:
        """The receipts that came with it, each by the key that came with it; those that do not hold are problems."""
        found = []
        for name in sorted(name for name in self._members if name.startswith("receipts/")):
            try:
                document = json.loads(self._read(name))
                receipt, vkey = Receipt.from_json(document["receipt"]), str(document["hub"])
                check(receipt, [vkey])
            except (ValueError, KeyError, TypeError) as error:
                self._unread.append(f"{name} does not hold ({error})")
                continue
            source = f"the hub {vkey.partition('+')[0]} (its key: {vkey})"
            found.append(Witness(receipt.chain, receipt.seq, receipt.hash, source))
        return tuple(found)

    def problems(self) -> Iterator[str]:
        """What is wrong beside the entries: files that were changed, added or removed, keys, the exporter's
        signature."""
        yield from self._unread
        yield from self._odd
        if MANIFEST not in self._members:
            yield f"{MANIFEST} is not in it"
            return
        manifest = self._read(MANIFEST)
        listed = {}
        for line in manifest.decode("utf-8", "replace").removesuffix("\n").split("\n"):
            if match := _LINE.fullmatch(line):
                listed[match[2]] = match[1]
            else:
                yield f"{MANIFEST} has a line that is no sum"
        if not manifest.endswith(b"\n"):
            yield f"{MANIFEST} does not end with its last line"
        for name in sorted(self._members.keys() | listed.keys()):
            if name in (MANIFEST, f"{MANIFEST}.sig"):
                continue
            if name not in listed:
                yield f"{name} is not in the manifest: it was added"
            elif name not in self._members:
                yield f"{name} is in the manifest and not here"
            elif self._sum(name) != listed[name]:
                yield f"{name} is not the file that was put in"
        yield from self._signed(manifest)
        yield from self._facts()

    def _signed(self, manifest: bytes) -> Iterator[str]:
        lines = self._text("allowed_signers").splitlines()
        exporters = [line.split()[-2:] for line in lines if line.startswith(f"{EXPORTER} ")]
        name = f"{MANIFEST}.sig"
        if name not in self._members:
            if exporters:
                yield f"{name} is gone: allowed_signers names who signed it"
            return
        try:
            blob = sshsig.verify(manifest, NAMESPACE, self._text(name))
            if blob not in [sshsig.parse_line(" ".join(words)) for words in exporters]:
                yield f"{MANIFEST} is signed by another key than the exporter's"
        except (ConsoleError, ValueError) as error:
            yield f"the signature over {MANIFEST} does not hold ({error})"

    def _facts(self) -> Iterator[str]:
        if self._key is None:
            return
        openssh = self._key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
        if self._text("device.pub").split()[:2] != openssh.split():
            yield "device.pub is not the key in the first entry"
        pem = self._key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        if self._text("device.pem") != pem:
            yield "device.pem is not the key in the first entry"
        try:
            about = json.loads(self._text("bundle.json"))
            head = (about["chain"], about["entries"], about["head"]["seq"], about["head"]["hash"])
        except (ValueError, KeyError, TypeError):
            yield "bundle.json cannot be read"
            return
        last = self._last
        if last is not None and head != (last.chain, self._count, last.seq, last.hash):
            yield "bundle.json names another head: entries were cut off at the end, or added"

    def _text(self, name: str) -> str:
        return self._read(name).decode("utf-8", "replace") if name in self._members else ""

    def _lines(self, name: str) -> list[bytes]:
        data = self._read(name)
        if not data.endswith(b"\n"):
            raise ValueError(f"{name} does not end with its last line")
        return data[:-1].split(b"\n")

    def _read(self, name: str) -> bytes:
        if self._members[name] > _LARGEST:
            raise InputError(f"{self._path}: {name} is larger than {_LARGEST} bytes", "unpack it and run verify.sh")
        file = self._files.open(name)
        if file is None:
            return b""
        with file:
            return file.read()

    def _sum(self, name: str) -> str:
        """By pieces: a file may be large."""
        file = self._files.open(name)
        sum_ = hashlib.sha256()
        if file is not None:
            with file:
                while data := file.read(_CHUNK):
                    sum_.update(data)
        return sum_.hexdigest()


class _Packed:
    """The files of an archive."""

    def __init__(self, tar: tarfile.TarFile, members: dict[str, tarfile.TarInfo]) -> None:
        self._tar, self._members = tar, members
        self.sizes: Mapping[str, int] = {name: member.size for name, member in members.items()}

    def open(self, name: str) -> IO[bytes] | None:
        return self._tar.extractfile(self._members[name])


class _Unpacked:
    """The files of a folder; what is neither a file nor a folder is odd, and is not opened."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.odd: list[str] = []
        sizes: dict[str, int] = {}
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                self.odd.append(f"{name} is neither a file nor a folder")
            elif path.is_file():
                sizes[name] = path.stat().st_size
        self.sizes: Mapping[str, int] = sizes

    def open(self, name: str) -> IO[bytes] | None:
        return (self._folder / name).open("rb")


def open_bundle(path: Path) -> Bundle:
    """Raises InputError where the archive cannot be read as one."""
    try:
        tar = tarfile.open(path, mode="r:")  # noqa: SIM115 - it is open as long as the bundle is read
        members, odd = _members(tar)
    except (tarfile.TarError, OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as an archive ({error})", "fetch it again") from error
    if not any(name.startswith("entries/") for name in members):
        raise InputError(
            f"{path} is an archive and no bundle of a journal", "`journal export --format bundle` makes one"
        )
    return Bundle(path, _Packed(tar, members), odd)


def open_folder(path: Path) -> Bundle | None:
    """A bundle that was unpacked; None where the folder is none. Raises InputError where it cannot be read."""
    if not any((path / "entries").glob("*.envelopes")):
        return None
    try:
        files = _Unpacked(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error})", "unpack it again") from error
    return Bundle(path, files, files.odd)


def _members(tar: tarfile.TarFile) -> tuple[dict[str, tarfile.TarInfo], list[str]]:
    """Files by their names below the one folder, and what does not belong there."""
    found: dict[str, tarfile.TarInfo] = {}
    odd = []
    folders: set[str] = set()
    for member in tar:
        folder, _, name = member.name.partition("/")
        folders.add(folder)
        if not member.isfile():
            if not member.isdir():
                odd.append(f"{member.name} is neither a file nor a folder")
        elif name in found:
            odd.append(f"{name} is in it twice")
        else:
            found[name] = member
    if len(folders) > 1:
        odd.append(f"it holds more than one folder: {', '.join(sorted(folders))}")
    return found, odd


def _row(envelope: bytes, body: bytes, signature: bytes) -> Row:
    """Raises ValueError, KeyError or TypeError for lines that are no entry."""
    columns = json.loads(envelope.decode())
    if not isinstance(columns, dict):
        raise TypeError("the envelope is no object")
    try:
        raw = base64.b64decode(signature, validate=True)
    except binascii.Error as error:
        raise ValueError(f"its signature is not base64: {error}") from error
    return Row(
        columns["chain"], columns["seq"], int(columns["at"]), int(columns["mono"]), columns["kind"],
        columns["deployment"], columns["operator"], body.decode(), columns["prev"],
        hashlib.sha256(envelope).hexdigest(), raw,
    )  # fmt: skip
