"""Grants for tests: one runbook's intents on some kinds of targets, alone or with a person's approval."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any


def grant(
    runbook: str,
    intents: Sequence[str],
    kinds: Sequence[str],
    *,
    environment: str,
    service: str = "chat",
    approvers: Sequence[str] = (),
    ttl: str | None = None,
) -> dict[str, Any]:
    """Acts alone (`bounded`), unless `approvers` are named: then any of these roles is asked. `ttl` caps the remedy."""
    match = {
        "environments": [environment],
        "services": [service],
        "agents": ["remediator/litellm"],
        "runbooks": [runbook],
        "intents": list(intents),
        "targetKinds": list(kinds),
    }
    spec: dict[str, Any] = {"match": match, "autonomy": "propose" if approvers else "bounded"}
    if approvers:
        spec["approvals"] = [{"roles": list(approvers), "ttl": "10m"}]
    if ttl is not None:
        spec["caps"] = {"ttl": ttl}
    head = {"apiVersion": "watchkeeper.dev/v1", "kind": "Grant", "metadata": {"name": f"test-{runbook}"}}
    return {**head, "spec": spec}


def policy(*grants: dict[str, Any]) -> str:
    """The text of a policy file. JSON is YAML too."""
    return "\n---\n".join(json.dumps(each, indent=2) for each in grants) + "\n"
