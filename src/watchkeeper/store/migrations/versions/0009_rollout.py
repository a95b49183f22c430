"""The rollout of each service: moves up and down, and what people said of incidents.

Revision ID: 0009
Revises: 0008
"""

import sqlalchemy as sa
from alembic import op

from watchkeeper.store.metadata import BigId, InstantText

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

MARK = "watchkeeper guard: "


def upgrade() -> None:
    op.create_table(
        "rollout_word",
        sa.Column("id", BigId, autoincrement=True, nullable=False),
        sa.Column("environment", sa.String(length=256), nullable=False),
        sa.Column("service", sa.String(length=256), nullable=False),
        sa.Column("word", sa.String(length=16), nullable=False),
        sa.Column("incident", sa.String(length=64), nullable=False),
        sa.Column("plan", sa.String(length=64), nullable=False),
        sa.Column("at", InstantText(length=27), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("rollout_word_of_service", "rollout_word", ["environment", "service", "id"])
    for action in ("UPDATE", "DELETE", "TRUNCATE"):
        _guard("rollout_word", action, "is append-only")


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
