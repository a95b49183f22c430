"""Cosignatures of witnesses, the marks of pruning, and indices that outlive their entry's bytes.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

from watchkeeper.store.metadata import BigId, InstantText

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

NAMED = {"fk": "%(table_name)s_%(column_0_name)s_fkey"}
"""PostgreSQL's own name of the key, given to SQLite's, which has none."""


def upgrade() -> None:
    op.create_table(
        "ledger_cosignature",
        sa.Column("size", BigId, autoincrement=False, nullable=False),
        sa.Column("vkey", sa.String(length=2048), nullable=False),
        sa.Column("line", sa.Text(), nullable=False),
        sa.Column("at", InstantText(length=27), nullable=False),
        sa.PrimaryKeyConstraint("size", "vkey"),
    )
    op.create_table(
        "ledger_pruned",
        sa.Column("end", BigId, autoincrement=False, nullable=False),
        sa.Column("last_staged_id", BigId, nullable=False),
        sa.Column("at", InstantText(length=27), nullable=False),
        sa.PrimaryKeyConstraint("end"),
    )
    with op.batch_alter_table("ledger_entry", naming_convention=NAMED) as table:
        table.drop_constraint("ledger_entry_staged_id_fkey", type_="foreignkey")
