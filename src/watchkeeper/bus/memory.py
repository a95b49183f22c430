"""The in-process bus of the embedded daemon: the contract within one event loop.

Nothing here survives the process: what must not be lost is in the database before it is published.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import structlog

from watchkeeper.bus.contract import BusClosedError, BusFullError, BusLimits, DeadLetter, Message
from watchkeeper.core.clock import Clock
from watchkeeper.core.errors import InputError

log = structlog.get_logger(__name__)


@dataclass
class _Item:
    """A message in one group. `turn` changes with each delivery and answer, so that old timers can be told."""

    seq: int
    key: str
    body: bytes
    msg_id: str
    deliveries: int = 0
    turn: int = 0
    settled: bool = False


@dataclass
class _Group:
    """Lanes by key; only the head of a lane is delivered. `timers` say when a head may be delivered (again)."""

    topic: str
    name: str
    lanes: dict[str, deque[_Item]] = field(default_factory=dict)
    timers: list[tuple[float, int, int, _Item]] = field(default_factory=list)
    backlog: int = 0
    dead: deque[DeadLetter] = field(default_factory=deque)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, item: _Item, now: float) -> None:
        lane = self.lanes.setdefault(item.key, deque())
        lane.append(item)
        self.backlog += 1
        if len(lane) == 1:
            self.schedule(item, now)

    def schedule(self, item: _Item, at: float) -> None:
        if len(self.timers) > 4 * (self.backlog + 256):
            self.timers = [timer for timer in self.timers if not timer[3].settled and timer[3].turn == timer[2]]
            heapq.heapify(self.timers)
        heapq.heappush(self.timers, (at, item.seq, item.turn, item))
        self.changed.set()

    def settle(self, item: _Item, now: float) -> None:
        item.settled = True
        lane = self.lanes[item.key]
        lane.popleft()
        self.backlog -= 1
        if lane:
            self.schedule(lane[0], now)
        else:
            del self.lanes[item.key]
        self.changed.set()

    def bury(self, item: _Item, reason: str, now: float, keep: int) -> None:
        letter = DeadLetter(self.topic, self.name, item.key, item.body, item.msg_id, item.deliveries, reason)
        self.dead.append(letter)
        log.warning("dead_letter", topic=self.topic, group=self.name, msg_id=item.msg_id, reason=reason)
        if len(self.dead) > keep:
            gone = self.dead.popleft()
            log.error("dead_letter_let_go", topic=self.topic, group=self.name, msg_id=gone.msg_id)
        self.settle(item, now)


class _Handle:
    def __init__(self, bus: MemoryBus, group: _Group, item: _Item) -> None:
        self._bus, self._group, self._item, self._turn = bus, group, item, item.turn

    async def ack(self) -> None:
        """A late acknowledgement counts too: the work is done."""
        if not self._item.settled:
            self._group.settle(self._item, self._bus.now())
            self._bus.room.set()

    async def nak(self, delay_s: float = 0.0) -> None:
        if not self._item.settled and self._item.turn == self._turn:
            self._item.turn += 1
            self._group.schedule(self._item, self._bus.now() + max(0.0, delay_s))

    async def term(self) -> None:
        if not self._item.settled:
            self._group.bury(self._item, "terminated", self._bus.now(), self._bus.limits.dead_letters)
            self._bus.room.set()


class _Subscription(AsyncIterator[Message]):
    def __init__(self, bus: MemoryBus, group: _Group) -> None:
        self._bus, self._group = bus, group

    def __aiter__(self) -> _Subscription:
        return self

    async def __anext__(self) -> Message:
        while not self._bus.closed:
            message = self._bus.take(self._group)
            if message is not None:
                return message
            self._group.changed.clear()
            wait = self._group.timers[0][0] - self._bus.now() if self._group.timers else None
            try:
                async with asyncio.timeout(wait):
                    await self._group.changed.wait()
            except TimeoutError:
                continue
        raise StopAsyncIteration


class MemoryBus:
    def __init__(self, clock: Clock, limits: BusLimits | None = None) -> None:
        self._clock, self.limits = clock, limits or BusLimits()
        self._groups: dict[str, dict[str, _Group]] = {}
        self._ids: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._seq = 0
        self.closed = False
        self.room = asyncio.Event()
        """Set when a group has lost a message, for publishers that wait."""

    def now(self) -> float:
        return self._clock.monotonic()

    async def publish(self, topic: str, key: str, body: bytes, msg_id: str) -> bool:
        if len(body) > self.limits.max_body:
            raise InputError(f"a message of {len(body)} bytes is too large", place=topic, next_step="send a reference")
        if self._is_duplicate(topic, msg_id):
            return False
        await self._wait_for_room(topic)
        if self._is_duplicate(topic, msg_id):
            return False
        self._ids[topic, msg_id] = self.now()
        self._seq += 1
        for group in self._groups.get(topic, {}).values():
            group.add(_Item(self._seq, key, body, msg_id), self.now())
        return True

    def subscribe(self, topic: str, group: str) -> AsyncIterator[Message]:
        groups = self._groups.setdefault(topic, {})
        return _Subscription(self, groups.setdefault(group, _Group(topic, group)))

    async def dead_letters(self, topic: str, group: str) -> tuple[DeadLetter, ...]:
        known = self._groups.get(topic, {}).get(group)
        return tuple(known.dead) if known else ()

    async def close(self) -> None:
        self.closed = True
        self.room.set()
        for groups in self._groups.values():
            for group in groups.values():
                group.changed.set()

    def take(self, group: _Group) -> Message | None:
        """The next delivery that is due, if any. A delivery that was not answered in time is due again here."""
        now = self.now()
        while group.timers and group.timers[0][0] <= now:
            _, _, turn, item = heapq.heappop(group.timers)
            if item.settled or item.turn != turn:
                continue
            if item.deliveries >= self.limits.max_deliver:
                group.bury(item, "max_deliver", now, self.limits.dead_letters)
                self.room.set()
                continue
            item.deliveries += 1
            item.turn += 1
            group.schedule(item, now + self.limits.ack_wait_s)
            handle = _Handle(self, group, item)
            return Message(group.topic, item.key, item.body, item.msg_id, item.deliveries, handle)
        return None

    def _is_duplicate(self, topic: str, msg_id: str) -> bool:
        oldest = self.now() - self.limits.dedup_window_s
        while self._ids and (len(self._ids) > self.limits.dedup_max or next(iter(self._ids.values())) < oldest):
            self._ids.popitem(last=False)
        return (topic, msg_id) in self._ids

    async def _wait_for_room(self, topic: str) -> None:
        try:
            async with asyncio.timeout(self.limits.publish_wait_s):
                while not self.closed and self._full(topic):
                    self.room.clear()
                    await self.room.wait()
        except TimeoutError as error:
            raise BusFullError(
                f"the topic {topic} is full",
                cause="its slowest consumer does not keep up",
                next_step="send again later; watchkeeper incidents shows what the daemon is busy with",
            ) from error
        if self.closed:
            raise BusClosedError("the bus is closed", cause="the daemon is stopping", next_step="send again later")

    def _full(self, topic: str) -> bool:
        return any(group.backlog >= self.limits.capacity for group in self._groups.get(topic, {}).values())
