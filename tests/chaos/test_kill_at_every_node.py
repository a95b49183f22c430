"""kill -9 at every boundary of every node, and between the steps of an effect. Judged by the gateway's own journal."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.crashes import crash, opened
from tests.testbed.watch import Nursery
from watchkeeper.agents.graph import EDGES

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


def test_every_node_of_the_graph_is_killed_at() -> None:
    assert {node for _, node in NODES} == set(EDGES)
