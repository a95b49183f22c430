"""A person's word on a plan: to read what waits, to answer one or several, to edit one."""

from __future__ import annotations

from functools import partial
from typing import Literal

from fastapi import APIRouter
from pydantic import Field

from watchkeeper.api.approvals import ApprovalView, view
from watchkeeper.api.auth import Known, Viewer, Wired
from watchkeeper.api.errors import Problem
from watchkeeper.api.services import Services
from watchkeeper.core.consents import ApprovalAnswer, PlanEdit
from watchkeeper.core.errors import WatchkeeperError
from watchkeeper.core.evidence import EvidenceKind, EvidenceRef
from watchkeeper.core.ids import ApprovalId, PlanId
from watchkeeper.core.model import Contract
from watchkeeper.core.principals import Principal
from watchkeeper.policies.approval.approvals import ApprovalState
from watchkeeper.policies.approval.quorum import Panel
from watchkeeper.policies.messages import Messages

router = APIRouter(tags=["approvals"])

MOST = 20


class Answer(Contract):
    """`via` says how the person answered, for the record; `plan_hash` which plan was read: the answer to another is
    refused."""

    answer: Literal["approved", "rejected"]
    plan_hash: str | None = Field(default=None, max_length=80)
    comment: str = Field(default="", max_length=2000)
    via: str = Field(default="api", max_length=32, pattern=r"^[a-z0-9-]+$")


class Read(Contract):
    """A plan that was read, by its hash, and the approval that asks about it."""

    approval: ApprovalId = Field(max_length=64, pattern=r"^[!-~]+$")
    plan_hash: str = Field(max_length=80)


class Answers(Contract):
    """One answer to several plans, each listed by its hash."""

    answer: Literal["approved", "rejected"]
    plans: tuple[Read, ...] = Field(min_length=1, max_length=MOST)
    comment: str = Field(default="", max_length=2000)
    via: str = Field(default="api", max_length=32, pattern=r"^[a-z0-9-]+$")


class Answered(Contract):
    """What became of one of them; `problem` says why the answer did not count for it."""

    approval: ApprovalId
    state: ApprovalState | None = None
    problem: Problem | None = None


class Edit(Contract):
    """Parameters to set; `plan_hash` is that of the plan which was read."""

    edits: tuple[PlanEdit, ...] = Field(min_length=1, max_length=MOST)
    plan_hash: str | None = Field(default=None, max_length=80)
    comment: str = Field(default="", max_length=2000)


class Edited(Contract):
    """The plan that takes the place of the old one. Who may approve it is asked when it is decided."""

    plan: PlanId
    plan_hash: str
    authors: tuple[str, ...]


@router.get("/v1/approvals")
async def approvals(wired: Wired, caller: Viewer) -> list[ApprovalView]:
    """What waits for a person, oldest first."""
    messages = Messages(wired.versions)
    return [await view(wired.store, waiting, messages) for waiting in await wired.approvals.pending()]


@router.post("/v1/approvals")
async def answers(given: Answers, wired: Wired, caller: Known) -> list[Answered]:
    """One person's answer to several plans. Each is bound on its own: one that is refused holds up no other."""
    return [await _one_of(wired, each, given, caller) for each in given.plans]


@router.get("/v1/approvals/{approval}")
async def approval(approval: ApprovalId, wired: Wired, caller: Viewer) -> ApprovalView:
    return await view(wired.store, await wired.approvals.get(approval), Messages(wired.versions))


@router.post("/v1/approvals/{approval}")
async def answer(approval: ApprovalId, given: Answer, wired: Wired, caller: Known) -> ApprovalView:
    """One person's answer, who holds a role that the approval's own terms name. It binds its plan hash, once."""
    await _answer(wired, approval, given, caller)
    return await view(wired.store, await wired.approvals.get(approval), Messages(wired.versions))


@router.post("/v1/approvals/{approval}/edit", status_code=202)
async def edit(approval: ApprovalId, given: Edit, wired: Wired, caller: Known) -> Edited:
    """Makes another plan of the one that waits, within its runbook's bounds. The old one can no longer be approved; the
    new one is decided anew and asked about anew."""
    made = await wired.editing.edit(approval, given.edits, caller, given.comment, given.plan_hash)
    return Edited(plan=made.id, plan_hash=made.plan_hash, authors=made.authors)


async def _answer(wired: Services, approval: ApprovalId, given: Answer, caller: Principal) -> ApprovalState:
    waiting = await wired.approvals.get(approval)
    said = ApprovalAnswer(given.answer)
    Panel(waiting.request, waiting.reached).may_answer(caller, said)
    comment = await _kept(wired, given.comment)
    wake = partial(wired.incidents.wake, incident=waiting.request.incident)
    return await wired.approvals.answer(
        approval, said, caller, via=given.via, comment=comment, plan_hash=given.plan_hash, first=wake
    )


async def _one_of(wired: Services, plan: Read, given: Answers, caller: Principal) -> Answered:
    one = Answer(answer=given.answer, plan_hash=plan.plan_hash, comment=given.comment, via=given.via)
    try:
        return Answered(approval=plan.approval, state=await _answer(wired, plan.approval, one, caller))
    except WatchkeeperError as error:
        if error.http_status >= 500:
            raise
        return Answered(approval=plan.approval, problem=Problem.of(error))


async def _kept(wired: Services, comment: str) -> EvidenceRef | None:
    """Free text is evidence, never part of a ledger entry."""
    if not comment:
        return None
    async with wired.store.write() as tx:
        return await wired.evidence.put(tx, EvidenceKind.COMMENT, comment.encode(), "text/plain")
