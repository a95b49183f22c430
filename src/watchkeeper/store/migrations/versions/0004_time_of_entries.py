"""The index of entries by time is a BRIN index on PostgreSQL: rows are stored about in the order of their times.

It answers as well where a range of time is asked for, and costs an append next to nothing. SQLite has no such index.

Revision ID: 0004
Revises: 0003
"""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.drop_index("ix_ledger_staged_time", table_name="ledger_staged")
        op.create_index("ix_ledger_staged_time", "ledger_staged", ["time"], postgresql_using="brin")
