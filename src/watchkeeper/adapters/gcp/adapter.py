"""Compute Engine under the action contract (tried with our own fake of it).

One action is one call, with a request id that is derived from the action's key: Google does the same one only once.
Only a backend service has a precondition, its fingerprint. It does NOT wait for Google's operations: a call is done
when Google has taken it, and `observe` reads what became of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, ClassVar

from watchkeeper.adapters.base import Look, Order, TargetAdapter, changed
from watchkeeper.adapters.contract import CONFORMANCE, Grip, Happened, Permitted, Problem, Seen
from watchkeeper.adapters.gcp.capabilities import (
    CAPABILITIES,
    CAPACITY,
    LAST_RESET,
    MAX,
    MIN,
    NEVER,
    REPLICAS,
    Bounds,
    Capacity,
)
from watchkeeper.adapters.gcp.client import GcpClient
from watchkeeper.adapters.gcp.config import GcpConfig
from watchkeeper.adapters.gcp.fields import RESETTING, UP, takeable, text
from watchkeeper.adapters.gcp.places import BACKEND, MEMBER, Place, place_of
from watchkeeper.adapters.gcp.problems import FIXES
from watchkeeper.adapters.gcp.reader import Reader
from watchkeeper.adapters.gcp.writes import recreate, request_id, request_of, shift
from watchkeeper.adapters.parameters import Parameters, Scaling
from watchkeeper.adapters.recorder import CallRecorder, Reply
from watchkeeper.adapters.wire import HttpError
from watchkeeper.core.actions import Action, Change, Intent, Target, TargetState
from watchkeeper.core.clock import Clock
from watchkeeper.core.errors import InputError
from watchkeeper.core.ids import ActionKey
from watchkeeper.core.model import Scalar

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

STALE = 412


class GcpAdapter(TargetAdapter):
    proven: ClassVar[str] = CONFORMANCE
    declared = CAPABILITIES
    fixes = FIXES

    def __init__(
        self, config: GcpConfig, recorder: CallRecorder, clock: Clock, credentials: Credentials | None = None
    ) -> None:
        super().__init__(f"gcp:{config.name}", clock, config.settle_s)
        self._client = GcpClient(self.name, config, recorder, clock, credentials)
        self._reader = Reader(self._client, clock)

    async def look(self, target: Target, paths: Collection[str] = ()) -> Look:
        return await self._reader.look(target, paths)

    async def population(self, target: Target) -> int:
        return await self._reader.count(target)

    def id_problems(self, target: Target) -> tuple[Problem, ...]:
        try:
            place_of(target)
        except InputError:
            return (self.problem("bad_id"),)
        return ()

    def wanted(self, action: Action, parameters: Parameters, state: TargetState) -> Mapping[str, Scalar]:
        if isinstance(parameters, Scaling):
            return {REPLICAS: parameters.beyond(state.value(REPLICAS))}
        return parameters.wanted()

    async def own_problems(self, action: Action, parameters: Parameters, state: TargetState) -> tuple[Problem, ...]:
        if action.intent is Intent.RESTART and state.value(UP) is not True:
            return (self.problem("not_running", LAST_RESET),)
        if isinstance(parameters, Bounds):
            return self._crossed(parameters, state)
        if isinstance(parameters, Capacity):
            return self._drained(parameters, state)
        return ()

    async def send(self, change: Change, look: Look, order: Order) -> Reply:
        place = place_of(change.target)
        try:
            if place.kind == BACKEND:
                return await self._shift(change, place, look.version, order)
            if place.kind == MEMBER:
                link = await self._reader.link(place, look.version)
                return changed() if link is None else await self._client.write(recreate(place, link, order.key), order)
            return await self._client.write(request_of(change, place, order.key), order)
        except HttpError as error:
            if error.status == STALE:
                return changed()
            raise

    async def observe(self, change: Change, key: ActionKey) -> Seen:
        """What Google has taken and not begun does not show yet: that is not a no."""
        seen = await super().observe(change, key)
        if seen.happened is Happened.NO and await self._reader.underway(change.target, request_id(key)):
            return seen.model_copy(update={"happened": Happened.UNKNOWN})
        return seen

    def happened(self, change: Change, state: TargetState) -> Happened:
        """Google forgets operations after some days: none at all is no sign of a reset."""
        if change.intent is Intent.RESTART and state.value(LAST_RESET) == NEVER:
            return Happened.NO
        return super().happened(takeable(change) if change.intent is Intent.SHIFT_TRAFFIC else change, state)

    def restored(self, change: Change, state: TargetState) -> bool:
        whole = state.value(UP) is True and state.value(RESETTING) is not True
        return whole and self.happened(change, state) is Happened.YES

    async def permitted(self, permissions: Collection[str]) -> tuple[Permitted, ...]:
        try:
            held = await self._client.granted(tuple(permissions))
        except HttpError as error:
            if error.status != 403:
                raise
            return tuple(Permitted(permission=each, grip=Grip.UNKNOWN) for each in permissions)
        grips = {True: Grip.GRANTED, False: Grip.MISSING}
        return tuple(Permitted(permission=each, grip=grips[each in held]) for each in permissions)

    async def close(self) -> None:
        await self._client.close()

    async def _shift(self, change: Change, place: Place, seen: str, order: Order) -> Reply:
        found = await self._client.document("backend_service.get", f"{place.path}/backendServices/{place.name}")
        if text(found.get("fingerprint")) != seen:
            return changed()
        return await self._client.write(shift(takeable(change), place, found, order.key), order)

    def _crossed(self, parameters: Bounds, state: TargetState) -> tuple[Problem, ...]:
        wanted = parameters.wanted()
        low, high = wanted.get(MIN, state.value(MIN)), wanted.get(MAX, state.value(MAX))
        crossed = isinstance(low, int) and isinstance(high, int) and low > high
        return (self.problem("bounds_crossed", MIN),) if crossed else ()

    def _drained(self, parameters: Capacity, state: TargetState) -> tuple[Problem, ...]:
        (path,) = parameters.wanted()
        known = {field.path: field.value for field in state.fields if field.path.startswith(CAPACITY)}
        if path not in known:
            return (self.problem("no_such_backend", path),)
        others = any(value is None or value != 0 for name, value in known.items() if name != path)
        return () if parameters.capacity or others else (self.problem("last_backend", path),)
