"""A person's word about an agent or a service: who may give it, and the reason that goes with it.

The reason is kept as evidence, and can be erased; the ledger has its commitment alone. It says nothing of what the word
does: that is for whoever records it.
"""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.core.errors import ForbiddenError, InputError
from watchkeeper.core.evidence import EvidenceKind, EvidenceRef
from watchkeeper.core.principals import Principal, PrincipalKind, Role
from watchkeeper.ledger.evidence.store import Evidence

OURSELVES = Principal(id="watchkeeper", kind=PrincipalKind.DAEMON, roles=(), authenticated_by="internal")
"""Who takes authority back for what became of a plan."""
MAX_REASON_BYTES = 4096


def must_be_a_person(by: Principal, verb: str, about: str, *roles: Role) -> None:
    """Raises ForbiddenError unless `by` is a person with one of the roles."""
    if by.kind is PrincipalKind.PERSON and by.may(*roles):
        return
    raise ForbiddenError(
        f"{by.id} may not {verb}",
        cause=f"people say how far {about} goes; it takes a person with the role {' or '.join(roles)}",
        next_step=f"watchkeeper token create NAME --role {roles[-1]}",
    )


async def kept_reason(tx: AsyncConnection, evidence: Evidence, reason: str) -> EvidenceRef:
    """In the caller's transaction. Raises InputError for none, and for one that is too long."""
    body = reason.strip().encode()
    if not body or len(body) > MAX_REASON_BYTES:
        raise InputError(f"a reason of 1 to {MAX_REASON_BYTES} bytes is needed", next_step="say why with -m")
    return await evidence.put(tx, EvidenceKind.COMMENT, body, "text/plain")
