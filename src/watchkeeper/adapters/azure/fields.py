"""Machines and scale sets as fields that the core sees. Pure.

A power state between two others counts as the one it leads to: a machine that is deallocating is deallocated.
"""

from __future__ import annotations

from pydantic import JsonValue

from watchkeeper.adapters.azure.capabilities import (
    DEALLOCATED,
    POWER,
    PROVISIONED_AT,
    REPLICAS,
    RUNNING,
    STOPPED,
)
from watchkeeper.core.actions import FieldState

JsonObject = dict[str, JsonValue]

UP = "up"
_POWER = {
    "starting": RUNNING,
    "running": RUNNING,
    "stopping": STOPPED,
    "stopped": STOPPED,
    "deallocating": DEALLOCATED,
    "deallocated": DEALLOCATED,
}
AKS_TAG, AKS_GROUP = "aks-managed-", "mc_"


def text(value: JsonValue) -> str:
    return value if isinstance(value, str) else ""


def at(value: JsonValue, *names: str) -> JsonValue:
    """The value under these names, one inside the other."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def rows(value: JsonValue) -> list[JsonObject]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def machine_fields(found: JsonObject, group: str) -> tuple[FieldState, ...]:
    """Of a VM or of a scale set's machine, read with its instance view."""
    power, provisioning, ended = "", "", None
    for status in rows(at(found, "properties", "instanceView", "statuses")):
        word, _, value = text(status.get("code")).partition("/")
        if word == "PowerState":
            power = value
        elif word == "ProvisioningState":
            provisioning, ended = value, text(status.get("time")) or None
    known = _POWER.get(power)
    return (
        FieldState(
            path=POWER,
            value=known or power or None,
            manageable=known is not None,
            why="" if known else "other_state",
            owner=_owner_of_machine(found, group),
        ),
        FieldState(path=PROVISIONED_AT, value=ended, manageable=ended is not None, why="" if ended else "busy"),
        FieldState(
            path=UP, value=power == "running" and provisioning == "succeeded", manageable=False, why="read_only"
        ),
    )


def scale_set_fields(found: JsonObject, group: str, autoscaled: bool) -> tuple[FieldState, ...]:
    size = at(found, "sku", "capacity")
    known = size if isinstance(size, int) else None
    why = "no_size" if known is None else "" if text(found.get("etag")) else "no_etag"
    owner = "aks" if _of_aks(found, group) else "autoscale" if autoscaled else ""
    return (FieldState(path=REPLICAS, value=known, manageable=not why, why=why, owner=owner),)


def scaled_by(settings: list[JsonObject], scale_set: JsonObject) -> bool:
    """Whether one of these autoscale settings of Azure Monitor, if it is on, has the scale set in its hands."""
    mine = text(scale_set.get("id")).lower()
    return any(
        at(each, "properties", "enabled") is not False
        and text(at(each, "properties", "targetResourceUri")).lower() == mine
        for each in settings
    )


def _owner_of_machine(found: JsonObject, group: str) -> str:
    """Whoever would start it again, or make another in its place."""
    if _of_aks(found, group):
        return "aks"
    return "scale_set" if at(found, "properties", "virtualMachineScaleSet") is not None else ""


def _of_aks(found: JsonObject, group: str) -> bool:
    """By AKS's tags, or by the resource group that AKS makes for its nodes."""
    tags = found.get("tags")
    tagged = isinstance(tags, dict) and any(name.lower().startswith(AKS_TAG) for name in tags)
    return tagged or group.lower().startswith(AKS_GROUP)
