"""What the API server's errors mean, and what of its replies is not for the record."""

from __future__ import annotations

import json
from collections.abc import Mapping

from pydantic import JsonValue

from watchkeeper.adapters.dialect import Dialect, as_code, asks_to_wait

BUDGET = "DisruptionBudget"
"""The code of an eviction that a PodDisruptionBudget forbids now: no wish to be left alone, though it is a 429."""


def error_code(body: bytes) -> str:
    """The Status's reason; for a budget, the cause that says so."""
    try:
        status: JsonValue = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(status, dict) or status.get("kind") != "Status":
        return ""
    details = status.get("details")
    causes = details.get("causes") if isinstance(details, dict) else None
    if isinstance(causes, list) and any(isinstance(each, dict) and each.get("reason") == BUDGET for each in causes):
        return BUDGET
    return as_code(status.get("reason"))


def throttled(status: int, headers: Mapping[str, str], code: str) -> bool:
    return code != BUDGET and asks_to_wait(status, headers, code)


def kept(body: bytes) -> bytes:
    """A reply for the record: values of environment variables and of Secrets may be anything, and go; who managed
    which field is long and goes too."""
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
    return {name: _masked(name, each) for name, each in value.items() if name != "managedFields"}


def _masked(name: str, value: JsonValue) -> JsonValue:
    if name == "env" and isinstance(value, list):
        return [{key: "***" if key == "value" else each for key, each in one.items()} for one in _objects(value)]
    if name in ("data", "stringData", "annotations") and isinstance(value, dict):
        return {key: "***" if _may_hold_values(name, key) else each for key, each in value.items()}
    return _stripped(value)


def _may_hold_values(name: str, key: str) -> bool:
    """`kubectl apply` keeps the whole manifest in an annotation."""
    return name != "annotations" or key == "kubectl.kubernetes.io/last-applied-configuration"


def _objects(values: list[JsonValue]) -> list[dict[str, JsonValue]]:
    return [each for each in values if isinstance(each, dict)]


KUBERNETES = Dialect(
    what="the API server",
    probe="try kubectl get --raw /readyz with the same credential",
    hints={
        401: (
            "the API server does not know the credential of NAME, or it has expired",
            "renew the token or certificate: watchkeeper adapters check NAME",
        ),
        403: (
            "the Role of NAME does not allow it",
            "watchkeeper adapters permissions --system kubernetes prints the Role that does",
        ),
        404: ("it does not exist there, or not any more", "watchkeeper incidents: the target may be gone"),
        409: ("somebody else changed it at the same time", "the plan is made again by itself"),
        415: ("this API server knows no server-side apply", "Kubernetes 1.18 or newer is needed"),
        422: ("the API server, or an admission webhook, does not take one of the values", "look at the parameters"),
        429: ("the API server limits calls", "wait; the daemon tries again by itself"),
        BUDGET: (
            "a PodDisruptionBudget allows no further eviction now",
            "wait until more of its pods are ready, or look why they are not: kubectl get pdb",
        ),
    },
    error_code=error_code,
    throttled=throttled,
    kept=kept,
)
