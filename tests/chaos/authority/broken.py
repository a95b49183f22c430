"""Builds with one safety taken out, made in the executors' own processes. The judge must catch each of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from watchkeeper.adapters.contract import EffectResult
from watchkeeper.agents.remediator.execute import Executor
from watchkeeper.core.outcomes import Effect
from watchkeeper.policies import rows
from watchkeeper.policies.claiming.claims import ClaimRequest, Claims, action_key
from watchkeeper.store.engine import Store


def no_epoch_check() -> None:
    async def nothing(*given: Any, **named: Any) -> None:
        return None

    setattr(rows, "stopped_or_moved", nothing)  # noqa: B010


def no_unique_key() -> None:
    """Each asks under a key of his own, so nothing says that another has done it."""

    def own(self: ClaimRequest) -> str:
        return f"{action_key(self.plan, self.step, self.phase, self.n, self.order)}~{self.holder}"

    setattr(ClaimRequest, "key", property(own))  # noqa: B010


def retry_before_observe() -> None:
    async def surely_not(*given: Any) -> tuple[Effect, str]:
        return Effect.FAILED, "observed_absent"

    setattr(Executor, "_observe", surely_not)  # noqa: B010


def unlocked_revocation() -> None:
    """Neither gate nor shared locks: a stop and a claim pass each other by."""
    real = rows.stopped_or_moved

    async def plainly(*given: Any, lock: bool, **named: Any) -> Any:
        return await real(*given, lock=False, **named)

    async def open_gate(*given: Any) -> None:
        return None

    setattr(rows, "stopped_or_moved", plainly)  # noqa: B010
    for name in ("gate_shared", "gate_exclusive"):
        setattr(Store, name, open_gate)


def ignored_deadline() -> None:
    """Who holds a claim sends, however late it is."""
    real = Claims.still_valid

    async def whenever(self: Claims, claim: Any) -> bool:
        return await real(self, claim.model_copy(update={"not_after": datetime.max.replace(tzinfo=UTC)}))

    setattr(Claims, "still_valid", whenever)  # noqa: B010
    from tests.chaos.authority.world import SocketAdapter

    apply = SocketAdapter.apply

    async def late(self: Any, change: Any, key: Any, deadline: Any) -> EffectResult:
        return await apply(self, change, key, deadline + timedelta(hours=1))

    setattr(SocketAdapter, "apply", late)  # noqa: B010


BUILDS: dict[str, Callable[[], None]] = {
    build.__name__: build
    for build in (no_epoch_check, no_unique_key, retry_before_observe, unlocked_revocation, ignored_deadline)
}


def apply(name: str) -> None:
    if name:
        BUILDS[name]()
