"""What Google's errors mean, and what of its replies is not for the record."""

from __future__ import annotations

import json
from collections.abc import Mapping

from pydantic import JsonValue

from watchkeeper.adapters.dialect import Dialect, as_code, asks_to_wait

RATE_LIMITS = frozenset({"rateLimitExceeded", "userRateLimitExceeded", "RATE_LIMIT_EXCEEDED"})
"""Too many calls in this minute: Compute says so with a 403."""


def error_code(body: bytes) -> str:
    """The reason in `error.errors`, or in `error.details` (ErrorInfo), or the canonical status."""
    try:
        document: JsonValue = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    error = document.get("error") if isinstance(document, dict) else None
    if not isinstance(error, dict):
        return ""
    for name in ("errors", "details"):
        rows = error.get(name)
        for row in rows if isinstance(rows, list) else []:
            code = as_code(row.get("reason")) if isinstance(row, dict) else ""
            if code:
                return code
    return as_code(error.get("status"))


def throttled(status: int, headers: Mapping[str, str], code: str) -> bool:
    return asks_to_wait(status, headers, code) or (status == 403 and code in RATE_LIMITS)


def kept(body: bytes) -> bytes:
    """A reply for the record: the values of an instance's metadata (start-up scripts, keys) go."""
    try:
        document: JsonValue = json.loads(body)
    except (ValueError, RecursionError):
        return body
    return json.dumps(_stripped(document), separators=(",", ":")).encode()


def _stripped(value: JsonValue) -> JsonValue:
    if isinstance(value, list):
        return [_stripped(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {name: _metadata(each) if name == "metadata" else _stripped(each) for name, each in value.items()}


def _metadata(value: JsonValue) -> JsonValue:
    """The names stay."""
    items = value.get("items") if isinstance(value, dict) else None
    names = [each.get("key") for each in items if isinstance(each, dict)] if isinstance(items, list) else []
    return {"items": [{"key": name, "value": "***"} for name in names]}


_DISABLED = ("the API is not enabled in the project of NAME", "gcloud services enable compute.googleapis.com")
_QUOTA = ("a quota of the project is used up", "gcloud compute project-info describe; ask Google for more")
_RATE = ("Google limits calls of this project", "wait; the daemon tries again by itself")

GCP = Dialect(
    what="Compute Engine",
    probe="try gcloud compute zones list with the same credential",
    hints={
        401: (
            "Google does not know the credential of NAME, or it has expired",
            "renew the credential: gcloud auth application-default print-access-token; watchkeeper adapters check NAME",
        ),
        403: (
            "the role of NAME does not allow it",
            "watchkeeper adapters permissions --system gcp prints the role that does",
        ),
        404: ("it does not exist there, or not any more", "watchkeeper incidents: the target may be gone"),
        409: ("another operation is on it", "the plan is made again by itself"),
        412: ("somebody else changed it at the same time", "the plan is made again by itself"),
        429: _RATE,
        **dict.fromkeys(RATE_LIMITS, _RATE),
        "quotaExceeded": _QUOTA,
        "QUOTA_EXCEEDED": _QUOTA,
        "resourceNotReady": (
            "it is not in a state in which this can be done, or another operation is on it",
            "gcloud compute operations list; the plan is made again by itself",
        ),
        "accessNotConfigured": _DISABLED,
        "SERVICE_DISABLED": _DISABLED,
    },
    error_code=error_code,
    throttled=throttled,
    kept=kept,
    retryable=frozenset({"resourceNotReady"}),
)
