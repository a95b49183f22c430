"""Erasing over HTTP: by people who may, looked at first, with a reason, and only while it can be recorded."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.testbed.faces import Face

from watchkeeper.api.app import create
from watchkeeper.api.services import HealthReport
from watchkeeper.core.principals import PrincipalKind, Role

PATH = "/v1/ledger/evidence/erase"
WHY = "it names a customer"


async def test_an_operator_looks_and_erases_an_incidents_evidence(face: Face) -> None:
    incident = await face.incident()
    async with face.client(Role.OPERATOR) as operator:
        looked = (await operator.post(PATH, json={"incident": incident, "dry_run": True})).json()
        done = (await operator.post(PATH, json={"incident": incident, "reason": WHY})).json()
        await face.log.sequencer.run_once()
        steps = (await operator.get(f"/v1/incidents/{incident}/story")).json()
    assert (looked["entries"], [use["ref"]["kind"] for use in looked["found"]]) == ([], ["snapshot"])
    assert done["found"] == looked["found"]
    assert done["overwritten"] is True
    assert [shown["gone"] for shown in steps[1]["evidence"]][-1] == "erased"
    assert steps[-1]["data"]["by"]["id"] == "ann"
    assert (await face.log.verify()).ok


@pytest.mark.parametrize(
    ("role", "kind", "status"),
    [
        (Role.VIEWER, PrincipalKind.PERSON, 403),
        (Role.APPROVER, PrincipalKind.PERSON, 403),
        (Role.ADMIN, PrincipalKind.SERVICE, 403),
        (Role.OPERATOR, PrincipalKind.SERVICE, 403),
        (Role.ADMIN, PrincipalKind.PERSON, 200),
    ],
)
async def test_only_operators_and_admins_in_person_may(
    face: Face, role: Role, kind: PrincipalKind, status: int
) -> None:
    incident = await face.incident()
    async with face.client(role, kind=kind) as caller:
        answer = await caller.post(PATH, json={"incident": incident, "reason": WHY})
    assert answer.status_code == status


@pytest.mark.parametrize(
    "given",
    [
        {"reason": WHY},
        {"commitments": ["0" * 64], "incident": "inc_x", "reason": WHY},
        {"commitments": ["0" * 64], "kind": "reply", "reason": WHY},
        {"commitments": ["0" * 64], "reason": " "},
        {"commitments": ["0" * 5], "reason": WHY},
    ],
)
async def test_what_is_not_said_clearly_is_refused(face: Face, given: dict[str, object]) -> None:
    async with face.client(Role.ADMIN) as admin:
        refused = await admin.post(PATH, json=given)
    assert refused.status_code == 422
    assert not refused.json()["what"].startswith("Value error")


async def test_invariant_11_nothing_is_erased_while_the_record_cannot_be_trusted(face: Face) -> None:
    incident = await face.incident()
    blind = replace(face.services, health=lambda: HealthReport(acting=False, why="store_unavailable"))
    async with replace(face, app=create(blind)).client(Role.ADMIN) as admin:
        refused = await admin.post(PATH, json={"incident": incident, "reason": WHY})
        looked = (await admin.post(PATH, json={"incident": incident, "dry_run": True})).json()
    assert refused.status_code == 503
    assert len(looked["found"]) == 1
