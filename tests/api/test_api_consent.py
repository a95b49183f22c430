"""A person's word on plans over HTTP: several at once, each bound by its hash; edited; and what an adversary tries."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.testbed.entries import a_plan
from tests.testbed.faces import Face, an_editable_plan

from watchkeeper.core.consents import PlanEdited
from watchkeeper.core.entries import EntryType
from watchkeeper.core.ids import ApprovalId
from watchkeeper.core.principals import PrincipalKind, Role


async def hash_of(face: Face, approval: str) -> str:
    return (await face.services.approvals.get(ApprovalId(approval))).request.plan_hash


async def three(face: Face) -> list[dict[str, str]]:
    """Plans that wait, as a person lists those that were read."""
    plans = []
    for n in range(3):
        plan = a_plan().model_copy(update={"remedy_ttl_s": 3600.0 + n})
        approval = await face.waiting(plan)
        plans.append({"approval": str(approval), "plan_hash": await hash_of(face, approval)})
    return plans


async def test_one_answer_covers_the_plans_that_it_lists_each_bound_on_its_own(face: Face) -> None:
    good, swapped, over = await three(face)
    swapped = {**swapped, "plan_hash": good["plan_hash"]}
    async with face.client(Role.APPROVER, name="bob") as bob, face.client(Role.APPROVER) as ann:
        await bob.post(f"/v1/approvals/{over['approval']}", json={"answer": "rejected"})
        unknown = {"approval": "apr_none", "plan_hash": good["plan_hash"]}
        given = {
            "answer": "approved",
            "plans": [good, swapped, over, unknown],
            "comment": "all three",
            "via": "terminal",
        }
        said = (await ann.post("/v1/approvals", json=given)).json()
    assert [each["state"] for each in said] == ["approved", None, None, None]
    assert [each["problem"] and each["problem"]["code"] for each in said] == [None, "conflict", "conflict", "not_found"]
    assert "another plan" in said[1]["problem"]["what"]
    states = [(await face.services.approvals.get(ApprovalId(each["approval"]))).state for each in (good, swapped, over)]
    assert states == ["approved", "pending", "rejected"]


@pytest.mark.parametrize("plans", [[], [{"approval": "apr_1", "plan_hash": "x"}] * 21, [{"approval": "apr_1"}]])
async def test_a_batch_is_bounded_and_every_plan_in_it_has_its_hash(face: Face, plans: list[Any]) -> None:
    async with face.client(Role.APPROVER) as ann:
        assert (await ann.post("/v1/approvals", json={"answer": "approved", "plans": plans})).status_code == 422


async def test_a_batch_with_an_id_that_no_answer_could_name_answers_nothing(face: Face) -> None:
    good, *_ = await three(face)
    given = {"answer": "rejected", "plans": [good, {"approval": "\ud800", "plan_hash": "x"}]}
    async with face.client(Role.APPROVER) as ann:
        said = await ann.post(
            "/v1/approvals", content=json.dumps(given).encode(), headers={"content-type": "application/json"}
        )
    assert said.status_code == 422
    assert (await face.services.approvals.get(ApprovalId(good["approval"]))).state == "pending"


async def test_adversary_a_plan_hash_swapped_in_the_request_approves_nothing(face: Face) -> None:
    approval = await face.waiting()
    body = {"answer": "approved", "plan_hash": an_editable_plan().plan_hash}
    async with face.client(Role.APPROVER) as ann:
        refused = await ann.post(f"/v1/approvals/{approval}", json=body)
        assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
        right = {"answer": "approved", "plan_hash": await hash_of(face, approval)}
        assert (await ann.post(f"/v1/approvals/{approval}", json=right)).json()["state"] == "approved"


@pytest.mark.parametrize(
    "forged",
    [
        {"by": {"id": "root", "kind": "person", "roles": ["admin"], "authenticated_by": "token"}},
        {"principal": "root"},
        {"roles": ["admin"]},
    ],
)
async def test_adversary_a_principal_in_the_request_is_refused(face: Face, forged: dict[str, Any]) -> None:
    approval = await face.waiting()
    async with face.client(Role.VIEWER, name="eve") as eve:
        refused = await eve.post(f"/v1/approvals/{approval}", json={"answer": "approved", **forged})
        assert refused.status_code == 422
        plain = await eve.post(f"/v1/approvals/{approval}", json={"answer": "approved"})
        assert plain.status_code == 403


async def test_adversary_a_forged_token_is_nobody(face: Face) -> None:
    approval = await face.waiting()
    token = await face.token(Role.APPROVER)
    other = token[:-1] + ("a" if token[-1] != "a" else "b")
    async with face.client() as nobody:
        for forged in (other, token.upper(), f"wk_{token}", "wk_" + "0" * 43):
            header = {"Authorization": f"Bearer {forged}"}
            reply = await nobody.post(f"/v1/approvals/{approval}", json={"answer": "approved"}, headers=header)
            assert reply.status_code == 401


async def test_adversary_a_machine_neither_approves_nor_edits_whatever_its_roles(face: Face) -> None:
    approval = await face.waiting(an_editable_plan())
    plans = [{"approval": str(approval), "plan_hash": await hash_of(face, approval)}]
    edit = {"edits": [{"step": 0, "name": "rpm_limit", "value": 40}]}
    roles = (Role.ADMIN, Role.APPROVER, Role.OPERATOR)
    async with face.client(*roles, name="model", kind=PrincipalKind.SERVICE) as model:
        for answer in ("approved", "rejected"):
            assert (await model.post(f"/v1/approvals/{approval}", json={"answer": answer})).status_code == 403
            (one,) = (await model.post("/v1/approvals", json={"answer": answer, "plans": plans})).json()
            assert one["problem"]["code"] == "forbidden"
        assert (await model.post(f"/v1/approvals/{approval}/edit", json=edit)).status_code == 403
        assert (await model.post("/v1/stop", json={"then_undo": True})).status_code == 403
        assert (await model.post("/v1/stop", json={})).status_code == 200, "a machine may stop"


async def test_an_edit_ends_the_old_approval_and_names_its_author(face: Face) -> None:
    approval = await face.waiting(an_editable_plan())
    read = await hash_of(face, approval)
    edit = {"edits": [{"step": 0, "name": "rpm_limit", "value": 40}], "plan_hash": read, "comment": "more for them"}
    async with face.client(Role.APPROVER) as ann, face.client(Role.VIEWER, name="vic") as vic:
        assert (await vic.post(f"/v1/approvals/{approval}/edit", json=edit)).status_code == 403
        other = {**edit, "plan_hash": a_plan().plan_hash}
        assert (await ann.post(f"/v1/approvals/{approval}/edit", json=other)).status_code == 409
        made = await ann.post(f"/v1/approvals/{approval}/edit", json=edit)
        assert (made.status_code, made.json()["authors"]) == (202, ["ann"])
        assert made.json()["plan_hash"] != read
        assert (await ann.get(f"/v1/approvals/{approval}")).json()["state"] == "superseded"
        for body in ({"answer": "approved"}, {"answer": "approved", "plan_hash": made.json()["plan_hash"]}):
            assert (await ann.post(f"/v1/approvals/{approval}", json=body)).status_code == 409
        assert (await ann.post(f"/v1/approvals/{approval}/edit", json=edit)).status_code == 409
    await face.log.sequencer.run_once()
    (entry,) = await face.log.reader.find(types=(EntryType.PLAN_EDITED,))
    data = entry.envelope.typed()
    assert isinstance(data, PlanEdited)
    assert (data.by.id, data.plan_hash, data.becomes_hash) == ("ann", read, made.json()["plan_hash"])
    assert b"more for them" not in entry.envelope.to_bytes()


@pytest.mark.parametrize(
    ("edit", "place"),
    [
        ({"step": 0, "name": "rpm_limit", "value": 0}, "0.rpm_limit"),
        ({"step": 0, "name": "rmp_limit", "value": 40}, "0.rmp_limit"),
        ({"step": 0, "name": "rpm_limit", "value": "40; drop table"}, "0.rpm_limit"),
        ({"step": 3, "name": "rpm_limit", "value": 40}, "3.rpm_limit"),
        ({"step": -1, "name": "rpm_limit", "value": 40}, "body.edits.0.step"),
        ({"step": 0, "name": "rpm_limit", "value": 40, "target": "other"}, "body.edits.0.target"),
    ],
)
async def test_what_an_edit_may_not_set_is_told_with_its_place(face: Face, edit: dict[str, Any], place: str) -> None:
    approval = await face.waiting(an_editable_plan())
    async with face.client(Role.APPROVER) as ann:
        refused = await ann.post(f"/v1/approvals/{approval}/edit", json={"edits": [edit]})
    assert (refused.status_code, refused.json()["place"]) == (422, place)
    assert (await face.services.approvals.get(approval)).state == "pending"


async def test_a_plan_of_a_runbook_that_has_changed_is_not_edited(face: Face) -> None:
    approval = await face.waiting()
    async with face.client(Role.APPROVER) as ann:
        edit = {"edits": [{"step": 0, "name": "rpm", "value": 40}]}
        refused = await ann.post(f"/v1/approvals/{approval}/edit", json=edit)
    assert (refused.status_code, "has changed" in refused.json()["what"]) == (409, True)


async def test_how_a_stop_stands_is_told_to_who_may_look(face: Face) -> None:
    async with face.client(Role.OPERATOR) as olga, face.client(Role.VIEWER, name="vic") as vic:
        report = (await olga.post("/v1/stop", json={"scope": "service:prod/chat", "then_undo": True})).json()
        assert (report["undo"], report["half_done"]) == (None, [])
        standing = (await vic.get("/v1/stop", params={"scope": "service:prod/chat"})).json()
        assert standing == {"scope": "service:prod/chat", "epoch": 1, "stopped": True, "unsettled": []}
        assert (await vic.get("/v1/stop")).json()["stopped"] is False
        assert (await vic.get("/v1/stop", params={"scope": "nonsense"})).status_code == 422
        assert (await vic.get("/v1/stop/undo/ord_none")).status_code == 404


@pytest.mark.parametrize("edited", [False, True])
async def test_a_persons_word_makes_its_incident_due_at_once(face: Face, edited: bool) -> None:
    approval = await face.waiting(an_editable_plan())
    incident = await face.services.incidents.get((await face.services.approvals.get(approval)).request.incident)
    await face.services.incidents.sleep(incident, None)
    assert await face.services.incidents.due(face.clock.now()) == ()
    edit = {"edits": [{"step": 0, "name": "rpm_limit", "value": 40}]}
    async with face.client(Role.APPROVER) as ann:
        said = await (
            ann.post(f"/v1/approvals/{approval}/edit", json=edit)
            if edited
            else ann.post(f"/v1/approvals/{approval}", json={"answer": "approved"})
        )
    assert said.is_success
    assert [each.id for each in await face.services.incidents.due(face.clock.now())] == [incident.id]
