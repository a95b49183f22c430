"""Access tokens: only their hashes are kept."""

from __future__ import annotations

from sqlalchemy import Column, String, Table

from watchkeeper.store.metadata import METADATA, InstantText

api_token = Table(
    "api_token",
    METADATA,
    Column("hash", String(64), primary_key=True),
    Column("principal", String(64), nullable=False, index=True),
    Column("kind", String(16), nullable=False),
    Column("roles", String(128), nullable=False),
    Column("created", InstantText, nullable=False),
    Column("expires", InstantText),
    Column("revoked", InstantText),
)
