"""How much of a service level objective's error budget must be left, and how quickly it may burn.

A burn rate of 1 spends the budget of a period in that period. It counts only when it is passed in a long and in a short
window: the long one says that it matters, the short one that it still goes on (Google's SRE workbook, chapter 5). What
was not read counts as not reached.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from watchkeeper.core.manifest import Name, Section, WholeSeconds


class Burn(Section):
    """`rate` over both windows."""

    rate: float = Field(gt=0, le=1_000_000, allow_inf_nan=False)
    """How many times as fast as would spend the budget in just its period."""
    long: WholeSeconds
    """The window that says that it matters."""
    short: WholeSeconds
    """The window that says that it still goes on; shorter than `long`."""

    @model_validator(mode="after")
    def _two_windows(self) -> Self:
        if self.short >= self.long:
            raise ValueError("short must be shorter than long, like 5m and 1h")
        return self


def _in_order(burns: tuple[Burn, ...]) -> tuple[Burn, ...]:
    return tuple(sorted(set(burns), key=lambda burn: (burn.long, burn.short, burn.rate)))


Burns = Annotated[tuple[Burn, ...], Field(max_length=20), AfterValidator(_in_order)]


class ErrorBudget(Section):
    """Of one objective of the service."""

    objective: Name
    """The service level objective by its name."""
    min_remaining: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)
    """The share of the period's budget that must be left."""
    max_burn: Burns = ()
    """Not when it burns faster than this in both windows of a pair."""
    min_burn: Burns = ()
    """Not unless it burns at least so fast in both windows of one of the pairs."""

    @model_validator(mode="after")
    def _asks_something(self) -> Self:
        if self.min_remaining is None and not self.max_burn and not self.min_burn:
            raise ValueError("write minRemaining, maxBurn or minBurn")
        return self
