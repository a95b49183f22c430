"""An alert on a workload, end to end: the daemon as its own process, a real control plane, the generated Role.

kubectl judges what was done. Alertmanager's webhook is posted by the test.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.adapters.kubernetes.suite import IMAGE, clean, manifest, service_account
from tests.testbed import rig
from tests.testbed.kubernetes import PlaneCluster
from tests.testbed.polling import eventually

from watchkeeper.cli.client import Client

pytestmark = [pytest.mark.peer, pytest.mark.timeout(300)]

GRANT = """
apiVersion: watchkeeper.dev/v1
kind: Grant
metadata:
  name: roll-back
spec:
  match:
    environments: [production]
    services: [shop]
    agents: [remediator/kubernetes]
    runbooks: [roll-back-workload]
    intents: [rollback]
    targetKinds: [kube_deployment]
  autonomy: bounded
  minConfidence: 0.6
  caps: {maxBlastCount: 1, ttl: 24h}
"""
Reply = dict[str, Any]


@dataclass(frozen=True)
class Shop:
    cluster: PlaneCluster
    namespace: str
    api: Client

    def image(self) -> str:
        found = json.loads(self.cluster.kubectl("get", "deployment", "web", "-o", "json", namespace=self.namespace))
        image: str = found["spec"]["template"]["spec"]["containers"][0]["image"]
        return image

    def deploy(self, tag: str) -> None:
        self.cluster.kubectl("set", "image", "deployment/web", f"app={IMAGE}:{tag}", namespace=self.namespace)

    def alert(self, status: str) -> None:
        now = datetime.now(UTC).isoformat()
        labels = {"alertname": "KubePodCrashLooping", "namespace": self.namespace, "deployment": "web"}
        alert = {
            "status": status,
            "labels": labels,
            "startsAt": now,
            "endsAt": now if status == "resolved" else "0001-01-01T00:00:00Z",
            "fingerprint": "crash-loop",
        }
        self.api.post("/v1/alerts/alertmanager", {"version": "4", "groupKey": "g", "alerts": [alert]})

    def incident(self, *statuses: str) -> Reply | None:
        found: list[Reply] = self.api.get("/v1/incidents", closed=True)
        return next((each for each in found if not statuses or each["status"] in statuses), None)

    def told(self) -> str:
        """The incidents, and what each came to: for a failure."""
        found: list[Reply] = self.api.get("/v1/incidents", closed=True)
        steps = [[step["type"] for step in self.api.get(f"/v1/incidents/{each['id']}/story")] for each in found]
        return json.dumps([found, steps], indent=1)


def settings(shop: str, folder: Path, kubeconfig: Path) -> rig.Sight:
    return {
        "environment": "production",
        "services": [{"name": "shop", "targets": [f"kubernetes:prod/kube_deployment/{shop}/*"]}],
        "targets": {"kubernetes": [{"name": "prod", "kubeconfig": str(kubeconfig), "namespaces": [shop]}]},
        "alertmanager": {
            "targets": [{"adapter": "kubernetes:prod", "kind": "kube_deployment", "id": "{namespace}/{deployment}"}]
        },
        "policy": {"dir": str(folder)},
        "runbooks": {"overrides": {"roll-back-workload": {"horizons_s": [2, 6], "window_s": 5, "hold_s": 600}}},
        "detect_every_s": 0.5,
        "timing": {"recheck_s": 1},
    }


@contextmanager
def watched(cluster: PlaneCluster, folder: Path) -> Iterator[Shop]:
    """Two revisions of a deployment, and a daemon whose account has the generated Role in its namespace."""
    namespace = cluster.fresh_namespace("e2e")
    policies = folder / "policies"
    policies.mkdir()
    (policies / "grant.yaml").write_text(GRANT)
    try:
        kubeconfig = cluster.kubeconfig_of(service_account(cluster, namespace))
        cluster.apply(manifest("Deployment", "web"), namespace=namespace)
        cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s", namespace=namespace)
        at = rig.address(folder)
        config = folder / "watchkeeper.yaml"
        given = {"data_dir": str(at.token_file.parent), "api": {"port": at.port}}
        config.write_text(json.dumps(given | settings(namespace, policies, kubeconfig)))
        with rig.process(at, config) as daemon:
            yield Shop(cluster, namespace, daemon.api)
    finally:
        clean(cluster, namespace)


def test_a_runbook_is_rehearsed_on_a_target_and_changes_nothing(kubernetes_plane: PlaneCluster, tmp_path: Path) -> None:
    with watched(kubernetes_plane, tmp_path) as shop:
        name = ("runbook", "run", "roll-back-workload")
        rehearse = (*name, "--dry-run", "--json", "--config", str(tmp_path / "watchkeeper.yaml"))
        target = f"kubernetes:prod/kube_deployment/{shop.namespace}/web"
        refused = command(*rehearse, "--target", target)
        assert (refused.returncode, json.loads(refused.stdout)[0]["refused"]) == (8, "no_such_revision")
        shop.deploy("2")
        found = command(*rehearse, "--target", target)
        assert found.returncode == 0
        (step,) = json.loads(found.stdout)
        assert (step["action"]["intent"], step["change"]["fields"][0]["path"]) == ("rollback", "template")
        assert shop.image() == f"{IMAGE}:2"
        assert command(*rehearse, "--target", "kubernetes:prod/node/n1").returncode == 8
        assert command(*name, "--target", target).returncode == 2


def command(*words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "watchkeeper.cli.main", *words]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


def test_a_bad_image_is_rolled_back_by_an_alert_and_the_rollback_can_be_undone(
    kubernetes_plane: PlaneCluster, tmp_path: Path
) -> None:
    with watched(kubernetes_plane, tmp_path) as shop:
        shop.deploy("crash")
        shop.alert("firing")
        try:
            eventually(lambda: shop.image() == f"{IMAGE}:1", timeout_s=60)
            shop.alert("resolved")
            held = eventually(lambda: shop.incident("holding"), timeout_s=60)
        except AssertionError as error:
            error.add_note(shop.told())
            raise
        assert held["mode"] == "crash_loop"
        assert [each["incident"] for each in shop.api.get("/v1/remedies")] == [held["id"]]
        shop.api.post(f"/v1/incidents/{held['id']}/undo", {})
        eventually(lambda: shop.image() == f"{IMAGE}:crash", timeout_s=60)
        assert shop.api.post("/v1/ledger/verify", {})["ok"]
