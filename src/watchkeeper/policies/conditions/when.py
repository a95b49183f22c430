"""Windows in which something may be done, and freezes in which nothing is.

Rules of zones change, so a decision is not asked with them but with the offsets from UTC that were in force: a decision
made again years later sees the same clock. A zone whose offset is not given is outside every window.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import cache
from typing import Annotated, Self
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, model_validator

from watchkeeper.core.decisions import ZoneOffset
from watchkeeper.core.errors import suggest
from watchkeeper.core.manifest import Name, Section
from watchkeeper.core.model import Instant

DAY_MINUTES = 24 * 60
_TIME = re.compile(r"([01]\d|2[0-4]):([0-5]\d)")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d)")


class Day(StrEnum):
    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"


_DAYS = tuple(Day)


def _minutes(value: object) -> int:
    found = _TIME.fullmatch(value) if isinstance(value, str) else None
    minutes = -1 if found is None else int(found[1]) * 60 + int(found[2])
    if not 0 <= minutes <= DAY_MINUTES:
        raise ValueError('write a time of day like "09:00"; the end of the day is "24:00"')
    return minutes


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _a_date(value: object) -> str:
    if isinstance(value, str) and _DATE.fullmatch(value):
        date.fromisoformat(value)
        return value
    raise ValueError("write a date like 2026-12-25")


def _an_instant(value: object) -> datetime:
    if isinstance(value, str) and _INSTANT.fullmatch(value):
        return datetime.fromisoformat(value)
    raise ValueError("write an instant with its offset, like 2026-12-20T00:00:00Z or 2026-12-20T00:00:00+01:00")


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _zone(value: str) -> str:
    if value not in _zones():
        raise ValueError(f"there is no time zone {value[:60]!r}{suggest(value, _zones())}")
    return value


def _week(days: tuple[Day, ...]) -> tuple[Day, ...]:
    return tuple(day for day in _DAYS if day in days)


TimeOfDay = Annotated[
    int,
    BeforeValidator(_minutes, json_schema_input_type=Annotated[str, Field(pattern=f"^{_TIME.pattern}$")]),
    PlainSerializer(_clock, return_type=str),
]
"""Written `"09:00"`, held as minutes since midnight."""
Date = Annotated[
    str, BeforeValidator(_a_date, json_schema_input_type=Annotated[str, Field(pattern=f"^{_DATE.pattern}$")])
]
Moment = Annotated[
    Instant, BeforeValidator(_an_instant, json_schema_input_type=Annotated[str, Field(pattern=f"^{_INSTANT.pattern}$")])
]
Zone = Annotated[str, AfterValidator(_zone)]
Dates = Annotated[tuple[Date, ...], Field(max_length=1000), AfterValidator(lambda dates: tuple(sorted(set(dates))))]
Days = Annotated[tuple[Day, ...], Field(min_length=1), AfterValidator(_week)]


class Window(Section):
    """On `days` from `start` until before `end`, by the clock of `zone`, but not on `holidays`. One that ends before it
    starts goes on into the next day, and belongs to the day on which it started."""

    days: Days = _DAYS
    """The days of the week."""
    start: TimeOfDay = 0
    """From this time of day on."""
    end: TimeOfDay = DAY_MINUTES
    """Until before this time of day; `"24:00"` is the end of the day."""
    zone: Zone
    """The zone whose clock is meant, like `Europe/Berlin`."""
    holidays: Dates = ()
    """Dates on which it does not open."""

    @model_validator(mode="after")
    def _lasts(self) -> Self:
        if self.end in (0, self.start) or self.start == DAY_MINUTES:
            raise ValueError('the window never opens, or its end is written as "00:00": the end of the day is "24:00"')
        return self

    def admits(self, local: datetime) -> bool:
        """`local` is the zone's own clock."""
        minutes = local.hour * 60 + local.minute
        if self.start < self.end:
            return self.start <= minutes < self.end and self._on(local)
        return (minutes >= self.start and self._on(local)) or (
            minutes < self.end and self._on(local - timedelta(days=1))
        )

    def _on(self, local: datetime) -> bool:
        return _DAYS[local.weekday()] in self.days and local.date().isoformat() not in self.holidays


class Freeze(Section):
    """Nothing is done from `start` until before `end`."""

    name: Name
    """What the freeze is called; a decision tells it."""
    start: Moment
    """From this instant on."""
    end: Moment
    """Until before this instant."""

    @model_validator(mode="after")
    def _lasts(self) -> Self:
        if self.end <= self.start:
            raise ValueError("the freeze ends before it starts")
        return self

    def holds(self, at: datetime) -> bool:
        return self.start <= at < self.end


def any_open(windows: Iterable[Window], at: datetime, offsets: Iterable[ZoneOffset]) -> bool:
    """Whether one of them is open at an instant."""
    known = {offset.zone: offset.seconds for offset in offsets}
    return any(window.zone in known and window.admits(at + timedelta(seconds=known[window.zone])) for window in windows)


def offsets_at(zones: Iterable[str], at: datetime) -> tuple[ZoneOffset, ...]:
    """What a decision is asked with; by today's rules of the zones."""
    return tuple(ZoneOffset(zone=zone, seconds=_offset(zone, at)) for zone in sorted(set(zones)))


def _offset(zone: str, at: datetime) -> int:
    return round((at.astimezone(ZoneInfo(zone)).replace(tzinfo=UTC) - at).total_seconds())


def with_offsets(known: Iterable[ZoneOffset], zones: Iterable[str], at: datetime) -> tuple[ZoneOffset, ...]:
    """What is known, and what is lacking for these zones: for a policy that was not in force then."""
    have: Mapping[str, ZoneOffset] = {offset.zone: offset for offset in known}
    return tuple(have.get(each.zone, each) for each in offsets_at({*have, *zones}, at))
