"""What the Azure adapter can do, and the typed parameters of each intent."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from watchkeeper.adapters.azure.places import SCALE_SET, SCALE_SET_VM, VM
from watchkeeper.adapters.contract import Capability, Idempotency, Tested
from watchkeeper.adapters.parameters import Nothing, Parameters, Scaling
from watchkeeper.core.actions import ActionKind, Intent
from watchkeeper.core.model import Scalar

MAX_REPLICAS = 1_000
"""What Azure allows a scale set at most."""

POWER, PROVISIONED_AT, REPLICAS = "power", "provisioned_at", "replicas"
RUNNING, STOPPED, DEALLOCATED = "running", "stopped", "deallocated"

Replicas = Annotated[int, Field(ge=0, le=MAX_REPLICAS)]


class Again(Nothing):
    """Restart or reimage: when the machine's last operation ended is the mark that moves."""

    def wanted(self) -> dict[str, Scalar]:
        return {PROVISIONED_AT: None}


class Stop(Nothing):
    """Deallocated: what is only stopped is still paid for."""

    def wanted(self) -> dict[str, Scalar]:
        return {POWER: DEALLOCATED}


class Start(Nothing):
    def wanted(self) -> dict[str, Scalar]:
        return {POWER: RUNNING}


class Scale(Scaling):
    replicas: Replicas | None = None
    at_most: Replicas = MAX_REPLICAS


BOOT_S = 300.0
"""A machine that boots, and an agent in it that comes up."""
STOP_S = 300.0
NOW_S = 60.0

_VM, _SET = "virtualMachines", "virtualMachineScaleSets"


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
        permissions=tuple(
            each if each.startswith("Microsoft.") else f"Microsoft.Compute/{each}" for each in permissions
        ),
        idempotency=Idempotency.OWN_RECORD,
        postcondition_s=postcondition_s,
        precondition=precondition,
        tested=Tested.FAKE,
    )


_START, _STOP = f"{_VM}/start/action", f"{_VM}/deallocate/action"
_BACK = ActionKind.SELF_RESTORING

CAPABILITIES: tuple[Capability, ...] = (
    _capability(Intent.RESTART, VM, Again, f"{_VM}/restart/action", f"{_VM}/read", does=_BACK, postcondition_s=BOOT_S),
    _capability(Intent.STOP, VM, Stop, _STOP, _START, f"{_VM}/read", postcondition_s=STOP_S),
    _capability(
        Intent.START, VM, Start, _START, _STOP, f"{_VM}/powerOff/action", f"{_VM}/read", postcondition_s=BOOT_S
    ),
    _capability(
        Intent.SCALE,
        SCALE_SET,
        Scale,
        f"{_SET}/write",
        f"{_SET}/read",
        "Microsoft.Insights/autoscaleSettings/read",
        precondition=True,
    ),
    *(
        _capability(
            intent,
            SCALE_SET_VM,
            Again,
            f"{_SET}/virtualMachines/{action}/action",
            f"{_SET}/virtualMachines/read",
            does=_BACK,
            postcondition_s=within_s,
        )
        for intent, action, within_s in (
            (Intent.RESTART, "restart", BOOT_S),
            (Intent.REPLACE, "reimage", 3 * BOOT_S),
        )
    ),
)
