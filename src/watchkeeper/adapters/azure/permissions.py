"""The custom role that a set of capabilities needs, and what a credential's own permissions allow. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection
from fnmatch import fnmatchcase

from pydantic import JsonValue

from watchkeeper.adapters.contract import Capability
from watchkeeper.adapters.grants import Grant

OWN = "Microsoft.Authorization/permissions/read"
"""By it the credential sees what it may do itself."""


def grants(capabilities: Collection[Capability]) -> tuple[Grant, ...]:
    names = sorted({name for each in capabilities for name in each.permissions})
    if not names:
        return ()
    role = {
        "Name": "Watchkeeper",
        "IsCustom": True,
        "Description": "What Watchkeeper may do, and no more",
        "Actions": [*names, OWN],
        "NotActions": [],
        "AssignableScopes": ["/subscriptions/SUBSCRIPTION/resourceGroups/GROUP"],
    }
    how = (
        "put in the scopes, then az role definition create --role-definition FILE, and az role assignment create "
        "--role Watchkeeper --assignee PRINCIPAL --scope SCOPE"
    )
    return (Grant("Azure custom role", json.dumps(role, indent=2) + "\n", how),)


def allowed(action: str, held: Collection[JsonValue]) -> bool:
    """`held`: the permissions at one scope; each is one role's, and what it excludes it excludes from itself only."""
    return any(
        _matches(action, each.get("actions")) and not _matches(action, each.get("notActions"))
        for each in held
        if isinstance(each, dict)
    )


def _matches(action: str, patterns: JsonValue) -> bool:
    found = patterns if isinstance(patterns, list) else []
    return any(isinstance(each, str) and fnmatchcase(action.lower(), each.lower()) for each in found)
