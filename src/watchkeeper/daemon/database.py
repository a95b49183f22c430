"""The database made ready at the start: schema, the planner's tables, and, on PostgreSQL, who may do what.

With an `owner_url` the owner migrates and grants, and its connection is closed before anything is watched. Without one
the daemon's own role does what is left to do, and may well own its tables: then triggers alone guard the record, and
`Guarding` says so.
"""

from __future__ import annotations

from enum import StrEnum

from watchkeeper.agents.checkpoints import prepare_postgres
from watchkeeper.core.errors import ConfigError
from watchkeeper.daemon.settings import Settings
from watchkeeper.store import roles, schema
from watchkeeper.store.engine import Store
from watchkeeper.store.roles import Part, Standing


class Guarding(StrEnum):
    """What keeps the daemon's own database role from changing the record."""

    TRIGGERS = "triggers"  # the role owns its tables and could drop them; on SQLite there are no roles
    ROLES = "triggers_and_roles"


async def prepare(settings: Settings, store: Store, pruner: Store) -> Guarding:
    """Migrates and grants. Raises ConfigError where the roles are not what the settings say they are."""
    if store.is_sqlite:
        await schema.upgrade(store)
        return Guarding.TRIGGERS
    given = settings.database.owner_url
    owner = store if given is None else Store(given.get_secret_value())
    try:
        await schema.upgrade(owner)
        await prepare_postgres(libpq(owner))
        if given is not None:
            await _settle(owner, {Part.DAEMON: store, Part.PRUNER: pruner})
    finally:
        if given is not None:
            await owner.close()
    return await _guarding(settings, store)


async def _settle(owner: Store, parts: dict[Part, Store]) -> None:
    for part, store in parts.items():
        found = await standing(store, part)
        async with owner.write() as tx:
            await owner.gate_exclusive(tx)
            await roles.settle(tx, part, found)


async def _guarding(settings: Settings, store: Store) -> Guarding:
    found = await standing(store, Part.DAEMON)
    if found.owns:
        return Guarding.TRIGGERS
    if settings.database.pruner_url is None:
        raise ConfigError(
            f"the role {found.role} owns nothing, and no other may prune or erase evidence",
            place="database.pruner_url",
            cause="the roles are apart, and the pruner's is not given",
            next_step="give database.pruner_url_file; watchkeeper config roles prints how to make the role",
        )
    return Guarding.ROLES


async def standing(store: Store, part: Part) -> Standing:
    async with store.read() as tx:
        return await roles.standing(tx, part)


def libpq(store: Store) -> str:
    """The address for those who go past SQLAlchemy."""
    return store.url.set(drivername="postgresql").render_as_string(hide_password=False)
