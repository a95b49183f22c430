"""The Kubernetes adapter from inside a pod, with the ServiceAccount that the chart made: what breaks on a real node is
put right, and each change is undone. The judge is kubectl.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.helm.releases import Release
from tests.testbed.kubernetes import NODE, Image, NodeCluster
from tests.testbed.kubernetes.images import busybox
from tests.testbed.kubernetes.manifests import WEB, WEB_PORT, Manifest, budget, container, deployment
from tests.testbed.polling import eventually

from watchkeeper.core.actions import Intent

pytestmark = [pytest.mark.peer, pytest.mark.timeout(600)]

WITHIN_S = 120.0
GOOD, BAD = "localhost/web:1", "localhost/web:2"
NEEDS_40_MB = "busybox head -c 40000000 /dev/zero | busybox tail -c 39000000 >/dev/null || exit 1; " + WEB[-1]
READY: Manifest = {"httpGet": {"path": "/index.html", "port": WEB_PORT}, "periodSeconds": 1}


@pytest.fixture(scope="module")
def images(node_with_us: NodeCluster) -> None:
    """Two versions of a server; the second ends at once."""
    small = busybox()
    node_with_us.make_image(Image(GOOD, small.files, small.links, WEB))
    node_with_us.make_image(Image(BAD, small.files, small.links, ["/bin/sh", "-c", "exit 3"]))


@pytest.fixture
def web(release: Release, team: str) -> Iterator[str]:
    """The name of a deployment, `NAMESPACE/NAME`, for one test to make."""
    yield f"{team}/web"
    release.cluster.kubectl("delete", "deployment,pdb", "--all", "--cascade=foreground", namespace=team)
    eventually(lambda: not release.cluster.items("pods", namespace=team), timeout_s=WITHIN_S)


def test_a_crash_loop_after_a_bad_image_is_rolled_back(release: Release, team: str, web: str, images: None) -> None:
    cluster = release.cluster
    main = {key: value for key, value in container(image=GOOD).items() if key != "command"}
    cluster.apply(deployment("web", {**main, "readinessProbe": READY}), namespace=team)
    _rolled_out(release, team)
    cluster.kubectl("set", "image", "deployment/web", f"main={BAD}", namespace=team)
    eventually(lambda: "CrashLoopBackOff" in _reasons(release, team), timeout_s=WITHIN_S)

    done = release.act(Intent.ROLLBACK, "deployment", web)
    assert (done["effect"], done["happened"]) == ("succeeded", "yes"), done
    _rolled_out(release, team)
    assert (_main(release, team)["image"], _reasons(release, team)) == (GOOD, set())

    back = release.undo(done)
    assert (back["effect"], _main(release, team)["image"]) == ("succeeded", BAD), back


def test_a_deployment_that_is_killed_for_memory_is_given_more(release: Release, team: str, web: str) -> None:
    cluster = release.cluster
    main = container(["/bin/sh", "-c", NEEDS_40_MB], memory="24Mi")
    cluster.apply(deployment("web", {**main, "readinessProbe": READY}), namespace=team)
    eventually(lambda: "OOMKilled" in _reasons(release, team), timeout_s=WITHIN_S)

    done = release.act(Intent.SET_RESOURCES, "deployment", web, container="main", memory_limit="128Mi")
    assert (done["effect"], done["happened"]) == ("succeeded", "yes"), done
    _rolled_out(release, team)
    assert _main(release, team)["resources"]["limits"] == {"memory": "128Mi"}

    back = release.undo(done)
    assert (back["effect"], _main(release, team)["resources"]["limits"]) == ("succeeded", {"memory": "24Mi"}), back


def test_pods_of_a_node_are_drained_as_far_as_their_budget_lets_them(release: Release, team: str, web: str) -> None:
    """The one node is cordoned, so what is evicted has nowhere to go: the budget holds the second pod where it is until
    the node is given back."""
    cluster = release.cluster
    cluster.apply(
        deployment("web", {**container(), "readinessProbe": READY}, replicas=2),
        budget("web", min_available=1),
        namespace=team,
    )
    _rolled_out(release, team)
    eventually(lambda: _allowed(release, team) == 1, timeout_s=WITHIN_S)
    first, second = (f"{team}/{name}" for name in _pods(release, team))

    cordoned = release.act(Intent.CORDON, "node", NODE)
    try:
        assert (cordoned["effect"], _unschedulable(release)) == ("succeeded", True), cordoned
        gone = release.act(Intent.DRAIN, "pod", first)
        assert (gone["effect"], gone["happened"], gone["restored"]) == ("succeeded", "yes", False), gone
        eventually(lambda: _allowed(release, team) == 0, timeout_s=WITHIN_S)
        refused = release.act(Intent.DRAIN, "pod", second)
        assert (refused["error"], refused["retryable"]) == ("AdapterError", True) or refused.get("code") == "http_429"
        assert second.rpartition("/")[2] in _pods(release, team)
        back = release.undo(cordoned)
        assert (back["effect"], _unschedulable(release)) == ("succeeded", False), back
    finally:
        cluster.kubectl("uncordon", NODE)
    eventually(lambda: _allowed(release, team) == 1, timeout_s=WITHIN_S)
    assert release.adapter("look", json.dumps(gone["change"]))["restored"] is True
    assert release.act(Intent.DRAIN, "pod", second)["effect"] == "succeeded"


def _rolled_out(release: Release, team: str) -> None:
    release.cluster.kubectl("rollout", "status", "deployment/web", f"--timeout={WITHIN_S:g}s", namespace=team)


def _main(release: Release, team: str) -> dict[str, Any]:
    found: Any = release.cluster.get("deployment", "web", namespace=team)
    (main,) = found["spec"]["template"]["spec"]["containers"]
    return dict(main)


def _reasons(release: Release, team: str) -> set[str]:
    """Why containers wait, and why they ended."""
    pods: list[Any] = list(release.cluster.items("pods", namespace=team))
    statuses = [status for pod in pods for status in pod["status"].get("containerStatuses", [])]
    states = [state for status in statuses for state in (status["state"], status["lastState"])]
    return {each["reason"] for state in states for what, each in state.items() if what != "running"}


def _pods(release: Release, team: str) -> list[str]:
    pods: list[Any] = list(release.cluster.items("pods", namespace=team))
    return sorted(each["metadata"]["name"] for each in pods if "deletionTimestamp" not in each["metadata"])


def _allowed(release: Release, team: str) -> int:
    found: Any = release.cluster.get("pdb", "web", namespace=team)
    return int(found["status"].get("disruptionsAllowed", -1))


def _unschedulable(release: Release) -> bool:
    found: Any = release.cluster.get("node", NODE)
    return bool(found["spec"].get("unschedulable", False))
