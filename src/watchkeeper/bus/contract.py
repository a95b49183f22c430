"""What any bus promises: the flow of signals between parts of the daemon, in process or through a broker.

Promised, for each topic and group: every accepted message is delivered at least once, in order of publication within a
key (the next message of a key waits until the one before is settled); a message that is neither acknowledged nor
refused within `ack_wait_s` comes again; after `max_deliver` deliveries, or `term`, it becomes a dead letter. Groups are
independent; the subscribers of one group share its messages. A group gets what is published after its first
subscription. `publish` waits while the slowest group is full and then raises `BusFullError`: nothing is dropped.
Not promised: exactly-once delivery (a handler must bear repeats), order across keys, durability of the in-process bus.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from pydantic import Field

from watchkeeper.core.errors import UnavailableError
from watchkeeper.core.model import Contract


class BusFullError(UnavailableError):
    """The slowest group of the topic did not keep up; the message was not accepted."""

    code = "bus_full"


class BusClosedError(UnavailableError):
    code = "bus_closed"


class BusLimits(Contract):
    """The bounds of every topic."""

    ack_wait_s: float = Field(default=30.0, gt=0)
    max_deliver: int = Field(default=5, ge=1)
    capacity: int = Field(default=10_000, ge=1)
    """Unsettled messages of one group before publishers wait."""
    publish_wait_s: float = Field(default=5.0, ge=0)
    dedup_window_s: float = Field(default=120.0, gt=0)
    dedup_max: int = Field(default=100_000, ge=1)
    """Message ids remembered, whatever the window."""
    dead_letters: int = Field(default=1_000, ge=1)
    """Kept per topic and group; older ones are let go and counted."""
    max_body: int = Field(default=1 << 20, ge=1)


class Handle(Protocol):
    """How a bus learns what became of one delivery. A second answer to a settled message changes nothing."""

    async def ack(self) -> None: ...

    async def nak(self, delay_s: float = 0.0) -> None: ...

    async def term(self) -> None: ...


@dataclass(frozen=True)
class Message:
    """One delivery. `deliveries` counts from 1."""

    topic: str
    key: str
    body: bytes
    msg_id: str
    deliveries: int
    handle: Handle

    async def ack(self) -> None:
        """Done: the key's next message may come."""
        await self.handle.ack()

    async def nak(self, delay_s: float = 0.0) -> None:
        """Not now: deliver it again after the delay; its key waits meanwhile."""
        await self.handle.nak(delay_s)

    async def term(self) -> None:
        """Never: make it a dead letter at once."""
        await self.handle.term()


@dataclass(frozen=True)
class DeadLetter:
    """`reason` is `max_deliver` or `terminated`."""

    topic: str
    group: str
    key: str
    body: bytes
    msg_id: str
    deliveries: int
    reason: str


class Bus(Protocol):
    async def publish(self, topic: str, key: str, body: bytes, msg_id: str) -> bool:
        """True: accepted. False: a message with this id was accepted within the dedup window."""
        ...

    def subscribe(self, topic: str, group: str) -> AsyncIterator[Message]:
        """Joins the group now; the iterator ends when the bus is closed."""
        ...

    async def dead_letters(self, topic: str, group: str) -> tuple[DeadLetter, ...]: ...

    async def close(self) -> None: ...
