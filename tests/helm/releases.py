"""A release of our chart on a cluster: installed by real helm from this checkout, asked by real kubectl.

`image` has to be on the node. What it does NOT show: a storage class that makes volumes, a registry, a network plugin
that keeps policies.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from tests.testbed.kubernetes import NODE, Cluster
from tests.testbed.kubernetes.manifests import Manifest
from tests.testbed.kubernetes.ours import IMAGE
from tests.testbed.polling import eventually

from watchkeeper.core.actions import Action, ActionKind, Intent, Target
from watchkeeper.core.model import Scalar

CHART = Path(__file__).resolve().parents[2] / "helm" / "watchkeeper"
INSIDE = Path(__file__).with_name("inside.py").read_text()
NAME = "watchkeeper"
"""Of the release, and so of all its objects."""
WITHIN_S = 120.0
Values = Mapping[str, Any]


class Release:
    """What `helm install watchkeeper` made in `namespace`."""

    def __init__(self, cluster: Cluster, namespace: str, folder: Path) -> None:
        self.cluster, self.namespace = cluster, namespace
        self._values = folder / f"{namespace}.yaml"

    def install(self, values: Values, *, verb: str = "install", wait: bool = True) -> str:
        """What helm prints: the notes."""
        repository, _, tag = IMAGE.rpartition(":")
        image = {"repository": repository, "tag": tag, "pullPolicy": "Never"}
        self._values.write_text(yaml.safe_dump({"image": image, **values}))
        waits = ["--wait", f"--timeout={WITHIN_S:g}s"] if wait else []
        words = [verb, NAME, str(CHART), "--values", str(self._values), *waits]
        return self.cluster.helm(*words, namespace=self.namespace, timeout_s=WITHIN_S + 30)

    def uninstall(self) -> str:
        said = self.cluster.helm("uninstall", NAME, "--wait", namespace=self.namespace)
        eventually(lambda: not self.cluster.items("pods", namespace=self.namespace), timeout_s=WITHIN_S)
        return said

    def pod(self) -> dict[str, Any]:
        """The one that is ready and not on its way out."""
        return eventually(self._ready_pod, timeout_s=WITHIN_S)

    def try_exec(self, *words: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        given = [] if stdin is None else ["-i"]
        place = ["exec", *given, self.pod()["metadata"]["name"], "--", *words]
        return self.cluster.try_kubectl(*place, namespace=self.namespace, stdin=stdin)

    def command(self, *words: str, stdin: str | None = None) -> Any:
        """What `watchkeeper ... --json` says inside of the pod."""
        done = self.try_exec("watchkeeper", *words, "--json", stdin=stdin)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def adapter(self, step: str, document: str) -> dict[str, Any]:
        """One step of the action contract inside of the pod (inside.py)."""
        done = self.try_exec("python3", "-", step, document, stdin=INSIDE)
        assert done.returncode == 0, done.stdout + done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def act(self, intent: Intent, kind: str, name: str, /, **parameters: Scalar) -> dict[str, Any]:
        target = Target(adapter="kubernetes:here", kind=kind, id=name)
        given = tuple(sorted(parameters.items()))
        action = Action(step=0, intent=intent, kind=ActionKind.REVERSIBLE, target=target, parameters=given)
        return self.adapter("act", action.model_dump_json())

    def undo(self, done: Mapping[str, Any]) -> dict[str, Any]:
        """The way back of what `act` answered."""
        return self.adapter("undo", json.dumps(done["change"]))

    def _ready_pod(self) -> dict[str, Any] | None:
        selector = f"--selector=app.kubernetes.io/instance={NAME}"
        found: Any = self.cluster.items("pods", selector, namespace=self.namespace)
        return next((each for each in found if "deletionTimestamp" not in each["metadata"] and _is_ready(each)), None)


@contextmanager
def volume(cluster: Cluster, folder: Path, *, claim: str, namespace: str) -> Iterator[None]:
    """A volume made by hand, in `folder` of this machine, for one claim."""
    folder.mkdir()
    on_the_node: Manifest = {"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE]}
    spec: Manifest = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "persistentVolumeReclaimPolicy": "Retain",
        "claimRef": {"namespace": namespace, "name": claim},
        "local": {"path": str(folder)},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [on_the_node]}]}},
    }
    cluster.apply({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": namespace}, "spec": spec})
    try:
        yield
    finally:
        cluster.kubectl("delete", "persistentvolume", namespace, "--wait=false")


def render(helm: Path, values: Values, *words: str, namespace: str = "watch") -> list[dict[str, Any]]:
    """The objects that `helm template` makes of `values`."""
    done = try_render(helm, values, *words, namespace=namespace)
    assert done.returncode == 0, done.stderr
    return [each for each in yaml.safe_load_all(done.stdout) if each is not None]


def try_render(helm: Path, values: Values, *words: str, namespace: str = "watch") -> subprocess.CompletedProcess[str]:
    command = [str(helm), "template", NAME, str(CHART), "--namespace", namespace, "--values", "-", *words]
    given = yaml.safe_dump(dict(values))
    return subprocess.run(command, input=given, capture_output=True, text=True, timeout=60, check=False)


def of_kind(objects: Sequence[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [each for each in objects if each["kind"] == kind]


def _is_ready(pod: Mapping[str, Any]) -> bool:
    conditions = pod["status"].get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
