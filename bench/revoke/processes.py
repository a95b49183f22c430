"""Claimants in processes of their own, that tell over a pipe of each claim that was refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import NamedTuple

from bench.revoke.claiming import Claimant, Refused, Tally
from watchkeeper.store.engine import Store

START_S, END_S = 60.0, 30.0


class Load(NamedTuple):
    """Of one process: claims a second, and how many it is at together."""

    rate: float
    workers: int


async def _claim(pipe: Connection, url: str, number: int, load: Load) -> None:
    store, until = Store(url), asyncio.Event()
    try:
        claimant = Claimant(store, f"claimant-{number}", pipe.send)
        pipe.send("here")
        await asyncio.to_thread(pipe.recv)
        loop = asyncio.get_running_loop()
        loop.add_reader(pipe.fileno(), until.set)
        tally = await claimant.claim(load.rate, load.workers, number, until)
        loop.remove_reader(pipe.fileno())
        pipe.recv()
        pipe.send(tally)
    finally:
        await store.close()


def _main(pipe: Connection, url: str, number: int, load: Load) -> None:
    asyncio.run(_claim(pipe, url, number, load))


@asynccontextmanager
async def claiming_apart(
    url: str, count: int, load: Load, told: Callable[[Refused], None], tallies: list[Tally]
) -> AsyncIterator[None]:
    """`count` processes, each with this load, while the block runs; what they did is in `tallies` afterwards."""
    context, loop = get_context("spawn"), asyncio.get_running_loop()
    pipes, processes = [], []
    try:
        for number in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=_main, args=(theirs, url, number, load), daemon=True)
            process.start()
            theirs.close()
            pipes.append(ours)
            processes.append(process)
        for pipe in pipes:
            assert await asyncio.to_thread(pipe.poll, START_S), "a claimant does not start"
            pipe.recv()
        for pipe in pipes:
            pipe.send("go")
            loop.add_reader(pipe.fileno(), _hear, pipe, told, tallies)
        yield
        for pipe in pipes:
            pipe.send("end")
        async with asyncio.timeout(END_S):
            while len(tallies) < count:
                await asyncio.sleep(0.05)
    finally:
        for pipe, process in zip(pipes, processes, strict=True):
            loop.remove_reader(pipe.fileno())
            await asyncio.to_thread(process.join, 10)
            process.kill()


def _hear(pipe: Connection, told: Callable[[Refused], None], tallies: list[Tally]) -> None:
    try:
        while pipe.poll():
            word = pipe.recv()
            tallies.append(word) if isinstance(word, Tally) else told(word)
    except EOFError:
        asyncio.get_running_loop().remove_reader(pipe.fileno())
