"""The journal: on disk before the effect and the reply, and enough to complete the state of a killed gateway."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
from tests.testbed.labs import LabProcess, lab_process, open_gateway

from watchkeeper.lab.gateway.journal import Journal, read_journal, redact
from watchkeeper.lab.gateway.rows import key_hash


async def key_limit(lab: LabProcess, token: str) -> int | None:
    reply = await lab.admin.get("/key/info", params={"key": token})
    limit: int | None = reply.json()["info"]["rpm_limit"]
    return limit


async def test_invariant_4_a_write_that_was_replied_to_survives_kill_9(tmp_path: Path) -> None:
    async with lab_process(tmp_path, "--pace", "0") as lab:
        token = lab.info.agents[0].key_hash
        before = len(read_journal(lab.info.journal_file))
        reply = await lab.admin.post(
            "/key/update", json={"key": token, "rpm_limit": 7}, headers={"litellm-changed-by": "watchkeeper"}
        )
        assert reply.status_code == 200
        await lab.kill()
    entries = read_journal(lab.info.journal_file)[before:]
    assert [(entry.path, entry.status, entry.changed_by) for entry in entries] == [("/key/update", 200, "watchkeeper")]
    async with lab_process(tmp_path, "--pace", "0") as again:
        assert await key_limit(again, token) == 7
        assert len(read_journal(again.info.journal_file)) == before + 1 + _moved(again)


def _moved(lab: LabProcess) -> int:
    """A lab on free ports tells its gateway where the providers now are: one write a deployment."""
    return sum(deployment.manageable for deployment in lab.info.deployments)


async def test_invariant_4_drop_after_effect_leaves_one_effect_and_no_reply_also_after_kill_9(tmp_path: Path) -> None:
    async with lab_process(tmp_path, "--pace", "0") as lab:
        token = lab.info.agents[0].key_hash
        await lab.admin.post("/_lab/fault", json={"mode": "drop_after_effect", "count": 1})
        with pytest.raises(httpx.TransportError):
            await lab.admin.post("/key/update", json={"key": token, "rpm_limit": 9})
        await lab.kill()
    updates = [entry for entry in read_journal(lab.info.journal_file) if entry.path == "/key/update"]
    assert [entry.status for entry in updates] == [200]
    async with lab_process(tmp_path, "--pace", "0") as again:
        assert await key_limit(again, token) == 9


async def test_a_kill_between_journal_and_snapshot_is_completed_from_the_journal(tmp_path: Path) -> None:
    async with open_gateway(tmp_path) as lab:
        key = await lab.key("k")
        stale = (tmp_path / "gateway.json").read_bytes()
        await lab.update_key(key, rpm_limit=3)
    (tmp_path / "gateway.json").write_bytes(stale)
    async with open_gateway(tmp_path) as again:
        assert again.gateway.store.keys[key_hash(key)].rpm_limit == 3


async def test_a_torn_last_line_is_cut_off_and_the_next_write_is_whole(tmp_path: Path) -> None:
    async with open_gateway(tmp_path) as lab:
        await lab.key("k")
    path = tmp_path / "journal.jsonl"
    with path.open("ab") as file:
        file.write(b'{"seq": 2, "at": "2026')
    journal = Journal(path)
    assert journal.last_seq == 1
    journal.close()
    async with open_gateway(tmp_path) as again:
        await again.key("other")
    assert [entry.seq for entry in read_journal(path)] == [1, 2]


async def test_refused_writes_are_journalled_with_their_status_and_no_effect(tmp_path: Path) -> None:
    async with open_gateway(tmp_path) as lab:
        await lab.admin.post("/key/update", json={"key": "0" * 64, "rpm_limit": 1})
        (entry,) = lab.journal("/key/update")
        assert (entry.status, entry.effect) == (404, None)
        served = (await lab.admin.get("/_lab/journal", params={"after": 0})).json()["entries"]
        assert [row["path"] for row in served] == ["/key/update"]


async def test_no_key_reaches_the_disk(tmp_path: Path) -> None:
    async with open_gateway(tmp_path) as lab:
        key = await lab.key("k")
        await lab.admin.post("/key/block", json={"key": key})
        await lab.admin.post("/key/update", json={"key": key, "rpm_limit": 4})
    for path in tmp_path.iterdir():
        assert key not in path.read_text()
    bodies = [entry.body for entry in read_journal(tmp_path / "journal.jsonl")[1:]]
    assert bodies == [{"key": key_hash(key)}, {"key": key_hash(key), "rpm_limit": 4}]


def test_redaction_goes_all_the_way_down() -> None:
    body = redact({"a": [{"api_key": "p", "key": "sk-abcdefgh"}], "n": 1})
    assert body == {"a": [{"api_key": "[redacted]", "key": key_hash("sk-abcdefgh")}], "n": 1}
    assert "sk-abcdefgh" not in json.dumps(body)
