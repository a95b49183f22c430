"""Telling people: a durable outbox of notifications, sent with retries, loud when it cannot send.

A notification is written with what it is about, in one transaction, and sent afterwards at least once: `dedup` is
passed on so that a receiver can drop a repeat. When a sink has failed `loud_after` times in a row the failure is
logged as an error on each try and shown by `watchkeeper status`; nothing is ever given up silently.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

import httpx
import structlog
from pydantic import Field, SecretStr
from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.agents.tables import notification
from watchkeeper.core.clock import Clock
from watchkeeper.core.ids import IncidentId
from watchkeeper.core.model import Contract, Instant
from watchkeeper.store.engine import Store

log = structlog.get_logger(__name__)


class Notice(Contract):
    """What a person is told. `reason` is enumerated; `to_change` is what stood in the way of a plan, and what to move
    so that it no longer does; `commands` are to be run next."""

    schema_name = "watchkeeper.dev/notice/v1"
    incident: IncidentId
    kind: str
    reason: str
    service: str
    environment: str
    mode: str
    subject: str
    at: Instant
    proposed: tuple[str, ...] = ()
    half_done: tuple[str, ...] = ()
    to_change: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()


class Sink(Protocol):
    name: str

    async def send(self, dedup: str, body: str) -> None:
        """Delivers, or raises `SinkError`."""
        ...


class SinkError(Exception):
    """A delivery did not succeed; the text is safe to log."""


class WebhookConfig(Contract):
    """Where escalations go: a POST of the notice as JSON, with `X-Watchkeeper-Dedup`."""

    name: str
    url: SecretStr
    bearer: SecretStr | None = None
    timeout_s: float = Field(default=10.0, gt=0, le=60)


class WebhookSink:
    def __init__(self, config: WebhookConfig, client: httpx.AsyncClient) -> None:
        self.name = config.name
        self._config, self._client = config, client

    async def send(self, dedup: str, body: str) -> None:
        headers = {"Content-Type": "application/json", "X-Watchkeeper-Dedup": dedup}
        if self._config.bearer is not None:
            headers["Authorization"] = f"Bearer {self._config.bearer.get_secret_value()}"
        try:
            reply = await self._client.post(
                self._config.url.get_secret_value(), content=body, headers=headers, timeout=self._config.timeout_s
            )
        except httpx.HTTPError as error:
            raise SinkError(type(error).__name__) from None
        if reply.status_code >= 300:
            raise SinkError(f"http_{reply.status_code}")


@dataclass(frozen=True)
class OutboxStatus:
    waiting: int
    failing: int


class Outbox:
    def __init__(self, store: Store, clock: Clock, sinks: tuple[Sink, ...], *, loud_after: int = 3) -> None:
        self._store, self._clock, self._loud_after = store, clock, loud_after
        self._sinks = {sink.name: sink for sink in sinks}

    @property
    def sinks(self) -> tuple[str, ...]:
        return tuple(sorted(self._sinks))

    async def put(self, tx: AsyncConnection, notice: Notice) -> None:
        """One row per sink in the caller's transaction; the same notice put twice is one."""
        for name in self.sinks:
            dedup = f"{notice.incident}/{notice.kind}/{notice.reason}/{notice.at.isoformat()}/{name}"[:160]
            await tx.execute(
                insert(notification).values(
                    incident=notice.incident,
                    sink=name,
                    dedup=dedup,
                    body=notice.model_dump_json(),
                    state="waiting",
                    next_try=self._clock.now(),
                )
            )

    async def send_due(self, limit: int = 32) -> int:
        """Tries every notification whose time has come; returns how many were delivered."""
        due = (
            select(notification)
            .where(notification.c.state == "waiting", notification.c.next_try <= self._clock.now())
            .order_by(notification.c.id)
            .limit(limit)
        )
        async with self._store.read() as tx:
            rows = (await tx.execute(due)).all()
        sent = 0
        for row in rows:
            sent += await self._try(row.id, row.sink, row.dedup, row.body, row.attempts)
        return sent

    async def _try(self, row_id: int, sink_name: str, dedup: str, body: str, attempts: int) -> bool:
        sink = self._sinks.get(sink_name)
        try:
            if sink is None:
                raise SinkError("sink_not_configured")
            await sink.send(dedup, body)
        except SinkError as error:
            await self._failed(row_id, sink_name, attempts + 1, str(error))
            return False
        async with self._store.write() as tx:
            await tx.execute(
                update(notification).where(notification.c.id == row_id).values(state="sent", attempts=attempts + 1)
            )
        return True

    async def _failed(self, row_id: int, sink: str, attempts: int, why: str) -> None:
        wait = min(300.0, 2.0 ** min(attempts, 8)) * random.uniform(0.8, 1.2)  # noqa: S311  # jitter, not a secret
        tell = log.error if attempts >= self._loud_after else log.warning
        tell("notification_not_delivered", sink=sink, attempts=attempts, why=why, retry_in_s=round(wait, 1))
        async with self._store.write() as tx:
            await tx.execute(
                update(notification)
                .where(notification.c.id == row_id)
                .values(attempts=attempts, last_error=why[:200], next_try=self._clock.now() + timedelta(seconds=wait))
            )

    async def status(self) -> OutboxStatus:
        waiting = select(func.count()).select_from(notification).where(notification.c.state == "waiting")
        async with self._store.read() as tx:
            total = (await tx.execute(waiting)).scalar_one()
            failing = (await tx.execute(waiting.where(notification.c.attempts >= self._loud_after))).scalar_one()
        return OutboxStatus(waiting=total, failing=failing)

    async def tell_directly(self, notice: Notice) -> bool:
        """When the database cannot be trusted: straight to every sink, once; True if any took it (invariant 11)."""
        told = False
        for sink in self._sinks.values():
            try:
                await sink.send(f"{notice.incident}/{notice.kind}/direct", notice.model_dump_json())
                told = True
            except SinkError as error:
                log.error("notification_not_delivered", sink=sink.name, why=str(error), direct=True)
        return told
