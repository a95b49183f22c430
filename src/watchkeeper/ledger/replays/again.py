"""One entry made again: the same, byte for byte, or where it differs, or why it cannot be made. Three answers, never
confused (invariant 8)."""

from __future__ import annotations

from enum import StrEnum

from watchkeeper.core.canonical import canonical_model
from watchkeeper.core.entries import Envelope
from watchkeeper.core.errors import NotFoundError
from watchkeeper.core.model import Contract
from watchkeeper.ledger.replays.differences import PathChange, differences
from watchkeeper.ledger.replays.recomputers import ALTERED, NotRecomputableError, OtherwiseError, Recompute

__all__ = ["ALTERED", "Again", "Made", "made_again"]


class Made(StrEnum):
    SAME = "same"
    DIFFERS = "differs"
    NOT_RECOMPUTABLE = "not_recomputable"


class Again(Contract):
    """`reason` of what cannot be made again; `paths` into the data of what differs."""

    made: Made
    reason: str = ""
    paths: tuple[PathChange, ...] = ()


def made_again(envelope: Envelope, recompute: Recompute) -> Again:
    try:
        recorded = envelope.typed()
    except ValueError:
        return Again(made=Made.NOT_RECOMPUTABLE, reason="unreadable")
    try:
        again = recompute(recorded)
    except NotRecomputableError as missing:
        return Again(made=Made.NOT_RECOMPUTABLE, reason=missing.reason)
    except NotFoundError:
        return Again(made=Made.NOT_RECOMPUTABLE, reason="not_kept")
    except OtherwiseError as other:
        parted = PathChange(path=other.path, recorded=other.recorded, again=other.again)
        return Again(made=Made.DIFFERS, paths=(parted,))
    if canonical_model(again) == canonical_model(recorded):
        return Again(made=Made.SAME)
    return Again(made=Made.DIFFERS, paths=differences(recorded.model_dump(mode="json"), again.model_dump(mode="json")))
