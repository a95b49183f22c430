"""The things in the fake of GCP, and what time does to them: operations go on, groups come to their size.

A thing is its JSON, as the API shows it, under its path without the version (`projects/p/zones/z/instances/a`).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from tests.testbed.clouds.jsonserver import JsonObject

LINK = "https://www.googleapis.com/compute/v1/"
PROJECT = "shop-prod"


def nothing() -> None:
    """What an operation does in a phase in which nothing shows."""


@dataclass
class Operation:
    """`begin` shows when it runs, `finish` when it is done; neither when `error` is set (code and message)."""

    path: str
    request_id: str
    shown: dict[str, Any]
    begin: Callable[[], None] = nothing
    finish: Callable[[], None] = nothing
    error: tuple[str, str] | None = None
    steps: int = 0

    @property
    def done(self) -> bool:
        return bool(self.shown["status"] == "DONE")


@dataclass
class World:
    """`pace`: with which request after its own an operation is done; `held`: none goes on; `stuck`: no group does what
    it has to do after the operation."""

    pace: int = 1
    held: bool = False
    stuck: bool = False
    things: dict[str, dict[str, Any]] = field(default_factory=dict)
    operations: dict[str, Operation] = field(default_factory=dict)
    _serial: Iterator[int] = field(default_factory=lambda: count(4_000_000_000_000_000_001))
    _clock: Iterator[int] = field(default_factory=count)

    def number(self) -> str:
        """A new uint64, in a string."""
        return str(next(self._serial))

    def now(self) -> str:
        """Later each time, whatever the machine's clock does."""
        at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(milliseconds=next(self._clock))
        return at.isoformat(timespec="milliseconds")

    def add(self, path: str, kind: str, **fields: Any) -> dict[str, Any]:
        made = {"kind": kind, "id": self.number(), "name": path.rsplit("/", 1)[-1], "selfLink": LINK + path, **fields}
        made["creationTimestamp"] = self.now()
        self.things[path] = made
        return made

    def stamp(self, thing: dict[str, Any]) -> None:
        """A new fingerprint, after a change of what is configured."""
        text = f"{thing['selfLink']} {next(self._serial)}"
        thing["fingerprint"] = base64.b64encode(hashlib.sha256(text.encode()).digest()[:8]).decode()

    def start(self, scope: str, type_: str, target: str, request_id: str) -> Operation:
        """A new operation of `scope` (`projects/p/zones/z`, `projects/p/global`) on the thing at `target`."""
        number = self.number()
        name = f"operation-{number}"
        path = f"{scope}/operations/{name}"
        shown: dict[str, Any] = {
            "kind": "compute#operation",
            "id": number,
            "name": name,
            "operationType": type_,
            "targetLink": LINK + target,
            "targetId": self.things[target]["id"],
            "status": "PENDING",
            "progress": 0,
            "insertTime": self.now(),
            "user": "watchkeeper@shop-prod.iam.gserviceaccount.com",
            "selfLink": LINK + path,
        }
        word, _, place = scope.removeprefix("projects/").partition("/")[2].partition("/")
        if place:
            shown[word.removesuffix("s")] = LINK + scope
        if request_id:
            shown["clientOperationId"] = request_id
        self.operations[path] = Operation(path, request_id, shown)
        return self.operations[path]

    def go_on(self) -> None:
        """One step of everything; called before each request is answered."""
        if not self.stuck:
            for path in [path for path in self.things if "/instanceGroupManagers/" in path]:
                self._converge(path)
        for operation in self.operations.values():
            if not operation.done and not self.held:
                self._step(operation)

    def settle(self) -> None:
        """Everything comes to its end that is not held or stuck."""
        for _ in range(self.pace + 2):
            self.go_on()

    def _step(self, operation: Operation) -> None:
        shown = operation.shown
        operation.steps += 1
        if shown["status"] == "PENDING":
            shown.update(status="RUNNING", startTime=self.now(), progress=50)
            if operation.error is None:
                operation.begin()
        if operation.steps < self.pace:
            return
        shown.update(status="DONE", endTime=self.now(), progress=100)
        if operation.error is None:
            operation.finish()
            return
        code, message = operation.error
        shown["error"] = {"errors": [{"code": code, "message": message}]}
        shown.update(httpErrorStatusCode=503, httpErrorMessage="SERVICE UNAVAILABLE")

    def members(self, group: str) -> dict[str, dict[str, Any]]:
        """The managed instances of a group: path → the instance."""
        base = self.things[group]["baseInstanceName"]
        zone = f"projects/{PROJECT}/zones/{self.zone_of(group)}/instances/{base}-"
        return {path: thing for path, thing in self.things.items() if path.startswith(zone)}

    @staticmethod
    def zone_of(path: str) -> str:
        """Where a thing is; instances of a regional group are all in the region's zone `a`."""
        place = path.split("/")[3]
        return place if path.split("/")[2] == "zones" else f"{place}-a"

    def instance(self, path: str, status: str = "RUNNING") -> dict[str, Any]:
        zone = "/".join(path.split("/")[:4])
        made = self.add(path, "compute#instance", zone=LINK + zone, machineType=f"{LINK}{zone}/machineTypes/e2-small")
        made.update(status=status, lastStartTimestamp=self.now(), scheduling={"automaticRestart": True})
        self.stamp(made)
        return made

    def _converge(self, path: str) -> None:
        """The group's own work: what was flagged is made anew, what is missing is made, what is too much goes."""
        group, members = self.things[path], self.members(path)
        for member, thing in members.items():
            if thing["status"] == "STOPPING" and thing.pop("_recreating", False):
                self.instance(member)
        while len(members) < group["targetSize"]:
            serial = f"{int(self.number()):x}"[-4:]
            member = f"projects/{PROJECT}/zones/{self.zone_of(path)}/instances/{group['baseInstanceName']}-{serial}"
            members[member] = self.instance(member)
        for member in list(members)[group["targetSize"] :]:
            del self.things[member]

    def stable(self, path: str) -> bool:
        members = self.members(path).values()
        return len(members) == self.things[path]["targetSize"] and not any("_recreating" in one for one in members)


def shown(thing: dict[str, Any]) -> JsonObject:
    """A thing without what is only the fake's own."""
    return {name: value for name, value in thing.items() if not name.startswith("_")}
