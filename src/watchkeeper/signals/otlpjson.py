"""OTLP/JSON to the same protobuf message that the binary form gives, naming the place of what is wrong.

It differs from protobuf's own JSON mapping: trace and span ids are hex, enums are numbers, keys are camelCase, unknown
keys are ignored. It does NOT check what the values mean.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import TYPE_CHECKING, TypeAlias

from pydantic import JsonValue

from watchkeeper.core.errors import InputError

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor, FieldDescriptor  # type: ignore[import-untyped]
    from google.protobuf.message import Message  # type: ignore[import-untyped]

MAX_DEPTH = 64
MAX_LIST = 50_000

Scalar: TypeAlias = str | bytes | int | float | bool

_HEX = frozenset({"traceId", "spanId", "parentSpanId"})
_DOUBLES = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def fill(message: Message, value: JsonValue, place: str = "", depth: int = 0) -> None:
    """Sets the message's fields from a JSON object."""
    if depth > MAX_DEPTH:
        raise _bad(place, f"is nested deeper than {MAX_DEPTH} levels")
    if not isinstance(value, dict):
        raise _bad(place, f"must be an object, not {_kind(value)}")
    fields = _fields(message.DESCRIPTOR)
    for key, item in value.items():
        field = fields.get(key)
        if field is None or item is None:
            continue
        at = f"{place}.{key}" if place else key
        if field.is_repeated:
            _fill_list(message, field, item, at, depth)
        elif field.message_type is not None:
            part = getattr(message, field.name)
            part.SetInParent()
            fill(part, item, at, depth + 1)
        else:
            _put(partial(setattr, message, field.name), _scalar(field, item, at), at)


def _fill_list(message: Message, field: FieldDescriptor, value: JsonValue, place: str, depth: int) -> None:
    if not isinstance(value, list):
        raise _bad(place, f"must be a list, not {_kind(value)}")
    if len(value) > MAX_LIST:
        raise _bad(place, f"has more than {MAX_LIST} items")
    target = getattr(message, field.name)
    for number, item in enumerate(value):
        at = f"{place}[{number}]"
        if field.message_type is not None:
            fill(target.add(), item, at, depth + 1)
        else:
            _put(target.append, _scalar(field, item, at), at)


def _put(put: Callable[[Scalar], object], value: Scalar, place: str) -> None:
    try:
        put(value)
    except (ValueError, TypeError) as error:
        raise _bad(place, "is out of its type's range") from error


@cache
def _fields(descriptor: Descriptor) -> Mapping[str, FieldDescriptor]:
    return {field.json_name: field for field in descriptor.fields}


def _scalar(field: FieldDescriptor, value: JsonValue, place: str) -> Scalar:
    convert = _CONVERT[field.cpp_type]
    if field.type == field.TYPE_BYTES:
        convert = _hex if field.json_name in _HEX else _base64
    return convert(value, place)


def _integer(value: JsonValue, place: str) -> int:
    """64-bit integers are written as decimal text, but numbers are accepted too."""
    if isinstance(value, str) and value.removeprefix("-").isdecimal() and value.isascii() and len(value) <= 20:
        return int(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise _bad(place, "must be an integer")


def _double(value: JsonValue, place: str) -> float:
    if isinstance(value, str) and value in _DOUBLES:
        return _DOUBLES[value]
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise _bad(place, "must be a number")
    try:
        return float(value)
    except (ValueError, OverflowError) as error:
        raise _bad(place, "must be a number") from error


def _bool(value: JsonValue, place: str) -> bool:
    if not isinstance(value, bool):
        raise _bad(place, "must be true or false")
    return value


def _string(value: JsonValue, place: str) -> str:
    if not isinstance(value, str):
        raise _bad(place, f"must be text, not {_kind(value)}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise _bad(place, "holds half of a surrogate pair") from error
    return value


def _hex(value: JsonValue, place: str) -> bytes:
    try:
        return binascii.unhexlify(_string(value, place))
    except ValueError as error:
        raise _bad(place, "must be hexadecimal") from error


def _base64(value: JsonValue, place: str) -> bytes:
    try:
        return base64.b64decode(_string(value, place), validate=True)
    except ValueError as error:
        raise _bad(place, "must be base64") from error


_INT32, _INT64, _UINT32, _UINT64, _DOUBLE, _FLOAT, _BOOL, _ENUM, _STRING = range(1, 10)
"""protobuf's `FieldDescriptor.CPPTYPE_*`."""

_CONVERT: Mapping[int, Callable[[JsonValue, str], Scalar]] = {
    **dict.fromkeys((_INT32, _INT64, _UINT32, _UINT64, _ENUM), _integer),
    **dict.fromkeys((_DOUBLE, _FLOAT), _double),
    _BOOL: _bool,
    _STRING: _string,
}


def _kind(value: JsonValue) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list():
            return "a list"
        case dict():
            return "an object"


def _bad(place: str, problem: str) -> InputError:
    return InputError(
        f"the field {problem}",
        cause="the sender does not write OTLP/JSON as specified",
        next_step="send OTLP/HTTP protobuf, or correct the field named above",
        place=place or "body",
    )
