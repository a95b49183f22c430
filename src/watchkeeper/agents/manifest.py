"""What a specialist is made of: the digest over its own modules, so that trust starts again when they change.

It covers the source of the modules named here, not the packages they use; the package version is not part of it.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources

from watchkeeper.core.errors import NotFoundError, suggest

COST_SPIKE = "detector/token-cost"
RUNAWAY_LOOP = "detector/runaway-loop"
PROVIDER_OUTAGE = "detector/provider-outage"
ALERTS = "detector/alerts"
GATEWAY_DIAGNOSER = "diagnoser/gateway"
REMEDIATED = ("litellm", "kubernetes", "gcp", "azure")
"""The systems that there is an adapter for, each with a remediator of its own."""

_DETECTOR = "watchkeeper.agents.detector"
_DIAGNOSER = "watchkeeper.agents.diagnoser"
_REMEDIATOR = "watchkeeper.agents.remediator"
_RUNBOOKS = "watchkeeper.runbooks"
_ADAPTERS = "watchkeeper.adapters"
_COMMON = tuple((_DETECTOR, name) for name in ("config.py", "basis.py", "facts.py", "drafting.py", "clear.py"))


def _remediator(system: str) -> tuple[tuple[str, str], ...]:
    """How it plans and acts, and the whole adapter of what it acts on."""
    package = f"{_ADAPTERS}.{system}"
    own = sorted(each.name for each in resources.files(package).iterdir() if each.name.endswith(".py"))
    return (
        *((_REMEDIATOR, name) for name in ("plan.py", "world.py", "execute.py", "restored.py")),
        *((_RUNBOOKS, name) for name in ("resolve.py", "context.py")),
        *((_ADAPTERS, name) for name in ("base.py", "change.py", "flights.py", "parameters.py")),
        *((package, name) for name in own if name != "__init__.py"),
    )


MODULES: dict[str, tuple[tuple[str, str], ...]] = {
    COST_SPIKE: ((_DETECTOR, "token_cost.py"), (_DETECTOR, "baseline.py"), *_COMMON),
    RUNAWAY_LOOP: ((_DETECTOR, "runaway_loop.py"), *_COMMON),
    PROVIDER_OUTAGE: ((_DETECTOR, "provider_outage.py"), *_COMMON),
    ALERTS: ((_DETECTOR, "alerts.py"), *_COMMON),
    GATEWAY_DIAGNOSER: ((_DIAGNOSER, "gateway.py"), (_DIAGNOSER, "confidence.py"), (_DETECTOR, "correlate.py")),
    **{f"remediator/{system}": _remediator(system) for system in REMEDIATED},
}
"""(package, file) of each specialist's own modules."""


@cache
def manifest_digest(specialist: str) -> str:
    """`sha256:` over the names and bytes of the specialist's modules. Raises NotFoundError for an unknown one."""
    if specialist not in MODULES:
        raise NotFoundError(
            f'there is no specialist "{specialist}"{suggest(specialist, MODULES)}', next_step="watchkeeper agents list"
        )
    whole = hashlib.sha256()
    for package, name in sorted(MODULES[specialist]):
        body = resources.files(package).joinpath(name).read_bytes()
        whole.update(f"{package}/{name} {len(body)}\n".encode() + body)
    return "sha256:" + whole.hexdigest()
