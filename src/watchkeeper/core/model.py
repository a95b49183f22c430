"""The base of every contract, and the few value types they are made of.

A contract is frozen, refuses unknown keys, and has one canonical form (`watchkeeper.core.canonical`).
It does not guarantee that two versions of a contract can be compared: the schema name carries the version.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, ClassVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, PlainSerializer


class Contract(BaseModel):
    """A frozen, closed model. `schema_name` is `watchkeeper.dev/<noun>/v<n>` where the model is published."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    schema_name: ClassVar[str] = ""


def _utc(value: datetime) -> datetime:
    return value.astimezone(UTC)


def format_instant(value: datetime) -> str:
    """RFC 3339 in UTC with exactly six decimals, so that text order is time order."""
    # not strftime: its %Y does not pad years before 1000, and what it then writes cannot be read again
    inner = value if value.tzinfo is UTC else value.astimezone(UTC)
    return inner.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


Instant = Annotated[
    AwareDatetime, AfterValidator(_utc), PlainSerializer(format_instant, return_type=str, when_used="json")
]
"""An aware UTC datetime, written with microseconds."""

Scalar = str | int | float | bool | None
"""What a parameter, a field value or a label may be."""

Labels = tuple[tuple[str, str], ...]
"""Sorted pairs; a mapping would have no canonical order of its own in memory."""


def labels(**pairs: str) -> Labels:
    return tuple(sorted(pairs.items()))
