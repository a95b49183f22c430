"""For developers: `python -m watchkeeper.store.revise "what changes"` writes the next revision from the rooms' tables.

It compares METADATA with a scratch SQLite database at the present head. Read what it wrote before you commit it:
renames and data are not seen, and a released revision is never edited.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from alembic import command

from watchkeeper.store.engine import Store
from watchkeeper.store.schema import MIGRATIONS, alembic_config, register_tables, upgrade


async def revise(message: str) -> Path:
    """Returns the new revision file, numbered after those that exist."""
    register_tables()
    number = f"{len(list((MIGRATIONS / 'versions').glob('[0-9]*.py'))) + 1:04d}"
    with tempfile.TemporaryDirectory() as scratch:
        store = Store(f"sqlite+aiosqlite:///{scratch}/scratch.db")
        await upgrade(store)
        async with store.write() as tx:
            await tx.run_sync(
                lambda connection: command.revision(
                    alembic_config(connection), message, autogenerate=True, rev_id=number
                )
            )
        await store.close()
    return next((MIGRATIONS / "versions").glob(f"{number}_*.py"))


if __name__ == "__main__":
    print(asyncio.run(revise(" ".join(sys.argv[1:]) or "tables")))
