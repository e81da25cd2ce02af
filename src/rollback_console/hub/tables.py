"""The hub's tables, once for SQLite and PostgreSQL. `migrations` makes them; a test holds the two against each other.

Times are whole nanoseconds since the Unix epoch. `position` is one numbering of all that readers follow (entries,
messages, claims): it grows by one in the order of commits, so that whoever has read up to a position misses nothing.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, Table, Text, UniqueConstraint

metadata = MetaData()


def _text(name: str, **options: bool) -> Column[str]:
    return Column(name, Text, **{"nullable": False, **options})  # type: ignore[arg-type]  # options are Column's own


def _number(name: str, **options: bool) -> Column[int]:
    options = {"nullable": False, **options}
    if options.get("primary_key"):
        return Column(name, BigInteger, autoincrement=False, **options)  # type: ignore[arg-type]  # as above
    return Column(name, BigInteger, **options)  # type: ignore[arg-type]  # as above


# -- the record: rows are added, never changed and never taken away ---------------------------------------------------

epochs = Table(  # a restored hub goes on under another name, so that it cannot sign another tree of the same size
    "epochs", metadata, _number("number", primary_key=True), _text("origin"), _text("vkey"), _number("at"),
    _number("size"), _text("root"), _text("reason"),
)  # fmt: skip

chains = Table(
    "chains", metadata, _text("chain", primary_key=True), _text("device"), _text("key"), _number("at"),
    Column("rehearsal", Integer, nullable=False),
)  # fmt: skip

entries = Table(
    "entries", metadata, _number("position", primary_key=True), _text("chain"), _number("seq"), _number("at"),
    _number("mono"), _text("kind"), _text("deployment"), _text("operator"), _text("body"), _text("prev"),
    _text("hash"), Column("signature", LargeBinary, nullable=False), _text("incident"), _number("received"),
    UniqueConstraint("chain", "seq", name="entries_chain_seq"),
    Index("entries_deployment", "deployment", "position"),
    Index("entries_incident", "incident", "position"),
    Index("entries_operator", "operator", "position"),
    Index("entries_kind", "kind", "position"),
)  # fmt: skip

log_leaves = Table(
    "log_leaves", metadata, _number("index", primary_key=True), _text("chain"), _number("seq"), _text("hash"),
    _number("at"), Index("log_leaves_chain_seq", "chain", "seq"),
)  # fmt: skip

log_nodes = Table(
    "log_nodes", metadata, Column("level", Integer, primary_key=True, autoincrement=False),
    _number("index", primary_key=True), Column("hash", LargeBinary, nullable=False),
)  # fmt: skip

evidence = Table(
    "evidence", metadata, _number("id", primary_key=True), _number("at"), _text("code"), _text("device"),
    _text("chain"), _number("seq"), _text("digest"), _text("detail"),
    UniqueConstraint("code", "chain", "seq", "digest", name="evidence_once"),
)  # fmt: skip

messages = Table(
    "messages", metadata, _number("position", primary_key=True), _text("topic"), _text("id"),
    Column("body", LargeBinary, nullable=False), _text("signature"), _text("key"), _text("device"), _number("at"),
    UniqueConstraint("id", name="messages_id"), Index("messages_topic", "topic", "position"),
)  # fmt: skip

claims = Table(
    "claims", metadata, _number("position", primary_key=True), _text("incident"), _text("role"), _text("operator"),
    _text("action"), _text("to"), _text("reason"), _text("device"), _number("at"),
    Index("claims_incident", "incident", "position"),
)  # fmt: skip

RECORD = (epochs, chains, entries, log_leaves, log_nodes, evidence, messages, claims)

# -- what is now: it changes ------------------------------------------------------------------------------------------

meta = Table("meta", metadata, _text("name", primary_key=True), _text("value"))

devices = Table(
    "devices", metadata, _text("id", primary_key=True), _text("key"), _text("name"), _text("token_hash"),
    _number("enrolled_at"), _number("revoked_at", nullable=True), UniqueConstraint("token_hash", name="devices_token"),
)  # fmt: skip

codes = Table(
    "codes", metadata, _text("code_hash", primary_key=True), _text("name"), _number("expires_at"),
    _number("used_at", nullable=True), _text("device"),
)  # fmt: skip

blobs = Table(
    "blobs", metadata, _text("digest", primary_key=True), _number("size"), Column("data", LargeBinary, nullable=False),
    _text("device"), _number("at"),
)  # fmt: skip

leases = Table(
    "leases", metadata, _text("name", primary_key=True), _number("token"), _text("holder"), _text("device"),
    _number("expires_at"), _number("version"),
)  # fmt: skip

snapshots = Table(
    "snapshots", metadata, _text("environment", primary_key=True), _text("etag"),
    Column("data", LargeBinary, nullable=False), _number("token"), _text("device"), _number("at"), _number("version"),
)  # fmt: skip

presence = Table(
    "presence", metadata, _text("device", primary_key=True), _text("operator", primary_key=True), _text("where"),
    _number("at"), _number("version"),
)  # fmt: skip

cursors = Table("cursors", metadata, _text("name", primary_key=True), _number("position"), _number("at"))

MUTABLE = (meta, devices, codes, blobs, leases, snapshots, presence, cursors)
