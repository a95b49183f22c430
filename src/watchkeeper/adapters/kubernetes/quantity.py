"""Kubernetes quantities in the spelling that the API server gives back: what we set must read as what we set.

The rule of k8s.io/apimachinery `resource.Quantity`: of the format that was given (binary, or decimal), the largest
suffix that leaves a whole number.
"""

from __future__ import annotations

import re
from fractions import Fraction

QUANTITY = r"^[0-9]{1,40}(\.[0-9]{1,9})?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$"
"""What we take: never negative, no exponent."""

_BINARY = {suffix: 1024**power for power, suffix in enumerate(("", "Ki", "Mi", "Gi", "Ti", "Pi"))}
_DECIMAL = {suffix: Fraction(1000) ** power for power, suffix in enumerate(("m", "", "k", "M", "G", "T", "P"), -1)}


def canonical(text: str) -> str:
    """`1024Mi` → `1Gi`, `0.5` → `500m`, `1000m` → `1`. Raises ValueError for what is no quantity."""
    if not re.fullmatch(QUANTITY, text):
        raise ValueError(f"{text!r} is no quantity such as 500m or 256Mi")
    suffix = text.lstrip("0123456789.")
    number = Fraction(text.removesuffix(suffix))
    if suffix.endswith("i"):
        value = number * _BINARY[suffix]
        if value.denominator == 1:
            return _spelled(value, _BINARY)
        return _spelled(_up_to_milli(value), _DECIMAL)
    return _spelled(_up_to_milli(number * _DECIMAL[suffix]), _DECIMAL)


def worth(text: str) -> float:
    """In units: bytes of memory, CPUs. 0 for what is no quantity."""
    if not re.fullmatch(QUANTITY, text):
        return 0.0
    suffix = text.lstrip("0123456789.")
    return float(Fraction(text.removesuffix(suffix)) * (_BINARY.get(suffix) or _DECIMAL[suffix]))


def _up_to_milli(value: Fraction) -> Fraction:
    """The server keeps no less than a thousandth, rounded up."""
    return Fraction(-(-value * 1000 // 1), 1000)


def _spelled(value: Fraction, suffixes: dict[str, int] | dict[str, Fraction]) -> str:
    if value == 0:
        return "0"
    best = max((size, suffix) for suffix, size in suffixes.items() if (value / size).denominator == 1)
    return f"{value / best[0]}{best[1]}"
