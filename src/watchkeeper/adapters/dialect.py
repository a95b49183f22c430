"""How one kind of HTTP target answers: what is readable, what is a wish to be left alone, what its errors mean.

Data, and no more: the exchange applies it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Hint = tuple[str, str]
"""The likely cause, and the next step; `NAME` in them stands for the adapter's name."""

_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,79}")


def is_json(media_type: str, body: bytes) -> bool:
    if "json" not in media_type.lower():
        return False
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return False
    return True


def is_json_or_empty(media_type: str, body: bytes) -> bool:
    return not body or is_json(media_type, body)


def asks_to_wait(status: int, headers: Mapping[str, str], code: str) -> bool:
    """429, or a 503 that names a time."""
    return status == 429 or (status == 503 and "retry-after" in headers)


def no_code(body: bytes) -> str:
    return ""


def whole(body: bytes) -> bytes:
    return body


def as_code(value: object) -> str:
    """A target's own error code, or nothing: what is no short word is text of somebody's, and not taken."""
    return value if isinstance(value, str) and _CODE.fullmatch(value) else ""


@dataclass(frozen=True)
class Dialect:
    """`hints` are looked up by the target's own error code, then by status. `what` names the target in sentences."""

    what: str
    probe: str
    """What a person can try by hand when nothing usable comes back."""
    hints: Mapping[str | int, Hint]
    readable: Callable[[str, bytes], bool] = is_json
    """Whether a reply of this media type and body is one of the target's."""
    throttled: Callable[[int, Mapping[str, str], str], bool] = asks_to_wait
    """By status, headers (lower case) and error code."""
    error_code: Callable[[bytes], str] = no_code
    """The target's own word for an error, from the reply's body; empty where it has none."""
    kept: Callable[[bytes], bytes] = whole
    """What of a reply is recorded."""
    retryable: frozenset[str] = field(default_factory=frozenset)
    """Error codes that are worth another try though their status is not."""

    def hint(self, status: int, code: str) -> Hint:
        found = self.hints.get(code) or self.hints.get(status)
        if found is not None:
            return found
        if status >= 500:
            return f"{self.what} or what is behind it has trouble of its own", f"look at the log of {self.what}"
        return (
            f"this version of {self.what} wants something else",
            "watchkeeper ledger show INCIDENT has the reply; see docs/adapters.md",
        )
