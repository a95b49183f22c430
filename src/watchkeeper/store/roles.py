"""Who may do what on PostgreSQL: an owner that migrates, the daemon that appends, a pruner that takes away.

`RIGHTS` has a row for each table (a test says so), so that a new one is granted by the next migration. What stops the
daemon's role is the server's own privilege check, triggers or not. It does NOT make roles: that is the administrator's,
with the statements that `watchkeeper config roles` prints. It protects nothing from the owner or a superuser.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import text
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql.base import PGIdentifierPreparer
from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.core.errors import ConfigError
from watchkeeper.store.metadata import METADATA

PLANNER_SCHEMA = "langgraph"
"""Where LangGraph keeps its checkpoints; its tables are its own, so all of them are granted alike."""
REVISIONS = "alembic_version"


class Part(StrEnum):
    """What a role is for, as the settings name it."""

    DAEMON = "url"
    PRUNER = "pruner_url"


@dataclass(frozen=True)
class Rights:
    daemon: tuple[str, ...]
    pruner: tuple[str, ...] = ()

    def of(self, part: Part) -> tuple[str, ...]:
        return self.daemon if part is Part.DAEMON else self.pruner


_READ = ("SELECT",)
_APPEND = ("SELECT", "INSERT")
_ALL = ("SELECT", "INSERT", "UPDATE", "DELETE")
_HELD = ("SELECT", "INSERT", "UPDATE")

_WORK = Rights(_ALL)
"""What the daemon works with and may change as it likes: nothing of it is the record."""
_KEPT = Rights(_APPEND, _READ)
_ASKED_OF = Rights(_ALL, _READ)
"""Work that the pruner asks about: what is still going on is kept."""

RIGHTS: Mapping[str, Rights] = {
    "ledger_staged": Rights(_APPEND, (*_APPEND, "DELETE")),  # a trigger says which rows may go
    "ledger_entry": _KEPT,
    "ledger_tile": _KEPT,
    "ledger_checkpoint": _KEPT,
    "ledger_cosignature": _KEPT,
    "ledger_pruned": Rights(_READ, _APPEND),
    "ledger_head": Rights(_HELD, _READ),
    "ledger_writer": Rights(_HELD, _HELD),
    "ledger_pending": Rights(("SELECT", "INSERT", "DELETE"), _APPEND),
    "evidence": Rights(_APPEND, (*_APPEND, "DELETE")),
    "policy_document": Rights(_APPEND),
    "policy_version": Rights(_APPEND),
    "policy_activation": Rights(_APPEND),
    "policy_active": _WORK,
    "trust_outcome": Rights(_APPEND),
    "agent_standing": Rights(_APPEND),
    "rollout_word": Rights(_APPEND),
    "authority_epoch": _WORK,
    "approval": Rights(_HELD),
    "approval_answer": Rights(_APPEND),
    "approval_escalation": Rights(_APPEND),
    "plan_edit": Rights(_APPEND),
    "stop_order": Rights(_APPEND),
    "stop_undo": Rights(_APPEND),
    "effect_claim": _ASKED_OF,
    "claim_refused": _WORK,
    "remedy": _ASKED_OF,
    "owned_field": _WORK,
    "signal_inbox": _WORK,
    "incident": _ASKED_OF,
    "incident_finding": _WORK,
    "incident_step": _WORK,
    "notification": _WORK,
    "detector_state": _WORK,
    "agent_usage": _WORK,
    "objective_bucket": _WORK,
    "api_token": _WORK,
    "lease": Rights(_ALL, _HELD),  # who prunes proves in that transaction that the turn is still his
    REVISIONS: Rights(_READ, _READ),
}

_ASKED = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
_BY_COLUMN = ("SELECT", "INSERT", "UPDATE", "REFERENCES")


@dataclass(frozen=True)
class Standing:
    """What one connection's role really may. `owns` says why it is above all privileges; empty: it is not."""

    role: str
    owns: str = ""
    missing: tuple[str, ...] = ()
    too_wide: tuple[str, ...] = ()


async def standing(tx: AsyncConnection, part: Part) -> Standing:
    """Asks the server what the role of this connection may; ours is a PostgreSQL connection with the schema made."""
    role = str((await tx.execute(text("SELECT current_user"))).scalar_one())
    owns = await _owns(tx)
    if owns:
        return Standing(role, owns)
    held = {(row.name, row.privilege) for row in await tx.execute(text(_HELD_QUERY), _asked())}
    wanted = {(table, privilege) for table, rights in RIGHTS.items() for privilege in rights.of(part)}
    wide = [f"{privilege} on {table}" for table, privilege in sorted(held - wanted)]
    missing = [f"{privilege} on {table}" for table, privilege in sorted(wanted - held)]
    for name in _sequences(part):
        if not (await tx.execute(text(_SEQUENCE_QUERY), {"name": name})).scalar_one_or_none():
            missing.append(f"USAGE on {name}")
    wide += [str(row) for row in (await tx.execute(text(_MAKES_QUERY))).scalars()]
    if part is Part.DAEMON:
        planner = await tx.execute(text(_PLANNER_QUERY), {"schema": PLANNER_SCHEMA})
        missing += [str(row) for row in planner.scalars()]
    return Standing(role, "", tuple(missing), tuple(wide))


async def _owns(tx: AsyncConnection) -> str:
    powers = (await tx.execute(text("SELECT rolsuper, rolcreaterole FROM pg_roles WHERE rolname = current_user"))).one()
    if powers.rolsuper:
        return "is a superuser"
    if powers.rolcreaterole:
        return "may make roles and so become another"
    return "owns its tables" if (await tx.execute(text(_OWNED_QUERY), _asked())).scalar_one() else ""


def _asked() -> dict[str, object]:
    return {"tables": list(RIGHTS), "asked": list(_ASKED), "columns": list(_BY_COLUMN)}


_OWNED_QUERY = """
SELECT EXISTS (
  SELECT 1 FROM pg_class c WHERE c.relnamespace = quote_ident(current_schema())::regnamespace AND c.relkind = 'r'
  AND c.relname = ANY(CAST(:tables AS text[])) AND pg_has_role(c.relowner, 'MEMBER')
) OR EXISTS (
  SELECT 1 FROM pg_proc p WHERE p.pronamespace = quote_ident(current_schema())::regnamespace
  AND starts_with(p.proname, 'guard_') AND pg_has_role(p.proowner, 'MEMBER'))
"""
_HELD_QUERY = """
SELECT c.relname AS name, p.privilege FROM pg_class c, unnest(CAST(:asked AS text[])) AS p(privilege)
WHERE c.relnamespace = quote_ident(current_schema())::regnamespace AND c.relkind = 'r'
AND c.relname = ANY(CAST(:tables AS text[]))
AND (has_table_privilege(c.oid, p.privilege)
     OR (p.privilege = ANY(CAST(:columns AS text[])) AND has_any_column_privilege(c.oid, p.privilege)))
"""
_SEQUENCE_QUERY = """
SELECT has_sequence_privilege(c.oid, 'USAGE') FROM pg_class c
WHERE c.relnamespace = quote_ident(current_schema())::regnamespace AND c.relkind = 'S' AND c.relname = :name
"""
_MAKES_QUERY = """
SELECT 'CREATE on schema ' || current_schema() WHERE has_schema_privilege(current_schema(), 'CREATE')
UNION ALL
SELECT 'CREATE on database ' || current_database() WHERE has_database_privilege(current_database(), 'CREATE')
"""
_PLANNER_QUERY = """
SELECT p.privilege || ' on ' || CAST(:schema AS text) || '.' || c.relname
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace,
     unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS p(privilege)
WHERE n.nspname = :schema AND c.relkind = 'r'
AND NOT (has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, p.privilege))
"""


def grants(part: Part, role: str, schema: str) -> tuple[str, ...]:
    """The statements that give a role what its part needs and take away what it does not."""
    who, at = quoted(role), quoted(schema)
    said = [f"REVOKE ALL ON {_named(at, RIGHTS)} FROM {who}", f"GRANT USAGE ON SCHEMA {at} TO {who}"]
    for privileges in dict.fromkeys(rights.of(part) for rights in RIGHTS.values()):
        if privileges:
            tables = [table for table, rights in RIGHTS.items() if rights.of(part) == privileges]
            said.append(f"GRANT {', '.join(privileges)} ON {_named(at, tables)} TO {who}")
    said.append(f"GRANT USAGE ON SEQUENCE {_named(at, _sequences(part))} TO {who}")
    if part is Part.DAEMON:
        said.append(f"GRANT USAGE ON SCHEMA {PLANNER_SCHEMA} TO {who}")
        said.append(f"GRANT {', '.join(_ALL)} ON ALL TABLES IN SCHEMA {PLANNER_SCHEMA} TO {who}")
    return tuple(said)


def preparation(made: Iterable[str], owner: str, database: str, schema: str, previous: str = "") -> tuple[str, ...]:
    """The statements that make the roles, once, by a superuser. Passwords are set apart, so that no file has them.
    `previous` is who has owned everything until now."""
    who, at = quoted(owner), quoted(schema)
    return (
        *(f"CREATE ROLE {quoted(role)} LOGIN" for role in made),
        f"GRANT CREATE ON DATABASE {quoted(database)} TO {who}",
        f"GRANT USAGE, CREATE ON SCHEMA {at} TO {who}",
        f"REVOKE CREATE ON SCHEMA {at} FROM PUBLIC",
        *((f"REASSIGN OWNED BY {quoted(previous)} TO {who}",) if previous else ()),
    )


async def settle(owner: AsyncConnection, part: Part, found: Standing) -> None:
    """Grants, as the owner, what a role lacks, and revokes what it has beyond that."""
    if found.owns:
        raise ConfigError(
            f"the role {found.role} of database.{part} {found.owns}",
            place=f"database.{part}",
            cause="database.owner_url is to be another role than those that are to be held back",
            next_step="watchkeeper config roles",
        )
    if found.missing or found.too_wide:
        schema = str((await owner.execute(text("SELECT current_schema()"))).scalar_one())
        for statement in grants(part, found.role, schema):
            await owner.execute(text(statement.replace(":", r"\:")))


def quoted(name: str) -> str:
    return PGIdentifierPreparer(postgresql.dialect()).quote(name)  # type: ignore[no-untyped-call]


def _named(schema: str, names: Iterable[str]) -> str:
    return ", ".join(f"{schema}.{name}" for name in names)


def _sequences(part: Part) -> tuple[str, ...]:
    """The counters of the tables that this part inserts into."""
    counted = ((table, table.autoincrement_column) for table in METADATA.sorted_tables)
    return tuple(
        f"{table.name}_{column.name}_seq"
        for table, column in counted
        if column is not None and "INSERT" in RIGHTS[table.name].of(part)
    )
