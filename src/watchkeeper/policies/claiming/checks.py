"""What a claim must pass (invariant 1), gate by gate. Every gate runs in the claim's transaction and refuses by name.

The checks that need no database come first and are pure; those that read are ordered so that locks are always taken
in one order: epochs, approval, fields.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from enum import StrEnum

from pydantic import Field
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.core.actions import Action, ActionKind
from watchkeeper.core.claims import MAX_CLAIM_S, EffectPhase, EpochSeen, authority_scopes
from watchkeeper.core.decisions import DecisionRecord, Verdict
from watchkeeper.core.digest import digest_of
from watchkeeper.core.errors import RefusedError
from watchkeeper.core.ids import ActionKey, ApprovalId, OrderId
from watchkeeper.core.model import Contract
from watchkeeper.core.plans import Plan
from watchkeeper.core.sli import Sli, SliReading, SliStatus
from watchkeeper.policies import rows
from watchkeeper.policies.approval import binding
from watchkeeper.policies.claiming.counted import counts, no_longer_within
from watchkeeper.policies.claiming.hours import closed_since
from watchkeeper.policies.compile import Policy
from watchkeeper.policies.revocation import stops
from watchkeeper.policies.tables import effect_claim, owned_field

BREACH_MAX_AGE = timedelta(seconds=5)
CLOCK_TOLERANCE = timedelta(seconds=5)
"""How far the clocks of two replicas may differ, and how far one may step back, before claims are refused."""

ActivePolicy = Callable[[AsyncConnection, str], Awaitable[Policy | None]]
"""The policy of this version, if it is the one in force."""
"""Reads the policy in force in the claim's transaction."""


class Refusal(StrEnum):
    STOPPED = "stopped"
    EPOCH_MOVED = "epoch_moved"
    EPOCHS_INCOMPLETE = "epochs_incomplete"
    NOT_ALLOWED = "not_allowed"
    PLAN_MISMATCH = "plan_mismatch"
    OUT_OF_BOUNDS = "out_of_bounds"
    POLICY_CHANGED = "policy_changed"
    APPROVAL_MISSING = "approval_missing"
    APPROVAL_OTHER_PLAN = "approval_other_plan"
    APPROVAL_NOT_GIVEN = "approval_not_given"
    APPROVAL_USED = "approval_used"
    APPROVAL_UNRECORDED = "approval_unrecorded"
    APPROVAL_EXPIRED = "approval_expired"
    MOOT = "moot"
    BREACH_UNKNOWN = "breach_unknown"
    BREACH_STALE = "breach_stale"
    CONFLICT_IN_FORCE = "conflict_in_force"
    TARGET_BUSY = "target_busy"
    CAP_REACHED = "cap_reached"
    OUTSIDE_WINDOW = "outside_window"
    FROZEN = "frozen"
    CLOCK_STEPPED_BACK = "clock_stepped_back"


class ClaimRequest(Contract):
    """Asks for the right to one effect. `n` tells repetitions of a phase apart: re-applications after a relapse, the
    steps of a release. `epochs` were read before the decision was made; for release and undo they may be read anew.
    `order`: the person's order that this undo obeys, with a count of its own, whatever was tried before."""

    plan: Plan
    step: int = Field(ge=0)
    phase: EffectPhase
    n: int = Field(default=0, ge=0)
    record: DecisionRecord
    epochs: tuple[EpochSeen, ...]
    approval: ApprovalId | None = None
    order: OrderId | None = None
    breach: SliReading | None = None
    """A reading of `plan.basis.breach`, needed to apply."""
    holder: str = Field(min_length=1, max_length=128)
    valid_s: float = Field(default=MAX_CLAIM_S, gt=0)

    @property
    def key(self) -> ActionKey:
        return action_key(self.plan, self.step, self.phase, self.n, self.order)

    @property
    def action(self) -> Action:
        return self.plan.actions[self.step]


def action_key(plan: Plan, step: int, phase: EffectPhase, n: int = 0, order: OrderId | None = None) -> ActionKey:
    """One effect, one key: whoever asks for the same repetition of the same phase of the same step."""
    return ActionKey(f"{plan.id}/{step}/{phase}" + (f"/{order}" if order else "") + (f"/{n}" if n else ""))


async def authorise(
    tx: AsyncConnection, request: ClaimRequest, active: ActivePolicy, now: datetime, *, in_line: bool
) -> None:
    """Raises `RefusedError` unless the effect may be sent now. Comes in a statement after the shared gate, and after
    `line_up` if that found something to count (`in_line`)."""
    await not_forbidden(tx, request, now)
    await granted(tx, request, active, now, in_line=in_line)


async def not_forbidden(tx: AsyncConnection, request: ClaimRequest, now: datetime) -> None:
    """The first half, a stop among it. It writes nothing: after its `RefusedError` the transaction can go on."""
    _plan_is_the_decided_one(request)
    _within_the_plans_bounds(request)
    _epochs_cover(request)
    await _not_stopped(tx, request)
    await _clock_runs_forward(tx, now)


async def granted(
    tx: AsyncConnection, request: ClaimRequest, active: ActivePolicy, now: datetime, *, in_line: bool
) -> None:
    """The second half: it uses up the approval and reserves the fields, so a `RefusedError` must undo all of it."""
    if request.record.decision.verdict is Verdict.REQUIRE_APPROVAL:
        await binding.use(tx, request.approval, request.plan, request.key, now)
    if request.phase is EffectPhase.APPLY:
        policy = await _policy_unchanged(tx, request, active, in_line=in_line)
        _still_breached(request, now)
        await _still_in_time(tx, request, policy, now)
        await _caps_still_hold(tx, request, policy, now)
        await _reserve_fields(tx, request)


def refused(what: str, reason: Refusal, *, cause: str = "", next_step: str = "") -> RefusedError:
    return RefusedError(what, reason=reason.value, cause=cause, next_step=next_step or "watchkeeper incidents")


def _plan_is_the_decided_one(request: ClaimRequest) -> None:
    decided, decision, plan = request.record.input, request.record.decision, request.plan
    same = (
        decided.plan == plan.id
        and decided.incident == plan.incident
        and decided.plan_hash == plan.plan_hash
        and decided.scope == plan.scope
        and decided.agent == plan.remediator
        and decision.input_digest == digest_of(decided)
    )
    if not same:
        raise refused("the decision is about another plan", Refusal.PLAN_MISMATCH, cause="the plan has changed since")
    if decision.verdict not in (Verdict.ALLOW, Verdict.REQUIRE_APPROVAL):
        raise refused(f"policy said {decision.verdict}", Refusal.NOT_ALLOWED)


def _within_the_plans_bounds(request: ClaimRequest) -> None:
    plan = request.plan
    relapses = plan.release.max_relapses if plan.release else 0
    most = {
        EffectPhase.APPLY: relapses,
        EffectPhase.RELEASE: len(plan.release.steps) * (relapses + 1) if plan.release else -1,
        EffectPhase.UNDO: relapses + 1,
    }
    ordered = request.order is None or request.phase is EffectPhase.UNDO
    known = request.step < min(len(plan.actions), len(plan.changes))
    if not known or not ordered or request.n > most[request.phase]:
        raise refused(
            f"{request.key} is outside what the plan declares", Refusal.OUT_OF_BOUNDS, cause="too many repetitions"
        )


def _epochs_cover(request: ClaimRequest) -> None:
    needed = authority_scopes(request.plan, request.action)
    missing = set(needed) - {epoch.scope for epoch in request.epochs}
    if missing:
        raise refused(f"the epoch of {min(missing)} was not read", Refusal.EPOCHS_INCOMPLETE)


async def _not_stopped(tx: AsyncConnection, request: ClaimRequest) -> None:
    passes = await stops.passes(tx, request.order, request.plan.id, request.step)
    why = await rows.stopped_or_moved(tx, request.epochs, lock=True, passes=passes)
    if why is not None:
        scope, reason = why
        raise refused(
            f"{scope} was stopped" + ("" if reason == Refusal.STOPPED else " since the decision was made"),
            Refusal(reason),
            cause="a person took the authority away",
            next_step="watchkeeper status",
        )


async def _clock_runs_forward(tx: AsyncConnection, now: datetime) -> None:
    latest = (await tx.execute(select(func.max(effect_claim.c.taken, type_=effect_claim.c.taken.type)))).scalar_one()
    if latest is not None and latest > now + CLOCK_TOLERANCE:
        raise refused(
            "the clock is behind the newest claim", Refusal.CLOCK_STEPPED_BACK, cause="wall time stepped back"
        )


async def _policy_unchanged(
    tx: AsyncConnection, request: ClaimRequest, active: ActivePolicy, *, in_line: bool
) -> Policy:
    """A policy that counts, but did not when the claim might have lined up, was away for a moment."""
    policy = await active(tx, request.record.decision.policy_version)
    if policy is None or (counts(policy, request.record) and not in_line):
        raise refused(
            "the policy has changed since the decision", Refusal.POLICY_CHANGED, cause="a new version is active"
        )
    return policy


async def _still_in_time(tx: AsyncConnection, request: ClaimRequest, policy: Policy, now: datetime) -> None:
    closed = await closed_since(tx, policy, request.plan, request.record, request.key, now)
    if closed is not None:
        raise refused(
            f"the time for it is over: {closed.node} says {closed.reason}",
            Refusal(closed.reason.value),
            cause="a window closed, or a freeze began, between decision and claim",
        )


async def _caps_still_hold(tx: AsyncConnection, request: ClaimRequest, policy: Policy, now: datetime) -> None:
    over = await no_longer_within(tx, policy, request.plan, request.record, now)
    if over is not None:
        raise refused(
            f"others have acted since the decision: {over.reason}, {over.observed} where {over.node} says {over.limit}",
            Refusal.CAP_REACHED,
            cause="a cap that counts what other plans do was reached between decision and claim",
        )


def _reads(read: Sli, declared: Sli) -> bool:
    """The declared indicator, over no more than its window."""
    return read.window_s <= declared.window_s and read.model_copy(update={"window_s": declared.window_s}) == declared


def _still_breached(request: ClaimRequest, now: datetime) -> None:
    reading = request.breach
    if reading is None or not _reads(reading.sli, request.plan.basis.breach):
        raise refused("the breach was not read again", Refusal.BREACH_UNKNOWN)
    if abs(now - reading.at) > BREACH_MAX_AGE:
        raise refused("the breach was read too long ago", Refusal.BREACH_STALE)
    if reading.status is SliStatus.MET:
        raise refused("the trouble is gone by itself", Refusal.MOOT)
    if reading.status is SliStatus.INCONCLUSIVE:
        raise refused("the breach cannot be read now", Refusal.BREACH_UNKNOWN, cause="too little traffic, or no data")


async def _reserve_fields(tx: AsyncConnection, request: ClaimRequest) -> None:
    """Marks the fields as this plan's before they are changed; two plans never own one field.

    What restores itself or cannot be given back is not held afterwards: it may not touch what others hold, no more.
    """
    target = str(request.action.target)
    paths = sorted({change.path for change in request.plan.changes[request.step].fields})
    if not paths:
        return
    owner = {"incident": request.plan.incident, "plan": request.plan.id, "step": request.step}
    values = [{"target": target, "path": path, **owner} for path in paths]
    if request.action.kind is ActionKind.REVERSIBLE:
        await tx.execute(rows.insert_or_ignore(tx)(owned_field).on_conflict_do_nothing(), values)
    query = select(owned_field.c.path, owned_field.c.incident).where(
        owned_field.c.target == target, owned_field.c.path.in_(paths), owned_field.c.plan != request.plan.id
    )
    other = (await tx.execute(query.order_by(owned_field.c.path))).first()
    if other is not None:
        raise refused(f"{other.path} of {target} is held by a remedy of {other.incident}", Refusal.CONFLICT_IN_FORCE)
