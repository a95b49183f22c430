"""Leases: the token only grows, and two holders never both pass `check`."""

from __future__ import annotations

import asyncio
import tempfile
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.core.clock import ManualClock
from watchkeeper.core.errors import ConflictError
from watchkeeper.store import leases
from watchkeeper.store.engine import Store
from watchkeeper.store.leases import Lease
from watchkeeper.store.metadata import METADATA
from watchkeeper.store.schema import register_tables

HOLDERS = ("a", "b", "c")


async def passes(store: Store, held: Lease) -> bool:
    try:
        async with store.write() as tx:
            await leases.check(tx, held)
    except ConflictError:
        return False
    return True


async def test_a_held_lease_is_refused_to_others_until_it_expires_or_is_given_back(store: Store) -> None:
    now = ManualClock().now()
    async with store.write() as tx:
        first = await leases.acquire(tx, "seq", "a", now, 10)
        assert first is not None
        assert await leases.acquire(tx, "seq", "b", now + timedelta(seconds=9), 10) is None
        renewed = await leases.acquire(tx, "seq", "a", now + timedelta(seconds=9), 10)
        assert renewed is not None
        assert renewed.token == first.token
        second = await leases.acquire(tx, "seq", "b", now + timedelta(seconds=19), 10)
        assert second is not None
        assert second.token == first.token + 1
    assert not await passes(store, first)
    assert await passes(store, second)
    async with store.write() as tx:
        await leases.release(tx, first, now)
        await leases.release(tx, second, now)
        third = await leases.acquire(tx, "seq", "c", now, 10)
    assert third is not None
    assert third.token == second.token + 1


async def test_only_one_of_many_racing_processes_gets_it(store: Store) -> None:
    now = ManualClock().now()

    async def race(holder: str) -> Lease | None:
        async with store.write() as tx:
            return await leases.acquire(tx, "seq", holder, now, 10)

    won = [lease for lease in await asyncio.gather(*(race(f"h{n}") for n in range(12))) if lease]
    assert len(won) == 1


steps = st.lists(
    st.tuples(st.sampled_from(HOLDERS), st.sampled_from(["acquire", "release"]), st.integers(0, 7)),
    min_size=1,
    max_size=30,
)


@settings(max_examples=40, deadline=None)
@given(steps=steps)
def test_tokens_only_grow_and_two_holders_never_both_pass(steps: list[tuple[str, str, int]]) -> None:
    asyncio.run(_walk(steps))


async def _walk(steps: list[tuple[str, str, int]]) -> None:
    """In one transaction, on SQLite: the logic alone. The race above is on both databases."""
    register_tables()
    with tempfile.TemporaryDirectory() as scratch:
        store = Store(f"sqlite+aiosqlite:///{scratch}/w.db")
        try:
            await _walk_in(store, steps)
        finally:
            await store.close()


async def _walk_in(store: Store, steps: list[tuple[str, str, int]]) -> None:
    now, held, highest = ManualClock().now(), dict[str, Lease](), 0
    async with store.write() as tx:
        await tx.run_sync(METADATA.tables["lease"].create)
        for holder, act, wait in steps:
            now += timedelta(seconds=wait)
            if act == "release" and holder in held:
                await leases.release(tx, held[holder], now)
            elif act == "acquire":
                got = await leases.acquire(tx, "seq", holder, now, 5)
                if got is not None:
                    assert got.token >= highest
                    assert all(other.token < got.token for name, other in held.items() if name != holder)
                    highest, held[holder] = got.token, got
            assert len(await _passing(tx, held)) <= 1


async def _passing(tx: AsyncConnection, held: dict[str, Lease]) -> list[str]:
    names = []
    for name, lease in held.items():
        try:
            await leases.check(tx, lease)
        except ConflictError:
            continue
        names.append(name)
    return names
