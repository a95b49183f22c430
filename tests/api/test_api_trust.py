"""What the API says of trust."""

from __future__ import annotations

from tests.testbed.faces import Face

from watchkeeper.agents.manifest import manifest_digest
from watchkeeper.core.actions import Intent
from watchkeeper.core.ids import IncidentId, PlanId
from watchkeeper.core.principals import Role
from watchkeeper.core.subjects import Scope
from watchkeeper.core.trust import Credit, Grounds, Origin, TrustOutcome

LITELLM_REMEDIATOR = "remediator/litellm"


async def kept(face: Face, count: int, digest: str) -> None:
    async with face.services.store.write() as tx:
        await face.services.trust.record(
            tx,
            [
                TrustOutcome(
                    agent=LITELLM_REMEDIATOR,
                    manifest_digest=digest,
                    runbook="fail-over-provider",
                    intent=Intent.SHIFT_TRAFFIC,
                    scope=Scope(environment="prod", service="chat"),
                    incident=IncidentId("inc_1"),
                    plan=PlanId(f"pln_{digest}_{number}"),
                    step=0,
                    origin=Origin.APPROVED,
                    credit=Credit.SUCCESS,
                    grounds=Grounds.RECOVERED,
                    at=face.clock.now(),
                )
                for number in range(count)
            ],
        )


async def test_what_is_kept_is_shown_with_what_is_missing(face: Face) -> None:
    await kept(face, 27, manifest_digest(LITELLM_REMEDIATOR))
    await kept(face, 3, "sha256:an earlier make of it")
    async with face.client(Role.VIEWER) as client:
        (found,) = (await client.get("/v1/trust")).json()
        assert (await client.get("/v1/trust", params={"agent": LITELLM_REMEDIATOR})).json() == [found]
        assert (await client.get("/v1/trust", params={"agent": "diagnoser/gateway"})).json() == []
    assert found["key"]["scope"] == {"environment": "prod", "service": "chat"}
    assert (found["verified"]["successes"], found["approved"], found["proposed"]) == (27, 27, False)
    missing = {each["name"]: (each["observed"], each["required"]) for each in found["missing"]}
    assert missing["outcomes"] == (27, 30)
    assert missing.keys() == {"outcomes", "untreated_seen", "beats_untreated"}


async def test_an_agent_that_there_is_not_and_a_caller_without_a_role(face: Face) -> None:
    async with face.client(Role.VIEWER) as client:
        unknown = await client.get("/v1/trust", params={"agent": "remediator/litelm"})
    assert unknown.status_code == 404
    assert "remediator/litellm" in unknown.text
    async with face.client() as nobody:
        assert (await nobody.get("/v1/trust")).status_code == 401
