"""Kubernetes examples for the conformance kit: one case for each capability, on objects of the case's own.

The adapter has a ServiceAccount with the generated Roles and nothing else. The judge is the real kubectl, as the
administrator. What keeps a target from coming back is a quota of no pods.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import yaml
from pydantic import SecretStr
from tests.testbed.faultproxy import FaultProxy, fault_proxy
from tests.testbed.kubernetes import Cluster

from watchkeeper.adapters.contract import Tested
from watchkeeper.adapters.kit import Case, Example, KitSink, Refused
from watchkeeper.adapters.kubernetes.adapter import KubernetesAdapter
from watchkeeper.adapters.kubernetes.capabilities import CAPABILITIES
from watchkeeper.adapters.kubernetes.config import KubernetesConfig
from watchkeeper.adapters.kubernetes.permissions import grants
from watchkeeper.adapters.recorder import CallRecorder
from watchkeeper.core.actions import Action, ActionKind, Intent, Target
from watchkeeper.core.clock import ManualClock
from watchkeeper.core.model import Scalar
from watchkeeper.ledger.evidence.redaction import Redactor

NAME, SETTLE_S = "kubernetes:kit", 30.0
IMAGE = "localhost/busybox"
WITHIN_S = 90.0


def action(intent: Intent, kind: str, name: str, /, **parameters: Scalar) -> Action:
    return Action(
        step=0,
        intent=intent,
        kind=ActionKind.REVERSIBLE,
        target=Target(adapter=NAME, kind=kind, id=name),
        parameters=tuple(sorted(parameters.items())),
    )


def manifest(kind: str, name: str, tag: str = "1") -> dict[str, Any]:
    container = {
        "name": "app",
        "image": f"{IMAGE}:{tag}",
        "imagePullPolicy": "Never",
        "command": ["sleep", "100000"],
        "env": [
            {"name": "LEVEL", "value": "info"},
            {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        ],
        "resources": {"limits": {"memory": "64Mi"}, "requests": {"cpu": "1m"}},
    }
    template = {
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
    }
    spec: dict[str, Any] = {"selector": {"matchLabels": {"app": name}}, "template": template}
    if kind != "DaemonSet":
        spec["replicas"] = 2
    if kind == "StatefulSet":
        spec |= {"serviceName": name, "podManagementPolicy": "Parallel"}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def cron_job(name: str) -> dict[str, Any]:
    job = manifest("Deployment", name)["spec"]["template"]
    job["spec"]["restartPolicy"] = "Never"
    spec = {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": job}}}
    return {"apiVersion": "batch/v1beta1", "kind": "CronJob", "metadata": {"name": name}, "spec": spec}


def autoscaler(name: str) -> dict[str, Any]:
    ref = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "nobody"}
    spec = {"minReplicas": 2, "maxReplicas": 5, "scaleTargetRef": ref}
    return {"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": name}, "spec": spec}


TITLES = {"kube_deployment": "Deployment", "statefulset": "StatefulSet", "daemonset": "DaemonSet"}


def word(kind: str) -> str:
    """What kubectl calls it."""
    return kind.removeprefix("kube_")


class Judge:
    """kubectl, and how it spells the adapter's fields."""

    def __init__(self, cluster: Cluster, namespace: str, proxy: FaultProxy) -> None:
        self.cluster, self.namespace, self.proxy = cluster, namespace, proxy
        self.rolls_back = False
        """Then the template is what is looked at, as a whole; otherwise its parts are."""

    async def fields(self, target: Target) -> Mapping[str, Scalar]:
        return await asyncio.to_thread(self._fields, target)

    async def write(self, target: Target, values: Mapping[str, Scalar]) -> None:
        await asyncio.to_thread(self._write, target, values)

    async def effects(self) -> int:
        return self.proxy.forwarded_writes

    def kubectl(self, *words: str) -> str:
        return self.cluster.kubectl(*words, namespace=self.namespace)

    def object(self, target: Target) -> dict[str, Any] | None:
        done = self.cluster.try_kubectl(
            "get", word(target.kind), target.id.rpartition("/")[2], "-o", "json", namespace=self.namespace
        )
        found: dict[str, Any] | None = json.loads(done.stdout) if done.returncode == 0 else None
        return found

    def _fields(self, target: Target) -> dict[str, Scalar]:
        found = self.object(target)
        if found is None:
            return {}
        spec = found["spec"]
        match target.kind:
            case "node":
                return {"unschedulable": spec.get("unschedulable", False)}
            case "cronjob":
                return {"suspend": spec.get("suspend", False)}
            case "hpa":
                return {"min_replicas": spec["minReplicas"], "max_replicas": spec["maxReplicas"]}
            case "pod":
                owner = found["metadata"]["ownerReferences"][0]
                gone = "deletionTimestamp" in found["metadata"]
                mark = f"uid of {owner['kind'].lower()}/{owner['name']}"
                return {mark: None if gone else found["metadata"]["uid"]}
        return self._workload(target, found)

    def _workload(self, target: Target, found: dict[str, Any]) -> dict[str, Scalar]:
        spec, template = found["spec"], found["spec"]["template"]
        if self.rolls_back:
            return {"template": self._revision(target, found)}
        (app,) = template["spec"]["containers"]
        limits, requests = (app.get("resources", {}).get(part, {}) for part in ("limits", "requests"))
        annotations = template["metadata"].get("annotations") or {}
        fields: dict[str, Scalar] = {
            "image:app": app["image"],
            "restarted_at": annotations.get("kubectl.kubernetes.io/restartedAt"),
            **{f"env:app:{each['name']}": each.get("value") for each in app.get("env", [])},
            **{f"{name}_limit:app": limits.get(name) for name in ("cpu", "memory")},
            **{f"{name}_request:app": requests.get(name) for name in ("cpu", "memory")},
        }
        if target.kind != "daemonset":
            fields["replicas"] = spec["replicas"]
        if target.kind == "kube_deployment":
            fields["paused"] = spec.get("paused", False)
        return fields

    def _revision(self, target: Target, found: dict[str, Any]) -> str | None:
        """By the image, which differs from revision to revision in these cases."""
        image = found["spec"]["template"]["spec"]["containers"][0]["image"]
        return next((name for name, (kept, _) in self._kept(target).items() if kept == image), None)

    def _kept(self, target: Target) -> dict[str, tuple[str, int]]:
        """Name → image and number of each revision that is kept."""
        kind = "replicaset" if target.kind == "kube_deployment" else "controllerrevision"
        kept = {}
        for each in json.loads(self.kubectl("get", kind, "-o", "json"))["items"]:
            data = each.get("data", each)
            (app,) = data["spec"]["template"]["spec"]["containers"]
            number = each.get("revision") or each["metadata"]["annotations"]["deployment.kubernetes.io/revision"]
            kept[each["metadata"]["name"]] = (app["image"], int(number))
        return kept

    def _write(self, target: Target, values: Mapping[str, Scalar]) -> None:
        kind, name = word(target.kind), target.id.rpartition("/")[2]
        for path, value in values.items():
            if path == "template":
                number = self._kept(target)[str(value)][1]
                self.kubectl("rollout", "undo", f"{kind}/{name}", f"--to-revision={number}")
            else:
                self.kubectl("patch", kind, name, "--type=strategic", "-p", json.dumps(_patch(path, value)))
        if target.kind in TITLES and "paused" not in values:
            self.kubectl("rollout", "status", f"{kind}/{name}", "--timeout=90s")


def _patch(path: str, value: Scalar) -> dict[str, Any]:
    match path.split(":"):
        case ["restarted_at"]:
            at = {"kubectl.kubernetes.io/restartedAt": value}
            return {"spec": {"template": {"metadata": {"annotations": at}}}}
        case ["image", name]:
            return _of_container({"name": name, "image": value})
        case ["env", name, variable]:
            gone = {"$patch": "delete"} if value is None else {"value": value}
            return _of_container({"name": name, "env": [{"name": variable, **gone}]})
        case [quantity, name]:
            resource, _, group = quantity.partition("_")
            return _of_container({"name": name, "resources": {f"{group}s": {resource: value}}})
    names = {"min_replicas": "minReplicas", "max_replicas": "maxReplicas"}
    return {"spec": {names.get(path, path): value}}


def _of_container(container: dict[str, Any]) -> dict[str, Any]:
    return {"spec": {"template": {"spec": {"containers": [container]}}}}


@dataclass
class Scene:
    """A namespace with the objects of one case."""

    cluster: Cluster
    namespace: str
    clock: ManualClock

    def make(self, kind: str, name: str = "web") -> str:
        if kind == "node":
            return names_of(self.cluster.items("nodes"))[0]
        made = {"cronjob": cron_job, "hpa": autoscaler}.get(kind)
        self.cluster.apply(made(name) if made else manifest(TITLES[kind], name), namespace=self.namespace)
        if not made:
            self.settled(kind, name)
        return f"{self.namespace}/{name}"

    def settled(self, kind: str, name: str) -> None:
        self.cluster.kubectl("rollout", "status", f"{word(kind)}/{name}", "--timeout=90s", namespace=self.namespace)

    def revise(self, kind: str, tag: str) -> None:
        self.cluster.kubectl("set", "image", f"{word(kind)}/web", f"app={IMAGE}:{tag}", namespace=self.namespace)
        self.settled(kind, "web")

    def pod(self) -> str:
        """One of the deployment's, when all are ready and none is going."""
        self.settled("kube_deployment", "web")
        return f"{self.namespace}/{names_of(self.cluster.items('pods', '-l', 'app=web', namespace=self.namespace))[0]}"

    @asynccontextmanager
    async def no_pods(self) -> AsyncIterator[None]:
        """No pod can be made any more."""
        await asyncio.to_thread(self._quota)
        try:
            yield
        finally:
            await asyncio.to_thread(self.cluster.kubectl, "delete", "quota", "none", namespace=self.namespace)

    def _quota(self) -> None:
        self.cluster.kubectl("create", "quota", "none", "--hard=pods=0", namespace=self.namespace)
        self.cluster.kubectl(
            "wait", "quota/none", "--for=jsonpath={.status.hard.pods}=0", "--timeout=30s", namespace=self.namespace
        )


def names_of(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Of objects that are not being deleted."""
    return [str(each["metadata"]["name"]) for each in found if "deletionTimestamp" not in each["metadata"]]


Wanted = dict[str, Scalar]
REVERSIBLE: dict[str, tuple[Intent, Wanted, Wanted]] = {
    "kube_deployment-scale": (Intent.SCALE, {"replicas": 3}, {"replicas": 1}),
    "kube_deployment-rollback": (Intent.ROLLBACK, {}, {"template": "first"}),
    "kube_deployment-pin_version": (
        Intent.PIN_VERSION,
        {"container": "app", "image": f"{IMAGE}:9"},
        {"image:app": f"{IMAGE}:7"},
    ),
    "kube_deployment-set_config": (
        Intent.SET_CONFIG,
        {"container": "app", "name": "EXTRA", "value": "on"},
        {"env:app:EXTRA": "off"},
    ),
    "kube_deployment-set_resources": (
        Intent.SET_RESOURCES,
        {"container": "app", "memory_limit": "1024Mi", "cpu_limit": "0.5"},
        {"memory_limit:app": "96Mi"},
    ),
    "kube_deployment-pause": (Intent.PAUSE, {}, {}),
    "kube_deployment-resume": (Intent.RESUME, {}, {}),
    "statefulset-scale": (Intent.SCALE, {"replicas": 3}, {"replicas": 1}),
    "statefulset-rollback": (Intent.ROLLBACK, {}, {"template": "first"}),
    "statefulset-pin_version": (
        Intent.PIN_VERSION,
        {"container": "app", "image": f"{IMAGE}:9"},
        {"image:app": f"{IMAGE}:7"},
    ),
    "statefulset-set_config": (
        Intent.SET_CONFIG,
        {"container": "app", "name": "LEVEL", "value": "debug"},
        {"env:app:LEVEL": "off"},
    ),
    "statefulset-set_resources": (
        Intent.SET_RESOURCES,
        {"container": "app", "memory_limit": "128Mi"},
        {"memory_limit:app": "96Mi"},
    ),
    "daemonset-rollback": (Intent.ROLLBACK, {}, {"template": "first"}),
    "daemonset-pin_version": (
        Intent.PIN_VERSION,
        {"container": "app", "image": f"{IMAGE}:9"},
        {"image:app": f"{IMAGE}:7"},
    ),
    "daemonset-set_config": (
        Intent.SET_CONFIG,
        {"container": "app", "name": "LEVEL", "value": "debug"},
        {"env:app:LEVEL": "off"},
    ),
    "daemonset-set_resources": (
        Intent.SET_RESOURCES,
        {"container": "app", "cpu_request": "2m"},
        {"cpu_request:app": "3m"},
    ),
    "node-cordon": (Intent.CORDON, {}, {}),
    "cronjob-pause": (Intent.PAUSE, {}, {}),
    "cronjob-resume": (Intent.RESUME, {}, {}),
    "hpa-set_limit": (Intent.SET_LIMIT, {"min_replicas": 1, "max_replicas": 9}, {"max_replicas": 7}),
}
RETURNING = ("kube_deployment-restart", "statefulset-restart", "daemonset-restart", "pod-restart", "pod-drain")
ALL = (*REVERSIBLE, *RETURNING)


def make_case(scene: Scene, judge: Judge, name: str) -> Case:
    """The objects of a case, and the case."""
    kind, _, word = name.partition("-")
    intent = Intent(word)
    nowhere = f"nowhere-{uuid4().hex[:6]}" if kind == "node" else f"{scene.namespace}/nowhere"
    if kind == "pod":
        scene.make("kube_deployment")
        return _pod_case(scene, intent, nowhere)
    target = scene.make(kind)
    wanted, disturbed = REVERSIBLE[name][1:] if name in REVERSIBLE else ({}, {"restarted_at": "2001-01-01T00:00:00Z"})
    if word in ("resume",):
        judge._write(Target(adapter=NAME, kind=kind, id=target), {"suspend" if kind == "cronjob" else "paused": True})
    if word == "rollback":
        judge.rolls_back = True
        for tag in ("2", "3"):
            scene.revise(kind, tag)
        kept = judge._kept(Target(adapter=NAME, kind=kind, id=target))
        disturbed = {"template": next(each for each, (image, _) in kept.items() if image.endswith(":1"))}

    async def again() -> Action:
        scene.clock.advance(1)
        await asyncio.to_thread(scene.settled, kind, "web")
        return action(intent, kind, target, **wanted)

    return Case(
        action=action(intent, kind, target, **wanted),
        elsewhere=action(intent, kind, nowhere, **wanted),
        disturbed=disturbed,
        again=again if word == "restart" else None,
        stuck=scene.no_pods if word == "restart" else None,
        within_s=WITHIN_S,
    )


def _pod_case(scene: Scene, intent: Intent, nowhere: str) -> Case:
    async def again() -> Action:
        return action(intent, "pod", await asyncio.to_thread(scene.pod))

    return Case(
        action=action(intent, "pod", scene.pod()),
        elsewhere=action(intent, "pod", nowhere),
        again=again,
        stuck=scene.no_pods,
        within_s=WITHIN_S,
    )


def service_account(cluster: Cluster, namespace: str) -> str:
    """A token with the generated Roles and nothing else; the Role's and the account's names are the namespace's."""
    cluster.kubectl("create", "serviceaccount", "watchkeeper", namespace=namespace)
    for grant in grants(CAPABILITIES):
        role = yaml.safe_load(grant.text)
        wide = role["kind"] == "ClusterRole"
        role["metadata"]["name"] = namespace if wide else "watchkeeper"
        cluster.apply(role, namespace=None if wide else namespace)
        account = f"--serviceaccount={namespace}:watchkeeper"
        if wide:
            cluster.kubectl("create", "clusterrolebinding", namespace, f"--clusterrole={namespace}", account)
        else:
            cluster.kubectl("create", "rolebinding", "watchkeeper", "--role=watchkeeper", account, namespace=namespace)
    return cluster.token("watchkeeper", namespace=namespace)


def kubeconfig(path: Path, url: str, token: str) -> Path:
    cluster = {"name": "c", "cluster": {"server": url}}
    user = {"name": "u", "user": {"token": token}}
    context = {"name": "x", "context": {"cluster": "c", "user": "u"}}
    document = {"clusters": [cluster], "users": [user], "contexts": [context], "current-context": "x"}
    path.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", **document}))
    return path


@asynccontextmanager
async def kubernetes_example(cluster: Cluster, folder: Path, *names: str) -> AsyncIterator[Example]:
    namespace = await asyncio.to_thread(cluster.fresh_namespace, "kit")
    clock, sink = ManualClock(datetime.now(UTC)), KitSink()
    try:
        token = await asyncio.to_thread(service_account, cluster, namespace)
        async with fault_proxy(cluster.url, cluster.trust()) as proxy:
            judge = Judge(cluster, namespace, proxy)
            scene = Scene(cluster, namespace, clock)
            cases = [await asyncio.to_thread(make_case, scene, judge, name) for name in names]
            config = KubernetesConfig(
                name="kit",
                kubeconfig=kubeconfig(folder / "adapter.kubeconfig", proxy.url, token),
                reply_s=4.0,
                settle_s=SETTLE_S,
            )
            adapter = KubernetesAdapter(config, CallRecorder(sink, Redactor([SecretStr(token)]), clock), clock)
            try:
                yield Example(
                    adapter=adapter,
                    clock=clock,
                    sink=sink,
                    judge=judge,
                    faults=proxy,
                    cases=tuple(cases),
                    refused=refused(namespace),
                    secret=token,
                    settle_s=SETTLE_S,
                    against=Tested.REAL,
                )
            finally:
                await adapter.close()
    finally:
        await asyncio.to_thread(clean, cluster, namespace)


def refused(namespace: str) -> tuple[Refused, ...]:
    return (
        Refused(action(Intent.SCALE, "kube_deployment", "no-slash", replicas=1), "bad_id"),
        Refused(action(Intent.SCALE, "kube_deployment", f"{namespace}/web", replicas=-1), "bad_parameters"),
        Refused(action(Intent.BLOCK, "kube_deployment", f"{namespace}/web"), "not_capable"),
    )


def clean(cluster: Cluster, namespace: str) -> None:
    for node in names_of(cluster.items("nodes")):
        cluster.try_kubectl("uncordon", node)
    for kind in ("clusterrolebinding", "clusterrole"):
        cluster.try_kubectl("delete", kind, namespace)
    cluster.drop_namespace(namespace)
