"""Which kinds of entries can be made again, and how: from the entry alone, or from it and a piece of evidence.

The rooms above register them; this room knows how none is made. Nothing here looks at the result.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from watchkeeper.core.entries import EntryType, Envelope
from watchkeeper.core.errors import VerificationError
from watchkeeper.core.model import Contract

PRUNED, ALTERED = "pruned", "altered"

Recompute = Callable[[Contract], Contract]
"""From an entry's recorded data, the same data made again. Pure; raises NotRecomputableError where it cannot, and
OtherwiseError where what comes out is nothing of the kind."""
Load = Callable[[str], Awaitable[bytes | None]]
"""The body of a commitment; None where it was erased or pruned. Raises VerificationError for an altered one."""


class NotRecomputableError(Exception):
    """Something that the recomputation needs is gone; `reason` is a short code (`pruned`, `code`, `policy`)."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class OtherwiseError(Exception):
    """Made again, it comes out so that there is no data to hold against the recorded: `path` says where it parts."""

    def __init__(self, path: str, recorded: str, again: str = "") -> None:
        super().__init__(path)
        self.path, self.recorded, self.again = path, recorded, again


class FromEvidence(NamedTuple):
    """`commitment` names the evidence that `recompute` needs beside the data; both may raise NotRecomputableError."""

    commitment: Callable[[Contract], str]
    recompute: Callable[[Contract, bytes], Contract]


class Recomputers:
    def __init__(self) -> None:
        self._known: dict[str, Recompute | FromEvidence] = {}

    def register(self, kind: EntryType, recompute: Recompute | FromEvidence) -> None:
        """Raises ValueError for a kind that has one: there is no second way to make a thing."""
        if kind in self._known:
            raise ValueError(f"{kind} has a recomputer")
        self._known[kind] = recompute

    def find(self, kind: str) -> Recompute | None:
        """How, from the entry alone: what needs evidence then counts as pruned."""
        known = self._known.get(kind)
        return _gone(PRUNED) if isinstance(known, FromEvidence) else known

    def commitment(self, envelope: Envelope) -> str | None:
        """The evidence that it takes to make the entry again; None where it takes none, or the entry names none."""
        known = self._known.get(envelope.type)
        if not isinstance(known, FromEvidence):
            return None
        try:
            return known.commitment(envelope.typed())
        except (NotRecomputableError, ValueError):
            return None

    async def bound(self, envelope: Envelope, load: Load) -> Recompute | None:
        """How, with the evidence that it takes at hand."""
        known = self._known.get(envelope.type)
        if not isinstance(known, FromEvidence):
            return known
        try:
            body = await load(known.commitment(envelope.typed()))
        except VerificationError:
            return _gone(ALTERED)
        except NotRecomputableError as missing:
            return _gone(missing.reason)
        except ValueError:  # not of its kind: so whoever makes it again will find
            return self.find(envelope.type)
        return _gone(PRUNED) if body is None else lambda recorded: known.recompute(recorded, body)


def _gone(reason: str) -> Recompute:
    def refuse(recorded: Contract) -> Contract:
        raise NotRecomputableError(reason)

    return refuse
