"""Replay: findings, diagnoses and decisions made again from what was recorded."""

from __future__ import annotations

from fastapi import APIRouter

from watchkeeper.agents import recompute
from watchkeeper.api.auth import Viewer, Wired
from watchkeeper.core.entries import EntryType
from watchkeeper.core.errors import NotFoundError
from watchkeeper.ledger.replays.replay import Recomputers, ReplayReport, replay_log
from watchkeeper.policies.compile import Policy
from watchkeeper.policies.replay.decisions import decision_recomputer
from watchkeeper.policies.versions import PolicyVersions

router = APIRouter(tags=["ledger"])


@router.post("/v1/ledger/replay")
async def replay(wired: Wired, caller: Viewer, decisions: bool = True) -> ReplayReport:
    """Makes every recorded decision again from its recorded input, and every finding and diagnosis from its recorded
    basis, and compares byte for byte. Without `decisions`: what needs evidence alone, which no export holds."""
    kinds = () if decisions else recompute.FROM_EVIDENCE
    return await replay_log(wired.log.iterate(types=kinds), await recomputers(wired.versions), wired.evidence.get)


async def recomputers(versions: PolicyVersions) -> Recomputers:
    """Every kind of entry that can be made again, with all policies that were ever active."""
    policies = await versions.every()

    def load(version: str) -> Policy:
        if version not in policies:
            raise NotFoundError(
                f"the policy version {version[:80]} is not kept", next_step="watchkeeper policy history"
            )
        return policies[version]

    known = Recomputers()
    known.register(EntryType.DECISION, decision_recomputer(load))
    recompute.register(known)
    return known
