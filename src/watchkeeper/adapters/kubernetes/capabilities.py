"""What the Kubernetes adapter can do, and the typed parameters of each intent."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from watchkeeper.adapters.contract import Capability, Idempotency, Tested
from watchkeeper.adapters.kubernetes.kinds import (
    AUTOSCALER,
    CRONJOB,
    DAEMONSET,
    DEPLOYMENT,
    KINDS,
    NODE,
    POD,
    STATEFULSET,
)
from watchkeeper.adapters.kubernetes.quantity import canonical
from watchkeeper.adapters.parameters import Nothing, Parameters, Scaling
from watchkeeper.core.actions import ActionKind, Intent
from watchkeeper.core.model import Scalar

MAX_REPLICAS = 10_000
Replicas = Annotated[int, Field(ge=0, le=MAX_REPLICAS)]
Container = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
Image = Annotated[str, Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._/:@-]{0,254}$")]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")]
Quantity = Annotated[str, Field(max_length=32), AfterValidator(canonical)]


class Scale(Scaling):
    replicas: Replicas | None = None
    at_most: Replicas = MAX_REPLICAS


class Rollback(Parameters):
    """To this revision, or to the one before the current."""

    revision: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _something(self) -> Rollback:
        return self

    def wanted(self) -> dict[str, Scalar]:
        return {"template": None}


class Restart(Nothing):
    def wanted(self) -> dict[str, Scalar]:
        return {"restarted_at": None}


class Pause(Nothing):
    def wanted(self) -> dict[str, Scalar]:
        return {"paused": True}


class Resume(Nothing):
    def wanted(self) -> dict[str, Scalar]:
        return {"paused": False}


class Suspend(Nothing):
    def wanted(self) -> dict[str, Scalar]:
        return {"suspend": True}


class Unsuspend(Nothing):
    def wanted(self) -> dict[str, Scalar]:
        return {"suspend": False}


class SetImage(Parameters):
    container: Container
    image: Image

    def wanted(self) -> dict[str, Scalar]:
        return {f"image:{self.container}": self.image}


class SetEnv(Parameters):
    """`value` null takes the variable away."""

    container: Container
    name: Variable
    value: Annotated[str, Field(max_length=1000)] | None

    def wanted(self) -> dict[str, Scalar]:
        return {f"env:{self.container}:{self.name}": self.value}


class SetResources(Parameters):
    """To these, or, for memory, to so many times what it has, but not beyond `memory_at_most_mib`. The container may be
    left out where there is one."""

    container: Container | None = None
    memory_factor: Annotated[float, Field(gt=1, le=4)] | None = None
    memory_at_most_mib: Annotated[int, Field(ge=1, le=1_048_576)] = 8192
    cpu_limit: Quantity | None = None
    memory_limit: Quantity | None = None
    cpu_request: Quantity | None = None
    memory_request: Quantity | None = None

    @model_validator(mode="after")
    def _one_at_least(self) -> SetResources:
        absolute = self.model_fields_set & set(QUANTITIES)
        if (self.memory_factor is None) == (not absolute):
            raise ValueError("name a limit or a request, or `memory_factor`")
        if absolute and self.container is None:
            raise ValueError("name the container")
        return self

    def wanted(self) -> dict[str, Scalar]:
        names = sorted(self.model_fields_set & set(QUANTITIES))
        return {f"{name}:{self.container}": getattr(self, name) for name in names}


QUANTITIES = ("cpu_limit", "memory_limit", "cpu_request", "memory_request")


class Bounds(Parameters):
    min_replicas: Annotated[int, Field(ge=1, le=MAX_REPLICAS)] = 1
    max_replicas: Annotated[int, Field(ge=1, le=MAX_REPLICAS)] = 1

    @model_validator(mode="after")
    def _not_crossed(self) -> Bounds:
        both = self.model_fields_set >= {"min_replicas", "max_replicas"}
        if both and self.min_replicas > self.max_replicas:
            raise ValueError("min_replicas is above max_replicas")
        return self


class Cordon(Parameters):
    unschedulable: bool = True

    @model_validator(mode="after")
    def _something(self) -> Cordon:
        return self

    def wanted(self) -> dict[str, Scalar]:
        return {"unschedulable": self.unschedulable}


class Replace(Nothing):
    """Delete a pod, or evict it: whoever owns it makes another."""


ROLL_S = 300.0
"""A rollout of a few dozen pods whose probes take their time; one that is slower is reported as not back."""
NOW_S = 5.0


def _capability(
    intent: Intent,
    kind: str,
    parameters: type[Parameters],
    *permissions: str,
    does: ActionKind = ActionKind.REVERSIBLE,
    postcondition_s: float = NOW_S,
) -> Capability:
    return Capability(
        intent=intent,
        target_kind=kind,
        parameters=parameters,
        kind=does,
        permissions=permissions,
        idempotency=Idempotency.OWN_RECORD,
        postcondition_s=postcondition_s,
        precondition=True,
        tested=Tested.REAL,
    )


def _own(kind: str, *verbs: str) -> tuple[str, ...]:
    group = KINDS[kind].versions[0].rpartition("/")[0]
    resource = f"{group}/{KINDS[kind].plural}" if group else KINDS[kind].plural
    return tuple(f"{verb} {resource}" for verb in ("get", "list", *verbs))


def _workload(kind: str) -> tuple[Capability, ...]:
    write = _own(kind, "patch")
    kept = "list apps/replicasets" if kind == DEPLOYMENT else "list apps/controllerrevisions"
    hpas = "list autoscaling/horizontalpodautoscalers"
    back = ActionKind.SELF_RESTORING
    found = [
        _capability(Intent.RESTART, kind, Restart, *write, does=back, postcondition_s=ROLL_S),
        _capability(Intent.ROLLBACK, kind, Rollback, *write, kept),
        _capability(Intent.PIN_VERSION, kind, SetImage, *write),
        _capability(Intent.SET_CONFIG, kind, SetEnv, *write),
        _capability(Intent.SET_RESOURCES, kind, SetResources, *write),
    ]
    if kind in (DEPLOYMENT, STATEFULSET):
        found.append(_capability(Intent.SCALE, kind, Scale, *write, hpas))
    if kind == DEPLOYMENT:
        found.append(_capability(Intent.PAUSE, kind, Pause, *write))
        found.append(_capability(Intent.RESUME, kind, Resume, *write))
    return tuple(found)


_POD = (*_own(POD), "get apps/replicasets", "get apps/statefulsets", "get apps/daemonsets")

CAPABILITIES: tuple[Capability, ...] = (
    *(each for kind in (DEPLOYMENT, STATEFULSET, DAEMONSET) for each in _workload(kind)),
    _capability(
        Intent.RESTART,
        POD,
        Replace,
        "delete pods",
        *_POD,
        does=ActionKind.SELF_RESTORING,
        postcondition_s=ROLL_S,
    ),
    _capability(
        Intent.DRAIN,
        POD,
        Replace,
        "create pods/eviction",
        *_POD,
        does=ActionKind.SELF_RESTORING,
        postcondition_s=ROLL_S,
    ),
    _capability(Intent.CORDON, NODE, Cordon, *_own(NODE, "patch")),
    _capability(Intent.PAUSE, CRONJOB, Suspend, *_own(CRONJOB, "patch")),
    _capability(Intent.RESUME, CRONJOB, Unsuspend, *_own(CRONJOB, "patch")),
    _capability(Intent.SET_LIMIT, AUTOSCALER, Bounds, *_own(AUTOSCALER, "patch")),
)
