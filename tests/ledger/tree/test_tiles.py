"""Tiles: the specification's own examples, one spelling for every path, every served byte against the definition."""

from __future__ import annotations

import pymerkle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, insert
from tests.testbed.ledgers import Log
from tests.testbed.stores import unguarded

from watchkeeper.core.errors import LedgerError, NotFoundError
from watchkeeper.ledger.tables import ledger_pruned, ledger_staged
from watchkeeper.ledger.tree.merkle import TILE, Tree, leaf_hash
from watchkeeper.ledger.tree.served import tile
from watchkeeper.ledger.tree.tilepath import TilePath, width_at
from watchkeeper.ledger.tree.tiling import Tiling, bundle, unbundle
from watchkeeper.store.engine import Store

paths = st.builds(
    TilePath,
    st.none() | st.integers(0, 63),
    st.integers(0, 10**21 - 1) | st.integers(0, 2000),
    st.integers(1, TILE),
)


def test_the_specification_s_path() -> None:
    assert TilePath(0, 1234067).to_text() == "tile/0/x001/x234/067"
    assert TilePath.from_text("tile/63/x001/x234/067.p/255") == TilePath(63, 1234067, 255)
    assert TilePath.from_text("tile/entries/x001/000") == TilePath(None, 1000)


@given(paths)
def test_a_path_that_was_written_is_read_again(path: TilePath) -> None:
    assert TilePath.from_text(path.to_text()) == path


@given(st.text("0123456789x/.ptilen rs", max_size=40) | st.from_regex(r"tile/[0-9]{1,2}/(x[0-9]{3}/)*[0-9]{3}"))
def test_whatever_is_read_at_all_is_written_back_unchanged(text: str) -> None:
    try:
        path = TilePath.from_text(text)
    except ValueError:
        return
    assert path.to_text() == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tile/0/0",
        "tile/64/000",
        "tile/00/000",
        "tile/-1/000",
        "tile/0/x000/001",
        "tile/0/001/002",
        "tile/0/x001/x002",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/",
        "tile/0/000/",
        "/tile/0/000",
        "tile/0/../000",
        "tile/entry/000",
        "tile/0/٠٠٠",
        "tile/0/000\n",
        "tile/0/" + "x001/" * 7 + "001",
    ],
)
def test_every_other_spelling_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="tile"):
        TilePath.from_text(text)


def test_the_specification_s_tree_of_70000_entries() -> None:
    """273 full tiles and one of 112 at level 0; one full and one of 17 at level 1; one of width 1 at level 2."""
    tiling, found = Tiling(), []
    for number in range(70_000):
        found += [path for path, _ in tiling.append(number.to_bytes(32, "big"))]
    found += [path for path, _ in tiling.rest()]
    levels = [[path for path in found if path.level == level] for level in range(4)]
    assert [path.number for path in levels[0]] == list(range(274))
    assert {path.width for path in levels[0][:-1]} == {TILE}
    assert levels[0][-1].width == 112
    assert levels[1:] == [[TilePath(1, 0), TilePath(1, 1, 17)], [TilePath(2, 0, 1)], []]
    for path in found:
        assert path.level is not None
        assert width_at(path.level, path.number, 70_000) == path.width
        assert path.within(70_000)
        assert path.width == TILE or not TilePath(path.level, path.number, path.width + 1).within(70_000)


def test_a_tree_of_256_entries_has_a_full_tile_and_one_above_it() -> None:
    tiling = Tiling()
    found = [path for n in range(TILE) for path, _ in tiling.append(bytes(32))] + [path for path, _ in tiling.rest()]
    assert found == [TilePath(0, 0), TilePath(1, 0, 1)]


@given(st.lists(st.binary(max_size=300), max_size=TILE))
def test_bundles_are_read_as_they_were_written(bodies: list[bytes]) -> None:
    assert unbundle(bundle(bodies)) == bodies


@given(st.binary(max_size=400))
def test_a_bundle_that_is_read_at_all_is_written_back_unchanged(data: bytes) -> None:
    try:
        bodies = unbundle(data)
    except ValueError:
        return
    assert bundle(bodies) == data


def test_a_cut_or_endless_bundle_is_refused() -> None:
    for bad in (b"\x00", b"\x00\x02a", bundle([b""] * (TILE + 1))):
        with pytest.raises(ValueError, match="cut"):
            unbundle(bad)


@given(st.integers(1, 700))
def test_tiles_are_pymerkle_s_subtrees(size: int) -> None:
    """Every hash of every tile is the root of its leaves in a tree that we did not write."""
    tiling, tree = Tiling(), Tree()
    leaves = [leaf_hash(b"%d" % n) for n in range(size)]
    found = {path: data for leaf in leaves for path, data in tiling.append(leaf)} | dict(tiling.rest())
    tree.extend(leaves)
    for path, data in found.items():
        assert path.level is not None
        span = TILE**path.level
        for at in {0, path.width // 2, path.width - 1}:
            first = (path.number * TILE + at) * span
            theirs = pymerkle.InmemoryTree("sha256")
            for n in range(first, first + span):
                theirs.append_entry(b"%d" % n)
            assert data[32 * at : 32 * at + 32] == theirs.get_root()


async def test_what_is_served_is_the_log(store: Store) -> None:
    log = Log(store)
    await log.grow(200, 300, 70)
    bodies = [entry.envelope.to_bytes() for entry in await log.reader.entries(0, 570)]
    tiling = Tiling()
    whole = [each for body in bodies for each in tiling.append(leaf_hash(body))]
    async with store.read() as tx:
        for path, data in (*whole, *tiling.rest()):
            assert await tile(tx, path) == data
        for path in (TilePath(None, 0), TilePath(None, 1), TilePath(None, 2, 58), TilePath(None, 0, 200)):
            assert unbundle(await tile(tx, path)) == bodies[path.number * TILE : path.end]
        assert await tile(tx, TilePath(0, 0, 200)) == b"".join(map(leaf_hash, bodies[:200])), "an earlier checkpoint's"
        for beyond in (TilePath(0, 2), TilePath(0, 2, 59), TilePath(1, 0), TilePath(1, 0, 3), TilePath(2, 0, 1)):
            with pytest.raises(NotFoundError, match="is not in this log"):
                await tile(tx, beyond)
        with pytest.raises(NotFoundError):
            await tile(tx, TilePath(None, 2))
        with pytest.raises(NotFoundError):
            await tile(tx, TilePath(63, 0, 1))


async def test_pruned_entries_are_not_found_and_their_hashes_are(store: Store) -> None:
    log = Log(store)
    await log.grow(600)
    async with store.write() as tx:
        await unguarded(tx)
        await tx.execute(insert(ledger_pruned).values(end=256, last_staged_id=256, at=log.clock.now()))
        await tx.execute(delete(ledger_staged).where(ledger_staged.c.seq <= 256))
    async with store.read() as tx:
        assert len(await tile(tx, TilePath(0, 0))) == 32 * TILE
        with pytest.raises(NotFoundError, match="not served any more"):
            await tile(tx, TilePath(None, 0))
        assert len(unbundle(await tile(tx, TilePath(None, 1)))) == TILE


async def test_a_missing_entry_that_was_not_pruned_is_no_pruned_one(store: Store) -> None:
    log = Log(store)
    await log.grow(10)
    async with store.write() as tx:
        await unguarded(tx)
        await tx.execute(delete(ledger_staged).where(ledger_staged.c.seq == 3))
    async with store.read() as tx:
        with pytest.raises(LedgerError, match="cannot be read"):
            await tile(tx, TilePath(None, 0, 10))
