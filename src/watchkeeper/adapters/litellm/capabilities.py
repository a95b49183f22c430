"""What the LiteLLM adapter can do, and the typed parameters of each intent.

A throttle and a budget only ever tighten: where there is a lower one already, it stays. A limit is set as given. No
parameter can be negative: LiteLLM accepts -1 and then refuses every call.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from watchkeeper.adapters.contract import Capability, Idempotency, Tested
from watchkeeper.adapters.litellm.fields import DEPLOYMENT, KEY, MODEL_GROUP, TEAM
from watchkeeper.adapters.parameters import Amount, Cap, Count, Parameters
from watchkeeper.core.actions import ActionKind, Intent


class Throttle(Cap):
    rpm_limit: Count = Field(default=0)
    tpm_limit: Count = Field(default=0)
    max_parallel_requests: Count = Field(default=0)


class KeyLimit(Parameters):
    rpm_limit: Count | None = None
    tpm_limit: Count | None = None
    max_parallel_requests: Count | None = None


class TeamLimit(Parameters):
    rpm_limit: Count | None = None
    tpm_limit: Count | None = None


class Budget(Cap):
    max_budget: Amount


class Block(Parameters):
    blocked: bool


class Weight(Parameters):
    """A share against the weights of the other deployments of the group; 0 drains, while another has weight."""

    weight: Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]


class Fallbacks(Parameters):
    """Model groups, joined by commas, in the order in which they are tried; null takes the list away."""

    fallbacks: Annotated[str, Field(min_length=1, max_length=1000)] | None

    def names(self) -> tuple[str, ...]:
        return tuple(self.fallbacks.split(",")) if self.fallbacks else ()


def _capability(
    intent: Intent, kind: str, parameters: type[Parameters], *permissions: str, postcondition_s: float
) -> Capability:
    return Capability(
        intent=intent,
        target_kind=kind,
        parameters=parameters,
        kind=ActionKind.REVERSIBLE,
        permissions=permissions,
        idempotency=Idempotency.OWN_RECORD,
        postcondition_s=postcondition_s,
        tested=Tested.REAL,
    )


KEY_S = 5.0
"""Keys and teams are read from the database, and cached by each worker for a few seconds."""
ROUTER_S = 35.0
"""The worker that answers reloads its router at once; the others read the database every 30 s."""

CAPABILITIES: tuple[Capability, ...] = (
    _capability(Intent.THROTTLE, KEY, Throttle, "/key/update", "/key/info", postcondition_s=KEY_S),
    _capability(Intent.SET_LIMIT, KEY, KeyLimit, "/key/update", "/key/info", postcondition_s=KEY_S),
    _capability(Intent.SET_LIMIT, TEAM, TeamLimit, "/team/update", "/team/info", postcondition_s=KEY_S),
    _capability(Intent.SET_BUDGET, KEY, Budget, "/key/update", "/key/info", postcondition_s=KEY_S),
    _capability(Intent.SET_BUDGET, TEAM, Budget, "/team/update", "/team/info", postcondition_s=KEY_S),
    _capability(Intent.BLOCK, KEY, Block, "/key/block", "/key/unblock", "/key/info", postcondition_s=KEY_S),
    _capability(
        Intent.SHIFT_TRAFFIC,
        DEPLOYMENT,
        Weight,
        "/model/{id}/update",
        "/model/info",
        postcondition_s=ROUTER_S,
    ),
    _capability(
        Intent.SET_FALLBACK,
        MODEL_GROUP,
        Fallbacks,
        "/fallback",
        "/fallback/{model}",
        "/router/settings",
        "/model/info",
        postcondition_s=ROUTER_S,
    ),
)
