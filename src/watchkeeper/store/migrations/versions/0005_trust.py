"""Trust: every outcome that was ever scored.

Revision ID: 0005
Revises: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from watchkeeper.store.metadata import InstantText

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TABLE = "trust_outcome"
MARK = "watchkeeper guard: "


def upgrade() -> None:
    op.create_table(
        TABLE,
        sa.Column("plan", sa.String(length=64), nullable=False),
        sa.Column("step", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("agent", sa.String(length=128), nullable=False),
        sa.Column("credit", sa.String(length=16), nullable=False),
        sa.Column("manifest_digest", sa.String(length=80), nullable=False),
        sa.Column("runbook", sa.String(length=128), nullable=False),
        sa.Column("intent", sa.String(length=32), nullable=False),
        sa.Column("environment", sa.String(length=256), nullable=False),
        sa.Column("service", sa.String(length=256), nullable=False),
        sa.Column("incident", sa.String(length=64), nullable=False),
        sa.Column("origin", sa.String(length=16), nullable=False),
        sa.Column("grounds", sa.String(length=32), nullable=False),
        sa.Column("at", InstantText(length=27), nullable=False),
        sa.PrimaryKeyConstraint("plan", "step", "agent", "credit"),
    )
    op.create_index("ix_trust_outcome_incident", TABLE, ["incident"])
    op.create_index("trust_outcome_of_agent", TABLE, ["agent", "manifest_digest", "runbook", "intent", "at"])
    in_scope = ["runbook", "intent", "environment", "service", "origin", "at"]
    op.create_index("trust_outcome_in_scope", TABLE, in_scope)
    for action in ("UPDATE", "DELETE", "TRUNCATE"):
        for statement in _guard(action, sqlite=op.get_bind().dialect.name == "sqlite"):
            op.get_bind().exec_driver_sql(statement)


def _guard(action: str, *, sqlite: bool) -> tuple[str, ...]:
    """As migration 0003 makes them; its function is there."""
    name, message = f"guard_{TABLE}_{action.lower()}", f"{MARK}{TABLE} is append-only: {action} refused"
    if sqlite:
        body = f"SELECT RAISE(ABORT, '{message}');"
        return () if action == "TRUNCATE" else (f"CREATE TRIGGER {name} BEFORE {action} ON {TABLE} BEGIN {body} END",)
    each = "STATEMENT" if action == "TRUNCATE" else "ROW"
    return (
        f"CREATE TRIGGER {name} BEFORE {action} ON {TABLE} FOR EACH {each} EXECUTE FUNCTION guard_refuse('{message}')",
        f"ALTER TABLE {TABLE} ENABLE ALWAYS TRIGGER {name}",
    )
