"""What the resource manager's errors mean, and what of its replies is not for the record."""

from __future__ import annotations

import json

from pydantic import JsonValue

from watchkeeper.adapters.dialect import Dialect, as_code, is_json_or_empty

_SECRET = frozenset({"adminPassword", "customData", "protectedSettings", "settings", "userData"})


def error_code(body: bytes) -> str:
    try:
        document: JsonValue = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    error = document.get("error") if isinstance(document, dict) else None
    return as_code(error.get("code")) if isinstance(error, dict) else ""


def kept(body: bytes) -> bytes:
    """A reply for the record: a machine's secrets go, and what its extensions have printed."""
    try:
        document: JsonValue = json.loads(body)
    except (ValueError, RecursionError):
        return body
    return json.dumps(_stripped(document, _SECRET), separators=(",", ":")).encode()


def _stripped(value: JsonValue, masked: frozenset[str]) -> JsonValue:
    if isinstance(value, list):
        return [_stripped(each, masked) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        name: "***" if name in masked else _stripped(each, masked | {"message"} if name == "instanceView" else masked)
        for name, each in value.items()
    }


_TOKEN = (
    "Azure does not know the credential of NAME, or its token has expired",
    "renew the credential: az account get-access-token; watchkeeper adapters check NAME",
)
_ROOM = ("Azure has no room for it there now", "wait, or choose another size or zone")

AZURE = Dialect(
    what="the Azure resource manager",
    probe="try az account show with the same credential",
    hints={
        401: _TOKEN,
        "ExpiredAuthenticationToken": _TOKEN,
        "InvalidAuthenticationToken": _TOKEN,
        403: (
            "the role of NAME does not allow it",
            "watchkeeper adapters permissions --system azure prints the role that does",
        ),
        404: ("it does not exist there, or not any more", "watchkeeper incidents: the target may be gone"),
        409: (
            "another operation is on it, its state does not allow it, or a quota is used up",
            "az vm get-instance-view; the plan is made again by itself",
        ),
        412: ("somebody else changed it at the same time", "the plan is made again by itself"),
        429: ("Azure limits calls of this subscription", "wait; the daemon tries again by itself"),
        "ScopeLocked": ("a lock on it, or on what it is in, forbids it", "az lock list"),
        "QuotaExceeded": ("a quota of the subscription is used up", "az vm list-usage; ask Microsoft for more"),
        "AllocationFailed": _ROOM,
        "ZonalAllocationFailed": _ROOM,
    },
    readable=is_json_or_empty,
    error_code=error_code,
    kept=kept,
)
