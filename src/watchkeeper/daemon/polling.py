"""The pollers' turns: what a source says goes into the inbox, what it lists goes into the links."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog

from watchkeeper.core.errors import WatchkeeperError
from watchkeeper.signals.intake import Intake
from watchkeeper.signals.litellm import LiteLLMPoller
from watchkeeper.signals.prometheus import PrometheusPoller
from watchkeeper.signals.state import SignalState

log = structlog.get_logger(__name__)


class Sources:
    """All configured sources and how each is doing: `ok`, or the error's text."""

    def __init__(
        self,
        intake: Intake,
        signals: SignalState,
        gateways: tuple[LiteLLMPoller, ...],
        prometheus: tuple[PrometheusPoller, ...],
    ) -> None:
        self._intake, self._signals = intake, signals
        self._gateways, self._prometheus = gateways, prometheus
        self.state: dict[str, str] = {}
        self.aliases: dict[str, str] = {}
        """Key hash → the name that people gave it; for display only, never recorded."""

    def turns(self) -> list[tuple[str, float, Callable[[], Awaitable[None]]]]:
        """(name, seconds between turns, one turn) of every source."""
        found: list[tuple[str, float, Callable[[], Awaitable[None]]]] = []
        for gateway in self._gateways:
            found.append((gateway.name, gateway.interval_s, self._turn(gateway.name, self._gateway(gateway))))
        for source in self._prometheus:
            found.append((source.name, source.interval_s, self._turn(source.name, self._samples(source))))
        return found

    def _turn(self, name: str, poll: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        async def turn() -> None:
            try:
                await poll()
            except WatchkeeperError as error:
                if self.state.get(name) == "ok":
                    log.warning("source_lost", source=name, what=error.what)
                self.state[name] = error.what
                if error.code in ("store_unavailable", "ledger_unavailable"):
                    raise
                return
            if self.state.get(name, "ok") != "ok":
                log.info("source_found", source=name)
            self.state[name] = "ok"

        return turn

    def _gateway(self, poller: LiteLLMPoller) -> Callable[[], Awaitable[None]]:
        async def poll() -> None:
            polled = await poller.poll()
            self._signals.learn(polled.edges)
            self.aliases.update(polled.aliases)
            await self._intake.accept(poller.name, polled.signals)
            poller.settle(polled)

        return poll

    def _samples(self, poller: PrometheusPoller) -> Callable[[], Awaitable[None]]:
        async def poll() -> None:
            await self._intake.accept(poller.name, await poller.poll())

        return poll
