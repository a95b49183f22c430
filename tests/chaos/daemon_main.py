"""`watchkeeper serve`, but it kills itself at chosen points; and a nursery that forks such daemons and labs quickly.

A point is `enter:NODE` or `exit:NODE` of the incident's graph (exit: the node has done its work, LangGraph has not
written its checkpoint), or `claimed`, `sent`, `settled` of the executor; `@N` means the N-th time in this process.
The nursery imports everything once, so that a restart costs no second import; what it forks are processes of their own.
It does not stand for a crash of the machine: what was written but not flushed is still there.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import os
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from watchkeeper.adapters.litellm.adapter import LiteLLMAdapter
from watchkeeper.agents import graph
from watchkeeper.agents.nodes.table import NODES
from watchkeeper.cli.run_daemon import _serve
from watchkeeper.core.clock import SystemClock
from watchkeeper.daemon import life
from watchkeeper.daemon.settings import load
from watchkeeper.lab.main import parse
from watchkeeper.lab.main import run as run_lab
from watchkeeper.policies.claiming.claims import Claims, Taken

IMPORTED = (life.running,)  # for the nursery: `serve` itself imports it only when it runs
Work = Callable[..., Awaitable[Any]]


class Deadline:
    """Kills this process when the chosen point is reached for the chosen time."""

    def __init__(self, chosen: str) -> None:
        self._point, _, nth = chosen.partition("@")
        self._nth = int(nth or 1)
        self._seen: Counter[str] = Counter()

    def reached(self, point: str) -> None:
        self._seen[point] += 1
        if point == self._point and self._seen[point] == self._nth:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, name: str, work: Work) -> Work:
        async def wrapped(*args: Any) -> Any:
            self.reached(f"enter:{name}")
            result = await work(*args)
            self.reached(f"exit:{name}")
            return result

        return wrapped

    def after(self, name: str, work: Work, when: Callable[[Any], bool] = lambda _: True) -> Work:
        async def wrapped(*args: Any, **kwargs: Any) -> Any:
            result = await work(*args, **kwargs)
            if when(result):
                self.reached(name)
            return result

        return wrapped


def arm(chosen: str) -> None:
    """Wraps every node and the executor's boundaries."""
    deadline = Deadline(chosen)
    for name, work in list(NODES.items()):
        NODES[name] = deadline.around(name, work)
    setattr(graph, "_wait", deadline.around("wait", graph._wait))  # noqa: B010
    for kind, method, point, when in (
        (Claims, "take", "claimed", lambda taken: isinstance(taken, Taken)),
        (LiteLLMAdapter, "apply", "sent", lambda _: True),
        (Claims, "settle", "settled", lambda _: True),
    ):
        setattr(kind, method, deadline.after(point, getattr(kind, method), when))


def serve(config: str, kill: str = "") -> None:
    if kill:
        arm(kill)
    asyncio.run(_serve(load(Path(config), {})))


def lab(*arguments: str) -> None:
    asyncio.run(run_lab(parse(list(arguments)), SystemClock()))


WORKS: dict[str, Callable[..., None]] = {"serve": serve, "lab": lab}


def nursery() -> None:
    """Reads one JSON command a line: `{"work", "args", "log"}` forks, `{"wait", "seconds"}` waits for an end."""
    gc.collect()
    gc.freeze()
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        reply = {"pid": _fork(command)} if "work" in command else {"status": _wait(command["wait"], command["seconds"])}
        print(json.dumps(reply), flush=True)


def _fork(command: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: not one of us outlives the nursery
    log = os.open(command["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    status = 1
    try:
        WORKS[command["work"]](*command["args"])
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _wait(pid: int, seconds: float) -> int | None:
    """The exit status, negative for a signal; None: it still runs."""
    end = time.monotonic() + seconds
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= end:
            return None
        time.sleep(0.02)


if __name__ == "__main__":
    if sys.argv[1:] == ["nursery"]:
        nursery()
    else:
        serve(*sys.argv[1:])
