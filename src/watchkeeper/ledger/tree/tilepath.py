"""The paths of C2SP tlog-tiles, pure: which tile, how wide, how it is spelled below the log's prefix.

`tile/0/x001/x234/067` is a full tile of leaf hashes, `tile/entries/000.p/12` a bundle of the first 12 entries. Every
tile has one spelling: what is read at all is written back unchanged. What is in a tile is not known here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from watchkeeper.ledger.tree.merkle import TILE

ENTRIES = "entries"
_SHAPE = re.compile(
    r"tile/(entries|[0-9]|[1-5][0-9]|6[0-3])/((?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?", re.ASCII
)


@dataclass(frozen=True)
class TilePath:
    """`level` None is a bundle of entries. A width below 256 is a partial tile: the first so many of the full one."""

    level: int | None
    number: int
    width: int = TILE

    def to_text(self) -> str:
        thousands, last = divmod(self.number, 1000)
        groups = [f"{last:03}"]
        while thousands:
            thousands, group = divmod(thousands, 1000)
            groups.insert(0, f"x{group:03}")
        partial = "" if self.width == TILE else f".p/{self.width}"
        return f"tile/{ENTRIES if self.level is None else self.level}/{'/'.join(groups)}{partial}"

    @classmethod
    def from_text(cls, text: str) -> TilePath:
        """Raises ValueError."""
        shape = _SHAPE.fullmatch(text)
        if shape is None:
            raise ValueError("a tile's path reads tile/LEVEL/NUMBER or tile/entries/NUMBER, and .p/WIDTH if not full")
        level, groups, width = shape.groups()
        number = int(groups.replace("x", "").replace("/", ""))
        path = cls(None if level == ENTRIES else int(level), number, TILE if width is None else int(width))
        if path.to_text() != text:
            raise ValueError("a tile's number has no leading zero groups, and a partial tile is 1 to 255 wide")
        return path

    @property
    def end(self) -> int:
        """The index behind the last entry that it covers."""
        return (self.number * TILE + self.width) << (8 * (self.level or 0))

    def within(self, size: int) -> bool:
        """Whether a tree of this size has it, or had it while it was smaller."""
        return self.end <= size


def width_at(level: int, number: int, size: int) -> int:
    """How wide a tile is in the tree of `size`; 0 where it does not exist."""
    return max(0, min(TILE, (size >> (8 * level)) - number * TILE))
