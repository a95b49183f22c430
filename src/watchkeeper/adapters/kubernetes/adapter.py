"""Kubernetes under the action contract (tried with 1.20 and through its own discovery).

One action is one request. Every write names the object's uid, and, where the object's state matters, the
resourceVersion that was seen: the server refuses what comes too late (`changed`). It does NOT know idempotency keys:
our claim is the record, and the state tells.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import ClassVar

from watchkeeper.adapters.base import Look, Order, TargetAdapter, changed
from watchkeeper.adapters.contract import CONFORMANCE, Capability, Grip, Permitted, Problem
from watchkeeper.adapters.kubernetes.capabilities import CAPABILITIES, Bounds, Rollback, Scale, SetResources
from watchkeeper.adapters.kubernetes.client import KubernetesClient, Request
from watchkeeper.adapters.kubernetes.config import KubernetesConfig
from watchkeeper.adapters.kubernetes.history import former
from watchkeeper.adapters.kubernetes.kinds import KINDS, POD, WORKLOADS, Place, place_of
from watchkeeper.adapters.kubernetes.objects import JsonObject, at
from watchkeeper.adapters.kubernetes.permissions import Rule
from watchkeeper.adapters.kubernetes.problems import FIXES
from watchkeeper.adapters.kubernetes.reader import UID, Reader
from watchkeeper.adapters.kubernetes.relative import enlarged, limited, scaled
from watchkeeper.adapters.kubernetes.writes import apply, remove_pod, replace_template, unset
from watchkeeper.adapters.parameters import Parameters
from watchkeeper.adapters.recorder import CallRecorder, Reply
from watchkeeper.adapters.wire import HttpError
from watchkeeper.core.actions import Action, Change, Intent, Target, TargetState
from watchkeeper.core.clock import Clock
from watchkeeper.core.errors import AdapterError, InputError
from watchkeeper.core.model import Scalar, format_instant

REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
LATE = (409, 412)


class KubernetesAdapter(TargetAdapter):
    proven: ClassVar[str] = CONFORMANCE
    declared = CAPABILITIES
    fixes = FIXES

    def __init__(self, config: KubernetesConfig, recorder: CallRecorder, clock: Clock) -> None:
        super().__init__(f"kubernetes:{config.name}", clock, config.settle_s)
        self._namespaces, self._nodes = config.namespaces, config.acts_on_nodes
        self._client = KubernetesClient(self.name, config, recorder, clock)
        self._reader = Reader(self._client, clock)

    def capabilities(self) -> tuple[Capability, ...]:
        """Less what these settings rule out: then its permissions are not asked for either."""
        return tuple(each for each in self.declared if self._nodes or KINDS[each.target_kind].namespaced)

    async def look(self, target: Target, paths: Collection[str] = ()) -> Look:
        return await self._reader.look(target, paths)

    async def population(self, target: Target) -> int:
        return await self._reader.count(target)

    def id_problems(self, target: Target) -> tuple[Problem, ...]:
        try:
            place = place_of(target)
        except InputError:
            return (self.problem("bad_id"),)
        if not place.kind.namespaced:
            return () if self._nodes else (self.problem("no_nodes"),)
        if self._namespaces and place.namespace not in self._namespaces:
            return (self.problem("other_namespace"),)
        return ()

    def wanted(self, action: Action, parameters: Parameters, state: TargetState) -> Mapping[str, Scalar]:
        match action.target.kind, action.intent:
            case kind, Intent.RESTART if kind in WORKLOADS:
                return {"restarted_at": format_instant(self._clock.now())}
            case kind, _ if kind == POD:
                return {field.path: None for field in state.fields if field.path.startswith(UID)}
        match parameters:
            case Scale():
                return scaled(parameters, state)
            case SetResources(memory_factor=float()) if len(limited(state, parameters.container)) == 1:
                return enlarged(parameters, state)
        return parameters.wanted()

    async def dry_run(self, action: Action) -> Change:
        change = await super().dry_run(action)
        if action.intent is not Intent.ROLLBACK:
            return change
        (field,) = change.fields
        return change.model_copy(update={"fields": (field.model_copy(update={"after": await self._former(action)}),)})

    async def own_problems(self, action: Action, parameters: Parameters, state: TargetState) -> tuple[Problem, ...]:
        known = {field.path for field in state.fields}
        if action.target.kind == POD and not any(path.startswith(UID) for path in known):
            return (self.problem("not_owned"),)
        absent = [path for path in parameters.wanted() if ":" in path and path not in known]
        if absent:
            return (self.problem("no_such_container", absent[0]),)
        if isinstance(parameters, SetResources) and parameters.memory_factor is not None:
            meant = limited(state, parameters.container)
            if len(meant) != 1:
                return (self.problem("several_containers" if meant else "no_memory_limit"),)
        if isinstance(parameters, Rollback):
            return () if await self._former(action) else (self.problem("no_such_revision", "template"),)
        if isinstance(parameters, Bounds):
            return self._crossed(parameters, state)
        return ()

    async def send(self, change: Change, look: Look, order: Order) -> Reply:
        place = place_of(change.target)
        try:
            return await self._client.write(await self._request(change, place, look.version), order)
        except HttpError as error:
            late = error.status in LATE or (error.status == 422 and change.intent is Intent.ROLLBACK)
            if late:
                return changed()
            raise

    def restored(self, change: Change, state: TargetState) -> bool:
        if change.target.kind == POD:
            return state.value("owner_whole") is True
        return state.exists and state.value("rolled_out") is True

    async def permitted(self, permissions: Collection[str]) -> tuple[Permitted, ...]:
        return tuple([await self._permitted(each) for each in permissions])

    async def close(self) -> None:
        await self._client.close()

    async def _permitted(self, permission: str) -> Permitted:
        """In every namespace that is named, or in all."""
        rule = Rule.of(permission)
        for namespace in ("",) if rule.cluster_wide else self._namespaces or ("",):
            reply = await self._client.ask("access.review", REVIEWS, rule.review(namespace))
            if at(reply, "status", "allowed") is not True:
                return Permitted(permission=permission, grip=Grip.MISSING)
        return Permitted(permission=permission, grip=Grip.GRANTED)

    async def _request(self, change: Change, place: Place, seen: str) -> Request:
        discovery = self._reader.discovery
        if place.kind.name == POD:
            return remove_pod(change, place, seen, await discovery.eviction())
        version = await discovery.version(place.kind)
        if change.intent is Intent.ROLLBACK:
            return replace_template(place, version, seen, await self._kept(place, change.fields[0].after))
        if any(field.after is None for field in change.fields):
            return unset(change, place, version, seen, await self._again(place))
        return apply(change, place, version, seen)

    async def _again(self, place: Place) -> JsonObject:
        """The object once more. Where it has moved, the resourceVersion that was seen makes the server refuse."""
        found = await self._reader.object(place)
        if found is None:
            raise AdapterError(
                f"{place.kind.name} {place.name} was not changed: it is gone",
                retryable=False,
                cause="somebody deleted it a moment ago",
                next_step="nothing: the plan is made again by itself",
            )
        return found

    async def _former(self, action: Action) -> str | None:
        """The revision that a rollback leads to."""
        place = place_of(action.target)
        workload = await self._reader.object(place)
        if workload is None:
            return None
        wanted = dict(action.parameters).get("revision")
        known = await self._reader.history(place, workload)
        found = former(workload, known, wanted if isinstance(wanted, int) else None)
        return None if found is None else found.name

    async def _kept(self, place: Place, name: Scalar) -> JsonObject:
        """The template that this revision keeps."""
        workload = await self._reader.object(place)
        known = () if workload is None else await self._reader.history(place, workload)
        found = next((each for each in known if each.name == name), None)
        if found is None:
            raise AdapterError(
                f"{place.kind.name} {place.name} was not rolled back: its revision {name} is not kept any more",
                retryable=False,
                cause="newer revisions have pushed it out of the history",
                next_step="raise revisionHistoryLimit of the workload; the plan is made again by itself",
            )
        return found.template

    def _crossed(self, parameters: Bounds, state: TargetState) -> tuple[Problem, ...]:
        wanted = parameters.wanted()
        low = wanted.get("min_replicas", state.value("min_replicas"))
        high = wanted.get("max_replicas", state.value("max_replicas"))
        crossed = isinstance(low, int) and isinstance(high, int) and low > high
        return (self.problem("bounds_crossed", "min_replicas"),) if crossed else ()
