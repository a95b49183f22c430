"""The table of counted events: one row for each objective and bucket; a bucket without a row was not watched."""

from __future__ import annotations

from sqlalchemy import Column, Float, String, Table

from watchkeeper.store.metadata import METADATA, BigId

objective_bucket = Table(
    "objective_bucket",
    METADATA,
    Column("environment", String(256), primary_key=True),
    Column("service", String(256), primary_key=True),
    Column("objective", String(64), primary_key=True),
    Column("bucket", BigId, primary_key=True, autoincrement=False),
    Column("bad", Float, nullable=False),
    Column("total", Float, nullable=False),
)
