"""Alembic's entry: runs the migrations on the connection that `watchkeeper.store.schema` gives, in its transaction."""

from __future__ import annotations

from typing import Any, Literal

from alembic import context

from watchkeeper.store.metadata import METADATA, InstantText


def render_item(kind: str, item: Any, autogen_context: Any) -> str | Literal[False]:
    """Revisions name database types only: they must not change when our code does."""
    if kind == "type" and isinstance(item, InstantText):
        return "sa.String(length=27)"
    return False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    render_as_batch=context.config.attributes["connection"].dialect.name == "sqlite",
    render_item=render_item,
)
with context.begin_transaction():
    context.run_migrations()
