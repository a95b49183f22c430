"""The events of service level objectives, by bucket.

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op

from watchkeeper.store.metadata import BigId

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "objective_bucket",
        sa.Column("environment", sa.String(length=256), nullable=False),
        sa.Column("service", sa.String(length=256), nullable=False),
        sa.Column("objective", sa.String(length=64), nullable=False),
        sa.Column("bucket", BigId, autoincrement=False, nullable=False),
        sa.Column("bad", sa.Float(), nullable=False),
        sa.Column("total", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("environment", "service", "objective", "bucket"),
    )
