"""GCP for the adapter: our own fake of compute.v1, which google-cloud-compute's REST clients speak with.

Every request and reply is checked against the discovery document: a request that breaks it gets 400 as Google answers
it, a reply of ours that breaks it is listed in `broken` and answered with 500.

What it does after Google's documents: operations PENDING → RUNNING → DONE, in zones, regions and globally, kept and
listed with filters (`clientOperationId`, `operationType`, `targetId`, `status`); a `requestId` seen before answers with
its first operation and does nothing again; a stale `fingerprint` is 412 conditionNotMet; a resize and a recreation are
DONE when they are scheduled, the group comes to its size afterwards; an autoscaler that is on keeps its group within
its bounds; capacity scalers are 0 or 0.1 to 1 and not 0 for the only backend; missing permissions are 403.
What is a guess: a patch without a fingerprint is taken; a reset does not move `lastStartTimestamp`; a second request
with the same requestId and another body is answered like the first; operations are never dropped (Google: two weeks).
Not there: everything else of compute.v1 (404 of ours, reason `notFake`); autoscaling on load; health.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import Any
from uuid import UUID

from pydantic import JsonValue

from tests.testbed.clouds.discovery import Method, discovery
from tests.testbed.clouds.gcp_calls import CALLS, PERMISSIONS, Refusal
from tests.testbed.clouds.gcp_world import LINK, PROJECT, World
from tests.testbed.clouds.jsonserver import JsonServer, Reply, Request
from watchkeeper.core.model import Scalar

ZONE, REGION = "us-central1-a", "us-central1"
_PREFIX = "/compute/v1/"
_OPERATION = re.compile(r"/operations/[^/]+(/wait)?$")


class GcpFake(JsonServer):
    """`granted`: the permissions of whoever calls, None for all; `token`: what the Authorization header must bear."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.journal: list[str] = []
        """`method target` of every write that was taken, in order."""
        self.granted: frozenset[str] | None = None
        self.token = ""
        self._refusals: list[Reply] = []
        self._failures: list[tuple[str, str]] = []
        self._names = count(1)

    # Faults that only the target can have.

    def refuse_next(self, status: int, reason: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        """The next request is refused in Google's words."""
        self._refusals.append(_refused(Refusal(status, reason, message), headers))

    def throttle_next(self) -> None:
        """The next request is one too many in this minute."""
        message = "Quota exceeded for quota metric 'Queries' and limit 'Queries per minute' of service 'compute'."
        self.refuse_next(403, "rateLimitExceeded", message)

    def fail_next(self, code: str = "ZONE_RESOURCE_POOL_EXHAUSTED", message: str = "no capacity") -> None:
        """The next operation is taken, and ends in an error."""
        self._failures.append((code, message))

    @contextmanager
    def held(self) -> Iterator[None]:
        """No operation goes on inside the block."""
        self.world.held = True
        try:
            yield
        finally:
            self.world.held = False

    @contextmanager
    def stuck(self) -> Iterator[None]:
        """No instance group does what it has to do inside the block."""
        self.world.stuck = True
        try:
            yield
        finally:
            self.world.stuck = False

    # The judge: no HTTP, no client.

    def fields(self, kind: str, id_: str) -> Mapping[str, Scalar]:
        """Ids: `ZONE/NAME`, `REGION/NAME` or `global/NAME`; of a managed instance `PLACE/GROUP/NAME`. What is not held
        or stuck has come to its end. A thing that is not there is a LookupError."""
        with self.lock:
            self.world.settle()
            return _FIELDS[kind](self.world, _path(kind, id_))

    def write(self, kind: str, id_: str, values: Mapping[str, Scalar]) -> None:
        with self.lock:
            thing = self.world.things[_path(kind, id_)]
            for path, value in values.items():
                _set(kind, thing, path, value)
            self.world.stamp(thing) if "fingerprint" in thing else None
            self.world.settle()

    def effects(self) -> int:
        return len(self.journal)

    # Makers: each gives an id of its own.

    def instance(self, status: str = "RUNNING", zone: str = ZONE) -> str:
        id_ = f"{zone}/vm-{next(self._names)}"
        self.world.instance(_path("instance", id_), status)
        return id_

    def group(self, size: int = 2, place: str = ZONE) -> str:
        """A managed instance group; `place` is a zone or a region."""
        name = f"group-{next(self._names)}"
        path = _path("instance_group", f"{place}/{name}")
        scope = "/".join(path.split("/")[:4])
        template = f"{LINK}projects/{PROJECT}/global/instanceTemplates/{name}-v1"
        made = self.world.add(
            path,
            "compute#instanceGroupManager",
            baseInstanceName=name,
            instanceGroup=f"{LINK}{scope}/instanceGroups/{name}",
            instanceTemplate=template,
            versions=[{"instanceTemplate": template}],
            targetSize=size,
        )
        made["region" if path.split("/")[2] == "regions" else "zone"] = LINK + scope
        self.world.stamp(made)
        self.world.settle()
        return f"{place}/{name}"

    def managed_instances(self, group: str) -> list[str]:
        with self.lock:
            self.world.settle()
            members = self.world.members(_path("instance_group", group))
        return [f"{group}/{path.rsplit('/', 1)[-1]}" for path in members]

    def autoscaler(self, group: str, least: int = 1, most: int = 5, mode: str = "ON") -> str:
        path, target = _path("autoscaler", group), _path("instance_group", group)
        policy = {"minNumReplicas": least, "maxNumReplicas": most, "mode": mode, "coolDownPeriodSec": 60}
        made = self.world.add(path, "compute#autoscaler", autoscalingPolicy=policy, target=LINK + target)
        made["status"] = "ACTIVE"
        self.world.things[target]["_autoscaler"] = path
        return group

    def backend_service(self, groups: Mapping[str, float], place: str = "global") -> str:
        """`groups`: instance group → capacity scaler."""
        id_ = f"{place}/backend-{next(self._names)}"
        backends = [
            {
                "group": self.world.things[_path("instance_group", group)]["instanceGroup"],
                "balancingMode": "UTILIZATION",
                "maxUtilization": 0.8,
                "capacityScaler": capacity,
            }
            for group, capacity in groups.items()
        ]
        made = self.world.add(_path("backend_service", id_), "compute#backendService", backends=backends)
        made.update(protocol="HTTP", loadBalancingScheme="EXTERNAL_MANAGED", timeoutSec=30)
        self.world.stamp(made)
        return id_

    # The server.

    def answer(self, request: Request) -> Reply:
        self.world.go_on()
        if self._refusals:
            return self._refusals.pop(0)
        if self.token and request.headers.get("authorization") != f"Bearer {self.token}":
            return _refused(Refusal(401, "authError", "Invalid Credentials", "UNAUTHENTICATED"))
        if request.path.endswith(("/testIamPermissions", ":testIamPermissions")):
            return self._tested(request)
        method = discovery("compute.v1").method(request.method, request.path)
        if method is None or method.id not in CALLS:
            return _refused(Refusal(404, "notFake", f"the fake has no {request.method} {request.path}"))
        try:
            found = self._carry_out(method, request)
        except Refusal as refusal:
            return _refused(refusal)
        return self._checked(method, found)

    def _carry_out(self, method: Method, request: Request) -> JsonValue:
        body = _parsed(request)
        problems = discovery("compute.v1").request_problems(method, request.query, body)
        if problems:
            raise Refusal(400, "invalid", f"Invalid JSON payload received. {'; '.join(problems)}", "INVALID_ARGUMENT")
        path = request.path.removeprefix(_PREFIX)
        missing = [one for one in PERMISSIONS[method.id] if self.granted is not None and one not in self.granted]
        if missing:
            raise Refusal(403, "forbidden", f"Required '{missing[0]}' permission for '{path}'", "PERMISSION_DENIED")
        if method.response != "Operation" or _OPERATION.search(path):
            return CALLS[method.id](self.world, path, request.query, body)
        return self._write(method, path, request, body)

    def _write(self, method: Method, path: str, request: Request, body: JsonValue) -> JsonValue:
        request_id = request.query.get("requestId", "")
        if request_id:
            _check_request_id(request_id)
            for known in self.world.operations.values():
                if known.request_id == request_id:
                    return dict(known.shown)
        found = CALLS[method.id](self.world, path, request.query, body)
        operation = self.world.operations[str(found["path"])]
        if self._failures:
            operation.error = self._failures.pop(0)
        else:
            self.journal.append(
                f"{method.id.removeprefix('compute.')} {operation.shown['targetLink'].removeprefix(LINK)}"
            )
        return dict(operation.shown)

    def _tested(self, request: Request) -> Reply:
        """Of the project (Resource Manager) and of single things (Compute): the same answer."""
        name = "compute.v1" if request.path.startswith(_PREFIX) else "cloudresourcemanager.v3"
        method = discovery(name).method(request.method, request.path)
        body = _parsed(request)
        problems = ["no such method"] if method is None else discovery(name).request_problems(method, {}, body)
        if method is None or problems or not isinstance(body, dict):
            return _refused(Refusal(400, "invalid", "; ".join(problems), "INVALID_ARGUMENT"))
        asked: Any = body.get("permissions", [])
        held = [one for one in asked if self.granted is None or one in self.granted]
        return self._checked(method, {"permissions": held} if held else {}, name)

    def _checked(self, method: Method, found: JsonValue, document: str = "compute.v1") -> Reply:
        problems = discovery(document).problems(method.response, found) if method.response else []
        self.broken += [f"{method.id} {problem}" for problem in problems]
        if problems:
            return _refused(Refusal(500, "backendError", "; ".join(problems)))
        return Reply(200, found)


def _parsed(request: Request) -> JsonValue:
    try:
        return request.json()
    except ValueError:
        raise Refusal(400, "parseError", "Invalid JSON payload received.", "INVALID_ARGUMENT") from None


def _check_request_id(text: str) -> None:
    try:
        valid = bool(UUID(text).int)
    except ValueError:
        valid = False
    if not valid:
        message = f"Invalid value for field 'requestId': '{text}'. Must be a UUID"
        raise Refusal(400, "invalid", message, "INVALID_ARGUMENT")


def _refused(refusal: Refusal, headers: Mapping[str, str] | None = None) -> Reply:
    one: JsonValue = {"message": refusal.message, "domain": refusal.domain, "reason": refusal.reason}
    error: dict[str, JsonValue] = {"code": refusal.status, "message": refusal.message, "errors": [one]}
    if refusal.word:
        error["status"] = refusal.word
    return Reply(refusal.status, {"error": error}, headers or {})


_COLLECTIONS = {
    "instance": "instances",
    "instance_group": "instanceGroupManagers",
    "autoscaler": "autoscalers",
    "backend_service": "backendServices",
}


def _path(kind: str, id_: str) -> str:
    place, *names = id_.split("/")
    if kind == "managed_instance":
        path = f"projects/{PROJECT}/{'zones' if place.count('-') == 2 else 'regions'}/{place}"
        return f"projects/{PROJECT}/zones/{World.zone_of(path)}/instances/{names[-1]}"
    scope = "global" if place == "global" else f"{'zones' if place.count('-') == 2 else 'regions'}/{place}"
    return f"projects/{PROJECT}/{scope}/{_COLLECTIONS[kind]}/{names[-1]}"


def _instance(world: World, path: str) -> dict[str, Scalar]:
    found = world.things[path]
    times = {name: found.get(f"last{name.title()}Timestamp") for name in ("start", "stop")}
    machine = found["machineType"].rsplit("/", 1)[-1]
    return {"status": found["status"], **times, "machine_type": machine, "resets": found.get("_resets", 0)}


def _group(world: World, path: str) -> dict[str, Scalar]:
    found = world.things[path]
    size = len(world.members(path))
    return {"target_size": found["targetSize"], "size": size, "stable": world.stable(path)}


def _member(world: World, path: str) -> dict[str, Scalar]:
    found = world.things.get(path)
    return {"id": None, "status": None} if found is None else {"id": found["id"], "status": found["status"]}


def _autoscaler(world: World, path: str) -> dict[str, Scalar]:
    policy = world.things[path]["autoscalingPolicy"]
    return {"min": policy["minNumReplicas"], "max": policy["maxNumReplicas"], "mode": policy["mode"]}


def _backend_service(world: World, path: str) -> dict[str, Scalar]:
    backends = world.things[path]["backends"]
    return {f"capacity:{one['group'].rsplit('/', 1)[-1]}": one["capacityScaler"] for one in backends}


_FIELDS = {
    "instance": _instance,
    "instance_group": _group,
    "managed_instance": _member,
    "autoscaler": _autoscaler,
    "backend_service": _backend_service,
}


def _set(kind: str, thing: dict[str, Any], path: str, value: Scalar) -> None:
    """Another writer; a field that only the fake itself moves is a KeyError."""
    if kind == "backend_service":
        for one in thing["backends"]:
            if path == f"capacity:{one['group'].rsplit('/', 1)[-1]}":
                one["capacityScaler"] = value
    elif kind == "autoscaler":
        names = {"min": "minNumReplicas", "max": "maxNumReplicas", "mode": "mode"}
        thing["autoscalingPolicy"][names[path]] = value
    else:
        thing[{"target_size": "targetSize", "status": "status"}[path]] = value
