"""What the API says of agents, and what it lets people say about them."""

from __future__ import annotations

from tests.testbed.faces import Face

from watchkeeper.agents.manifest import MODULES, manifest_digest
from watchkeeper.core.actions import Intent
from watchkeeper.core.ids import IncidentId, PlanId
from watchkeeper.core.principals import PrincipalKind, Role
from watchkeeper.core.subjects import Scope
from watchkeeper.core.trust import Credit, Grounds, Origin, TrustOutcome

LITELLM_REMEDIATOR = "remediator/litellm"
AT = f"/v1/agents/{LITELLM_REMEDIATOR}"
ABOUT = {
    "runbook": "fail-over-provider",
    "intent": "shift_traffic",
    "scope": {"environment": "prod", "service": "chat"},
}


async def earned(face: Face) -> None:
    async with face.services.store.write() as tx:
        await face.services.trust.record(
            tx,
            [
                TrustOutcome(
                    agent=LITELLM_REMEDIATOR,
                    manifest_digest=manifest_digest(LITELLM_REMEDIATOR),
                    runbook="fail-over-provider",
                    intent=Intent.SHIFT_TRAFFIC,
                    scope=Scope(environment="prod", service="chat"),
                    incident=IncidentId("inc_1"),
                    plan=PlanId(f"pln_{n}"),
                    step=0,
                    origin=Origin.SHADOW if n >= 40 else Origin.APPROVED,
                    credit=Credit.FAILURE if n >= 40 else Credit.SUCCESS,
                    grounds=Grounds.NOT_RECOVERED if n >= 40 else Grounds.RECOVERED,
                    at=face.clock.now(),
                )
                for n in range(52)
            ],
        )


async def test_every_agent_is_listed_and_shown(face: Face) -> None:
    async with face.client(Role.VIEWER) as client:
        listed = (await client.get("/v1/agents")).json()
        assert [each["name"] for each in listed] == sorted(MODULES)
        assert {each["role"] for each in listed} == {"detector", "diagnoser", "remediator"}
        assert (await client.get(AT)).json() == next(each for each in listed if each["name"] == LITELLM_REMEDIATOR)
        unknown = await client.get("/v1/agents/remediator/litelm")
        assert (unknown.status_code, LITELLM_REMEDIATOR in unknown.text) == (404, True)


async def test_promoted_with_evidence_alone_then_demoted_and_all_of_it_told(face: Face) -> None:
    async with face.client(Role.OPERATOR, name="olga") as olga:
        early = await olga.post(f"{AT}/promote", json={**ABOUT, "reason": "it looks good", "after": 0})
        assert (early.status_code, early.json()["code"]) == (409, "conflict")
        assert "outcomes" in early.json()["what"]
        await earned(face)
        first = {**ABOUT, "reason": "it is good", "after": (await olga.get(AT)).json()["newest"]}
        promoted = (await olga.post(f"{AT}/promote", json=first)).json()
        assert (promoted["word"], promoted["by"]["id"], promoted["outcomes"]) == ("promoted", "olga", 40)
        assert (await olga.get(AT)).json()["promotions"] == [promoted]
        (demoted,) = (await olga.post(f"{AT}/demote", json={**ABOUT, "reason": "the gateway is new"})).json()
        again = await olga.post(f"{AT}/promote", json=first)
        assert (again.status_code, "more was said" in again.text) == (409, True)
        assert demoted["epoch"] == {"scope": f"agent:{LITELLM_REMEDIATOR}", "epoch": 1}
        held = (await olga.post(f"{AT}/ceiling", json={"ceiling": "propose", "reason": "for now"})).json()
        said = (await olga.get(f"{AT}/history")).json()
        assert [each["word"] for each in said] == [held, demoted, promoted]
        assert [each["why"] for each in said] == ["for now", "the gateway is new", "it is good"]
        older = (await olga.get(f"{AT}/history", params={"before": said[0]["number"], "limit": 1})).json()
        assert [each["word"] for each in older] == [demoted]


async def test_adversary_a_service_with_every_role_promotes_nobody(face: Face) -> None:
    await earned(face)
    async with face.client(Role.ADMIN, name="bot", kind=PrincipalKind.SERVICE) as bot:
        for verb, body in (("promote", ABOUT), ("demote", ABOUT), ("ceiling", {"ceiling": "full"})):
            given = {**body, "reason": "why not"} | ({"after": 0} if verb == "promote" else {})
            assert (await bot.post(f"{AT}/{verb}", json=given)).status_code == 403


async def test_revoking_is_the_stop_of_its_scope_and_survives_what_else_is_said(face: Face) -> None:
    async with face.client(Role.OPERATOR, name="olga") as olga, face.client(Role.ADMIN, name="root") as root:
        report = (await olga.post(f"{AT}/revoke", json={})).json()
        assert report["scope"] == f"agent:{LITELLM_REMEDIATOR}"
        shown = (await olga.get(AT)).json()
        assert (shown["state"], shown["revoked"]["changed_by"]) == ("revoked", "olga")
        await olga.post(f"{AT}/ceiling", json={"ceiling": "shadow", "reason": "and lower"})
        assert (await olga.get(AT)).json()["state"] == "revoked"
        assert (await olga.post(f"{AT}/reinstate", json={})).status_code == 403
        await root.post(f"{AT}/reinstate", json={})
        assert (await olga.get(AT)).json()["state"] == "active"
        told = [each["stop"] and each["stop"]["stopped"] for each in (await olga.get(f"{AT}/history")).json()]
        assert told == [False, None, True]


async def test_what_is_not_a_word_is_refused_by_its_place(face: Face) -> None:
    async with face.client(Role.OPERATOR) as olga:
        for body, place in (
            ({**ABOUT, "reason": ""}, "reason"),
            ({**ABOUT, "reason": "x", "intent": "explode"}, "intent"),
            ({**ABOUT, "reason": "x", "autonomy": "god"}, "autonomy"),
            ({**ABOUT, "reason": "x", "override": True}, "override"),
            ({**ABOUT, "reason": "x", "after": -1}, "after"),
        ):
            reply = await olga.post(f"{AT}/promote", json={"after": 0} | body)
            assert reply.status_code == 422
            assert place in reply.text
