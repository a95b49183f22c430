"""Why an action in a cluster cannot be done, and what a person changes so that it can."""

from __future__ import annotations

from collections.abc import Mapping

from watchkeeper.adapters.problems import FIXES as COMMON

FIXES: Mapping[str, str] = {
    **COMMON,
    "bad_id": "name the target as NAMESPACE/NAME (a node: its name), as kubectl shows it",
    "other_namespace": "add the namespace to `namespaces` of this cluster in the settings, or leave that list empty",
    "no_nodes": "set `nodes: true` for this cluster in the settings, and bind the generated ClusterRole",
    "not_owned": "nothing would make the pod again: let a Deployment, StatefulSet or DaemonSet own it",
    "no_such_container": "name a container of the pod template (init containers are not changed)",
    "no_memory_limit": "the container has no memory limit to be raised: look at what kills it, the node may be full",
    "several_containers": "name the container: several have a memory limit",
    "no_history": "the workload's controller keeps no such template: raise revisionHistoryLimit above 0",
    "no_such_revision": "name a revision that kubectl rollout history shows, other than the current one",
    "from_source": "the variable comes from a ConfigMap or Secret (valueFrom): change it there",
    "bounds_crossed": "min_replicas would be above max_replicas: give both",
}
