"""What the gateway's errors mean to whoever must act on them."""

from __future__ import annotations

from watchkeeper.adapters.dialect import Dialect

LITELLM = Dialect(
    what="the gateway",
    probe="try GET /health/readiness on the gateway by hand",
    hints={
        401: (
            "the gateway does not know the admin key of NAME",
            "set admin_key of NAME in the settings",
        ),
        403: ("the admin key of NAME may not do this", "give it a key with the proxy_admin role"),
        404: ("it does not exist there, or not any more", "watchkeeper incidents: the target may be gone"),
        405: ("something before the gateway blocks this method", "let the daemon reach the gateway's admin API"),
        409: ("somebody else changed it at the same time", "the plan is made again by itself"),
        422: ("the gateway does not take one of the values", "look at the runbook's parameters"),
        429: ("the gateway, or a proxy before it, limits admin calls", "wait; the daemon tries again by itself"),
    },
)
