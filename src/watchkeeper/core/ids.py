"""Opaque identifiers: a short prefix that tells the kind, then a UUIDv7-like value that sorts by time.

Ids are unique, not secret; never use one as a credential.
"""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import NewType

IncidentId = NewType("IncidentId", str)
FindingId = NewType("FindingId", str)
DiagnosisId = NewType("DiagnosisId", str)
PlanId = NewType("PlanId", str)
DecisionId = NewType("DecisionId", str)
ApprovalId = NewType("ApprovalId", str)
ClaimId = NewType("ClaimId", str)
RemedyId = NewType("RemedyId", str)
OrderId = NewType("OrderId", str)
EntryId = NewType("EntryId", str)
ActionKey = NewType("ActionKey", str)
"""The idempotency key of one effect: `<plan id>/<step>/<apply|undo|release>[/<order id>][/<n>]`."""


def new_ids(prefix: str, now: datetime, count: int) -> list[str]:
    """So many of one moment."""
    begin, drawn = f"{prefix}_{int(now.timestamp() * 1000):012x}", secrets.token_hex(8 * count)
    return [begin + drawn[at : at + 16] for at in range(0, len(drawn), 16)]


def new_id(prefix: str, now: datetime) -> str:
    """`prefix_` + 12 hex digits of milliseconds + 16 random hex digits; time-sortable within a prefix."""
    return new_ids(prefix, now, 1)[0]
