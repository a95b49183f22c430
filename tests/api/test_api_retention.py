"""Pruning and archive over HTTP: told line by line, who may, and failures as the last line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import httpx
import pytest
from tests.testbed.faces import Face

from watchkeeper.core.evidence import EvidenceKind
from watchkeeper.core.principals import Role

PRUNE, ENTRIES, ARCHIVE = "/v1/ledger/prune", "/v1/ledger/prune/entries", "/v1/ledger/archive"


async def lines(client: httpx.AsyncClient, path: str, body: Mapping[str, object]) -> list[dict[str, Any]]:
    reply = await client.post(path, json=body)
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in reply.text.splitlines()]


def later(face: Face, days: float) -> None:
    face.clock.advance(timedelta(days=days).total_seconds())


async def test_evidence_is_pruned_on_order_and_kept_on_a_dry_run(face: Face) -> None:
    async with face.services.store.write() as tx:
        ref = await face.services.evidence.put(tx, EvidenceKind.PROMPT, b"a prompt")
    incident = await face.incident()
    later(face, 91)
    async with face.client(Role.OPERATOR) as operator:
        *_, planned = await lines(operator, PRUNE, {})
        assert await face.services.evidence.get(ref.commitment) == b"a prompt"
        first, *_, done = await lines(operator, PRUNE, {"dry": False})
    assert planned["report"]["kinds"] == done["report"]["kinds"] == [{"kind": "prompt", "count": 1, "size": 8}]
    assert (planned["report"]["kept"], done["report"]["kept"]) == (1, 1), incident
    assert first.keys() == {"done", "of"}
    assert await face.services.evidence.get(ref.commitment) is None


async def test_archive_check_and_prune_in_their_order(face: Face) -> None:
    async with face.client(Role.ADMIN) as admin:
        await face.log.grow(300)
        later(face, 400)
        early = (await lines(admin, ENTRIES, {}))[-1]
        assert (early["problem"]["code"], early["problem"]["next"]) == ("conflict", "watchkeeper ledger archive")
        archived = (await lines(admin, ARCHIVE, {}))[-1]["report"]
        assert (archived["first"], archived["end"], archived["segments"]) == (0, 256, 1)
        checked = (await lines(admin, f"{ARCHIVE}/check", {}))[-1]["report"]
        assert (checked["ok"], checked["compared"]) == (True, 256)
        planned = (await lines(admin, ENTRIES, {}))[-1]["report"]
        pruned = (await lines(admin, ENTRIES, {"dry": False}))[-1]["report"]
        assert planned["count"] == pruned["count"] > 250
        while await face.log.sequencer.run_once():
            pass
        verified = (await admin.post("/v1/ledger/verify", json={})).json()
        assert (verified["ok"], verified["pruned"]) == (True, pruned["count"])
        assert (await admin.post("/v1/ledger/replay")).json()["differed"] == []


@pytest.mark.parametrize(
    ("path", "role", "may"),
    [
        (PRUNE, Role.VIEWER, False),
        (PRUNE, Role.OPERATOR, True),
        (ENTRIES, Role.OPERATOR, False),
        (ARCHIVE, Role.VIEWER, False),
        (ARCHIVE, Role.OPERATOR, True),
        (f"{ARCHIVE}/check", Role.VIEWER, True),
    ],
)
async def test_who_may(face: Face, path: str, role: Role, may: bool) -> None:
    async with face.client(role) as client:
        reply = await client.post(path, json={})
    assert reply.status_code == (200 if may else 403)


async def test_the_story_over_http_names_the_archive(face: Face) -> None:
    incident = await face.incident()
    async with face.services.store.write() as tx:
        await face.services.incidents.close(tx, incident, "recovered")
    await face.log.sequencer.run_once()
    await face.log.grow(300)
    later(face, 400)
    async with face.client(Role.ADMIN) as admin:
        await lines(admin, ARCHIVE, {})
        await lines(admin, ENTRIES, {"dry": False})
        while await face.log.sequencer.run_once():
            pass
        steps = (await admin.get(f"/v1/incidents/{incident}/story")).json()
    assert [step["part"] for step in steps] == ["seen", "pruned", "pruned", "closed"]
    assert steps[1]["data"]["place"].endswith("archive")
