"""Microsoft.Compute under the action contract (tried with our own fake of it).

One action is one call. Only a scale set has a precondition, its etag. It does NOT know idempotency keys: our claim is
the record, and the state tells. That a machine was restarted is told by when its last operation ended, so another
operation on the same machine in the same moment looks like ours. It does NOT wait for Azure's operations either.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, ClassVar

from watchkeeper.adapters.azure.capabilities import (
    CAPABILITIES,
    DEALLOCATED,
    POWER,
    PROVISIONED_AT,
    REPLICAS,
    RUNNING,
)
from watchkeeper.adapters.azure.client import AzureClient, Request
from watchkeeper.adapters.azure.config import AzureConfig
from watchkeeper.adapters.azure.fields import UP, JsonObject, machine_fields, scale_set_fields, scaled_by, text
from watchkeeper.adapters.azure.permissions import allowed
from watchkeeper.adapters.azure.places import SCALE_SET, VM, Place, place_of
from watchkeeper.adapters.azure.problems import FIXES
from watchkeeper.adapters.base import Look, Order, TargetAdapter, changed
from watchkeeper.adapters.contract import CONFORMANCE, Grip, Happened, Permitted, Problem
from watchkeeper.adapters.parameters import Parameters, Scaling
from watchkeeper.adapters.recorder import CallRecorder, Reply
from watchkeeper.adapters.wire import HttpError
from watchkeeper.core.actions import Action, Change, FieldState, Intent, Target, TargetState
from watchkeeper.core.clock import Clock
from watchkeeper.core.errors import InputError
from watchkeeper.core.model import Scalar

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

STALE = 412
_GROUPS = {VM: "virtual_machines", SCALE_SET: "virtual_machine_scale_sets"}
_MEMBERS = "virtual_machine_scale_set_vms"
_POWER = {RUNNING: "start", DEALLOCATED: "deallocate"}


class AzureAdapter(TargetAdapter):
    proven: ClassVar[str] = CONFORMANCE
    declared = CAPABILITIES
    fixes = FIXES

    def __init__(
        self, config: AzureConfig, recorder: CallRecorder, clock: Clock, credential: TokenCredential | None = None
    ) -> None:
        super().__init__(f"azure:{config.name}", clock, config.settle_s)
        self._groups = tuple(each.lower() for each in config.resource_groups)
        self._client = AzureClient(self.name, config, recorder, clock, credential)

    async def look(self, target: Target, paths: Collection[str] = ()) -> Look:
        place = place_of(target)
        found = await self._object(place)
        if found is None:
            return Look(TargetState(target=target, exists=False, at=self._clock.now()))
        fields = await self._fields(place, found)
        return Look(
            TargetState(target=target, exists=True, at=self._clock.now(), fields=fields), text(found.get("etag"))
        )

    async def population(self, target: Target) -> int:
        """In its resource group; of a scale set's machines, in their set."""
        place = place_of(target)
        return await self._client.count(
            Request(f"{place.kind}.list", _group(place), "list", place.named[: 1 + bool(place.number)])
        )

    def id_problems(self, target: Target) -> tuple[Problem, ...]:
        try:
            place = place_of(target)
        except InputError:
            return (self.problem("bad_id"),)
        if self._groups and place.group.lower() not in self._groups:
            return (self.problem("other_group"),)
        return ()

    def wanted(self, action: Action, parameters: Parameters, state: TargetState) -> Mapping[str, Scalar]:
        if isinstance(parameters, Scaling):
            return {REPLICAS: parameters.beyond(state.value(REPLICAS))}
        return parameters.wanted()

    async def own_problems(self, action: Action, parameters: Parameters, state: TargetState) -> tuple[Problem, ...]:
        if action.intent is Intent.RESTART and state.value(UP) is not True:
            return (self.problem("not_running", PROVISIONED_AT),)
        if action.intent is Intent.STOP and state.value(POWER) not in (RUNNING, DEALLOCATED):
            return (self.problem("not_running", POWER),)
        return ()

    async def send(self, change: Change, look: Look, order: Order) -> Reply:
        try:
            return await self._client.write(request_of(change, place_of(change.target), look.version), order)
        except HttpError as error:
            if error.status == STALE:
                return changed()
            raise

    def restored(self, change: Change, state: TargetState) -> bool:
        ended = state.value(PROVISIONED_AT) is not None
        return ended and state.value(UP) is True and self.happened(change, state) is Happened.YES

    async def permitted(self, permissions: Collection[str]) -> tuple[Permitted, ...]:
        """In every resource group that is named, or in the subscription."""
        try:
            scopes = [await self._client.permissions(group) for group in self._groups or ("",)]
        except HttpError as error:
            if error.status != 403:
                raise
            return tuple(Permitted(permission=each, grip=Grip.UNKNOWN) for each in permissions)
        grips = {True: Grip.GRANTED, False: Grip.MISSING}
        return tuple(
            Permitted(permission=each, grip=grips[all(allowed(each, held) for held in scopes)]) for each in permissions
        )

    async def close(self) -> None:
        await self._client.close()

    async def _object(self, place: Place) -> JsonObject | None:
        """None where there is none."""
        view = "" if place.kind == SCALE_SET else "instanceView"
        try:
            return await self._client.get(Request(f"{place.kind}.get", _group(place), "get", place.named), view)
        except HttpError as error:
            if error.status == 404:
                return None
            raise

    async def _fields(self, place: Place, found: JsonObject) -> tuple[FieldState, ...]:
        if place.kind != SCALE_SET:
            return machine_fields(found, place.group)
        settings = await self._client.autoscale_settings(place.group)
        return scale_set_fields(found, place.group, scaled_by(settings, found))


def request_of(change: Change, place: Place, etag: str) -> Request:
    """The one call that carries the change."""
    (field,) = change.fields
    if field.path == REPLICAS:
        body = {"sku": {"capacity": field.after}}
        return Request("scale_set.update", _group(place), "begin_update", place.named, body, etag)
    if field.path == POWER:
        verb = _POWER.get(str(field.after), "power_off")
    else:
        verb = "reimage" if change.intent is Intent.REPLACE else "restart"
    return Request(f"{place.kind}.{verb}", _group(place), f"begin_{verb}", place.named)


def _group(place: Place) -> str:
    return _GROUPS.get(place.kind, _MEMBERS)
