"""The ledger over HTTP: entries, live timeline, verification with and without an anchor, replay, export."""

from __future__ import annotations

import asyncio
import io
import tarfile
from pathlib import Path

from tests.testbed.faces import Face

from watchkeeper.core.principals import Role
from watchkeeper.ledger.export import verify_export


async def test_entries_are_paged_and_found_by_subject(face: Face) -> None:
    await face.log.grow(3, 2)
    async with face.client(Role.VIEWER) as viewer:
        some = (await viewer.get("/v1/ledger/entries", params={"after": 1, "limit": 2})).json()
        last = (await viewer.get("/v1/ledger/tail", params={"count": 1})).json()
        about = (await viewer.get("/v1/ledger/entries", params={"subject": "nothing"})).json()
    assert [entry["index"] for entry in some] == [2, 3]
    assert last[0]["index"] == await face.log.reader.size() - 1
    assert about == []


async def test_the_timeline_waits_for_the_next_entry(face: Face) -> None:
    await face.log.grow(1)
    size = await face.log.reader.size()
    async with face.client(Role.VIEWER) as viewer:
        asked = asyncio.create_task(viewer.get("/v1/timeline", params={"after": size - 1, "wait_s": 20}))
        await face.log.grow(2)
        told = (await asked).json()
    assert [entry["index"] for entry in told["entries"]][:1] == [size]
    assert told["next"] >= size


async def test_the_timeline_answers_empty_when_the_time_is_up(face: Face) -> None:
    async with face.client(Role.VIEWER) as viewer:
        told = (await viewer.get("/v1/timeline", params={"after": 10_000, "wait_s": 0.01})).json()
    assert told == {"entries": [], "next": 10_000}


async def test_invariant_8_without_an_anchor_a_rollback_is_not_excluded(face: Face) -> None:
    await face.log.grow(3)
    async with face.client(Role.VIEWER) as viewer:
        anchor = (await viewer.get("/v1/ledger/checkpoint")).text
        await face.log.grow(2)
        without = (await viewer.post("/v1/ledger/verify", json={})).json()
        held = (await viewer.post("/v1/ledger/verify", json={"anchor": anchor})).json()
        forged = (await viewer.post("/v1/ledger/verify", json={"anchor": "x\n1\ny\n"})).json()
    assert (without["ok"], without["rollback"]) == (True, "not_excluded")
    assert (held["ok"], held["rollback"]) == (True, "excluded")
    assert (forged["ok"], forged["problems"][0]["code"]) == (False, "bad_anchor")


async def test_invariant_8_recorded_decisions_are_made_again_the_same(face: Face) -> None:
    await face.waiting()
    async with face.client(Role.VIEWER) as viewer:
        report = (await viewer.post("/v1/ledger/replay")).json()
    assert (report["matched"], report["differed"]) == (1, [])
    assert report["not_recomputable"] == [
        {"reason": "code", "count": 1}
    ]  # the sample finding is of no detector of ours


async def test_one_kind_is_replayed_alone(face: Face) -> None:
    await face.waiting()
    async with face.client(Role.VIEWER) as viewer:
        asked = {"kind": ["dev.watchkeeper.finding.v1", "dev.watchkeeper.diagnosis.v1"]}
        report = (await viewer.post("/v1/ledger/replay", params=asked)).json()
        refused = await viewer.post("/v1/ledger/replay", params={"kind": "finding"})
    assert (report["seen"], report["matched"]) == (1, 0)
    assert [count["kind"] for count in report["kinds"]] == ["dev.watchkeeper.finding.v1"]
    assert refused.status_code == 422


async def test_the_export_verifies_without_us(face: Face, tmp_path: Path) -> None:
    await face.waiting()
    async with face.client(Role.VIEWER) as viewer:
        archive = (await viewer.get("/v1/ledger/export")).content
        vkey = (await viewer.get("/v1/ledger/key")).json()["vkey"]
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(tmp_path / "export", filter="data")
    report = verify_export(tmp_path / "export", vkey)
    assert report.ok
    assert report.size == await face.log.reader.size()


async def test_the_story_has_every_entry_and_its_evidence(face: Face) -> None:
    approval = await face.waiting()
    incident = (await face.services.approvals.get(approval)).request.incident
    async with face.client(Role.VIEWER) as viewer:
        steps = (await viewer.get(f"/v1/incidents/{incident}/story")).json()
    assert [step["part"] for step in steps] == ["seen", "seen", "proposed", "decided", "consent"]
    texts = [shown["text"] for shown in steps[1]["evidence"]]
    assert '{"calls_per_min": 412}' in texts
