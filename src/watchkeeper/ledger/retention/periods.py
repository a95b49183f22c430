"""How long what the ledger keeps is kept: evidence by its kind, entries for ever or for years.

Pure: it says what is due, deletes nothing, and does not know which incidents are still open. A period counts whole
days; a year has 365 of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from watchkeeper.core.evidence import EvidenceKind
from watchkeeper.core.model import Contract

_PERIOD = re.compile(r"([1-9][0-9]{0,4})([dy])")
_DAYS = {"d": 1, "y": 365}


def length(period: str) -> timedelta:
    """`90d` or `7y`. Raises ValueError with a text for people."""
    found = _PERIOD.fullmatch(period)
    days = 0 if found is None else int(found[1]) * _DAYS[found[2]]
    if not 1 <= days <= 100 * _DAYS["y"]:
        raise ValueError("write a period in days or years, like 90d or 7y, from 1d to 100y")
    return timedelta(days=days)


def _checked(period: str) -> str:
    length(period)
    return period


Period = Annotated[str, AfterValidator(_checked)]
"""How long something is kept, as it is written: `90d`, `7y`."""


class RetentionSettings(Contract):
    evidence: Period = "90d"
    """How long bodies (prompts, requests, replies, series, ...) and their salts are kept, where their kind is not named
    below: in days or years. Those of an incident that is still open are kept until it has closed."""
    kinds: dict[EvidenceKind, Period] = Field(default_factory=dict)
    """The same for single kinds of evidence: `{prompt: 7d, series: 30d}`."""
    entries: Period | None = None
    """How long entries are kept in the database; for ever when not given. Entries go only by hand
    (`watchkeeper ledger prune --entries`), and only when they are in the archive."""

    @model_validator(mode="after")
    def _entries_outlive_their_evidence(self) -> Self:
        longest = max((length(each) for each in (self.evidence, *self.kinds.values())), default=timedelta())
        if self.entries is not None and length(self.entries) < longest:
            raise ValueError("entries must be kept as long as the evidence that they refer to")
        return self

    def of(self, kind: EvidenceKind) -> timedelta:
        return length(self.kinds.get(kind, self.evidence))


class Due(Contract):
    """Evidence of a kind that was stored before this is kept no longer."""

    kind: EvidenceKind
    before: datetime


def due(settings: RetentionSettings, now: datetime) -> Iterator[Due]:
    """For every kind, from when on it is kept."""
    for kind in EvidenceKind:
        yield Due(kind=kind, before=now - settings.of(kind))
