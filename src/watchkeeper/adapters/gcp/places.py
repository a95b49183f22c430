"""What can be acted on in a project, and how the API names it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from watchkeeper.core.actions import Target
from watchkeeper.core.errors import InputError

INSTANCE, GROUP, MEMBER = "instance", "instance_group", "managed_instance"
AUTOSCALER, BACKEND = "autoscaler", "backend_service"

Scope = Literal["zone", "region", "global"]

FORMS = {
    INSTANCE: "ZONE/NAME",
    GROUP: "ZONE/NAME or REGION/NAME",
    MEMBER: "ZONE/GROUP/NAME or REGION/GROUP/NAME",
    AUTOSCALER: "ZONE/NAME or REGION/NAME",
    BACKEND: "global/NAME or REGION/NAME",
}
_SCOPES: dict[str, tuple[Scope, ...]] = {
    INSTANCE: ("zone",),
    GROUP: ("zone", "region"),
    MEMBER: ("zone", "region"),
    AUTOSCALER: ("zone", "region"),
    BACKEND: ("global", "region"),
}
_NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_REGION = re.compile(r"[a-z]+-[a-z]+\d{1,2}")
_ZONE = re.compile(rf"{_REGION.pattern}-[a-z][a-z0-9]{{0,3}}")

_SERVICES = {
    (INSTANCE, "zone"): "Instances",
    (GROUP, "zone"): "InstanceGroupManagers",
    (GROUP, "region"): "RegionInstanceGroupManagers",
    (AUTOSCALER, "zone"): "Autoscalers",
    (AUTOSCALER, "region"): "RegionAutoscalers",
    (BACKEND, "global"): "BackendServices",
    (BACKEND, "region"): "RegionBackendServices",
}
_ARGUMENTS = {
    INSTANCE: "instance",
    GROUP: "instance_group_manager",
    AUTOSCALER: "autoscaler",
    BACKEND: "backend_service",
}


@dataclass(frozen=True)
class Place:
    """Where one thing is. `holder` is the group of a managed instance."""

    kind: str
    scope: Scope
    where: str
    name: str
    holder: str = ""

    @property
    def service(self) -> str:
        """The official client's name without `Client`. A managed instance is asked for at its group."""
        return _SERVICES[GROUP if self.kind == MEMBER else self.kind, self.scope]

    @property
    def path(self) -> str:
        """Under the project: `zones/us-central1-a`, `global`."""
        return "global" if self.scope == "global" else f"{self.scope}s/{self.where}"

    @property
    def operations(self) -> str:
        return f"{self.scope.title()}Operations"

    def scoped(self) -> dict[str, str]:
        """The argument that names the zone or region."""
        return {} if self.scope == "global" else {self.scope: self.where}

    def named(self) -> dict[str, str]:
        """The arguments that name the thing itself; of a managed instance its group."""
        kind, name = (GROUP, self.holder) if self.kind == MEMBER else (self.kind, self.name)
        return {**self.scoped(), _ARGUMENTS[kind]: name}


def place_of(target: Target) -> Place:
    """Raises InputError."""
    if target.kind not in FORMS:
        raise InputError(
            f"{target.adapter} has no target kind {target.kind!r}",
            cause=f"it knows {', '.join(FORMS)}",
            next_step="correct the runbook: watchkeeper runbook lint",
        )
    where, *names = target.id.split("/")
    scope = scope_of(where)
    fits = len(names) == 1 + (target.kind == MEMBER) and all(_NAME.fullmatch(name) for name in names)
    if scope is None or scope not in _SCOPES[target.kind] or not fits:
        raise InputError(
            f"{target.id!r} names no {target.kind}",
            cause=f"a {target.kind} is named by {FORMS[target.kind]}",
            next_step="correct the target's id",
        )
    return Place(target.kind, scope, where, names[-1], names[0] if target.kind == MEMBER else "")


def scope_of(where: str) -> Scope | None:
    if where == "global":
        return "global"
    if _ZONE.fullmatch(where):
        return "zone"
    return "region" if _REGION.fullmatch(where) else None


def short(link: str) -> str:
    """`us-central1-a/web` of the link to a zonal or regional thing, `global/web` of a global one."""
    parts = link.rsplit("/", 3)
    return f"{parts[-3]}/{parts[-1]}" if len(parts) == 4 else link
