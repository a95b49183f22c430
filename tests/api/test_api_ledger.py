"""The ledger over HTTP: entries, live timeline, verification with and without an anchor, replay, export."""

from __future__ import annotations

import asyncio
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from tests.testbed.faces import Face
from tests.testbed.ledgers import closing
from tests.testbed.stores import unreachable

from watchkeeper.api.ledger.checks import _told
from watchkeeper.api.streams import _lines
from watchkeeper.core.entries import EntryType
from watchkeeper.core.principals import Role
from watchkeeper.ledger.exports.export import verify_export


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


async def test_what_needs_evidence_is_replayed_alone(face: Face) -> None:
    await face.waiting()
    async with face.client(Role.VIEWER) as viewer:
        report = (await viewer.post("/v1/ledger/replay", params={"decisions": False})).json()
    assert (report["seen"], report["matched"]) == (1, 0)
    assert [count["kind"] for count in report["kinds"]] == ["dev.watchkeeper.finding.v1"]


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


async def lines(face: Face, path: str, body: dict[str, str]) -> list[dict[str, Any]]:
    async with face.client(Role.VIEWER) as viewer:
        said = await viewer.post(path, json=body, headers={"Accept": "application/x-ndjson"})
    assert said.headers["content-type"].startswith("application/x-ndjson")
    return [json.loads(line) for line in said.text.splitlines()]


@pytest.mark.parametrize("name", ["verify", "fsck"])
async def test_a_check_is_told_line_by_line_and_ends_with_its_report(face: Face, name: str) -> None:
    await face.log.grow(3)
    async with face.client(Role.VIEWER) as viewer:
        plain = (await viewer.post(f"/v1/ledger/{name}", json={})).json()
    *progress, last = await lines(face, f"/v1/ledger/{name}", {})
    assert all(line.keys() == {"done", "of"} for line in progress)
    assert last == {"report": plain}
    assert (plain["ok"], plain["check"]) == (True, name)


async def test_a_check_that_fails_midway_ends_with_its_problem(face: Face) -> None:
    with unreachable(face.services.store):
        told = [line async for line in _lines(_told(face.services.verify, None))]
    assert json.loads(told[-1])["problem"]["code"] == "store_unavailable"


async def test_entries_are_found_by_kind_and_time(face: Face) -> None:
    await face.log.grow(2)
    await face.log.append(closing())
    await face.log.sequencer.run_turn()
    kind = EntryType.INCIDENT_CLOSED.value
    async with face.client(Role.VIEWER) as viewer:
        closed = (await viewer.get("/v1/ledger/entries", params={"type": [kind]})).json()
        none = (await viewer.get("/v1/ledger/entries", params={"until": "2020-01-01T00:00:00Z"})).json()
        unknown = await viewer.get("/v1/ledger/entries", params={"type": "x"})
    assert {entry["envelope"]["type"] for entry in closed} == {kind}
    assert none == []
    assert unknown.status_code == 422


async def test_stats_say_what_the_log_holds(face: Face) -> None:
    await face.waiting()
    await face.log.append(closing())
    async with face.client(Role.VIEWER) as viewer:
        found = (await viewer.get("/v1/ledger/stats")).json()
    size = await face.log.reader.size()
    assert (found["size"], found["sampled"], found["pending"]) == (size, size, 1)
    assert sum(kind["of_all"] for kind in found["kinds"]) == size
    assert found["growth"][-1]["entries"] == size
    assert found["evidence"]
    assert found["database_bytes"] > 0
