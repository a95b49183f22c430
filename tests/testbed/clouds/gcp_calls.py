"""The methods of compute.v1 that the fake of GCP has: what each needs, checks and does.

A read answers with its JSON; a write starts an operation and answers with that one's path. What is refused raises
`Refusal`, which knows Google's words for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import JsonValue

from tests.testbed.clouds.gcp_world import LINK, PROJECT, World, shown
from tests.testbed.clouds.jsonserver import JsonObject

Call = Callable[[World, str, Mapping[str, str], JsonValue], JsonObject]
_TERM = re.compile(r"""(\w+)\s*(!?=|eq|ne)\s*"?([^")\s]+)"?""")
PAGE = 500


class Refusal(Exception):
    """An error in Google's shape. `word` is the canonical status, which compute.v1 gives for some errors only."""

    def __init__(self, status: int, reason: str, message: str, word: str = "") -> None:
        super().__init__(message)
        self.status, self.reason, self.message, self.word = status, reason, message, word
        self.domain = "usageLimits" if "rateLimit" in reason.replace("Rate", "rate") else "global"


def missing(path: str) -> Refusal:
    return Refusal(404, "notFound", f"The resource '{path}' was not found")


def _thing(world: World, path: str) -> dict[str, Any]:
    found = world.things.get(path)
    if found is None:
        raise missing(path)
    return found


def _get(world: World, path: str, query: Mapping[str, str], body: JsonValue) -> JsonObject:
    return shown(_thing(world, path))


def _get_group(world: World, path: str, query: Mapping[str, str], body: JsonValue) -> JsonObject:
    group = _thing(world, path)
    members = world.members(path).values()
    recreating = sum("_recreating" in one for one in members)
    actions = {
        "none": len(members) - recreating,
        "recreating": recreating,
        "creating": max(0, group["targetSize"] - len(members)),
        "deleting": max(0, len(members) - group["targetSize"]),
    }
    status: dict[str, Any] = {"isStable": world.stable(path)}
    if "_autoscaler" in group:
        status["autoscaler"] = LINK + group["_autoscaler"]
    return {**shown(group), "currentActions": {**actions}, "status": status}


def _list(one: Call) -> Call:
    def listed(world: World, path: str, query: Mapping[str, str], body: JsonValue) -> JsonObject:
        """Path order; a page token is the number of things before it."""
        paths = sorted(each for each in world.things if each.rsplit("/", 1)[0] == path)
        found = [one(world, each, {}, None) for each in paths]
        return {"kind": "compute#list", "id": path, "selfLink": LINK + path, **_page(found, query, "items")}

    return listed


def _page(found: list[JsonObject], query: Mapping[str, str], name: str) -> JsonObject:
    kept = [each for each in found if _matches(each, query.get("filter", ""))]
    first, size = int(query.get("pageToken", "0")), int(query.get("maxResults", PAGE))
    page: JsonObject = {}
    if kept[first : first + size]:
        page[name] = list[JsonValue](kept[first : first + size])
    if first + size < len(kept):
        page["nextPageToken"] = str(first + size)
    return page


def _matches(thing: JsonObject, expression: str) -> bool:
    """Terms of equality, all of which must hold; the language can more."""
    for name, sign, value in _TERM.findall(expression):
        if (str(thing.get(name, "")) == value) is (sign in ("!=", "ne")):
            return False
    return True


def _operation(world: World, path: str, query: Mapping[str, str], body: JsonValue) -> JsonObject:
    found = world.operations.get(path)
    if found is None:
        raise missing(path)
    return dict(found.shown)


def _wait(world: World, path: str, query: Mapping[str, str], body: JsonValue) -> JsonObject:
    """Google holds the answer back until it is done, two minutes at most; here it is done, or held, at once."""
    for _ in range(world.pace):
        world.go_on()
    return _operation(world, path.removesuffix("/wait"), query, body)


def _operations(world: World, path: str, query: Mapping[str, str], body: JsonValue) -> JsonObject:
    found = [dict(one.shown) for each, one in world.operations.items() if each.rsplit("/", 1)[0] == path]
    page = _page(found[::-1], query, "items")
    return {"kind": "compute#operationList", "id": path, "selfLink": LINK + path, **page}


def _scope(path: str) -> str:
    """`projects/p/zones/z`, or `projects/p/global`."""
    parts = path.split("/")
    return "/".join(parts[:3] if parts[2] == "global" else parts[:4])


def _power(verb: str, during: str, after: str) -> Call:
    """start, stop and reset; on an instance that is already so they are taken and change nothing."""

    def call(world: World, path: str, query: Mapping[str, str], body: JsonValue) -> JsonObject:
        target = path.rsplit("/", 1)[0]
        thing = _thing(world, target)
        if verb == "reset" and thing["status"] != "RUNNING":
            message = f"The resource '{target}' is not ready"
            raise Refusal(400, "resourceNotReady", message)
        operation = world.start(_scope(path), verb, target, query.get("requestId", ""))
        if verb == "reset":
            operation.finish = lambda: thing.update(_resets=thing.get("_resets", 0) + 1)
        elif thing["status"] != after:
            stamp = f"last{verb.title()}Timestamp"
            operation.begin = lambda: thing.update(status=during)
            operation.finish = lambda: thing.update({"status": after, stamp: world.now()})
        return {"path": operation.path}

    return call


def _set_machine_type(world: World, path: str, query: Mapping[str, str], body: JsonValue) -> JsonObject:
    target, asked = path.rsplit("/", 1)[0], body if isinstance(body, dict) else {}
    thing = _thing(world, target)
    if thing["status"] != "TERMINATED":
        message = "Machine type can only be changed while the instance is stopped."
        raise Refusal(400, "invalid", message)
    operation = world.start(_scope(path), "setMachineType", target, query.get("requestId", ""))
    machine = str(asked["machineType"]).rsplit("projects/", 1)[-1]
    whole = machine if machine.startswith(PROJECT) else f"{PROJECT}/{machine}"
    operation.finish = lambda: thing.update(machineType=f"{LINK}projects/{whole}")
    return {"path": operation.path}


def _resize(world: World, path: str, query: Mapping[str, str], body: JsonValue) -> JsonObject:
    target = path.rsplit("/", 1)[0]
    group, size = _thing(world, target), int(query["size"])
    if size < 0:
        raise Refusal(400, "invalid", f"Invalid value for field 'size': '{size}'. Must be at least 0")
    operation = world.start(_scope(path), "compute.instanceGroupManagers.resize", target, query.get("requestId", ""))
    operation.finish = lambda: group.update(targetSize=size)
    return {"path": operation.path}


def _recreate(world: World, path: str, query: Mapping[str, str], body: JsonValue) -> JsonObject:
    target = path.rsplit("/", 1)[0]
    group, members = _thing(world, target), world.members(target)
    asked: Any = body.get("instances", []) if isinstance(body, dict) else []
    named = [
        "projects/" + one.split("projects/")[-1] if "projects/" in one else f"projects/{PROJECT}/{one}" for one in asked
    ]
    for one in named:
        if one not in members:
            message = f"Instance '{one}' is not a member of '{group['name']}'."
            raise Refusal(400, "invalid", message)
    kind = "compute.instanceGroupManagers.recreateInstances"
    operation = world.start(_scope(path), kind, target, query.get("requestId", ""))

    def flag() -> None:
        for one in named:
            members[one].update(status="STOPPING", _recreating=True)

    operation.finish = flag
    return {"path": operation.path}


def _managed(world: World, path: str, query: Mapping[str, str], body: JsonValue) -> JsonObject:
    group = _thing(world, path.rsplit("/", 1)[0])
    found: list[JsonObject] = []
    for member in world.members(path.rsplit("/", 1)[0]).values():
        action = "RECREATING" if "_recreating" in member else "NONE"
        version: JsonObject = {"instanceTemplate": group["instanceTemplate"]}
        found.append(
            {
                "instance": member["selfLink"],
                "id": member["id"],
                "instanceStatus": member["status"],
                "currentAction": action,
                "version": version,
            }
        )
    return _page(found, query, "managedInstances")


def _patch(check: Callable[[dict[str, Any]], None]) -> Call:
    """JSON merge patch of a thing with a fingerprint: given and stale is refused, not given is taken."""

    def call(world: World, path: str, query: Mapping[str, str], body: JsonValue) -> JsonObject:
        thing = _thing(world, path)
        asked: dict[str, Any] = dict(body) if isinstance(body, dict) else {}
        given = asked.pop("fingerprint", None)
        if given is not None and given != thing["fingerprint"]:
            raise Refusal(412, "conditionNotMet", "Invalid fingerprint.")
        check(asked)
        operation = world.start(_scope(path), "patch", path, query.get("requestId", ""))

        def finish() -> None:
            merge(thing, asked)
            world.stamp(thing)

        operation.finish = finish
        return {"path": operation.path}

    return call


def merge(thing: dict[str, Any], change: Mapping[str, Any]) -> None:
    """RFC 7396."""
    for name, value in change.items():
        if value is None:
            thing.pop(name, None)
        elif isinstance(value, dict) and isinstance(thing.get(name), dict):
            merge(thing[name], value)
        else:
            thing[name] = value


def _capacities(asked: dict[str, Any]) -> None:
    backends = asked.get("backends", [])
    for number, one in enumerate(backends):
        capacity = one.get("capacityScaler", 1.0)
        field = f"Invalid value for field 'resource.backends[{number}].capacityScaler': '{capacity}'."
        if not (capacity == 0 or 0.1 <= capacity <= 1):
            raise Refusal(400, "invalid", f"{field} Must be 0.0 or between 0.1 and 1.0")
        if capacity == 0 and len(backends) == 1:
            raise Refusal(400, "invalid", f"{field} It cannot be 0 for the only backend")


def _anything(asked: dict[str, Any]) -> None:
    """No rule of its own."""


def _patch_autoscaler(world: World, path: str, query: Mapping[str, str], body: JsonValue) -> JsonObject:
    asked: dict[str, Any] = dict(body) if isinstance(body, dict) else {}
    target = f"{path}/{query.get('autoscaler') or asked.get('name', '')}"
    thing = _thing(world, target)
    policy = {**thing["autoscalingPolicy"], **asked.get("autoscalingPolicy", {})}
    if policy["minNumReplicas"] > policy["maxNumReplicas"]:
        field = "resource.autoscalingPolicy.maxNumReplicas"
        message = f"Invalid value for field '{field}': '{policy['maxNumReplicas']}'. It is below minNumReplicas"
        raise Refusal(400, "invalid", message)
    operation = world.start(_scope(path), "compute.autoscalers.patch", target, query.get("requestId", ""))

    def finish() -> None:
        merge(thing, asked)
        group = world.things[thing["target"].removeprefix(LINK)]
        if policy["mode"] == "ON":
            group["targetSize"] = min(max(group["targetSize"], policy["minNumReplicas"]), policy["maxNumReplicas"])

    operation.finish = finish
    return {"path": operation.path}


_POWER: Mapping[str, Call] = {
    "start": _power("start", "STAGING", "RUNNING"),
    "stop": _power("stop", "STOPPING", "TERMINATED"),
    "reset": _power("reset", "RUNNING", "RUNNING"),
}

CALLS: Mapping[str, Call] = {
    "compute.instances.get": _get,
    "compute.instances.list": _list(_get),
    "compute.instances.setMachineType": _set_machine_type,
    **{f"compute.instances.{verb}": call for verb, call in _POWER.items()},
    **{
        f"compute.{collection}.{verb}": call
        for collection in ("instanceGroupManagers", "regionInstanceGroupManagers")
        for verb, call in {
            "get": _get_group,
            "list": _list(_get_group),
            "listManagedInstances": _managed,
            "resize": _resize,
            "recreateInstances": _recreate,
            "patch": _patch(_anything),
        }.items()
    },
    **{
        f"compute.{collection}.{verb}": call
        for collection in ("autoscalers", "regionAutoscalers")
        for verb, call in {"get": _get, "list": _list(_get), "patch": _patch_autoscaler}.items()
    },
    **{
        f"compute.{collection}.{verb}": call
        for collection in ("backendServices", "regionBackendServices")
        for verb, call in {"get": _get, "list": _list(_get), "patch": _patch(_capacities)}.items()
    },
    **{
        f"compute.{scope}Operations.{verb}": call
        for scope in ("zone", "region", "global")
        for verb, call in {"get": _operation, "list": _operations, "wait": _wait}.items()
    },
}

_WORDS = {
    "listManagedInstances": "get",
    "resize": "update",
    "recreateInstances": "update",
    "patch": "update",
    "wait": "get",
}
_ALSO = {
    "autoscalers.patch": ("compute.instanceGroupManagers.use",),
    "regionAutoscalers.patch": ("compute.instanceGroupManagers.use",),
    "backendServices.patch": ("compute.instanceGroups.use",),
    "regionBackendServices.patch": ("compute.instanceGroups.use",),
}


def _permissions(method: str) -> tuple[str, ...]:
    """Regional groups and autoscalers go under the names of the zonal ones."""
    _, collection, verb = method.split(".")
    holder = {
        "regionInstanceGroupManagers": "instanceGroupManagers",
        "regionAutoscalers": "autoscalers",
    }.get(collection, collection)
    return (f"compute.{holder}.{_WORDS.get(verb, verb)}", *_ALSO.get(f"{collection}.{verb}", ()))


PERMISSIONS: Mapping[str, tuple[str, ...]] = {method: _permissions(method) for method in CALLS}
