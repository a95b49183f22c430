"""The table of trust: every outcome that was ever scored, append-only by trigger."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, String, Table

from watchkeeper.store.guards import append_only
from watchkeeper.store.metadata import METADATA, InstantText

trust_outcome = Table(
    "trust_outcome",
    METADATA,
    Column("plan", String(64), primary_key=True),
    Column("step", Integer, primary_key=True, autoincrement=False),
    Column("agent", String(128), primary_key=True),
    Column("credit", String(16), primary_key=True),
    Column("manifest_digest", String(80), nullable=False),
    Column("runbook", String(128), nullable=False),
    Column("intent", String(32), nullable=False),
    Column("environment", String(256), nullable=False),
    Column("service", String(256), nullable=False),
    Column("incident", String(64), nullable=False, index=True),
    Column("origin", String(16), nullable=False),
    Column("grounds", String(32), nullable=False),
    Column("at", InstantText, nullable=False),
    Index("trust_outcome_of_agent", "agent", "manifest_digest", "runbook", "intent", "at"),
    Index("trust_outcome_in_scope", "runbook", "intent", "environment", "service", "origin", "at"),
)
"""The key lets the same end be scored once, whoever finds it out, and a failure be added to a success."""

append_only(trust_outcome)
