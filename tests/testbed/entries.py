"""One draft of every kind of ledger entry, with every field filled: what the golden files are made of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from watchkeeper.core.actions import Action, ActionKind, Change, FieldChange, Intent, Target
from watchkeeper.core.agents import StandingChanged, Why, Word
from watchkeeper.core.claims import Claim, EffectPhase, EpochSeen
from watchkeeper.core.consents import (
    ApprovalAnswer,
    ApprovalAnswered,
    ApprovalEscalated,
    ApprovalRequested,
    PlanEdit,
    PlanEdited,
)
from watchkeeper.core.decisions import (
    ActionRequest,
    ApprovalTerms,
    Autonomy,
    Decision,
    DecisionInput,
    DecisionRecord,
    Gate,
    GateResult,
    RateCount,
    Reason,
    Verdict,
)
from watchkeeper.core.diagnosis import Cause, Diagnosis
from watchkeeper.core.digest import digest_of, sha256
from watchkeeper.core.entries import (
    Archived,
    CallRecorded,
    ClaimRefused,
    DaemonStarted,
    Draft,
    EntriesPruned,
    EntryType,
    Escalated,
    Eviction,
    EvidenceErased,
    EvidencePruned,
    FindingRecorded,
    IncidentClosed,
    IncidentOpened,
    KeyRotated,
    OrderKind,
    OrderRecorded,
    PolicyActivated,
    RemedyRecorded,
    StopRecorded,
    WatchGap,
)
from watchkeeper.core.evidence import EvidenceKind, EvidenceRef
from watchkeeper.core.findings import Attribution, FailureMode, Finding, Observation, Severity, Sign
from watchkeeper.core.ids import (
    ActionKey,
    ApprovalId,
    ClaimId,
    DecisionId,
    DiagnosisId,
    FindingId,
    IncidentId,
    OrderId,
    PlanId,
    RemedyId,
)
from watchkeeper.core.model import Contract
from watchkeeper.core.outcomes import Effect, EffectOutcome, Outcome, Recovery
from watchkeeper.core.phases import Phase
from watchkeeper.core.plans import Basis, Plan, Release, RunbookRef, Verification
from watchkeeper.core.principals import Principal, PrincipalKind, Role
from watchkeeper.core.remedies import Remedy, RemedyStatus
from watchkeeper.core.rollout import (
    PhaseAsks,
    RolloutAdvanced,
    RolloutCriterion,
    RolloutJudged,
    RolloutSetBack,
    WhySetBack,
)
from watchkeeper.core.sli import Comparison, Measure, Sli, SliReading, SliStatus, SubjectSet
from watchkeeper.core.subjects import Edge, EdgeSource, Scope, Subject, SubjectKind
from watchkeeper.core.trust import Credit, Grounds, Origin, TrustOutcome

T0 = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
INCIDENT = IncidentId("inc_019b7c1d4e5f0011223344556677")
FINDING = FindingId("fnd_019b7c1d4e5f1011223344556677")
PLAN = PlanId("pln_019b7c1d4e5f2011223344556677")
DECISION = DecisionId("dec_019b7c1d4e5f3011223344556677")
APPROVAL = ApprovalId("apr_019b7c1d4e5f4011223344556677")
CLAIM = ClaimId("clm_019b7c1d4e5f5011223344556677")
REMEDY = RemedyId("rem_019b7c1d4e5f6011223344556677")
KEY = ActionKey(f"{PLAN}/0/apply")
POLICY = sha256(b"a policy")
SCOPE = Scope(environment="prod", service="chat")
CALLER = Subject(kind=SubjectKind.KEY, id="9f86d081884c7d65")
SYMPTOM = Subject(kind=SubjectKind.SERVICE, id="chat")
EDGE = Edge(source=SYMPTOM, target=CALLER, known_from=EdgeSource.CALL_ID, count=41)
TARGET = Target(adapter="litellm:main", kind="key", id=CALLER.id, labels=(("team", "assistants"),))
CHANGE = Change(target=TARGET, intent=Intent.THROTTLE, fields=(FieldChange(path="rpm_limit", before=None, after=30),))
PERSON = Principal(id="demo-operator", kind=PrincipalKind.PERSON, roles=(Role.APPROVER,), authenticated_by="token")
EPOCHS = (EpochSeen(scope="all", epoch=3), EpochSeen(scope=f"service:{SCOPE}", epoch=0))
TERMS = ApprovalTerms(node="grant/throttle", roles=("approver",), quorum=1, ttl_s=1800)


def _sli(measure: Measure = Measure.CALLS_PER_MIN, over: SubjectSet = SubjectSet.ONE) -> Sli:
    return Sli(
        measure=measure, subject=CALLER, over=over, op=Comparison.AT_MOST, threshold=62.5, window_s=60, min_events=5
    )


def _reading(status: SliStatus, value: float | None) -> SliReading:
    return SliReading(sli=_sli(), at=T0, status=status, value=value, events=40, estimated=False)


def _ref(kind: EvidenceKind) -> EvidenceRef:
    return EvidenceRef(kind=kind, commitment="hmac-sha256:" + sha256(kind.encode())[7:], size=321)


def _finding() -> Finding:
    return Finding(
        id=FINDING,
        detector="runaway",
        mode=FailureMode.RUNAWAY_LOOP,
        subject=CALLER,
        scope=SCOPE,
        severity=Severity.CRITICAL,
        onset=T0 - timedelta(seconds=90),
        detected=T0,
        observations=(
            Observation(sign=Sign.RATE_OVER_BASELINE, observed=412.25, expected=12.5, unit="calls/min"),
            Observation(sign=Sign.NO_TERMINATION, observed=1e21, expected=1e-7, unit="steps"),
        ),
        attribution=(Attribution(subject=CALLER, share=0.97),),
        edges=(EDGE,),
        evidence=(_ref(EvidenceKind.SPANS), _ref(EvidenceKind.SERIES)),
        estimated=True,
        state_digest=sha256(b"state"),
        code_digest=sha256(b"code"),
    )


def _diagnosis() -> Diagnosis:
    cause = Cause(
        mode=FailureMode.RUNAWAY_LOOP,
        subject=CALLER,
        confidence=0.93,
        signs=(Sign.RATE_OVER_BASELINE, Sign.CYCLE),
        path=(EDGE,),
        findings=(FINDING,),
        evidence=(_ref(EvidenceKind.CALLS),),
    )
    return Diagnosis(
        id=DiagnosisId("dia_019b7c1d4e5f7011223344556677"),
        incident=INCIDENT,
        diagnoser="rules",
        at=T0,
        causes=(cause,),
        novel=False,
        state_digest=sha256(b"state"),
        code_digest=sha256(b"code"),
    )


def a_plan() -> Plan:
    return Plan(
        id=PLAN,
        incident=INCIDENT,
        runbook=RunbookRef(name="throttle-runaway", digest=sha256(b"runbook")),
        remediator="remediator/litellm",
        manifest_digest=sha256(b"manifest"),
        scope=SCOPE,
        made=T0,
        basis=Basis(
            mode=FailureMode.RUNAWAY_LOOP,
            cause=CALLER,
            confidence=0.93,
            novel=False,
            edges=(EDGE,),
            signs=(Sign.RATE_OVER_BASELINE,),
            severity=Severity.CRITICAL,
            findings=(FINDING,),
            breach=_sli(),
        ),
        actions=(
            Action(
                step=0,
                intent=Intent.THROTTLE,
                kind=ActionKind.REVERSIBLE,
                target=TARGET,
                parameters=(("dry", False), ("factor", 0.5), ("reason", None), ("rpm", 30)),
            ),
        ),
        changes=(CHANGE,),
        verification=Verification(
            sli=_sli(), guards=(_sli(Measure.SUCCESS_RATIO, SubjectSet.OTHERS),), horizons_s=(30, 120.5)
        ),
        release=Release(hold_s=300, steps=(0.25, 0.5, 1), watch_s=60),
        remedy_ttl_s=3600,
    )


def a_decision() -> DecisionRecord:
    asked = DecisionInput(
        incident=INCIDENT,
        plan=PLAN,
        plan_hash=a_plan().plan_hash,
        runbook="throttle-runaway",
        agent="remediator/litellm",
        manifest_digest=sha256(b"manifest"),
        scope=SCOPE,
        mode=FailureMode.RUNAWAY_LOOP,
        severity=Severity.CRITICAL,
        confidence=0.93,
        novel=False,
        edge_proven=True,
        signs=(Sign.RATE_OVER_BASELINE,),
        requests=(
            ActionRequest(
                step=0,
                intent=Intent.THROTTLE,
                kind=ActionKind.REVERSIBLE,
                target=TARGET,
                blast_count=1,
                blast_population=12,
                undo_captured=True,
                verification_declared=True,
                seconds_since_last=86_400.5,
                running_on_target=0,
            ),
        ),
        rates=(RateCount(window_s=3600, count=1),),
        running_fleet=1,
        trust_lower_bound=None,
        conflicts=(),
        at=T0,
    )
    walk = (
        GateResult(gate=Gate.PROTECTED, node="core", passed=True, reason=Reason.PASSED),
        GateResult(
            gate=Gate.CONFIDENCE,
            node="limit/confidence",
            passed=True,
            reason=Reason.PASSED,
            step=0,
            observed=0.93,
            limit=0.8,
        ),
        GateResult(gate=Gate.APPROVAL, node="grant/throttle", passed=False, reason=Reason.APPROVAL_REQUIRED),
    )
    decision = Decision(
        verdict=Verdict.REQUIRE_APPROVAL,
        autonomy=Autonomy.PROPOSE,
        policy_version=POLICY,
        input_digest=digest_of(asked),
        walk=walk,
        approvals=(TERMS,),
        remedy_ttl_s=3600,
    )
    return DecisionRecord(id=DECISION, input=asked, decision=decision)


def _claim() -> Claim:
    return Claim(
        id=CLAIM,
        key=KEY,
        incident=INCIDENT,
        plan=PLAN,
        plan_hash=a_plan().plan_hash,
        step=0,
        phase=EffectPhase.APPLY,
        decision=DECISION,
        approval=APPROVAL,
        policy_version=POLICY,
        epochs=EPOCHS,
        holder="watchkeeper-0",
        fence=7,
        taken=T0,
        not_after=T0 + timedelta(seconds=5),
    )


def _remedy() -> Remedy:
    return Remedy(
        id=REMEDY,
        incident=INCIDENT,
        plan=PLAN,
        step=0,
        holder="remediator/litellm",
        change=CHANGE,
        since=T0,
        expires=T0 + timedelta(hours=1),
        status=RemedyStatus.RELEASING,
        given_back=0.25,
        relapses=1,
    )


def _before_the_plan() -> dict[EntryType, tuple[str, Contract]]:
    return {
        EntryType.STARTED: (
            "",
            DaemonStarted(
                version="0.1.0",
                settings_digest=sha256(b"settings"),
                policy_version=POLICY,
                log_origin="watchkeeper.local/log",
            ),
        ),
        EntryType.GAP: (
            "",
            WatchGap(since=T0, until=T0 + timedelta(seconds=9), reason="store_unavailable", signals_seen=77),
        ),
        EntryType.EVICTION: ("", Eviction(what="series", count=12, reason="capacity")),
        EntryType.POLICY_ACTIVATED: (
            "",
            PolicyActivated(
                version=POLICY,
                previous=None,
                documents=("grant/throttle", "limit/confidence"),
                by=PERSON,
                reason=_ref(EvidenceKind.COMMENT),
            ),
        ),
        EntryType.INCIDENT_OPENED: (
            INCIDENT,
            IncidentOpened(incident=INCIDENT, scope=SCOPE, fingerprint=_finding().fingerprint, opened=T0),
        ),
        EntryType.FINDING: (INCIDENT, FindingRecorded(incident=INCIDENT, finding=_finding())),
        EntryType.DIAGNOSIS: (INCIDENT, _diagnosis()),
    }


def _consent() -> dict[EntryType, tuple[str, Contract]]:
    plan_hash = a_plan().plan_hash
    return {
        EntryType.PLAN: (INCIDENT, a_plan()),
        EntryType.DECISION: (INCIDENT, a_decision()),
        EntryType.APPROVAL_REQUESTED: (
            INCIDENT,
            ApprovalRequested(
                approval=APPROVAL,
                incident=INCIDENT,
                plan=PLAN,
                plan_hash=plan_hash,
                decision=DECISION,
                terms=(TERMS,),
                expires=T0 + timedelta(minutes=30),
            ),
        ),
        EntryType.APPROVAL_ANSWERED: (
            INCIDENT,
            ApprovalAnswered(
                approval=APPROVAL,
                incident=INCIDENT,
                plan_hash=plan_hash,
                answer=ApprovalAnswer.APPROVED,
                by=PERSON,
                comment=_ref(EvidenceKind.COMMENT),
                via="terminal",
            ),
        ),
        EntryType.APPROVAL_ESCALATED: (
            INCIDENT,
            ApprovalEscalated(
                approval=APPROVAL,
                incident=INCIDENT,
                plan_hash=plan_hash,
                node="grant/throttle",
                term=0,
                step=1,
                roles=("operator",),
                notified=("pager",),
            ),
        ),
        EntryType.PLAN_EDITED: (
            INCIDENT,
            PlanEdited(
                approval=APPROVAL,
                incident=INCIDENT,
                plan=PLAN,
                plan_hash=plan_hash,
                becomes=PlanId("pln_019b7c1d4e5f2011223344556699"),
                becomes_hash=sha256(b"the edited plan"),
                edits=(PlanEdit(step=0, name="rpm_limit", value=60),),
                by=PERSON,
                comment=_ref(EvidenceKind.COMMENT),
            ),
        ),
    }


def _effects() -> dict[EntryType, tuple[str, Contract]]:
    refused = ClaimRefused(key=KEY, incident=INCIDENT, plan_hash=a_plan().plan_hash, reason="epoch_moved")
    call = CallRecorded(
        call="cal_019b7c1d4e5f8011223344556677",
        claim=CLAIM,
        incident=INCIDENT,
        adapter="litellm:main",
        operation="POST /key/update",
        request=_ref(EvidenceKind.REQUEST),
        reply=_ref(EvidenceKind.REPLY),
        status=200,
        result="ok",
        started=T0,
        duration_ms=18,
    )
    effect = EffectOutcome(claim=CLAIM, key=KEY, fence=7, effect=Effect.SUCCEEDED, code="http_200", at=T0)
    outcome = Outcome(
        incident=INCIDENT,
        plan=PLAN,
        recovery=Recovery.RECOVERED,
        horizon_s=120.5,
        sli=_reading(SliStatus.MET, 29.75),
        guards=(_reading(SliStatus.INCONCLUSIVE, None),),
        at=T0,
    )
    return {
        EntryType.CLAIM: (INCIDENT, _claim()),
        EntryType.CLAIM_REFUSED: (INCIDENT, refused),
        EntryType.CALL: (INCIDENT, call),
        EntryType.EFFECT: (INCIDENT, effect),
        EntryType.OUTCOME: (INCIDENT, outcome),
        EntryType.REMEDY: (INCIDENT, RemedyRecorded(remedy=_remedy(), change=CHANGE, reason="release_step")),
    }


def _ends() -> dict[EntryType, tuple[str, Contract]]:
    return {
        EntryType.ESCALATION: (
            INCIDENT,
            Escalated(
                incident=INCIDENT, reason="refused_epoch_moved", notified=("webhook:on-call",), half_done=(REMEDY,)
            ),
        ),
        EntryType.STOP: (
            "all",
            StopRecorded(scope="all", stopped=True, epoch=EPOCHS[0], by=PERSON, in_flight=(CLAIM,)),
        ),
        EntryType.INCIDENT_CLOSED: (INCIDENT, IncidentClosed(incident=INCIDENT, resolution="recovered")),
        EntryType.ORDER: (
            INCIDENT,
            OrderRecorded(
                order=OrderId("ord_019b7c1d4e5f8011223344556677"),
                incident=INCIDENT,
                kind=OrderKind.CLOSE,
                by=PERSON,
                comment=_ref(EvidenceKind.COMMENT),
            ),
        ),
    }


def _keeping() -> dict[EntryType, tuple[str, Contract]]:
    """What happens to the record itself."""
    archive = sha256(b"a manifest")
    vkey = "log.example.com/test+eaa83d14+AQ6qg9FA4U+cKa+5SEb/+gOPhfGQVYsSUxnPvE6zrkCi"
    return {
        EntryType.KEY_ROTATED: ("", KeyRotated(previous=vkey, following=vkey.replace("+eaa8", "+1234"))),
        EntryType.EVIDENCE_ERASED: (
            "",
            EvidenceErased(erased=(_ref(EvidenceKind.PROMPT),), by=PERSON, reason=_ref(EvidenceKind.COMMENT)),
        ),
        EntryType.EVIDENCE_PRUNED: (
            "",
            EvidencePruned(kind=EvidenceKind.REPLY, before=T0, count=12, size=4_096, digest=sha256(b"commitments")),
        ),
        EntryType.ARCHIVED: (
            "",
            Archived(
                first=0,
                end=512,
                size=600,
                root="47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
                place="s3://ledger-archive/prod",
                objects=9,
                digest=archive,
                locked_until=T0 + timedelta(days=2557),
            ),
        ),
        EntryType.ENTRIES_PRUNED: ("", EntriesPruned(first=0, end=512, archive=archive)),
    }


def _scored() -> dict[EntryType, tuple[str, Contract]]:
    outcome = TrustOutcome(
        agent="remediator/litellm",
        manifest_digest=sha256(b"modules"),
        runbook="throttle-runaway-caller",
        intent=Intent.THROTTLE,
        scope=SCOPE,
        incident=INCIDENT,
        plan=PLAN,
        step=0,
        origin=Origin.APPROVED,
        credit=Credit.SUCCESS,
        grounds=Grounds.RECOVERED,
        at=T0,
    )
    promoted = StandingChanged(
        word=Word.PROMOTED,
        agent=outcome.agent,
        manifest_digest=outcome.manifest_digest,
        runbook=outcome.runbook,
        intent=outcome.intent,
        scope=SCOPE,
        autonomy=Autonomy.BOUNDED,
        by=PERSON,
        why=Why.PERSON,
        reason=_ref(EvidenceKind.COMMENT),
        outcomes=31,
        lower_bound=0.907,
        at=T0,
    )
    return {
        EntryType.TRUST_OUTCOME: (INCIDENT, outcome),
        EntryType.AGENT_STANDING: (f"agent:{promoted.agent}", promoted),
        **_rollout(),
    }


def _rollout() -> dict[EntryType, tuple[str, Contract]]:
    advanced = RolloutAdvanced(
        scope=SCOPE,
        phase=Phase.PILOT,
        previous=Phase.TRIAGE,
        by=PERSON,
        at=T0,
        reason=_ref(EvidenceKind.COMMENT),
        evidence=(RolloutCriterion(name=PhaseAsks.ACCURACY, met=True, observed=0.95, required=0.9),),
    )
    set_back = RolloutSetBack(
        scope=SCOPE,
        phase=Phase.TRIAGE,
        previous=Phase.PILOT,
        by=PERSON,
        at=T0,
        why=WhySetBack.ROLLED_BACK,
        incident=INCIDENT,
        plan=PLAN,
        epoch=EpochSeen(scope=f"service:{SCOPE}", epoch=1),
    )
    judged = RolloutJudged(
        scope=SCOPE, incident=INCIDENT, right=True, by=PERSON, reason=_ref(EvidenceKind.COMMENT), at=T0
    )
    return {
        EntryType.ROLLOUT_ADVANCED: (f"service:{SCOPE}", advanced),
        EntryType.ROLLOUT_SET_BACK: (INCIDENT, set_back),
        EntryType.ROLLOUT_JUDGED: (INCIDENT, judged),
    }


def one_of_each() -> dict[EntryType, Draft]:
    """In the order in which an incident writes them."""
    parts = {**_before_the_plan(), **_consent(), **_effects(), **_ends(), **_keeping(), **_scored()}
    return {kind: Draft(type=kind, subject=subject, data=data) for kind, (subject, data) in parts.items()}
