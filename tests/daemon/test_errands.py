"""Long work is begun once, ends with the daemon, and may fail without taking anything with it."""

from __future__ import annotations

import asyncio

from structlog.testing import capture_logs

from watchkeeper.core.errors import UnavailableError
from watchkeeper.daemon.errands import Errands


async def test_it_is_begun_at_once_and_not_again_while_it_works() -> None:
    errands, begun, go_on = Errands(), asyncio.Queue[int](), asyncio.Event()

    async def work() -> None:
        begun.put_nowait(1)
        await go_on.wait()
        begun.put_nowait(2)

    begin = errands.begin("archive", work)
    await begin()
    assert await begun.get() == 1
    await begin()
    go_on.set()
    assert await begun.get() == 2
    await asyncio.gather(*errands._running.values())
    await begin()
    assert await begun.get() == 1
    await errands.stop()


async def test_it_ends_with_the_daemon() -> None:
    errands, ended = Errands(), asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    await errands.begin("archive", work)()
    await asyncio.sleep(0)
    await errands.stop()
    assert ended.is_set()


async def test_a_failure_is_told_with_its_code() -> None:
    errands = Errands()

    async def refused() -> None:
        raise UnavailableError("the archive did not answer", place="s3://bucket/")

    async def broken() -> None:
        raise ZeroDivisionError

    with capture_logs() as logs:
        await errands.begin("archive", refused)()
        await errands.begin("prune", broken)()
        await asyncio.gather(*errands._running.values())
    assert {(line["errand"], line.get("code"), line["log_level"]) for line in logs} == {
        ("archive", "unavailable", "warning"),
        ("prune", None, "error"),
    }
