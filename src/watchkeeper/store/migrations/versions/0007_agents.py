"""People's word about agents, and what agents used of their budgets.

Revision ID: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op

from watchkeeper.store.metadata import BigId, InstantText

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

MARK = "watchkeeper guard: "


def upgrade() -> None:
    op.create_table(
        "agent_standing",
        sa.Column("id", BigId, autoincrement=True, nullable=False),
        sa.Column("agent", sa.String(length=128), nullable=False),
        sa.Column("word", sa.String(length=16), nullable=False),
        sa.Column("manifest_digest", sa.String(length=80), nullable=False),
        sa.Column("runbook", sa.String(length=128), nullable=False),
        sa.Column("intent", sa.String(length=32), nullable=False),
        sa.Column("environment", sa.String(length=256), nullable=False),
        sa.Column("service", sa.String(length=256), nullable=False),
        sa.Column("at", InstantText(length=27), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("agent_standing_of_agent", "agent_standing", ["agent", "id"])
    op.create_table(
        "agent_usage",
        sa.Column("agent", sa.String(length=128), nullable=False),
        sa.Column("bucket", BigId, autoincrement=False, nullable=False),
        sa.Column("iterations", BigId, nullable=False),
        sa.Column("wall_ms", BigId, nullable=False),
        sa.Column("tokens", BigId, nullable=False),
        sa.Column("usd_micros", BigId, nullable=False),
        sa.PrimaryKeyConstraint("agent", "bucket"),
    )
    for action in ("UPDATE", "DELETE", "TRUNCATE"):
        _guard("agent_standing", action, "is append-only")


def _guard(table: str, action: str, why: str) -> None:
    name, message = f"guard_{table}_{action.lower()}", f"{MARK}{table} {why}: {action} refused"
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        if action == "TRUNCATE":
            return
        body = f"SELECT RAISE(ABORT, '{message}');"
        connection.exec_driver_sql(f"CREATE TRIGGER {name} BEFORE {action} ON {table} BEGIN {body} END")
        return
    each = "STATEMENT" if action == "TRUNCATE" else "ROW"
    connection.exec_driver_sql(
        f"CREATE TRIGGER {name} BEFORE {action} ON {table} FOR EACH {each} EXECUTE FUNCTION guard_refuse('{message}')"
    )
    connection.exec_driver_sql(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}")
