"""The targets of the settings beside the gateways, and the adapters of both."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Self

from pydantic import model_validator

from watchkeeper.adapters.azure.adapter import AzureAdapter
from watchkeeper.adapters.azure.config import AzureConfig
from watchkeeper.adapters.contract import Adapter, Registry
from watchkeeper.adapters.gcp.adapter import GcpAdapter
from watchkeeper.adapters.gcp.config import GcpConfig
from watchkeeper.adapters.kubernetes.adapter import KubernetesAdapter
from watchkeeper.adapters.kubernetes.config import KubernetesConfig
from watchkeeper.adapters.litellm.adapter import LiteLLMAdapter, LiteLLMConfig
from watchkeeper.adapters.recorder import CallRecorder
from watchkeeper.core.clock import Clock
from watchkeeper.core.model import Contract
from watchkeeper.daemon.unique import once

if TYPE_CHECKING:
    from watchkeeper.daemon.settings import Settings


class TargetSettings(Contract):
    """What may be acted on under policy, beside the gateways: for each system a list. An adapter is called
    `SYSTEM:NAME`."""

    kubernetes: tuple[KubernetesConfig, ...] = ()
    gcp: tuple[GcpConfig, ...] = ()
    azure: tuple[AzureConfig, ...] = ()

    @model_validator(mode="after")
    def _can_be_told_apart(self) -> Self:
        for system in type(self).model_fields:
            once(f"targets: {system}: the name", (each.name for each in getattr(self, system)))
        return self


def adapters_of(settings: Settings, recorder: CallRecorder, clock: Clock) -> Registry:
    """Nothing is connected yet: an official client is imported when it is used. Raises ConfigError, ConflictError."""
    return Registry(_each(settings, recorder, clock))


def _each(settings: Settings, recorder: CallRecorder, clock: Clock) -> Iterator[Adapter]:
    for gateway in settings.gateways:
        if gateway.manage:
            config = LiteLLMConfig(name=gateway.name, base_url=gateway.base_url, admin_key=gateway.admin_key)
            yield LiteLLMAdapter(config, recorder, clock)
    for cluster in settings.targets.kubernetes:
        yield KubernetesAdapter(cluster, recorder, clock)
    for project in settings.targets.gcp:
        yield GcpAdapter(project, recorder, clock)
    for subscription in settings.targets.azure:
        yield AzureAdapter(subscription, recorder, clock)
