"""A running daemon gives every sink its own turn."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from pydantic import SecretStr
from tests.testbed.notices import a_notice
from tests.testbed.receiver import Receiver

from watchkeeper.agents.outbox import WebhookConfig
from watchkeeper.core.clock import SystemClock
from watchkeeper.daemon.life import running
from watchkeeper.daemon.settings import ApiSettings, Settings


async def test_a_sink_that_never_answers_holds_up_nobody_elses_people(tmp_path: Path, receiver: Receiver) -> None:
    called, over = asyncio.Event(), asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        called.set()
        await over.wait()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    urls = {"a-silent": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", "b-healthy": receiver.url}
    settings = Settings(
        data_dir=tmp_path,
        api=ApiSettings(port=0),
        notify=tuple(WebhookConfig(name=name, url=SecretStr(url), timeout_s=60) for name, url in urls.items()),
    )
    async with server, running(settings) as (daemon, _):
        services = daemon.services()
        async with services.store.write() as tx:
            await services.outbox.put(tx, a_notice(SystemClock().now(), "first"))
        await called.wait()
        async with services.store.write() as tx:
            await services.outbox.put(tx, a_notice(SystemClock().now(), "second"))
        told = await asyncio.to_thread(receiver.wait_for, lambda seen: len(seen) == 2)
        over.set()
    assert [json.loads(delivery.body)["reason"] for delivery in told] == ["first", "second"]
