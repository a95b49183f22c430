"""Azure for the adapter: our own fake of Microsoft.Compute, which azure-mgmt-compute speaks with.

Bodies are checked against that SDK's own models: a request that breaks them gets 400, a reply of ours that breaks them
is listed in `broken` and answered with 500.

What it does after Microsoft's documents: actions answer 202 with Location and Azure-AsyncOperation, both of which can
be polled; a scale set's update answers 200 with the new capacity and `Updating`; If-Match with a stale etag is 412; a
VM's instance view says when its last operation ended; 429 with Retry-After and what remains; the caller's permissions
can be listed at every scope, and are held to.
What is a guess: the code of a 412 (`ConditionNotMet`); a restart of a VM that does not run is 409 OperationNotAllowed;
operations on one machine do not pre-empt each other; what is InProgress for ever when held. Not there: everything else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from itertools import count
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

from pydantic import JsonValue

from tests.testbed.clouds.azure_shapes import problems
from tests.testbed.clouds.azure_world import (
    ACTIONS,
    LOCATION,
    SUBSCRIPTION,
    Machine,
    Operation,
    ScaleSet,
    World,
    in_group,
)
from tests.testbed.clouds.jsonserver import JsonServer, Reply, Request
from watchkeeper.core.model import Scalar

GROUP = "shop-prod"
_COMPUTE = re.compile(r"/subscriptions/([^/]+)/resourceGroups/([^/]+)/providers/Microsoft\.Compute/(.+)", re.IGNORECASE)
_OPERATION = re.compile(r"/subscriptions/[^/]+/providers/Microsoft\.Compute/locations/[^/]+/operations/([^/]+)")
_AUTOSCALE = "/providers/Microsoft.Insights/autoscaleSettings"
_PERMISSIONS = "/providers/Microsoft.Authorization/permissions"


class Refusal(Exception):
    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.reply = Reply(status, {"error": {"code": code, "message": message}}, headers or {})


class AzureFake(JsonServer):
    """`granted`: patterns of the actions that the caller may do (`Microsoft.Compute/*/read`), None for all; `token`:
    what the Authorization header must bear."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.journal: list[str] = []
        """`action path` of every write that was taken, in order."""
        self.granted: tuple[str, ...] | None = None
        self.token = ""
        self.page = 100
        """How many things a list tells at once."""
        self._autoscale: list[JsonValue] = []
        self._refusals: list[Refusal] = []
        self._failures: list[tuple[str, str]] = []
        self._names = count(1)

    # Faults that only the target can have.

    def refuse_next(self, refusal: Refusal) -> None:
        self._refusals.append(refusal)

    def throttle_next(self, retry_after_s: int = 3) -> None:
        """The next request is one too many for the resource provider."""
        left = "Microsoft.Compute/UpdateVM3Min;0,Microsoft.Compute/UpdateVM30Min;612"
        headers = {"Retry-After": str(retry_after_s), "x-ms-ratelimit-remaining-resource": left}
        message = "The server rejected the request because too many requests have been received for this subscription."
        self.refuse_next(Refusal(429, "OperationNotAllowed", message, headers))

    def fail_next(self, code: str = "AllocationFailed", message: str = "no capacity") -> None:
        """The next operation is taken, and ends in an error."""
        self._failures.append((code, message))

    @contextmanager
    def held(self) -> Iterator[None]:
        """No operation ends inside the block: machines stay between."""
        self.world.held = True
        try:
            yield
        finally:
            self.world.held = False

    # The judge: no HTTP, no client.

    def fields(self, kind: str, id_: str) -> Mapping[str, Scalar]:
        """Ids: `GROUP/NAME`, of a scale set's machine `GROUP/SET/NUMBER`. What is not held has come to its end. A thing
        that is not there is a LookupError."""
        with self.lock:
            self.world.settle()
            path = _path(kind, id_).lower()
            if kind == "scale_set":
                found = self.world.sets[path]
                size = len(self.world.members(path))
                return {"capacity": found.capacity, "size": size, "provisioning": found.provisioning}
            machine = self.world.machines[path]
            done = {f"done:{action}": times for action, times in machine.done.items()}
            mark = {"provisioned_at": machine.provisioned_at, "provisioning": machine.provisioning}
            return {"power": machine.power, **mark, **done}

    def write(self, kind: str, id_: str, values: Mapping[str, Scalar]) -> None:
        """`capacity` of a scale set, `power` of a machine."""
        with self.lock:
            path = _path(kind, id_).lower()
            thing = self.world.sets[path] if kind == "scale_set" else self.world.machines[path]
            for name, value in values.items():
                assert name in ("capacity", "power")
                setattr(thing, name, value)
            self.world.touch(thing)
            if isinstance(thing, ScaleSet):
                self.world.fill(thing)

    def effects(self) -> int:
        return len(self.journal)

    # Makers: each gives an id of its own.

    def vm(self, power: str = "running") -> str:
        id_ = f"{GROUP}/vm-{next(self._names)}"
        self.world.machine(_path("vm", id_), power)
        return id_

    def scale_set(self, capacity: int = 2) -> str:
        id_ = f"{GROUP}/set-{next(self._names)}"
        found = ScaleSet(_path("scale_set", id_), capacity)
        self.world.sets[found.path.lower()] = found
        self.world.fill(found)
        return id_

    def scale_set_vms(self, scale_set: str) -> list[str]:
        with self.lock:
            self.world.settle()
            return [f"{scale_set}/{one.number}" for one in self.world.members(_path("scale_set", scale_set))]

    def autoscale(self, scale_set: str, least: int = 1, most: int = 5) -> str:
        """From now on Azure Monitor owns the capacity of a scale set (it scales nothing here): the setting's name. Not
        checked against a model: Microsoft.Insights is in another SDK."""
        name, group = f"autoscale-{next(self._names)}", scale_set.partition("/")[0]
        capacity: JsonValue = {"minimum": str(least), "maximum": str(most), "default": str(least)}
        profile: JsonValue = {"name": "default", "capacity": capacity, "rules": []}
        properties: JsonValue = {
            "enabled": True,
            "targetResourceUri": _path("scale_set", scale_set),
            "profiles": [profile],
        }
        base = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{group}{_AUTOSCALE}"
        self._autoscale.append({"id": f"{base}/{name}", "name": name, "location": LOCATION, "properties": properties})
        return name

    # The server.

    def answer(self, request: Request) -> Reply:
        self.world.go_on()
        try:
            if self._refusals:
                raise self._refusals.pop(0)
            found = self._answer(request)
        except Refusal as refusal:
            found = refusal.reply
        traced = {
            "x-ms-request-id": str(uuid4()),
            "x-ms-correlation-request-id": str(uuid4()),
            "x-ms-ratelimit-remaining-subscription-reads": "11999",
            "x-ms-ratelimit-remaining-resource": "Microsoft.Compute/UpdateVM3Min;239",
        }
        return Reply(found.status, found.body, traced | dict(found.headers))

    def _answer(self, request: Request) -> Reply:
        if self.token and request.headers.get("authorization") != f"Bearer {self.token}":
            raise Refusal(401, "InvalidAuthenticationToken", "The access token is invalid.")
        if "api-version" not in request.query:
            raise Refusal(400, "MissingApiVersionParameter", "The api-version query parameter is required.")
        operation = _OPERATION.fullmatch(request.path)
        if operation:
            return self._polled(operation[1], monitor="monitor" in request.query)
        if request.path.lower().endswith(_PERMISSIONS.lower()):
            self._allow("Microsoft.Authorization/permissions/read", request.path)
            actions: JsonValue = ["*"] if self.granted is None else list[JsonValue](self.granted)
            return Reply(200, {"value": [{"actions": actions, "notActions": []}]})
        if request.path.lower().endswith(_AUTOSCALE.lower()):
            self._allow("Microsoft.Insights/autoscaleSettings/read", request.path)
            return Reply(200, {"value": self._autoscale})
        named = _COMPUTE.fullmatch(request.path)
        if named is None or named[1] != SUBSCRIPTION:
            raise Refusal(404, "NotFake", f"the fake has no {request.path}")
        kind, *rest = named[3].split("/")
        return self._of_kind(request, kind.lower(), rest)

    def _of_kind(self, request: Request, kind: str, rest: list[str]) -> Reply:
        if kind == "virtualmachines":
            machine = "/".join(request.path.split("/")[:9])
            return self._machines(request, "Microsoft.Compute/virtualMachines", "VirtualMachine", machine, rest)
        if kind == "virtualmachinescalesets" and len(rest) > 1 and rest[1].lower() == "virtualmachines":
            self._set(request.path)
            machine = "/".join(request.path.split("/")[:11])
            role = "Microsoft.Compute/virtualMachineScaleSets/virtualMachines"
            return self._machines(request, role, "VirtualMachineScaleSetVM", machine, rest[2:])
        if kind == "virtualmachinescalesets" and len(rest) <= 1:
            return self._scale_sets(request, rest)
        raise Refusal(404, "NotFake", f"the fake has no {request.method} {request.path}")

    def _machines(self, request: Request, role: str, model: str, path: str, rest: list[str]) -> Reply:
        match request.method, *rest:
            case ("GET",):
                self._allow(f"{role}/read", request.path)
                base = request.path.lower() + "/"
                view = "instanceView" in request.query.get("$expand", "")
                found = [one for name, one in self.world.machines.items() if name.rsplit("/", 1)[0] + "/" == base]
                return self._listed(model, request, [one.shown(view=view) for one in found])
            case "GET", _:
                self._allow(f"{role}/read", request.path)
                view = "instanceView" in request.query.get("$expand", "")
                return self._checked(model, self._machine(path).shown(view=view))
            case "GET", _, "instanceView":
                self._allow(f"{role}/instanceView/read", request.path)
                return self._checked(f"{model}InstanceView", self._machine(path).view())
            case "POST", _, action if action in ACTIONS:
                self._allow(f"{role}/{action}/action", path)
                return self._act(self._machine(path), action)
        raise Refusal(404, "NotFake", f"the fake has no {request.method} {request.path}")

    def _act(self, machine: Machine, action: str) -> Reply:
        if action == "restart" and machine.power not in ("running", "starting"):
            name = machine.path.rsplit("/", 1)[-1]
            message = f"Operation 'restart' is not allowed on VM '{name}' since the VM is marked as {machine.power}."
            raise Refusal(409, "OperationNotAllowed", message)
        return self._taken(f"{action} {machine.path}", lambda error: self.world.act(machine, action, error), 202, None)

    def _scale_sets(self, request: Request, rest: list[str]) -> Reply:
        role = "Microsoft.Compute/virtualMachineScaleSets"
        if request.method == "GET":
            self._allow(f"{role}/read", request.path)
            if rest:
                return self._checked("VirtualMachineScaleSet", self._set(request.path).shown())
            return self._listed("VirtualMachineScaleSet", request, [one.shown() for one in self.world.sets.values()])
        if request.method != "PATCH":
            raise Refusal(404, "NotFake", f"the fake has no {request.method} {request.path}")
        self._allow(f"{role}/write", request.path)
        found, capacity = self._set(request.path), _capacity(request)
        if request.headers.get("if-match", "*") not in ("*", f'"{found.etag}"'):
            raise Refusal(412, "ConditionNotMet", "The condition of If-Match is not met: the resource has changed.")
        if capacity is None:
            return self._checked("VirtualMachineScaleSet", found.shown())
        return self._taken(
            f"update {found.path}", lambda error: self.world.resize(found, capacity, error), 200, found.shown
        )

    def _taken(
        self,
        entry: str,
        start: Callable[[tuple[str, str] | None], Operation],
        status: int,
        body: Callable[[], JsonValue] | None,
    ) -> Reply:
        error = self._failures.pop(0) if self._failures else None
        operation = start(error)
        if error is None:
            self.journal.append(entry)
        base = f"{self.url}/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Compute/locations/{LOCATION}"
        link = f"{base}/operations/{operation.id}?p={uuid4()}&api-version=2026-04-01"
        headers = {"Azure-AsyncOperation": link, "Retry-After": "0"}
        if status == 202:
            headers["Location"] = f"{link}&monitor=true"
        if body is None:
            return Reply(status, None, headers)
        checked = self._checked("VirtualMachineScaleSet", body())
        return Reply(checked.status, checked.body, headers)

    def _polled(self, id_: str, *, monitor: bool) -> Reply:
        operation = self.world.operations.get(id_)
        if operation is None:
            raise Refusal(404, "NotFound", f"The operation {id_} was not found.")
        if not monitor:
            return Reply(200, operation.shown(), {} if operation.ended else {"Retry-After": "0"})
        if not operation.ended:
            return Reply(202, None, {"Retry-After": "0"})
        if operation.error:
            raise Refusal(409, *operation.error)
        return Reply(200)

    def _machine(self, path: str) -> Machine:
        found = self.world.machines.get(path.lower())
        if found is None:
            raise _missing(path)
        return found

    def _set(self, path: str) -> ScaleSet:
        path = "/".join(path.split("/")[:9])
        found = self.world.sets.get(path.lower())
        if found is None:
            raise _missing(path)
        return found

    def _allow(self, action: str, scope: str) -> None:
        patterns = ("*",) if self.granted is None else self.granted
        if not any(fnmatchcase(action.lower(), pattern.lower()) for pattern in patterns):
            message = (
                f"The client 'watchkeeper' with object id 'w' does not have authorization to perform action '{action}' "
                f"over scope '{scope}' or the scope is invalid."
            )
            raise Refusal(403, "AuthorizationFailed", message)

    def _listed(self, model: str, request: Request, found: Sequence[JsonValue]) -> Reply:
        first = int(request.query.get("$skiptoken", "0"))
        page: dict[str, JsonValue] = {"value": list(found[first : first + self.page])}
        for one in found[first : first + self.page]:
            self._checked(model, one)
        if first + self.page < len(found):
            more = {"api-version": request.query["api-version"], "$skiptoken": str(first + self.page)}
            page["nextLink"] = f"{self.url}{request.path}?{urlencode(more)}"
        return Reply(200, page)

    def _checked(self, model: str, body: JsonValue) -> Reply:
        found = problems(model, body)
        self.broken += [f"{model} {one}" for one in found]
        if found:
            raise Refusal(500, "InternalServerError", "; ".join(found))
        return Reply(200, body)


def _capacity(request: Request) -> int | None:
    try:
        body: Any = request.json()
    except ValueError:
        raise Refusal(400, "InvalidRequestContent", "The request content was invalid.") from None
    found = problems("VirtualMachineScaleSetUpdate", body)
    if found:
        raise Refusal(400, "InvalidParameter", "; ".join(found))
    capacity: int | None = body.get("sku", {}).get("capacity")
    if capacity is not None and not 0 <= capacity <= 1000:
        raise Refusal(400, "InvalidParameter", "The value of parameter sku.capacity is invalid.")
    return capacity


def _missing(path: str) -> Refusal:
    parts = path.split("/")
    message = f"The Resource '{'/'.join(parts[6:])}' under resource group '{parts[4]}' was not found."
    return Refusal(404, "ResourceNotFound", message)


def _path(kind: str, id_: str) -> str:
    group, *names = id_.split("/")
    if kind == "vm":
        return f"{in_group(group)}/virtualMachines/{names[0]}"
    whole = f"{in_group(group)}/virtualMachineScaleSets/{names[0]}"
    return f"{whole}/virtualMachines/{names[1]}" if kind == "scale_set_vm" else whole
