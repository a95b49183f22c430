"""The one call that carries each kind of change. Pure.

Each carries a request id that is derived from the action's key: Google does what it has seen before only once.
"""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID, uuid5

from watchkeeper.adapters.gcp.capabilities import CAPACITY, MAX, MIN, POWER, REPLICAS, RUNNING
from watchkeeper.adapters.gcp.client import Arguments, JsonObject, Request, Resource
from watchkeeper.adapters.gcp.fields import rows, text
from watchkeeper.adapters.gcp.places import AUTOSCALER, GROUP, INSTANCE, MEMBER, Place, short
from watchkeeper.core.actions import Change, Intent
from watchkeeper.core.ids import ActionKey
from watchkeeper.core.model import Scalar

_OURS = UUID("6f2b0c52-8f0e-5d6b-9b1e-0d5f6a4c7e21")
_BOUNDS = {MIN: "minNumReplicas", MAX: "maxNumReplicas"}


def request_id(key: ActionKey) -> str:
    return str(uuid5(_OURS, key))


def request_of(change: Change, place: Place, key: ActionKey) -> Request:
    """Of every kind but a backend service."""
    base: Arguments = {**place.named(), "request_id": request_id(key)}
    values = {field.path: field.after for field in change.fields}
    match place.kind:
        case kind if kind == INSTANCE and change.intent is Intent.RESTART:
            return Request("instance.reset", place.service, "reset_unary", base)
        case kind if kind == INSTANCE:
            verb = "start" if values[POWER] == RUNNING else "stop"
            return Request(f"instance.{verb}", place.service, f"{verb}_unary", base)
        case kind if kind == GROUP:
            size = values[REPLICAS]
            assert isinstance(size, int)
            return Request("instance_group.resize", place.service, "resize_unary", {**base, "size": size})
        case kind if kind == AUTOSCALER:
            policy = {_BOUNDS[path]: value for path, value in values.items()}
            resource = Resource("Autoscaler", {"autoscalingPolicy": policy})
            return Request("autoscaler.patch", place.service, "patch_unary", {**base, "autoscaler_resource": resource})
    raise AssertionError(f"{place.kind} has a call of its own")


def recreate(place: Place, link: str, key: ActionKey) -> Request:
    """`link`: the instance's own, since a regional group may have it in any zone."""
    assert place.kind == MEMBER
    kind = "RegionInstanceGroupManagers" if place.scope == "region" else "InstanceGroupManagers"
    body = {"instances": [link]}
    name = "region_instance_group_managers_recreate_request_resource"
    if place.scope == "zone":
        name = "instance_group_managers_recreate_instances_request_resource"
    resource = Resource(
        f"{kind}RecreateRequest" if place.scope == "region" else f"{kind}RecreateInstancesRequest", body
    )
    arguments: Arguments = {**place.named(), "request_id": request_id(key), name: resource}
    return Request("managed_instance.recreate", place.service, "recreate_instances_unary", arguments)


def shift(change: Change, place: Place, found: JsonObject, key: ActionKey) -> Request:
    """`found`: the service as it is. Its list of backends is written as a whole, so it takes all of them, and the
    fingerprint of the state that they are from."""
    wanted = {field.path.removeprefix(CAPACITY): field.after for field in change.fields}
    backends = [_shifted(each, wanted) for each in rows(found.get("backends"))]
    resource = Resource("BackendService", {"backends": backends, "fingerprint": text(found.get("fingerprint"))})
    arguments: Arguments = {**place.named(), "request_id": request_id(key), "backend_service_resource": resource}
    return Request("backend_service.patch", place.service, "patch_unary", arguments)


def _shifted(backend: JsonObject, wanted: Mapping[str, Scalar]) -> dict[str, object]:
    name = short(text(backend.get("group")))
    return {**backend, "capacityScaler": wanted[name]} if name in wanted else {**backend}
