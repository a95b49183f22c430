"""The table of people's word about agents: every change, append-only by trigger. The newest of a key is what holds."""

from __future__ import annotations

from sqlalchemy import Column, Index, LargeBinary, String, Table

from watchkeeper.store.guards import append_only
from watchkeeper.store.metadata import METADATA, BigId, InstantText

agent_standing = Table(
    "agent_standing",
    METADATA,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("agent", String(128), nullable=False),
    Column("word", String(16), nullable=False),
    Column("manifest_digest", String(80), nullable=False),
    Column("runbook", String(128), nullable=False),
    Column("intent", String(32), nullable=False),
    Column("environment", String(256), nullable=False),
    Column("service", String(256), nullable=False),
    Column("at", InstantText, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Index("agent_standing_of_agent", "agent", "id"),
)

append_only(agent_standing)
