"""The table of rollouts: every word about a service, append-only by trigger. The newest move is its phase."""

from __future__ import annotations

from sqlalchemy import Column, Index, LargeBinary, String, Table

from watchkeeper.store.guards import append_only
from watchkeeper.store.metadata import METADATA, BigId, InstantText

rollout_word = Table(
    "rollout_word",
    METADATA,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("environment", String(256), nullable=False),
    Column("service", String(256), nullable=False),
    Column("word", String(16), nullable=False),
    Column("incident", String(64), nullable=False),
    Column("plan", String(64), nullable=False),
    Column("at", InstantText, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Index("rollout_word_of_service", "environment", "service", "id"),
)
"""`incident` and `plan` are empty where the word is about none."""

append_only(rollout_word)
