"""The one request that carries each kind of change. Pure.

Fields are set by server-side apply under our field manager, with the uid and the resourceVersion that were seen, so the
server itself refuses what comes too late. One manager for each set of fields: an apply states all that its manager
wants, and what it leaves out is taken away, so two changes of ours must not share one. A conflict with another manager
is forced: that nobody who writes again owns the field is the decision's question (`FieldState.owner`), asked before.
A rollback replaces the whole template, as kubectl does: an apply would leave fields of the bad one behind. A field is
unset by a patch that removes it: an old server (1.20) gives up our ownership of a quantity and leaves its value.
"""

from __future__ import annotations

from typing import Any

from pydantic import JsonValue

from watchkeeper.adapters.kubernetes.client import APPLY, JSON_PATCH, Request
from watchkeeper.adapters.kubernetes.kinds import Place, path_of
from watchkeeper.adapters.kubernetes.objects import OURS, RESTARTED_AT, JsonObject, containers, objects
from watchkeeper.core.actions import Change, FieldChange, Intent
from watchkeeper.core.digest import sha256

_SPEC = {
    "replicas": "replicas",
    "paused": "paused",
    "suspend": "suspend",
    "unschedulable": "unschedulable",
    "min_replicas": "minReplicas",
    "max_replicas": "maxReplicas",
}


def manager(change: Change) -> str:
    """`watchkeeper.` and a digest of the fields' names."""
    names = "\n".join(sorted(field.path for field in change.fields))
    return f"{OURS}.{sha256(names.encode()).removeprefix('sha256:')[:12]}"


def apply(change: Change, place: Place, version: str, seen: str) -> Request:
    """`version`: the API version; `seen`: the object's uid and resourceVersion."""
    uid, _, resource_version = seen.partition("/")
    metadata: JsonObject = {"name": place.name, "uid": uid, "resourceVersion": resource_version}
    if place.namespace:
        metadata["namespace"] = place.namespace
    body: JsonObject = {
        "apiVersion": version,
        "kind": place.kind.title,
        "metadata": metadata,
        "spec": _spec(change.fields),
    }
    query = (("fieldManager", manager(change)), ("force", "true"))
    return Request(f"{place.kind.name}.apply", "PATCH", _path(version, place), body, query, APPLY)


def replace_template(place: Place, version: str, seen: str, template: JsonObject) -> Request:
    uid, _, resource_version = seen.partition("/")
    body: list[JsonValue] = [
        {"op": "test", "path": "/metadata/uid", "value": uid},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": resource_version},
        {"op": "replace", "path": "/spec/template", "value": template},
    ]
    query = (("fieldManager", OURS),)
    return Request(f"{place.kind.name}.rollback", "PATCH", _path(version, place), body, query, JSON_PATCH)


def unset(change: Change, place: Place, version: str, seen: str, found: JsonObject) -> Request:
    """For a change that takes fields away; `found` tells where they are."""
    uid, _, resource_version = seen.partition("/")
    body: list[JsonValue] = [
        {"op": "test", "path": "/metadata/uid", "value": uid},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": resource_version},
        *(_step(field, found) for field in change.fields),
    ]
    query = (("fieldManager", OURS),)
    return Request(f"{place.kind.name}.unset", "PATCH", _path(version, place), body, query, JSON_PATCH)


def _step(field: FieldChange, found: JsonObject) -> JsonObject:
    """One field of a container; its list and its map are there, since the field is."""
    what, _, rest = field.path.partition(":")
    name, _, variable = rest.partition(":")
    index, container = next((i, each) for i, each in enumerate(containers(found)) if each.get("name") == name)
    path = f"/spec/template/spec/containers/{index}"
    if what == "env":
        at_ = next(i for i, each in enumerate(objects(container.get("env"))) if each.get("name") == variable)
        return {"op": "remove", "path": f"{path}/env/{at_}"}
    resource, _, group = what.partition("_")
    where = f"{path}/resources/{group}s/{resource}"
    return (
        {"op": "remove", "path": where} if field.after is None else {"op": "add", "path": where, "value": field.after}
    )


def remove_pod(change: Change, place: Place, seen: str, eviction: str) -> Request:
    """Deleted, or, to drain, evicted: then budgets are respected. A pod's resourceVersion moves with every probe, so
    its uid alone is the precondition: another pod of the same name is not touched."""
    preconditions: JsonObject = {"preconditions": {"uid": seen.partition("/")[0]}}
    path = _path("v1", place)
    if change.intent is Intent.DRAIN:
        body: JsonObject = {
            "apiVersion": eviction,
            "kind": "Eviction",
            "metadata": {"name": place.name, "namespace": place.namespace},
            "deleteOptions": preconditions,
        }
        return Request("pod.evict", "POST", f"{path}/eviction", body)
    return Request("pod.delete", "DELETE", path, {"apiVersion": "v1", "kind": "DeleteOptions", **preconditions})


def _path(version: str, place: Place) -> str:
    return path_of(version, place.kind, place.namespace, place.name)


def _spec(fields: tuple[FieldChange, ...]) -> JsonObject:
    spec: dict[str, Any] = {}
    for field in fields:
        name = _SPEC.get(field.path)
        if name is not None:
            spec[name] = field.after
        elif field.path == "restarted_at":
            spec["template"] = {"metadata": {"annotations": {RESTARTED_AT: field.after}}}
        else:
            _in_container(spec, field)
    return spec


def _in_container(spec: dict[str, Any], field: FieldChange) -> None:
    """`image:web`, `env:web:LEVEL`, `memory_limit:web`."""
    what, _, rest = field.path.partition(":")
    name, _, variable = rest.partition(":")
    listed = spec.setdefault("template", {}).setdefault("spec", {}).setdefault("containers", [])
    container = next((each for each in listed if each["name"] == name), None)
    if container is None:
        container = {"name": name}
        listed.append(container)
    if what == "image":
        container["image"] = field.after
    elif what == "env":
        container.setdefault("env", []).append({"name": variable, "value": field.after})
    else:
        resource, _, group = what.partition("_")
        container.setdefault("resources", {}).setdefault(f"{group}s", {})[resource] = field.after
