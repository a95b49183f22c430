"""The checks of verify, pure: fed with raw pages, it re-derives the tree and every writer's chain, and notes what does
not fit and where.

It needs no entry models and no database. A problem found once is not repeated for everything that follows from it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from enum import StrEnum
from typing import Literal

from watchkeeper.core.entries import GENESIS_PREV
from watchkeeper.core.errors import VerificationError
from watchkeeper.core.model import Contract
from watchkeeper.ledger.checkpoint import Checkpoint, open_checkpoint
from watchkeeper.ledger.merkle import Tile, Tree, leaf_hash
from watchkeeper.ledger.note import VerifierKey, b64
from watchkeeper.ledger.snapshot import Copies, Page, RawRow

MAX_PROBLEMS = 100


class Code(StrEnum):
    """What is wrong. Stable names: they go into the API and into exit reports."""

    MISSING_ENTRY = "missing_entry"
    LEAF_DIFFERS = "leaf_differs"
    UNREADABLE_ENTRY = "unreadable_entry"
    COPIES_DIFFER = "copies_differ"
    WRITER_GAP = "writer_gap"
    WRITER_LINK = "writer_link"
    WRITER_HEAD = "writer_head"
    TILE_DIFFERS = "tile_differs"
    HEAD_DIFFERS = "head_differs"
    NOT_SIGNED = "not_signed"
    BAD_CHECKPOINT = "bad_checkpoint"
    CHECKPOINT_ROOT = "checkpoint_root"
    CHECKPOINT_BEYOND = "checkpoint_beyond"
    BAD_COSIGNATURE = "bad_cosignature"
    NO_QUORUM = "no_quorum"
    BAD_ANCHOR = "bad_anchor"
    ROLLED_BACK = "rolled_back"
    FORKED = "forked"
    LOST = "lost"
    DOUBLED = "doubled"
    DANGLING = "dangling"


class Problem(Contract):
    """`where` names the place: `entry 17`, `checkpoint 200`, `writer daemon`, `staged 5`, `tile 0/3`, `head`."""

    where: str
    code: Code


class VerifyReport(Contract):
    """`root` and `size` are what the entries give. `signed` is the size that the newest good checkpoint covers.
    `rollback` is `excluded` only up to the anchor's size, and only when an anchor was given and held."""

    ok: bool
    origin: str
    size: int
    root: str
    signed: int
    checkpoints: int
    pending: int = 0
    problems: tuple[Problem, ...] = ()
    more_problems: int = 0
    rollback: Literal["excluded", "not_excluded"]

    def lines(self) -> tuple[str, ...]:
        """The report for people."""
        verdict = "the ledger holds" if self.ok else "THE LEDGER DOES NOT HOLD"
        found = [f"{problem.where}: {problem.code}" for problem in self.problems]
        if self.more_problems:
            found.append(f"and {self.more_problems} more")
        anchor = "rollback excluded up to the anchor" if self.rollback == "excluded" else "rollback not excluded"
        facts = f"{self.size} entries, {self.checkpoints} checkpoints, {self.pending} pending, root {self.root}"
        return (f"{self.origin}: {verdict}", facts, anchor, *found)


class Audit:
    """Feed pages in order, then what waits, then ask for the report."""

    def __init__(self, keys: Iterable[VerifierKey], anchor: str | None = None) -> None:
        self._keys = tuple(keys)
        self._tree = Tree()
        self._next = 0
        self._writers: dict[str, tuple[int, str]] = {}
        self._problems: list[Problem] = []
        self._more = 0
        self._checkpoints = self._signed = self._pending = 0
        self._root_broken = False
        self._anchored = False
        self._anchor = self._open_anchor(anchor)

    @property
    def size(self) -> int:
        return self._tree.size

    def problem(self, where: str, code: Code) -> None:
        if len(self._problems) < MAX_PROBLEMS:
            self._problems.append(Problem(where=where, code=code))
        else:
            self._more += 1

    def page(self, page: Page) -> None:
        notes = iter(page.checkpoints)
        note = next(notes, None)
        tiles: list[Tile] = []
        for row in page.rows:
            self._row(row, tiles)
            while note is not None and note[0] <= self._next:
                self._checkpoint(*note)
                note = next(notes, None)
        while note is not None:
            self.problem(f"checkpoint {note[0]}", Code.CHECKPOINT_BEYOND)
            note = next(notes, None)
        if page.tiles is not None:
            derived = {(tile.level, tile.number): tile.root for tile in tiles}
            for level, number in sorted(derived.keys() | page.tiles.keys()):
                if derived.get((level, number)) != page.tiles.get((level, number)):
                    self.problem(f"tile {level}/{number}", Code.TILE_DIFFERS)

    def waiting(self, staged: int, body: bytes, copies: Copies) -> None:
        """A pending entry: it has no index yet, but it continues its writer's chain."""
        self._pending += 1
        self._entry(f"staged {staged}", body, copies)

    def head(self, size: int, peaks: bytes) -> None:
        if size != self._tree.size or (peaks != self._tree.packed() and not self._root_broken):
            self.problem("head", Code.HEAD_DIFFERS)

    def writers(self, stored: dict[str, tuple[int, bytes]]) -> None:
        """Holds the writers' rows against the chains; catches entries that were taken off a chain's end."""
        for writer in sorted(stored.keys() | self._writers.keys()):
            seq, last = stored.get(writer, (0, bytes.fromhex(GENESIS_PREV)))
            if (seq, last.hex()) != self._writers.get(writer, (0, GENESIS_PREV)):
                self.problem(f"writer {writer}", Code.WRITER_HEAD)

    def beyond(self, sizes: Iterable[int]) -> None:
        for size in sizes:
            self.problem(f"checkpoint {size}", Code.CHECKPOINT_BEYOND)

    def report(self) -> VerifyReport:
        tree = self._tree
        if self._signed < tree.size and not self._root_broken:
            self.problem(f"entry {self._signed}", Code.NOT_SIGNED)
        if self._anchor is not None and self._anchor.size > tree.size:
            self.problem(f"anchor {self._anchor.size}", Code.ROLLED_BACK)
        return VerifyReport(
            ok=not self._problems,
            origin=", ".join(sorted({key.name for key in self._keys})),
            size=tree.size,
            root=b64(tree.root()),
            signed=self._signed,
            checkpoints=self._checkpoints,
            pending=self._pending,
            problems=tuple(self._problems),
            more_problems=self._more,
            rollback="excluded" if self._anchored and not self._problems else "not_excluded",
        )

    def _open_anchor(self, note: str | None) -> Checkpoint | None:
        if note is None:
            return None
        try:
            anchor = open_checkpoint(note, self._keys)
        except VerificationError:
            self.problem("anchor", Code.BAD_ANCHOR)
            return None
        self._hold_anchor(anchor)
        return anchor

    def _hold_anchor(self, anchor: Checkpoint) -> None:
        if anchor.size != self._tree.size:
            return
        self._anchored = anchor.root == self._tree.root()
        if not self._anchored:
            self.problem(f"anchor {anchor.size}", Code.FORKED)

    def _row(self, row: RawRow, tiles: list[Tile]) -> None:
        if row.idx != self._next:
            self.problem(f"entry {self._next}", Code.MISSING_ENTRY)
        self._next = row.idx + 1
        if row.body is None:
            self.problem(f"entry {row.idx}", Code.MISSING_ENTRY)
            leaf = row.leaf or b""
        else:
            leaf = leaf_hash(row.body)
            if row.leaf is not None and leaf != row.leaf:
                self.problem(f"entry {row.idx}", Code.LEAF_DIFFERS)
        self._tree.append(leaf, tiles)
        if row.body is not None:
            self._entry(f"entry {row.idx}", row.body, row.copies)
        if self._anchor is not None:
            self._hold_anchor(self._anchor)

    def _entry(self, where: str, body: bytes, copies: Copies | None) -> None:
        """Checks what an entry says of itself, and its place in its writer's chain."""
        try:
            said = json.loads(body)
            source, seq, prev = said["source"], said["wkseq"], said["wkprev"]
            own = Copies(
                said["id"], source.rpartition("/")[2], seq, said["type"], said.get("subject", ""), said["time"]
            )
            known, last = self._writers.get(own.writer, (0, GENESIS_PREV))
            next_seq = seq + 0
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            self.problem(where, Code.UNREADABLE_ENTRY)
            return
        if copies is not None and copies != own:
            self.problem(where, Code.COPIES_DIFFER)
        if next_seq != known + 1:
            self.problem(where, Code.WRITER_GAP)
        elif prev != last:
            self.problem(where, Code.WRITER_LINK)
        self._writers[own.writer] = (next_seq, hashlib.sha256(body).hexdigest())

    def _checkpoint(self, size: int, note: str) -> None:
        self._checkpoints += 1
        try:
            checkpoint = open_checkpoint(note, self._keys)
        except VerificationError:
            self.problem(f"checkpoint {size}", Code.BAD_CHECKPOINT)
            return
        if checkpoint.size != size:
            self.problem(f"checkpoint {size}", Code.BAD_CHECKPOINT)
        elif checkpoint.root != self._tree.root():
            if not self._root_broken:
                self.problem(f"checkpoint {size}", Code.CHECKPOINT_ROOT)
            self._root_broken = True
        else:
            self._signed = size
