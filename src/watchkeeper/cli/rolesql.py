"""The SQL that sets PostgreSQL's roles apart, for an administrator to read and run. It opens no connection."""

from __future__ import annotations

from dataclasses import dataclass

from watchkeeper.core.errors import ConfigError
from watchkeeper.daemon.settings import Settings
from watchkeeper.store import roles
from watchkeeper.store.engine import parsed_url
from watchkeeper.store.roles import Part
from watchkeeper.store.schema import register_tables

FIRST = "-- 1. As a superuser, in this database, once. Then give each role its password: \\password ROLE"
THEN = """-- 2. As the owner, after `watchkeeper config migrate`. With database.owner_url in the settings `migrate` and
--    `serve` do this part themselves, also for the tables of later versions."""


@dataclass(frozen=True)
class Names:
    owner: str
    daemon: str
    pruner: str
    schema: str
    previous: str = ""


@dataclass(frozen=True)
class Script:
    prepare: tuple[str, ...]
    grant: tuple[str, ...]

    def text(self) -> str:
        parts = (FIRST, *_ended(self.prepare), "", THEN, *_ended(self.grant))
        return "\n".join(parts) + "\n"


def script(settings: Settings, names: Names) -> Script:
    """Raises ConfigError where the settings name no PostgreSQL, or the roles are not three."""
    url = parsed_url(settings.database_url())
    if url.get_backend_name() != "postgresql" or not url.database:
        raise ConfigError(
            "only a PostgreSQL database has roles",
            place="database.url",
            cause="the settings name SQLite, or a server without its database",
            next_step="give database.url as postgresql+psycopg://HOST/NAME",
        )
    if len({names.owner, names.daemon, names.pruner}) < len(Part) + 1:
        raise ConfigError(
            "owner, daemon and pruner are to be three roles",
            cause="two of the names are the same",
            next_step="watchkeeper config roles --help",
        )
    register_tables()
    held = (names.daemon, names.pruner)
    made = tuple(role for role in (names.owner, *held) if role != names.previous)
    return Script(
        prepare=roles.preparation(made, names.owner, url.database, names.schema, names.previous),
        grant=(
            *roles.grants(Part.DAEMON, names.daemon, names.schema),
            *roles.grants(Part.PRUNER, names.pruner, names.schema),
        ),
    )


def _ended(statements: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{each};" for each in statements)
