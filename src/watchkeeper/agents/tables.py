"""The agents' tables: incidents, what belongs to them, the steps already taken, and the notification outbox."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Index, Integer, LargeBinary, String, Table, Text

from watchkeeper.store.metadata import METADATA, BigId, InstantText

incident = Table(
    "incident",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("status", String(24), nullable=False, index=True),
    Column("environment", String(256), nullable=False),
    Column("service", String(256), nullable=False),
    Column("mode", String(40), nullable=False),
    Column("severity", String(16), nullable=False),
    Column("subject", String(512), nullable=False),
    Column("fingerprint", String(80), nullable=False),
    Column("opened", InstantText, nullable=False),
    Column("updated", InstantText, nullable=False),
    Column("closed", InstantText),
    Column("resolution", String(64), nullable=False, server_default=""),
    Column("wake_at", InstantText),
    Column("request", String(24), nullable=False, server_default=""),
    Column("order_id", String(64)),
    Column("requested_by", LargeBinary),
    Column("errors", Integer, nullable=False, server_default="0"),
    Column("relapses", Integer, nullable=False, server_default="0"),
    Column("calm_at", InstantText),
)

incident_finding = Table(
    "incident_finding",
    METADATA,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("finding", String(64), nullable=False, unique=True),
    Column("incident", String(64), ForeignKey("incident.id"), nullable=False, index=True),
    Column("fingerprint", String(80), nullable=False, index=True),
    Column("body", LargeBinary, nullable=False),
)

incident_step = Table(
    "incident_step",
    METADATA,
    Column("incident", String(64), ForeignKey("incident.id"), primary_key=True),
    Column("step", String(128), primary_key=True),
    Column("result", LargeBinary, nullable=False),
    Column("at", InstantText, nullable=False),
)

notification = Table(
    "notification",
    METADATA,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("incident", String(64), nullable=False),
    Column("sink", String(64), nullable=False),
    Column("dedup", String(160), nullable=False, unique=True),
    Column("body", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("at", InstantText, nullable=False),
    Column("next_try", InstantText, nullable=False),
    Column("last_error", String(200), nullable=False, server_default=""),
    Index("notification_due", "state", "next_try"),
)

agent_usage = Table(
    "agent_usage",
    METADATA,
    Column("agent", String(128), primary_key=True),
    Column("bucket", BigId, primary_key=True, autoincrement=False),
    Column("iterations", BigId, nullable=False),
    Column("wall_ms", BigId, nullable=False),
    Column("tokens", BigId, nullable=False),
    Column("usd_micros", BigId, nullable=False),
)
"""What each agent used, by minute since 1970; a day of it."""

detector_state = Table(
    "detector_state",
    METADATA,
    Column("name", String(64), primary_key=True),
    Column("inbox_offset", BigId, nullable=False),
    Column("snapshot", LargeBinary, nullable=False),
    Column("at", InstantText, nullable=False),
)
