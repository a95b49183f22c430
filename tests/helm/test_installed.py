"""The chart on the real node: the daemon stands its watch, holds only the generated Role, and keeps its record."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.helm.releases import NAME, Release, volume
from tests.testbed.kubernetes import NodeCluster
from tests.testbed.kubernetes.packages import program
from tests.testbed.polling import eventually

from watchkeeper.adapters.catalog import system

pytestmark = [pytest.mark.peer, pytest.mark.timeout(600)]

WITHIN_S = 90.0
KUBERNETES = system("kubernetes")
EVERYBODY_MAY = {
    ("create", "authorization.k8s.io", "selfsubjectaccessreviews"),
    ("create", "authorization.k8s.io", "selfsubjectrulesreviews"),
}
"""What Kubernetes grants to every account: to ask what it may."""


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
        cluster.kubectl("delete", "pod", before["name"], namespace=namespace)
        assert kept.pod()["metadata"]["uid"] != before["uid"]
        sizes.append(holds())

        before = kept.pod()["metadata"]
        kept.install({**values, "config": {"detect_every_s": 7.5}}, verb="upgrade")
        assert kept.pod()["metadata"]["uid"] != before["uid"]
        assert kept.command("config", "show")["detect_every_s"] == 7.5
        sizes.append(holds())

        kept.uninstall()
        [claim] = _items(kept, "persistentvolumeclaims")
        assert (claim["metadata"]["name"], claim["status"]["phase"]) == (NAME, "Bound")
        kept.install(values)
        sizes.append(holds())
        assert sizes == sorted(set(sizes)), "each start is an entry on the same log"
        kept.uninstall()
        cluster.drop_namespace(namespace)


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
    container = pod["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://")
    place = [program("ctr"), "--address", str(cluster.socket), "--namespace", "k8s.io"]
    command = [*place, "tasks", "kill", "--signal", "SIGKILL", container]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
