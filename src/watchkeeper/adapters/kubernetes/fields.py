"""Objects as fields that the core sees. A flag that is absent is false; a quantity is as the server spells it."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from watchkeeper.adapters.kubernetes.capabilities import QUANTITIES
from watchkeeper.adapters.kubernetes.kinds import DEPLOYMENT
from watchkeeper.adapters.kubernetes.objects import (
    RESTARTED_AT,
    JsonObject,
    at,
    containers,
    env,
    gitops,
    manager_of,
    resources,
    rolled_out,
    scalar,
    text,
)
from watchkeeper.core.actions import FieldState
from watchkeeper.core.model import Scalar


def workload_fields(kind: str, found: JsonObject, paths: Collection[str], scaled_by: str) -> tuple[FieldState, ...]:
    """`scaled_by`: the autoscaler that has the replicas, if any."""
    tool = gitops(found)
    annotations = at(found, "spec", "template", "metadata", "annotations")
    fields = [
        FieldState(path="restarted_at", value=scalar(at(annotations, RESTARTED_AT)), owner=tool),
        FieldState(path="rolled_out", value=rolled_out(kind, found), manageable=False, why="read_only"),
    ]
    if kind != "daemonset":
        owner = tool or scaled_by or manager_of(found, "spec", "replicas")
        fields.append(FieldState(path="replicas", value=scalar(at(found, "spec", "replicas")), owner=owner))
    if kind == DEPLOYMENT:
        fields.append(_flag("paused", at(found, "spec", "paused") is True, tool))
    return (*fields, *_container_fields(found, paths, tool))


def node_fields(found: JsonObject) -> tuple[FieldState, ...]:
    return (_flag("unschedulable", at(found, "spec", "unschedulable") is True),)


def cronjob_fields(found: JsonObject) -> tuple[FieldState, ...]:
    return (_flag("suspend", at(found, "spec", "suspend") is True, gitops(found)),)


def autoscaler_fields(found: JsonObject) -> tuple[FieldState, ...]:
    tool = gitops(found)
    return (
        FieldState(path="min_replicas", value=scalar(at(found, "spec", "minReplicas")), owner=tool),
        FieldState(path="max_replicas", value=scalar(at(found, "spec", "maxReplicas")), owner=tool),
    )


def _container_fields(found: JsonObject, paths: Collection[str], tool: str) -> Iterator[FieldState]:
    for container in containers(found):
        name = text(container.get("name"))
        values: dict[str, Scalar] = {f"image:{name}": text(container.get("image"))}
        values |= {f"{path}:{name}": value for path, value in resources(container)}
        values |= {f"{path}:{name}": None for path in QUANTITIES if f"{path}:{name}" in {*paths} - {*values}}
        yield from (FieldState(path=path, value=value, owner=tool) for path, value in values.items())
        for path in paths:
            head, _, variable = path.rpartition(":")
            if head == f"env:{name}":
                value, why = env(container, variable)
                yield FieldState(path=path, value=value, manageable=not why, why=why, owner=tool)


def _flag(path: str, value: bool, tool: str = "") -> FieldState:
    return FieldState(path=path, value=value, owner=tool)
