"""The inbox of signals: what was accepted and is not yet forgotten."""

from __future__ import annotations

from sqlalchemy import Column, LargeBinary, String, Table, UniqueConstraint

from watchkeeper.store.metadata import METADATA, BigId, InstantText

signal_inbox = Table(
    "signal_inbox",
    METADATA,
    Column("offset", BigId, primary_key=True, autoincrement=True),
    Column("source", String(64), nullable=False),
    Column("id", String(256), nullable=False),
    Column("at", InstantText, nullable=False),
    Column("received", InstantText, nullable=False),
    Column("body", LargeBinary, nullable=False),
    UniqueConstraint("source", "id", name="signal_inbox_source_id"),
    # Without it SQLite gives the offsets of pruned rows again, and readers would pass over what is new.
    sqlite_autoincrement=True,
)
