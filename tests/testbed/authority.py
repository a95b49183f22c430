"""Plans, decisions and claim requests for tests of authority, and the services that answer them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.core.actions import Action, ActionKind, Change, FieldChange, Intent, Target
from watchkeeper.core.claims import Claim, EffectPhase, EpochSeen, authority_scopes
from watchkeeper.core.clock import Clock, ManualClock
from watchkeeper.core.consents import ApprovalAnswer
from watchkeeper.core.decisions import ApprovalTerms, Autonomy, Decision, DecisionInput, DecisionRecord, Verdict
from watchkeeper.core.digest import digest_of
from watchkeeper.core.entries import EntryType, Envelope
from watchkeeper.core.findings import FailureMode, Severity
from watchkeeper.core.ids import ApprovalId, DecisionId, IncidentId, PlanId, RemedyId
from watchkeeper.core.model import Contract
from watchkeeper.core.plans import Basis, Plan, Release, RunbookRef, Verification
from watchkeeper.core.principals import Principal, PrincipalKind, Role
from watchkeeper.core.remedies import Remedy, RemedyStatus
from watchkeeper.core.sli import Comparison, Measure, Sli, SliReading, SliStatus
from watchkeeper.core.subjects import Scope, Subject, SubjectKind
from watchkeeper.ledger.append import Ledger
from watchkeeper.ledger.tables import ledger_staged
from watchkeeper.policies.approval.approvals import Approvals, draft
from watchkeeper.policies.approval.edits import Edits
from watchkeeper.policies.claiming.claims import ClaimRequest, Claims, Taken
from watchkeeper.policies.compile import Policy, compile_policy
from watchkeeper.policies.facts import Facts
from watchkeeper.policies.load import PolicySet
from watchkeeper.policies.remedies import Remedies
from watchkeeper.policies.revocation.epochs import Epochs
from watchkeeper.policies.revocation.stops import StopOrders
from watchkeeper.policies.trust.service import Trust
from watchkeeper.store.engine import Store

AGENT = "remediator/litellm"
VERSION = "sha256:policy"
NO_CAPS = compile_policy(PolicySet(()))
START = datetime(2026, 1, 1, tzinfo=UTC)
BREACH = Sli(
    measure=Measure.CALLS_PER_MIN,
    subject=Subject(kind=SubjectKind.KEY, id="k1"),
    op=Comparison.AT_MOST,
    threshold=60,
    window_s=60,
)


def a_person(name: str = "ann", *roles: Role, kind: PrincipalKind = PrincipalKind.PERSON) -> Principal:
    return Principal(id=name, kind=kind, roles=roles, authenticated_by="token")


def an_operator(name: str = "olga") -> Principal:
    return a_person(name, Role.OPERATOR)


def a_change(key: str = "k1", path: str = "rpm_limit") -> Change:
    target = Target(adapter="litellm:main", kind="key", id=key)
    return Change(target=target, intent=Intent.THROTTLE, fields=(FieldChange(path=path, before=None, after=10),))


def a_plan(name: str = "pln_1", incident: str = "inc_1", changes: Sequence[Change] = (), **fields: Any) -> Plan:
    """One throttled key, two relapses allowed, unless told otherwise."""
    made = tuple(changes) or (a_change(),)
    actions = tuple(
        Action(step=step, intent=change.intent, kind=ActionKind.REVERSIBLE, target=change.target)
        for step, change in enumerate(made)
    )
    plan = Plan(
        id=PlanId(name),
        incident=IncidentId(incident),
        runbook=RunbookRef(name="throttle-runaway-caller", digest="sha256:rb"),
        remediator=AGENT,
        manifest_digest="sha256:m",
        scope=Scope(environment="prod", service="chat"),
        made=START,
        basis=Basis(
            mode=FailureMode.RUNAWAY_LOOP,
            cause=BREACH.subject,
            confidence=0.9,
            novel=False,
            edges=(),
            signs=(),
            severity=Severity.CRITICAL,
            findings=(),
            breach=BREACH,
        ),
        actions=actions,
        changes=made,
        verification=Verification(sli=BREACH, horizons_s=(60,)),
        release=Release(hold_s=60, steps=(0.5, 1), watch_s=60, max_relapses=2),
        remedy_ttl_s=3600,
    )
    return plan.model_copy(update=fields)


def a_record(
    plan: Plan, verdict: Verdict = Verdict.ALLOW, terms: tuple[ApprovalTerms, ...] = (), version: str = VERSION
) -> DecisionRecord:
    given = DecisionInput(
        incident=plan.incident,
        plan=plan.id,
        plan_hash=plan.plan_hash,
        runbook=plan.runbook.name,
        agent=AGENT,
        manifest_digest=plan.manifest_digest,
        scope=plan.scope,
        mode=plan.basis.mode,
        severity=plan.basis.severity,
        confidence=0.9,
        novel=False,
        edge_proven=True,
        signs=(),
        requests=(),
        at=START,
    )
    decision = Decision(
        verdict=verdict,
        autonomy=Autonomy.BOUNDED,
        policy_version=version,
        input_digest=digest_of(given),
        walk=(),
        approvals=terms,
    )
    return DecisionRecord(id=DecisionId(f"dec_{plan.id}"), input=given, decision=decision)


def a_reading(now: datetime, status: SliStatus = SliStatus.BREACHED, sli: Sli = BREACH) -> SliReading:
    return SliReading(sli=sli, at=now, status=status, value=900.0, events=900)


def scopes_of(plan: Plan, step: int = 0) -> tuple[str, ...]:
    return authority_scopes(plan, plan.actions[step])


def a_remedy(plan: Plan, now: datetime, step: int = 0) -> Remedy:
    return Remedy(
        id=RemedyId(f"rem_{plan.id}_{step}"),
        incident=plan.incident,
        plan=plan.id,
        step=step,
        holder=AGENT,
        change=plan.changes[step],
        since=now,
        expires=now + timedelta(seconds=plan.remedy_ttl_s),
        status=RemedyStatus.IN_FORCE,
    )


@dataclass
class Authority:
    """Every service of authority on one store; `policy`, under the name `version`, is what is active."""

    store: Store
    clock: Clock = field(default_factory=ManualClock)
    version: str | None = VERSION
    policy: Policy = NO_CAPS
    writer: str = "w"

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.store, self.clock, source="test", writer=self.writer)
        self.epochs = Epochs(self.store, self.ledger, self.clock)
        self.approvals = Approvals(self.store, self.ledger, self.clock)
        self.claims = Claims(self.store, self.ledger, self.clock, self._active, grace_s=2)
        self.edits = Edits(self.store, self.ledger, self.approvals, self.clock)
        self.stops = StopOrders(self.store)
        self.remedies = Remedies(self.store, self.ledger)
        self.facts = Facts(self.store)
        self.trust = Trust(self.store, self.ledger, self.clock)

    async def _active(self, tx: AsyncConnection, version: str) -> Policy | None:
        return replace(self.policy, version=version) if version == self.version else None

    async def request(self, plan: Plan, **changes: Any) -> ClaimRequest:
        """What the executor would ask for now: epochs as they are, the breach read this moment."""
        step = changes.get("step", 0)
        seen: tuple[EpochSeen, ...] = await self.epochs.seen(scopes_of(plan, step))
        given = ClaimRequest(
            plan=plan,
            step=0,
            phase=EffectPhase.APPLY,
            record=a_record(plan),
            epochs=seen,
            breach=a_reading(self.clock.now()),
            holder="w1",
        )
        return given.model_copy(update=changes)

    async def taken(self, plan: Plan, **changes: Any) -> Claim:
        """A fresh claim, which must not be refused."""
        result = await self.claims.take(await self.request(plan, **changes))
        assert isinstance(result, Taken), result
        assert result.fresh
        return result.claim

    async def approved(self, plan: Plan, record: DecisionRecord, *people: Principal) -> ApprovalId:
        async with self.store.write() as tx:
            asked = await self.approvals.request(tx, draft(plan, record, self.clock.now(), 600))
        for person in people:
            await self.approvals.answer(asked, ApprovalAnswer.APPROVED, person, "api")
        return asked


async def entries(store: Store, *types: EntryType) -> list[Contract]:
    """The ledger's entries of these types (all, if none is named), in the order in which they were appended."""
    async with store.read() as tx:
        found = (await tx.execute(select(ledger_staged.c.body).order_by(ledger_staged.c.id))).all()
    envelopes = [Envelope.model_validate_json(row.body) for row in found]
    return [envelope.typed() for envelope in envelopes if not types or EntryType(envelope.type) in types]
