"""LiteLLM's proxy under the action contract (tried with 1.106.2).

One action is one API call that writes absolute values, so sending it twice would end in the same state. The gateway has
no precondition and knows no idempotency key: between the last look and the send another writer can slip in, and it
would be overwritten. `observe` reads the state back.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar

from pydantic import Field, SecretStr

from watchkeeper.adapters.base import Look, Order, TargetAdapter
from watchkeeper.adapters.contract import CONFORMANCE, Grip, Permitted, Problem
from watchkeeper.adapters.http import Credential, HttpTarget
from watchkeeper.adapters.litellm.capabilities import CAPABILITIES, Fallbacks, Weight
from watchkeeper.adapters.litellm.dialect import LITELLM
from watchkeeper.adapters.litellm.fields import KEY, TOKEN_HASH, write_call
from watchkeeper.adapters.litellm.inventory import GatewayReader, Inventory
from watchkeeper.adapters.litellm.problems import FIXES
from watchkeeper.adapters.litellm.states import StateReader
from watchkeeper.adapters.parameters import Parameters
from watchkeeper.adapters.recorder import CallRecorder, Reply
from watchkeeper.adapters.wire import HttpError
from watchkeeper.core.actions import Action, Change, Target, TargetState
from watchkeeper.core.clock import Clock
from watchkeeper.core.model import Contract


class LiteLLMConfig(Contract):
    """`settle_s`: how long after we gave up waiting a call may still land; until then "not there" is not "no"."""

    name: str
    base_url: str
    admin_key: SecretStr
    reply_s: float = Field(default=4.0, gt=0)
    settle_s: float = Field(default=5.0, ge=0)


class LiteLLMAdapter(TargetAdapter):
    proven: ClassVar[str] = CONFORMANCE
    declared = CAPABILITIES
    fixes = FIXES

    def __init__(self, config: LiteLLMConfig, recorder: CallRecorder, clock: Clock) -> None:
        super().__init__(f"litellm:{config.name}", clock, config.settle_s)
        auth = Credential(config.admin_key)
        self._http = HttpTarget(self.name, config.base_url, auth, LITELLM, recorder, clock, reply_s=config.reply_s)
        self._reader = GatewayReader(self._http)
        self._states = StateReader(self._reader, clock)

    async def inventory(self) -> Inventory:
        """All that the gateway has, for people and for blast radius."""
        return await self._reader.inventory()

    async def look(self, target: Target, paths: Collection[str] = ()) -> Look:
        return Look(await self._states.look(target))

    async def population(self, target: Target) -> int:
        return await self._states.population(target)

    async def send(self, change: Change, look: Look, order: Order) -> Reply:
        return await self._http.write(
            write_call(change),
            order.deadline,
            headers={"litellm-changed-by": f"watchkeeper:{order.key}"},
            sending=order.sending,
        )

    def handled(self, reply: Reply) -> bool:
        """A 500 is the handler's own last word; every other unknown end leaves it running, for all we know."""
        return reply.status == 500

    async def permitted(self, permissions: Collection[str]) -> tuple[Permitted, ...]:
        """All of these routes are open to the proxy_admin role and to no other: one that only reads tells."""
        try:
            await self._reader.router_settings()
            grip = Grip.GRANTED
        except HttpError as error:
            grip = Grip.MISSING if error.status in (401, 403) else Grip.UNKNOWN
        return tuple(Permitted(permission=each, grip=grip) for each in permissions)

    async def close(self) -> None:
        await self._http.close()

    def id_problems(self, target: Target) -> tuple[Problem, ...]:
        wrong = target.kind == KEY and not TOKEN_HASH.fullmatch(target.id)
        return (self.problem("not_a_key_hash"),) if wrong else ()

    async def own_problems(self, action: Action, parameters: Parameters, state: TargetState) -> tuple[Problem, ...]:
        target = action.target
        if isinstance(parameters, Weight) and parameters.weight == 0:
            deployments = await self._reader.deployments()
            group = next((d.group for d in deployments if d.id == target.id), None)
            if not any(d.group == group and d.id != target.id and not d.blocked for d in deployments):
                return (self.problem("only_deployment", "weight"),)
        if isinstance(parameters, Fallbacks):
            if target.id in parameters.names():
                return (self.problem("own_fallback", "fallbacks"),)
            groups = {d.group for d in await self._reader.deployments()}
            if not groups.issuperset(parameters.names()):
                return (self.problem("unknown_group", "fallbacks"),)
        return ()
