"""Our image on the real node, and one release of our chart that the tests of a file share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.helm.releases import Release
    from tests.testbed.kubernetes import NodeCluster


@pytest.fixture(scope="session")
def node_with_us(kubernetes_node: NodeCluster) -> NodeCluster:
    """The real node, once it has our image."""
    from tests.testbed.kubernetes import ours

    kubernetes_node.make_image(ours.image(ours.dependencies()))
    return kubernetes_node


@pytest.fixture(scope="module")
def team(node_with_us: NodeCluster) -> Iterator[str]:
    """The namespace that `release` may act in."""
    name = node_with_us.fresh_namespace("team")
    yield name
    node_with_us.drop_namespace(name)


@pytest.fixture(scope="module")
def release(node_with_us: NodeCluster, team: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    """Without a volume; it may do in `team`, and to nodes, whatever there is."""
    from tests.helm.releases import NAME, Release

    found = Release(node_with_us, node_with_us.fresh_namespace("watch"), tmp_path_factory.mktemp("release"))
    found.install({"actIn": {"namespaces": [team], "nodes": True}, "persistence": {"enabled": False, "size": "1Gi"}})
    yield found
    node_with_us.helm("uninstall", NAME, namespace=found.namespace)
    node_with_us.drop_namespace(found.namespace)
