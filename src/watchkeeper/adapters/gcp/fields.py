"""Things of Compute Engine as fields that the core sees. Pure.

A state between two others counts as the one it leads to: an instance that is stopping is stopped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pydantic import JsonValue

from watchkeeper.adapters.gcp.capabilities import (
    CAPACITY,
    DIGITS,
    INSTANCE_ID,
    LAST_RESET,
    LEAST_CAPACITY,
    MAX,
    MIN,
    NEVER,
    POWER,
    REPLICAS,
    RUNNING,
    STOPPED,
)
from watchkeeper.adapters.gcp.client import JsonObject
from watchkeeper.adapters.gcp.places import short
from watchkeeper.core.actions import Change, FieldChange, FieldState
from watchkeeper.core.model import Scalar

UP, RESETTING = "up", "resetting"
_POWER = {
    "PROVISIONING": RUNNING,
    "STAGING": RUNNING,
    "RUNNING": RUNNING,
    "PENDING_STOP": STOPPED,
    "STOPPING": STOPPED,
    "TERMINATED": STOPPED,
}
_GKE = ("goog-gke-node", "goog-k8s-cluster-name")
_GOING = frozenset({"RECREATING", "DELETING", "ABANDONING", "STOPPING", "SUSPENDING"})


def text(value: JsonValue) -> str:
    return value if isinstance(value, str) else ""


def at(value: JsonValue, *names: str) -> JsonValue:
    """The value under these names, one inside the other."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def rows(value: JsonValue) -> list[JsonObject]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def instance_fields(found: JsonObject) -> tuple[FieldState, ...]:
    status = text(found.get("status"))
    power, why = _POWER.get(status, status.lower()), "" if status in _POWER else "other_state"
    owner = _owner_of_instance(found)
    return (
        FieldState(path=POWER, value=power, manageable=not why, why=why, owner=owner),
        _read_only(UP, status == "RUNNING"),
    )


def reset_fields(operations: Sequence[JsonObject]) -> tuple[FieldState, ...]:
    """`operations`: the resets of one instance that the zone still knows. One that failed did not happen."""
    good = [each for each in operations if not each.get("error")]
    last = max(good, key=lambda each: text(each.get("insertTime")), default=None)
    underway = any(each.get("status") != "DONE" for each in good)
    value = NEVER if last is None else text(last.get("name"))
    return (FieldState(path=LAST_RESET, value=value), _read_only(RESETTING, underway))


def group_fields(found: JsonObject, owner: str) -> tuple[FieldState, ...]:
    size = found.get("targetSize")
    return (FieldState(path=REPLICAS, value=size if isinstance(size, int) else 0, owner=owner),)


def owner_of_size(group: JsonObject, autoscaler: JsonObject | None) -> str:
    """GKE names its node pools' groups after the cluster; nothing else in a group tells."""
    if text(group.get("baseInstanceName")).startswith("gke-"):
        return "gke"
    if autoscaler is None or at(autoscaler, "autoscalingPolicy", "mode") == "OFF":
        return ""
    return "autoscaler"


def member_fields(found: JsonObject) -> tuple[FieldState, ...]:
    """An instance that is being made anew has no id any more, though the old one may still be there."""
    action = text(found.get("currentAction"))
    number = None if action in _GOING else text(found.get("id")) or None
    whole = action == "NONE" and found.get("instanceStatus") == "RUNNING"
    return (FieldState(path=INSTANCE_ID, value=number), _read_only(UP, whole))


def autoscaler_fields(found: JsonObject) -> tuple[FieldState, ...]:
    policy = found.get("autoscalingPolicy")
    return tuple(_bound(path, at(policy, name)) for path, name in ((MIN, "minNumReplicas"), (MAX, "maxNumReplicas")))


def backend_fields(found: JsonObject) -> tuple[FieldState, ...]:
    backends = [(short(text(each.get("group"))), each.get("capacityScaler")) for each in rows(found.get("backends"))]
    times = Counter(name for name, _ in backends)
    return tuple(_capacity(name, value, twice=times[name] > 1) for name, value in backends)


def takeable(change: Change) -> Change:
    """A change of capacities with values that Google can keep: a release step may ask for others."""
    fields = tuple(
        FieldChange(path=each.path, before=_takeable(each.before), after=_takeable(each.after))
        for each in change.fields
    )
    return change.model_copy(update={"fields": fields})


def _takeable(value: Scalar) -> Scalar:
    if not isinstance(value, int | float):
        return value
    return round(max(value, LEAST_CAPACITY), DIGITS) if value > 0 else 0.0


def _bound(path: str, value: JsonValue) -> FieldState:
    known = value if isinstance(value, int) else None
    return FieldState(
        path=path, value=known, manageable=known is not None, why="" if known is not None else "bound_unset"
    )


def _capacity(name: str, value: JsonValue, *, twice: bool) -> FieldState:
    known = round(float(value), DIGITS) if isinstance(value, int | float) else None
    why = "two_backends" if twice else "no_capacity" if known is None else ""
    return FieldState(path=f"{CAPACITY}{name}", value=known, manageable=not why, why=why)


def _owner_of_instance(found: JsonObject) -> str:
    """Whoever would start it again, or make another in its place."""
    labels = found.get("labels")
    if isinstance(labels, dict) and any(name in labels for name in _GKE):
        return "gke"
    made_by = [each for each in rows(at(found, "metadata", "items")) if each.get("key") == "created-by"]
    return "instance_group" if any("/instanceGroupManagers/" in text(each.get("value")) for each in made_by) else ""


def _read_only(path: str, value: Scalar) -> FieldState:
    return FieldState(path=path, value=value, manageable=False, why="read_only")
