"""What the cluster says of one target: its fields, who else manages them, and whether it is whole.

It changes nothing. Fields that need more than the object itself (a variable's value, the template's revision) are read
only when they are asked for.
"""

from __future__ import annotations

from collections.abc import Collection

from watchkeeper.adapters.base import Look
from watchkeeper.adapters.kubernetes.client import KubernetesClient
from watchkeeper.adapters.kubernetes.fields import autoscaler_fields, cronjob_fields, node_fields, workload_fields
from watchkeeper.adapters.kubernetes.history import Revision, current, revisions
from watchkeeper.adapters.kubernetes.kinds import (
    AUTOSCALER,
    CRONJOB,
    DAEMONSET,
    DEPLOYMENT,
    KINDS,
    NODE,
    POD,
    REPLICASET,
    REVISION,
    Discovery,
    Kind,
    Place,
    place_of,
)
from watchkeeper.adapters.kubernetes.objects import (
    JsonObject,
    at,
    controller,
    going,
    number,
    objects,
    owned_by,
    ready,
    scalar,
    text,
    version_of,
)
from watchkeeper.adapters.wire import HttpError
from watchkeeper.core.actions import FieldState, Target, TargetState
from watchkeeper.core.clock import Clock

UID = "uid of "
"""A pod's field tells its owner too: `uid of replicaset/web-5d4f8`; the pod itself is soon gone."""
OWNERS = {"ReplicaSet": REPLICASET, "StatefulSet": "statefulset", "DaemonSet": DAEMONSET}


class Reader:
    def __init__(self, client: KubernetesClient, clock: Clock) -> None:
        self._client, self._clock = client, clock
        self.discovery = Discovery(client, clock)

    async def look(self, target: Target, paths: Collection[str]) -> Look:
        place = place_of(target)
        found = await self.object(place)
        if place.kind.name == POD:
            return await self._pod(target, place, found, paths)
        if found is None or going(found):
            return Look(self._state(target, False, ()))
        return Look(self._state(target, True, await self._fields(place, found, paths)), version_of(found))

    async def object(self, place: Place) -> JsonObject | None:
        """None where there is none."""
        path = await self.discovery.path(place.kind, place.namespace, place.name)
        try:
            return await self._client.get(f"{place.kind.name}.get", path)
        except HttpError as error:
            if error.status == 404:
                return None
            raise

    async def history(self, place: Place, workload: JsonObject) -> tuple[Revision, ...]:
        kept = REPLICASET if place.kind.name == DEPLOYMENT else REVISION
        return revisions(workload, await self._list(KINDS[kept], place.namespace, _selector(workload)))

    async def count(self, target: Target) -> int:
        """How many of its kind there are, in its namespace."""
        place = place_of(target)
        path = await self.discovery.path(place.kind, place.namespace)
        found = await self._client.get(f"{place.kind.name}.count", path, {"limit": "1"})
        return len(objects(found.get("items"))) + number(at(found, "metadata", "remainingItemCount"))

    async def _fields(self, place: Place, found: JsonObject, paths: Collection[str]) -> tuple[FieldState, ...]:
        match place.kind.name:
            case name if name == NODE:
                return node_fields(found)
            case name if name == CRONJOB:
                return cronjob_fields(found)
            case name if name == AUTOSCALER:
                return autoscaler_fields(found)
        fields = workload_fields(place.kind.name, found, paths, await self._scaled_by(place))
        return (*fields, await self._template(place, found)) if "template" in paths else fields

    async def _template(self, place: Place, found: JsonObject) -> FieldState:
        now = current(found, await self.history(place, found))
        name = None if now is None else now.name
        return FieldState(path="template", value=name, manageable=name is not None, why="" if name else "no_history")

    async def _scaled_by(self, place: Place) -> str:
        """`hpa` when an autoscaler has the workload's replicas in its hands."""
        if place.kind.name == DAEMONSET:
            return ""
        try:
            scalers = await self._list(KINDS[AUTOSCALER], place.namespace)
        except HttpError as error:
            if error.status == 403:
                return ""  # the Role was not made for scaling: who may not ask may not scale either
            raise
        refs = (at(each, "spec", "scaleTargetRef") for each in scalers)
        mine = any(at(ref, "kind") == place.kind.title and at(ref, "name") == place.name for ref in refs)
        return "hpa" if mine else ""

    async def _pod(self, target: Target, place: Place, found: JsonObject | None, paths: Collection[str]) -> Look:
        owner = None if found is None else controller(found)
        mark = next((path for path in paths if path.startswith(UID)), "")
        if owner is not None and OWNERS.get(text(owner.get("kind"))):
            mark = f"{UID}{OWNERS[text(owner.get('kind'))]}/{text(owner.get('name'))}"
        there = found is not None and not going(found)
        fields: list[FieldState] = []
        if mark:
            uid = scalar(at(found, "metadata", "uid")) if there else None
            whole = await self._whole(place, mark.removeprefix(UID))
            fields = [FieldState(path=mark, value=uid), _read_only("owner_whole", whole)]
        return Look(self._state(target, there, tuple(fields)), "" if found is None else version_of(found))

    async def _whole(self, place: Place, owner: str) -> bool:
        """Whether the owner has as many ready pods as it wants. Its own status may be older than the effect: the pods
        are counted."""
        kind, _, name = owner.partition("/")
        found = await self.object(Place(KINDS[kind], place.namespace, name))
        if found is None:
            return False
        wanted = number(at(found, "spec", "replicas"), 1)
        if kind == DAEMONSET:
            wanted = number(at(found, "status", "desiredNumberScheduled"))
        pods = await self._list(KINDS[POD], place.namespace, _selector(found))
        uid = text(at(found, "metadata", "uid"))
        return sum(ready(pod) for pod in pods if owned_by(pod, uid)) >= wanted

    async def _list(self, kind: Kind, namespace: str, selector: str = "") -> tuple[JsonObject, ...]:
        path = await self.discovery.path(kind, namespace)
        query = {"labelSelector": selector} if selector else {}
        return objects((await self._client.get(f"{kind.name}.list", path, query)).get("items"))

    def _state(self, target: Target, exists: bool, fields: tuple[FieldState, ...]) -> TargetState:
        return TargetState(target=target, exists=exists, at=self._clock.now(), fields=fields)


def _read_only(path: str, value: bool) -> FieldState:
    return FieldState(path=path, value=value, manageable=False, why="read_only")


def _selector(owner: JsonObject) -> str:
    """Equality labels are enough to narrow the list: the owner's uid decides."""
    labels = at(owner, "spec", "selector", "matchLabels")
    return ",".join(f"{name}={value}" for name, value in labels.items()) if isinstance(labels, dict) else ""
