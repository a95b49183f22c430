"""One Deployment that a test breaks, as kubectl sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.testbed.kubernetes import Cluster

ROLLOUT_S = 120


@dataclass(frozen=True)
class Workload:
    """Its name, and that of its budget, if it has one, is also its pods' label `app`."""

    cluster: Cluster
    namespace: str
    name: str

    @property
    def id(self) -> str:
        return f"{self.namespace}/{self.name}"

    def rolled_out(self) -> None:
        """Waits until all pods are of the current template and ready."""
        words = ["rollout", "status", f"deployment/{self.name}", f"--timeout={ROLLOUT_S}s"]
        self.cluster.kubectl(*words, namespace=self.namespace)

    def container(self) -> dict[str, Any]:
        """The one in its template."""
        found: Any = self.cluster.get("deployment", self.name, namespace=self.namespace)
        (only,) = found["spec"]["template"]["spec"]["containers"]
        return dict(only)

    def troubles(self) -> set[str]:
        """Why containers wait, and why they ended."""
        statuses = [status for pod in self._all() for status in pod["status"].get("containerStatuses", [])]
        states = [state for status in statuses for state in (status["state"], status["lastState"])]
        return {each["reason"] for state in states for what, each in state.items() if what != "running"}

    def pods(self) -> list[str]:
        """Those that are not on their way out, as `NAMESPACE/NAME`."""
        live = [each["metadata"] for each in self._all() if "deletionTimestamp" not in each["metadata"]]
        return sorted(f"{self.namespace}/{each['name']}" for each in live)

    def may_go(self) -> int:
        """How many pods the budget lets go now; -1 before it was counted."""
        found: Any = self.cluster.get("pdb", self.name, namespace=self.namespace)
        return int(found["status"].get("disruptionsAllowed", -1))

    def _all(self) -> list[Any]:
        return list(self.cluster.items("pods", f"--selector=app={self.name}", namespace=self.namespace))
