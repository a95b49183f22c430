"""Azure examples for the conformance kit: one case for each capability, on things of the case's own in our fake.

The adapter has the actions of the generated role and nothing else. The judge is the fake's own memory. What keeps a
target from coming back are operations that do not end.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr
from tests.testbed.clouds.azure import GROUP, AzureFake
from tests.testbed.clouds.azure_world import SUBSCRIPTION
from tests.testbed.clouds.judges import CloudJudge, azure_writes
from tests.testbed.faultproxy import FaultProxy, fault_proxy

from watchkeeper.adapters.azure.adapter import AzureAdapter
from watchkeeper.adapters.azure.capabilities import CAPABILITIES
from watchkeeper.adapters.azure.config import AzureConfig
from watchkeeper.adapters.azure.permissions import grants
from watchkeeper.adapters.contract import Tested
from watchkeeper.adapters.kit import Case, Example, Fault, KitSink, Refused
from watchkeeper.adapters.recorder import CallRecorder
from watchkeeper.core.actions import Action, ActionKind, Intent, Target
from watchkeeper.core.clock import ManualClock
from watchkeeper.core.model import Scalar
from watchkeeper.ledger.evidence.redaction import Redactor

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

NAME, SETTLE_S = "azure:kit", 30.0
TOKEN = "eyJ0.a-token-of-the-kit"


def action(intent: Intent, kind: str, id_: str, /, **parameters: Scalar) -> Action:
    return Action(
        step=0,
        intent=intent,
        kind=ActionKind.REVERSIBLE,
        target=Target(adapter=NAME, kind=kind, id=id_),
        parameters=tuple(sorted(parameters.items())),
    )


class Judge(CloudJudge):
    """The fake's memory, in the adapter's words. `marks`: whether a machine's mark is looked at, or its power."""

    def __init__(self, azure: AzureFake, *, marks: bool) -> None:
        super().__init__(azure)
        self._marks = marks

    async def fields(self, target: Target) -> Mapping[str, Scalar]:
        found = await super().fields(target)
        if target.kind == "scale_set":
            return {"replicas": found["capacity"]}
        name = "provisioned_at" if self._marks else "power"
        return {name: found[name]}

    async def write(self, target: Target, values: Mapping[str, Scalar]) -> None:
        await super().fields(target)  # what is under way comes to its end first
        await super().write(target, {{"replicas": "capacity"}.get(path, path): value for path, value in values.items()})


class WithoutBody:
    """The fault proxy before a target that answers a write with no body: nothing of it can be cut off."""

    greets = False

    def __init__(self, proxy: FaultProxy) -> None:
        self._proxy = proxy

    @property
    def known(self) -> frozenset[Fault]:
        return self._proxy.known - {Fault.TRUNCATED_AFTER_EFFECT}

    def meet(self, fault: Fault, *, writes_only: bool = True) -> AbstractContextManager[None]:
        return self._proxy.meet(fault, writes_only=writes_only)

    async def landed(self) -> None:
        await self._proxy.landed()

    @property
    def arrived(self) -> int:
        return self._proxy.arrived


@dataclass(frozen=True)
class Shape:
    """How a case is made: `make` gives the target's id, `third` is what another writer writes."""

    intent: Intent
    kind: str
    nowhere: str
    make: Callable[[AzureFake], str]
    parameters: Mapping[str, Scalar]
    third: Mapping[str, Scalar]

    @property
    def returns(self) -> bool:
        return self.intent in (Intent.RESTART, Intent.REPLACE)


def _member(azure: AzureFake) -> str:
    return azure.scale_set_vms(azure.scale_set(2))[0]


def _machine(intent: Intent, power: str) -> Shape:
    return Shape(intent, "vm", f"{GROUP}/none", lambda azure: azure.vm(power), {}, {})


STOPPED_BY_HAND: Mapping[str, Scalar] = {"power": "stopped"}
SHAPES: dict[str, Shape] = {
    "vm-restart": _machine(Intent.RESTART, "running"),
    "vm-stop": Shape(Intent.STOP, "vm", f"{GROUP}/none", lambda azure: azure.vm(), {}, STOPPED_BY_HAND),
    "vm-start": Shape(Intent.START, "vm", f"{GROUP}/none", lambda azure: azure.vm("deallocated"), {}, STOPPED_BY_HAND),
    "stopped-vm-start": Shape(
        Intent.START, "vm", f"{GROUP}/none", lambda azure: azure.vm("stopped"), {}, {"power": "deallocated"}
    ),
    "scale_set-scale": Shape(
        Intent.SCALE, "scale_set", f"{GROUP}/none", lambda azure: azure.scale_set(2), {"replicas": 3}, {"replicas": 1}
    ),
    "scale_set_vm-restart": Shape(Intent.RESTART, "scale_set_vm", f"{GROUP}/none/0", _member, {}, {}),
    "scale_set_vm-replace": Shape(Intent.REPLACE, "scale_set_vm", f"{GROUP}/none/0", _member, {}, {}),
}
ALL = tuple(SHAPES)


def make_case(azure: AzureFake, name: str) -> Case:
    shape = SHAPES[name]

    async def again() -> Action:
        return action(shape.intent, shape.kind, shape.make(azure))

    @asynccontextmanager
    async def stuck() -> AsyncIterator[None]:
        with azure.held():
            yield

    return Case(
        action=action(shape.intent, shape.kind, shape.make(azure), **shape.parameters),
        elsewhere=action(shape.intent, shape.kind, shape.nowhere, **shape.parameters),
        disturbed=shape.third,
        again=again if shape.returns else None,
        stuck=stuck if shape.returns else None,
        within_s=10.0,
    )


def refused(azure: AzureFake) -> tuple[Refused, ...]:
    stopped, asleep = azure.vm("stopped"), azure.vm("hibernated")
    return (
        Refused(action(Intent.RESTART, "vm", "nowhere"), "bad_id"),
        Refused(action(Intent.RESTART, "vm", "elsewhere/vm-1"), "other_group"),
        Refused(action(Intent.RESTART, "vm", stopped), "not_running"),
        Refused(action(Intent.STOP, "vm", stopped), "not_running"),
        Refused(action(Intent.START, "vm", asleep), "other_state"),
        Refused(action(Intent.SCALE, "scale_set", azure.scale_set(), replicas=1001), "bad_parameters"),
    )


def generated_role() -> tuple[str, ...]:
    (role,) = grants(CAPABILITIES)
    return tuple(json.loads(role.text)["Actions"])


class Credential:
    def get_token(self, *scopes: str, **_: Any) -> Any:
        from azure.core.credentials import AccessToken

        assert scopes
        return AccessToken(TOKEN, 1 << 40)


def credential() -> TokenCredential:
    return Credential()


@asynccontextmanager
async def azure_adapter(url: str, sink: KitSink, clock: ManualClock) -> AsyncIterator[AzureAdapter]:
    config = AzureConfig(
        name="kit",
        subscription=SUBSCRIPTION,
        resource_groups=(GROUP,),
        endpoint=url,
        reply_s=1.5,
        settle_s=SETTLE_S,
    )
    adapter = AzureAdapter(config, CallRecorder(sink, Redactor([SecretStr(TOKEN)]), clock), clock, credential())
    try:
        yield adapter
    finally:
        await adapter.close()


@asynccontextmanager
async def azure_example(azure: AzureFake, *names: str) -> AsyncIterator[Example]:
    azure.token, azure.granted = TOKEN, generated_role()
    clock, sink = ManualClock(datetime.now(UTC)), KitSink()
    marks = any(SHAPES[name].returns for name in names)
    async with fault_proxy(azure.url, writes=azure_writes) as proxy, azure_adapter(proxy.url, sink, clock) as adapter:
        yield Example(
            adapter=adapter,
            clock=clock,
            sink=sink,
            judge=Judge(azure, marks=marks),
            faults=proxy if "scale_set-scale" in names else WithoutBody(proxy),
            cases=tuple(make_case(azure, name) for name in names),
            refused=refused(azure),
            secret=TOKEN,
            settle_s=SETTLE_S,
            against=Tested.FAKE,
        )
