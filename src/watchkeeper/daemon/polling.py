"""The pollers' turns: what a source says goes into the inbox, what it lists goes into the links."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog

from watchkeeper.core.errors import WatchkeeperError
from watchkeeper.signals.intake import Intake
from watchkeeper.signals.litellm import LiteLLMPoller
from watchkeeper.signals.prometheus import PrometheusPoller
from watchkeeper.signals.sources import SourceBook, SourceKind
from watchkeeper.signals.state import SignalState

log = structlog.get_logger(__name__)


class Sources:
    """All sources that are polled; how each is doing goes into the book."""

    def __init__(
        self,
        intake: Intake,
        book: SourceBook,
        signals: SignalState,
        gateways: tuple[LiteLLMPoller, ...],
        prometheus: tuple[PrometheusPoller, ...],
    ) -> None:
        self._intake, self._book, self._signals = intake, book, signals
        self._gateways, self._prometheus = gateways, prometheus
        self._lost: set[str] = set()
        for gateway in gateways:
            book.expect(gateway.name, SourceKind.GATEWAY, gateway.interval_s)
        for source in prometheus:
            book.expect(source.name, SourceKind.PROMETHEUS, source.interval_s)

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
                if name not in self._lost:
                    log.warning("source_lost", source=name, what=error.what)
                self._lost.add(name)
                self._book.failed(name, error.what)
                if error.code in ("store_unavailable", "ledger_unavailable"):
                    raise
                return
            if name in self._lost:
                log.info("source_found", source=name)
            self._lost.discard(name)

        return turn

    def _gateway(self, poller: LiteLLMPoller) -> Callable[[], Awaitable[None]]:
        async def poll() -> None:
            polled = await poller.poll()
            if polled.edges:
                self._signals.learn(polled.edges, poller.name)
            accepted = await self._intake.accept(poller.name, polled.signals)
            poller.settle(polled)
            self._book.delivered(poller.name, accepted.new, accepted.duplicates)

        return poll

    def _samples(self, poller: PrometheusPoller) -> Callable[[], Awaitable[None]]:
        async def poll() -> None:
            known = poller.unusable
            accepted = await self._intake.accept(poller.name, await poller.poll())
            if poller.unusable not in ("", known):
                log.error("queries_unusable", source=poller.name, what=poller.unusable)
            self._book.delivered(poller.name, accepted.new, accepted.duplicates, poller.unusable)

        return poll
