"""A node of several is drained around a budget, with a token of the account that the chart made and no other right.

The nodes are fake (their pods only say that they run), so the adapter stands outside.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.helm.inside import send
from tests.helm.releases import NAME, Release
from tests.testbed.kubernetes import NODES, PlaneCluster
from tests.testbed.kubernetes.manifests import budget, deployment
from tests.testbed.polling import eventually

from watchkeeper.adapters.kit import CLAIM, INCIDENT, KitSink, sure
from watchkeeper.adapters.kubernetes.adapter import KubernetesAdapter
from watchkeeper.adapters.kubernetes.config import KubernetesConfig
from watchkeeper.adapters.recorder import CallRecorder, under
from watchkeeper.core.actions import Action, ActionKind, Change, Intent, Target
from watchkeeper.core.clock import SystemClock
from watchkeeper.core.errors import AdapterError
from watchkeeper.ledger.evidence.redaction import Redactor

pytestmark = [pytest.mark.peer, pytest.mark.timeout(300)]

WITHIN_S = 90.0
REPLICAS = 2 * len(NODES)


async def test_a_node_is_drained_around_a_budget_and_given_back(kubernetes_plane: PlaneCluster, tmp_path: Path) -> None:
    cluster, drained = kubernetes_plane, NODES[0]
    team, watch = cluster.fresh_namespace("team"), cluster.fresh_namespace("watch")
    release = Release(cluster, watch, tmp_path)
    intents = [str(Intent.CORDON), str(Intent.DRAIN)]
    values = {"actIn": {"namespaces": [team], "nodes": True, "intents": intents}, "persistence": {"enabled": False}}
    release.install(values, wait=False)
    cluster.apply(deployment("web", replicas=REPLICAS), budget("web", min_available=REPLICAS), namespace=team)
    cluster.kubectl("rollout", "status", "deployment/web", f"--timeout={WITHIN_S:g}s", namespace=team)

    def left() -> list[str]:
        found: list[Any] = list(cluster.items("pods", f"--field-selector=spec.nodeName={drained}", namespace=team))
        return sorted(each["metadata"]["name"] for each in found)

    clock = SystemClock()
    token = cluster.kubeconfig_of(cluster.token(NAME, namespace=watch))
    config = KubernetesConfig(name="here", kubeconfig=token, namespaces=(team,), nodes=True)
    adapter = KubernetesAdapter(config, CallRecorder(KitSink(), Redactor(), clock), clock)

    async def act(intent: Intent, kind: str, name: str) -> dict[str, Any]:
        target = Target(adapter=adapter.name, kind=kind, id=name)
        done = Action(step=0, intent=intent, kind=ActionKind.REVERSIBLE, target=target)
        with under(incident=INCIDENT, claim=CLAIM, may_send=sure):
            return await send(adapter, await adapter.dry_run(done))

    async def evict(pod: str) -> bool:
        """False while the budget holds it."""
        try:
            done = await act(Intent.DRAIN, "pod", f"{team}/{pod}")
        except AdapterError as refused:
            if refused.retryable:
                return False
            raise
        return bool(done["effect"] == "succeeded")

    try:
        cordon = await act(Intent.CORDON, "node", drained)
        assert cordon["effect"] == "succeeded"
        evicted = await asyncio.to_thread(left)
        assert len(evicted) >= 2
        assert not await evict(evicted[0])
        assert await asyncio.to_thread(left) == evicted, "the budget lets none go"
        cluster.apply(budget("web", min_available=REPLICAS - 1), namespace=team)
        async with asyncio.timeout(WITHIN_S):
            for pod in evicted:
                while not await evict(pod):
                    await asyncio.sleep(0.2)
        await asyncio.to_thread(eventually, lambda: not left(), timeout_s=WITHIN_S)
        cluster.kubectl("rollout", "status", "deployment/web", f"--timeout={WITHIN_S:g}s", namespace=team)
        with under(incident=INCIDENT, claim=CLAIM, may_send=sure):
            assert (await send(adapter, Change.model_validate(cordon["change"]).inverse()))["effect"] == "succeeded"
        node: Any = cluster.get("node", drained)
        assert not node["spec"].get("unschedulable", False)
    finally:
        await adapter.close()
        cluster.kubectl("uncordon", drained)
        cluster.helm("uninstall", NAME, namespace=watch)
        for name in (team, watch):
            cluster.drop_namespace(name)
