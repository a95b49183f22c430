"""Proves that the two Kubernetes counterparts are what they say: the adapter's tests rely on it.

What is asserted is what Kubernetes 1.20.2 really answers, to its own kubectl and over plain HTTP.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml

from tests.testbed.keeper import hierarchies
from tests.testbed.kubernetes import NODES, SILENT, Cluster, Installation, NodeCluster, PlaneCluster, ToolFailed, python
from tests.testbed.kubernetes.manifests import WEB_PORT, budget, container, deployment, pod
from tests.testbed.polling import eventually

# Two tests ask for their cluster by name: the one that starts it needs the time.
pytestmark = [pytest.mark.peer, pytest.mark.timeout(600)]

WITHIN_S = 90
PYTHON = "localhost/python:1"
ASK_THE_API = """
import os, ssl, urllib.request
place = "/var/run/secrets/kubernetes.io/serviceaccount"
token = open(f"{place}/token").read()
url = f"https://{os.environ['KUBERNETES_SERVICE_HOST']}/api/v1/namespaces/{open(f'{place}/namespace').read()}/"
for kind in ("pods", "secrets"):
    request = urllib.request.Request(url + kind, headers={"Authorization": f"Bearer {token}"})
    try:
        status = urllib.request.urlopen(request, context=ssl.create_default_context(cafile=f"{place}/ca.crt")).status
    except urllib.error.HTTPError as error:
        status = error.code
    print(kind, status, os.getuid())
"""
HOLD_A_NODE = """
import sys, time
from pathlib import Path
from tests.testbed.kubernetes import build, node_cluster
with node_cluster(build(), Path(sys.argv[1])) as cluster:
    print(cluster.socket, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def on_node(kubernetes_node: NodeCluster) -> Iterator[str]:
    """A namespace of this test on the real node."""
    yield from _namespace(kubernetes_node)


@pytest.fixture
def on_plane(kubernetes_plane: PlaneCluster) -> Iterator[str]:
    """A namespace of this test over fake nodes."""
    yield from _namespace(kubernetes_plane)


def _namespace(cluster: Cluster) -> Iterator[str]:
    name = cluster.fresh_namespace()
    yield name
    cluster.drop_namespace(name)


def _container_states(cluster: Cluster, namespace: str, name: str) -> tuple[str | None, str | None]:
    """Why the container of a pod waits, and why it ended before."""
    found: Any = cluster.get("pod", name, namespace=namespace)
    [status] = found["status"].get("containerStatuses") or [{}]
    now, before = status.get("state", {}), status.get("lastState", {})
    return now.get("waiting", {}).get("reason"), before.get("terminated", {}).get("reason")


def test_a_deployment_becomes_ready_on_the_real_node_and_serves(kubernetes_node: NodeCluster, on_node: str) -> None:
    cluster = kubernetes_node
    cluster.apply(deployment("web", replicas=2), namespace=on_node)
    cluster.kubectl("rollout", "status", "deployment/web", f"--timeout={WITHIN_S}s", namespace=on_node)
    assert cluster.kubectl("logs", "deployment/web", namespace=on_node) == "started\n"
    cluster.kubectl("expose", "deployment/web", "--type=NodePort", f"--port={WEB_PORT}", namespace=on_node)
    service: Any = cluster.get("service", "web", namespace=on_node)
    url = f"http://{cluster.node_address}:{service['spec']['ports'][0]['nodePort']}/index.html"

    def served() -> str | None:
        try:
            return httpx.get(url, trust_env=False, timeout=2).text
        except httpx.TransportError:
            return None

    assert eventually(served, timeout_s=WITHIN_S) == "ok\n"


def test_containers_that_crash_or_eat_memory_are_told_apart(kubernetes_node: NodeCluster, on_node: str) -> None:
    eat = container(["/bin/sh", "-c", "tail -c 200000000 /dev/zero | tail"], memory="24Mi")
    crash = container(["/bin/sh", "-c", "echo boom >&2; exit 3"])
    never = {**container(["sleep", "inf"]), "image": "localhost:1/none:1", "imagePullPolicy": "Always"}
    kubernetes_node.apply(pod("eats", eat), pod("crashes", crash), pod("absent", never), namespace=on_node)

    def all_in_trouble() -> bool:
        states = {name: _container_states(kubernetes_node, on_node, name) for name in ("eats", "crashes", "absent")}
        return states == {
            "eats": ("CrashLoopBackOff", "OOMKilled"),
            "crashes": ("CrashLoopBackOff", "Error"),
            "absent": ("ImagePullBackOff", None),
        }

    eventually(all_in_trouble, timeout_s=WITHIN_S, every_s=0.5)
    assert kubernetes_node.kubectl("logs", "crashes", "--previous", namespace=on_node) == "boom\n"


def test_a_pod_may_do_what_its_service_account_may(kubernetes_node: NodeCluster, on_node: str) -> None:
    cluster = kubernetes_node
    assert cluster.make_image(python(PYTHON, {})) == PYTHON
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}]
    cluster.service_account("reader", namespace=on_node, rules=rules)
    asks = container(["/usr/bin/python3", "-c", ASK_THE_API], image=PYTHON, memory="256Mi")
    cluster.apply(pod("asks", asks, restartPolicy="Never", serviceAccountName="reader"), namespace=on_node)

    def ended() -> str | None:
        found: Any = cluster.get("pod", "asks", namespace=on_node)
        phase: str = found["status"]["phase"]
        return phase if phase in {"Succeeded", "Failed"} else None

    assert eventually(ended, timeout_s=WITHIN_S, every_s=0.5) == "Succeeded"
    assert cluster.kubectl("logs", "asks", namespace=on_node).splitlines() == ["pods 200 1000", "secrets 403 1000"]


def test_helm_installs_a_chart_and_waits_for_it(kubernetes_node: NodeCluster, on_node: str, tmp_path: Path) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "Chart.yaml").write_text("{apiVersion: v2, name: web, version: 0.1.0}")
    (tmp_path / "templates/web.yaml").write_text(yaml.safe_dump(deployment("{{ .Release.Name }}")))
    kubernetes_node.helm("install", "web", str(tmp_path), "--wait", f"--timeout={WITHIN_S}s", namespace=on_node)
    [release] = json.loads(kubernetes_node.helm("list", "-o", "json", namespace=on_node))
    assert (release["name"], release["status"]) == ("web", "deployed")
    installed: Any = kubernetes_node.get("deployment", "web", namespace=on_node)
    assert installed["status"]["readyReplicas"] == 1


@pytest.mark.parametrize("which", ["kubernetes_node", "kubernetes_plane"])
def test_a_token_is_held_to_the_rules_of_its_account(which: str, request: pytest.FixtureRequest) -> None:
    cluster: Cluster = request.getfixturevalue(which)
    namespace = cluster.fresh_namespace()
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]
    token = cluster.service_account("reader", namespace=namespace, rules=rules)
    pods = f"/api/v1/namespaces/{namespace}/pods"
    with cluster.client(token) as client:
        allowed, refused, elsewhere = client.get(pods), client.delete(f"{pods}/web"), client.get("/api/v1/nodes")
    assert (allowed.status_code, refused.status_code, elsewhere.status_code) == (200, 403, 403)
    assert refused.json()["message"].startswith(
        f'pods "web" is forbidden: User "system:serviceaccount:{namespace}:reader"'
    )
    with cluster.client("nobody's") as client:
        assert client.get(pods).status_code == 401
    done = cluster.try_kubectl("get", "nodes", kubeconfig=cluster.kubeconfig_of(token))
    assert (done.returncode, "Forbidden" in done.stderr) == (1, True)
    cluster.drop_namespace(namespace)


@pytest.mark.parametrize("which", ["kubernetes_node", "kubernetes_plane"])
def test_an_eviction_against_the_budget_answers_429(which: str, request: pytest.FixtureRequest) -> None:
    cluster: Cluster = request.getfixturevalue(which)
    namespace = cluster.fresh_namespace()
    cluster.apply(deployment("web"), budget("web", min_available=1), namespace=namespace)
    cluster.kubectl("rollout", "status", "deployment/web", f"--timeout={WITHIN_S}s", namespace=namespace)

    def counted() -> bool:
        found: Any = cluster.get("pdb", "web", namespace=namespace)
        return bool(found["status"].get("currentHealthy") == 1)

    eventually(counted, timeout_s=WITHIN_S)
    [running] = cluster.items("pods", namespace=namespace)
    metadata: Any = running["metadata"]
    eviction = {"apiVersion": "policy/v1beta1", "kind": "Eviction", "metadata": {"name": metadata["name"]}}
    with cluster.client() as client:
        path = f"/api/v1/namespaces/{namespace}/pods/{metadata['name']}/eviction"
        refused = client.post(path, json=eviction)
        cluster.kubectl("delete", "pdb", "web", namespace=namespace)
        assert (refused.status_code, refused.json()["reason"]) == (429, "TooManyRequests")
        assert client.post(path, json=eviction).status_code == 201
    cluster.drop_namespace(namespace)


def test_two_managers_of_one_field_conflict(kubernetes_plane: PlaneCluster, on_plane: str) -> None:
    kubernetes_plane.apply(deployment("web"), namespace=on_plane)
    path = f"/apis/apps/v1/namespaces/{on_plane}/deployments/web"
    ours = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 3}}
    headers = {"Content-Type": "application/apply-patch+yaml"}
    with kubernetes_plane.client() as client:
        refused = client.patch(path, params={"fieldManager": "ours"}, json=ours, headers=headers)
        assert (refused.status_code, refused.json()["reason"]) == (409, "Conflict")
        [cause] = refused.json()["details"]["causes"]
        assert (cause["reason"], cause["field"]) == ("FieldManagerConflict", ".spec.replicas")
        forced = client.patch(path, params={"fieldManager": "ours", "force": "true"}, json=ours, headers=headers)
        assert forced.json()["spec"]["replicas"] == 3


def test_a_drain_empties_a_node_as_far_as_the_budget_lets_it(kubernetes_plane: PlaneCluster, on_plane: str) -> None:
    cluster, drained = kubernetes_plane, NODES[0]
    cluster.apply(deployment("web", replicas=len(NODES) * 2), namespace=on_plane)
    cluster.apply(budget("web", min_available=len(NODES) * 2), namespace=on_plane)
    cluster.kubectl("rollout", "status", "deployment/web", f"--timeout={WITHIN_S}s", namespace=on_plane)

    def left() -> list[Any]:
        placed = f"--field-selector=spec.nodeName={drained}"
        return list(cluster.items("pods", placed, namespace=on_plane))

    assert left()
    try:
        with pytest.raises(ToolFailed, match="violate the pod's disruption budget"):
            cluster.kubectl("drain", drained, "--ignore-daemonsets", "--timeout=6s")
        assert left()
        cluster.kubectl("delete", "pdb", "web", namespace=on_plane)
        cluster.kubectl("drain", drained, "--ignore-daemonsets", f"--timeout={WITHIN_S}s")
        assert left() == []
        node: Any = cluster.get("node", drained)
        assert node["spec"]["unschedulable"] is True
    finally:
        cluster.kubectl("uncordon", drained)


def test_a_bad_version_never_gets_ready_and_can_be_undone(kubernetes_plane: PlaneCluster, on_plane: str) -> None:
    cluster = kubernetes_plane
    cluster.apply(deployment("web", replicas=2), namespace=on_plane)
    cluster.kubectl("rollout", "status", "deployment/web", f"--timeout={WITHIN_S}s", namespace=on_plane)
    cluster.kubectl("set", "image", "deployment/web", "main=localhost/busybox:crash", namespace=on_plane)

    def reasons() -> set[str]:
        pods: list[Any] = list(cluster.items("pods", namespace=on_plane))
        states = [each["status"].get("containerStatuses", [{}])[0].get("state", {}) for each in pods]
        return {state["waiting"]["reason"] for state in states if "waiting" in state}

    assert eventually(reasons, timeout_s=WITHIN_S) == {"CrashLoopBackOff"}
    cluster.kubectl("rollout", "undo", "deployment/web", namespace=on_plane)
    cluster.kubectl("rollout", "status", "deployment/web", f"--timeout={WITHIN_S}s", namespace=on_plane)
    eventually(lambda: not reasons(), timeout_s=WITHIN_S)


def test_a_silent_node_is_not_ready_until_it_speaks_again(kubernetes_plane: PlaneCluster) -> None:
    cluster, silent = kubernetes_plane, NODES[-1]

    def state() -> str:
        node: Any = cluster.get("node", silent)
        [ready] = [each["status"] for each in node["status"]["conditions"] if each["type"] == "Ready"]
        return str(ready)

    cluster.kubectl("annotate", "node", silent, f"{SILENT}=true")
    try:
        eventually(lambda: state() == "Unknown", timeout_s=WITHIN_S, every_s=0.5)
    finally:
        cluster.kubectl("annotate", "node", silent, f"{SILENT}-")
    eventually(lambda: state() == "True", timeout_s=WITHIN_S, every_s=0.5)


def test_nothing_is_left_of_a_node_whose_test_was_killed(
    kubernetes_installation: Installation, kubernetes_node: NodeCluster, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", HOLD_A_NODE, str(tmp_path)]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        folder = Path(holder.stdout.readline().strip()).parent
        node = json.loads((folder / "place.json").read_text())
        groups = [place / node["group"] for place in hierarchies("cgroup", "cgroup2")]
        processes = psutil.Process(holder.pid).children(recursive=True)
        assert {"etcd", "kube-apiserver", "containerd", "kubelet", "kube-proxy"} <= {each.name() for each in processes}
        assert any(path.exists() for path in groups)
        assert node["host"] in _addresses()
        assert node["host"] not in kubernetes_node.url, "two nodes at a time share nothing"
        holder.send_signal(signal.SIGKILL)
    eventually(lambda: not folder.exists(), timeout_s=WITHIN_S)
    _, alive = psutil.wait_procs(processes, timeout=WITHIN_S)
    assert alive == []
    assert [path for path in groups if path.exists()] == []
    assert node["host"] not in _addresses()
    assert str(folder) not in Path("/proc/self/mountinfo").read_text()


def _addresses() -> set[str]:
    """Those of this machine."""
    return {address.address for each in psutil.net_if_addrs().values() for address in each}
