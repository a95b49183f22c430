"""A process of the ledger chaos: appends, or sequences and signs, until it is killed.

It says what it was told (`acked ID`, `signed BASE64`) in a file, by plain writes that survive its death. It kills
itself (SIGKILL) right before or after its n-th database statement, commit or signature; the parent may kill or pause it
at any other moment.
"""

from __future__ import annotations

import asyncio
import base64
import os
import random
import signal
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection

from pydantic import SecretStr
from sqlalchemy import Engine, event

from tests.testbed.ledgers import ORIGIN, Log, draft
from watchkeeper.core.clock import SystemClock
from watchkeeper.core.errors import ConflictError, UnavailableError
from watchkeeper.ledger import sequencer
from watchkeeper.ledger.signing.keys import SigningKey
from watchkeeper.store.engine import Store

LEASE_S = 0.6
"""Short, so that within a run a paused holder surely loses its lease and wakes up fenced."""


@dataclass(frozen=True)
class Task:
    """`die_at` 0: only the parent kills it."""

    url: str
    key: str
    name: str
    seed: int
    die_at: int
    words: str
    """The file that it writes to."""


def write(task: Task, up: Connection) -> None:
    asyncio.run(_write(task, up))


def sequence(task: Task, up: Connection) -> None:
    asyncio.run(_sequence(task, up))


async def _log(task: Task, up: Connection) -> tuple[Log, Callable[[str], None]]:
    """Its turns count, and the parent hears of it, once it is connected."""
    key = SigningKey.from_secret(SecretStr(task.key))
    words = os.open(task.words, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    log = Log(Store(task.url), SystemClock(), key)
    await log.reader.size()
    up.send(task.name)
    _arm(task.die_at, key)
    return log, lambda line: _say(words, line)


def _say(words: int, line: str) -> None:
    os.write(words, (line + "\n").encode())


def _arm(count: int, key: SigningKey) -> None:
    """Kills this process at its `count`-th turn: a statement, a commit, a signature, before or after."""
    turns = iter(range(1, count + 1))

    def turn(*args: object) -> None:
        if next(turns, 0) == count > 0:
            os.kill(os.getpid(), signal.SIGKILL)

    for name in ("before_cursor_execute", "after_cursor_execute", "commit"):
        event.listen(Engine, name, turn)
    sign = key.sign

    def signed(text: str) -> object:
        turn()
        line = sign(text)
        turn()
        return line

    key.sign = signed  # type: ignore[method-assign,assignment]


async def _write(task: Task, up: Connection) -> None:
    """Short and long transactions, small and large; now and then one is held open while others commit."""
    rng = random.Random(task.seed)
    log, say = await _log(task, up)
    writer = log.writer(task.name)
    while True:
        count = rng.choice((1, 1, 2, 5, 40))
        held_s = rng.choice((0.0, 0.0, 0.0, rng.random() * 0.15))
        try:
            async with log.store.write() as tx:
                ids = await writer.append(tx, *(draft(n + 1) for n in range(count)))
                if held_s and not log.store.is_sqlite:
                    await asyncio.sleep(held_s)
        except UnavailableError:  # another holds the file, or the server ended our idle transaction: nothing was acked
            continue
        for entry_id in ids:
            say(f"acked {entry_id}")
        await asyncio.sleep(rng.random() * 0.01)


async def _sequence(task: Task, up: Connection) -> None:
    sequencer.LEASE_S = LEASE_S
    log, say = await _log(task, up)
    ours = log.sequencer_of(task.name, batch=random.Random(task.seed).choice((7, 60, 5000)))
    while True:
        try:
            taken = await ours.run_once()
        except (UnavailableError, ConflictError) as error:
            if error.code != "store_unavailable":
                say(f"refused {error.what}")
            continue
        if taken:
            note = await log.reader.checkpoint()
            assert note is not None
            say("signed " + base64.b64encode(note.encode()).decode())
        await asyncio.sleep(0.01)


__all__ = ["LEASE_S", "ORIGIN", "Task", "sequence", "write"]
