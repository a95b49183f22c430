"""What the settings of a cluster rule out: no permission is asked for it, and precheck says which setting to change."""

from __future__ import annotations

import pytest
from tests.adapters.kubernetes.suite import NAME, action

from watchkeeper.adapters.kit import KitSink
from watchkeeper.adapters.kubernetes.adapter import KubernetesAdapter
from watchkeeper.adapters.kubernetes.config import KubernetesConfig
from watchkeeper.adapters.kubernetes.kinds import DEPLOYMENT, NODE
from watchkeeper.adapters.recorder import CallRecorder
from watchkeeper.core.actions import Intent
from watchkeeper.core.clock import ManualClock
from watchkeeper.ledger.evidence.redaction import Redactor


def adapter(namespaces: tuple[str, ...], nodes: bool | None) -> KubernetesAdapter:
    clock = ManualClock()
    config = KubernetesConfig(
        name=NAME.removeprefix("kubernetes:"), in_cluster=True, namespaces=namespaces, nodes=nodes
    )
    return KubernetesAdapter(config, CallRecorder(KitSink(), Redactor(), clock), clock)


@pytest.mark.parametrize(
    ("namespaces", "nodes", "told"),
    [((), None, True), (("team",), None, False), (("team",), True, True), ((), False, False)],
)
def test_nodes_are_acted_on_where_it_is_said_or_nothing_is(
    namespaces: tuple[str, ...], nodes: bool | None, told: bool
) -> None:
    kinds = {each.target_kind for each in adapter(namespaces, nodes).capabilities()}
    assert (NODE in kinds, DEPLOYMENT in kinds) == (told, True)


async def test_precheck_names_the_setting() -> None:
    shut = adapter(("team",), None)
    for refused, code in (
        (action(Intent.CORDON, NODE, "node-1"), "no_nodes"),
        (action(Intent.RESTART, DEPLOYMENT, "other/web"), "other_namespace"),
    ):
        (problem,) = (await shut.precheck(refused)).problems
        assert problem.code == code
