"""The store's own table: leases."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, String, Table

from watchkeeper.store.metadata import METADATA, InstantText

lease = Table(
    "lease",
    METADATA,
    Column("name", String(128), primary_key=True),
    Column("holder", String(128), nullable=False),
    Column("token", BigInteger, nullable=False),
    Column("expires", InstantText, nullable=False),
)
