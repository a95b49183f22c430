"""Every system that there is an adapter for: what it can do, what that needs, and who makes it.

What the intent matrix, the lints and the permissions are generated from. No official client is imported here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from watchkeeper.adapters.azure.capabilities import CAPABILITIES as AZURE
from watchkeeper.adapters.azure.permissions import grants as azure_grants
from watchkeeper.adapters.contract import Capability
from watchkeeper.adapters.gcp.capabilities import CAPABILITIES as GCP
from watchkeeper.adapters.gcp.permissions import grants as gcp_grants
from watchkeeper.adapters.grants import Grant
from watchkeeper.adapters.kubernetes.capabilities import CAPABILITIES as KUBERNETES
from watchkeeper.adapters.kubernetes.permissions import grants as kubernetes_grants
from watchkeeper.adapters.litellm.capabilities import CAPABILITIES as LITELLM
from watchkeeper.adapters.litellm.permissions import grants as litellm_grants
from watchkeeper.core.actions import Intent
from watchkeeper.core.errors import NotFoundError, suggest


@dataclass(frozen=True)
class System:
    """`name` is what an adapter's name begins with. `grants` renders the least that these capabilities need."""

    name: str
    title: str
    capabilities: tuple[Capability, ...]
    grants: Callable[[Collection[Capability]], tuple[Grant, ...]]

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(each.target_kind for each in self.capabilities))

    def covering(self, intents: Collection[Intent], kinds: Collection[str]) -> tuple[Capability, ...]:
        """Those with one of `intents` on one of `kinds`; empty means all."""
        return tuple(
            each
            for each in self.capabilities
            if (not intents or each.intent in intents) and (not kinds or each.target_kind in kinds)
        )


SYSTEMS: tuple[System, ...] = (
    System("litellm", "LiteLLM proxy", LITELLM, litellm_grants),
    System("kubernetes", "Kubernetes", KUBERNETES, kubernetes_grants),
    System("gcp", "Google Cloud", GCP, gcp_grants),
    System("azure", "Azure", AZURE, azure_grants),
)


def system(name: str) -> System:
    """Raises NotFoundError."""
    known = {each.name: each for each in SYSTEMS}
    if name not in known:
        raise NotFoundError(
            f"there is no adapter for {name!r}{suggest(name, known)}", next_step="watchkeeper adapters matrix"
        )
    return known[name]


def capabilities() -> Iterable[Capability]:
    """Of all systems."""
    return (each for one in SYSTEMS for each in one.capabilities)
