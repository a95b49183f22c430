"""Admin faults: which of them take effect, which reply, and that they end only when told."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
from pydantic import JsonValue
from tests.testbed.labs import LabGateway, open_gateway

from watchkeeper.lab.gateway.rows import key_hash


async def fault(lab: LabGateway, mode: str, **options: JsonValue) -> None:
    reply = await lab.admin.post("/_lab/fault", json={"mode": mode, **options})
    assert reply.status_code == 200, reply.text


def limit(lab: LabGateway, key: str) -> int | None:
    return lab.gateway.store.keys[key_hash(key)].rpm_limit


async def test_down_and_500_and_html_do_nothing_and_last(tmp_path: Path) -> None:
    async with open_gateway(tmp_path) as lab:
        key = await lab.key("k")
        await fault(lab, "down")
        for _ in range(3):
            with pytest.raises(httpx.TransportError):
                await lab.update_key(key, rpm_limit=1)
        await fault(lab, "500")
        assert [(await lab.update_key(key, rpm_limit=1)).status_code for _ in range(3)] == [500] * 3
        await fault(lab, "html")
        page = await lab.update_key(key, rpm_limit=1)
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert (await lab.chat(key)).status_code == 200
        await fault(lab, "none")
        assert lab.journal("/key/update") == []
        assert limit(lab, key) is None


async def test_drop_after_effect_does_it_and_says_nothing_for_count_calls(tmp_path: Path) -> None:
    async with open_gateway(tmp_path) as lab:
        key = await lab.key("k")
        await fault(lab, "drop_after_effect", applies_to="writes", count=1)
        assert (await lab.admin.get("/key/info", params={"key": key})).status_code == 200
        with pytest.raises(httpx.TransportError):
            await lab.update_key(key, rpm_limit=5)
        assert limit(lab, key) == 5
        assert [entry.status for entry in lab.journal("/key/update")] == [200]
        assert (await lab.update_key(key, rpm_limit=6)).status_code == 200


async def test_slow_takes_effect_although_the_caller_has_gone(tmp_path: Path) -> None:
    async with open_gateway(tmp_path) as lab:
        key = await lab.key("k")
        await fault(lab, "slow", delay_s=0.3, paths=["/key/update"])
        assert (await lab.admin.get("/key/info", params={"key": key})).status_code == 200
        with pytest.raises(httpx.TimeoutException):
            await lab.admin.post("/key/update", json={"key": key, "rpm_limit": 5}, timeout=0.05)
        assert limit(lab, key) is None
        async with asyncio.timeout(10):
            while limit(lab, key) is None:
                await asyncio.sleep(0.02)
        assert limit(lab, key) == 5


async def test_hang_replies_never_and_ends_with_the_fault(tmp_path: Path) -> None:
    async with open_gateway(tmp_path) as lab:
        key = await lab.key("k")
        await fault(lab, "hang", applies_to="reads")
        hanging = asyncio.create_task(lab.admin.get("/key/info", params={"key": key}))
        assert (await lab.update_key(key, rpm_limit=5)).status_code == 200
        assert not hanging.done()
        await fault(lab, "none")
        with pytest.raises(httpx.TransportError):
            await hanging
