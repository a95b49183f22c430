"""Polls a LiteLLM gateway: its spend log for calls, its metrics for deployment states, its inventory for links.

Every poll reads the last `lookback_s` again, because rows are written late: in batches, and at the end of a call. The
inbox tells repeated rows apart; `settle` says what is safe there, and need not be told again. A gateway without a
database has no spend log: its calls are made of counters then (see `litellm_metrics`). Rows of a gateway whose clock is
behind by more than `lookback_s` are not seen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import httpx
import structlog
from pydantic import BaseModel, Field, JsonValue, SecretStr, ValidationError

from watchkeeper.core.clock import Clock
from watchkeeper.core.errors import UnavailableError
from watchkeeper.core.model import Contract
from watchkeeper.core.signals import Call, Signal
from watchkeeper.core.subjects import Edge
from watchkeeper.signals import litellm_inventory, litellm_metrics
from watchkeeper.signals.fetch import Endpoint, RefusedReplyError
from watchkeeper.signals.litellm_inventory import Inventory
from watchkeeper.signals.litellm_metrics import FAILURE, STATE, SUCCESS, Counted, Counters, Point
from watchkeeper.signals.litellm_rows import SpendRow, call_of

log = structlog.get_logger(__name__)

SPEND = "/spend/logs/v2"
PAGE_SIZE = 500
MAX_PAGES = 40
"""Pages read in one poll; the next goes on from there."""

MAX_SPEND_REPLY = 32 << 20
"""A failed row carries a traceback of some 4 kB."""

MAX_CATCH_UP = timedelta(hours=1)
AHEAD = timedelta(hours=1)
"""Rows of a gateway whose clock is ahead of ours are still asked for."""


class LiteLLMSource(Contract):
    """`lookback_s` must exceed the gateway's batch interval (`proxy_batch_write_at`) plus its longest calls."""

    name: str = Field(min_length=1, max_length=32)
    base_url: str
    admin_key: SecretStr
    interval_s: float = Field(default=5.0, gt=0)
    lookback_s: float = Field(default=180.0, gt=0)
    inventory_s: float = Field(default=60.0, gt=0)


@dataclass(frozen=True)
class Progress:
    """How far a poll came: rows by request id and start, the time up to which the spend log was read, counters."""

    rows: Mapping[str, datetime]
    since: datetime
    counted: Counted | None


@dataclass(frozen=True)
class Polled:
    """`edges` is empty unless the inventory was taken anew."""

    signals: tuple[Signal, ...]
    edges: tuple[Edge, ...]
    progress: Progress


class _Readiness(BaseModel):
    db: str = ""


class _Page(BaseModel):
    data: list[dict[str, JsonValue]]
    total_pages: int = Field(default=1, ge=0)


class LiteLLMPoller:
    def __init__(self, source: LiteLLMSource, client: httpx.AsyncClient, clock: Clock) -> None:
        self.name, self.interval_s = source.name, source.interval_s
        self._config, self._clock = source, clock
        self._endpoint = Endpoint(source.name, source.base_url, source.admin_key, client)
        self._source = f"litellm/{source.name}"
        self._counters = Counters(source.name, f"{self._source}/metrics")
        self._inventory, self._taken = Inventory(), -math.inf
        self._untold: tuple[Edge, ...] = ()
        self._since = clock.now()
        self._known: Mapping[str, datetime] = {}

    async def poll(self) -> Polled:
        """Tells what was not settled yet. Raises UnavailableError or InputError."""
        now = self._clock.now()
        database = (await self._endpoint.json("/health/readiness", _Readiness)).db == "connected"
        await self._take_inventory(database=database)
        found = await self._metrics(required=not database)
        samples = litellm_metrics.states(found, self._inventory, f"{self._source}/metrics", now)
        if database:
            calls, progress = await self._spend(now)
            return self._polled((*calls, *samples), progress)
        counted = self._counters.read(found, self._inventory, now)
        if counted.left_out:
            log.warning("counted_responses_left_out", gateway=self.name, responses=counted.left_out)
        if not counted.calls:
            self._counters.settle(counted)
        progress = Progress(self._known, self._since, counted)
        return self._polled((*counted.calls, *samples), progress)

    def settle(self, polled: Polled) -> None:
        """Its signals are durable. Call it after each poll that was: until then polls begin where this one began."""
        self._known, self._since = polled.progress.rows, polled.progress.since
        if polled.progress.counted is not None:
            self._counters.settle(polled.progress.counted)

    def _polled(self, signals: tuple[Signal, ...], progress: Progress) -> Polled:
        edges, self._untold = self._untold, ()
        return Polled(signals, edges, progress)

    async def _take_inventory(self, *, database: bool) -> None:
        if self._clock.monotonic() - self._taken < self._config.inventory_s:
            return
        self._inventory = await litellm_inventory.take(self._endpoint, database=database)
        self._untold = self._inventory.edges
        self._taken = self._clock.monotonic()

    async def _metrics(self, *, required: bool) -> tuple[Point, ...]:
        """With a spend log the metrics are an extra; without one there is nothing else."""
        try:
            text = await self._endpoint.text("/metrics/", limit=MAX_SPEND_REPLY)
        except UnavailableError as error:
            if required:
                raise self._no_metrics(error) from error
            log.warning("gateway_metrics_not_read", gateway=self.name, what=error.what)
            return ()
        return tuple(litellm_metrics.points(text, frozenset((STATE, SUCCESS, FAILURE))))

    def _no_metrics(self, error: UnavailableError) -> UnavailableError:
        if not isinstance(error, RefusedReplyError):
            return error
        return UnavailableError(
            f"{self.name} has neither a database nor metrics: {error.what}",
            cause="the gateway runs without a database, and its prometheus callback is off",
            next_step='add "prometheus" to litellm_settings.callbacks, or give the gateway a database',
        )

    async def _spend(self, now: datetime) -> tuple[list[Call], Progress]:
        """All rows that started in the window, but those that were settled."""
        lookback = timedelta(seconds=self._config.lookback_s)
        since = max(self._since, now - MAX_CATCH_UP) - lookback
        asked = {
            "start_date": f"{since:%Y-%m-%d %H:%M:%S}",
            "end_date": f"{now + AHEAD:%Y-%m-%d %H:%M:%S}",
            "sort_by": "startTime",
            "sort_order": "asc",
            "page_size": str(PAGE_SIZE),
        }
        calls: list[Call] = []
        rows: dict[str, datetime] = {}
        page, pages = 1, 1
        while page <= min(pages, MAX_PAGES):
            reply = await self._endpoint.json(SPEND, _Page, {**asked, "page": str(page)}, limit=MAX_SPEND_REPLY)
            self._read(reply.data, calls, rows)
            page, pages = page + 1, reply.total_pages
        reached = now
        if pages > MAX_PAGES:
            log.warning("spend_log_read_in_part", gateway=self.name, pages=pages, read=MAX_PAGES)
            reached = max([*rows.values(), since + timedelta(seconds=1)]) + lookback
        return calls, Progress(rows, reached, None)

    def _read(self, page: list[dict[str, JsonValue]], calls: list[Call], rows: dict[str, datetime]) -> None:
        broken = 0
        for raw in page:
            name = str(raw.get("request_id"))
            started = self._known.get(name)
            if started is None:
                call = self._call(raw)
                if call is None:
                    broken += 1
                    continue
                calls.append(call)
                started = call.started
            rows[name] = started
        if broken:
            log.warning("spend_rows_not_understood", gateway=self.name, rows=broken)

    def _call(self, raw: dict[str, JsonValue]) -> Call | None:
        try:
            row = SpendRow.model_validate(raw)
            return call_of(row, self.name, self._source, self._inventory.providers)
        except ValidationError:
            return None
