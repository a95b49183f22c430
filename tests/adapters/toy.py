"""An adapter for the toy shop, whole: the shortest one that shows every kind of action and passes the kit."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar

from pydantic import SecretStr
from tests.testbed.faultproxy import fault_proxy
from tests.testbed.toy import KEY, Shop

from watchkeeper.adapters.base import Look, Order, TargetAdapter, changed
from watchkeeper.adapters.contract import Capability, Grip, Idempotency, Permitted, Tested
from watchkeeper.adapters.dialect import Dialect
from watchkeeper.adapters.http import Credential, HttpTarget, WriteCall
from watchkeeper.adapters.kit import Case, Example, KitSink, Refused
from watchkeeper.adapters.parameters import Count, Nothing, Parameters
from watchkeeper.adapters.recorder import CallRecorder, Reply
from watchkeeper.adapters.wire import HttpError
from watchkeeper.core.actions import Action, ActionKind, Change, FieldState, Intent, Target, TargetState
from watchkeeper.core.clock import Clock, ManualClock
from watchkeeper.core.model import Scalar
from watchkeeper.ledger.evidence.redaction import Redactor

NAME, SETTLE_S = "toy:shop", 30.0

DIALECT = Dialect(
    what="the shop",
    probe="look whether the shop is open",
    hints=dict.fromkeys((401, 403, 404, 409, 412, 429), ("the shop says no", "ask the shop")),
)


class Level(Parameters):
    level: Count | None = None


def _capability(intent: Intent, kind: str, parameters: type[Parameters], does: ActionKind) -> Capability:
    return Capability(
        intent=intent,
        target_kind=kind,
        parameters=parameters,
        kind=does,
        permissions=(f"{kind}s",),
        idempotency=Idempotency.OWN_RECORD,
        postcondition_s=5.0,
        tested=Tested.FAKE,
        precondition=does is ActionKind.REVERSIBLE,
    )


class ToyAdapter(TargetAdapter):
    proven: ClassVar[str] = ""
    declared = (
        _capability(Intent.SET_LIMIT, "lamp", Level, ActionKind.REVERSIBLE),
        _capability(Intent.RESTART, "lamp", Nothing, ActionKind.SELF_RESTORING),
        _capability(Intent.RECLAIM_SPACE, "bulb", Nothing, ActionKind.IRREVERSIBLE),
    )

    def __init__(self, url: str, recorder: CallRecorder, clock: Clock) -> None:
        super().__init__(NAME, clock, SETTLE_S)
        auth = Credential(SecretStr(KEY), "x-toy-key", "")
        self.http = HttpTarget(NAME, url, auth, DIALECT, recorder, clock, reply_s=1.0)

    async def look(self, target: Target, paths: Collection[str] = ()) -> Look:
        try:
            found = await self.http.read(f"{target.kind}.get", f"/{target.kind}s/{target.id}")
        except HttpError as error:
            if error.status != 404:
                raise
            return Look(TargetState(target=target, exists=False, at=self._clock.now()))
        assert isinstance(found, dict)
        names = ("there",) if target.kind == "bulb" else ("level", "colour", "session", "ready")
        values: Mapping[str, object] = {"there": True, **found}
        fields = tuple(FieldState(path=name, value=_scalar(values[name])) for name in names)
        state = TargetState(target=target, exists=True, at=self._clock.now(), fields=fields)
        return Look(state, version=str(found.get("version", "")))

    def wanted(self, action: Action, parameters: Parameters, state: TargetState) -> Mapping[str, Scalar]:
        match action.intent:
            case Intent.RESTART:
                return {"session": None}
            case Intent.RECLAIM_SPACE:
                return {"there": None}
        return parameters.wanted()

    async def send(self, change: Change, look: Look, order: Order) -> Reply:
        try:
            return await self.http.write(
                self.call(change), order.deadline, headers=self.condition(look), sending=order.sending
            )
        except HttpError as error:
            if error.status == 412:
                return changed()
            raise

    def condition(self, look: Look) -> dict[str, str]:
        return {"if-match": look.version}

    def call(self, change: Change) -> WriteCall:
        match change.intent:
            case Intent.RESTART:
                return WriteCall("lamp.restart", "POST", f"/lamps/{change.target.id}/restart", {})
            case Intent.RECLAIM_SPACE:
                return WriteCall("bulb.remove", "DELETE", f"/bulbs/{change.target.id}", None)
        values = {field.path: field.after for field in change.fields}
        return WriteCall("lamp.change", "PATCH", f"/lamps/{change.target.id}", {**values})

    def restored(self, change: Change, state: TargetState) -> bool:
        return state.value("ready") is True

    async def permitted(self, permissions: Collection[str]) -> tuple[Permitted, ...]:
        return tuple(Permitted(permission=each, grip=Grip.UNKNOWN) for each in permissions)

    async def close(self) -> None:
        await self.http.close()


def _scalar(value: object) -> Scalar:
    assert value is None or isinstance(value, str | int | float | bool)
    return value


def action(intent: Intent, kind: str, name: str, **parameters: Scalar) -> Action:
    return Action(
        step=0,
        intent=intent,
        kind=ActionKind.REVERSIBLE,
        target=Target(adapter=NAME, kind=kind, id=name),
        parameters=tuple(parameters.items()),
    )


@dataclass(frozen=True)
class Cases:
    shop: Shop

    def all(self) -> tuple[Case, ...]:
        bulb = self.shop.new_bulb()
        return (
            Case(
                action=action(Intent.SET_LIMIT, "lamp", "hall", level=7),
                elsewhere=action(Intent.SET_LIMIT, "lamp", "nowhere", level=7),
                disturbed={"level": 3},
            ),
            Case(
                action=action(Intent.RESTART, "lamp", "yard"),
                elsewhere=action(Intent.RESTART, "lamp", "nowhere"),
                stuck=self.jammed,
                within_s=10,
            ),
            Case(
                action=action(Intent.RECLAIM_SPACE, "bulb", bulb),
                elsewhere=action(Intent.RECLAIM_SPACE, "bulb", "nowhere"),
                again=self.again,
            ),
        )

    async def again(self) -> Action:
        return action(Intent.RECLAIM_SPACE, "bulb", self.shop.new_bulb())

    @asynccontextmanager
    async def jammed(self) -> AsyncIterator[None]:
        self.shop.jammed = True
        try:
            yield
        finally:
            self.shop.jammed = False


@asynccontextmanager
async def toy_example(shop: Shop, url: str, make: type[ToyAdapter] = ToyAdapter) -> AsyncIterator[Example]:
    shop.reset()
    clock, sink = ManualClock(datetime.now(UTC)), KitSink()
    async with fault_proxy(url) as proxy:
        adapter = make(proxy.url, CallRecorder(sink, Redactor([SecretStr(KEY)]), clock), clock)
        try:
            yield Example(
                adapter=adapter,
                clock=clock,
                sink=sink,
                judge=shop,
                faults=proxy,
                cases=Cases(shop).all(),
                refused=(
                    Refused(action(Intent.SET_LIMIT, "lamp", "hall"), "bad_parameters"),
                    Refused(action(Intent.SET_LIMIT, "lamp", "hall", level=-1), "bad_parameters"),
                    Refused(action(Intent.RESTART, "bulb", "x"), "not_capable"),
                ),
                secret=KEY,
                settle_s=SETTLE_S,
                against=Tested.FAKE,
            )
        finally:
            await adapter.close()
