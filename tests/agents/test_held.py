"""What is kept whole: open incidents, unsettled effects, remedies in force."""

from __future__ import annotations

from sqlalchemy import insert, update
from tests.testbed.entries import T0, one_of_each
from tests.testbed.ledgers import Log

from watchkeeper.agents.held import HeldIncidents
from watchkeeper.agents.tables import incident
from watchkeeper.core.canonical import canonical_model
from watchkeeper.core.entries import EntryType, RemedyRecorded
from watchkeeper.core.ids import IncidentId, RemedyId
from watchkeeper.core.remedies import RemedyStatus
from watchkeeper.policies.claiming.claims import Claims
from watchkeeper.policies.remedies import Remedies
from watchkeeper.policies.tables import effect_claim, remedy
from watchkeeper.store.engine import Store


async def held(store: Store) -> frozenset[str]:
    log = Log(store)

    async def no_policy(tx: object, version: str) -> None:
        return None

    holding = HeldIncidents(Claims(store, log.ledger, log.clock, no_policy), Remedies(store, log.ledger))
    async with store.read() as tx:
        return await holding(tx)


async def test_an_incident_is_held_until_nothing_of_it_is_left(store: Store) -> None:
    common = {
        "environment": "prod",
        "service": "chat",
        "mode": "m",
        "severity": "s",
        "subject": "x",
        "fingerprint": "f",
    }
    rows = [
        common | {"id": f"inc_{n}", "status": status, "opened": T0, "updated": T0}
        for n, status in enumerate(("open", "escalated", "closed", "closed", "closed"))
    ]
    recorded = one_of_each()[EntryType.REMEDY].data
    assert isinstance(recorded, RemedyRecorded)
    in_force = recorded.remedy.model_copy(update={"id": RemedyId("rem_x"), "incident": IncidentId("inc_3")})
    async with store.write() as tx:
        await tx.execute(insert(incident), rows)
        await tx.execute(
            insert(remedy).values(
                id=in_force.id,
                incident="inc_3",
                plan=in_force.plan,
                step=0,
                target="t",
                status=RemedyStatus.IN_FORCE,
                expires=T0,
                body=canonical_model(in_force),
            )
        )
        await tx.execute(
            insert(effect_claim).values(
                key="k",
                id="clm_1",
                incident="inc_2",
                plan="p",
                step=0,
                phase="apply",
                runbook="r",
                environment="prod",
                service="chat",
                target="t",
                fence=1,
                state="unknown",
                taken=T0,
                not_after=T0,
                body=b"{}",
            )
        )
    assert await held(store) == {"inc_0", "inc_1", "inc_2", "inc_3"}
    async with store.write() as tx:
        await tx.execute(update(incident).values(status="closed"))
        await tx.execute(update(remedy).values(status=RemedyStatus.RELEASED))
        await tx.execute(update(effect_claim).values(state="settled"))
    assert await held(store) == frozenset()
