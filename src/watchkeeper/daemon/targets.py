"""The adapters of the settings: one for each gateway that may be acted on, and one for each other target."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from watchkeeper.adapters.contract import Adapter, Registry
from watchkeeper.adapters.litellm.adapter import LiteLLMAdapter, LiteLLMConfig
from watchkeeper.adapters.recorder import CallRecorder
from watchkeeper.core.clock import Clock

if TYPE_CHECKING:
    from watchkeeper.daemon.settings import Settings


def adapters_of(settings: Settings, recorder: CallRecorder, clock: Clock) -> Registry:
    """Nothing is connected yet: an official client is imported when it is used. Raises ConfigError, ConflictError."""
    return Registry(_each(settings, recorder, clock))


def _each(settings: Settings, recorder: CallRecorder, clock: Clock) -> Iterator[Adapter]:
    for gateway in settings.gateways:
        if gateway.manage:
            config = LiteLLMConfig(name=gateway.name, base_url=gateway.base_url, admin_key=gateway.admin_key)
            yield LiteLLMAdapter(config, recorder, clock)
