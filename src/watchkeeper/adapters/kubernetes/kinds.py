"""What can be acted on, where each server serves it, and under which of its versions.

An old server serves cron jobs, budgets and autoscalers only in versions that a new one has dropped: as kubectl does, we
ask the server what it has and take the best that we know.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import JsonValue

from watchkeeper.adapters.kubernetes.client import KubernetesClient
from watchkeeper.adapters.wire import HttpError
from watchkeeper.core.actions import Target
from watchkeeper.core.clock import Clock
from watchkeeper.core.errors import AdapterError, InputError

DISCOVERY_S = 600.0
"""How long an answer of the server about itself is good: an upgrade of the control plane is noticed by then."""


@dataclass(frozen=True)
class Kind:
    """`versions`: group/version, best first. `title` is what a manifest calls it."""

    name: str
    title: str
    plural: str
    versions: tuple[str, ...]
    namespaced: bool = True


DEPLOYMENT, STATEFULSET, DAEMONSET = "kube_deployment", "statefulset", "daemonset"
"""A model's deployment at a gateway is a `deployment` too: a policy must be able to tell the two apart."""
POD, NODE, CRONJOB, AUTOSCALER = "pod", "node", "cronjob", "hpa"
REPLICASET, REVISION = "replicaset", "controllerrevision"
WORKLOADS = (DEPLOYMENT, STATEFULSET, DAEMONSET)

AUTOSCALING = ("autoscaling/v2", "autoscaling/v2beta2", "autoscaling/v1")

KINDS: dict[str, Kind] = {
    each.name: each
    for each in (
        Kind(DEPLOYMENT, "Deployment", "deployments", ("apps/v1",)),
        Kind(STATEFULSET, "StatefulSet", "statefulsets", ("apps/v1",)),
        Kind(DAEMONSET, "DaemonSet", "daemonsets", ("apps/v1",)),
        Kind(REPLICASET, "ReplicaSet", "replicasets", ("apps/v1",)),
        Kind(REVISION, "ControllerRevision", "controllerrevisions", ("apps/v1",)),
        Kind(POD, "Pod", "pods", ("v1",)),
        Kind(NODE, "Node", "nodes", ("v1",), namespaced=False),
        Kind(CRONJOB, "CronJob", "cronjobs", ("batch/v1", "batch/v1beta1")),
        Kind(AUTOSCALER, "HorizontalPodAutoscaler", "horizontalpodautoscalers", AUTOSCALING),
    )
}
TARGETS = (*WORKLOADS, POD, NODE, CRONJOB, AUTOSCALER)


@dataclass(frozen=True)
class Place:
    """Where one object is. `namespace` is empty where its kind has none."""

    kind: Kind
    namespace: str
    name: str


def place_of(target: Target) -> Place:
    """The id is `NAMESPACE/NAME`, or a node's name. Raises InputError."""
    if target.kind not in TARGETS:
        raise InputError(
            f"{target.adapter} has no target kind {target.kind!r}",
            cause=f"it knows {', '.join(TARGETS)}",
            next_step="correct the runbook: watchkeeper runbook lint",
        )
    kind = KINDS[target.kind]
    parts = target.id.split("/")
    if len(parts) != 1 + kind.namespaced or not all(_is_name(part) for part in parts):
        raise InputError(
            f"{target.id!r} names no {kind.name}",
            cause=f"a {kind.name} is named by " + ("NAMESPACE/NAME" if kind.namespaced else "its name"),
            next_step="correct the target's id",
        )
    return Place(kind, parts[0] if kind.namespaced else "", parts[-1])


def _is_name(part: str) -> bool:
    """A DNS subdomain: it can be put into a path as it is."""
    return 0 < len(part) <= 253 and all(c.isdigit() or "a" <= c <= "z" or c in "-." for c in part)


class Discovery:
    def __init__(self, client: KubernetesClient, clock: Clock) -> None:
        self._client, self._clock = client, clock
        self._known: dict[str, tuple[float, frozenset[str]]] = {}

    async def path(self, kind: Kind, namespace: str = "", name: str = "") -> str:
        """Raises AdapterError where the server has none of the kind's versions."""
        return path_of(await self.version(kind), kind, namespace, name)

    async def version(self, kind: Kind) -> str:
        for version in kind.versions:
            if kind.plural in await self._resources(version):
                return version
        raise AdapterError(
            f"this API server serves no {kind.plural} in {' or '.join(kind.versions)}",
            retryable=False,
            cause="the server is older or newer than the versions that we know",
            next_step="kubectl api-resources; see docs/adapters.md for the versions that were tried",
        )

    async def eviction(self) -> str:
        """The version in which an Eviction is posted: policy/v1 since 1.22, policy/v1beta1 before."""
        return "policy/v1" if "poddisruptionbudgets" in await self._resources("policy/v1") else "policy/v1beta1"

    async def _resources(self, version: str) -> frozenset[str]:
        """The plural names that the server serves in this version; none where it has no such version."""
        at, known = self._known.get(version, (float("-inf"), frozenset[str]()))
        if self._clock.monotonic() - at < DISCOVERY_S:
            return known
        try:
            found = await self._client.get("discovery.get", root_of(version))
        except HttpError as error:
            if error.status != 404:
                raise
            found = {}
        names = frozenset(_names(found.get("resources")))
        self._known[version] = self._clock.monotonic(), names
        return names


def root_of(version: str) -> str:
    return f"/apis/{version}" if "/" in version else f"/api/{version}"


def path_of(version: str, kind: Kind, namespace: str = "", name: str = "") -> str:
    inside = f"/namespaces/{namespace}" if namespace else ""
    return f"{root_of(version)}{inside}/{kind.plural}" + (f"/{name}" if name else "")


def _names(resources: JsonValue) -> list[str]:
    rows = resources if isinstance(resources, list) else []
    return [str(row["name"]) for row in rows if isinstance(row, dict) and "name" in row]
