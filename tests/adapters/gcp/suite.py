"""GCP examples for the conformance kit: one case for each capability, on things of the case's own in our fake.

The adapter has the permissions of the generated role and nothing else. The judge is the fake's own memory. What keeps a
target from coming back are operations that do not go on, and groups that do not do their work.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import yaml
from pydantic import SecretStr
from tests.testbed.clouds.gcp import REGION, ZONE, GcpFake
from tests.testbed.clouds.gcp_world import PROJECT
from tests.testbed.clouds.judges import CloudJudge, gcp_writes
from tests.testbed.faultproxy import fault_proxy

from watchkeeper.adapters.contract import Tested
from watchkeeper.adapters.gcp.adapter import GcpAdapter
from watchkeeper.adapters.gcp.capabilities import CAPABILITIES
from watchkeeper.adapters.gcp.config import GcpConfig
from watchkeeper.adapters.gcp.permissions import grants
from watchkeeper.adapters.kit import Case, Example, KitSink, Refused
from watchkeeper.adapters.recorder import CallRecorder
from watchkeeper.core.actions import Action, ActionKind, Intent, Target
from watchkeeper.core.clock import ManualClock
from watchkeeper.core.model import Scalar
from watchkeeper.ledger.evidence.redaction import Redactor

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

NAME, SETTLE_S = "gcp:kit", 30.0
TOKEN = "ya29.a-token-of-the-kit"


def action(intent: Intent, kind: str, id_: str, /, **parameters: Scalar) -> Action:
    return Action(
        step=0,
        intent=intent,
        kind=ActionKind.REVERSIBLE,
        target=Target(adapter=NAME, kind=kind, id=id_),
        parameters=tuple(sorted(parameters.items())),
    )


class Judge(CloudJudge):
    """The fake's memory, in the adapter's words: only what an action may touch."""

    def __init__(self, gcp: GcpFake) -> None:
        super().__init__(gcp)
        self._gcp = gcp

    async def fields(self, target: Target) -> Mapping[str, Scalar]:
        found = await super().fields(target)
        match target.kind:
            case "instance":
                power = "running" if found["status"] == "RUNNING" else "stopped"
                return {"power": power, "machine_type": found["machine_type"], "last_reset": self._last_reset(target)}
            case "instance_group":
                return {"replicas": found["target_size"]}
            case "managed_instance":
                return {"instance_id": found["id"]}
            case "autoscaler":
                return {"min_replicas": found["min"], "max_replicas": found["max"], "mode": found["mode"]}
        return {self._long(target, path): value for path, value in found.items()}

    async def write(self, target: Target, values: Mapping[str, Scalar]) -> None:
        words = {"replicas": "target_size", "min_replicas": "min", "max_replicas": "max", "power": "status"}
        states = {"running": "RUNNING", "stopped": "TERMINATED"}
        theirs: dict[str, Scalar] = {}
        for path, value in values.items():
            short = f"capacity:{path.rsplit('/', 1)[-1]}" if path.startswith("capacity:") else words[path]
            theirs[short] = states[str(value)] if path == "power" else value
        await super().fields(target)  # what is under way comes to its end first
        await super().write(target, theirs)

    def _last_reset(self, target: Target) -> str:
        link = f"/instances/{target.id.rpartition('/')[2]}"
        with self._gcp.lock:
            shown = [one.shown for one in self._gcp.world.operations.values()]
        resets = [one for one in shown if one["operationType"] == "reset" and one["targetLink"].endswith(link)]
        return str(resets[-1]["name"]) if resets else "never"

    def _long(self, target: Target, path: str) -> str:
        """With the zone or region that the fake leaves out."""
        name = path.partition(":")[2]
        with self._gcp.lock:
            links = [key for key in self._gcp.world.things if key.endswith(f"/instanceGroupManagers/{name}")]
        return f"capacity:{links[0].split('/')[3]}/{name}"


@dataclass(frozen=True)
class Shape:
    """How a case is made: `make` gives the target's id and the parameters, `third` is what another writer writes."""

    intent: Intent
    kind: str
    nowhere: str
    make: Callable[[GcpFake], tuple[str, dict[str, Scalar]]]
    third: Mapping[str, Scalar]


def _backend(gcp: GcpFake, place: str) -> tuple[str, dict[str, Scalar]]:
    first, second = gcp.group(1), gcp.group(1, REGION)
    return gcp.backend_service({first: 1.0, second: 0.5}, place), {"backend": first, "capacity": 0.0}


def _member(gcp: GcpFake, place: str) -> tuple[str, dict[str, Scalar]]:
    return gcp.managed_instances(gcp.group(2, place))[0], {}


def _scaler(gcp: GcpFake, place: str) -> tuple[str, dict[str, Scalar]]:
    return gcp.autoscaler(gcp.group(2, place)), {"min_replicas": 2, "max_replicas": 9}


SHAPES: dict[str, Shape] = {
    "instance-restart": Shape(Intent.RESTART, "instance", f"{ZONE}/none", lambda gcp: (gcp.instance(), {}), {}),
    "instance-stop": Shape(Intent.STOP, "instance", f"{ZONE}/none", lambda gcp: (gcp.instance(), {}), {}),
    "instance-start": Shape(Intent.START, "instance", f"{ZONE}/none", lambda gcp: (gcp.instance("TERMINATED"), {}), {}),
    "instance_group-scale": Shape(
        Intent.SCALE, "instance_group", f"{ZONE}/none", lambda gcp: (gcp.group(2), {"replicas": 3}), {"replicas": 1}
    ),
    "regional-instance_group-scale": Shape(
        Intent.SCALE,
        "instance_group",
        f"{REGION}/none",
        lambda gcp: (gcp.group(2, REGION), {"replicas": 0}),
        {"replicas": 1},
    ),
    "managed_instance-replace": Shape(
        Intent.REPLACE, "managed_instance", f"{ZONE}/none/none", lambda gcp: _member(gcp, ZONE), {}
    ),
    "regional-managed_instance-replace": Shape(
        Intent.REPLACE, "managed_instance", f"{REGION}/none/none", lambda gcp: _member(gcp, REGION), {}
    ),
    "autoscaler-set_limit": Shape(
        Intent.SET_LIMIT, "autoscaler", f"{ZONE}/none", lambda gcp: _scaler(gcp, ZONE), {"max_replicas": 7}
    ),
    "regional-autoscaler-set_limit": Shape(
        Intent.SET_LIMIT, "autoscaler", f"{REGION}/none", lambda gcp: _scaler(gcp, REGION), {"max_replicas": 7}
    ),
    "backend_service-shift_traffic": Shape(
        Intent.SHIFT_TRAFFIC, "backend_service", "global/none", lambda gcp: _backend(gcp, "global"), {"other": 0.8}
    ),
    "regional-backend_service-shift_traffic": Shape(
        Intent.SHIFT_TRAFFIC, "backend_service", f"{REGION}/none", lambda gcp: _backend(gcp, REGION), {"other": 0.8}
    ),
}
ALL = tuple(SHAPES)


def make_case(gcp: GcpFake, name: str) -> Case:
    shape = SHAPES[name]
    target, parameters = shape.make(gcp)
    third = dict(shape.third)
    if "other" in third:
        third = {f"capacity:{parameters['backend']}": third["other"]}

    async def again() -> Action:
        return action(shape.intent, shape.kind, shape.make(gcp)[0])

    returns = shape.intent in (Intent.RESTART, Intent.REPLACE)
    return Case(
        action=action(shape.intent, shape.kind, target, **parameters),
        elsewhere=action(shape.intent, shape.kind, shape.nowhere, **parameters),
        disturbed=third,
        again=again if returns else None,
        stuck=_stuck(gcp.held if shape.intent is Intent.RESTART else gcp.stuck) if returns else None,
        within_s=10.0,
    )


def _stuck(kept: Callable[[], AbstractContextManager[None]]) -> Callable[[], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def stuck() -> AsyncIterator[None]:
        with kept():
            yield

    return stuck


def refused(gcp: GcpFake) -> tuple[Refused, ...]:
    group, stopped, asleep = gcp.group(1), gcp.instance("TERMINATED"), gcp.instance("SUSPENDED")
    only = gcp.backend_service({group: 1.0})
    bounded = gcp.autoscaler(gcp.group(1), least=2, most=4)
    shift: dict[str, Scalar] = {"backend": group, "capacity": 0.0}
    return (
        Refused(action(Intent.RESTART, "instance", "nowhere"), "bad_id"),
        Refused(action(Intent.RESTART, "instance", f"{REGION}/vm-1"), "bad_id"),
        Refused(action(Intent.RESTART, "instance", stopped), "not_running"),
        Refused(action(Intent.STOP, "instance", asleep), "other_state"),
        Refused(action(Intent.SCALE, "instance_group", group, replicas=-1), "bad_parameters"),
        Refused(action(Intent.SET_LIMIT, "autoscaler", bounded, max_replicas=1), "bounds_crossed"),
        Refused(action(Intent.SHIFT_TRAFFIC, "backend_service", only, **shift), "last_backend"),
        Refused(
            action(Intent.SHIFT_TRAFFIC, "backend_service", only, backend=f"{ZONE}/none", capacity=1.0),
            "no_such_backend",
        ),
        Refused(action(Intent.SHIFT_TRAFFIC, "backend_service", only, backend=group, capacity=0.05), "bad_parameters"),
    )


def generated_role() -> frozenset[str]:
    (role,) = grants(CAPABILITIES)
    return frozenset(yaml.safe_load(role.text)["includedPermissions"])


def credentials() -> Credentials:
    from google.oauth2 import credentials as oauth2

    made: Callable[[str], Credentials] = oauth2.Credentials
    return made(TOKEN)


@asynccontextmanager
async def gcp_adapter(url: str, sink: KitSink, clock: ManualClock) -> AsyncIterator[GcpAdapter]:
    config = GcpConfig(name="kit", project=PROJECT, endpoint=url, reply_s=1.5, settle_s=SETTLE_S)
    recorder = CallRecorder(sink, Redactor([SecretStr(TOKEN)]), clock)
    adapter = GcpAdapter(config, recorder, clock, credentials())
    try:
        yield adapter
    finally:
        await adapter.close()


@asynccontextmanager
async def gcp_example(gcp: GcpFake, *names: str) -> AsyncIterator[Example]:
    gcp.token, gcp.granted = TOKEN, generated_role()
    clock, sink = ManualClock(datetime.now(UTC)), KitSink()
    async with fault_proxy(gcp.url, writes=gcp_writes) as proxy, gcp_adapter(proxy.url, sink, clock) as adapter:
        yield Example(
            adapter=adapter,
            clock=clock,
            sink=sink,
            judge=Judge(gcp),
            faults=proxy,
            cases=tuple(make_case(gcp, name) for name in names),
            refused=refused(gcp),
            secret=TOKEN,
            settle_s=SETTLE_S,
            against=Tested.FAKE,
        )
