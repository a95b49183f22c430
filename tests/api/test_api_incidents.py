"""Incidents and a person's word on them: what an approval shows, and that an answer counts once."""

from __future__ import annotations

from sqlalchemy import func, select
from tests.testbed.faces import Face

from watchkeeper.agents.incidents import Status
from watchkeeper.core.consents import ApprovalAnswered
from watchkeeper.core.decisions import ApprovalTerms
from watchkeeper.core.entries import EntryType
from watchkeeper.core.ids import ApprovalId
from watchkeeper.core.principals import PrincipalKind, Role
from watchkeeper.ledger.tables import evidence


async def test_an_approval_shows_the_change_the_reach_the_way_back_and_the_walk(face: Face) -> None:
    approval = await face.waiting()
    async with face.client(Role.VIEWER) as viewer:
        listed = (await viewer.get("/v1/approvals")).json()
        shown = (await viewer.get(f"/v1/approvals/{approval}")).json()
    assert listed == [shown]
    assert shown["state"] == "pending"
    step = shown["steps"][0]
    assert step["changes"] == [{"path": "rpm_limit", "before": None, "after": 30}]
    assert step["way_back"] == [{"path": "rpm_limit", "before": 30, "after": None}]
    assert (step["count"], step["population"]) == (1, 12)
    assert shown["plan"]["runbook"]["name"] == "throttle-runaway"
    walk = shown["decision"]["decision"]["walk"]
    assert next(gate["reason"] for gate in walk if not gate["passed"]) == "shadow_only"


async def test_an_approval_is_answered_once_and_wakes_its_incident(face: Face) -> None:
    approval = await face.waiting()
    incident = (await face.services.approvals.get(approval)).request.incident
    await face.services.incidents.sleep(await face.services.incidents.get(incident), None)
    async with face.client(Role.APPROVER) as ann, face.client(Role.APPROVER, name="bob") as bob:
        body = {"answer": "approved", "comment": "the bearer is sk-1234567890", "via": "terminal"}
        said = (await ann.post(f"/v1/approvals/{approval}", json=body)).json()
        assert said["state"] == "approved"
        assert said["answers"][0]["by"]["id"] == "ann"
        assert said["answers"][0]["via"] == "terminal"
        again = await bob.post(f"/v1/approvals/{approval}", json=body)
        assert again.status_code == 409
    assert (await face.services.incidents.get(incident)).wake_at == face.clock.now()


async def test_a_comment_is_evidence_and_no_part_of_the_entry(face: Face) -> None:
    approval = await face.waiting()
    async with face.client(Role.APPROVER) as ann:
        await ann.post(f"/v1/approvals/{approval}", json={"answer": "rejected", "comment": "Jane says no"})
    await face.log.sequencer.run_once()
    entry = (await face.log.reader.find(types=(EntryType.APPROVAL_ANSWERED,)))[0].envelope
    assert b"Jane" not in entry.to_bytes()
    data = entry.typed()
    assert isinstance(data, ApprovalAnswered)
    assert data.comment is not None
    assert await face.services.evidence.get(data.comment.commitment) == b"Jane says no"


async def test_the_terms_of_an_approval_say_which_roles_answer_it(face: Face) -> None:
    by_default = await face.waiting()
    asked = (await face.services.approvals.get(by_default)).request
    terms = ApprovalTerms(node="grant/g", roles=(Role.APPROVER, Role.OPERATOR), quorum=1, ttl_s=600)
    named = asked.model_copy(update={"approval": ApprovalId("apr_named"), "terms": (terms,)})
    async with face.services.store.write() as tx:
        await face.services.approvals.request(tx, named)
    body = {"answer": "approved", "comment": "go on"}
    kept = await evidence_rows(face)
    async with face.client(Role.OPERATOR) as ann, face.client(Role.VIEWER, name="vic") as vic:
        for caller, approval in ((ann, by_default), (vic, by_default), (vic, named.approval)):
            refused = await caller.post(f"/v1/approvals/{approval}", json=body)
            assert refused.status_code == 403
            assert refused.json()["cause"].startswith("it takes one of the roles approver")
        assert await evidence_rows(face) == kept
        assert (await ann.post(f"/v1/approvals/{named.approval}", json=body)).json()["state"] == "approved"


async def evidence_rows(face: Face) -> int:
    async with face.services.store.read() as tx:
        return int((await tx.execute(select(func.count()).select_from(evidence))).scalar_one())


async def test_invariant_3_only_a_person_approves_and_only_in_time(face: Face) -> None:
    approval = await face.waiting()
    async with face.client(Role.ADMIN, name="robot", kind=PrincipalKind.SERVICE) as robot:
        refused = await robot.post(f"/v1/approvals/{approval}", json={"answer": "approved"})
        assert refused.status_code == 403
    face.clock.advance(601)
    async with face.client(Role.APPROVER) as ann:
        late = await ann.post(f"/v1/approvals/{approval}", json={"answer": "approved"})
    assert late.status_code == 409
    assert "expired" in late.json()["what"]


async def test_a_stop_and_its_lifting(face: Face) -> None:
    async with face.client(Role.OPERATOR, name="olga") as olga, face.client(Role.ADMIN, name="root") as root:
        assert (await olga.get("/v1/status")).json()["stopped"] == []
        stopped = (await olga.post("/v1/stop", json={"scope": "service:prod/chat"})).json()
        assert (stopped["scope"], stopped["epoch"], stopped["in_flight"]) == ("service:prod/chat", 1, [])
        assert [s["scope"] for s in (await olga.get("/v1/status")).json()["stopped"]] == ["service:prod/chat"]
        assert (await olga.post("/v1/resume", json={"scope": "service:prod/chat"})).status_code == 403
        lifted = await root.post("/v1/resume", json={"scope": "service:prod/chat"})
        assert lifted.json() == {"scope": "service:prod/chat", "epoch": 1}
        assert (await olga.get("/v1/status")).json()["stopped"] == []


async def test_the_status_counts_what_a_person_asks_first(face: Face) -> None:
    await face.waiting()
    async with face.client(Role.VIEWER) as viewer:
        status = (await viewer.get("/v1/status")).json()
        listed = (await viewer.get("/v1/incidents")).json()
    assert (status["incidents_open"], status["approvals_waiting"], status["remedies_in_force"]) == (1, 1, 0)
    assert status["policy_version"] == (await face.services.versions.active()).version
    assert [incident["mode"] for incident in listed] == ["runaway_loop"]


async def test_the_policy_in_force_and_its_history(face: Face) -> None:
    async with face.client(Role.VIEWER) as viewer:
        active = (await viewer.get("/v1/policies/active")).json()
        history = (await viewer.get("/v1/policies")).json()
    assert [each["version"] for each in history] == [active["version"]]
    assert all(node["document"]["kind"] in ("Grant", "Limit") for node in active["nodes"])


async def test_a_policy_is_applied_whole_or_not_at_all_and_taken_back(face: Face) -> None:
    limit = "apiVersion: watchkeeper.dev/v1\nkind: Limit\nmetadata:\n  name: a\nspec: {}\n"
    before = (await face.services.versions.active()).version
    async with face.client(Role.OPERATOR) as olga:
        bad = await olga.post("/v1/policies", json={"files": [{"name": "a.yaml", "text": limit + "more: 1\n"}]})
        assert (bad.status_code, bad.json()["place"]) == (422, "a.yaml:6")
        assert (await face.services.versions.active()).version == before
        made = await olga.post("/v1/policies", json={"files": [{"name": "a.yaml", "text": limit}], "reason": "tighter"})
        assert (await face.services.versions.active()).version == made.json()["version"] != before
        assert (await olga.post(f"/v1/policies/{before}/rollback")).json() == {"version": before}
        assert (await olga.post("/v1/policies", json={})).status_code == 422


async def test_a_person_closes_an_escalated_incident_in_their_name(face: Face) -> None:
    approval = await face.waiting()
    incident = (await face.services.approvals.get(approval)).request.incident
    async with face.client(Role.OPERATOR, name="olga") as olga:
        early = await olga.post(f"/v1/incidents/{incident}/close", json={"comment": "over"})
        assert (early.status_code, early.json()["code"]) == (409, "conflict")
        async with face.services.store.write() as tx:
            await face.services.incidents.set_status(tx, incident, Status.ESCALATED)
        closed = (await olga.post(f"/v1/incidents/{incident}/close", json={"comment": "moved away"})).json()
        assert (closed["status"], closed["resolution"]) == ("closed", "closed_by_person")
        assert (await olga.post(f"/v1/incidents/{incident}/close", json={"comment": "again"})).status_code == 409
        assert (await face.services.approvals.get(approval)).state == "superseded"
        await face.log.sequencer.run_once()
        steps = (await olga.get(f"/v1/incidents/{incident}/story")).json()
    (ordered,) = [step for step in steps if step["type"] == EntryType.ORDER]
    assert (ordered["data"]["kind"], ordered["data"]["by"]["id"]) == ("close", "olga")
    assert [each["text"] for each in ordered["evidence"]] == ["moved away"]
