"""Proofs over HTTP stand against the signed checkpoint and the entry's own bytes."""

from __future__ import annotations

import pytest
from tests.testbed.faces import Face

from watchkeeper.core.principals import Role
from watchkeeper.ledger.cosigning.addcheckpoint import AddCheckpoint
from watchkeeper.ledger.signing.checkpoint import open_checkpoint
from watchkeeper.ledger.tree.proof import TlogProof, prove_growth


async def test_an_entry_is_proven_by_index_and_by_id(face: Face) -> None:
    await face.log.grow(2, 3)
    (entry,) = await face.log.reader.entries(1, 2)
    async with face.client(Role.VIEWER) as viewer:
        for which in ("1", entry.envelope.id):
            text = (await viewer.get("/v1/ledger/proof", params={"entry": which})).text
            reply = await viewer.get("/v1/ledger/entry", params={"entry": which})
            proof = TlogProof.from_text(text)
            assert proof.index == 1
            proof.prove(reply.content, open_checkpoint(proof.note.to_text(), [face.log.key.verifier]))
            assert reply.headers["content-type"] == "application/cloudevents+json"
            assert reply.content == entry.envelope.to_bytes()


async def test_growth_is_proven_between_checkpoints(face: Face) -> None:
    await face.log.grow(2)
    async with face.client(Role.VIEWER) as viewer:
        notes = []
        for _ in range(3):
            notes.append((await viewer.get("/v1/ledger/checkpoint")).text)
            await face.log.grow(3)
        old, middle, _ = (open_checkpoint(note, [face.log.key.verifier]) for note in notes)
        proofs = [
            (await viewer.get("/v1/ledger/growth", params=params)).text
            for params in ({"old": old.size}, {"old": old.size, "new": middle.size}, {"old": 0})
        ]
        between = await viewer.get("/v1/ledger/growth", params={"old": 1, "new": middle.size - 1})
    for text in proofs[:2]:
        proof = AddCheckpoint.from_bytes(text.encode())
        prove_growth(proof, old, open_checkpoint(proof.note.to_text(), [face.log.key.verifier]))
    assert AddCheckpoint.from_bytes(proofs[1].encode()).note.text == middle.to_text()
    assert AddCheckpoint.from_bytes(proofs[2].encode()).proof == ()
    assert (between.status_code, between.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("which", ["999999", "ent_none", "-1", "1.5", "٧", "9" * 60])
async def test_what_is_not_in_the_log_has_no_proof(face: Face, which: str) -> None:
    await face.log.grow(2)
    async with face.client(Role.VIEWER) as viewer:
        for path in ("proof", "entry"):
            reply = await viewer.get(f"/v1/ledger/{path}", params={"entry": which})
            assert (reply.status_code, reply.json()["code"]) == (404, "not_found")
        assert (await viewer.get("/v1/ledger/growth", params={"old": 99})).status_code == 404


async def test_nobody_gets_proofs_without_a_role(face: Face) -> None:
    await face.log.grow(2)
    async with face.client() as nobody:
        for path in ("proof?entry=1", "entry?entry=1", "growth?old=1"):
            assert (await nobody.get(f"/v1/ledger/{path}")).status_code == 401
