"""Approvals that escalate, are told together and are superseded; edited plans; orders to undo under a stop.

Revision ID: 0006
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

from watchkeeper.store.metadata import InstantText

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

MARK = "watchkeeper guard: "
ONE_PLAN = "binds one plan, once"
REBOUND = (
    "NEW.body <> OLD.body OR NEW.plan_hash <> OLD.plan_hash OR NEW.expires <> OLD.expires "
    "OR NEW.used_by <> OLD.used_by OR (OLD.used_by IS NOT NULL AND NEW.used_by IS NULL) "
    "OR (NEW.state <> OLD.state AND OLD.state NOT IN ('pending', 'approved'))"
)
APPEND_ONLY = ("approval_answer", "approval_escalation", "plan_edit", "stop_order", "stop_undo")


def upgrade() -> None:
    op.add_column("approval", sa.Column("audience", sa.String(length=256), nullable=True))
    op.add_column("approval", sa.Column("asked", InstantText(length=27), nullable=True))
    op.add_column("approval", sa.Column("told", InstantText(length=27), nullable=True))
    op.create_index("ix_approval_audience", "approval", ["audience"])
    op.create_table(
        "approval_escalation",
        sa.Column("approval", sa.String(length=64), nullable=False),
        sa.Column("term", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("step", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["approval"], ["approval.id"]),
        sa.PrimaryKeyConstraint("approval", "term", "step"),
    )
    op.create_table(
        "plan_edit",
        sa.Column("approval", sa.String(length=64), nullable=False),
        sa.Column("incident", sa.String(length=64), nullable=False),
        sa.Column("plan", sa.LargeBinary(), nullable=False),
        sa.Column("at", InstantText(length=27), nullable=False),
        sa.ForeignKeyConstraint(["approval"], ["approval.id"]),
        sa.PrimaryKeyConstraint("approval"),
    )
    op.create_index("ix_plan_edit_incident", "plan_edit", ["incident"])
    _stops()
    for table in APPEND_ONLY:
        for action in ("UPDATE", "DELETE", "TRUNCATE"):
            _guard(table, action, "is append-only")
    _guard("approval", "UPDATE", ONE_PLAN, REBOUND)
    _guard("approval", "DELETE", ONE_PLAN)
    _guard("approval", "TRUNCATE", ONE_PLAN)


def _stops() -> None:
    op.create_table(
        "stop_order",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("at", InstantText(length=27), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_stop_order_at", "stop_order", ["at"])
    op.create_table(
        "stop_undo",
        sa.Column("order_id", sa.String(length=64), nullable=False),
        sa.Column("stop", sa.String(length=64), nullable=False),
        sa.Column("incident", sa.String(length=64), nullable=False),
        sa.Column("at", InstantText(length=27), nullable=False),
        sa.ForeignKeyConstraint(["stop"], ["stop_order.id"]),
        sa.PrimaryKeyConstraint("order_id"),
    )
    op.create_index("ix_stop_undo_stop", "stop_undo", ["stop"])


def _guard(table: str, action: str, why: str, when: str = "") -> None:
    name, message = f"guard_{table}_{action.lower()}", f"{MARK}{table} {why}: {action} refused"
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        if action == "TRUNCATE":
            return
        when = f"WHEN {when} " if when else ""
        body = f"SELECT RAISE(ABORT, '{message}');"
        connection.exec_driver_sql(f"CREATE TRIGGER {name} BEFORE {action} ON {table} {when}BEGIN {body} END")
        return
    each, condition = "STATEMENT" if action == "TRUNCATE" else "ROW", f"WHEN ({when}) " if when else ""
    connection.exec_driver_sql(
        f"CREATE TRIGGER {name} BEFORE {action} ON {table} "
        f"FOR EACH {each} {condition}EXECUTE FUNCTION guard_refuse('{message}')"
    )
    connection.exec_driver_sql(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}")
