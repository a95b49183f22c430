"""What every document that a person writes (policy, runbook) has in common: its head, its key style, its durations.

Keys are camelCase in YAML and snake_case in code. It says nothing about what a document means.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field, PlainSerializer
from pydantic.alias_generators import to_camel

from watchkeeper.core.canonical import canonical
from watchkeeper.core.model import Contract

API_VERSION = "watchkeeper.dev/v1"
MAX_DURATION_S = 366 * 86_400

_DURATION = re.compile(r"(?:(\d{1,4})d)?(?:(\d{1,5})h)?(?:(\d{1,6})m)?(?:(\d{1,8})s)?(?:(\d{1,9})ms)?")
_UNITS_MS = (86_400_000, 3_600_000, 60_000, 1_000, 1)


def duration_ms(text: str) -> int:
    """`1h30m`, `45s`, `500ms` in milliseconds. Raises ValueError with a text for people."""
    found = _DURATION.fullmatch(text)
    if found is None or not text:
        raise ValueError("write a duration with its unit, like 30s, 10m, 1h30m or 7d")
    total = sum(int(part) * unit for part, unit in zip(found.groups(default="0"), _UNITS_MS, strict=True))
    if total > MAX_DURATION_S * 1000:
        raise ValueError("a duration is at most 366d")
    return total


def _seconds(value: object) -> float:
    if not isinstance(value, str):
        raise ValueError("write a duration with its unit, like 30s, 10m, 1h30m or 7d")
    return duration_ms(value) / 1000


def _whole_seconds(value: object) -> int:
    seconds = _seconds(value)
    if seconds != int(seconds) or seconds < 1:
        raise ValueError("a whole number of seconds is needed here, at least 1s")
    return int(seconds)


def _text(seconds: float) -> str:
    ms = round(seconds * 1000)
    return f"{ms}ms" if ms % 1000 else f"{ms // 1000}s"


_Duration = Annotated[str, Field(pattern=r"^(?=\d)(\d{1,4}d)?(\d{1,5}h)?(\d{1,6}m)?(\d{1,8}s)?(\d{1,9}ms)?$")]
Seconds = Annotated[
    float, BeforeValidator(_seconds, json_schema_input_type=_Duration), PlainSerializer(_text, return_type=str)
]
"""A duration, written `500ms` or `10m`, held as seconds."""

WholeSeconds = Annotated[
    int, BeforeValidator(_whole_seconds, json_schema_input_type=_Duration), PlainSerializer(_text, return_type=str)
]

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
"""A document's name: lower-case letters, digits and hyphens."""


class Section(Contract):
    """A part of a document. Read by camelCase keys only, so that one spelling is right."""

    model_config = ConfigDict(alias_generator=to_camel)


class Metadata(Section):
    """What the document is called."""

    name: Name
    """Lower-case letters, digits and hyphens; unique among the documents of its kind."""
    description: str = Field(default="", max_length=500)
    """What it is for, for people."""


class Manifest(Section):
    """The head of a document; kinds subclass it and fix `kind`."""

    api_version: Literal["watchkeeper.dev/v1"]
    """The version of the language that the document is written in."""
    metadata: Metadata
    """What the document is called."""

    def body(self) -> bytes:
        """The canonical bytes, which name the content: what is left at its default is left out, so that a later
        version with more optional fields still gives old documents their old digest."""
        return canonical(self.model_dump(mode="json", by_alias=True, exclude_defaults=True))
