"""The machines and scale sets in the fake of Azure, and their operations.

An operation shows in its machine at once (`Updating`, `PowerState/deallocating`) and is over with the `pace`-th request
after its own, unless all are held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from uuid import uuid4

from tests.testbed.clouds.jsonserver import JsonObject

SUBSCRIPTION = "00000000-0000-4000-8000-00000000cafe"
LOCATION = "westeurope"


def in_group(group: str) -> str:
    return f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{group}/providers/Microsoft.Compute"


@dataclass
class Machine:
    """A VM, or one of a scale set, whose `set_path` and `number` it then has."""

    path: str
    power: str
    provisioned_at: str
    provisioning: str = "Succeeded"
    set_path: str = ""
    number: str = ""
    etag: str = "1"
    vm_id: str = field(default_factory=lambda: str(uuid4()))
    done: dict[str, int] = field(default_factory=dict)
    """How often each action was carried out."""

    def view(self) -> JsonObject:
        found: JsonObject = {
            "code": f"ProvisioningState/{self.provisioning.lower()}",
            "level": "Info",
            "displayStatus": f"Provisioning {self.provisioning.lower()}",
        }
        if self.provisioning != "Updating":
            found["time"] = self.provisioned_at
        power: JsonObject = {"code": f"PowerState/{self.power}", "level": "Info", "displayStatus": f"VM {self.power}"}
        return {"statuses": [found, power]}

    def shown(self, *, view: bool) -> JsonObject:
        properties: JsonObject = {"vmId": self.vm_id, "provisioningState": self.provisioning}
        if view:
            properties["instanceView"] = self.view()
        kind = "virtualMachines" if not self.set_path else "virtualMachineScaleSets/virtualMachines"
        shown: JsonObject = {
            "id": self.path,
            "name": f"{self.set_path.rsplit('/', 1)[-1]}_{self.number}"
            if self.set_path
            else self.path.rsplit("/", 1)[-1],
            "type": f"Microsoft.Compute/{kind}",
            "location": LOCATION,
            "properties": properties,
            "etag": f'"{self.etag}"',
        }
        if self.set_path:
            properties["latestModelApplied"] = True
            shown["instanceId"] = self.number
        return shown


@dataclass
class ScaleSet:
    path: str
    capacity: int
    provisioning: str = "Succeeded"
    etag: str = "1"
    numbers: Iterator[int] = field(default_factory=count)

    def shown(self) -> JsonObject:
        properties: JsonObject = {"provisioningState": self.provisioning, "overprovision": False}
        properties["upgradePolicy"] = {"mode": "Manual"}
        return {
            "id": self.path,
            "name": self.path.rsplit("/", 1)[-1],
            "type": "Microsoft.Compute/virtualMachineScaleSets",
            "location": LOCATION,
            "sku": {"name": "Standard_B2s", "tier": "Standard", "capacity": self.capacity},
            "properties": properties,
            "etag": f'"{self.etag}"',
        }


@dataclass
class Operation:
    id: str
    started: str
    finish: Callable[[], None]
    error: tuple[str, str] | None = None
    steps: int = 0
    ended: str = ""

    def shown(self) -> JsonObject:
        found: JsonObject = {"name": self.id, "startTime": self.started, "status": "InProgress"}
        if self.ended:
            found.update(endTime=self.ended, status="Failed" if self.error else "Succeeded")
            if self.error:
                found["error"] = {"code": self.error[0], "message": self.error[1]}
        return found


_POWER: Mapping[str, tuple[str, str]] = {
    "start": ("starting", "running"),
    "restart": ("starting", "running"),
    "redeploy": ("starting", "running"),
    "reimage": ("starting", "running"),
    "powerOff": ("stopping", "stopped"),
    "deallocate": ("deallocating", "deallocated"),
}
ACTIONS = frozenset(_POWER)


@dataclass
class World:
    pace: int = 1
    held: bool = False
    machines: dict[str, Machine] = field(default_factory=dict)
    sets: dict[str, ScaleSet] = field(default_factory=dict)
    """Both by path in lower case: Azure's paths do not tell cases apart."""
    operations: dict[str, Operation] = field(default_factory=dict)
    _clock: Iterator[int] = field(default_factory=count)

    def now(self) -> str:
        """Later each time, whatever the machine's clock does."""
        return (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(milliseconds=next(self._clock))).isoformat()

    def machine(self, path: str, power: str, *, set_path: str = "", number: str = "") -> Machine:
        made = Machine(path, power, self.now(), set_path=set_path, number=number)
        self.machines[path.lower()] = made
        return made

    def members(self, set_path: str) -> list[Machine]:
        return [one for one in self.machines.values() if one.set_path.lower() == set_path.lower()]

    def fill(self, found: ScaleSet) -> None:
        """Brings a scale set to its capacity; the newest machines go first."""
        members = self.members(found.path)
        for _ in range(found.capacity - len(members)):
            number = str(next(found.numbers))
            self.machine(f"{found.path}/virtualMachines/{number}", "running", set_path=found.path, number=number)
        for one in members[found.capacity :]:
            del self.machines[one.path.lower()]

    def act(self, machine: Machine, action: str, error: tuple[str, str] | None) -> Operation:
        during, after = _POWER[action]
        before, machine.provisioning, machine.power = machine.power, "Updating", during

        def finish() -> None:
            machine.provisioning, machine.provisioned_at = "Failed" if error else "Succeeded", self.now()
            machine.power = before if error else after
            if not error:
                machine.done[action] = machine.done.get(action, 0) + 1
            self.touch(machine)

        return self._operation(finish, error)

    def resize(self, found: ScaleSet, capacity: int, error: tuple[str, str] | None) -> Operation:
        found.capacity, found.provisioning = capacity, "Updating"
        self.touch(found)

        def finish() -> None:
            found.provisioning = "Failed" if error else "Succeeded"
            if not error:
                self.fill(found)

        return self._operation(finish, error)

    def touch(self, thing: Machine | ScaleSet) -> None:
        thing.etag = str(int(thing.etag) + 1)

    def go_on(self) -> None:
        """One step of every operation; called before each request is answered."""
        for operation in self.operations.values():
            if operation.ended or self.held:
                continue
            operation.steps += 1
            if operation.steps >= self.pace:
                operation.ended = self.now()
                operation.finish()

    def settle(self) -> None:
        for _ in range(self.pace):
            self.go_on()

    def _operation(self, finish: Callable[[], None], error: tuple[str, str] | None) -> Operation:
        made = Operation(str(uuid4()), self.now(), finish, error)
        self.operations[made.id] = made
        return made
