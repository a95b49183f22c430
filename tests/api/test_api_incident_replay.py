"""An incident replayed over HTTP: its story in order, with inputs, and what came of making each step again."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import delete, update
from tests.testbed.faces import Face
from tests.testbed.stores import tampering
from tests.testbed.troubles import Recorded, recorded

from watchkeeper.api.ledger import incident_replay
from watchkeeper.core.principals import Role
from watchkeeper.ledger.tables import evidence as bodies

Steps = list[dict[str, Any]]


async def opened(face: Face) -> Recorded:
    return await recorded(face.services.store, face.services.evidence, face.log)


async def asked(face: Face, incident: str) -> Steps:
    async with face.client(Role.VIEWER) as viewer:
        answer = await viewer.get(f"/v1/incidents/{incident}/replay")
        found: Steps = answer.json()
    assert answer.status_code == 200
    return found


async def test_each_step_has_its_basis_and_is_made_again(face: Face) -> None:
    made = await opened(face)
    steps = await asked(face, made.incident)
    assert [step["step"]["part"] for step in steps] == ["seen"] * 4 + ["concluded"]
    assert [step["again"] and step["again"]["made"] for step in steps] == [None, "same", "same", "same", "same"]
    assert steps[0]["basis"] is None
    assert {"config", "case", "facts"} < set(steps[1]["basis"])


async def test_a_decision_is_made_again_and_an_answer_is_not(face: Face) -> None:
    approval = await face.waiting()
    incident = (await face.services.approvals.get(approval)).request.incident
    steps = await asked(face, incident)
    again = {step["step"]["part"]: step["again"] for step in steps}
    assert (again["decided"]["made"], again["consent"], again["proposed"]) == ("same", None, None)


async def test_a_pruned_and_an_altered_basis_are_told_and_end_nothing(face: Face) -> None:
    made = await opened(face)
    first, second = [step["step"]["evidence"][0]["commitment"] for step in (await asked(face, made.incident))[1:3]]
    async with tampering(face.services.store) as tx:
        await tx.execute(delete(bodies).where(bodies.c.commitment == first))
        await tx.execute(update(bodies).where(bodies.c.commitment == second).values(body=b"other"))
    steps = await asked(face, made.incident)
    assert [step["again"]["reason"] for step in steps[1:]] == ["pruned", "altered", "", ""]
    assert [step["basis"] is None for step in steps[1:]] == [True, True, False, False]
    assert steps[2]["step"]["evidence"][0]["altered"] is True


async def test_bases_that_are_too_much_for_one_answer_are_left_out_and_still_judged(
    face: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await opened(face)
    monkeypatch.setattr(incident_replay, "MAX_BASES", 10)
    steps = await asked(face, made.incident)
    assert {step["again"]["made"] for step in steps[1:]} == {"same"}
    assert all(step["basis"] is None for step in steps)


async def test_an_unknown_incident_is_not_found(face: Face) -> None:
    async with face.client(Role.VIEWER) as viewer:
        assert (await viewer.get("/v1/incidents/inc_none/replay")).status_code == 404
