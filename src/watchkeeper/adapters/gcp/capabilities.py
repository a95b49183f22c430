"""What the GCP adapter can do, and the typed parameters of each intent."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator, model_validator

from watchkeeper.adapters.contract import Capability, Idempotency, Tested
from watchkeeper.adapters.gcp.places import AUTOSCALER, BACKEND, GROUP, INSTANCE, MEMBER
from watchkeeper.adapters.parameters import Nothing, Parameters, Scaling
from watchkeeper.core.actions import ActionKind, Intent
from watchkeeper.core.model import Scalar

MAX_REPLICAS = 4_000
"""What Google allows a regional group at most."""
LEAST_CAPACITY, DIGITS = 0.1, 6
"""A capacity is none at all or at least this much, and is kept as a 32-bit number: more digits do not come back."""

POWER, LAST_RESET, REPLICAS, INSTANCE_ID = "power", "last_reset", "replicas", "instance_id"
MIN, MAX, CAPACITY = "min_replicas", "max_replicas", "capacity:"
RUNNING, STOPPED = "running", "stopped"
NEVER = "never"
"""Of a reset that the zone does not know of, or not any more."""

Replicas = Annotated[int, Field(ge=0, le=MAX_REPLICAS)]


class Reset(Nothing):
    def wanted(self) -> dict[str, Scalar]:
        return {LAST_RESET: None}


class Stop(Nothing):
    def wanted(self) -> dict[str, Scalar]:
        return {POWER: STOPPED}


class Start(Nothing):
    def wanted(self) -> dict[str, Scalar]:
        return {POWER: RUNNING}


class Recreate(Nothing):
    def wanted(self) -> dict[str, Scalar]:
        return {INSTANCE_ID: None}


class Scale(Scaling):
    replicas: Replicas | None = None
    at_most: Replicas = MAX_REPLICAS


class Bounds(Parameters):
    min_replicas: Replicas = 0
    max_replicas: Replicas = 0

    @model_validator(mode="after")
    def _not_crossed(self) -> Bounds:
        both = self.model_fields_set >= {MIN, MAX}
        if both and self.min_replicas > self.max_replicas:
            raise ValueError("min_replicas is above max_replicas")
        return self


class Capacity(Parameters):
    """`backend` is the PLACE/NAME of the group; of its capacity 0 takes all traffic away."""

    backend: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,63}/[a-z]([-a-z0-9]{0,61}[a-z0-9])?$")]
    capacity: Annotated[float, Field(ge=0, le=1)]

    @field_validator("capacity")
    @classmethod
    def _that_google_takes(cls, value: float) -> float:
        if 0 < value < LEAST_CAPACITY:
            raise ValueError("a capacity is 0 or between 0.1 and 1")
        return round(value, DIGITS)

    @model_validator(mode="after")
    def _whole(self) -> Capacity:
        if self.model_fields_set != {"backend", "capacity"}:
            raise ValueError("name a backend and its capacity")
        return self

    def wanted(self) -> dict[str, Scalar]:
        return {f"{CAPACITY}{self.backend}": self.capacity}


BOOT_S = 300.0
"""A machine that boots, and an agent in it that comes up."""
STOP_S = 180.0
"""A guest has 90 seconds to shut down before it is powered off."""
NOW_S = 60.0


def _capability(
    intent: Intent,
    kind: str,
    parameters: type[Parameters],
    *permissions: str,
    does: ActionKind = ActionKind.REVERSIBLE,
    postcondition_s: float = NOW_S,
    precondition: bool = False,
) -> Capability:
    return Capability(
        intent=intent,
        target_kind=kind,
        parameters=parameters,
        kind=does,
        permissions=tuple(f"compute.{each}" for each in permissions),
        idempotency=Idempotency.NATIVE,
        postcondition_s=postcondition_s,
        precondition=precondition,
        tested=Tested.FAKE,
    )


_INSTANCE = ("instances.get", "instances.list", "zoneOperations.list")
_OPERATIONS = ("zoneOperations.list", "regionOperations.list")
_BACK = ActionKind.SELF_RESTORING

CAPABILITIES: tuple[Capability, ...] = (
    _capability(Intent.RESTART, INSTANCE, Reset, "instances.reset", *_INSTANCE, does=_BACK, postcondition_s=BOOT_S),
    _capability(Intent.STOP, INSTANCE, Stop, "instances.stop", "instances.start", *_INSTANCE, postcondition_s=STOP_S),
    _capability(Intent.START, INSTANCE, Start, "instances.start", "instances.stop", *_INSTANCE, postcondition_s=BOOT_S),
    _capability(
        Intent.SCALE,
        GROUP,
        Scale,
        "instanceGroupManagers.get",
        "instanceGroupManagers.list",
        "instanceGroupManagers.update",
        "autoscalers.get",
        *_OPERATIONS,
    ),
    _capability(
        Intent.REPLACE,
        MEMBER,
        Recreate,
        "instanceGroupManagers.get",
        "instanceGroupManagers.update",
        *_OPERATIONS,
        does=_BACK,
        postcondition_s=2 * BOOT_S,
    ),
    _capability(
        Intent.SET_LIMIT,
        AUTOSCALER,
        Bounds,
        "autoscalers.get",
        "autoscalers.list",
        "autoscalers.update",
        "instanceGroupManagers.use",
        *_OPERATIONS,
    ),
    _capability(
        Intent.SHIFT_TRAFFIC,
        BACKEND,
        Capacity,
        *(
            f"{each}.{verb}"
            for each in ("backendServices", "regionBackendServices")
            for verb in ("get", "list", "update")
        ),
        "instanceGroups.use",
        "networkEndpointGroups.use",
        "globalOperations.list",
        "regionOperations.list",
        precondition=True,
    ),
)
