"""The virtual key that LiteLLM's capabilities need: the proxy_admin role, and of its routes only these."""

from __future__ import annotations

import json
from collections.abc import Collection

from watchkeeper.adapters.contract import Capability
from watchkeeper.adapters.grants import Grant

READS = ("/health/readiness", "/key/list", "/team/list", "/model/info", "/router/settings")
"""Inventory, population, and where a setting comes from: every capability needs these."""


def grants(capabilities: Collection[Capability]) -> tuple[Grant, ...]:
    routes = sorted({*READS, *(route for each in capabilities for route in each.permissions)})
    text = json.dumps({"key_alias": "watchkeeper", "user_role": "proxy_admin", "allowed_routes": routes}, indent=2)
    how = "POST it to /key/generate for a user with the proxy_admin role; LiteLLM has no narrower role for these routes"
    return (Grant("LiteLLM key", text + "\n", how),)
