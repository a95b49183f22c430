"""Changes of entries in the database. Each returns where the report must point to at least once."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3

from tests.chaos.tampering.mending import (
    body_at,
    drop_checkpoints_above,
    mend,
    renumber,
    set_body,
    size_of,
)
from tests.chaos.tampering.world import World
from watchkeeper.core.canonical import canonical


def flip_bit(world: World, rng: random.Random) -> set[str]:
    with world.rows() as rows:
        at = rng.randrange(size_of(rows))
        body = bytearray(body_at(rows, at))
        body[rng.randrange(len(body))] ^= 1 << rng.randrange(8)
        set_body(rows, at, bytes(body))
    return {f"entry {at}"}


def edit(world: World, rng: random.Random) -> set[str]:
    """One value is another one, in canonical form; leaf, chain and tree are left."""
    with world.rows() as rows:
        at = rng.randrange(size_of(rows))
        set_body(rows, at, _edited(body_at(rows, at), rng))
    return {f"entry {at}"}


def edit_and_mend(world: World, rng: random.Random) -> set[str]:
    """All that needs no key is put right: the first checkpoint that covers it does not hold."""
    with world.rows() as rows:
        at = rng.randrange(size_of(rows))
        set_body(rows, at, _edited(body_at(rows, at), rng))
        mend(rows)
        return {_covering(rows, at)}


def delete(world: World, rng: random.Random) -> set[str]:
    with world.rows() as rows:
        at = rng.randrange(size_of(rows))
        rows.execute("DELETE FROM ledger_staged WHERE id = (SELECT staged_id FROM ledger_entry WHERE idx = ?)", (at,))
        if rng.random() < 0.5:
            rows.execute("DELETE FROM ledger_entry WHERE idx = ?", (at,))
            last = at == size_of(rows)
            return {"head"} if last else {f"entry {at}"}
    return {f"entry {at}"}


def delete_and_mend(world: World, rng: random.Random) -> set[str]:
    with world.rows() as rows:
        at = rng.randrange(size_of(rows))
        covering = _covering(rows, at)
        rows.execute("DELETE FROM ledger_staged WHERE id = (SELECT staged_id FROM ledger_entry WHERE idx = ?)", (at,))
        rows.execute("DELETE FROM ledger_entry WHERE idx = ?", (at,))
        renumber(rows)
        mend(rows)
        return {covering}


def insert_and_mend(world: World, rng: random.Random) -> set[str]:
    with world.rows() as rows:
        size = size_of(rows)
        at = rng.randrange(size + 1)
        said = json.loads(body_at(rows, rng.randrange(size)))
        said["id"] = f"ent_{rng.getrandbits(112):028x}"
        covering = f"entry {size}" if at == size else _covering(rows, at)
        rows.execute("UPDATE ledger_entry SET idx = -idx - 1 WHERE idx >= ?", (at,))
        rows.execute("UPDATE ledger_entry SET idx = -idx WHERE idx < 0")
        columns = "(entry_id, writer, seq, type, subject, time, body)"
        forged = (said["id"], "forged", 1, said["type"], "", said["time"], canonical(said))
        staged = rows.execute(f"INSERT INTO ledger_staged {columns} VALUES (?, ?, ?, ?, ?, ?, ?)", forged).lastrowid
        rows.execute("INSERT INTO ledger_entry(idx, staged_id, leaf) VALUES (?, ?, x'00')", (at, staged))
        mend(rows)
        return {covering}


def swap(world: World, rng: random.Random) -> set[str]:
    """Two entries change places, with or without their leaves."""
    with world.rows() as rows:
        one, other = sorted(rng.sample(range(size_of(rows)), 2))
        moved = "staged_id" if rng.random() < 0.5 else "staged_id, leaf"
        query = f"SELECT {moved} FROM ledger_entry WHERE idx = ?"
        values = [rows.execute(query, (at,)).fetchone() for at in (one, other)]
        rows.execute("UPDATE ledger_entry SET staged_id = -staged_id WHERE idx IN (?, ?)", (one, other))
        for at, value in ((one, values[1]), (other, values[0])):
            rows.execute("UPDATE ledger_entry SET staged_id = ? WHERE idx = ?", (value[0], at))
            if len(value) == 2:
                rows.execute("UPDATE ledger_entry SET leaf = ? WHERE idx = ?", (value[1], at))
        covering = _covering(rows, one)
    return {f"entry {one}", f"entry {other}"} if len(values[0]) == 1 else {covering, f"entry {one}"}


def swap_and_mend(world: World, rng: random.Random) -> set[str]:
    with world.rows() as rows:
        one, other = sorted(rng.sample(range(size_of(rows)), 2))
        covering = _covering(rows, one)
        first, second = body_at(rows, one), body_at(rows, other)
        ids = [
            rows.execute("SELECT staged_id FROM ledger_entry WHERE idx = ?", (at,)).fetchone()[0] for at in (one, other)
        ]
        rows.execute("UPDATE ledger_staged SET entry_id = 'a' || entry_id WHERE id IN (?, ?)", ids)
        set_body(rows, one, second)
        set_body(rows, other, first)
        mend(rows)
    return {covering}


def truncate(world: World, rng: random.Random) -> set[str]:
    """The log ends earlier, at one of its own checkpoints, all put right: only what was remembered tells."""
    with world.rows() as rows:
        sizes = [row[0] for row in rows.execute("SELECT size FROM ledger_checkpoint ORDER BY size")][:-1]
        end = rng.choice(sizes)
        _cut(rows, end)
    return {_anchor(world)}


def cut_anywhere(world: World, rng: random.Random) -> set[str]:
    with world.rows() as rows:
        end = rng.randrange(1, size_of(rows))
        _cut(rows, end)
    return {_anchor(world)}


def rollback(world: World, rng: random.Random) -> set[str]:
    """The whole database as it once was."""
    shutil.copyfile(world.honest.older, world.database)
    return {_anchor(world)}


def fork(world: World, rng: random.Random) -> set[str]:
    """From some point on another history of the same length, under the old checkpoints."""
    with world.rows() as rows:
        size = size_of(rows)
        at = rng.randrange(size)
        covering = _covering(rows, at)
        for index in range(at, size):
            set_body(rows, index, _edited(body_at(rows, index), rng))
        mend(rows)
    return {covering}


def from_another_log(world: World, rng: random.Random) -> set[str]:
    """An entry, or a whole database, of another log of the same name."""
    if rng.random() < 0.1:
        shutil.copyfile(world.honest.foreign, world.database)
        return {"anchor", *(f"checkpoint {size}" for size in _sizes(world))}
    with world.rows() as rows, world.foreign_rows() as foreign:
        at = rng.randrange(size_of(rows))
        set_body(rows, at, body_at(foreign, at))
        if rng.random() < 0.5:
            mend(rows)
            return {_covering(rows, at)}
    return {f"entry {at}"}


def _edited(body: bytes, rng: random.Random) -> bytes:
    said = json.loads(body)
    said["id"] = f"ent_{rng.getrandbits(112):028x}"
    return canonical(said)


def _cut(rows: sqlite3.Connection, end: int) -> None:
    rows.execute("DELETE FROM ledger_staged WHERE id IN (SELECT staged_id FROM ledger_entry WHERE idx >= ?)", (end,))
    rows.execute("DELETE FROM ledger_entry WHERE idx >= ?", (end,))
    drop_checkpoints_above(rows, end)
    mend(rows)


def _covering(rows: sqlite3.Connection, index: int) -> str:
    """The first checkpoint that covers an index."""
    row = rows.execute("SELECT min(size) FROM ledger_checkpoint WHERE size > ?", (index,)).fetchone()
    return f"checkpoint {row[0]}"


def _sizes(world: World) -> list[int]:
    with world.rows() as rows:
        return [row[0] for row in rows.execute("SELECT size FROM ledger_checkpoint")]


def _anchor(world: World) -> str:
    return f"anchor {world.honest.anchor.splitlines()[1]}"


KINDS = (
    flip_bit,
    edit,
    edit_and_mend,
    delete,
    delete_and_mend,
    insert_and_mend,
    swap,
    swap_and_mend,
    truncate,
    cut_anywhere,
    rollback,
    fork,
    from_another_log,
)
