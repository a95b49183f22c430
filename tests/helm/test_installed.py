"""The chart on the real node: the daemon stands its watch, holds only the generated Role, and keeps its record.

From inside its pod the Kubernetes adapter puts right what breaks, and undoes it. The judge is kubectl.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml
from tests.helm.releases import NAME, Release, volume
from tests.helm.workloads import Workload
from tests.testbed.kubernetes import NODE, Image, NodeCluster
from tests.testbed.kubernetes.images import busybox
from tests.testbed.kubernetes.manifests import WEB, WEB_PORT, Manifest, budget, container, deployment
from tests.testbed.kubernetes.packages import program
from tests.testbed.polling import eventually

from watchkeeper.adapters.catalog import system
from watchkeeper.adapters.kubernetes.kinds import DEPLOYMENT, POD
from watchkeeper.core.actions import Intent

pytestmark = [pytest.mark.peer, pytest.mark.timeout(600)]

WITHIN_S = 120.0
KUBERNETES = system("kubernetes")
EVERYBODY_MAY = {
    ("create", "authorization.k8s.io", "selfsubjectaccessreviews"),
    ("create", "authorization.k8s.io", "selfsubjectrulesreviews"),
}
"""What Kubernetes grants to every account: to ask what it may."""
GOOD, BAD = "localhost/web:1", "localhost/web:2"
NEEDS_40_MB = "busybox head -c 40000000 /dev/zero | busybox tail -c 39000000 >/dev/null || exit 1; " + WEB[-1]
READY: Manifest = {"httpGet": {"path": "/index.html", "port": WEB_PORT}, "periodSeconds": 1}


@pytest.fixture(scope="module")
def versions(node_with_us: NodeCluster) -> None:
    """Two versions of a server; the second ends at once."""
    small = busybox()
    node_with_us.make_image(Image(GOOD, small.files, small.links, WEB))
    node_with_us.make_image(Image(BAD, small.files, small.links, ["/bin/sh", "-c", "exit 3"]))


@pytest.fixture
def web(release: Release, team: str) -> Iterator[Workload]:
    """A name of this test's own, for what it makes and breaks."""
    found = Workload(release.cluster, team, f"web-{uuid4().hex[:6]}")
    yield found
    release.cluster.kubectl("delete", f"deployment/{found.name}", "--wait=false", namespace=team)


def test_the_daemon_answers_health_and_its_commands(release: Release) -> None:
    [address] = [each["spec"]["clusterIP"] for each in _items(release, "services") if each["metadata"]["name"] == NAME]
    for path, said in (("healthz", '"alive"'), ("readyz", '"acting":true')):
        asked = release.try_exec("wget", "-qO-", f"http://{address}:8720/{path}")
        assert said in asked.stdout.replace(" ", ""), asked.stderr
    assert release.command("status")["health"]["acting"] is True
    assert release.command("ledger", "verify")["ok"] is True


def test_it_runs_as_nobody_special_on_a_read_only_root(release: Release) -> None:
    status = dict(line.split(":\t", 1) for line in release.try_exec("cat", "/proc/1/status").stdout.splitlines())
    assert status["Uid"].split()[0] == "1000"
    assert (int(status["CapEff"], 16), status["NoNewPrivs"], status["Seccomp"]) == (0, "1", "2")
    written = release.try_exec("sh", "-c", "echo x > /app/x")
    assert (written.returncode, "Read-only file system" in written.stderr) == (1, True)


def test_every_permission_is_there_and_a_missing_one_is_named(release: Release, team: str) -> None:
    [checked] = release.command("adapters", "check")
    assert {each["grip"] for each in checked["permissions"]} == {"granted"}
    assert {each["permission"] for each in checked["permissions"]} == {
        name for each in KUBERNETES.capabilities for name in each.permissions
    }
    [role] = release.cluster.items("roles", namespace=team)
    less: Any = yaml.safe_load(yaml.safe_dump(role))
    less["rules"] = [rule for rule in less["rules"] if "deployments" not in rule["resources"]]
    less["metadata"].pop("resourceVersion")
    try:
        release.cluster.apply(less, namespace=team)
        done = release.try_exec("watchkeeper", "adapters", "check")
        assert done.returncode == 8, done.stdout + done.stderr
        missing = {line.rpartition(": ")[2] for line in done.stdout.splitlines() if line.startswith("missing")}
        assert {"get apps/deployments", "list apps/deployments", "patch apps/deployments"} <= missing
        assert "get pods" not in missing
    finally:
        release.cluster.apply({**role, "metadata": less["metadata"]}, namespace=team)


def test_its_account_may_do_nothing_else(release: Release, team: str) -> None:
    account = f"--as=system:serviceaccount:{release.namespace}:{NAME}"

    def may(namespace: str) -> set[tuple[str, str, str]]:
        """As the API server itself lists it."""
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview"}
        asked = yaml.safe_dump({**review, "spec": {"namespace": namespace}})
        words = ["create", "-f", "-", "-o", "yaml", account, "--validate=false"]
        found = yaml.safe_load(release.cluster.kubectl(*words, stdin=asked))
        return _triples(found["status"]["resourceRules"])

    inside, wide = (
        _triples(yaml.safe_load(grant.text)["rules"]) for grant in KUBERNETES.grants(KUBERNETES.capabilities)
    )
    assert may(team) == inside | wide | EVERYBODY_MAY
    assert may(release.namespace) == may("default") == may("kube-system") == wide | EVERYBODY_MAY
    for words in (
        ["get", "secrets", f"--namespace={team}"],
        ["delete", "deployment", "any", f"--namespace={team}"],
        ["get", "pods", f"--namespace={release.namespace}"],
        ["delete", "node", "any"],
    ):
        refused = release.cluster.try_kubectl(*words, account)
        assert (refused.returncode, "(Forbidden)" in refused.stderr) == (1, True), words


def test_the_record_outlives_kill_deletion_upgrade_and_uninstall(node_with_us: NodeCluster, tmp_path: Path) -> None:
    cluster = node_with_us
    namespace = cluster.fresh_namespace("keep")
    kept = Release(cluster, namespace, tmp_path)
    values: dict[str, Any] = {"persistence": {"storageClass": "", "size": "1Gi"}}
    with volume(cluster, tmp_path / "volume", claim=NAME, namespace=namespace):
        kept.install(values)
        anchor = kept.try_exec("watchkeeper", "ledger", "checkpoint").stdout
        assert anchor

        def holds() -> int:
            found = kept.command("ledger", "verify", "--anchor", "/dev/stdin", stdin=anchor)
            assert (found["ok"], found["rollback"]) == (True, "excluded"), found
            return int(found["size"])

        sizes = [holds()]
        _kill(cluster, kept.pod())
        eventually(lambda: _restarts(kept) == 1, timeout_s=WITHIN_S)
        sizes.append(holds())

        before = kept.pod()["metadata"]
        cluster.kubectl("delete", "pod", before["name"], "--wait=false", namespace=namespace)
        assert kept.pod()["metadata"]["uid"] != before["uid"]
        sizes.append(holds())

        before = kept.pod()["metadata"]
        cluster.kubectl(
            "create", "secret", "generic", "pager", "--from-literal=url=http://pager/hook", namespace=namespace
        )
        pager = {"name": "pager", "url_file": "/etc/watchkeeper/secrets/pager/url"}
        config = {"detect_every_s": 7.5, "notify": [pager]}
        kept.install({**values, "secrets": ["pager"], "config": config}, verb="upgrade")
        assert kept.pod()["metadata"]["uid"] != before["uid"]
        shown = kept.command("config", "show")
        assert (shown["detect_every_s"], shown["notify"][0]["name"]) == (7.5, "pager")
        sizes.append(holds())

        kept.uninstall()
        [claim] = _items(kept, "persistentvolumeclaims")
        assert (claim["metadata"]["name"], claim["status"]["phase"]) == (NAME, "Bound")
        kept.install(values)
        sizes.append(holds())
        assert sizes == sorted(set(sizes)), "each start is an entry on the same log"
        cluster.drop_namespace(namespace)


def test_a_crash_loop_after_a_bad_image_is_rolled_back(release: Release, web: Workload, versions: None) -> None:
    cluster = release.cluster
    main = {key: value for key, value in container(image=GOOD).items() if key != "command"}
    cluster.apply(deployment(web.name, {**main, "readinessProbe": READY}), namespace=web.namespace)
    web.rolled_out()
    cluster.kubectl("set", "image", f"deployment/{web.name}", f"main={BAD}", namespace=web.namespace)
    eventually(lambda: "CrashLoopBackOff" in web.troubles(), timeout_s=WITHIN_S)

    done = release.act(Intent.ROLLBACK, DEPLOYMENT, web.id)
    assert (done["effect"], done["happened"], web.container()["image"]) == ("succeeded", "yes", GOOD), done
    web.rolled_out()
    eventually(lambda: not web.troubles(), timeout_s=WITHIN_S)

    back = release.undo(done)
    assert (back["effect"], web.container()["image"]) == ("succeeded", BAD), back


def test_a_deployment_that_is_killed_for_memory_is_given_more(release: Release, web: Workload) -> None:
    main = container(["/bin/sh", "-c", NEEDS_40_MB], memory="24Mi")
    release.cluster.apply(deployment(web.name, {**main, "readinessProbe": READY}), namespace=web.namespace)
    eventually(lambda: "OOMKilled" in web.troubles(), timeout_s=WITHIN_S)

    done = release.act(Intent.SET_RESOURCES, DEPLOYMENT, web.id, container="main", memory_limit="128Mi")
    assert (done["effect"], done["happened"]) == ("succeeded", "yes"), done
    web.rolled_out()
    assert web.container()["resources"]["limits"] == {"memory": "128Mi"}

    back = release.undo(done)
    assert (back["effect"], web.container()["resources"]["limits"]) == ("succeeded", {"memory": "24Mi"}), back


def test_pods_of_a_node_are_drained_as_far_as_their_budget_lets_them(release: Release, web: Workload) -> None:
    """The one node is cordoned, so what is evicted has nowhere to go: the budget holds the second pod where it is until
    the node is given back."""
    two = deployment(web.name, {**container(), "readinessProbe": READY}, replicas=2)
    release.cluster.apply(two, budget(web.name, min_available=1), namespace=web.namespace)
    web.rolled_out()
    eventually(lambda: web.may_go() == 1, timeout_s=WITHIN_S)
    first, second = web.pods()
    cordoned = release.act(Intent.CORDON, "node", NODE)
    try:
        assert (cordoned["effect"], _unschedulable(release)) == ("succeeded", True), cordoned
        gone = release.act(Intent.DRAIN, POD, first)
        assert (gone["effect"], gone["happened"], gone["restored"]) == ("succeeded", "yes", False), gone
        eventually(lambda: web.may_go() == 0, timeout_s=WITHIN_S)
        refused = release.act(Intent.DRAIN, POD, second)
        assert (refused["retryable"], "HTTP 429 DisruptionBudget" in refused["what"]) == (True, True), refused
        assert second in web.pods()
        back = release.undo(cordoned)
        assert (back["effect"], _unschedulable(release)) == ("succeeded", False), back
    finally:
        release.cluster.kubectl("uncordon", NODE)
    eventually(lambda: web.may_go() == 1, timeout_s=WITHIN_S)
    assert release.adapter("look", json.dumps(gone["change"]))["restored"] is True
    assert release.act(Intent.DRAIN, POD, second)["effect"] == "succeeded"


def _items(release: Release, kind: str) -> list[dict[str, Any]]:
    found: list[Any] = list(release.cluster.items(kind, namespace=release.namespace))
    return found


def _triples(rules: list[dict[str, list[str]]]) -> set[tuple[str, str, str]]:
    return {
        (verb, group, resource)
        for rule in rules
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


def _restarts(release: Release) -> int:
    return int(release.pod()["status"]["containerStatuses"][0]["restartCount"])


def _kill(cluster: NodeCluster, pod: dict[str, Any]) -> None:
    """SIGKILL to the daemon, from the node."""
    daemon = pod["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://")
    place = [program("ctr"), "--address", str(cluster.socket), "--namespace", "k8s.io"]
    command = [*place, "tasks", "kill", "--signal", "SIGKILL", daemon]
    subprocess.run(command, check=True, capture_output=True, timeout=30)


def _unschedulable(release: Release) -> bool:
    found: Any = release.cluster.get("node", NODE)
    return bool(found["spec"].get("unschedulable", False))
