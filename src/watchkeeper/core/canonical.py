"""Canonical JSON (RFC 8785): the one byte form of a contract, for hashes, signatures and replay.

The standard library writes the document whole, and a look at its text says whether that is RFC 8785 already: it is,
unless a number may be spelled otherwise or a key may be ordered otherwise. Whole doubles are then written as integers,
which settles most of it, and `rfc8785` does what is left. A contract has a quicker way still (`core.spelling`).
Property tests hold every way to the same bytes.
It does not accept what is not JSON: keys are strings.
"""

from __future__ import annotations

import json
import re

import rfc8785
from pydantic import BaseModel, JsonValue

from watchkeeper.core.spelling import spelled

_SAFE = 2**53 - 1
_encode = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, check_circular=False
).encode
_UNSURE_NUMBER = re.compile(r"[:,\[]-?\d+(?:\.0[,\]}]|(?:\.\d+)?e[+-]|\d{15})").search
"""A whole double, an exponent, or sixteen digits: where Python and RFC 8785 differ, or may. A text that looks like
one costs time, not correctness."""
_MEMBER_NUMBERS = re.compile(r'(?<=\w":)(?:\d+\.0(?=[,}])|\[[\d.,]+\])').sub
"""Whole doubles, and lists of numbers, as values of an object. The quote after a letter is neither escaped nor the
first of a string, so it ends a key, and what follows the colon is no text."""
_WHOLE = re.compile(r"\b(\d{1,15})\.0(?=[,\]]|\Z)").sub
_BEYOND_UTF16 = re.compile("[\U00010000-\U0010ffff]").search
"""RFC 8785 orders keys by UTF-16 units, Python by code points: they part only where there are surrogate pairs."""


def canonical(value: JsonValue) -> bytes:
    """The RFC 8785 bytes of a JSON value. Raises `CanonicalizationError` for what a double cannot say: NaN, infinity,
    an integer above 2^53-1 that is no double's own spelling."""
    quick = _quick(value)
    if quick is not None:
        return quick
    settled = _settled(value)
    quick = _quick(settled)
    return rfc8785.dumps(settled) if quick is None else quick


def _quick(value: JsonValue) -> bytes | None:
    """None where the standard library's spelling may not be RFC 8785's."""
    if isinstance(value, int | float):
        return None
    try:
        text = _encode(value)
    except (ValueError, TypeError):  # not JSON: rfc8785 says what is wrong
        return None
    if not text.isascii() and _BEYOND_UTF16(text):
        return None
    if _UNSURE_NUMBER(text):
        text = _MEMBER_NUMBERS(lambda numbers: _WHOLE(r"\1", numbers[0]), text)
        if _UNSURE_NUMBER(text):
            return None
    return text.encode()


def _settled(value: JsonValue) -> JsonValue:
    """Numbers as the values that RFC 8785 means. A whole double is written like that integer.

    It writes the double 2^53 as `9007199254740992`, which JSON reads back as an integer: such an integer is that double
    again, so that what was canonical stays so after reading. Any other large integer stays and is refused.
    """
    if isinstance(value, dict):
        return {key: item if isinstance(item, str) else _settled(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_settled(item) for item in value]
    if isinstance(value, float) and -_SAFE <= value <= _SAFE and value.is_integer():
        return int(value)
    if isinstance(value, int) and not -_SAFE <= value <= _SAFE and abs(value) < 10**21:
        double = float(value)
        return double if rfc8785.dumps(double) == str(value).encode() else value
    return value


def canonical_model(model: BaseModel) -> bytes:
    """The canonical bytes of a contract; `None` fields are kept, so absence and null never differ."""
    quick = spelled(model)
    return canonical(model.model_dump(mode="json")) if quick is None else quick
