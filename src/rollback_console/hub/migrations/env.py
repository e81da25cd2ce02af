"""Alembic's entry: the connection comes from `hub.migrate`, never from a file."""

from __future__ import annotations

from alembic import context

from rollback_console.hub.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
