"""Real Kubernetes for tests: `build()` once per machine, then `with node_cluster(...) as cluster`.

Two counterparts with one face: `node_cluster` is a whole cluster with one real node, where containers run, crash and
are killed for memory; `plane_cluster` is a real control plane with fake nodes, for cordon, drain and disruption budgets
over several nodes. Both are Kubernetes 1.20.2, so what only a newer API offers is NOT shown.
"""

from tests.testbed.kubernetes.cluster import Cluster, ToolFailed
from tests.testbed.kubernetes.fakes import SILENT
from tests.testbed.kubernetes.images import BUSYBOX, Image, python, write_image
from tests.testbed.kubernetes.install import Installation, build, cached
from tests.testbed.kubernetes.node import NODE, NodeCluster, node_cluster
from tests.testbed.kubernetes.plane import NODES, PlaneCluster, plane_cluster

__all__ = [
    "BUSYBOX",
    "NODE",
    "NODES",
    "SILENT",
    "Cluster",
    "Image",
    "Installation",
    "NodeCluster",
    "PlaneCluster",
    "ToolFailed",
    "build",
    "cached",
    "node_cluster",
    "plane_cluster",
    "python",
    "write_image",
]
