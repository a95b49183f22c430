"""kill -9 at every boundary of every node, and between the steps of an effect. Judged by the gateway's own journal."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.crashes import BEFORE, crash, opened
from tests.testbed.watch import Nursery
from watchkeeper.agents.graph import EDGES

pytestmark = pytest.mark.timeout(300)
LONGER_THAN_WE_WAIT_S = 6
ROUTES = {
    "recovers": ("triage", "diagnose", "propose", "decide", "execute", "verify", "hold", "release", "close", "wait"),
    "rejected": ("approve", "escalate", "watch"),
    "undone": ("undo",),
}
NODES = [(route, node) for route, nodes in ROUTES.items() for node in nodes]


@pytest.mark.parametrize(("route", "node"), NODES)
def test_invariant_4_one_effect_per_key_when_killed_at_a_node(
    nursery: Nursery, tmp_path: Path, route: str, node: str
) -> None:
    with opened(nursery, tmp_path, route) as watch:
        crash(watch, route, (f"enter:{node}", f"exit:{node}"))


@pytest.mark.parametrize(
    ("route", "kills"),
    [
        ("recovers", ("claimed", "sent", "settled")),
        ("recovers", ("claimed@2", "sent")),
        ("recovers", ("sent@2", "settled")),
        ("recovers", ("claimed@3", "sent", "sent")),
        ("approved", ("exit:approve", "sent", "exit:execute")),
        ("undone", ("claimed@3", "sent", "settled")),
    ],
    ids=str,
)
def test_invariant_4_one_effect_per_key_when_killed_around_a_send(
    nursery: Nursery, tmp_path: Path, route: str, kills: tuple[str, ...]
) -> None:
    with opened(nursery, tmp_path, route) as watch:
        crash(watch, route, kills)


def test_invariant_4_killed_at_the_settling_of_an_open_effect_it_is_still_owed_back(
    nursery: Nursery, tmp_path: Path
) -> None:
    """Nobody drives the incident any more: what the reconciler settles is in force all the same, and can be undone."""
    with opened(nursery, tmp_path, "recovers") as watch:
        watch.admin_fault("slow", applies_to="writes", count=1, delay_s=LONGER_THAN_WE_WAIT_S)
        watch.provider("provider-a", "500")
        watch.start()
        watch.until(watch.admin_fault_is_used_up, what="send")
        watch.admin_fault("down")
        incident = watch.until_status("escalated")["id"]
        assert watch.get("/v1/remedies") == []
        watch.kill9()
        watch.admin_fault("none")
        watch.start("settled")
        watch.until(lambda: not watch.running, what="kill at settled")
        watch.start()
        watch.until(lambda: watch.get("/v1/remedies"), what="remedy")
        watch.post(f"/v1/incidents/{incident}/undo")
        watch.until(lambda: not watch.get("/v1/remedies"), what="undo")
        assert {name: watch.weights()[name] for name in BEFORE} == BEFORE
        assert set(watch.counts().values()) == {1}
        assert watch.post("/v1/ledger/verify", {})["ok"]


def test_every_node_of_the_graph_is_killed_at() -> None:
    assert {node for _, node in NODES} == set(EDGES)
