"""The objects that tests of a cluster need most, short to write; anything else is given to `Cluster.apply` as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from tests.testbed.kubernetes.images import BUSYBOX

Manifest = dict[str, JsonValue]
WEB_PORT = 8080
WEB = ("/bin/sh", "-c", f"echo started; echo ok > /www/index.html; exec httpd -f -p {WEB_PORT} -h /www")
"""A web server that answers `ok`, in busybox."""


def container(
    command: Sequence[str] = WEB, *, image: str = BUSYBOX, memory: str = "64Mi", env: Mapping[str, str] | None = None
) -> Manifest:
    """One container, `main`, whose image has to be on the node."""
    variables: list[JsonValue] = [{"name": name, "value": value} for name, value in (env or {}).items()]
    return {
        "name": "main",
        "image": image,
        "imagePullPolicy": "Never",
        "command": list(command),
        "env": variables,
        "resources": {"limits": {"memory": memory}},
    }


def pod(name: str, main: Manifest | None = None, **spec: JsonValue) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": _pod(main, spec),
    }


def deployment(name: str, main: Manifest | None = None, *, replicas: int = 1, **spec: JsonValue) -> Manifest:
    """Its pods have the label `app: <name>`; `spec` goes into the spec of the pods."""
    labels: Manifest = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": _pod(main, spec)},
        },
    }


def budget(app: str, *, min_available: int) -> Manifest:
    """A disruption budget for the pods of `app`; 1.20 serves policy/v1beta1 only."""
    return {
        "apiVersion": "policy/v1beta1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": app},
        "spec": {"minAvailable": min_available, "selector": {"matchLabels": {"app": app}}},
    }


def _pod(main: Manifest | None, spec: Mapping[str, JsonValue]) -> Manifest:
    return {"terminationGracePeriodSeconds": 1, "containers": [main or container()], **spec}
