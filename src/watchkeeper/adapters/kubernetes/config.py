"""Which cluster, and by which credential."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from watchkeeper.core.model import Contract

Name = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,32}$")]
Namespace = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]


class KubernetesConfig(Contract):
    """`kubeconfig`, or, with `in_cluster`, the pod's own ServiceAccount."""

    name: Name
    kubeconfig: Path | None = None
    context: str = ""
    """Of the kubeconfig; its current one if none."""
    in_cluster: bool = False
    namespaces: tuple[Namespace, ...] = ()
    """Where something may be done; in all if none is named."""
    nodes: bool | None = None
    """Whether something may be done to nodes; if it is not said, only where no namespace is named."""
    reply_s: float = Field(default=5.0, gt=0)
    settle_s: float = Field(default=10.0, ge=0)
    """How long after we gave up waiting a call may still land."""

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if self.in_cluster == (self.kubeconfig is not None):
            raise ValueError(f"{self.name}: give either `kubeconfig` or `in_cluster: true`")
        return self

    @property
    def acts_on_nodes(self) -> bool:
        return not self.namespaces if self.nodes is None else self.nodes
