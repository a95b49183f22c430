"""Transactions: nothing is lost between writers, stops pass first, errors say what to do."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from watchkeeper.core.errors import ConfigError, StoreError, UnavailableError, UnrecordableError
from watchkeeper.store.engine import Priority, Store, _Turnstile

counter = Table("counter", MetaData(), Column("id", Integer, primary_key=True), Column("n", Integer, nullable=False))


async def with_counter(store: Store) -> None:
    async with store.write() as tx:
        await tx.run_sync(counter.create)
        await tx.execute(insert(counter).values(id=1, n=0))


async def add_one(store: Store, priority: Priority) -> None:
    async with store.write(priority) as tx:
        n = (await tx.execute(select(counter.c.n).where(counter.c.id == 1).with_for_update())).scalar_one()
        await tx.execute(update(counter).values(n=n + 1))


async def value_of(store: Store) -> int:
    async with store.read() as tx:
        return int((await tx.execute(select(counter.c.n))).scalar_one())


async def test_no_update_is_lost_between_concurrent_writers(store: Store) -> None:
    await with_counter(store)
    other = Store(store.url.render_as_string(hide_password=False))
    await asyncio.gather(*(add_one(s, p) for s in (store, other) for p in Priority for _ in range(20)))
    await other.close()
    assert await value_of(store) == 2 * 3 * 20


async def test_an_error_rolls_back_everything(store: Store) -> None:
    await with_counter(store)

    async def fail_half_way() -> None:
        async with store.write() as tx:
            await tx.execute(update(counter).values(n=7))
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await fail_half_way()
    assert await value_of(store) == 0


async def test_a_reader_sees_only_what_is_committed(store: Store) -> None:
    await with_counter(store)
    async with store.write() as tx:
        await tx.execute(update(counter).values(n=7))
        assert await value_of(store) == 0
    assert await value_of(store) == 7


async def test_constraint_violations_pass_and_other_errors_become_store_errors(store: Store) -> None:
    await with_counter(store)
    with pytest.raises(IntegrityError):
        async with store.write() as tx:
            await tx.execute(insert(counter).values(id=1, n=0))
    with pytest.raises(StoreError) as caught:
        async with store.write() as tx:
            await tx.execute(text("SELECT * FROM no_such_table"))
    assert caught.value.next_step


async def test_a_read_only_database_is_a_store_error(tmp_path: Path) -> None:
    path = tmp_path / "w.db"
    opened = Store(f"sqlite+aiosqlite:///{path}")
    await with_counter(opened)
    await opened.close()
    read_only = Store(f"sqlite+aiosqlite:///file:{path}?mode=ro&uri=true")
    assert await value_of(read_only) == 0
    with pytest.raises(StoreError, match="readonly"):
        await add_one(read_only, Priority.NORMAL)
    await read_only.close()


async def test_an_unreachable_database_is_a_store_error(tmp_path: Path) -> None:
    for url in (f"sqlite+aiosqlite:///{tmp_path}/no/such/w.db", "postgresql+psycopg://127.0.0.1:1/none"):
        store = Store(url)
        with pytest.raises(StoreError):
            async with store.read() as tx:
                await tx.execute(text("SELECT 1"))
        await store.close()
    for thread in threading.enumerate():
        if "_connection_worker" in thread.name:  # aiosqlite tells the loop of its end, which must not be closed by then
            await asyncio.to_thread(thread.join, 10)


def test_another_kind_of_database_is_refused() -> None:
    with pytest.raises(ConfigError, match="mysql"):
        Store("mysql://localhost/w")


async def passed(turnstile: _Turnstile, priority: Priority, name: str, order: list[str]) -> None:
    await turnstile.acquire(priority)
    order.append(name)
    turnstile.release()


async def test_the_turnstile_lets_stops_pass_first_then_by_arrival() -> None:
    turnstile, order = _Turnstile(), list[str]()
    await turnstile.acquire(Priority.NORMAL)
    arrivals = [
        (Priority.NORMAL, "n1"),
        (Priority.CLAIM, "c1"),
        (Priority.NORMAL, "n2"),
        (Priority.STOP, "s1"),
        (Priority.CLAIM, "c2"),
        (Priority.STOP, "s2"),
    ]
    waiting = [asyncio.ensure_future(passed(turnstile, priority, name, order)) for priority, name in arrivals]
    await asyncio.sleep(0)
    turnstile.release()
    await asyncio.gather(*waiting)
    assert order == ["s1", "s2", "c1", "c2", "n1", "n2"]


@pytest.mark.parametrize("after_release", [False, True])
async def test_a_cancelled_waiter_does_not_keep_the_turnstile(after_release: bool) -> None:
    turnstile, order = _Turnstile(), list[str]()
    await turnstile.acquire(Priority.NORMAL)
    gone = asyncio.ensure_future(passed(turnstile, Priority.STOP, "gone", order))
    last = asyncio.ensure_future(passed(turnstile, Priority.NORMAL, "last", order))
    await asyncio.sleep(0)
    if after_release:
        turnstile.release()
        gone.cancel()
    else:
        gone.cancel()
        turnstile.release()
    await asyncio.gather(gone, last, return_exceptions=True)
    assert order == ["last"]


@pytest.mark.peer
@pytest.mark.parametrize(
    ("statement", "value"),
    [
        ("SELECT CAST(CAST(:value AS text) AS integer)", "99999999999"),
        ("SELECT CAST(:value AS text)", "nul\x00"),
        ("SELECT CAST(CAST(:value AS text) AS timestamptz)", "no time"),
    ],
)
async def test_a_value_that_does_not_fit_is_no_reason_to_distrust_the_database(
    pg_url: str, statement: str, value: str
) -> None:
    store = Store(pg_url)
    try:
        with pytest.raises(UnrecordableError) as raised:
            async with store.write() as tx:
                await tx.execute(text(statement), {"value": value})
        assert not isinstance(raised.value, UnavailableError)
    finally:
        await store.close()


@pytest.mark.parametrize("value", [10**30, "half a pair: \ud800"])
async def test_what_no_driver_can_say_is_the_values_fault(tmp_path: Path, value: int | str) -> None:
    store = Store(f"sqlite+aiosqlite:///{tmp_path / 'w.db'}")
    await with_counter(store)

    async def write() -> None:
        async with store.write() as tx:
            await tx.execute(update(counter).values(n=5))
            await tx.execute(text("SELECT :value"), {"value": value})

    with pytest.raises(UnrecordableError) as raised:
        await write()
    assert not isinstance(raised.value, UnavailableError)
    assert await value_of(store) == 0
    await store.close()
