"""What an action's end says of the specialist behind it: one outcome, and why it counts as it does.

An outcome is of one step of one plan. Of all that a plan has for one action the worst counts, so a failure that shows
later (a relapse, an undo) takes a success back. Nothing of it is ever changed.
"""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from watchkeeper.core.actions import Intent
from watchkeeper.core.ids import IncidentId, PlanId
from watchkeeper.core.model import Contract, Instant
from watchkeeper.core.subjects import Scope


class Origin(StrEnum):
    """Who let it be done. Edited plans are kept apart; in shadow nothing was done, so it is no verified outcome."""

    ALONE = "alone"
    APPROVED = "approved"
    EDITED = "edited"
    SHADOW = "shadow"


class Credit(StrEnum):
    SUCCESS = "success"
    FAILURE = "failure"
    NOTHING = "nothing"


class Grounds(StrEnum):
    """Why an outcome counts as it does."""

    RECOVERED = "recovered"
    NOT_RECOVERED = "not_recovered"
    UNSAFE = "unsafe"
    EFFECT_FAILED = "effect_failed"
    UNDONE = "undone"
    RELAPSED = "relapsed"
    RELAPSED_UNDER_REMEDY = "relapsed_under_remedy"
    INCONCLUSIVE = "inconclusive"
    MOOT = "moot"
    NOT_VERIFIED = "not_verified"


ROLLED_BACK = frozenset((Grounds.NOT_RECOVERED, Grounds.UNSAFE, Grounds.UNDONE, Grounds.RELAPSED_UNDER_REMEDY))
"""Failures whose way on is the undo."""


class TrustOutcome(Contract):
    """In shadow, `success` says that the trouble was over untreated, `failure` that it was not."""

    schema_name = "watchkeeper.dev/trust-outcome/v1"
    agent: str
    manifest_digest: str
    runbook: str
    intent: Intent
    scope: Scope
    incident: IncidentId
    plan: PlanId
    step: int = Field(ge=0)
    origin: Origin
    credit: Credit
    grounds: Grounds
    at: Instant
