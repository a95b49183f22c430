"""What can be acted on in a subscription, and how it is named. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from watchkeeper.core.actions import Target
from watchkeeper.core.errors import InputError

VM, SCALE_SET, SCALE_SET_VM = "vm", "scale_set", "scale_set_vm"

FORMS = {VM: "GROUP/NAME", SCALE_SET: "GROUP/NAME", SCALE_SET_VM: "GROUP/SCALE-SET/NUMBER"}
_GROUP = re.compile(r"[A-Za-z0-9_.()-]{0,89}[A-Za-z0-9_()-]")
_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,78}[A-Za-z0-9_])?")


@dataclass(frozen=True)
class Place:
    """`group` is the resource group, `number` the instance id of a scale set's machine."""

    kind: str
    group: str
    name: str
    number: str = ""

    @property
    def named(self) -> tuple[str, ...]:
        """As the official client wants it."""
        return (self.group, self.name, self.number) if self.number else (self.group, self.name)


def place_of(target: Target) -> Place:
    """Raises InputError."""
    if target.kind not in FORMS:
        raise InputError(
            f"{target.adapter} has no target kind {target.kind!r}",
            cause=f"it knows {', '.join(FORMS)}",
            next_step="correct the runbook: watchkeeper runbook lint",
        )
    group, *names = target.id.split("/")
    fits = len(names) == 1 + (target.kind == SCALE_SET_VM) and all(_NAME.fullmatch(name) for name in names)
    if not fits or not _GROUP.fullmatch(group):
        raise InputError(
            f"{target.id!r} names no {target.kind}",
            cause=f"a {target.kind} is named by {FORMS[target.kind]}",
            next_step="correct the target's id",
        )
    return Place(target.kind, group, *names)
