"""Readings of Kubernetes objects as JSON. Pure; what is not there is None, whatever the server's version left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import JsonValue

from watchkeeper.core.model import Scalar

JsonObject = dict[str, JsonValue]

RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"
"""The annotation that `kubectl rollout restart` sets: who looks at the object sees what it was."""
REVISION = "deployment.kubernetes.io/revision"
OURS = "watchkeeper"
CONTROLLERS = {
    "argocd-controller": "argocd",
    "argocd-application-controller": "argocd",
    "kustomize-controller": "flux",
    "helm-controller": "flux",
    "keda-operator": "keda",
    "vpa-updater": "vpa",
}
"""Field managers that come back and write again; kubectl or helm by hand do not."""
LABELS = {
    "argocd.argoproj.io/instance": "argocd",
    "argocd.argoproj.io/tracking-id": "argocd",
    "kustomize.toolkit.fluxcd.io/name": "flux",
    "helm.toolkit.fluxcd.io/name": "flux",
}


def at(value: JsonValue, *names: str) -> JsonValue:
    """The value under these names, one inside the other."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def objects(value: JsonValue) -> tuple[JsonObject, ...]:
    return tuple(each for each in value if isinstance(each, dict)) if isinstance(value, list) else ()


def text(value: JsonValue) -> str:
    return value if isinstance(value, str) else ""


def number(value: JsonValue, default: int = 0) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def scalar(value: JsonValue) -> Scalar:
    return value if isinstance(value, str | int | float | bool) else None


def version_of(found: JsonObject) -> str:
    """The precondition of a write: which object, in which state."""
    return f"{text(at(found, 'metadata', 'uid'))}/{text(at(found, 'metadata', 'resourceVersion'))}"


def going(found: JsonObject) -> bool:
    """Deleted, and not yet gone."""
    return at(found, "metadata", "deletionTimestamp") is not None


def containers(found: JsonObject) -> tuple[JsonObject, ...]:
    """Of a workload's pod template; init containers are not among them."""
    return objects(at(found, "spec", "template", "spec", "containers"))


def resources(container: JsonObject) -> Iterator[tuple[str, str]]:
    """`memory_limit`, `cpu_request`, ... and the quantity, of those that are set."""
    for group, word in (("limits", "limit"), ("requests", "request")):
        for name in ("cpu", "memory"):
            value = at(container, "resources", group, name)
            if value is not None:
                yield f"{name}_{word}", str(value)


def env(container: JsonObject, name: str) -> tuple[Scalar, str]:
    """The plain value of a variable, and why it cannot be managed, if so."""
    for each in objects(container.get("env")):
        if each.get("name") == name:
            return (None, "from_source") if "valueFrom" in each else (text(each.get("value")), "")
    return None, ""


def controller(found: JsonObject) -> JsonObject | None:
    """The owner that makes a new one when this one is gone."""
    for owner in objects(at(found, "metadata", "ownerReferences")):
        if owner.get("controller") is True:
            return owner
    return None


def owned_by(found: JsonObject, uid: str) -> bool:
    return any(owner.get("uid") == uid for owner in objects(at(found, "metadata", "ownerReferences")))


def gitops(found: JsonObject) -> str:
    """The tool that writes the whole object again from a repository; empty if none says so."""
    meta: Mapping[str, JsonValue] = {}
    for part in ("labels", "annotations"):
        value = at(found, "metadata", part)
        meta = {**meta, **value} if isinstance(value, dict) else meta
    return next((tool for name, tool in LABELS.items() if name in meta), "")


def manager_of(found: JsonObject, *names: str) -> str:
    """Which controller manages this field, by the server's own record of it."""
    for entry in objects(at(found, "metadata", "managedFields")):
        tool = CONTROLLERS.get(text(entry.get("manager")))
        if tool and at(entry.get("fieldsV1"), *(f"f:{name}" for name in names)) is not None:
            return tool
    return ""


def rolled_out(kind: str, found: JsonObject) -> bool:
    """Whether every pod of a workload is of its current template and ready, as `kubectl rollout status` asks."""
    status, wanted = found.get("status"), number(at(found, "spec", "replicas"), 1)
    if number(at(status, "observedGeneration")) < number(at(found, "metadata", "generation")):
        return False
    if kind == "daemonset":
        wanted = number(at(status, "desiredNumberScheduled"))
        return number(at(status, "updatedNumberScheduled")) == number(at(status, "numberAvailable")) == wanted
    if number(at(status, "updatedReplicas")) != wanted:
        return False
    if kind == "statefulset":
        return number(at(status, "readyReplicas")) == wanted and at(status, "currentRevision") == at(
            status, "updateRevision"
        )
    return number(at(status, "availableReplicas")) == number(at(status, "replicas")) == wanted


def ready(pod: JsonObject) -> bool:
    if going(pod):
        return False
    conditions = objects(at(pod, "status", "conditions"))
    return any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions)
