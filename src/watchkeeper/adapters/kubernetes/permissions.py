"""Permissions as rules of RBAC: the Role that a set of capabilities needs, and the question whether one is there.

A permission is `VERB GROUP/RESOURCE[/SUBRESOURCE]`, as in `patch apps/deployments`; the core group has no name.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass

import yaml

from watchkeeper.adapters.contract import Capability
from watchkeeper.adapters.grants import Grant
from watchkeeper.adapters.kubernetes.objects import JsonObject

CLUSTER_WIDE = frozenset({"nodes"})
GROUPS = frozenset({"apps", "autoscaling", "batch"})


@dataclass(frozen=True)
class Rule:
    verb: str
    group: str
    resource: str
    """With its subresource, as a Role names it: `pods/eviction`."""

    @property
    def cluster_wide(self) -> bool:
        return self.resource in CLUSTER_WIDE

    @classmethod
    def of(cls, permission: str) -> Rule:
        verb, _, what = permission.partition(" ")
        first, _, rest = what.partition("/")
        return cls(verb, first, rest) if first in GROUPS else cls(verb, "", what)

    def review(self, namespace: str) -> JsonObject:
        """A SelfSubjectAccessReview: may I?"""
        resource, _, subresource = self.resource.partition("/")
        attributes: JsonObject = {"verb": self.verb, "group": self.group, "resource": resource}
        if subresource:
            attributes["subresource"] = subresource
        if namespace and not self.cluster_wide:
            attributes["namespace"] = namespace
        return {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }


def grants(capabilities: Collection[Capability]) -> tuple[Grant, ...]:
    """A Role for each namespace, and for nodes a ClusterRole."""
    rules = {Rule.of(name) for each in capabilities for name in each.permissions}
    inside = [rule for rule in rules if not rule.cluster_wide]
    outside = [rule for rule in rules if rule.cluster_wide]
    found = []
    if inside:
        how = "apply it in each namespace that Watchkeeper may act in, and bind its ServiceAccount to it"
        found.append(Grant("Kubernetes Role", manifest("Role", inside), how))
    if outside:
        how = "nodes belong to no namespace: bind the ServiceAccount to it with a ClusterRoleBinding"
        found.append(Grant("Kubernetes ClusterRole", manifest("ClusterRole", outside), how))
    return tuple(found)


def manifest(kind: str, rules: Collection[Rule]) -> str:
    document = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": "watchkeeper"},
        "rules": rbac(rules),
    }
    return yaml.safe_dump(document, sort_keys=False)


def rbac(rules: Collection[Rule]) -> list[dict[str, list[str]]]:
    """Resources with the same verbs in one rule, in a fixed order."""
    verbs: dict[tuple[str, str], set[str]] = defaultdict(set)
    for rule in rules:
        verbs[rule.group, rule.resource].add(rule.verb)
    together: dict[tuple[str, tuple[str, ...]], list[str]] = defaultdict(list)
    for (group, resource), wanted in sorted(verbs.items()):
        together[group, tuple(sorted(wanted))].append(resource)
    return [
        {"apiGroups": [group], "resources": resources, "verbs": [*wanted]}
        for (group, wanted), resources in sorted(together.items())
    ]
