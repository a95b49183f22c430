"""The one MetaData that every room's `tables.py` registers its tables in, and the column types they share.

Migrations are the truth about a deployed schema; a test holds the two together.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, Dialect, MetaData, String, TypeDecorator
from sqlalchemy.types import Integer

from watchkeeper.core.model import format_instant

METADATA = MetaData()

BigId = BigInteger().with_variant(Integer(), "sqlite")
"""An auto-incrementing 64-bit key in both databases."""


class InstantText(TypeDecorator[datetime]):
    """An aware UTC datetime stored as fixed-width RFC 3339 text, so that both databases order and compare it alike."""

    impl = String(27)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:
        return None if value is None else format_instant(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        return None if value is None else datetime.strptime(value, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
