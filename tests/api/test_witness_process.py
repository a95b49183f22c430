"""`watchkeeper witness serve` as processes: at once, on one directory, and killed in the middle of its work."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
from tests.testbed.witnesses import ORIGIN, Trees, running

from watchkeeper.ledger.signing.checkpoint import open_checkpoint
from watchkeeper.ledger.signing.keys import SigningKey
from watchkeeper.ledger.signing.note import open_note

LOG = SigningKey.generate(ORIGIN)
TREES, FORK = Trees(LOG), Trees(LOG, fork_at=0)


async def _show(client: httpx.AsyncClient, url: str, trees: Trees, old: int, new: int) -> httpx.Response:
    return await client.post(f"{url}/add-checkpoint", content=trees.request(old, new).to_bytes())


async def test_of_many_at_once_at_two_processes_on_one_directory_one_alone_is_cosigned(tmp_path: Path) -> None:
    vkey = LOG.verifier.vkey
    with running(tmp_path, vkey) as one, running(tmp_path, vkey) as two:
        async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
            assert (await _show(client, one.url, TREES, 0, 1)).status_code == 200
            size = 1
            for _ in range(6):
                steps = [(at, size + step, trees) for at in (one, two) for step in (1, 2, 3) for trees in (TREES, FORK)]
                shown = (_show(client, at.url, trees, size, new) for at, new, trees in steps)
                replies = await asyncio.gather(*shown)
                won = [step for step, reply in zip(steps, replies, strict=True) if reply.status_code == 200]
                assert [trees for _, _, trees in won] == [TREES]
                assert {reply.status_code for reply in replies} <= {200, 409, 422}
                size = won[0][1]
                assert {reply.text for reply in replies if reply.status_code == 409} <= {f"{size}\n"}
                assert one.newest(ORIGIN) == two.newest(ORIGIN)
                assert open_checkpoint(one.newest(ORIGIN), [LOG.verifier]) == TREES.checkpoint(size)


async def test_killed_again_and_again_it_never_takes_back_what_it_cosigned(tmp_path: Path) -> None:
    with running(tmp_path, LOG.verifier.vkey) as one:
        async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
            told = 0

            async def grow_until_it_dies() -> None:
                nonlocal told
                size = open_checkpoint(one.newest(ORIGIN), [LOG.verifier]).size if told else 0
                while True:
                    try:
                        reply = await _show(client, one.url, TREES, size, size + 1)
                    except httpx.HTTPError:
                        return
                    assert reply.status_code == 200
                    assert open_note(TREES.note(size + 1) + reply.text, [one.key])
                    size += 1
                    told = size

            for _ in range(3):
                growing, before = asyncio.create_task(grow_until_it_dies()), told
                while told < before + 3 and not growing.done():
                    await asyncio.sleep(0)
                one.child.kill9()
                await growing
                one.child.start()
                await asyncio.to_thread(one.child.wait_for_http, f"{one.url}/healthz", timeout_s=60)
                remembered = open_checkpoint(one.newest(ORIGIN), [LOG.verifier])
                assert remembered.size in (told, told + 1), "what was told is kept; the last may not have been told"
                assert remembered.root == TREES.root(remembered.size)
                assert (await _show(client, one.url, FORK, remembered.size, remembered.size)).status_code == 409
