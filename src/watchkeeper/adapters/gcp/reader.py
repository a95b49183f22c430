"""What a project says of one target: its fields, who else manages them, and what is under way on it.

It changes nothing. What needs more than the thing itself (the last reset) is read only when it is asked for.
"""

from __future__ import annotations

from collections.abc import Collection

from watchkeeper.adapters.base import Look
from watchkeeper.adapters.gcp.capabilities import LAST_RESET
from watchkeeper.adapters.gcp.client import Arguments, GcpClient, JsonObject, Request
from watchkeeper.adapters.gcp.fields import (
    autoscaler_fields,
    backend_fields,
    group_fields,
    instance_fields,
    member_fields,
    owner_of_size,
    reset_fields,
    text,
)
from watchkeeper.adapters.gcp.places import AUTOSCALER, BACKEND, GROUP, INSTANCE, MEMBER, Place, place_of, short
from watchkeeper.adapters.wire import HttpError
from watchkeeper.core.actions import FieldState, Target, TargetState
from watchkeeper.core.clock import Clock

PAGE = 500


class Reader:
    def __init__(self, client: GcpClient, clock: Clock) -> None:
        self._client, self._clock = client, clock

    async def look(self, target: Target, paths: Collection[str]) -> Look:
        place = place_of(target)
        found = await self._object(place)
        if found is None:
            return Look(TargetState(target=target, exists=False, at=self._clock.now()))
        fields = await self._fields(place, found, paths)
        version = text(found.get("id" if place.kind == MEMBER else "fingerprint"))
        return Look(TargetState(target=target, exists=True, at=self._clock.now(), fields=fields), version)

    async def count(self, target: Target) -> int:
        """How many of its kind there are in its zone or region; of managed instances, in their group."""
        place = place_of(target)
        if place.kind == MEMBER:
            return len(await self._members(place))
        request = Request(f"{place.kind}.list", place.service, "list", {**place.scoped(), "max_results": PAGE})
        return len(await self._client.items(request))

    async def underway(self, target: Target, request_id: str) -> bool:
        """Whether Google has taken our call, and is not done with it."""
        found = await self._operations(place_of(target), f'clientOperationId = "{request_id}"')
        return any(each.get("clientOperationId") == request_id and each.get("status") != "DONE" for each in found)

    async def link(self, place: Place, number: str) -> str | None:
        """How Google names a managed instance, in whichever zone it is; None where it is not the one of this id."""
        found = await self._object(place)
        return None if found is None or text(found.get("id")) != number else text(found.get("instance"))

    async def _object(self, place: Place) -> JsonObject | None:
        """None where there is none."""
        try:
            if place.kind == MEMBER:
                found = await self._members(place)
                return next((each for each in found if text(each.get("instance")).endswith(f"/{place.name}")), None)
            return await self._client.get(Request(f"{place.kind}.get", place.service, "get", {**place.named()}))
        except HttpError as error:
            if error.status == 404:
                return None
            raise

    async def _fields(self, place: Place, found: JsonObject, paths: Collection[str]) -> tuple[FieldState, ...]:
        match place.kind:
            case kind if kind == INSTANCE:
                fields = instance_fields(found)
                return (*fields, *await self._resets(place, found)) if LAST_RESET in paths else fields
            case kind if kind == GROUP:
                return group_fields(found, owner_of_size(found, await self._scaler(found)))
            case kind if kind == MEMBER:
                return member_fields(found)
            case kind if kind == AUTOSCALER:
                return autoscaler_fields(found)
        assert place.kind == BACKEND
        return backend_fields(found)

    async def _resets(self, place: Place, found: JsonObject) -> tuple[FieldState, ...]:
        """A reset leaves no trace on the instance; the zone keeps its operations for some days."""
        number = text(found.get("id"))
        listed = await self._operations(place, f'(operationType = "reset") (targetId = {number})')
        return reset_fields([each for each in listed if each.get("targetId") == number])

    async def _scaler(self, group: JsonObject) -> JsonObject | None:
        """The autoscaler that a group names, if any."""
        status = group.get("status")
        link = text(status.get("autoscaler")) if isinstance(status, dict) else ""
        if not link:
            return None
        target = Target(adapter="", kind=AUTOSCALER, id=short(link))
        return await self._object(place_of(target))

    async def _members(self, place: Place) -> tuple[JsonObject, ...]:
        arguments: Arguments = {**place.named(), "max_results": PAGE}
        return await self._client.items(
            Request("managed_instance.list", place.service, "list_managed_instances", arguments)
        )

    async def _operations(self, place: Place, wanted: str) -> tuple[JsonObject, ...]:
        arguments: Arguments = {**place.scoped(), "filter": wanted, "max_results": PAGE}
        return await self._client.items(Request("operation.list", place.operations, "list", arguments))
