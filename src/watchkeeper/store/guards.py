"""Triggers by which the database itself refuses to change what is on record, in both databases.

A room says beside its table what is refused; the trigger is made with the table and by the migrations, and a test holds
the two together. A guard stops bugs, and everybody who does not own the table. It does NOT stop its owner, who can drop
it, nor whoever writes SQLite's file directly: for those there is verify.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import DDL, Table, event

MARK = "watchkeeper guard: "
"""How the message of a refusal begins, so that the store knows one."""
REFUSE = "guard_refuse"
FUNCTION = f"""CREATE OR REPLACE FUNCTION {REFUSE}() RETURNS trigger LANGUAGE plpgsql AS $guard$
BEGIN
  RAISE EXCEPTION USING ERRCODE = 'restrict_violation', MESSAGE = TG_ARGV[0];
END $guard$"""
"""What every trigger on PostgreSQL calls, unless it has to look something up."""


@dataclass(frozen=True)
class Guard:
    """One refusal: UPDATE, DELETE, INSERT or (PostgreSQL) TRUNCATE of a table's rows.

    `when` is a condition over OLD and NEW that both databases understand; empty: always. One that holds a SELECT costs
    a call of a function for each row on PostgreSQL. `why` is what is said of the table.
    """

    table: str
    action: str
    why: str
    when: str = ""

    @property
    def name(self) -> str:
        return f"guard_{self.table}_{self.action.lower()}"

    @property
    def message(self) -> str:
        return f"{MARK}{self.table} {self.why}: {self.action} refused"

    def sqlite(self) -> tuple[str, ...]:
        if self.action == "TRUNCATE":
            return ()
        when = f"WHEN {self.when} " if self.when else ""
        body = f"SELECT RAISE(ABORT, '{self.message}');"
        return (f"CREATE TRIGGER {self.name} BEFORE {self.action} ON {self.table} {when}BEGIN {body} END",)

    def postgresql(self) -> tuple[str, ...]:
        each = "STATEMENT" if self.action == "TRUNCATE" else "ROW"
        function, when = f"{REFUSE}('{self.message}')", f"WHEN ({self.when}) " if self.when else ""
        made = (FUNCTION,)
        if "SELECT" in self.when:
            made, function, when = (self._looking_up(),), f"{self.name}()", ""
        return (
            *made,
            f"CREATE TRIGGER {self.name} BEFORE {self.action} ON {self.table} "
            f"FOR EACH {each} {when}EXECUTE FUNCTION {function}",
            # Also for a session that calls itself a replica, which ordinary triggers believe.
            f"ALTER TABLE {self.table} ENABLE ALWAYS TRIGGER {self.name}",
        )

    def _looking_up(self) -> str:
        """Its search path is fixed: a temporary table of the same name would be believed otherwise."""
        row = "OLD" if self.action == "DELETE" else "NEW"
        return f"""DO $do$ BEGIN EXECUTE 'CREATE OR REPLACE FUNCTION {self.name}() RETURNS trigger LANGUAGE plpgsql'
|| ' SET search_path = ' || quote_ident(current_schema()) || ', pg_temp AS ' || quote_literal($guard$
BEGIN
  IF {self.when} THEN
    RAISE EXCEPTION USING ERRCODE = 'restrict_violation', MESSAGE = '{self.message}';
  END IF;
  RETURN {row};
END $guard$); END $do$"""


def append_only(table: Table, *, delete_when: str = "") -> None:
    """No row of it is changed, and none goes, unless `delete_when` (a condition for refusal) does not hold for it."""
    why = "is append-only"
    delete = Guard(table.name, "DELETE", why, delete_when)
    guard(table, Guard(table.name, "UPDATE", why), delete, Guard(table.name, "TRUNCATE", why))


def guard(table: Table, *guards: Guard) -> None:
    """Makes these triggers whenever the table is made."""
    for each in guards:
        for dialect, statements in (("sqlite", each.sqlite()), ("postgresql", each.postgresql())):
            for statement in statements:
                made = DDL(statement).execute_if(dialect=dialect)  # type: ignore[no-untyped-call]
                event.listen(table, "after_create", made)
