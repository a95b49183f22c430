"""Who cosigns this log, and which of its checkpoints are cosigned enough."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import Field

from watchkeeper.api.auth import Viewer, Wired
from watchkeeper.core.model import Contract
from watchkeeper.ledger.cosigning.cosigned import WitnessReport
from watchkeeper.ledger.cosigning.quorum import MAX_BYTES, Policy
from watchkeeper.ledger.signing.note import VerifierKey

router = APIRouter(tags=["ledger"])


class PolicyText(Contract):
    """A C2SP tlog-policy, whole."""

    policy: str = Field(max_length=MAX_BYTES)


class ValidCheckpoint(Contract):
    """The newest checkpoint that the policy calls valid, with its cosignatures; null: there is none."""

    checkpoint: str | None


@router.get("/v1/ledger/witnesses")
async def witnesses(wired: Wired, caller: Viewer) -> WitnessReport:
    """Each configured witness: what it cosigned last, and whether the quorum is met."""
    return await wired.witnessing.report()


@router.post("/v1/ledger/cosigned")
async def cosigned(given: PolicyText, wired: Wired, caller: Viewer) -> ValidCheckpoint:
    """The newest checkpoint that this policy calls valid. Open it yourself: that is what the policy is for."""
    policy = Policy.from_text(given.policy, "policy")
    return ValidCheckpoint(checkpoint=await wired.log.cosigned(policy, [VerifierKey.from_vkey(wired.vkey)]))
