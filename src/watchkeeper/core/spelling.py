"""The quick way to canonical JSON: orjson writes a contract, or what was read, where its bytes are surely RFC 8785's.

orjson sorts keys by code point, writes a whole double as `1.0`, and NaN as null. So a contract's numbers are put right
before they are written, and whatever else may be spelled otherwise gives None: `core.canonical` then takes its longer
way. Property tests hold both to the same bytes. It reads fields as they stand: a contract made without validation, with
a float in a field of another type, is not written as one that was validated.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

import orjson
from pydantic import BaseModel

from watchkeeper.core.model import Contract, format_instant

_CONTRACT = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER | orjson.OPT_PASSTHROUGH_DATETIME
_READ = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER
_BEYOND_UTF16 = re.compile(rb"[\xf0-\xf4]").search
"""RFC 8785 orders keys by UTF-16 units, orjson by code points: they part only where there are surrogate pairs."""
_WHOLE = re.compile(rb"\.0(?:[,\]}]|\Z)").search
_EXPONENT = re.compile(rb"e[+-]?\d{1,3}(?:[,\]}]|\Z)").search
"""Of a double. A text that looks like one costs time, not correctness. Two patterns: each begins with what it finds."""
_MOST = 2**53 - 1
_PLAIN = frozenset(
    ("str", "int", "float", "bool", "none", "nullable", "default", "tuple", "union", "enum", "literal", "model-field")
)
"""Schemas of pydantic whose values orjson writes alike; and an instant, which has a function of its own."""

_Schema = Mapping[str, Any]


class _Shape(NamedTuple):
    """Of a class of contracts: how many fields it has, in which floats may stand, and which are left out when."""

    fields: int
    floats: tuple[str, ...]
    left_out: tuple[tuple[str, Callable[[object], bool]], ...]


def spelled(model: BaseModel) -> bytes | None:
    """The canonical bytes of a contract; None where they are not sure."""
    try:
        text = orjson.dumps(model, _written, _CONTRACT)
    except orjson.JSONEncodeError:
        return None
    return text if text.isascii() or not _BEYOND_UTF16(text) else None


def is_canonical(body: bytes, said: object) -> bool:
    """Whether these bytes, which were read as `said`, are surely its canonical form. False: they may be."""
    try:
        text = orjson.dumps(said, None, _READ)
    except orjson.JSONEncodeError:
        return False
    return text == body and not _WHOLE(body) and not _EXPONENT(body) and (body.isascii() or not _BEYOND_UTF16(body))


def number(value: float) -> bytes | None:
    """The canonical bytes of a double; None where they are not sure."""
    try:
        return orjson.dumps(_number(value))
    except TypeError:
        return None


def _written(value: object) -> object:
    """What orjson asks for what it does not know: contracts and instants. It refuses what gets a TypeError here."""
    if isinstance(value, datetime):
        return format_instant(value)
    kind: type = type(value)
    shape, fields = _shape(kind), value.__dict__
    if len(fields) != shape.fields:
        raise TypeError("it has more than its fields, or fewer")
    if not shape.floats and not shape.left_out:
        return fields
    written = fields | {name: _number(fields[name]) for name in shape.floats}
    for name, unwanted in shape.left_out:
        if unwanted(fields[name]):
            del written[name]
    return written


def _number(value: object) -> object:
    """A whole double as that integer, also within tuples."""
    if isinstance(value, float):
        if 1e-4 <= abs(value) <= _MOST or not value:
            return int(value) if value.is_integer() else value
        raise TypeError("NaN, an infinity, or a number with an exponent")
    if isinstance(value, tuple):
        return [_number(item) for item in value]
    return value


@cache
def _shape(kind: type) -> _Shape:
    """Raises TypeError for a class that pydantic may write otherwise than its fields stand."""
    if not issubclass(kind, Contract) or kind.__base__ is not Contract or kind.model_computed_fields:
        raise TypeError(f"{kind.__name__} is not written field by field")
    schema: _Schema = kind.__pydantic_core_schema__
    defined: dict[str, _Schema] = {}
    while schema["type"] != "model-fields":
        for each in schema.get("definitions", ()):
            defined[each["ref"]] = each
        schema = defined[schema["schema_ref"]] if schema["type"] == "definition-ref" else schema["schema"]
    fields: Mapping[str, _Schema] = schema["fields"]
    floats = tuple(name for name, field in fields.items() if _floats(field, defined))
    given = ((name, field.get("serialization_exclude_if")) for name, field in fields.items())
    return _Shape(len(fields), floats, tuple((name, unwanted) for name, unwanted in given if unwanted is not None))


def _floats(schema: _Schema, defined: Mapping[str, _Schema]) -> bool:
    """Whether a float may stand in such a value. A contract within it is asked for on its own."""
    kind = schema["type"]
    if kind == "model":
        return False
    if kind == "definition-ref":
        return _floats(defined[schema["schema_ref"]], defined)
    if schema.get("serialization", {}).get("function") is format_instant:
        return False
    if kind not in _PLAIN or "serialization" in schema or "serialization_alias" in schema:
        raise TypeError(f"a value of {kind} is not written as it stands")
    parts = [*schema.get("items_schema", ()), *schema.get("choices", ())]
    if "schema" in schema:
        parts.append(schema["schema"])
    found = [_floats(part, defined) for part in parts]  # all are looked at
    return kind == "float" or any(found)
