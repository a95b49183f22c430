"""The numbers that trust is kept by. They are what docs/trust.md draws its curves for."""

from __future__ import annotations

from pydantic import Field

from watchkeeper.core.model import Contract


class Terms(Contract):
    half_life_days: float = Field(default=180, gt=0)
    """After so long an outcome counts for half."""
    forgotten_after: int = Field(default=10, ge=1)
    """Half-lives after which an outcome, at less than a thousandth, is not read any more."""
    borrowed: float = Field(default=10, ge=0)
    """A scope with fewer outcomes borrows the rest to this number from its parent, and never more."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Of every bound, one-sided."""
    floor: float = Field(default=0.85, ge=0, le=1)
    """What the lower bound must reach for promotion, and the usual `trustFloor`."""
    outcomes: int = Field(default=30, ge=1)
    rate: float = Field(default=0.95, ge=0, le=1)
    calm_days: float = Field(default=28, ge=0)
    """How long there must have been no rollback."""
    untreated: int = Field(default=10, ge=1)
    """Incidents that must have been seen in shadow, to know what becomes of them untreated."""
