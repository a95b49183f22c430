"""The witness's HTTP face: statuses, media types, and what does not fit its bounds."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from tests.testbed.stores import unreachable
from tests.testbed.witnesses import NAME, ORIGIN, Trees

from watchkeeper.api import witness as face
from watchkeeper.core.clock import ManualClock
from watchkeeper.ledger.cosigning.addcheckpoint import MAX_BODY_BYTES
from watchkeeper.ledger.cosigning.cosignature import CosigningKey
from watchkeeper.ledger.cosigning.witness import Witness, logs_of
from watchkeeper.ledger.signing.keys import SigningKey
from watchkeeper.ledger.signing.note import open_note

LOG = SigningKey.generate(ORIGIN)
KEY = CosigningKey.generate(NAME)
TREES = Trees(LOG)


@pytest.fixture
async def witness(tmp_path: Path) -> AsyncIterator[Witness]:
    opened = Witness(tmp_path, (KEY,), logs_of([LOG.verifier]), ManualClock())
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
async def client(witness: Witness) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=face.create(witness), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://witness") as opened:
        yield opened


async def test_a_cosignature_comes_as_lines_to_append_to_the_checkpoint(client: httpx.AsyncClient) -> None:
    reply = await client.post("/add-checkpoint", content=TREES.request(0, 8).to_bytes())
    assert reply.status_code == 200
    assert reply.headers["content-type"].startswith("text/plain")
    assert open_note(TREES.note(8) + reply.text, [KEY.public])[1] == (KEY.public,)
    shown = await client.get(f"/{hashlib.sha256(ORIGIN.encode()).hexdigest()}/checkpoint")
    assert shown.text == TREES.note(8) + reply.text
    assert (await client.get(f"/{'0' * 64}/checkpoint")).status_code == 404


async def test_a_conflict_says_the_size_to_go_on_from_in_its_own_media_type(client: httpx.AsyncClient) -> None:
    await client.post("/add-checkpoint", content=TREES.request(0, 8).to_bytes())
    reply = await client.post("/add-checkpoint", content=TREES.request(0, 9).to_bytes())
    assert (reply.status_code, reply.text, reply.headers["content-type"]) == (409, "8\n", "text/x.tlog.size")


async def test_what_is_not_of_the_protocol_is_refused_within_bounds(client: httpx.AsyncClient) -> None:
    for content, status in ((b"", 400), (b"\xff", 400), (b"x" * (MAX_BODY_BYTES + 1), 413)):
        assert (await client.post("/add-checkpoint", content=content)).status_code == status
    assert (await client.get("/add-checkpoint")).status_code in (404, 405)
    unknown = Trees(SigningKey.generate("other.example")).request(0, 3).to_bytes()
    assert (await client.post("/add-checkpoint", content=unknown)).status_code == 404
    fork = Trees(LOG, fork_at=1)
    await client.post("/add-checkpoint", content=TREES.request(0, 3).to_bytes())
    assert (await client.post("/add-checkpoint", content=fork.request(3, 8).to_bytes())).status_code == 422


async def test_a_body_that_does_not_come_is_not_waited_for(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(face, "READ_S", 0.05)
    never = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"old 0\n"
        await never.wait()

    assert (await client.post("/add-checkpoint", content=body())).status_code == 408


async def test_a_store_that_does_not_answer_cosigns_nothing(witness: Witness, client: httpx.AsyncClient) -> None:
    with unreachable(witness._store):
        reply = await client.post("/add-checkpoint", content=TREES.request(0, 8).to_bytes())
    assert reply.status_code == 503
    assert (await client.post("/add-checkpoint", content=TREES.request(0, 8).to_bytes())).status_code == 200
