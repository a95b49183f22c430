"""The ledger's tables. Everything is insert-only but `ledger_writer`, `ledger_pending` and `ledger_head`.

A staged row is written by the caller's transaction and never changes; its index is a row of its own, written later by
the sequencer, so that no committed row is ever updated. Rows of `evidence` may go, and staged rows once they are marked
as pruned. Triggers hold all this (store/guards.py); that indices have no gap is the sequencer's and verify's to see,
since a trigger for each row of a batch costs more than the row. Column formats are in docs/ledger.md.
"""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Index, Integer, LargeBinary, String, Table, Text
from sqlalchemy import UniqueConstraint as Unique

from watchkeeper.core.entries import EntryType
from watchkeeper.store.guards import Guard, append_only, guard
from watchkeeper.store.metadata import METADATA, BigId, InstantText

ledger_writer = Table(
    "ledger_writer",
    METADATA,
    Column("writer", String(128), primary_key=True),
    Column("seq", BigId, nullable=False),
    Column("prev_hash", LargeBinary(32), nullable=False),
)
"""One row for each writer: its last count and the SHA-256 of its last entry. Locked while it appends."""

ledger_staged = Table(
    "ledger_staged",
    METADATA,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("entry_id", String(64), nullable=False, unique=True),
    Column("writer", String(128), nullable=False),
    Column("seq", BigId, nullable=False),
    Column("type", String(128), nullable=False),
    Column("subject", Text, nullable=False),
    Column("time", InstantText, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Unique("writer", "seq"),
    Index("ix_ledger_staged_subject", "subject", "id"),
    Index("ix_ledger_staged_type", "type", "id"),
    Index("ix_ledger_staged_time", "time", postgresql_using="brin"),
)
"""The entry's bytes, and copies of what is searched for; fsck holds the copies against the bytes."""

ledger_pending = Table("ledger_pending", METADATA, Column("id", BigId, primary_key=True, autoincrement=False))
"""Staged ids without an index yet. Ids become visible out of order, so "greater than the last" would lose some."""

ledger_entry = Table(
    "ledger_entry",
    METADATA,
    Column("idx", BigId, primary_key=True, autoincrement=False),
    Column("staged_id", BigId, nullable=False, unique=True),
    Column("leaf", LargeBinary(32), nullable=False),
)
"""An index names its staged row, and outlives it: a pruned entry leaves its leaf hash."""

ledger_tile = Table(
    "ledger_tile",
    METADATA,
    Column("level", Integer, primary_key=True, autoincrement=False),
    Column("idx", BigId, primary_key=True, autoincrement=False),
    Column("root", LargeBinary(32), nullable=False),
)
"""Roots of full tiles (C2SP tlog-tiles): tile (0, n) holds leaves 256n to 256n+255, tile (l, n) the roots of 256 tiles
of level l-1. With them a proof or a served tile reads a few ranges of rows and hashes at most 256 values in each."""

ledger_head = Table(
    "ledger_head",
    METADATA,
    Column("one", Integer, primary_key=True, autoincrement=False),
    Column("size", BigId, nullable=False),
    Column("peaks", LargeBinary, nullable=False),
    Column("fence", BigId, nullable=False),
    Column("last_time", InstantText, nullable=True),
    CheckConstraint("one = 1", name="ck_ledger_head_one"),
)
"""Where the tree stands. Changes only together with a new checkpoint of the same size."""

ledger_checkpoint = Table(
    "ledger_checkpoint",
    METADATA,
    Column("size", BigId, primary_key=True, autoincrement=False),
    Column("body", Text, nullable=False),
    Column("signed_at", InstantText, nullable=False),
)

ledger_cosignature = Table(
    "ledger_cosignature",
    METADATA,
    Column("size", BigId, primary_key=True, autoincrement=False),
    Column("vkey", String(2048), primary_key=True),
    Column("line", Text, nullable=False),
    Column("at", InstantText, nullable=False),
)
"""What a witness signed of a checkpoint: one signature line of C2SP tlog-cosignature, with its newline."""

ledger_pruned = Table(
    "ledger_pruned",
    METADATA,
    Column("end", BigId, primary_key=True, autoincrement=False),
    Column("last_staged_id", BigId, nullable=False),
    Column("at", InstantText, nullable=False),
)
"""Entries with an index below the greatest `end` may be gone from `ledger_staged`; a deletion beyond it is refused."""

evidence = Table(
    "evidence",
    METADATA,
    Column("commitment", String(96), primary_key=True),
    Column("salt", LargeBinary(32), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("media_type", String(128), nullable=False),
    Column("size", Integer, nullable=False),
    Column("created", InstantText, nullable=False),
    Index("ix_evidence_kind_created", "kind", "created"),
)

PERMANENT = (EntryType.KEY_ROTATED, EntryType.ARCHIVED, EntryType.ENTRIES_PRUNED)
"""Entries about the record itself: no pruning takes them, since without them the rest cannot be explained."""

_NAMED = ", ".join(f"'{each.value}'" for each in PERMANENT)
_NOT_PRUNED = (
    f"OLD.type IN ({_NAMED}) OR NOT EXISTS (SELECT 1 FROM ledger_entry AS e "  # noqa: S608  # all of it is ours
    'JOIN ledger_pruned AS p ON e.idx < p."end" AND e.staged_id <= p.last_staged_id '
    'WHERE e.staged_id = OLD.id AND p."end" = (SELECT max("end") FROM ledger_pruned))'
)

for _table in (ledger_entry, ledger_tile, ledger_checkpoint, ledger_cosignature, ledger_pruned):
    append_only(_table)
append_only(ledger_staged, delete_when=_NOT_PRUNED)
guard(
    ledger_checkpoint,
    Guard(
        "ledger_checkpoint",
        "INSERT",
        "only grows",
        "NEW.size <= (SELECT max(size) FROM ledger_checkpoint)",
    ),
)
guard(
    ledger_pruned,
    Guard(
        "ledger_pruned",
        "INSERT",
        "only grows",
        'EXISTS (SELECT 1 FROM ledger_pruned AS p WHERE p."end" >= NEW."end" OR p.last_staged_id > NEW.last_staged_id)',
    ),
)
guard(
    ledger_head,
    Guard(
        "ledger_head",
        "UPDATE",
        "never goes back",
        "NEW.one <> OLD.one OR NEW.size < OLD.size OR NEW.fence < OLD.fence OR NEW.last_time < OLD.last_time "
        "OR (NEW.last_time IS NULL AND OLD.last_time IS NOT NULL) OR (NEW.size = OLD.size AND NEW.peaks <> OLD.peaks)",
    ),
    Guard("ledger_head", "DELETE", "never goes back"),
    Guard("ledger_head", "TRUNCATE", "never goes back"),
)
guard(
    ledger_writer,
    Guard(
        "ledger_writer",
        "UPDATE",
        "never goes back",
        "NEW.writer <> OLD.writer OR NEW.seq < OLD.seq OR (NEW.seq = OLD.seq AND NEW.prev_hash <> OLD.prev_hash)",
    ),
    Guard("ledger_writer", "DELETE", "never goes back"),
    Guard("ledger_writer", "TRUNCATE", "never goes back"),
)
guard(
    ledger_pending,
    Guard("ledger_pending", "UPDATE", "holds ids, not values"),
    Guard("ledger_pending", "TRUNCATE", "is emptied by the sequencer alone"),
)
guard(
    evidence,
    Guard("evidence", "UPDATE", "may be erased, not changed"),
    Guard("evidence", "TRUNCATE", "may be erased, not emptied"),
)
