"""The first tables, and the guards that keep the record append-only whoever writes to it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TABLES: dict[str, str] = {
    "epochs": "number:n! origin:t vkey:t at:n size:n root:t reason:t",
    "chains": "chain:t! device:t key:t at:n rehearsal:i",
    "entries": "position:n! chain:t seq:n at:n mono:n kind:t deployment:t operator:t body:t prev:t hash:t signature:b "
    "incident:t received:n",
    "log_leaves": "index:n! chain:t seq:n hash:t at:n",
    "log_nodes": "level:i! index:n! hash:b",
    "evidence": "id:n! at:n code:t device:t chain:t seq:n digest:t detail:t",
    "messages": "position:n! topic:t id:t body:b signature:t key:t device:t at:n",
    "claims": "position:n! incident:t role:t operator:t action:t to:t reason:t device:t at:n",
    "meta": "name:t! value:t",
    "devices": "id:t! key:t name:t token_hash:t enrolled_at:n revoked_at:n?",
    "codes": "code_hash:t! name:t expires_at:n used_at:n? device:t",
    "blobs": "digest:t! size:n data:b device:t at:n",
    "leases": "name:t! token:n holder:t device:t expires_at:n version:n",
    "snapshots": "environment:t! etag:t data:b token:n device:t at:n version:n",
    "presence": "device:t! operator:t! where:t at:n version:n",
    "cursors": "name:t! position:n at:n",
}
_UNIQUE = {
    "entries": ("entries_chain_seq", ["chain", "seq"]),
    "evidence": ("evidence_once", ["code", "chain", "seq", "digest"]),
    "messages": ("messages_id", ["id"]),
    "devices": ("devices_token", ["token_hash"]),
}
_INDEXES = (
    ("entries_deployment", "entries", ["deployment", "position"]),
    ("entries_incident", "entries", ["incident", "position"]),
    ("entries_operator", "entries", ["operator", "position"]),
    ("entries_kind", "entries", ["kind", "position"]),
    ("log_leaves_chain_seq", "log_leaves", ["chain", "seq"]),
    ("messages_topic", "messages", ["topic", "position"]),
    ("claims_incident", "claims", ["incident", "position"]),
)
# Table of record -> the keys that an INSERT OR REPLACE could go through.
_RECORD = {
    "epochs": ("number = NEW.number",),
    "chains": ("chain = NEW.chain",),
    "entries": ("position = NEW.position", "chain = NEW.chain AND seq = NEW.seq"),
    "log_leaves": ('"index" = NEW."index"',),
    "log_nodes": ('level = NEW.level AND "index" = NEW."index"',),
    "evidence": (
        "id = NEW.id",
        "code = NEW.code AND chain = NEW.chain AND seq = NEW.seq AND digest = NEW.digest",
    ),
    "messages": ("position = NEW.position", "id = NEW.id"),
    "claims": ("position = NEW.position",),
}


def _column(text: str) -> sa.Column[object]:
    name, _, kind = text.partition(":")
    types = {"n": sa.BigInteger, "t": sa.Text, "b": sa.LargeBinary, "i": sa.Integer}
    return sa.Column(
        name, types[kind[0]](), primary_key="!" in kind, nullable="?" in kind,
        **({"autoincrement": False} if kind in ("n!", "i!") else {}),  # type: ignore[arg-type]  # Column's own option
    )  # fmt: skip


def upgrade() -> None:
    for table, columns in _TABLES.items():
        unique = [sa.UniqueConstraint(*_UNIQUE[table][1], name=_UNIQUE[table][0])] if table in _UNIQUE else []
        op.create_table(table, *map(_column, columns.split()), *unique)
    for name, table, on in _INDEXES:
        op.create_index(name, table, on)
    if op.get_bind().dialect.name == "sqlite":
        _guard_sqlite()
    else:
        _guard_postgresql()


def _guard_sqlite() -> None:
    for table, keys in _RECORD.items():
        for act in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{act.lower()} BEFORE {act} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only: no {act}'); END"
            )
        # INSERT OR REPLACE deletes without firing the trigger above
        there = " OR ".join(f"EXISTS (SELECT 1 FROM {table} WHERE {key})" for key in keys)  # noqa: S608 - names of our own
        op.execute(
            f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} WHEN {there} "
            f"BEGIN SELECT RAISE(ABORT, '{table} is append-only: it is there already'); END"
        )


def _guard_postgresql() -> None:
    """Beside the grants, which keep the serving role out: these stop the owner's own slips, too."""
    op.execute(
        "CREATE FUNCTION rollback_console_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION '% is append-only: no %', TG_TABLE_NAME, TG_OP; END $$"
    )
    for table in _RECORD:
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION rollback_console_append_only()"
        )


def downgrade() -> None:
    raise RuntimeError("the record is never taken away: restore a backup instead")
