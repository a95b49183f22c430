"""Telling people: a durable outbox of notifications, sent with retries, loud when it cannot send.

A notification is written with what it is about, in one transaction, and sent afterwards at least once: `dedup` is
passed on so that a receiver can drop a repeat. Each sink has its own turn, so that one that is slow or broken holds up
nobody else's. When a notification has failed `loud_after` times the failure is logged as an error on each try and shown
by `watchkeeper status`. After three days it is given up, which is logged and shown too; after seven it is forgotten.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

import httpx
import structlog
from pydantic import Field, SecretStr, field_validator
from sqlalchemy import ColumnElement, Row, Update, and_, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.agents.tables import notification
from watchkeeper.core.clock import Clock
from watchkeeper.core.digest import digest_of
from watchkeeper.core.errors import ConfigError
from watchkeeper.core.ids import ApprovalId, IncidentId
from watchkeeper.core.model import Contract, Instant, format_instant
from watchkeeper.policies.rows import insert_or_ignore
from watchkeeper.store.engine import Store

log = structlog.get_logger(__name__)

WAITING, SENT, GIVEN_UP = "waiting", "sent", "given_up"
GIVE_UP = timedelta(days=3)
KEEP = timedelta(days=7)


class Waiting(Contract):
    """A plan that waits for people: who may answer it, until when, and which requests it takes the place of."""

    approval: ApprovalId
    incident: IncidentId
    plan_hash: str
    proposed: tuple[str, ...]
    roles: tuple[str, ...]
    expires: Instant
    supersedes: tuple[ApprovalId, ...] = ()


class Notice(Contract):
    """What a person is told. `reason` is enumerated; `half_done` is in force and can be undone, `not_undone` was done
    and could not be; `to_change` is what stood in the way of a plan, and what to move so that it no longer does;
    `commands` are to be run next."""

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
    not_undone: tuple[str, ...] = ()
    to_change: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    approvals: tuple[Waiting, ...] = ()
    """All plans that wait for the same people; the notice is about the first one's incident."""

    def dedup(self, sink: str) -> str:
        """The same for the same notice to the same sink, however often it is sent; another for any other. What a
        person may read comes first, cut to fit a header; the digest tells notices of one instant apart."""
        said = f"{self.incident}/{self.kind}/{self.reason}/{format_instant(self.at)}"
        return f"{said[:80]}/{digest_of(self)[-12:]}/{sink}"


class Sink(Protocol):
    name: str

    async def send(self, dedup: str, body: str) -> None:
        """Delivers, or raises `SinkError`."""
        ...


class SinkError(Exception):
    """A delivery did not succeed; the text is safe to log."""


class WebhookConfig(Contract):
    """Where escalations go: a POST of the notice as JSON, with `X-Watchkeeper-Dedup`."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$")
    url: SecretStr
    bearer: SecretStr | None = None
    timeout_s: float = Field(default=10.0, gt=0, le=60)

    @field_validator("url")
    @classmethod
    def _can_be_called(cls, value: SecretStr) -> SecretStr:
        """The text stays out of the error: webhook addresses are secrets."""
        try:
            url = httpx.URL(value.get_secret_value())
        except (httpx.InvalidURL, ValueError):
            raise ValueError("not a URL") from None
        if url.scheme not in ("http", "https") or not url.host:
            raise ValueError("must be an http:// or https:// URL with a host")
        return value

    @field_validator("bearer")
    @classmethod
    def _fits_a_header(cls, value: SecretStr | None) -> SecretStr | None:
        text = "x" if value is None else value.get_secret_value()
        if not (text.isascii() and text.isprintable()) or " " in text or not text:
            raise ValueError("must be printable ASCII without spaces")
        return value


class WebhookSink:
    def __init__(self, config: WebhookConfig, client: httpx.AsyncClient) -> None:
        self.name = config.name
        self._config, self._client = config, client

    async def send(self, dedup: str, body: str) -> None:
        """Within `timeout_s` in all, however slowly the answer drips; its body is not read."""
        headers = {"Content-Type": "application/json", "X-Watchkeeper-Dedup": dedup}
        if self._config.bearer is not None:
            headers["Authorization"] = f"Bearer {self._config.bearer.get_secret_value()}"
        url = self._config.url.get_secret_value()
        try:
            async with (
                asyncio.timeout(self._config.timeout_s),
                self._client.stream("POST", url, content=body, headers=headers, timeout=None) as reply,
            ):
                status = reply.status_code
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise SinkError(type(error).__name__) from None
        if status >= 300:
            raise SinkError(f"http_{status}")


@dataclass(frozen=True)
class OutboxStatus:
    """`failing`: tried often in vain, waiting for a sink that the settings no longer name, or given up."""

    waiting: int
    failing: int


class Outbox:
    def __init__(self, store: Store, clock: Clock, sinks: tuple[Sink, ...], *, loud_after: int = 3) -> None:
        self._store, self._clock, self._loud_after = store, clock, loud_after
        self._sinks = {sink.name: sink for sink in sinks}
        if len(self._sinks) < len(sinks):
            raise ConfigError(
                "two notification sinks have one name",
                cause="a name stands twice under notify: only one of them would be told",
                next_step="give each entry of notify a name of its own",
            )

    @property
    def sinks(self) -> tuple[str, ...]:
        return tuple(sorted(self._sinks))

    def those(self, named: tuple[str, ...]) -> tuple[str, ...]:
        """The sinks of these names; all, where none of them is configured: somebody is told."""
        return tuple(name for name in self.sinks if name in named) or self.sinks

    async def put(self, tx: AsyncConnection, notice: Notice, only: tuple[str, ...] | None = None) -> None:
        """One row per sink (`only` these) in the caller's transaction; the same notice put twice is one."""
        now, put = self._clock.now(), insert_or_ignore(tx)
        for name in self.sinks if only is None else only:
            row = {
                "incident": notice.incident,
                "sink": name,
                "dedup": notice.dedup(name),
                "body": notice.model_dump_json(),
                "state": WAITING,
                "at": now,
                "next_try": now,
            }
            await tx.execute(put(notification).values(**row).on_conflict_do_nothing())

    async def send_due(self, sink: str, limit: int = 32) -> int:
        """A sink's turn: its notifications whose time has come, until one fails; returns how many were delivered.

        What failed goes to the end of the queue, so that a notice which the sink refuses does not hold up the others.
        """
        due = (
            select(notification)
            .where(
                notification.c.sink == sink,
                notification.c.state == WAITING,
                notification.c.next_try <= self._clock.now(),
            )
            .order_by(notification.c.next_try, notification.c.id)
            .limit(limit)
        )
        async with self._store.read() as tx:
            rows = (await tx.execute(due)).all()
        for sent, row in enumerate(rows):
            why = await self._deliver(self._sinks[sink], row.dedup, row.body)
            if why is not None:
                await self._failed(row, why)
                return sent
            async with self._store.write() as tx:
                await tx.execute(_change(row.id).values(state=SENT, attempts=row.attempts + 1))
        return len(rows)

    async def _deliver(self, sink: Sink, dedup: str, body: str) -> str | None:
        """Why it was not delivered; None: it was."""
        try:
            await sink.send(dedup, body)
        except SinkError as error:
            return str(error)
        except Exception as error:  # a fault of one sink's code must neither stop the others nor block its queue
            log.exception("notification_sink_broken", sink=sink.name)
            return type(error).__name__
        return None

    async def _failed(self, row: Row[tuple[object, ...]], why: str) -> None:
        attempts = row.attempts + 1
        wait = min(300.0, 2.0 ** min(attempts, 8)) * random.uniform(0.8, 1.2)  # noqa: S311  # jitter, not a secret
        tell = log.error if attempts >= self._loud_after else log.warning
        tell("notification_not_delivered", sink=row.sink, attempts=attempts, why=why, retry_in_s=round(wait, 1))
        next_try = self._clock.now() + timedelta(seconds=wait)
        async with self._store.write() as tx:
            await tx.execute(_change(row.id).values(attempts=attempts, last_error=why[:200], next_try=next_try))

    async def prune(self) -> None:
        """Gives up what is too old to help, and forgets what was sent or given up long ago."""
        now = self._clock.now()
        too_old = and_(notification.c.state == WAITING, notification.c.at < now - GIVE_UP)
        done = and_(notification.c.state != WAITING, notification.c.at < now - KEEP)
        async with self._store.write() as tx:
            await tx.execute(delete(notification).where(done))
            given_up = update(notification).where(too_old).values(state=GIVEN_UP).returning(notification.c.dedup)
            lost = (await tx.execute(given_up)).scalars().all()
            strays = await tx.execute(
                select(notification.c.sink, func.count().label("waiting"))
                .where(notification.c.state == WAITING, notification.c.sink.not_in(self.sinks))
                .group_by(notification.c.sink)
            )
            stray = [(row.sink, row.waiting) for row in strays]
        for dedup in lost:
            log.error("notification_given_up", dedup=dedup, after_days=GIVE_UP.days)
        for sink, waiting in stray:
            log.error("notification_sink_not_configured", sink=sink, waiting=waiting)

    async def status(self) -> OutboxStatus:
        waiting = notification.c.state == WAITING
        in_vain = or_(notification.c.attempts >= self._loud_after, notification.c.sink.not_in(self.sinks))
        async with self._store.read() as tx:
            return OutboxStatus(
                waiting=await _count(tx, waiting),
                failing=await _count(tx, or_(notification.c.state == GIVEN_UP, and_(waiting, in_vain))),
            )

    async def tell_directly(self, notice: Notice) -> bool:
        """When the database cannot be trusted: straight to every sink at once, one try; True if any took it
        (invariant 11)."""
        sinks, body = tuple(self._sinks.values()), notice.model_dump_json()
        answers = await asyncio.gather(*(self._deliver(sink, notice.dedup(sink.name), body) for sink in sinks))
        for sink, why in zip(sinks, answers, strict=True):
            if why is not None:
                log.error("notification_not_delivered", sink=sink.name, why=why, direct=True)
        return None in answers


def _change(row_id: int) -> Update:
    return update(notification).where(notification.c.id == row_id)


async def _count(tx: AsyncConnection, condition: ColumnElement[bool]) -> int:
    return (await tx.execute(select(func.count()).select_from(notification).where(condition))).scalar_one()
