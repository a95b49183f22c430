"""Changes of what stands around the entries: tiles, checkpoints, head, chains, what waits, evidence, marks."""

from __future__ import annotations

import random
import sqlite3

from tests.chaos.tampering.mending import size_of
from tests.chaos.tampering.world import World
from watchkeeper.ledger.evidence.store import inflate


def tile(world: World, rng: random.Random) -> set[str]:
    with world.rows() as rows:
        level, number, root = rng.choice(rows.execute("SELECT level, idx, root FROM ledger_tile").fetchall())
        if rng.random() < 0.3:
            rows.execute("DELETE FROM ledger_tile WHERE level = ? AND idx = ?", (level, number))
        else:
            changed = (_flipped(root, rng), level, number)
            rows.execute("UPDATE ledger_tile SET root = ? WHERE level = ? AND idx = ?", changed)
    return {f"tile {level}/{number}"}


def checkpoint(world: World, rng: random.Random) -> set[str]:
    """A flipped bit in a signed note, anywhere in its text or signature."""
    with world.rows() as rows:
        size, body = rng.choice(rows.execute("SELECT size, body FROM ledger_checkpoint").fetchall())
        raw = bytearray(body.encode())
        while True:
            at = rng.randrange(len(raw))
            changed = raw[at] ^ (1 << rng.randrange(7))
            if raw[at] < 0x80 and changed != 0:
                break
        raw[at] = changed
        rows.execute("UPDATE ledger_checkpoint SET body = ? WHERE size = ?", (raw.decode(), size))
    return {f"checkpoint {size}"}


def checkpoint_moved(world: World, rng: random.Random) -> set[str]:
    """A good checkpoint under the size of another, or one of a foreign log."""
    with world.rows() as rows, world.foreign_rows() as foreign:
        notes = rows.execute("SELECT size, body FROM ledger_checkpoint").fetchall()
        size = rng.choice(notes)[0]
        source = [note for note in notes if note[0] != size] if rng.random() < 0.5 else _notes(foreign)
        rows.execute("UPDATE ledger_checkpoint SET body = ? WHERE size = ?", (rng.choice(source)[1], size))
    return {f"checkpoint {size}"}


def newest_checkpoint_gone(world: World, rng: random.Random) -> set[str]:
    with world.rows() as rows:
        sizes = [row[0] for row in rows.execute("SELECT size FROM ledger_checkpoint ORDER BY size")]
        rows.execute("DELETE FROM ledger_checkpoint WHERE size = ?", (sizes[-1],))
    return {f"entry {sizes[-2]}"}


def head(world: World, rng: random.Random) -> set[str]:
    with world.rows() as rows:
        size, peaks = rows.execute("SELECT size, peaks FROM ledger_head").fetchone()
        if rng.random() < 0.5:
            rows.execute("UPDATE ledger_head SET size = ?", (rng.choice((size - 1, size + 1, 0)),))
        else:
            rows.execute("UPDATE ledger_head SET peaks = ?", (_flipped(peaks, rng),))
    return {"head"}


def leaf(world: World, rng: random.Random) -> set[str]:
    with world.rows() as rows:
        at = rng.randrange(size_of(rows))
        old = rows.execute("SELECT leaf FROM ledger_entry WHERE idx = ?", (at,)).fetchone()[0]
        rows.execute("UPDATE ledger_entry SET leaf = ? WHERE idx = ?", (_flipped(old, rng), at))
    return {f"entry {at}"}


def search_copy(world: World, rng: random.Random) -> set[str]:
    with world.rows() as rows:
        at = rng.randrange(size_of(rows))
        column, value = rng.choice(
            (
                ("type", "x"),
                ("subject", "x"),
                ("entry_id", "x"),
                ("time", "2020-01-01T00:00:00.000000Z"),
                ("writer", "x"),
            )
        )
        of_entry = "WHERE id = (SELECT staged_id FROM ledger_entry WHERE idx = ?)"
        rows.execute(f"UPDATE ledger_staged SET {column} = ? {of_entry}", (value, at))
    return {f"entry {at}"}


def writer(world: World, rng: random.Random) -> set[str]:
    with world.rows() as rows:
        name, last = rng.choice(rows.execute("SELECT writer, prev_hash FROM ledger_writer").fetchall())
        match rng.randrange(3):
            case 0:
                rows.execute("UPDATE ledger_writer SET seq = seq + 1 WHERE writer = ?", (name,))
            case 1:
                rows.execute("UPDATE ledger_writer SET prev_hash = ? WHERE writer = ?", (_flipped(last, rng), name))
            case _:
                rows.execute("DELETE FROM ledger_writer WHERE writer = ?", (name,))
    return {f"writer {name}"}


def waiting(world: World, rng: random.Random) -> set[str]:
    """An entry that has its index is pending again, or an id that is nowhere."""
    with world.rows() as rows:
        if rng.random() < 0.5:
            staged = rng.choice(rows.execute("SELECT staged_id FROM ledger_entry").fetchall())[0]
        else:
            staged = 1_000_000 + rng.randrange(1000)
        rows.execute("INSERT INTO ledger_pending(id) VALUES (?)", (staged,))
    return {f"staged {staged}"}


def evidence(world: World, rng: random.Random) -> set[str]:
    with world.rows() as rows:
        query = "SELECT commitment, salt, body FROM evidence ORDER BY commitment"
        one, other = rng.sample(rows.execute(query).fetchall(), 2)
        match rng.randrange(5):
            case 0:
                rows.execute("UPDATE evidence SET body = ? WHERE commitment = ?", (_otherwise(one[2], rng), one[0]))
            case 1:
                rows.execute("UPDATE evidence SET salt = ? WHERE commitment = ?", (_flipped(one[1], rng), one[0]))
            case 2:
                changed = (other[1], other[2], one[0])
                rows.execute("UPDATE evidence SET salt = ?, body = ? WHERE commitment = ?", changed)
            case 3:
                column, value = rng.choice((("kind", "series"), ("media_type", "text/html"), ("size", 1)))
                rows.execute(f"UPDATE evidence SET {column} = ? WHERE commitment = ?", (value, one[0]))
            case _:
                rows.execute("DELETE FROM evidence WHERE commitment = ?", (one[0],))
    return {f"evidence {one[0]}"}


def false_mark(world: World, rng: random.Random) -> set[str]:
    """Entries are deleted and the log says that they were pruned, which no entry tells of."""
    with world.rows() as rows:
        end = 256 * rng.choice((1, 2))
        last = rows.execute("SELECT max(staged_id) FROM ledger_entry WHERE idx < ?", (end,)).fetchone()[0]
        rows.execute("DELETE FROM ledger_staged WHERE id IN (SELECT staged_id FROM ledger_entry WHERE idx < ?)", (end,))
        values = (end, last, "2026-01-01T00:00:00.000000Z")
        rows.execute('INSERT INTO ledger_pruned("end", last_staged_id, at) VALUES (?, ?, ?)', values)
    return {f"pruned {end}"}


def _flipped(raw: bytes, rng: random.Random) -> bytes:
    changed = bytearray(raw)
    changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _otherwise(packed: bytes, rng: random.Random) -> bytes:
    """A bit of a compressed body, but none of those that only fill its last byte: those change nothing that it says."""
    while inflate(changed := _flipped(packed, rng)) == inflate(packed):
        pass
    return changed


def _notes(rows: sqlite3.Connection) -> list[tuple[int, str]]:
    return rows.execute("SELECT size, body FROM ledger_checkpoint").fetchall()


_TYPED = (
    ("ledger_entry", "leaf", "idx", "entry {}"),
    ("ledger_tile", "root", "idx", "tile 0/{}"),
    ("ledger_checkpoint", "body", "size", "checkpoint {}"),
    ("ledger_checkpoint", "signed_at", "size", "checkpoint {}"),
    ("ledger_head", "size", "one", "head"),
    ("ledger_head", "peaks", "one", "head"),
    ("ledger_head", "last_time", "one", "head"),
    ("ledger_writer", "seq", "writer", "writer {}"),
    ("ledger_writer", "prev_hash", "writer", "writer {}"),
    ("evidence", "salt", "commitment", "evidence {}"),
    ("evidence", "body", "commitment", "evidence {}"),
    ("evidence", "kind", "commitment", "evidence {}"),
    ("evidence", "size", "commitment", "evidence {}"),
    ("evidence", "commitment", "commitment", "evidence {}"),
    *(("ledger_staged", column, "id", "") for column in ("body", "entry_id", "seq", "type", "subject", "time")),
)
"""Column, key, and the place of its row; a staged row's place is its entry's."""


def other_type(world: World, rng: random.Random) -> set[str]:
    """The same bytes as a value of another type, which SQLite keeps in any column."""
    table, column, key, place = rng.choice(_TYPED)
    with world.rows() as rows:
        found = f"SELECT {key}, {column}, typeof({column}) FROM {table} {'WHERE level = 0' * (table == 'ledger_tile')}"
        at, value, kind = rng.choice(rows.execute(f"{found} ORDER BY {key}").fetchall())
        other = {"blob": "CAST(? AS TEXT)", "text": "CAST(? AS BLOB)", "integer": "CAST(? AS BLOB)"}[kind]
        where = f"{key} = ?" + " AND level = 0" * (table == "ledger_tile")
        rows.execute(f"UPDATE {table} SET {column} = {other} WHERE {where}", (value, at))
        if not place:
            (index,) = rows.execute("SELECT idx FROM ledger_entry WHERE staged_id = ?", (at,)).fetchone()
            return {f"entry {index}"}
    return {place.format(at)}


KINDS = (
    other_type,
    tile,
    checkpoint,
    checkpoint_moved,
    newest_checkpoint_gone,
    head,
    leaf,
    search_copy,
    writer,
    waiting,
    evidence,
    false_mark,
)
