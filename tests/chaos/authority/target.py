"""The target: a process of its own that does what it is told, once a call, and remembers it in a journal it syncs.

It knows no idempotency keys: two calls are two effects. It may answer late, garbage, an error, or not at all, before or
after it acted. What it is still doing when a call is given up it does within `LANDS_S`.
It does not crash: it is the judge's witness.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection

LANDS_S = 0.15
SLOW_S = 1.0
FAULTS = {
    "": 11,
    "late": 2,  # acts, answers when nobody listens any more
    "drop_after": 2,  # acts, hangs up
    "broken_after": 1,  # acts, answers 500
    "page_after": 1,  # acts, answers with a page
    "slow": 2,  # acts LANDS_S after it heard, then answers
    "drop_before": 1,
    "broken_before": 1,
}


@dataclass(frozen=True)
class Place:
    socket: str
    journal: str
    seed: int


def serve(place: Place, up: Connection) -> None:
    asyncio.run(Target(place).run(up))


class Target:
    def __init__(self, place: Place) -> None:
        self._place, self._rng = place, random.Random(place.seed)
        self._journal = os.open(place.journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._done: set[str] = set()
        self._calm = False

    async def run(self, up: Connection) -> None:
        server = await asyncio.start_unix_server(self._answer, self._place.socket)
        up.send("up")
        async with server:
            await server.serve_forever()

    async def _note(self, what: str, key: str, body: dict[str, str]) -> None:
        """A slow disk must not hold up what comes next: when that was heard would be told too late."""
        line = {"what": what, "key": key, "at": time.time(), **body}
        os.write(self._journal, (json.dumps(line) + "\n").encode())
        await asyncio.to_thread(os.fsync, self._journal)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            verb, path, *_ = head.split()
            sizes = [line.split(":")[1] for line in head.lower().splitlines() if line.startswith("content-length")]
            body = json.loads(await reader.readexactly(int(sizes[0]) if sizes else 0) or b"{}")
            reply = await self._apply(body) if verb == "POST" else self._look(path)
            if reply is not None:
                writer.write(reply)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    async def _apply(self, body: dict[str, str]) -> bytes | None:
        if body.get("calm"):
            self._calm = True
            return _reply("{}")
        key = body.pop("key")
        await self._note("heard", key, body)
        fault = "" if self._calm else self._rng.choices(list(FAULTS), list(FAULTS.values()))[0]
        if fault == "drop_before":
            return None
        if fault == "broken_before":
            return _reply("{}", 500)
        if fault == "slow":
            await asyncio.sleep(LANDS_S)
        self._done.add(key.replace("/", "."))
        await self._note("did", key, body)
        if fault == "late":
            await asyncio.sleep(SLOW_S)
        if fault == "drop_after":
            return None
        if fault == "broken_after":
            return _reply("{}", 500)
        return _reply("<html>", kind="text/html") if fault == "page_after" else _reply("{}")

    def _look(self, path: str) -> bytes | None:
        if not self._calm and self._rng.random() < 0.15:
            return self._rng.choice((None, _reply("{}", 500), _reply("<html>", kind="text/html")))
        return _reply(json.dumps({"done": path.partition("?key=")[2] in self._done}))


def _reply(body: str, status: int = 200, kind: str = "application/json") -> bytes:
    head = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return (head + body).encode()
