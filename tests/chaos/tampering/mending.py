"""What a careful adversary puts right after a change: all that needs no key."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from typing import Any

from watchkeeper.core.canonical import canonical
from watchkeeper.core.entries import GENESIS_PREV
from watchkeeper.ledger.tree.merkle import Tile, Tree, leaf_hash


def body_at(rows: sqlite3.Connection, index: int) -> bytes:
    query = "SELECT s.body FROM ledger_entry e JOIN ledger_staged s ON s.id = e.staged_id WHERE e.idx = ?"
    return bytes(rows.execute(query, (index,)).fetchone()[0])


def set_body(rows: sqlite3.Connection, index: int, body: bytes) -> None:
    rows.execute(
        "UPDATE ledger_staged SET body = ? WHERE id = (SELECT staged_id FROM ledger_entry WHERE idx = ?)", (body, index)
    )


def size_of(rows: sqlite3.Connection) -> int:
    return int(rows.execute("SELECT count(*) FROM ledger_entry").fetchone()[0])


def renumber(rows: sqlite3.Connection) -> None:
    """Closes gaps: indices in order of what is left."""
    left = rows.execute("SELECT idx FROM ledger_entry ORDER BY idx").fetchall()
    for position, (index,) in enumerate(left):
        if position != index:
            rows.execute("UPDATE ledger_entry SET idx = ? WHERE idx = ?", (position, index))


def mend(rows: sqlite3.Connection) -> None:
    """Chains, copies, leaves, tiles, head and writers as if every body had always been so."""
    writers: dict[str, tuple[int, str]] = {}
    tree = Tree()
    tiles: list[Tile] = []
    query = "SELECT e.idx, s.id, s.body FROM ledger_entry e JOIN ledger_staged s ON s.id = e.staged_id ORDER BY e.idx"
    for index, staged, body in rows.execute(query).fetchall():
        mended = _chained(json.loads(body), writers)
        leaf = leaf_hash(mended)
        tree.append(leaf, tiles)
        rows.execute("UPDATE ledger_entry SET leaf = ? WHERE idx = ?", (leaf, index))
        said = json.loads(mended)
        rows.execute(
            "UPDATE ledger_staged SET body=?, entry_id=?, writer=?, seq=-?, type=?, subject=?, time=? WHERE id=?",
            (
                mended,
                said["id"],
                said["source"].rpartition("/")[2],
                said["wkseq"],
                said["type"],
                said.get("subject", ""),
                said["time"],
                staged,
            ),
        )
    rows.execute("UPDATE ledger_staged SET seq = -seq WHERE seq < 0")
    rows.execute("DELETE FROM ledger_tile")
    rows.executemany("INSERT INTO ledger_tile(level, idx, root) VALUES (?, ?, ?)", tiles)
    rows.execute("UPDATE ledger_head SET size = ?, peaks = ?", (tree.size, tree.packed()))
    rows.execute("DELETE FROM ledger_writer")
    for writer, (seq, last) in writers.items():
        rows.execute("INSERT INTO ledger_writer VALUES (?, ?, ?)", (writer, seq, bytes.fromhex(last)))


def _chained(said: dict[str, Any], writers: dict[str, tuple[int, str]]) -> bytes:
    writer = said["source"].rpartition("/")[2]
    seq, last = writers.get(writer, (0, GENESIS_PREV))
    said["wkseq"], said["wkprev"] = seq + 1, last
    body = canonical(said)
    writers[writer] = seq + 1, hashlib.sha256(body).hexdigest()
    return body


def drop_checkpoints_above(rows: sqlite3.Connection, size: int) -> None:
    rows.execute("DELETE FROM ledger_checkpoint WHERE size > ?", (size,))
