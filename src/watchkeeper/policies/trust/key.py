"""What trust is kept for. Whether there is such an agent, runbook or service it does not say."""

from __future__ import annotations

from watchkeeper.core.actions import Intent
from watchkeeper.core.model import Contract
from watchkeeper.core.subjects import Scope


class TrustKey(Contract):
    """(agent, action, scope), where the action is (runbook, intent). Another digest is another record."""

    agent: str
    manifest_digest: str
    runbook: str
    intent: Intent
    scope: Scope
