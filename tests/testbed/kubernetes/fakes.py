"""Fake nodes for a real control plane: what a kubelet tells the API, without anything that runs.

A pod is Running and Ready as soon as it is bound, unless the tag of its image says otherwise: `:crash` is in
CrashLoopBackOff, `:missing` in ImagePullBackOff, `:oom` was killed for memory. A node that has the annotation
`testbed/silent` sends no heartbeat. Deletions finish at once. What this does NOT show: anything that a container does,
probes, resources, or a pod's network; for those there is the real node.
"""

from __future__ import annotations

import json
import os
import ssl
import sys
import threading
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from tests.testbed.kubernetes.cluster import Cluster
from tests.testbed.process import ChildProcess

SILENT = "testbed/silent"
"""The annotation that makes a fake node stop its heartbeat."""

Object = dict[str, Any]
_HEARTBEAT_S = 3
_WATCH_S = 300
_READY_WITHIN_S = 60
_PATCH = {"Content-Type": "application/strategic-merge-patch+json"}
_CAPACITY = {"cpu": "8", "memory": "16Gi", "pods": "110", "ephemeral-storage": "50Gi"}
_WAITING = {
    "crash": ("CrashLoopBackOff", "back-off 2m40s restarting failed container", "Error", 1),
    "oom": ("CrashLoopBackOff", "back-off 2m40s restarting failed container", "OOMKilled", 137),
    "missing": ("ImagePullBackOff", "Back-off pulling image", None, None),
}


@contextmanager
def fake_nodes(cluster: Cluster, names: Sequence[str], *, log: Path) -> Iterator[ChildProcess]:
    """Run a kubelet's lie for each of `names`, once all are Ready."""
    command = [sys.executable, "-m", "tests.testbed.kubernetes.fakes", cluster.url, str(cluster.ca)]
    command += [str(cluster.admin.certificate), str(cluster.admin.key), *names]
    root = str(Path(__file__).parents[3])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])}
    with ChildProcess("fake-nodes", command, log=log, env=environment) as child, cluster.client() as client:

        def all_ready() -> bool:
            found = client.get("/api/v1/nodes").json()["items"]
            return {node["metadata"]["name"] for node in found if is_ready(node)} >= set(names)

        child.wait_until(all_ready, timeout_s=_READY_WITHIN_S, what="ready nodes")
        yield child


def is_ready(thing: Mapping[str, Any]) -> bool:
    """Is the condition Ready of a node or a pod true?"""
    conditions = thing.get("status", {}).get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


class _Kubelets:
    """All fake nodes of one control plane."""

    def __init__(self, client: httpx.Client, names: Sequence[str]) -> None:
        self._client = client
        self._names = frozenset(names)

    def register(self) -> None:
        for name in self._names:
            labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
            self._client.post("/api/v1/nodes", json={"metadata": {"name": name, "labels": labels}})
            spec = {"holderIdentity": name, "leaseDurationSeconds": 40}
            self._client.post(_leases(), json={"metadata": {"name": name}, "spec": spec})

    def beat(self) -> None:
        """One heartbeat of each node that is not silent."""
        for name in self._names:
            node = self._client.get(f"/api/v1/nodes/{name}").json()
            if SILENT in (node.get("metadata", {}).get("annotations") or {}):
                continue
            renewed = {
                "spec": {"renewTime": datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")}
            }
            self._client.patch(f"{_leases()}/{name}", json=renewed, headers=_PATCH)
            if not is_ready(node):
                self._client.patch(f"/api/v1/nodes/{name}/status", json=_node_status(), headers=_PATCH)

    def follow_pods(self) -> None:
        """Until the API closes the watch: answer every change of a pod on one of our nodes."""
        listed = self._client.get("/api/v1/pods").raise_for_status().json()
        for pod in listed["items"]:
            self._settle(pod)
        query = {"watch": "true", "resourceVersion": listed["metadata"]["resourceVersion"], "timeoutSeconds": _WATCH_S}
        with self._client.stream("GET", "/api/v1/pods", params=query, timeout=httpx.Timeout(10, read=None)) as events:
            for line in events.iter_lines():
                event = json.loads(line)
                if event["type"] in {"ADDED", "MODIFIED"}:
                    self._settle(event["object"])

    def _settle(self, pod: Object) -> None:
        meta = pod["metadata"]
        if pod["spec"].get("nodeName") not in self._names:
            return
        path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"
        if "deletionTimestamp" in meta:
            body = {"gracePeriodSeconds": 0, "preconditions": {"uid": meta["uid"]}}
            self._client.request("DELETE", path, json=body)
            return
        wanted = [_container(each) for each in pod["spec"]["containers"]]
        if _states(wanted) != _states(pod["status"].get("containerStatuses") or ()):
            self._client.patch(f"{path}/status", json={"status": _pod_status(pod, wanted)}, headers=_PATCH)


def _leases() -> str:
    return "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"


def _node_status() -> Object:
    now = _now()
    unpressed = ("MemoryPressure", "DiskPressure", "PIDPressure")
    states = {"Ready": ("True", "KubeletReady"), **dict.fromkeys(unpressed, ("False", "KubeletHasEnough"))}
    conditions = [
        {"type": name, "status": status, "reason": reason, "lastHeartbeatTime": now, "lastTransitionTime": now}
        for name, (status, reason) in states.items()
    ]
    facts = ("machineID", "systemUUID", "bootID", "kernelVersion", "kubeProxyVersion")
    info = {**dict.fromkeys(facts, ""), "kubeletVersion": "v1.20.2", "osImage": "fake", "operatingSystem": "linux"}
    info |= {"containerRuntimeVersion": "fake://0", "architecture": "amd64"}
    addresses = [{"type": "InternalIP", "address": "127.0.0.1"}]
    status = {"capacity": _CAPACITY, "allocatable": _CAPACITY, "conditions": conditions, "addresses": addresses}
    return {"status": {**status, "nodeInfo": info}}


def _container(spec: Object) -> Object:
    """The status of one container, by the tag of its image."""
    fixed = {"name": spec["name"], "image": spec["image"], "imageID": "sha256:fake", "containerID": "fake://1"}
    trouble = _WAITING.get(spec["image"].rpartition(":")[2])
    if trouble is None:
        return {**fixed, "ready": True, "started": True, "restartCount": 0, "state": {"running": {"startedAt": _now()}}}
    reason, message, ended, status = trouble
    waiting = {"waiting": {"reason": reason, "message": f"{message} {spec['name']}"}}
    if ended is None:
        return {**fixed, "ready": False, "started": False, "restartCount": 0, "state": waiting}
    last = {"terminated": {"exitCode": status, "reason": ended, "startedAt": _now(), "finishedAt": _now()}}
    return {**fixed, "ready": False, "started": False, "restartCount": 5, "state": waiting, "lastState": last}


def _pod_status(pod: Object, containers: list[Object]) -> Object:
    now, ready = _now(), "True" if all(each["ready"] for each in containers) else "False"
    states = {"Initialized": "True", "Ready": ready, "ContainersReady": ready, "PodScheduled": "True"}
    conditions = [{"type": name, "status": status, "lastTransitionTime": now} for name, status in states.items()]
    # No container ever ran whose image is not there.
    phase = "Running" if all("running" in each["state"] or "lastState" in each for each in containers) else "Pending"
    address = f"10.99.0.{zlib.crc32(pod['metadata']['uid'].encode()) % 250 + 1}"
    place = {"phase": phase, "startTime": now, "hostIP": "127.0.0.1", "podIP": address}
    return {**place, "containerStatuses": containers, "conditions": conditions}


def _states(statuses: Sequence[Object]) -> list[tuple[str, str, str]]:
    """What of the statuses decides whether the API knows them already."""
    return sorted((each["name"], each["image"], "".join(each.get("state") or ())) for each in statuses)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _beat_for_ever(kubelets: _Kubelets) -> None:
    while True:
        with suppress(httpx.TransportError):
            kubelets.beat()
        time.sleep(_HEARTBEAT_S)


def _main(url: str, ca: str, certificate: str, key: str, *names: str) -> None:
    context = ssl.create_default_context(cafile=ca)
    context.load_cert_chain(certificate, key)
    with httpx.Client(base_url=url, verify=context, trust_env=False, timeout=10) as client:
        kubelets = _Kubelets(client, names)
        kubelets.register()
        threading.Thread(target=_beat_for_ever, args=[kubelets], daemon=True).start()
        while True:
            try:
                kubelets.follow_pods()
            except httpx.HTTPError as error:
                print(f"the API is away: {error!r}", flush=True)
                time.sleep(1)


if __name__ == "__main__":
    _main(*sys.argv[1:])
