"""Reads and writes moto's memory directly, inside its process: no client, no wire, no response code of moto's.

The fields are named as the AWS adapter names them. An unknown kind or id is a LookupError.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, cast

from tests.testbed.clouds.moto_gaps import STUCK
from watchkeeper.core.model import Scalar

ACCOUNT, REGION = "123456789012", "us-east-1"


def fields(kind: str, id_: str) -> dict[str, Scalar]:
    return _READ[kind](id_)


def write(kind: str, id_: str, values: Mapping[str, Scalar]) -> None:
    for path, value in values.items():
        _WRITE[kind](id_, path, value)


def stuck(kind: str, on: bool) -> None:
    """Whether things of this kind do not come back from now on. What was stuck comes back when it ends."""
    if on:
        STUCK.add(kind)
        return
    STUCK.discard(kind)
    if kind == "autoscaling_group":
        for group in _backend("autoscaling").autoscaling_groups.values():
            group.set_desired_capacity(group.desired_capacity)


def _backend(service: str) -> Any:
    from moto import backends

    return cast(Any, backends.get_backend)(service)[ACCOUNT][REGION]


def _ec2(id_: str) -> dict[str, Scalar]:
    found = _instance(id_)
    return {"state": found.state, "launched": _time(found.launch_time)}


def _instance(id_: str) -> Any:
    found = [one for one in _backend("ec2").all_instances() if one.id == id_]
    if not found:
        raise LookupError(id_)
    return found[0]


def _set_ec2(id_: str, path: str, value: Scalar) -> None:
    assert path == "state"
    found = _instance(id_)
    found.start() if value == "running" else found.stop()


def _asg(id_: str) -> dict[str, Scalar]:
    group = _backend("autoscaling").autoscaling_groups[id_]
    return {
        "desired": group.desired_capacity,
        "min": group.min_size,
        "max": group.max_size,
        "suspended": ",".join(sorted(one["ProcessName"] for one in group.suspended_processes)),
        "in_service": len(group.active_instances()),
    }


def _set_asg(id_: str, path: str, value: Scalar) -> None:
    group = _backend("autoscaling").autoscaling_groups[id_]
    if path == "desired":
        group.set_desired_capacity(value)
    elif path == "suspended":
        group.suspended_processes = [one for one in str(value or "").split(",") if one]
    else:
        setattr(group, f"{path}_size", value)


def _member(id_: str) -> dict[str, Scalar]:
    for group in _backend("autoscaling").autoscaling_groups.values():
        for one in group.instance_states:
            if one.instance.id == id_:
                return {"instance": id_, "group": group.name, "lifecycle": one.lifecycle_state}
    return {"instance": None, "group": None, "lifecycle": None}


def _ecs_service(id_: str) -> Any:
    return _backend("ecs").services[id_.replace("/", ":", 1)]


def _ecs(id_: str) -> dict[str, Scalar]:
    service = _ecs_service(id_)
    primary = [one for one in service.task_sets if one.status == "PRIMARY"]
    return {
        "desired": service.desired_count,
        "running": service.running_count,
        "task_definition": service.task_definition,
        "deployment": service.deployments[0]["id"] if service.deployments else None,
        "primary_task_set": primary[0].task_set_arn if primary else None,
    }


def _set_ecs(id_: str, path: str, value: Scalar) -> None:
    service = _ecs_service(id_)
    if path == "primary_task_set":
        for one in service.task_sets:
            one.status = "PRIMARY" if one.task_set_arn == value else "ACTIVE"
    elif path == "desired":
        service.desired_count = service.running_count = value
    else:
        setattr(service, path, value)


def _function(id_: str) -> dict[str, Scalar]:
    reserved = _backend("lambda").get_function(id_).reserved_concurrency
    return {"concurrency": None if reserved is None else int(reserved)}


def _set_function(id_: str, path: str, value: Scalar) -> None:
    assert path == "concurrency"
    _backend("lambda").get_function(id_).reserved_concurrency = value


def _alias_of(id_: str) -> Any:
    function, _, name = id_.partition(":")
    return _backend("lambda").get_alias(name, function)


def _alias(id_: str) -> dict[str, Scalar]:
    found = _alias_of(id_)
    return {"version": found.function_version, "revision": found.revision_id}


def _set_alias(id_: str, path: str, value: Scalar) -> None:
    assert path == "version"
    _alias_of(id_).update(None, value, None)


def _groups(id_: str) -> list[dict[str, Any]]:
    for balancer in _backend("elbv2").load_balancers.values():
        if id_ in balancer.listeners:
            return list(balancer.listeners[id_].default_actions[-1].data["ForwardConfig"]["TargetGroups"])
    raise LookupError(id_)


def _listener(id_: str) -> dict[str, Scalar]:
    return {f"weight:{_short(one['TargetGroupArn'])}": int(one["Weight"]) for one in _groups(id_)}


def _set_listener(id_: str, path: str, value: Scalar) -> None:
    for one in _groups(id_):
        if f"weight:{_short(one['TargetGroupArn'])}" == path:
            one["Weight"] = value


def _short(arn: str) -> str:
    return arn.split("/")[1]


def _node_group(id_: str) -> Any:
    cluster, _, name = id_.partition("/")
    return _backend("eks").clusters[cluster].nodegroups[name]


def _eks(id_: str) -> dict[str, Scalar]:
    sizes = _node_group(id_).scaling_config
    return {"desired": sizes["desiredSize"], "min": sizes["minSize"], "max": sizes["maxSize"]}


def _set_eks(id_: str, path: str, value: Scalar) -> None:
    _node_group(id_).scaling_config[f"{path}Size"] = value


def _rds(id_: str) -> dict[str, Scalar]:
    backend = _backend("rds")
    restarts = [e.date for e in backend.events if e.source_identifier == id_ and e.message == "DB instance restarted"]
    return {
        "status": backend.databases[id_].status,
        "restarted": _time(restarts[-1]) if restarts else None,
    }


def _set_rds(id_: str, path: str, value: Scalar) -> None:
    assert path == "status"
    _backend("rds").databases[id_].status = value


def _ssm(id_: str) -> dict[str, Scalar]:
    """`id_` is the instance. One field for each command that was sent to it: its comment, and the document."""
    return {f"command:{one.comment}": one.document_name for one in _backend("ssm")._commands if id_ in one.instance_ids}


def _nothing(id_: str, path: str, value: Scalar) -> None:
    raise LookupError(f"{path} of {id_} cannot be written")


def _time(at: datetime) -> str:
    return at.replace(tzinfo=UTC).isoformat()


_READ: Mapping[str, Callable[[str], dict[str, Scalar]]] = {
    "ec2_instance": _ec2,
    "autoscaling_group": _asg,
    "autoscaling_instance": _member,
    "ecs_service": _ecs,
    "lambda_function": _function,
    "lambda_alias": _alias,
    "elb_listener": _listener,
    "eks_nodegroup": _eks,
    "rds_instance": _rds,
    "ssm_instance": _ssm,
}
_WRITE: Mapping[str, Callable[[str, str, Scalar], None]] = {
    "ec2_instance": _set_ec2,
    "autoscaling_group": _set_asg,
    "autoscaling_instance": _nothing,
    "ecs_service": _set_ecs,
    "lambda_function": _set_function,
    "lambda_alias": _set_alias,
    "elb_listener": _set_listener,
    "eks_nodegroup": _set_eks,
    "rds_instance": _set_rds,
    "ssm_instance": _nothing,
}
