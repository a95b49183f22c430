"""The checks of verify, pure: fed with raw pages, it hashes the stored bytes as they are, re-derives the tree, and
notes what does not fit and where.

It needs no entry models and no database, and does not read what an entry says: that is fsck's business. A problem found
once is not repeated for everything that follows from it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Literal, cast

from watchkeeper.core.errors import VerificationError
from watchkeeper.core.model import Contract
from watchkeeper.ledger.signing.checkpoint import Checkpoint
from watchkeeper.ledger.signing.keychain import KeyChain, Rotation
from watchkeeper.ledger.signing.note import VerifierKey, b64
from watchkeeper.ledger.snapshot import Page, Rows
from watchkeeper.ledger.tree.merkle import Tile, Tree, leaf_hash, leaf_hashes

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
    NOT_CANONICAL = "not_canonical"
    BAD_DATA = "bad_data"
    CHECKPOINT_TIME = "checkpoint_time"
    EVIDENCE_DIFFERS = "evidence_differs"
    EVIDENCE_MISSING = "evidence_missing"
    PRUNED_UNTOLD = "pruned_untold"
    PRUNED_DIFFERS = "pruned_differs"


class Problem(Contract):
    """`where` names the place: `entry 17`, `checkpoint 200`, `writer daemon`, `staged 5`, `tile 0/3`, `head`,
    `evidence hmac-sha256:…`, `pruned 512`."""

    where: str
    code: Code


class VerifyReport(Contract):
    """`root` and `size` are what the entries give. `signed` is the size that the newest good checkpoint covers.
    `rollback` is `excluded` only up to the anchor's size, and only when an anchor was given and held. Of `pruned`
    entries only the leaf hash was there to be held against the tree. `evidence` rows were held against their
    commitments (fsck); those that no entry names, `unnamed`, are no problem: their entries may be pruned."""

    check: Literal["verify", "fsck"] = "verify"
    ok: bool
    origin: str
    size: int
    root: str
    signed: int
    checkpoints: int
    pending: int = 0
    pruned: int = 0
    evidence: int = 0
    unnamed: int = 0
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
        kept = [f"{self.pruned} entries are pruned: of these only the leaf hashes were held"] if self.pruned else []
        if self.evidence:
            kept.append(f"{self.evidence} bodies of evidence, {self.unnamed} of them named by no entry that is kept")
        return (f"{self.origin}: {verdict}", facts, *kept, anchor, *found)


class Audit:
    """Feed pages in order, then what else is stored, then ask for the report.

    Below the index `pruned` the bytes of entries may be gone: only there a stored leaf hash stands for them.
    """

    def __init__(
        self,
        keys: Iterable[VerifierKey],
        anchor: str | None = None,
        rotations: Iterable[Rotation] = (),
        pruned: int = 0,
    ) -> None:
        self._keys = tuple(keys)
        self._chain = KeyChain(self._keys, rotations)
        self._tree = Tree()
        self._next = 0
        self._mark, self._pruned = pruned, 0
        self._problems: list[Problem] = []
        self._more = 0
        self._checkpoints = self._signed = 0
        self._root_broken = False
        self._anchored = False
        self._anchor = self._open_anchor(anchor)

    def begin(self, tree: Tree) -> None:
        """Starts behind entries that are not there: of these only the tree is known."""
        self._tree, self._next = tree, tree.size
        if self._anchor is not None and self._anchor.size == tree.size:
            self._hold_anchor(self._anchor)

    @property
    def size(self) -> int:
        return self._tree.size

    @property
    def pruned(self) -> int:
        """Entries of which the leaf hash alone is there."""
        return self._pruned

    def problem(self, where: str, code: Code) -> None:
        if len(self._problems) < MAX_PROBLEMS:
            self._problems.append(Problem(where=where, code=code))
        else:
            self._more += 1

    def page(self, page: Page) -> None:
        """Grows the tree by the page's leaves, with a stop at every size that somebody signed."""
        leaves, indices, tiles = self._leaves(page.rows), page.rows.indices, list[Tile]()
        done = 0
        for size, note in page.checkpoints:
            if size > self._next:
                self.problem(f"checkpoint {size}", Code.CHECKPOINT_BEYOND)
                continue
            stop = bisect_left(indices, size)
            self._grow(leaves[done:stop], tiles)
            done = max(done, stop)
            self._checkpoint(size, note)
        self._grow(leaves[done:], tiles)
        if page.tiles is not None:
            derived = {(tile.level, tile.number): tile.root for tile in tiles}
            for level, number in sorted(derived.keys() | page.tiles.keys()):
                if derived.get((level, number)) != page.tiles.get((level, number)):
                    self.problem(f"tile {level}/{number}", Code.TILE_DIFFERS)

    def head(self, size: int, peaks: bytes) -> None:
        if size != self._tree.size or (peaks != self._tree.packed() and not self._root_broken):
            self.problem("head", Code.HEAD_DIFFERS)

    def beyond(self, sizes: Iterable[int]) -> None:
        for size in sizes:
            self.problem(f"checkpoint {size}", Code.CHECKPOINT_BEYOND)

    def report(self, *, pending: int = 0) -> VerifyReport:
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
            pending=pending,
            pruned=self._pruned,
            problems=tuple(self._problems),
            more_problems=self._more,
            rollback="excluded" if self._anchored and not self._problems else "not_excluded",
        )

    def _open_anchor(self, note: str | None) -> Checkpoint | None:
        if note is None:
            return None
        try:
            anchor = self._chain.remembered(note)
        except VerificationError:
            self.problem("anchor", Code.BAD_ANCHOR)
            return None
        if anchor.size == 0:
            self._hold_anchor(anchor)
        return anchor

    def _hold_anchor(self, anchor: Checkpoint) -> None:
        self._anchored = anchor.root == self._tree.root()
        if not self._anchored:
            self.problem(f"anchor {anchor.size}", Code.FORKED)

    def _grow(self, leaves: Sequence[bytes], tiles: list[Tile]) -> None:
        anchor, before = self._anchor, self._tree.size
        if anchor is not None and before < anchor.size <= before + len(leaves):
            tiles += self._tree.extend(leaves[: anchor.size - before])
            self._hold_anchor(anchor)
            leaves = leaves[anchor.size - before :]
        tiles += self._tree.extend(leaves)

    def _leaves(self, rows: Rows) -> list[bytes]:
        """The leaf hash of each row, of its bytes where there are any; notes gaps and bytes that are others."""
        if not rows.indices:
            return []
        first, last = rows.indices[0], rows.indices[-1]
        if first != self._next or last - first + 1 != len(rows.indices):
            self._gaps(rows.indices)
        self._next = last + 1
        stored = rows.leaves
        leaves = self._with_pruned(rows) if None in rows.bodies else leaf_hashes(cast("Sequence[bytes]", rows.bodies))
        if stored is not None and leaves != list(stored):
            for index, leaf, kept in zip(rows.indices, leaves, stored, strict=True):
                if leaf != kept:
                    self.problem(f"entry {index}", Code.LEAF_DIFFERS)
        return leaves

    def _gaps(self, indices: Sequence[int]) -> None:
        expected = self._next
        for index in indices:
            if index != expected:
                self.problem(f"entry {expected}", Code.MISSING_ENTRY)
            expected = index + 1

    def _with_pruned(self, rows: Rows) -> list[bytes]:
        """Where an entry's bytes are gone, its stored leaf hash stands for them."""
        leaves = list[bytes]()
        kept = rows.leaves or (b"",) * len(rows.indices)
        for index, body, leaf in zip(rows.indices, rows.bodies, kept, strict=True):
            if body is not None:
                leaves.append(leaf_hash(body))
                continue
            leaves.append(leaf)
            if index < self._mark:
                self._pruned += 1
            else:
                self.problem(f"entry {index}", Code.MISSING_ENTRY)
        return leaves

    def _checkpoint(self, size: int, note: str) -> None:
        self._checkpoints += 1
        try:
            checkpoint = self._chain.open(size, note)
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
