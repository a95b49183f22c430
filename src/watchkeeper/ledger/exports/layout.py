"""The names of an export's files. What is in them: `members` writes it, `export` checks it."""

from __future__ import annotations

CHECKPOINT, CHECKPOINTS, ENTRIES, START, VKEY = "checkpoint", "checkpoints.jsonl", "entries.jsonl", "start", "vkey"
COSIGNED = "cosigned.jsonl"
