"""Triggers that refuse to change what is on record.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

MARK = "watchkeeper guard: "
FUNCTION = """CREATE OR REPLACE FUNCTION guard_refuse() RETURNS trigger LANGUAGE plpgsql AS $guard$
BEGIN
  RAISE EXCEPTION USING ERRCODE = 'restrict_violation', MESSAGE = TG_ARGV[0];
END $guard$"""

NOT_PRUNED = (
    "OLD.type IN ('dev.watchkeeper.ledger.key.v1', 'dev.watchkeeper.ledger.archived.v1', "
    "'dev.watchkeeper.ledger.pruned.v1') OR NOT EXISTS (SELECT 1 FROM ledger_entry AS e "
    'JOIN ledger_pruned AS p ON e.idx < p."end" AND e.staged_id <= p.last_staged_id '
    'WHERE e.staged_id = OLD.id AND p."end" = (SELECT max("end") FROM ledger_pruned))'
)
BIGGER_CHECKPOINT = "NEW.size <= (SELECT max(size) FROM ledger_checkpoint)"
BIGGER_MARK = (
    'EXISTS (SELECT 1 FROM ledger_pruned AS p WHERE p."end" >= NEW."end" OR p.last_staged_id > NEW.last_staged_id)'
)
HEAD_BACK = (
    "NEW.one <> OLD.one OR NEW.size < OLD.size OR NEW.fence < OLD.fence OR NEW.last_time < OLD.last_time "
    "OR (NEW.last_time IS NULL AND OLD.last_time IS NOT NULL) OR (NEW.size = OLD.size AND NEW.peaks <> OLD.peaks)"
)
WRITER_BACK = "NEW.writer <> OLD.writer OR NEW.seq < OLD.seq OR (NEW.seq = OLD.seq AND NEW.prev_hash <> OLD.prev_hash)"

APPEND_ONLY = (
    "ledger_entry",
    "ledger_tile",
    "ledger_checkpoint",
    "ledger_cosignature",
    "ledger_pruned",
    "ledger_staged",
    "policy_document",
    "policy_version",
    "policy_activation",
)
OTHERS = (
    ("ledger_checkpoint", "INSERT", "only grows", BIGGER_CHECKPOINT),
    ("ledger_pruned", "INSERT", "only grows", BIGGER_MARK),
    ("ledger_head", "UPDATE", "never goes back", HEAD_BACK),
    ("ledger_head", "DELETE", "never goes back", ""),
    ("ledger_head", "TRUNCATE", "never goes back", ""),
    ("ledger_writer", "UPDATE", "never goes back", WRITER_BACK),
    ("ledger_writer", "DELETE", "never goes back", ""),
    ("ledger_writer", "TRUNCATE", "never goes back", ""),
    ("ledger_pending", "UPDATE", "holds ids, not values", ""),
    ("ledger_pending", "TRUNCATE", "is emptied by the sequencer alone", ""),
    ("evidence", "UPDATE", "may be erased, not changed", ""),
    ("evidence", "TRUNCATE", "may be erased, not emptied", ""),
)


def upgrade() -> None:
    connection = op.get_bind()
    sqlite = connection.dialect.name == "sqlite"
    if not sqlite:
        connection.exec_driver_sql(FUNCTION)
    for table in APPEND_ONLY:
        for action in ("UPDATE", "DELETE", "TRUNCATE"):
            when = NOT_PRUNED if (table, action) == ("ledger_staged", "DELETE") else ""
            _guard(table, action, "is append-only", when)
    for table, action, why, when in OTHERS:
        _guard(table, action, why, when)


def _guard(table: str, action: str, why: str, when: str) -> None:
    name = f"guard_{table}_{action.lower()}"
    message = f"{MARK}{table} {why}: {action} refused"
    make = _sqlite if op.get_bind().dialect.name == "sqlite" else _postgresql
    for statement in make(name, table, action, message, when):
        op.get_bind().exec_driver_sql(statement)


def _sqlite(name: str, table: str, action: str, message: str, when: str) -> tuple[str, ...]:
    if action == "TRUNCATE":
        return ()
    when = f"WHEN {when} " if when else ""
    body = f"SELECT RAISE(ABORT, '{message}');"
    return (f"CREATE TRIGGER {name} BEFORE {action} ON {table} {when}BEGIN {body} END",)


def _postgresql(name: str, table: str, action: str, message: str, when: str) -> tuple[str, ...]:
    each = "STATEMENT" if action == "TRUNCATE" else "ROW"
    made: tuple[str, ...] = ()
    function, condition = f"guard_refuse('{message}')", f"WHEN ({when}) " if when else ""
    if "SELECT" in when:
        made, function, condition = (_function(name, action, message, when),), f"{name}()", ""
    return (
        *made,
        f"CREATE TRIGGER {name} BEFORE {action} ON {table} FOR EACH {each} {condition}EXECUTE FUNCTION {function}",
        f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}",
    )


def _function(name: str, action: str, message: str, when: str) -> str:
    row = "OLD" if action == "DELETE" else "NEW"
    return f"""DO $do$ BEGIN EXECUTE 'CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql'
|| ' SET search_path = ' || quote_ident(current_schema()) || ', pg_temp AS ' || quote_literal($guard$
BEGIN
  IF {when} THEN
    RAISE EXCEPTION USING ERRCODE = 'restrict_violation', MESSAGE = '{message}';
  END IF;
  RETURN {row};
END $guard$); END $do$"""
