"""A phase of a plan, carried out: each change under its own claim, in the order given.

Every step of the apply, every release step and every undo has its own key and its own claim. What is already settled
is not done again, so a phase can simply be asked for again after a crash or while an effect is unknown. It makes no
phase atomic: a plan may stand half done, and then says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from structlog.contextvars import bound_contextvars

from watchkeeper.agents.crew import Crew
from watchkeeper.agents.records import Asked, Done, Phase
from watchkeeper.agents.state import WatchState
from watchkeeper.agents.watcher import Watcher
from watchkeeper.core.actions import Change
from watchkeeper.core.claims import EffectPhase, authority_scopes
from watchkeeper.core.errors import RefusedError
from watchkeeper.core.ids import OrderId
from watchkeeper.core.outcomes import Effect, EffectOutcome
from watchkeeper.core.plans import Plan
from watchkeeper.core.sli import SliReading
from watchkeeper.policies.claiming.claims import Also, ClaimRequest, action_key


async def effect_all(
    watch: Watcher,
    state: WatchState,
    plan: Plan,
    phase: EffectPhase,
    changes: Mapping[int, Change],
    n: int,
    also: Callable[[int], Also],
) -> Phase:
    """Carries out `changes` (step → change) as the `n`-th repetition of `phase`; `also` (of a step) is written with the
    end of its effect. An apply ends at the first step that does not succeed. Raises RefusedError where the very first
    claim is refused; a later one ends the phase."""
    effects: list[EffectOutcome] = []
    for step, change in changes.items():
        ask = partial(_request, watch, state, plan, phase, step, n)
        try:
            with bound_contextvars(plan=plan.id, action=action_key(plan, step, phase, n, _order(state, phase))):
                outcome = await watch.crew.executor.ensure(ask, change, also(step))
        except RefusedError as refused:
            if not effects:
                raise
            return Phase(done=Done(effects=tuple(effects)), refused=refused.reason)
        effects.append(outcome)
        if outcome.effect is not Effect.SUCCEEDED and phase is EffectPhase.APPLY:
            break
    return Phase(done=Done(effects=tuple(effects)))


async def _request(
    watch: Watcher, state: WatchState, plan: Plan, phase: EffectPhase, step: int, n: int
) -> ClaimRequest:
    crew, decided = watch.crew, await watch.decided(state)
    epochs = decided.epochs
    if phase is not EffectPhase.APPLY:
        # Giving back is no new authority: a stop that stands now freezes it, one that was lifted does not strand it.
        scopes = authority_scopes(plan, plan.actions[step])
        epochs = await crew.epochs.seen(scopes)
    asked = await watch.steps.recorded(f"ask/{state.get('attempt', 0)}", Asked)
    return ClaimRequest(
        plan=plan,
        step=step,
        phase=phase,
        n=n,
        record=decided.record,
        epochs=epochs,
        order=_order(state, phase),
        approval=None if asked is None else asked.request.approval,
        breach=_breach(crew, plan) if phase is EffectPhase.APPLY else None,
        holder=crew.holder,
        valid_s=crew.timing.claim_s,
    )


def _order(state: WatchState, phase: EffectPhase) -> OrderId | None:
    order = state.get("order", "")
    return OrderId(order) if order and phase is EffectPhase.UNDO else None


def _breach(crew: Crew, plan: Plan) -> SliReading:
    least_s = 2 * crew.signals.config.bucket_s
    return crew.read(plan.basis.breach_at(crew.now(), least_s))
