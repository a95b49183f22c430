"""A running daemon prunes and archives by the calendar and on order, into S3 as its settings say."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from tests.testbed.ledgers import draft
from tests.testbed.s3 import S3Server

from watchkeeper.daemon.life import running
from watchkeeper.daemon.settings import Settings
from watchkeeper.ledger.archive.archivist import ArchiveReport
from watchkeeper.ledger.archive.config import LockSettings


async def report(client: httpx.AsyncClient, path: str) -> dict[str, object]:
    reply = await client.post(path, json={})
    last: dict[str, object] = httpx.Response(200, text=reply.text.splitlines()[-1]).json()["report"]
    return last


@pytest.mark.timeout(240)
async def test_a_daemon_archives_to_s3_and_the_calendar_knows_it(tmp_path: Path, s3: S3Server) -> None:
    bucket = s3.bucket()
    archive = s3.settings(bucket, LockSettings())
    settings = Settings.model_validate(
        {"data_dir": tmp_path / "var", "api": {"port": 0}, "ledger": {"archive": archive}, "log": {"level": "error"}}
    )
    async with running(settings) as (daemon, url):
        names = {job.id for job in daemon._calendar._scheduler.get_jobs()}
        assert {"prune evidence", "archive"} <= names
        parts = daemon._parts
        async with parts.store.write() as tx:
            await parts.ledger.append(tx, *(draft(n + 1) for n in range(300)))
        while await parts.sequencer.run_once():
            pass
        headers = {"Authorization": f"Bearer {parts.home.local_token().get_secret_value()}"}
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=120) as client:
            made = ArchiveReport.model_validate(await report(client, "/v1/ledger/archive"))
            checked = await report(client, "/v1/ledger/archive/check")
            await report(client, "/v1/ledger/prune")
    assert (made.place, made.end, made.segments) == (f"s3://{bucket}/logs/one/", 256, 1)
    assert made.locked_until is not None
    assert (checked["ok"], checked["compared"]) == (True, 256)
    kept = s3.client.get_object(Bucket=bucket, Key="logs/one/manifests/0.json")["Body"].read()
    assert b"a-secret-key" not in kept
